"""Editing: every branch that a teacher can take, by script, by a model, and with the policy's own updates."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.errors import RolloutError
from sparring.flow import Flow, Role, run
from sparring.rollouts.editing import Teacher, edit, illegal, outcomes, progresses
from sparring.rollouts.teaching import (
    Critic,
    Improver,
    Untaught,
    corrupted,
    demonstrated,
    model_critic,
    model_improver,
    policy_improver,
    read_fields,
    script_critic,
    script_improver,
    spliced,
    words,
)
from sparring.rollouts.trajectory import Trajectory
from sparring.tasks.exercise import Exercise, Family, Feedback, read_feedback
from sparring.types import Completion, Failure, Sampling
from tests.sums import ALARM, CORRECT, FIRST, LATE, LAYOUT, ONE, RIGHT, SECOND, SUMS, WRONG, exercise, solve

LUCKY = "(1) 1 + 2 = 4\n(2) 4 + 3 = 6\n(Final response) So the answer is 6."
"""The right answer by a wrong way."""
SCRIPT = Teacher(SUMS, script_critic(SUMS), script_improver(SUMS), words(SUMS, False), verifies=True)


def tried(*said: str, of: Exercise = ONE) -> Trajectory:
    """A trajectory of the policy's: attempt, feedback, attempt, ..."""
    return Trajectory(of, 0, tuple(said[::2]), tuple(said[1::2]))


def edited(trajectory: Trajectory, teacher: Teacher = SCRIPT) -> Trajectory:
    [result] = run([("one", edit(trajectory, teacher))])
    assert isinstance(result, Trajectory), result
    return result


def said(found: Trajectory) -> tuple[str, str, tuple[str, ...], tuple[str, ...], int | None]:
    return found.outcome, found.reason, found.attempts, found.feedbacks, found.edited


# By script


@pytest.mark.parametrize("heard", [(), (CORRECT,), ("Looks fine to me!",)])
def test_a_right_attempt_that_nobody_criticised_is_accepted_with_the_one_sentence_for_it(heard: tuple[str]) -> None:
    assert said(edited(tried(RIGHT, *heard))) == ("accepted", "", (RIGHT,), (CORRECT,), None)


@pytest.mark.parametrize("heard", [(), (CORRECT,), ("Hm?",), (FIRST.replace("1 + 2 = 4", "4"),), (SECOND,)])
def test_a_wrong_attempt_is_mended_from_the_first_criticism_that_is_wrong_or_missing(heard: tuple[str]) -> None:
    agreed = heard == (FIRST.replace("1 + 2 = 4", "4"),)  # quotes a part of what the script does
    found = edited(tried(WRONG, *heard))
    assert said(found) == ("edited", "", (WRONG, RIGHT), (FIRST, CORRECT), 1 if agreed else 0)


def test_what_the_policy_found_itself_stays_up_to_the_first_disagreement() -> None:
    found = edited(tried(WRONG, FIRST, LATE, CORRECT))
    assert said(found) == ("edited", "", (WRONG, LATE, RIGHT), (FIRST, SECOND, CORRECT), 1)


def test_a_policy_that_corrected_itself_as_the_teacher_would_is_accepted_whole() -> None:
    found = edited(tried(WRONG, FIRST, LATE, SECOND, RIGHT, CORRECT))
    assert said(found) == ("accepted", "", (WRONG, LATE, RIGHT), (FIRST, SECOND, CORRECT), None)


@pytest.mark.parametrize(
    ("before", "heard", "update"),
    [
        (WRONG, FIRST, WRONG),  # nothing changed
        (WRONG, FIRST, WRONG.replace("4 + 3 = 7", "4 + 3 = 9").replace("is 7", "is 9")),  # the same step, and one more
        (LATE, SECOND, WRONG),  # a step that was right
        (LATE, SECOND, f"Again:\n{LATE.replace('= 7', '= 8').replace('is 7', 'is 8')}"),  # what stood before the step
    ],
)
def test_a_policys_own_update_that_is_no_better_is_not_learned(before: str, heard: str, update: str) -> None:
    found = edited(tried(before, heard, update, CORRECT))
    assert said(found) == ("edited", "", (before, RIGHT), (heard, CORRECT), 1)


def test_updates_before_one_that_is_no_better_are_learned() -> None:
    found = edited(tried(WRONG, FIRST, LATE, SECOND, LATE, SECOND, RIGHT))
    assert said(found) == ("edited", "", (WRONG, LATE, RIGHT), (FIRST, SECOND, CORRECT), 2)


