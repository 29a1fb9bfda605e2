"""Krippendorff's alpha against published and hand-computed figures and the definition, and intervals by resampling."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.evals.agreement import alpha, resampled
from sparring.evals.statistics import Interval

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011): what each observer said of each unit.
BINARY = ("0100000010", "1110010000")
NAMES = ("aabbdcccedda", "babbbccceddd")
MISSING = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")


def units(*observers: str) -> list[list[str | None]]:
    """Turn what observers said around: what was said of each unit, `.` for nothing."""
    return [[None if vote == "." else vote for vote in votes] for votes in zip(*observers, strict=True)]


def value(found: Interval | None) -> float | None:
    return found and found.value


def by_definition(said: Sequence[Sequence[Any]]) -> float | None:
    """Observed over expected disagreement, counted pair by pair of votes."""
    units = [[vote for vote in votes if vote is not None] for votes in said]
    units = [votes for votes in units if len(votes) > 1]
    every = [vote for votes in units for vote in votes]
    n = len(every)
    expected = sum(a != b for a, b in permutations(every, 2)) / (n * (n - 1)) if n > 1 else 0
    if not expected:
        return None
    observed = sum(sum(a != b for a, b in permutations(votes, 2)) / (len(votes) - 1) for votes in units) / n
    return 1 - observed / expected


def test_the_published_example_of_two_observers_and_two_names() -> None:
    # o = 4 of 20 values in each off-diagonal cell pair, n_0 = 14, n_1 = 6: 1 - 19 * 8 / (20^2 - 14^2 - 6^2).
    assert value(alpha(units(*BINARY))) == pytest.approx(1 - 19 * 8 / 168)
    assert value(alpha(units(*BINARY))) == pytest.approx(0.095, abs=5e-4)


def test_the_published_example_of_two_observers_and_five_names() -> None:
    assert value(alpha(units(*NAMES))) == pytest.approx(0.692, abs=5e-4)


def test_the_published_example_of_four_observers_with_votes_missing() -> None:
    found = alpha(units(*MISSING))
    assert value(found) == pytest.approx(0.743, abs=5e-4)
    assert found and found.n == 11, "the unit with one vote says nothing"


def test_three_votes_worked_out_by_hand() -> None:
    # Two units, yyn and nn. In unit one 4 of 6 ordered pairs differ: 4 / (3 - 1) = 2; of 5 votes: 2 / 5 = 0.4.
    # Of all 5 * 4 ordered pairs 2 * 2 * 3 = 12 differ: 0.6. So 1 - 0.4 / 0.6.
    assert value(alpha(["yyn", "nn"])) == pytest.approx(1 / 3)


def test_full_agreement_is_one_and_opposition_is_below_nought() -> None:
    assert value(alpha([["y", "y"], ["n", "n"], ["n", "n"]])) == 1.0
    # 20 votes, half of each: 2 * 10 * 10 of 20 * 19 pairs would differ by chance, and all do.
    assert value(alpha([["y", "n"]] * 10)) == pytest.approx(1 - 380 / 200)


@pytest.mark.parametrize("said", [[], [["y"]], [["y", None], [None, None]], [["y", "y"], ["y", "y"]]])
def test_where_nothing_could_have_disagreed_there_is_no_agreement_to_tell(said: list[list[str | None]]) -> None:
    assert alpha(said) is None


VOTES = st.lists(st.lists(st.sampled_from(["yes", "no", "tie", None]), max_size=5), max_size=12)


@given(VOTES)
def test_it_is_what_the_definition_counts_pair_by_pair(said: list[list[str | None]]) -> None:
    found, known = value(alpha(said)), by_definition(said)
    assert (found is None) is (known is None)
    assert found is None or known is None or math.isclose(found, known, abs_tol=1e-9)


@given(VOTES, st.randoms())
def test_neither_order_nor_names_nor_missing_votes_matter(said: list[list[str | None]], rng: random.Random) -> None:
    other = [[{"yes": 1, "no": 2, "tie": 3}.get(vote or "") for vote in votes] + [None] for votes in said]
    for votes in other:
        rng.shuffle(votes)
    rng.shuffle(other)
    found, again = value(alpha(said)), value(alpha(other))
    assert (found is None) is (again is None) and (found or 0) == pytest.approx(again or 0)


@given(VOTES)
def test_it_is_at_most_one_and_its_interval_holds_it(said: list[list[str | None]]) -> None:
    found = alpha(said)
    if found and found.low is not None and found.high is not None:
        assert found.low <= found.value <= found.high <= 1 + 1e-12


def test_voters_who_toss_coins_agree_by_chance_alone() -> None:
    rng = random.Random(0)
    found = alpha([[rng.random() < 0.7 for _ in range(5)] for _ in range(600)])
    assert found and found.low is not None and found.high is not None
    assert found.low < 0 < found.high and abs(found.value) < 0.05


def test_a_resampled_mean_has_the_interval_that_drawing_by_hand_gives() -> None:
    rng = random.Random(1)
    values = [rng.choice([0.0, 0.2, 1.0]) for _ in range(80)]
    found = resampled([(one,) for one in values], lambda kinds, counts: counts @ kinds[:, 0] / counts.sum(axis=1))
    drawn = sorted(sum(rng.choices(values, k=80)) / 80 for _ in range(4000))
    assert found and (found.value, found.n) == (pytest.approx(sum(values) / 80), 80)
    assert (found.low, found.high) == (pytest.approx(drawn[100], abs=0.02), pytest.approx(drawn[-100], abs=0.02))


def test_draws_without_a_value_are_left_out_and_a_statistic_without_one_is_none() -> None:
    lines = [(0.0,), (1.0,)]
    both = resampled(lines, lambda kinds, counts: np.where(counts.min(axis=1) > 0, 5.0, np.nan))
    assert both == Interval(5.0, 5.0, 5.0, 2)
    assert resampled(lines, lambda kinds, counts: np.full(len(counts), np.nan)) is None
    assert resampled([], lambda kinds, counts: counts.sum(axis=1)) is None
    assert resampled([(3.0,)], lambda kinds, counts: counts @ kinds[:, 0]) == Interval(3.0, None, None, 1)
