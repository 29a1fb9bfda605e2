"""Instructions that code can check: what is asked, how a response is checked strictly and loosely."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Checker = Callable[..., bool]
"""check(response, **kwargs) -> whether the response obeys."""
Part = Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One thing a response must obey."""

    id: str
    """Name of its checker, `family:type`."""
    kwargs: Mapping[str, Any]
    """What the checker needs besides the response; a value of 0 is a value."""


@dataclass(frozen=True, slots=True)
class Instructed:
    """A prompt with the instructions in it that code can check."""

    id: str
    prompt: str
    instructions: tuple[Instruction, ...] = ()
    """None: nothing of it can be checked."""
    group: str | None = None
    """What prompts of nested levels share; None: it is not of a group."""
    level: int | None = None
    """How many constraints it has within its group, >= 1: level k adds one to those of level k - 1."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A response of which it is known whether it follows its prompt."""

    id: str
    prompt: str
    response: str
    label: bool
    """Whether it follows."""
    kind: str = "natural"
    """What results are reported by: `natural`, `adversarial`, or the name of the fault in it."""


@dataclass(frozen=True)
class Suite:
    """Where prompts come from, and what checks responses to them."""

    name: str
    checkers: Mapping[str, Checker]
    """By instruction id."""
    draw: Callable[[Part, int, int], list[Instructed]]
    """(part, n, seed) -> n different prompts; none of train is in test. Raises SettingsError where there are fewer."""
    judged: Callable[[int, int], list[Judged]] | None = None
    """(n, seed) -> labelled responses. None: there are none."""
    levels: Callable[[int, int], list[Instructed]] | None = None
    """(groups, seed) -> the prompts of that many groups, level by level. None: there are no nested levels."""


def follow(asked: Instructed, text: str, checkers: Mapping[str, Checker]) -> list[bool]:
    """Tell of each instruction whether the response obeys it as it stands; an empty response obeys none.

    Raises KeyError for an instruction without a checker.
    """
    return [bool(text.strip()) and checkers[one.id](text, **one.kwargs) for one in asked.instructions]


def follow_loosely(asked: Instructed, text: str, checkers: Mapping[str, Checker]) -> list[bool]:
    """Tell of each instruction whether any of the eight variants of the response obeys it: never less than `follow`.

    Different instructions may be obeyed by different variants, as in IFEval.
    """
    tried = [follow(asked, variant, checkers) for variant in variants(text)]
    return [any(obeyed) for obeyed in zip(*tried, strict=True)]


def variants(text: str) -> list[str]:
    """Return a text as it is, without its first line, its last and both, and those without asterisks: eight."""
    lines = text.split("\n")
    cut = (lines, lines[1:], lines[:-1], lines[1:-1])
    plain = [text, *("\n".join(part).strip() for part in cut[1:])]
    return plain + [variant.replace("*", "") for variant in plain]
