"""Cost against size: a round of STaR-GATE at 1,000, 10,000 and 100,000 tasks, on scripted engines and without training.

It is the recipe's own round on a run directory: situations, two conversations each, scores by m_0, selection, closing
answers, training rows; every stage written, synced and read back, its calls on a ledger. Each size has a process of its
own. Flat is what costs no more per task among ten times as many; memory is the growth of the process over its start.

    python -m bench.size 1000      one size: seconds of all and of each stage, and bytes
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.driver import FLAT
from bench.fresh import growth, run_fresh
from bench.table import Figure
from sparring.budget import Account
from sparring.engines.base import Request
from sparring.engines.kept import kept
from sparring.engines.scripted import Scripted
from sparring.files import read_lines
from sparring.ledger import Ledger
from sparring.opening import Engines
from sparring.recipes.star_gate import Roles, StarGate, StarGateLoop
from sparring.rollouts.situation import Persona, Situation
from sparring.runs import Run
from sparring.settings import Player
from sparring.stages import Stages
from sparring.tasks import Task
from sparring.types import Chat

SIZES = (1_000, 10_000, 100_000)
FIGURES = tuple(
    Figure(
        f"a round without training: {what} a task at {large:,} tasks",
        f"size_{key}_{large}",
        unit,
        against=f"at {small:,}",
        peer=f"size_{key}_{small}",
        ratio=f"size_{key}_{large}_ratio",
        asked=FLAT,
        at_most=True,
    )
    for what, key, unit in (("time", "us", "µs"), ("memory", "bytes", "bytes"))
    for small, large in pairwise(SIZES)
)
PROMPTS = {"ask": "Ask.", "play": "{persona}\n{task}", "personalise": "Answer.", "neutral": "Answer."}


class Named(Scripted):
    """Scripted engines of one identity, which the ledger files their calls under."""

    identity, rounding = "scripted", 0.0


class Opened(Engines):
    """One engine for everybody, under the ledger."""

    def open(self, name: str) -> Any:
        return self.opened[""]


def reply(request: Request) -> str:
    """Ask where that is what one is told to, else state something."""
    asks = request.chat[0]["content"] == PROMPTS["ask"]
    return f"Number {request.sample_index}: what do you like?" if asks else f"I like tea, number {len(request.chat)}."


def score(chat: Chat, target: str) -> float:
    return -1.0 - len(chat[1]["content"]) % 7


@contextmanager
def opened(folder: Path) -> Generator[Opened]:
    with Ledger(folder / "ledger.sqlite") as ledger:
        engines = Opened("size")
        engines.opened[""] = kept(Named(reply, score), Account(ledger, "size"))
        yield engines


def a_round(folder: Path, tasks: int) -> Path:
    """Do all of a round but its training; return the run's folder."""
    settings = StarGate(samples=2, turns=(1,), roles=Roles(roleplayer=Player(engine="base")))
    with opened(folder) as engines, Run.open(folder / "run", "star-gate", {}, "", [0]) as run:
        stages = Stages(run, lambda _: None, 0.5, run).within("round-1")
        loop = StarGateLoop(settings, PROMPTS, stages, engines, [])
        people = [Persona(f"persona-{n}", "Ada", f"I'm Ada, number {n}, and I drink tea.") for n in range(50)]
        situations = [
            Situation(Task(f"task-{n}", f"Where should number {n} of us eat?", "", "a"), people[n % 50], f"At {n}.")
            for n in range(tasks)
        ]
        conversations = loop.simulate(stages, "conversations.jsonl", "scripted", situations, range(settings.samples), 0)
        values = loop.worth(stages, conversations, situations)
        best = loop.select(stages, conversations, values)
        loop.close(stages, best, "scripted")
    return folder / "run"


def once(tasks: int) -> dict[str, float]:
    """Return what one size takes in this process: seconds, bytes, and the seconds of each stage."""
    with tempfile.TemporaryDirectory() as name:
        found = growth(lambda: a_round(Path(name), tasks))
        run = Run(Path(name) / "run")
        assert len(read_lines(run.path / "round-1" / "train.jsonl")) == tasks
        return found | {Path(stage).stem: seconds for stage, seconds in run.seconds().items()}


def measure(quick: bool) -> dict[str, float]:
    """The stages' own times (`size_STAGE_us_N`) say where to look when the whole is not flat."""
    sizes, found = SIZES[:2] if quick else SIZES, dict[str, float]()
    repeats = [{size: run_fresh("bench.size", size) for size in sizes} for _ in range(1 if quick else 3)]
    for size in sizes:
        for name in repeats[0][size]:
            key, scale = ("bytes", 1) if name == "bytes" else ("us" if name == "seconds" else f"{name}_us", 1e6)
            found[f"size_{key}_{size}"] = statistics.median(took[size][name] / size * scale for took in repeats)
    for small, large in pairwise(sizes):
        for key, name in (("us", "seconds"), ("bytes", "bytes")):
            ratios = [(took[large][name] / large) / (took[small][name] / small) for took in repeats]
            found[f"size_{key}_{large}_ratio"] = statistics.median(ratios)
    return found


if __name__ == "__main__":
    print(json.dumps(once(int(sys.argv[1]))))
