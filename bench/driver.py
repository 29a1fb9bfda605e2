"""The driver alone: many scripted rollouts of six calls; their seconds, and in a second run their peak of memory."""

from __future__ import annotations

import tracemalloc

from bench.alternate import seconds
from sparring.engines.scripted import Scripted
from sparring.flow import Flow, Role, run
from sparring.types import user

CALLS = 6


def rollout(role: Role, n: int) -> Flow[int]:
    for _ in range(CALLS):
        yield from role.say([user(str(n))])
    return n


def measure(quick: bool) -> dict[str, float]:
    rollouts = 10_000 if quick else 100_000
    role = Role("asker", Scripted(lambda request: "ok"))

    def work() -> None:
        run((str(n), rollout(role, n)) for n in range(rollouts))

    spent = seconds(work)
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"driver_rollouts": rollouts, "driver_seconds": spent, "driver_peak_mb": peak / 2**20}
