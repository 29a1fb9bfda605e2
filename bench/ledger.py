"""What the ledger adds to 10,000 calls: looked up, noted before they are sent, answers on file before they are read.

The calls go through the driver and the http engine to a server in a process of its own that answers after 200 ms, 256
at once; with the ledger they have a budget too.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from bench.alternate import seconds
from bench.servers import LATENCY, ROOM, server
from sparring.budget import Account, Budget
from sparring.engines.http import HTTP
from sparring.engines.kept import kept
from sparring.flow import Role, run
from sparring.ledger import Ledger
from sparring.types import Failure, Sampling, system, user

QUESTION = "Name one thing that you would ask before you answer. " * 12


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


def measure(quick: bool) -> dict[str, float]:
    number, pairs = (1_000, 1) if quick else (10_000, 3)
    with server(latency=LATENCY, room=ROOM) as url:
        times = [
            (seconds(lambda: with_ledger(url, number)), seconds(lambda: without(url, number))) for _ in range(pairs)
        ]
    return {
        "ledger_calls": number,
        "ledger_seconds": statistics.median(a for a, _ in times),
        "ledger_other_seconds": statistics.median(b for _, b in times),
        "ledger_overhead": statistics.median(a / b for a, b in times) - 1,
    }
