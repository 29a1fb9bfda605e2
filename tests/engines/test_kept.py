"""An engine under the ledger: what is on file is read, what is under way is waited for, the rest is paid once."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from sparring.budget import Account, Budget
from sparring.engines import awaited
from sparring.engines.awaited import Awaited
from sparring.engines.base import Permit, Request, freely
from sparring.engines.http import HTTP
from sparring.engines.kept import kept
from sparring.engines.scripted import Scripted
from sparring.errors import BudgetReached, RolloutError, ServerError, SparringError
from sparring.flow import Role, run
from sparring.ledger import Ledger
from sparring.ledger.writer import Writer
from sparring.types import Chat, Completion, Failure, LogProb, Sampling, user
from tests.serving import serving

WARM = Sampling(temperature=1.0, max_tokens=50)
CHAT: Chat = [user("hello")]

Open = Callable[..., Account]


class Counting(Awaited):
    """A server that counts what it is asked: one list a call, of sample indexes."""

    identity, rounding = "http://nowhere/v1#model", 1e-3

    def __init__(self, finish: str = "stop"):
        self.calls: list[list[int]] = []
        self.finish, self.gate = finish, asyncio.Event()
        self.gate.set()

    async def answer(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
        await permit("")
        await self.gate.wait()
        self.calls.append([request.sample_index for request in requests])
        said = requests[0].chat[-1]["content"]
        return [Completion(f"{said} {r.sample_index}", self.finish, 5, 2) for r in requests]  # type: ignore[arg-type]

    async def score(self, chat: Chat, target: str, permit: Permit = freely) -> LogProb | RolloutError:
        await permit("")
        self.calls.append([])
        return LogProb(-2.5, 3)


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Open]:
    opened: list[Account] = []

    def open_one(name: str = "run", budget: str | None = None) -> Account:
        found = Account(Ledger(tmp_path / "ledger.sqlite"), name, Budget.parse(budget) if budget else None)
        opened.append(found)
        return found

    yield open_one
    for each in opened:
        each.ledger.close()


def asked(*indexes: int, text: str = "hello", sampling: Sampling = WARM) -> list[Request]:
    return [Request([user(text)], sampling, index, "oracle") for index in indexes]


def test_an_answer_on_file_is_read_also_by_another_run(account: Open) -> None:
    server = Counting()
    first = kept(server, account("one")).generate(asked(0, 1))
    assert kept(server, account("two")).generate(asked(0, 1)) == first
    assert server.calls == [[0, 1]]


def test_more_samples_pay_for_the_new_ones_alone(account: Open) -> None:
    server = Counting()
    engine = kept(server, account())
    engine.generate(asked(*range(5)))
    assert len(engine.generate(asked(*range(8)))) == 8
    assert server.calls == [[0, 1, 2, 3, 4], [5, 6, 7]]


def test_the_same_call_in_flight_is_made_once(account: Open) -> None:
    server = Counting()
    engine = kept(server, account())
    server.gate.clear()
    flows = [(str(n), Role(f"role {n}", engine, Sampling(max_tokens=50)).say(CHAT)) for n in range(20)]
    waiting = [awaited.start(engine.answer(asked(3))) for _ in range(5)]
    awaited.loop().call_soon_threadsafe(server.gate.set)
    assert run(flows) == ["hello 0"] * 20
    assert len({tuple(each.result()) for each in waiting}) == 1
    assert sorted(server.calls) == [[0], [3]]


def test_greedy_calls_are_one_call_whatever_their_seed_and_index(account: Open) -> None:
    server = Counting()
    engine = kept(server, account())
    engine.generate(asked(0, 1, sampling=Sampling(max_tokens=50, seed=1)))
    engine.generate(asked(2, sampling=Sampling(max_tokens=50, seed=2, top_p=0.9)))
    assert server.calls == [[0]]


@pytest.mark.parametrize("finish", ["length", "refused"])
def test_what_was_cut_off_or_refused_is_asked_again(account: Open, finish: str) -> None:
    server = Counting(finish)
    engine = kept(server, account())
    engine.generate(asked(0))
    engine.generate(asked(0))
    assert server.calls == [[0], [0]]


def test_a_short_answer_stays_valid_when_the_limit_grows_and_a_long_one_goes_when_it_shrinks(account: Open) -> None:
    server = Counting()
    engine = kept(server, account())
    for limit in (50, 900, 2, 1):
        engine.generate(asked(0, sampling=Sampling(temperature=1.0, max_tokens=limit)))
    assert len(server.calls) == 2, "only one token is too few for an answer of two"


def test_a_score_is_kept(account: Open) -> None:
    server = Counting()
    engine = kept(server, account())
    assert engine.log_prob([CHAT, CHAT], ["a", "a"]) == [LogProb(-2.5, 3)] * 2
    assert engine.log_prob([CHAT], ["a"]) == [LogProb(-2.5, 3)]
    assert len(server.calls) == 1


def test_an_engine_of_this_process_is_kept_on_request(account: Open) -> None:
    calls: list[Request] = []
    inner = Scripted(lambda request: calls.append(request) or "ok", score=lambda chat, target: -1.0)
    inner.identity, inner.rounding = "scripted", 0.0  # type: ignore[attr-defined]
    engine = kept(inner, account())
    assert [reply.text for reply in engine.generate(asked(0, 0, 1))] == ["ok"] * 3
    engine.generate(asked(1, 0))
    assert len(calls) == 2
    assert engine.log_prob([CHAT], ["x y"]) == engine.log_prob([CHAT], ["x y"]) == [LogProb(-1.0, 2)]


def test_a_failed_call_is_asked_again_and_its_reason_stays_on_file(account: Open) -> None:
    class Failing(Counting):
        async def answer(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
            if not self.calls:
                await permit("")
                self.calls.append([-1])
                return [RolloutError("context overflow", "9 > 8")]
            return await super().answer(requests, permit)

    server, books = Failing(), account()
    engine = kept(server, books)
    assert run([("0", Role("oracle", engine, WARM).say(CHAT))]) == [Failure("0", "context overflow", "9 > 8")]
    assert run([("0", Role("oracle", engine, WARM).say(CHAT))]) == ["hello 0"]
    assert [row["reason"] for row in books.ledger.export()] == ["context overflow: 9 > 8", ""]


def test_a_server_that_is_gone_ends_the_run_and_keeps_what_was_answered(account: Open) -> None:
    class Gone(Counting):
        async def answer(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
            if len(self.calls) == 1:
                raise ServerError("no endpoint answers")
            return await super().answer(requests, permit)

    server = Gone()
    engine = kept(server, account())
    engine.generate(asked(0))
    with pytest.raises(ServerError, match="no endpoint answers"):
        engine.generate(asked(0, 1))
    server.calls.append([])  # it is back
    assert len(engine.generate(asked(0, 1))) == 2
    assert server.calls == [[0], [], [1]]


def test_a_sending_that_may_have_been_billed_is_a_row_of_its_own(account: Open) -> None:
    class Dropping(Counting):
        async def answer(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
            await permit("")
            await permit("connection dropped")
            return await super().answer(requests)

    books = account()
    kept(Dropping(), books).generate(asked(0))
    assert [(row["reason"], row["may_be_billed"]) for row in books.ledger.export()] == [
        ("connection dropped", True),
        ("", False),
    ]


@pytest.mark.parametrize("bug", [KeyError("n"), asyncio.CancelledError()], ids=["bug", "cancelled"])
def test_whatever_breaks_a_call_off_nobody_waits_for_it_for_ever(account: Open, bug: BaseException) -> None:
    class Broken(Counting):
        async def answer(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
            await permit("")
            await self.gate.wait()
            raise bug

    server, books = Broken(), account(budget="2calls")
    engine = kept(server, books)
    server.gate.clear()
    waiting = [awaited.start(engine.answer(asked(0))) for _ in range(2)]
    behind = awaited.start(kept(Counting(), books).answer(asked(*range(2))))
    awaited.loop().call_soon_threadsafe(server.gate.set)
    for one in waiting:
        with pytest.raises((KeyError, CancelledError)):
            one.result(10)
    with pytest.raises(BudgetReached):  # and not for ever: what was broken off may have been billed
        behind.result(10)
    assert [row["may_be_billed"] for row in books.ledger.export()] == [True]
    assert kept(Counting(), account("another")).generate(asked(0))


def test_what_fails_before_it_is_sent_is_not_in_the_books(account: Open) -> None:
    class Short(Counting):
        async def answer(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
            return [RolloutError("context overflow")] * len(requests)

    books = account()
    assert isinstance(kept(Short(), books).generate(asked(0))[0], RolloutError)
    assert list(books.ledger.export()) == []


def test_an_answer_that_cannot_be_put_on_file_is_told_and_asked_again(
    account: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    server, books = Counting(), account()
    engine = kept(server, books)
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "_add_results", full)
        with pytest.raises(SparringError, match="the disk is full"):
            engine.generate(asked(0))
    assert isinstance(awaited.start(engine.answer(asked(0))).result(10)[0], Completion)
    assert books.under_way == 0 and books.totals()["oracle"]["lost"] == {"calls": 1}


def test_the_same_call_with_another_limit_is_another_call_while_both_are_under_way(account: Open) -> None:
    short, long = (asked(0, sampling=Sampling(max_tokens=limit))[0] for limit in (3, 50))
    server = Counting()
    engine = kept(server, account())
    server.gate.clear()
    waiting = [awaited.start(engine.answer([one])) for one in (short, long, short)]
    awaited.loop().call_soon_threadsafe(server.gate.set)
    assert all(one.result(10) for one in waiting) and len(server.calls) == 2

    inner = Scripted(lambda request: "x" * request.sampling.max_tokens)
    inner.identity, inner.rounding = "scripted", 0.0  # type: ignore[attr-defined]
    assert [len(reply.text) for reply in kept(inner, account()).generate([short, long, short])] == [3, 50, 3]


def test_a_score_that_is_no_number_is_not_kept(account: Open) -> None:
    inner = Scripted(lambda request: "ok", score=lambda chat, target: float("nan"))
    inner.identity, inner.rounding = "scripted", 0.0  # type: ignore[attr-defined]
    books = account()
    assert isnan(kept(inner, books).log_prob([CHAT], ["x"])[0].total)
    assert [row["reason"] for row in books.ledger.export()] == ["not a number: nan nats"]


def test_a_stop_waits_for_every_sending_also_where_another_one_has_failed(account: Open) -> None:
    class Half(Counting):
        def apart(self, requests: Sequence[Request]) -> list[list[int]]:
            return [[at] for at in range(len(requests))]

        async def answer(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
            await permit("")
            if requests[0].sample_index:
                raise ServerError("not any more")
            await asyncio.sleep(0.2)
            return await super().answer(requests)

    books = account()
    with pytest.raises(ServerError, match="not any more"):
        kept(Half(), books).generate(asked(0, 5))
    assert books.under_way == 1
    books.stop()
    books.land(10)
    assert [row["reply"] for row in books.ledger.export()] == [{"text": "hello 0"}, None]


@pytest.mark.parametrize(
    ("manners", "samples"),
    [({"demands": "max_completion_tokens"}, 1), ({"no_fields": "n"}, 3), ({"most_n": 1}, 3)],
    ids=["other name", "no n", "one for n"],
)
def test_a_call_sent_in_another_form_is_not_held_up_by_those_that_wait_for_what_it_holds(
    account: Open, manners: dict[str, Any], samples: int
) -> None:
    requests = [asked(*range(samples), text=f"hello {n}") for n in range(6)]
    with serving(latency=0.02, **manners) as server:
        for budget in (f"{2 * samples}calls", None):
            books = account(budget=budget)
            engine = kept(HTTP([server.url], "test", concurrency=2), books)
            for work in [awaited.start(engine.answer(group)) for group in requests]:
                with contextlib.suppress(BudgetReached) if budget else contextlib.nullcontext():
                    assert all(isinstance(reply, Completion) for reply in work.result(20))
            assert budget is None or 0 < sum(server.books()["billed"].values()) <= 2 * samples
            assert books.totals()["oracle"]["lost"] == {"calls": 0} and books.under_way == 0
            engine.close()
        billed = server.books()["billed"]
    assert len(billed) == 6 * samples and set(billed.values()) == {1}


def test_samples_that_came_are_on_file_also_where_another_one_of_the_group_fails(account: Open) -> None:
    class OneByOne(Counting):
        def apart(self, requests: Sequence[Request]) -> list[list[int]]:
            return [[*range(len(requests))]] if not self.calls else [[at] for at in range(len(requests))]

        async def send(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
            await permit("")
            if requests[0].sample_index == 2:
                raise ServerError("not any more")
            return await super().answer(requests[:1])

    books, server = account(), OneByOne()
    with pytest.raises(ServerError, match="not any more"):
        kept(server, books).generate(asked(*range(4)))
    books.stop()
    books.land(10)
    assert sorted(row["sample_index"] for row in books.ledger.export() if row["reply"]) == [0, 1, 3]
    assert books.totals()["oracle"]["lost"] == {"calls": 0}


def test_a_budget_pauses_the_run_and_a_larger_one_goes_on_from_there(account: Open) -> None:
    server = Counting()
    role = Role("oracle", kept(server, account(budget="3calls")), WARM)
    with pytest.raises(BudgetReached, match="3"):
        run((str(n), role.say([user(f"task {n}")])) for n in range(10))
    assert len(server.calls) == 3
    role = Role("oracle", kept(server, account(budget="10calls")), WARM)
    assert len(run((str(n), role.say([user(f"task {n}")])) for n in range(10))) == 10
    assert len(server.calls) == 10


def test_calls_that_stop_elsewhere_or_ask_how_likely_are_other_calls(account: Open) -> None:
    server = Counting()
    engine = kept(server, account())
    for sampling in (WARM, replace(WARM, stop=("x",)), replace(WARM, log_prob=True)):
        for _ in range(2):
            engine.generate(asked(0, sampling=sampling))
    assert len(server.calls) == 3


def test_how_likely_an_answer_was_is_kept_with_it(account: Open) -> None:
    class Telling(Counting):
        async def answer(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
            replies = await super().answer(requests, permit)
            return [replace(reply, log_prob=LogProb(-3.0, 2)) for reply in replies]  # type: ignore[type-var]

    engine = kept(Telling(), account())
    first = engine.generate(asked(0, sampling=replace(WARM, log_prob=True)))
    assert engine.generate(asked(0, sampling=replace(WARM, log_prob=True))) == first
    assert first[0].log_prob == LogProb(-3.0, 2)
