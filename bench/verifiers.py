"""The scripted verifiers: how fast, and how often right, on gold rationales and on rationales with one mistake each."""

from __future__ import annotations

import random
import statistics
import time

from sparring.tasks.exercise import Exercise, Family, exercises
from sparring.tasks.families import family_of

FAMILIES = ("multistep-arithmetic", "word-sorting", "logical-deduction")


def measure(quick: bool) -> dict[str, float]:
    number, times = (300, 1) if quick else (5_000, 5)
    found: dict[str, float] = {}
    for name in FAMILIES:
        family = family_of(name)
        short = name.replace("-", "_")
        found |= {f"{short}_{what}": value for what, value in _judged(family, number).items()}
        found[f"{short}_seen_a_second"] = _speed(family, number, times)
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


def _speed(family: Family, number: int, times: int) -> float:
    """Return how many gold rationales of the tiers that are trained on are verified in a second, the median."""
    asked = exercises(family, "train", min(number, 1_000), 0)
    rates: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        for one in asked:
            _is_accepted(family, one)
        rates.append(len(asked) / (time.perf_counter() - began))
    return statistics.median(rates)
