"""Supervised fine-tuning with a weight per token (`rows`), by `transformers.Trainer`.

The loss of an optimiser step is sum(w * ce) / sum(w) over its whole batch, however the batch is cut into micro batches
and devices; averaging micro batches would give a token in a short one more say. It runs in the job's process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Trainer, TrainingArguments

from sparring.training.examples import numbers
from sparring.training.rows import Row, cut, encode, held_out
from sparring.training.settings import LoRASettings, SFTSettings, Tracking
from sparring.training.shared import (
    Emit,
    adapter_config,
    arguments,
    carry_out,
    check_context,
    followers,
    opened,
    report,
    save,
    steps_of,
)
from sparring.types import Chat, Example


def collate(rows: Sequence[Row]) -> dict[str, Tensor]:
    """Pad on the right to (rows, longest). The mask comes from lengths: an end-of-turn is seen even if it is the pad.

    So the pad id itself is of no account; 0 is one that every model has.
    """
    longest = max(len(row.ids) for row in rows)
    pads = [longest - len(row.ids) for row in rows]
    return {
        "input_ids": torch.tensor([row.ids + [0] * pad for row, pad in zip(rows, pads, strict=True)]),
        "attention_mask": torch.tensor([[1] * (longest - pad) + [0] * pad for pad in pads]),
        "weights": torch.tensor([row.weights + [0.0] * pad for row, pad in zip(rows, pads, strict=True)]),
    }


def weighted_loss(logits: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
    """Return sum(w * ce) over a micro batch: logits (B, T, V), ids and weights (B, T); nats, not yet normalised."""
    learned = weights[:, 1:] > 0  # position t predicts token t + 1
    losses = functional.cross_entropy(logits[:, :-1][learned].float(), ids[:, 1:][learned], reduction="none")
    return (losses * weights[:, 1:][learned]).sum()


def divisor(weights: Tensor, settings: SFTSettings) -> Tensor:
    """Return what a batch's loss is divided by: the sum of its weights, or the number of its learned tokens."""
    return weights.sum() if settings.normaliser == "weights" else (weights > 0).sum()


class WeightedTrainer(Trainer):
    """The Trainer with our loss: every micro batch is divided by the divisor of the whole optimisation batch."""

    loss_is_scaled_for_ga = True

    def __init__(self, settings: SFTSettings, held: Sequence[Row], **rest: Any):
        super().__init__(eval_dataset=cast("Any", list(held) or None), data_collator=collate, **rest)
        self.settings = settings
        total = float(sum(divisor(torch.tensor(row.weights), settings) for row in held))
        self.rows_per_divisor = len(held) / total if held else 0.0

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Tensor]], device: torch.device) -> Tensor:
        totals = [divisor(batch["weights"], self.settings) for batch in batch_samples]
        return cast("Tensor", self.accelerator.gather(torch.stack(totals).sum().to(device))).sum()

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        assert num_items_in_batch is not None
        # Gradients are averaged over processes, and the divisor is of all of them.
        return self._total(model, inputs) / num_items_in_batch * self.accelerator.num_processes

    def prediction_step(
        self, model: torch.nn.Module, inputs: dict[str, Tensor], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Tensor, None, None]:
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            # The Trainer averages over rows: scaled so that the mean is sum(w * ce) / divisor over all held-out rows.
            loss = self._total(model, inputs) * self.rows_per_divisor / len(inputs["input_ids"])
        return loss, None, None

    def _total(self, model: torch.nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False).logits
        return weighted_loss(logits, inputs["input_ids"], inputs["weights"])


def fine_tune(
    model_id: str,
    examples: Sequence[Example],
    folder: Path,
    seed: int,
    settings: SFTSettings,
    emit: Emit,
    tracking: Tracking | None = None,
) -> dict[str, Any]:
    """Train `model_id` on `examples` and write a checkpoint into `folder`; return the report that goes with it.

    `emit` is given the length report before training and a line a step. The checkpoint is float32 safetensors,
    tokenizer, chat template, generation config and canary; with `lora`, what was merged also stands in `adapter/`.
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
        held,
        model=_adapted(model, settings.lora, seed),
        train_dataset=train,
        args=arguments(TrainingArguments, folder, seed, settings, steps_of(train, settings), bool(held), tracking),
        callbacks=followers(emit, tracking),
    )
    seconds = carry_out(trainer, settings)
    longest = [max(row.tokens for row in each) for each in encoded]
    uncut = [example for example, most in zip(examples, longest, strict=True) if most <= settings.max_length]
    save(trainer, tokenizer, template, folder, [_last_reply(example) for example in uncut])
    return report(trainer, seconds, lengths, train, held)


def _adapted(model: Any, lora: LoRASettings | None, seed: int) -> Any:
    torch.manual_seed(seed)  # PEFT draws the adapter's first weights before the Trainer seeds
    if lora is None:
        return model
    from peft import get_peft_model

    return get_peft_model(model, adapter_config(lora))


def _last_reply(example: Example) -> tuple[Chat, str]:
    """Return the last reply that is learned, and what was said before it."""
    last = max(at for at, weight in enumerate(example.weights) if any(numbers(weight)))
    return example.messages[:last], example.messages[last]["content"]
