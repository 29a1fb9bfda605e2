"""`sparring run RECIPE seeds=3`: the same run with several seeds, one after the other, and a table over them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from sparring.cli import page_of
from sparring.cli.setup import Setup
from sparring.errors import RunError, SettingsError
from sparring.evals.seeds import Seeded, over_seeds
from sparring.files import Row, read_json, read_lines, write_json, write_whole
from sparring.report.terminal import REPORTS
from sparring.runs import seed_folder

RunOne = Callable[[Setup, Path], None]


def asked_seeds(overrides: Sequence[str]) -> tuple[int, list[str]]:
    """Return how many seeds are asked for (0: this is one run) and the recipe's own settings."""
    asked = [one.partition("=")[2] for one in overrides if one.partition("=")[0] == "seeds"]
    rest = [one for one in overrides if one.partition("=")[0] != "seeds"]
    if not asked:
        return 0, rest
    if not (asked[-1].isascii() and asked[-1].isdigit() and int(asked[-1]) >= 2):
        raise SettingsError(f"seeds = {asked[-1]}: how many runs, 2 at least; for one run it is seed=7")
    if any(one.partition("=")[0] == "seed" for one in rest):
        raise SettingsError("seeds runs seed 0, 1, ...: leave out seed")
    return int(asked[-1]), rest


def run_seeds(
    kind: type[Setup], config: Path | None, rest: Sequence[str], n: int, out: Path, as_json: bool, run_one: RunOne
) -> None:
    """Run OUT/seed-0, seed-1, ... or go on with them, and write OUT/summary.json and OUT/report.html.

    Each is a run directory of its own. Raises RunError where OUT is one itself.
    """
    from sparring.report.seeds import build  # a plan or a doctor, who only ask how many, write no page

    if (out / "run.json").exists():
        raise RunError(f"{out} is a run itself; take another folder for its seeds (--out)")
    setups = [kind.read(config, [*rest, f"seed={seed}"]) for seed in range(n)]  # what is wrong is known at once
    shown = Console(highlight=False) if sys.stdout.isatty() and not as_json else None
    for seed, setup in enumerate(setups):
        if shown:
            shown.rule(f"seed {seed} of 0 to {n - 1}", align="left")
        else:
            _line({"event": "seed", "seed": seed, "of": n, "run": str(seed_folder(out, seed))})
        run_one(setup, seed_folder(out, seed))
    found = over_seeds([_read(out, seed) for seed in range(n)])
    write_whole(out / "summary.json", lambda path: write_json(path, found))
    found |= page_of(lambda: build(out))
    if shown:
        show(shown, found, out)
    else:
        _line({"event": "seeds", **found})


def show(console: Console, found: Row, out: Path) -> None:
    """Print the table over seeds, each seed's verdict, and theirs together."""
    report, n = REPORTS[found["recipe"]], len(found["seeds"])
    console.print(replace(report, title=f"{report.title}; means over {n} seeds").table(found["rounds"]))
    for seed, verdict in found["verdicts"].items():
        console.print(f"seed {seed}: {escape(verdict)}")
    console.print(f"[bold]{escape(found['verdict'])}[/]\n{escape(str(out))}/summary.json holds every seed's values.")
    if "page" in found:
        console.print(f"{escape(found['page'])} shows it all, in any browser.")


def _read(out: Path, seed: int) -> Seeded:
    folder = seed_folder(out, seed)
    return Seeded(seed, read_json(folder / "summary.json"), read_lines(folder / "eval.jsonl"))


def _line(event: Row) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()
