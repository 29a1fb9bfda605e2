"""SFT and DPO against plain TRL, on the same rows, to the same losses; and how near that is to what the model allows.

Rows are of mixed lengths (log-normal, median 60, at most 512 tokens), half of each is learned. Both sides make the same
optimiser steps with AdamW in float32, TRL with its defaults: 8 rows at once, padded to the longest. Its gradient
checkpointing is off, as ours is, and so is its bfloat16. Tokens are those of the rows, without pads. Measured is the
training alone, from a model and token ids to the last step; DPO's contains whatever asks the reference. The limit is
one forward and backward of as many tokens in full rows, with logits of as many as are learned.

A random Llama (5M parameters, vocabulary of 4,096), and the shape and weights of an embedded model (0.35M).
"""

from __future__ import annotations

import contextlib
import math
import random
import statistics
import tempfile
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from bench.alternate import seconds
from sparring.training.dpo import Anchored, PairTrainer
from sparring.training.rows import EncodedPair, Row
from sparring.training.settings import DPOSettings, SFTSettings
from sparring.training.sft import WeightedTrainer
from sparring.training.shared import arguments
from sparring.worlds import concierge
from tests.tiny import tiny_tokenizer

MEDIAN, SPREAD, LONGEST = 60, 0.8, 512
BATCH, AT_ONCE, FULL = 32, 8, 64
"""Rows a step, rows at once on both sides, and tokens of a row where there is no padding to be had."""
RATE = 1e-4


@dataclass(frozen=True)
class Stand:
    """A model, and rows for it."""

    model: Any
    tokenizer: Any
    rows: Sequence[Row]
    pairs: Sequence[EncodedPair]
    steps: int
    folder: Path

    @property
    def theirs(self) -> dict[str, Any]:
        """What TRL is given besides its defaults: what both sides do alike, and what is off on both."""
        return {
            "output_dir": str(self.folder),
            "max_steps": self.steps,
            "gradient_accumulation_steps": BATCH // AT_ONCE,
            "per_device_train_batch_size": AT_ONCE,
            "learning_rate": RATE,
            "lr_scheduler_type": "constant",
            "seed": 0,
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
        }


def random_llama() -> tuple[Any, Any]:
    """Return a Llama of random weights and its tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer: Any = tiny_tokenizer(f"w{n}" for n in range(4_000))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=LONGEST,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config), tokenizer


def stand(model: Any, tokenizer: Any, steps: int, folder: Path) -> Stand:
    draw = random.Random(0)
    most = min(LONGEST, model.config.max_position_embeddings)

    def length() -> int:
        return max(8, min(most, round(MEDIAN * math.exp(SPREAD * draw.gauss(0, 1)))))

    def ids(count: int) -> list[int]:
        return [draw.randrange(20, model.config.vocab_size) for _ in range(count)]

    def row(count: int) -> Row:
        return Row(ids(count), [0.0] * (count // 2) + [1.0] * (count - count // 2))

    def pair(chosen: int, rejected: int) -> EncodedPair:
        prompt = min(chosen, rejected) // 2
        return EncodedPair(ids(prompt), ids(chosen - prompt), ids(rejected - prompt))

    rows = [row(length()) for _ in range(steps * BATCH)]
    pairs = [pair(length(), length()) for _ in range(steps * BATCH)]
    return Stand(model, tokenizer, rows, pairs, steps, folder)


def our_sft(at: Stand) -> Trainer:
    settings = SFTSettings(RATE, batch_size=BATCH, rows_per_device=AT_ONCE, warmup_share=0, schedule="constant")
    args = arguments(TrainingArguments, at.folder, 0, settings, at.steps, False)
    return WeightedTrainer(settings, at.rows, [], model=deepcopy(at.model), args=args)


def their_sft(at: Stand) -> Trainer:
    labels = [[i if w else -100 for i, w in zip(row.ids, row.weights, strict=True)] for row in at.rows]
    data = Dataset.from_dict({"input_ids": [row.ids for row in at.rows], "labels": labels})
    args = SFTConfig(**at.theirs)
    return SFTTrainer(model=deepcopy(at.model), args=args, train_dataset=data, processing_class=deepcopy(at.tokenizer))


def our_dpo(at: Stand) -> Trainer:
    settings = DPOSettings(
        RATE, batch_size=BATCH, rows_per_device=AT_ONCE, warmup_share=0, schedule="constant", sft_weight=0
    )
    args = arguments(TrainingArguments, at.folder, 0, settings, at.steps, False)
    return PairTrainer(settings, [Anchored(pair) for pair in at.pairs], [], model=deepcopy(at.model), args=args)


def their_dpo(at: Stand) -> Trainer:
    class Ready(DPOTrainer):
        """Token ids are what they are."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    data = Dataset.from_list(
        [{"prompt_ids": one.prompt, "chosen_ids": one.chosen, "rejected_ids": one.rejected} for one in at.pairs]
    )
    args, tokenizer = DPOConfig(**at.theirs), deepcopy(at.tokenizer)
    model, reference = deepcopy(at.model), deepcopy(at.model)  # TRL would open the reference by its name
    return Ready(model=model, ref_model=reference, args=args, train_dataset=data, processing_class=tokenizer)


