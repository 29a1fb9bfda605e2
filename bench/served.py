"""STaR-GATE with policy, roleplayer and scorer on a real vLLM server and its oracle on another, by settings alone.

    python -m bench.served [--out DIR] [key=value ...]

The model is the embedded one with wider heads (the same function: vLLM on a CPU knows no heads of 24), trained as an
adapter. Prints the win rates and what the server of the oracle has billed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from bench.paid import REPLY, home
from bench.servers import books, server
from bench.vllm import SERVING
from sparring.worlds import concierge
from tests.servable import servable

LORA = "{ r = 8, alpha = 16 }"
ADAPTER = (f"training.lora={LORA}", "training.learning_rate=1e-2")
"""An adapter wants a higher rate than all weights do."""
ADAPTERS = (f"training.lora={LORA}", f"refiner_training.lora={LORA}", "training.learning_rate=3e-3", "init=base")
"""SPaR's actor and refiner as two adapters of one server."""


def settings(model: Path, preset: Path, world: str) -> str:
    """Return a world's settings for a recipe, with a policy that is served: a TOML text."""
    named = {"policy": f"vllm:{model}", "tasks": world, "prompts": world}
    words = {name: getattr(SERVING, name) for name in ("command", "arguments", "max_lora_rank")}
    lines = [f"{name} = {json.dumps(value)}" for name, value in words.items()]
    lines += [f"environment.{name} = {json.dumps(value)}" for name, value in SERVING.environment.items()]
    first = [f"{name} = {json.dumps(value)}" for name, value in named.items()]
    return "\n".join([*first, preset.read_text(encoding="utf-8"), "[vllm]", *lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.served", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/served"))
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    folder: Path = args.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model").exists():
        servable(concierge.MODEL, folder / "model")
    text = settings(folder / "model", concierge.HERE / "star-gate.toml", "world:concierge")
    (folder / "served.toml").write_text(text, encoding="utf-8")
    with home(), server(reply=REPLY, latency=0.2) as url:
        options = ["--config", str(folder / "served.toml"), "--out", str(folder / "run"), "--json"]
        command = [sys.executable, "-m", "sparring", "run", "star-gate", *options, f"roles.oracle.engine={url}#test"]
        started = time.monotonic()
        done = subprocess.run([*command, *ADAPTER, *args.overrides], stdout=subprocess.PIPE, text=True, check=True)
        minutes, billed = (time.monotonic() - started) / 60, books(url)["billed"]
    summary = json.loads(done.stdout.splitlines()[-1])
    wins = [entry["metrics"]["win_rate"] for entry in summary["rounds"]]
    calls = sum(billed.values())
    found = {"minutes": minutes, "oracle_calls_billed": calls, "billed_twice": calls - len(billed)}
    print(json.dumps({**found, "win_rate": wins, "verdict": summary["verdict"], "seconds": summary["seconds"]}))


if __name__ == "__main__":
    main()
