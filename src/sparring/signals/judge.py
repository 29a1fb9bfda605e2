"""Does a response do all that its prompt asks? Independent votes of a judge, each a critique that ends in a verdict.

SPaR, https://arxiv.org/abs/2412.11605: the value of a response is the share of Yes among five votes. Departures from
the published code: a value needs a quorum of readable votes (one of five counted as unanimous there); the parser is not
led astray by spelling, marks, or words that begin with "No"; the judged text stands behind quotation marks, and a
verdict is read from the judge's own reply only, so that a response cannot bring its own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sparring.errors import SettingsError
from sparring.flow import Flow, Role, quoted, render, together
from sparring.types import Chat, Completion, Failure, user

MOST_VOTES = 1000
"""Of one panel. Fresh votes are numbered from here, so that they are other samples than the first ones."""


@dataclass(frozen=True, slots=True)
class Vote:
    """One reply of a judge."""

    text: str
    """All that it said: the critique with its verdict. Empty where no reply came."""
    verdict: bool | None
    """Whether the response does all that is asked; None where that cannot be read."""
    reason: str = ""
    """Why it cannot be read: unreadable, cut off, refused, empty, or what failed. Empty for a verdict."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the votes on one response came to."""

    votes: tuple[Vote, ...]
    """In the order of their sample indices, those that cannot be read too."""
    value: float | None
    """Share of Yes among the readable votes, in [0, 1]; None where they are fewer than the quorum."""

    @staticmethod
    def of(votes: Sequence[Vote], quorum: int) -> Judgement:
        verdicts = [vote.verdict for vote in votes if vote.verdict is not None]
        return Judgement((*votes,), sum(verdicts) / len(verdicts) if len(verdicts) >= max(1, quorum) else None)

    @property
    def majority(self) -> bool | None:
        """Whether most say Yes; None for a tie, and where there is no value."""
        return None if self.value in (None, 0.5) else self.value > 0.5

    @property
    def critique(self) -> str | None:
        """The first vote that agrees with the majority, or on a tie says No; else the first that can be read.

        None where there is no value, or no vote can be read.
        """
        if self.value is None:
            return None
        readable = [vote.text for vote in self.votes if vote.verdict is not None]
        agreeing = [vote.text for vote in self.votes if vote.verdict is (self.majority or False)]
        return next(iter([*agreeing, *readable]), None)

    @property
    def dissent(self) -> str | None:
        """The first vote against the majority; None where nobody votes against it, or there is none."""
        if self.majority is None:
            return None
        return next((vote.text for vote in self.votes if vote.verdict is (not self.majority)), None)

    @property
    def unanimous(self) -> bool:
        """Whether there is a readable vote, and no two of them differ."""
        return len({vote.verdict for vote in self.votes} - {None}) == 1

    def joined(self, fresh: Judgement) -> Judgement:
        """Return both judgements of one response as one; each counts by its readable votes, one without value not."""
        counts = [(one.value, sum(vote.verdict is not None for vote in one.votes)) for one in (self, fresh)]
        known = [(value, n) for value, n in counts if value is not None]
        total = sum(n for _, n in known)
        value = round(sum(value * n for value, n in known), 9) / total if total else None
        return Judgement((*self.votes, *fresh.votes), value)

    def row(self) -> dict[str, Any]:
        votes = [{"text": vote.text, "verdict": vote.verdict, "reason": vote.reason} for vote in self.votes]
        return {"value": self.value, "votes": votes}

    @staticmethod
    def from_row(row: Mapping[str, Any]) -> Judgement:
        return Judgement(tuple(Vote(**vote) for vote in row["votes"]), row["value"])


class Judge(Protocol):
    """Who judges responses."""

    def chat(self, prompt: str, response: str) -> Chat:
        """Return the chat in which a vote is due."""
        ...

    def __call__(self, prompt: str, response: str, first: int = 0, votes: int | None = None) -> Flow[Judgement]:
        """Judge a response. `first`: sample index of the first vote; `votes`: so many in place of the usual number."""
        ...


