"""A training stage: a job described by one JSON file and run in a process of its own.

    python -m sparring.training.job JOB.json
    accelerate launch --num_processes 8 -m sparring.training.job JOB.json

A process of its own gives all its memory back, keeps a crash to itself, and is the same job on a laptop and on many
devices. `run_job` starts it from here and loads no model library. The checkpoint is written beside its place and
renamed when it is whole, so what stands at `out` is never half a model.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO, cast

from sparring.errors import DataError, SettingsError, SparringError, TrainingError
from sparring.files import rename_whole
from sparring.training.examples import read_examples, read_pairs
from sparring.training.settings import KINDS, DPOSettings, SFTSettings, Tracking, TrainingSettings

OnLog = Callable[[dict[str, Any]], None]
ATTACHED = "--attached"
"""The job's standard input is held by whoever started it; the job ends when that closes."""
TAIL = 15
"""Lines of the log that an error carries."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to train, on what, and where to."""

    model: str
    """A folder, or an id on the Hub."""
    rows: Path
    """JSON lines: {"messages": [...], "weights": [one a message]}, where a weight is a number, or pieces of the
    message, [[characters, weight], ...]; for `dpo`, {"prompt": [messages], "chosen": TEXT, "rejected": TEXT}. Other
    keys are ignored."""
    out: Path
    """The checkpoint's folder. One that is complete is kept, and the job is then nothing to do."""
    seed: int = 0
    """Draws the order of the rows and those held out. The same job gives the same bytes of weights on one CPU."""
    settings: TrainingSettings = field(default_factory=SFTSettings)
    """Their class tells how to train."""
    reference: str = ""
    """For `dpo`: the model that it is anchored to, a folder or an id; empty is `model` as it was."""
    tracking: Tracking | None = None
    """Where it is logged besides; another tracking is the same job."""

    def __post_init__(self) -> None:
        if self.reference and not isinstance(self.settings, DPOSettings):
            raise SettingsError(f"reference = {self.reference!r}, but {self.kind} has none: leave it out")

    @property
    def kind(self) -> str:
        """`sft` or `dpo`."""
        return self.settings.kind

    @property
    def partial(self) -> Path:
        """Where the checkpoint is written before it is whole."""
        return beside(self.out, "partial")

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read a job's file. Raises SettingsError for what it lacks or does not know."""
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            kind = values.pop("kind", SFTSettings.kind)
            if kind not in KINDS:
                raise SettingsError(f"{path}: kind = {kind!r}, but it must be one of {', '.join(KINDS)}")
            settings = KINDS[kind].read(values.pop("settings", {}))
            rows, out = Path(values.pop("rows")), Path(values.pop("out"))
            told = values.pop("tracking", None)
            tracking = Tracking.read(told) if told else None
            return cls(rows=rows, out=out, settings=settings, tracking=tracking, **values)
        except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise SettingsError(f"{path} does not describe a training job: {error!r}") from error

    def write(self, path: Path) -> None:
        """Write the job's file, with absolute paths: it can be run again from anywhere."""
        places = {"rows": str(self.rows.resolve()), "out": str(self.out.resolve())}
        for name in ("model", "reference"):
            value: str = getattr(self, name)
            places[name] = str(Path(value).resolve()) if _is_folder(value) else value
        values = {**asdict(self), "kind": self.kind, **places}
        path.write_text(json.dumps(values, indent=1), encoding="utf-8")

    def identity(self) -> dict[str, Any]:
        """Return what decides the weights: a checkpoint made from anything else is another one.

        A model in a folder goes by the folder's name, so that a run can be moved.
        """
        try:
            digest = hashlib.sha256(self.rows.read_bytes()).hexdigest()
        except OSError as error:
            raise DataError(f"{self.rows}: cannot be read: {error.strerror}") from error
        return {
            "kind": self.kind,
            "model": _named(self.model),
            "rows_sha256": digest,
            "seed": self.seed,
            "settings": asdict(self.settings),
            **({"reference": _named(self.reference)} if isinstance(self.settings, DPOSettings) else {}),
        }

    def is_done(self) -> bool:
        """Tell whether `out` is this job's checkpoint. Raises TrainingError where something else stands there."""
        report = self.out / "training.json"
        if not report.is_file():
            if self.out.exists() and any(self.out.iterdir()):
                raise TrainingError(
                    f"{self.out} holds files but no finished checkpoint; move them, or choose another out"
                )
            return False
        made, wanted = json.loads(report.read_text(encoding="utf-8"))["job"], self.identity()
        made["settings"] = asdict(type(self.settings)()) | made.get("settings", {})  # a setting that was unknown then
        differs = [name for name in wanted if made.get(name) != wanted[name]]
        if differs:
            raise TrainingError(
                f"{self.out} was trained with other {', '.join(differs)}; remove it, or choose another out"
            )
        return True


def _is_folder(model: str) -> bool:
    return bool(model) and Path(model).is_dir()


def _named(model: str) -> str:
    return Path(model).name if _is_folder(model) else model


