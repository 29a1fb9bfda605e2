"""A situation: a task as one persona asks it, with the response an oracle wrote knowing that persona.

STaR-GATE (Andukuri et al. 2024), sections 3.1-3.2: personas are written few-shot by a strong model, the oracle answers
every pair of task and persona once. The published code had no source for the personas' first names, and lost rows when
a provider refused one: here names are read from the text, and a refusal costs that pair alone.
"""

from __future__ import annotations

import json
import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparring.errors import DataError, RolloutError, SettingsError
from sparring.flow import Flow, Role, render
from sparring.stages import Stages
from sparring.tasks import SPLITS, Split, Splits, Task
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


def task_of(pair: str) -> str:
    """Return the task's id in a situation's."""
    return pair.rpartition(" ")[0]  # a persona's has no space


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


def write_personas(
    stages: Stages, counts: Sequence[int], author: Role, prompt: str, examples: Sequence[str], seed: int
) -> list[Persona]:
    """Have `author` write personas for A, B and test, each after two examples drawn anew; no text stands twice."""
    flows: list[tuple[str, Flow[Persona]]] = []
    taken: set[str] = set()
    for split, count in zip(SPLITS, counts, strict=True):
        for id in persona_ids(split, count):
            first, second = random.Random(f"{seed}/{id}").sample(list(examples), 2)
            asked = render(prompt, example_1=first, example_2=second)
            flows.append((id, write_persona(id, len(flows), author, asked, taken)))
    return [Persona(**row) for row in stages.roll_out("personas.jsonl", flows, asdict, split_of)]


def persona_ids(split: Split, count: int) -> list[str]:
    """Return the ids of a split's personas."""
    return [f"persona-{split}-{n + 1}" for n in range(count)]


def split_of(id: str) -> str:
    """Return the split that a persona's id names, alone or as the last word of a situation's id."""
    return id.split()[-1].split("-")[1]


def check_personas(stages: Stages, personas: Sequence[Persona], oracle: Role, prompt: str) -> list[Persona]:
    """Return the personas that the oracle's provider will talk about."""
    flows = [(persona.id, check_content(persona, oracle, prompt)) for persona in personas]
    return [Persona(**row) for row in stages.roll_out("personas-checked.jsonl", flows, asdict, split_of)]


def answer_tasks(
    stages: Stages, tasks: Splits, personas: Sequence[Persona], oracle: Role, prompt: str
) -> dict[Split, list[Situation]]:
    """Return every split's tasks as each of its personas asks them, answered by the oracle once."""
    flows = [
        (f"{task.id} {persona.id}", oracle_response(task, persona, oracle, prompt))
        for split in SPLITS
        for persona in personas
        if persona.id.startswith(f"persona-{split}-")
        for task in tasks[split]
    ]
    rows = stages.roll_out("situations.jsonl", flows, Situation.row, split_of)
    situations = [Situation.from_row(row) for row in rows]
    return {split: [s for s in situations if s.task.split == split] for split in SPLITS}


def read_examples(path: Path) -> list[str]:
    """Read the example personas of a prompt folder: JSON lines with a `text`, at least two."""
    if not path.is_file():
        raise SettingsError(f"prompts: no file {path}; the author of personas is shown two of its lines")
    texts: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if line.strip():
            try:
                texts.append(json.loads(line)["text"])
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path}:{number}: not a JSON object with a text ({error!r})") from error
    if len(texts) < 2:
        raise SettingsError(f"{path}: {len(texts)} example persona(s), but two are shown at a time")
    return texts
