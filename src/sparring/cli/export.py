"""`sparring export`: what leaves a run, in the forms that others expect."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

import typer

from sparring.errors import SettingsError
from sparring.export import best_round, choose, data, export, push, rolled_back_to, to
from sparring.export.chosen import Form, Model
from sparring.export.hub import ready
from sparring.export.trainers import TRAINERS, Trainer
from sparring.files import read_json
from sparring.runs import Run

MODELS = ("policy", "actor", "refiner")


def export_run(
    path: Path,
    *,
    out: Path | None = None,
    model: str = "policy",
    round: int | None = None,
    adapter: bool = False,
    rows: bool = False,
    trainer: str | None = None,
    repo: str | None = None,
    private: bool = False,
    as_json: bool = False,
) -> int:
    """Write what was asked for, push it where that was asked too, and say so; return the exit status.

    `rows`: the data in place of a model; `trainer`: training rows for another. Raises UsageError for what does not go
    together.
    """
    refuse(model, round, adapter, rows, trainer, private, repo)
    if repo:
        ready(repo)  # before anything is written
    run = Run(path)
    form: Form = "adapter" if adapter else "merged"
    told: dict[str, Any] = {"event": "exported", "run": str(path)}
    if trainer:
        made = to(run, out or named(run, trainer), cast(Trainer, trainer))
        told |= {"kind": trainer}
    elif rows:
        made = data(run, out or named(run, "data"))
        told |= {"kind": "data"}
    else:
        chosen = choose(run, cast(Model, model), round, form)
        who = f"{chosen.model}-round-{chosen.round}" + ("-adapter" if adapter else "")
        made = export(run, out or named(run, who), model=chosen.model, round=chosen.round, form=form)
        told |= {"kind": "model", "model": chosen.model, "round": chosen.round, "form": form}
        summary = run.path / "summary.json"
        rounds = read_json(summary)["rounds"] if summary.is_file() else []
        better = best_round(rounds, chosen.recipe, chosen.model, chosen.round)
        told |= {"better_round": better[0] if better else None, "measured": bool(rounds)}
        back = rolled_back_to(run, chosen.model) if round is None else None
        told |= {"rolled_back_to": back}
    told |= {"out": str(made), "url": push(made, repo, private=private) if repo else None}
    say(told, as_json)
    return 0


def refuse(
    model: str,
    round: int | None,
    adapter: bool,
    rows: bool,
    trainer: str | None,
    private: bool,
    repo: str | None,
) -> None:
    """Raise SettingsError for options that are unknown, or do not go together."""
    if model not in MODELS:
        raise SettingsError(f"--model {model!r}: there is {', '.join(MODELS)}")
    if trainer is not None and trainer not in TRAINERS:
        raise SettingsError(f"--to {trainer!r}: there is {', '.join(TRAINERS)}")
    if rows and trainer:
        raise SettingsError("--data and --to are two exports: give the command twice")
    if (rows or trainer) and (round is not None or adapter or model != "policy"):
        raise SettingsError("--model, --round and --adapter choose a model: leave them out with --data and --to")
    if private and not repo:
        raise SettingsError("--private is for --push OWNER/NAME")


def named(run: Run, what: str) -> Path:
    """Return the folder that an export has where none is named."""
    return Path("exports") / f"{run.path.resolve().name}-{what}"


def say(told: dict[str, Any], as_json: bool) -> None:
    """Print what was made: a JSON line, or words on a terminal."""
    if as_json or not sys.stdout.isatty():
        typer.echo(json.dumps(told))
        return
    typer.echo(f"{told['out']} is whole; README.md says what it is and how to use it.")
    if told.get("rolled_back_to") is not None:
        typer.echo(f"It is of round {told['round']}: the run rolled back to round {told['rolled_back_to']}, its best.")
    if told.get("better_round") is not None:
        typer.echo(f"Round {told['better_round']} measured better: --round {told['better_round']} gives that one.")
    if told.get("measured") is False:
        typer.echo("The run is not finished: its card has no figures.")
    if told["url"]:
        typer.echo(told["url"])
