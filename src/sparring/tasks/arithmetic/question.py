"""Questions: drawn as BIG-bench draws them, read as BIG-Bench-Hard writes them."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sparring.tasks.arithmetic.expression import DIGITS, LENGTH, TOKENS, spaced, tokens, work_out

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LENGTHS = (3, 4, 5, 6)
"""Operands of an innermost bracket."""
DEPTHS = ("2", "2,2", "2,2,2")
"""Brackets within a bracket, level by level: 2, 4 and 8 innermost brackets."""
OPERATORS = "+-*"
OPERAND = 9
"""Operands are drawn from -9 to 9."""
TIER = re.compile(r"l([1-9]) d([1-9](?:,[1-9])*)")
CHARACTERS = "0123456789+-*() \t\n−–×·⋅∙"

TIERS = {f"l{length} d{depth}": length < 5 and depth != "2,2,2" for depth in DEPTHS for length in LENGTHS}
"""Those of the published split that are trained on: three or four operands, two or four brackets."""


@dataclass(frozen=True, slots=True)
class Question:
    """An expression, and how it reads with a letter for each innermost bracket."""

    symbols: tuple[str, ...]
    """Its tokens."""
    skeleton: str
    """`(A - B)`."""
    definitions: dict[str, str]
    """By letter: `(-1 + 2 + 9 * 5)`."""
    value: int


def drawn(rng: random.Random, tier: str) -> str:
    """Return a question of a tier, `l<operands> d<brackets>,...`: any, so that a world may have tiers of its own.

    Raises ValueError for a name of another form.
    """
    if (found := TIER.fullmatch(tier)) is None:
        raise ValueError(f"tier is {tier!r}, not one like 'l3 d2,2'")
    return f"{_bracket(rng, int(found[1]), [int(digit) for digit in found[2].split(',')])} ="


def _bracket(rng: random.Random, length: int, depths: Sequence[int]) -> str:
    if depths:
        first, *rest = [_bracket(rng, length, depths[1:]) for _ in range(depths[0])]
    else:
        first, *rest = [str(rng.randint(-OPERAND, OPERAND)) for _ in range(length)]
    return f"({first}{''.join(f' {rng.choice(OPERATORS)} {term}' for term in rest)})"


@lru_cache(maxsize=4096)
def read_question(text: str) -> Question | None:
    """Return what a question asks; None where it closes with no expression that has an innermost bracket in it.

    What stands before the expression, and `= ?` after it, is passed over.
    """
    text = text[-2 * LENGTH :].rstrip(" \t\n=?")
    symbols = tokens(text[len(text.rstrip(CHARACTERS)) :])
    if (value := work_out(symbols)) is None or len(symbols) > TOKENS:
        return None
    if sum(len(symbol) for symbol in symbols if symbol.isdigit()) > DIGITS:
        return None  # whatever it is worked out by way of, no number in it exceeds the limit
    skeleton, brackets = _lettered(symbols)
    if len(brackets) > len(LETTERS) or not 0 < len(brackets) < len(skeleton):
        return None
    definitions = {letter: spaced(bracket) for letter, bracket in zip(LETTERS, brackets, strict=False)}
    return Question(tuple(symbols), spaced(skeleton), definitions, value)


def _lettered(symbols: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Return tokens with a letter for each innermost bracket, and those brackets."""
    skeleton: list[str] = []
    brackets: list[list[str]] = []
    opened = -1
    for symbol in symbols:
        skeleton.append(symbol)
        if symbol == "(":
            opened = len(skeleton) - 1
        elif symbol == ")" and opened >= 0:
            brackets.append(skeleton[opened:])
            skeleton[opened:] = LETTERS[len(brackets) - 1 : len(brackets)]
            opened = -1
    return skeleton, brackets
