"""Sums: a number to which digits are added, or from which they are taken, one after the other.

`Work out: 12 + 7 - 3`. The slip is to go the wrong way: "- 8" is added, "+ 3" is taken off.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

MOST = 59
"""The largest number on the right way or on any way with slips; the smallest is 0."""
SPILL = 20
"""How far beyond these numbers a blunder, or a model, may lead and still be written."""
SLIPPERY = frozenset({("-", 6), ("-", 7), ("-", 8), ("-", 9), ("+", 3), ("+", 7)})
Item = tuple[str, int]
_QUESTION = re.compile(r"Work out: (\d{1,2})((?: [+-] \d)+)")
_STEP = re.compile(r"(-?\d{1,3}) ([+-]) (\d) = (-?\d{1,3})")


class Sums:
    """The chain: a state is a number, an item a sign and a digit."""

    name: str = "arithmetic"
    tiers: Mapping[str, bool] = {f"{n} steps": n <= 4 for n in range(2, 7)}
    phrases: Sequence[str] = ("Work out:", " is not equal to")
    words: Sequence[str] = (" +", " -", " =", *(f" {number}" for number in range(-SPILL, MOST + SPILL + 1)))

    def draw(self, rng: random.Random, tier: str) -> str:
        while True:
            items = [(rng.choice("+-"), rng.randint(1, 9)) for _ in range(int(tier.split()[0]))]
            start = rng.randint(0, MOST)
            lowest = highest = start
            for sign, digit in items:
                ways = {(sign, digit)} | (
                    {("-" if sign == "+" else "+", digit)} if (sign, digit) in SLIPPERY else set()
                )
                lowest, highest = (
                    end(self.step(state, way) for way in ways) for end, state in ((min, lowest), (max, highest))
                )
            if lowest >= 0 and highest <= MOST:
                return f"Work out: {start} " + " ".join(f"{sign} {digit}" for sign, digit in items)

    def parse(self, question: str) -> tuple[int, list[Item]]:
        found = _QUESTION.fullmatch(question)
        if not found:
            raise ValueError(f"no question of this world: {question!r:.80}")
        words: Sequence[str] = found[2].split()
        return int(found[1]), [(sign, int(digit)) for sign, digit in zip(words[::2], words[1::2], strict=True)]

    def step(self, state: int, item: Item) -> int:
        sign, digit = item
        return state + digit if sign == "+" else state - digit

    def slip(self, state: int, item: Item) -> int | None:
        sign, digit = item
        return (state - digit if sign == "+" else state + digit) if item in SLIPPERY else None

    def blunder(self, state: int, item: Item, rng: random.Random) -> int:
        return self.step(state, item) + rng.choice([by for by in range(-10, 11) if by])

    def write(self, state: int, item: Item, after: int) -> str:
        return f"{state} {item[0]} {item[1]} = {after}"

    def read(self, text: str, state: int, item: Item) -> int | None:
        found = _STEP.fullmatch(text)
        return int(found[4]) if found and text.startswith(f"{state} {item[0]} {item[1]} = ") else None

    def fault(self, state: int, item: Item, after: int) -> tuple[str, str]:
        done = f"{state} {item[0]} {item[1]}"
        return f"{done} = {after}", f"{done} is not equal to {after}"

    def check(self, state: int, item: Item, after: int) -> tuple[str, str]:
        return str(after), str(self.step(state, item))

    def due(self, state: int, item: Item) -> str:
        return f"{state} {item[0]} {item[1]}"

    def can_write(self, state: int) -> bool:
        return -SPILL <= state <= MOST + SPILL

    def show(self, state: int) -> str:
        return str(state)
