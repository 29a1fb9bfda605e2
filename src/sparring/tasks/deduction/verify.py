"""Verifying attempts: a step must follow from the statement it quotes or the steps it names, from nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_

from sparring.tasks.deduction.orders import ANY, Pattern, every
from sparring.tasks.deduction.puzzle import Puzzle, plain, read_puzzle, statement
from sparring.tasks.exercise import FINAL, Feedback, Step, read_steps
from sparring.tasks.reading import option_in

MOST_TOKENS = 40
"""Tokens of a pattern that are read: any that is true has at most 15."""
PATTERN = re.compile(r"\[([^\[\]\n]{0,400})\]")
LISTING = re.compile(r"(From ([^:\n]{1,60}?) to ([^:\n]{1,60}?), in some order): ?([^\n]{0,400})", re.I)
QUOTE = re.compile(r'"([^"\n]{1,300})"')
CITED = re.compile(r"\((\d{1,3})\)")
CHOSEN = re.compile(r"\(([A-Z])\)|(?<!\w)[A-Z](?!\w)")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a right step says."""

    orders: int
    """The orders it allows."""
    pattern: Pattern | None = None
    clue: str = ""
    """The statement it reads, as in the question."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with a step: the part, verbatim, and why."""

    span: str
    reason: str


def verify(question: str, attempt: str) -> Feedback | None:
    """Return the first wrong step of an attempt.

    None where the question is of another kind, or no step is in the notation: such an attempt may well be right.
    """
    puzzle, steps = read_puzzle(question), read_steps(attempt)
    if puzzle is None or not any(PATTERN.search(step.text) or LISTING.match(step.text) for step in steps):
        return None
    claims: list[Claim] = []
    for step in steps:
        found = _final(puzzle, step.text, claims) if step.label == FINAL else _judge(puzzle, step, claims)
        if isinstance(found, Wrong):
            span = found.span.strip()
            return Feedback(step.label, span, found.reason) if span else None
        claims.append(found)
    if steps[-1].label == FINAL:
        return Feedback()
    return Feedback(steps[-1].label, _line(steps[-1].text), "no final response follows it")


def claims_of(puzzle: Puzzle, steps: Sequence[Step]) -> list[Claim] | None:
    """Return what steps claim; None where one is wrong."""
    claims: list[Claim] = []
    for step in steps:
        found = _judge(puzzle, step, claims)
        if isinstance(found, Wrong):
            return None
        claims.append(found)
    return claims


def _judge(puzzle: Puzzle, step: Step, claims: Sequence[Claim]) -> Claim | Wrong:
    text = step.text.strip()
    if step.label != (due := str(len(claims) + 1)):
        return Wrong(_line(text), f"step ({due}) is due here")
    if listing := LISTING.match(text):
        return _listing(puzzle, listing)
    found = PATTERN.search(text)
    if not found:
        return Wrong(_line(text), "it gives no pattern of places")
    told = text[: found.start()]
    if quoted := QUOTE.search(told):
        return _clue(puzzle, quoted[1], text)
    cited = CITED.findall(told)
    return (
        _combined(puzzle, cited, text, claims) if cited else Wrong(_line(text), "it names no step that it follows from")
    )


def _line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _listing(puzzle: Puzzle, found: re.Match[str]) -> Claim | Wrong:
    axis = puzzle.axis
    if (found[2].casefold(), found[3].casefold()) != (axis.low, axis.high):
        return Wrong(found[1], f"the order runs from {axis.low} to {axis.high}")
    names = [name.strip() for name in found[4].rstrip(". ").split(",")]
    seen: set[int] = set()
    for name in names:
        number = puzzle.numbers.get(name.casefold())
        if number is None or number in seen:
            why = "is not one of the objects" if number is None else "stands there twice"
            return Wrong(name or found[0], f"{name or 'an empty name'} {why}")
        seen.add(number)
    missing = [item for number, item in enumerate(puzzle.items) if number not in seen]
    return Wrong(found[4].strip(), f"{missing[0]} is missing") if missing else Claim(every(puzzle.size))


