"""What the models of these worlds are pretrained on: attempts, careful or careless, and half of them criticised.

A careless attempt slips wherever the chain invites it, so the greedy model slips as well, and on harder questions more
surely. Criticism works every step out anew, rightly, but its flags are often wrong, and so are its updates: the model
can check, as a language model that has read corrections can, and does it badly. A loop has to teach it when to trust
what it worked out. Every length stands in the corpus; questions of the test part never do.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparring.tasks.exercise import Feedback, part_of, read_steps, render_feedback
from sparring.types import Example, assistant, user
from sparring.worlds.lessons.chain import Chain, Taken, attempt, checked, is_right, leads_on, taken


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares in [0, 1] that decide what the base model is like."""

    careful: float = 0.12
    """Attempts without a slip."""
    slip: float = 0.85
    """Steps of a careless attempt that slip, of those that invite it."""
    blunder: float = 0.05
    """Steps of a careless attempt that go wrong in another way."""
    mistakes_learned: bool = True
    """Whether careless attempts are learned, or only what is said about them."""
    criticised: float = 0.5
    """Attempts with feedback and, where it finds fault, an update."""
    flipped: float = 0.2
    """Flags of the evidence that say the opposite."""
    mended: float = 0.5
    """Updates that do the criticised step and all after it right; the others are careless from there on."""


SKILLS_FIRST = Mix(careful=0.1, slip=0.2, blunder=0.6, mistakes_learned=False, criticised=1.0, flipped=0.0, mended=1.0)
"""For the first steps: mistakes of every sort, in no pattern, all of them found and mended. A skill is learned where it
is frequent and never contradicted, and kept where it is neither. With slips alone a model never compares what is
written with what should be, but flags the steps that invite a slip; with few mistakes it never works out what should
be, but copies what is written."""


def question(rng: random.Random, chain: Chain) -> str:
    """Draw a question of any tier that is not of the test part."""
    while True:
        drawn = chain.draw(rng, rng.choice(list(chain.tiers)))
        if part_of(drawn) != "test":
            return drawn


def document(rng: random.Random, chain: Chain, mix: Mix, cues: Sequence[str]) -> Example:
    """Draw one chat; `cues` ask for feedback and for an update."""
    asked = question(rng, chain)
    first, items = chain.parse(asked)
    careful = rng.random() < mix.careful
    text = attempt(chain, _walk(rng, chain, [first], items, mix, careful), items)
    chat = [user(asked), assistant(text)]
    weights = [0.0, float(careful or mix.mistakes_learned)]
    if rng.random() < mix.criticised:
        steps = list(taken(chain, asked, read_steps(text)))
        flags = [is_right(chain, each) != (rng.random() < mix.flipped) for each in steps]
        feedback = _first_fault(chain, steps, flags)
        chat += [user(cues[0]), assistant(f"{_evidence(chain, steps, flags)}\n{render_feedback(feedback, text)}")]
        weights += [0.0, 1.0]
        if feedback.step:
            good = [each.before for each in steps[: int(feedback.step)]]
            states = _walk(rng, chain, good, items, mix, rng.random() < mix.mended)
            chat += [user(cues[1]), assistant(attempt(chain, states, items))]
            weights += [0.0, 1.0]
    return Example(chat, weights)


def _walk(
    rng: random.Random, chain: Chain, states: Sequence[Any], items: Sequence[Any], mix: Mix, careful: bool
) -> list[Any]:
    """Return the states of an attempt, carried on from the last one given."""
    found = list(states)
    for at in range(len(found) - 1, len(items)):
        wrong = None if careful else _mistake(rng, chain, found[-1], items[at], mix)
        if wrong is not None and leads_on(chain, wrong, items[at + 1 :]):
            found.append(wrong)
        else:
            found.append(chain.step(found[-1], items[at]))
    return found


def _mistake(rng: random.Random, chain: Chain, state: Any, item: Any, mix: Mix) -> Any | None:
    """Return where a careless step goes wrong; None where it does not."""
    slip = chain.slip(state, item)
    if slip is not None and rng.random() < mix.slip:
        return slip
    return chain.blunder(state, item, rng) if rng.random() < mix.blunder else None


def _evidence(chain: Chain, steps: Sequence[Taken], flags: Sequence[bool]) -> str:
    return "\n".join(checked(chain, each, good) for each, good in zip(steps, flags, strict=True))


def _first_fault(chain: Chain, steps: Sequence[Taken], flags: Sequence[bool]) -> Feedback:
    for each, good in zip(steps, flags, strict=True):
        if not good:
            return Feedback(each.step.label, *chain.fault(each.before, each.item, each.after))
    return Feedback()
