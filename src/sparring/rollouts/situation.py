"""A situation: a task as one persona asks it, with the response an oracle wrote knowing that persona.

STaR-GATE (Andukuri et al. 2024), sections 3.1-3.2: personas are written few-shot by a strong model, the oracle answers
every pair of task and persona once. The published code had no source for the personas' first names, and lost rows when
a provider refused one: here names are read from the text, and a refusal costs that pair alone.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import asdict, dataclass
from typing import Any

from sparring.errors import RolloutError
from sparring.flow import Flow, Role, render
from sparring.tasks import Task
from sparring.types import user

FIRST_NAME = re.compile(
    r"\W*(?:I['\u2019]m|I am|My name is|Meet|This is)[\s*_\"]+([^\W\d_]+(?:['\u2019-](?!s\b)[^\W\d_]+)*)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Persona:
    """Who the roleplayer is. The policy never sees the text, only the name."""

    id: str
    name: str
    """First name: the only persona fact a policy is told."""
    text: str


@dataclass(frozen=True, slots=True)
class Situation:
    """One task, one persona, and the oracle's response to the two."""

    task: Task
    persona: Persona
    oracle: str

    @property
    def id(self) -> str:
        return f"{self.task.id} {self.persona.id}"

    @property
    def request(self) -> str:
        """What the user opens with: a name and a wish. It is the same for every arm and control."""
        return f"My name is {self.persona.name}.\n\n{self.task.text}"

    def row(self) -> dict[str, Any]:
        return {"id": self.id, **asdict(self)}

    @staticmethod
    def from_row(row: dict[str, Any]) -> Situation:
        return Situation(Task(**row["task"]), Persona(**row["persona"]), row["oracle"])


def first_name(text: str) -> str | None:
    """Return the first name in a persona's opening ("I'm MAYA ORTIZ.", "Meet Jo."), capitalised; None without one."""
    found = FIRST_NAME.match(unicodedata.normalize("NFC", text))
    if found is None or found[1][0].islower():  # "I'm a nurse" names nobody
        return None
    return found[1].title() if found[1].isupper() else found[1]


def write_persona(id: str, index: int, author: Role, prompt: str, taken: set[str]) -> Flow[Persona]:
    """Have `author` write one persona; fails if no first name can be read from it, or its text is `taken`."""
    text = yield from author.say([user(prompt)], index)
    name = first_name(text)
    if name is None:
        raise RolloutError("persona without a first name", text[:80])
    if text in taken:  # it would stand in two splits, or twice in one
        raise RolloutError("persona repeated", text[:80])
    taken.add(text)
    return Persona(id, name, text)


def check_content(persona: Persona, oracle: Role, prompt: str) -> Flow[Persona]:
    """Pass the persona on if the oracle's provider will talk about it; its refusal is the failure's reason."""
    yield from oracle.say([user(render(prompt, persona=persona.text))])
    return persona


def oracle_response(task: Task, persona: Persona, oracle: Role, prompt: str) -> Flow[Situation]:
    """Have the oracle answer `task` for `persona`, which it sees in full."""
    text = yield from oracle.say([user(render(prompt, persona=persona.text, task=task.text))])
    return Situation(task, persona, text)
