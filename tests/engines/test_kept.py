"""An engine under the ledger: what is on file is read, what is under way is waited for, the rest is paid once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from sparring.budget import Account, Budget
from sparring.engines import awaited
from sparring.engines.awaited import Awaited
from sparring.engines.base import Permit, Request, freely
from sparring.engines.kept import kept
from sparring.engines.scripted import Scripted
from sparring.errors import BudgetReached, RolloutError, ServerError
from sparring.flow import Role, run
from sparring.ledger import Ledger
from sparring.types import Chat, Completion, Failure, LogProb, Sampling, user

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


def test_a_budget_pauses_the_run_and_a_larger_one_goes_on_from_there(account: Open) -> None:
    server = Counting()
    role = Role("oracle", kept(server, account(budget="3calls")), WARM)
    with pytest.raises(BudgetReached, match="3"):
        run((str(n), role.say([user(f"task {n}")])) for n in range(10))
    assert len(server.calls) == 3
    role = Role("oracle", kept(server, account(budget="10calls")), WARM)
    assert len(run((str(n), role.say([user(f"task {n}")])) for n in range(10))) == 10
    assert len(server.calls) == 10
