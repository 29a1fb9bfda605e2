"""How a checkpoint's chats are written and ended: what its template takes, and its generation config."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparring.errors import EngineError
from sparring.files import Row

IDS = ("bos_token_id", "pad_token_id", "decoder_start_token_id", "transformers_version")
"""Kept of a generation config. How the base was drawn is not how this model was measured."""


@dataclass(frozen=True, slots=True)
class Tongue:
    """What one must know of a chat template to speak to a model."""

    takes_system: bool
    """False: a system message goes to the head of the first user message, as in training."""
    thinks: bool
    """Whether the template knows `enable_thinking`, which is off in training."""
    ends: tuple[int, ...]
    """Every token that ends a turn."""
    head: int | None
    """Dimensions of an attention head; None where the config does not tell."""
    is_wide: bool
    """Whether weights have 32 bits."""

    @classmethod
    def of(cls, checkpoint: Path) -> Tongue:
        """Read it off a checkpoint. Raises EngineError for one without a tokenizer that can be opened."""
        from transformers import AutoTokenizer

        from sparring.engines.template import Template

        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint)
        except (OSError, ValueError) as error:
            raise EngineError(f"cannot open the tokenizer of {checkpoint}: {str(error).splitlines()[0]}") from error
        ends = {*_ids(_json(checkpoint / "generation_config.json").get("eos_token_id")), tokenizer.eos_token_id}
        known = tuple(sorted(one for one in ends if one is not None))
        template = Template(tokenizer, checkpoint.name, known)
        config, thinks = _json(checkpoint / "config.json"), "enable_thinking" in str(tokenizer.chat_template)
        is_wide = config.get("dtype", config.get("torch_dtype")) == "float32"
        return cls(template.takes_system, thinks, known, _head(config), is_wide)


def generation_config(checkpoint: Path, ends: tuple[int, ...], sampling: Mapping[str, Mapping[str, Any]]) -> Row:
    """Return the config under which `model.generate` draws what the model says first, as it was measured.

    It stops at every token that ends a turn, and leaves room for the longest part.
    """
    old = _json(checkpoint / "generation_config.json")
    return {
        **{name: old[name] for name in IDS if name in old},
        "eos_token_id": ends[0] if len(ends) == 1 else [*ends],
        **drawn(next(iter(sampling.values()))),
        "max_new_tokens": max(voice["max_tokens"] for voice in sampling.values()),
    }


def drawn(voice: Mapping[str, Any], among: bool = False) -> Row:
    """Return how a part is drawn, in the words of `model.generate`.

    `among`: the folder's config draws, so that for greedy words its sampling must be unset.
    """
    if not voice["temperature"]:
        unset: Row = {"temperature": None, "top_p": None, "top_k": None} if among else {}
        return {"do_sample": False, **unset, "max_new_tokens": voice["max_tokens"]}
    told = {"do_sample": True, "temperature": voice["temperature"], "top_p": voice["top_p"]}
    return {**told, "top_k": 0, "max_new_tokens": voice["max_tokens"]}


def _json(path: Path) -> Row:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _ids(configured: object) -> list[int]:
    return configured if isinstance(configured, list) else [configured] if isinstance(configured, int) else []


def _head(config: Row) -> int | None:
    if "head_dim" not in config and {"hidden_size", "num_attention_heads"} <= config.keys():
        return config["hidden_size"] // config["num_attention_heads"]
    return config.get("head_dim")
