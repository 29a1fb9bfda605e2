"""Questions of word sorting: drawn from our own words, and read from anybody's."""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

from sparring.tasks.exercise import MOST, Part, part_of
from sparring.tasks.sorting.answers import canonical
from sparring.tasks.sorting.work import Work, solved

WORDS = Path(__file__).parent.parent / "words.txt"
TIERS = {
    "2-3": ((2, 3), True),
    "4-7": ((4, 7), True),
    "8-10": ((8, 10), False),
    "11-15": ((11, 15), False),
    "16-20": ((16, 20), False),
}
"""Words a list, least and most, and whether the tier is trained on."""
LIST = re.compile(r"\blist:", re.I)
ASKED = "Sort the following words alphabetically: List: "


@cache
def words_by_part() -> dict[Part, list[str]]:
    """Return our words by the part that each one's digest gives it."""
    parts: dict[Part, list[str]] = {"train": [], "validation": [], "test": []}
    for word in WORDS.read_text(encoding="utf-8").split():
        parts[part_of(word)].append(word)
    return parts


def draw(rng: random.Random, tier: str) -> tuple[str, str, str | None]:
    """Draw (question, answer, gold rationale) of a tier.

    All words of a question belong to the part that its digest gives the question, so test and training share no word.
    It costs three lists a draw: lists are drawn from a part's words until the question falls into that part too.
    """
    part = rng.choices(("train", "validation", "test"), (6, 1, 3))[0]
    least, most = TIERS[tier][0]
    while True:
        words = rng.sample(words_by_part()[part], rng.randint(least, most))
        question = ASKED + " ".join(words)
        if part_of(question) == part:
            return question, " ".join(sorted(words)), rationale_of(question)


def words_of(question: str) -> list[str]:
    """Return the words that a question lists, without commas and full stops at their ends.

    An empty list where it lists none, is over 20,000 characters, or has a word with a double quote or a zero character
    in it, which no step could quote or number.
    """
    found = LIST.search(question) if len(question) <= MOST else None
    listed = question[found.end() :] if found else ""
    if any(mark in listed for mark in '"“”\0'):
        return []
    return [word for word in map(_bare, listed.split()) if word]


def _bare(word: str) -> str:
    return word.rstrip(",;.")


def answer_to(question: str) -> str | None:
    """Return the right answer of a question, in canonical form; None where it lists no words."""
    words = words_of(question)
    return canonical(sorted(words)) if words else None


def rationale_of(question: str) -> str | None:
    """Return the gold rationale of a question; None where it lists no words, or would need labels over six deep."""
    words = words_of(question)
    return solved(Work(words)) if words else None
