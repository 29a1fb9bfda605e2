"""Trains the concierge's model from scratch: a token a word, a small Llama, and the gates it must pass.

One small model plays questioner, responder, roleplayer and scorer. `build` is the whole of it; the shipped `model/` is
what `build` makes with its defaults.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

from tokenizers import decoders, pre_tokenizers

from sparring.types import Example
from sparring.worlds.concierge import prompt
from sparring.worlds.concierge.corpus import SKILLS_FIRST, Mix, document
from sparring.worlds.concierge.gates import LEAST, enforce, gates
from sparring.worlds.concierge.language import ANY, CHIT_CHAT, NAMES, QUESTIONS, SLOT_OF, SLOTS, TASKS, truthful_reply
from sparring.worlds.small_model import Lexicon, Schedule, Shape, build_model, tell

CONTEXT = 256
"""Positions of the model, in tokens."""
LONGEST = 48
"""Tokens of a reply."""
PIECES = r"\w+|[^\w\s]+"
"""What the Whitespace pre-tokenizer splits on."""


def lexicon() -> Lexicon:
    """Return the world's words. They are joined by spaces, with none before punctuation."""
    values = {slot: options[0] for slot, options in SLOTS.items()}
    texts = [*NAMES, *SLOTS, *SLOT_OF, ANY, *CHIT_CHAT.values(), "My name is. I am. I like and,"]
    texts += [text for task in TASKS.values() for text in (task.text, task.proposal)]
    texts += [text for question in QUESTIONS for text in (question, truthful_reply(question, values))]
    for name in ("ask", "personalise", "neutral", "play"):
        texts.append(prompt(name).replace("{persona}", "").replace("{task}", ""))
    words = [word for text in texts for word in re.findall(PIECES, text)]
    joined = decoders.WordPiece(prefix="##", cleanup=True)
    return Lexicon(words, PIECES, CONTEXT, pre_tokenizers.Whitespace(), joined)


def build(
    out: str | Path,
    seed: int = 0,
    *,
    steps: int = 4000,
    skills: int = 1000,
    batch: int = 32,
    lr: float = 3e-3,
    layers: int = 3,
    width: int = 96,
    heads: int = 4,
    mix: Mix | None = None,
    bf16: bool = False,
    gated: bool = True,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, float]:
    """Train the world's model from scratch into the folder `out` and return its gates.

    The first `skills` steps, rounded up to whole pools of batches, are of `SKILLS_FIRST` in place of `mix`. Raises
    `GateError` where a gate of `gates.LEAST` is missed, with the checkpoint left in place; with `gated=False` the gates
    are measured and not enforced.
    """
    out, mixed = Path(out), mix or Mix()

    def draw(rng: random.Random, number: int) -> Example:
        return document(rng, SKILLS_FIRST if number < skills else mixed)

    schedule = Schedule(steps, batch, lr, bf16)
    shape = Shape(layers, width, heads)
    build_model(
        out,
        lexicon(),
        draw,
        name="concierge",
        seed=seed,
        shape=shape,
        schedule=schedule,
        max_new_tokens=LONGEST,
        log=log,
    )
    measured = gates(out)
    tell(measured, LEAST, log)
    if gated:
        enforce(measured, str(out))
    return measured
