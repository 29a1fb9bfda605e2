"""Proof of the hand-over: log-probs of a few fixed texts, taken under the weights as the trainer held them.

A sampler that was pointed at a checkpoint scores the same texts. If it disagrees it holds other weights, or reads the
chat template otherwise, and everything measured with it would be of another model.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sparring.engines.base import Scorer
from sparring.errors import RolloutError, TrainingError
from sparring.types import Chat

FILE = "canary.json"


@dataclass(frozen=True, slots=True)
class Canary:
    """One text and what the trainer thought of it."""

    chat: Chat
    """What was said before the target."""
    target: str
    """An assistant's words."""
    total: float
    """log p(target | chat), end-of-turn included, in nats, in float32 unless the model was sharded."""
    tokens: int
    """Tokens summed over."""


def write_canary(checkpoint: Path, canaries: list[Canary]) -> None:
    (checkpoint / FILE).write_text(json.dumps([asdict(canary) for canary in canaries], indent=1, ensure_ascii=False))


def read_canary(checkpoint: Path) -> list[Canary]:
    """Return the texts kept with a checkpoint. Raises TrainingError where it has none, so was not made by a job."""
    path = Path(checkpoint) / FILE
    if not path.is_file():
        raise TrainingError(f"{path} is missing: {checkpoint} was not written by a training job")
    return [Canary(**row) for row in json.loads(path.read_text())]


def check_canary(checkpoint: Path, scorer: Scorer) -> None:
    """Raise TrainingError where `scorer` differs from the trainer by more than its own rounding, in nats a token.

    In bfloat16 (`scorer.rounding`) a sampler is not the float32 trainer to the digit; other weights are further off.
    """
    tolerance: float = getattr(scorer, "rounding", 1e-3)
    canaries = read_canary(checkpoint)
    scores = scorer.log_prob([canary.chat for canary in canaries], [canary.target for canary in canaries])
    for canary, score in zip(canaries, scores, strict=True):
        if isinstance(score, RolloutError):
            raise TrainingError(f"the sampler of {checkpoint} cannot score its canary: {score}") from score
        apart = abs(score.total - canary.total) / max(1, canary.tokens)
        if score.tokens != canary.tokens or not apart <= tolerance:
            raise TrainingError(
                f"the sampler of {checkpoint} does not hold the weights that were trained: {canary.target!r} has "
                f"log-prob {score.total:.4f} nats over {score.tokens} tokens there, {canary.total:.4f} over "
                f"{canary.tokens} in the trainer (allowed: {tolerance} nats a token)"
            )