def beside(out: Path, suffix: str) -> Path:
    """Return the path next to a checkpoint: CHECKPOINT.suffix."""
    return out.with_name(f"{out.name}.{suffix}")


def run_job(job: Job, launcher: Sequence[str] = (), on_log: OnLog | None = None) -> Path:
    """Run the job in a process of its own and return its checkpoint.

    `launcher` stands where `python` would: `("accelerate", "launch", "--num_processes", "8")`. `on_log` is given
    {"lengths": ...} before training, {"step", "of", "loss"} as it goes, and {"tracker", "failed"} for a tracker that
    came to nothing. What the process wrote is kept in CHECKPOINT.log. Raises TrainingError with the reason, or with the
    last lines, where it ends badly. The process never outlives this one.
    """
    if job.is_done():
        return job.out
    job.out.parent.mkdir(parents=True, exist_ok=True)
    description, log = beside(job.out, "job.json"), beside(job.out, "log")
    job.write(description)
    command = [*(launcher or [sys.executable]), "-m", "sparring.training.job", str(description), ATTACHED]
    with log.open("w", encoding="utf-8") as stderr:
        reason, code = _follow(command, stderr, on_log or (lambda _: None))
    if reason or code:
        raise TrainingError(f"training {job.out} failed: {reason or _last_words(log, code)}")
    return job.out


def _follow(command: Sequence[str], log: TextIO, on_log: OnLog) -> tuple[str, int]:
    """Run the command; return the reason that it gave for failing, if any, and its exit status."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, encoding="utf-8", errors="replace"
        )
    except OSError as error:
        raise TrainingError(f"{command[0]!r} cannot be started: {error.strerror}") from error
    assert process.stdin and process.stdout
    reason = ""
    try:
        for line in process.stdout:
            event = _event(line)
            if event is None:
                log.write(line)  # a launcher's own words
                log.flush()
            elif "error" in event:
                reason = str(event["error"])
            else:
                on_log(event)
        return reason, process.wait()
    finally:
        process.stdin.close()  # reaches the processes that a launcher has started, too
        process.kill()
        process.wait()
        process.stdout.close()


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except json.JSONDecodeError:
        return None
    return cast("dict[str, Any]", event) if isinstance(event, dict) else None


def _last_words(log: Path, code: int) -> str:
    ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    if code == -signal.SIGKILL:
        ended += " (out of memory?)"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([f"{ended}. Its last lines, from {log}:", *lines[-TAIL:]])


def work(job: Job, emit: OnLog) -> None:
    """Do the job in this process: train, then rename the checkpoint into place."""
    if job.is_done():
        return
    for name in (job.model, job.reference):
        if name.startswith((".", "/")) and not Path(name).is_dir():
            raise TrainingError(f"model {name!r} cannot be opened: there is no such folder")
    rows: list[Any] = read_pairs(job.rows) if job.kind == DPOSettings.kind else read_examples(job.rows)
    identity, first = job.identity(), os.environ.get("RANK", "0") == "0"
    if first and job.partial.exists():
        shutil.rmtree(job.partial)
    _set_environment(job)
    report = _train(job, rows, emit if first else lambda _: None)
    if first:
        (job.partial / "training.json").write_text(json.dumps({"job": identity, **report}, indent=1), encoding="utf-8")
        rename_whole(job.partial, job.out)


def _train(job: Job, rows: list[Any], emit: OnLog) -> dict[str, Any]:
    """Train into `job.partial`; return the report. It loads torch, which must find the environment set."""
    if isinstance(job.settings, DPOSettings):
        from sparring.training.dpo import prefer

        return prefer(job.model, rows, job.partial, job.seed, job.settings, emit, job.reference, job.tracking)
    from sparring.training.sft import fine_tune

    settings = cast("SFTSettings", job.settings)
    return fine_tune(job.model, rows, job.partial, job.seed, settings, emit, job.tracking)


def _set_environment(job: Job) -> None:
    if job.tracking:
        Path(job.tracking.folder).mkdir(parents=True, exist_ok=True)
        for name, value in job.tracking.environment().items():
            os.environ.setdefault(name, value)
    to_the_hub = job.tracking and "TRACKIO_SPACE_ID" in os.environ  # where trackio then keeps its runs
    if all(_is_folder(name) for name in (job.model, job.reference) if name) and not to_the_hub:
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")
    if "WORLD_SIZE" not in os.environ:  # no launcher, so one device: the Trainer would spread over all it sees
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]


def _end_with_parent() -> None:
    """End this process when standard input closes, as it does however the parent ends, SIGKILL included."""
    # os.read, because a thread inside sys.stdin would hold its lock while the interpreter shuts down.
    while os.read(0, 1024):
        pass
    os._exit(1)


def main(arguments: Iterable[str]) -> int:
    """Run the job named on the command line; return the exit status."""
    # Events have standard output to themselves: whatever a library prints goes to standard error.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def emit(event: dict[str, Any]) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    path, *flags = arguments
    if ATTACHED in flags:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(Job.read(Path(path)), emit)
    except SparringError as error:
        emit({"error": str(error)})
        sys.stderr.write(f"{error}\n")
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
