"""The embedded model with heads of 32 in place of 24: the same function, in a shape that vLLM's CPU kernels know.

vLLM's CPU attention takes heads of 32, 64, 80, 96, ... dimensions and dies at the first request to a model with others.
Padding is exact: the new dimensions of queries, keys and values are 0, queries make up for the smaller
1 / sqrt(head size), and a larger `rope_theta` gives the old dimensions the angles that they had.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

HEAD = 32


def servable(model: Path, folder: Path) -> Path:
    """Write the padded copy of a Llama whose heads are smaller than HEAD, and return its folder."""
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    heads, size = config["num_attention_heads"], config["head_dim"]
    assert size < HEAD and config["num_key_value_heads"] == heads
    config["head_dim"] = HEAD
    config["rope_parameters"]["rope_theta"] **= HEAD / size  # angle i is theta ** (-2 i / head size), as before
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        kind = name.split(".")[-2]
        if kind in ("q_proj", "k_proj", "v_proj"):
            wider = _padded(weight.T, heads, size).T
            weights[name] = wider * math.sqrt(HEAD / size) if kind == "q_proj" else wider
        elif kind == "o_proj":
            weights[name] = _padded(weight, heads, size)
    save_file(
        {name: weight.contiguous() for name, weight in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    return folder


def _padded(weight: torch.Tensor, heads: int, size: int) -> torch.Tensor:
    """Widen the last dimension, (..., heads * size) -> (..., heads * HEAD). RoPE turns dimension i with i + half."""
    halves = weight.unflatten(-1, (heads, 2, size // 2))
    return torch.nn.functional.pad(halves, (0, (HEAD - size) // 2)).flatten(-3)
