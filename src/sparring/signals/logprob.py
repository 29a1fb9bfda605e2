"""How likely a text is after a chat, in nats: the signal of STaR-GATE, under the base model.

Section 3.3: the scorer is always m_0, whoever asked, and the sum runs over the target's tokens. Departure: the
target's end-of-turn token is scored with it (the published code left it out), so that a text and its beginning never
score alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sparring.engines.base import Scorer
from sparring.types import Chat, LogProb

AT_ONCE = 2048
"""Texts handed to the scorer at once, so that progress can be told."""

Told = Callable[[int, int], None]
"""Is told (done, of)."""


def log_probs(
    scorer: Scorer, texts: Sequence[tuple[Chat, str]], told: Told = lambda done, of: None
) -> list[float | None]:
    """Return log p(target | chat) for each (chat, target), in nats; None where the text does not fit the model."""
    totals: list[float | None] = []
    for start in range(0, len(texts), AT_ONCE):
        part = texts[start : start + AT_ONCE]
        scores = scorer.log_prob([chat for chat, _ in part], [target for _, target in part])
        totals += [score.total if isinstance(score, LogProb) else None for score in scores]
        told(len(totals), len(texts))
    return totals
