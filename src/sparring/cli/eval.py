"""`sparring eval`: how well an actor follows instructions, at once and with search, as a tool of its own."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from sparring.budget import Budget
from sparring.cli.score import progress
from sparring.cli.setup import prompts_folder
from sparring.cli.spar import PROMPTS
from sparring.engines.base import Generator
from sparring.engines.vllm import Serving
from sparring.errors import DataError, EngineError, SettingsError
from sparring.evals.following import Checkers, following
from sparring.evals.search_curve import GREEDY, Answering, Metrics, Way, answers, curve_ways, points
from sparring.evals.statistics import Interval
from sparring.evals.summary import as_row
from sparring.files import Row, write_lines, write_whole
from sparring.flow import Role, run
from sparring.opening import Engines
from sparring.recipes.spar_settings import SPaR
from sparring.rollouts.tree import Refiner, Search
from sparring.select import draw
from sparring.settings import Voice
from sparring.signals.judge import Panel
from sparring.stages import read_prompts
from sparring.tasks.instructions import Instructed
from sparring.tasks.instructions.ifeval import CHECKERS
from sparring.tasks.instructions.load import load_instructed
from sparring.types import Failure
from sparring.worlds import world_of

OF_SPAR = (
    *("attempts", "judging", "refining", "votes", "quorum", "stop_early"),
    *("search", "prompts", "vllm", "ledger", "seed"),
)
"""Settings of SPaR that an evaluation reads; the others are of training."""
SEARCH = "search"
"""The way that is set by `search.order`, `search.branch`, ..."""
DRAWN = 500
"""Prompts taken of a suite that can draw any number."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user asked for."""

    actor: str
    refiner: str
    suite: str
    """world:NAME, a JSONL file, or a `datasets` name."""
    n: int | None
    """Prompts; None: all of a file."""
    curve: bool
    """Whether to answer in every way, at every budget."""
    settings: SPaR

    @classmethod
    def read(cls, actor: str, refiner: str, suite: str, n: int | None, curve: bool, overrides: Sequence[str]) -> Wanted:
        """Read the settings: SPaR's, under those of the suite's world, under the user's. Raises SettingsError."""
        for override in overrides:
            name = override.partition("=")[0].partition(".")[0].strip()
            if name in SPaR.model_fields and name not in OF_SPAR:
                raise SettingsError(f"{name} has no part in an evaluation; what has is {', '.join(OF_SPAR)}")
        world = world_of(suite)
        for who in (actor, refiner):
            of = world_of(who)
            if of and suite != f"world:{of.name}":
                raise SettingsError(f"{who!r} has words for --suite world:{of.name} alone, not for {suite!r}")
        brought = world.preset("spar") if world else {}
        return cls(actor, refiner, suite, n, curve, SPaR.load([brought], overrides))

    def asked(self) -> tuple[list[Instructed], Checkers]:
        """Return the prompts, and what checks answers to them. Raises DataError for a file that has none."""
        world = world_of(self.suite)
        if world:
            assert world.suite is not None  # as it has a preset
            return world.suite.draw("test", self.n or DRAWN, self.settings.seed), world.suite.checkers
        asked = [one for one in load_instructed(self.suite) if one.instructions]
        if not asked:
            raise DataError(f"{self.suite}: no prompt has instructions, so nothing of it can be checked")
        return draw(asked, self.n or len(asked), random.Random(f"{self.settings.seed}/eval")), CHECKERS

    def ways(self) -> dict[str, Way]:
        how = Search(**self.settings.search.model_dump())
        return {SEARCH: how, **(curve_ways(how) if self.curve else {})}

    def engines(self, budget: Budget | None) -> Engines:
        settings = self.settings
        run = hashlib.sha256(json.dumps([self.actor, self.refiner, self.suite]).encode()).hexdigest()[:16]
        serving = Serving(**settings.vllm.model_dump(exclude={"stay"}))
        return Engines(f"eval {run}", budget=budget, keep=settings.ledger, serving=serving)

    def answering(self, engines: Engines, checkers: Checkers) -> Answering:
        """Open the engines. Raises EngineError for one that cannot be used, SettingsError for a prompt file."""
        settings = self.settings
        prompts = read_prompts(prompts_folder(settings.prompts, PROMPTS), "judge", "refine")
        judge = self._role("judge", self.refiner, settings.judging, engines)
        panel = Panel(judge, prompts["judge"], settings.votes, settings.quorum, settings.stop_early)
        refiner = Refiner(self._role("refiner", self.refiner, settings.refining, engines), prompts["refine"])
        return Answering(self._role("policy", self.actor, settings.attempts, engines), refiner, panel, checkers)

    def _role(self, name: str, engine: str, voice: Voice, engines: Engines) -> Role:
        opened = engines.open(engine)
        if not isinstance(opened, Generator):
            raise EngineError(f"engine {engine!r} cannot continue a chat")
        return Role(name, opened, voice.sampling(self.settings.seed))


