"""A model behind a pool of OpenAI-compatible servers: vLLM, SGLang, llama.cpp, Ollama, or a provider's.

    http://h1:8000/v1,http://h2:8000/v1?key=ENV_VAR&tokenizer=ID&concurrency=256&deadline=600#model

`concurrency` is the largest number of calls at once for each endpoint, `deadline` the seconds that one sending may
take. A refusal (429) delays a call and is no try; a server's failure is one of eight; an endpoint that is gone hands
its calls to the others, and is looked for in the background. Samples that differ in their index alone are asked for in
one call, and sample i has the seed of the chat plus i, so a group of samples equals single ones (vLLM seeds them so).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Collection, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast
from weakref import finalize

from sparring.engines import awaited
from sparring.engines.awaited import Awaited
from sparring.engines.base import OnText, Permit, Request, cut, freely
from sparring.engines.door import Door, checked_url, number, options_of
from sparring.engines.hearing import Hearing
from sparring.engines.pool import Endpoint, Pool, jitter
from sparring.engines.replies import completions, copied, log_probs, summed
from sparring.engines.sse import STREAM
from sparring.engines.wire import Gone, Key, Refused, Rejected, Stumbled, Unanswered, Wire, final, key_of
from sparring.errors import EngineError, RolloutError
from sparring.ledger import canonical
from sparring.types import Chat, Completion, LogProb, Sampling

if TYPE_CHECKING:
    from sparring.engines.template import Template

T = TypeVar("T")
log = logging.getLogger("sparring")

TRIES = 8
"""Sendings of a call that may fail by the server's fault."""
MOST_SAMPLES = 128
"""Samples in one call."""
INDEXES = 2**20
"""Seeds kept free above a chat's own, so that seed plus index stays within 31 bits."""
PROBING = 2.0
"""Seconds between looks for an endpoint that is gone."""
PROBE_DEADLINE = 10.0
LONG_WAIT = 30.0
"""Seconds of waiting that are worth telling of."""
CLOSING = 5.0

WAYS: tuple[Mapping[str, Any], ...] = (
    {"max_tokens": 1, "prompt_logprobs": 0},
    {"max_tokens": 0, "echo": True, "logprobs": 1},
    {"max_tokens": 1, "echo": True, "logprobs": 1},
)
"""How servers are asked for the log-probs of a prompt: vLLM's own, then the older one, of which some demand a token."""


@dataclass(slots=True)
class Turn:
    """What a call keeps over all its sendings, however they differ."""

    ticket: int
    affinity: bytes
    permit: Permit
    sent: bool = False
    """It was sent before: others may wait for what it holds, so it waits behind none of them."""
    reason: str = ""
    """Why its last sending came to nothing though it may have been billed."""
    hearing: Hearing | None = None
    """Who is told its words as they come."""


