"""The files of a model on this machine: where they are, and what they are. Loads no model library."""

from __future__ import annotations

import hashlib
import json
import struct
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

from sparring.errors import EngineError

FILES = ("*.safetensors", "*config.json", "tokenizer*", "*.jinja", "vocab.*", "merges.txt", "*.model")
"""What of a folder is the model: weights, configuration, tokenizer, chat template."""


def folder_of(model: str) -> Path | None:
    """Return a model's own folder, or that of an id on the Hub in the cache; None where its files are not here."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(model, "config.json")
    except HFValidationError:
        return None  # no id at all, as opening it will say
    cached = Path(config).parent if isinstance(config, str) else None
    return cached if cached and any(cached.glob("*.safetensors")) else None


def identity(model: str) -> str | None:
    """Return a name for a model that changes with what it is; None where its files are not on this machine.

    A folder is known by its contents, wherever it lies; an id on the Hub by its revision.
    """
    folder = folder_of(model)
    if folder is None:
        return None
    return digest(folder) if Path(model).expanduser().is_dir() else f"{model}@{folder.name}"


def digest(folder: Path) -> str:
    """Return 16 hex digits of all that the model in a folder is."""
    whole = hashlib.sha256()
    for path in sorted({path for pattern in FILES for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            whole.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:16]


def parameters(folder: Path) -> int:
    """Return the number of parameters in a folder's weights, read from their headers. Raises EngineError for none."""
    count = sum(prod(shape) for path in folder.glob("*.safetensors") for shape in shapes(path).values())
    if not count:
        raise EngineError(f"{folder} holds no weights (*.safetensors)")
    return count


def shapes(path: Path) -> dict[str, list[int]]:
    """Return the shape of each tensor in a file, by its name, from the file's header. Raises EngineError."""
    with path.open("rb") as file:
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            header: dict[str, Any] = json.loads(file.read(length))
            return {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}
        except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EngineError(f"{path} is no safetensors file: {error!r}") from error
