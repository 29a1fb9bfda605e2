"""How a training is done. Plain dataclasses, because the training process must start without pydantic.

Defaults are STaR-GATE's (dossier, section 1.10), and for pairs SPaR's weights of the loss. What is not a setting is the
Trainer's default: AdamW, betas 0.9 and 0.999, gradients clipped at norm 1.
"""

from __future__ import annotations

import difflib
import math
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self, get_args

from sparring.errors import SettingsError

Normaliser = Literal["weights", "tokens"]
Schedule = Literal["cosine", "linear", "constant", "constant_with_warmup"]


PROJECT = "sparring"
"""Of the trackers: all runs are logged to it."""
QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_CONSOLE": "off",
    "WANDB_SILENT": "true",
}
"""Environment in which trackers do not report on their user, nor talk to the terminal; unset, they would."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """Where a training is logged while it goes on. It decides nothing of the weights."""

    report_to: tuple[str, ...]
    """The Trainer's own: `trackio`, `wandb`, `tensorboard`."""
    name: str
    """What the trackers know the Sparring run by."""
    stage: str
    """The checkpoint's path in that run: round-1/checkpoint."""
    folder: str
    """For what trackers keep in files: an absolute path."""

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Return what a JSON object holds."""
        return cls(tuple(values["report_to"]), values["name"], values["stage"], values["folder"])

    def environment(self) -> dict[str, str]:
        """Return what the Trainer's callbacks read from the environment, under what the user has set there."""
        return {
            **QUIET,
            "TENSORBOARD_LOGGING_DIR": f"{self.folder}/{self.stage}",
            "WANDB_PROJECT": PROJECT,
            "WANDB_DIR": self.folder,
            "WANDB_RUN_GROUP": self.name,
            "WANDB_JOB_TYPE": self.stage,
        }


def failures_of(tracker: str) -> tuple[type[Exception], ...]:
    """Return what a tracker raises where it cannot log: its files, server or user are at fault, and not our code."""
    own: list[type[Exception]] = []
    if tracker == "wandb":
        from wandb.errors import Error

        own.append(Error)
    if tracker == "trackio":
        from httpx import HTTPError

        own.append(HTTPError)
    return (OSError, RuntimeError, ValueError, sqlite3.Error, *own)


