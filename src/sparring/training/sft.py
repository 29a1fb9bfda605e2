"""Supervised fine-tuning with a weight per token (`rows`), by `transformers.Trainer`.

The loss of an optimiser step is sum(w * ce) / sum(w) over its whole batch, however the batch is cut into micro batches
and devices; averaging micro batches would give a token in a short one more say. This is the only file that loads torch
and transformers for training; it runs in the job's process.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from sparring.engines.hf import open_model
from sparring.engines.template import Template, end_tokens
from sparring.errors import TrainingError
from sparring.training.canary import Canary, write_canary
from sparring.training.examples import numbers
from sparring.training.rows import Row, cut, encode, held_out
from sparring.training.settings import LoRASettings, SFTSettings
from sparring.types import Example

Emit = Callable[[dict[str, Any]], None]
CANARIES = 4
"""Rows whose log-probs go with the checkpoint."""
ADAPTER = "adapter"
"""Where in a checkpoint the adapter stands that was merged into it."""


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


class Progress(TrainerCallback):
    """Hands each logged loss on, from the first process only."""

    def __init__(self, emit: Emit):
        self.emit = emit

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if state.is_world_process_zero and logs:
            names = {"loss": "loss", "learning_rate": "learning_rate", "eval_loss": "validation_loss"}
            found = {new: logs[old] for old, new in names.items() if old in logs}
            if found:
                self.emit({"step": state.global_step, "of": state.max_steps, **found})


def fine_tune(
    model_id: str, examples: Sequence[Example], folder: Path, seed: int, settings: SFTSettings, emit: Emit
) -> dict[str, Any]:
    """Train `model_id` on `examples` and write a checkpoint into `folder`; return the report that goes with it.

    `emit` is given the length report before training and a line a step. The checkpoint is float32 safetensors,
    tokenizer, chat template, generation config and canary; with `lora`, what was merged also stands in `adapter/`.
    The report's `tokens` are those that went through the model in training, no pads. Raises EngineError for a model
    that cannot be opened, or whose template or tokenizer cannot be learned with; TrainingError for one that takes fewer
    tokens than a row has, and for rows that cannot be learned; DataError for weights that are not of their messages.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    if not examples:
        raise TrainingError("there are no rows to train on")
    tokenizer, model = open_model(model_id, torch.float32)
    template = Template(tokenizer, model_id, end_tokens(model, tokenizer))
    encoded = [encode(example, template, f"row {number}") for number, example in enumerate(examples, 1)]
    rows, lengths = cut([row for each in encoded for row in each], settings)
    _check_context(model_id, model, max(len(row.ids) for row in rows))
    emit({"lengths": asdict(lengths)})
    train, held = held_out(rows, settings.validation_share, seed)
    torch.manual_seed(seed)  # PEFT draws the adapter's first weights before the Trainer seeds
    trainer = WeightedTrainer(
        settings,
        held,
        model=_adapted(model, settings.lora),
        train_dataset=train,
        args=_arguments(folder, seed, settings, steps_of(train, settings), bool(held)),
        callbacks=[Progress(emit)],
    )
    trainer.remove_callback(PrinterCallback)
    if settings.lora and (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        raise TrainingError("lora is merged before saving, which cannot be done on sharded weights: train without FSDP")
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
    longest = [max(len(row.ids) for row in each) for each in encoded]
    uncut = [example for example, most in zip(examples, longest, strict=True) if most <= settings.max_length]
    _save(trainer, tokenizer, template, folder, uncut[:CANARIES])
    return {
        "steps": trainer.state.global_step,
        "tokens": trainer.state.num_input_tokens_seen,
        "seconds": round(seconds, 3),
        "rows": {"train": len(train), "validation": len(held)},
        "lengths": asdict(lengths),
        "curve": [_point(line) for line in trainer.state.log_history if "loss" in line or "eval_loss" in line],
        "versions": {name: version(name) for name in ("torch", "transformers", "accelerate")},
    }


def _check_context(model_id: str, model: Any, longest: int) -> None:
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit and longest > limit:
        raise TrainingError(
            f"a row of {longest} tokens does not fit the {limit} of model {model_id!r}: lower max_length"
        )


def _adapted(model: Any, lora: LoRASettings | None) -> Any:
    if lora is None:
        return model
    from peft import LoraConfig, get_peft_model  # an extra that most jobs do without

    names = lora.target_modules
    config = LoraConfig(
        task_type="CAUSAL_LM", r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=names
    )
    return get_peft_model(model, config)


def steps_of(train: Sequence[Row], settings: SFTSettings) -> int:
    """Return the optimiser steps of a training, at least one: those of its epochs, or as many as its tokens take."""
    epochs = settings.tokens / sum(len(row.ids) for row in train) if settings.tokens else settings.epochs
    steps = epochs * math.ceil(len(train) / settings.batch_size)
    return max(1, math.ceil(steps * (1 - 1e-9)))  # 0.07 x 100 is 7.000000000000001, and 7 steps


def _arguments(folder: Path, seed: int, settings: SFTSettings, steps: int, validated: bool) -> TrainingArguments:
    micro, accumulation = settings.accumulation(int(os.environ.get("WORLD_SIZE", "1")))
    return TrainingArguments(
        output_dir=str(folder),
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        # The rate is 0 at the first step of a warm-up: a run of one step would learn nothing.
        warmup_steps=min(math.ceil(settings.warmup_share * steps), steps - 1),
        weight_decay=settings.weight_decay,
        max_steps=steps,
        include_num_input_tokens_seen="non_padding",
        per_device_train_batch_size=micro,
        per_device_eval_batch_size=micro,
        gradient_accumulation_steps=accumulation,
        bf16=settings.bf16,
        use_cpu=not torch.accelerator.is_available(),  # else bf16 is refused on a CPU
        activation_checkpointing=settings.gradient_checkpointing,
        eval_strategy="epoch" if validated else "no",
        save_strategy="no",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        seed=seed,
    )


def _save(trainer: Trainer, tokenizer: Any, template: Template, folder: Path, examples: Sequence[Example]) -> None:
    first = trainer.is_world_process_zero()
    if not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        model: Any = trainer.accelerator.unwrap_model(trainer.model_wrapped, keep_fp32_wrapper=False)
        if hasattr(model, "merge_and_unload"):
            if first:
                _save_adapter(model, Path(template.name), folder / ADAPTER)
            model = model.merge_and_unload()
        if first:
            model.save_pretrained(folder)
    else:
        model = trainer.model_wrapped  # sharded: every process takes part, in saving and in scoring
        trainer.save_model(str(folder))
    canaries = [_canary(model, template, example) for example in examples]
    if first:
        tokenizer.save_pretrained(folder)
        write_canary(folder, canaries)
        (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle of settings that training.json holds
    trainer.accelerator.wait_for_everyone()


def _save_adapter(model: Any, base: Path, folder: Path) -> None:
    """Write the adapter by itself, for servers that hold its base already."""
    config = model.peft_config["default"]
    config.base_model_name_or_path = base.name if base.is_dir() else str(base)  # so that a run can be moved
    if isinstance(config.target_modules, set):
        config.target_modules = sorted(config.target_modules)  # the same job writes the same bytes
    # PEFT would ask the Hub whether the base's vocabulary has grown; ours never does.
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink()  # a card of blanks


def _canary(model: Any, template: Template, example: Example) -> Canary:
    last = max(at for at, weight in enumerate(example.weights) if any(numbers(weight)))
    chat, target = example.messages[:last], example.messages[last]["content"]
    before, reply = template.target(chat, target)
    ids = torch.tensor([before + reply], device=next(model.parameters()).device)
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0, len(before) - 1 : -1].double()
    picked = logits.log_softmax(-1).gather(-1, ids[0, len(before) :, None])
    return Canary(chat, target, float(picked.sum()), len(reply))


def _point(line: dict[str, Any]) -> dict[str, Any]:
    names = {"step": "step", "loss": "loss", "eval_loss": "validation_loss", "grad_norm": "grad_norm"}
    return {new: line[old] for old, new in names.items() if old in line}
