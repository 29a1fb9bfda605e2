"""Spoiling: a rationale with one mistake in it, whose consequences the later steps carry on."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sparring.errors import DataError
from sparring.tasks.arithmetic.expression import (
    Tree,
    innermost,
    result,
    settled,
    substituted,
    tokens,
    tree_of,
    value_of,
)
from sparring.tasks.arithmetic.question import OPERAND, OPERATORS, Question, read_question
from sparring.tasks.arithmetic.writing import (
    Chain,
    carried,
    chain,
    equation,
    equation_line,
    letter_line,
    numbered,
    partition,
)
from sparring.tasks.exercise import FINAL, Corruption

TRIES = 20
"""Draws of one kind of mistake, where a question may leave no room for it, before another kind is tried."""
NUMBER = re.compile(r"-?[0-9]+")
SIGN = re.compile(r"(?<= )[-+*](?= )")

Spoilt = tuple[str, str]
"""An attempt, and the label of its first wrong step."""
Kind = Callable[[Question, random.Random], Spoilt | None]


def corrupt(question: str, rng: random.Random) -> Corruption:
    """Return a rationale with one mistake, of a kind drawn evenly among those that the question leaves room for.

    Raises DataError for a question that cannot be read.
    """
    if (asked := read_question(question)) is None:
        raise DataError(f"question {question!r:.80} is no expression of brackets within a bracket")
    for kind in rng.sample(list(KINDS), len(KINDS)):
        for _ in range(TRIES):
            if spoilt := KINDS[kind](asked, rng):
                return Corruption(*spoilt, kind)
    raise DataError(f"question {question!r:.80} leaves no room for a mistake")


@dataclass(frozen=True, slots=True)
class Draft:
    """What the lines of an attempt say, each following from those before except where the mistake stands."""

    skeleton: str
    definitions: Mapping[str, str]
    chains: Mapping[str, Chain]
    equation: Chain

    @classmethod
    def of(cls, skeleton: str, definitions: Mapping[str, str], **chains: Chain) -> Draft:
        """Return what follows from an expression of letters, their definitions, and the `chains` of some of them."""
        all_chains = {letter: chains.get(letter) or chain(text) for letter, text in definitions.items()}
        return cls(skeleton, definitions, all_chains, equation(skeleton, _values(all_chains)))

    def spoilt(self, step: str, answer: int | None = None) -> Spoilt:
        lines = [letter_line(letter, pieces) for letter, pieces in self.chains.items()]
        lines = [partition(self.skeleton, self.definitions), *lines, equation_line(self.skeleton, self.equation)]
        return numbered(lines, int(self.equation[-1]) if answer is None else answer), step


def _values(chains: Mapping[str, Chain]) -> dict[str, int]:
    return {letter: int(pieces[-1]) for letter, pieces in chains.items()}


def _gold(question: Question) -> Draft:
    return Draft.of(question.skeleton, question.definitions)


def _any_letter(question: Question, rng: random.Random) -> tuple[str, str]:
    """Return a letter, and the label of its line."""
    place = rng.randrange(len(question.definitions))
    return list(question.definitions)[place], str(place + 2)


def _last(question: Question) -> str:
    return str(len(question.definitions) + 2)


# The first step


def _other_number(text: str, rng: random.Random) -> str:
    """Return an expression with one of its numbers miscopied: another number, or its sign."""
    numbers = list(NUMBER.finditer(text))
    at = rng.choice(numbers)
    value = int(at[0])
    others = [other for other in {rng.randint(-OPERAND, OPERAND), -value} if other != value]
    return f"{text[: at.start()]}{rng.choice(others or [value + 1])}{text[at.end() :]}"


def _other_operator(text: str, rng: random.Random) -> str | None:
    signs = list(SIGN.finditer(text))
    if not signs:
        return None
    at = rng.choice(signs)
    return text[: at.start()] + rng.choice(OPERATORS.replace(at[0], "")) + text[at.end() :]


def _miscopied(question: Question, rng: random.Random) -> Spoilt | None:
    letter, _ = _any_letter(question, rng)
    other = _other_number(question.definitions[letter], rng)
    return Draft.of(question.skeleton, {**question.definitions, letter: other}).spoilt("1")


def _other_form(question: Question, rng: random.Random) -> Spoilt | None:
    skeleton = _other_operator(question.skeleton, rng)
    return Draft.of(skeleton, question.definitions).spoilt("1") if skeleton else None


# The line of a letter


def _with_line(question: Question, letter: str, step: str, pieces: Chain) -> Spoilt:
    return Draft.of(question.skeleton, question.definitions, **{letter: pieces}).spoilt(step)


def _miscopied_in_line(question: Question, rng: random.Random) -> Spoilt | None:
    letter, step = _any_letter(question, rng)
    definition = question.definitions[letter]
    other = _other_number(definition, rng) if rng.random() < 0.5 else _other_operator(definition, rng)
    return _with_line(question, letter, step, chain(other)) if other else None


def _slipped(question: Question, rng: random.Random, slip: Slip) -> Spoilt | None:
    letter, step = _any_letter(question, rng)
    pieces = _with_slip(chain(question.definitions[letter]), rng, slip)
    return _with_line(question, letter, step, pieces) if pieces else None


def _wrong_value(question: Question, rng: random.Random) -> Spoilt | None:
    return _slipped(question, rng, _near)


def _wrong_sign(question: Question, rng: random.Random) -> Spoilt | None:
    return _slipped(question, rng, _signed)


def _wrong_precedence(question: Question, rng: random.Random) -> Spoilt | None:
    """Work out from left to right whatever the operators."""
    letter, step = _any_letter(question, rng)
    definition = question.definitions[letter]
    tree = _from_left(definition)
    if tree is None or value_of(definition) == value_of((pieces := carried(tree))[0]):
        return None
    return _with_line(question, letter, step, [definition, *pieces])


def _from_left(text: str) -> Tree | None:
    parts = text.replace("(", "").replace(")", "").split(" ")
    nested = "(" * (len(parts) // 2) + parts[0]
    for operator, number in zip(parts[1::2], parts[2::2], strict=True):
        nested += f" {operator} {number})"
    return tree_of(tokens(nested))


Slip = Callable[[str, int, int, random.Random], int]
"""What an operation is wrongly said to come to."""


def _near(operator: str, left: int, right: int, rng: random.Random) -> int:
    return result(operator, left, right) + rng.choice((-10, -2, -1, 1, 2, 10))


def _signed(operator: str, left: int, right: int, rng: random.Random) -> int:
    """The other sign; or a sign of the right side overlooked."""
    return rng.choice((-result(operator, left, right), result(operator, left, -right)))


def _with_slip(pieces: Chain, rng: random.Random, slip: Slip) -> Chain | None:
    """Return a chain with a slip in one operation and what follows from it; None where it changes nothing."""
    place = rng.randrange(1, len(pieces))
    tree = tree_of(tokens(pieces[place - 1]))
    operations = innermost(tree) if tree is not None else []
    if tree is None or not operations:
        return None
    results = [result(*operation) for operation in operations]
    at = rng.randrange(len(results))
    results[at] = slip(*operations[at], rng)
    rest = carried(settled(tree, iter(results)))
    return None if value_of(rest[0]) == value_of(pieces[place - 1]) else [*pieces[:place], *rest]


# The final equation, and the final response


def _with_equation(question: Question, pieces: Chain) -> Spoilt:
    gold = _gold(question)
    return Draft(gold.skeleton, gold.definitions, gold.chains, pieces).spoilt(_last(question))


def _substituted(question: Question, terms: Mapping[str, int]) -> Spoilt:
    return _with_equation(question, chain(substituted(question.skeleton, terms)))


def _wrong_substitution(question: Question, rng: random.Random) -> Spoilt | None:
    values, (letter, _) = _values(_gold(question).chains), _any_letter(question, rng)
    other = rng.choice((-values[letter], values[letter] + rng.choice((-10, -1, 1, 10))))
    return _substituted(question, {**values, letter: other}) if other != values[letter] else None


def _swapped(question: Question, rng: random.Random) -> Spoilt | None:
    """Put the values of two letters in each other's place."""
    values = _values(_gold(question).chains)
    if len(values) < 2:
        return None
    one, other = rng.sample(list(values), 2)
    swapped = {**values, one: values[other], other: values[one]}
    return _substituted(question, swapped) if values[one] != values[other] else None


