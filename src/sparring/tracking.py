"""Trackers, beside the run directory: where a run may be followed as it goes, by the names in `training.report_to`.

Losses are told by the Trainer, in the process of a training. What rounds and stages came to is told from here:

    trackio      one run, which both open in turn
    wandb        a group, of one run a training and one of the rounds: offline, wandb cannot go on with a run
    tensorboard  RUN/tracking: a folder a training, and `rounds`

A tracker decides nothing. One that fails is told nothing more, and the run goes on.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from sparring.errors import SettingsError
from sparring.evals.statistics import Interval
from sparring.files import Row, read_json, write_json, write_whole
from sparring.runs import Run
from sparring.training.settings import PROJECT, QUIET, Tracking, failures_of

log = logging.getLogger("sparring")
FOLDER = "tracking"
"""Of the run directory: TensorBoard's and wandb's files, and what each tracker was told."""
OFFLINE = ("offline", "dryrun", "disabled")
"""Values of WANDB_MODE with which nobody need be logged in."""


def check_trackers(report_to: Sequence[str]) -> None:
    """Raise SettingsError for a tracker that is not installed, or would stop to ask who one is."""
    for name in report_to:
        if find_spec(name) is None:
            raise SettingsError(f"report_to = {name!r}, which is not installed: pip install 'sparring[track]'")
    if "wandb" in report_to and os.environ.get("WANDB_MODE") not in OFFLINE:
        _be_quiet()
        import wandb

        if not wandb.login(prompt=False):
            raise SettingsError(
                "report_to = 'wandb', which knows no API key: run `wandb login`, or set WANDB_MODE=offline"
            )


def tracking(run: Run, checkpoint: Path, report_to: Sequence[str]) -> Tracking | None:
    """Return where the training of a checkpoint of `run` is logged; None: nowhere."""
    if not report_to:
        return None
    stage = checkpoint.relative_to(run.path).as_posix()
    return Tracking(tuple(report_to), _name(run), stage, str((run.path / FOLDER).resolve()))


class Tracker(Protocol):
    """One of the trackers, open for the rounds of a run."""

    def log(self, step: int, figures: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


class Trackers:
    """Told what a narrator is told, they log what each round came to: its metrics, its stages' seconds and tokens."""

    def __init__(self, report_to: Sequence[str], run: Run):
        self.run = run
        self._left = list(dict.fromkeys(report_to))
        self._open: dict[str, Tracker] = {}

    def __enter__(self) -> Trackers:
        return self

    def __exit__(self, *_: object) -> None:
        for name, tracker in list(self._open.items()):
            self._try(name, tracker.close)

    def tell(self, event: Row) -> None:
        """Log an event, unless an earlier attempt at the run did; others are passed over."""
        if event["event"] == "round":
            self._log(
                str(event["round"]), event["round"], {**metrics(event["metrics"]), **stages(self.run, event["round"])}
            )
        elif event["event"] == "summary" and (paid := bill(event)):
            self._log("summary", len(event["rounds"]) - 1, paid)
        elif "tracker" in event:
            self._failed(event["tracker"], event["failed"])

    def _log(self, what: str, step: int, figures: Mapping[str, float]) -> None:
        path = self.run.path / FOLDER / "told.json"
        told: dict[str, list[str]] = read_json(path) if path.exists() else {}
        for name in [name for name in self._left if what not in told.get(name, [])]:
            if self._try(name, lambda name=name: self._opened(name).log(step, figures)):
                told[name] = [*told.get(name, []), what]
        if path.parent.exists():
            write_whole(path, lambda temporary: write_json(temporary, told))

    def _opened(self, name: str) -> Tracker:
        if name not in self._open:
            folder = self.run.path / FOLDER
            folder.mkdir(exist_ok=True)
            self._open[name] = TRACKERS[name](_name(self.run), folder, described(self.run))
        return self._open[name]

    def _try(self, name: str, do: Callable[[], None]) -> bool:
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it is the narrator's
                do()
        except failures_of(name) as error:
            self._failed(name, str(error) or repr(error))
            return False
        return True

    def _failed(self, name: str, why: str) -> None:
        if name in self._left:
            self._left.remove(name)
            self._open.pop(name, None)
            log.warning("%s failed and is told nothing more, the run goes on: %s", name, why)


