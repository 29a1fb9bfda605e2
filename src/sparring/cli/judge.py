"""`sparring eval ENGINE --suite judge`: a judge's certificate, on labelled responses, as a tool of its own."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

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
from sparring.evals.certificate import (
    Certificate,
    Compared,
    certify,
    certify_comparing,
    check_bounds,
    compare_pair,
    pairs_of,
)
from sparring.evals.statistics import Interval
from sparring.files import Row, write_lines, write_whole
from sparring.flow import Flow, Role, run
from sparring.opening import Engines
from sparring.recipes.spar_settings import SPaR
from sparring.select import draw
from sparring.signals.judge import Judgement, Panel
from sparring.stages import read_prompts
from sparring.tasks.instructions import Judged
from sparring.tasks.instructions.load import load_judged
from sparring.types import Failure
from sparring.worlds import world_of

T = TypeVar("T")
OF_SPAR = ("judging", "votes", "quorum", "prompts", "vllm", "ledger", "seed")
"""Settings of SPaR that a certificate reads."""
COMPARING = PROMPTS.parent / "star_gate"
"""Where the prompt of a judge that compares is."""
DRAWN = 400
"""Responses taken of a world, which can draw any number."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user asked for."""

    judge: str
    """Engine."""
    items: str
    """world:NAME, a JSONL file, or a `datasets` name."""
    n: int | None
    """Labelled responses; None: all of a file."""
    compares: bool
    """Whether it compares a good response with a bad one, in both orders, in place of reading one."""
    anchor: str | None
    """Engine of another judge, to say how far the first has drifted from it."""
    require: dict[str, float]
    settings: SPaR

    @classmethod
    def read(
        cls,
        judge: str,
        items: str | None,
        n: int | None,
        compares: bool,
        anchor: str | None,
        require: Sequence[str],
        overrides: Sequence[str],
    ) -> Asked:
        """Read requirements (`balanced_accuracy=0.65`) and SPaR's settings, under those of the items' world.

        Raises SettingsError.
        """
        if not items:
            raise SettingsError("--suite judge takes labelled responses: --items world:instructions, or FILE.jsonl")
        for override in overrides:
            name = override.partition("=")[0].partition(".")[0].strip()
            if name in SPaR.model_fields and name not in OF_SPAR:
                raise SettingsError(f"{name} has no part in a certificate; what has is {', '.join(OF_SPAR)}")
        world = world_of(items)
        for who in (judge, *([anchor] if anchor else [])):
            of = world_of(who)
            if of and (compares or items != f"world:{of.name}"):
                raise SettingsError(f"{who!r} has words for judging one response of --items world:{of.name} alone")
        brought = world.preset("spar") if world else {}
        return cls(judge, items, n, compares, anchor, _bounds(require), SPaR.load([brought], overrides))

    def judged(self) -> list[Judged]:
        """Return the labelled responses. Raises DataError for a file without good and bad ones."""
        world, seed = world_of(self.items), self.settings.seed
        if world:
            assert world.suite is not None and world.suite.judged is not None  # as it has a preset
            return world.suite.judged(self.n or DRAWN, seed)
        known = load_judged(self.items)
        if {one.label for one in known} != {True, False}:
            raise DataError(f"{self.items}: {len(known)} responses, not good ones and bad ones: a judge needs both")
        return draw(known, self.n or len(known), random.Random(f"{seed}/judge"))

    def engines(self, budget: Budget | None) -> Engines:
        named = json.dumps([self.judge, self.items, self.anchor, self.compares])
        serving = Serving(**self.settings.vllm.model_dump(exclude={"stay"}))
        run = f"judge {hashlib.sha256(named.encode()).hexdigest()[:16]}"
        return Engines(run, budget=budget, keep=self.settings.ledger, serving=serving)

    def role(self, engine: str, engines: Engines) -> Role:
        opened = engines.open(engine)
        if not isinstance(opened, Generator):
            raise EngineError(f"engine {engine!r} cannot continue a chat")
        return Role("judge", opened, self.settings.judging.sampling(self.settings.seed))

    def prompt(self) -> str:
        """Return the judge's prompt: SPaR's, or to compare STaR-GATE's. Raises SettingsError."""
        own, named = (COMPARING if self.compares else PROMPTS), self.settings.prompts
        folder = own if self.compares and world_of(named) else prompts_folder(named, own)
        text = read_prompts(folder, "judge")["judge"]
        for blank in ("{task}", "{a}", "{b}") if self.compares else ():
            if blank not in text:
                raise SettingsError(f"{folder / 'judge.md'} has no {blank}, which a judge that compares must be shown")
        return text


