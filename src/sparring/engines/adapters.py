"""LoRA adapters in folders, as PEFT writes them: `adapter_config.json` and `adapter_model.safetensors`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sparring.engines import weights
from sparring.errors import EngineError


def adapter_in(checkpoint: Path) -> Path:
    """Return where in a checkpoint its adapter is. Raises EngineError where there is none."""
    if not checkpoint.is_dir():
        raise EngineError(f"adapter {str(checkpoint)!r} cannot be loaded: there is no such folder")
    inner = checkpoint / "adapter"
    folder = inner if inner.is_dir() else checkpoint
    read_adapter(folder)
    return folder


def read_adapter(folder: Path) -> dict[str, Any]:
    """Return the config of the LoRA adapter in `folder`. Raises EngineError where there is none."""
    path = folder / "adapter_config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        int(config["r"])
    except FileNotFoundError:
        raise EngineError(
            f"{str(folder)!r} holds no adapter (adapter_config.json): train with lora, or serve the checkpoint as a "
            "model of its own, vllm:CHECKPOINT"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError(f"{path} describes no LoRA adapter: {error!r}") from error
    if not (folder / "adapter_model.safetensors").is_file():
        raise EngineError(f"{str(folder)!r} holds no adapter_model.safetensors; its weights must be safetensors")
    return config


def layers_of(folder: Path) -> set[str]:
    """Return the last part of the name of each layer that an adapter changes, from the header of its weights."""
    names = [name.partition(".lora_")[0] for name in weights.shapes(folder / "adapter_model.safetensors")]
    return {name.rpartition(".")[2] for name in names}
