"""m_0 beside the last model: the group of every recipe in which the same held-out item stands twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sparring.report.browse.core import Entry, Group
from sparring.report.browse.rows import Shelf


def first_and_last(shelf: Shelf, name: Callable[[int], str]) -> tuple[int, int] | None:
    """Return the rounds to compare: m_0 and the last that tried the file `name` of its round; None before there are
    two."""
    tried = [t for t in shelf.rounds if name(t) in shelf]
    return (0, tried[-1]) if len(tried) > 1 and tried[0] == 0 else None


def beside(last: int, both: Sequence[str], about: str, entries: Callable[[], Iterator[Entry]]) -> Group:
    """Return the group of what m_0 and m_`last` both did; `both` are its ids."""
    return Group("comparison", f"m_0 and m_{last}", None, "comparison", about, entries, len(both))
