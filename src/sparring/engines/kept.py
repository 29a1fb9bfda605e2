"""An engine under the ledger: what was answered is read, what is being asked is waited for, the rest is paid once.

A call is on file as an intent before it is sent and as an answer before anybody reads it, so a conversation that was
broken off goes on from its last turn. Greedy calls are one call, whatever their seed and sample index.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any, TypeVar, cast

from sparring.budget import FREE, Account, Amount, Price, most, price_of
from sparring.engines.awaited import Awaited
from sparring.engines.base import Generator, OnText, Permit, Request, Scorer, Served, freely
from sparring.engines.wire import Unanswered
from sparring.errors import RolloutError, SparringError
from sparring.ledger import Settled, Wanted
from sparring.types import Chat, Completion, LogProb

Reply = TypeVar("Reply", Completion, LogProb)
Pay = Callable[[Sequence[int], Permit], Awaitable[Sequence[Reply | RolloutError]]]
"""Is given the places of calls that are sent as one, and asks the engine for those."""


Apart = Callable[[Sequence[int]], list[list[int]]]
"""Is given places of calls, and returns them in the groups that are sent as one."""


def kept(engine: Any, account: Account) -> Any:
    """Return `engine` under the account's ledger."""
    return KeptServer(engine, account) if isinstance(engine, Served) else KeptLocal(engine, account)


def completion_wanted(model: str, request: Request) -> Wanted:
    """Return a request as the ledger knows it."""
    sampling = request.sampling
    drawn = {"top_p": sampling.top_p, "seed": sampling.seed} if sampling.temperature else {}
    more = {name: value for name in ("stop", "log_prob") if (value := getattr(sampling, name))}
    asked = {"messages": request.chat, "temperature": sampling.temperature, **drawn, **more}
    index = request.sample_index if sampling.temperature else 0
    return Wanted("completion", model, asked, index, sampling.max_tokens, request.role)


def score_wanted(model: str, chat: Chat, target: str) -> Wanted:
    """Return a text to score as the ledger knows it."""
    return Wanted("log_prob", model, {"messages": chat, "target": target}, role="scorer")


def settled(reply: Completion | LogProb | RolloutError, price: Price | None) -> Settled:
    """Return how a call ended, for the books; `usd` is None where its tokens or their price are unknown."""
    if isinstance(reply, RolloutError):
        return Settled(None, str(reply), may_be_billed=isinstance(reply, Unanswered))
    if isinstance(reply, LogProb) and not isfinite(reply.total):
        return Settled(None, f"not a number: {reply.total} nats")
    if isinstance(reply, LogProb) or reply.prompt_tokens is None or reply.completion_tokens is None:
        return Settled(reply)
    return Settled(reply, usd=price and price.usd(reply.prompt_tokens, reply.completion_tokens))


def reserved(wanted: Sequence[Wanted], price: Price | None) -> list[Amount]:
    """Return the most that samples sent as one may cost. Each is good for the prompt: a server may read it anew."""
    return [most(call, price) for call in wanted]


class _Over:
    """What lies over an engine, and closes with it."""

    engine: Any

    def hang_up(self) -> None:
        """Wait for a person no longer, if that is who is under it."""
        if hang_up := getattr(self.engine, "hang_up", None):
            hang_up()

    def close(self) -> None:
        if close := getattr(self.engine, "close", None):
            close()


Same = tuple[str, int | None]
"""What calls share that may share an answer as it comes: with a longer limit another one may come."""


def same(call: Wanted) -> Same:
    return call.key, call.max_tokens


def first_places(wanted: Sequence[Wanted], known: set[Same]) -> dict[Same, int]:
    """Return where each call that is not known stands first."""
    places: dict[Same, int] = {}
    for at, call in enumerate(wanted):
        if same(call) not in known:
            places.setdefault(same(call), at)
    return places


