"""Prompts of this world with their checks, nested levels, and labelled verses."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from itertools import combinations

from sparring.tasks.instructions import Checker, Instructed, Instruction, Judged, Part, Suite
from sparring.worlds.instructions.constraints import (
    KINDS,
    Asked,
    Constraint,
    draw,
    is_held_out,
    look,
    missed,
)
from sparring.worlds.instructions.corpus import COUNTS, Mix, answer
from sparring.worlds.instructions.language import take_apart, write
from sparring.worlds.instructions.writing import careless, compose

TESTED = (3, 4, 5)
"""Constraints of a test prompt, one as likely as another."""
LEVELS = 5


def id_of(kind: str) -> str:
    """Return the name of a kind's checker: its category and itself."""
    return f"{KINDS[kind].category}:{kind}"


def check(kind: str, text: str, argument: str = "") -> bool:
    """Tell whether a text meets a constraint."""
    return look(take_apart(text), Constraint(kind, argument))[1]


CHECKERS: Mapping[str, Checker] = {id_of(kind): partial(check, kind) for kind in KINDS}


def instructed(id: str, asked: Asked, group: str | None = None) -> Instructed:
    """Return a prompt with its checks; of a `group`, its level is the number of its constraints."""
    checks = tuple(
        Instruction(id_of(one.kind), {"argument": one.argument} if one.argument else {}) for one in asked.constraints
    )
    return Instructed(id, asked.text, checks, group, len(checks) if group else None)


def prompts(part: Part, n: int, seed: int) -> list[Instructed]:
    """Draw `n` unlike prompts: for training of one to five constraints, for test of three to five and held out."""
    rng, is_test, found = random.Random(f"{part} {seed}"), part == "test", dict[str, Asked]()
    while len(found) < n:
        asked = draw(rng, rng.choice(TESTED if is_test else COUNTS), held_out=is_test)
        found.setdefault(asked.text, asked)
    return [instructed(f"{part}-{at}", asked) for at, asked in enumerate(found.values(), 1)]


def levels(groups: int, seed: int) -> list[Instructed]:
    """Draw groups of five prompts, each with one constraint more than the one before it.

    From three constraints on they are of held-out combinations; of one and two there is none that training never meets.
    """
    rng = random.Random(f"levels {seed}")
    found: list[Instructed] = []
    for group in range(1, groups + 1):
        whole = _held_out_first(draw(rng, LEVELS, held_out=True))
        found += [
            instructed(f"group-{group} level-{n}", Asked(whole.topic, whole.constraints[:n]), f"group-{group}")
            for n in range(1, LEVELS + 1)
        ]
    return found


def _held_out_first(asked: Asked) -> Asked:
    """Put three constraints in front whose combination is held out."""
    threes = combinations(asked.constraints, 3)
    first = next(three for three in threes if is_held_out([one.kind for one in three]))
    return Asked(asked.topic, (*first, *(one for one in asked.constraints if one not in first)))


def judged(n: int, seed: int) -> list[Judged]:
    """Draw `n` labelled verses on test prompts, half of them good.

    Every other pair is natural: two verses, of which one misses what careless answers miss. The others are adversarial,
    by the name of the one fault in which the two verses differ in kind.
    """
    rng = random.Random(f"judged {seed}")
    found: list[Judged] = []
    while len(found) < n:
        asked = draw(rng, rng.choice(TESTED), held_out=True)
        kind = "natural" if len(found) % 4 < 2 else rng.choice(asked.kinds)
        good = compose(rng, asked)
        bad = answer(rng, asked, False, Mix()) if kind == "natural" else careless(rng, asked, [kind])
        if bad is None or not missed(write(bad), asked):
            continue
        for verse, label in ((good, True), (bad, False)):
            found.append(Judged(f"judged-{len(found) + 1}", asked.text, write(verse), label, kind))
    return found[:n]


def suite() -> Suite:
    """Return what this world asks for and how it is checked."""
    return Suite("instructions", CHECKERS, prompts, judged, levels)
