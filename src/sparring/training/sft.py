"""Supervised fine-tuning with a weight per token (`rows`), by `transformers.Trainer`.

The loss of an optimiser step is sum(w * ce) / sum(w) over its whole batch, however the batch is cut into micro batches
and devices; averaging micro batches would give a token in a short one more say. It runs in the job's process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from transformers import TrainingArguments

from sparring.training.batches import StepTrainer
from sparring.training.callbacks import Emit, followers
from sparring.training.examples import numbers
from sparring.training.rows import Row, cut, encode, held_out
from sparring.training.settings import SFTSettings, Tracking
from sparring.training.shared import (
    adapted,
    arguments,
    carry_out,
    check_context,
    opened,
    report,
    save,
    steps_of,
)
from sparring.training.steps import Steps
from sparring.types import Chat, Example


def collate(rows: Sequence[Row]) -> dict[str, Tensor]:
    """Pad on the right to (rows, longest). A pad has no weight, whatever its id; 0 is one that every model has."""
    longest = max(row.longest for row in rows)
    pads = [longest - row.longest for row in rows]
    return {
        "input_ids": torch.tensor([row.ids + [0] * pad for row, pad in zip(rows, pads, strict=True)]),
        "weights": torch.tensor([row.weights + [0.0] * pad for row, pad in zip(rows, pads, strict=True)]),
    }


class WeightedTrainer(StepTrainer):
    """The Trainer with our loss."""

    def __init__(self, settings: SFTSettings, train: Sequence[Row], held: Sequence[Row], **rest: Any):
        self.settings = settings
        super().__init__(settings, train, held, **rest)

    def collate(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        return collate(rows)

    def blank(self, row: Row) -> Row:
        return Row(row.ids[:2], [0.0, 0.0])

    def divisor(self, rows: Sequence[Row]) -> float:
        """Return the sum of the rows' weights, or the number of their learned tokens."""
        weights = [weight for row in rows for weight in row.weights]
        return sum(weights) if self.settings.normaliser == "weights" else sum(weight > 0 for weight in weights)

    def total(self, model: Module, inputs: dict[str, Tensor]) -> Tensor:
        """Return sum(w * ce) over a micro batch, in nats."""
        weights = inputs["weights"][:, 1:]  # position t predicts token t + 1
        return -(self.log_probs(model, inputs["input_ids"], weights > 0) * weights[weights > 0]).sum()


def fine_tune(
    model_id: str,
    examples: Sequence[Example],
    folder: Path,
    seed: int,
    settings: SFTSettings,
    emit: Emit,
    tracking: Tracking | None = None,
    steps: Steps | None = None,
) -> dict[str, Any]:
    """Train `model_id` on `examples` and write a checkpoint into `folder`; return the report that goes with it.

    `emit` is given the length report before training and a line a step. The checkpoint is float32 safetensors,
    tokenizer, chat template, generation config and canary; with `lora`, what was merged also stands in `adapter/`.
    `steps` is where steps are saved, and gone on from if there are any.
    The report's `tokens` are those that went through the model in training, no pads. Raises EngineError for a model
    that cannot be opened, or whose template or tokenizer cannot be learned with; TrainingError for one that takes fewer
    tokens than a row has, and for rows that cannot be learned; DataError for weights that are not of their messages.
    """
    tokenizer, model, template = opened(model_id, examples, settings)
    encoded = [encode(example, template, f"row {number}") for number, example in enumerate(examples, 1)]
    rows, lengths = cut([row for each in encoded for row in each], settings)
    check_context(model_id, model, max(row.tokens for row in rows))
    emit({"lengths": asdict(lengths)})
    train, held = held_out(rows, settings.validation_share, seed)
    trainer = WeightedTrainer(
        settings,
        train,
        held,
        model=adapted(model, settings.lora, seed),
        args=arguments(TrainingArguments, folder, seed, settings, steps_of(train, settings), bool(held), tracking),
        callbacks=followers(emit, tracking),
    )
    seconds = carry_out(trainer, settings, steps)
    longest = [max(row.tokens for row in each) for each in encoded]
    uncut = [example for example, most in zip(examples, longest, strict=True) if most <= settings.max_length]
    save(trainer, tokenizer, template, folder, [_last_reply(example) for example in uncut])
    return report(trainer, seconds, lengths, train, held)


def _last_reply(example: Example) -> tuple[Chat, str]:
    """Return the last reply that is learned, and what was said before it."""
    last = max(at for at, weight in enumerate(example.weights) if any(numbers(weight)))
    return example.messages[:last], example.messages[last]["content"]
