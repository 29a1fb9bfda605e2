"""What the ledger adds to 10,000 calls: looked up, noted before they are sent, and their answers put on file.

The server is a wait with room for 256 calls at once, and costs no time of this process; more calls wait than it has
room for. Its answers take 100 to 300 ms (`ledger_overhead`); 200 ms exactly, so that 256 calls come back at once
(`in_step`); or 10 to 30 ms, which is more calls a second than can be made over HTTP from one process (`20ms`).
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.alternate import seconds
from sparring.budget import Account, Budget, Price, most
from sparring.ledger import Ledger, Settled, Wanted
from sparring.types import Completion

ROOM, WAITING = 256, 1024
QUESTION = "Name one thing that you would ask before you answer. " * 12
REPLY = Completion("An answer of the usual length, that is, of a hundred words or so. " * 8, "stop", 180, 120)


def wanted(call: int) -> Wanted:
    asked = {
        "messages": [
            {"role": "system", "content": "You answer in the first person."},
            {"role": "user", "content": f"{call}: {QUESTION}"},
        ],
        "temperature": 1.0,
        "top_p": 1.0,
        "seed": 0,
    }
    return Wanted("completion", "http://host/v1#gpt-4o-mini", asked, max_tokens=256, role="oracle")


Latency = Callable[[], float]


async def plain(server: asyncio.Semaphore, latency: Latency, call: Wanted) -> None:
    async with server:
        await asyncio.sleep(latency())


async def kept(server: asyncio.Semaphore, latency: Latency, call: Wanted, account: Account, price: Price) -> None:
    if account.ledger.find([call]) != [None]:
        raise AssertionError("each call is new")
    async with server:
        rows = await account.begin([call], [most(call, price)])
        await asyncio.sleep(latency())
    await account.end([(rows[0], Settled(REPLY, usd=0.0001))])


async def drive(calls: int, latency: Latency, account: Account | None) -> None:
    """Make the calls, with as many outstanding as a driver would have."""
    server, left = asyncio.Semaphore(ROOM), iter(range(calls))
    price = Price(0.15, 0.6)

    async def caller() -> None:
        for at in left:
            call = wanted(at)
            await (kept(server, latency, call, account, price) if account else plain(server, latency, call))

    await asyncio.gather(*(caller() for _ in range(min(WAITING, calls))))


def without(calls: int, low: float, high: float) -> None:
    draw = random.Random(0)
    asyncio.run(drive(calls, lambda: draw.uniform(low, high), None))


def with_ledger(calls: int, low: float, high: float) -> None:
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
        account = Account(ledger, "bench", Budget.parse("1_000_000usd"))
        asyncio.run(drive(calls, lambda: draw.uniform(low, high), account))


LATENCIES = {"ledger_overhead": (0.1, 0.3), "ledger_overhead_in_step": (0.2, 0.2), "ledger_overhead_20ms": (0.01, 0.03)}


def measure(quick: bool) -> dict[str, float]:
    calls, times = (1_000, 1) if quick else (10_000, 3)
    found: dict[str, float] = {}
    for name, (low, high) in LATENCIES.items():
        pairs = [
            (seconds(lambda: with_ledger(calls, low, high)), seconds(lambda: without(calls, low, high)))  # noqa: B023
            for _ in range(times)
        ]
        found[name] = statistics.median(ours / none - 1 for ours, none in pairs)
        found[f"{name}_us_a_call"] = statistics.median((ours - none) / calls * 1e6 for ours, none in pairs)
    return found
