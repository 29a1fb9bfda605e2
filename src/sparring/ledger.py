"""Every model call that was ever paid for, in one SQLite file that all runs share.

A sending of a call is a row, written *before* it is sent (the intent); what came back is a row of its own, so that
after a kill the file says which calls may have been billed without an answer. Answers are found by key: the digest of
what the server was asked and a sample index, never of when, in which order or for whom. Rows are added and never
changed (which would be twice as slow, too): a later sending is another row, and the latest usable answer wins.

The file is in WAL mode: any number of processes on one machine read and write it together. It does not belong on a
network file system, whose locks SQLite cannot rely on.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count, islice
from pathlib import Path
from typing import Any, Literal, cast

from sparring.errors import LedgerError, SparringError
from sparring.files import Row
from sparring.types import Completion, LogProb

Kind = Literal["completion", "log_prob"]

BUSY_SECONDS = 60.0
"""How long a write waits for another process."""

CHECKPOINT_PAGES = 4_000
"""Pages (4 KiB each) that are written twice at a time: often means much, seldom means a long file to read."""

GC_DAYS = 30
"""`gc` leaves alone what is younger."""

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

INSERT_INTENT = f"INSERT INTO calls ({', '.join(INTENT)}) VALUES ({', '.join('?' * len(INTENT))})"
# Replaces nothing but a note that the call was lost, where its answer came after all.
INSERT_RESULT = f"REPLACE INTO results ({', '.join(RESULT)}) VALUES ({', '.join('?' * len(RESULT))})"

FIND = """SELECT key, kind, finish, reply, prompt_tokens, completion_tokens, max_tokens
    FROM calls JOIN results USING (id) WHERE key {} AND reply IS NOT NULL ORDER BY id"""
FIND_ONE, FIND_MANY = FIND.format("= ?"), FIND.format("IN (SELECT value FROM json_each(?))")

ALL = "calls LEFT JOIN results USING (id)"

LOST = "(reply IS NULL AND coalesce(may_be_billed, 1) AND reserved_tokens > 0)"
"""What may have been billed without an answer. A call without a result may, but where nothing was reserved for it."""

PAID = f"(reserved_tokens > 0 AND (reply IS NOT NULL OR {LOST}))"
"""What counts as spent: at its price where that is known, else at what was reserved for it."""

TOTALS = f"""SELECT role, session, count(reply), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),
    CASE WHEN sum(reply IS NOT NULL AND usd IS NULL) = 0 THEN coalesce(sum(usd), 0.0) END, sum({LOST}),
    CASE WHEN sum({PAID} AND coalesce(usd, reserved_usd) IS NULL) = 0
        THEN coalesce(sum(coalesce(usd, reserved_usd)) FILTER (WHERE {PAID}), 0.0) END,
    coalesce(sum(coalesce(prompt_tokens + completion_tokens, reserved_tokens)) FILTER (WHERE {PAID}), 0), sum({PAID})
    FROM {ALL} WHERE run = ? GROUP BY role, session ORDER BY min(id)"""

STATS = f"""SELECT model, role, count(*) AS sent, count(reply) AS answered, sum(usable(finish, reply)) AS usable,
    coalesce(sum(prompt_tokens), 0) AS prompt_tokens, coalesce(sum(completion_tokens), 0) AS completion_tokens,
    sum(usd) AS usd, sum({LOST}) AS may_be_billed
    FROM {ALL} GROUP BY model, role ORDER BY model, role"""

USELESS = f"""SELECT id, length(asked) + coalesce(length(reply), 0) + 300
    FROM {ALL} WHERE coalesce(ended, sent) < ? AND NOT usable(finish, reply)"""

MARK_LOST = """INSERT INTO results (id, ended, reason, may_be_billed)
    SELECT id, ?, 'interrupted', 1 FROM calls
    WHERE run = ? AND session <> ? AND id NOT IN (SELECT id FROM results)"""


@dataclass(frozen=True, slots=True)
class Amount:
    """What a call may cost, or has cost."""

    usd: float | None
    """None where no price is known."""
    tokens: int
    """Prompt and completion; 0 for a call that costs nothing."""
    calls: int = 1


@dataclass(frozen=True)
class Wanted:
    """One call: what would be asked, and of whom."""

    kind: Kind
    model: str
    """Who answers, with its revision or base URL."""
    asked: Mapping[str, Any]
    """What the server sees, as JSON: the messages with the sampling, or with the target that is scored."""
    sample_index: int = 0
    """Tells apart the independent samples of one prompt."""
    max_tokens: int | None = None
    """Longest completion wanted. No part of the key: a short answer stays valid when the limit grows."""
    role: str = ""
    """Who speaks. For the books, and no part of the key."""

    @cached_property
    def text(self) -> str:
        """`asked` as canonical JSON."""
        return canonical(self.asked)

    @cached_property
    def key(self) -> str:
        """SHA-256, in hex, of the canonical JSON of kind, model, asked and sample_index. ValueError at a NaN."""
        kind, model = _quoted(self.kind), _quoted(self.model)
        whole = f'{{"asked":{self.text},"kind":{kind},"model":{model},"sample_index":{self.sample_index:d}}}'
        return hashlib.sha256(whole.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of one sending."""

    reply: Completion | LogProb | None
    """None: no answer."""
    reason: str = ""
    """Why there is none, as a short fixed phrase."""
    may_be_billed: bool = False
    """There is no answer, yet the server may have charged for one."""
    usd: float | None = None
    """What it cost; None where no price is known."""
    prompt_tokens: int | None = None
    """Tokens read, where the reply does not say; None where nobody does."""
    completion_tokens: int | None = None
    """Tokens written, likewise."""


