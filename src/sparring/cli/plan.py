"""`sparring plan`: the price before the spend."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from sparring.budget import Budget, price_of
from sparring.cli.star_gate import StarGateSetup, done, sizes
from sparring.plan import Band, Plan, Trial, estimate
from sparring.report.terminal import narrator

AT_ONCE = 256
"""Calls that an engine takes at once; its default everywhere."""


def plan(setup: StarGateSetup, items: int, budget: Budget | None, as_json: bool) -> None:
    """Carry out `items` of every stage, and print what all of them would take."""
    with tempfile.TemporaryDirectory(prefix="sparring-plan-") as folder:
        found, billed = _tried(setup, Path(folder) / "trial", items, budget, as_json)
    if as_json or not sys.stdout.isatty():
        typer.echo(json.dumps({"event": "plan", **found.as_dict(), "billed": billed}))
        return
    show(Console(highlight=False), setup, found, billed)


def _tried(
    setup: StarGateSetup, out: Path, items: int, budget: Budget | None, as_json: bool
) -> tuple[Plan, dict[str, Any]]:
    trial = setup.trial()
    prices = {role: price_of(engine.partition("#")[2] or engine) for role, engine in setup.engine_names().items()}
    with trial.open_run(out, "plan") as run, narrator(out, as_json) as tell:
        with trial.engines(run.id, budget) as engines:

            def passing(event: dict[str, Any]) -> None:
                if event["event"] in ("stage", "training"):
                    tell(event)

            trial.carry_out(run, engines, passing, most=items)
            billed = engines.billed()
        tried = Trial(run, done(trial.settings, run), AT_ONCE)
        return estimate(tried, sizes(setup.settings, setup.tasks), prices), billed


def show(console: Console, setup: StarGateSetup, found: Plan, billed: dict[str, Any]) -> None:
    """Print the plan as a table, a line a role and round."""
    table = Table(title="What the whole run would take, from a few of its own items", title_justify="left")
    for column in ("", "role", "engine"):
        table.add_column(column)
    for column in ("calls", "prompt tokens", "completion tokens", "USD"):
        table.add_column(column, justify="right")
    names, last = setup.engine_names(), ""
    for line in found.lines:
        place, last = ("" if line.round == last else line.round), line.round
        figures = (_count(line.calls), _count(line.prompt_tokens), _count(line.completion_tokens), _usd(line.usd))
        table.add_row(place, line.role, names.get(line.role, ""), *figures)
    table.add_section()
    calls = sum(line.calls.value for line in found.lines)
    table.add_row("all", "", "", f"{calls:,.0f}", "", "", _usd(found.usd()))
    console.print(table)
    low, high = (sum(getattr(band, part) for band in found.minutes.values()) for part in ("low", "high"))
    console.print(f"time {low:,.0f} to {high:,.0f} minutes, disk {sum(found.disk.values()) / 1e6:,.0f} MB")
    if found.usd() is None:
        console.print("The price of a model is unknown: prices.toml in SPARRING_HOME can name it (see the README).")
    if spent := sum(parts["billed_now"]["usd"] or 0 for parts in billed.values()):
        console.print(f"This estimate cost {spent:.4f} USD. Its answers are kept: the run will not pay for them again.")


def _count(band: Band) -> str:
    """Return "132k ±7 %", the wider side of the band."""
    return _short(band.value) + _within(band)


def _usd(band: Band | None) -> str:
    return "unknown" if band is None else f"{band.value:,.2f}" + _within(band)


def _within(band: Band) -> str:
    share = max(band.high - band.value, band.value - band.low) / band.value if band.value else 0.0
    return f" ±{share:.0%}" if share >= 0.01 else ""


def _short(value: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 10 * unit:
            return f"{value / unit:,.0f}{name}"
    return f"{value:,.0f}"
