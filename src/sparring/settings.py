"""Settings: a frozen pydantic model, read from layers that overlay each other.

Later layers win, key by key also inside tables; `name=value` overrides come last. Whatever is wrong is one
SettingsError that names every bad setting with its value and bound. The docstring under a field is its help.

What all recipes set alike is here too: how a role speaks, and how a policy is trained.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator, model_validator
from pydantic_core import ErrorDetails

from sparring.errors import SettingsError
from sparring.types import Sampling


class Settings(BaseModel):
    """Base of every settings class."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def over_defaults(cls, given: Any) -> Any:
        """Lay a table that is given in part over its field's default, which may differ from its class's."""
        if not isinstance(given, Mapping):
            return given
        values = dict(cast(Mapping[str, Any], given))
        for name, field in cls.model_fields.items():
            if isinstance(field.default, Settings) and isinstance(values.get(name), Mapping):
                values[name] = _merged(field.default.model_dump(), values[name])
        return values

    @classmethod
    def load(cls, layers: Sequence[Mapping[str, Any] | Path] = (), overrides: Sequence[str] = ()) -> Self:
        """Return the defaults under `layers` (mappings or TOML files) under `overrides` (`"a.b=value"`)."""
        try:
            return cls.model_validate(overlaid(layers, overrides))
        except ValidationError as error:
            names = list(_names(cls))
            raise SettingsError("\n".join(_message(detail, names) for detail in error.errors())) from error


