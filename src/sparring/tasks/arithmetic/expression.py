"""Expressions over whole numbers with + - * and brackets: a bounded parser, and nothing is ever executed.

Letters may stand for numbers in a tree. What is too long, too deep, or anything else than an expression has no value;
a value is worked out in time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

LENGTH = 2_000
"""Characters of an expression, spaces included, at most. The longest of ours has 320."""
DEPTH = 32
"""Brackets within brackets at most. Ours have 4."""
DIGITS = 200
"""Digits of a number that is written or results at most. Eight brackets of six nines each come to 46."""
TOKENS = 500
"""Numbers, operators and brackets of a tree at most, which bounds how deep it is. The longest of ours has 160."""

Tree = int | str | tuple[str, "Tree", "Tree"]
"""A number, a letter, or an operator with its two sides. Brackets are where they are needed, and nowhere else."""

TOKEN = re.compile(r"[0-9]+|\S")
COMMA = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
LIKE = str.maketrans({"−": "-", "–": "-", "×": "*", "·": "*", "⋅": "*", "∙": "*"})
PRIORITY = {"(": 0, "+": 1, "-": 1, "*": 2, "~": 3}
TOO_LARGE = 10**DIGITS


def tokens(text: str) -> list[str]:
    """Return the numbers, letters and signs of a text; none where it is too long. Any text can be asked."""
    if len(text) > LENGTH:
        return []
    if not text.isascii():
        text = text.translate(LIKE)
    if "," in text:
        text = COMMA.sub("", text)
    if "\\" in text:
        text = text.replace("\\times", "*").replace("\\cdot", "*")
    return TOKEN.findall(text)


def value_of(text: str) -> int | None:
    """Return what an expression comes to; None where it is none, or exceeds the limits."""
    return work_out(tokens(text))


def work_out(symbols: Sequence[str]) -> int | None:
    """Return what tokens come to, in one pass: of each open bracket, the sum so far and the product being built."""
    total, product, wanted = 0, 1, True
    opened: list[tuple[int, int]] = []
    for symbol in symbols:
        if wanted:
            if "0" <= symbol < ":":
                if len(symbol) > DIGITS:
                    return None
                product *= int(symbol)
                wanted = False
            elif symbol == "(":
                opened.append((total, product))
                total, product = 0, 1
            elif symbol == "-":
                product = -product
            else:
                return None
        elif symbol == ")":
            if not opened or len(opened) > DEPTH:
                return None
            inner = total + product
            total, product = opened.pop()
            product *= inner
        elif symbol in "+-*":
            wanted = True
            if symbol != "*":
                total += product
                product = 1 if symbol == "+" else -1
        else:
            return None
    total += product
    return None if wanted or opened or not -TOO_LARGE < total < TOO_LARGE else total


def tree_of(symbols: Sequence[str]) -> Tree | None:
    """Return the tree of tokens, where a capital may stand for a number; None where there is none, or beyond limits."""
    if not symbols or len(symbols) > TOKENS:
        return None
    values: list[Tree] = []
    waiting: list[str] = []
    wanted = True
    for symbol in symbols:
        if wanted and ("0" <= symbol < ":" or "A" <= symbol <= "Z"):
            if len(symbol) > DIGITS:
                return None
            values.append(int(symbol) if symbol < ":" else symbol)
            wanted = False
        elif wanted and symbol in "(-":
            waiting.append("(" if symbol == "(" else "~")
        elif not wanted and symbol == ")":
            _reduce(values, waiting, 1)
            if not waiting:
                return None
            waiting.pop()
        elif not wanted and symbol in "+-*":
            _reduce(values, waiting, PRIORITY[symbol])
            waiting.append(symbol)
            wanted = True
        else:
            return None
    if wanted:
        return None
    _reduce(values, waiting, 1)
    return None if waiting else values[0]


def _reduce(values: list[Tree], waiting: list[str], priority: int) -> None:
    """Apply the operators that wait and bind at least as tightly as `priority`."""
    while waiting and PRIORITY[waiting[-1]] >= priority:
        operator, right = waiting.pop(), values.pop()
        if operator != "~":
            values.append((operator, values.pop(), right))
        else:
            values.append(-right if isinstance(right, int) else ("*", -1, right))


def result(operator: str, left: int, right: int) -> int:
    return left * right if operator == "*" else left + right if operator == "+" else left - right


def fold(tree: Tree) -> int | None:
    """Return what a tree comes to; None where a letter stands in it."""
    if not isinstance(tree, tuple):
        return tree if isinstance(tree, int) else None
    left, right = fold(tree[1]), fold(tree[2])
    return None if left is None or right is None else result(tree[0], left, right)


def is_reduced(tree: Tree, reduced: Tree) -> bool:
    """Say whether `reduced` is `tree` with none, some or all of its parts worked out."""
    if tree == reduced:
        return True
    if not isinstance(reduced, tuple):
        return isinstance(reduced, int) and fold(tree) == reduced
    if not isinstance(tree, tuple) or tree[0] != reduced[0]:
        return False
    return is_reduced(tree[1], reduced[1]) and is_reduced(tree[2], reduced[2])


def rendered(tree: Tree) -> str:
    """Return a tree in text, every operation in brackets of its own."""
    return f"({rendered(tree[1])} {tree[0]} {rendered(tree[2])})" if isinstance(tree, tuple) else str(tree)


def spaced(symbols: Sequence[str]) -> str:
    """Return the tokens of an expression in text, spaces around operators only: `(-1 + 2 - -3)`."""
    text, wanted = "", True
    for symbol in symbols:
        is_operator = symbol in "+-*" and not wanted
        text += f" {symbol} " if is_operator else symbol
        wanted = is_operator or symbol in "(-"
    return text


def innermost(tree: Tree) -> list[tuple[str, int, int]]:
    """Return the operations of a tree between two numbers, from left to right."""
    if not isinstance(tree, tuple):
        return []
    operator, left, right = tree
    if isinstance(left, int) and isinstance(right, int):
        return [(operator, left, right)]
    return innermost(left) + innermost(right)


def settled(tree: Tree, results: Iterator[int]) -> Tree:
    """Return a tree with `results` for its innermost operations, in their order."""
    if not isinstance(tree, tuple):
        return tree
    operator, left, right = tree
    if isinstance(left, int) and isinstance(right, int):
        return next(results)
    return operator, settled(left, results), settled(right, results)


def substituted(text: str, terms: Mapping[str, object]) -> str:
    """Return an expression with a term for each of its letters."""
    return "".join(str(terms.get(letter, letter)) for letter in text)
