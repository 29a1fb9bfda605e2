"""Which of two answers serves a user better, by a judge that sees the persona and reads both orders.

STaR-GATE section 4.2 asks the judge once, in one order; its own records show the second answer favoured by 6-11 points.
Here each pair of answers is judged in both orders, a tie is a verdict, and what cannot be read is None and is counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sparring.evals.agreement import alpha
from sparring.evals.statistics import Interval, mean_interval
from sparring.flow import Flow, Role, quoted, render, together
from sparring.rollouts.situation import Situation
from sparring.types import Completion, Failure, user

Choice = Literal["a", "b", "tie"]
WORTH = {"a": 1.0, "tie": 0.5, "b": 0.0}
"""Of a verdict, to the answer that stood first."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the judge said of one pair of answers, `ours` against `theirs`."""

    situation: Situation
    ours_first: Choice | None
    """With ours as A. None: unreadable."""
    theirs_first: Choice | None
    """With ours as B. None: unreadable."""
    spoiled: bool = False
    """There is no answer of ours to judge: every conversation failed, or the answer did. That is a loss, or a policy
    would gain by breaking off where it does badly."""

    @property
    def value(self) -> float | None:
        """1 a win, 0.5 a tie, 0 a loss, averaged over the readable orders; None if neither could be read."""
        if self.spoiled:
            return 0.0
        first = None if self.ours_first is None else WORTH[self.ours_first]
        second = None if self.theirs_first is None else 1 - WORTH[self.theirs_first]
        readable = [worth for worth in (first, second) if worth is not None]
        return sum(readable) / len(readable) if readable else None


def compare(situation: Situation, ours: str, theirs: str, judge: Role, prompt: str) -> Flow[Verdicts]:
    """Have the judge read the two answers in both orders."""
    orders = [(ours, theirs), (theirs, ours)]
    chats = [
        [user(render(prompt, persona=situation.persona.text, task=situation.task.text, a=quoted(a), b=quoted(b)))]
        for a, b in orders
    ]
    first, second = yield from together(judge.complete(chat) for chat in chats)
    return Verdicts(situation, read_choice(first), read_choice(second))


def read_verdict(text: str) -> Choice | None:
    """Return the verdict of the last line that gives one ("Final Response: B"); None where no line does, or two differ.

    Only a line that is nothing but the verdict counts, so that a quoted answer cannot pose as one. Marks around it
    (asterisks, brackets, a full stop) are forgiven: the published parser threw those verdicts away.
    """
    marks = r"[\s*_`\"'“”()\[\].]*"
    lines = re.findall(rf"^[\s*_`#]*final response[\s*_`]*:{marks}(a|b|tie){marks}$", text, re.I | re.M)
    choices = {line.lower() for line in lines}
    return choices.pop() if len(choices) == 1 else None  # pyright: ignore[reportReturnType]


@dataclass(frozen=True, slots=True)
class WinRate:
    """How often ours was preferred to theirs, and how far the judge can be trusted on it.

    All shares are of the pairs where theirs could be had.
    """

    win_rate: Interval | None
    """Share of wins, a tie counting a half; interval over pairs of task and persona."""
    ties: float | None
    """Share of the readable verdicts."""
    unreadable: float | None
    """Share of all verdicts."""
    spoiled: float | None
    """Share of the pairs without an answer of ours, counted as losses."""
    position_bias: float | None
    """Share of verdicts for the answer that stood first, less the share for the second, of pairs that could be read in
    both orders: 0 is fair."""
    agreement: float | None
    """Krippendorff's alpha of the two orders, of which answer they prefer: 1 says that order never matters."""


def win_rate(items: Sequence[Verdicts]) -> WinRate:
    values = {item.situation.id: [item.value] for item in items if item.value is not None}
    spoiled = sum(item.spoiled for item in items) / len(items) if items else None
    verdicts = [choice for item in items if not item.spoiled for choice in (item.ours_first, item.theirs_first)]
    readable = [choice for choice in verdicts if choice is not None]
    if not readable:
        return WinRate(mean_interval(values), None, 1.0 if verdicts else None, spoiled, None, None)
    share = {choice: readable.count(choice) / len(readable) for choice in ("a", "b", "tie")}
    unreadable = 1 - len(readable) / len(verdicts)
    turned = {"a": "b", "b": "a", "tie": "tie", None: None}
    agreement = alpha((item.ours_first, turned[item.theirs_first]) for item in items if not item.spoiled)
    both = [(item.ours_first, item.theirs_first) for item in items if not item.spoiled]
    leans = [WORTH[a] + WORTH[b] - 1 for a, b in both if a and b]
    bias = sum(leans) / len(leans) if leans else None
    return WinRate(mean_interval(values), share["tie"], unreadable, spoiled, bias, agreement and agreement.value)


def read_choice(reply: Completion | Failure) -> Choice | None:
    return read_verdict(reply.text) if isinstance(reply, Completion) and reply.finish == "stop" else None
