"""A conversation: the policy asks, a role-played user replies, for a number of turns drawn beforehand.

One list of turns, three views: the policy's while it asks, the policy's when it must answer, and the roleplayer's,
who is on the other side. The task repeated after the last reply is the cue to answer (the published design).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sparring.errors import RolloutError
from sparring.flow import Flow, Role
from sparring.rollouts.situation import Situation
from sparring.types import Chat, Example, assistant, user

POSES_AS_SPEAKER = re.compile(
    r"^[\W_]*(user|human|you|ai|assistant|ai assistant|system)[\s*_]*:|<\|\w+\|>|\[/?INST\]|<(start|end)_of_turn>",
    re.I | re.M,
)
ABBREVIATED = re.compile(r"\b(e\.g|i\.e|etc|vs|mr|mrs|ms|dr|st)\.", re.I)
QUESTION_MARKS = "?？؟"
SENTENCE = re.compile(rf"((?:[^.!。！{QUESTION_MARKS}\n]|\.(?=\w))+)([.!。！{QUESTION_MARKS}]*)")
"""What is said, and the marks that close it."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was asked and replied in one situation."""

    situation: Situation
    index: int
    """Which of the situation's conversations this is, from 0."""
    turns: tuple[tuple[str, str], ...] = ()
    """Question and reply, in order."""

    @property
    def id(self) -> str:
        return f"{self.situation.id} #{self.index}"

    def asking(self) -> Chat:
        """The policy's view, with the next question due."""
        return [user(self.situation.request), *self._exchanged()]

    def playing(self, question: str) -> Chat:
        """The roleplayer's view, with its reply to `question` due."""
        flipped = [message for asked, reply in self.turns for message in (user(asked), assistant(reply))]
        return [*flipped, user(question)]

    def answering(self, persona: str = "") -> Chat:
        """The policy's view, with the answer due. `persona`, for the controls, is told before the task.

        No instruction is in it: the text that scores a conversation is the text that is trained on.
        """
        name, task = f"My name is {self.situation.persona.name}.", self.situation.task.text
        opening = "\n\n".join([name, persona, task] if persona else [name, task])
        chat = [user(opening), *self._exchanged()]
        if self.turns:
            chat[-1] = user(f"{self.turns[-1][1]}\n\n{task}")
        return chat

    def example(self, answer: str | None) -> Example:
        """What is learned: every question, and the answer if there is one; never a word of the user's."""
        chat = [*self.answering(), assistant(answer)] if answer is not None else self.asking()[:-1]
        return Example(chat, [1.0 if message["role"] == "assistant" else 0.0 for message in chat])

    def heard_from(self, other: Conversation) -> Conversation:
        """This situation with another conversation's turns: the shuffled control."""
        return replace(self, turns=other.turns)

    def row(self) -> dict[str, Any]:
        return {"id": self.id, "situation": self.situation.id, "index": self.index, "turns": [*map(list, self.turns)]}

    @staticmethod
    def from_row(row: dict[str, Any], situations: dict[str, Situation]) -> Conversation:
        turns = tuple((question, reply) for question, reply in row["turns"])
        return Conversation(situations[row["situation"]], row["index"], turns)

    def _exchanged(self) -> Chat:
        return [message for asked, reply in self.turns for message in (assistant(asked), user(reply))]


def converse(situation: Situation, index: int, turns: int, policy: Role, roleplayer: Role) -> Flow[Conversation]:
    """Let `policy` ask `turns` questions; `roleplayer`, who knows the persona and the task, replies to each."""
    roleplayer = roleplayer.given(persona=situation.persona.text, task=situation.task.text)
    conversation = Conversation(situation, index)
    for _ in range(turns):
        question = yield from policy.say(conversation.asking(), index)
        check_question(question, [asked for asked, _ in conversation.turns])
        reply = yield from roleplayer.say(conversation.playing(question))
        check_speaker(reply, "reply")
        conversation = replace(conversation, turns=(*conversation.turns, (question, reply)))
    return conversation


def check_question(question: str, asked: Sequence[str]) -> None:
    """Raise RolloutError unless `question` is one question, in the policy's own voice, not asked before."""
    check_speaker(question, "question")
    if not _asks(question):
        raise RolloutError("question without a question mark", question)
    if _plain(question) in map(_plain, asked):
        raise RolloutError("question repeated", question)


def check_speaker(text: str, what: str) -> None:
    """Raise RolloutError where a turn goes on to speak for the other side, or carries a template's own marks."""
    if found := POSES_AS_SPEAKER.search(text):
        raise RolloutError(f"{what} breaks its role", found[0].strip())


def is_answer(text: str) -> bool:
    """Say whether a reply to a repeated task states anything, rather than only asking back."""
    sentences = SENTENCE.findall(ABBREVIATED.sub(r"\1", text))
    # A quote or an asterisk after a question mark is no sentence.
    return any(re.search(r"\w", said) and not _asks(closing) for said, closing in sentences)


def _asks(text: str) -> bool:
    return any(mark in text for mark in QUESTION_MARKS)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))
