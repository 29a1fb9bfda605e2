"""`sparring doctor`: what a run needs, looked at before it starts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparring.cli.setup import Setup, job_settings
from sparring.doctor import Finding, Job, Plumbing, examine

COLOURS = {"ok": "green", "miss": "bold red", "skip": "yellow"}
WIDE = 13
"""Characters of the longest name of a check."""


def doctor(setup: Setup, as_json: bool) -> int:
    """Print a finding a check; return the exit status."""
    settings = setup.settings
    with setup.engines(f"doctor {setup.recipe}") as engines:
        plumbing = Plumbing(
            policy=settings.policy,
            engines=setup.engine_names(),
            open=engines.open,
            jobs=jobs_of(setup),
            place=Path("runs") / setup.recipe,
            max_lora_rank=settings.vllm.max_lora_rank if settings.policy.startswith("vllm:") else None,
        )
        findings = examine(plumbing)
        missed = _listed(findings) if as_json or not sys.stdout.isatty() else drawn(findings)
    return 1 if missed else 0


def jobs_of(setup: Setup) -> dict[str, Job]:
    """Return the trainings that the run does, by the settings that tell how."""
    told = {name: (getattr(setup.settings, name), times) for name, times in setup.checkpoints().items() if times}
    return {
        name: Job(job_settings(each), each.launcher, times, getattr(each, "reference", ""))
        for name, (each, times) in told.items()
    }


def _listed(findings: Iterator[Finding]) -> int:
    missed = 0
    for finding in findings:
        missed += finding.state == "miss"
        typer.echo(json.dumps({"event": "finding", **asdict(finding)}))
    return missed


def drawn(findings: Iterator[Finding]) -> int:
    """Print each finding as it comes: names and addresses whole, what to do on a line of its own."""
    console, missed, skipped = Console(highlight=False), 0, 0
    with console.status("looking"):
        for finding in findings:
            missed, skipped = missed + (finding.state == "miss"), skipped + (finding.state == "skip")
            table = Table.grid(padding=(0, 2, 0, 0))
            for width in (4, WIDE, None):
                table.add_column(width=width, overflow="fold")
            told = Text(finding.found)
            if finding.to_do:
                told.append(f"\nto do: {finding.to_do}", "bold")
            table.add_row(Text(finding.state, COLOURS[finding.state]), Text(finding.name), told)
            console.print(table)
    console.print(f"{missed or 'nothing'} missed" + (f", {skipped} not looked at" if skipped else ""))
    return missed
