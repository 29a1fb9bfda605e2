"""The competence gates: what a loop on this model relies on, measured on prompts that it was not trained on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from sparring.engines.base import Request
from sparring.engines.hf import HF
from sparring.errors import RolloutError
from sparring.rollouts.tree import read_refined
from sparring.signals.judge import read_verdict
from sparring.types import Chat, Completion, Sampling, assistant, user
from sparring.worlds.instructions.constraints import Asked, draw, look, missed
from sparring.worlds.instructions.corpus import MET, REFINE, Mix, answer, judged
from sparring.worlds.instructions.language import read, take_apart, write
from sparring.worlds.instructions.suite import TESTED
from sparring.worlds.small_model import keep_within

BOUNDS: dict[str, tuple[float, float]] = {
    "answers_readable": (0.95, 1.0),
    "evidence_right": (0.9, 1.0),
    "answers_sampled": (0.15, 0.5),
    "answers_greedy": (0.2, 0.75),
    "judged_right": (0.6, 0.9),
    "refined": (0.2, 0.75),
}
"""The gates, as least and most shares in [0, 1]: skills it must have, and faults that leave room to improve."""


def gates(path: str | Path, *, n: int = 500, seed: int = -1) -> dict[str, float]:
    """Measure a checkpoint on `n` prompts of held-out combinations, of three to five constraints.

    answers_sampled, _greedy   answers that meet everything, at temperature 0.9 and at 0
    answers_readable           sampled answers that are verses
    evidence_right             lines of a judgement that say what is there
    judged_right               balanced accuracy of one judgement of answers, of which half are right
    refined                    bad answers that one refinement, after one judgement of its own, makes right
    """
    engine, rng = HF(path), random.Random(seed)
    asked = [draw(rng, rng.choice(TESTED), held_out=True) for _ in range(n)]
    chats: list[Chat] = [[user(one.text)] for one in asked]
    sampled, greedy = _say(engine, chats, Sampling(0.9, 0.9, 64)), _say(engine, chats, Sampling(max_tokens=64))
    return {
        "answers_sampled": _share([not missed(text, one) for one, text in zip(asked, sampled, strict=True)]),
        "answers_greedy": _share([not missed(text, one) for one, text in zip(asked, greedy, strict=True)]),
        "answers_readable": _share([read(text) is not None for text in sampled]),
        **_judging(engine, asked, rng),
    }


def enforce(measured: dict[str, float], whose: str) -> None:
    """Raise `GateError` for a share out of its bounds."""
    keep_within(measured, BOUNDS, whose)


def _judging(engine: HF, asked: Sequence[Asked], rng: random.Random) -> dict[str, float]:
    texts = [write(answer(rng, one, at % 2 == 0, Mix())) for at, one in enumerate(asked)]
    chats: list[Chat] = [[user(judged(one.text, text))] for one, text in zip(asked, texts, strict=True)]
    said = _say(engine, chats, Sampling(0.7, max_tokens=64))
    right: dict[bool, list[bool]] = {True: [], False: []}
    evidence: list[bool] = []
    bad: list[tuple[Asked, Chat]] = []
    for one, text, chat, words in zip(asked, texts, chats, said, strict=True):
        is_good = not missed(text, one)
        right[is_good].append(read_verdict(words) is is_good)
        evidence += _evidence(one, text, words)
        if not is_good:
            bad.append((one, [*chat, assistant(words), user(REFINE)]))
    refined = _say(engine, [chat for _, chat in bad], Sampling(0.7, max_tokens=64))
    return {
        "evidence_right": _share(evidence),
        "judged_good": _share(right[True]),
        "judged_bad": _share(right[False]),
        "judged_right": (_share(right[True]) + _share(right[False])) / 2,
        "refined": _share([_mended(one, text) for (one, _), text in zip(bad, refined, strict=True)]),
    }


def _evidence(asked: Asked, text: str, words: str) -> list[bool]:
    parts, rows = take_apart(text), words.splitlines()
    due = [f"{one.text}: {look(parts, one)[0]}" for one in asked.constraints]
    return [at < len(rows) and rows[at].rpartition(MET[0])[0] == line for at, line in enumerate(due)]


def _mended(asked: Asked, words: str) -> bool:
    try:
        return not missed(read_refined(words), asked)
    except RolloutError:
        return False


def _say(engine: HF, chats: Sequence[Chat], sampling: Sampling) -> list[str]:
    """Return one reply a chat; of one that came to nothing, the empty text."""
    replies = engine.generate([Request(chat, sampling, at) for at, chat in enumerate(chats)])
    return [reply.text if isinstance(reply, Completion) else "" for reply in replies]


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / max(1, len(hits))
