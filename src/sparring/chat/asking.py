"""STaR-GATE: a person writes a request, the model asks, the person replies, and in the end it answers for them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import ClassVar

from sparring.chat.session import Session
from sparring.chat.speaking import Speaking
from sparring.engines.base import Request
from sparring.errors import RolloutError
from sparring.flow import Role
from sparring.recipes.star_gate import told_to_ask
from sparring.rollouts.conversation import Conversation, check_question, is_answer
from sparring.rollouts.situation import Persona, Situation
from sparring.tasks import Task
from sparring.types import Chat

INTRODUCED = re.compile(r"my name is\s+([^\s.!,]+)[.!,\n]\s*(?=\S)", re.I)
"""How a request may begin that says who makes it. "I'm ..." may say anything."""


class Asking(Session):
    """The policy asks and answers; the person stands where the roleplayer stood."""

    about = (
        "Write a request. The model, which knows nothing of you but your name, asks; reply as you like. After as many "
        "questions as it had at most in training, or when you say so, it answers. "
        "/compare shows m_0, the model before training, on the very same words: what it would have asked at each "
        "point of your conversation, and what it would answer after it. What m_0 would learn from questions of its "
        "own only you can tell it: /compare ask has it ask you, about the same request."
    )
    commands: ClassVar = {
        "/answer": "let it answer now",
        "/compare": "show m_0 on the same words; /compare ask: let m_0 ask its own questions",
        "/name": "/name NAME: what you are called, the one thing that it is told of you",
        **Session.commands,
    }

    def prepare(self) -> None:
        settings, told = self.partner.settings, self.partner.prompts["ask"]
        self.name, self.number = "", 0
        self.ask = Role(
            "policy",
            self.speaker,
            settings.questioner.sampling(settings.seed),
            told if told_to_ask(settings.elicit, self.partner.round) else "",
        )
        self.answer = Role("policy", self.speaker, settings.answerer.sampling(settings.seed))
        self.turns: int = max(settings.turns)
        self.part = "question"
        self.first: Speaking | None = None
        self.asked_by_first = False
        self.forget()

    def forget(self) -> None:
        self.conversation: Conversation | None = None
        self.questions: list[str] = []
        """All that was asked: at most one more than was replied to, the last; or as many, where nothing came of that
        reply."""
        self.answered = False

    def new(self) -> None:
        self.forget()
        self.asked_by_first = False
        self.number += 1

    def greet(self) -> None:
        super().greet()
        self.greeting += f"\nAll it is told of you is that you are called {self.called}; /name changes that."

    def hint(self) -> str:
        if self.answered:
            return "Write another request, or /compare." if self.partner.base else "Write another request."
        return "Reply, or /answer." if self.questions else "Write a request."

    def part_of(self, request: Request) -> str:
        return self.part

    def command(self, name: str, rest: str) -> None:
        match name:
            case "/answer":
                self.close_with_answer()
            case "/compare":
                self.beside(rest)
            case "/name":
                self.rename(rest)
            case _:
                super().command(name, rest)

    def rename(self, name: str) -> None:
        if not name or len(name.split()) > 1:
            self.note(f"You are called {self.called}. /name NAME changes that; one word.")
        elif note := self.vocabulary.unknown(name):
            self.note(note)
        else:
            self.name = name
            self.note(f"You are called {name}, from your next request on.")

    @property
    def called(self) -> str:
        """What the person is called: in training everybody was called something."""
        return self.name or ("Ada" if not self.vocabulary.missing("Ada") else "you")

    def said(self, text: str) -> None:
        if self.answered:
            self.new()
        if self.conversation is None or not self.questions:
            self.conversation = self.begun(text)
        else:  # where nothing came of the last reply, this one stands in its place
            before = self.conversation.turns[: len(self.questions) - 1]
            self.conversation = replace(self.conversation, turns=(*before, (self.questions[-1], text)))
        if len(self.conversation.turns) >= self.turns:
            self.close_with_answer()
        else:
            self.go_on()

    def begun(self, text: str) -> Conversation:
        """Return the conversation that a request begins. The name that the request may begin with is kept."""
        if said := INTRODUCED.match(text):
            self.name, text = said[1], text[said.end() :]
        return Conversation(Situation(Task("chat", text), Persona("person", self.called, ""), ""), self.number)

    def go_on(self) -> None:
        """Have the model ask."""
        assert self.conversation is not None
        asking = self.by_first(self.ask, asks=True) if self.asked_by_first else self.ask
        question = self.say("question", asking, self.conversation.asking(), self.number)
        self.questions.append(question)
        try:
            check_question(question, self.questions[:-1])
        except RolloutError as error:
            self.note(f"({error.reason}: in training such a conversation would have been left out)")
        if self.compare and not self.asked_by_first:
            self.say("question", self.by_first(self.ask, asks=True), self.conversation.asking(), self.number)

    def close_with_answer(self) -> None:
        if self.conversation is None:
            self.note("Write a request first.")
            return
        answer = self.by_first(self.answer) if self.asked_by_first else self.answer
        said = self.say("answer", answer, self.conversation.answering())
        self.answered = True
        if not is_answer(said):
            self.note("(it only asks back where it should answer)")
        if self.compare and not self.asked_by_first:
            self.say("answer", self.by_first(self.answer), self.conversation.answering())

    # m_0

    def by_first(self, role: Role, asks: bool = False) -> Role:
        """Return a role of m_0's; it is told to ask, as m_0 always was."""
        if self.first is None:
            self.first = self.engine(self.partner.base, "m_0")
        return replace(role, engine=self.first, instructions=self.partner.prompts["ask"] if asks else "")

    def beside(self, how: str) -> None:
        """Show m_0 on what was said so far."""
        if not self.may_compare(self.conversation is not None) or self.conversation is None:
            return
        if how == "ask":
            self.conversation = replace(self.conversation, turns=())
            self.questions, self.answered, self.asked_by_first = [], False, True
            self.note("m_0 now asks you about the same request. /new goes back.")
            self.go_on()
        elif self.asked_by_first:
            self.note("You are talking to m_0 itself; /new goes back.")
        else:
            self.as_first(self.conversation)

    def as_first(self, whole: Conversation) -> None:
        """Tell what m_0 would have asked at each point of a conversation, and what it would answer after it."""
        for at, asked in enumerate(self.questions):
            before = replace(whole, turns=whole.turns[:at])
            self.note(f"where {self.partner.label} asked: {asked}")
            self.say("question", self.by_first(self.ask, asks=True), before.asking(), self.number)
        if self.answered:
            self.say("answer", self.by_first(self.answer), whole.answering())

    def say(self, part: str, role: Role, chat: Chat, index: int = 0) -> str:
        """Have a role say what is due, in the sight of the person; return its words."""
        self.part = part
        text = self.carry(role.complete(chat, index)).text.strip()
        if not text:
            raise RolloutError(f"no {part} came")
        return text