class HTTP(Awaited):
    """Continues chats through /chat/completions, and scores texts through /completions where the server can.

    Usage that a server reports for several samples together is split evenly between them, to the exact sum; the prompt
    was read once, so it counts for the first. `usage` of a greedy reply that was copied is 0 for the copies.
    """

    chats = "/chat/completions"
    """Where chats are continued."""

    def __init__(
        self,
        urls: Sequence[str],
        model: str,
        *,
        key: str | None = None,
        tokenizer: str | None = None,
        concurrency: int = 256,
        deadline: float = 600.0,
        template: Template | None = None,
        extra: Mapping[str, Any] | None = None,
        backoff: float = 0.5,
        patience: float = 120.0,
    ):
        """`key` names an environment variable; `template` or `tokenizer` (an id or a folder) is for scoring alone.

        `extra` goes into every chat call as it is (`{"chat_template_kwargs": {"enable_thinking": False}}`). `backoff`
        is the first bound of the random wait after a failure, `patience` how long no endpoint may be there, both in
        seconds. Opens no connection: `open` does. Raises EngineError.
        """
        urls = [checked_url(url) for url in urls]
        if not urls or len(set(urls)) < len(urls):
            raise EngineError(f"endpoints must be there, each once; got {', '.join(urls) or 'none'}")
        if concurrency < 1 or not deadline > 0:
            raise EngineError(f"concurrency is {concurrency} (at least 1), deadline {deadline} s (above 0)")
        self.model, self.tokenizer, self.deadline, self.backoff = model, tokenizer, deadline, backoff
        self.extra = dict(extra or {})
        self.keys = {url: key_of(url, key) for url in urls}
        self.pool = Pool(urls, concurrency, patience, backoff)
        self.batch_size = 2 * concurrency * len(urls)  # while some are answered, as many get ready
        self.template = template
        self.root: str | None = None
        """Where the server has the model from, if it says so once opened."""
        self.rounding = 5e-2
        """Nats a token by which a float32 scorer of the same weights may differ: a server may run in bfloat16."""
        self.probing = PROBING
        self._reads: str | None = None
        self._limit_field, self._unknown = "max_tokens", set[str]()
        self._does_n, self._way, self._way_known = True, 0, False
        self._loading = asyncio.Lock()
        self._tasks = set[asyncio.Task[None]]()
        self._wire = awaited.start(_wired(self.keys)).result()
        self._closing = finalize(self, _close, self._wire, self._tasks)

    @classmethod
    def from_name(cls, name: str) -> Self:
        """Read an engine's name. Raises EngineError; one without a model is told what the server has."""
        head, _, model = name.partition("#")
        addresses, _, query = head.partition("?")
        options = options_of(query)
        urls = addresses.split(",")
        engine = cls(
            urls,
            model,
            key=options.get("key"),
            tokenizer=options.get("tokenizer"),
            concurrency=int(number(options, "concurrency", 256)),
            deadline=number(options, "deadline", 600.0),
        )
        if not model:
            served = awaited.start(engine._door().served()).result()
            engine.close()
            raise EngineError(f"engine {addresses!r} names no model; add #MODEL" + (f": {served}" if served else ""))
        return engine

    @property
    def identity(self) -> str:
        """Who answers, for the ledger. The first endpoint stands for the pool, so that a pool can grow in mid-run."""
        said = canonical(self.extra) if self.extra else None
        behind = [part for part in (self.root, self.tokenizer, said) if part]
        return f"{next(iter(self.keys))}#{self.model}" + (f" ({', '.join(behind)})" if behind else "")

    def __repr__(self) -> str:
        return f"HTTP({','.join(self.keys)}#{self.model})"

    def open(self) -> Self:
        """Make sure that every endpoint answers, lets us in and serves the model. Raises EngineError."""
        card = awaited.start(self._door().enter()).result()
        self.root, self._reads = card.root, card.reads
        return self

    def close(self) -> None:
        """Close the connections. What is under way fails."""
        closing = self._closing()
        if closing:
            closing.result(CLOSING)

    def _door(self) -> Door:
        return Door(self._wire, self.model)

    # Chats

    def apart(self, requests: Sequence[Request]) -> list[list[int]]:
        """Return the places of requests alike in groups that each go out as one call, in order of sample index."""
        if not requests or not requests[0].sampling.temperature:
            return [list(range(len(requests)))] if requests else []
        order = sorted(range(len(requests)), key=lambda at: requests[at].sample_index)
        most = MOST_SAMPLES if self._does_n else 1
        groups = [[order[0]]]
        for before, at in pairwise(order):
            next_one = requests[at].sample_index == requests[before].sample_index + 1
            if next_one and len(groups[-1]) < most:
                groups[-1].append(at)
            else:
                groups.append([at])
        return groups

    async def answer(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
        """Return the completions of requests that differ in nothing but `sample_index`, in order.

        A RolloutError stands in the place of a request that came to nothing; `wire.Unanswered`, one of them, may have
        been billed. Raises ServerError or EngineError for what ends the run.
        """
        replies: list[Completion | RolloutError] = [RolloutError("not asked")] * len(requests)
        groups = self.apart(requests)
        works = [self._ask(requests[group[0]], len(group), permit) for group in groups]
        found = await _all(works) if len(works) > 1 else [await work for work in works]
        for group, ended in zip(groups, found, strict=True):
            for at, reply in zip(group, ended, strict=True):
                replies[at] = reply
        return replies

    async def _ask(self, first: Request, count: int, permit: Permit) -> list[Completion | RolloutError]:
        """Return samples first.sample_index, +1, ... of a chat; greedy ones are one, copied."""
        turn = self._turn(first.chat, permit)
        if not first.sampling.temperature:
            reply = (await self._samples(first, 0, 1, turn))[0]
            return [reply, *[copied(reply)] * (count - 1)]
        replies = await self._samples(first, first.sample_index, count, turn)
        if len(replies) < count:
            rest = range(first.sample_index + len(replies), first.sample_index + count)
            works = [self._samples(first, at, 1, replace(turn)) for at in rest]
            replies += [one[0] for one in await _all(works)]
        return replies

    async def send(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
        """Send a group (`apart`) as one call; fewer replies come of a server that does not do `n`, or not as many."""
        first = requests[0]
        if not first.sampling.temperature:
            return await self._ask(first, len(requests), permit)
        return await self._samples(first, first.sample_index, len(requests), self._turn(first.chat, permit))

    async def speak(self, request: Request, on_text: OnText, permit: Permit = freely) -> Completion | RolloutError:
        """Return a reply, telling its words as they come where the server streams, else at its end.

        What breaks off once words were told is not asked for again: it comes to `wire.Unanswered`.
        """
        hearing = Hearing(on_text, request.sampling.stop)
        index = request.sample_index if request.sampling.temperature else 0
        turn = replace(self._turn(request.chat, permit), hearing=hearing)
        [reply] = await self._samples(request, index, 1, turn)
        if isinstance(reply, Completion):
            hearing.so_far(reply.text, ended=True)
        return reply

    def _turn(self, chat: Chat, permit: Permit) -> Turn:
        affinity = _digest([message for message in chat[:2] if message["role"] != "assistant"])
        return Turn(self.pool.ticket(), affinity, permit)

    async def _samples(self, first: Request, index: int, count: int, turn: Turn) -> list[Completion | RolloutError]:
        """Return samples index, index + 1, ... of a chat: so many, or fewer where the server gives fewer."""
        while True:
            count = count if self._does_n else 1
            body = self._body(first.chat, first.sampling, index, count)
            if turn.hearing:
                body |= {name: value for name, value in STREAM.items() if name not in self._unknown}
            try:
                reply = await self._call(self.chats, body, turn)
            except RolloutError as error:
                return [error] * count
            except Rejected as rejected:
                if self._adapts(rejected, body):
                    continue
                error = final(rejected, self.keys[rejected.url])
                if isinstance(error, RolloutError):
                    return [error] * count
                raise error from None
            replies = self._replies(reply, count)
            self._does_n = self._does_n and len(replies) == count
            return [cut(r, first.sampling.stop) if isinstance(r, Completion) else r for r in replies]

    def _replies(self, reply: Mapping[str, Any], count: int) -> list[Completion | RolloutError]:
        return completions(reply, count)

    def _body(self, chat: Chat, sampling: Sampling, index: int, count: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": chat,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self._limit_field: sampling.max_tokens,
            "seed": seed_of(chat, sampling) + index,
            **({"n": count} if count > 1 else {}),
            **({"stop": list(sampling.stop)} if sampling.stop else {}),
            **({"logprobs": True} if sampling.log_prob else {}),
            **self.extra,
        }
        return {name: value for name, value in body.items() if name not in self._unknown}

    def _adapts(self, rejected: Rejected, body: Mapping[str, Any]) -> bool:
        """Learn from a complaint which fields this server takes. Return whether the call is worth another sending."""
        if rejected.status not in (400, 422) or rejected.overflows():
            return False
        if "max_tokens" in body and rejected.names("max_tokens") and "max_completion_tokens" in rejected.told.message:
            self._limit_field = "max_completion_tokens"
            return True
        if "n" in body and (rejected.names("n") or "n=" in rejected.told.message.replace(" ", "")):
            self._does_n = False
            return True
        for name in ("seed", *STREAM, *(["top_p"] if body.get("top_p") == 1 else [])):
            if name in body and rejected.names(name):
                log.warning("%s takes no %r: it is left out", rejected.url, name)
                self._unknown.add(name)
                return True
        return False

    # Scores

    async def score(self, chat: Chat, target: str, permit: Permit = freely) -> LogProb | RolloutError:
        """Return log p(target | chat) summed over the target's tokens, end-of-turn included, in nats.

        Raises EngineError where there is no tokenizer, or the server cannot tell log-probs of a prompt.
        """
        context, words = (await self._words()).target(chat, target)
        turn = Turn(self.pool.ticket(), _digest(chat[:2]), permit)
        while True:
            way = self._way
            body = {"model": self.model, "prompt": [*context, *words], "temperature": 0, **WAYS[way]}
            why = "its answer holds none"
            try:
                reply = await self._call("/completions", body, turn)
                values = log_probs(reply, [*context, *words])
                turn.reason = "its answer held no log-probs"
            except RolloutError as error:
                return error
            except Rejected as rejected:
                error = final(rejected, self.keys[rejected.url])
                if self._way_known or rejected.overflows() or rejected.status not in (400, 404, 405, 422, 501):
                    if isinstance(error, RolloutError):
                        return error
                    raise error from None
                values, why = None, rejected.told.message
            if values is not None:
                self._way_known = True
                return summed(values, len(words))
            if way == len(WAYS) - 1:
                raise EngineError(f"{self!r} cannot return prompt log-probs, so it cannot score: {why}")
            self._way = max(self._way, way + 1)

    async def _words(self) -> Template:
        """Return the template, loaded once, off the loop."""
        async with self._loading:
            if self.template is None:
                source = self.tokenizer or self._reads or self.model
                self.template = await asyncio.to_thread(load_template, source, repr(self))
        return self.template

    # Calls

    async def _call(self, path: str, body: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
        """Send a call until it is answered, to whichever endpoint has a place. Raises Rejected, or what its end is."""
        data = json.dumps(body, separators=(",", ":")).encode()
        tries = 0
        while True:
            async with self.pool.place(turn.ticket, turn.affinity, turn.sent) as endpoint:
                await self.pool.ask(endpoint, turn.permit, turn.reason)
                sent, turn.sent, turn.reason = self.pool.now(), True, ""
                try:
                    reply = await self._wire.post(endpoint.url, path, data, self.deadline, turn.hearing)
                except Refused as refused:
                    self._slow(endpoint, sent, refused)
                    continue
                except Gone as gone:
                    self._miss(endpoint, str(gone))
                    continue
                except Stumbled as stumbled:
                    self.pool.stumbled(endpoint)
                    stumble = stumbled
                else:
                    self.pool.answered(endpoint)
                    return reply
            tries += 1
            if turn.hearing and turn.hearing.told:  # another try would say other words after these
                raise Unanswered("server error", stumble.detail)
            if tries == TRIES:
                error = Unanswered if stumble.may_be_billed else RolloutError
                raise error("server error", f"{stumble.detail} (tried {TRIES} times)")
            turn.reason = stumble.detail if stumble.may_be_billed else ""
            await asyncio.sleep(jitter(self.backoff, tries))

    def _slow(self, endpoint: Endpoint, sent: float, refused: Refused) -> None:
        if refused.wait is not None and refused.wait >= LONG_WAIT and endpoint.paused_until < sent:
            log.warning("%s; it asks to wait %.0f s", refused.detail, refused.wait)
        self.pool.refused(endpoint, sent, refused.wait)

    def _miss(self, endpoint: Endpoint, why: str) -> None:
        """Take an endpoint out of the pool, and look for it in the background."""
        if self.pool.lost(endpoint, why):
            log.warning("%s is gone (%s); its calls go elsewhere until it is back", endpoint.url, why)
            task = asyncio.get_running_loop().create_task(self._look_for(endpoint))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _look_for(self, endpoint: Endpoint) -> None:
        while not endpoint.alive:
            await asyncio.sleep(self.probing)
            try:
                status, _, _ = await self._wire.get(endpoint.url, "/models", PROBE_DEADLINE)
            except Gone as gone:
                endpoint.trouble = str(gone)
            except Stumbled as stumbled:
                endpoint.trouble = stumbled.detail
            else:
                if status < 500:
                    self.pool.back(endpoint)
                    log.warning("%s is back", endpoint.url)


def seed_of(chat: Chat, sampling: Sampling) -> int:
    """Return the seed of a chat's sample 0."""
    return int.from_bytes(_digest([sampling.seed, chat])[:4], "big") % (2**31 - INDEXES)


def load_template(source: str, engine: str) -> Template:
    """Open the chat template of a tokenizer: a folder, or an id on the Hub. Raises EngineError."""
    try:
        from transformers import AutoTokenizer, GenerationConfig

        from sparring.engines.template import Template
    except ImportError as error:
        raise EngineError(f"scoring with {engine} needs the local extra: pip install 'sparring[local]'") from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        why = str(error).partition("\n")[0]
        raise EngineError(f"{engine} has no tokenizer {source!r} here; name one: ?tokenizer=ID ({why})") from error
    try:
        ends = GenerationConfig.from_pretrained(source).eos_token_id
    except OSError:
        ends = None
    return Template(tokenizer, source, ends if isinstance(ends, list) else [] if ends is None else [ends])


async def _all(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Await all of them, each to its end: what was paid for is not cut off because another one failed."""
    ended = await asyncio.gather(*works, return_exceptions=True)
    for one in ended:
        if isinstance(one, BaseException):
            raise one
    return cast("list[T]", ended)


def _digest(value: Any) -> bytes:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()


async def _wired(keys: Mapping[str, Key | None]) -> Wire:
    return Wire(keys)


def _close(wire: Wire, tasks: Collection[asyncio.Task[None]]) -> Future[None]:
    """Start to close. Nobody waits here: what is collected as garbage may be so in the loop's own thread."""

    async def close() -> None:
        for task in list(tasks):
            task.cancel()
        await wire.session.close()

    return awaited.start(close())
