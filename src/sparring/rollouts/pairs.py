"""Pairs: what an actor, or a judge, learns from by preference.

SPaR (Cheng et al. 2024, https://arxiv.org/abs/2412.11605) takes the answer that a tree search accepted over the very
answer it began with: the two differ where it matters and nowhere else. Its rivals on the same data are here too:
answers drawn independently, one that passed over one that failed, or the best over the worst. In a judge's pairs a
critique that agrees with the majority stands over one that does not.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from sparring.errors import SettingsError
from sparring.flow import Flow, Role
from sparring.rollouts.distance import edit_distance, in_common
from sparring.rollouts.tree import Tree
from sparring.select import unique
from sparring.signals.judge import Judge, Judgement
from sparring.types import Pair, user

Source = Literal["refined", "independent", "extremes", "judge"]
"""refined: what a search accepted over where it began. independent: of one prompt's answers, one that passed over one
that failed. extremes: its best over its worst. judge: a critique of the majority over a dissenting one."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sampled answer, complete and not empty, and what the judge made of it."""

    prompt_id: str
    prompt: str
    index: int
    """Of the sample."""
    response: str
    judgement: Judgement | None = None
    """None: not judged yet."""

    @property
    def id(self) -> str:
        return f"{self.prompt_id} #{self.index}"

    @property
    def value(self) -> float | None:
        return self.judgement.value if self.judgement else None

    @property
    def passed(self) -> bool | None:
        """Whether the majority says Yes; None for a tie, and where it could not be judged or was not yet."""
        return self.judgement.majority if self.judgement else None

    def row(self) -> dict[str, Any]:
        judged = self.judgement.row() if self.judgement else None
        said = {"prompt_id": self.prompt_id, "prompt": self.prompt, "index": self.index, "response": self.response}
        return {**said, "judgement": judged}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Attempt:
        judged = Judgement.from_row(row["judgement"]) if row["judgement"] else None
        return cls(row["prompt_id"], row["prompt"], row["index"], row["response"], judged)


def attempt(prompt_id: str, prompt: str, index: int, actor: Role) -> Flow[Attempt]:
    """Have the actor answer; an answer refused, cut off or empty fails the flow, so that it is learned from nowhere."""
    response = yield from actor.say([user(prompt)], index)
    return Attempt(prompt_id, prompt, index, response)


def judged(made: Attempt, judge: Judge) -> Flow[Attempt]:
    """Have an answer judged."""
    judgement = yield from judge(made.prompt, made.response)
    return replace(made, judgement=judgement)


@dataclass(frozen=True, slots=True)
class PairRow:
    """A pair, where it comes from, and how far its two sides lie apart, in words (what white space separates)."""

    id: str
    source: Source
    pair: Pair
    depth: int | None = None
    """Of the accepted node; None where there was no tree."""

    @property
    def edits(self) -> int:
        """Words to put in, take out or replace to come from the rejected to the chosen."""
        return edit_distance(self.pair.rejected.split(), self.pair.chosen.split())

    @property
    def similarity(self) -> float:
        """Twice the words in common, in order, over all words, in [0, 1]; twins have 1. (The paper reports a string
        similarity of 0.90 for refined and 0.85 for independent pairs, and does not say which.)"""
        chosen, rejected = self.pair.chosen.split(), self.pair.rejected.split()
        words = len(chosen) + len(rejected)
        return 2 * in_common(chosen, rejected) / words if words else 1.0

    @property
    def length_ratio(self) -> float | None:
        """Words chosen over words rejected; None where nothing was rejected."""
        words = len(self.pair.rejected.split())
        return len(self.pair.chosen.split()) / words if words else None

    def row(self) -> dict[str, Any]:
        """Return it as a line of a file to train on."""
        apart = {"edits": self.edits, "similarity": round(self.similarity, 4), "length_ratio": self.length_ratio}
        sides = {"prompt": self.pair.prompt, "chosen": self.pair.chosen, "rejected": self.pair.rejected}
        return {"id": self.id, "source": self.source, "depth": self.depth, **apart, **sides}


# An actor's


def refined(trees: Iterable[Tree]) -> list[PairRow]:
    """Return of each tree the answer it accepted over the one it began with (not over its parent, as published).

    A tree that accepted nothing, or accepted its root as it stood, has no pair.
    """
    return [
        PairRow(tree.id, "refined", Pair([user(tree.prompt)], leaf.response, tree.root.response), leaf.depth)
        for tree in trees
        if (leaf := tree.leaf) is not None and leaf is not tree.root
    ]


def independent(attempts: Iterable[Attempt], seed: int) -> list[PairRow]:
    """Return of each prompt an answer that passed over one that failed.

    The one that failed is that of `failed`, from which a search would begin, so that both kinds of pair reject the same
    answers; the other is drawn likewise. A prompt whose answers all passed, or all failed, has no pair.
    """
    attempts = list(attempts)
    passed = {one.prompt_id: one for one in _one_a_prompt(attempts, True, seed)}
    return [
        _over("independent", passed[one.prompt_id], one) for one in failed(attempts, seed) if one.prompt_id in passed
    ]


