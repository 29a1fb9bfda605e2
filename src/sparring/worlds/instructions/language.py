"""The words of this world, and what a verse is made of.

A verse is a few lines of three or four words, "bright gulls drift slowly": what it says is free but for its topic, so
that two verses may do equally well and share hardly a word. Around the lines there may be a title, a greeting, dashes,
an exclamation mark, a postscript; all of it may be in capitals.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

HAPPY = ("bright", "warm", "merry", "golden", "gentle")
GLOOMY = ("grey", "cold", "weary", "broken", "bitter")
ADJECTIVES = (*HAPPY, *GLOOMY)
ADVERBS = ("slowly", "softly", "again", "together", "alone")


@dataclass(frozen=True, slots=True)
class Topic:
    """What a verse is about."""

    name: str
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]


TOPICS: Mapping[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic("sea", ("gulls", "boats", "waves", "sailors", "shells", "ropes"), ("drift", "sail", "roll", "anchor")),
        Topic("garden", ("roses", "bees", "snails", "hedges", "seeds", "ponds"), ("bloom", "hum", "grow", "ripen")),
        Topic("city", ("trams", "towers", "clerks", "lamps", "bridges", "crowds"), ("shine", "hurry", "rush", "wait")),
        Topic("forest", ("foxes", "owls", "oaks", "ferns", "wolves", "streams"), ("hunt", "whisper", "wander", "hide")),
    )
}
NUMBERS = tuple(str(n) for n in range(2, 10))
GREETING = "dear friend,"
POSTSCRIPT = "p.s. write soon"


@dataclass(frozen=True, slots=True)
class Line:
    """Three words, or four: "7 gulls drift", "bright gulls drift slowly"."""

    lead: str
    """An adjective or a number."""
    noun: str
    verb: str
    adverb: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(word for word in (self.lead, self.noun, self.verb, self.adverb) if word)


@dataclass(frozen=True, slots=True)
class Verse:
    """A verse and what is around it."""

    lines: tuple[Line, ...]
    title: str = ""
    greets: bool = False
    is_list: bool = False
    in_capitals: bool = False
    exclaims: bool = False
    has_postscript: bool = False


def write(verse: Verse) -> str:
    """Return a verse as text."""
    dash = "- " if verse.is_list else ""
    lines = [f"<< {verse.title} >>"] if verse.title else []
    lines += [GREETING] if verse.greets else []
    lines += [dash + " ".join(line.words) for line in verse.lines]
    lines[-1] += "!" if verse.exclaims else ""
    lines += [POSTSCRIPT] if verse.has_postscript else []
    text = "\n".join(lines)
    return text.upper() if verse.in_capitals else text


@dataclass(frozen=True, slots=True)
class Parts:
    """A text taken apart, whoever wrote it: nothing in it need be of this world."""

    title: str
    """Between << and >> on the first line; empty where there is none."""
    greets: bool
    lines: tuple[tuple[str, ...], ...]
    """The words of each line of the verse itself, in lower case."""
    dashes: int
    """Lines of the verse that begin with a dash."""
    exclaims: bool
    has_postscript: bool
    small: tuple[str, ...]
    """Words with a small letter in them, as they stand."""

    def words(self) -> Iterator[str]:
        """Yield the words of the title and of the verse."""
        yield from self.title.split()
        for line in self.lines:
            yield from line


def take_apart(text: str) -> Parts:
    """Return the parts of a text."""
    rows = [row.strip() for row in text.strip().splitlines() if row.strip()]
    title = ""
    if rows and (found := re.fullmatch(r"<< ?(.*?) ?>>", rows[0])):
        title, rows = found[1].lower(), rows[1:]
    greets = bool(rows) and rows[0].lower() == GREETING
    rows = rows[1:] if greets else rows
    has_postscript = bool(rows) and rows[-1].lower().startswith("p.s.")
    rows = rows[:-1] if has_postscript else rows
    exclaims = bool(rows) and rows[-1].endswith("!")
    bare = [row.removeprefix("-").rstrip("!").strip().lower() for row in rows]
    small = tuple(word for word in re.findall(r"[^\W\d_.]+(?:\.[^\W\d_]\.?)?", text) if word != word.upper())
    dashes = sum(row.startswith("-") for row in rows)
    return Parts(title, greets, tuple(tuple(row.split()) for row in bare), dashes, exclaims, has_postscript, small)


def read(text: str) -> Verse | None:
    """Return the verse that a text is; None where it is none of this world."""
    parts = take_apart(text)
    lines = [_line(words) for words in parts.lines]
    if not lines or None in lines or parts.dashes not in (0, len(lines)):
        return None
    known = tuple(line for line in lines if line is not None)
    in_capitals = text == text.upper()
    verse = Verse(known, parts.title, parts.greets, parts.dashes > 0, in_capitals, parts.exclaims, parts.has_postscript)
    return verse if write(verse) == text.strip() else None


def _line(words: tuple[str, ...]) -> Line | None:
    if len(words) not in (3, 4) or words[0] not in (*ADJECTIVES, *NUMBERS) or (words[3:] and words[3] not in ADVERBS):
        return None
    return Line(*words)
