"""A call as the ledger knows it: what is asked, what came of it, what it costs, and the text that is its key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

from sparring.types import Completion, LogProb


@dataclass(frozen=True, slots=True)
class Amount:
    """What a call may cost, or has cost."""

    usd: float | None
    """None where no price is known."""
    tokens: int
    """Prompt and completion; 0 for a call that costs nothing."""
    calls: int = 1


@dataclass(frozen=True)
class Wanted:
    """One call: what would be asked, and of whom."""

    kind: Literal["completion", "log_prob"]
    model: str
    """Who answers, with its revision or base URL."""
    asked: Mapping[str, Any]
    """What the server sees, as JSON: the messages with the sampling, or with the target that is scored."""
    sample_index: int = 0
    """Tells apart the independent samples of one prompt."""
    max_tokens: int | None = None
    """Longest completion wanted. No part of the key: a short answer stays valid when the limit grows."""
    role: str = ""
    """Who speaks. For the books, and no part of the key."""

    @cached_property
    def text(self) -> str:
        """`asked` as canonical JSON."""
        return canonical(self.asked)

    @cached_property
    def key(self) -> str:
        """SHA-256, in hex, of the canonical JSON of kind, model, asked and sample_index. ValueError at a NaN."""
        model, index = canonical(self.model), f"{self.sample_index:d}"
        whole = f'{{"asked":{self.text},"kind":"{self.kind}","model":{model},"sample_index":{index}}}'
        return hashlib.sha256(whole.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of one sending."""

    reply: Completion | LogProb | None
    """None: no answer."""
    reason: str = ""
    """Why there is none, as a short fixed phrase."""
    may_be_billed: bool = False
    """There is no answer, yet the server may have charged for one."""
    usd: float | None = None
    """What it cost; None where no price is known."""


@dataclass(frozen=True, slots=True)
class Total:
    """What one role made of a run in one session (one process that worked on it)."""

    role: str
    session: str
    calls: int
    """Answers on file."""
    prompt_tokens: int
    """Of the answers that told."""
    completion_tokens: int
    usd: float | None
    """None where the price of any answer is unknown."""
    lost: int
    """Calls without an answer that may have been billed; those under way are among them."""
    spent: Amount
    """What a budget counts: the cost where it is known, what was reserved where it is not, lost calls included."""


def canonical(value: Any) -> str:
    """Return JSON that is the same for the same value: sorted keys, no spaces, 1.0 as 1; ValueError at a NaN.

    The text is valid UTF-8: a lone surrogate stands as its escape.
    """
    return storable(encode(_plain(value)))


encode: Callable[[Any], str] = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode


def _plain(value: Any) -> Any:
    """Return a value with every number that is whole as an int, -0.0 among them."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list | tuple):
        items = cast(Sequence[Any], value)
        return [item if isinstance(item, str) else _plain(item) for item in items]
    if isinstance(value, dict | Mapping):  # asking an abstract class first would be slow
        pairs = cast(Mapping[str, Any], value).items()
        return {key: item if isinstance(item, str) else _plain(item) for key, item in pairs}
    return value


def storable(text: str) -> str:
    """Return text that can be stored: SQLite takes no lone surrogate."""
    return text.encode("utf-8", "backslashreplace").decode()
