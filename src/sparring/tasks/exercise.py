"""Exercises: questions whose answers can be checked, answered in labelled steps, criticised in one sentence.

An attempt has a line a step, `(1) ...`, `(2) ...`, and closes with `(Final response) ...`. Feedback names the first
step that is wrong, quotes what is wrong in it, and says why. What reads the text of models here never fails on any.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sparring.errors import SettingsError

FINAL = "Final response"
"""The label of the last step."""
LABEL = re.compile(r"^[\s*_#>-]*\((\d{1,3}(?:\.\d{1,3}){0,5}|final response)\)[*_:]*[ \t]*", re.I)
MOST = 20_000
"""Characters of an attempt that are read: one that is longer cannot be read."""
DRAWS = 2_000
"""Draws in a row that may all be known, or of another part, before a tier counts as exhausted."""

Part = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True)
class Exercise:
    """One question with its answer."""

    id: str
    question: str
    answer: str
    """In the canonical form that its family's `answer_of` gives."""
    tier: str
    """How difficult it is, a name that results are reported by."""
    seen: bool | None = True
    """Whether its tier is trained on; None: it is from elsewhere, and counts in its tier alone."""
    rationale: str | None = None
    """An attempt without a mistake, where a script can write one."""


@dataclass(frozen=True, slots=True)
class Step:
    """A labelled line of an attempt, with the lines without a label that follow it."""

    label: str
    """"1", "3.1" or "Final response"."""
    text: str
    """What stands behind the label, stripped."""
    start: int
    """Where its line begins in the attempt, in characters."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What is wrong first in an attempt, or that nothing is."""

    step: str | None = None
    """Label of the first wrong step; None: all is correct."""
    span: str = ""
    """What is wrong in it, verbatim."""
    reason: str = ""
    """Why, as the rest of a sentence that begins "This is because", without a full stop."""

    @property
    def is_correct(self) -> bool:
        return self.step is None


@dataclass(frozen=True, slots=True)
class Corruption:
    """A gold rationale with one mistake in it, whose consequences the later steps carry on."""

    attempt: str
    step: str
    """Label of the step where the mistake stands."""
    kind: str
    """What kind of mistake it is, a name to count by."""


@dataclass(frozen=True)
class Family:
    """A kind of exercise: how to draw one, read its answer and, where a script can, check, mend and spoil attempts."""

    name: str
    tiers: Mapping[str, bool]
    """Whether each tier is trained on, by its name, easiest first."""
    draw: Callable[[random.Random, str], tuple[str, str, str | None]]
    """Draws (question, answer, gold rationale) of a tier."""
    answer_of: Callable[[str], str | None]
    """Reads the answer out of an attempt, in canonical form; None where there is none to read."""
    verify: Callable[[str, str], Feedback | None] | None = None
    """(question, attempt) -> the first wrong step; None where no step can be read. None: no script can."""
    repair: Callable[[str, str, Feedback], str | None] | None = None
    """(question, attempt, feedback) -> the steps from the wrong one on, done right; None where they cannot be had."""
    corrupt: Callable[[str, random.Random], Corruption] | None = None
    """(question, draw) -> an attempt with one mistake, of a kind drawn evenly."""
    evidence: Callable[[str, str], str] | None = None
    """(question, attempt) -> lines that work out every step anew, for a small model to write before its verdict."""
    mistakes: tuple[str, ...] = ()
    """Names of the kinds that `corrupt` makes."""

    def is_right(self, exercise: Exercise, attempt: str) -> bool:
        return self.answer_of(attempt) == exercise.answer


def part_of(question: str) -> Part:
    """Return which part a question belongs to, by its digest: no question is ever in two."""
    at = int(hashlib.sha256(question.encode()).hexdigest()[:8], 16) % 10
    return "train" if at < 6 else "validation" if at < 7 else "test"


