"""Runs of one recipe with other settings each, side by side, one thread a run; one that is done is not made again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Arm:
    """One run."""

    recipe: str
    folder: Path
    settings: tuple[str, ...]


def folder_of(arm: str, seed: int, out: Path) -> Path:
    """Return where the run of an arm with a seed is kept."""
    return out / f"{arm.partition(' (')[0].replace(' ', '-').lower()}-seed-{seed}"


def carry_out(arms: Sequence[Arm], at_once: int) -> None:
    """Run all of them to their ends. Exits where one fails: an average over those that went well would flatter."""
    with ThreadPoolExecutor(at_once) as pool:
        failed = [name for name in pool.map(_run, arms) if name]
    if failed:
        raise SystemExit(f"no table: {', '.join(failed)} failed; the logs are beside them")


def _run(arm: Arm) -> str | None:
    """Run one; return its name if it failed."""
    command = [sys.executable, "-m", "sparring", "run", arm.recipe, "--json", "--out", str(arm.folder), *arm.settings]
    arm.folder.parent.mkdir(parents=True, exist_ok=True)
    with arm.folder.with_suffix(".log").open("w") as file:
        done = subprocess.run(command, stdout=file, stderr=file, env=os.environ | {"OMP_NUM_THREADS": "1"})
    print(f"{arm.folder.name}: exit status {done.returncode}", file=sys.stderr, flush=True)
    return str(arm.folder) if done.returncode else None
