"""Judging and refining measured: by checkers, and by the judge itself."""

from __future__ import annotations

import random

import pytest

from sparring.evals.judging import by_kind, delivered, judging, outcomes, readings, refining
from sparring.evals.statistics import Interval
from sparring.files import Row
from sparring.signals.judge import Judgement
from sparring.tasks.instructions import Judged
from tests.rollouts.judgements import grown, votes


def item(at: int, label: bool, verdicts: str | None, kind: str = "natural") -> tuple[Judged, Judgement | None]:
    return Judged(f"r{at}", "do it", f"response {at}", label, kind), votes(verdicts) if verdicts else None


def read(*items: tuple[bool, str | None]) -> list[Row]:
    return readings([item(at, label, verdicts) for at, (label, verdicts) in enumerate(items)])


def value(found: Interval | None) -> float | None:
    return found and round(found.value, 6)


# The judge


def test_a_reading_says_what_the_majority_said_and_how_many_votes_were_right() -> None:
    assert read((False, "nynn?")) == [
        {
            "item": "judgement",
            "id": "r0",
            "kind": "natural",
            "label": False,
            "says": False,
            "right": True,
            "votes_right": 0.75,
            "agreement": 0.75,
            "unreadable": pytest.approx(0.2),
        }
    ]
    [wrong] = read((True, "nynnn"))
    assert (wrong["says"], wrong["right"], wrong["votes_right"], wrong["agreement"]) == (False, False, 0.2, 0.8)


@pytest.mark.parametrize("verdicts", ["yynn?", "y????", "?????", None])
def test_a_tie_and_too_few_readable_votes_are_unscored_neither_right_nor_wrong(verdicts: str | None) -> None:
    rows = read((True, verdicts), (True, "yyyyy"))
    assert (rows[0]["says"], rows[0]["right"]) == (None, None)
    found = judging(rows)
    assert value(found["judge_accuracy"]) == 1 and value(found["judge_unscored"]) == 0.5


def test_accuracy_is_told_of_good_and_of_bad_and_balanced_between_them() -> None:
    rows = read(*[(True, "yyyyy")] * 6, *[(True, "nnnnn")] * 2, (False, "nnnnn"), (False, "yyyyy"))
    found = judging(rows)
    assert {name: value(share) for name, share in found.items()} == {
        "judge_accuracy": 0.7,
        "judge_balanced_accuracy": (0.75 + 0.5) / 2,
        "judge_f1": 0.8,
        "judge_accuracy_bad": 0.5,
        "judge_accuracy_good": 0.75,
        "judge_accuracy_one_vote": 0.7,
        "judge_agreement": 1.0,
        "judge_unreadable": 0.0,
        "judge_unscored": 0.0,
    }
    balanced = found["judge_balanced_accuracy"]
    assert balanced and balanced.low is not None and balanced.high is not None and balanced.n == 10
    assert 0.2 <= balanced.low < balanced.value < balanced.high <= 1


def test_a_judge_that_says_yes_to_everything_has_a_high_f1_and_half_a_balanced_accuracy() -> None:
    found = judging(read(*[(True, "yyyyy")] * 9, (False, "yyyyy")))
    assert (value(found["judge_balanced_accuracy"]), value(found["judge_accuracy_bad"])) == (0.5, 0.0)
    assert (value(found["judge_f1"]) or 0) > 0.9


def test_one_vote_may_be_right_less_often_than_the_majority() -> None:
    found = judging(read((True, "yyynn"), (False, "nnnyy")))
    assert value(found["judge_accuracy"]) == 1 and value(found["judge_accuracy_one_vote"]) == 0.6


def test_what_cannot_be_told_is_none_and_not_nought() -> None:
    assert set(judging([]).values()) == {None}
    only_bad = judging(read((False, "nnnnn"), (False, "yyyyy")))
    assert only_bad["judge_balanced_accuracy"] is only_bad["judge_f1"] is only_bad["judge_accuracy_good"] is None
    assert value(only_bad["judge_accuracy"]) == 0.5
    never_found = judging(read((True, "nnnnn"), (False, "nnnnn")))
    assert value(never_found["judge_f1"]) == 0.0


