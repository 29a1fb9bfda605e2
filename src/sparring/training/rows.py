"""Training rows as a model reads them: token ids, and a weight for each token's prediction.

A message's weight is one number, or pieces of its characters; either way it comes down to its tokens here. Only what
the assistant said is ever learned, its end-of-turn included: the spans come from `Template.rows`, so a reply is trained
on as it was sampled.
"""

from __future__ import annotations

import math
import random
import statistics
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from sparring.engines.template import Template
from sparring.errors import TrainingError
from sparring.training.examples import check
from sparring.training.settings import SFTSettings
from sparring.types import Example


@dataclass(frozen=True, slots=True)
class Row:
    """An example as the model reads it, or a part of one that ends with a reply."""

    ids: list[int]
    weights: list[float]
    """One a token: how much its prediction counts. 0 for all that the assistant did not say."""


@dataclass(frozen=True, slots=True)
class LengthReport:
    """How long the rows are as trained (`encode`), before any is cut, in tokens."""

    rows: int
    min: int
    median: float
    p95: int
    max: int
    truncated: int
    """Rows longer than `max_length`, which lose their end."""
    truncated_share: float
    emptied: int
    """Of these, rows that lose all there was to learn; they are left out."""
    learned_tokens: int
    """Tokens with a weight, after cutting."""


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


def cut(rows: Sequence[Row], settings: SFTSettings) -> tuple[list[Row], LengthReport]:
    """Cut rows on the right, as published, and report. Raises TrainingError above `max_truncated`."""
    limit = settings.max_length
    short = [Row(row.ids[:limit], row.weights[:limit]) for row in rows]
    kept = [row for row in short if any(row.weights)]
    report = _report([len(row.ids) for row in rows], limit, kept)
    if report.truncated_share > settings.max_truncated:
        raise TrainingError(
            f"{report.truncated} of {report.rows} training rows ({report.truncated_share:.1%}) are longer than "
            f"max_length = {limit} tokens, above max_truncated = {settings.max_truncated:.1%} (median "
            f"{report.median:g}, p95 {report.p95}, longest {report.max}): raise max_length, or max_truncated if "
            "answers may lose their ends"
        )
    if not kept:
        raise TrainingError(f"no training row has a token to learn within max_length = {limit} tokens")
    return kept, report


def _report(lengths: list[int], limit: int, kept: Sequence[Row]) -> LengthReport:
    ordered, truncated = sorted(lengths), sum(length > limit for length in lengths)
    return LengthReport(
        rows=len(ordered),
        min=ordered[0],
        median=statistics.median(ordered),
        p95=ordered[math.ceil(0.95 * len(ordered)) - 1],
        max=ordered[-1],
        truncated=truncated,
        truncated_share=truncated / len(ordered),
        emptied=len(ordered) - len(kept),
        learned_tokens=sum(weight > 0 for row in kept for weight in row.weights),
    )


def held_out(rows: Sequence[Row], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Return the rows to train on and those held out, shuffled by the seed."""
    shuffled = random.Random(seed).sample(rows, len(rows))
    count = min(round(share * len(rows)), len(rows) - 1)
    return shuffled[count:], shuffled[:count]
