"""Seconds until `sparring --help` has answered, beside its limit: a bare interpreter, and one that imports typer."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from bench.alternate import seconds
from bench.table import Figure

COMMANDS = {
    "help": [str(Path(sys.executable).with_name("sparring")), "--help"],
    "help_python": [sys.executable, "-c", "pass"],
    "help_typer": [sys.executable, "-c", "import typer"],
}

FIGURES = (
    Figure(
        "`sparring --help`",
        "help_seconds",
        "s",
        against="`import typer`",
        peer="help_typer_seconds",
        asked=0.3,
        aim=0.15,
        of="ours",
        at_most=True,
    ),
    Figure("`sparring --help`", "help_seconds", "s", against="a bare interpreter", peer="help_python_seconds"),
)


def measure(quick: bool) -> dict[str, float]:
    def answered(name: str) -> float:
        return seconds(lambda: subprocess.run(COMMANDS[name], check=True, capture_output=True))

    turns = [{name: answered(name) for name in COMMANDS} for _ in range(3 if quick else 21)]
    return {
        **{f"{name}_seconds": statistics.median(turn[name] for turn in turns) for name in COMMANDS},
        "help_over_typer": statistics.median(turn["help"] / turn["help_typer"] for turn in turns),
    }