def test_a_right_update_is_learned_however_it_came_about() -> None:
    found = edited(tried(LATE, SECOND, f"Again:\n{RIGHT}", CORRECT))
    assert said(found) == ("accepted", "", (LATE, f"Again:\n{RIGHT}"), (SECOND, CORRECT), None)


def test_wrong_feedback_on_the_way_to_a_right_answer_is_not_laundered() -> None:
    # The published code accepts a right final answer with whatever was said on the way.
    wrong_feedback = FIRST.replace("(1)", "(2)").replace("1 + 2 = 4", "4 + 3 = 7")
    found = edited(tried(WRONG, wrong_feedback, RIGHT, CORRECT))
    assert said(found) == ("edited", "", (WRONG, RIGHT), (FIRST, CORRECT), 0)


def test_a_right_step_and_quotation_with_a_wrong_reason_is_learned_in_the_teachers_words() -> None:
    found = edited(tried(WRONG, FIRST.replace("1 + 2 is not 4", "3 is a prime"), RIGHT, CORRECT))
    assert said(found) == ("accepted", "", (WRONG, RIGHT), (FIRST, CORRECT), None)


def test_a_lucky_answer_by_a_wrong_way_is_no_right_attempt() -> None:
    # In the published code the script was consulted only where the final answer was wrong.
    found = edited(tried(LUCKY, CORRECT))
    assert said(found) == ("edited", "", (LUCKY, RIGHT), (FIRST, CORRECT), 0)


def test_a_right_attempt_that_was_criticised_becomes_a_lesson() -> None:
    # The published code could not read its own "all correct" there, and dropped the trajectory.
    found = edited(tried(RIGHT, ALARM, WRONG, FIRST))
    assert said(found) == ("false alarm", "", (RIGHT,), (CORRECT,), 0)
    later = edited(tried(WRONG, FIRST, RIGHT, ALARM))
    assert said(later) == ("false alarm", "", (WRONG, RIGHT), (FIRST, CORRECT), 1)


def test_a_false_alarm_is_dropped_where_the_published_way_is_asked_for() -> None:
    found = edited(tried(RIGHT, ALARM), replace(SCRIPT, false_alarms=False))
    assert (found.outcome, found.reason) == ("dropped", "right attempt criticised")


def test_where_they_agree_and_it_is_still_wrong_the_teacher_goes_on() -> None:
    # Published: dropped. The policy had no more updates, or its update had no answer.
    found = edited(tried(WRONG, FIRST))
    assert said(found) == ("edited", "", (WRONG, RIGHT), (FIRST, CORRECT), 1)


@pytest.mark.parametrize(
    ("trajectory", "reason"),
    [
        (tried("I cannot do sums."), "attempt cannot be read"),
        (replace(tried(RIGHT), cut_off=True), "attempt did not come to its end"),
        (tried(RIGHT, of=replace(ONE, answer="7")), "every step verified, and yet another answer"),
    ],
)
def test_what_cannot_be_taught_is_dropped_with_its_reason(trajectory: Trajectory, reason: str) -> None:
    assert said(edited(trajectory))[:2] == ("dropped", reason)


def test_a_family_whose_script_cannot_mend_it_drops_it() -> None:
    family = replace(SUMS, repair=lambda question, attempt, feedback: None)
    found = edited(tried(WRONG), replace(SCRIPT, improver=script_improver(family)))
    assert (found.outcome, found.reason) == ("dropped", "script cannot mend it")


def test_evidence_stands_before_the_verdict_where_it_is_wanted() -> None:
    found = edited(tried(WRONG), replace(SCRIPT, say=words(SUMS, True)))
    checked = "[1] checked\n[2] checked\n[Final response] checked\n"
    assert found.feedbacks == (checked + FIRST, checked + CORRECT)
    assert read_feedback(found.feedbacks[0], WRONG) == read_feedback(FIRST, WRONG)


def test_every_single_mistake_of_a_longer_sum_is_named_where_it_stands_and_mended() -> None:
    for n in range(40):
        question = SUMS.draw(random.Random(n), "5")[0]
        for slip in (1, 2, 3, 4):
            found = edited(tried(solve(question, slip), of=exercise(question)))
            assert (found.outcome, found.attempts[-1]) == ("edited", solve(question))
            first = read_feedback(found.feedbacks[0], found.attempts[0])
            assert first and first.step == str(slip)


# Updates


def by(*updates: str) -> Improver:
    """An improver that writes these updates one after the other."""
    left = list(updates)

    def improve(exercise: Exercise, attempt: str, feedback: Feedback) -> Flow[str]:
        yield from ()
        return left.pop(0)

    return improve