@dataclass(frozen=True, slots=True)
class Total:
    """What one role made of a run in one session (one process that worked on it)."""

    role: str
    session: str
    calls: int
    """Answers on file."""
    prompt_tokens: int
    """Of the answers that told."""
    completion_tokens: int
    usd: float | None
    """None where the price of any answer is unknown."""
    lost: int
    """Calls without an answer that may have been billed; those under way are among them."""
    spent: Amount
    """What a budget counts: the cost where it is known, what was reserved where it is not, lost calls included."""


@dataclass(slots=True)
class _Job:
    """Rows that are to be committed, and who waits for it."""

    rows: list[tuple[Any, ...]]
    are_results: bool
    done: Future[Any]


def home() -> Path:
    """Return the folder of the ledger and of the user's prices: $SPARRING_HOME, or `sparring` in the cache folder."""
    if own := os.environ.get("SPARRING_HOME"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparring"


class Ledger:
    """The ledger in `path` (default: `ledger.sqlite` in `home()`), made if it is not there.

    Every method may be called from any thread. Raises LedgerError for a file that cannot be used; nothing is ever
    deleted to mend one.
    """

    def __init__(self, path: str | Path | None = None):
        self.path = Path(path) if path is not None else home() / "ledger.sqlite"
        self._writer = _opened(self.path)
        self._reader, self._reading = _connection(self.path), threading.Lock()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._open, self._closing = True, threading.Lock()
        self._thread = threading.Thread(target=self._write, name="sparring-ledger", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit what is waiting and close the file."""
        with self._closing:
            if not self._open:
                return
            self._open = False
            self._jobs.put(None)
        self._thread.join()
        with self._reading:
            self._reader.close()
        atexit.unregister(self.close)

    # Calls

    def find(self, wanted: Sequence[Wanted]) -> list[Completion | LogProb | None]:
        """Return the answer on file to each call, None where there is none that can be used.

        A completion can be used where it ended by itself, is not blank and is not longer than is wanted now; a log-prob
        always. Samples cut off or refused stay on file and are never returned.
        """
        keys = [call.key for call in wanted]
        found: dict[str, list[tuple[Any, ...]]] = {}
        rows = self._rows(FIND_ONE, keys[0]) if len(keys) == 1 else self._rows(FIND_MANY, json.dumps(keys))
        for row in rows:
            found.setdefault(row[0], []).append(row)
        return [self._hit(call, found.get(key, ())) for call, key in zip(wanted, keys, strict=True)]

    def begin(self, wanted: Sequence[Wanted], run: str, session: str, reserved: Sequence[Amount]) -> Future[list[int]]:
        """Note that calls are about to be sent; the future gives the ids of their rows once they are on file.

        `run` is a name that no other run bears. Send nothing before the future is done: a SIGKILL loses no note from
        then on (a power cut may lose those of the last moments). It raises LedgerError; SparringError on a full disk.
        """
        now = time.time()
        said = (_text(run), _text(session), now)
        rows = [
            (c.key, c.kind, _text(c.model), c.text, c.sample_index, c.max_tokens, _text(c.role), *said, a.usd, a.tokens)
            for c, a in zip(wanted, reserved, strict=True)
        ]
        return self._put(rows, are_results=False)

    def end(self, settled: Sequence[tuple[int, Settled]]) -> Future[None]:
        """Note what came back; the future is done once that would survive a power cut."""
        now = time.time()
        return self._put([(at, now, *_result(this)) for at, this in settled], are_results=True)

    # Books

    def totals(self, run: str) -> list[Total]:
        """Return what each role made of a run in each session, in the order in which they began."""
        return [Total(*row, spent=Amount(usd, tokens, calls)) for *row, usd, tokens, calls in self._rows(TOTALS, run)]

    def mark_lost(self, run: str, session: str) -> int:
        """Note of the calls that other sessions of a run left under way that they were interrupted; return how many.

        Only one process may work on a run at a time: the calls of a living one would be taken for lost.
        """
        with self._maintenance() as connection:
            return connection.execute(MARK_LOST, (time.time(), run, session)).rowcount

    def stats(self) -> list[Row]:
        """Return what was sent to each model by each role; `usd` adds up the calls whose price was known."""
        with self._maintenance() as connection:
            rows = connection.execute(STATS)
            return [dict(zip((column[0] for column in rows.description), row, strict=True)) for row in rows]

    def size(self) -> int:
        """Return the bytes on disk."""
        parts = (self.path.with_name(self.path.name + suffix) for suffix in ("", "-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    def export(self) -> Iterator[Row]:
        """Return every row, oldest first, with `asked` and `reply` as JSON. There are no keys of accounts in it."""
        names, last = [*INTENT, *RESULT[1:]], 0
        # In pages: a reader that stays would keep the log file from being folded in.
        page = f"SELECT {', '.join(names)} FROM {ALL} WHERE id > ? ORDER BY id LIMIT 500"
        while rows := self._rows(page, last):
            for row in rows:
                values = dict(zip(names, row, strict=True))
                asked, reply = self._parsed(values["asked"]), values["reply"] and self._parsed(values["reply"])
                lost = reply is None and values["may_be_billed"] != 0 and values["reserved_tokens"] > 0
                yield values | {"asked": asked, "reply": reply, "may_be_billed": lost}
            last = rows[-1][0]

    def gc(self, dry_run: bool = False, days: float = GC_DAYS) -> tuple[int, int]:
        """Remove rows that can never be an answer and are older than `days`; return how many, and about their bytes.

        Failed, interrupted, cut off, refused and blank ones; a usable answer never. A run that goes on afterwards no
        longer counts them against its budget.
        """
        cut = time.time() - days * 86400
        with self._maintenance() as connection, _transaction(connection):
            rows = connection.execute(USELESS, (cut,)).fetchall()
            if not dry_run:
                for table in ("calls", "results"):
                    connection.executemany(f"DELETE FROM {table} WHERE id = ?", ((row[0],) for row in rows))
        if rows and not dry_run:
            with self._maintenance() as connection:
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return len(rows), sum(row[1] for row in rows)

    # Inside

    def _rows(self, query: str, value: object) -> list[tuple[Any, ...]]:
        try:  # and no `with _told`, which takes longer than a short query
            with self._reading:
                return self._reader.execute(query, (value,)).fetchall()
        except sqlite3.Error as error:
            raise _trouble(self.path, error) from error

    @contextmanager
    def _maintenance(self) -> Generator[sqlite3.Connection]:
        with _told(self.path), closing(_connection(self.path)) as connection:
            connection.create_function("usable", 2, self._usable, deterministic=True)
            yield connection

    def _hit(self, call: Wanted, rows: Sequence[tuple[Any, ...]]) -> Completion | LogProb | None:
        for _, kind, finish, text, prompt_tokens, completion_tokens, max_tokens in reversed(rows):
            reply = self._parsed(text)
            if kind == "log_prob":
                return LogProb(reply["total"], reply["tokens"])
            longest = max_tokens if completion_tokens is None else completion_tokens
            fits = call.max_tokens is None or (longest is not None and longest <= call.max_tokens)
            if fits and _is_usable(finish, reply):
                return Completion(reply["text"], finish, prompt_tokens, completion_tokens)
        return None

    def _usable(self, finish: str | None, reply: str | None) -> bool:
        return reply is not None and _is_usable(finish, self._parsed(reply))

    def _parsed(self, text: str) -> Row:
        try:
            return cast(Row, json.loads(text))
        except ValueError as error:
            raise LedgerError(f"{self.path} is damaged: a row holds {text[:40]!r}, which is no JSON") from error

    def _put(self, rows: list[tuple[Any, ...]], are_results: bool) -> Future[Any]:
        job = _Job(rows, are_results, Future())
        job.done.set_running_or_notify_cancel()  # whoever stops waiting for it does not undo it
        with self._closing:
            if not self._open:
                raise LedgerError(f"{self.path} was closed")
            self._jobs.put(job)
        return job.done

    def _write(self) -> None:
        """Commit jobs until the one that ends them: all that wait at a time in one transaction."""
        jobs = list[_Job]()
        try:
            while jobs := self._waiting():
                # Intents first: a call waits for its intent, and an intent for no disk.
                for are_results in (False, True):
                    self._commit([job for job in jobs if job.are_results is are_results], are_results)
        finally:
            self._writer.close()
            with self._closing:
                self._open = False
            for job in [*jobs, *self._left()]:  # none, unless this thread met a bug
                if not job.done.done():
                    job.done.set_exception(LedgerError(f"{self.path}: the thread that writes it has crashed"))

    def _waiting(self) -> list[_Job]:
        """Return the jobs that wait, at least one; none at the end."""
        jobs = [self._jobs.get()]
        while jobs[-1] and not self._jobs.empty():
            jobs.append(self._jobs.get())
        if jobs[-1] is None and len(jobs) > 1:
            self._jobs.put(jobs.pop())  # the end, met behind jobs that come first
        return [job for job in jobs if job]

    def _left(self) -> list[_Job]:
        self._jobs.put(None)
        return [*iter(self._jobs.get, None)]

    def _commit(self, jobs: Sequence[_Job], are_results: bool) -> None:
        """Write jobs of one kind in one transaction, and tell those who wait."""
        if not jobs:
            return
        try:
            given = self._add_results(jobs) if are_results else self._add_intents(jobs)
        except sqlite3.Error as error:
            for job in jobs:
                job.done.set_exception(_trouble(self.path, error))
        else:
            for job, ids in zip(jobs, given, strict=True):
                job.done.set_result(ids)

    def _add_intents(self, jobs: Sequence[_Job]) -> list[list[int]]:
        """Return the ids of the intents of each job. They outlive a SIGKILL without being synced."""
        self._writer.execute("PRAGMA synchronous = NORMAL")
        with _transaction(self._writer):
            first = self._writer.execute("SELECT coalesce(max(id), 0) + 1 FROM calls").fetchone()[0]
            ids = count(first)
            given = [list(islice(ids, len(job.rows))) for job in jobs]
            rows = (row for job in jobs for row in job.rows)
            self._writer.executemany(INSERT_INTENT, ((at, *row) for at, row in enumerate(rows, first)))
        return given

    def _add_results(self, jobs: Sequence[_Job]) -> list[None]:
        """Results were paid for: they are synced."""
        self._writer.execute("PRAGMA synchronous = FULL")
        with _transaction(self._writer):
            self._writer.executemany(INSERT_RESULT, (row for job in jobs for row in job.rows))
        return [None] * len(jobs)


def canonical(value: Any) -> str:
    """Return JSON that is the same for the same value: sorted keys, no spaces, 1.0 as 1; ValueError at a NaN.

    The text is valid UTF-8: a lone surrogate stands as its escape.
    """
    return _text(_encode(_plain(value)))


_encode: Callable[[Any], str] = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode


def _plain(value: Any) -> Any:
    """Return a value with every number that is whole as an int, -0.0 among them."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list | tuple):
        items = cast(Sequence[Any], value)
        return [item if isinstance(item, str) else _plain(item) for item in items]
    if isinstance(value, dict | Mapping):  # asking an abstract class first would be slow
        pairs = cast(Mapping[str, Any], value).items()
        return {key: item if isinstance(item, str) else _plain(item) for key, item in pairs}
    return value


@lru_cache(maxsize=256)
def _quoted(text: str) -> str:
    return canonical(text)


def _text(text: str) -> str:
    """Return text that can be stored: SQLite takes no lone surrogate."""
    return text.encode("utf-8", "backslashreplace").decode()


def _is_usable(finish: str | None, reply: Row) -> bool:
    return "text" not in reply or (finish == "stop" and bool(reply["text"].strip()))


def _result(settled: Settled) -> tuple[Any, ...]:
    reply, finish = settled.reply, None
    prompt_tokens, completion_tokens = settled.prompt_tokens, settled.completion_tokens
    match reply:
        case Completion():
            text, finish = f'{{"text":{canonical(reply.text)}}}', reply.finish
            prompt_tokens = prompt_tokens if reply.prompt_tokens is None else reply.prompt_tokens
            completion_tokens = completion_tokens if reply.completion_tokens is None else reply.completion_tokens
        case LogProb():
            text = _text(_encode({"total": reply.total, "tokens": reply.tokens}))
        case None:
            text = None
    unanswered = reply is None and settled.may_be_billed
    told = (_count(prompt_tokens), _count(completion_tokens), settled.usd)
    return (text, finish, *told, _text(settled.reason), unanswered)


def _count(told: int | None) -> int | None:
    """Return a count as a server told it, None where it cannot be one."""
    return told if told is not None and 0 <= told < 2**53 else None


# Opening


def _connection(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _opened(path: Path) -> sqlite3.Connection:
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
    with _told(path):
        connection = _connection(path)
        try:
            _migrate(connection, path)
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        except (sqlite3.Error, LedgerError):
            connection.close()
            raise
    return connection


ELSEWHERE = "name another folder by SPARRING_HOME"


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    _schema(connection, path)
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise LedgerError(f"{path} is on a file system without shared memory; {ELSEWHERE}, on a local disk")
    with _transaction(connection):
        version = _schema(connection, path)  # once more: another process may have been faster
        for number, statements in enumerate(MIGRATIONS[version:], version + 1):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
        for table, names in {"calls": INTENT, "results": RESULT}.items():
            missing = set(names) - {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            if missing:
                raise LedgerError(f"{path} is damaged: its table {table} lacks {min(missing)!r}; {ELSEWHERE}")


def _schema(connection: sqlite3.Connection, path: Path) -> int:
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
def _transaction(connection: sqlite3.Connection) -> Generator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def _told(path: Path) -> Generator[None]:
    """Turn what SQLite says into one clear message."""
    try:
        yield
    except sqlite3.Error as error:
        raise _trouble(path, error) from error


def _trouble(path: Path, error: sqlite3.Error) -> SparringError:
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
