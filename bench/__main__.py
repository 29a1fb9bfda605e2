"""Run the benchmarks, print what they came to, and add a line to bench/results.jsonl.

python -m bench [--quick] [rollouts | scoring | driver | startup ...]
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

BENCHMARKS = (
    "startup",
    "driver",
    "rollouts",
    "scoring",
    "ledger",
    "servers",
    "search",
    "votes",
    "verifiers",
    "report",
    "training",
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
    results: dict[str, float] = {}
    for name in args.names or BENCHMARKS:
        measured = importlib.import_module(f"bench.{name}").measure(args.quick)
        for key, value in measured.items():
            print(f"{key:32} {value:14,.6g}", flush=True)
        results |= measured
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line | {"results": results}) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
