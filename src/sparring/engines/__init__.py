"""Engines: whatever continues chats (Generator, Served) or tells how likely a text is (Scorer)."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparring.errors import EngineError

if TYPE_CHECKING:
    from sparring.engines.vllm import Serving

FORMS = {
    "hf": "hf:ID (a folder or a Hub id, in this process)",
    "vllm": "vllm:ID (a vLLM server is started for it)",
    "http": "http://host:port/v1#model (a server that is there)",
    "world": "world:NAME/ROLE",
    "human": "human: (a person at this terminal)",
}
"""How engines are named, by the first word. `world:` is opened by `sparring.worlds`."""


def open_engine(name: str, serving: Serving | None = None) -> Any:
    """Open an engine by its name. Raises EngineError for another kind, a model not there, a server that is no help.

    `serving` is how `vllm:ID` is started.
    """
    kind, _, rest = name.partition(":")
    if is_remote(name):
        from sparring.engines.http import HTTP

        return HTTP.from_name(name).open()
    if is_person(name):
        from sparring.engines.human import Human

        return Human(rest)
    if not rest or kind not in ("hf", "vllm"):
        raise EngineError(f"unknown engine {name!r}; {_nearest(kind, name)}")
    try:
        if kind == "vllm":
            from sparring.engines.vllm import Serving, open_vllm

            return open_vllm(rest, serving or Serving())
        from sparring.engines.hf import HF

        return HF(rest)
    except ImportError as error:
        raise EngineError(f"engine {name!r} needs the local extra: pip install 'sparring[local]' ({error})") from error


def model_of(name: str) -> str:
    """Return the model behind an engine that can be trained: `hf:ID` and `vllm:ID` -> ID."""
    kind, _, rest = name.partition(":")
    if kind not in ("hf", "vllm") or not rest:
        raise EngineError(f"policy {name!r} cannot be trained here; name it hf:ID, vllm:ID or world:NAME/policy")
    return rest


def trained(policy: str, checkpoint: Path) -> str:
    """Return the name of the engine that holds what was trained from `policy`: on its server as an adapter, or here."""
    return f"{policy}@{checkpoint}" if policy.startswith("vllm:") else f"hf:{checkpoint}"


def is_remote(name: str) -> bool:
    """Tell whether an engine is a server that others run, whose calls may cost."""
    return name.startswith(("http:", "https:"))


def is_person(name: str) -> bool:
    """Tell whether an engine is a person, who costs nothing and is never asked the same twice."""
    return name.startswith("human:")


def without_options(name: str) -> str:
    """Return who answers, whatever the way there: of a pool the first server with the model, as its calls go by."""
    servers, mark, model = name.partition("#")
    return f"{servers.partition('?')[0].partition(',')[0]}#{model}" if mark else name


def _nearest(kind: str, name: str) -> str:
    if Path(name).is_dir() or "/" in kind:
        return f"did you mean 'hf:{name}'?"
    close = get_close_matches(kind, FORMS, n=1)
    return f"did you mean {FORMS[close[0]]}?" if close else f"an engine is {'; '.join(FORMS.values())}"
