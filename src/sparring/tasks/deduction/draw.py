"""Drawing puzzles: a hidden order, and just enough statements to pin it down."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from operator import and_

from sparring.tasks.deduction.orders import ANY, ONE, Pattern, allowed, chain, every
from sparring.tasks.deduction.puzzle import HEIGHT, HOUR, LETTERS, QUEUE, ROW, WEIGHT, Axis
from sparring.tasks.deduction.rationale import rationale_of

SIZES = {"3 objects": 3, "5 objects": 5, "7 objects": 7}
TIERS = {"3 objects": True, "5 objects": True, "7 objects": False}
NUMBERS = {3: "three", 5: "five", 7: "seven"}


@dataclass(frozen=True, slots=True)
class Theme:
    """What is ordered, and where."""

    scene: str
    """A sentence, with `{}` for how many."""
    axis: Axis
    listed: str
    """An object in the list, with `{}` for its name."""
    named: str
    """An object in a statement."""
    names: tuple[str, ...]


COLOURS = tuple("red amber violet teal ivory silver crimson olive navy coral".split())
PEOPLE = tuple("Ines Tomas Lena Oskar Mira Jonas Freya Pavel Nadia Hugo".split())
BOATS = tuple("Heron Otter Petrel Marlin Walrus Puffin Curlew Salmon Plover Beaver".split())
TREES = tuple("birch cedar maple linden alder poplar rowan spruce walnut willow".split())
TRADES = tuple("baker potter weaver tailor cooper printer glazier saddler brewer miller".split())
THEMES = (
    Theme("{} lanterns hang along a fence", ROW, "{} lantern", "the {} lantern", COLOURS),
    Theme("{} boats lie along a quay", ROW, "the {}", "the {}", BOATS),
    Theme("{} people wait in line for soup", QUEUE, "{}", "{}", PEOPLE),
    Theme("{} trees of different height grow in a yard", HEIGHT, "{}", "the {}", TREES),
    Theme("{} parcels of different weight lie on a cart", WEIGHT, "{} parcel", "the {} parcel", COLOURS),
    Theme("{} talks are given one after the other on a market day", HOUR, "{}'s talk", "the {}'s talk", TRADES),
)


def draw(rng: random.Random, tier: str) -> tuple[str, str, str | None]:
    """Return a question, its answer and its gold rationale."""
    size, theme = SIZES[tier], rng.choice(THEMES)
    names = rng.sample(theme.names, size)
    order = rng.sample(range(size), size)
    clues = _clues(rng, order)
    told = {_told(clue) for clue in clues}
    place = rng.choice([place for place in range(size) if place not in told] or range(size))
    said, turned = [_said(theme, names, clue, rng) for clue in clues], rng.random() < 0.5
    options = [f"({LETTERS[n]}) {_place(theme, names, n, place, turned)}" for n in range(size)]
    question = f"{_scene(theme, names)} {' '.join(said)}\nOptions:\n" + "\n".join(options)
    return question, f"({LETTERS[order[place]]})", rationale_of(question)


def _clues(rng: random.Random, order: Sequence[int]) -> list[Pattern]:
    """Return true statements that together allow this order and no other, none of which can be left out."""
    size = len(order)
    orders = [chain(pair) for pair in combinations(order, 2)]
    places = [(*(ONE,) * place, item, *(ONE,) * (size - 1 - place)) for place, item in enumerate(order)]
    pool = rng.sample(orders, len(orders)) + rng.sample(places, rng.randint(1, size - 1))
    rng.shuffle(pool)
    pool += orders
    kept, left = list[Pattern](), every(size)
    for clue in pool:
        if left & ~allowed(size, clue):
            kept.append(clue)
            left &= allowed(size, clue)
    for clue in rng.sample(kept, len(kept)):
        others = [other for other in kept if other != clue]
        if reduce(and_, (allowed(size, other) for other in others), every(size)) == left:
            kept = others
    return kept


def _told(clue: Pattern) -> int | None:
    """Return the place that a statement fills, from 0; None for a comparison."""
    return None if ANY in clue else next(place for place, token in enumerate(clue) if token != ONE)


def _said(theme: Theme, names: Sequence[str], clue: Pattern, rng: random.Random) -> str:
    turned = rng.random() < 0.5
    (item, *others) = [token for token in clue if token >= 0]
    if not others:
        return _place(theme, names, item, clue.index(item), turned) + "."
    one, relation, other = (others[0], theme.axis.after, item) if turned else (item, theme.axis.before, others[0])
    return _capital(f"{theme.named.format(names[one])} is {relation} {theme.named.format(names[other])}.")


def _place(theme: Theme, names: Sequence[str], item: int, place: int, turned: bool) -> str:
    return _capital(f"{theme.named.format(names[item])} is {theme.axis.place(len(names), place, turned)}")


def _scene(theme: Theme, names: Sequence[str]) -> str:
    listed = [_with_article(theme.listed.format(name)) for name in names]
    scene = theme.scene.format(NUMBERS[len(names)].capitalize())
    return f"{scene}: {', '.join(listed[:-1])}, and {listed[-1]}."


def _with_article(name: str) -> str:
    if name.startswith("the ") or name[0].isupper():
        return name
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
