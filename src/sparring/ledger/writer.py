"""The thread that writes a ledger: what waits at a time goes on file in one transaction."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from sparring.errors import LedgerError
from sparring.ledger.schema import INTENT, RESULT, opened, transaction, trouble

log = logging.getLogger("sparring")

WAITS = 10
"""How often answers wait BUSY_SECONDS for another process's lock: they were paid for, and nobody else has them."""

INSERT_INTENT = f"INSERT INTO calls ({', '.join(INTENT)}) VALUES ({', '.join('?' * len(INTENT))})"
# Replaces nothing but a note that the call was lost, where its answer came after all.
INSERT_RESULT = f"REPLACE INTO results ({', '.join(RESULT)}) VALUES ({', '.join('?' * len(RESULT))})"


@dataclass(slots=True)
class _Job:
    """Rows that are to be committed, and who waits for it."""

    rows: list[tuple[Any, ...]]
    are_results: bool
    done: Future[Any]


class Writer:
    """Writes the ledger in `path`, made if it is not there. Raises LedgerError for a file that cannot be used."""

    def __init__(self, path: Path):
        self.path, self.connection = path, opened(path)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._open, self._closing = True, threading.Lock()
        self._thread = threading.Thread(target=self._write, name="sparring-ledger", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Commit what is waiting and close the file."""
        with self._closing:
            if self._open:
                self._jobs.put(None)
            self._open = False
        self._thread.join()

    def put(self, rows: list[tuple[Any, ...]], are_results: bool) -> Future[Any]:
        """Have rows of one kind committed; the future gives the ids of intents, None for results."""
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
            self.connection.close()
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
            given = self._keep_results(jobs) if are_results else self._add_intents(jobs)
        except sqlite3.Error as error:
            for job in jobs:
                job.done.set_exception(trouble(self.path, error))
        else:
            for job, ids in zip(jobs, given, strict=True):
                job.done.set_result(ids)

    def _add_intents(self, jobs: Sequence[_Job]) -> list[list[int]]:
        """Return the ids of the intents of each job. They outlive a SIGKILL without being synced."""
        self.connection.execute("PRAGMA synchronous = NORMAL")
        with transaction(self.connection):
            first = self.connection.execute("SELECT coalesce(max(id), 0) + 1 FROM calls").fetchone()[0]
            ids = count(first)
            given = [list(islice(ids, len(job.rows))) for job in jobs]
            rows = (row for job in jobs for row in job.rows)
            self.connection.executemany(INSERT_INTENT, ((at, *row) for at, row in enumerate(rows, first)))
        return given

    def _keep_results(self, jobs: Sequence[_Job]) -> list[None]:
        for _ in range(WAITS - 1):
            try:
                return self._add_results(jobs)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                answers = sum(len(job.rows) for job in jobs)
                log.warning("%s is locked by another process: %d answers wait to be put on file", self.path, answers)
        return self._add_results(jobs)

    def _add_results(self, jobs: Sequence[_Job]) -> list[None]:
        """Results were paid for: they are synced."""
        self.connection.execute("PRAGMA synchronous = FULL")
        with transaction(self.connection):
            self.connection.executemany(INSERT_RESULT, (row for job in jobs for row in job.rows))
        return [None] * len(jobs)
