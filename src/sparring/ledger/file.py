"""The ledger's file: calls are found and noted in it, added up, exported and cleaned."""

from __future__ import annotations

import atexit
import json
import os
import sqlite3
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from sparring.errors import LedgerError
from sparring.files import Row
from sparring.ledger.calls import Amount, Settled, Total, Wanted, canonical, encode, storable
from sparring.ledger.schema import INTENT, RESULT, connected, told, transaction, trouble
from sparring.ledger.writer import Writer
from sparring.types import Completion, LogProb

GC_DAYS = 30
"""`gc` leaves alone what is younger."""

FIND = """SELECT key, kind, finish, reply, prompt_tokens, completion_tokens, max_tokens
    FROM calls JOIN results USING (id) WHERE key {} AND reply IS NOT NULL ORDER BY id"""
# For one key, a list takes twice as long.
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
        self._writer = Writer(self.path)
        self._reader, self._reading = connected(self.path), threading.Lock()
        atexit.register(self.close)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit what is waiting and close the file."""
        self._writer.close()
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
        said = (storable(run), storable(session), now)
        rows = [
            (
                c.key,
                c.kind,
                storable(c.model),
                c.text,
                c.sample_index,
                c.max_tokens,
                storable(c.role),
                *said,
                a.usd,
                a.tokens,
            )
            for c, a in zip(wanted, reserved, strict=True)
        ]
        return self._writer.put(rows, are_results=False)

    def end(self, settled: Sequence[tuple[int, Settled]]) -> Future[None]:
        """Note what came back; the future is done once that would survive a power cut."""
        now = time.time()
        return self._writer.put([(at, now, *_result(this)) for at, this in settled], are_results=True)

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
        columns = ", ".join(LOST if name == "may_be_billed" else name for name in names)
        # In pages: a reader that stays would keep the log file from being folded in.
        page = f"SELECT {columns} FROM {ALL} WHERE id > ? ORDER BY id LIMIT 500"
        while rows := self._rows(page, last):
            for row in rows:
                values = dict(zip(names, row, strict=True))
                asked, reply = self._parsed(values["asked"]), values["reply"] and self._parsed(values["reply"])
                yield values | {"asked": asked, "reply": reply, "may_be_billed": bool(values["may_be_billed"])}
            last = rows[-1][0]

    def gc(self, dry_run: bool = False) -> tuple[int, int]:
        """Remove rows that can never be an answer and are GC_DAYS old; return how many, and about their bytes.

        Failed, interrupted, cut off, refused and blank ones; a usable answer never. A run that goes on afterwards no
        longer counts them against its budget.
        """
        cut = time.time() - GC_DAYS * 86400
        with self._maintenance() as connection:
            with transaction(connection):
                rows = connection.execute(USELESS, (cut,)).fetchall()
                if not dry_run:
                    for table in ("calls", "results"):
                        connection.executemany(f"DELETE FROM {table} WHERE id = ?", ((row[0],) for row in rows))
            if rows and not dry_run:
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return len(rows), sum(row[1] for row in rows)

    # Inside

    def _rows(self, query: str, value: object) -> list[tuple[Any, ...]]:
        try:  # and no `with told`, which takes longer than a short query
            with self._reading:
                return self._reader.execute(query, (value,)).fetchall()
        except sqlite3.Error as error:
            raise trouble(self.path, error) from error

    @contextmanager
    def _maintenance(self) -> Generator[sqlite3.Connection]:
        with told(self.path), closing(connected(self.path)) as connection:
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
                likely = reply.get("log_prob")
                return Completion(
                    reply["text"],
                    finish,
                    prompt_tokens,
                    completion_tokens,
                    likely and LogProb(likely["total"], likely["tokens"]),
                )
        return None

    def _usable(self, finish: str | None, reply: str | None) -> bool:
        return reply is not None and _is_usable(finish, self._parsed(reply))

    def _parsed(self, text: str) -> Row:
        try:
            return cast(Row, json.loads(text))
        except ValueError as error:
            raise LedgerError(f"{self.path} is damaged: a row holds {text[:40]!r}, which is no JSON") from error


def _is_usable(finish: str | None, reply: Row) -> bool:
    return "text" not in reply or (finish == "stop" and bool(reply["text"].strip()))


def _result(settled: Settled) -> tuple[Any, ...]:
    """Return what came of a call as the columns of its row, from `reply` on."""
    unanswered = settled.reply is None and settled.may_be_billed
    said = (settled.usd, storable(settled.reason), unanswered)
    match settled.reply:
        case Completion() as reply:
            counts = (_count(reply.prompt_tokens), _count(reply.completion_tokens))
            likely = {"log_prob": asdict(reply.log_prob)} if reply.log_prob else {}
            return (canonical({"text": reply.text, **likely}), reply.finish, *counts, *said)
        case LogProb() as reply:
            return (encode({"total": reply.total, "tokens": reply.tokens}), None, None, None, *said)
        case None:
            return (None, None, None, None, *said)


def _count(number: int | None) -> int | None:
    """Return a count as a server told it, None where it cannot be one."""
    return number if number is not None and 0 <= number < 2**53 else None
