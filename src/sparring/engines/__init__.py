"""Engines: whatever continues chats (Generator) or tells how likely a text is (Scorer)."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sparring.errors import EngineError

KINDS = ("hf", "world")
"""Prefixes of engine names. `world:` is opened by `sparring.worlds`."""


def open_engine(name: str, **options: Any) -> Any:
    """Open `hf:ID`, a local folder or an id on the Hub. Raises EngineError for another kind, or a model not there."""
    kind, colon, rest = name.partition(":")
    if kind != "hf" or not colon or not rest:
        raise EngineError(f"unknown engine {name!r}; {_nearest(kind, name)}")
    try:
        from sparring.engines.hf import HF
    except ImportError as error:
        raise EngineError(f"engine {name!r} needs the local extra: pip install 'sparring[local]' ({error})") from error
    return HF(rest, **options)


def model_of(name: str) -> str:
    """Return the model behind an engine that can be trained: `hf:ID` -> ID."""
    kind, _, rest = name.partition(":")
    if kind != "hf":
        raise EngineError(f"policy {name!r} cannot be trained here; name it hf:ID or world:NAME/policy")
    return rest


def _nearest(kind: str, name: str) -> str:
    if Path(name).is_dir() or "/" in kind:
        return f"did you mean 'hf:{name}'?"
    close = get_close_matches(kind, KINDS, n=1)
    return f"did you mean {close[0]}:...?" if close else "an engine is hf:ID or world:NAME/ROLE"
