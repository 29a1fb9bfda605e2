"""Selection: lists in, lists out.

Groups come in the order of their first item. An item whose value is `None` was not scored, and is never selected.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from sparring.errors import SettingsError

T = TypeVar("T")


def top_k(items: Sequence[T], values: Sequence[float | None], k: int, per: Callable[[T], Hashable]) -> list[T]:
    """Return the `k` items of highest value in each group `per(item)`, best first, the earlier of equals first.

    A group with fewer scored items gives them all. Raises SettingsError for k < 1, ValueError for NaN or lists of
    different lengths.
    """
    _check(k)
    scored = [(item, value) for item, value in zip(items, values, strict=True) if value is not None]
    if any(math.isnan(value) for _, value in scored):
        raise ValueError("a value is NaN; what could not be scored is None")
    groups = _groups(scored, lambda pair: per(pair[0]))
    # `sorted` keeps the order of equals.
    return [item for group in groups for item, _ in sorted(group, key=lambda pair: -pair[1])[:k]]


def random_k(items: Sequence[T], k: int, per: Callable[[T], Hashable], seed: int) -> list[T]:
    """Return `k` items of each group `per(item)` drawn without replacement, in their first order.

    A draw depends on the seed, the place of its group and the group's size, not on other groups' items. A group with
    fewer items gives them all. Raises SettingsError for k < 1.
    """
    _check(k)
    chosen: list[T] = []
    for place, group in enumerate(_groups(items, per)):
        drawn = random.Random(f"{seed}/{place}").sample(range(len(group)), min(k, len(group)))
        chosen += [group[at] for at in sorted(drawn)]
    return chosen


def unique(items: Iterable[T], key: Callable[[T], Hashable]) -> list[T]:
    """Return the first item of each key."""
    first: dict[Hashable, T] = {}
    for item in items:
        first.setdefault(key(item), item)
    return list(first.values())


def draw(items: Sequence[T], k: int, rng: random.Random) -> list[T]:
    """Return `k` of the items drawn without replacement, in their first order; all where there are fewer."""
    return [items[at] for at in sorted(rng.sample(range(len(items)), max(0, min(k, len(items)))))]


def spread(items: Sequence[T], size: int) -> list[T]:
    """Return `size` of the items, evenly spaced, in their order: of every tier as many; all where there are fewer."""
    count = min(size, len(items))
    return [items[at * len(items) // count] for at in range(count)]


def _check(k: int) -> None:
    if k < 1:
        raise SettingsError(f"k is {k}; at least 1 item must be kept")


def _groups(items: Iterable[T], per: Callable[[T], Hashable]) -> list[list[T]]:
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(per(item), []).append(item)
    return list(groups.values())
