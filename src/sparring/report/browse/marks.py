"""Where two texts differ, in characters: line by line, in a line from its first word that differs to its last."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import accumulate

from sparring.report.browse.core import Mark, MarkKind

MOST_LINES = 200
"""Lines compared one by one; of longer texts what differs is one part."""
MOST_WORD = 60
"""Characters that a mark is made longer by, to begin and end with a word."""

Span = tuple[int, int]


def differing(
    before: str, after: str, wrong: MarkKind = "wrong", mended: MarkKind = "mended"
) -> tuple[tuple[Mark, ...], tuple[Mark, ...]]:
    """Return the marks of what stands in `before` alone, and of what stands in `after` alone."""
    pairs = list(_spans(before, after))
    return (
        tuple(Mark(*span, wrong) for span, _ in pairs if span[0] < span[1]),
        tuple(Mark(*span, mended) for _, span in pairs if span[0] < span[1]),
    )


def _spans(before: str, after: str) -> Iterator[tuple[Span, Span]]:
    old, new = before.split("\n"), after.split("\n")
    if max(len(old), len(new)) > MOST_LINES:
        yield _within(before, after, 0, 0)
        return
    starts, ends = ([0, *accumulate(len(line) + 1 for line in lines)] for lines in (old, new))
    for what, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "replace" and b - a == d - c:
            for at in range(b - a):
                yield _within(old[a + at], new[c + at], starts[a + at], ends[c + at])
        elif what != "equal":
            left, right = "\n".join(old[a:b]), "\n".join(new[c:d])
            yield (starts[a], starts[a] + len(left)), (ends[c], ends[c] + len(right))


def _within(before: str, after: str, at: int, there: int) -> tuple[Span, Span]:
    """Return the parts of two lines between what they begin and end with alike, whole words."""
    start = _alike(before, after)
    room = min(len(before), len(after)) - start
    end = min(room, _alike(before[::-1], after[::-1]))
    back = _word(before[:start][::-1])
    on = _word(before[len(before) - end :])
    begin = start - back
    return (at + begin, at + len(before) - end + on), (there + begin, there + len(after) - end + on)


def _word(text: str) -> int:
    """Return how many characters there are before the first space."""
    beginning = text[:MOST_WORD]
    return next((at for at, char in enumerate(beginning) if char.isspace()), len(beginning))


def _alike(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    shorter = min(len(one), len(other))
    return next((at for at in range(shorter) if one[at] != other[at]), shorter)
