"""Mending a response: the request after its critique, and the mended response in the reply."""

from __future__ import annotations

from dataclasses import dataclass

from sparring.errors import RolloutError, SettingsError
from sparring.flow import Flow, Role, render
from sparring.signals.judge import Judge
from sparring.types import Chat, assistant, user

BEGIN, END = "=== refined ===", "=== end ==="
"""Between lines that are nothing but these stands the refined response."""


@dataclass(frozen=True)
class Refiner:
    """Who mends a response, in the very conversation in which it was judged."""

    role: Role
    template: str
    """The request after the critique, with the blanks {begin} and {end} for the sentinels."""

    def __post_init__(self) -> None:
        asked = self.request
        if missing := [line for line in (BEGIN, END) if line not in asked]:
            raise SettingsError(
                f"refiner's prompt does not ask for the line {missing[0]!r}; put in {{begin}} and {{end}}"
            )

    @property
    def request(self) -> str:
        return render(self.template, begin=BEGIN, end=END)

    def chat(self, judge: Judge, prompt: str, response: str, critique: str) -> Chat:
        """Return the chat in which a refinement is due, in search and in training rows alike."""
        return [*judge.chat(prompt, response), assistant(critique), user(self.request)]

    def refine(self, judge: Judge, prompt: str, response: str, critique: str, index: int) -> Flow[str]:
        """Return all that the refiner says, stripped. Raises RolloutError: cut off, refused, empty, or what failed."""
        said = yield from self.role.complete(self.chat(judge, prompt, response, critique), index)
        text = said.text.strip()
        if said.finish != "stop":
            raise RolloutError("cut off" if said.finish == "length" else "refused", text)
        if not text:
            raise RolloutError("empty")
        return text


def read_refined(text: str) -> str:
    """Return what stands between the sentinels, stripped; each must be there once, alone on its line, in order.

    Raises RolloutError "unreadable" otherwise, and "empty" where nothing stands there: the published parser took what
    had no end for the whole.
    """
    lines = text.splitlines()
    bare = [line.strip(" \t*`").casefold() for line in lines]
    if (bare.count(BEGIN), bare.count(END)) != (1, 1):
        found = f"{bare.count(BEGIN)} x {BEGIN!r}, {bare.count(END)} x {END!r}, wanted once each"
        raise RolloutError("unreadable", f"{found}: {text}")
    begin, end = bare.index(BEGIN), bare.index(END)
    if begin > end:
        raise RolloutError("unreadable", f"{END!r} comes before {BEGIN!r}: {text}")
    refined = "\n".join(lines[begin + 1 : end]).strip()
    if not refined:
        raise RolloutError("empty", text)
    return refined
