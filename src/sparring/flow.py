"""Flows: plain code for one rollout, and the driver that runs thousands of them side by side.

A flow is a generator. It yields the calls it needs and is sent the replies, so a rollout reads as straight-line code:

    def converse(task: str, asker: Role, user: Role) -> Flow[str]:
        question = yield from asker.say([...])
        reply = yield from user.say([...])
        return reply

The driver is ready-driven: a call is sent as soon as it is wanted, and a flow resumes as soon as its reply is there.
Engines that live in this process share one lane, since they share its processors; the calls waiting for them are
gathered into full batches. A server's calls are sent as they come, those that differ in their sample alone as one, so a
slow reply holds back its own flow only. With in-process engines alone the order of batches depends on nothing but the
flows: a run repeats to the bit.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any, Generic, TypeVar, cast

from sparring.engines import awaited, base
from sparring.engines.base import Request, Served, is_alike
from sparring.errors import RolloutError
from sparring.types import Chat, Completion, Failure, Sampling, system

T = TypeVar("T")


def render(text: str, **values: str) -> str:
    """Fill the placeholders `{name}` of a prompt in one pass: braces in a value, or unknown ones, stay as they are."""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), text)


def quoted(text: str) -> str:
    """Return a model's or a user's text with each line behind '> ', so that it cannot pose as part of a prompt."""
    return "\n".join(f"> {line}" for line in text.splitlines())


@dataclass(frozen=True, slots=True)
class Call:
    """A completion that a flow waits for."""

    engine: base.Generator
    request: Request


@dataclass(frozen=True, slots=True)
class Together:
    """Flows that another flow waits for, all at once."""

    flows: tuple[Flow[Any], ...]


Flow = Generator[Call | Together, Any, T]


@dataclass(frozen=True, slots=True)
class Role:
    """Who speaks: an engine, its instructions and its sampling."""

    name: str
    engine: base.Generator
    sampling: Sampling = field(default_factory=Sampling)
    instructions: str = ""
    """Put before the chat as its system message, where not empty."""

    def given(self, **values: str) -> Role:
        """Return this role with the placeholders of its instructions filled in."""
        return replace(self, instructions=render(self.instructions, **values))

    def greedy(self) -> Role:
        """Return this role as it speaks at temperature 0."""
        return replace(self, sampling=replace(self.sampling, temperature=0.0))

    def complete(self, chat: Chat, sample_index: int = 0) -> Flow[Completion]:
        """Return what this role says next in `chat`, however it ended."""
        if self.instructions:
            chat = [system(self.instructions), *chat]
        completion: Completion = yield Call(self.engine, Request(chat, self.sampling, sample_index, self.name))
        return completion

    def say(self, chat: Chat, sample_index: int = 0) -> Flow[str]:
        """Return the words this role says next, stripped; a reply refused, cut off or empty fails the rollout."""
        completion = yield from self.complete(chat, sample_index)
        text = completion.text.strip()
        if completion.finish == "refused":
            raise RolloutError(f"{self.name} refused", text)
        if completion.finish == "length":
            raise RolloutError(f"{self.name} cut off at max_tokens", f"max_tokens={self.sampling.max_tokens}: {text}")
        if not text:
            raise RolloutError(f"{self.name} said nothing")
        return text


@dataclass(slots=True)
class Tally:
    """What a role's calls came to."""

    counts: dict[str, dict[str, int]] = field(default_factory=lambda: dict[str, dict[str, int]]())
    squares: dict[str, dict[str, int]] = field(default_factory=lambda: dict[str, dict[str, int]]())

    def add(self, role: str, reply: Completion | RolloutError) -> None:
        count = self.counts.setdefault(role, {"calls": 0, "prompt_tokens": 0, "completion_tokens": 0})
        square = self.squares.setdefault(role, {"prompt_tokens": 0, "completion_tokens": 0})
        count["calls"] += 1
        if isinstance(reply, Completion):
            for name, tokens in zip(square, (reply.prompt_tokens or 0, reply.completion_tokens or 0), strict=True):
                count[name] += tokens
                square[name] += tokens**2

    def spread(self) -> dict[str, dict[str, float]]:
        """Return the standard deviation of tokens over the calls of each role."""
        spread: dict[str, dict[str, float]] = {}
        for role, square in self.squares.items():
            n = self.counts[role]["calls"]
            variance = {name: square[name] / n - (self.counts[role][name] / n) ** 2 for name in square}
            spread[role] = {name: round(math.sqrt(max(0.0, value)), 2) for name, value in variance.items()}
        return spread


def together(flows: Iterable[Flow[T]]) -> Flow[list[T | Failure]]:
    """Run flows side by side inside a flow; return their results in order, a failed one as its `Failure`."""
    results: list[T | Failure] = yield Together(tuple(flows))
    return results


def run(
    flows: Iterable[tuple[str, Flow[T]]],
    *,
    open_at_once: int = 8192,
    on_done: Callable[[int], None] | None = None,
    tally: Tally | None = None,
) -> list[T | Failure]:
    """Run flows to their ends; return what each returned, in order.

    `flows` pairs each flow with an id that names it in its `Failure`, and may be lazy: at most `open_at_once` are held
    open, so memory does not grow with their number. A flow that raises RolloutError becomes a Failure; any other
    exception is a bug and ends the run. `on_done` is told how many flows have ended; `tally` counts the
    calls that were made.
    """
    driver = _Driver(on_done, tally or Tally())
    try:
        return driver.run(iter(flows), open_at_once)
    finally:
        driver.close()


