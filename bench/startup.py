"""Seconds until `sparring --help` has answered."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from bench.alternate import seconds


def measure(quick: bool) -> dict[str, float]:
    command = [str(Path(sys.executable).with_name("sparring")), "--help"]
    times = [
        seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(3 if quick else 9)
    ]
    return {"help_seconds": statistics.median(times)}
