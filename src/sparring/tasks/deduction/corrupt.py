"""Corruptions: a gold rationale with one mistake, whose consequences the later steps carry on.

What follows a mistake is carried on by exchanging two objects from there to the end, in patterns and in the answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from sparring.errors import SettingsError
from sparring.tasks.deduction.orders import ANY, Pattern
from sparring.tasks.deduction.puzzle import Puzzle, read_puzzle
from sparring.tasks.deduction.rationale import Line, derive, letter_of, order_of
from sparring.tasks.exercise import FINAL, Corruption

Lines = list[Line]
Spoil = Callable[[Puzzle, Lines, random.Random], tuple[str, str]]
"""(puzzle, gold lines, draw) -> the attempt, and the label of its wrong step."""


def corrupt(question: str, rng: random.Random) -> Corruption:
    """Return an attempt with one mistake, of a kind drawn evenly among those that the puzzle can have."""
    puzzle = read_puzzle(question)
    lines = derive(puzzle, []) if puzzle else None
    if puzzle is None or not lines:
        raise SettingsError(f"a puzzle with one solution is needed, not {question!r:.80}")
    compares = any(line.clue and ANY in (line.pattern or ()) for line in lines)
    places = any(line.clue and ANY not in (line.pattern or ()) for line in lines)
    apt = [kind for kind in KINDS if (kind != "direction" or compares) and (kind != "place" or places)]
    kind = rng.choice(apt)
    attempt, step = KINDS[kind](puzzle, lines, rng)
    return Corruption(attempt, step, kind)


def _told(puzzle: Puzzle, lines: Sequence[Line], letter: str = "", told: str = "") -> str:
    """Return lines as an attempt; `letter` and `told` are what its answer says instead of what they lead to."""
    right = letter or letter_of(puzzle, order_of(lines)) or "A"
    steps = [f"({number}) {line.written(puzzle)}" for number, line in enumerate(lines, 1)]
    said = puzzle.options[told or right][0]
    return "\n".join([*steps, f"({FINAL}) {said}. So the answer is ({right})."])


def _exchanged(pattern: Pattern | None, pair: Sequence[int]) -> Pattern | None:
    one, other = pair
    return pattern and tuple({one: other, other: one}.get(token, token) for token in pattern)


def _carried(lines: Sequence[Line], after: int, pair: Sequence[int]) -> Lines:
    """Exchange two objects in every pattern that is combined from line `after` (from 0) on."""
    return [
        replace(line, pattern=_exchanged(line.pattern, pair)) if number >= after and line.cited else line
        for number, line in enumerate(lines)
    ]


def _clues(lines: Sequence[Line], compares: bool) -> list[int]:
    return [n for n, line in enumerate(lines) if line.clue and (ANY in (line.pattern or ())) == compares]


def _misplace(puzzle: Puzzle, lines: Lines, number: int, pair: Sequence[int]) -> tuple[str, str]:
    """Exchange two objects in a statement's pattern."""
    spoiled = _carried(lines, number, pair)
    spoiled[number] = replace(lines[number], pattern=_exchanged(lines[number].pattern, pair))
    return _told(puzzle, spoiled), str(number + 1)


def _direction(puzzle: Puzzle, lines: Lines, rng: random.Random) -> tuple[str, str]:
    number = rng.choice(_clues(lines, compares=True))
    return _misplace(puzzle, lines, number, [token for token in lines[number].pattern or () if token >= 0])


def _place(puzzle: Puzzle, lines: Lines, rng: random.Random) -> tuple[str, str]:
    number = rng.choice(_clues(lines, compares=False))
    pattern = lines[number].pattern or ()
    item, order = max(pattern), order_of(lines)
    other = rng.choice([other for other in range(puzzle.size) if other != item])
    spoiled = _carried(lines, number, (item, other))
    moved = tuple(item if order[place] == other else min(pattern) for place in range(puzzle.size))
    spoiled[number] = replace(lines[number], pattern=moved)
    return _told(puzzle, spoiled), str(number + 1)


def _combination(puzzle: Puzzle, lines: Lines, rng: random.Random) -> tuple[str, str]:
    number = rng.choice([number for number, line in enumerate(lines) if line.cited])
    named = [token for token in lines[number].pattern or () if token >= 0]
    one = rng.choice(named)
    # In a chain only those that it names have an order.
    others = named if ANY in (lines[number].pattern or ()) else range(puzzle.size)
    other = rng.choice([other for other in others if other != one])
    return _told(puzzle, _carried(lines, number, (one, other))), str(number + 1)


def _citation(puzzle: Puzzle, lines: Lines, rng: random.Random) -> tuple[str, str]:
    """Name one step too few, or one that is still to come."""
    number = rng.choice([number for number, line in enumerate(lines) if line.cited])
    cited = list(lines[number].cited)
    place = rng.randrange(len(cited))
    # The list of objects tells nothing of their order.
    cited[place] = rng.choice([1, number + 1, number + 2])
    spoiled = [*lines]
    spoiled[number] = replace(lines[number], cited=tuple(sorted(cited)))
    return _told(puzzle, spoiled), str(number + 1)


def _objects(puzzle: Puzzle, lines: Lines, rng: random.Random) -> tuple[str, str]:
    """Leave an object out of the list, or give one twice."""
    items = [*puzzle.items]
    place = rng.randrange(len(items))
    if rng.random() < 0.5:
        del items[place]
    else:
        items[place] = items[place - 1]
    told = _told(puzzle, lines).replace(", ".join(puzzle.items), ", ".join(items), 1)
    return told, "1"


def _quote(puzzle: Puzzle, lines: Lines, rng: random.Random) -> tuple[str, str]:
    """Quote a statement that the question does not make."""
    number = rng.choice([number for number, line in enumerate(lines) if line.clue])
    told = {clue for clue, _ in puzzle.clues}
    clue, pattern = rng.choice([said for said in puzzle.options.values() if said[0] not in told])
    spoiled = [*lines]
    spoiled[number] = Line(pattern, clue)
    return _told(puzzle, spoiled), str(number + 1)


def _letter(puzzle: Puzzle, lines: Lines, rng: random.Random) -> tuple[str, str]:
    right = letter_of(puzzle, order_of(lines)) or ""
    wrong = rng.choice([letter for letter in puzzle.options if letter != right])
    return _told(puzzle, lines, wrong, told=right), FINAL


def _reading(puzzle: Puzzle, lines: Lines, rng: random.Random) -> tuple[str, str]:
    right = letter_of(puzzle, order_of(lines)) or ""
    return _told(puzzle, lines, rng.choice([letter for letter in puzzle.options if letter != right])), FINAL


KINDS: dict[str, Spoil] = {
    "objects": _objects,
    "direction": _direction,
    "place": _place,
    "quote": _quote,
    "combination": _combination,
    "citation": _citation,
    "letter": _letter,
    "reading": _reading,
}
