"""SFT and DPO against plain TRL, on the same rows, to the same losses; and how near that is to what the model allows.

Rows are of mixed lengths (log-normal, median 60, at most 512 tokens), half of each is learned. Both sides make the same
optimiser steps of 32 rows with AdamW in float32. TRL has its default of 8 rows at once, padded to the longest, and ours
as many as fit into 8 times the longest row: more rows, where they are short. Tuned, TRL has all rows of a step at once.
Its gradient checkpointing is off, as ours is, and so is its bfloat16. Tokens are those of the rows, without pads.
Measured is the training alone, from a model and token ids to the last step; DPO's contains whatever asks the reference.
The limit is one forward and backward of as many tokens in full rows, with logits of as many as are learned.

A random Llama (5M parameters, vocabulary of 4,096), and the shape and weights of an embedded model (0.35M).
"""

from __future__ import annotations

import contextlib
import math
import random
import secrets
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

from bench.alternate import peak, seconds
from bench.table import Figure
from sparring.training.dpo import Anchored, PairTrainer
from sparring.training.rows import EncodedPair, Row
from sparring.training.settings import DPOSettings, SFTSettings
from sparring.training.sft import WeightedTrainer
from sparring.training.shared import arguments
from sparring.worlds import concierge
from tests.tiny import tiny_tokenizer

MEDIAN, SPREAD, LONGEST = 60, 0.8, 512
BATCH, AT_ONCE, FULL = 32, 8, 64
"""Rows a step, rows at once (TRL's, and of the longest ours), and tokens of a row where no padding is to be had."""
TUNED = {"per_device_train_batch_size": BATCH, "gradient_accumulation_steps": 1}
RATE = 1e-4
NAMES = {
    "trl": "TRL",
    "trl_tuned": "TRL, a step's rows at once",
    "trl_stored": "TRL, reference stored",
    "limit": "limit: forward and backward of full rows",
}
"""What ours stands beside."""
RATIOS = {"trl": "ratio", "trl_tuned": "trl_tuned_ratio", "trl_stored": "stored_ratio", "limit": "of_limit"}
"""How much faster ours is, by the end of its key."""
LIBRARIES = ("trl", "datasets")
"""What the peers need. A machine may lack them, and measures the rest."""


def figures(what: str, key: str) -> list[Figure]:
    """Return the rows of one model's SFT and DPO."""
    asked = {"sft": (1.5, 2.5), "dpo": (1.3, 1.6)}
    return [
        Figure(
            f"{kind.upper()}: {what}",
            f"{key}_{kind}_tokens_per_s",
            "tokens/s",
            against=NAMES[peer],
            peer=f"{key}_{kind}_{peer}_tokens_per_s",
            ratio=f"{key}_{kind}_{RATIOS[peer]}",
            asked=asked[kind][0] if peer == "trl" else None,
            aim=asked[kind][1] if peer == "trl" else None,
        )
        for kind, others in (("sft", ("trl", "trl_tuned", "limit")), ("dpo", tuple(NAMES)))
        for peer in others
    ]


FIGURES = figures("random Llama, 5M", "train") + figures("embedded model, 0.35M", "train_world")


@dataclass(frozen=True)
class Stand:
    """A model, and rows for it."""

    model: Any
    tokenizer: Any
    rows: Sequence[Row]
    pairs: Sequence[EncodedPair]
    steps: int
    folder: Path
    bf16: bool = False
    """Autocast, on both sides."""

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
            "use_cpu": not torch.accelerator.is_available(),
            "bf16": self.bf16,
            "gradient_checkpointing": False,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
        }


SMALL = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4}
"""5M parameters, with 4,096 tokens."""