class Voice(Settings):
    """How a role's words are drawn."""

    temperature: float = Field(default=0.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus mass."""
    max_tokens: int = Field(default=700, ge=1)
    """Longest reply, in tokens."""

    def sampling(self, seed: int) -> Sampling:
        return Sampling(self.temperature, self.top_p, self.max_tokens, seed)


class Player(Voice):
    """A role other than the policy's."""

    engine: str = ""
    """`base` for m_0, hf:ID, vllm:ID, world:NAME/ROLE, human:NAME, or a server: https://host/v1#model. It must be
    named: m_0 is nobody's judge unless you say so."""


class Serving(Settings):
    """How a `vllm:MODEL` server is started. Names and defaults are `engines.vllm.Serving`'s."""

    command: tuple[str, ...] = ("vllm", "serve")
    """Of the environment that holds vLLM: [".venv-vllm/bin/python", "-m", "vllm.entrypoints.openai.api_server"]."""
    arguments: tuple[str, ...] = ()
    """Added to ours, and over them: ["--dtype", "bfloat16", "--gpu-memory-utilization", "0.8"]."""
    environment: dict[str, str] = {}
    """Variables of the server's process."""
    startup: float = Field(default=600, gt=0)
    """Seconds it may take until it answers."""
    max_lora_rank: int = Field(default=16, ge=1)
    """Largest rank of an adapter that it loads; a training's `lora` with a larger r raises it."""
    concurrency: int = Field(default=256, ge=1)
    """Most calls under way at once."""
    stay: bool = False
    """Keep it running while the policy is trained: where there is memory for both."""


class Training(Settings):
    """Of the policy, each round. Names and defaults are `training.sft.SFTSettings`'."""

    learning_rate: float = Field(default=2e-5, gt=0)
    """AdamW's, at its highest."""
    epochs: float = Field(default=1, gt=0, allow_inf_nan=False)
    """Passes over the rows; 0.5 is half of one."""
    tokens: int | None = Field(default=None, ge=1)
    """Tokens to put through the model in all, in place of `epochs`: rounds and ablations of unlike size train alike."""
    batch_size: int = Field(default=64, ge=1)
    """Chats an optimiser step."""
    rows_per_device: int = Field(default=4, ge=1)
    """Chats a device holds at once."""
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    """Of the learning rate after its warm-up."""
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps with a rising rate."""
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """AdamW's."""
    normaliser: Literal["weights", "tokens"] = "weights"
    """A batch's loss is sum(weight x cross-entropy) over the sum of the weights, or over the number of learned tokens:
    then a weight above 1 also raises the rate of learning."""
    max_length: int = Field(default=1024, ge=2)
    """Longest row, in tokens."""
    max_truncated: float = Field(default=0.05, ge=0, le=1)
    """Largest share of rows that may be cut at `max_length`; the published run cut 16-21 % unseen."""
    validation_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of the rows kept for a validation loss."""
    gradient_checkpointing: bool = False
    """Less memory, about a third more time."""
    launcher: tuple[str, ...] = ()
    """Stands where `python` would: ["accelerate", "launch", "--num_processes", "8"]."""
    bf16: bool = False
    """Compute in bfloat16; the weights, and the checkpoint, stay float32."""
    threads: int | None = Field(default=None, ge=1)
    """Of torch on the CPU; None leaves it to torch."""
    lora: dict[str, Any] | None = None
    """PEFT's r, alpha, dropout, target_modules; None trains every weight."""
    save_every: int | None = Field(default=None, ge=1)
    """Steps between saves from which a killed training goes on, at 12 bytes a trained parameter; None begins again."""
    report_to: tuple[Literal["trackio", "wandb", "tensorboard"], ...] = ()
    """Trackers that are told of it, and of the rounds: ["trackio"]. They change nothing."""

    @field_validator("epochs")
    @classmethod
    def _whole(cls, epochs: float) -> float:
        return int(epochs) if epochs.is_integer() else epochs

    @field_serializer("epochs")
    def _as_it_is(self, epochs: float) -> Any:
        return epochs  # pydantic would write 5 as 5.0


class Preference(Training):
    """Of the policy on pairs, by DPO. Names and defaults are `training.dpo`'s settings, `DPOSettings`.

    Batches, shares and `tokens` are of pairs, both replies with their prompt; a pair that is longer than `max_length`
    on either side is left out, and bounded by `max_truncated`.
    """

    beta: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """How near to the reference the policy is held: a margin of 1 / beta nats is a log-odds of 1."""
    sft_weight: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    """Of the chosen reply's cross-entropy, mean over its tokens, beside DPO's loss. A tiny model needs about 1."""
    reference: str = ""
    """The model whose log-probs are the anchor: `base` for m_0, or a model's name; empty is the one it starts from."""

    @field_validator("normaliser")
    @classmethod
    def _unweighted(cls, normaliser: str) -> str:
        if normaliser != "weights":
            raise ValueError("must be left alone: the tokens of a pair have no weights")
        return normaliser


def check_served(policy: str, init: str, **trainings: Training) -> None:
    """Raise ValueError for a served policy that is not trained, by each of its trainings, as an adapter of the base."""
    lacking = any(training.lora is None for training in trainings.values())
    if policy.startswith("vllm:") and (lacking or init != "base"):
        names = " and ".join(f"{name}.lora" for name in trainings)
        raise ValueError(
            f"policy = {policy!r}: a served policy is trained as adapters of the base, so {names} must be set "
            '({r = 16} will do) and init be "base"; or name it hf:'
        )


def overlaid(layers: Sequence[Mapping[str, Any] | Path] = (), overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return what layers and overrides give, unchecked."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merged(merged, _table(layer) if isinstance(layer, Path) else layer)
    for override in overrides:
        merged = _merged(merged, _override(override))
    return merged


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            value = _merged(cast(Mapping[str, Any], below), cast(Mapping[str, Any], value))
        merged[key] = value
    return merged


def _table(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return tomllib.loads(text)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}:{line}: not UTF-8 ({error.reason})") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(_toml_message(path, str(error))) from error


def _toml_message(path: Path, message: str) -> str:
    """Return `message` with its line moved to the front; tomllib names none for what breaks at the very end."""
    found = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if found:
        return f"{path}:{found[1]}: {message[: found.start()]} (column {found[2]})"
    lines = path.read_bytes().rstrip().count(b"\n") + 1
    return f"{path}:{lines}: {message}"


def _override(text: str) -> dict[str, Any]:
    """Return `a.b=value` as nested tables."""
    name, equals, value = text.partition("=")
    keys = [key.strip() for key in name.split(".")]
    if not equals:
        raise SettingsError(f"override {text!r} has no '='; write NAME=VALUE")
    if not all(keys):
        raise SettingsError(f"override {text!r} has no name before its '='; write NAME=VALUE")
    nested: Any = _literal(value.strip())
    for key in reversed(keys):
        nested = {key: nested}
    return nested


def _literal(text: str) -> Any:
    """Return what `text` means in TOML; what means nothing there, or a date, is a string."""
    try:
        table = tomllib.loads(f"value = {text}")
    except ValueError:
        return text
    value = table["value"]
    plain = isinstance(value, str | int | float | bool | list | dict)
    return cast(Any, value) if plain and len(table) == 1 else text


def _names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every setting, tables before what they hold."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _names(kind, f"{prefix}{name}.")


def _message(detail: ErrorDetails, names: Sequence[str]) -> str:
    name = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"unknown setting {name!r}; {_nearest(name, names)}"
    if detail["type"] == "missing":
        return f"{name} is required"
    said = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    given = detail["input"]
    if isinstance(given, Mapping):  # with every default
        given = {key: value for key, value in cast(Mapping[str, Any], given).items() if value is not None}
    return f"{name} = {given!r:.200}: {said}" if name else said


def _nearest(name: str, names: Sequence[str]) -> str:
    last = {known.rpartition(".")[2]: known for known in reversed(names)}
    close = get_close_matches(name, names, n=1) or [last[key] for key in get_close_matches(name, last, n=1)]
    if close:
        return f"did you mean {close[0]!r}?"
    return f"the settings are {', '.join(names)}"