def exercises(family: Family, part: Part, size: int, seed: int, tiers: Sequence[str] = ()) -> list[Exercise]:
    """Return `size` different exercises of a part, spread evenly over `tiers`: all for test, else those seen.

    Raises SettingsError where a tier has too few.
    """
    names = tiers or [tier for tier, seen in family.tiers.items() if seen or part == "test"]
    found: list[Exercise] = []
    known: set[str] = set()
    for place, tier in enumerate(names):
        rng = random.Random(f"{family.name}/{part}/{tier}/{seed}")
        wanted, vain = size * (place + 1) // len(names), 0
        while len(found) < wanted:
            question, answer, rationale = family.draw(rng, tier)
            vain = 0 if question not in known and part_of(question) == part else vain + 1
            if vain > DRAWS:
                raise SettingsError(f"{family.name}: tier {tier!r} has no {wanted} different questions for {part}")
            if not vain:
                known.add(question)
                id = f"{part}-{len(found) + 1}"
                found.append(Exercise(id, question, answer, tier, family.tiers[tier], rationale))
    return found


def read_steps(attempt: str) -> list[Step]:
    """Return the steps of an attempt, up to its final response; an empty list where nothing is labelled.

    What stands before the first label is passed over, as is Markdown around one; nothing after the final response's
    line is read.
    """
    steps: list[Step] = []
    at = 0
    for line in attempt[:MOST].splitlines(keepends=True):
        if found := LABEL.match(line):
            label = FINAL if found[1].lower() == FINAL.lower() else found[1]
            steps.append(Step(label, line[found.end() :].strip(), at))
            if label == FINAL:
                break
        elif steps and line.strip():
            last = steps[-1]
            steps[-1] = Step(last.label, f"{last.text}\n{line.strip()}", last.start)
        at += len(line)
    return steps


def before(attempt: str, label: str) -> str | None:
    """Return the attempt up to the step of that label, verbatim; None where it has no such step."""
    return next((attempt[: step.start] for step in read_steps(attempt) if step.label == label), None)


def render_feedback(feedback: Feedback, attempt: str) -> str:
    """Return feedback as its canonical sentence.

    `Step (1) to (3) are correct. In step (4) the part " 7 + 4 = 12 " is incorrect. This is because ...` The published
    code has three wordings of "all correct" and counts the wrong step among the correct ones for some tasks; here there
    is one.
    """
    labels = [step.label for step in read_steps(attempt)]
    if feedback.step is None:
        good = _span_of([label for label in labels if label != FINAL])
        return f"{good} The final response is also correct." if good else "The final response is correct."
    good = _span_of(labels[: labels.index(feedback.step)] if feedback.step in labels else [])
    told = f'In step ({feedback.step}) the part " {feedback.span} " is incorrect. This is because {feedback.reason}.'
    return f"{good} {told}" if good else told


def _span_of(labels: Sequence[str]) -> str:
    if not labels:
        return ""
    return (
        f"Step ({labels[0]}) is correct." if len(labels) == 1 else f"Step ({labels[0]}) to ({labels[-1]}) are correct."
    )


WRONG = re.compile(r'\bIn step \(([^()]{1,40})\) the part "(.*?)" is incorrect\.\s*(?:This is because (.*))?$', re.S)
RIGHT = re.compile(r"(?:^|[.!?\n])\s{0,9}the final response is (?:also )?correct\.?\s*$", re.I)


def read_feedback(text: str, attempt: str) -> Feedback | None:
    """Return the feedback that `text` closes with; None where it cannot be read.

    A sentence that names a step the attempt does not have, or quotes what that step does not say, cannot be read.
    """
    text = text[:MOST].strip()
    if RIGHT.search(text):
        return Feedback()
    if found := WRONG.search(text, max(0, text.rfind("In step ("))):
        label = FINAL if found[1].strip().lower() == FINAL.lower() else found[1].strip()
        span, reason = found[2].strip(), (found[3] or "").strip().removesuffix(".")
        said = [step.text for step in read_steps(attempt) if step.label == label]
        return Feedback(label, span, reason) if any(span in words if span else not words for words in said) else None
    return None


def agree(one: Feedback, other: Feedback) -> bool:
    """Say whether two criticisms name the same step, and one quotes what the other does, or a part of it."""
    if one.step != other.step:
        return False
    return one.is_correct or one.span in other.span or other.span in one.span
