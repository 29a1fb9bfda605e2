"""The table of all figures: ours, what it stands beside in the same run, and what the project's issues ask of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

Results = Mapping[str, float | str]
"""By key: a figure, or the reason why there is none."""
HEAD = ("figure", "ours", "against", "its figure", "ratio", "asked (aim)", "reached")


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. `ours`, `peer` and `ratio` are keys of results."""

    what: str
    ours: str
    unit: str = ""
    against: str = ""
    """The peer or the limit, by its name."""
    peer: str = ""
    ratio: str = ""
    """Ours over the peer's, a median over pairs; empty: of the two figures as they stand."""
    asked: float | None = None
    aim: float | None = None
    of: Literal["ratio", "ours"] = "ratio"
    """What is asked of."""
    at_most: bool = False
    """Whether less is better."""

    def cells(self, results: Results) -> tuple[str, ...]:
        ours, peer = results.get(self.ours, "no result"), results.get(self.peer, "")
        if isinstance(ours, str):
            return self.what, f"not measured: {ours}", self.against, "", "", self._asked(), ""
        if isinstance(peer, str):
            against, ratio = f"{self.against} (not measured: {peer})" if peer else self.against, None
        else:
            against, ratio = self.against, results[self.ratio] if self.ratio else ours / peer
            assert not isinstance(ratio, str)
        judged = ours if self.of == "ours" else ratio
        return (
            self.what,
            shown(ours, self.unit),
            against,
            "" if isinstance(peer, str) else shown(peer, self.unit),
            "" if ratio is None else f"{ratio:.3g}",
            self._asked(),
            "" if judged is None else self.reached(judged),
        )

    def reached(self, value: float) -> str:
        if self.asked is None:
            return ""
        if not self._holds(value, self.asked):
            return "**missed**"
        return "yes" if self.aim is None else "aim" if self._holds(value, self.aim) else "at least"

    def _holds(self, value: float, bound: float) -> bool:
        return value <= bound if self.at_most else value >= bound

    def _asked(self) -> str:
        if self.asked is None:
            return ""
        unit = self.unit if self.of == "ours" else ""
        aim = "" if self.aim is None else f" ({shown(self.aim, unit)})"
        return f"{'≤' if self.at_most else '≥'} {shown(self.asked, unit)}{aim}"


def unmeasured(figures: Sequence[Figure], why: str) -> dict[str, float | str]:
    """Return the results of a benchmark that cannot run here."""
    return {figure.ours: why for figure in figures}


def table(figures: Sequence[Figure], results: Results) -> Iterator[str]:
    """Yield the lines of the table, in Markdown. What could not be measured for one reason is one line."""
    rows = [HEAD]
    for why, group in groupby(figures, key=lambda figure: _reason(figure, results) or figure):
        first, *rest = group
        cells = first.cells(results)
        more = f" and {len(rest)} more" if rest and isinstance(why, str) else ""
        rows.append((first.what + more, *cells[1:]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for at, row in enumerate(rows):
        yield f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        if at == 0:
            yield f"|{'|'.join('-' * (width + 2) for width in widths)}|"


def _reason(figure: Figure, results: Results) -> str:
    found = results.get(figure.ours)
    return found if isinstance(found, str) else ""


def shown(value: float, unit: str = "") -> str:
    """Return a number as people read it, to three figures, with its unit."""
    plain = 1e-3 <= abs(value) < 1e9 or value == 0
    digits = (f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}") if plain else f"{value:.2g}"
    return f"{digits} {unit}".strip()
