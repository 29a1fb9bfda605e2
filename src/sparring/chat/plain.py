"""A model that nobody knows more of: plain chat."""

from __future__ import annotations

from sparring.chat.session import Session
from sparring.engines.base import Request
from sparring.errors import RolloutError
from sparring.flow import Role
from sparring.types import Chat, Sampling, assistant, user

SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_tokens=1024)


class Plain(Session):
    """All that was said is told to the model every time, without any instruction."""

    about = "Write, and it replies. It is told nothing but what you and it have said."

    def prepare(self) -> None:
        self.chat: Chat = []
        self.number = 0
        self.role = Role("model", self.speaker, SAMPLING)

    def new(self) -> None:
        self.chat = []
        self.number += 1

    def hint(self) -> str:
        return "Write."

    def part_of(self, request: Request) -> str:
        return "response"

    def said(self, text: str) -> None:
        asked = [*self.chat, user(text)]
        reply = self.carry(self.role.complete(asked, self.number)).text.strip()
        if not reply:
            raise RolloutError("it said nothing")
        self.chat = [*asked, assistant(reply)]
