"""What a run would take, from a few of its own items: calls, tokens, money, minutes and disk, by round and role.

Every stage of the recipe was carried out in part, with the real engines. What it came to is scaled by how much the
stage has to do; a round that was not tried is taken to be like round 1. A band is two standard errors of tokens a call
wide; it knows nothing of a policy that learns to speak at greater length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sparring.budget import Price
from sparring.files import Row, read_json
from sparring.runs import Run


@dataclass(frozen=True, slots=True)
class Band:
    """An estimate with its bounds."""

    value: float
    low: float
    high: float

    def __add__(self, other: Band) -> Band:
        """Errors of different stages are independent: their squares add up."""
        below = math.hypot(self.value - self.low, other.value - other.low)
        above = math.hypot(self.high - self.value, other.high - other.value)
        value = self.value + other.value
        return Band(value, value - below, value + above)


NOTHING = Band(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Line:
    """What one role would do in one round."""

    round: str
    """`before` for what is done once, `round 0` for the evaluation of m_0."""
    role: str
    calls: Band
    prompt_tokens: Band
    completion_tokens: Band
    usd: Band | None
    """None: the price of its model is unknown."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would take, nothing read from the ledger."""

    lines: list[Line]
    minutes: dict[str, Band]
    """By round. From `low`, all calls of a stage at once, to `high`, one after another as in the trial."""
    disk: dict[str, float]
    """By round, in bytes."""
    untried: list[str]
    """Stages of which the trial made nothing, though the run will: they are in none of the figures."""

    def usd(self) -> Band | None:
        """Return the money of the whole; None where a price is unknown."""
        total = NOTHING
        for line in self.lines:
            if line.usd is None:
                return None
            total += line.usd
        return total

    def as_dict(self) -> Row:
        return {**asdict(self), "usd": (total := self.usd()) and asdict(total)}


@dataclass(frozen=True, slots=True)
class Trial:
    """A run that made a part of every stage."""

    run: Run
    done: Mapping[str, float]
    """How much each stage did."""
    at_once: int
    """Calls that may be under way at once: of so many, the last is answered about when the first is."""


def estimate(trial: Trial, due: Mapping[str, float], prices: Mapping[str, Price | None]) -> Plan:
    """Return what a run would take whose stages have so much to do (`due`); `prices` are those of the roles' models."""
    journal = {row["stage"]: row for row in trial.run.journal()}
    lines: dict[tuple[str, str], Line] = {}
    minutes: dict[str, Band] = {}
    disk: dict[str, float] = {}
    untried: list[str] = []
    for stage, todo in due.items():
        like = _tried(stage, journal)
        if todo and (like is None or not trial.done.get(like, todo)):
            untried.append(stage)
        if like is None:
            continue
        times = todo / max(1, trial.done.get(like, todo))
        place = _round(stage)
        path, known = trial.run.path / like, minutes.get(place, NOTHING)
        seconds = journal[like]["seconds"]
        took = _training(path, seconds, times) if path.is_dir() else _minutes(journal[like], times, trial.at_once)
        minutes[place] = Band(known.value + took.value, known.low + took.low, known.high + took.high)
        disk[place] = disk.get(place, 0.0) + _bytes(path, times)
        for line in _lines(journal[like], place, times, prices):
            earlier = lines.get((place, line.role))
            lines[place, line.role] = _sum(earlier, line) if earlier else line
    return Plan(list(lines.values()), minutes, disk, untried)


def _tried(stage: str, journal: Mapping[str, Row]) -> str | None:
    """Return the stage that tells what this one takes: itself, or its like in round 1."""
    folder, _, name = stage.rpartition("/")
    for like in (stage, f"round-1/{name}" if folder else ""):
        if like in journal:
            return like
    return None


def _round(stage: str) -> str:
    folder = stage.rpartition("/")[0]
    return folder.replace("-", " ") if folder else "before"


def _lines(row: Row, place: str, times: float, prices: Mapping[str, Price | None]) -> Iterator[Line]:
    for role, count in row.get("calls", {}).items():
        spread = row["spread"][role]
        prompt, completion = (
            _scaled(count[name], spread[name], count["calls"], times) for name in ("prompt_tokens", "completion_tokens")
        )
        calls = Band(times * count["calls"], times * count["calls"], times * count["calls"])
        yield Line(place, role, calls, prompt, completion, _usd(prompt, completion, prices.get(role)))


def _scaled(total: float, spread: float, calls: int, times: float) -> Band:
    """Return `times` the sum of `calls` calls, with two standard errors of their mean."""
    error = 2 * times * spread * math.sqrt(calls)
    return Band(times * total, max(0.0, times * total - error), times * total + error)


def _usd(prompt: Band, completion: Band, price: Price | None) -> Band | None:
    if price is None:
        return None
    read, written = price.prompt / 1e6, price.completion / 1e6
    bands = (Band(rate * b.value, rate * b.low, rate * b.high) for rate, b in ((read, prompt), (written, completion)))
    return next(bands) + next(bands)


def _sum(one: Line, other: Line) -> Line:
    usd = one.usd + other.usd if one.usd and other.usd else None
    tokens = (one.prompt_tokens + other.prompt_tokens, one.completion_tokens + other.completion_tokens)
    return Line(one.round, one.role, one.calls + other.calls, *tokens, usd)


def _minutes(row: Row, times: float, at_once: int) -> Band:
    """Return a stage's time: from as many calls at once as the engine takes, to no more at once than were tried."""
    minutes = row["seconds"] / 60
    calls = sum(count["calls"] for count in row.get("calls", {}).values())
    low = max(1.0, times * calls / max(at_once, calls)) if calls else times
    return _between(minutes * low, minutes * max(times, low))


def _training(checkpoint: Path, seconds: float, times: float) -> Band:
    """Return a training's time: starting up once, then a step as long as a tried one, or longer as it has more rows."""
    report = read_json(checkpoint / "training.json")
    begun = max(0.0, seconds - report["seconds"]) / 60
    batch, rows = report["job"]["settings"]["batch_size"], report["rows"]["train"]
    full = times * min(rows, batch) / batch  # steps, of which a tried one had no more rows than there were
    return _between(*(begun + report["seconds"] / 60 * max(1.0, factor) for factor in (full, times)))


def _between(low: float, high: float) -> Band:
    """Return a band of unknown shape: in its middle, as ratios go."""
    return Band(math.sqrt(low * high), low, high)


def _bytes(path: Path, times: float) -> float:
    if path.is_dir():  # a checkpoint is as large whatever it was trained on
        return float(sum(part.stat().st_size for part in path.rglob("*") if part.is_file()))
    return times * path.stat().st_size
