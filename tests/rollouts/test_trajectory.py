"""A trajectory: when it ends, what counts as an attempt, and which chats a model reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.errors import RolloutError
from sparring.flow import Role, run
from sparring.rollouts.trajectory import Layout, Policy, Trajectory, correct_itself, tidy
from sparring.types import Completion, Failure, Sampling, assistant, user
from tests.sums import ALARM, CORRECT, FIRST, LATE, LAYOUT, ONE, RIGHT, SECOND, SUMS, WRONG

Reply = str | Completion | RolloutError


def go(*replies: Reply, updates: int = 3, index: int = 0) -> tuple[Any, list[Request]]:
    """Return what came of a trajectory with these replies, and the requests that were made."""
    asked: list[Request] = []

    def reply(request: Request) -> str | Completion:
        asked.append(request)
        said = replies[len(asked) - 1]
        if isinstance(said, RolloutError):
            raise said
        return said

    engine = Scripted(reply)
    attempts, feedback = Role("policy", engine, Sampling(1.0, max_tokens=99)), Role("policy", engine, Sampling())
    policy = Policy(SUMS, LAYOUT, attempts, feedback)
    [result] = run([("one", correct_itself(ONE, index, policy, updates))])
    return result, asked


def corrected(*replies: Reply, updates: int = 3) -> Trajectory:
    result, asked = go(*replies, updates=updates)
    assert len(asked) == len(replies), "every reply was asked for"
    return result


# When it ends


def test_an_attempt_is_criticised_and_updated_until_the_feedback_finds_nothing_wrong() -> None:
    found = corrected(WRONG, FIRST, LATE, SECOND, RIGHT, CORRECT)
    assert (found.attempts, found.feedbacks) == ((WRONG, LATE, RIGHT), (FIRST, SECOND, CORRECT))
    assert [found.is_right(SUMS, at) for at in (0, 1, -1)] == [False, False, True]


def test_feedback_that_cannot_be_read_ends_it_with_the_attempt_as_it_is() -> None:
    found = corrected(WRONG, "I am not so sure about this.")
    assert (found.attempts, found.feedbacks) == ((WRONG,), ("I am not so sure about this.",))


@pytest.mark.parametrize("said", [FIRST.replace("(1)", "(9)"), FIRST.replace("1 + 2 = 4", "1 + 2 = 5")])
def test_feedback_on_a_step_or_a_part_that_is_not_there_cannot_be_read(said: str) -> None:
    assert corrected(WRONG, said).attempts == (WRONG,)


def test_after_the_last_update_no_feedback_is_paid_for() -> None:
    found = corrected(WRONG, FIRST, LATE, updates=1)
    assert (found.attempts, found.feedbacks) == ((WRONG, LATE), (FIRST,))


def test_without_updates_there_is_an_attempt_and_nothing_else() -> None:
    found = corrected(RIGHT, updates=0)
    assert (found.attempts, found.feedbacks) == ((RIGHT,), ())


def test_an_update_without_an_answer_is_not_taken_over() -> None:
    found = corrected(WRONG, FIRST, "I do not know.")
    assert (found.attempts, found.feedbacks) == ((WRONG,), (FIRST,))


# Replies that do not come to their end


@pytest.mark.parametrize("said", [Completion(RIGHT, "length"), Completion("", "stop"), Completion("No.", "refused")])
def test_an_attempt_that_did_not_come_to_its_end_is_wrong_whatever_it_says_and_no_failure(said: Completion) -> None:
    found = corrected(said)
    assert found.cut_off
    assert not found.is_right(SUMS, 0)
    assert not found.is_right(SUMS, -1)


def test_an_answer_cut_off_in_the_middle_of_its_number_is_not_read() -> None:
    cut = Completion(RIGHT[:-1], "length")  # "So the answer is 6", which was to be 61
    assert not corrected(cut).is_right(SUMS, 0)


def test_feedback_and_updates_that_were_cut_off_count_for_nothing() -> None:
    assert corrected(RIGHT, Completion(ALARM, "length")).feedbacks == ("",)
    found = corrected(WRONG, FIRST, Completion(RIGHT, "length"))
    assert found.attempts == (WRONG,)


def test_a_chat_that_grew_too_long_for_a_reply_leaves_what_is_there() -> None:
    found = corrected(WRONG, FIRST, LATE, RolloutError("context overflow", "99 tokens"))
    assert (found.attempts, found.feedbacks) == ((WRONG, LATE), (FIRST, ""))
    assert corrected(WRONG, FIRST, RolloutError("context overflow")).attempts == (WRONG,)


@pytest.mark.parametrize("said", [(WRONG,), (WRONG, FIRST), (WRONG, FIRST, LATE)])
def test_a_server_that_fails_on_the_way_fails_the_rollout(said: tuple[str, ...]) -> None:
    # What it would have said is not known: to count it as nothing said would measure the server.
    result, _ = go(*said, RolloutError("server error", "503"))
    assert result == Failure("one", "server error", "503")


def test_a_first_attempt_that_fails_is_a_failure_with_its_reason() -> None:
    result, _ = go(RolloutError("server refused"))
    assert result == Failure("one", "server refused")


def test_what_follows_the_final_response_is_no_part_of_an_attempt() -> None:
    found = corrected(f"Sure!\n{WRONG}\nQ: 2 + 2 =\n(1) 2 + 2 = 4\n", updates=0)
    assert found.attempts == (f"Sure!\n{WRONG}",)
    assert tidy("  no steps at all\n") == "no steps at all"


# What is asked


def test_the_chat_shows_the_last_attempt_only_and_the_same_words_in_every_turn() -> None:
    # The published code leaves the hint out of later turns, so they read another prompt than they were trained on.
    _, asked = go(WRONG, FIRST, LATE, SECOND, RIGHT, CORRECT)
    first = user("Add: 1 + 2 + 3 =")
    assert [request.chat for request in asked] == [
        [first],
        [first, assistant(WRONG), user("Feedback:")],
        [first, assistant(WRONG), user("Feedback:"), assistant(FIRST), user("Updated answer:")],
        [first, assistant(LATE), user("Feedback:")],
        [first, assistant(LATE), user("Feedback:"), assistant(SECOND), user("Updated answer:")],
        [first, assistant(RIGHT), user("Feedback:")],
    ]


def test_the_format_of_the_steps_stands_where_the_prompt_has_room_for_it() -> None:
    layout = Layout("{question}\n\n{format}", "f", "u", "One addition a line.")
    assert layout.asking("1 + {format} =")[0]["content"] == "1 + {format} =\n\nOne addition a line."


def test_attempts_and_updates_are_drawn_as_told_each_sample_for_itself_and_feedback_is_greedy() -> None:
    # In the published code the sampling never reached the engine: five passes gave five times the same.
    _, asked = go(WRONG, FIRST, RIGHT, CORRECT, index=4)
    assert [request.sampling.temperature for request in asked] == [1.0, 0.0, 1.0, 0.0]
    assert {request.sample_index for request in asked} == {4}


# The books


def test_tokens_are_counted_for_every_reply_those_not_taken_over_too() -> None:
    said: Sequence[Completion] = [
        Completion(WRONG, completion_tokens=20),
        Completion(FIRST, completion_tokens=9),
        Completion("Hm.", completion_tokens=2),
    ]
    assert corrected(*said).tokens == (20, 9, 2)
    assert corrected("one two three", updates=0).tokens == (3,)


def test_a_trajectory_is_its_row_again() -> None:
    for found in (corrected(WRONG, FIRST, RIGHT, CORRECT), corrected(Completion("", "length"))):
        row = json.loads(json.dumps(found.row()))
        assert Trajectory.from_row(row, {ONE.id: ONE}) == found
        assert row["id"] == "train-1 #0"