def _bounds(require: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in require:
        name, _, bound = one.partition("=")
        try:
            found[name.strip()] = float(bound)
        except ValueError as error:
            raise SettingsError(f"--require {one!r}: write NAME=BOUND, balanced_accuracy=0.65") from error
    check_bounds(found)
    return found


def certify_judge(asked: Asked, out: Path | None, budget: Budget | None, as_json: bool) -> int:
    """Have a judge vote, and print its certificate; return the exit status: 1 where it is not what is required."""
    if out and (out.is_dir() or (out.exists() and Path(asked.items).exists() and out.samefile(asked.items))):
        raise DataError(f"--out {out} is a folder, or the responses; the votes need a file of their own")
    judged, prompt = asked.judged(), asked.prompt()
    with asked.engines(budget) as engines:
        of = compared if asked.compares else voted
        found, rows = of(asked, judged, prompt, engines)
        billed = engines.billed()
    if out:
        write_whole(out, lambda path: write_lines(path, rows))
    failed = found.passes(asked.require)
    if as_json or not sys.stdout.isatty():
        told = {"event": "summary", "judge": asked.judge, **found.row(), "require": asked.require, "failed": failed}
        typer.echo(json.dumps({**told, "billed": billed, "out": str(out) if out else None}))
    else:
        show(Console(highlight=False), asked, found, failed, out)
    measured = any(interval for name, interval in found.metrics.items() if "accuracy" in name)
    return 0 if measured and not failed else 1


def voted(asked: Asked, judged: Sequence[Judged], prompt: str, engines: Engines) -> tuple[Certificate, list[Row]]:
    """Return the certificate of a judge that reads one response, and a line a response."""
    names = [asked.judge, *([asked.anchor] if asked.anchor else [])]
    panels = [Panel(asked.role(one, engines), prompt, asked.settings.votes, asked.settings.quorum) for one in names]
    said = _run([(one.id, panel(one.prompt, one.response)) for panel in panels for one in judged])
    both = [list(zip(judged, said[at : at + len(judged)], strict=True)) for at in range(0, len(said), len(judged))]
    rows = [{"id": one.id, "kind": one.kind, "label": one.label, **_row(votes)} for one, votes in both[0]]
    return certify(both[0], both[1] if asked.anchor else ()), rows


def _row(judgement: Judgement | None) -> Row:
    return judgement.row() if judgement else {"value": None, "votes": []}


def compared(asked: Asked, judged: Sequence[Judged], prompt: str, engines: Engines) -> tuple[Certificate, list[Row]]:
    """Return the certificate of a judge that compares, and a line a pair. Raises DataError where there is no pair."""
    pairs = pairs_of(judged)
    if not pairs:
        raise DataError(f"{asked.items}: no prompt has a good response and a bad one, so there is nothing to compare")
    names = [asked.judge, *([asked.anchor] if asked.anchor else [])]
    roles = [asked.role(one, engines) for one in names]
    flows = [(one.id, compare_pair(one, role, prompt, asked.settings.votes)) for role in roles for one in pairs]
    said = [one for one in _run(flows) if one]
    ours, theirs = said[: len(pairs)], said[len(pairs) :]
    return certify_comparing(ours, theirs), [_pair_row(one) for one in ours]


def _pair_row(one: Compared) -> Row:
    return {"id": one.pair.id, "value": one.value, "good_first": one.good_first, "bad_first": one.bad_first}


def _run(flows: Sequence[tuple[str, Flow[T]]]) -> list[T | None]:
    with progress("judge", "judged") as told:
        found = run(flows, on_done=lambda done: told(done, len(flows)))
    return [None if isinstance(one, Failure) else one for one in found]


# On a terminal


def show(console: Console, asked: Asked, found: Certificate, failed: Sequence[str], out: Path | None) -> None:
    """Print a line a metric, what was required, and how far shares of Yes can be believed."""
    what = "pairs, in both orders" if asked.compares else "labelled responses"
    console.print(f"[bold]Certificate of a judge on {found.n} {what}[/], in % with 95 % intervals")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    for name in ("value", "interval", "n", "required"):
        table.add_column(name, justify="right")
    for name, interval in found.metrics.items():
        bound = asked.require.get(name)
        shown = ("-", "", "") if interval is None else _figures(interval)
        table.add_row(name.replace("_", " "), *shown, "" if bound is None else f"{100 * bound:g}")
    console.print(table)
    for one in found.calibration:
        console.print(f"share of Yes {one.low:.1f} to {one.high:.1f}: {one.n} responses, {one.right:.0%} follow")
    for why in failed:
        console.print(f"not as required: {why}", style="red", markup=False)
    if out:
        console.print(f"{out} holds every vote.", markup=False)


def _figures(found: Interval) -> tuple[str, str, str]:
    bounds = "" if found.low is None or found.high is None else f"{100 * found.low:.1f} to {100 * found.high:.1f}"
    return f"{100 * found.value:.1f}", bounds, str(found.n)
