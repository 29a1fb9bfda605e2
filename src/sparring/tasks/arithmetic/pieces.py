"""Pieces: what stands between two equals signs of a step, read through the markup and words of a model."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sparring.tasks.arithmetic.expression import is_reduced, tokens, tree_of, value_of, work_out

Fault = tuple[str, str]
"""What is wrong, verbatim or empty for the whole step, and why."""

QUOTED = 1_000
"""Characters that are quoted of a step at most, and of a piece that is searched for words."""
WORDS = re.compile(r"([-+*()0-9, −–×·⋅∙]*[)0-9])[,;.:]?\s+\(?[A-Za-z][^0-9]*")


def cleaned(piece: str) -> str:
    """Return the expression of a piece, without emphasis, dollars, a box, or words without a number behind it."""
    text = piece.strip(" \t\n.$`_").removeprefix("**").removesuffix("**").strip()
    text = text.removeprefix("\\boxed{").removesuffix("}") if text.startswith("\\boxed{") else text
    found = WORDS.fullmatch(text) if len(text) <= QUOTED else None
    return found[1] if found else text


def chain_fault(text: str, pieces: Sequence[str]) -> tuple[Fault | None, int]:
    """Return what is wrong first among the pieces that should be equal, and what they come to."""
    value, symbols = 0, list[str]()
    for place, piece in enumerate(pieces):
        symbols = tokens(piece)
        found = work_out(symbols)
        if found is None:
            symbols = tokens(cleaned(piece))
            found = work_out(symbols)
        if found is None:
            return unreadable(piece), 0
        if place and found != value:
            reason = f"{cleaned(pieces[place - 1])} is not equal to {cleaned(piece)}"
            return (between(text, pieces, place - 1, place), reason), 0
        value = found
    if len(symbols) > 2 and not isinstance(tree_of(symbols), int):
        return (pieces[-1].strip(), "it is not worked out to a number"), 0
    return None, value


def unreadable(piece: str) -> Fault | None:
    """Say why a piece is no expression; None where it is one."""
    text = cleaned(piece)
    if value_of(text) is not None:
        return None
    is_balanced = text.count("(") == text.count(")")
    reason = "it is not an expression that can be worked out"
    return piece.strip(), reason if is_balanced else "its brackets do not match"


def is_same(piece: str, expression: str) -> bool:
    """Say whether a piece is an expression but for spaces, and brackets that are not needed."""
    if piece.strip() == expression or tokens(piece) == tokens(expression):
        return True
    tree = tree_of(tokens(expression))
    return tree is not None and tree == tree_of(tokens(cleaned(piece)))


def is_reduction(piece: str, expression: str) -> bool:
    """Say whether a piece is an expression, with any of its parts worked out."""
    if piece.strip() == expression:
        return True
    tree, reduced = tree_of(tokens(expression)), tree_of(tokens(cleaned(piece)))
    return tree is not None and reduced is not None and is_reduced(tree, reduced)


def between(text: str, pieces: Sequence[str], first: int, last: int) -> str:
    """Return `text`, which is its subject and then the pieces, from one piece to another; -1 is the subject."""
    start, end = (len(text) - sum(len(piece) + 1 for piece in pieces[place + 1 :]) for place in (first - 1, last))
    return text[0 if first < 0 else start + 1 : end].strip()
