"""How far a run is, on disk for whoever watches it: `RUN/.progress.json`, written by the process that works on it.

    with Progress(out, billed=engines.billed) as progress:
        ...progress.tell(event)...                 # the events that the terminal is told
    read_progress(out)                             # {"stages": [...], "training": {...}, "ended": False, ...}

The file is replaced at most twice a second, and at what must not be missed: where a stage begins or ends, a round.
It is no part of the run's record: a run goes on without it, and where it cannot be written there is none.
"""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

from sparring.errors import BudgetReached, SparringError
from sparring.evals.statistics import Interval
from sparring.files import Row
from sparring.report.paid import Billed, Paid

log = logging.getLogger("sparring")

NAME = ".progress.json"
EVERY = 0.5
"""Seconds between two writings."""
POINTS = 400
"""Most points of a training's curve; beyond it those are left out that stand closest, never its first or its last."""
LARGEST = 4_000_000
"""Bytes of a file that is still read as one of ours."""
UNDERWAY, DONE, PAUSED, STOPPED, FAILED = "underway", "done", "paused", "stopped", "failed"


class Progress:
    """Is told what happens in a run, and keeps the file; as a context manager also how the run ended.

    Times are seconds since 1970. `stages` are in the order they were first told of; of each, `done` of `of`, `first`
    that were done when it was first told of at `since`, `at` when it was last, `ended` (None: under way).
    """

    def __init__(self, run: str | Path, *, billed: Billed = dict, budget: str | None = None):
        """`run` is the run's directory, which must be there; `budget` its ceiling, in words."""
        self.path, self._run, self._paid = Path(run) / NAME, str(run), Paid(billed)
        self._stages: dict[str, Row] = {}
        self._rounds: dict[int, Row] = {}
        self._due, self._works = 0.0, True
        self._trained: Row | None = None
        who = {"pid": os.getpid(), "born": born(os.getpid()), "host": platform.node()}
        self._row: Row = who | {"started": time.time(), "budget": budget}
        self._row |= {"outcome": UNDERWAY, "ended": False, "error": None}

    def tell(self, event: Row) -> None:
        """Take note of an event; one that is of no kind known here counts as a sign of life."""
        kind, now, lasting = event["event"], time.time(), True
        if kind == "stage":
            lasting = self._stage(event, now)
        elif kind == "training":
            lasting = self._training(event, now)
        elif kind == "round":
            self._rounds[event["round"]] = {"round": event["round"], "metrics": event["metrics"]}
        elif kind == "summary":
            self._row |= {"outcome": DONE, "ended": True}
        if lasting or time.monotonic() >= self._due:
            self._write(at_once=kind in ("round", "summary"))

    def _stage(self, event: Row, now: float) -> bool:
        """Note a stage; return whether that must not be missed."""
        done, over = event["done"], bool(event.get("ended"))
        lasting = over or event["stage"] not in self._stages
        fresh = {"stage": event["stage"], "first": done, "since": now}
        stage = self._stages.setdefault(event["stage"], fresh)
        stage |= {"done": done, "of": event["of"], "at": now, "ended": now if over else None}
        return lasting

    def _training(self, event: Row, now: float) -> bool:
        """Note a step of a training; return whether it must not be missed."""
        checkpoint = Path(event["checkpoint"])
        name = f"{checkpoint.parent.name}/{checkpoint.name}"
        lasting = not self._trained or self._trained["checkpoint"] != name
        if not self._trained or lasting:
            fresh = {"checkpoint": name, "since": now, "first": None, "step": 0, "of": None}
            self._trained = {**fresh, "points": [], "ended": None}
        known = self._trained
        known["at"] = now
        if "step" in event:
            if known["first"] is None:  # what came before it was loading, and says nothing of the rate
                known |= {"first": event["step"], "since": now}
            known |= {"step": event["step"], "of": event["of"]}
            known["ended"] = now if event["step"] >= event["of"] else None
        if "loss" in event:
            known["points"].append([event["step"], event["loss"]])
            if len(known["points"]) > POINTS:
                del known["points"][_closest(known["points"])]
        return lasting or bool(known["ended"])

    def _write(self, at_once: bool = False) -> None:
        if not self._works:
            return
        self._due = time.monotonic() + EVERY
        now = self._paid.now(at_once)
        told = {"stages": [*self._stages.values()], "rounds": [*self._rounds.values()], "now": time.time()}
        row = {**self._row, **told, "training": self._trained, "billed": now, "billed_earlier": self._paid.earlier()}
        part = self.path.with_name(f"{NAME}.part")
        try:
            part.write_text(json.dumps(_plain(row), allow_nan=False), encoding="utf-8", errors="backslashreplace")
            os.replace(part, self.path)
        except OSError as error:
            self._works = False
            log.warning("%s cannot be written (%s): nobody can watch this run", self.path, error.strerror)

    def __enter__(self) -> Self:
        self._write(at_once=True)
        return self

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        if error is not None:
            outcome, said = _ending(error)
            self._row |= {"outcome": outcome, "error": said and said.replace(self._run, "RUN")}
        elif self._row["outcome"] == UNDERWAY:
            self._row["outcome"] = STOPPED
        self._row["ended"] = True
        self._write(at_once=True)


def _closest(points: Sequence[Sequence[float]]) -> int:
    """Return which point leaves the least gap where it is left out; neither the first nor the last."""
    return min(range(1, len(points) - 1), key=lambda at: points[at + 1][0] - points[at - 1][0])


def _ending(error: BaseException) -> tuple[str, str | None]:
    """Return how a run ended that raised, and what there is to say of it."""
    if isinstance(error, KeyboardInterrupt):
        return STOPPED, None
    if isinstance(error, SparringError):
        return PAUSED if isinstance(error, BudgetReached) else FAILED, str(error)
    return FAILED, type(error).__name__  # a bug's message may hold anything; the terminal has it


def read_progress(run: str | Path) -> Row | None:
    """Return what a run last told of itself; None where there is nothing, or nothing whole."""
    try:
        with (Path(run) / NAME).open("rb") as file:
            value = json.loads(file.read(LARGEST).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    row = cast(Row, value) if isinstance(value, dict) else {}
    lists = [row.get("stages"), row.get("rounds")]
    return row if isinstance(row.get("pid"), int) and all(isinstance(found, list) for found in lists) else None


def is_alive(progress: Mapping[str, Any]) -> bool | None:
    """Tell whether the process that wrote this still runs; None where it is another machine's."""
    if progress.get("host") != platform.node():
        return None
    pid = progress["pid"]
    if progress.get("born") is not None:
        return born(pid) == progress["born"]
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def born(pid: int) -> int | None:
    """Return when a process was started, in ticks since the machine was; None where it is none, or nobody can say.

    With the pid it names a process: the number alone is given to another one sooner or later.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _plain(value: object) -> Any:
    """Return what JSON holds of a value; a figure that is none (a loss that ran away) becomes None."""
    if isinstance(value, Interval):
        return _plain(value.as_dict())
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in cast("list[Any]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float)) else str(value)