def judging(*found: Feedback) -> Critic:
    left = list(found)

    def criticise(exercise: Exercise, attempt: str) -> Flow[Feedback]:
        yield from ()
        return left.pop(0)

    return criticise


def test_updates_go_on_from_each_other_until_all_is_right() -> None:
    found = edited(tried(WRONG), replace(SCRIPT, improver=by(LATE, RIGHT)))
    assert said(found) == ("edited", "", (WRONG, LATE, RIGHT), (FIRST, SECOND, CORRECT), 0)


def test_at_most_so_many_updates_are_made() -> None:
    found = edited(tried(WRONG), replace(SCRIPT, improver=by(LATE, RIGHT), edits=1))
    assert (found.outcome, found.reason) == ("dropped", "still wrong after 1 updates")


def test_of_updates_that_did_not_get_on_only_the_first_feedback_is_learned() -> None:
    again = "(1) 1 + 2 = 3\n(2) 3 + 3 = 8\n(Final response) So the answer is 8."
    wrong = Feedback("2", "3 + 3", "that is not it")
    astray = replace(SCRIPT, improver=by(again, RIGHT), critic=judging(wrong, wrong, Feedback()))
    found = edited(tried(LATE, CORRECT), astray)
    assert said(found) == ("feedback only", "", (LATE,), (words(SUMS, False)(ONE, LATE, wrong),), 0)


def test_another_mistake_in_the_same_step_is_a_way_to_get_on() -> None:
    again = "(1) 1 + 2 = 3\n(2) 3 + 3 = 8\n(Final response) So the answer is 8."
    assert edited(tried(LATE), replace(SCRIPT, improver=by(again, RIGHT))).outcome == "edited"


@pytest.mark.parametrize(
    ("then", "now", "gets_on"),
    [
        (Feedback("1", "1 + 2 = 4"), Feedback("2", "4 + 3"), True),
        (Feedback("2", "3 + 3"), Feedback("1", "1 + 2"), False),
        (Feedback("2", "3 + 3 = 7"), Feedback("2", "3 + 3"), False),
        (Feedback("2", "3 + 3 = 7"), Feedback("2", "x"), True),
        (Feedback("1", "1 + 2 = 4"), Feedback("Final response", "6"), True),
        (Feedback("1", "x"), Feedback("7", "x"), True),
    ],
)
def test_an_update_gets_on_where_the_next_mistake_comes_later(then: Feedback, now: Feedback, gets_on: bool) -> None:
    # The published comparison was of differently cleaned texts, and practically never fired.
    assert progresses(then, now, RIGHT) is gets_on


@pytest.mark.parametrize(
    ("update", "trouble"),
    [
        ("(1) 1 + 2 = 3\n(2) 3 + 3 = 6", "update without an answer"),
        (LATE, "update changes nothing"),
        (RIGHT.replace("1 + 2 = 3", "2 + 1 = 3"), "update changes a step before the wrong one"),
        (LATE.replace("is 7", "is 6"), "update leaves the wrong step as it was"),
        (RIGHT.replace("= 6\n", "= 6, not 3 + 3 = 7\n"), "update still says what was wrong"),
        (RIGHT, ""),
    ],
)
def test_an_update_that_may_not_follow_the_feedback_is_told_apart(update: str, trouble: str) -> None:
    feedback = Feedback("2", "3 + 3 = 7", "3 + 3 is not 7")
    assert illegal(LATE, update, feedback, replace(SCRIPT, verifies=False)) == trouble
    if trouble:
        found = edited(tried(LATE), replace(SCRIPT, improver=by(update), verifies=False))
        assert (found.outcome, found.reason) == ("dropped", trouble)


def test_feedback_on_a_step_that_is_not_there_allows_no_update() -> None:
    assert illegal(LATE, RIGHT, Feedback("9", "x"), SCRIPT) == "update changes a step before the wrong one"


# The policy as improver


def asking(*replies: str | Completion) -> tuple[Role, list[Request]]:
    asked: list[Request] = []

    def reply(request: Request) -> str | Completion:
        asked.append(request)
        return replies[request.sample_index % len(replies)]

    return Role("policy", Scripted(reply), Sampling(1.0)), asked


def with_policy(role: Role, family: Family = SUMS) -> Teacher:
    critic, say = script_critic(family), words(family, False)
    improver = policy_improver(family, role, LAYOUT, say, critic, script_improver(family))
    return replace(SCRIPT, critic=critic, improver=improver)


