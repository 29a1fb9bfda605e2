"""What a step of a sorting claims, and how each claim is written.

The number of a letter is its place in the alphabet, a = 1 to z = 26; the end of a word, written "", has 0. A character
before a in code points has its code point in hundredths (an apostrophe is 0.39, & is 0.38), one after z its code point
less 96. So numbers order words as Python does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

NAMES = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth twentieth twenty-first"
).split()


@lru_cache(maxsize=1024)
def number_of(letter: str) -> str:
    """Return a letter's number as it is written; "" is the end of a word."""
    code = ord(letter) if letter else 0
    return "0" if not code else str(code - 96) if code > 96 else f"0.{code:02d}"


def letter_at(word: str, place: int) -> str:
    """Return the letter of a word at `place`, from 0; "" where the word has ended."""
    return word[place] if place < len(word) else ""


def ordinal(place: int) -> str:
    """Return the name of a place, from 0: "first"; "22nd" and so on past the twenty-first."""
    if place < len(NAMES):
        return NAMES[place]
    count = place + 1
    tail = "th" if 10 < count % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count}{tail}"


def chained(words: Sequence[str], sign: str) -> str:
    """Return words in quotes with `sign` between them, "=" between equal ones."""
    if len(set(words)) == len(words):
        return '"' + f'" {sign} "'.join(words) + '"'
    pairs = pairwise(words)
    return f'"{words[0]}"' + "".join(f' {"=" if a == b else sign} "{b}"' for a, b in pairs)


def bracketed(words: Sequence[str]) -> str:
    return f'"{words[0]}"' if len(words) == 1 else f"[{chained(words, '?')}]"


class Item(NamedTuple):
    """`"art"="a" (1)`."""

    word: str
    letter: str
    number: str
    said: str = ""
    """How it stands in the step."""


class Group(NamedTuple):
    """`(19) ["sack" ? "seal"]`."""

    number: str
    words: list[str]
    said: str = ""


@dataclass(slots=True)
class Letters:
    """The letters of words at one place."""

    place: int
    """From 0."""
    group: list[str] | None
    """The words whose letters they are; None: all of the question."""
    items: list[Item]
    said_place: str = ""
    said_group: str = ""

    @classmethod
    def right(cls, place: int, group: list[str] | None, words: Sequence[str]) -> Letters:
        letters = [word[place] if place < len(word) else "" for word in words]
        return cls(place, group, [Item(w, x, number_of(x)) for w, x in zip(words, letters, strict=True)])

    def text(self) -> str:
        head = f"{ordinal(self.place).capitalize()} letters" + (f" of {bracketed(self.group)}" if self.group else "")
        return f"{head}: {', '.join([_item(*item[:3]) for item in self.items])}."


def _item(word: str, letter: str, number: str) -> str:
    return f'"{word}"="{letter}" ({number})'


@dataclass(slots=True)
class Groups:
    """Words in groups by the number of their letter, in order."""

    groups: list[Group]

    def text(self) -> str:
        return f"So far: {' < '.join([f'({number}) {bracketed(words)}' for number, words, _ in self.groups])}."


@dataclass(slots=True)
class Hence:
    """Words in order, at the close of a level."""

    words: list[str]
    signs: list[str]
    """What stands between them, where they were read."""

    def text(self) -> str:
        return f"Hence, we have {chained(self.words, '<')}."


@dataclass(slots=True)
class Final:
    """The answer."""

    words: list[str]

    def text(self) -> str:
        return f"So the answer is: {' '.join(self.words)}."


Claim = Letters | Groups | Hence | Final