def test_the_interval_of_the_balanced_accuracy_is_that_of_drawing_responses_anew() -> None:
    rng = random.Random(0)
    labels = [rng.random() < 0.3 for _ in range(60)]
    right = [rng.random() < (0.9 if label else 0.7) for label in labels]
    pairs = [(label, hit) for label, hit in zip(labels, right, strict=True)]
    found = judging(read(*((label, "yyyyy" if hit is label else "nnnnn") for label, hit in pairs)))
    drawn = sorted(balanced(rng.choices(pairs, k=60)) for _ in range(4000))
    share = found["judge_balanced_accuracy"]
    assert share and share.low == pytest.approx(drawn[100], abs=0.02)
    assert share.high == pytest.approx(drawn[-100], abs=0.02)


def balanced(pairs: list[tuple[bool, bool]]) -> float:
    shares = [[hit for label, hit in pairs if label is kind] for kind in (True, False)]
    return sum(sum(those) / len(those) for those in shares) / 2


def test_kinds_are_told_apart_each_on_its_own() -> None:
    rows = readings([item(0, True, "yyyyy"), item(1, False, "yyyyy", "adversarial"), item(2, False, "nnnnn", "short")])
    kinds = by_kind(rows)
    assert list(kinds) == ["adversarial", "natural", "short"]
    assert [value(found["judge_accuracy"]) for found in kinds.values()] == [0.0, 1.0, 1.0]


def test_two_judges_are_compared_on_the_responses_that_both_decided() -> None:
    before = read(
        (True, "nnnnn"), (True, "yyyyy"), (True, "yyyyy"), (False, "yyyyy"), (False, "yyyyy"), (True, "yynn?")
    )
    now = read((True, "yyyyy"), (True, "yyyyy"), (True, "nnnnn"), (False, "nnnnn"), (False, None), (True, "nnnnn"))
    found = judging(now, before)
    gains = {name.removesuffix("_over_round_0"): value(each) for name, each in found.items() if "_over_" in name}
    assert gains == {
        "judge_accuracy": 0.25,
        "judge_balanced_accuracy": 0.5,
        "judge_accuracy_bad": 1.0,
        "judge_accuracy_good": 0.0,
    }
    assert not [name for name in judging(now) if "_over_" in name]


# The refiner


def right(prompt: str, response: str) -> bool:
    return response.startswith("right")


def test_a_search_ends_with_what_it_accepted_or_else_with_the_best_of_its_refinements() -> None:
    accepted = grown("a", (0, "one", "nyyyn"), (0, "two", "yyyyn"), accepted=1)
    failed = grown("b", (0, "one", "nnnnn"), (0, "two", "nnyyn"), (0, "three", "nyynn"), began="nyynn")
    barren = grown("c")
    assert [delivered(tree).response for tree in (accepted, failed, barren)] == ["one", "two", "root"]


def test_success_is_by_the_checker_and_by_the_judge_itself_and_the_gap_is_its_belief() -> None:
    trees = [
        grown("a", (0, "right", "yyyyn"), accepted=1),
        grown("b", (0, "wrong", "yyyyn"), accepted=1),
        grown("c", (0, "wrong", "nnnnn"), (1, "wrong still", "yyyyy"), accepted=2),
        grown("d", (0, "right", "nnnyy")),
        grown("e", (0, "wrong", "nnnyy")),
        grown("f"),
        grown("g", (0, "right 2", "yyyyy"), accepted=1, root="right 1"),
        grown("h", accepted=0, began="yyyyy"),
    ]
    found = refining(outcomes(trees, right))
    assert {name: value(share) for name, share in found.items()} == {
        "refinement_success": round(2 / 6, 6),
        "refinement_success_self": 0.5,
        "refinement_gap": round(1 / 6, 6),
        "refinement_accepted": round(4 / 7, 6),
        "refinement_needless": round(1 / 7, 6),
        "accepted_right": 0.5,
        "accepted_right_depth_1": round(2 / 3, 6),
        "accepted_right_depth_2": 0.0,
    }


def test_a_line_a_tree_says_where_it_began_and_what_it_took() -> None:
    tree = grown("a", (0, "wrong", "nnnnn"), (1, "right", "yyyyy"), accepted=2)
    assert outcomes([tree], right) == [
        {"item": "refinement", "id": "a", "began": False, "right": True, "accepted": True, "depth": 2, "generated": 3}
    ]


def test_where_nothing_was_refined_nothing_is_known() -> None:
    assert set(refining([]).values()) == {None}
