"""TriPosT: a person asks a question; the model attempts it, criticises its attempt and updates it, by itself."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, ClassVar, NoReturn

from sparring.chat.session import OneByOne, told
from sparring.engines.base import Request
from sparring.errors import DataError, SettingsError
from sparring.flow import Role
from sparring.rollouts.trajectory import Layout, Policy, correct_itself, tidy
from sparring.tasks.exercise import FINAL, Exercise, Family, read_feedback, read_steps
from sparring.types import Completion
from sparring.worlds import world_of


class Correcting(OneByOne):
    """The policy in its voices, greedy as it was measured."""

    asks = ("Ask a question", "Ask another question")
    about = (
        "Paste a question. The model attempts it, says what is wrong first in its attempt, and updates it, until it "
        "finds nothing wrong or has updated it as often as in training. What its feedback quotes is marked in the "
        "attempt. Where a script can check attempts of this kind, it says what it finds; the model never hears it. "
        "/compare has m_0, the model before the first round, do the same question by itself."
    )
    commands: ClassVar = {"/compare": "have m_0 do the same question", **OneByOne.commands}

    def prepare(self) -> None:
        settings, prompts = self.partner.settings, self.partner.prompts
        attempt = prompts["answer_only" if settings.learn_from == "answers" else "attempt"]
        self.layout = Layout(attempt, prompts["feedback"], prompts["update"], prompts.get("format", ""))
        self.family = family_for(settings.tasks)
        self.updates: int = settings.updates
        self.is_known = False

    def said(self, text: str) -> None:
        self.asked, self.is_known = text, reads(self.family, text)
        if not self.is_known:
            self.note("It was trained on questions of another form (/example shows one), so expect little of this one.")
        self.try_it(self.partner.model, self.partner.label)
        if self.compare:
            self.as_first()

    def as_first(self) -> None:
        self.try_it(self.partner.base, "m_0")

    def try_it(self, model: str, who: str) -> None:
        """Let a model attempt the question, and correct itself."""
        settings = self.partner.settings
        sampling = settings.attempts.sampling(settings.seed)
        role = Role("policy", self.engine(model, who), sampling).greedy()
        exercise = Exercise("chat", self.asked, "", "")
        made = self.carry(correct_itself(exercise, 0, Policy(self.family, self.layout, role, role), self.updates))
        again = "" if len(made.attempts) == 1 else f" after {len(made.attempts) - 1} update(s)"
        answer = self.family.answer_of(made.attempts[-1])
        self.note(f"{who} answers {answer}{again}." if answer else f"{who} comes to no answer that can be read{again}.")

    def part_of(self, request: Request) -> str:
        last = request.chat[-1]["content"]
        return "feedback" if last == self.layout.feedback else "update" if last == self.layout.update else "attempt"

    def heard(self, who: str, request: Request, reply: Completion) -> None:
        part, facts = self.part_of(request), told(reply)
        if part == "feedback":
            text = reply.text.strip()
            facts |= quoted(text, next(one["content"] for one in reversed(request.chat) if one["role"] == "assistant"))
        else:
            text = tidy(reply.text)
            facts |= self.checked(text)
        self.message(who, part, text, **facts)

    def checked(self, attempt: str) -> dict[str, Any]:
        """Return what a script finds in an attempt, where there is one that can read the question."""
        if not (self.is_known and self.family.verify):
            return {}
        found = self.family.verify(self.asked, attempt)
        if found is None:
            return {}
        return {"script": "right" if found.is_correct else f"wrong in step ({found.step})"}


def quoted(feedback: str, attempt: str) -> dict[str, Any]:
    """Return what feedback says of an attempt.

    `verdict`: correct, wrong or unreadable. Where it is wrong, `step` is its label, `span` what is quoted, `attempt`
    the attempt, and `mark` the characters [start, end) of the quotation there.
    """
    found = read_feedback(feedback, attempt)
    if found is None:
        return {"verdict": "unreadable"}
    if found.is_correct:
        return {"verdict": "correct"}
    start = next((step.start for step in read_steps(attempt) if step.label == found.step), 0)
    at = attempt.find(found.span, start)
    mark = [at, at + len(found.span)] if found.span and at >= 0 else None
    return {"verdict": "wrong", "step": found.step, "span": found.span, "attempt": attempt, "mark": mark}


def reads(family: Family, question: str) -> bool:
    """Say whether a question is of the form of those trained on, as far as a script can tell."""
    try:
        if family.verify:
            family.verify(question, "(1) ...")
    except ValueError:
        return False
    return True


def family_for(tasks: str) -> Family:
    """Return the family of a run's tasks; one that reads final responses where it cannot be had here."""
    from sparring.tasks.families import family_of
    from sparring.tasks.own import load_own

    if world := world_of(tasks):
        return world.family or any_family()
    try:
        return load_own(Path(tasks)).family if Path(tasks).is_file() else family_of(tasks)
    except (DataError, SettingsError):
        return any_family()


def any_family() -> Family:
    """Return the family of exercises that nothing is known of: the answer is what the final response says."""

    def draw(_: Random, tier: str) -> NoReturn:
        raise SettingsError(f"nothing draws exercises of tier {tier!r} here")

    def answer_of(attempt: str) -> str | None:
        steps = read_steps(attempt)
        return steps[-1].text if steps and steps[-1].label == FINAL else None

    return Family("chat", {}, draw, answer_of)
