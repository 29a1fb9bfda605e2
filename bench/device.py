"""SFT, DPO, scoring and generation on an accelerator, at 0.1B and 1B parameters of random weights: speed and memory.

Training stands beside TRL and a forward and backward of full rows, as in `bench.training`, all in bfloat16 under
autocast; scoring beside the logits of whole rows, and generation beside bare `generate`, with weights in bfloat16.
Memory is the most that stood on the accelerator. Without one nothing is measured, but

    python -m bench.device      tries the code on the CPU, with a tiny model
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench import rollouts, scoring, training
from bench.alternate import peak
from bench.table import Figure, unmeasured
from sparring.engines.hf import HF
from sparring.types import user

SIZES: dict[str, dict[str, int]] = {
    "tiny": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "words": 512,
    },
    "0.1B": {
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "words": 32_000,
    },
    "1B": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "words": 32_000,
    },
}
ON_DEVICE = ("0.1B", "1B")
STEPS, CONTEXT = 3, 2048


def figures(size: str) -> list[Figure]:
    key = f"device_{size}"
    speed = [
        Figure(
            f"{what}: {size} on the accelerator",
            f"{key}_{name}_per_s",
            unit,
            against=peer,
            peer=f"{key}_{name}_other_per_s",
            ratio=f"{key}_{name}_ratio",
        )
        for what, name, unit, peer in (
            ("scoring", "score", "texts/s", "logits of whole rows"),
            ("generation", "tokens", "tokens/s", "bare `generate`"),
        )
    ]
    memory = [
        Figure(f"{what}: {size}, memory", f"{key}_{name}_gb", "GB", against=peer, peer=f"{key}_{name}_{other}_gb")
        for what, name, peer, other in (
            ("SFT", "sft", "TRL", "trl"),
            ("DPO", "dpo", "TRL", "trl"),
            ("DPO", "dpo", "TRL, reference stored", "trl_stored"),
            ("scoring", "score", "logits of whole rows", "other"),
            ("generation", "tokens", "bare `generate`", "other"),
        )
    ]
    return [*training.figures(f"{size} on the accelerator", key), *speed, *memory]


FIGURES = [figure for size in ON_DEVICE for figure in figures(size)]


def measure(quick: bool, sizes: Sequence[str] = ()) -> dict[str, float | str]:
    """Measure the sizes; without any named, those of a GPU where there is one."""
    if not sizes and not torch.accelerator.is_available():
        return unmeasured(FIGURES, "no accelerator at hand")
    found = unmeasured(FIGURES, "left out of a quick run")
    for size in sizes or (ON_DEVICE[:1] if quick else ON_DEVICE):
        found |= measured(size, 1 if quick else 3)
    return found


def measured(size: str, times: int) -> dict[str, float | str]:
    model, tokenizer = training.random_llama(longest=CONTEXT, **SIZES[size])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with training.quiet():
            at = training.stand(model, tokenizer, STEPS, folder, torch.accelerator.is_available())
            found = training.both(f"device_{size}", at, times)
        model.save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
        del at, model
        engine = rollouts.Recording(folder / "model", rows=rollouts.ROWS)
        return found | spoken(f"device_{size}_tokens", engine, times) | scored(f"device_{size}_score", engine, times)


def words(draw: random.Random, low: int, high: int) -> str:
    return " ".join(f"w{draw.randrange(400)}" for _ in range(draw.randint(low, high)))


def scored(name: str, engine: HF, times: int) -> dict[str, float | str]:
    """Score texts of 128 tokens in contexts of some hundred."""
    draw = random.Random(0)
    pairs = [([user(words(draw, 256, 512))], words(draw, 112, 144)) for _ in range(8 * times)]
    engine.rows = 8
    found: dict[str, float | str] = dict(scoring.against(name, engine, pairs, times))
    works = {"gb": partial(scoring.ours, engine, pairs), "other_gb": partial(scoring.full_logits, engine, pairs)}
    return found | memories(name, works)


def spoken(name: str, engine: rollouts.Recording, times: int) -> dict[str, float | str]:
    """Hold conversations of which every turn is as long as it may be."""
    draw = random.Random(0)
    tasks = [words(draw, 8, 32) for _ in range(20 * times)]
    engine.ends, engine.model.generation_config.eos_token_id = frozenset(), None
    found: dict[str, float | str] = dict(rollouts.against(name, engine, tasks, times))
    batches = rollouts.padded(engine, engine.seen)
    works = {"gb": partial(rollouts.stage, engine, tasks), "other_gb": partial(rollouts.bare, engine, batches)}
    return found | memories(name, works)


def memories(name: str, works: dict[str, Any]) -> dict[str, float | str]:
    held = {key: peak(work)[1] for key, work in works.items()}
    return {f"{name}_{key}": gb for key, gb in held.items() if gb}


if __name__ == "__main__":
    print(json.dumps(measured("tiny", 1)))
