"""The ceiling of a run: prices that are known or not, and what is never spent over it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.budget import Account, Amount, Budget, Price, Stopped, most, price_of
from sparring.errors import BudgetReached, DataError, LedgerError, SettingsError
from sparring.ledger import Ledger, Settled, Wanted
from sparring.types import Completion, LogProb

TEA = Completion("Tea.", "stop", 12, 3)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with Ledger(tmp_path_factory.mktemp("shared") / "ledger.sqlite") as ledger:
        yield ledger


def wanted(at: int = 0, role: str = "oracle") -> Wanted:
    return Wanted("completion", "http://h/v1#m", {"messages": [{"role": "user", "content": "Tea?"}]}, at, 100, role)


def usd(amount: float) -> Amount:
    return Amount(amount, 400)


async def call(account: Account, reserve: Amount, settled: Settled, at: int = 0) -> None:
    [row] = await account.begin([wanted(at)], [reserve])
    await asyncio.sleep(0)
    await account.end([(row, settled)])


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


# Budgets and prices


@pytest.mark.parametrize(
    ("text", "most", "unit"),
    [
        ("20usd", "20", "usd"),
        ("0.5usd", "0.5", "usd"),
        ("2_000_000tokens", "2000000", "tokens"),
        ("500calls", "500", "calls"),
    ],
)
def test_a_budget_is_a_number_with_its_unit(text: str, most: str, unit: str) -> None:
    assert Budget.parse(text) == Budget(Decimal(most), unit)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    (
        "|20|usd|20 usd|$20|20eur|-1usd|0usd|1.5calls|0.1tokens|1e3usd|nanusd|infusd|2mtokens|1,000tokens|٣usd|_1usd"
        "|1__0usd|0.0000000000001usd|5usd\n|20USD"
    ).split("|"),
)
def test_a_budget_that_cannot_be_read_is_refused_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Budget.parse(text)
    assert repr(text) in str(caught.value) and "20usd" in str(caught.value)


@pytest.fixture
def own_prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path))
    return tmp_path / "prices.toml"


def test_an_unknown_price_is_unknown_and_not_0() -> None:
    assert price_of("http://h/v1#nobody-knows-me") is None
    assert price_of("gpt-4o-mini-of-some-later-day") is None


def test_models_in_this_process_and_on_own_servers_cost_nothing() -> None:
    assert {price_of(name) for name in ("hf:a/b", "vllm:a/b@c", "world:concierge/policy")} == {Price(0.0, 0.0)}


def test_a_price_is_looked_up_by_the_whole_name_and_then_by_the_models_own() -> None:
    price = price_of("gpt-4.1-mini")
    assert price and price.usd(1_000_000, 1_000_000) == price.prompt + price.completion
    assert price_of("https://api.openai.com/v1#gpt-4.1-mini") == price


def test_own_prices_go_first_and_the_longest_beginning_counts(own_prices: Path) -> None:
    own_prices.write_text(
        '["gpt-4.1-mini"]\nprompt = 1\ncompletion = 2\n'
        '["http://mine:8000/*"]\nprompt = 0\ncompletion = 0\n'
        '["my-*"]\nprompt = 3\ncompletion = 4\n'
        '["my-large-*"]\nprompt = 5.5\ncompletion = 6\n'
    )
    assert price_of("https://api.openai.com/v1#gpt-4.1-mini") == Price(1.0, 2.0)
    assert price_of("http://mine:8000/v1#gpt-4.1-mini") == Price(0.0, 0.0)
    assert price_of("http://h/v1#my-small-1") == Price(3.0, 4.0)
    assert price_of("http://h/v1#my-large-1") == Price(5.5, 6.0)
    assert price_of("gpt-4o") is not None


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ('["m"]\nprompt = -1\ncompletion = 1', "m.prompt = -1"),
        ('["m"]\nprompt = 1\ncompletion = nan', "m.completion = nan"),
        ('["m"]\nprompt = true\ncompletion = 1', "m.prompt = True"),
        ('["m"]\nprompt = "1"\ncompletion = 1', "m.prompt = '1'"),
        ('["m"]\nprompt = 1', "m.completion"),
        ('["m"]\nprompt = 1\ncompletion = 1\ncached = 1', "m.cached"),
        ("m = 3", "m = 3"),
        ("m = ", "TOML"),
    ],
)
def test_a_row_that_is_no_price_is_named_with_its_file(own_prices: Path, row: str, named: str) -> None:
    own_prices.write_text(row)
    with pytest.raises(DataError) as caught:
        price_of("m")
    assert str(own_prices) in str(caught.value) and named in str(caught.value)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=4), st.integers(1, 500))
def test_no_call_has_more_tokens_than_its_bytes_and_its_limit(texts: Sequence[str], limit: int) -> None:
    asked = {"messages": [{"role": "user", "content": text} for text in texts]}
    bound = most(Wanted("completion", "m", asked, max_tokens=limit), Price(1.0, 2.0))
    assert bound.tokens >= sum(len(text.encode()) for text in texts) + 32 * len(texts) + 256 + limit
    assert bound.usd == ((bound.tokens - limit) + 2.0 * limit) / 1e6


def test_the_most_that_a_call_may_cost_is_unknown_without_a_price_and_refused_without_a_limit() -> None:
    assert most(wanted(), None).usd is None
    score = Wanted("log_prob", "m", {"messages": [], "target": "Tea." * 100})
    assert most(score, None).tokens > 400
    with pytest.raises(ValueError, match="max_tokens"):
        most(Wanted("completion", "m", {}), None)


# The law


@settings(deadline=None)
@given(data=st.data(), unit=st.sampled_from(["usd", "tokens", "calls"]))
def test_whatever_the_order_what_is_spent_never_passes_the_ceiling(
    shared: Ledger, data: st.DataObject, unit: str
) -> None:
    costs = data.draw(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), min_size=1, max_size=40))
    ceiling, seed = data.draw(st.integers(1, 400)), data.draw(st.integers(0, 2**32))
    budget = Budget.parse(f"{ceiling / 100 if unit == 'usd' else ceiling}{unit}")
    account, draw = Account(shared, f"{unit} {ceiling} {seed} {costs}", budget), random.Random(seed)
    spent, reached = [0], [0]

    async def one(at: int, reserved: int, cost: int) -> None:
        cost = min(cost, reserved)
        try:
            [row] = await account.begin([wanted(at)], [Amount(reserved / 100, reserved)])
        except BudgetReached:
            reached[0] += 1
            return
        spent[0] += 1 if unit == "calls" else cost
        assert spent[0] <= ceiling
        for _ in range(draw.randrange(4)):
            await asyncio.sleep(0)
        await account.end([(row, Settled(Completion("Tea.", "stop", cost, 0), usd=cost / 100))])

    async def all_at_once() -> None:
        await asyncio.gather(*(one(at, *cost) for at, cost in enumerate(costs)))

    run(all_at_once())
    assert spent[0] <= ceiling
    needs = len(costs) if unit == "calls" else sum(reserved for reserved, _ in costs)
    if needs <= ceiling:
        assert not reached[0]


def test_256_calls_under_way_spend_what_there_is_and_no_more(ledger: Ledger) -> None:
    account = Account(ledger, "run", Budget.parse("1usd"))
    outcomes: list[bool] = []

    async def one(at: int) -> None:
        try:
            await call(account, usd(0.01), Settled(TEA, usd=0.004), at)
            outcomes.append(True)
        except BudgetReached:
            outcomes.append(False)

    async def all_at_once() -> None:
        await asyncio.gather(*(one(at) for at in range(256)))

    run(all_at_once())
    [total] = ledger.totals("run")
    # Every call that began was let in with room for 0.01: the last at 0.99 spent or less.
    assert total.calls == outcomes.count(True) == 248
    assert total.usd is not None and 0.99 <= total.usd <= 1.0


def test_at_the_ceiling_it_says_what_is_spent_and_goes_on_with_a_larger_budget(ledger: Ledger) -> None:
    account = Account(ledger, "run", Budget.parse("0.03usd"))

    async def three() -> list[Any]:
        calls = (call(account, usd(0.02), Settled(TEA, usd=0.02), at) for at in range(3))
        return await asyncio.gather(*calls, return_exceptions=True)

    first, *rest = run(three())
    assert first is None
    for error in rest:
        assert isinstance(error, BudgetReached) and error.exit_status == 3
        assert "0.020000 usd spent, the next call may cost 0.020000 usd, 2 calls wait" in str(error)
        assert "larger --budget" in str(error)
    with pytest.raises(BudgetReached):  # also one that would fit: the run is being wound up
        run(call(account, usd(0.001), Settled(TEA)))
    run(call(Account(ledger, "run", Budget.parse("0.04usd")), usd(0.02), Settled(TEA, usd=0.02), 1))
    with pytest.raises(BudgetReached):
        run(call(Account(ledger, "run", Budget.parse("0.05usd")), usd(0.02), Settled(TEA, usd=0.02), 2))


def test_who_waits_is_let_in_in_order(ledger: Ledger) -> None:
    account, order = Account(ledger, "run", Budget.parse("10calls")), list[int]()

    async def one(at: int, calls: int) -> None:
        rows = await account.begin([wanted(n) for n in range(calls)], [Amount(None, 400)] * calls)
        order.append(at)
        await account.end([(row, Settled(None, "status 500")) for row in rows])

    async def all_at_once() -> None:
        await asyncio.gather(*(one(at, calls) for at, calls in enumerate([10, 10, 1, 10, 1, 1])))

    run(all_at_once())
    assert order[:4] == [0, 1, 2, 3] and sorted(order[4:]) == [4, 5]


@pytest.mark.parametrize(
    ("settled", "left"),
    [
        (Settled(TEA, usd=0.25), 0.75),
        (Settled(TEA), 0.5),  # nobody said what it cost
        (Settled(None, "timeout", may_be_billed=True), 0.5),
        (Settled(None, "status 500"), 1.0),
    ],
)
def test_what_a_call_did_not_cost_is_given_back_now_and_in_a_later_session(
    ledger: Ledger, settled: Settled, left: float
) -> None:
    budget = Budget.parse("1usd")
    account = Account(ledger, "run", budget)
    run(call(account, usd(0.5), settled))
    for later in (account, Account(ledger, "run", budget)):
        with pytest.raises(BudgetReached):
            run(call(later, usd(left + 0.001), Settled(None)))
    run(call(Account(ledger, "run", budget), usd(left), Settled(None)))


def test_tokens_are_counted_as_the_server_counts_them_and_as_reserved_where_it_does_not(ledger: Ledger) -> None:
    account = Account(ledger, "run", Budget.parse("1000tokens"))
    run(call(account, usd(1.0), Settled(TEA)))
    run(call(account, usd(1.0), Settled(LogProb(-1.0, 2))))
    spent = 15 + 400
    later = Account(ledger, "run", Budget.parse("1000tokens"))
    for one in (account, later):
        with pytest.raises(BudgetReached, match=f"{spent} tokens spent"):
            run(call(one, Amount(None, 1000 - spent + 1), Settled(None)))


def test_a_call_that_cost_more_than_was_thought_is_counted_and_told(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    account = Account(ledger, "run", Budget.parse("1usd"))
    run(call(account, usd(0.1), Settled(TEA, usd=0.9)))
    assert "a call cost 0.900000 usd, and 0.100000 usd was the most expected" in caplog.text
    with pytest.raises(BudgetReached, match=r"0\.900000 usd spent"):
        run(call(account, usd(0.2), Settled(TEA)))


def test_a_budget_in_usd_wants_prices_at_the_door(ledger: Ledger) -> None:
    with pytest.raises(SettingsError, match=r"no price is known for 'http://h/v1#x'; .*prices\.toml"):
        Account(ledger, "run", Budget.parse("1usd")).check_price("http://h/v1#x")
    for budget in (None, Budget.parse("1calls"), Budget.parse("1tokens")):
        Account(ledger, "run", budget).check_price("http://h/v1#x")
    Account(ledger, "run", Budget.parse("1usd")).check_price("hf:x")
    run(call(Account(ledger, "run"), Amount(None, 400), Settled(TEA)))
    with pytest.raises(SettingsError, match="unknown"):
        Account(ledger, "run", Budget.parse("1usd"))


# Sessions and stops


def test_calls_of_a_killed_session_count_as_if_they_were_billed(ledger: Ledger) -> None:
    run(Account(ledger, "run").begin([wanted(0), wanted(1)], [usd(0.25)] * 2))  # and then it died
    account = Account(ledger, "run", Budget.parse("1usd"))
    assert account.lost == 2
    assert Account(ledger, "another run").lost == 0
    with pytest.raises(BudgetReached, match=r"0\.500000 usd spent"):
        run(call(account, usd(0.51), Settled(TEA)))


def test_totals_tell_this_session_from_earlier_ones(ledger: Ledger) -> None:
    run(call(Account(ledger, "run"), usd(0.5), Settled(TEA, usd=0.25)))
    run(Account(ledger, "run").begin([wanted(1)], [usd(0.5)]))
    account = Account(ledger, "run")
    run(call(account, usd(0.5), Settled(TEA, usd=0.5), 2))
    run(call(account, usd(0.5), Settled(TEA), 3))
    assert account.totals() == {
        "oracle": {
            "billed_now": {"calls": 2, "prompt_tokens": 24, "completion_tokens": 6, "usd": None},
            "billed_earlier": {"calls": 1, "prompt_tokens": 12, "completion_tokens": 3, "usd": 0.25},
            "lost": {"calls": 1},
        }
    }


def test_engines_in_this_process_are_in_the_books_and_spend_nothing(ledger: Ledger) -> None:
    account = Account(ledger, "run", Budget.parse("1calls"))
    rows = account.begin_now([wanted(at, "policy") for at in range(5)])
    account.end_now([(row, Settled(TEA)) for row in rows])
    account.begin_now([wanted(9, "policy")])
    assert ledger.find([wanted(4)]) == [TEA]
    assert account.totals()["policy"]["billed_now"] == {
        "calls": 5,
        "prompt_tokens": 60,
        "completion_tokens": 15,
        "usd": 0.0,
    }
    later = Account(ledger, "run", Budget.parse("1calls"))
    assert later.lost == 0
    run(call(later, usd(0.1), Settled(TEA)))


def test_after_a_stop_nothing_new_is_sent_and_what_is_under_way_lands(ledger: Ledger) -> None:
    account = Account(ledger, "run", Budget.parse("1calls"))

    async def stopped() -> None:
        [row] = await account.begin([wanted(0)], [usd(0.1)])
        waiting = asyncio.ensure_future(account.begin([wanted(1)], [usd(0.1)]))
        await asyncio.sleep(0)
        await asyncio.get_running_loop().run_in_executor(None, account.stop)
        with pytest.raises(Stopped):
            await waiting
        with pytest.raises(Stopped):
            await account.begin([wanted(2)], [usd(0.1)])
        await account.end([(row, Settled(TEA))])

    run(stopped())
    assert ledger.find([wanted(0)]) == [TEA]
    assert account.totals()["oracle"]["lost"] == {"calls": 0}


def test_a_stop_while_a_call_is_being_noted_keeps_it_from_being_sent(ledger: Ledger) -> None:
    account = Account(ledger, "run")

    async def stopped() -> None:
        noting = asyncio.ensure_future(account.begin([wanted(0)], [usd(0.1)]))
        await asyncio.sleep(0)
        account.stop()
        with pytest.raises(Stopped):
            await noting

    run(stopped())
    assert account.totals()["oracle"]["lost"] == {"calls": 0}
    assert [row["reason"] for row in ledger.export()] == ["not sent"]


@pytest.mark.parametrize("turns", range(4))
def test_who_is_cancelled_while_it_waits_holds_up_nobody(ledger: Ledger, turns: int) -> None:
    account = Account(ledger, "run", Budget.parse("1calls"))

    async def cancelled() -> None:
        [row] = await account.begin([wanted(0)], [usd(0.1)])
        waiting = asyncio.ensure_future(account.begin([wanted(1)], [usd(0.1)]))
        behind = asyncio.ensure_future(account.begin([wanted(2)], [usd(0.1)]))
        await asyncio.sleep(0)
        ending = asyncio.ensure_future(account.end([(row, Settled(None, "status 500"))]))
        if turns % 2:
            await ending
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        [row] = await behind
        await account.end([(row, Settled(TEA))])

    run(cancelled())
    assert ledger.find([wanted(2)]) == [TEA]
    ledger.end([]).result()
    assert account.totals()["oracle"]["lost"] == {"calls": 0}


def test_a_ledger_that_cannot_be_written_reaches_who_waits(ledger: Ledger) -> None:
    account = Account(ledger, "run", Budget.parse("1calls"))
    ledger.close()
    with pytest.raises(LedgerError, match="was closed"):
        run(call(account, usd(0.1), Settled(TEA)))
