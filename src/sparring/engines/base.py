"""What an engine is: one or both of two small protocols. Batches in, batches out, order kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from sparring.errors import RolloutError
from sparring.types import Chat, Completion, LogProb, Sampling


@dataclass(frozen=True, slots=True)
class Request:
    """One completion that is wanted."""

    chat: Chat
    sampling: Sampling = field(default_factory=Sampling)
    sample_index: int = 0
    """Tells apart the independent samples of one chat: raising K from 5 to 8 makes three new ones."""


@runtime_checkable
class Generator(Protocol):
    """Continues chats."""

    batch_size: int
    """Most requests that are worth handing over at once; 1 for an engine that is called one request at a time."""
    workers: int
    """Batches that may be under way at once; 1 for an engine in this process."""

    def generate(self, requests: Sequence[Request]) -> list[Completion | RolloutError]:
        """Return one completion a request, in order; a request that cannot be served gives its error instead."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """Tells how likely given texts are."""

    def log_prob(self, chats: Sequence[Chat], targets: Sequence[str]) -> list[LogProb | RolloutError]:
        """Return log p(target | chat) for each pair, nats, in order; a text too long for the model gives its error."""
        ...
