"""Puzzles: the questions of the family, read. The sentences of BIG-Bench's questions are understood as well as ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sparring.tasks.deduction.orders import ANY, MOST_OBJECTS, ONE, Pattern, allowed, chain, every
from sparring.tasks.exercise import MOST

LETTERS = "ABCDEFG"
MOST_CLUES = 12
"""Statements of a puzzle that is read: with seven objects, six are enough."""
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")


@dataclass(frozen=True, slots=True)
class Axis:
    """What objects are ordered by, and how statements say it; `{}` is an ordinal."""

    low: str
    high: str
    """The order runs from low to high."""
    before: str
    after: str
    first: str
    last: str
    nth: str
    """Counted from low."""
    nth_last: str
    """Counted from high."""

    def place(self, size: int, place: int, from_high: bool) -> str:
        """Say a place, from 0, counted from one end unless it is one."""
        if place in (0, size - 1):
            return self.last if place else self.first
        return (self.nth_last.format(ORDINALS[size - 1 - place])) if from_high else self.nth.format(ORDINALS[place])


def _graded(low: str, high: str, before: str, after: str) -> Axis:
    return Axis(
        low, high, f"{before} than", f"{after} than", f"the {low}", f"the {high}", f"the {{}}-{low}", f"the {{}}-{high}"
    )


ROW = Axis(
    *("left", "right", "to the left of", "to the right of", "the leftmost", "the rightmost"),
    *("the {} from the left", "the {} from the right"),
)
QUEUE = Axis(
    *("front", "back", "in front of", "behind", "first in line", "last in line"),
    *("{} in line", "{} from the back"),
)
HEIGHT = _graded("shortest", "tallest", "shorter", "taller")
WEIGHT = _graded("lightest", "heaviest", "lighter", "heavier")
HOUR = _graded("earliest", "latest", "earlier", "later")
AGE = _graded("oldest", "newest", "older", "newer")
PRICE = _graded("cheapest", "most expensive", "less expensive", "more expensive")
RANK = Axis("first", "last", "above", "below", "first", "last", "{}", "{}-to-last")
AXES = (ROW, QUEUE, HEIGHT, WEIGHT, HOUR, AGE, PRICE, RANK)


@dataclass(frozen=True, slots=True)
class Puzzle:
    """A question that was read. Objects are numbers, in the order they are listed."""

    axis: Axis
    items: tuple[str, ...]
    """What a pattern calls each object: one word."""
    numbers: Mapping[str, int]
    """Of every name of an object, without case."""
    tokens: Mapping[str, int]
    """What may stand in a pattern: the names, `?` and `??`."""
    clues: tuple[tuple[str, Pattern], ...]
    """Each statement, verbatim without its full stop, and its pattern."""
    stated: Mapping[str, tuple[str, Pattern]]
    """The same by `plain` text."""
    options: Mapping[str, tuple[str, Pattern]]
    """By letter: the statement, and its pattern."""

    @property
    def size(self) -> int:
        return len(self.items)

    def allowed(self, pattern: Pattern) -> int:
        return allowed(len(self.items), pattern)

    def solutions(self) -> int:
        """Return the orders that all statements allow."""
        orders = every(self.size)
        for _, pattern in self.clues:
            orders &= self.allowed(pattern)
        return orders

    def written(self, pattern: Pattern) -> str:
        """Return a pattern as text, `[? red ?? blue ??]`."""
        return f"[{' '.join({ONE: '?', ANY: '??'}.get(token) or self.items[token] for token in pattern)}]"


Relation = tuple[Axis, int | None, bool]
"""Axis, the place from 0 or None for a comparison, and whether it is counted from high (compared the other way)."""


def _relations() -> Iterator[tuple[str, Relation]]:
    for axis in AXES:
        yield axis.before, (axis, None, False)
        yield axis.after, (axis, None, True)
        for place, ordinal in enumerate(ORDINALS):
            yield (axis.nth.format(ordinal) if place else axis.first), (axis, place, False)
            yield (axis.nth_last.format(ordinal) if place else axis.last), (axis, place, True)


RELATIONS = dict(_relations())
STATEMENT = re.compile(
    r"(?:the )?([\w' -]{1,40}?) (?:is|are|finished) "
    rf"({'|'.join(sorted(map(re.escape, RELATIONS), key=len, reverse=True))})(?: (?:the )?([\w' -]{{1,40}}))?\.?",
    re.I,
)
LISTED = re.compile(r":\s([^.:]{1,400})\.\s")
OPTION = re.compile(r"^\(([A-Z])\) (.{1,200})$", re.M)
OBJECT = re.compile(r"(?:, and |, | and )")
ARTICLE = re.compile(r"^(?:an?|the) ", re.I)


@lru_cache(maxsize=2_000)
def read_puzzle(question: str) -> Puzzle | None:
    """Return a question's puzzle; None where it is of another kind, or says what cannot be read."""
    body, _, listed = question[:MOST].partition("\nOptions:\n")
    found = LISTED.search(body)
    if not found:
        return None
    names = [ARTICLE.sub("", name.strip()) for name in OBJECT.split(found[1])]
    items, numbers = _named(names)
    if not 2 < len(items) <= MOST_OBJECTS or len(set(items)) < len(items):
        return None
    told = [(text, _statement(text, numbers)) for text in _sentences(body[found.end() :])]
    offered = [(letter, text, _statement(text.strip(), numbers)) for letter, text in OPTION.findall(listed)]
    clues = tuple((text, read[1]) for text, read in told if read)
    options = {letter: (text.strip(), read[1]) for letter, text, read in offered if read}
    axes = {read[0] for read in [*(read for _, read in told), *(read for _, _, read in offered)] if read}
    if (
        not 0 < len(clues) <= MOST_CLUES
        or len(axes) != 1
        or not options
        or len(clues) + len(options) < len(told) + len(offered)
    ):
        return None
    stated = {plain(clue): (clue, pattern) for clue, pattern in clues}
    return Puzzle(axes.pop(), items, numbers, {"?": ONE, "??": ANY, **numbers}, clues, stated, options)


