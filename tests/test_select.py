"""Selection: what is kept of scored items, and in which order."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.errors import SettingsError
from sparring.select import draw, random_k, spread, top_k, unique

ITEMS = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.floats(-9, 9)), max_size=30)


def group(item: tuple[str, object]) -> str:
    return item[0]


def numbered(pairs: list[tuple[str, float | None]]) -> list[tuple[str, int]]:
    return [(name, at) for at, (name, _) in enumerate(pairs)]


def test_the_best_of_each_group_are_kept_best_first_and_groups_stay_in_their_order() -> None:
    items = ["b1", "a1", "b2", "a2", "b3"]
    assert top_k(items, [1.0, 5.0, 3.0, 9.0, 2.0], 2, per=lambda item: item[0]) == ["b2", "b3", "a2", "a1"]


def test_of_equal_values_the_earlier_item_is_kept() -> None:
    assert top_k(["x", "y", "z"], [0.0, 1.0, 1.0], 1, per=lambda _: 0) == ["y"]


def test_an_unscored_item_is_never_kept_even_where_its_group_then_gives_nothing() -> None:
    assert top_k(["a1", "b1"], [None, -5.0], 1, per=lambda item: item[0]) == ["b1"]


@given(ITEMS, st.integers(1, 5))
@settings(deadline=None)
def test_no_scored_item_left_behind_beats_one_that_was_kept(pairs: list[tuple[str, float | None]], k: int) -> None:
    items, value = numbered(pairs), [value for _, value in pairs]
    kept = top_k(items, value, k, per=group)
    assert len(set(kept)) == len(kept)
    assert all(value[at] is not None for _, at in kept)
    for name in "abc":
        ours = [value[at] for here, at in kept if here == name]
        rest = [value[at] for here, at in set(items) - set(kept) if here == name and value[at] is not None]
        scored = len(ours) + len(rest)
        assert len(ours) == min(k, scored)
        assert ours == sorted(ours, reverse=True)
        assert not ours or not rest or min(ours) >= max(rest)


@given(ITEMS, st.integers(1, 5), st.integers(0, 99))
@settings(deadline=None)
def test_a_random_draw_takes_k_distinct_items_of_each_group_and_can_be_repeated(pairs, k: int, seed: int) -> None:
    items = numbered(pairs)
    drawn = random_k(items, k, per=group, seed=seed)
    assert drawn == random_k(items, k, per=group, seed=seed)
    assert set(drawn) <= set(items)
    assert len(set(drawn)) == len(drawn)
    sizes = Counter(name for name, _ in items)
    assert Counter(name for name, _ in drawn) == {name: min(k, size) for name, size in sizes.items()}


def test_every_item_can_be_drawn_and_the_seed_decides_which() -> None:
    drawn = Counter(random_k(list("abcde"), 1, per=lambda _: 0, seed=seed)[0] for seed in range(500))
    assert sorted(drawn) == list("abcde")
    assert min(drawn.values()) > 50


def test_what_failed_in_one_group_does_not_change_the_draw_of_another() -> None:
    first, second = [("a", at) for at in range(9)], [("b", at) for at in range(9)]
    for seed in range(20):
        whole = [item for item in random_k(first + second, 2, per=group, seed=seed) if item[0] == "b"]
        assert whole == [item for item in random_k(first[3:] + second, 2, per=group, seed=seed) if item[0] == "b"]


@pytest.mark.parametrize("k", [0, -1])
def test_keeping_nothing_is_refused(k: int) -> None:
    with pytest.raises(SettingsError, match=f"k is {k}; at least 1"):
        top_k([1], [1.0], k, per=str)
    with pytest.raises(SettingsError, match=f"k is {k}; at least 1"):
        random_k([1], k, per=str, seed=0)


def test_a_nan_and_a_missing_value_are_bugs_of_the_caller() -> None:
    with pytest.raises(ValueError, match="NaN"):
        top_k([1, 2], [1.0, math.nan], 1, per=str)
    with pytest.raises(ValueError, match="shorter"):
        top_k([1, 2], [1.0], 1, per=str)


def test_the_first_of_each_key_is_kept() -> None:
    assert unique(["b1", "a1", "b2", "c1", "a2"], lambda item: item[0]) == ["b1", "a1", "c1"]


@given(st.lists(st.integers()), st.integers(-2, 9), st.integers(0, 99))
def test_a_draw_keeps_the_order_and_takes_no_place_twice(items: list[int], k: int, seed: int) -> None:
    places = list(range(len(items)))
    drawn = draw(places, k, random.Random(seed))
    assert drawn == sorted(set(drawn))
    assert len(drawn) == max(0, min(k, len(items)))


@pytest.mark.parametrize(
    ("size", "expected"), [(0, []), (1, [0]), (3, [0, 2, 4]), (6, [0, 1, 2, 3, 4, 5]), (9, [0, 1, 2, 3, 4, 5])]
)
def test_items_are_spread_evenly_and_none_comes_twice(size: int, expected: list[int]) -> None:
    assert spread(range(6), size) == expected
    assert spread([], size) == []
