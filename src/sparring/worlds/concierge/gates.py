"""The competence gates: skills that a loop on the concierge's model relies on, measured on what it was not trained on.

All tasks are test combinations and all personas are new. A loop on a model without these skills raises its reward and
not its win rate: mentioning a slot in a question already suppresses the hedge, whoever the user is.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparring.engines.base import Request
from sparring.engines.hf import HF
from sparring.types import Chat, Completion, Sampling, assistant, user
from sparring.worlds.concierge import prompt
from sparring.worlds.concierge.corpus import Mix, Turn, conversation, dialogue, opening, persona
from sparring.worlds.concierge.health import conversation_health
from sparring.worlds.concierge.language import TASKS, Persona, Task, read_answer, told, truthful_reply
from sparring.worlds.small_model import keep_within

LEAST: dict[str, float] = {
    "copies_from_dialogue": 0.9,
    "copies_from_persona": 0.9,
    "hedges_when_untold": 0.9,
    "answers_when_not_asked_to_ask": 0.9,
    "roleplays_truthfully": 0.9,
    "asks_when_asked_to_ask": 0.9,
}
"""The gates, as shares in [0, 1]."""


def gates(path: str | Path, *, n: int = 200, seed: int = 0) -> dict[str, float]:
    """Measure a checkpoint on `n` dialogues: the gated shares of `LEAST`, and three ungated ones of the questions.

    copies_from_dialogue           told and needed facts that the answer names rightly
    copies_from_persona            needed facts that the answer names rightly with the persona in the first turn
    hedges_when_untold             untold needed facts that the answer leaves open
    answers_when_not_asked_to_ask  replies to the bare first turn that answer it
    roleplays_truthfully           replies in roleplay that are word for word what the persona would say
    asks_when_asked_to_ask         questions at temperature 0.9, top-p 0.9 that are questions of this world
    questions_relevant             of those asked while a needed fact was unknown, the ones that ask for such a fact
    questions_repeated, questions_chit_chat   of all questions
    """
    speak = Speaker(HF(path))
    rng = random.Random(f"gates {seed}")
    unseen = [task for task in TASKS.values() if task.split == "test" and task.kind == "specific"]
    cases = [(rng.choice(unseen), persona(rng)) for _ in range(n)]
    return {**_answers(speak, rng, cases), **_roleplay(speak, rng, cases), **_questions(speak, cases, seed)}


def enforce(measured: dict[str, float], whose: str) -> None:
    """Raise `GateError` if a gated share is below its bound."""
    keep_within(measured, {name: (least, 1.0) for name, least in LEAST.items()}, whose)


GREEDY = Sampling(max_tokens=40)


@dataclass(frozen=True, slots=True)
class Speaker:
    """The model under test, as the loop's own engine runs it."""

    engine: HF

    def __call__(self, chats: Sequence[Chat], sampling: Sampling = GREEDY) -> list[str]:
        """Return one reply a chat; of one that came to nothing, the empty text."""
        replies = self.engine.generate([Request(chat, sampling, index) for index, chat in enumerate(chats)])
        return [reply.text if isinstance(reply, Completion) else "" for reply in replies]


Case = tuple[Task, Persona]


def _answers(speak: Speaker, rng: random.Random, cases: list[Case]) -> dict[str, float]:
    seen: Counter[str] = Counter()
    talks = [conversation(rng, t, p, 1 + i % 3, bool(i % 2), Mix()) for i, (t, p) in enumerate(cases)]
    chats = [dialogue(opening(p.name, t), talk, t) for (t, p), talk in zip(cases, talks, strict=True)]
    for (task, who), talk, answer in zip(cases, talks, speak(chats), strict=True):
        read = read_answer(task.text, answer) or {}
        heard = told(" ".join(reply for _, reply in talk))
        for slot in task.slots:
            seen["told" if slot in heard else "untold"] += 1
            seen["copied"] += slot in heard and read.get(slot) == who.values[slot]
            seen["hedged"] += slot not in heard and read.get(slot) == "any"
    known = speak([[user(f"My name is {p.name}.\n\n{p.text}\n\n{t.text}")] for t, p in cases])
    for (task, who), answer in zip(cases, known, strict=True):
        read = read_answer(task.text, answer) or {}
        seen["needed"] += len(task.slots)
        seen["from_persona"] += sum(read.get(slot) == who.values[slot] for slot in task.slots)
    bare = speak([[user(opening(p.name, t))] for t, p in cases])
    answered = sum(read_answer(t.text, text) is not None for (t, _), text in zip(cases, bare, strict=True))
    return {
        "copies_from_dialogue": seen["copied"] / max(1, seen["told"]),
        "copies_from_persona": seen["from_persona"] / seen["needed"],
        "hedges_when_untold": seen["hedged"] / max(1, seen["untold"]),
        "answers_when_not_asked_to_ask": answered / len(cases),
    }


def _roleplay(speak: Speaker, rng: random.Random, cases: list[Case]) -> dict[str, float]:
    truthful = 0
    questions = [conversation(rng, t, p, 1, bool(i % 2), Mix())[0][0] for i, (t, p) in enumerate(cases)]
    replies = speak([roleplay_chat(t, p, [], q) for (t, p), q in zip(cases, questions, strict=True)])
    for (_, who), question, reply in zip(cases, questions, replies, strict=True):
        truthful += reply == truthful_reply(question, who.values)
    return {"roleplays_truthfully": truthful / len(cases)}


def _questions(speak: Speaker, cases: list[Case], seed: int) -> dict[str, float]:
    talks: list[list[Turn]] = [[] for _ in cases]
    for turn in range(3):
        sampling = Sampling(temperature=0.9, top_p=0.9, max_tokens=40, seed=seed + turn)
        asked = speak([asking_chat(t, p, talk) for (t, p), talk in zip(cases, talks, strict=True)], sampling)
        heard = speak([roleplay_chat(t, p, talk, q) for (t, p), talk, q in zip(cases, talks, asked, strict=True)])
        for talk, question, reply in zip(talks, asked, heard, strict=True):
            talk.append((question, reply))
    total: Counter[str] = Counter()
    for (task, who), talk in zip(cases, talks, strict=True):
        total.update(conversation_health(task.text, who.text, talk, None))
    return {
        "asks_when_asked_to_ask": 1 - total["malformed"] / total["questions"],
        "questions_relevant": total["relevant"] / max(1, total["open"]),
        "questions_repeated": total["repeated"] / total["questions"],
        "questions_chit_chat": total["chit_chat"] / total["questions"],
    }


def asking_chat(task: Task, who: Persona, talk: Sequence[Turn], *, instructed: bool = True) -> Chat:
    """Return the chat whose next turn is a question."""
    first = opening(who.name, task)
    chat = [user(f"{prompt('ask')}\n\n{first}" if instructed else first)]
    for question, reply in talk:
        chat += [assistant(question), user(reply)]
    return chat


def roleplay_chat(task: Task, who: Persona, talk: Sequence[Turn], question: str) -> Chat:
    """Return the chat whose next turn is the user's reply to `question`."""
    turns = [*(q for q, _ in talk), question]
    instruction = prompt("play").replace("{persona}", who.text).replace("{task}", task.text)
    chat = [user(f"{instruction}\n\n{turns[0]}")]
    for (_, reply), following in zip(talk, turns[1:], strict=True):
        chat += [assistant(reply), user(following)]
    return chat
