"""The scripted verifiers: how fast, and how often right, on gold rationales and on rationales with one mistake each.

Beside their speed stands the least that a reader has to do: cut question and rationale into words, numbers and signs.
"""

from __future__ import annotations

import random
import re

from bench.alternate import compare
from bench.table import Figure
from sparring.tasks.exercise import Exercise, Family, exercises
from sparring.tasks.families import family_of

FAMILIES = ("multistep-arithmetic", "word-sorting", "logical-deduction")
WORD = re.compile(r"\w+|\S")
FIGURES = tuple(
    figure
    for name, key in ((name, name.replace("-", "_")) for name in FAMILIES)
    for figure in (
        Figure(
            f"verifier: {name}",
            f"{key}_per_s",
            "rationales/s",
            against="cutting them into words",
            peer=f"{key}_other_per_s",
            ratio=f"{key}_ratio",
            asked=2_000,
            aim=10_000,
            of="ours",
        ),
        Figure(f"verifier: {name}, gold accepted", f"{key}_gold_accepted", asked=1, of="ours"),
        Figure(
            f"verifier: {name}, mistakes whose step is named", f"{key}_mistakes_named", asked=0.98, aim=0.995, of="ours"
        ),
    )
)


def measure(quick: bool) -> dict[str, float]:
    number, times = (300, 1) if quick else (5_000, 5)
    found: dict[str, float] = {}
    for name in FAMILIES:
        family = family_of(name)
        short = name.replace("-", "_")
        found |= {f"{short}_{what}": value for what, value in _judged(family, number).items()}
        found |= _speed(short, family, number, times)
    return found


def _judged(family: Family, number: int) -> dict[str, float]:
    """Return the shares of gold rationales accepted, and of single mistakes whose step is the one named."""
    assert family.verify and family.corrupt
    asked, rng = exercises(family, "test", number, 0), random.Random(0)
    accepted = sum(_is_accepted(family, one) for one in asked)
    named = 0
    for one in asked:
        spoiled = family.corrupt(one.question, rng)
        feedback = family.verify(one.question, spoiled.attempt)
        named += feedback is not None and feedback.step == spoiled.step
    return {"gold_accepted": accepted / number, "mistakes_named": named / number}


def _is_accepted(family: Family, one: Exercise) -> bool:
    assert family.verify and one.rationale
    feedback = family.verify(one.question, one.rationale)
    return feedback is not None and feedback.is_correct


def _speed(name: str, family: Family, number: int, times: int) -> dict[str, float]:
    """Return how many gold rationales of the tiers that are trained on are verified in a second, and cut into words."""
    asked = exercises(family, "train", min(number, 1_000), 0)

    def verified() -> int:
        return sum(_is_accepted(family, one) for one in asked)

    def cut() -> int:
        return sum(bool(WORD.findall(one.question) and WORD.findall(one.rationale or "")) for one in asked)

    return compare(name, verified, cut, times)
