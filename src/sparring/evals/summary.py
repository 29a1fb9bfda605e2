"""What a run came to: every metric by round, each round's verdict, what it took, one sentence.

A round is held against the best one before it: m_0, until a round improves on it, and from then on that one. So every
verdict is one paired test against one model, and not against the luckiest of several.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from sparring.evals.gauges import exceeded
from sparring.evals.statistics import Interval
from sparring.files import Row
from sparring.runs import Run

SURE = 0.05
"""A p-value below this tells two models apart."""

Word = Literal["improved", "did not improve", "got worse", "could not be judged"]
Gains = Sequence[Interval | None]


class Examined(Protocol):
    """What an evaluation found of one round's model."""

    @property
    def metrics(self) -> Mapping[str, Interval | None]: ...
    def row(self) -> Row: ...


E = TypeVar("E", bound=Examined)
Against = Callable[[E, E], Gains]
"""(one evaluation, an earlier one) -> by how much the headline metrics are better, as paired differences."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a round did against the best one before it."""

    word: Word
    p: float | None
    """Of the headline metrics the largest, or if it got worse the first; None where it could not be judged."""
    over: int
    """The round that it was held against."""
    best: int
    """The best round once this one is known."""
    rolled_back: bool = False
    """Whether the next round starts from `best` because this one got worse."""

    @property
    def text(self) -> str:
        back = f", rolled back to round {self.best}" if self.rolled_back else ""
        return f"{said(self.word, self.p, f'against round {self.over}')}{back}"


def summary(recipe: str, run: Run, rounds: Sequence[Row], verdict: str, billed: Row) -> Row:
    """Return what summary.json holds; `rounds` are what was found of m_0, m_1, ...

    `billed` is what the ledger says of the calls that cost: by role, what was billed by this attempt, by earlier ones,
    and may have been billed without an answer. `calls` counts all that was asked; the difference was free.
    """
    if rounds[-1].get("rolled_back"):
        verdict += f"; rolled back, what the run came to is round {rounds[-1]['best']}"
    return {
        "recipe": recipe,
        "verdict": verdict,
        "rounds": [{"round": t, **found} for t, found in enumerate(rounds)],
        "calls": run.calls(),
        "billed": billed,
        "seconds": run.seconds(),
    }


def rounds(found: Sequence[E], against: Against[E], roll_back: bool) -> list[Row]:
    """Return what summary.json says of each round: what was found, its verdict, the best so far, and warnings.

    `rolled_back`: the next round began from the best so far, because this one got worse.
    """
    judged = [None, *verdicts(found, against, roll_back)]
    return [
        {
            **one.row(),
            "verdict": verdict and verdict.text,
            "best": verdict.best if verdict else 0,
            "rolled_back": bool(verdict and verdict.rolled_back),
            "warnings": exceeded(one.metrics, found[0].metrics),
        }
        for one, verdict in zip(found, judged, strict=True)
    ]


def verdicts(found: Sequence[E], against: Against[E], roll_back: bool = False) -> list[Verdict]:
    """Return how m_1, m_2, ... did, each against the best before it."""
    told: list[Verdict] = []
    best = 0
    for t in range(1, len(found)):
        over = best
        word, p = judged(against(found[t], found[over]))
        best = t if word == "improved" else over
        told.append(Verdict(word, p, over, best, roll_back and word == "got worse"))
    return told


def best(found: Sequence[E], against: Against[E]) -> int:
    """Return the best round so far: m_0, until a later one improves on it."""
    told = verdicts(found, against)
    return told[-1].best if told else 0


def judged(gains: Gains, without: float = 0.0) -> tuple[Word, float | None]:
    """Return what gains mean, where `without` is their value if nothing had changed, and their p.

    Of several the first is what the recipe is for. All must have improved, so the largest p counts; one that fell is
    worse whatever the others did, so its own p counts.
    """
    known = [(gain.value - without, gain.p) for gain in gains if gain and gain.low is not None and gain.p is not None]
    if not known or len(known) < len(gains):
        return "could not be judged", None
    (first, own), p = known[0], max(p for _, p in known)
    if own < SURE and first < 0:
        return "got worse", own
    return ("improved" if p < SURE and min(value for value, _ in known) > 0 else "did not improve"), p


def said(word: Word, p: float | None, against: str = "") -> str:
    """Return a word with its p: "improved (p = 0.012)"."""
    if p is None:
        return word
    shown = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return f"{word} ({' '.join([shown, against]).strip()})"


def as_row(metrics: Mapping[str, Interval | None]) -> Row:
    return {name: found and found.as_dict() for name, found in metrics.items()}
