"""Training rows as a model reads them: token ids, and a weight for each token's prediction, or a pair's two replies.

A message's weight is one number, or pieces of its characters; either way it comes down to its tokens here. Only what
the assistant said is ever learned, its end-of-turn included: the spans come from `Template`, so a reply is trained on
as it was sampled.
"""

from __future__ import annotations

import math
import random
import statistics
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from sparring.engines.template import Template
from sparring.errors import TrainingError
from sparring.training.examples import check
from sparring.training.settings import DPOSettings, SFTSettings, TrainingSettings
from sparring.types import Example, Pair

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Row:
    """An example as the model reads it, or a part of one that ends with a reply."""

    ids: list[int]
    weights: list[float]
    """One a token: how much its prediction counts. 0 for all that the assistant did not say."""

    @property
    def tokens(self) -> int:
        """What goes through the model for it."""
        return len(self.ids)

    @property
    def longest(self) -> int:
        """Tokens that it is as long as."""
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """A pair as the model reads it: token ids of the prompt with its cue, and of each reply with its end-of-turn."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    @property
    def longest(self) -> int:
        """Tokens of the longer of its two rows."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))

    @property
    def tokens(self) -> int:
        """What goes through the model for it: the prompt twice."""
        return 2 * len(self.prompt) + len(self.chosen) + len(self.rejected)


@dataclass(frozen=True, slots=True)
class LengthReport:
    """How long the rows are as trained (`encode`), before any is cut, in tokens; of a pair, its longer row."""

    rows: int
    min: int
    median: float
    p95: int
    max: int
    truncated: int
    """Rows longer than `max_length`, which lose their end; a pair has nothing left then."""
    truncated_share: float
    emptied: int
    """Rows without anything to learn after that, and pairs whose two replies are the same tokens; they are left out."""
    learned_tokens: int
    """Tokens with a weight, after cutting; of a pair, those of both replies."""


def encode(example: Example, template: Template, name: str) -> list[Row]:
    """Return the example as token ids and token weights.

    That is one row, or one a learned reply where the template rewrites earlier turns. Raises TrainingError where it
    holds nothing to learn; DataError where its weights are not of its messages; EngineError for pieces of a message
    where the tokenizer does not tell which characters a token stands for.
    """
    check(example, name)
    rows: list[Row] = []
    for rendered in template.rows(example.messages):
        weights = [0.0] * len(rendered.ids)
        # A folded chat has lost its system message, which is never learned: the spans are of the last messages.
        for at, (start, end) in enumerate(rendered.spans, len(example.messages) - len(rendered.spans)):
            if start < end:
                weights[start:end] = _spread(example, at, end - start, template)
        weights[0] = 0.0  # nothing comes before the first token, so nothing predicts it
        if any(weights):
            rows.append(Row(rendered.ids, weights))
    if not rows:
        raise TrainingError(f"{name} has no token to learn: no assistant message has a weight above 0")
    return rows


def _spread(example: Example, at: int, tokens: int, template: Template) -> list[float]:
    """Return the weight of each token of the reply `at`, its end-of-turn included."""
    weight = example.weights[at]
    if not isinstance(weight, list):
        return [weight] * tokens
    ends = list(accumulate(count for count, _ in weight))
    starts = template.starts(example.messages[:at], example.messages[at]["content"])
    return [weight[min(bisect(ends, start), len(weight) - 1)][1] for start in starts]


def encode_pair(pair: Pair, template: Template) -> EncodedPair:
    """Return the pair as token ids. Raises EngineError as `Template.target` does."""
    before, chosen = template.target(pair.prompt, pair.chosen)
    return EncodedPair(before, chosen, template.target(pair.prompt, pair.rejected)[1])


def cut(rows: Sequence[Row], settings: SFTSettings) -> tuple[list[Row], LengthReport]:
    """Cut rows on the right, as published, and report. Raises TrainingError above `max_truncated`."""
    limit = settings.max_length
    short = [Row(row.ids[:limit], row.weights[:limit]) for row in rows]
    kept = [row for row in short if any(row.weights)]
    learned = sum(weight > 0 for row in kept for weight in row.weights)
    report = _report([len(row.ids) for row in rows], len(kept), learned, settings)
    if not kept:
        raise TrainingError(f"no training row has a token to learn within max_length = {limit} tokens")
    return kept, report


def whole(rows: Sequence[EncodedPair], settings: DPOSettings) -> tuple[list[EncodedPair], LengthReport]:
    """Return the pairs that fit and differ, and report. Raises TrainingError above `max_truncated`."""
    limit = settings.max_length
    kept = [row for row in rows if row.longest <= limit and row.chosen != row.rejected]
    learned = sum(len(row.chosen) + len(row.rejected) for row in kept)
    report = _report([row.longest for row in rows], len(kept), learned, settings)
    if not kept:
        raise TrainingError(f"no pair has two replies that differ within max_length = {limit} tokens")
    return kept, report


def _report(lengths: list[int], kept: int, learned: int, settings: TrainingSettings) -> LengthReport:
    limit = settings.max_length
    ordered, truncated = sorted(lengths), sum(length > limit for length in lengths)
    report = LengthReport(
        rows=len(ordered),
        min=ordered[0],
        median=statistics.median(ordered),
        p95=ordered[math.ceil(0.95 * len(ordered)) - 1],
        max=ordered[-1],
        truncated=truncated,
        truncated_share=truncated / len(ordered),
        emptied=len(ordered) - kept,
        learned_tokens=learned,
    )
    if report.truncated_share > settings.max_truncated:
        raise TrainingError(
            f"{report.truncated} of {report.rows} training rows ({report.truncated_share:.1%}) are longer than "
            f"max_length = {limit} tokens, above max_truncated = {settings.max_truncated:.1%} (median "
            f"{report.median:g}, p95 {report.p95}, longest {report.max}): raise max_length, or max_truncated if "
            f"{'they may be left out' if settings.kind == 'dpo' else 'answers may lose their ends'}"
        )
    return report


def held_out(rows: Sequence[R], share: float, seed: int) -> tuple[list[R], list[R]]:
    """Return the rows to train on and those held out, shuffled by the seed."""
    shuffled = random.Random(seed).sample(rows, len(rows))
    count = min(round(share * len(rows)), len(rows) - 1)
    return shuffled[count:], shuffled[:count]
