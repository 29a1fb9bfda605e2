"""What each round's verdict is, and against which round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from sparring.evals.statistics import Interval, paired_difference
from sparring.evals.summary import best, judged, rounds, said, verdicts
from sparring.files import Row


@dataclass(frozen=True)
class Examined:
    """So many of 40 tasks done, the first ones."""

    right: int
    metrics: Mapping[str, Interval | None]

    def row(self) -> Row:
        return {"metrics": {}}

    @property
    def values(self) -> dict[int, float]:
        return {task: float(task < self.right) for task in range(40)}


def course(*right: int) -> list[Examined]:
    return [Examined(n, {"answer_words": Interval(float(n), None, None, 1)}) for n in right]


def against(now: Examined, then: Examined) -> Sequence[Interval | None]:
    return [paired_difference(now.values, then.values)]


def test_a_round_is_held_against_m_0_until_one_improves_and_then_against_that() -> None:
    found = verdicts(course(10, 12, 30, 28, 38), against)
    assert [(one.word, one.over, one.best) for one in found] == [
        ("did not improve", 0, 0),
        ("improved", 0, 2),
        ("did not improve", 2, 2),
        ("improved", 2, 4),
    ]
    assert best(course(10, 12, 30, 28), against) == 2
    assert best(course(10), against) == 0


def test_only_what_got_worse_is_rolled_back_and_only_where_it_is_wanted() -> None:
    found = verdicts(course(10, 30, 5, 28), against, roll_back=True)
    assert [one.rolled_back for one in found] == [False, True, False]
    assert found[1].text == "got worse (p < 0.001 against round 1), rolled back to round 1"
    assert verdicts(course(10, 30, 5), against)[-1].text == "got worse (p < 0.001 against round 1)"


def test_the_summary_says_of_every_round_its_verdict_the_best_so_far_and_warnings() -> None:
    first, then = rounds(course(10, 30), against, roll_back=False)
    assert (first["verdict"], first["best"], first["warnings"]) == (None, 0, [])
    assert (then["verdict"], then["best"]) == ("improved (p < 0.001 against round 0)", 1)
    [warning] = then["warnings"]
    assert warning == "the length of answers, in words, has drifted: 30.00, 20.00 were allowed, m_0 had 10.00"


def gain(value: float, p: float | None = 0.01, low: float | None = 0.0) -> Interval:
    return Interval(value, low, None if low is None else 1.0, 9, p)


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ([gain(0.2), gain(0.1, 0.03)], ("improved", 0.03)),
        ([gain(0.2), gain(0.1, 0.05)], ("did not improve", 0.05)),
        ([gain(0.2), gain(-0.2)], ("did not improve", 0.01)),
        ([gain(-0.2), gain(-0.2, 0.04)], ("got worse", 0.01)),
        ([gain(-0.2), gain(0.1, 0.4)], ("got worse", 0.01)),
        ([gain(-0.2, 0.4), gain(-0.2)], ("did not improve", 0.4)),
        ([gain(0.2), None], ("could not be judged", None)),
        ([gain(0.2, low=None)], ("could not be judged", None)),
        ([gain(0.2, p=None)], ("could not be judged", None)),
        ([], ("could not be judged", None)),
    ],
)
def test_all_gains_must_be_sure_and_a_fall_of_the_first_is_one(
    gains: list[Interval | None], expected: tuple[str, float | None]
) -> None:
    assert judged(gains) == expected


def test_a_p_is_said_to_three_digits() -> None:
    assert said("improved", 0.0004) == "improved (p < 0.001)"
    assert said("did not improve", 0.0416) == "did not improve (p = 0.042)"
    assert said("could not be judged", None) == "could not be judged"
