"""Settings: a frozen pydantic model, read from layers that overlay each other.

Later layers win, key by key also inside tables; `name=value` overrides come last. Whatever is wrong is one
SettingsError that names every bad setting with its value and bound. The docstring under a field is its help.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self, cast, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from sparring.errors import SettingsError


class Settings(BaseModel):
    """Base of every settings class."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    @classmethod
    def load(cls, layers: Sequence[Mapping[str, Any] | Path] = (), overrides: Sequence[str] = ()) -> Self:
        """Return the defaults under `layers` (mappings or TOML files) under `overrides` (`"a.b=value"`)."""
        merged: dict[str, Any] = {}
        for layer in layers:
            merged = _merged(merged, _table(layer) if isinstance(layer, Path) else layer)
        for override in overrides:
            merged = _merged(merged, _override(override))
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            names = list(_names(cls))
            raise SettingsError("\n".join(_message(detail, names) for detail in error.errors())) from error


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
    return f"{name} = {detail['input']!r:.200}: {said}" if name else said


def _nearest(name: str, names: Sequence[str]) -> str:
    last = {known.rpartition(".")[2]: known for known in reversed(names)}
    close = get_close_matches(name, names, n=1) or [last[key] for key in get_close_matches(name, last, n=1)]
    if close:
        return f"did you mean {close[0]!r}?"
    return f"the settings are {', '.join(names)}"