def test_the_policy_mends_its_own_attempt_and_the_first_update_the_script_accepts_is_taken() -> None:
    other_way = "(1) 1 + 2 = 3\n(2) 3 + 3 = 6\n(Final response) Hence the answer is 6."
    role, asked = asking(WRONG, Completion(RIGHT, "length"), LUCKY, other_way)
    assert edited(tried(WRONG), with_policy(role)).attempts == (WRONG, other_way)
    assert [request.sample_index for request in asked] == [0, 1, 2, 3]
    assert asked[0].chat == LAYOUT.updating(ONE.question, WRONG, FIRST)


def test_the_verified_steps_stay_whatever_the_policy_makes_of_them() -> None:
    role, _ = asking(RIGHT.replace("(1) 1 + 2 = 3", "(1) one and two make three"))
    assert edited(tried(LATE), with_policy(role)).attempts == (LATE, RIGHT)


def test_where_the_policy_cannot_mend_it_the_script_does() -> None:
    role, asked = asking("I would rather not.")
    assert edited(tried(WRONG), with_policy(role)).attempts == (WRONG, RIGHT)
    assert len(asked) == 4


# A teacher that is a model


def fields(step: str, part: str, reason: str) -> str:
    return f"Let me see.\n\nStep: {step}\nPart: {part}\nReason: {reason}"


@pytest.mark.parametrize(
    "text",
    [
        fields("(1)", '"1 + 2 = 4"', "1 + 2 is not 4"),
        fields("1", "1 + 2 = 4", "This is because 1 + 2 is not 4."),
        "Step: (2) follows.\n" + fields("(1)", "1 + 2 = 4", "1 + 2 is not 4"),
        "**Step:** Step (1)\n**Part:** “1 + 2 = 4”\n**Reason:** 1 + 2 is not 4.",
    ],
)
def test_three_fields_are_read_however_a_model_sets_them(text: str) -> None:
    assert read_fields(text, WRONG) == Feedback("1", "1 + 2 = 4", "1 + 2 is not 4")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Step (1) is wrong.",
        fields("(9)", "1 + 2 = 4", "why"),
        fields("(1)", "1 + 2 = 5", "why"),
        fields("(2)", "1 + 2 = 4", "why"),
        fields("(1)", "", "why"),
        fields("(1)", '""', "why"),
        fields("(1)", "1 + 2 = 4", ""),
        fields("(1)", "1 + 2 = 4", "why") + "\nStep: (2)",
        fields("(1)", "1 + 2 = 4", "why") + "\nReason: or not",
        "Step: (1)\nReason: why",
        "Part: 1 + 2 = 4\nReason: why",
    ],
)
def test_fields_that_are_missing_or_quote_what_is_not_there_cannot_be_read(text: str) -> None:
    assert read_fields(text, WRONG) is None


def test_that_nothing_is_wrong_is_told_apart_from_what_cannot_be_read() -> None:
    # The published code has one mark for both.
    assert read_fields(fields("none", "none", "none"), WRONG) == Feedback()
    assert read_fields("none", WRONG) is None


def test_the_final_response_may_be_what_is_wrong() -> None:
    attempt = RIGHT.replace("is 6", "is 5")
    found = read_fields(fields("(final response)", "is 5", "step (2) says 6"), attempt)
    assert found == Feedback("Final response", "is 5", "step (2) says 6")


def test_the_rest_of_an_attempt_is_put_behind_the_steps_that_stand() -> None:
    wrong = Feedback("2", "3 + 3 = 7", "")
    rest = RIGHT[RIGHT.index("(2)") :]
    for reply in (rest, RIGHT, f"Here it is:\n{rest}\nGood luck!", RIGHT.replace("1 + 2 = 3", "1 + 2 = 30")):
        assert spliced(LATE, wrong, reply) == RIGHT
    assert spliced(LATE, wrong, "3 + 3 = 6") is None
    assert spliced(LATE, Feedback("9", "x"), RIGHT) is None


def teaching(reply: Callable[[str], str | Completion]) -> tuple[Teacher, list[str]]:
    """A teacher that is a model; the prompts it got."""
    asked: list[str] = []

    def answer(request: Request) -> str | Completion:
        asked.append(request.chat[-1]["content"])
        return reply(asked[-1])

    role, say = Role("teacher", Scripted(answer)), words(SUMS, False)
    critic = model_critic(SUMS, role, "CRITICISE {question} IS {answer}\n{attempt}")
    improver = model_improver(role, "UPDATE {question}\n{attempt}\nSAID {feedback}\nKEEP {kept}\nFROM {step}")
    return Teacher(SUMS, critic, improver, say, verifies=False), asked