@dataclass(slots=True, eq=False)
class _Node(Generic[T]):
    """A flow under way, and where its result belongs."""

    id: str
    flow: Flow[T]
    results: list[Any]
    at: int
    parent: _Node[Any] | None = None
    waiting_for: int = 0


@dataclass(slots=True)
class _Queue:
    """The calls waiting for one engine."""

    engine: base.Generator
    waiting: deque[tuple[_Node[Any], Request]] = field(default_factory=lambda: deque[tuple[_Node[Any], Request]]())
    running: int = 0
    """Its calls that are under way."""

    def take(self) -> list[tuple[_Node[Any], Request]]:
        """Take the next call, with those behind it that differ in their sample alone."""
        taken = [self.waiting.popleft()]
        first = taken[0][1]
        while self.waiting and is_alike(self.waiting[0][1], first):
            taken.append(self.waiting.popleft())
        return taken


class _Driver:
    """Steps flows, gathers their calls, hands batches to engines."""

    def __init__(self, on_done: Callable[[int], None] | None, tally: Tally):
        self.on_done, self.tally = on_done, tally
        self.ready: deque[tuple[_Node[Any], Any]] = deque()
        self.local: dict[int, _Queue] = {}
        self.served: dict[int, _Queue] = {}
        self.lane = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sparring-lane")
        self.lane_busy = False
        self.finished: SimpleQueue[tuple[_Queue, list[tuple[_Node[Any], Request]], Future[Any]]] = SimpleQueue()
        self.running = 0
        self.open = 0
        self.done = 0

    def run(self, flows: Iterator[tuple[str, Flow[Any]]], open_at_once: int) -> list[Any]:
        results: list[Any] = []
        more = True
        while True:
            while more and self.open < open_at_once:
                more = self._open_next(flows, results)
            while self.ready:
                node, value = self.ready.popleft()
                self._step(node, value)
                while more and self.open < open_at_once:
                    more = self._open_next(flows, results)
            self._dispatch()
            if not self.running:
                return results
            self._collect()

    def close(self) -> None:
        self.lane.shutdown(wait=False, cancel_futures=True)

    def _open_next(self, flows: Iterator[tuple[str, Flow[Any]]], results: list[Any]) -> bool:
        for id, flow in flows:
            self.ready.append((_Node(id, flow, results, len(results)), None))
            results.append(None)
            self.open += 1
            return True
        return False

    def _step(self, node: _Node[Any], value: Any) -> None:
        """Resume a flow with a reply; file what it asks for next, or its end."""
        try:
            wanted = node.flow.throw(value) if isinstance(value, RolloutError) else node.flow.send(value)
        except StopIteration as stop:
            self._end(node, stop.value)
        except RolloutError as error:
            self._end(node, Failure(node.id, error.reason, error.detail))
        else:
            if isinstance(wanted, Call):
                self._queue(wanted.engine).waiting.append((node, wanted.request))
            else:
                self._fan_out(node, wanted.flows)

    def _fan_out(self, parent: _Node[Any], flows: Sequence[Flow[Any]]) -> None:
        results: list[Any] = [None] * len(flows)
        parent.waiting_for = len(flows)
        if not flows:
            self.ready.append((parent, results))
        for at, flow in enumerate(flows):
            self.ready.append((_Node(f"{parent.id}/{at}", flow, results, at, parent), None))

    def _end(self, node: _Node[Any], result: Any) -> None:
        node.results[node.at] = result
        if node.parent is None:
            self.open -= 1
            self.done += 1
            if self.on_done:
                self.on_done(self.done)
            return
        node.parent.waiting_for -= 1
        if not node.parent.waiting_for:
            self.ready.append((node.parent, node.results))

    def _queue(self, engine: base.Generator) -> _Queue:
        known = self.local.get(id(engine)) or self.served.get(id(engine))
        if known is None:
            known = _Queue(engine)
            (self.served if isinstance(engine, Served) else self.local)[id(engine)] = known
        return known

    def _dispatch(self) -> None:
        """Hand over what can be handed over: nothing is ready, so no batch can grow before a reply is in."""
        for queue in self.served.values():
            # No more than it is worth: thousands of calls that begin in the loop hold up those that are being answered.
            while queue.waiting and queue.running < queue.engine.batch_size:
                taken = queue.take()
                answer = cast(Served, queue.engine).answer([request for _, request in taken])
                self._watch(awaited.start(answer), queue, taken)
        full = [queue for queue in self.local.values() if queue.waiting]
        if full and not self.lane_busy:
            queue = max(full, key=lambda q: len(q.waiting) / q.engine.batch_size)
            taken = [queue.waiting.popleft() for _ in range(min(queue.engine.batch_size, len(queue.waiting)))]
            self.lane_busy = True
            self._watch(self.lane.submit(queue.engine.generate, [request for _, request in taken]), queue, taken)

    def _watch(self, batch: Future[Any], queue: _Queue, taken: list[tuple[_Node[Any], Request]]) -> None:
        self.running += 1
        queue.running += len(taken)
        batch.add_done_callback(lambda done: self.finished.put((queue, taken, done)))

    def _collect(self) -> None:
        """Wait for a batch, and for every other that has ended by then."""
        while True:
            queue, taken, batch = self.finished.get()
            self.running -= 1
            queue.running -= len(taken)
            self.lane_busy = self.lane_busy and id(queue.engine) not in self.local
            for (node, request), reply in zip(taken, batch.result(), strict=True):
                self.tally.add(request.role, reply)
                self.ready.append((node, reply))
            if self.finished.empty():
                return