def described(run: Run) -> Row:
    """Return what a tracker shows of a run."""
    told = {part: run.record.get(part) for part in ("recipe", "seeds", "versions", "commit")}
    return told | {"settings": run.public_settings}


def metrics(found: Mapping[str, Interval | None]) -> dict[str, float]:
    """Return a round's metrics with both ends of their intervals; what is unknown is left out."""
    figures: dict[str, float | None] = {}
    for name, metric in found.items():
        if metric:
            figures[f"metrics/{name}"] = metric.value
            figures |= {f"metrics/{name}/low": metric.low, f"metrics/{name}/high": metric.high}
    return {name: value for name, value in figures.items() if value is not None}


def stages(run: Run, t: int) -> dict[str, float]:
    """Return seconds, calls, tokens and failures of the stages of round t; what was before the rounds is the 0th's."""
    figures: dict[str, float] = {}
    for row in run.journal():
        folder, _, stage = row["stage"].rpartition("/")
        if folder != f"round-{t}" and (folder or t):
            continue
        stage = stage.removesuffix(".jsonl").removesuffix(".json")
        figures[f"seconds/{stage}"] = row["seconds"]
        if "failed" in row:
            figures[f"failed/{stage}"] = row["failed"]
        for counted in ("calls", "prompt_tokens", "completion_tokens"):
            if calls := row.get("calls"):
                figures[f"{counted}/{stage}"] = sum(counts[counted] for counts in calls.values())
    return figures


def bill(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return what each role was billed by all attempts at the run, in USD, where prices are known."""
    paid = {
        role: [parts[part]["usd"] for part in ("billed_now", "billed_earlier")]
        for role, parts in summary.get("billed", {}).items()
    }
    return {f"usd/{role}": sum(parts) for role, parts in paid.items() if None not in parts}


def _name(run: Run) -> str:
    """Return what trackers know a run by: its folder's name, and enough of its id to tell it from its namesakes."""
    return f"{run.path.resolve().name}-{run.id[:6]}"


def _be_quiet() -> None:
    """Have no tracker report on its user, or talk to the terminal."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


class _TensorBoard:
    def __init__(self, name: str, folder: Path, config: Row):
        from tensorboard.summary import Writer  # torch's would load torch

        self.writer = Writer(str(folder / "rounds"))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class _WandB:
    def __init__(self, name: str, folder: Path, config: Row):
        _be_quiet()
        import wandb

        project = os.environ.get("WANDB_PROJECT", PROJECT)
        self.run = wandb.init(
            project=project,
            group=name,
            name=name,
            job_type="rounds",
            dir=str(folder),
            config=config,
            reinit="create_new",
        )
        self.run.define_metric("round")
        self.run.define_metric("*", step_metric="round")

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self.run.log({"round": step, **figures})

    def close(self) -> None:
        self.run.finish()


class _Trackio:
    def __init__(self, name: str, folder: Path, config: Row):
        self.name, self.config = name, config

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Open the run for this and close it: between two rounds it is the training's."""
        _be_quiet()
        import trackio

        more: dict[str, Any] = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
        trackio.init(PROJECT, self.name, config=self.config, resume="allow", **more)
        trackio.log({"round": step, **figures})
        trackio.finish()

    def close(self) -> None:
        pass


TRACKERS: Mapping[str, Callable[[str, Path, Row], Tracker]] = {
    "tensorboard": _TensorBoard,
    "trackio": _Trackio,
    "wandb": _WandB,
}
