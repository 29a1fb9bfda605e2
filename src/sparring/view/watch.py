"""The page of a run that goes on, made again when the run has more to show and somebody looks.

Each time it is made is an edition. A page keeps to the edition it was served as until its reader asks for the newest:
finished stages do not change, so the rollouts of all editions can still be read. What is behind an edition is found
anew where it is asked for: many may be made while somebody looks, and files that are looked through stay open.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from sparring.errors import RunError, SparringError
from sparring.report import browse, page
from sparring.report.blocks import OnDemand
from sparring.report.record import Record
from sparring.runs import Run

log = logging.getLogger("sparring")

EVERY = 3.0
"""Least seconds between two editions."""
SHARE = 10
"""Making editions may take one part in so many of the time."""
READ = 3
"""Editions of which what was read is kept in memory, with its files open."""
WATCHED = ("journal.jsonl", "summary.json", "run.json")
"""Files that change when there is more to show."""


@dataclass(frozen=True)
class Edition:
    """The page as of one moment, and what is behind it."""

    number: int
    """From 1."""
    groups: tuple[browse.Group, ...]
    """What it can show, without the entries."""

    @property
    def shown(self) -> list[str]:
        """Labels of its groups."""
        return [_named(group) for group in self.groups]


class Watch:
    """Keeps the editions of one run. For one thread at a time, which may be any."""

    def __init__(self, path: Path):
        """Make the first edition. Raises RunError for a folder that is no run, or whose files are broken."""
        self.path, self.problem = path, False
        """`problem`: whether the newest edition could not be made."""
        self._seen, self._due = _fingerprint(path), 0.0
        self.editions: list[Edition] = []
        self.html = ""
        """Of the newest."""
        self._groups: list[browse.Group] = []
        """Of the newest, with the entries; nothing of them is read before somebody looks."""
        self._blocks = lru_cache(maxsize=READ)(self._on_demand)
        self._make()

    @property
    def newest(self) -> Edition:
        return self.editions[-1]

    def look(self, at_once: bool = False) -> Edition:
        """Return the newest edition, made first where the run has more to show and it is time, or `at_once`."""
        if (at_once or time.monotonic() >= self._due) and (seen := _fingerprint(self.path)) != self._seen:
            try:
                self._make()
                self._seen, self.problem = seen, False
            except (SparringError, OSError) as error:
                self._due, self.problem = time.monotonic() + SHARE * EVERY, True
                log.warning("the page stays as it was: %s", error)
        return self.newest

    def page(self) -> tuple[Edition, str]:
        """Return the newest edition and its HTML, made first where the run has more to show."""
        return self.look(at_once=True), self.html

    def block(self, number: int, name: str) -> bytes | None:
        """Return a block of an edition, gzipped JSON; None where there is none. Raises RunError for a broken file."""
        return self._blocks(number).block(name) if 0 < number <= len(self.editions) else None

    def news(self, since: int) -> list[str]:
        """Return the labels of what the newest edition has and that one has not."""
        before = set(self.editions[since - 1].shown) if 0 < since <= len(self.editions) else set[str]()
        return [label for label in self.newest.shown if label not in before]

    def _on_demand(self, number: int) -> OnDemand:
        known = self.editions[number - 1].groups
        found = {group.id: group for group in self._groups}
        if number != self.newest.number:  # what these have read is the newest page's
            found = {group.id: group for group in browse.groups(Run(self.path))}
        return OnDemand([_reopened(group, found.get(group.id)) for group in known])

    def _make(self) -> None:
        began = time.monotonic()
        run = Run(self.path)
        groups, html = browse.groups(run), page.render(Record.read(run), live=True)
        self._groups, self.html = groups, html
        self.editions.append(Edition(len(self.editions) + 1, tuple(replace(group, entries=_gone) for group in groups)))
        now = time.monotonic()
        self._due = now + max(EVERY, SHARE * (now - began))


def _reopened(group: browse.Group, found: browse.Group | None) -> browse.Group:
    """Return a group of an edition with its entries; without, where the run has another in its place by now."""
    return replace(group, entries=found.entries) if found and found.label == group.label else group


def _gone() -> Iterator[browse.Entry]:
    raise RunError("this is of an earlier state of the run; the newest page has what became of it")


def _named(group: browse.Group) -> str:
    return group.label if group.round is None else f"round {group.round}: {group.label}"


def _fingerprint(path: Path) -> tuple[tuple[int, int, int] | None, ...]:
    """Return what tells that a run has more to show."""
    found: list[tuple[int, int, int] | None] = []
    for name in WATCHED:
        try:
            stat = os.stat(path / name)
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return tuple(found)
