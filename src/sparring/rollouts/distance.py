"""How far two texts lie apart, in words, by algorithms whose time does not grow with how much the texts repeat."""

from __future__ import annotations

from collections.abc import Sequence


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the least number of insertions, deletions and substitutions that turn `a` into `b` (Levenshtein).

    Myers' algorithm (J. ACM 46(3), 1999), in Hyyrö's form: a column of the table is two whole numbers, whose bits say
    where it rises and where it falls, so that answers of a thousand words take milliseconds.
    """
    if not a:
        return len(b)
    places, every, last = _places(a), (1 << len(a)) - 1, 1 << (len(a) - 1)
    rises, falls, distance = every, 0, len(a)
    for word in b:
        same = places.get(word, 0)
        equal = ((((same & rises) + rises) ^ rises) | same | falls) & every
        up, down = falls | (every & ~(equal | rises)), rises & equal
        distance += bool(up & last) - bool(down & last)
        up, down = (up << 1 | 1) & every, (down << 1) & every
        rises, falls = down | (every & ~(equal | up)), up & equal
    return distance


def in_common(a: Sequence[str], b: Sequence[str]) -> int:
    """Return how many words the longest common subsequence has. `difflib` finds no more, in minutes where words repeat.

    Hyyrö's algorithm (2004): a column of the table is a whole number, whose unset bits say where it rises.
    """
    places, every = _places(a), (1 << len(a)) - 1
    level = every
    for word in b:
        met = level & places.get(word, 0)
        level = ((level + met) | (level - met)) & every
    return len(a) - level.bit_count()


def _places(words: Sequence[str]) -> dict[str, int]:
    """Return where each word stands, as the bits of a number."""
    places: dict[str, int] = {}
    for at, word in enumerate(words):
        places[word] = places.get(word, 0) | 1 << at
    return places
