"""Fourteen kinds of constraint, of eleven of the taxonomy's categories: how each is put, what one has to look at to
tell whether a text meets it, and which of them clash.

Nothing here asks whether a text is a verse of this world: a check must give an answer on any text.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations

from sparring.worlds.instructions.language import (
    ADJECTIVES,
    ADVERBS,
    GLOOMY,
    HAPPY,
    NUMBERS,
    TOPICS,
    Parts,
    Topic,
    take_apart,
)

NONE = "none"
"""What was looked for is not there."""
SHORTEST, LONGEST = 3, 6
"""Lines that may be asked for."""
MOODS: Mapping[str, tuple[str, ...]] = {"happy": GLOOMY, "gloomy": HAPPY}
"""The adjectives that each forbids."""
STYLES = ("terse", "ornate")
"""No line with an adverb; every line with one."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of constraint."""

    category: str
    """Of the taxonomy."""
    wordings: tuple[str, str]
    """Before the argument, where there is one."""
    misses: float
    """Share of careless answers that miss it."""
    takes: bool = False
    """Whether it has an argument."""


KINDS: Mapping[str, Kind] = {
    "lines": Kind("length", ("Set the number of lines to", "Let the count of lines be"), 0.7, True),
    "list": Kind("text format", ("Put a dash before every line", "Write it as a list"), 0.45),
    "postscript": Kind("text format", ("Add a postscript", "Put a p.s. under it"), 0.4),
    "capitals": Kind("character format", ("Use capital letters only", "Write it all in capitals"), 0.6),
    "exclaim": Kind("punctuation", ("End on an exclamation mark", "Close with an exclamation mark"), 0.4),
    "number": Kind("numeric format", ("Mention the number", "Work in the number"), 0.6, True),
    "include": Kind("keyword", ("Include the word", "Be sure to use the word"), 0.5, True),
    "avoid": Kind("keyword", ("Avoid the word", "Never use the word"), 0.7, True),
    "title": Kind("symbol", ("Give it a title in << >>", "Put a title in << >> on top"), 0.4),
    "start": Kind("sentence", ("Begin with the word", "Let the first word be"), 0.5, True),
    "end": Kind("sentence", ("End with the word", "Let the last word be"), 0.6, True),
    "letter": Kind("genre", ("Write it as a letter to a friend", "Greet a friend first"), 0.4),
    "mood": Kind("sentiment", ("Let it sound", "Let the mood be"), 0.6, True),
    "style": Kind("language style", ("Keep the style", "Let the style be"), 0.6, True),
}


@dataclass(frozen=True, slots=True)
class Constraint:
    """One constraint as it is put."""

    kind: str
    argument: str = ""
    wording: int = 0

    @property
    def text(self) -> str:
        words = KINDS[self.kind].wordings[self.wording]
        return f"{words} {self.argument}" if self.argument else words


@dataclass(frozen=True, slots=True)
class Asked:
    """What a prompt asks for."""

    topic: Topic
    constraints: tuple[Constraint, ...]

    @property
    def text(self) -> str:
        return "\n".join([f"Write about the {self.topic.name}", *(one.text for one in self.constraints)])

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(one.kind for one in self.constraints)

    def argument(self, kind: str) -> str:
        """Return the argument of the constraint of a kind; empty where there is none of it."""
        return next((one.argument for one in self.constraints if one.kind == kind), "")


_WORDS = {words: (kind, at) for kind, known in KINDS.items() for at, words in enumerate(known.wordings)}


def read_asked(prompt: str) -> Asked:
    """Return what a prompt of this world asks for. Raises ValueError for any other text."""
    first, *rows = prompt.strip().split("\n")
    topic = TOPICS.get(first.removeprefix("Write about the "))
    if topic is None:
        raise ValueError(f"no prompt of this world: {prompt!r:.80}")
    found: list[Constraint] = []
    for row in rows:
        words = row if row in _WORDS else row.rpartition(" ")[0]
        if words not in _WORDS:
            raise ValueError(f"no constraint of this world: {row!r:.80}")
        kind, wording = _WORDS[words]
        found.append(Constraint(kind, row[len(words) + 1 :], wording))
    return Asked(topic, tuple(found))


# Checking


