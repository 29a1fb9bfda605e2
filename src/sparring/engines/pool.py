"""Which endpoint a call goes to, and how many are under way at each: nothing here knows of a network.

An endpoint starts with some places and, while they are all taken and nobody is refused, is given twice as many every
25 ms: a refusal comes at once, an answer takes long, so no answer has to be waited for. A refusal (429) cuts its places
to three quarters of what was under way, once a burst; from then on they grow by one for each round of answers. Calls
that wait get places in the order they came, and one that was sent before keeps its turn.

All of it runs in one event loop. Times are seconds on the clock `now`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Protocol

from sparring.engines.base import Permit
from sparring.errors import ServerError

START = 64
"""Places of an endpoint that has yet to show what it takes."""
DOUBLING = 0.025
"""Seconds for which an endpoint must be full, and refuse nobody, before its places are doubled."""
CUT = 0.75
"""What a refusal leaves, as a share of the calls under way."""
HOLD = 1.0
"""Seconds without growth after a server's error."""
MARKED = 0.25
"""How much busier than the least busy an endpoint may be (share of places taken) and still get its conversations."""
LONGEST_BACKOFF = 30.0
"""Seconds."""


class Alarm(Protocol):
    """A timer that is set."""

    def cancel(self) -> object: ...


Later = Callable[[float, Callable[[], None]], Alarm]


def jitter(base: float, tries: int) -> float:
    """Return how long to wait after so many tries (1 or more), in seconds: anything from 0 to `base` doubled a try."""
    return random.uniform(0, min(LONGEST_BACKOFF, base * 2 ** min(tries - 1, 30)))


@dataclass(slots=True, eq=False)
class Endpoint:
    """One server, and what is known of how much it takes."""

    url: str
    limit: float
    """Places; calls at once."""
    in_flight: int = 0
    """Places taken."""
    asking: int = 0
    """Of these, calls that still wait for their permit to be sent."""
    alive: bool = True
    trouble: str = ""
    """Why it is not alive."""
    opening: bool = True
    """Still doubling: nobody was refused yet."""
    full_since: float = inf
    """`inf` where a place is free."""
    held_until: float = -inf
    """No growth before."""
    paused_until: float = -inf
    """No call before."""
    cut_at: float = -inf
    refusals: int = 0
    """Bursts of them in a row."""

    @property
    def load(self) -> float:
        """Share of the places that is taken."""
        return self.in_flight / self.limit

    def has_room(self, again: bool) -> bool:
        """A call that was sent before need not wait for calls that wait for their permit: these may wait for it."""
        return self.in_flight - (self.asking if again else 0) < int(self.limit)


@dataclass(slots=True, order=True)
class _Waiter:
    ticket: int
    affinity: bytes = field(compare=False)
    again: bool = field(compare=False)
    place: asyncio.Future[Endpoint] = field(compare=False)


