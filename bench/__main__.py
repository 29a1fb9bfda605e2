"""Run the benchmarks, print what they came to as one table, and add a line to bench/results.jsonl.

python -m bench [--quick] [rollouts | scoring | driver | startup ...]

The table is Markdown, for RESULTS.md. Each benchmark says its own rows (`FIGURES`), measures them and whatever they
stand beside (`measure`), or says why it cannot here. It has a process of its own: what another left in memory is time,
too, for Python's garbage collector.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from bench.fresh import measured_apart
from bench.table import Figure, table

BENCHMARKS = (
    "startup",
    "driver",
    "size",
    "rollouts",
    "scoring",
    "ledger",
    "servers",
    "search",
    "votes",
    "verifiers",
    "report",
    "training",
    "device",
    "vllm",
)
RESULTS = Path(__file__).with_name("results.jsonl")


def machine() -> dict[str, object]:
    """Return what a number depends on besides our code."""
    import torch

    git = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": subprocess.run(git, capture_output=True, text=True).stdout.strip(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run, not how fast")
    args = parser.parse_args()
    if unknown := set(args.names) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there is {', '.join(BENCHMARKS)}")
    line = machine() | {"quick": args.quick}
    results: dict[str, float | str] = {}
    figures: list[Figure] = []
    took: dict[str, float] = {}
    try:
        for name in args.names or BENCHMARKS:
            start = time.perf_counter()
            measured = measured_apart(name, args.quick)
            took[name] = time.perf_counter() - start
            print(f"\n{name}, {took[name]:.0f} s", flush=True)
            for key, value in measured.items():
                print(f"{key:40} {value if isinstance(value, str) else f'{value:14,.6g}'}", flush=True)
            results |= measured
            figures += importlib.import_module(f"bench.{name}").FIGURES
    finally:  # what was measured is told and kept, even if the next one breaks
        print(f"\n{describe(line)}\n")
        for row in table(figures, results):
            print(row)
        print(f"\n{sum(took.values()):.0f} s: {', '.join(f'{name} {seconds:.0f}' for name, seconds in took.items())}")
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | {"seconds": took, "results": results}) + "\n")


def describe(line: dict[str, object]) -> str:
    """Return what numbers were measured on, in a sentence."""
    quick = "QUICK, so no figures to quote: " if line["quick"] else ""
    return f"{quick}commit {line['commit']}, {line['date']}, {line['cpus']} cores, load {line['load']:.2g} at first"


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    # One device, as a training without a launcher has: the Trainer would spread over all it sees.
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    main()
