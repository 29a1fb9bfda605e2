"""A family of exercises small enough to read: sums of a few numbers, one addition a step."""

from __future__ import annotations

import random
import re

from sparring.rollouts.trajectory import Layout
from sparring.tasks.exercise import FINAL, Corruption, Exercise, Family, Feedback, read_steps

LAYOUT = Layout("Add: {question}\n\n{format}", "Feedback:", "Updated answer:")
STEP = re.compile(r"(\d+) \+ (\d+) = (\d+)")


def terms(question: str) -> list[int]:
    return [int(term) for term in question.removesuffix(" =").split(" + ")]


def solve(question: str, slip: int | None = None, start: int = 0, total: int | None = None) -> str:
    """Write the steps from `start` on; step `slip`, from 1, is one too high."""
    first, *others = terms(question)
    value, lines = first if total is None else total, list[str]()
    for at, term in enumerate(others, 1):
        if at <= start:
            continue
        after = value + term + (at == slip)
        lines.append(f"({at}) {value} + {term} = {after}")
        value = after
    return "\n".join([*lines, f"({FINAL}) So the answer is {value}."])


def answer_of(attempt: str) -> str | None:
    steps = read_steps(attempt)
    found = re.search(r"answer is (\d+)", steps[-1].text) if steps and steps[-1].label == FINAL else None
    return found[1] if found else None


def verify(question: str, attempt: str) -> Feedback | None:
    steps = read_steps(attempt)
    if not steps or steps[-1].label != FINAL:
        return None
    value, *others = terms(question)
    for step in steps[:-1]:
        found = STEP.fullmatch(step.text)
        if found is None or not others:
            return Feedback(step.label, step.text, "it is no step of this sum")
        a, b, c = (int(number) for number in found.groups())
        if (a, b) != (value, others.pop(0)):
            return Feedback(step.label, f"{a} + {b}", "this is not what is to be added")
        if c != a + b:
            return Feedback(step.label, step.text, f"{a} + {b} is not {c}")
        value = c
    if others or answer_of(attempt) != str(value):
        return Feedback(FINAL, steps[-1].text, "it does not follow")
    return Feedback()


def repair(question: str, attempt: str, feedback: Feedback) -> str | None:
    at = len(terms(question)) - 1 if feedback.step == FINAL else int(feedback.step or 0) - 1
    return solve(question, start=at, total=sum(terms(question)[: at + 1]))


def corrupt(question: str, rng: random.Random) -> Corruption:
    slip = rng.randint(1, len(terms(question)) - 1)
    return Corruption(solve(question, slip), str(slip), "one too high")


def draw(rng: random.Random, tier: str) -> tuple[str, str, str | None]:
    question = " + ".join(str(rng.randint(10, 99)) for _ in range(int(tier))) + " ="
    return question, str(sum(terms(question))), solve(question)


def evidence(question: str, attempt: str) -> str:
    return "\n".join(f"[{step.label}] checked" for step in read_steps(attempt))


SUMS = Family("sums", {"3": True, "4": True, "5": False}, draw, answer_of, verify, repair, corrupt, evidence)
BY_TEACHER = Family("by-teacher", SUMS.tiers, draw, answer_of)
"""The same without scripts."""


def exercise(question: str, id: str = "train-1", gold: bool = True) -> Exercise:
    rationale = solve(question) if gold else None
    return Exercise(id, question, str(sum(terms(question))), str(len(terms(question))), True, rationale)


ONE = exercise("1 + 2 + 3 =")
"""(1) 1 + 2 = 3, (2) 3 + 3 = 6."""
RIGHT = solve(ONE.question)
WRONG = solve(ONE.question, 1)
"""(1) 1 + 2 = 4, (2) 4 + 3 = 7."""
LATE = solve(ONE.question, 2)
"""(1) 1 + 2 = 3, (2) 3 + 3 = 7."""
CORRECT = "Step (1) to (2) are correct. The final response is also correct."
FIRST = 'In step (1) the part " 1 + 2 = 4 " is incorrect. This is because 1 + 2 is not 4.'
SECOND = 'Step (1) is correct. In step (2) the part " 3 + 3 = 7 " is incorrect. This is because 3 + 3 is not 7.'
ALARM = 'Step (1) is correct. In step (2) the part " 3 + 3 = 6 " is incorrect. This is because I say so.'
