"""The command line.

sparring run | plan | doctor RECIPE [--config FILE.toml] [key=value ...]      RECIPE: star-gate, tripost, spar
sparring report | view | chat | export RUN
sparring score FILE.jsonl --model ENGINE
sparring eval ACTOR --refiner REFINER --suite world:NAME|FILE.jsonl [key=value ...]
sparring eval JUDGE --suite judge --items world:NAME|FILE.jsonl [--compare] [--require NAME=BOUND] [key=value ...]
sparring ledger stats | export | gc
sparring world build NAME

Exit status: 0 done, 1 failed, 2 wrong usage, 3 paused by the budget, 130 or 143 stopped by Ctrl-C or SIGTERM. On a
terminal progress is drawn; elsewhere it is one JSON object a line.
"""

# No `from __future__ import annotations`: typer would compile each one twice to read it, a tenth of `sparring --help`.

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparring.cli.ledger import ledger_app
from sparring.cli.stop import stoppable
from sparring.errors import SettingsError, SparringError

if TYPE_CHECKING:
    from sparring.cli.setup import Setup

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
world_app = typer.Typer(no_args_is_help=True, help="The embedded worlds.")
app.add_typer(world_app, name="world")
app.add_typer(ledger_app, name="ledger")


def star_gate() -> "type[Setup]":
    from sparring.cli.star_gate import StarGateSetup

    return StarGateSetup


def tripost() -> "type[Setup]":
    from sparring.cli.tripost import TriPosTSetup

    return TriPosTSetup


def spar() -> "type[Setup]":
    from sparring.cli.spar import SPaRSetup

    return SPaRSetup


RECIPES = {"star-gate": star_gate, "tripost": tripost, "spar": spar}
"""Each recipe with what reads its settings, loaded where it is asked for."""

Recipe = Annotated[str, typer.Argument(help=f"One of: {', '.join(RECIPES)}.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, by their dotted names.")]
Config = Annotated[Path | None, typer.Option(help="TOML file of settings.")]
Ceiling = Annotated[str | None, typer.Option("--budget", help="Ceiling: 20usd, 2_000_000tokens, 500calls.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines on standard output, also on a terminal.")]


EXITS = "Exit status: 0 done, 1 failed, 2 wrong usage, 3 paused by the budget, 130 or 143 stopped by Ctrl-C or SIGTERM."


@app.callback(epilog=EXITS)
def sparring() -> None:
    """Language models that get better by interacting."""


@app.command(short_help="Run a recipe from tasks to a better model.")
def run(
    recipe: Recipe,
    overrides: Overrides = None,
    config: Config = None,
    out: Annotated[
        Path | None, typer.Option(help="Run directory; the same command resumes it. Default: runs/RECIPE.")
    ] = None,
    budget: Ceiling = None,
    as_json: AsJson = False,
) -> None:
    """Run a recipe from tasks to a better model; with nothing else, on its embedded world."""
    setup = setup_of(recipe)
    from sparring.cli.seeds import asked_seeds, run_seeds

    n, rest = asked_seeds(overrides or [])
    folder = out or Path("runs") / recipe
    with stoppable("every finished stage and paid call is kept, the same command goes on"):
        if n:
            run_seeds(setup, config, rest, n, folder, as_json, lambda one, at: run_recipe(one, at, budget, as_json))
        else:
            run_recipe(setup.read(config, rest), folder, budget, as_json)


@app.command(short_help="Say what a run would take, before it is spent.")
def plan(
    recipe: Recipe,
    overrides: Overrides = None,
    config: Config = None,
    items: Annotated[int, typer.Option(min=2, help="Rollouts made of each stage, with the real engines.")] = 24,
    budget: Ceiling = None,
    as_json: AsJson = False,
) -> None:
    """Say what a run would take, before it is spent: calls, tokens, money, minutes and disk."""
    kind = setup_of(recipe)
    from sparring.budget import Budget
    from sparring.cli.plan import plan
    from sparring.cli.seeds import asked_seeds

    ceiling = Budget.parse(budget) if budget else None
    n, rest = asked_seeds(overrides or [])
    setup = kind.read(config, rest)
    fit_to_write(setup.engine_names().values())
    with stoppable("every answer that was paid for is kept, the same command finds it again"):
        plan(setup, items, ceiling, as_json)
    if n:
        typer.echo(f"sparring: that is one run; seeds={n} are {n} of them, and {n} times as much at most", err=True)


@app.command(short_help="Prove the plumbing of a run before it starts.")
def doctor(recipe: Recipe, overrides: Overrides = None, config: Config = None, as_json: AsJson = False) -> None:
    """Prove the plumbing of a run before it starts: engines, weights, chat templates, room; a line each."""
    setup = setup_of(recipe)
    from sparring.cli.doctor import doctor
    from sparring.cli.seeds import asked_seeds

    _, rest = asked_seeds(overrides or [])
    with stoppable("what is on screen holds, the rest was not looked at"):
        raise typer.Exit(doctor(setup.read(config, rest), as_json))


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory: runs/star-gate.")]
Out = Annotated[Path | None, typer.Option(help="Where to; default: a name by what it is, in exports/.")]


