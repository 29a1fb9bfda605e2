"""The figures of a run as a page says them: rounded, with their units, sorted into what leads and what follows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from sparring.evals.certificate import limits
from sparring.report.certificates import ROWS, Certificates
from sparring.report.parts import Unit, as_row
from sparring.report.record import Charge, Metric, Paid, Record, Stage
from sparring.report.terminal import REPORTS, verdicts

T = TypeVar("T", int, float)

LEADING = 4
"""Curves that are seen at once."""
BARS = 14
"""Stages that get a bar; the rest are one."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one round."""

    value: str
    """With its unit; a dash where it was not measured."""
    interval: str = ""
    """95 %, in the same unit; "" where nothing tells it."""
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One metric of all rounds."""

    label: str
    under: bool
    """Whether it explains the line above it."""
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Certified:
    """One metric of the judge's certificates."""

    label: str
    under: bool
    """Whether it explains the line above it."""
    required: str
    """What it must be; "" where it may be anything."""
    cells: tuple[tuple[Cell, bool], ...]
    """By round: the figure, and whether it is as required."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a page says of a run beside its texts."""

    title: str
    """The recipe's name."""
    headline: Line | None
    """None while the run goes on."""
    table: tuple[Line, ...]
    leading: tuple[Metric, ...]
    """Whose curves are seen at once."""
    following: tuple[Metric, ...]
    verdicts: tuple[str, ...]
    """Each round's, and what it is warned of."""
    judge: tuple[Certified, ...]
    """What was measured of it; empty where it was never certified."""
    seconds: float | None
    """All stages; None: no stage says."""
    calls: int | None
    """By all roles; None: no stage says."""
    failed: int
    bars: tuple[tuple[str, float], ...]
    """Stages with their seconds, in the order in which they were made."""
    charges: tuple[tuple[str, ...], ...]
    """A row a role: who, calls, tokens in, tokens out, and what was billed."""
    lost: tuple[tuple[str, int], ...]
    """Roles with calls that may have been billed without an answer, and how many."""
    settings: tuple[tuple[str, str], ...]
    """Dotted name and value."""


def figures_of(record: Record) -> Figures:
    """Return the figures of a run."""
    first = _leading(record)
    return Figures(
        title=report.name if (report := REPORTS.get(record.recipe)) else record.recipe,
        headline=_line(first[0]) if first else None,
        table=tuple(_line(metric) for metric in record.metrics),
        leading=tuple(first),
        following=tuple(metric for metric in record.metrics if metric not in first),
        verdicts=tuple(verdicts(record.rounds)),
        judge=tuple(_certified(record.certificates)),
        seconds=_total(stage.seconds for stage in record.stages),
        calls=_total(charge.calls for charge in record.bill),
        failed=sum(failed.n for failed in record.failures),
        bars=_bars(record.stages),
        charges=tuple(_charge(charge) for charge in record.bill),
        lost=tuple((charge.role, charge.lost) for charge in record.bill if charge.lost),
        settings=tuple(_flat(record.settings)),
    )


def _total(numbers: Iterable[T | None]) -> T | None:
    known = [number for number in numbers if number is not None]
    return sum(known[1:], known[0]) if known else None


def _leading(record: Record) -> list[Metric]:
    """Return what the recipe is for, then what else stands on its own."""
    report = REPORTS.get(record.recipe)
    first = [report.decisive, *report.headlines] if report else []
    own = [metric.name for metric in record.metrics if not metric.label.startswith("·")]
    known = {metric.name: metric for metric in record.metrics}
    return [known[name] for name in dict.fromkeys([*first, *own]) if name in known][:LEADING]


def amount(value: float, unit: Unit) -> str:
    """Return "92.3 %", "+6.2 points", "-8.8 nats"; a minus sign is a minus sign."""
    times, sign = (100 if unit in ("%", "points") else 1), ("+" if unit == "points" else "")
    return f"{round(times * value, 1) + 0.0:{sign}.1f}".replace("-", "−") + f" {unit}"  # no -0.0


def duration(seconds: float | None) -> str:
    """Return "0.2 s", "41 s", "12 min 5 s", "3 h 20 min"; a dash where it is not known."""
    if seconds is None:
        return "–"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def count(n: float | None) -> str:
    """Return a number with commas; a dash where it is not known."""
    return "–" if n is None else f"{n:,}"


def money(paid: Paid | None) -> str:
    """Return what was billed: "0.1234 USD", "12 calls, price unknown", "nothing"; a dash where it is not known."""
    if paid is None:
        return "–"
    if not paid.calls:
        return "nothing"
    return f"{paid.calls:,} calls, price unknown" if paid.usd is None else f"{paid.usd:.4f} USD"


def _line(metric: Metric) -> Line:
    label = metric.label.removeprefix("·").strip()
    return Line(label, metric.label != label, tuple(cell(one, metric.unit) for one in metric.rounds))


def cell(one: Mapping[str, Any] | None, unit: Unit) -> Cell:
    """Return a metric of one round as it is shown."""
    if one is None:
        return Cell("–")
    low, high = one.get("low"), one.get("high")
    interval = "" if low is None or high is None else f"{bare(low, unit)} to {bare(high, unit)}"
    return Cell(amount(one["value"], unit), interval, one.get("n"))


def _certified(found: Certificates) -> Iterator[Certified]:
    for name, label, unit in ROWS:
        values = [(one, one.metrics.get(name)) for one in found.rounds.values()]
        if any(value for _, value in values):
            bound = found.required.get(name)
            asked = {} if bound is None else {name: bound}
            cells = tuple((cell(as_row(value), unit), not one.passes(asked)) for one, value in values)
            plain = label.removeprefix("· ")
            yield Certified(plain, plain != label, "" if bound is None else _required(name, bound, unit), cells)


def _required(name: str, bound: float, unit: Unit) -> str:
    """Return "at least 65.0 %", "at most 10.0 %", "−20.0 to +20.0 points"."""
    least, most = limits(name, bound)
    if most is None:
        return f"at least {amount(least, unit)}"
    return f"at most {amount(most, unit)}" if unit == "%" else f"{bare(least, unit)} to {amount(most, unit)}"


def bare(value: float, unit: Unit) -> str:
    """Return an amount without its unit."""
    return amount(value, unit).rpartition(" ")[0]


def _bars(stages: Sequence[Stage]) -> tuple[tuple[str, float], ...]:
    timed = [(stage.name, stage.seconds) for stage in stages if stage.seconds is not None]
    slowest = sorted(timed, key=lambda row: -row[1])[:BARS]
    shown = tuple(row for row in timed if row in slowest)
    rest = sum(seconds for _, seconds in timed) - sum(seconds for _, seconds in shown)
    return (*shown, (f"{len(timed) - len(shown)} other stages", round(rest, 3))) if len(timed) > len(shown) else shown


def _charge(charge: Charge) -> tuple[str, ...]:
    return (
        charge.role,
        count(charge.calls),
        *tokens(charge),
        money(charge.now),
        money(charge.earlier),
        count(charge.free),
    )


def tokens(asked: Charge | Stage) -> tuple[str, str]:
    """Return the tokens that went in and came out; dashes for an engine that does not count, whose calls have none."""
    counted = not asked.calls or asked.prompt_tokens or asked.completion_tokens
    return (count(asked.prompt_tokens), count(asked.completion_tokens)) if counted else ("–", "–")


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(cast(Mapping[str, Any], value), f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", _said(value)))
    return rows


def _said(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case list():
            return ", ".join(_said(one) for one in cast("list[object]", value)) or "none"
        case _:
            return str(value) or "(empty)"