def random_llama(words: int = 4_096, longest: int = LONGEST, **shape: Any) -> tuple[Any, Any]:
    """Return a Llama of random weights that knows so many tokens, and its tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer: Any = tiny_tokenizer(f"w{n}" for n in range(words - 96))
    torch.manual_seed(0)
    config = LlamaConfig(
        **(shape or SMALL),
        vocab_size=words,
        max_position_embeddings=longest,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config), tokenizer


def stand(model: Any, tokenizer: Any, steps: int, folder: Path, bf16: bool = False) -> Stand:
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
    return Stand(model, tokenizer, rows, pairs, steps, folder, bf16)


def our_sft(at: Stand) -> Trainer:
    settings = SFTSettings(
        RATE, batch_size=BATCH, rows_per_device=AT_ONCE, warmup_share=0, schedule="constant", bf16=at.bf16
    )
    args = arguments(TrainingArguments, at.folder, 0, settings, at.steps, False)
    return WeightedTrainer(settings, at.rows, [], model=deepcopy(at.model), args=args)


def their_sft(at: Stand, **tuned: Any) -> Trainer:
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    labels = [[i if w else -100 for i, w in zip(row.ids, row.weights, strict=True)] for row in at.rows]
    data = Dataset.from_dict({"input_ids": [row.ids for row in at.rows], "labels": labels})
    args = SFTConfig(**at.theirs | tuned)
    return SFTTrainer(model=deepcopy(at.model), args=args, train_dataset=data, processing_class=deepcopy(at.tokenizer))


def our_dpo(at: Stand) -> Trainer:
    settings = DPOSettings(
        RATE,
        batch_size=BATCH,
        rows_per_device=AT_ONCE,
        warmup_share=0,
        schedule="constant",
        sft_weight=0,
        bf16=at.bf16,
    )
    args = arguments(TrainingArguments, at.folder, 0, settings, at.steps, False)
    return PairTrainer(settings, [Anchored(pair) for pair in at.pairs], [], model=deepcopy(at.model), args=args)


def their_dpo(at: Stand, stored: bool = False, **tuned: Any) -> Trainer:
    from datasets import Dataset
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    class Ready(DPOTrainer):
        """Token ids are what they are. What asks the reference beforehand is timed."""

        asking = 0.0

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, dataset: Any, *rest: Any, **more: Any) -> Any:
            start = time.perf_counter()
            found = super()._precompute_ref_logps(dataset, *rest, **more)
            self.asking += time.perf_counter() - start
            return found

    data = Dataset.from_list(
        [{"prompt_ids": one.prompt, "chosen_ids": one.chosen, "rejected_ids": one.rejected} for one in at.pairs]
    )
    data._fingerprint = secrets.token_hex(8)  # else TRL would find what it stored for an earlier training
    args, tokenizer = DPOConfig(**at.theirs | tuned, precompute_ref_log_probs=stored), deepcopy(at.tokenizer)
    model = deepcopy(at.model)
    reference = None if stored else deepcopy(at.model)  # TRL would open it by its name
    return Ready(model=model, ref_model=reference, args=args, train_dataset=data, processing_class=tokenizer)


def limit(at: Stand, tokens: int, learned: int) -> float:
    """Return the seconds of so many tokens forward and backward in full rows, as many at once as ours may have."""
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    return seconds(partial(_full, deepcopy(at.model).to(device).train(), at.bf16, tokens, learned))


def _full(model: Any, bf16: bool, tokens: int, learned: int) -> None:
    device, batch = model.device, AT_ONCE * LONGEST // FULL
    for start in range(0, tokens // FULL, batch):
        rows = min(batch, tokens // FULL - start)
        ids = torch.randint(20, model.config.vocab_size, (rows, FULL), device=device)
        kept = math.ceil(FULL * learned / tokens)
        with torch.autocast(device.type, torch.bfloat16, bf16):
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=kept).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, -kept:].flatten())
        loss.backward()
    if device.type != "cpu":
        torch.accelerator.synchronize()


Maker = Callable[[Stand], Trainer]


def trained(make: Maker, at: Stand) -> tuple[float, list[float]]:
    """Train; return the seconds it took, and the loss of each step."""
    trainer = make(at)
    took = seconds(trainer.train) + getattr(trainer, "asking", 0.0)
    return took, [line["loss"] for line in trainer.state.log_history if "loss" in line]


def against(
    name: str, at: Stand, ours: Maker, peers: Mapping[str, Maker], tokens: int, learned: int, times: int
) -> dict[str, float | str]:
    """Return tokens a second of ours, the peers and the limit, the ratios to them, and how far losses are apart.

    Where there is an accelerator, the most that each had there, too, in GB.
    """
    spent: dict[str, list[float]] = defaultdict(list)
    held: dict[str, float] = {}
    apart = 0.0
    absent = next((f"{library} is not installed" for library in LIBRARIES if find_spec(library) is None), "")
    makers = {"ours": ours} | ({} if absent else dict(peers))
    for _ in range(times + 1):
        curves: list[list[float]] = []
        for side, make in makers.items():
            (took, curve), held[side] = peak(partial(trained, make, at))
            spent[side].append(took)
            curves.append(curve)
        spent["limit"].append(limit(at, tokens, learned))
        for curve in curves[1:]:
            assert len(curve) == len(curves[0]) == at.steps
            apart = max([apart, *(abs(a - b) / abs(b) for a, b in zip(curves[0], curve, strict=True))])
    rounds = {side: took[1:] for side, took in spent.items()}  # the first was a warm-up of each
    found: dict[str, float | str] = {f"{name}_{peer}_tokens_per_s": absent for peer in peers}
    for side, took in rounds.items():
        start = name if side == "ours" else f"{name}_{side}"
        found[f"{start}_tokens_per_s"] = statistics.median(tokens / one for one in took)
        if held.get(side):
            found[f"{start}_gb"] = held[side]
        if side != "ours":
            key = f"{name}_{RATIOS[side]}"
            found[key] = statistics.median(a / b for a, b in zip(took, rounds["ours"], strict=True))
    return found | ({} if absent else {f"{name}_loss_apart": apart})


def both(name: str, at: Stand, times: int) -> dict[str, float | str]:
    tokens, learned = sum(row.tokens for row in at.rows), sum(w > 0 for row in at.rows for w in row.weights)
    peers: dict[str, Maker] = {"trl": their_sft, "trl_tuned": partial(their_sft, **TUNED)}
    found = against(f"{name}_sft", at, our_sft, peers, tokens, learned, times)
    tokens = sum(pair.tokens for pair in at.pairs)
    learned = sum(len(pair.chosen) + len(pair.rejected) for pair in at.pairs)
    stored, tuned = partial(their_dpo, stored=True), partial(their_dpo, **TUNED)
    peers = {"trl": their_dpo, "trl_tuned": tuned, "trl_stored": stored}
    return found | against(f"{name}_dpo", at, our_dpo, peers, tokens, learned, times)


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Keep trainers from printing what is printed here."""
    if find_spec("datasets"):
        from datasets import disable_progress_bars

        disable_progress_bars()
    with contextlib.redirect_stdout(None):
        yield


def measure(quick: bool) -> dict[str, float | str]:
    times = 1 if quick else 3
    with tempfile.TemporaryDirectory() as scratch, quiet():
        large = stand(*random_llama(), 1, Path(scratch))
        small = AutoModelForCausalLM.from_pretrained(concierge.MODEL, dtype=torch.float32)
        world = stand(small, AutoTokenizer.from_pretrained(concierge.MODEL), 1 if quick else 3, Path(scratch))
        return both("train", large, times) | both("train_world", world, times)
