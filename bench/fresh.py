"""Work in a process of its own, which has nothing in memory but what the work needs: its seconds and its memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path


def growth(work: Callable[[], object]) -> dict[str, float]:
    """Return the seconds of `work`, and by how many bytes this process's memory stood above its start at most.

    Asked of Linux: `getrusage` would count what the process was started from (a fork of a large one is as large).
    """
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before, start = _kilobytes("VmRSS"), time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - start, "bytes": 1024.0 * (_kilobytes("VmHWM") - before)}


def run_fresh(module: str, *arguments: object) -> dict[str, float]:
    """Return what `python -m MODULE ARGUMENTS` prints: one JSON object."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measured_apart(benchmark: str, quick: bool) -> dict[str, float | str]:
    """Return what `bench.BENCHMARK` measures in a process of its own; what it prints is passed on."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        asked = [benchmark, str(found), *(["--quick"] if quick else [])]
        subprocess.run([sys.executable, "-m", __name__, *asked], check=True)
        return json.loads(found.read_text(encoding="utf-8"))


def _kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    name, out, *flags = sys.argv[1:]
    measured = import_module(f"bench.{name}").measure("--quick" in flags)
    Path(out).write_text(json.dumps(measured), encoding="utf-8")