@dataclass(frozen=True)
class Panel:
    """A judge that is a model, asked several times. Its votes are under way side by side."""

    role: Role
    template: str
    """The request, with the blanks {prompt} and {response}: both are put in quoted."""
    votes: int = 5
    """At least 1; published: 5."""
    quorum: int = 3
    """Fewest readable votes that make a value; at most `votes`. Of fewer votes, all must be readable."""
    stop_early: bool = False
    """Ask only for votes that can still change the majority. It is the same as with all votes, and so is the critique;
    but the value is coarser (3 of 3 in place of 4 of 5), and a dissent may go unheard. For acceptance at 0.5, and for
    judging; not where values are ranked closely or dissent is learned from."""

    def __post_init__(self) -> None:
        if not 1 <= self.votes <= MOST_VOTES:
            raise SettingsError(f"votes = {self.votes}: must be in 1 to {MOST_VOTES}; published is 5")
        if not 1 <= self.quorum <= self.votes:
            raise SettingsError(f"quorum = {self.quorum}: must be in 1 to votes = {self.votes}")
        for blank in ("{prompt}", "{response}"):
            if blank not in self.template:
                raise SettingsError(f"judge's prompt has no {blank}; put it where the quoted text is to stand")

    def chat(self, prompt: str, response: str) -> Chat:
        texts = {"prompt": quoted(prompt) or ">", "response": quoted(response) or ">"}
        return [user(render(self.template, **texts))]

    def __call__(self, prompt: str, response: str, first: int = 0, votes: int | None = None) -> Flow[Judgement]:
        most = self.votes if votes is None else votes
        quorum = min(self.quorum, most)
        chat = self.chat(prompt, response)
        said: list[Vote] = []
        while wanted := votes_needed(said, most, quorum) if self.stop_early else most - len(said):
            indices = range(first + len(said), first + len(said) + wanted)
            replies = yield from together(self.role.complete(chat, index) for index in indices)
            said += [_vote(reply) for reply in replies]
        return Judgement.of(said, quorum)


def votes_needed(said: Sequence[Vote], most: int, quorum: int) -> int:
    """Return the fewest further votes, of `most` in all, that could settle the majority; 0: nothing can change it.

    It is settled where the lead cannot be made up and the quorum is there, or cannot be reached.
    """
    yes, no = (sum(vote.verdict is verdict for vote in said) for verdict in (True, False))
    left = most - len(said)
    for more in range(left):
        rest = left - more
        is_decided = abs(yes - no) + more > rest and yes + no + more >= quorum
        if is_decided or yes + no + rest < quorum:
            return more
    return left


# Verdicts

# Quantifiers are possessive (`*+`): a reply that repeats itself without end is read as fast as any other.
_MARKS = r"[\s*_`#~\"'“”‘’(){}\[\]<|\\]*+"
_TOKEN = r"(?<![^\W_])(?:yes|no)(?![^\W_])"
_HEAD = re.compile(
    rf"[-•]?{_MARKS}(?:\d++[.)]{_MARKS})?"
    r"(?:(?:so|thus|hence|therefore|overall|in conclusion|my|the|our|final)\b[\s,:]*+)*+"
    r"(?:verdict|judge?ment|decision|(?<=final )answer)(?![^\W_])(?:\s*+[(\[][^()\[\]]{0,40}[)\]])?"
    rf"{_MARKS}(?:(?:is\s*+)?[:：=→>]|[-–—]++>?(?=\s|$)|$|(?:is\b)?{_MARKS}(?={_TOKEN}))",
    re.I,
)
"""Begins a line that gives the verdict, or stands above it."""
_SAID = re.compile(
    r"(?<!\bnot )(?<![^\W_])yes(?![^\W_])|(?<![^\W_])no(?![^\W_])(?!\s++(?!(?:because|since|as|or|and)\b)[^\W_])", re.I
)
"""A verdict, which "None", "Note" and "no constraint is violated" are not."""
_OPENING = re.compile(rf"{_MARKS}{_TOKEN}", re.I)
_CLOSING = re.compile(r"(?:[^\W\d_].*[.!;]\s++)?[*_`(\[\"]*+(yes|no)[*_`)\]\".!]*+$", re.I)


