"""How well a policy mends its own mistakes: what each number counts, and what it does not know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sparring.evals.correcting import (
    Examined,
    Metrics,
    Tried,
    examine,
    metrics_of,
    reading,
    readings,
    verdict,
    votes_needed,
    votes_of,
)
from sparring.evals.statistics import Interval
from sparring.rollouts.trajectory import Trajectory
from sparring.tasks.exercise import Exercise
from tests.sums import ALARM, BY_TEACHER, CORRECT, FIRST, LATE, ONE, RIGHT, SECOND, SUMS, WRONG

LUCKY = "(1) 1 + 2 = 4\n(2) 4 + 3 = 6\n(Final response) So the answer is 6."


def tried(
    *said: str, id: str = "test-1", index: int = 0, seen: bool = True, tokens: tuple[int, ...] = ()
) -> Trajectory:
    of = replace(ONE, id=id, seen=seen, tier="3" if seen else "5")
    return Trajectory(of, index, said[::2], said[1::2], tokens=tokens)


def questions(trajectories: list[Trajectory]) -> list[Exercise]:
    return [one.exercise for one in trajectories]


def of(trajectories: list[Trajectory], m_0: Examined | None = None) -> Examined:
    return examine(SUMS, questions(trajectories), Tried(trajectories), m_0)


def value(metrics: Metrics, name: str) -> float | None:
    found = metrics[name]
    return found and found.value


def numbered(*each: tuple[str, ...]) -> list[Trajectory]:
    return [tried(*said, id=f"test-{n}") for n, said in enumerate(each, 1)]


# Accuracy


def test_the_first_attempt_and_the_last_are_counted_and_what_was_mended_and_broken_between_them() -> None:
    found = of(numbered((RIGHT, CORRECT), (WRONG, FIRST, RIGHT), (RIGHT, ALARM, WRONG), (LATE, CORRECT))).metrics
    names = ("accuracy_direct", "accuracy_self_corrected", "mended", "broken", "corrects_itself")
    assert [value(found, name) for name in names] == [0.5, 0.5, 0.25, 0.25, 0.5]
    assert found["accuracy_direct"] is not None and found["accuracy_direct"].n == 4


def test_exercises_from_elsewhere_count_in_their_own_tier_alone() -> None:
    those = [tried(RIGHT, CORRECT, id="a"), tried(WRONG, CORRECT, id="b")]
    those[1] = replace(those[1], exercise=replace(those[1].exercise, seen=None, tier="elsewhere"))
    m_0 = of(those)
    found = of(those, m_0)
    assert value(found.metrics, "accuracy_direct") == 1.0
    assert found.metrics["accuracy_self_corrected_over_round_0"].n == 1
    assert value(found.tiers["elsewhere"], "accuracy_direct") == 0.0
    assert [row["id"] for row in found.items] == ["a", "b"]


def test_seen_and_unseen_are_told_apart_and_each_tier_has_its_own() -> None:
    those = [
        tried(RIGHT, CORRECT, id="a"),
        tried(WRONG, FIRST, RIGHT, id="b", seen=False),
        tried(WRONG, CORRECT, id="c", seen=False),
    ]
    found = of(those)
    assert value(found.metrics, "accuracy_direct_seen") == 1.0
    assert value(found.metrics, "accuracy_direct_unseen") == 0.0
    assert value(found.metrics, "accuracy_self_corrected_unseen") == 0.5
    assert value(found.metrics, "accuracy_self_corrected") == pytest.approx(2 / 3)  # of all questions, not of tiers
    assert {tier: value(metrics, "accuracy_self_corrected") for tier, metrics in found.tiers.items()} == {
        "3": 1,
        "5": 0.5,
    }


def test_a_question_whose_rollout_failed_is_answered_wrong() -> None:
    those = numbered((RIGHT, CORRECT), (RIGHT, CORRECT))
    found = examine(SUMS, questions(those), Tried(those[:1]), None)
    assert value(found.metrics, "accuracy_direct") == value(found.metrics, "accuracy_self_corrected") == 0.5
    assert value(found.metrics, "errors_found") is None  # whether it would have been criticised is not known


def test_an_attempt_that_was_cut_off_is_wrong() -> None:
    [row] = readings(SUMS, [ONE], [replace(tried(RIGHT, id=ONE.id), cut_off=True)], "greedy")
    assert (row["direct"], row["self_corrected"], row["sound"], row["criticised"]) == (False, False, False, None)


# Feedback


def test_false_alarms_are_of_right_attempts_and_errors_found_of_wrong_ones() -> None:
    found = of(
        numbered((RIGHT, CORRECT), (RIGHT, CORRECT), (RIGHT, ALARM, RIGHT), (WRONG, FIRST, RIGHT), (LATE, CORRECT))
    ).metrics
    assert value(found, "false_alarms") == pytest.approx(1 / 3)
    assert value(found, "errors_found") == 0.5


def test_to_criticise_a_lucky_answer_is_no_false_alarm() -> None:
    row = reading(SUMS, tried(LUCKY, FIRST, RIGHT))
    assert (row["direct"], row["sound"], row["criticised"]) == (True, False, True)
    assert reading(BY_TEACHER, tried(LUCKY, FIRST, RIGHT))["sound"]  # without a script nobody can tell


def test_a_right_answer_that_no_script_can_follow_is_sound() -> None:
    unread = replace(SUMS, verify=lambda question, attempt: None)
    row = reading(unread, tried(RIGHT, ALARM))
    assert (row["sound"], row["criticised"], row["step_named"]) == (True, True, None)
    assert not reading(unread, tried(WRONG, FIRST))["sound"]


def test_feedback_that_did_not_come_to_its_end_is_neither_criticism_nor_praise() -> None:
    assert reading(SUMS, tried(RIGHT, ""))["criticised"] is None
    assert reading(SUMS, tried(RIGHT, "Well."))["criticised"] is False
    found = of(numbered((RIGHT, ""), (RIGHT, ALARM), (WRONG, ""), (WRONG, FIRST))).metrics
    assert (value(found, "false_alarms"), value(found, "errors_found")) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("said", "step", "span"),
    [
        ((RIGHT, CORRECT), True, None),
        ((RIGHT, ALARM), False, None),
        ((RIGHT, "Well."), False, None),
        ((WRONG, FIRST), True, True),
        ((WRONG, FIRST.replace("1 + 2 = 4", "= 4")), True, True),
        ((WRONG, CORRECT), False, False),
        ((WRONG, "Well."), False, False),
        ((WRONG, FIRST.replace("(1)", "(2)").replace("1 + 2 = 4", "4 + 3")), False, False),
        (("No sums.", "Well."), None, None),
        ((WRONG,), None, None),
    ],
)
def test_feedback_is_held_against_the_script(said: tuple[str, ...], step: bool | None, span: bool | None) -> None:
    row = reading(SUMS, tried(*said))
    assert (row["step_named"], row["span_named"]) == (step, span)


def test_feedback_of_the_right_step_with_another_quotation_is_half_right() -> None:
    # The step is "1 + 2 = 4": quoting one part where the script quotes another does not overlap.
    other = replace(
        SUMS, verify=lambda question, attempt: SUMS.verify and replace(SUMS.verify(question, attempt), span="= 4")
    )
    row = reading(other, tried(WRONG, FIRST.replace("1 + 2 = 4", "1 + 2")))
    assert (row["step_named"], row["span_named"]) == (True, False)


def test_without_a_script_nobody_knows_how_good_feedback_is() -> None:
    those = numbered((RIGHT, CORRECT), (WRONG, FIRST, RIGHT))
    found = examine(BY_TEACHER, questions(those), Tried(those), None).metrics
    assert found["feedback_accuracy"] is found["feedback_span"] is None
    assert (value(found, "false_alarms"), value(found, "errors_found")) == (0.0, 1.0)


# Against the model before the first round


def test_each_question_is_compared_with_itself() -> None:
    before = of(numbered((WRONG, FIRST, RIGHT), (WRONG, CORRECT), (RIGHT, CORRECT), (RIGHT, ALARM, WRONG)))
    after = of(numbered((RIGHT, CORRECT), (WRONG, FIRST, RIGHT), (RIGHT, CORRECT), (RIGHT, CORRECT)), before)
    assert value(after.metrics, "accuracy_self_corrected_over_round_0") == 0.5
    assert value(after.metrics, "accuracy_self_corrected_over_round_0_direct") == 0.5
    assert "accuracy_self_corrected_over_round_0" not in before.metrics


# Sampled, and voted on


def test_sampled_attempts_have_their_own_numbers_and_none_of_the_greedy_ones() -> None:
    greedy = numbered((RIGHT, CORRECT), (RIGHT, CORRECT), (RIGHT, CORRECT))
    drawn = numbered((WRONG, FIRST, RIGHT), (WRONG, CORRECT))
    found = examine(
        SUMS, questions(greedy), Tried(greedy, questions(drawn), [replace(one, tokens=(9,)) for one in drawn]), None
    )
    assert value(found.metrics, "accuracy_direct") == 1.0
    assert [value(found.metrics, f"sampled_{name}") for name in ("direct", "self_corrected", "gain")] == [0.0, 0.5, 0.5]
    assert "majority_vote" not in found.metrics
    assert [row["item"] for row in found.items] == ["greedy"] * 3 + ["sampled"] * 2


def test_a_vote_is_given_no_fewer_tokens_than_self_correction() -> None:
    def costing(*tokens: int) -> Trajectory:
        return tried(WRONG, tokens=tokens)

    assert votes_needed([costing(10, 10, 10), costing(10, 11, 10)]) == 4
    assert votes_needed([costing(10, 30, 10)]) == 5
    assert votes_needed([costing(10)]) == 3  # a vote of two is the first one's
    assert votes_needed([costing(0)]) == 3


def test_a_vote_counts_first_attempts_that_can_be_read_and_of_equals_the_first() -> None:
    def ballots(*texts: str) -> list[Trajectory]:
        return [tried(text, index=at) for at, text in enumerate(texts)]

    assert votes_of(SUMS, ballots(WRONG, RIGHT, RIGHT)) == {"test-1": True}
    assert votes_of(SUMS, ballots(WRONG, RIGHT)) == {"test-1": False}
    assert votes_of(SUMS, ballots(RIGHT, WRONG)) == {"test-1": True}
    assert votes_of(SUMS, ballots("?", "?", RIGHT)) == {"test-1": True}
    assert votes_of(SUMS, ballots("?", "?")) == {"test-1": False}
    cut = [replace(one, cut_off=True) for one in ballots(WRONG, WRONG)]
    assert votes_of(SUMS, [*cut, tried(RIGHT, index=2)]) == {"test-1": True}
    assert votes_of(SUMS, list(reversed(ballots(RIGHT, WRONG)))) == {"test-1": True}


def test_self_correction_is_compared_with_a_vote_question_by_question() -> None:
    drawn = [
        tried(WRONG, FIRST, RIGHT, id="test-1", tokens=(10, 5, 10)),
        tried(WRONG, CORRECT, id="test-2", tokens=(10, 5)),
    ]
    more = [
        tried(text, id=id, index=at, tokens=(10,))
        for id in ("test-1", "test-2")
        for at, text in ((1, LATE), (2, RIGHT))
    ]
    more[3] = tried(WRONG, id="test-2", index=2, tokens=(10,))
    found = examine(SUMS, questions(drawn), Tried(drawn, questions(drawn), drawn, more), None).metrics
    assert (value(found, "majority_vote"), value(found, "self_corrected_over_vote")) == (0.0, 0.5)
    assert (value(found, "tokens_vote"), value(found, "tokens_sampled")) == (30.0, 20.0)


def test_a_question_whose_sampling_failed_is_wrong_and_so_is_its_vote() -> None:
    drawn = numbered((RIGHT, CORRECT), (RIGHT, CORRECT))
    sampled = [replace(drawn[0], tokens=(9, 9))]
    more = [replace(sampled[0], index=at) for at in (1, 2)]
    found = examine(SUMS, questions(drawn), Tried(drawn, questions(drawn), sampled, more), None).metrics
    names = ("accuracy_direct", "sampled_direct", "sampled_self_corrected", "majority_vote")
    assert [value(found, name) for name in names] == [1.0, 0.5, 0.5, 0.5]


def test_tokens_are_counted_where_they_are_known() -> None:
    those = [tried(WRONG, FIRST, RIGHT, id="a", tokens=(10, 5, 12)), tried(RIGHT, id="b")]
    found = metrics_of(readings(SUMS, questions(those), those, "greedy"))
    assert (value(found, "tokens_direct"), value(found, "tokens_self_corrected")) == (10.0, 27.0)


# The verdict


def judged(
    gain: float, low: float | None, high: float | None, p: float = 0.004, direct: float | None = None
) -> list[Examined]:
    over = Interval(gain, low, high, 200, p)
    alone = over if direct is None else Interval(direct, direct - 0.01, direct + 0.01, 200, 0.01)
    metrics: Metrics = {
        "accuracy_self_corrected": Interval(0.9, 0.86, 0.94, 200),
        "accuracy_self_corrected_over_round_0": over,
        "accuracy_self_corrected_over_round_0_direct": alone,
        "mended": Interval(0.1, 0.06, 0.14, 200),
        "broken": Interval(0.005, 0.0, 0.02, 200),
    }
    return [Examined({}, {}, []), Examined(metrics, {}, [])]


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (judged(0.1, 0.05, 0.15), "round 1 improved (p = 0.004): "),
        (judged(0.1, 0.05, 0.15, direct=-0.05), "round 1 did not improve (p = 0.010): "),
        (judged(0.02, -0.01, 0.05, p=0.2), "round 1 did not improve (p = 0.200): "),
        (judged(-0.1, -0.15, -0.05), "round 1 got worse (p = 0.004): "),
        (judged(0.1, None, None), "round 1 could not be judged: "),
    ],
)
def test_a_round_improved_only_where_it_answers_better_than_m_0_did_in_either_way(
    found: list[Examined], word: str
) -> None:
    assert verdict(found).startswith(word)


def test_the_verdict_says_by_how_much_and_what_was_mended_and_broken() -> None:
    assert verdict(judged(0.1, 0.05, 0.15)) == (
        "round 1 improved (p = 0.004): correcting itself it answers 90.0% of 200 held-out questions, +10.0 points "
        "(95 % interval +5.0 to +15.0) on m_0 correcting itself, +10.0 points (95 % interval +5.0 to +15.0) on m_0's "
        "first attempts; "
        "it mended 20 and broke 1; there was nothing to learn from in round 1"
    )


def test_the_verdict_is_silent_about_rounds_that_learned() -> None:
    first, last = judged(0.1, 0.05, 0.15)
    assert verdict([first, replace(last, learned={"gold": 1})]).endswith("it mended 20 and broke 1")


def test_one_line_of_a_question_says_what_it_came_to() -> None:
    [row] = of([tried(WRONG, FIRST, LATE, SECOND, RIGHT, CORRECT, tokens=(3, 2, 3, 2, 3, 2))]).items
    assert row == {
        "item": "greedy",
        "id": "test-1",
        "tier": "3",
        "seen": True,
        "direct": False,
        "self_corrected": True,
        "updates": 2,
        "sound": False,
        "criticised": True,
        "step_named": True,
        "span_named": True,
        "tokens_direct": 3,
        "tokens_self_corrected": 15,
    }
