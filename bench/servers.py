"""Calls to a server in a process of its own: wall time over the ideal, and what chaos loses or bills twice.

The server answers after 200 ms, 256 calls at once; ideal is calls x latency / room. Connecting is within the time.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import urlopen

import aiohttp

from sparring.engines.base import Request
from sparring.engines.http import HTTP
from sparring.types import Completion, Sampling, user

LATENCY, ROOM = 0.2, 256


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


def over_ideal(calls: int) -> dict[str, float]:
    requests = [Request([user(f"hello {at}")], Sampling(temperature=1.0)) for at in range(calls)]
    with server(latency=LATENCY, room=ROOM) as url:
        engine = HTTP([url], "test", concurrency=ROOM).open()
        start, processor = time.perf_counter(), time.process_time()
        replies = engine.generate(requests)
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
        refused = books(url)["posts"] - calls
        engine.close()
    assert all(isinstance(reply, Completion) for reply in replies)
    return {
        "server_calls": calls,
        "server_calls_seconds": seconds,
        "server_calls_over_ideal": seconds / (calls * LATENCY / ROOM),
        "server_calls_refused": refused,
        "server_call_cpu_ms": processor / calls * 1000,
    }


def bare(calls: int) -> dict[str, float]:
    """The same calls by the HTTP client alone: no pool, no slow start, nothing read but the JSON."""

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
        return {"server_calls_bare_over_ideal": asyncio.run(all_of_them(url)) / (calls * LATENCY / ROOM)}


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
    return over_ideal(calls) | bare(calls) | chaos(calls)
