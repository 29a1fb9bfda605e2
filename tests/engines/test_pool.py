"""Which endpoint a call goes to, and how many at once: no network, no clock but ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest

from sparring.engines.base import freely
from sparring.engines.pool import CUT, DOUBLING, HOLD, START, Endpoint, Pool, jitter
from sparring.errors import ServerError


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.time = 100.0
        self.alarms: list[_Alarm] = []

    def now(self) -> float:
        return self.time

    def later(self, delay: float, what: Callable[[], None]) -> _Alarm:
        self.alarms.append(_Alarm(self, self.time + delay, what))
        return self.alarms[-1]

    async def pass_by(self, seconds: float) -> None:
        end = self.time + seconds
        while due := sorted((alarm for alarm in self.alarms if alarm.at <= end), key=lambda alarm: alarm.at):
            self.alarms.remove(due[0])
            self.time = max(self.time, due[0].at)
            due[0].what()
            await settle()
        self.time = end


class _Alarm:
    def __init__(self, clock: Clock, at: float, what: Callable[[], None]):
        self.clock, self.at, self.what = clock, at, what

    def cancel(self) -> None:
        self.clock.alarms.remove(self)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Calls:
    """Calls that take places and hold them until told to leave."""

    def __init__(self, pool: Pool):
        self.pool = pool
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.holding: dict[int, Endpoint] = {}
        self.leaving: dict[int, asyncio.Event] = {}

    async def come(self, count: int, affinity: bytes = b"", again: bool = False) -> list[int]:
        names = [self.pool.ticket() for _ in range(count)]
        for name in names:
            self.leaving[name] = asyncio.Event()
            self.tasks[name] = asyncio.ensure_future(self._hold(name, affinity, again))
        await settle()
        return names

    async def _hold(self, name: int, affinity: bytes, again: bool) -> None:
        async with self.pool.place(name, affinity, again) as endpoint:
            self.holding[name] = endpoint
            await self.leaving[name].wait()
        del self.holding[name]

    async def leave(self, *names: int) -> None:
        for name in names:
            self.leaving[name].set()
        await settle()

    async def end(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


def run(test: Callable[[Clock], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test(Clock()))


def pool_of(clock: Clock, count: int = 1, **options: Any) -> Pool:
    return Pool([f"http://h{n}/v1" for n in range(count)], now=clock.now, later=clock.later, **options)


def test_an_endpoint_that_refuses_nobody_is_given_twice_the_calls_as_long_as_it_is_full() -> None:
    async def test(clock: Clock) -> None:
        calls = Calls(pool_of(clock, most=256))
        await calls.come(1000)
        held = [len(calls.holding)]
        for _ in range(5):
            await clock.pass_by(DOUBLING)
            held.append(len(calls.holding))
        assert held == [START, 2 * START, 256, 256, 256, 256]
        await calls.end()

    run(test)


def test_an_endpoint_that_is_not_full_is_not_given_more() -> None:
    async def test(clock: Clock) -> None:
        pool = pool_of(clock)
        calls = Calls(pool)
        await calls.come(START - 1)
        await clock.pass_by(10)
        assert pool.endpoints[0].limit == START
        await calls.end()

    run(test)


def test_quick_answers_do_not_keep_it_from_growing() -> None:
    async def test(clock: Clock) -> None:
        pool = pool_of(clock)
        calls = Calls(pool)
        await calls.come(1000)
        for _ in range(12):
            await clock.pass_by(DOUBLING / 10)
            await calls.leave(*list(calls.holding)[:10])
        assert pool.endpoints[0].limit == 2 * START
        await calls.end()

    run(test)


def test_a_burst_of_refusals_cuts_once_and_growth_is_slow_from_then_on() -> None:
    async def test(clock: Clock) -> None:
        pool = pool_of(clock)
        calls, endpoint = Calls(pool), pool.endpoints[0]
        sent = clock.now()
        await calls.come(1000)
        await clock.pass_by(DOUBLING / 2)
        for name in list(calls.holding)[:20]:
            pool.refused(endpoint, sent, 1.0)
            await calls.leave(name)
        assert endpoint.limit == CUT * START
        assert len(calls.holding) == START - 20, "nobody is sent during the wait"
        await clock.pass_by(1.0)
        assert len(calls.holding) == int(CUT * START)
        for _ in range(int(CUT * START)):
            pool.answered(endpoint)
        assert endpoint.limit == pytest.approx(CUT * START + 1, abs=0.05)
        pool.refused(endpoint, clock.now(), 0.0)
        assert endpoint.limit == CUT * int(CUT * START), "a call sent since then says something new"
        await calls.end()

    run(test)


def test_refusals_never_leave_an_endpoint_without_a_place() -> None:
    async def test(clock: Clock) -> None:
        pool = pool_of(clock)
        for _ in range(100):
            clock.time += 1
            pool.refused(pool.endpoints[0], clock.now(), None)
        assert pool.endpoints[0].limit == 1

    run(test)


def test_a_servers_error_only_holds_growth() -> None:
    async def test(clock: Clock) -> None:
        pool = pool_of(clock)
        calls = Calls(pool)
        await calls.come(1000)
        pool.stumbled(pool.endpoints[0])
        await clock.pass_by(HOLD * 0.9)
        assert pool.endpoints[0].limit == START
        await clock.pass_by(HOLD * 0.2)
        assert pool.endpoints[0].limit > START
        await calls.end()

    run(test)


def test_calls_get_places_in_the_order_they_came_and_one_sent_before_keeps_its_turn() -> None:
    async def test(clock: Clock) -> None:
        pool = pool_of(clock, most=1)
        calls = Calls(pool)
        early = pool.ticket()
        names = await calls.come(4)
        calls.leaving[early] = asyncio.Event()
        calls.tasks[early] = asyncio.ensure_future(calls._hold(early, b"", True))
        order = []
        for _ in range(5):
            await settle()
            (now,) = calls.holding
            order.append(now)
            await calls.leave(now)
        assert order == [names[0], early, *names[1:]]

    run(test)


def test_a_call_that_is_cancelled_while_it_waits_leaves_its_place_to_the_next() -> None:
    async def test(clock: Clock) -> None:
        pool = pool_of(clock, most=1)
        calls = Calls(pool)
        first, second, third = await calls.come(3)
        calls.tasks[second].cancel()
        await calls.leave(first)
        assert list(calls.holding) == [third]
        calls.leaving[third].set()
        await settle()
        assert pool.endpoints[0].in_flight == 0

    run(test)


def test_a_call_cancelled_at_the_moment_it_gets_its_place_gives_it_back() -> None:
    async def test(clock: Clock) -> None:
        pool = pool_of(clock, most=1)
        calls = Calls(pool)
        first, second = await calls.come(2)
        calls.leaving[first].set()
        while pool._waiting:
            await asyncio.sleep(0)
        calls.tasks[second].cancel()
        await settle()
        assert pool.endpoints[0].in_flight == 0 and not calls.holding

    run(test)


def test_calls_spread_over_endpoints_by_their_load() -> None:
    async def test(clock: Clock) -> None:
        pool = pool_of(clock, 3, most=32)
        pool.endpoints[0].limit = 8
        calls = Calls(pool)
        await calls.come(36)
        assert [endpoint.in_flight for endpoint in pool.endpoints] == [4, 16, 16]
        await calls.end()

    run(test)


def test_a_conversation_stays_with_its_endpoint_unless_that_is_markedly_busier() -> None:
    async def test(clock: Clock) -> None:
        pool = pool_of(clock, 4, most=32)
        calls = Calls(pool)
        names = await calls.come(8, b"one conversation")
        homes = {calls.holding[name].url for name in names}
        assert len(homes) == 1
        await calls.come(24, b"one conversation")
        assert max(endpoint.in_flight for endpoint in pool.endpoints) < 16, "the rest went elsewhere"
        await calls.end()

    run(test)


def test_conversations_spread_over_the_endpoints_and_only_the_lost_ones_move() -> None:
    async def test(clock: Clock) -> None:
        pool = pool_of(clock, 4)
        calls = Calls(pool)

        async def home(conversation: int) -> str:
            (name,) = await calls.come(1, str(conversation).encode())
            url = calls.holding[name].url
            await calls.leave(name)
            return url

        before = [await home(n) for n in range(60)]
        assert all(before.count(endpoint.url) > 5 for endpoint in pool.endpoints)
        pool.lost(pool.endpoints[1], "gone")
        after = [await home(n) for n in range(60)]
        moved = {was for was, now in zip(before, after, strict=True) if was != now}
        assert moved == {pool.endpoints[1].url}

    run(test)


def test_the_calls_of_a_lost_endpoint_go_to_the_others_and_it_starts_over_once_back() -> None:
    async def test(clock: Clock) -> None:
        pool = pool_of(clock, 2)
        calls = Calls(pool)
        lost, other = pool.endpoints
        lost.limit = 256
        assert pool.lost(lost, "connection refused") and not pool.lost(lost, "connection refused")
        await calls.come(START + 8)
        assert (lost.in_flight, other.in_flight) == (0, START)
        pool.back(lost)
        await settle()
        assert (lost.limit, lost.in_flight) == (START, 8)
        await calls.end()

    run(test)


def test_with_no_endpoint_left_calls_wait_for_so_long_and_then_name_them_all() -> None:
    async def test(clock: Clock) -> None:
        pool = pool_of(clock, 2, patience=120)
        calls = Calls(pool)
        pool.lost(pool.endpoints[0], "connection refused")
        await clock.pass_by(60)
        pool.lost(pool.endpoints[1], "no such host")
        (name,) = await calls.come(1)
        await clock.pass_by(119)
        assert not calls.tasks[name].done()
        await clock.pass_by(1)
        with pytest.raises(ServerError, match=r"120 s .*h0/v1: connection refused; .*h1/v1: no such host"):
            await calls.tasks[name]
        with pytest.raises(ServerError):
            async with pool.place(pool.ticket()):
                pass

    run(test)


def test_an_endpoint_that_is_back_in_time_serves_those_who_waited() -> None:
    async def test(clock: Clock) -> None:
        pool = pool_of(clock, patience=120)
        calls = Calls(pool)
        pool.lost(pool.endpoints[0], "connection refused")
        await calls.come(3)
        await clock.pass_by(100)
        pool.back(pool.endpoints[0])
        await clock.pass_by(100)
        assert len(calls.holding) == 3
        await calls.end()

    run(test)


def test_a_call_that_was_sent_before_passes_calls_that_wait_for_their_permit() -> None:
    """They may wait for just that call to give back what it reserved."""

    async def test(clock: Clock) -> None:
        pool = pool_of(clock, most=1)
        early, waiting = pool.ticket(), asyncio.Event()

        async def not_yet(reason: str) -> None:
            await waiting.wait()

        async def newcomer() -> None:
            async with pool.place(pool.ticket()) as endpoint:
                await pool.ask(endpoint, not_yet, "")

        task = asyncio.ensure_future(newcomer())
        await settle()
        async with AsyncExitStack() as stack:
            endpoint = await stack.enter_async_context(pool.place(early, again=True))
            await pool.ask(endpoint, freely, "")
            waiting.set()
        await task
        assert pool.endpoints[0].in_flight == pool.endpoints[0].asking == 0

    run(test)


def test_backoff_is_anything_from_nothing_to_a_bound_that_doubles_up_to_30_s() -> None:
    for tries, bound in ((1, 0.5), (2, 1.0), (5, 8.0), (50, 30.0), (5000, 30.0)):
        drawn = [jitter(0.5, tries) for _ in range(300)]
        assert 0 <= min(drawn) < 0.2 * bound and 0.8 * bound < max(drawn) <= bound
