"""What the ledger adds to 10,000 calls: looked up, noted before they are sent, answers on file before they are read.

The calls go through the driver and the http engine to a server in a process of its own, 256 at once; with the ledger
they have a budget too. Answers take 100 to 300 ms, or (`in_step`) 200 ms each, so that 256 come back at once.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from bench.alternate import seconds
from bench.servers import LATENCY, ROOM, server
from bench.table import Figure
from sparring.budget import Account, Budget
from sparring.engines.http import HTTP
from sparring.engines.kept import kept
from sparring.flow import Role, run
from sparring.ledger import Ledger
from sparring.types import Failure, Sampling, system, user

QUESTION = "Name one thing that you would ask before you answer. " * 12


FIGURES = tuple(
    Figure(
        f"ledger and budget: 10,000 calls, {how}",
        f"{key}_seconds",
        "s",
        against="the same calls without",
        peer=f"{key}_other_seconds",
        ratio=f"{key}_ratio",
        asked=1.05,
        aim=1.02,
        at_most=True,
    )
    for how, key in (("100 to 300 ms each", "ledger"), ("200 ms each, in step", "ledger_in_step"))
)


def calls(engine: object, number: int) -> None:
    role = Role("oracle", engine, Sampling(temperature=1.0, max_tokens=256))  # type: ignore[arg-type]
    chats = ([system("You answer in the first person."), user(f"{at}: {QUESTION}")] for at in range(number))
    replies = run((str(at), role.say(chat)) for at, chat in enumerate(chats))
    assert not any(isinstance(reply, Failure) for reply in replies)


def without(url: str, number: int) -> None:
    engine = HTTP([url], "test", concurrency=ROOM).open()
    calls(engine, number)
    engine.close()


def with_ledger(url: str, number: int) -> None:
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
        engine = HTTP([url], "test", concurrency=ROOM).open()
        calls(kept(engine, Account(ledger, "bench", Budget.parse("1_000_000_000tokens"))), number)
        engine.close()


def compared(name: str, number: int, pairs: int, spread: float) -> dict[str, float]:
    with server(latency=LATENCY, spread=spread, room=ROOM) as url:
        times = [
            (seconds(lambda: with_ledger(url, number)), seconds(lambda: without(url, number))) for _ in range(pairs)
        ]
    return {
        f"{name}_seconds": statistics.median(a for a, _ in times),
        f"{name}_other_seconds": statistics.median(b for _, b in times),
        f"{name}_ratio": statistics.median(a / b for a, b in times),
    }


def measure(quick: bool) -> dict[str, float]:
    number, pairs = (1_000, 1) if quick else (10_000, 5)
    apart = compared("ledger", number, pairs, 0.5)
    return {"ledger_calls": number} | apart | compared("ledger_in_step", number, pairs, 0.0)
