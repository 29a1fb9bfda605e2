"""Trains the models of these worlds from scratch: a lossless tokenizer, a small Llama each, and gates."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

from sparring.types import Example
from sparring.worlds.lessons import prompt
from sparring.worlds.lessons.chain import PHRASES, RIGHT, WRONG, Chain
from sparring.worlds.lessons.corpus import SKILLS_FIRST, Mix, document
from sparring.worlds.lessons.gates import enforce, gates
from sparring.worlds.small_model import Lexicon, Schedule, Shape, build_model, tell

CONTEXT = 256
"""Positions of the model, in tokens."""
LONGEST = 100
"""Tokens of a reply."""


def lexicon(chain: Chain) -> Lexicon:
    """Return a world's tokens: whole phrases, then words with the space before them, line breaks and full stops."""
    phrases = {*PHRASES, *chain.phrases, prompt("feedback"), prompt("update")}
    longest_first = sorted(phrases, key=lambda phrase: (-len(phrase), phrase))
    pieces = "|".join([*map(re.escape, longest_first), r"\n", r"\.", r" ?[^ \n.]+"])
    most = max(int(tier.split()[0]) for tier in chain.tiers)
    labels = [f"{space}({number})" for number in range(1, most + 1) for space in ("", " ")]
    return Lexicon([*phrases, "\n", ".", *labels, f" {RIGHT}", f" {WRONG}", *chain.words], pieces, CONTEXT)


def build(
    chain: Chain,
    out: str | Path,
    seed: int = 0,
    *,
    steps: int = 3000,
    skills: int = 1500,
    batch: int = 64,
    lr: float = 3e-3,
    mix: Mix | None = None,
    gated: bool = True,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, float]:
    """Train a world's model into the folder `out` and return its gates.

    The first `skills` steps, rounded up to whole pools of batches, are of `SKILLS_FIRST` in place of `mix`.
    Raises `GateError` where a gate is missed, with the checkpoint left in place; with `gated=False` the gates are
    measured and not enforced.
    """
    out, mixed = Path(out), mix or Mix()
    cues = (prompt("feedback"), prompt("update"))

    def draw(rng: random.Random, number: int) -> Example:
        return document(rng, chain, SKILLS_FIRST if number < skills else mixed, cues)

    schedule = Schedule(steps, batch, lr)
    build_model(
        out,
        lexicon(chain),
        draw,
        name=chain.name,
        seed=seed,
        shape=Shape(heads=3),  # of 32 dimensions each, which vLLM's CPU kernels take
        schedule=schedule,
        max_new_tokens=LONGEST,
        log=log,
    )
    measured = gates(chain, out)
    tell(measured, {}, log)
    if gated:
        enforce(measured, str(out))
    return measured
