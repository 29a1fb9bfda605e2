"""A run of STaR-GATE: its situations, and what all its rounds share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from sparring.files import Row
from sparring.report.browse.core import Chat, Detail, Entry, Group, Message, Part, Words, title
from sparring.report.browse.rows import Shelf, text
from sparring.report.browse.saying import facts

SITUATIONS = "situations.jsonl"


@dataclass(frozen=True)
class Asking:
    """A run of STaR-GATE."""

    shelf: Shelf
    settings: Mapping[str, Any]

    @cached_property
    def titles(self) -> dict[str, str]:
        """What is asked in each situation, by its id; also in each task, and of each persona."""
        found: dict[str, str] = {}

        def look(row: Row) -> None:
            asked = title(f"{text(row, 'task', 'text')} ({text(row, 'persona', 'name')})")
            found.setdefault(text(row, "id"), asked)

        self.shelf[SITUATIONS].glances(look)
        return found

    def situation(self, id: str) -> Row:
        return self.shelf[SITUATIONS].find(id) or {}

    def asked(self, id: str) -> str:
        """Return what was asked in the situation that the id of a rollout begins with."""
        for name in (id, id.rpartition(" ")[0]):
            if row := self.shelf[SITUATIONS].find(name):
                return text(row, "task", "text")
        return ""

    def groups(self) -> Iterator[Group]:
        if SITUATIONS in self.shelf:
            about = "Each task as one persona asks it, with the response that an oracle wrote knowing the persona."
            yield Group("situations", "situations", None, "answers", about, self.situations, self.shelf.n(SITUATIONS))

    def situations(self) -> Iterator[Entry]:
        rows = self.shelf[SITUATIONS]
        for at, row in enumerate(rows):
            tags = tuple(tag for tag in (text(row, "task", "split"), text(row, "task", "kind")) if tag)
            told = title(f"{text(row, 'task', 'text')} ({text(row, 'persona', 'name')})")
            yield Entry(text(row, "id"), told, None, "", None, None, tags, partial(self._situation, at))

    def _situation(self, at: int) -> Detail:
        row = self.shelf[SITUATIONS][at]
        return Detail(self.who(row), self.known(row))

    def who(self, situation: Row) -> tuple[tuple[str, str], ...]:
        return facts(
            ("task", text(situation, "task", "id")),
            ("kind of task", text(situation, "task", "kind")),
            ("persona", text(situation, "persona", "name")),
        )

    def known(self, situation: Row) -> tuple[Part, ...]:
        """Return what the policy does not see."""
        parts = (
            ("task", text(situation, "task", "text")),
            ("persona (the policy knows the name alone)", text(situation, "persona", "text")),
            ("oracle's response, which knows the persona", text(situation, "oracle")),
        )
        return tuple(Words(label, said) for label, said in parts if said)

    def talk(self, label: str, conversation: Row, answer: str | None = None) -> Chat:
        """Return a conversation as it was held, with the answer after it."""
        situation = self.situation(text(conversation, "situation"))
        name, task = text(situation, "persona", "name"), text(situation, "task", "text")
        said = [Message("user", f"My name is {name}.\n\n{task}")] if situation else []
        for question, reply in conversation.get("turns") or ():
            said += [Message("policy", str(question)), Message("roleplayer", str(reply))]
        if answer is not None:
            said += [Message("user", task)] if situation else []
            said.append(Message("policy", answer, note="the answer"))
        return Chat(label, tuple(said))
