"""What every training in this process does alike, around the loss that is its own.

A model is opened with its template, an optimisation is set up and followed, and a checkpoint is written with its canary
and its report.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from sparring.engines.hf import open_model
from sparring.engines.template import Template, end_tokens
from sparring.errors import TrainingError
from sparring.training.callbacks import Saving
from sparring.training.canary import Canary, write_canary
from sparring.training.rows import LengthReport
from sparring.training.settings import PROJECT, LoRASettings, Tracking, TrainingSettings
from sparring.training.steps import Steps
from sparring.types import Chat

CANARIES = 4
"""Rows whose log-probs go with the checkpoint."""
ADAPTER = "adapter"
"""Where in a checkpoint the adapter stands that was merged into it."""
A = TypeVar("A", bound=TrainingArguments)


class Counted(Protocol):
    """A row that knows how many tokens go through the model for it."""

    @property
    def tokens(self) -> int: ...


def opened(model_id: str, rows: Sequence[object], settings: TrainingSettings) -> tuple[Any, Any, Template]:
    """Return tokenizer, model and template for a training on `rows`.

    Raises TrainingError where there are none; EngineError for a model that cannot be opened or learned with.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    if not rows:
        raise TrainingError("there are no rows to train on")
    tokenizer, model = open_model(model_id, torch.float32)
    return tokenizer, model, Template(tokenizer, model_id, end_tokens(model, tokenizer))


def check_context(model_id: str, model: Any, longest: int) -> None:
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit and longest > limit:
        raise TrainingError(
            f"a row of {longest} tokens does not fit the {limit} of model {model_id!r}: lower max_length"
        )


def adapted(model: Any, lora: LoRASettings | None, seed: int) -> Any:
    """Return the model as it is trained: with an adapter, where that is what is trained."""
    torch.manual_seed(seed)  # PEFT draws the adapter's first weights before the Trainer seeds
    if lora is None:
        return model
    from peft import LoraConfig, get_peft_model  # an extra that most jobs do without

    names = lora.target_modules
    config = LoraConfig(
        task_type="CAUSAL_LM", r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=names
    )
    return get_peft_model(model, config)


def steps_of(train: Sequence[Counted], settings: TrainingSettings) -> int:
    """Return the optimiser steps of a training, at least one: those of its epochs, or as many as its tokens take."""
    epochs = settings.tokens / sum(row.tokens for row in train) if settings.tokens else settings.epochs
    steps = epochs * math.ceil(len(train) / settings.batch_size)
    return max(1, math.ceil(steps * (1 - 1e-9)))  # 0.07 x 100 is 7.000000000000001, and 7 steps


def arguments(
    kind: type[A],
    folder: Path,
    seed: int,
    settings: TrainingSettings,
    steps: int,
    validated: bool,
    tracking: Tracking | None = None,
    **more: Any,
) -> A:
    """Return the Trainer's settings, of its own `kind`; `more` are those that only this kind has."""
    devices = int(os.environ.get("WORLD_SIZE", "1"))
    return kind(
        output_dir=str(folder),
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        # The rate is 0 at the first step of a warm-up: a run of one step would learn nothing.
        warmup_steps=min(math.ceil(settings.warmup_share * steps), steps - 1),
        weight_decay=settings.weight_decay,
        max_steps=steps,
        include_num_input_tokens_seen="non_padding",
        per_device_train_batch_size=max(1, settings.batch_size // devices),  # as is told; `batches` cuts the steps
        bf16=settings.bf16,
        use_cpu=not torch.accelerator.is_available(),  # else bf16 is refused on a CPU
        activation_checkpointing=settings.gradient_checkpointing,
        eval_strategy="epoch" if validated else "no",
        save_strategy="no",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=[],  # `followers` are told
        run_name=tracking.name if tracking else None,
        project=PROJECT,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        seed=seed,
        **more,
    )


def carry_out(trainer: Trainer, settings: TrainingSettings, steps: Steps | None) -> float:
    """Train, from the last of `steps` if there is one; return the seconds it took, those up to that step included.

    Raises TrainingError for an adapter on sharded weights.
    """
    trainer.remove_callback(PrinterCallback)
    if settings.lora and (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        raise TrainingError("lora is merged before saving, which cannot be done on sharded weights: train without FSDP")
    trainer.accelerator.wait_for_everyone()  # until the first process has thrown away the steps of another job
    last = steps.last() if steps else None
    started = time.perf_counter() - (steps.seconds(last) if steps and last else 0)
    if steps and settings.save_every:
        trainer.args.output_dir = str(steps.folder)
        trainer.add_callback(Saving(steps, settings.save_every, trainer, started))
    trainer.train(resume_from_checkpoint=str(steps.at(last)) if steps and last else None)
    return time.perf_counter() - started


def save(
    trainer: Trainer, tokenizer: Any, template: Template, folder: Path, canaries: Sequence[tuple[Chat, str]]
) -> None:
    """Write the checkpoint: weights, tokenizer, and log-probs of the first few of `canaries`, (chat, reply)."""
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
        if sharding := trainer.accelerator.state.fsdp_plugin if trainer.is_fsdp_enabled else None:
            sharding.set_state_dict_type("FULL_STATE_DICT")  # else FSDP 2 leaves the weights out
        trainer.save_model(str(folder))
    scored = [_canary(model, template, chat, reply) for chat, reply in canaries[:CANARIES]]
    if first:
        tokenizer.save_pretrained(folder)
        write_canary(folder, scored)
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


def _canary(model: Any, template: Template, chat: Chat, target: str) -> Canary:
    before, reply = template.target(chat, target)
    ids = torch.tensor([before + reply], device=next(model.parameters()).device)
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0, len(before) - 1 : -1].double()
    picked = logits.log_softmax(-1).gather(-1, ids[0, len(before) :, None])
    return Canary(chat, target, float(picked.sum()), len(reply))


def report(
    trainer: Trainer, seconds: float, lengths: LengthReport, train: Sequence[object], held: Sequence[object]
) -> dict[str, Any]:
    """Return what is told of any training."""
    lines = trainer.state.log_history
    return {
        "steps": trainer.state.global_step,
        "tokens": trainer.state.num_input_tokens_seen,
        "seconds": round(seconds, 3),
        "rows": {"train": len(train), "validation": len(held)},
        "lengths": asdict(lengths),
        "curve": [_point(line) for line in lines if "loss" in line or "eval_loss" in line],
        "versions": {name: version(name) for name in ("torch", "transformers", "accelerate")},
    }


def _point(line: dict[str, Any]) -> dict[str, Any]:
    names = {"step": "step", "loss": "loss", "eval_loss": "validation_loss", "grad_norm": "grad_norm"}
    names |= {"rewards/margins": "margin", "eval_rewards/margins": "validation_margin"}  # of pairs: beta x nats
    return {new: line[old] for old, new in names.items() if old in line}
