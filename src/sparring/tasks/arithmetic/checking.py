"""Checking: the first wrong step of an attempt, what is wrong in it and why; and the rest of it done right.

An attempt cuts the expression into letters as it likes, as long as its first step says the same expression; each later
step works out a letter, in any order and in as few or many pieces as it likes; then comes the equation of the first
step. The published checker compares values only, and blames a number miscopied in step (2) on the last equation; here a
line of a letter must begin with its definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sparring.tasks.arithmetic.answers import answer_in
from sparring.tasks.arithmetic.expression import substituted
from sparring.tasks.arithmetic.letters import plain, read_letters, subject_of
from sparring.tasks.arithmetic.pieces import (
    QUOTED,
    Fault,
    between,
    chain_fault,
    is_reduction,
    is_same,
    unreadable,
)
from sparring.tasks.arithmetic.question import Question, read_question
from sparring.tasks.arithmetic.writing import chain, equation, equation_line, letter_line, numbered, partition
from sparring.tasks.exercise import FINAL, Feedback, Step, before, read_steps


@dataclass(slots=True)
class Work:
    """What the steps of an attempt have established so far."""

    question: Question
    skeleton: str = ""
    definitions: dict[str, str] = field(default_factory=dict[str, str])
    values: dict[str, int] = field(default_factory=dict[str, int])
    result: int | None = None


def verify(question: str, attempt: str) -> Feedback | None:
    """Return the first wrong step of an attempt, or that all is correct; None where there is no step to read."""
    asked, steps = read_question(question), read_steps(attempt)
    if asked is None or not steps:
        return None
    if wrong := _first_wrong(Work(asked), steps):
        return wrong
    return Feedback() if steps[-1].label == FINAL else _blamed(steps[-1], "", "no final response follows this step")


def repair(question: str, attempt: str, feedback: Feedback) -> str | None:
    """Return the steps from the wrong one on, done right; None where those before it are not right either.

    The letters are the attempt's own if it has defined them.
    """
    asked = read_question(question)
    prefix = None if feedback.step is None else before(attempt, feedback.step)
    if asked is None or prefix is None:
        return None
    work, steps = Work(asked), read_steps(prefix)
    if _first_wrong(work, steps):
        return None
    rest = _rest(work, len(steps))
    verdict = verify(question, prefix + rest)
    return rest if verdict and verdict.is_correct else None


def _rest(work: Work, done: int) -> str:
    lines: list[str] = []
    if not done:
        work.skeleton, work.definitions = work.question.skeleton, work.question.definitions
        lines.append(partition(work.skeleton, work.definitions))
    for letter in (letter for letter in work.definitions if letter not in work.values):
        pieces = chain(plain(work.definitions[letter]))
        work.values[letter] = int(pieces[-1])
        lines.append(letter_line(letter, pieces))
    if work.result is None:
        lines.append(equation_line(work.skeleton, equation(work.skeleton, work.values)))
    return numbered(lines, work.question.value, done + 1)


def _first_wrong(work: Work, steps: Sequence[Step]) -> Feedback | None:
    for place, step in enumerate(steps, 1):
        if fault := _fault(work, step, place):
            return _blamed(step, *fault)
    return None


def _blamed(step: Step, span: str, reason: str) -> Feedback:
    """Return feedback that quotes `span`, or the step if that is empty; what would end the quotation is left out."""
    span = (span or step.text).strip()[:QUOTED]
    span = (span.partition('" is incorrect.')[0] or span[:1]).strip()
    return Feedback(step.label, span, " ".join(reason[:QUOTED].split()).rstrip(". "))


def _fault(work: Work, step: Step, place: int) -> Fault | None:
    if step.label == FINAL:
        return _final_fault(work, step.text, place)
    if step.label != str(place):
        return "", f"this is where step ({place}) should be"
    if place == 1:
        fault, work.skeleton, work.definitions = read_letters(work.question, step.text)
        return fault
    if work.result is not None:
        return "", f"the final equation is worked out in step ({place - 1}) already"
    text = step.text.rstrip(" .\n")
    head, *pieces = text.split("=")
    subject = subject_of(head)
    if not subject or not pieces:
        return "", "this is neither a letter worked out nor the final equation"
    start = head.rindex(subject)
    if len(subject) == 1 and "A" <= subject <= "Z":
        return _letter_fault(work, subject, text[start:], pieces)
    return _equation_fault(work, subject, text[start:], pieces)


def _final_fault(work: Work, text: str, place: int) -> Fault | None:
    if work.result is None:
        return "", "the final equation has not been worked out in the steps before"
    if (said := answer_in(text)) is None:
        return "", "it does not say one number as the answer"
    if int(said) != work.result:
        return text[max(text.lower().find("the answer"), 0) :], f"it is not the result of step ({place - 1})"
    return None


def _letter_fault(work: Work, letter: str, text: str, pieces: Sequence[str]) -> Fault | None:
    if letter not in work.definitions:
        return "", f"{letter} is not defined in step (1)"
    definition = work.definitions[letter]
    if not is_same(pieces[0], definition):
        if (fault := unreadable(pieces[0])) is not None:
            return fault
        return between(text, pieces, -1, 0), f"step (1) defines {letter} as {definition}"
    fault, work.values[letter] = chain_fault(text, pieces)
    return fault


def _equation_fault(work: Work, subject: str, text: str, pieces: Sequence[str]) -> Fault | None:
    skeleton = work.skeleton
    if not is_same(subject, skeleton):
        return subject, f"the equation of step (1) is {skeleton}"
    for letter in work.definitions:
        if letter not in work.values:
            return between(text, pieces, -1, 0), f"{letter} has not been worked out in the steps before"
    expected = substituted(skeleton, work.values)
    if not is_reduction(pieces[0], expected):
        if (fault := unreadable(pieces[0])) is not None:
            return fault
        return between(text, pieces, -1, 0), "it does not agree with the results of the steps before"
    fault, work.result = chain_fault(text, pieces)
    return fault
