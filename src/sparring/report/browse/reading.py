"""The groups of a run, of whatever recipe it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count

from sparring.files import Row
from sparring.report.browse import asking_exam, correcting_exam, correcting_round, refining_exam, refining_round
from sparring.report.browse.asking import Asking
from sparring.report.browse.asking_round import Round
from sparring.report.browse.core import MOST_TITLE, Entry, Group, title
from sparring.report.browse.correcting import Correcting
from sparring.report.browse.failures import Asked, failures
from sparring.report.browse.refining import Refining
from sparring.report.browse.refining_rows import Learned
from sparring.report.browse.rows import Shelf
from sparring.runs import Run

Read = tuple[Iterator[Group], Asked, Callable[[], Group | None]]
"""The groups of the loop, what was asked of a rollout, and m_0 beside the last model."""


def groups(run: Run) -> list[Group]:
    """Return all groups of a run whose files are there: those of the loop in its order, comparison, failures.

    Entries are read when they are asked for, details when one is. Raises RunError for a file that is broken, then or
    now. Of a recipe that this version does not know, there are the failures alone.
    """
    shelf = Shelf(run.path)
    read = READERS.get(str(run.record["recipe"]))
    if read is None:
        return [_distinct(group) for group in failures(shelf, lambda id: "")]
    found, asked, comparison = read(run, shelf)
    made = [*found, *(() if (beside := comparison()) is None else (beside,)), *failures(shelf, asked)]
    return [_distinct(group) for group in made]


def _star_gate(run: Run, shelf: Shelf) -> Read:
    read = Asking(shelf, run.record["settings"])

    def found() -> Iterator[Group]:
        yield from read.groups()
        for t in shelf.rounds:
            yield from Round(read, t).groups()
            yield from asking_exam.Exam(read, t).groups()

    return found(), read.asked, partial(asking_exam.comparison, read)


def _tripost(run: Run, shelf: Shelf) -> Read:
    read = Correcting(shelf, run.record["settings"], _notes(run))

    def found() -> Iterator[Group]:
        for t in shelf.rounds:
            yield from correcting_round.Round(read, t).groups()
            yield from correcting_exam.Exam(read, t).groups()

    return found(), read.asked, partial(correcting_exam.comparison, read)


def _spar(run: Run, shelf: Shelf) -> Read:
    read = Refining(shelf, run.record["settings"], _notes(run))

    def found() -> Iterator[Group]:
        yield from read.groups()
        for t in shelf.rounds:
            made = refining_round.Round(read, t)
            yield from made.groups()
            yield from Learned(made).groups()
            yield from refining_exam.Exam(read, t).groups()

    return found(), read.asked, partial(refining_exam.comparison, read)


def _notes(run: Run) -> dict[str, Row]:
    return {str(row.get("stage")): row for row in run.journal()}


READERS: dict[str, Callable[[Run, Shelf], Read]] = {"star-gate": _star_gate, "tripost": _tripost, "spar": _spar}


def _distinct(group: Group) -> Group:
    """Return a group in which no two entries have one id, and no title is long, whatever its file says."""

    def entries() -> Iterator[Entry]:
        met: set[str] = set()
        for entry in group.entries():
            id = next(name for name in _names(entry.id) if name not in met)
            met.add(id)
            is_fine = id == entry.id and len(entry.title) <= MOST_TITLE
            yield entry if is_fine else replace(entry, id=id, title=title(entry.title))

    return replace(group, entries=entries)


def _names(id: str) -> Iterator[str]:
    yield id
    yield from (f"{id} ({n})" for n in count(2))