def _wrong_total(question: Question, rng: random.Random) -> Spoilt | None:
    pieces = _with_slip(_gold(question).equation, rng, rng.choice((_near, _signed)))
    return _with_equation(question, pieces) if pieces else None


def _left_out(question: Question, rng: random.Random) -> Spoilt | None:
    """Use the value of a letter that no step works out."""
    gold, (letter, _) = _gold(question), _any_letter(question, rng)
    chains = {name: pieces for name, pieces in gold.chains.items() if name != letter}
    return Draft(gold.skeleton, gold.definitions, chains, gold.equation).spoilt(str(len(chains) + 2))


def _wrong_answer(question: Question, rng: random.Random) -> Spoilt | None:
    value = question.value
    answer = rng.choice((-value, value + rng.choice((-10, -1, 1, 10))))
    return _gold(question).spoilt(FINAL, answer) if answer != value else None


KINDS: dict[str, Kind] = {
    "number miscopied in step (1)": _miscopied,
    "operator miscopied in step (1)": _other_form,
    "miscopied in a letter's line": _miscopied_in_line,
    "wrong value": _wrong_value,
    "wrong sign": _wrong_sign,
    "wrong precedence": _wrong_precedence,
    "wrong substitution": _wrong_substitution,
    "letters swapped": _swapped,
    "wrong total": _wrong_total,
    "letter left out": _left_out,
    "wrong answer": _wrong_answer,
}
