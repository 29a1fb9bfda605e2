"""Means with intervals, and paired differences with a test.

A cluster is what was drawn independently (a pair of task and persona, a task); the values inside one are not (the ten
conversations of a pair). So the bootstrap draws clusters, and the paired test flips the sign of a cluster's difference.
What is not known is `None`, never 0.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DRAWS = 10_000
_CELLS = 2_000_000
"""Most numbers drawn at once: 16 MB."""
_ENUMERATED = 13
"""Most differences whose signs are gone through one by one: 8192 ways, no more than are drawn."""
_MANY = 1000
"""Clusters from which on it pays to draw how often each value comes, where there are few values (right or wrong)."""
_FEW = 8
"""Different values that are few."""

Cluster = TypeVar("Cluster", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and how far it is known."""

    value: float
    low: float | None
    """Lower bound, <= value; None where a single cluster tells nothing about the spread."""
    high: float | None
    """Upper bound, >= value; None with `low`."""
    n: int
    """Clusters, >= 1."""
    p: float | None = None
    """Of a paired difference, two-sided: how often chance alone makes one as large; None for any other mean."""

    def as_dict(self) -> dict[str, float | int | None]:
        return {name: value for name, value in asdict(self).items() if name != "p" or value is not None}


def mean_interval(
    values: Mapping[Cluster, Sequence[float]] | Sequence[float], *, confidence: float = 0.95, seed: int = 0
) -> Interval | None:
    """Return the mean of the clusters' means with its percentile-bootstrap interval, or None where there is no value.

    Plain values are clusters of one; a cluster without values does not count. The order of clusters does not matter.
    Clusters that all agree give bounds equal to the value. Raises ValueError for a value that is not finite and for a
    confidence outside (0, 1).
    """
    import numpy as np

    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it lies between 0 and 1")
    clusters = values.values() if isinstance(values, Mapping) else [[value] for value in values]
    means = np.sort(np.array([np.mean(cluster) for cluster in clusters if len(cluster)], dtype=float))
    if not np.isfinite(means).all():
        raise ValueError("a value is not finite; leave out what could not be measured")
    return _interval(means, confidence, seed) if len(means) else None


def ratio_interval(
    values: Mapping[Cluster, Sequence[float]], *, confidence: float = 0.95, seed: int = 0
) -> Interval | None:
    """Return the mean of all values, whatever cluster they are of, or None where there is no value.

    A cluster counts by its size, unlike in `mean_interval`; still, clusters are what is drawn. `n` is their number.
    Raises ValueError as `mean_interval` does.
    """
    import numpy as np

    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it lies between 0 and 1")
    pairs = np.array([(sum(cluster), len(cluster)) for cluster in values.values() if len(cluster)], dtype=float)
    if not np.isfinite(pairs).all():
        raise ValueError("a value is not finite; leave out what could not be measured")
    if not len(pairs):
        return None
    total, size = pairs.sum(axis=0)
    value = float(total / size)
    if len(pairs) == 1:
        return Interval(value, None, None, 1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(_ratio_draws(pairs, seed), [tail, 1 - tail])
    return Interval(value, min(float(low), value), max(float(high), value), len(pairs))


def paired_difference(
    a: Mapping[Cluster, float], b: Mapping[Cluster, float], *, confidence: float = 0.95, seed: int = 0
) -> Interval | None:
    """Return the mean of `a` minus `b` over the clusters that both have, with its p, or None where they share none."""
    shared = [a[cluster] - b[cluster] for cluster in a if cluster in b]
    found = mean_interval(shared, confidence=confidence, seed=seed)
    return found and replace(found, p=sign_flip_p(shared, seed=seed))


def sign_flip_p(differences: Sequence[float], *, seed: int = 0) -> float:
    """Return the two-sided p-value of paired differences, one a cluster, by the sign-flip permutation test.

    Where nothing differs, each difference might as well have had the other sign: what is drawn are signs, one a
    cluster, and p is the share of such draws whose mean lies as far from 0 as the one that was found. Up to 13
    differences other than 0 all ways are gone through, and p is exact (of right and wrong answers it is McNemar's exact
    test); beyond, 10,000 are drawn, and the one found is counted among them, so that p is never 0.
    """
    import numpy as np

    sizes, counts = np.unique(np.abs([one for one in differences if one]), return_counts=True)
    if not len(sizes):
        return 1.0
    found = abs(float(np.sum(differences))) * (1 - 1e-9)  # as far is as far, whatever the order of summing
    if counts.sum() <= _ENUMERATED:
        values = np.repeat(sizes, counts)
        signs = np.arange(2 ** len(values))[:, None] >> np.arange(len(values)) & 1
        return float(np.mean(np.abs((2 * signs - 1) @ values) >= found))
    generator = np.random.default_rng(seed)
    block = max(1, _CELLS // len(sizes))
    blocks = [min(block, DRAWS - start) for start in range(0, DRAWS, block)]
    # Of n differences of one size, so many are positive as heads in n throws.
    drawn = ((2 * generator.binomial(counts, 0.5, (n, len(sizes))) - counts) @ sizes for n in blocks)
    return (1 + sum(int(np.sum(np.abs(sums) >= found)) for sums in drawn)) / (1 + DRAWS)


def overlap(a: Interval, b: Interval) -> bool:
    """Tell whether two intervals have a point in common; one without bounds cannot be told apart from any other."""
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return True
    return a.low <= b.high and b.low <= a.high


def _interval(means: NDArray[np.float64], confidence: float, seed: int) -> Interval:
    import numpy as np

    # Rounding may carry a mean of equal numbers past them.
    value = float(np.clip(means.mean(), means[0], means[-1]))
    if len(means) == 1:
        return Interval(value, None, None, 1)
    tail = (1 - confidence) / 2
    low, high = np.clip(np.quantile(_draws(means, seed), [tail, 1 - tail]), means[0], means[-1])
    return Interval(value, min(float(low), value), max(float(high), value), len(means))


def _draws(means: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Return the means of `DRAWS` resamples, drawn in blocks that fit into memory."""
    import numpy as np

    generator = np.random.default_rng(seed)
    if len(means) >= _MANY:
        values, counts = np.unique(means, return_counts=True)
        if len(values) <= _FEW:  # the same distribution, a hundred times faster
            return generator.multinomial(len(means), counts / len(means), size=DRAWS) @ values / len(means)
    block = max(1, _CELLS // len(means))
    sizes = [min(block, DRAWS - start) for start in range(0, DRAWS, block)]
    picks = (generator.integers(len(means), size=(size, len(means))) for size in sizes)
    return np.concatenate([means[pick].mean(axis=1) for pick in picks])


def _ratio_draws(pairs: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Return the ratios of `DRAWS` resamples of (sum, size): how often each different pair is drawn, in blocks."""
    import numpy as np

    generator = np.random.default_rng(seed)
    kinds, counts = np.unique(pairs, axis=0, return_counts=True)
    block = max(1, _CELLS // len(kinds))
    sizes = [min(block, DRAWS - start) for start in range(0, DRAWS, block)]
    drawn = (generator.multinomial(len(pairs), counts / len(pairs), size=size) @ kinds for size in sizes)
    return np.concatenate([sums[:, 0] / sums[:, 1] for sums in drawn])