def look(parts: Parts, constraint: Constraint) -> tuple[str, bool]:
    """Return what a text has where this constraint looks, in one word, and whether it meets it."""
    argument = constraint.argument
    match constraint.kind:
        case "lines":
            return str(len(parts.lines)), str(len(parts.lines)) == argument
        case "list":
            return ("dash" if parts.dashes else NONE), parts.dashes == len(parts.lines) > 0
        case "postscript":
            return _found("p.s.", parts.has_postscript)
        case "capitals":
            first = parts.small[0].lower() if parts.small else NONE
            return first, not parts.small and bool(parts.lines)
        case "exclaim":
            return _found("!", parts.exclaims)
        case "number":
            numbers = [word for word in parts.words() if word.isdigit()]
            return (numbers[0] if numbers else NONE), argument in numbers
        case "include":
            return _found(argument, argument in parts.words())
        case "avoid":
            there = argument in parts.words()
            return (argument if there else NONE), not there and bool(parts.lines)
        case "title":
            return (parts.title.split() or [NONE])[0], bool(parts.title)
        case "start":
            first = parts.lines[0][0] if parts.lines and parts.lines[0] else NONE
            return first, first == argument
        case "end":
            last = parts.lines[-1][-1] if parts.lines and parts.lines[-1] else NONE
            return last, last == argument
        case "letter":
            return _found("dear", parts.greets)
        case "mood":
            wrong = [word for word in parts.words() if word in MOODS[argument]]
            return (wrong[0] if wrong else NONE), not wrong and bool(parts.lines)
        case _:
            return _style(parts, argument)


def _found(word: str, there: bool) -> tuple[str, bool]:
    return (word if there else NONE), there


def _style(parts: Parts, style: str) -> tuple[str, bool]:
    """Look for the last word of the first line that is out of style."""
    wrong = [line[-1] for line in parts.lines if line and (line[-1] in ADVERBS) != (style == "ornate")]
    return (wrong[0] if wrong else NONE), not wrong and bool(parts.lines)


def missed(text: str, asked: Asked) -> list[str]:
    """Return the kinds of the constraints that a text does not meet."""
    parts = take_apart(text)
    return [one.kind for one in asked.constraints if not look(parts, one)[1]]


# Drawing


def clash(topic: Topic, constraints: Sequence[Constraint]) -> str | None:
    """Return why no text can meet all of these; None where one can. Each kind is there once at most."""
    of = {one.kind: one.argument for one in constraints}
    include, avoid, start, end = (of.get(kind) for kind in ("include", "avoid", "start", "end"))
    if avoid and avoid in (include, end):
        return f"{avoid!r} is asked for and forbidden"
    if start and start in MOODS.get(of.get("mood", ""), ()):
        return f"{start!r} does not sound {of['mood']}"
    if end and of.get("style") == "terse" and end in ADVERBS:
        return f"no line ends with {end!r} in a terse style"
    if end and of.get("style") == "ornate" and end in topic.verbs:
        return f"no line ends with {end!r} in an ornate style"
    return None


def arguments(kind: str, topic: Topic) -> Sequence[str]:
    """Return what a constraint of a kind may be about; nothing where it takes no argument."""
    match kind:
        case "lines":
            return [str(n) for n in range(SHORTEST, LONGEST + 1)]
        case "number":
            return NUMBERS
        case "include" | "avoid":
            return (*topic.nouns, *topic.verbs)
        case "start":
            return ADJECTIVES
        case "end":
            return (*topic.verbs, *ADVERBS)
        case "mood":
            return list(MOODS)
        case "style":
            return STYLES
        case _:
            return ()


HELD_OUT = 8
"""One in so many triples of kinds never comes in training."""


def is_held_out(kinds: Sequence[str]) -> bool:
    """Say whether three of these kinds are a combination that training never meets."""
    return any(_digest("+".join(three)) % HELD_OUT == 0 for three in combinations(sorted(kinds), 3))


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def constrained(rng: random.Random, topic: Topic, kind: str) -> Constraint:
    """Draw one constraint of a kind."""
    known = arguments(kind, topic)
    return Constraint(kind, rng.choice(known) if known else "", rng.randrange(2))


def draw(rng: random.Random, count: int, held_out: bool) -> Asked:
    """Draw a prompt of so many constraints that do not clash, of a combination that is held out or not."""
    while True:
        topic = TOPICS[rng.choice(list(TOPICS))]
        kinds = rng.sample(list(KINDS), count)
        if is_held_out(kinds) != held_out:
            continue
        constraints = tuple(constrained(rng, topic, kind) for kind in kinds)
        if clash(topic, constraints) is None:
            return Asked(topic, constraints)