def _clue(puzzle: Puzzle, quoted: str, text: str) -> Claim | Wrong:
    stated = puzzle.stated.get(plain(quoted))
    if stated is None:
        return Wrong(quoted, "the question does not state it")
    clue, said = stated
    found = _patterns(puzzle, text)
    if isinstance(found, Wrong):
        return found
    orders = puzzle.allowed(said)
    for written, pattern in found.items():
        if puzzle.allowed(pattern) != orders:
            return Wrong(written, f"the statement gives {puzzle.written(said)}")
    return Claim(orders, said, clue)


def _combined(puzzle: Puzzle, cited: Sequence[str], text: str, claims: Sequence[Claim]) -> Claim | Wrong:
    for step in cited:
        if not 1 <= int(step) <= len(claims):
            return Wrong(f"({step})", f"no step ({step}) stands before it")
    found = _patterns(puzzle, text)
    if isinstance(found, Wrong):
        return found
    premises = {step: claims[int(step) - 1].orders for step in cited}
    known = reduce(and_, premises.values())
    for written, pattern in found.items():
        if known & ~puzzle.allowed(pattern):
            return Wrong(written, _why_not(puzzle.allowed(pattern), premises, known))
    last = list(found.values())[-1]
    return Claim(reduce(and_, map(puzzle.allowed, found.values())), last)


def _why_not(orders: int, premises: Mapping[str, int], known: int) -> str:
    """Say why `orders` do not follow: one premise against them, all together, or none."""
    against = next((step for step, allowed in premises.items() if not allowed & orders), None)
    if against:
        return f"it contradicts step ({against})"
    steps = [f"({step})" for step in premises]
    named = f"steps {', '.join(steps[:-1])} and {steps[-1]}" if len(steps) > 1 else f"step {steps[0]}"
    if known & orders:
        return f"it does not follow from {named} alone"
    return f"{named} together {'rule' if len(steps) > 1 else 'rules'} it out"


def _patterns(puzzle: Puzzle, text: str) -> dict[str, Pattern] | Wrong:
    """Return every pattern of a step, by how it is written."""
    found: dict[str, Pattern] = {}
    for match in PATTERN.finditer(text):
        pattern = _pattern(puzzle, match[0], match[1].replace(",", " ").split())
        if isinstance(pattern, Wrong):
            return pattern
        found[match[0]] = pattern
    return found


def _pattern(puzzle: Puzzle, written: str, tokens: Sequence[str]) -> Pattern | Wrong:
    if len(tokens) > MOST_TOKENS:
        return Wrong(written, f"it has more than {puzzle.size} places")
    pattern: list[int] = []
    for token in tokens:
        number = puzzle.tokens.get(token.casefold())
        if number is None:
            return Wrong(token, f"{token} is not one of the objects")
        if number >= 0 and number in pattern:
            return Wrong(written, f"it has {token} twice")
        pattern.append(number)
    places = len(pattern) - pattern.count(ANY)
    if places > puzzle.size or (ANY not in pattern and places < puzzle.size):
        return Wrong(written, f"it has {places} places, not {puzzle.size}")
    return tuple(pattern)


def _final(puzzle: Puzzle, text: str, claims: Sequence[Claim]) -> Claim | Wrong:
    known = reduce(and_, (claim.orders for claim in claims), every(puzzle.size))
    for sentence in re.split(r"(?<=\.)\s+|\n", text):
        said = statement(puzzle, sentence.strip())
        if said and known & ~puzzle.allowed(said):
            return Wrong(sentence.strip(), _why_final(puzzle.allowed(said), claims))
    letter = (option_in(f"({FINAL}) {text}", "ABCDEFGHIJKLMNOPQRSTUVWXYZ") or "").strip("()")
    if not letter:
        return Wrong(_line(text), "it names no option")
    written = next(
        (f[0] for f in CHOSEN.finditer(text) if letter in f[0] and (f[1] or f"({letter})" not in text)), letter
    )
    if letter not in puzzle.options:
        return Wrong(written, f"option ({letter}) is not offered")
    said = puzzle.allowed(puzzle.options[letter][1])
    return Wrong(written, _why_final(said, claims)) if known & ~said else Claim(known)


def _why_final(orders: int, claims: Sequence[Claim]) -> str:
    against = [number for number, claim in enumerate(claims, 1) if not claim.orders & orders]
    return f"it contradicts step ({against[-1]})" if against else "the steps before it do not settle this"
