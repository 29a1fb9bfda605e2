"""Intervals: what they hold, when they are unknown, and that they agree with scipy's."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.evals.statistics import Interval, mean_interval, overlap, paired_difference, sign_flip_p

NUMBERS = st.floats(-1e6, 1e6)


def test_the_bounds_agree_with_scipys_percentile_bootstrap() -> None:
    from scipy.stats import bootstrap

    values = np.random.default_rng(1).exponential(size=80)
    theirs = bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=2).confidence_interval
    ours = mean_interval(values.tolist())
    assert ours is not None
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    samples = [mean_interval(generator.normal(size=40).tolist(), confidence=0.9) for _ in range(300)]
    share = np.mean([sample.low <= 0 <= sample.high for sample in samples])
    assert 0.84 < share < 0.95


def test_values_of_one_cluster_are_not_taken_for_independent() -> None:
    alone = mean_interval({at: [at % 2] for at in range(20)})
    repeated = mean_interval({at: [at % 2] * 10 for at in range(20)})
    assert repeated == alone
    assert repeated.n == 20


def test_a_large_cluster_counts_as_one_and_an_empty_one_not_at_all() -> None:
    interval = mean_interval({"a": [0.0] * 99, "b": [1.0], "c": []})
    assert interval is not None
    assert (interval.value, interval.n) == (0.5, 2)


@given(st.lists(st.lists(NUMBERS, min_size=1, max_size=4), min_size=2, max_size=12), st.randoms())
@settings(max_examples=40, deadline=None)
def test_bounds_enclose_the_value_stay_in_the_data_and_ignore_the_order(clusters, shuffler: random.Random) -> None:
    interval = mean_interval(dict(enumerate(clusters)))
    assert interval is not None and interval.low is not None and interval.high is not None
    means = [float(np.mean(cluster)) for cluster in clusters]
    assert min(means) <= interval.low <= interval.value <= interval.high <= max(means)
    shuffler.shuffle(clusters)
    assert mean_interval(dict(enumerate(clusters))) == interval


@given(NUMBERS, st.integers(2, 30))
@settings(max_examples=20, deadline=None)
def test_clusters_that_all_agree_have_no_spread(number: float, n: int) -> None:
    assert mean_interval([number] * n) == Interval(number, number, number, n)


def test_one_cluster_has_a_value_and_no_bounds() -> None:
    assert mean_interval({"only": [1.0, 3.0]}) == Interval(2.0, None, None, 1)


@pytest.mark.parametrize("nothing", [[], {}, {"a": []}])
def test_the_mean_of_nothing_is_unknown_not_zero(nothing) -> None:
    assert mean_interval(nothing) is None


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        mean_interval([1.0, wrong])


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_a_confidence_outside_its_range_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_interval([1.0], confidence=confidence)


def test_more_confidence_is_a_wider_interval_and_a_seed_repeats_it() -> None:
    values = [math.sqrt(at) for at in range(50)]
    wide, narrow = mean_interval(values, confidence=0.99), mean_interval(values, confidence=0.8)
    assert wide is not None and narrow is not None
    assert wide.low < narrow.low < narrow.high < wide.high
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert mean_interval(values, seed=3) != mean_interval(values, seed=4)


def test_a_paired_difference_finds_what_the_spread_between_tasks_hides() -> None:
    before = {task: float(task) for task in range(40)}
    after = {task: value + (1.0 if task % 4 else 0.8) for task, value in before.items()}
    difference = paired_difference(after, before)
    assert difference is not None and difference.low is not None
    assert difference.value == pytest.approx(0.95)
    assert difference.low > 0.9
    assert overlap(mean_interval(list(after.values())), mean_interval(list(before.values())))


def test_a_paired_difference_is_over_shared_items_and_unknown_where_there_are_none() -> None:
    assert paired_difference({"x": 3.0, "y": 9.0}, {"x": 1.0, "z": 5.0}) == Interval(2.0, None, None, 1, p=1.0)
    assert paired_difference({"x": 3.0}, {"z": 5.0}) is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 0.4, False), (0.0, 0.5, True), (0.6, 0.7, True), (0.9, 2.0, True), (0.91, 2.0, False), (0.0, 2.0, True)],
)
def test_intervals_overlap_where_they_share_a_point(low: float, high: float, expected: bool) -> None:
    here, there = Interval(0.7, 0.5, 0.9, 9), Interval(low, low, high, 9)
    assert overlap(here, there) is overlap(there, here) is expected


def test_an_interval_without_bounds_is_apart_from_nothing() -> None:
    assert overlap(Interval(0.0, None, None, 1), Interval(9.0, 8.9, 9.1, 50))


def test_an_interval_is_a_row_of_the_summary() -> None:
    assert Interval(0.5, None, None, 1).as_dict() == {"value": 0.5, "low": None, "high": None, "n": 1}


def test_as_many_clusters_as_the_paper_has_pairs_give_the_bounds_of_theory() -> None:
    interval = mean_interval(np.arange(12_500.0).tolist())
    assert interval is not None and interval.n == 12_500
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 12_500 / math.sqrt(12 * 12_500), rel=0.05)


# The paired test


def binomial_p(wins: int, losses: int) -> float:
    """McNemar's exact test, two-sided."""
    n, fewer = wins + losses, min(wins, losses)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n)


@pytest.mark.parametrize(("wins", "losses"), [(6, 0), (5, 1), (9, 2), (4, 4), (1, 0)])
def test_of_few_right_and_wrong_answers_the_test_is_mcnemars_exactly(wins: int, losses: int) -> None:
    assert sign_flip_p([1.0] * wins + [-1.0] * losses + [0.0] * 50) == pytest.approx(binomial_p(wins, losses))


@pytest.mark.parametrize(("wins", "losses"), [(30, 12), (40, 38), (9, 6)])
def test_of_many_it_is_drawn_and_near(wins: int, losses: int) -> None:
    found = sign_flip_p([1.0] * wins + [-1.0] * losses + [0.0] * 50)
    assert found == pytest.approx(binomial_p(wins, losses), abs=0.02)
    assert found == sign_flip_p([-1.0] * wins + [1.0] * losses)  # two-sided, and what is equal says nothing


def test_the_size_of_differences_counts_as_in_scipys_permutation_test() -> None:
    from scipy.stats import permutation_test

    values = np.random.default_rng(1).normal(0.4, 1.0, 25)
    theirs = permutation_test((values, np.zeros(25)), lambda a, b: np.mean(a - b), permutation_type="samples", rng=2)
    assert sign_flip_p(values.tolist()) == pytest.approx(theirs.pvalue, abs=0.015)


def test_where_nothing_differs_p_is_1_and_it_is_never_0() -> None:
    assert sign_flip_p([]) == sign_flip_p([0.0, 0.0]) == 1.0
    assert sign_flip_p([1.0] * 400) == 1 / 10_001


def test_equal_models_are_told_apart_no_oftener_than_p_says() -> None:
    generator = np.random.default_rng(3)
    found = [sign_flip_p(generator.integers(-1, 2, size=60).tolist(), seed=at) for at in range(400)]
    assert 0.01 < np.mean([p < 0.05 for p in found]) <= 0.075


def test_a_paired_difference_bears_its_p_into_the_summary() -> None:
    found = paired_difference(dict.fromkeys("abcdef", 1.0), dict.fromkeys("abcdef", 0.0))
    assert found and found.as_dict()["p"] == 2 / 2**6