def read_verdict(text: str) -> bool | None:
    """Return the verdict with which a judge's reply ends; None where none can be read, or it says both.

    The last line that begins as a verdict does ("Verdict: Yes", "**Final Judgment** - NO") decides. Where nothing is
    on it, the next line may, if that begins with Yes or No; else, and where no line is a verdict's, the last sentence
    of the reply, if it is nothing but Yes or No. Lines behind ">" are quotations, and never read.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith(">")]
    heads = [(at, line[found.end() :]) for at, line in enumerate(lines) if (found := _HEAD.match(line))]
    at, rest = heads[-1] if heads else (-1, "")
    said, after = _said(rest), lines[at + 1 :]
    if not said and heads and after and _OPENING.match(after[0]) and not rest.strip(" *_`#"):
        said = _said(after[0])
    if not said and after:
        said = _closing(after[-1])
    return said.pop() if len(said) == 1 else None


def _said(line: str) -> set[bool]:
    return {found[0].lower() == "yes" for found in _SAID.finditer(line)}


def _closing(line: str) -> set[bool]:
    found = _CLOSING.match(line.strip("*_`# "))
    return {found[1].lower() == "yes"} if found else set()


def _vote(reply: Completion | Failure) -> Vote:
    if isinstance(reply, Failure):
        return Vote("", None, reply.reason)
    text = reply.text.strip()
    if reply.finish != "stop":
        return Vote(text, None, "cut off" if reply.finish == "length" else "refused")
    verdict = read_verdict(text)
    return Vote(text, verdict, "" if verdict is not None else "unreadable" if text else "empty")


# The two ends of a judge


def checked(judge: Judge, is_right: Callable[[str, str], bool]) -> Judge:
    """Return the judge that is never wrong: the same votes, valued 1 or 0 by a checker (prompt, response) -> right.

    What the votes left without a value stays so. The critique is the first vote that agrees with the checker.
    """
    return _Altered(judge, lambda prompt, response, first, votes: (votes, float(is_right(prompt, response))))


def at_random(judge: Judge, seed: int) -> Judge:
    """Return the judge that knows nothing: the same votes, the verdict of each that can be read given by a coin.

    The coin depends on seed, prompt, response and the vote's sample index, and on nothing else.
    """

    def toss(prompt: str, response: str, first: int, votes: tuple[Vote, ...]) -> tuple[tuple[Vote, ...], float]:
        coins = [random.Random(repr((seed, prompt, response, first + at))).random() < 0.5 for at in range(len(votes))]
        tossed = [
            vote if vote.verdict is None else Vote(vote.text, coin) for vote, coin in zip(votes, coins, strict=True)
        ]
        verdicts = [vote.verdict for vote in tossed if vote.verdict is not None]
        return (*tossed,), sum(verdicts) / len(verdicts)

    return _Altered(judge, toss)


_Alter = Callable[[str, str, int, tuple[Vote, ...]], tuple[tuple[Vote, ...], float]]
"""From prompt, response, index of the first vote, and the votes: other votes, and the value."""


@dataclass(frozen=True)
class _Altered:
    """A judge whose judgements are altered where they have a value."""

    judge: Judge
    alter: _Alter

    def chat(self, prompt: str, response: str) -> Chat:
        return self.judge.chat(prompt, response)

    def __call__(self, prompt: str, response: str, first: int = 0, votes: int | None = None) -> Flow[Judgement]:
        found = yield from self.judge(prompt, response, first, votes)
        if found.value is None:
            return found
        return Judgement(*self.alter(prompt, response, first, found.votes))
