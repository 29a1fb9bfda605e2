"""Rationales: how an attempt without a mistake is written, and one that carries a mistake on.

(1) With letters this reads "(A - B)", where A = (-1 + 2 + 9 * 5) and B = (-2 + -4 + -4 * -7).
(2) Work out A = (-1 + 2 + 9 * 5) = ((-1 + 2) + (9 * 5)) = (1 + 45) = 46.
(3) Work out B = (-2 + -4 + -4 * -7) = ((-2 + -4) + (-4 * -7)) = (-6 + 28) = 22.
(4) All together, (A - B) = (46 - 22) = 24.
(Final response) So the answer is 24.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sparring.tasks.arithmetic.expression import (
    Tree,
    innermost,
    rendered,
    result,
    settled,
    substituted,
    tokens,
    tree_of,
)
from sparring.tasks.arithmetic.question import Question
from sparring.tasks.exercise import FINAL

Chain = list[str]
"""Pieces that an equals sign stands between, the last of them a number."""


def chain(text: str) -> Chain:
    """Return an expression, then with every operation in brackets, then the innermost worked out, down to a number.

    `text` is an expression without letters, else ValueError.
    """
    if (tree := tree_of(tokens(text))) is None:
        raise ValueError(f"{text!r} is no expression")
    full = carried(tree)
    return [text, *(full[1:] if full[0] in (text, f"({text})") else full)]


def carried(tree: Tree) -> Chain:
    """Return a tree, and what it becomes as its innermost operations are worked out, down to a number."""
    pieces = [rendered(tree)]
    while isinstance(tree, tuple):
        tree = settled(tree, iter([result(*operation) for operation in innermost(tree)]))
        pieces.append(rendered(tree))
    return pieces


def partition(skeleton: str, definitions: Mapping[str, str]) -> str:
    *first, last = [f"{letter} = {definition}" for letter, definition in definitions.items()]
    listed = f"{', '.join(first)} and {last}" if first else last
    return f'With letters this reads "{skeleton}", where {listed}.'


def letter_line(letter: str, pieces: Chain) -> str:
    return f"Work out {letter} = {' = '.join(pieces)}."


def equation_line(skeleton: str, pieces: Chain) -> str:
    return f"All together, {skeleton} = {' = '.join(pieces)}."


def equation(skeleton: str, values: Mapping[str, int]) -> Chain:
    """Return the chain of a skeleton with a value for each of its letters."""
    return chain(substituted(skeleton, values))


def numbered(lines: Sequence[str], answer: int, first: int = 1) -> str:
    """Return an attempt, or the rest of one from step `first` on, closed by its final response."""
    steps = [f"({place}) {line}\n" for place, line in enumerate(lines, first)]
    return f"{''.join(steps)}({FINAL}) So the answer is {answer}."


def rationale(question: Question) -> str:
    """Return an attempt without a mistake."""
    skeleton, definitions = question.skeleton, question.definitions
    chains = {letter: chain(definition) for letter, definition in definitions.items()}
    last = equation(skeleton, {letter: int(pieces[-1]) for letter, pieces in chains.items()})
    lines = [letter_line(letter, pieces) for letter, pieces in chains.items()]
    return numbered([partition(skeleton, definitions), *lines, equation_line(skeleton, last)], int(last[-1]))