def lecture(prompt: str) -> str:
    if prompt.startswith("CRITICISE"):
        return fields("(2)", "3 + 3 = 7", "3 + 3 is not 7")
    return RIGHT[RIGHT.index("(2)") :]


def test_a_model_criticises_and_mends_and_never_hears_more_than_it_needs() -> None:
    teacher, asked = teaching(lecture)
    assert said(edited(tried(LATE), teacher)) == ("edited", "", (LATE, RIGHT), (SECOND, CORRECT), 0)
    quoted = "\n".join(f"> {line}" for line in LATE.splitlines())
    assert asked == [
        f"CRITICISE 1 + 2 + 3 = IS 6\n{quoted}",
        f"UPDATE 1 + 2 + 3 =\n{quoted}\nSAID > {SECOND}\nKEEP > (1) 1 + 2 = 3\nFROM 2",
    ]


def test_to_a_model_an_attempt_with_the_right_answer_is_right_as_published() -> None:
    teacher, asked = teaching(lecture)
    assert said(edited(tried(LUCKY), teacher)) == ("accepted", "", (LUCKY,), (CORRECT,), None)
    assert asked == []


@pytest.mark.parametrize(
    ("criticism", "update", "reason"),
    [
        ("Hm.", "", "feedback of the teacher cannot be read"),
        (fields("none", "none", "none"), "", "teacher found nothing wrong in a wrong attempt"),
        (fields("(2)", "3 + 3 = 7", "why"), "It is 6.", "update of the teacher cannot be read"),
        (fields("(2)", "3 + 3 = 7", "why"), "(2) 3 + 3 = 6", "update without an answer"),
    ],
)
def test_a_model_that_cannot_be_followed_drops_the_trajectory_and_says_why(
    criticism: str, update: str, reason: str
) -> None:
    teacher, _ = teaching(lambda prompt: criticism if prompt.startswith("CRITICISE") else update)
    assert said(edited(tried(LATE), teacher))[:2] == ("dropped", reason)


def test_an_attempt_without_steps_is_not_sent_to_a_model() -> None:
    teacher, asked = teaching(lecture)
    assert said(edited(tried("Seven."), teacher))[:2] == ("dropped", "attempt cannot be read")
    assert asked == []


def test_a_model_that_refuses_is_a_failure_and_not_a_dropped_trajectory() -> None:
    teacher, _ = teaching(lambda _: Completion("", "refused"))
    assert run([("one", edit(tried(LATE), teacher))]) == [Failure("one", "teacher refused")]


# The teacher's own mistakes


def test_a_scripts_own_mistakes_differ_by_sample_and_are_the_same_every_time() -> None:
    long = exercise("1 + 2 + 3 + 4 + 5 =")

    def made(index: int, seed: str = "5/0") -> Trajectory:
        [result] = run([("one", corrupted(long, index, SUMS, seed))])
        assert isinstance(result, Trajectory)
        return result

    assert [made(index) for index in range(9)] == [made(index) for index in range(9)]
    assert len({made(index).attempts for index in range(20)}) == 4
    assert [made(i).attempts for i in range(9)] != [made(i, "5/1").attempts for i in range(9)]
    assert all(edited(made(index)).outcome == "edited" for index in range(9))


def test_a_model_demonstrates_by_its_own_attempt() -> None:
    role, asked = asking("(1) 1 + 2 = 4\n(2) 4 + 3 = 7\n(Final response) So the answer is 7.\nBye")
    [found] = run([("one", demonstrated(ONE, 2, role, "Do {question} {format}", "briefly"))])
    assert isinstance(found, Trajectory)
    assert (found.attempts, asked[0].chat[0]["content"]) == ((WRONG,), "Do 1 + 2 + 3 = briefly")
    assert asked[0].sample_index == 2


# Counting


def test_outcomes_are_counted_with_the_reasons_why_something_was_dropped() -> None:
    attempts: Sequence[str] = (RIGHT, WRONG, "No.", "No!", LATE)
    found = outcomes([edited(tried(attempt)).row() for attempt in attempts])
    assert found == {"accepted": 1, "dropped: attempt cannot be read": 2, "edited": 2}
    assert Counter(found).total() == 5


def test_only_what_cannot_be_taught_is_dropped_and_a_bug_is_raised() -> None:
    def buggy(exercise: Exercise, attempt: str) -> Flow[Feedback]:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        edited(tried(WRONG), replace(SCRIPT, critic=buggy))
    assert issubclass(Untaught, RolloutError)
