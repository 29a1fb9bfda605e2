"""Lessons: what of a trajectory is learned, with which weight, and in which proportion."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.rollouts.lessons import (
    Kind,
    Lesson,
    Weights,
    agreed,
    attempted,
    balance,
    closing,
    cut,
    gold,
    kinds,
    vote,
    without_twins,
)
from sparring.rollouts.teaching import words
from sparring.rollouts.trajectory import Outcome, Trajectory
from sparring.tasks.exercise import read_feedback
from sparring.types import Example, assistant, user
from tests.sums import CORRECT, FIRST, LATE, LAYOUT, ONE, RIGHT, SECOND, SUMS, WRONG, exercise

ASKED = user("Add: 1 + 2 + 3 =")
CRITICISE, UPDATE = user("Feedback:"), user("Updated answer:")
SAY = words(SUMS, False)


def seen(outcome: Outcome, *said: str) -> Trajectory:
    return Trajectory(ONE, 0, said[::2], said[1::2], outcome=outcome)


def learned(trajectory: Trajectory, weights: Weights | None = None) -> list[tuple[str, list[str], object]]:
    """(kind, what the policy says, their weights) of each lesson."""
    lessons = cut(trajectory, LAYOUT, weights or Weights())
    found: list[tuple[str, list[str], object]] = []
    for lesson in lessons:
        pairs = list(zip(lesson.example.messages, lesson.example.weights, strict=True))
        assert all(weight == 0.0 for message, weight in pairs if message["role"] != "assistant")
        spoken = [(message["content"], weight) for message, weight in pairs if message["role"] == "assistant"]
        found.append((lesson.kind, [text for text, _ in spoken], [weight for _, weight in spoken]))
    return found


# Cutting


def test_a_trajectory_is_cut_into_rows_of_one_improvement_each_and_its_tail() -> None:
    assert learned(seen("edited", WRONG, FIRST, LATE, SECOND, RIGHT, CORRECT)) == [
        ("improvement", [WRONG, FIRST, LATE], [1.0, 1.5, 1.5]),
        ("improvement", [LATE, SECOND, RIGHT], [1.0, 1.5, 1.5]),
        ("non-improvement", [RIGHT, CORRECT], [1.0, 1.5]),
    ]


def test_what_was_right_at_once_is_learned_without_weight() -> None:
    assert learned(seen("accepted", RIGHT, CORRECT)) == [("non-improvement", [RIGHT, CORRECT], [1.0, 1.0])]


def test_a_false_alarm_is_a_lesson_in_saying_that_all_is_right() -> None:
    assert learned(seen("false alarm", RIGHT, CORRECT)) == [("false alarm", [RIGHT, CORRECT], [1.0, 1.5])]
    later = learned(seen("false alarm", WRONG, FIRST, RIGHT, CORRECT))
    assert [kind for kind, _, _ in later] == ["improvement", "false alarm"]


def test_where_only_the_first_feedback_is_learned_there_is_no_update() -> None:
    assert learned(seen("feedback only", WRONG, FIRST)) == [("improvement", [WRONG, FIRST], [1.0, 1.5])]


@pytest.mark.parametrize("outcome", ["dropped", "as sampled"])
def test_nothing_is_learned_of_what_was_dropped_or_never_seen_by_a_teacher(outcome: Outcome) -> None:
    assert learned(seen(outcome, WRONG, FIRST, RIGHT, CORRECT)) == []


def test_the_weights_are_those_of_the_settings_and_no_right_attempt_bears_the_wrong_ones() -> None:
    # The published code trains on the policy's own wrong attempts at full weight, unless told otherwise.
    trajectory = seen("edited", WRONG, FIRST, RIGHT, CORRECT)
    assert [weights for _, _, weights in learned(trajectory, Weights(0.0, 1.0))] == [[0.0, 1.0, 1.0], [1.0, 1.0]]
    assert [weights for _, _, weights in learned(trajectory, Weights(0.5, 3.0))] == [[0.5, 3.0, 3.0], [1.0, 3.0]]


def test_a_row_is_the_chat_that_the_policy_reads_when_it_is_alone() -> None:
    [improvement, tail] = cut(seen("edited", WRONG, FIRST, RIGHT, CORRECT), LAYOUT, Weights())
    chat = [ASKED, assistant(WRONG), CRITICISE, assistant(FIRST), UPDATE, assistant(RIGHT)]
    assert improvement.example.messages == chat
    assert improvement.example.messages[:-1] == LAYOUT.updating(ONE.question, WRONG, FIRST)
    assert tail.example.messages[:-1] == LAYOUT.criticising(ONE.question, RIGHT)
    assert json.loads(json.dumps(improvement.row())) == {
        "id": "train-1 #0 turn 1",
        "kind": "improvement",
        "exercise": "train-1",
        "messages": chat,
        "weights": [0.0, 1.0, 0.0, 1.5, 0.0, 1.5],
    }


# Gold


def test_a_gold_rationale_is_learned_with_the_same_sentence_as_a_right_attempt() -> None:
    # The published training set says "all is correct" in three ways, one of which names a step that is not there.
    lesson = gold(ONE, LAYOUT, SAY)
    assert lesson.example == Example([ASKED, assistant(RIGHT), CRITICISE, assistant(CORRECT)], [0.0, 1.0, 0.0, 1.0])
    feedback = read_feedback(CORRECT, RIGHT)
    assert feedback and feedback.is_correct


def test_a_bare_answer_is_the_last_line_and_is_read_as_the_answer() -> None:
    for one in (ONE, exercise("1 + 2 + 3 =", gold=False)):
        assert closing(one) == "(Final response) So the answer is 6."
        assert SUMS.is_right(one, closing(one))


# Votes


def attempts(*texts: str) -> list[Trajectory]:
    return [Trajectory(ONE, at, (text,)) for at, text in enumerate(texts)]


def test_the_commonest_answer_wins_and_of_equals_the_first() -> None:
    assert vote(SUMS, [WRONG, RIGHT, LATE]) == "7"
    assert vote(SUMS, [RIGHT, WRONG, "none", "none", "none"]) == "6"
    assert vote(SUMS, ["none"]) is None


def test_what_agrees_with_the_vote_is_kept_right_or_wrong() -> None:
    assert [one.index for one in agreed(SUMS, attempts(WRONG, RIGHT, LATE, "none"))] == [0, 2]
    assert agreed(SUMS, attempts("none")) == []


# Balance


def lessons(kind: Kind, n: int, of: str = "q") -> list[Lesson]:
    return [Lesson(f"{kind} {at}", kind, f"{of}{at}", Example([user(f"{kind} {at}")], [0.0])) for at in range(n)]


def counted(found: list[Lesson]) -> dict[str, int]:
    return kinds(lesson.row() for lesson in found)


def test_improvement_to_non_improvement_to_gold_is_as_published() -> None:
    every = lessons("improvement", 150) + lessons("non-improvement", 900) + lessons("gold", 500, "other ")
    kept = counted(balance(every, 1.5, "5/0"))
    assert kept == {"improvement": 150, "non-improvement": 100, "gold": 100}
    assert kept["improvement"] / sum(kept.values()) == pytest.approx(0.43, abs=0.005)


def test_a_share_that_cannot_be_filled_is_smaller_and_nothing_is_there_twice() -> None:
    every = lessons("improvement", 30) + lessons("non-improvement", 5) + lessons("gold", 2)
    kept = balance(every, 1.5, "5/0")
    assert counted(kept) == {"improvement": 30, "non-improvement": 5, "gold": 2}
    assert len({lesson.id for lesson in kept}) == 37


def test_false_alarms_come_first_in_their_share_and_are_all_kept() -> None:
    every = lessons("improvement", 15) + lessons("non-improvement", 90) + lessons("false alarm", 8)
    assert counted(balance(every, 1.5, "5/0")) == {"improvement": 15, "false alarm": 8, "non-improvement": 2}
    every += [Lesson(f"more {at}", "false alarm", "q", Example([], [])) for at in range(8)]
    assert counted(balance(every, 1.5, "5/0")) == {"improvement": 15, "false alarm": 16}


def test_where_there_is_nothing_but_false_alarms_they_are_learned() -> None:
    every = lessons("false alarm", 3) + lessons("non-improvement", 9) + lessons("gold", 5)
    assert counted(balance(every, 1.5, "5/0")) == {"false alarm": 3, "gold": 3}


def test_gold_that_says_what_is_learned_already_is_left_out() -> None:
    other = exercise("4 + 5 + 6 =", id="train-2")
    every = cut(seen("edited", WRONG, FIRST, RIGHT, CORRECT), LAYOUT, Weights())
    every += [gold(ONE, LAYOUT, SAY), gold(other, LAYOUT, SAY)]
    kept = balance(every, 1.0, "5/0")
    assert sorted(lesson.id for lesson in kept) == ["train-1 #0 turn 1", "train-1 #0 turn 2", "train-2 gold"]
    assert len(balance(every[1:], "all", "5/0")) == 3
    assert [lesson.id for lesson in balance(every[:-1], 1.0, "5/0") if lesson.kind == "gold"] == []


def test_gold_is_first_of_questions_that_have_no_other_lesson() -> None:
    every = lessons("improvement", 6) + lessons("non-improvement", 4) + lessons("gold", 8)
    kept = {lesson.exercise for lesson in balance(every, 1.5, "5/0") if lesson.kind == "gold"}
    assert len(kept) == 4
    assert {"q6", "q7"} <= kept  # q0 to q5 have other lessons


def test_without_a_ratio_everything_is_learned() -> None:
    every = lessons("improvement", 3) + lessons("non-improvement", 9) + lessons("false alarm", 2) + lessons("gold", 5)
    assert Counter(one.id for one in balance(every, "all", "5/0")) == Counter(one.id for one in every)


def test_what_is_no_part_of_the_proportion_is_only_shuffled() -> None:
    every = lessons("rationale", 40)
    assert counted(balance(every, 1.5, "5/0")) == {"rationale": 40}
    assert balance(every, 1.5, "5/0") != every
    assert balance(every, 1.5, "5/0") == balance(every, 1.5, "5/0") != balance(every, 1.5, "5/1")


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.floats(0.1, 9))
@settings(deadline=None, max_examples=60)
def test_no_proportion_leaves_out_an_improvement_or_a_false_alarm_or_exceeds_its_share(
    n: int, right: int, alarms: int, golds: int, ratio: float
) -> None:
    every = lessons("improvement", n) + lessons("non-improvement", right) + lessons("false alarm", alarms)
    kept = counted(balance(every + lessons("gold", golds, "g"), ratio, "5/0"))
    said_right = kept.get("non-improvement", 0) + kept.get("false alarm", 0)
    assert kept.get("improvement", 0) == n
    assert kept.get("false alarm", 0) == alarms
    assert said_right <= max(n / ratio + 1, alarms)
    assert said_right <= right + alarms and kept.get("gold", 0) == min(golds, said_right)


def test_of_lessons_that_say_the_same_one_is_kept() -> None:
    one, other = seen("accepted", RIGHT, CORRECT), seen("edited", WRONG, FIRST, RIGHT, CORRECT)
    found = without_twins([lesson for each in (one, other, one) for lesson in cut(each, LAYOUT, Weights())])
    assert [lesson.kind for lesson in found] == ["non-improvement", "improvement"]
    alarm = cut(seen("false alarm", RIGHT, CORRECT), LAYOUT, Weights())
    assert [lesson.kind for lesson in without_twins([*found, *alarm])] == ["false alarm", "improvement"]
    assert len(without_twins([*found, gold(ONE, LAYOUT, SAY), attempted("rationale", ONE, 0, RIGHT, LAYOUT)])) == 3
