"""Sets of orders of up to seven objects, each set one integer: bit i stands for the i-th permutation.

A pattern tells of an order from its first place to its last: an object is itself, `?` is one object, whichever, and
`??` is any number of them, none included.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import permutations

ONE, ANY = -1, -2
"""`?` and `??` in a pattern; an object is its number, from 0."""
MOST_OBJECTS = 7

Pattern = tuple[int, ...]


def every(size: int) -> int:
    """Return the set of all orders of `size` objects."""
    return _placed(size)[1]


def at(size: int, item: int, place: int) -> int:
    """Return the orders in which an object stands at a place, both from 0."""
    return _placed(size)[0][item][place]


@cache
def _placed(size: int) -> tuple[list[list[int]], int]:
    places = [[0] * size for _ in range(size)]
    for bit, order in enumerate(_orders(size)):
        for place, item in enumerate(order):
            places[item][place] |= 1 << bit
    return places, (1 << len(_orders(size))) - 1


@lru_cache(maxsize=20_000)
def allowed(size: int, pattern: Pattern) -> int:
    """Return the orders that fit a pattern; 0 where none does. Time is at most tokens times places."""
    # rest[p]: the orders whose places from p on fit the tokens that were read, from the last one backwards.
    rest = [0] * size + [every(size)]
    for token in reversed(pattern):
        if token == ANY:
            for place in reversed(range(size)):
                rest[place] |= rest[place + 1]
        else:
            rest = [rest[p + 1] if token == ONE else at(size, token, p) & rest[p + 1] for p in range(size)] + [0]
    return rest[0]


def chain(items: Sequence[int]) -> Pattern:
    """Return the pattern of objects that follow each other, with any number between: `?? a ?? b ??`."""
    return (ANY, *(token for item in items for token in (item, ANY)))


def slots(size: int, orders: int) -> Pattern:
    """Return the pattern of every object whose place is the same in all of `orders`, of which there is one at least."""
    one, places = _orders(size)[(orders & -orders).bit_length() - 1], _placed(size)[0]
    return tuple([ONE if orders & ~places[item][place] else item for place, item in enumerate(one)])


@cache
def _orders(size: int) -> list[Pattern]:
    return list(permutations(range(size)))