def plain(text: str) -> str:
    """Return a statement without case, full stop and needless spaces."""
    return " ".join(text.strip(" .").casefold().split())


def _sentences(text: str) -> list[str]:
    sentences = (sentence.strip() for sentence in re.split(r"\.\s+|\.$|\n", text))
    return [sentence for sentence in sentences if sentence and not sentence.endswith("?")]


def _named(names: Sequence[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return a word for each name, a noun that all share left out, and the numbers of names and words."""
    split = [name.split() for name in names]
    shared = all(len(words) > 1 and words[-1] == split[0][-1] for words in split)
    items = tuple("-".join(words[: len(words) - shared]) for words in split)
    return items, {text.casefold(): number for texts in (names, items) for number, text in enumerate(texts)}


def statement(puzzle: Puzzle, text: str) -> Pattern | None:
    """Return what a sentence says of the objects of a puzzle; None where it cannot be read."""
    read = _statement(text, puzzle.numbers)
    return read[1] if read and read[0] == puzzle.axis else None


def _statement(text: str, numbers: Mapping[str, int]) -> tuple[Axis, Pattern] | None:
    found = STATEMENT.fullmatch(text)
    if not found:
        return None
    axis, place, turned = RELATIONS[found[2].lower()]
    one, other = numbers.get(found[1].casefold()), numbers.get((found[3] or "").casefold())
    if one is None or (place is None) != (other is not None):
        return None
    if place is None:
        return (axis, chain([other, one] if turned else [one, other])) if other is not None else None
    size = max(numbers.values()) + 1
    if place >= size:
        return None
    skipped, rest = (ONE,) * place, (ONE,) * (size - 1 - place)
    return axis, (*rest, one, *skipped) if turned else (*skipped, one, *rest)
