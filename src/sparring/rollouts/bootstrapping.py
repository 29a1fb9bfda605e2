"""Bootstrapping: a teacher shows what the actor and the refiner are to learn before the first round.

SPaR (https://arxiv.org/abs/2412.11605) begins with about 8,000 answers, 9,000 judgements and 3,000 refinements of
gpt-4o-mini (its code for this is not public, and only the first figure is sure). The teacher answers; what a first
actor answers it judges, and what it judges wrong it refines. It does so as the refiner later will: the chats are those
of `Judge` and `Refiner`, and a refinement is a search that ends with its first try. It is learned if the teacher then
says Yes, which the published system may not have asked.

    answers      demonstrate(...) of each prompt -> answers
    judgements   attempt(...) of each prompt, judged(..., teacher's panel) of each attempt -> judgements
    refinements  search(..., ONCE) from each attempt of failed(...) -> hold_out, refinements
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from sparring.errors import SettingsError
from sparring.flow import Flow, Role
from sparring.rollouts.pairs import Attempt, agreeing, attempt
from sparring.rollouts.rejection import Lesson, judgement, refinement
from sparring.rollouts.tree import Refiner, Search, Tree
from sparring.select import draw, unique
from sparring.signals.judge import Judge
from sparring.types import Example, assistant, user

ONCE = Search(branch=1, beam=1, depth=1)
"""One refinement of one answer. What becomes of it is told by the tree, that it comes to nothing too: no failure."""


def demonstrate(prompt_id: str, prompt: str, teacher: Role, instructions: str) -> Flow[Attempt]:
    """Have the teacher answer a prompt as the actor will be asked it, its instructions apart as a system message."""
    return attempt(prompt_id, prompt, 0, replace(teacher, instructions=instructions))


# What is learned


def answers(attempts: Iterable[Attempt]) -> list[Lesson]:
    """Return what the actor learns: the teacher's answers; of those that were judged, the ones that passed."""
    return [
        Lesson(one.id, "answer", Example([user(one.prompt), assistant(one.response)], [0.0, 1.0]))
        for one in attempts
        if one.judgement is None or one.passed
    ]


def judgements(
    attempts: Iterable[Attempt], judge: Judge, *, balanced: bool = False, most: int | None = None, seed: int = 0
) -> list[Lesson]:
    """Return what the refiner learns of judging: of each answer the first critique that agrees with the majority.

    As drawn, Yes and No stand in the proportion in which the actor succeeds; `balanced`: as many of either, drawn. At
    most `most` rows; None: all. A tie, what could not be judged, and an answer that stands already are left out.
    """
    rng = random.Random(f"{seed}/judgements")
    rows = [
        judgement(one.id, "positive" if one.passed else "negative", judge.chat(one.prompt, one.response), critique)
        for one in attempts
        if one.judgement and (critique := agreeing(one.judgement)) is not None
    ]
    rows = unique(rows, lambda row: tuple(message["content"] for message in row.example.messages[:-1]))
    most = len(rows) if most is None else most
    if balanced:
        sides = [[at for at, row in enumerate(rows) if row.kind == kind] for kind in ("positive", "negative")]
        each = min(most // 2, *(len(side) for side in sides))
        rows = [rows[at] for at in sorted(at for side in sides for at in draw(side, each, rng))]
    return draw(rows, most, rng)


def refinements(trees: Iterable[Tree], judge: Judge, refiner: Refiner) -> list[Lesson]:
    """Return what the refiner learns of refining: judge's prompt, critique and accepted refinement, in three turns."""
    return [made for tree in trees if (made := refinement(tree, judge, refiner))]


def hold_out(trees: Sequence[Tree], n: int, seed: int) -> tuple[list[Tree], list[Tree]]:
    """Return the trees to learn from, and `n` to test refining with (published: 200), each of another prompt.

    What is held out is drawn from all trees, accepted or not: to test on what the teacher could mend would flatter. No
    prompt stands on both sides; leave those of the second out of what judging is learned from as well. Raises
    SettingsError where nothing would be left to learn from.
    """
    one_each = unique(trees, lambda tree: tree.prompt)
    if n < 0 or (n and n >= len(one_each)):
        raise SettingsError(
            f"{n} refinements held out of {len(one_each)} prompts: hold out fewer, or have more answers refined"
        )
    held = draw(one_each, n, random.Random(f"{seed}/held out"))
    prompts = {tree.prompt for tree in held}
    return [tree for tree in trees if tree.prompt not in prompts], held
