"""What is in a ledger's file, and how one is opened, brought up to date, or refused with a message that helps."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sparring.errors import LedgerError, SparringError

BUSY_SECONDS = 60.0
"""How long a write waits for another process."""

CHECKPOINT_PAGES = 4_000
"""Pages (4 KiB each) that are written twice at a time: often means much, seldom means a long file to read."""

ELSEWHERE = "name another folder by SPARRING_HOME"

APPLICATION = 0x53706172  # "Spar": tells a ledger from the SQLite files of others

MIGRATIONS = (
    (
        """CREATE TABLE calls (
            id INTEGER PRIMARY KEY,
            key TEXT NOT NULL,
            kind TEXT NOT NULL,
            model TEXT NOT NULL,
            asked TEXT NOT NULL,
            sample_index INTEGER NOT NULL,
            max_tokens INTEGER,
            role TEXT NOT NULL,
            run TEXT NOT NULL,
            session TEXT NOT NULL,
            sent REAL NOT NULL,
            reserved_usd REAL,
            reserved_tokens INTEGER NOT NULL
        )""",
        """CREATE TABLE results (
            id INTEGER PRIMARY KEY,
            ended REAL NOT NULL,
            reply TEXT,
            finish TEXT,
            prompt_tokens INTEGER,
            completion_tokens INTEGER,
            usd REAL,
            reason TEXT NOT NULL
        )""",
        "CREATE INDEX calls_key ON calls (key)",
    ),
    (
        # 1 where no answer came and the call may have been billed.
        "ALTER TABLE results ADD COLUMN may_be_billed INTEGER NOT NULL DEFAULT 1",
        "UPDATE results SET may_be_billed = 0 WHERE reply IS NOT NULL",
        "CREATE INDEX calls_run ON calls (run)",
    ),
)
"""What makes schema n + 1 of schema n. Append to it; a script that was ever released stays as it is."""

INTENT = "id key kind model asked sample_index max_tokens role run session sent reserved_usd reserved_tokens".split()
RESULT = "id ended reply finish prompt_tokens completion_tokens usd reason may_be_billed".split()


def connected(path: Path) -> sqlite3.Connection:
    """Return a connection in autocommit mode that any thread may use, one at a time."""
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def opened(path: Path) -> sqlite3.Connection:
    """Return a connection that can write a ledger of the newest schema."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        head = b""
    except OSError as error:
        raise LedgerError(f"{path} cannot be the ledger: {error.strerror}; {ELSEWHERE}") from error
    if head and head != b"SQLite format 3\0":
        raise LedgerError(f"{path} is not a ledger: it begins with {head!r}; move it away, or {ELSEWHERE}")
    if head and not os.access(path, os.W_OK):
        raise LedgerError(f"{path} cannot be written: make it and its folder writable, or {ELSEWHERE}")
    with told(path), _alone(path):
        connection = connected(path)
        try:
            _migrate(connection, path)
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        except (sqlite3.Error, LedgerError):
            connection.close()
            raise
    return connection


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """Have nobody else open a ledger in this folder: the switch to WAL fails, instead of waiting, beside another's."""
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise LedgerError(f"{path} cannot be the ledger: {error.strerror}; {ELSEWHERE}") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    _version(connection, path)
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise LedgerError(f"{path} is on a file system without shared memory; {ELSEWHERE}, on a local disk")
    with transaction(connection):
        version = _version(connection, path)  # once more: another process may have been faster
        for number, statements in enumerate(MIGRATIONS[version:], version + 1):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
        for table, names in {"calls": INTENT, "results": RESULT}.items():
            missing = set(names) - {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            if missing:
                raise LedgerError(f"{path} is damaged: its table {table} lacks {min(missing)!r}; {ELSEWHERE}")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema version of a file, 0 for an empty one; LedgerError where it is not for us to write."""
    [(version,)] = connection.execute("PRAGMA user_version").fetchall()
    [(application,)] = connection.execute("PRAGMA application_id").fetchall()
    [(tables,)] = connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    if application != APPLICATION and (tables or version):
        raise LedgerError(f"{path} is not a ledger but a database of something else; {ELSEWHERE}")
    if version > len(MIGRATIONS):
        made = f"schema {version}, this one knows {len(MIGRATIONS)}"
        raise LedgerError(f"{path} was made by a newer Sparring ({made}): upgrade, or {ELSEWHERE}")
    return version


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """Commit what is done inside, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def told(path: Path) -> Generator[None]:
    """Turn what SQLite says into one clear message."""
    try:
        yield
    except sqlite3.Error as error:
        raise trouble(path, error) from error


def trouble(path: Path, error: sqlite3.Error) -> SparringError:
    """Return what to raise for an error of SQLite: what is wrong with the file, and what to do about it."""
    # The lower byte is the kind of error, the rest tells it more finely.
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return SparringError(
                f"the disk is full: {path} was not written. Free some space and give the command again"
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return LedgerError(f"{path} cannot be written ({error}): make it and its folder writable, or {ELSEWHERE}")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return LedgerError(
                f"{path} has been locked by another process for {BUSY_SECONDS:.0f} s: end that, and retry"
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            saved = "`sqlite3 FILE .recover` saves what can be read"
            return LedgerError(f"{path} is damaged ({error}): nothing was deleted, {saved}; restore it, or {ELSEWHERE}")
        case _:
            return LedgerError(f"{path}: {error}")