class Pool:
    """The endpoints of one model.

    `most` is the largest number of calls at once for each of them. With every endpoint gone for `patience` seconds,
    whoever waits gets a ServerError. `base` is the first bound of the backoff, in seconds, where a server that refuses
    does not say for how long.
    """

    def __init__(
        self,
        urls: Sequence[str],
        most: int = 256,
        patience: float = 120.0,
        base: float = 0.5,
        now: Callable[[], float] = time.monotonic,
        later: Later | None = None,
    ):
        self.endpoints = [Endpoint(url, min(START, most)) for url in urls]
        self.most, self.patience, self.base, self.now = most, patience, base, now
        self._later = later
        self._waiting: list[_Waiter] = []
        self._tickets = count()
        self._alarm: tuple[float, Alarm] = (inf, _Never())
        self._gone_at = inf

    def ticket(self) -> int:
        """Return a number that keeps a call's turn over all its sendings."""
        return next(self._tickets)

    @asynccontextmanager
    async def place(self, ticket: int, affinity: bytes = b"", again: bool = False) -> AsyncGenerator[Endpoint]:
        """Hold a place at an endpoint, once there is one: at its favourite where `affinity` is the same, unless busy.

        Say `again` for a call that was sent before. Raises ServerError once all endpoints are given up.
        """
        waiter = _Waiter(ticket, affinity, again, asyncio.get_running_loop().create_future())
        heappush(self._waiting, waiter)
        self._step()
        try:
            endpoint = await waiter.place
        except asyncio.CancelledError:
            if waiter.place.done() and not waiter.place.cancelled() and not waiter.place.exception():
                self._leave(waiter.place.result())
            raise
        try:
            yield endpoint
        finally:
            self._leave(endpoint)

    async def ask(self, endpoint: Endpoint, permit: Permit, reason: str) -> None:
        """Await the permit to send, in a place that is held."""
        endpoint.asking += 1
        if self._waiting and self._waiting[0].again:  # it may be what the permit waits for
            self._step()
        try:
            await permit(reason)
        finally:
            endpoint.asking -= 1

    def answered(self, endpoint: Endpoint) -> None:
        """A call came back whole. It still holds its place."""
        endpoint.refusals = 0
        if not endpoint.opening and endpoint.full_since < inf and self.now() >= endpoint.held_until:
            endpoint.limit = min(self.most, endpoint.limit + 1 / endpoint.limit)

    def refused(self, endpoint: Endpoint, sent: float, wait: float | None) -> None:
        """A call sent at `sent` was told to come again, after `wait` seconds if it was told when."""
        now = self.now()
        if sent > endpoint.cut_at:  # what was sent before the last cut says nothing about it
            endpoint.limit = max(1.0, min(endpoint.limit, CUT * endpoint.in_flight))
            endpoint.opening, endpoint.cut_at = False, now
            endpoint.refusals += 1
            wait = jitter(self.base, endpoint.refusals) if wait is None else wait
        endpoint.paused_until = max(endpoint.paused_until, now + (wait or 0.0))

    def stumbled(self, endpoint: Endpoint) -> None:
        """A call failed for reasons of the server's own: that says nothing about how much it takes, so growth waits."""
        endpoint.held_until = self.now() + HOLD

    def lost(self, endpoint: Endpoint, trouble: str) -> bool:
        """Nobody is there any more. Return whether that is news: then somebody has to look for its return."""
        news, endpoint.alive, endpoint.trouble = endpoint.alive, False, trouble
        if news and not any(other.alive for other in self.endpoints):
            self._gone_at = self.now()
        self._step()
        return news

    def back(self, endpoint: Endpoint) -> None:
        """An endpoint that was lost answers: it starts over."""
        endpoint.alive, endpoint.opening, endpoint.limit = True, True, min(START, self.most)
        endpoint.paused_until = endpoint.held_until = -inf
        self._gone_at = inf
        self._step()

    def _leave(self, endpoint: Endpoint) -> None:
        endpoint.in_flight -= 1
        self._step()

    def _step(self) -> None:
        """Do what the time allows: grow, hand out places, give up; and set the alarm for when it allows more."""
        now = self.now()
        for endpoint in self.endpoints:
            self._grow(endpoint, now)
        while self._waiting:
            if not self._waiting[0].place.done():
                endpoint = self._choose(self._waiting[0], now)
                if endpoint is None:
                    break
                endpoint.in_flight += 1
                self._waiting[0].place.set_result(endpoint)
            heappop(self._waiting)
        for endpoint in self.endpoints:
            full = endpoint.in_flight >= int(endpoint.limit)
            endpoint.full_since = min(endpoint.full_since, now) if full else inf
        if now - self._gone_at >= self.patience:
            self._give_up()
        self._set_alarm(now)

    def _grow(self, endpoint: Endpoint, now: float) -> None:
        if endpoint.opening and now >= self._grows_at(endpoint):
            endpoint.limit, endpoint.full_since = min(self.most, endpoint.limit * 2), now

    def _grows_at(self, endpoint: Endpoint) -> float:
        if not endpoint.opening or endpoint.limit >= self.most:
            return inf
        return max(endpoint.full_since + DOUBLING, endpoint.held_until)

    def _choose(self, waiter: _Waiter, now: float) -> Endpoint | None:
        alive = [endpoint for endpoint in self.endpoints if endpoint.alive]
        free = [e for e in alive if e.paused_until <= now and e.has_room(waiter.again)]
        if len(free) < 2:
            return free[0] if free else None
        least = min(free, key=lambda endpoint: endpoint.load)
        favourite = max(alive, key=lambda endpoint: _rank(endpoint.url, waiter.affinity))
        fits = favourite in free and favourite.load - least.load <= MARKED
        return favourite if waiter.affinity and fits else least

    def _give_up(self) -> None:
        names = "; ".join(f"{endpoint.url}: {endpoint.trouble}" for endpoint in self.endpoints)
        while self._waiting:
            waiter = heappop(self._waiting)
            if not waiter.place.done():
                waiter.place.set_exception(ServerError(f"no server left for {self.patience:g} s ({names})"))

    def _set_alarm(self, now: float) -> None:
        """Wake up when a place can come free without anybody leaving."""
        at = self._gone_at + self.patience
        for endpoint in self.endpoints:
            if endpoint.alive:
                at = min(at, endpoint.paused_until if endpoint.paused_until > now else self._grows_at(endpoint))
        if not self._waiting or self._alarm[0] <= at:
            return
        self._alarm[1].cancel()
        later = self._later or asyncio.get_running_loop().call_later
        self._alarm = (at, later(max(0.0, at - now), self._ring))

    def _ring(self) -> None:
        self._alarm = (inf, _Never())
        self._step()


class _Never:
    """The alarm that is not set."""

    def cancel(self) -> None:
        pass


def _rank(url: str, affinity: bytes) -> bytes:
    """Rendezvous hashing: without an endpoint, only its own conversations move."""
    return blake2b(url.encode() + b"\0" + affinity, digest_size=8).digest()
