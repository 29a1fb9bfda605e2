"""Gold rationales: every statement as a pattern, patterns combined until the order is known, and the answer read off.

(1) From left to right, in some order: red, amber, teal.
(2) "The teal lantern is to the left of the red lantern" gives [?? teal ?? red ??].
(3) "The amber lantern is the leftmost" gives [amber ? ?].
(4) From (2) and (3): [amber teal red].
(Final response) The teal lantern is the second from the left. So the answer is (C).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from operator import and_

from sparring.tasks.deduction.orders import ANY, ONE, Pattern, chain, slots
from sparring.tasks.deduction.puzzle import Puzzle, read_puzzle
from sparring.tasks.deduction.verify import claims_of
from sparring.tasks.exercise import FINAL, Feedback, before, read_steps

KEPT = 6
"""Combined patterns that a search for the next step looks at, which bounds its time."""


@dataclass(frozen=True, slots=True)
class Line:
    """A step, before it is written."""

    pattern: Pattern | None
    """What it claims; None: it lists the objects."""
    clue: str = ""
    """The statement it reads; empty: it combines."""
    cited: tuple[int, ...] = ()
    """The steps that it combines, from 1."""

    def written(self, puzzle: Puzzle) -> str:
        if self.pattern is None:
            return f"From {puzzle.axis.low} to {puzzle.axis.high}, in some order: {', '.join(puzzle.items)}."
        pattern = puzzle.written(self.pattern)
        if self.clue:
            return f'"{self.clue}" gives {pattern}.'
        steps = [f"({step})" for step in self.cited]
        return f"From {', '.join(steps[:-1])} and {steps[-1]}: {pattern}."


def rationale_of(question: str) -> str | None:
    """Return a question's gold rationale; None where it cannot be read, or its statements do not settle it."""
    puzzle = read_puzzle(question)
    if puzzle is None:
        return None
    lines = derive(puzzle, [])
    return write(puzzle, lines) if lines else None


def write(puzzle: Puzzle, lines: Sequence[Line], known: int = 0) -> str | None:
    """Return the lines from `known` on as steps, with the final response; None where no one option holds."""
    letter = letter_of(puzzle, order_of(lines))
    if letter is None:
        return None
    steps = [f"({number}) {line.written(puzzle)}" for number, line in enumerate(lines, 1) if number > known]
    return "\n".join([*steps, f"({FINAL}) {puzzle.options[letter][0]}. So the answer is ({letter})."])


def letter_of(puzzle: Puzzle, order: Pattern) -> str | None:
    """Return the one option that holds for an order."""
    fit = puzzle.allowed(order)
    right = [letter for letter, (_, said) in puzzle.options.items() if fit and not fit & ~puzzle.allowed(said)]
    return right[0] if len(right) == 1 else None


def derive(puzzle: Puzzle, done: Sequence[Line]) -> list[Line] | None:
    """Return the steps that lead to the order, after those `done`; None where the statements do not settle it."""
    if puzzle.solutions().bit_count() != 1:
        return None
    if order_of(done):
        return list(done)
    read = {line.clue for line in done}
    lines = [*done, *([] if done else [Line(None)])]
    lines += [Line(pattern, clue) for clue, pattern in puzzle.clues if clue not in read]
    start = len(lines)
    vain: set[tuple[int, ...]] = set()
    while not order_of(lines):
        lines.append(_next(puzzle, lines, vain))
    return _needed(lines, start)


def order_of(lines: Sequence[Line]) -> Pattern:
    """Return the whole order, where a line gives it; else an empty pattern."""
    return next((line.pattern for line in lines if line.pattern and min(line.pattern) >= 0), ())


def _next(puzzle: Puzzle, lines: Sequence[Line], vain: set[tuple[int, ...]]) -> Line:
    """Return the step that fills another place from the fewest earlier ones, or links two chains into a longer one.

    `vain` keeps the steps that fill none together, nor ever will.
    """
    told = _useful(lines)
    allowed = {number: puzzle.allowed(pattern) for number, pattern in told}
    filled = max((sum(token >= 0 for token in pattern) for _, pattern in told if ANY not in pattern), default=0)
    for most in range(2, len(told) + 1):
        for some in combinations(reversed(allowed), most):
            if some in vain:
                continue
            found = slots(puzzle.size, reduce(and_, map(allowed.__getitem__, some)))
            if puzzle.size - found.count(ONE) > filled:
                return Line(found, cited=some[::-1])
            vain.add(some)
        if most == 2 and (linked := _linked(puzzle, told, {line.pattern for line in lines})):
            return linked
    raise AssertionError("statements with one solution fill every place")


def _useful(lines: Sequence[Line]) -> list[tuple[int, Pattern]]:
    """Return the statements' patterns, and the last of those combined, by number: all that are searched for a step."""
    combined = [number for number, line in enumerate(lines, 1) if line.cited][-KEPT:]
    told = [(number, line) for number, line in enumerate(lines, 1) if line.clue or number in combined]
    return [(number, line.pattern) for number, line in told if line.pattern is not None]


def _linked(puzzle: Puzzle, told: Sequence[tuple[int, Pattern]], known: Collection[Pattern | None]) -> Line | None:
    """Return the step that makes two chains a longer one that is not yet `known`."""
    chains = [(number, pattern) for number, pattern in told if len(pattern) > 3 and pattern == chain(pattern[1::2])]
    for (one, first), (other, second) in combinations(chains, 2):
        for longer in _merged(first, second):
            if longer not in known:
                whole = len(longer) > 2 * puzzle.size
                return Line(longer[1::2] if whole else longer, cited=(one, other))
    return None


def _merged(first: Pattern, second: Pattern) -> Iterator[Pattern]:
    """Give the chain of one chain's end that is the other's start."""
    for one, other in ((first, second), (second, first)):
        if one[-2] == other[1] and not set(one[1:-2:2]) & set(other[3::2]):
            yield chain([*one[1::2], *other[3::2]])


def _needed(lines: Sequence[Line], start: int) -> list[Line]:
    """Return the lines without those after `start` that no later one cites, renumbered."""
    needed = {len(lines), *range(1, start + 1)}
    for number in range(len(lines), start, -1):
        if number in needed:
            needed.update(lines[number - 1].cited)
    places = {old: new for new, old in enumerate(sorted(needed), 1)}
    kept = [lines[number - 1] for number in sorted(needed)]
    return [Line(line.pattern, line.clue, tuple(places[step] for step in line.cited)) for line in kept]


def repair(question: str, attempt: str, feedback: Feedback) -> str | None:
    """Return the steps from the wrong one on, done right; None where those before it are not all right."""
    puzzle, kept = read_puzzle(question), before(attempt, feedback.step or "")
    claims = None if puzzle is None or kept is None else claims_of(puzzle, read_steps(kept))
    if puzzle is None or claims is None:
        return None
    # Which steps one that is there combines is of no matter any more.
    done = [
        Line(claim.pattern, claim.clue, cited=() if claim.clue or claim.pattern is None else (1,)) for claim in claims
    ]
    lines = derive(puzzle, done)
    return write(puzzle, lines, known=len(done)) if lines else None
