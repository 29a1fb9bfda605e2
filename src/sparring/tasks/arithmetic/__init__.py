"""Multistep arithmetic: brackets of brackets of one-digit numbers, worked out letter by letter.

Questions as in BIG-bench (Apache-2.0) and BIG-Bench-Hard, `((-1 + 2 + 9 * 5) - (-2 + -4 + -4 * -7)) =`: operands from
-9 to 9, three to six in a bracket, two, four or eight brackets.
"""

from __future__ import annotations

import random

from sparring.errors import DataError
from sparring.tasks.arithmetic.answers import answer_of
from sparring.tasks.arithmetic.checking import repair, verify
from sparring.tasks.arithmetic.question import TIERS, drawn, read_question
from sparring.tasks.arithmetic.spoiling import KINDS, corrupt
from sparring.tasks.arithmetic.writing import rationale
from sparring.tasks.exercise import Family

__all__ = ["ARITHMETIC", "solved"]


def solved(question: str) -> tuple[str, str]:
    """Return the answer and the gold rationale of a question; raises DataError where it cannot be read."""
    if (asked := read_question(question)) is None:
        raise DataError(f"question {question!r:.80} is no expression of brackets within a bracket")
    return str(asked.value), rationale(asked)


def _draw(rng: random.Random, tier: str) -> tuple[str, str, str | None]:
    question = drawn(rng, tier)
    return question, *solved(question)


ARITHMETIC = Family(
    name="multistep-arithmetic",
    tiers=TIERS,
    draw=_draw,
    answer_of=answer_of,
    verify=verify,
    repair=repair,
    corrupt=corrupt,
    mistakes=tuple(KINDS),
)
"""The twelve published tiers. A world may have others: `replace(ARITHMETIC, tiers={"l2 d2": True, "l3 d2": False})`."""
