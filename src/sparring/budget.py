"""The ceiling that a run keeps under.

The most that a call may cost is reserved before it is sent, and given back when its real cost is known: with any number
of calls under way, what is spent never passes the ceiling. Money is added up in whole picodollars, so that nothing is
lost to rounding.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, Generic, Literal, TypeVar, cast, get_args

from sparring.errors import BudgetReached, SettingsError, SparringError
from sparring.ledger import Amount, Ledger, Settled, Total, Wanted, home
from sparring.prices import Price, most, price_of

__all__ = ["Account", "Amount", "Budget", "Price", "Stopped", "most", "price_of"]

log = logging.getLogger("sparring")

T = TypeVar("T")
Unit = Literal["usd", "tokens", "calls"]

PICO = 10**12
"""Picodollars in a dollar."""

FREE = Amount(0.0, 0, 0)
UNSENT = Settled(None, "not sent")


class Stopped(SparringError):
    """Nothing new is sent any more: `Account.stop` was called."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a run may spend, over all the sessions that work on it."""

    most: Decimal
    unit: Unit

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Return the budget that `20usd`, `0.5usd`, `2_000_000tokens` or `500calls` says. Raises SettingsError."""
        forms = "write 20usd, 0.5usd, 2_000_000tokens or 500calls"
        match = re.fullmatch(rf"(\d+(?:_\d+)*(?:\.\d+)?)({'|'.join(get_args(Unit))})", text, re.ASCII)
        if not match:
            raise SettingsError(f"budget = {text!r}: {forms}")
        most, unit = Decimal(match[1].replace("_", "")), cast(Unit, match[2])
        if most <= 0 or (unit != "usd" and most % 1) or (most * PICO) % 1:
            raise SettingsError(f"budget = {text!r}: must be more than 0, and whole for tokens and calls; {forms}")
        return cls(most, unit)

    def __str__(self) -> str:
        return f"{self.most:,f} {self.unit}"


class Account:
    """What one run may spend and has spent, by what the ledger holds of it.

    `begin` and `end` belong to the loop that awaits the servers' answers; `begin_now` and `end_now` are for engines in
    this process, which cost nothing: their calls are in the books and count against no budget. `run` is a name that no
    other run bears, and only one process works on it at a time.
    """

    def __init__(self, ledger: Ledger, run: str, budget: Budget | None = None):
        self.ledger, self.run, self.budget = ledger, run, budget
        self.session = secrets.token_hex(8)
        ledger.mark_lost(run, self.session)
        before = ledger.totals(run)
        self.lost = sum(total.lost for total in before)
        """Calls of earlier sessions that may have been billed without an answer."""
        self._spent = sum(self._of(total.spent) for total in before)
        self._reserved = 0
        self._held: dict[int, int] = {}  # what is reserved for each call under way, by row
        self._noting = 0  # calls that have room and are not on file yet
        self._line: deque[tuple[int, int, asyncio.Future[None]]] = deque()
        self._refusal: Callable[[], SparringError] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begins = _Tick(self._write_begins, self._unsent)
        self._ends = _Tick(ledger.end, lambda _: None)

    def check_price(self, model: str) -> None:
        """Raise SettingsError where the budget is in USD and no price is known for `model`."""
        if self.budget and self.budget.unit == "usd" and price_of(model) is None:
            what = f"add a row for it to {home() / 'prices.toml'}, or give the budget in tokens or calls"
            raise SettingsError(f"budget = {self.budget}: no price is known for {model!r}; {what}")

    async def begin(self, wanted: Sequence[Wanted], reserve: Sequence[Amount]) -> list[int]:
        """Reserve what calls may cost and note that they are about to be sent; return their rows.

        While there is no room it waits for calls under way, in order. Raises BudgetReached once none is and it still
        does not fit, then and ever after; Stopped after `stop`; LedgerError.
        """
        for call in wanted:
            assert call.key  # what cannot be a key raises here, at its own caller
        needs = [self._of(amount) for amount in reserve]
        await self._room(sum(needs), len(needs))
        note = self._begins.add(list(zip(wanted, reserve, strict=True)))
        try:
            rows = cast(list[int], await note)
        except (asyncio.CancelledError, SparringError):
            if note.done() and not note.cancelled() and not note.exception():
                self._unsent(note.result())
            self._give_back(sum(needs), len(needs))
            raise
        self._noting -= len(rows)
        self._held.update(zip(rows, needs, strict=True))
        if self._refusal:
            await self.end([(row, UNSENT) for row in rows])
            raise self._refusal()
        return rows

    async def end(self, settled: Sequence[tuple[int, Settled]]) -> None:
        """Put on file what came of calls, and give back what they did not cost."""
        try:
            await self._ends.add(settled)
        finally:
            for row, this in settled:
                self._settle(row, this)
            self._admit()

    def begin_now(self, wanted: Sequence[Wanted]) -> list[int]:
        """Note that an engine in this process is about to answer calls; return their rows."""
        return self.ledger.begin(wanted, self.run, self.session, [FREE] * len(wanted)).result()

    def end_now(self, settled: Sequence[tuple[int, Settled]]) -> None:
        """Put on file what an engine in this process answered."""
        self.ledger.end([(row, replace(this, usd=0.0)) for row, this in settled]).result()

    @property
    def under_way(self) -> int:
        """Calls to servers that were sent and have not ended."""
        return len(self._held)

    def stop(self) -> None:
        """Have every `begin` from now on raise Stopped, those that wait included; calls under way go on.

        May be called from any thread.
        """
        self._refusal = self._refusal or partial(Stopped, "stopped: nothing new is sent")
        if self._loop:
            self._loop.call_soon_threadsafe(self._admit)

    def land(self, seconds: float) -> None:
        """Wait until every call under way has ended and is on file, at most so long. Not for the loop's own thread."""
        until = time.monotonic() + seconds
        while (self._held or self._noting) and time.monotonic() < until:
            time.sleep(0.01)

    def totals(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """Return by role what this session was billed (`billed_now`), earlier ones were (`billed_earlier`), and `lost`.

        The first two are calls, prompt_tokens, completion_tokens and usd (None: unknown); the last the calls that may
        have been billed without an answer, those under way among them.
        """
        by_role: dict[str, list[Total]] = {}
        for total in self.ledger.totals(self.run):
            by_role.setdefault(total.role, []).append(total)
        return {
            role: {
                "billed_now": _sum([total for total in totals if total.session == self.session]),
                "billed_earlier": _sum([total for total in totals if total.session != self.session]),
                "lost": {"calls": sum(total.lost for total in totals)},
            }
            for role, totals in by_role.items()
        }

    # Room

    async def _room(self, need: int, calls: int) -> None:
        """Reserve `need` as soon as it fits."""
        self._loop = asyncio.get_running_loop()
        waiter = self._loop.create_future()
        self._line.append((need, calls, waiter))
        self._admit()
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled() and not waiter.exception():
                self._give_back(need, calls)
            raise

    def _give_back(self, need: int, calls: int) -> None:
        self._reserved, self._noting = self._reserved - need, self._noting - calls
        self._admit()

    def _admit(self) -> None:
        """Let in, in order, those who wait and fit; refuse all where none will ever fit."""
        while self._line:
            need, calls, waiter = self._line[0]
            fits = not self.budget or self._spent + self._reserved + need <= self._ceiling
            if not self._refusal and not fits and not waiter.done():
                if self._held or self._noting:
                    return
                self._refusal = partial(BudgetReached, self._reached(need))
            self._line.popleft()
            if waiter.done():
                continue  # nobody waits for it any more
            if self._refusal:
                waiter.set_exception(self._refusal())
            else:
                self._reserved, self._noting = self._reserved + need, self._noting + calls
                waiter.set_result(None)

    def _reached(self, need: int) -> str:
        waiting = sum(calls for _, calls, waiter in self._line if not waiter.done())
        told = f"{self._said(self._spent)} spent, the next call may cost {self._said(need)}, {waiting} calls wait"
        further = "The same command with a larger --budget goes on; every answer so far is kept."
        return f"the budget of {self.budget} is reached: {told}. {further}"

    def _settle(self, row: int, this: Settled) -> None:
        held = self._held.pop(row)
        cost = self._cost(this, held)
        if self.budget and cost > held:
            told = f"{self._said(cost)}, and {self._said(held)} was the most expected"
            log.warning("a call cost %s: check the price and the server's count of tokens", told)
        self._reserved, self._spent = self._reserved - held, self._spent + cost

    def _cost(self, this: Settled, held: int) -> int:
        """Return what a call cost in the budget's unit: what was reserved where nobody knows better."""
        if not self.budget or not held or (this.reply is None and not this.may_be_billed):
            return 0
        if self.budget.unit == "usd":
            return held if this.usd is None else _pico(this.usd)
        if self.budget.unit == "tokens":
            told = [getattr(this.reply, name, None) for name in ("prompt_tokens", "completion_tokens")]
            return held if None in told else sum(cast(list[int], told))
        return 1

    def _unsent(self, rows: Sequence[int]) -> None:
        """Say on file of calls whose sender is gone that they were not sent."""
        self.ledger.end([(row, UNSENT) for row in rows])

    @property
    def _ceiling(self) -> int:
        assert self.budget
        return int(self.budget.most * (PICO if self.budget.unit == "usd" else 1))

    def _of(self, amount: Amount) -> int:
        """Return an amount in the budget's unit."""
        match self.budget and self.budget.unit:
            case "usd" if amount.usd is None:
                what = "give the price in prices.toml, or the budget in tokens or calls"
                raise SettingsError(f"budget = {self.budget}: the price of a call of {self.run} is unknown; {what}")
            case "usd":
                return _pico(cast(float, amount.usd))
            case "tokens":
                return amount.tokens
            case "calls":
                return amount.calls
            case _:
                return 0

    def _said(self, sum_: int) -> str:
        assert self.budget
        return f"{sum_ / PICO:.6f} usd" if self.budget.unit == "usd" else f"{sum_:,} {self.budget.unit}"

    def _write_begins(self, notes: Sequence[tuple[Wanted, Amount]]) -> Future[list[int]]:
        return self.ledger.begin([w for w, _ in notes], self.run, self.session, [amount for _, amount in notes])


class _Tick(Generic[T]):
    """Makes one write of all that is given within one turn of the loop: a future a write, and not one a call."""

    def __init__(self, write: Callable[[Sequence[T]], Future[Any]], dropped: Callable[[list[int]], None]):
        self._write, self._dropped = write, dropped
        self._given: list[tuple[Sequence[T], asyncio.Future[Any]]] = []

    def add(self, items: Sequence[T]) -> asyncio.Future[Any]:
        """Return what comes of `items`: their share of the list that the write gives, or None."""
        loop = asyncio.get_running_loop()
        if not self._given:
            loop.call_soon(self._flush, loop)
        mine = loop.create_future()
        self._given.append((items, mine))
        return mine

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        given, self._given = self._given, []
        try:
            done = self._write([item for items, _ in given for item in items])
        except BaseException as error:
            _fail(given, error)
            if not isinstance(error, SparringError):
                raise
            return
        done.add_done_callback(lambda done: loop.call_soon_threadsafe(self._land, given, done))

    def _land(self, given: Sequence[tuple[Sequence[T], asyncio.Future[Any]]], done: Future[Any]) -> None:
        if error := done.exception():
            _fail(given, error)
            return
        rows, at = done.result(), 0
        for items, mine in given:
            share = rows and rows[at : at + len(items)]
            at += len(items)
            if not mine.done():
                mine.set_result(share)
            elif share:
                self._dropped(share)


def _fail(given: Sequence[tuple[Sequence[T], asyncio.Future[Any]]], error: BaseException) -> None:
    for _, mine in given:
        if not mine.done():
            mine.set_exception(error)


def _pico(usd: float) -> int:
    return math.ceil(usd * PICO)


def _sum(totals: Sequence[Total]) -> dict[str, float | None]:
    counts = ("calls", "prompt_tokens", "completion_tokens")
    prices = [total.usd for total in totals]
    usd = None if None in prices else sum(cast(list[float], prices))
    return {**{name: sum(getattr(total, name) for total in totals) for name in counts}, "usd": usd}
