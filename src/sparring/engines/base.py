"""What an engine is: it continues chats (Generator, or Served where it waits for a server), tells how likely a text is
(Scorer), or both. Batches in, batches out, order kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
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
    role: str = ""
    """Who speaks. It is for the books, and no part of what is asked."""


@runtime_checkable
class Generator(Protocol):
    """Continues chats."""

    batch_size: int
    """Most requests that are worth handing over: at once to an engine in this process, under way at a server."""

    def generate(self, requests: Sequence[Request]) -> list[Completion | RolloutError]:
        """Return one completion a request, in order; a request that cannot be served gives its error instead."""
        ...


Permit = Callable[[str], Awaitable[None]]
"""Is awaited right before a call is sent: with "" at first, later with the reason why the last sending of it came to
nothing though it may have been billed. It may raise."""


async def freely(reason: str) -> None:
    """Let every call be sent."""


@runtime_checkable
class Served(Generator, Protocol):
    """A Generator that waits for another machine: many of its calls may be under way at once."""

    async def answer(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
        """Return the completions of requests that differ in nothing but `sample_index`, in order."""
        ...


OnText = Callable[[str], None]
"""Is told the words of a reply as they come, in pieces; from a server also "", now and then, while none come. It may
raise, which breaks the reply off: what was said till then may be billed, so it raises no SparringError."""


@runtime_checkable
class Streaming(Protocol):
    """A Generator that can be listened to while it speaks."""

    def stream(self, request: Request, on_text: OnText) -> Completion | RolloutError:
        """Return what `generate` would, and tell its words as they come, in order, maybe from another thread.

        The pieces together are the completion's text, as far as a tokenizer never takes back what it decoded.
        """
        ...


@runtime_checkable
class Scorer(Protocol):
    """Tells how likely given texts are."""

    def log_prob(self, chats: Sequence[Chat], targets: Sequence[str]) -> list[LogProb | RolloutError]:
        """Return log p(target | chat) for each pair, nats, in order; a text too long for the model gives its error."""
        ...


def said(chat: Chat) -> tuple[tuple[str, str], ...]:
    """Return a chat as a key."""
    return tuple((message["role"], message["content"]) for message in chat)


def is_alike(one: Request, other: Request) -> bool:
    """Tell whether requests differ in nothing but `sample_index`."""
    return one.sampling == other.sampling and one.chat == other.chat


def alike(requests: Sequence[Request]) -> list[list[int]]:
    """Return the places of requests in groups of those that are alike."""
    groups: dict[object, list[int]] = {}
    for at, request in enumerate(requests):
        groups.setdefault((said(request.chat), request.sampling), []).append(at)
    return list(groups.values())


def stopped(text: str, stop: tuple[str, ...]) -> int | None:
    """Return where the first of the `stop` strings begins in `text`; None where none is in it."""
    found = [at for word in stop if (at := text.find(word)) >= 0]
    return min(found, default=None)


def cut(reply: Completion, stop: tuple[str, ...]) -> Completion:
    """Return a completion that ends before the first of the `stop` strings."""
    end = stopped(reply.text, stop)
    return reply if end is None else replace(reply, text=reply.text[:end], finish="stop")
