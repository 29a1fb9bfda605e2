"""Steps of a sorting, read into what they claim. Each pattern takes time in proportion to the text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sparring.tasks.sorting.claims import NAMES, Group, Groups, Hence, Item, Letters

HENCE = re.compile(r"\W*hence\b", re.I)
SO_FAR = re.compile(r"\W*(?:so far|(?:we )?now(?: we)? have)\b", re.I)
HEAD = re.compile(r'((?:[^":]++|"[^"]*+")*+):')
PLACE = re.compile(r"\b([a-z]+(?:-[a-z]+)?|\d{1,4}(?=st|nd|rd|th))(?:st|nd|rd|th)?\s+letters?\b", re.I)
QUOTED = re.compile(r'"([^"]*+)"')
BRACKET = re.compile(r'\[(?:[^]["]++|"[^"]*+")*+\]')
ITEM = re.compile(r'\s*("([^"]*+)"\s*=\s*"([^"]*+)"\s*\(\s*([^()\s]{1,12})\s*+\))\s*+(?:,|;|\.?\s*+$)')
GROUP = re.compile(r'\s*(\(\s*([^()\s]{1,12})\s*\)\s*(?:"[^"]*+"|\[(?:[^]["]++|"[^"]*+")*+\]))\s*+(<|\.?\s*+$)')
LINK = re.compile(r'\s*+"([^"]*+)"\s*+([^\s".]{1,3}|\.?\s*+$)')
BETWEEN = re.compile(r"[\s?=]*+$")
PLAIN = str.maketrans("“”", '""')
PLACES = {name: place for place, name in enumerate(NAMES)}


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A step, or a part of it, that claims nothing that can be checked."""

    said: str
    reason: str


def plain(text: str) -> str:
    """Return text with straight double quotes, character for character."""
    return text if text.isascii() else text.translate(PLAIN)


def read(text: str) -> Letters | Groups | Hence | Unreadable:
    """Return what a step claims; `said` quotes its text with straight quotes."""
    text = plain(text)
    if found := HENCE.match(text):
        return _hence(text, found.end())
    if found := SO_FAR.match(text):
        return _groups(text, found.end())
    return _letters(text)


def _letters(text: str) -> Letters | Unreadable:
    head = HEAD.match(text)
    place = PLACE.search(QUOTED.sub(_blank, head[1])) if head else None
    at = _place(place[1].lower()) if place else None
    if head is None or place is None or at is None:
        return Unreadable(text, "it is none of the steps in which words are sorted")
    items = _items(text, head.end())
    if isinstance(items, Unreadable):
        return items
    bracket = BRACKET.search(head[1])
    said_group = bracket[0] if bracket else head[1].strip()
    return Letters(at, QUOTED.findall(said_group) or None, items, place[0], said_group)


def _items(text: str, start: int) -> list[Item] | Unreadable:
    items: list[Item] = []
    while start < len(text):
        found = ITEM.match(text, start)
        if not found:
            return _unread(text, start, 'it does not have the form "word"="letter" (number)')
        items.append(Item(found[2], found[3], found[4], found[1]))
        start = found.end()
    return items or Unreadable(text, "it names no word")


def _blank(found: re.Match[str]) -> str:
    return '"' + "_" * (len(found[0]) - 2) + '"'


def _place(name: str) -> int | None:
    return PLACES.get(name) if not name.isdigit() else int(name) - 1 if name != "0" else None


def _groups(text: str, start: int) -> Groups | Unreadable:
    start = _past_colon(text, start)
    groups: list[Group] = []
    while start < len(text):
        found = GROUP.match(text, start)
        if not found:
            return _unread(text, start, 'it does not have the form (number) "word" or (number) ["word" ? "word"]')
        said, words = found[1], QUOTED.findall(found[1])
        if fault := _bracket_fault(said, words):
            return fault
        groups.append(Group(found[2], words, said))
        if not found[3].startswith("<"):
            break
        start = found.end()
        if start >= len(text):
            return Unreadable(text, 'nothing follows its last "<"')
    return Groups(groups) if groups else Unreadable(text, "it names no word")


def _bracket_fault(said: str, words: list[str]) -> Unreadable | None:
    if "[" not in QUOTED.sub("", said):
        return None
    if len(words) < 2:
        return Unreadable(said, "brackets hold at least two words")
    inner = QUOTED.sub("", said[said.index("[") + 1 : -1])
    return None if BETWEEN.match(inner) else Unreadable(said, 'words whose order is not known have "?" between them')


def _hence(text: str, start: int) -> Hence | Unreadable:
    start = text.find('"', start)
    words: list[str] = []
    signs: list[str] = []
    while start >= 0 and len(signs) == len(words):
        found = LINK.match(text, start)
        if not found:
            return _unread(text, start, 'it does not have the form "word" < "word"')
        words.append(found[1])
        signs += [found[2]] if found[2].strip(" \n\t.") else []
        start = found.end()
    return Hence(words, signs) if words else Unreadable(text, "it names no word in quotes")


def _past_colon(text: str, start: int) -> int:
    """Return where a step's matter begins: past the blanks and the colon of its opening."""
    while start < len(text) and text[start] in " \t\n:,":
        start += 1
    return start


def _unread(text: str, start: int, reason: str) -> Unreadable:
    """Return the piece that begins at `start`, up to where the next one would, as what cannot be read."""
    rest = text[start:].strip()
    ends = [at for mark in (", ", " < ", "\n") if (at := rest.find(mark, 1)) > 0]
    return Unreadable(rest[: min(ends)].strip() if ends else rest or text, reason)
