"""What a run came to: every metric by round, what it took, one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from sparring.evals.statistics import Interval
from sparring.files import Row
from sparring.runs import Run


def summary(recipe: str, run: Run, rounds: Sequence[Row], verdict: str, billed: Row) -> Row:
    """Return what summary.json holds; `rounds` are what was found of m_0, m_1, ...

    `billed` is what the ledger says of the calls that cost: by role, what was billed by this attempt, by earlier ones,
    and may have been billed without an answer. `calls` counts all that was asked; the difference was free.
    """
    return {
        "recipe": recipe,
        "verdict": verdict,
        "rounds": [{"round": t, **found} for t, found in enumerate(rounds)],
        "calls": run.calls(),
        "billed": billed,
        "seconds": run.seconds(),
    }


def as_row(metrics: dict[str, Interval | None]) -> Row:
    return {name: found and found.as_dict() for name, found in metrics.items()}


def changed(low: float, high: float, without: float) -> str:
    """Say what an interval means, where `without` is the value if nothing had changed."""
    return "improved" if low > without else "got worse" if high < without else "did not improve"
