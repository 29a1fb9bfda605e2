"""Feedback as it is read out of what a model says: a verdict is the sentence that closes it, and no other."""

from __future__ import annotations

import time

import pytest

from sparring.tasks.exercise import MOST, Feedback, read_feedback
from tests.sums import CORRECT, FIRST, LATE, RIGHT, SECOND, WRONG


@pytest.mark.parametrize(
    "text",
    [
        CORRECT,
        "The final response is correct.",
        "the final response is also correct",
        f"(1) 3 should be 3 yes\n{CORRECT}",
        "All steps hold!\nThe final response is correct.",
        f"At first I thought: {FIRST} But no. {CORRECT}",
    ],
)
def test_that_all_is_correct_is_read_where_a_sentence_says_so(text: str) -> None:
    assert read_feedback(text, WRONG) == Feedback()


@pytest.mark.parametrize(
    "text",
    [
        "I do not believe that the final response is correct.",
        "I doubt it, the final response is correct.",
        "Nobody knows if the final response is also correct.",
        "The final response is correct. Or is it?",
        "The final response is not correct.",
    ],
)
def test_prose_that_denies_or_doubts_it_cannot_be_read(text: str) -> None:
    assert read_feedback(text, RIGHT) is None


def test_of_two_criticisms_the_last_is_read() -> None:
    wrong, late = Feedback("1", "1 + 2 = 4", "1 + 2 is not 4"), Feedback("2", "3 + 3 = 7", "3 + 3 is not 7")
    both = f"{WRONG}\n{LATE}"
    assert read_feedback(f"{SECOND}\nNo, it is this: {FIRST}", WRONG) == wrong
    assert read_feedback(f"{FIRST.replace('1 + 2 = 4', '1 + 2')} {SECOND}", LATE) == late
    assert read_feedback(f"{FIRST} {SECOND} In step (9) I am not sure.", both) is None


@pytest.mark.parametrize("text", ["a{}b", "a.{}b", "In step (1) {}", 'In step (1) the part " x{}', "{}"])
@pytest.mark.parametrize(
    "piece", ["\n", " ", ". ", 'In step (1) the part "', '" is incorrect. ', "the final response "]
)
def test_no_text_takes_long_to_read(text: str, piece: str) -> None:
    start = time.process_time()
    read_feedback(text.format(piece * (MOST // len(piece))), WRONG)
    assert time.process_time() - start < 0.5  # seconds; 0.01 as a rule
