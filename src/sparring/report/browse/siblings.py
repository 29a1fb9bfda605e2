"""Rollouts beside their siblings: those of the same task and persona, or of the same prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sparring.report.browse.core import Cell, Grid, Link

MOST = 50
"""Siblings in a table: the best, and always the one that is looked at."""


@dataclass(frozen=True)
class Siblings:
    """What every rollout of a file is worth, by its id, and its place among its siblings."""

    of: dict[str, str] = field(default_factory=lambda: dict[str, str]())
    """What it is a rollout of."""
    values: dict[str, float | None] = field(default_factory=lambda: dict[str, float | None]())
    places: dict[str, tuple[int, int]] = field(default_factory=lambda: dict[str, tuple[int, int]]())
    """Rank, from 1 (best), and how many have one; equals share a rank."""
    families: dict[str, list[str]] = field(default_factory=lambda: dict[str, list[str]]())
    """Best first, then those without a value; equals in the order of the file."""

    @staticmethod
    def among(items: Iterable[tuple[str, str, float | None]]) -> Siblings:
        """Rank (id, what it is a rollout of, value). The first of twins counts."""
        made = Siblings()
        for id, of, value in items:
            if id not in made.of:
                made.of[id], made.values[id] = of, value
                made.families.setdefault(of, []).append(id)
        for ids in made.families.values():
            _rank(made, ids)
        return made

    def place(self, id: str) -> tuple[int | None, int | None]:
        return self.places.get(id, (None, None))

    def told(self, id: str) -> str | None:
        """Return "2 of 10"; None for one without a value."""
        rank, of = self.place(id)
        return None if rank is None else f"{rank} of {of}"

    def grid(self, id: str, group: str, head: str, said: Callable[[str], str], label: str = "siblings") -> Grid:
        """Return a table of the siblings of one, itself marked; `head` says what a value is, `said` what came of one.

        Every row leads to its entry in `group`.
        """
        ids = self.families.get(self.of.get(id, ""), [])
        shown = ids[:MOST] if id in ids[:MOST] or id not in self.of else [*ids[:MOST], id]
        if len(shown) < len(ids):
            label = f"{label}: the best {MOST} of {len(ids)}"
        rows: list[list[Cell]] = [
            [f"{one} (this)" if one == id else one, *self._cells(one, head), said(one)] for one in shown
        ]
        columns = ("rollout", *((head, "rank") if head else ()), "what came of it")
        return Grid(label, columns, rows, tuple(None if one == id else Link(one, group, one) for one in shown))

    def _cells(self, id: str, head: str) -> list[Cell]:
        value = self.values[id]
        return [None if value is None else round(value, 4), self.place(id)[0]] if head else []


def _rank(made: Siblings, ids: list[str]) -> None:
    known = [(value, id) for id in ids if (value := made.values[id]) is not None]
    known.sort(key=lambda pair: -pair[0])
    rank = 0
    for at, (value, id) in enumerate(known, 1):
        rank = rank if at > 1 and value == known[at - 2][0] else at
        made.places[id] = (rank, len(known))
    ids[:] = [id for _, id in known] + [id for id in ids if made.values[id] is None]
