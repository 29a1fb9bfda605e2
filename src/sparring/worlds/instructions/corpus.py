"""What the model of this world is pretrained on: answers, careful or careless, judgements of such, and refinements.

A judgement looks at every constraint in turn and writes down what it finds, rightly, but what it makes of that is often
wrong; a refinement mends what was called broken, and often leaves some of it or breaks something else. So the model can
answer, judge and refine, and does each badly: the loop has to teach it when. Held-out combinations are never here.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from difflib import SequenceMatcher

from sparring.flow import quoted, render
from sparring.rollouts.tree import BEGIN, END
from sparring.types import Example, Weight, assistant, user
from sparring.worlds.instructions import prompt
from sparring.worlds.instructions.constraints import KINDS, Asked, draw, look
from sparring.worlds.instructions.language import Verse, take_apart, write
from sparring.worlds.instructions.writing import careless, compose, meet, miss

REFINE = render(prompt("refine"), begin=BEGIN, end=END)
"""The cue to refine."""
MET, BROKEN = ", met", ", broken"
COUNTS = (1, 2, 3, 3, 4, 4, 5, 5)
"""Constraints of a prompt, one drawn as likely as another."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares in [0, 1] that decide what the base model is like."""

    answers: float = 0.4
    """Chats that are an answer alone; the others judge one."""
    careful: float = 0.25
    """Answers that meet everything."""
    misses: float | None = None
    """Of the constraints of a careless answer; None: each kind's own."""
    flipped: float = 0.18
    """Constraints that a judgement calls the opposite of what they are."""
    botched: float = 0.45
    """Refinements that leave something, or break something."""
    edits_weigh: float = 1.0
    """How much the words count that a refinement changes; what it copies counts 1."""


SKILLS_FIRST = Mix(answers=0.2, careful=0.3, misses=0.5, flipped=0.0, botched=0.0, edits_weigh=5.0)
"""For the first steps: a skill is learned where it is never contradicted, and kept when later it is. A refinement is
nearly all copied, so that without a weight its few changes would be learned last."""


def document(rng: random.Random, mix: Mix) -> Example:
    """Draw one chat."""
    asked = draw(rng, rng.choice(COUNTS), held_out=False)
    verse = answer(rng, asked, rng.random() < mix.careful, mix)
    if rng.random() < mix.answers:
        return Example([user(asked.text), assistant(write(verse))], [0.0, 1.0])
    text = write(verse)
    said, broken = judgement(rng, asked, text, mix.flipped)
    chat = [user(judged(asked.text, text)), assistant(said)]
    if not broken:
        return Example(chat, [0.0, 1.0])
    refined = refinement(rng, asked, verse, broken, mix.botched)
    weights = [0.0, 1.0, 0.0, changes(text, refined, mix.edits_weigh)]
    return Example([*chat, user(REFINE), assistant(refined)], weights)


def answer(rng: random.Random, asked: Asked, is_careful: bool, mix: Mix) -> Verse:
    """Draw a verse, which misses something where it is not careful."""
    if is_careful:
        return compose(rng, asked)
    while True:
        misses = [k for k in asked.kinds if rng.random() < (KINDS[k].misses if mix.misses is None else mix.misses)]
        found = careless(rng, asked, misses)
        if found is not None:
            return found


def judged(asked: str, text: str) -> str:
    """Return the cue to judge an answer."""
    return render(prompt("judge"), prompt=quoted(asked), response=quoted(text))


def judgement(rng: random.Random, asked: Asked, text: str, flipped: float) -> tuple[str, list[str]]:
    """Return what a judge says of an answer, and the kinds that it calls broken."""
    parts = take_apart(text)
    rows: list[str] = []
    broken: list[str] = []
    for one in asked.constraints:
        found, met = look(parts, one)
        called_met = met != (rng.random() < flipped)
        rows.append(f"{one.text}: {found}{MET if called_met else BROKEN}")
        broken += [] if called_met else [one.kind]
    return "\n".join([*rows, f"Verdict: {'No' if broken else 'Yes'}"]), broken


def refinement(rng: random.Random, asked: Asked, verse: Verse, broken: list[str], botched: float) -> str:
    """Return what a refiner says: the verse mended where it was called broken, or what it makes of that."""
    mended, refined = list(broken), verse
    fault = rng.choice(("nothing", "one left", "one broken")) if rng.random() < botched else ""
    if fault == "one left":
        mended.remove(rng.choice(mended))
    if fault != "nothing":
        refined = meet(rng, verse, asked, mended)
    if fault == "one broken":
        refined = miss(rng, refined, rng.choice(asked.constraints), asked)
    return f"{BEGIN}\n{write(refined)}\n{END}"


def changes(text: str, refined: str, weight: float) -> Weight:
    """Return the weights of a refinement's words: `weight` of those that are not in the text at that place, else 1."""
    if weight == 1:
        return 1.0
    before, after = re.findall(r"\S+\s*", text), re.findall(r"\S+\s*", refined)
    pieces: list[list[float]] = []
    for kind, _, _, start, end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        pieces += [[len(word), 1.0 if kind == "equal" else weight] for word in after[start:end]]
    return pieces
