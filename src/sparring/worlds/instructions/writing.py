"""Verses that meet what they should, that miss what they may, and the smallest edits from one to the other.

An edit is the same whenever it can be: a word that must go makes room for one that is fixed. A small model learns that;
from words drawn anew it would learn to keep the old one, which is always likelier than any other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sparring.worlds.instructions.constraints import LONGEST, MOODS, SHORTEST, Asked, Constraint, missed
from sparring.worlds.instructions.language import (
    ADJECTIVES,
    ADVERBS,
    GLOOMY,
    HAPPY,
    NUMBERS,
    Line,
    Topic,
    Verse,
    write,
)

TRIES = 200


@dataclass(frozen=True, slots=True)
class Palette:
    """The words that a verse may draw on."""

    adjectives: Sequence[str]
    nouns: Sequence[str]
    verbs: Sequence[str]
    style: str
    """terse, ornate, or neither."""

    @staticmethod
    def of(asked: Asked) -> Palette:
        """Return the words that nothing asked for forbids."""
        topic, avoid = asked.topic, asked.argument("avoid")
        wrong = MOODS.get(asked.argument("mood"), ())
        return Palette(
            [word for word in ADJECTIVES if word not in wrong],
            [word for word in topic.nouns if word != avoid],
            [word for word in topic.verbs if word != avoid],
            asked.argument("style"),
        )

    def line(self, rng: random.Random) -> Line:
        adverb = self.style == "ornate" or (self.style != "terse" and rng.random() < 0.5)
        words = rng.choice(self.adjectives), rng.choice(self.nouns), rng.choice(self.verbs)
        return Line(*words, rng.choice(ADVERBS) if adverb else "")


def compose(rng: random.Random, asked: Asked) -> Verse:
    """Draw a verse that meets all that is asked."""
    palette = Palette.of(asked)
    for _ in range(TRIES):
        count = int(asked.argument("lines") or rng.randint(SHORTEST, LONGEST - 1))
        verse = Verse(tuple(palette.line(rng) for _ in range(count)))
        verse = meet(rng, verse, asked, asked.kinds)
        if not missed(write(verse), asked):
            return verse
    raise ValueError(f"no verse was found for {asked.text!r}")


def careless(rng: random.Random, asked: Asked, misses: Collection[str]) -> Verse | None:
    """Draw a verse that misses exactly the constraints of these kinds; None where none was found."""
    for _ in range(TRIES // 10):
        verse = compose(rng, asked)
        for one in asked.constraints:
            if one.kind in misses:
                verse = miss(rng, verse, one, asked)
        if set(missed(write(verse), asked)) == set(misses):
            return verse
    return None


def meet(rng: random.Random, verse: Verse, asked: Asked, kinds: Collection[str]) -> Verse:
    """Edit a verse until it meets the constraints of these kinds, as little as can be."""
    for kind in MEND:  # in the order in which one edit does not undo another
        if kind in kinds and kind in asked.kinds:
            verse = MEND[kind](rng, verse, asked, asked.argument(kind))
    return verse


Edit = Callable[[random.Random, Verse, Asked, str], Verse]


def _lines(rng: random.Random, verse: Verse, asked: Asked, argument: str) -> Verse:
    lines, palette = list(verse.lines), Palette.of(asked)
    needed = {asked.argument("include"), asked.argument("number")} - {""}
    while len(lines) > int(argument):
        spare = [at for at in range(1, len(lines) - 1) if not needed & set(lines[at].words)]
        del lines[spare[-1] if spare else -2]
    while len(lines) < int(argument):
        lines.insert(1, palette.line(rng))
    return replace(verse, lines=tuple(lines))


def _mood(rng: random.Random, verse: Verse, asked: Asked, argument: str) -> Verse:
    fit = dict[str, str](zip((*GLOOMY, *HAPPY), (*HAPPY, *GLOOMY), strict=True))
    lines = [replace(line, lead=fit[line.lead]) if line.lead in MOODS[argument] else line for line in verse.lines]
    return replace(verse, lines=tuple(lines))


def _style(rng: random.Random, verse: Verse, asked: Asked, argument: str) -> Verse:
    if argument == "terse":
        return replace(verse, lines=tuple(replace(line, adverb="") for line in verse.lines))
    fit = dict[str, str](zip(asked.topic.verbs, ADVERBS, strict=False))
    lines = [line if line.adverb else replace(line, adverb=fit[line.verb]) for line in verse.lines]
    return replace(verse, lines=tuple(lines))


def _avoid(rng: random.Random, verse: Verse, asked: Asked, argument: str) -> Verse:
    other = after(argument, asked.topic)
    lines = [Line(*(other if word == argument else word for word in line.words)) for line in verse.lines]
    return replace(verse, lines=tuple(lines), title=other if verse.title == argument else verse.title)


def after(word: str, topic: Topic) -> str:
    """Return the noun or verb that stands after this one in a topic, the first after the last."""
    words = _slot(word, topic)
    return words[(words.index(word) + 1) % len(words)]


def _include(rng: random.Random, verse: Verse, asked: Asked, argument: str) -> Verse:
    if argument in verse.title or any(argument in line.words for line in verse.lines):
        return verse
    if argument in asked.topic.nouns:
        return _put(verse, 1, noun=argument)
    return _put(verse, 0, verb=argument)  # the last line may have to end with another verb


def _number(rng: random.Random, verse: Verse, asked: Asked, argument: str) -> Verse:
    if any(line.lead == argument for line in verse.lines):
        return verse
    there = [at for at, line in enumerate(verse.lines) if line.lead in NUMBERS]
    return _put(verse, there[0] if there else -1, lead=argument)


def _start(rng: random.Random, verse: Verse, asked: Asked, argument: str) -> Verse:
    return _put(verse, 0, lead=argument)


def _end(rng: random.Random, verse: Verse, asked: Asked, argument: str) -> Verse:
    if argument in ADVERBS:
        return _put(verse, -1, adverb=argument)
    return _put(verse, -1, verb=argument, adverb="")


def _put(verse: Verse, at: int, **words: str) -> Verse:
    """Put words into the line at a place; the last, where there are not so many."""
    lines = list(verse.lines)
    at = min(at, len(lines) - 1)
    lines[at] = replace(lines[at], **words)
    return replace(verse, lines=tuple(lines))


def _title(rng: random.Random, verse: Verse, asked: Asked, argument: str) -> Verse:
    return verse if verse.title else replace(verse, title=rng.choice(Palette.of(asked).nouns))


def _around(part: str, rng: random.Random, verse: Verse, asked: Asked, argument: str) -> Verse:
    return replace(verse, **{part: True})


AROUND = {
    "list": "is_list",
    "letter": "greets",
    "postscript": "has_postscript",
    "exclaim": "exclaims",
    "capitals": "in_capitals",
}
MEND: dict[str, Edit] = {
    "lines": _lines,
    "mood": _mood,
    "style": _style,
    "avoid": _avoid,
    "number": _number,
    "start": _start,
    "end": _end,
    "include": _include,
    "title": _title,
    **{kind: partial(_around, part) for kind, part in AROUND.items()},
}


def miss(rng: random.Random, verse: Verse, constraint: Constraint, asked: Asked) -> Verse:
    """Edit a verse so that it misses a constraint; another may be missed with it."""
    argument, lines, topic = constraint.argument, verse.lines, asked.topic
    at = rng.randrange(len(lines))
    match constraint.kind:
        case "lines":
            return _recount(rng, verse, asked)
        case "title":
            return replace(verse, title="")
        case "number":
            return _without(rng, verse, argument, rng.choice([*NUMBERS, *ADJECTIVES]))
        case "include":
            return _without(rng, verse, argument, rng.choice(_slot(argument, topic)))
        case "avoid":
            return _put(verse, at, **{"noun" if argument in topic.nouns else "verb": argument})
        case "start":
            return _put(verse, 0, lead=rng.choice(Palette.of(asked).adjectives))
        case "end" if argument in ADVERBS:
            return _put(verse, -1, adverb=rng.choice(ADVERBS))
        case "end":
            return _put(verse, -1, verb=rng.choice(topic.verbs))
        case "mood":
            return _put(verse, at, lead=rng.choice(MOODS[argument]))
        case "style":
            return _put(verse, at, adverb=rng.choice(ADVERBS) if argument == "terse" else "")
        case kind:
            return replace(verse, **{AROUND[kind]: False})


def _slot(word: str, topic: Topic) -> Sequence[str]:
    return topic.nouns if word in topic.nouns else topic.verbs


def _without(rng: random.Random, verse: Verse, word: str, other: str) -> Verse:
    """Put another word where a word stands."""
    lines = [Line(*(other if known == word else known for known in line.words)) for line in verse.lines]
    return replace(verse, lines=tuple(lines), title=other if verse.title == word else verse.title)


def _recount(rng: random.Random, verse: Verse, asked: Asked) -> Verse:
    lines = list(verse.lines)
    if rng.random() < 0.5 and len(lines) > 2:
        del lines[rng.randrange(1, len(lines) - 1)]
    else:
        lines.insert(1, Palette.of(asked).line(rng))
    return replace(verse, lines=tuple(lines))
