"""The teacher of this world, by rule: it answers, judges and refines as a large model would, and errs at times.

It stands where the paper has GPT-4o-mini, in bootstrapping alone; it sees the very prompts that the model sees.
"""

from __future__ import annotations

import random

from sparring.engines.base import Request
from sparring.errors import RolloutError
from sparring.rollouts.tree import BEGIN, END
from sparring.worlds.instructions import prompt
from sparring.worlds.instructions.constraints import Asked, read_asked
from sparring.worlds.instructions.corpus import BROKEN, REFINE, Mix, answer, judgement, refinement
from sparring.worlds.instructions.language import read, write

CAREFUL = 0.7
"""Share of its own answers that meet everything."""
FLIPPED, BOTCHED = 0.05, 0.3
"""Constraints it misjudges; refinements it spoils."""


def teacher(request: Request) -> str:
    """Reply to a prompt of this world, to one that asks for a judgement, or for a refinement after it."""
    chat = [said["content"] for said in request.chat if said["role"] != "system"]  # it needs no telling how
    first, last = chat[0], chat[-1]
    rng = random.Random(f"{request.chat}/{request.sample_index}")
    if not first.startswith(prompt("judge").splitlines()[0]):
        asked = _asked(first)
        return write(answer(rng, asked, rng.random() < CAREFUL, Mix()))
    asked, text = _judged(first)
    if last != REFINE:
        return judgement(rng, asked, text, FLIPPED)[0]
    verse = read(text)
    if verse is None:
        raise RolloutError("teacher cannot read the verse", text)
    said = request.chat[-2]["content"]
    broken = [one.kind for one in asked.constraints if any(_is_broken(row, one.text) for row in said.splitlines())]
    if not broken:
        return f"{BEGIN}\n{text}\n{END}"
    return refinement(rng, asked, verse, broken, BOTCHED)


def _is_broken(row: str, constraint: str) -> bool:
    return row.startswith(f"{constraint}: ") and row.endswith(BROKEN)


def _judged(cue: str) -> tuple[Asked, str]:
    """Return the prompt and the reply that are quoted in a cue to judge."""
    before, _, after = cue.partition(prompt("judge").splitlines()[2])
    return _asked(_unquoted(before)), _unquoted(after)


def _unquoted(text: str) -> str:
    return "\n".join(row.removeprefix("> ") for row in text.splitlines() if row.startswith("> "))


def _asked(text: str) -> Asked:
    try:
        return read_asked(text)
    except ValueError as error:
        raise RolloutError("teacher was not asked as in this world", text) from error
