"""Evolution: plain requests made into instructions with several constraints, by a teacher.

Each seed is given one main category of constraints, drawn, so that lengths do not swamp the rest. What the teacher
writes is read strictly, and a judge votes on whether one answer could do all of it: the published system had such a
check, its code did not. A seed that comes to nothing has a reason that can be counted; what is in a test set, or
nearly stands there already, `tasks.cleaning` finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sparring.errors import RolloutError
from sparring.flow import Flow, Role, quoted, render
from sparring.signals.judge import Judge
from sparring.tasks.cleaning import words
from sparring.tasks.taxonomy import Category, drawn, outline
from sparring.types import Chat, user

BEGIN, END = "=== instruction ===", "=== end ==="
"""Each on a line of its own; between them stands the instruction, or None."""


@dataclass(frozen=True, slots=True)
class Evolved:
    """What became of a seed."""

    id: str
    """Of its seed."""
    seed: str
    """The plain request."""
    category: str
    """The category of its main constraint, as drawn: the teacher may take another where that one cannot be."""
    prompt: str
    """The instruction."""
    validity: float | None = None
    """Share of votes that it can be followed, in [0, 1]; None: nobody was asked."""

    def row(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_row(row: Mapping[str, Any]) -> Evolved:
        return Evolved(**row)


@dataclass(frozen=True, slots=True)
class Evolver:
    """Who makes instructions of seeds. Published: gpt-4o-mini at temperature 0.7, 43,000 instructions in all."""

    role: Role
    template: str
    """With the blanks `{seed}`, `{category}`, `{taxonomy}`, `{begin}` and `{end}`."""
    categories: Sequence[Category]
    """What the main constraint is drawn from, as `read_taxonomy` gives it."""
    seed: int = 0
    """Of the run: it and the id of a seed decide the draw."""

    def chat(self, id: str, seed: str) -> Chat:
        """Return the chat in which the instruction is due."""
        told = {"taxonomy": outline(self.categories), "category": str(drawn(self.categories, id, self.seed))}
        return [user(render(self.template, seed=quoted(seed), begin=BEGIN, end=END, **told))]

    def __call__(self, id: str, seed: str) -> Flow[Evolved]:
        """Have an instruction made of a seed. Fails where none can be read, or none was made."""
        said = yield from self.role.say(self.chat(id, seed))
        prompt = read_instruction(said)
        if words(prompt) == words(seed):
            raise RolloutError("instruction is its seed", prompt)
        return Evolved(id, seed, drawn(self.categories, id, self.seed).name, prompt)


def validate(evolved: Evolved, judge: Judge) -> Flow[Evolved]:
    """Pass an instruction on, with its share of votes, if a majority says that one answer could do all of it.

    The judge's prompt is given the seed as what was asked and the instruction as what was made of it.
    """
    judgement = yield from judge(evolved.seed, evolved.prompt)
    if judgement.majority is None:
        raise RolloutError("validity not settled", f"value={judgement.value}, votes={len(judgement.votes)}")
    if not judgement.majority:
        raise RolloutError("constraints clash", judgement.critique or "")
    return replace(evolved, validity=judgement.value)


def read_instruction(text: str) -> str:
    """Return what stands between the marks, stripped.

    Raises RolloutError unless each mark stands exactly once on a line of its own, in order, and for an instruction
    that is empty or None: so the teacher says that none can be made of the seed.
    """
    lines = text.splitlines()
    bare = [line.strip(" \t*`").casefold() for line in lines]
    if (bare.count(BEGIN), bare.count(END)) != (1, 1) or bare.index(BEGIN) > bare.index(END):
        raise RolloutError("instruction cannot be read", text)
    found = "\n".join(lines[bare.index(BEGIN) + 1 : bare.index(END)]).strip()
    if not found:
        raise RolloutError("instruction is empty", text)
    if found.strip(" .\"'`*").lower() == "none":
        raise RolloutError("seed is left out by the teacher", text)
    return found