def limit(at: Stand, tokens: int, learned: int) -> None:
    """Forward and backward of so many tokens in full rows, as many at once as both trainers may have."""
    model, batch = deepcopy(at.model).train(), AT_ONCE * LONGEST // FULL
    for start in range(0, tokens // FULL, batch):
        rows = min(batch, tokens // FULL - start)
        ids = torch.randint(20, at.model.config.vocab_size, (rows, FULL))
        kept = math.ceil(FULL * learned / tokens)
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=kept).logits
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, -kept:].flatten()).backward()


def against(name: str, at: Stand, makers: Sequence[Callable[[Stand], Trainer]], tokens: int, learned: int, times: int):
    """Return tokens a second of ours, TRL's and the limit, the ratio to TRL, and how far the losses are apart."""
    spent: list[tuple[float, float, float]] = []
    apart = 0.0
    for _ in range(times + 1):
        both = [make(at) for make in makers]
        took = [seconds(trainer.train) for trainer in both]
        spent.append((took[0], took[1], seconds(partial(limit, at, tokens, learned))))
        curves = [[line["loss"] for line in trainer.state.log_history if "loss" in line] for trainer in both]
        assert len(curves[0]) == len(curves[1]) == at.steps
        apart = max([apart, *(abs(a - b) / abs(b) for a, b in zip(*curves, strict=True))])
    del spent[0]  # a warm-up of each
    return {
        f"{name}_tokens_per_s": statistics.median(tokens / ours for ours, _, _ in spent),
        f"{name}_trl_tokens_per_s": statistics.median(tokens / trl for _, trl, _ in spent),
        f"{name}_limit_tokens_per_s": statistics.median(tokens / least for _, _, least in spent),
        f"{name}_ratio": statistics.median(trl / ours for ours, trl, _ in spent),
        f"{name}_of_limit": statistics.median(least / ours for ours, _, least in spent),
        f"{name}_loss_apart": apart,
    }


def both(name: str, at: Stand, times: int) -> dict[str, float]:
    tokens, learned = sum(row.tokens for row in at.rows), sum(w > 0 for row in at.rows for w in row.weights)
    found = against(f"{name}_sft", at, (our_sft, their_sft), tokens, learned, times)
    tokens = sum(pair.tokens for pair in at.pairs)
    learned = sum(len(pair.chosen) + len(pair.rejected) for pair in at.pairs)
    return found | against(f"{name}_dpo", at, (our_dpo, their_dpo), tokens, learned, times)


def measure(quick: bool) -> dict[str, float]:
    disable_progress_bars()
    times = 1 if quick else 3
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(None):
        large = stand(*random_llama(), 1, Path(scratch))
        small = AutoModelForCausalLM.from_pretrained(concierge.MODEL, dtype=torch.float32)
        world = stand(small, AutoTokenizer.from_pretrained(concierge.MODEL), 1 if quick else 3, Path(scratch))
        return both("train", large, times) | both("train_world", world, times)
