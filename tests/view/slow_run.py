"""A run that goes on as slowly as it is told: `python -m tests.view.slow_run WHOLE RUN`.

It makes the stages of a finished run again, in another folder. A line on standard input takes it a step further: half
of a stage is told, then, at the next line, it is there. `fail` ends it by an error, `pause` by its budget.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sparring.errors import BudgetReached, SparringError
from sparring.files import read_json
from sparring.report.progress import EVERY, Progress


def main(whole: Path, run: Path) -> None:
    run.mkdir(parents=True)
    shutil.copy(whole / "run.json", run / "run.json")
    rounds = iter(read_json(whole / "summary.json")["rounds"])
    with Progress(run) as progress:
        print("begun", flush=True)
        for line in (whole / "journal.jsonl").read_text().splitlines():
            stage = json.loads(line)["stage"]
            for event in told(run, stage):
                progress.tell(event)
                listen()
            (run / stage).parent.mkdir(exist_ok=True)
            (shutil.copytree if (whole / stage).is_dir() else shutil.copy)(whole / stage, run / stage)
            with (run / "journal.jsonl").open("a") as journal:
                journal.write(line + "\n")
            progress.tell({"event": "stage", "stage": stage, "done": 10, "of": 10, "ended": True})
            if stage.endswith("test-verdicts.jsonl"):
                progress.tell({"event": "round", **next(rounds)})
        progress.tell({"event": "summary"})


def told(run: Path, stage: str) -> Iterator[dict[str, Any]]:
    if stage.endswith("checkpoint"):
        for step in range(1, 6):
            time.sleep(EVERY)  # what follows sooner waits for the next event
            yield {"event": "training", "checkpoint": str(run / stage), "of": 10, "step": step, "loss": 3 / step}
    else:
        yield {"event": "stage", "stage": stage, "done": 5, "of": 10}


def listen() -> None:
    print("waiting", flush=True)
    word = sys.stdin.readline().strip()
    if word == "fail":
        raise SparringError("too many rollouts failed: <script>window.__pwned.push(1)</script>")
    if word == "pause":
        raise BudgetReached("the next call would pass 20 usd")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
