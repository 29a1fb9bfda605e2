"""What the reports of all recipes are made of: a table of rounds, a line a round, an example."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.panel import Panel
from rich.table import Table

from sparring.evals.statistics import Interval

Unit = Literal["%", "points", "nats", "words", "questions"]
Metrics = Mapping[str, Interval | None]


@dataclass(frozen=True, slots=True)
class Report:
    """How a recipe's rounds are shown."""

    name: str
    """The method's, as its paper writes it."""
    title: str
    headlines: tuple[str, ...]
    """What the recipe is for, in three metrics."""
    decisive: str
    """The metric that rounds are compared by; larger is better."""
    rows: Sequence[tuple[str, str, Unit]]
    """Metric, label and unit; a metric that no round has is left out."""
    line: Callable[[Metrics], str]
    """A round in one line, when it was evaluated."""
    example: Callable[[Path, int], Iterable[Panel]]
    """(run, last round) -> one held-out item, before and after."""
    holds: str
    """What the run directory holds."""
    bounds: bool = True
    """Whether both bounds of an interval are shown, or how far the farther is."""

    def table(self, rounds: Sequence[Mapping[str, Any]]) -> Table:
        """Return the metrics of every round."""
        table = Table(title=self.title, title_justify="left", box=box.HEAVY_HEAD if self.bounds else box.SIMPLE_HEAD)
        table.add_column("")
        for entry in rounds:
            table.add_column(f"m_{entry['round']}", justify="right")
        for name, label, unit in self.rows:
            found = [entry["metrics"].get(name) for entry in rounds]
            if any(found):
                table.add_row(label, *[figure(metric, unit, self.bounds) for metric in found])
        return table


def figure(metric: Mapping[str, Any] | None, unit: Unit, bounds: bool = True) -> str:
    """Return "82.1 % [79.0, 85.0]", or "82.1 % ±3.1" with the wider side; a dash where nothing is known."""
    if metric is None:
        return "-"
    value, low, high = (metric[name] for name in ("value", "low", "high"))
    text = f"{_shown(value, unit, '+' if unit == 'points' else '')}{' %' if unit == '%' else ''}"
    if low is None:
        return text
    if bounds:
        return f"{text} \\[{_shown(low, unit)}, {_shown(high, unit)}]"
    return f"{text} ±{_shown(max(high - value, value - low), unit)}"


def _shown(value: float, unit: Unit, sign: str = "") -> str:
    times = 100 if unit in ("%", "points") else 1
    return f"{round(times * value, 1) + 0.0:{sign}.1f}"  # no -0.0


def as_row(interval: Interval | None) -> Mapping[str, Any] | None:
    return interval and interval.as_dict()
