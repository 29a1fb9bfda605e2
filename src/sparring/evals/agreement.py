"""How far several votes on one thing agree, and intervals of what is no mean.

Krippendorff's alpha is one less the disagreement that was seen over that to be expected if votes were dealt out by
chance: 1 is agreement throughout, 0 is chance, below it votes contradict each other more often than chance would have
it. Votes that are missing are left out, as https://repository.upenn.edu/asc_papers/43 has it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sparring.evals.statistics import DRAWS, Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS = 2_000_000
"""Most numbers drawn at once: 16 MB."""
Statistic = Callable[["NDArray[Any]", "NDArray[Any]"], "NDArray[Any]"]
"""(different items, a line each [kinds, columns]; how often each was drawn [draws, kinds]) -> a value a draw, NaN for
none."""


def alpha(units: Iterable[Sequence[Hashable | None]]) -> Interval | None:
    """Return Krippendorff's alpha for names (nominal) of the votes on each unit, None for one that is missing.

    Units with fewer than two votes say nothing and are left out; `n` counts the others. None where there is none, and
    where all votes are the same: then nothing could have disagreed. The interval is of drawing units anew.
    """
    said = [[vote for vote in votes if vote is not None] for votes in units]
    names = list(dict.fromkeys(vote for votes in said for vote in votes))
    return resampled([[float(votes.count(name)) for name in names] for votes in said if len(votes) > 1], _alpha)


def _alpha(kinds: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    size = kinds.sum(axis=1)
    differ = (size**2 - (kinds**2).sum(axis=1)) / (size - 1)  # pairs of votes on the unit that differ, a vote
    of_each = counts @ kinds
    n = of_each.sum(axis=1)
    with np.errstate(invalid="ignore"):
        expected = (n**2 - (of_each**2).sum(axis=1)) / (n - 1)
        return np.where(expected > 0, 1 - (counts @ differ) / np.where(expected > 0, expected, 1), np.nan)


def resampled(items: Sequence[Sequence[float]], statistic: Statistic, *, seed: int = 0) -> Interval | None:
    """Return a statistic of items with its 95 % percentile-bootstrap interval; None where it has no value.

    Draws for which the statistic has no value are left out.
    """
    import numpy as np

    if not items:
        return None
    kinds, counts = np.unique(np.array(items, dtype=float), axis=0, return_counts=True)
    value = float(statistic(kinds, counts[None])[0])
    if np.isnan(value):
        return None
    if len(items) == 1:
        return Interval(value, None, None, 1)
    generator, block = np.random.default_rng(seed), max(1, CELLS // len(kinds))
    sizes = [min(block, DRAWS - start) for start in range(0, DRAWS, block)]
    shares = counts / len(items)
    drawn = np.concatenate([statistic(kinds, generator.multinomial(len(items), shares, size=size)) for size in sizes])
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Interval(value, min(float(low), value), max(float(high), value), len(items))
