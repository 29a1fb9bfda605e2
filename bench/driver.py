"""The driver alone: many scripted rollouts of six calls; their seconds, and their memory, traced and resident.

Beside it stand the same calls handed to the scripted engine in full batches, with no flow and no driver: the limit. The
resident memory is that of a fresh process; traced is what Python allocated, in a run of its own. The last figure is the
cost of a rollout among all of them over that among a tenth, both in fresh processes.

    python -m bench.driver 100000      one fresh process: seconds, and bytes above its start
"""

from __future__ import annotations

import json
import statistics
import sys
import tracemalloc

from bench.alternate import compare
from bench.fresh import growth, run_fresh
from bench.table import Figure
from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.flow import Flow, Role, run
from sparring.types import Sampling, user

CALLS = 6
FLAT = 1.25
"""Of a cost per task at ten times the tasks: below it we call it flat. The issue names no number."""
FIGURES = (
    Figure(
        "driver: 100,000 rollouts of 6 calls",
        "driver_seconds",
        "s",
        against="the same calls in full batches, no flows",
        peer="driver_other_seconds",
        asked=60,
        aim=20,
        of="ours",
        at_most=True,
    ),
    Figure("driver: resident memory of them", "driver_resident_mb", "MB", asked=1000, aim=300, of="ours", at_most=True),
    Figure("driver: traced memory of them", "driver_traced_mb", "MB", asked=1000, aim=300, of="ours", at_most=True),
    Figure(
        "driver: time a rollout",
        "driver_us",
        "µs",
        against="one of a tenth as many",
        peer="driver_tenth_us",
        ratio="driver_us_ratio",
        asked=FLAT,
        at_most=True,
    ),
)


def rollout(role: Role, n: int) -> Flow[int]:
    for _ in range(CALLS):
        yield from role.say([user(str(n))])
    return n


def engine() -> Scripted:
    return Scripted(lambda request: "ok")


def work(rollouts: int) -> int:
    role = Role("asker", engine())
    return len(run((str(n), rollout(role, n)) for n in range(rollouts)))


def bare(rollouts: int) -> int:
    scripted, sampling = engine(), Sampling()
    for start in range(0, rollouts, scripted.batch_size):
        batch = range(start, min(rollouts, start + scripted.batch_size))
        for _ in range(CALLS):
            scripted.generate([Request([user(str(n))], sampling, 0, "asker") for n in batch])
    return rollouts


def traced(rollouts: int) -> float:
    tracemalloc.start()
    work(rollouts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def measure(quick: bool) -> dict[str, float]:
    rollouts, times = (10_000, 1) if quick else (100_000, 3)
    sizes = rollouts, rollouts // 10
    rates = compare("driver", lambda: work(rollouts), lambda: bare(rollouts), times)
    pairs = [[run_fresh("bench.driver", size) for size in sizes] for _ in range(times)]
    us = [[found["seconds"] / size * 1e6 for found, size in zip(pair, sizes, strict=True)] for pair in pairs]
    return {
        "driver_rollouts": rollouts,
        "driver_seconds": rollouts / rates["driver_per_s"],
        "driver_other_seconds": rollouts / rates["driver_other_per_s"],
        "driver_resident_mb": statistics.median(large["bytes"] for large, _ in pairs) / 1e6,
        "driver_traced_mb": traced(rollouts),
        "driver_us": statistics.median(large for large, _ in us),
        "driver_tenth_us": statistics.median(small for _, small in us),
        "driver_us_ratio": statistics.median(large / small for large, small in us),
    }


if __name__ == "__main__":
    print(json.dumps(growth(lambda: work(int(sys.argv[1])))))
