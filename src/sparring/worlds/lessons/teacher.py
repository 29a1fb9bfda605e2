"""The teacher of these worlds, by rule: it reads the prompts of the recipe as a large model would, and errs at times.

The verifier of a chain never errs; this one stands where the paper asks a model for feedback.
"""

from __future__ import annotations

import random
import re

from sparring.engines.base import Request
from sparring.errors import RolloutError
from sparring.tasks.exercise import Feedback, read_steps
from sparring.worlds.lessons.chain import Chain, attempt, corrupt, onward, repair, verify

ERRS = 0.15
"""Share of criticisms that name a step by chance."""
SPOILED = 0.5
"""Share of its own attempts with a mistake in them."""


def teacher(chain: Chain, request: Request) -> str:
    """Reply to a prompt that asks for criticism, for the rest of an attempt, or for an attempt."""
    text = request.chat[-1]["content"]
    rng = random.Random(f"{text}/{request.sample_index}")
    question, said = _question(chain, text), "\n".join(re.findall(r"^> (.*)$", text, re.M))
    if found := re.search(r"^Go on from step \((.+)\)\.$", text, re.M):
        return repair(chain, question, said, Feedback(found[1])) or ""
    return _criticise(chain, question, said, rng) if said else _attempt(chain, question, rng)


def _criticise(chain: Chain, question: str, said: str, rng: random.Random) -> str:
    found, steps = verify(chain, question, said), read_steps(said)
    if found is None or not steps:
        raise RolloutError("teacher cannot read the attempt", said)
    if rng.random() < ERRS:
        step = rng.choice(steps)
        found = Feedback(step.label, step.text, found.reason)
    return f'Step: {found.step}\nPart: "{found.span}"\nReason: {found.reason}'


def _attempt(chain: Chain, question: str, rng: random.Random) -> str:
    if rng.random() < SPOILED:
        return corrupt(chain, question, rng).attempt
    first, items = chain.parse(question)
    return attempt(chain, onward(chain, [first], items), items)


def _question(chain: Chain, text: str) -> str:
    found = re.search(r"^Question: (.+)$", text, re.M)
    try:
        chain.parse(found[1] if found else "")
    except ValueError as error:
        raise RolloutError("teacher was not asked as in this world", text) from error
    return found[1] if found else ""
