"""Kill a run at random moments, rerun it until it is done, and compare it with one that was left in peace.

python -m bench.killed [--times 20] [--seed 0] [--out DIR] [--config FILE.toml] [key=value ...]

The moments are drawn evenly over the time of the undisturbed run, and hit in whichever attempt comes to them. Every
other kill takes the whole process group, as a power cut does; the rest take the main process alone, and then whatever
it had started (a trainer) must end by itself. Prints one JSON line; exit status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PATIENCE = 20.0
"""Seconds after which what a killed process leaves behind counts as an orphan."""


def measure(folder: Path, times: int, seed: int, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Run `sparring run star-gate ARGUMENTS` undisturbed and disturbed, in two folders, and say how they compare."""
    started = time.monotonic()
    timeline = undisturbed(folder / "undisturbed", arguments)
    seconds = time.monotonic() - started
    rng = random.Random(seed)
    moments = sorted(rng.uniform(0, seconds) for _ in range(times))
    kills = [kill_at(folder / "disturbed", arguments, timeline, at, n % 2 == 0) for n, at in enumerate(moments)]
    undisturbed(folder / "disturbed", arguments)
    return {
        "kills": sum(kill["killed"] for kill in kills),
        "killed_after": [kill["after"] for kill in kills if kill["killed"]],
        "orphans": sum(kill["orphan"] for kill in kills),
        "seconds_undisturbed": round(seconds, 1),
        "seconds_disturbed": round(time.monotonic() - started - seconds, 1),
        **compared(folder / "undisturbed", folder / "disturbed"),
    }


def compared(ours: Path, theirs: Path) -> dict[str, Any]:
    """Return what two runs share, byte for byte; `differ` names every file of lines that does not."""
    rounds = [json.dumps(json.loads((run / "summary.json").read_bytes())["rounds"]) for run in (ours, theirs)]
    kept = [path.relative_to(ours).as_posix() for path in sorted(ours.rglob("*.jsonl")) if path.name != "journal.jsonl"]
    differ = [name for name in kept if not same(ours / name, theirs / name)]
    trained = [name for name in kept if name.endswith("train.jsonl")]
    weights = [path.relative_to(ours) for path in sorted(ours.rglob("model.safetensors"))]
    left = [path.relative_to(theirs).as_posix() for path in theirs.rglob("*.tmp")]
    return {
        "rounds_same": rounds[0] == rounds[1],
        "train_files": len(trained),
        "train_same": bool(trained) and not set(trained) & set(differ),
        "weights_same": all(same(ours / name, theirs / name) for name in weights),
        "differ": differ,
        "left_behind": left,
    }


def same(a: Path, b: Path) -> bool:
    return b.exists() and a.read_bytes() == b.read_bytes()


def undisturbed(out: Path, arguments: Sequence[str]) -> dict[str, float]:
    """Run to the end; return when each milestone was reached, in seconds from the start."""
    started = time.monotonic()
    with start(out, arguments) as process:
        timeline = {"start": 0.0} | {name: time.monotonic() - started for name in milestones(process)}
    if process.returncode:
        sys.exit(f"the run in {out} failed; {out}.log has its last words")
    return timeline


def kill_at(out: Path, arguments: Sequence[str], timeline: dict[str, float], at: float, group: bool) -> dict[str, Any]:
    """Start the run, kill it where the undisturbed one was after `at` seconds, and see what survives it."""
    after = max((name for name, reached in timeline.items() if reached <= at), key=lambda name: timeline[name])
    with start(out, arguments) as process:
        # A milestone that an earlier attempt left behind is not told again: the next one told stands for it.
        told = () if after == "start" else milestones(process)
        reached = next((timeline[name] for name in told if timeline[name] >= timeline[after]), timeline[after])
        time.sleep(max(0.0, at - reached))
        killed = process.poll() is None
        if killed:
            (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
    return {"killed": killed, "after": after, "orphan": not ends(process.pid)}


def start(out: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
    """Start the command in a process group of its own."""
    command = [sys.executable, "-m", "sparring", "run", "star-gate", "--out", str(out), *arguments]
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.with_name(f"{out.name}.log").open("a") as log:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)


def milestones(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield each stage as it is done and each round as it is evaluated; those done earlier are passed at once."""
    assert process.stdout
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "round":
            yield f"round {event['round']} evaluated"
        elif event.get("ended"):
            yield event["stage"]
        elif event["event"] == "training" and "lengths" in event:
            yield f"{Path(event['checkpoint']).parent.name}/training begun"


def ends(group: int) -> bool:
    """Wait until nothing is left of a process group; False if something outlives our patience (it is then killed)."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    os.killpg(group, signal.SIGKILL)
    return False


def main() -> int:
    parser = argparse.ArgumentParser("python -m bench.killed", description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="kills (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="draws the moments")
    parser.add_argument("--out", type=Path, help="folder for the two runs (default: a temporary one)")
    args, arguments = parser.parse_known_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(args.out or Path(scratch), args.times, args.seed, arguments)
    good = found["rounds_same"] and found["train_same"] and not found["differ"] and not found["orphans"]
    print(json.dumps({"arguments": arguments, "seed": args.seed, **found, "same": good}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
