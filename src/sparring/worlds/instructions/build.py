"""Trains the model of this world from scratch: a lossless tokenizer, a small Llama, and gates."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

from sparring.types import Example
from sparring.worlds.instructions import prompt
from sparring.worlds.instructions.constraints import KINDS, MOODS, NONE, STYLES
from sparring.worlds.instructions.corpus import BROKEN, MET, REFINE, SKILLS_FIRST, Mix, document
from sparring.worlds.instructions.gates import enforce, gates
from sparring.worlds.instructions.language import ADJECTIVES, ADVERBS, GREETING, NUMBERS, POSTSCRIPT, TOPICS
from sparring.worlds.small_model import Lexicon, Schedule, Shape, build_model, tell

CONTEXT = 256
"""Positions of the model, in tokens."""
REPLY = 64
"""Tokens of a reply."""
PIECES = r"> |- |\n|,|:| ?!| ?[^ \n:,!]+"


def lexicon() -> Lexicon:
    """Return the tokens: whole phrases, then words with the space before them, in small letters and in capitals."""
    cues = [*prompt("judge").splitlines(), *REFINE.splitlines()]
    phrases = [cue for cue in cues if not cue.startswith("{")]
    phrases += [words for kind in KINDS.values() for words in kind.wordings]
    phrases += [f"Write about the {topic}" for topic in TOPICS]
    phrases += [f"{case}" for text in (GREETING, POSTSCRIPT) for case in (text, text.upper())]
    phrases += [MET, BROKEN, "Verdict:"]
    words = [word for topic in TOPICS.values() for word in (*topic.nouns, *topic.verbs)] + [*ADVERBS, *ADJECTIVES]
    tokens = [f" {case}" for word in words for case in (word, word.upper())]
    tokens += [case for word in ADJECTIVES for case in (word, word.upper())]
    tokens += [*NUMBERS, *(f" {n}" for n in range(10)), " <<", "<<", " >>", " !", "!", " dash", " dear", " p.s."]
    tokens += [f" {word}" for word in (*MOODS, *STYLES, NONE, "Yes", "No")]
    longest_first = sorted(phrases, key=lambda phrase: (-len(phrase), phrase))
    pieces = "|".join([*map(re.escape, longest_first), PIECES])
    return Lexicon([*phrases, "> ", "- ", "\n", ",", ":", *tokens], pieces, CONTEXT)


def build(
    out: str | Path,
    seed: int = 0,
    *,
    steps: int = 5500,
    skills: int = 4000,
    batch: int = 64,
    lr: float = 3e-3,
    shape: Shape | None = None,
    mix: Mix | None = None,
    gated: bool = True,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, float]:
    """Train the world's model into the folder `out` and return its gates.

    The first `skills` steps, rounded up to whole pools of batches, are of `SKILLS_FIRST` in place of `mix`.
    Raises `GateError` where a gate is missed, with the checkpoint left in place; with `gated=False` the gates are
    measured and not enforced.
    """
    out, mixed = Path(out), mix or Mix()

    def draw(rng: random.Random, number: int) -> Example:
        return document(rng, SKILLS_FIRST if number < skills else mixed)

    build_model(
        out,
        lexicon(),
        draw,
        name="instructions",
        seed=seed,
        shape=shape or Shape(heads=3),  # of 32 dimensions each, which vLLM's CPU kernels take
        schedule=Schedule(steps, batch, lr),
        max_new_tokens=REPLY,
        log=log,
    )
    measured = gates(out)
    tell(measured, {}, log)
    if gated:
        enforce(measured, str(out))
    return measured