def failed(attempts: Iterable[Attempt], seed: int) -> list[Attempt]:
    """Return of each prompt one answer that the majority calls wrong, drawn by the seed; searches begin from these.

    What is drawn depends on the answers to its own prompt alone.
    """
    return _one_a_prompt(attempts, False, seed)


def extremes(attempts: Iterable[Attempt]) -> list[PairRow]:
    """Return of each prompt the answer of highest value over that of lowest, the first of equals, as Self-Rewarding.

    A prompt whose answers all have one value has no pair.
    """
    pairs: list[PairRow] = []
    for group in _by_prompt(one for one in attempts if one.value is not None):
        best, worst = max(group, key=_value), min(group, key=_value)
        if _value(best) > _value(worst):
            pairs.append(_over("extremes", best, worst))
    return pairs


# A judge's


def judge_pairs(trees: Iterable[Tree], attempts: Iterable[Attempt], judge: Judge) -> list[PairRow]:
    """Return of everything judged a critique of the majority over a dissenting one, where votes differed.

    The published code collects the dissenting critique and throws it away. What is judged twice is learned once.
    """
    met = [(one.id, one.prompt, one.response, one.judgement) for one in attempts]
    met += [(f"{t.id} node {node.id}", t.prompt, node.response, node.judgement) for t in trees for node in t.nodes]
    pairs = [
        PairRow(id, "judge", Pair(judge.chat(prompt, response), right, wrong))
        for id, prompt, response, judgement in met
        if judgement and (right := agreeing(judgement)) is not None and (wrong := judgement.dissent) is not None
    ]
    return unique(pairs, lambda one: one.pair.prompt[0]["content"])


def agreeing(judgement: Judgement) -> str | None:
    """Return the first critique whose own verdict is the majority's; None for a tie, or where no vote says so (a
    checker may have decided against all of them)."""
    if judgement.majority is None:
        return None
    return next((vote.text for vote in judgement.votes if vote.verdict is judgement.majority), None)


# What is not learned


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far apart the sides of a pair may lie. Defaults let all pass; raises SettingsError for impossible values."""

    similarity: float = 0.0
    """Least, in [0, 1]."""
    length_ratio: float = math.inf
    """Most that one side may be longer than the other, >= 1."""
    edits: int | None = None
    """Most words changed, >= 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.similarity <= 1:
            raise SettingsError(f"similarity = {self.similarity}: the least of two texts lies in [0, 1]")
        if not self.length_ratio >= 1:
            raise SettingsError(f"length_ratio = {self.length_ratio}: it bounds longer over shorter, which is >= 1")
        if self.edits is not None and self.edits < 1:
            raise SettingsError(f"edits = {self.edits}: two sides that differ lie at least 1 word apart")


def hygiene(rows: Iterable[PairRow], bounds: Bounds | None = None) -> tuple[list[PairRow], dict[str, int]]:
    """Return the pairs worth learning from, and how many of the others were left out for which reason."""
    kept, dropped = list[PairRow](), Counter[str]()
    for row in rows:
        if reason := _unfit(row, bounds or Bounds()):
            dropped[reason] += 1
        else:
            kept.append(row)
    return kept, dict(sorted(dropped.items()))


def _unfit(row: PairRow, bounds: Bounds) -> str | None:
    chosen, rejected = row.pair.chosen.strip(), row.pair.rejected.strip()
    if not chosen or not rejected:
        return "empty"
    if chosen == rejected:
        return "no-op"
    ratio = row.length_ratio or math.inf
    if max(ratio, 1 / ratio) > bounds.length_ratio:
        return "length ratio"
    if bounds.edits is not None and row.edits > bounds.edits:
        return "edits"
    return "similarity" if bounds.similarity and row.similarity < bounds.similarity else None


def _over(source: Source, chosen: Attempt, rejected: Attempt) -> PairRow:
    pair = Pair([user(chosen.prompt)], chosen.response, rejected.response)
    return PairRow(f"{chosen.id} over #{rejected.index}", source, pair)


def _one_a_prompt(attempts: Iterable[Attempt], passed: bool, seed: int) -> list[Attempt]:
    groups = _by_prompt(one for one in attempts if one.passed is passed)
    return [random.Random(f"{seed}/{group[0].prompt_id}/{passed}").choice(group) for group in groups]


def _by_prompt(attempts: Iterable[Attempt]) -> list[list[Attempt]]:
    groups: dict[str, list[Attempt]] = {}
    for one in attempts:
        groups.setdefault(one.prompt_id, []).append(one)
    return list(groups.values())


def _value(one: Attempt) -> float:
    return -math.inf if one.value is None else one.value