@dataclass(frozen=True, slots=True)
class LoRASettings:
    """A low-rank adapter, through PEFT. It is merged into the base before saving: the checkpoint is a whole model."""

    r: int = 16
    """Rank, at least 1."""
    alpha: int = 32
    """The update is scaled by alpha / r."""
    dropout: float = 0.0
    """On the adapter's input, in [0, 1)."""
    target_modules: str | list[str] = "all-linear"
    """Names of the layers adapted, or PEFT's `all-linear`."""

    def __post_init__(self) -> None:
        _bound("lora.r", self.r, self.r >= 1, ">= 1")
        _bound("lora.alpha", self.alpha, self.alpha > 0, "> 0")
        _bound("lora.dropout", self.dropout, 0 <= self.dropout < 1, "in [0, 1)")


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What every training has. An impossible value raises SettingsError."""

    kind: ClassVar[str]
    """Its name in a job's file."""

    learning_rate: float = 2e-5
    """At the end of the warm-up."""
    epochs: float = 1.0
    """Passes over the training rows; 0.5 is half of one."""
    tokens: int | None = None
    """Tokens to put through the model in all, in place of `epochs`, to the nearest steps. Runs whose rows differ in
    number or length can so be trained alike."""
    batch_size: int = 64
    """Sequences an optimiser step, over all devices; any number. An epoch's last step may have fewer."""
    rows_per_device: int = 4
    """Of the longest sequences there are, how many go through the model at once on one device; of shorter ones more, up
    to as many tokens with their pads. Changes memory and speed, not the result."""
    warmup_share: float = 0.1
    """Share of the steps with a rising rate, in [0, 1). The last step is never one of them."""
    schedule: Schedule = "cosine"
    """Of the learning rate after the warm-up."""
    weight_decay: float = 0.0
    """AdamW's."""
    max_length: int = 1024
    """Longest row, in tokens; a longer one loses its end, or a pair is left out."""
    max_truncated: float = 0.05
    """Largest share of rows that may lose their end, or of pairs that may be left out. The published runs cut 16 to
    21 % without a word."""
    validation_share: float = 0.05
    """Share of rows, drawn by the seed, that is held out. Its loss is logged after each epoch and decides nothing."""
    bf16: bool = False
    """Compute in bfloat16 under autocast. The weights, and the checkpoint, stay float32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    threads: int | None = None
    """Of torch on the CPU. None leaves it to torch; 1 is fastest where two processes share two cores."""
    lora: LoRASettings | None = None
    """Train an adapter in place of all weights."""
    save_every: int | None = None
    """Optimiser steps between saves from which a killed training goes on, to the weights that it would have had. None
    saves none, and it begins again. One save is kept, two while a new one is written: 12 bytes a parameter that is
    trained (its weight and AdamW's two moments), all on disk before the next step begins."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "epochs"):
            _bound(name, getattr(self, name), 0 < getattr(self, name) < math.inf, "> 0")
        for name in ("batch_size", "rows_per_device"):
            _bound(name, getattr(self, name), getattr(self, name) >= 1, ">= 1")
        for name in ("warmup_share", "validation_share"):
            _bound(name, getattr(self, name), 0 <= getattr(self, name) < 1, "in [0, 1)")
        _bound("weight_decay", self.weight_decay, self.weight_decay >= 0, ">= 0")
        _bound("max_length", self.max_length, self.max_length >= 2, ">= 2 tokens")
        _bound("max_truncated", self.max_truncated, 0 <= self.max_truncated <= 1, "in [0, 1]")
        _bound("tokens", self.tokens, self.tokens is None or self.tokens >= 1, ">= 1")
        _bound("save_every", self.save_every, self.save_every is None or self.save_every >= 1, ">= 1")
        _bound("threads", self.threads, self.threads is None or self.threads >= 1, ">= 1")
        _choice("schedule", self.schedule, get_args(Schedule))

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings that a JSON object names; SettingsError for an unknown name, with the nearest one."""
        _known(cls, values, "")
        lora = values.get("lora")
        if lora is not None:
            _known(LoRASettings, lora, "lora.")
            values = {**values, "lora": LoRASettings(**lora)}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class SFTSettings(TrainingSettings):
    """Supervised fine-tuning."""

    kind: ClassVar[str] = "sft"

    normaliser: Normaliser = "weights"
    """The batch's loss is sum(w * ce) over: `weights`, sum(w); `tokens`, the number of learned tokens (TriPosT), with
    which a weight above 1 also raises the rate of learning."""

    def __post_init__(self) -> None:
        TrainingSettings.__post_init__(self)
        _choice("normaliser", self.normaliser, get_args(Normaliser))


@dataclass(frozen=True, slots=True)
class DPOSettings(TrainingSettings):
    """Direct preference optimisation: a sequence is a pair here, its prompt counted with both of its replies.

    A pair of which a row is longer than `max_length` is left out: a reply that was cut is not the reply.
    """

    kind: ClassVar[str] = "dpo"

    beta: float = 0.1
    """Of the margin against the reference, a nat."""
    sft_weight: float = 0.1
    """Of the chosen reply's cross-entropy, mean over its tokens. 0 leaves DPO alone, which may lower both replies."""

    def __post_init__(self) -> None:
        TrainingSettings.__post_init__(self)
        _bound("beta", self.beta, 0 < self.beta < math.inf, "> 0")
        _bound("sft_weight", self.sft_weight, 0 <= self.sft_weight < math.inf, ">= 0")
        if self.lora:  # TRL turns dropout off, and reads the output layer without its adapter
            _bound("lora.dropout", self.lora.dropout, self.lora.dropout == 0, "0 where pairs are compared")
            names = self.lora.target_modules
            _bound("lora.target_modules", names, "lm_head" not in names, "without lm_head where pairs are compared")


KINDS: Mapping[str, type[TrainingSettings]] = {kind.kind: kind for kind in (SFTSettings, DPOSettings)}
"""The ways to train, by the name that a job's file has for them."""


def _bound(name: str, value: object, holds: bool, bound: str) -> None:
    if not holds:
        raise SettingsError(f"{name} = {value!r}, but it must be {bound}")


def _choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    _bound(name, value, value in allowed, f"one of {', '.join(allowed)}")


def _known(kind: type, values: Mapping[str, Any], prefix: str) -> None:
    names = [field.name for field in fields(kind)]
    for name in values:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {prefix}{near[0]}?" if near else f"; known are {', '.join(names)}"
            raise SettingsError(f"unknown training setting {prefix}{name}{hint}")
