"""The one thread in which the answers of servers are awaited, and engines whose work is such a wait.

What waits is a coroutine, so that thousands of calls need one thread. The rest of the program is plain code: it hands a
coroutine over (`start`) and holds a future.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future, wait
from functools import cache
from typing import Any, TypeVar

from sparring.engines.base import OnText, Permit, Request, alike, freely
from sparring.errors import RolloutError
from sparring.types import Chat, Completion, LogProb

T = TypeVar("T")
PATIENCE = 0.2
"""Seconds of a reply after which whoever listens is asked whether to wait on."""


@cache
def loop() -> asyncio.AbstractEventLoop:
    """Return the loop that runs in a thread of its own, for as long as the process."""
    made = asyncio.new_event_loop()
    threading.Thread(target=made.run_forever, name="sparring-servers", daemon=True).start()
    return made


def start(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Hand a coroutine to the loop's thread."""
    return asyncio.run_coroutine_threadsafe(work, loop())


class Awaited:
    """Base of engines on servers: from one awaited answer, the batches that everybody else asks for."""

    batch_size: int = 1024
    """Calls under way that are worth it."""

    async def answer(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
        raise NotImplementedError

    def apart(self, requests: Sequence[Request]) -> list[list[int]]:
        """Return the places of requests alike in the groups in which they are sent."""
        return [list(range(len(requests)))] if requests else []

    async def send(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
        """Send a group as one, and return the replies that came of it: to the first so many, and at least one."""
        return await self.answer(requests, permit)

    async def speak(self, request: Request, on_text: OnText, permit: Permit = freely) -> Completion | RolloutError:
        """Return a reply, telling its words as they come: here, where they come all at once, at its end."""
        [reply] = await self.answer([request], permit)
        if isinstance(reply, Completion):
            on_text(reply.text)
        return reply

    async def score(self, chat: Chat, target: str, permit: Permit = freely) -> LogProb | RolloutError:
        """Return log p(target | chat), in nats."""
        raise NotImplementedError

    def generate(self, requests: Sequence[Request]) -> list[Completion | RolloutError]:
        async def gather() -> list[Completion | RolloutError]:
            groups = alike(requests)
            found = await asyncio.gather(*(self.answer([requests[at] for at in group]) for group in groups))
            by_place = {
                at: reply
                for group, replies in zip(groups, found, strict=True)
                for at, reply in zip(group, replies, strict=True)
            }
            return [by_place[at] for at in range(len(requests))]

        return start(gather()).result()

    def stream(self, request: Request, on_text: OnText) -> Completion | RolloutError:
        """Return `speak`'s reply. `on_text` is asked (with "") whether to wait on, for a server may be silent long."""
        speaking = start(self.speak(request, on_text))
        try:
            while not wait([speaking], PATIENCE).done:
                on_text("")
            return speaking.result()
        finally:
            speaking.cancel()  # of what has ended there is nothing to cancel

    def log_prob(self, chats: Sequence[Chat], targets: Sequence[str]) -> list[LogProb | RolloutError]:
        async def gather() -> list[LogProb | RolloutError]:
            pairs = zip(chats, targets, strict=True)
            return await asyncio.gather(*(self.score(chat, target) for chat, target in pairs))

        return start(gather()).result()