def evaluate(wanted: Wanted, out: Path | None, budget: Budget | None, as_json: bool) -> int:
    """Answer the prompts of a suite and print what came of it; return the exit status: 1 where no answer was had."""
    if out and (out.is_dir() or (out.exists() and Path(wanted.suite).exists() and out.samefile(wanted.suite))):
        raise DataError(f"--out {out} is a folder, or the prompts; the answers need a file of their own")
    asked, checkers = wanted.asked()
    with wanted.engines(budget) as engines, progress("eval", "answered") as told:
        who = wanted.answering(engines, checkers)
        flows = ((one.id, answers(one, wanted.ways(), who)) for one in asked)
        answered = run(flows, on_done=lambda done: told(done, len(asked)))
        rows = [row for one in answered if not isinstance(one, Failure) for row in one]
        billed = engines.billed()
    if out:
        write_whole(out, lambda path: write_lines(path, rows))
    found = found_by_way(asked, rows, checkers)
    if as_json or not sys.stdout.isatty():
        ways = {way: as_row(metrics) for way, metrics in found.items()}
        summary = {"event": "summary", "prompts": len(asked), "ways": ways, "failed": failed(rows), "billed": billed}
        typer.echo(json.dumps({**summary, "out": str(out) if out else None}))
    else:
        show(Console(highlight=False), found, failed(rows), out)
    return 1 if all(row["response"] is None for row in rows) else 0


def found_by_way(asked: Sequence[Instructed], rows: Sequence[Row], checkers: Checkers) -> dict[str, Metrics]:
    """Return, by way, IFEval's four shares, the gain over answering at once, and what answering took."""
    said = {(row["way"], row["id"]): row["response"] for row in rows}
    return {
        way: {**following([(one, said.get((way, one.id))) for one in asked], checkers), **metrics}
        for way, metrics in points(rows).items()
    }


def failed(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Count, by way, what came to nothing, by reason."""
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        if row["reason"]:
            of = counts.setdefault(row["way"], {})
            of[row["reason"]] = of.get(row["reason"], 0) + 1
    return counts


SHARES = ("prompt_strict", "instruction_strict", "prompt_loose", "instruction_loose")


def show(console: Console, found: Mapping[str, Metrics], failed: Mapping[str, Any], out: Path | None) -> None:
    """Print a line a way: shares and gain in per cent with their 95 % intervals, and what a prompt took."""
    n = next((share.n for share in (found[GREEDY][name] for name in SHARES) if share), 0)
    console.print(f"[bold]What is followed of {n} prompts[/], in % with 95 % intervals; responses and votes a prompt")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    for name in (*(share.replace("_", " ") for share in SHARES), "over greedy", "responses", "votes"):
        table.add_column(name, justify="right")
    for way, metrics in found.items():
        shares = [_percent(metrics[name]) for name in (*SHARES, "over_greedy")]
        table.add_row(way.replace("_", " "), *shares, *(_mean(metrics[name]) for name in ("generated", "votes")))
    console.print(table)
    for way, reasons in failed.items():
        console.print(f"{way}: " + ", ".join(f"{count} x {reason}" for reason, count in reasons.items()), markup=False)
    if out:
        console.print(f"{out} holds every answer.", markup=False)


def _percent(share: Interval | None) -> str:
    if share is None:
        return ""
    bounds = (
        f" ({100 * share.low:.1f}..{100 * share.high:.1f})" if share.low is not None and share.high is not None else ""
    )
    return f"{100 * share.value:.1f}{bounds}"


def _mean(mean: Interval | None) -> str:
    return "" if mean is None else f"{mean.value:.1f}"
