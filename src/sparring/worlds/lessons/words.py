"""Word order: words that are put, one after the other, where they belong in the alphabet.

`Sort: fig coat lamp`. The slip is to look at first letters only: a word goes behind all that share its own, or before
them where it does belong behind.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

WORDS = tuple(
    """acorn amber apple arrow autumn
    basket beacon blanket bottle button
    cabin candle cherry cloud copper
    daisy desk dinner donkey dragon
    eagle echo elbow engine evening
    falcon feather flute forest funnel
    garden ginger glove grape guitar
    hammer harbor helmet honey hunter
    ladder lemon lilac lobster lumber""".split()
)
State = tuple[str, ...]
_QUESTION = re.compile(r"Sort:((?: [a-z]+)+)")


class Words:
    """The chain: a state is the words so far, in order; an item is the next word."""

    name: str = "word-sorting"
    tiers: Mapping[str, bool] = {f"{n} words": n <= 4 for n in range(3, 7)}
    phrases: Sequence[str] = ("Sort:", " comes before", " the order is another")
    words: Sequence[str] = (" :", *(f" {word}" for word in WORDS))

    def draw(self, rng: random.Random, tier: str) -> str:
        # Few first letters, so that most words meet one of their own.
        letters = rng.sample(sorted({word[0] for word in WORDS}), 3)
        known = [word for word in WORDS if word[0] in letters]
        return "Sort: " + " ".join(rng.sample(known, int(tier.split()[0])))

    def parse(self, question: str) -> tuple[State, list[str]]:
        found = _QUESTION.fullmatch(question)
        if not found:
            raise ValueError(f"no question of this world: {question!r:.80}")
        first, *rest = found[1].split()
        return (first,), rest

    def step(self, state: State, item: str) -> State:
        at = sum(word < item for word in state)
        return (*state[:at], item, *state[at:])

    def slip(self, state: State, item: str) -> State | None:
        alike = [at for at, word in enumerate(state) if word[0] == item[0]]
        if not alike:
            return None
        first, behind = alike[0], alike[-1] + 1
        right = self.step(state, item).index(item)
        at = first if right == behind else behind
        return (*state[:at], item, *state[at:])

    def blunder(self, state: State, item: str, rng: random.Random) -> State:
        right = self.step(state, item)
        at = rng.choice([at for at in range(len(right)) if at != right.index(item)])
        rest = [word for word in right if word != item]
        return (*rest[:at], item, *rest[at:])

    def write(self, state: State, item: str, after: State) -> str:
        return f"{item} : {' '.join(after)}"

    def read(self, text: str, state: State, item: str) -> State | None:
        named, colon, after = text.partition(" : ")
        found = tuple(after.split(" "))
        return found if colon and named == item and sorted(found) == sorted((*state, item)) else None

    def fault(self, state: State, item: str, after: State) -> tuple[str, str]:
        for one, other in pairwise(after):
            if item in (one, other) and one > other:
                return f"{one} {other}", f"{other} comes before {one}"
        return self.write(state, item, after), "the order is another"

    def check(self, state: State, item: str, after: State) -> tuple[str, str]:
        at = after.index(item)
        around = after[max(0, at - 1) : at + 2]
        return " ".join(around), " ".join(sorted(around))

    def due(self, state: State, item: str) -> str:
        return item

    def can_write(self, state: State) -> bool:
        return True

    def show(self, state: State) -> str:
        return " ".join(state)
