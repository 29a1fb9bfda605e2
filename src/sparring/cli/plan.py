"""`sparring plan`: the price before the spend."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparring.budget import Budget, price_of
from sparring.cli.setup import Setup
from sparring.engines import is_person, without_options
from sparring.errors import SettingsError
from sparring.ledger import home
from sparring.plan import NOTHING, Band, Line, Plan, Trial, estimate
from sparring.report.terminal import narrator

AT_ONCE = 256
"""Calls that an engine takes at once; its default everywhere."""


def plan(setup: Setup, items: int, budget: Budget | None, as_json: bool) -> None:
    """Carry out `items` of every stage, and print what all of them would take. Raises SettingsError for a person."""
    check_people(setup.engine_names())
    with tempfile.TemporaryDirectory(prefix="sparring-plan-") as folder:
        found, billed = _tried(setup, Path(folder) / "trial", items, budget, as_json)
    if as_json or not sys.stdout.isatty():
        typer.echo(json.dumps({"event": "plan", **found.as_dict(), "billed": billed}))
        return
    show(Console(highlight=False), setup, found, billed)


def check_people(engines: Mapping[str, str]) -> None:
    """Refuse to put a trial's questions to a person: nobody's patience is worth an estimate."""
    for role, name in engines.items():
        if is_person(name):
            raise SettingsError(
                f"roles.{role}.engine = {name!r}: a plan tries a few items of every stage, and would put them to you. "
                f"Name a model for it (roles.{role}.engine=base, say): the calls that the plan then counts for the "
                f"{role} are the questions that a run would ask you"
            )


def _tried(setup: Setup, out: Path, items: int, budget: Budget | None, as_json: bool) -> tuple[Plan, dict[str, Any]]:
    trial = setup.trial()
    prices = {role: price_of(without_options(engine)) for role, engine in setup.engine_names().items()}
    with trial.open_run(out, "plan") as run:
        with trial.engines(run.id, budget) as engines, narrator(setup.recipe, out, as_json, engines.billed) as tell:

            def passing(event: dict[str, Any]) -> None:
                if event["event"] in ("stage", "training"):
                    tell(event)

            trial.carry_out(run, engines, passing, most=items)
            billed = engines.billed()
        tried = Trial(run, setup.done(run), AT_ONCE)
        return estimate(tried, setup.sizes(), prices), billed


def show(console: Console, setup: Setup, found: Plan, billed: dict[str, Any]) -> None:
    """Print the plan: a line a role and round, then who the roles are, what each round takes, and what is unknown."""
    console.print("[bold]What the whole run would take, from a few of its own items[/]")
    console.print(_calls(found))
    names = setup.engine_names()
    console.print(_engines(names, found))
    console.print(_rounds(found))
    if found.untried:
        few = "the items were too few to make any: give a larger --items"
        console.print(f"[bold red]Not in these figures[/], for {few}:", ", ".join(found.untried))
    unknown = {names[line.role] for line in found.lines if line.usd is None and line.role in names}
    for engine in sorted(unknown):
        model = engine.partition("#")[2] or engine
        row = f"{json.dumps(model, ensure_ascii=False)} = {{ prompt = ..., completion = ... }}"
        told = f"No price is known for {model}. Add {row} to {home() / 'prices.toml'}"
        console.print(told, markup=False, soft_wrap=True)  # lines that are copied are whole
    if made := sum(parts["billed_now"]["calls"] for parts in billed.values()):
        prices = [parts["billed_now"]["usd"] for parts in billed.values()]
        cost = "at a price unknown" if None in prices else f"for {sum(prices):.4f} USD"
        told = f"This estimate made {made:,} paid calls {cost}."
        console.print(f"{told} Their answers are kept: where the run asks the same, it does not pay again.")


def _calls(found: Plan) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
    whole = _whole(found)
    table.add_column("", footer="all")
    table.add_column("role")
    sums = (_count(whole.calls), _count(whole.prompt_tokens), _count(whole.completion_tokens), _usd(found.usd()))
    for column, footer in zip(("calls", "prompt tokens", "completion tokens", "USD"), sums, strict=True):
        table.add_column(column, footer, justify="right", no_wrap=True)
    last = ""
    for line in found.lines:
        place, last = ("" if line.round == last else line.round), line.round
        figures = (_count(line.calls), _count(line.prompt_tokens), _count(line.completion_tokens), _usd(line.usd))
        table.add_row(place, line.role, *figures)
    return table


def _whole(found: Plan) -> Line:
    whole = Line("all", "", NOTHING, NOTHING, NOTHING, None)
    for line in found.lines:
        tokens = (whole.prompt_tokens + line.prompt_tokens, whole.completion_tokens + line.completion_tokens)
        whole = Line("all", "", whole.calls + line.calls, *tokens, None)
    return whole


def _engines(names: Mapping[str, str], found: Plan) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column()
    grid.add_column(overflow="fold")
    for role in dict.fromkeys(line.role for line in found.lines):
        grid.add_row(Text(role), Text(names.get(role, "")))
    return grid


def _rounds(found: Plan) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
    low, high = (sum(getattr(band, part) for band in found.minutes.values()) for part in ("low", "high"))
    table.add_column("", footer="all")
    table.add_column("time", _span(low, high), justify="right")
    table.add_column("disk", _size(sum(found.disk.values())), justify="right")
    for place, band in found.minutes.items():
        table.add_row(place, _span(band.low, band.high), _size(found.disk.get(place, 0.0)))
    return table


def _span(low: float, high: float) -> str:
    """Return "12 to 48 minutes", of what is given in minutes."""
    times, unit = (60, "seconds") if high < 2 else (1, "minutes") if high < 120 else (1 / 60, "hours")
    ends = [f"{times * end:,.1f}" if unit == "hours" else f"{times * end:,.0f}" for end in (low, high)]
    return f"{' to '.join(dict.fromkeys(ends))} {unit}"


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _count(band: Band) -> str:
    """Return "132k ±7 %", the wider side of the band."""
    return _short(band.value) + _within(band)


def _usd(band: Band | None) -> str:
    return "unknown" if band is None else f"{band.value:,.2f}" + _within(band)


def _within(band: Band) -> str:
    share = max(band.high - band.value, band.value - band.low) / band.value if band.value else 0.0
    return f" ±{100 * share:.0f} %" if share >= 0.005 else ""


def _short(value: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 10 * unit:
            return f"{value / unit:,.0f}{name}"
    return f"{value:,.0f}"
