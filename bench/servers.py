"""Calls to a server in a process of its own: wall time over the ideal, and what chaos loses or bills twice.

The server answers after 200 ms, 256 calls at once; ideal is calls x latency / room. Connecting is within the time. In
turn with ours the HTTP client alone makes the same calls: no pool, no slow start, nothing read but the JSON.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import urlopen

import aiohttp

from bench.table import Figure
from sparring.engines.base import Request
from sparring.engines.http import HTTP
from sparring.types import Completion, Sampling, user

LATENCY, ROOM = 0.2, 256
FIGURES = (
    Figure(
        "HTTP: 2,000 calls of 200 ms, 256 at once",
        "server_seconds",
        "s",
        against="ideal",
        peer="server_ideal_seconds",
        ratio="server_over_ideal",
        asked=1.3,
        aim=1.1,
        at_most=True,
    ),
    Figure(
        "HTTP: the same",
        "server_seconds",
        "s",
        against="the HTTP client alone",
        peer="server_bare_seconds",
        ratio="server_bare_ratio",
    ),
    Figure("HTTP: calls lost in chaos, of 2,000", "chaos_lost", asked=0, of="ours", at_most=True),
    Figure("HTTP: calls billed twice in chaos", "chaos_billed_twice", asked=0, of="ours", at_most=True),
)


@contextmanager
def server(**manners: object) -> Iterator[str]:
    """Run the test server, and give its URL."""
    options = [word for name, value in manners.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "tests.serving", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def books(url: str) -> dict[str, Any]:
    with urlopen(url.removesuffix("/v1") + "/books") as answer:
        return json.load(answer)


def ours(calls: int) -> dict[str, float]:
    requests = [Request([user(f"hello {at}")], Sampling(temperature=1.0)) for at in range(calls)]
    with server(latency=LATENCY, room=ROOM) as url:
        engine = HTTP([url], "test", concurrency=ROOM).open()
        start, processor = time.perf_counter(), time.process_time()
        replies = engine.generate(requests)
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
        refused = books(url)["posts"] - calls
        engine.close()
    assert all(isinstance(reply, Completion) for reply in replies)
    return {"seconds": seconds, "calls_refused": refused, "call_cpu_ms": processor / calls * 1000}


def bare(calls: int) -> float:
    """Return the seconds of the HTTP client alone."""

    async def all_of_them(url: str) -> float:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=ROOM)) as session:

            async def one(at: int) -> None:
                body = {"model": "test", "messages": [user(f"hello {at}")], "max_tokens": 256}
                async with session.post(f"{url}/chat/completions", json=body) as answer:
                    await answer.json()

            start = time.perf_counter()
            await asyncio.gather(*(one(at) for at in range(calls)))
            return time.perf_counter() - start

    with server(latency=LATENCY, room=ROOM) as url:
        return asyncio.run(all_of_them(url))


def over_ideal(calls: int, times: int) -> dict[str, float]:
    pairs = [(ours(calls), bare(calls)) for _ in range(times)]
    found = {name: statistics.median(one[name] for one, _ in pairs) for name in pairs[0][0]}
    ideal = calls * LATENCY / ROOM
    return {
        "server_calls": calls,
        "server_ideal_seconds": ideal,
        "server_bare_seconds": statistics.median(seconds for _, seconds in pairs),
        "server_bare_ratio": statistics.median(one["seconds"] / seconds for one, seconds in pairs),
        "server_over_ideal": found["seconds"] / ideal,
        **{f"server_{name}": value for name, value in found.items()},
    }


def chaos(calls: int) -> dict[str, float]:
    requests = [Request([user(f"hello {at}")], Sampling(temperature=1.0)) for at in range(calls)]
    with server(chaos=1.0, seed=1, latency=0.005, retry_after="0.01", stall=5.0) as url:
        engine = HTTP([url], "test", deadline=2.0, backoff=0.02).open()
        replies = engine.generate(requests)
        served = books(url)
        engine.close()
    return {
        "chaos_calls": calls,
        "chaos_sendings": served["posts"],
        "chaos_lost": sum(not isinstance(reply, Completion) for reply in replies),
        "chaos_ready_too_late": sum(served["late"].values()),
        "chaos_billed_twice": sum(times - 1 for times in served["billed"].values()),
    }


def measure(quick: bool) -> dict[str, float]:
    calls = 500 if quick else 2000
    return over_ideal(calls, 1 if quick else 5) | chaos(calls)
