"""The command line.

sparring run star-gate [--config FILE.toml] [--out DIR] [key=value ...]
sparring world build NAME

Exit status: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C. On a terminal progress is drawn; elsewhere it is
one JSON object a line.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparring.errors import SettingsError, SparringError

if TYPE_CHECKING:
    from sparring.recipes.star_gate import StarGate, Training
    from sparring.tasks import Splits
    from sparring.training.settings import SFTSettings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
world_app = typer.Typer(no_args_is_help=True, help="The embedded worlds.")
app.add_typer(world_app, name="world")

RECIPES = ("star-gate",)
FREE = frozenset({"max_failed", "training.max_truncated", "training.rows_per_device"})
"""Settings with which a run may go on: they bound failures and memory, and choose no result."""


@app.callback()
def sparring() -> None:
    """Language models that get better by interacting."""


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help=f"One of: {', '.join(RECIPES)}.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory; the same command resumes it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print events and the summary as JSON lines.")] = False,
) -> None:
    """Run a recipe from tasks to a better model; with nothing else, on its embedded world."""
    if recipe not in RECIPES:
        raise SettingsError(f"no recipe {recipe!r}; there is {', '.join(RECIPES)}")
    try:
        run_star_gate(config, overrides or [], out or Path("runs") / recipe, as_json)
    except KeyboardInterrupt:
        typer.echo("sparring: stopped; every finished stage is kept, the same command goes on", err=True)
        raise typer.Exit(130) from None


@world_app.command("build")
def build_world(
    name: Annotated[str, typer.Argument(help="One of: concierge.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the model; default: the one that is shipped.")] = None,
    seed: Annotated[int, typer.Option(help="The shipped model's is 0.")] = 0,
) -> None:
    """Retrain a world's embedded model from nothing, and measure whether it has the skills a loop relies on."""
    from sparring.worlds import world_of

    world = world_of(f"world:{name}")
    assert world is not None  # the prefix was given
    from sparring.worlds.concierge.build import build

    with tempfile.TemporaryDirectory() as made:  # a model that misses its gates replaces none
        measured = build(made, seed=seed, log=lambda line: typer.echo(line, err=True))
        shutil.copytree(made, out or world.model, dirs_exist_ok=True)
    typer.echo(json.dumps(measured))


def run_star_gate(config: Path | None, overrides: list[str], out: Path, as_json: bool) -> None:
    from sparring.files import read_json
    from sparring.recipes.star_gate import StarGateLoop, read_texts, star_gate
    from sparring.report.terminal import narrator
    from sparring.runs import Run
    from sparring.worlds import model_of, open_engine, world_of

    settings = star_gate_settings(config, overrides)
    # What cannot be trained, or be read, is known at the door: before a run directory is made and a model is loaded.
    model_of(settings.policy)
    sft_settings(settings.training).accumulation(devices=1)
    world = world_of(settings.policy)
    tasks, prompts = star_gate_tasks(settings), star_gate_prompts(settings)
    record = settings.model_dump(mode="json") | {"inputs": inputs_of(settings, tasks, read_texts(settings, prompts))}
    seeds = [settings.seed]
    # What training was refused or failed with may be mended as long as nothing is trained.
    free = FREE if any(out.glob("round-*/checkpoint")) else FREE | {"training"}
    with (
        Run.open(out, "star-gate", record, " ".join(sys.argv), seeds, free=free) as kept,
        narrator(out, as_json) as tell,
    ):
        if (out / "summary.json").exists():
            tell({"event": "summary", **read_json(out / "summary.json")})
            return
        if world:
            kept.json("gates.json", lambda: world.gates(world.model))
        reader = world_of(settings.tasks)
        loop = StarGateLoop.start(settings, kept, cache(open_engine), prompts, reader and reader.health, tell)
        summary = star_gate(loop, tasks, trainer(tell))
        tell({"event": "summary", **summary})


def inputs_of(settings: StarGate, tasks: Splits, texts: tuple[dict[str, str], list[str]]) -> dict[str, str]:
    """Return what the settings only name, as digests: edited prompts or tasks, or other weights, make another run."""
    from sparring.worlds import model_of

    rows = [(task.text, task.kind, task.split) for split in tasks.values() for task in split]
    contents = {"prompts": json.dumps(texts).encode(), "tasks": json.dumps(rows).encode()}
    weights = sorted(Path(model_of(settings.policy)).glob("*.safetensors"))
    if weights:  # those of a Hub id are the Hub's to keep
        contents["policy"] = b"".join(hashlib.sha256(part.read_bytes()).digest() for part in weights)
    return {name: hashlib.sha256(content).hexdigest()[:16] for name, content in contents.items()}


def star_gate_settings(config: Path | None, overrides: list[str]) -> StarGate:
    """Return the settings: the paper's, under those of the policy's world if it is one, under the user's own."""
    from sparring.recipes.star_gate import StarGate
    from sparring.worlds import world_of

    own = [config] if config else []
    policy = StarGate.load(own, overrides).policy
    world = world_of(policy)
    return StarGate.load([world.preset("star-gate"), *own] if world else own, overrides)


def star_gate_tasks(settings: StarGate) -> Splits:
    from sparring.tasks import load_tasks
    from sparring.worlds import world_of

    world = world_of(settings.tasks)
    return world.tasks() if world else load_tasks(settings.tasks, split_sizes=settings.task_splits)


def star_gate_prompts(settings: StarGate) -> Path:
    from sparring.recipes import star_gate
    from sparring.worlds import world_of

    world = world_of(settings.prompts)
    if world:
        return world.prompts
    return Path(settings.prompts) if settings.prompts else Path(star_gate.__file__).parent / "prompts" / "star_gate"


def sft_settings(training: Training) -> SFTSettings:
    """Return what the training process is told: everything but how it is launched."""
    from sparring.training.settings import SFTSettings

    return SFTSettings.read(training.model_dump(exclude={"launcher"}))


def trainer(tell: Callable[[dict[str, Any]], None]) -> Any:
    """Return what trains a policy: a job in a process of its own."""
    from sparring.training.job import Job, run_job
    from sparring.worlds import model_of

    def train(model: str, rows: Path, checkpoint: Path, settings: Training, seed: int) -> None:
        job = Job(model_of(model), rows, checkpoint, seed, sft_settings(settings))
        about = {"event": "training", "checkpoint": str(checkpoint)}
        run_job(job, settings.launcher, on_log=lambda event: tell({**about, **event}))

    return train


def main() -> None:
    """Run the command; print an error as one message and exit with its status."""
    try:
        app()
    except SparringError as error:
        typer.echo(f"sparring: {error}", err=True)
        sys.exit(error.exit_status)