class KeptServer(_Over, Awaited):
    """A server under the ledger. Its calls are reserved in the budget right before they are sent."""

    def __init__(self, engine: Any, account: Account):
        self.engine, self.account, self.identity, self.rounding = engine, account, engine.identity, engine.rounding
        self.batch_size = engine.batch_size
        model = self.identity.partition(" (")[0]  # a price is not of the weights behind a name
        self.is_free: bool = getattr(engine, "is_free", False)
        if not self.is_free:
            account.check_price(model)
        self.price = None if self.is_free else price_of(model)
        self.asking: dict[Same, asyncio.Future[Any]] = {}
        """What is under way: the same call is not made twice."""

    def apart(self, requests: Sequence[Request]) -> list[list[int]]:
        return self.engine.apart(requests)

    async def answer(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
        def pay(places: Sequence[int], permit: Permit) -> Awaitable[list[Completion | RolloutError]]:
            return self.engine.send([requests[at] for at in places], permit)

        def apart(places: Sequence[int]) -> list[list[int]]:
            return [[places[at] for at in group] for group in self.apart([requests[at] for at in places])]

        return await self._once([completion_wanted(self.identity, request) for request in requests], apart, pay)

    async def speak(self, request: Request, on_text: OnText, permit: Permit = freely) -> Completion | RolloutError:
        """Return a reply, telling its words as they come; one that is on file, or under way already, at once."""
        heard = False

        def hear(text: str) -> None:
            nonlocal heard
            heard = True
            on_text(text)

        async def pay(places: Sequence[int], permit: Permit) -> list[Completion | RolloutError]:
            return [await self.engine.speak(request, hear, permit)]

        [reply] = await self._once([completion_wanted(self.identity, request)], lambda places: [[*places]], pay)
        if isinstance(reply, Completion) and not heard:
            on_text(reply.text)
        return reply

    async def score(self, chat: Chat, target: str, permit: Permit = freely) -> LogProb | RolloutError:
        async def pay(places: Sequence[int], permit: Permit) -> list[LogProb | RolloutError]:
            return [await self.engine.score(chat, target, permit)]

        return (await self._once([score_wanted(self.identity, chat, target)], lambda places: [[*places]], pay))[0]

    async def _once(self, wanted: Sequence[Wanted], apart: Apart, pay: Pay[Reply]) -> list[Reply | RolloutError]:
        # Nothing is awaited between the look and the note in `asking`: no call can slip in twice.
        waiting = {same(call): self.asking[same(call)] for call in wanted if same(call) in self.asking}
        others = [call for call in wanted if same(call) not in waiting]
        found = zip(others, self.account.ledger.find(others), strict=True)
        replies: dict[Same, Any] = {same(call): reply for call, reply in found if reply is not None}
        missing = first_places(wanted, {*waiting, *replies})
        for this in missing:
            waiting[this] = self.asking[this] = asyncio.get_running_loop().create_future()
        if missing:
            await self._send(wanted, list(missing.values()), apart, pay)
        for this, answer in waiting.items():
            replies[this] = await asyncio.shield(answer)
        return [cast("Reply | RolloutError", replies[same(call)]) for call in wanted]

    async def _send(self, wanted: Sequence[Wanted], places: Sequence[int], apart: Apart, pay: Pay[Reply]) -> None:
        """Ask for what nobody was asked yet, and then for what did not come of that."""

        async def whole(group: list[int]) -> None:
            left = await self._pay([wanted[at] for at in group], group, pay)
            if left:
                await self._send(wanted, left, apart, pay)

        works = [whole(group) for group in apart(places)]
        await (asyncio.gather(*works) if len(works) > 1 else works[0])

    async def _pay(self, wanted: list[Wanted], places: list[int], pay: Pay[Reply]) -> list[int]:
        """Send calls as one, and tell all who want them meanwhile; return the places to which no reply came."""
        rows: list[int] = []
        turn = asyncio.Lock()

        async def permit(reason: str) -> None:
            nonlocal rows
            async with turn:
                if reason:
                    lost, rows = rows, []
                    await self.account.end([(row, Settled(None, reason, may_be_billed=True)) for row in lost])
                rows = rows or await self.account.begin(wanted, self._reserved(wanted))

        async def asked() -> list[Reply | RolloutError]:
            try:
                return list(await pay(places, permit))
            except BaseException as error:
                # What a bug or a cancellation broke off may have been billed.
                why = Settled(None, str(error) or type(error).__name__, not isinstance(error, SparringError))
                await self.account.end([(row, why) for row in rows])
                raise

        try:
            replies = await asked()
            if rows:  # else nothing was sent: it would not have fit
                ended = [self._settled(reply) for reply in replies]
                fewer = Settled(None, f"{len(replies)} samples came of {len(wanted)} that were asked for")
                ended += [fewer] * (len(wanted) - len(replies))
                await self.account.end(list(zip(rows, ended, strict=True)))
        except BaseException as error:
            for call in wanted:
                answer = self.asking.pop(same(call))
                answer.set_exception(error)
                answer.exception()  # told to whoever waits; nobody has to
            raise
        for call, reply in zip(wanted, replies, strict=False):
            self.asking.pop(same(call)).set_result(reply)
        return places[len(replies) :]

    def _reserved(self, wanted: Sequence[Wanted]) -> list[Amount]:
        return [FREE] * len(wanted) if self.is_free else reserved(wanted, self.price)

    def _settled(self, reply: Completion | LogProb | RolloutError) -> Settled:
        ended = settled(reply, self.price)
        return replace(ended, usd=0.0, may_be_billed=False) if self.is_free else ended


class KeptLocal(_Over):
    """An engine of this process under the ledger: it costs nothing but time."""

    def __init__(self, engine: Any, account: Account):
        self.engine, self.account, self.identity, self.rounding = engine, account, engine.identity, engine.rounding
        self.batch_size: int = cast(Generator, engine).batch_size

    def generate(self, requests: Sequence[Request]) -> list[Completion | RolloutError]:
        wanted = [completion_wanted(self.identity, request) for request in requests]
        return self._once(wanted, lambda places: self.engine.generate([requests[at] for at in places]))

    def log_prob(self, chats: Sequence[Chat], targets: Sequence[str]) -> list[LogProb | RolloutError]:
        wanted = [score_wanted(self.identity, chat, target) for chat, target in zip(chats, targets, strict=True)]

        def score(places: Sequence[int]) -> list[LogProb | RolloutError]:
            return cast(Scorer, self.engine).log_prob([chats[at] for at in places], [targets[at] for at in places])

        return self._once(wanted, score)

    def _once(
        self, wanted: Sequence[Wanted], make: Callable[[Sequence[int]], Sequence[Reply | RolloutError]]
    ) -> list[Reply | RolloutError]:
        found = self.account.ledger.find(wanted)
        replies: dict[Same, Any] = {same(call): reply for call, reply in zip(wanted, found, strict=True) if reply}
        missing = first_places(wanted, set(replies))
        if missing:
            places = list(missing.values())
            rows = self.account.begin_now([wanted[at] for at in places])
            made = make(places)
            self.account.end_now([(row, settled(reply, None)) for row, reply in zip(rows, made, strict=True)])
            replies |= zip(missing, made, strict=True)
        return [replies[same(call)] for call in wanted]