@app.command(short_help="Write a run as one page, to look at and to share.")
def report(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option(help="Page to write. Default: RUN/report.html.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a run as one HTML page that opens from disk: what came of it, how, and every rollout to look through."""
    from sparring.cli.report import report

    with stoppable("an earlier page is as it was"):
        report(run, out, as_json)


@app.command(short_help="Look at a run in the browser, while it goes on.")
def view(
    run: RunFolder,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: 8765, or the next free one.")] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser at it.")] = True,
) -> None:
    """Serve a run's page to this machine alone, live while the run goes on, with a chat with what it trained."""
    from sparring.cli.view import view

    with stoppable("the run is as it was"):
        view(run, port, browser)


@app.command(short_help="Talk to a trained model.")
def chat(
    what: Annotated[str, typer.Argument(help="A run, a checkpoint in one, an exported folder, or an engine's name.")],
    round: Annotated[
        int | None, typer.Option(min=0, help="Of a run; default: the last trained, or rolled back to.")
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Show what m_0 says beside it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Talk to a trained model, in the words around that it was trained in: it asks, you answer, it answers for you."""
    from sparring.cli.chat import chat

    with stoppable("nothing was kept of this talk"):
        chat(what, round, compare, as_json)


@app.command(short_help="Write a model, its data or its rows in the forms others expect.")
def export(
    run: RunFolder,
    out: Out = None,
    model: Annotated[str, typer.Option(help="policy; of spar: actor or refiner.")] = "policy",
    round: Annotated[int | None, typer.Option(min=0, help="Default: the last trained, or rolled back to.")] = None,
    adapter: Annotated[
        bool, typer.Option("--adapter", help="The LoRA adapter alone, in place of a whole model.")
    ] = False,
    data: Annotated[bool, typer.Option("--data", help="Rollouts and training rows as a dataset, in Parquet.")] = False,
    to: Annotated[str | None, typer.Option(help="Training rows for another trainer: trl or llama-factory.")] = None,
    push: Annotated[str | None, typer.Option(metavar="OWNER/NAME", help="Also upload it to the Hub.")] = None,
    private: Annotated[bool, typer.Option("--private", help="As a private repository.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a trained model as a Hugging Face folder with its card; or the run's data, or rows for other trainers."""
    from sparring.cli.export import export_run

    with stoppable("what was written before is whole, the rest is not there"):
        status = export_run(
            run,
            out=out,
            model=model,
            round=round,
            adapter=adapter,
            rows=data,
            trainer=to,
            repo=push,
            private=private,
            as_json=as_json,
        )
        raise typer.Exit(status)


@app.command(short_help="Write how likely texts are, in nats.")
def score(
    file: Annotated[Path, typer.Argument(help='JSON lines: {"messages" or "prompt", "target", and perhaps "id"}.')],
    model: Annotated[
        str, typer.Option(help="Engine that scores: hf:ID, vllm:ID, http://host/v1#model, world:NAME/policy.")
    ],
    out: Annotated[Path | None, typer.Option(help="Default: FILE.scores.jsonl; the same command resumes it.")] = None,
    ledger: Annotated[
        bool, typer.Option("--ledger", help="Keep the calls of hf: and vllm: in the ledger as well.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the exact log-prob, in nats, of each row's target in its context, end-of-turn included."""
    from sparring.cli.score import score_file

    with stoppable("every score on disk is kept, the same command goes on"):
        raise typer.Exit(score_file(file, model, out, ledger, as_json))


@app.command("eval", short_help="Measure how well instructions are followed, or how far a judge can be trusted.")
def evaluate(
    engine: Annotated[str, typer.Argument(help="Who is measured: hf:ID, http://host/v1#model, world:NAME/policy.")],
    suite: Annotated[
        str, typer.Option(help="judge; or world:NAME, or prompts in IFEval's format: FILE.jsonl, google/IFEval.")
    ],
    refiner: Annotated[
        str | None, typer.Option(help="Engine that judges the answers and refines those that fail.")
    ] = None,
    overrides: Overrides = None,
    n: Annotated[int | None, typer.Option(min=1, help="Items; default: all of a file, 500 or 400 of a world.")] = None,
    curve: Annotated[bool, typer.Option("--curve", help="Also best of N, iterative, BFS and DFS at 2 to 16.")] = False,
    items: Annotated[str | None, typer.Option(help="Of a judge: labelled responses, world:NAME or FILE.jsonl.")] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Of a judge: it compares a good response and a bad one, in both orders.")
    ] = False,
    anchor: Annotated[
        str | None, typer.Option(help="Of a judge: another's engine, to tell how far it drifted.")
    ] = None,
    require: Annotated[
        list[str] | None, typer.Option(metavar="NAME=BOUND", help="Of a judge: fail where its certificate is not so.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File for every answer or vote, a JSON line each.")] = None,
    budget: Ceiling = None,
    as_json: AsJson = False,
) -> None:
    """Measure how well an actor follows instructions that code can check: greedily, and with search.

    With --suite judge: how far a judge can be trusted, on responses of which it is known whether they follow.
    Settings are SPaR's: search.order=bfs search.branch=3 search.depth=3 votes=5 judging.temperature=0.7.
    """
    from sparring.budget import Budget

    ceiling = Budget.parse(budget) if budget else None
    if suite == "judge":
        from sparring.cli.judge import Asked, certify_judge

        fit_to_write([engine, *([anchor] if anchor else [])])
        if refiner or curve:
            raise SettingsError("--suite judge has no part for --refiner or --curve; leave them out")
        asked = Asked.read(engine, items, n, compare, anchor, require or [], overrides or [])
        with stoppable("every vote that was paid for is kept, the same command finds it again"):
            raise typer.Exit(certify_judge(asked, out, ceiling, as_json))
    from sparring.cli.eval import Wanted
    from sparring.cli.eval import evaluate as answer

    if not refiner:
        raise SettingsError("--refiner is missing: name the engine that judges the answers and refines those that fail")
    if items or compare or anchor or require:
        raise SettingsError("--items, --compare, --anchor and --require are of --suite judge; leave them out")
    fit_to_write([engine, refiner])
    wanted = Wanted.read(engine, refiner, suite, n, curve, overrides or [])
    with stoppable("every answer that was paid for is kept, the same command finds it again"):
        raise typer.Exit(answer(wanted, out, ceiling, as_json))


@world_app.command("build")
def build_world(
    name: Annotated[str, typer.Argument(help="One of: concierge, arithmetic, word-sorting, instructions.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the model; default: the one that is shipped.")] = None,
    seed: Annotated[int, typer.Option(help="The shipped model's is 0.")] = 0,
) -> None:
    """Retrain a world's embedded model from nothing, and measure whether it has the skills a loop relies on."""
    import tempfile

    from sparring.worlds import world_of

    world = world_of(f"world:{name}")
    assert world is not None  # the prefix was given
    kept = "a model is replaced only once the new one is measured"
    with stoppable(kept), tempfile.TemporaryDirectory() as made:  # a model that misses its gates replaces none
        measured = world.build(Path(made), seed, log=lambda line: typer.echo(line, err=True))
        shutil.copytree(made, out or world.model, dirs_exist_ok=True)
    typer.echo(json.dumps(measured))


def setup_of(recipe: str) -> "type[Setup]":
    """Return what reads a recipe's settings."""
    if recipe not in RECIPES:
        raise SettingsError(f"no recipe {recipe!r}; there is {', '.join(RECIPES)}")
    return RECIPES[recipe]()


def run_recipe(setup: "Setup", out: Path, budget: str | None, as_json: bool) -> None:
    from sparring.budget import Budget
    from sparring.report.page import of_finished
    from sparring.report.progress import Progress
    from sparring.report.terminal import narrator
    from sparring.tracking import Trackers

    ceiling = Budget.parse(budget) if budget else None
    if not (out / "summary.json").exists():
        fit_to_write(setup.engine_names().values())
    with (
        setup.open_run(out, shlex.join(sys.argv)) as kept,
        setup.engines(kept.id, ceiling) as engines,
        Progress(kept.path, billed=engines.billed, budget=budget) as progress,
        Trackers(setup.report_to, kept) as trackers,
        narrator(setup.recipe, out, as_json, engines.billed) as tell,
    ):

        def told(event: dict[str, Any]) -> None:
            for listener in (tell, progress.tell, trackers.tell):
                listener(event)

        summary = setup.carry_out(kept, engines, told)
        told({"event": "summary", **summary, **page_of(lambda: of_finished(kept))})


def page_of(write: Callable[[], Path]) -> dict[str, str]:
    """Return where a finished run's page is, once written; nothing where it cannot be: the run is done all the same."""
    try:
        return {"page": str(write())}
    except (SparringError, OSError) as error:
        typer.echo(f"sparring: the run is done, but its page cannot be made: {error}", err=True)
        return {}


def fit_to_write(engines: Iterable[str]) -> None:
    """Refuse servers' names that hold a key or a password, or cannot be read: names go into the run directory."""
    from sparring.engines import is_remote

    for name in sorted(set(engines)):
        if is_remote(name):
            from sparring.engines.http import HTTP

            HTTP.from_name(name).close()


def main() -> None:
    """Run the command; print an error as one message and exit with its status."""
    try:
        app()
    except SparringError as error:
        typer.echo(f"sparring: {error}", err=True)
        sys.exit(error.exit_status)
