"""Who is talked to: a model, the recipe that trained it, and the words and sampling under which it was trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sparring.engines.vllm import Serving


def no_examples() -> Iterator[str]:
    return iter(())


@dataclass(frozen=True)
class Partner:
    """A model and what has to be known to talk to it."""

    model: str
    """Its engine's name."""
    described: str
    """Who that is, in one line."""
    label: str = "model"
    """m_2: what it is called beside others."""
    recipe: str = ""
    """star-gate, tripost, spar; "": nobody knows, so it is talked to plainly."""
    settings: Any = None
    """The recipe's; None without one."""
    prompts: Mapping[str, str] = field(default_factory=lambda: dict[str, str]())
    """By name, as they were in training."""
    base: str = ""
    """Engine of m_0; "": there is none to compare with, or it is m_0 itself that is talked to."""
    refiner: str = ""
    """SPaR's: engine of R_t, which judges and refines; "": it is not there."""
    round: int = 0
    """0: before the first round."""
    examples: Callable[[], Iterator[str]] = no_examples
    """Yields things to try, held-out ones where they are known."""
    serving: Serving = field(default_factory=Serving)
    """How a vLLM server is started, where one is needed."""
