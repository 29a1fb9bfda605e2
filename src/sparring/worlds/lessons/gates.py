"""The competence gates: what a loop on these models relies on, measured on questions they were not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparring.engines.base import Request
from sparring.engines.hf import HF
from sparring.tasks.exercise import Exercise, before, exercises, read_feedback, read_steps
from sparring.types import Chat, Completion, Sampling, assistant, user
from sparring.worlds.lessons import prompt
from sparring.worlds.lessons.chain import Chain, evidence, family
from sparring.worlds.small_model import keep_within

BOUNDS: dict[str, tuple[float, float]] = {
    "attempts_readable": (0.95, 1.0),
    "evidence_worked_out": (0.8, 1.0),
    "updates_keep_what_was_right": (0.85, 1.0),
    "accuracy_seen": (0.15, 0.6),
    "accuracy_unseen": (0.0, 0.6),
}
"""The gates, as least and most shares in [0, 1]: skills it must have, and an accuracy that leaves room to improve."""


def gates(chain: Chain, path: str | Path, *, n: int = 400, seed: int = -1) -> dict[str, float]:
    """Measure a checkpoint: its skills on `n` questions of the tiers that are trained on, its accuracy on `n` of all.

    They are those of no run's seed.

    attempts_readable            attempts at temperature 1 in which every step is one
    evidence_worked_out          lines of evidence, in feedback on these, that say where the step should have gone
    updates_keep_what_was_right  updates that repeat the steps before the criticised one
    accuracy_seen, _unseen       greedy answers that are right
    """
    engine, kind = HF(path), family(chain)
    asked = exercises(kind, "test", n, seed)
    greedy = _say(engine, [[user(e.question)] for e in asked])
    right = {
        seen: [kind.is_right(e, text) for e, text in zip(asked, greedy, strict=True) if e.seen == seen]
        for seen in (True, False)
    }
    seen = exercises(kind, "test", n, seed, [tier for tier, is_seen in kind.tiers.items() if is_seen])
    return {
        **_checking(engine, chain, seen),
        "accuracy_seen": _share(right[True]),
        "accuracy_unseen": _share(right[False]),
    }


def enforce(measured: dict[str, float], whose: str) -> None:
    """Raise `GateError` for a share out of its bounds."""
    keep_within(measured, BOUNDS, whose)


def _checking(engine: HF, chain: Chain, asked: Sequence[Exercise]) -> dict[str, float]:
    attempts = _say(engine, [[user(e.question)] for e in asked], temperature=1.0)
    chats = [
        [user(e.question), assistant(text), user(prompt("feedback"))] for e, text in zip(asked, attempts, strict=True)
    ]
    said = _say(engine, chats)
    readable, worked_out, kept = list[bool](), list[bool](), list[bool]()
    critics = list[tuple[Chat, str]]()
    for e, text, words, chat in zip(asked, attempts, said, chats, strict=True):
        due = evidence(chain, e.question, text).splitlines()
        readable.append(len(read_steps(text)) == len(due) + 1)
        lines = words.splitlines()
        worked_out += [
            line.rpartition(" ")[0] == right.rpartition(" ")[0] for line, right in zip(lines, due, strict=False)
        ]
        found = read_feedback(words, text)
        prefix = found and found.step and before(text, found.step)
        if prefix:
            critics.append(([*chat, assistant(words), user(prompt("update"))], prefix))
    for (_, prefix), update in zip(critics, _say(engine, [chat for chat, _ in critics]), strict=True):
        kept.append(update.startswith(prefix))
    return {
        "attempts_readable": _share(readable),
        "evidence_worked_out": _share(worked_out),
        "updates_keep_what_was_right": _share(kept),
    }


def _say(engine: HF, chats: Sequence[Chat], temperature: float = 0.0) -> list[str]:
    """Return one reply a chat; of one that came to nothing, the empty text."""
    sampling = Sampling(temperature=temperature, max_tokens=100)
    replies = engine.generate([Request(chat, sampling, at) for at, chat in enumerate(chats)])
    return [reply.text if isinstance(reply, Completion) else "" for reply in replies]


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / max(1, len(hits))
