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
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from sparring.errors import DataError, SettingsError, SparringError, TrainingError
from sparring.files import rename_whole
from sparring.training.examples import read_examples, read_pairs
from sparring.training.process import OnLog, follow, last_words, launched
from sparring.training.settings import KINDS, DPOSettings, SFTSettings, Tracking, TrainingSettings
from sparring.training.steps import Steps

ATTACHED = "--attached"
"""The job's standard input is held by whoever started it; the job ends when that closes."""
FREE = ("rows_per_device", "max_truncated")
"""Settings with which saved steps are gone on from whatever they are now."""
SHARDING = (
    "ACCELERATE_USE_FSDP",
    "FSDP_VERSION",
    "FSDP_STATE_DICT_TYPE",
    "ACCELERATE_USE_DEEPSPEED",
    "ACCELERATE_DEEPSPEED_ZERO_STAGE",
    "ACCELERATE_DEEPSPEED_CONFIG_FILE",
)
"""What `accelerate launch` sets where processes share the model: each then saves a part of a step of its own kind."""


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

    @property
    def steps(self) -> Steps:
        """Where its steps are saved until then."""
        return Steps(beside(self.out, "steps"))

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
            "settings": _deciding(asdict(self.settings)),
            **({"reference": _named(self.reference)} if isinstance(self.settings, DPOSettings) else {}),
        }

    def owner(self) -> dict[str, Any]:
        """Return whose saved steps are: those of this job, on as many devices, which share the model alike."""
        identity = self.identity()
        return {
            **identity,
            "settings": {name: value for name, value in identity["settings"].items() if name not in FREE},
            "devices": int(os.environ.get("WORLD_SIZE", "1")),
            "sharding": {name: os.environ[name] for name in SHARDING if name in os.environ},
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
        # A setting that was unknown then had its default.
        made["settings"] = _deciding(asdict(type(self.settings)()) | made.get("settings", {}))
        differs = [name for name in wanted if made.get(name) != wanted[name]]
        if differs:
            raise TrainingError(
                f"{self.out} was trained with other {', '.join(differs)}; remove it, or choose another out"
            )
        return True


def _deciding(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that decide the weights: steps may be saved more or less often."""
    return {name: value for name, value in settings.items() if name != "save_every"}


def _is_folder(model: str) -> bool:
    return bool(model) and Path(model).is_dir()


def _named(model: str) -> str:
    return Path(model).name if _is_folder(model) else model


def beside(out: Path, suffix: str) -> Path:
    """Return the path next to a checkpoint: CHECKPOINT.suffix."""
    return out.with_name(f"{out.name}.{suffix}")


def run_job(job: Job, launcher: Sequence[str] = (), on_log: OnLog | None = None) -> Path:
    """Run the job in a process of its own and return its checkpoint.

    `launcher` stands where `python` would: `("accelerate", "launch", "--num_processes", "8")`; a word of it that is
    `sparring:fsdp.yaml` names a file of `training/accelerate`. `on_log` is given {"resumed_from": STEP} where a killed
    training goes on, {"steps_discarded": STEP} where it begins again because what was saved is another job's,
    {"lengths": ...} before training, {"step", "of", "loss"} as it goes, and {"tracker", "failed"} for a tracker that
    came to nothing. What the process wrote is kept in CHECKPOINT.log. Raises TrainingError with the reason, or with the
    last lines, where it ends badly. The process never outlives this one.
    """
    if job.is_done():
        job.steps.remove()
        return job.out
    job.out.parent.mkdir(parents=True, exist_ok=True)
    description, log = beside(job.out, "job.json"), beside(job.out, "log")
    job.write(description)
    command = [*launched(launcher), "-m", "sparring.training.job", str(description), ATTACHED]
    with log.open("w", encoding="utf-8") as stderr:
        reason, code = follow(command, stderr, on_log or (lambda _: None))
    if reason or code:
        raise TrainingError(f"training {job.out} failed: {reason or last_words(log, code)}")
    return job.out


def work(job: Job, emit: OnLog) -> None:
    """Do the job in this process: train, then rename the checkpoint into place."""
    first = os.environ.get("RANK", "0") == "0"
    if job.is_done():
        if first:
            job.steps.remove()
        return
    for name in (job.model, job.reference):
        if name.startswith((".", "/")) and not Path(name).is_dir():
            raise TrainingError(f"model {name!r} cannot be opened: there is no such folder")
    rows: list[Any] = read_pairs(job.rows) if job.kind == DPOSettings.kind else read_examples(job.rows)
    identity, owner = job.identity(), job.owner()
    ours = job.steps.are_of(owner)
    steps = job.steps if job.settings.save_every or ours else None
    emit = emit if first else lambda _: None
    if not ours and (discarded := job.steps.last()):
        emit({"steps_discarded": discarded})
    if first:
        if job.partial.exists():
            shutil.rmtree(job.partial)
        if steps:
            steps.claim(owner)
    last = steps.last() if steps else None
    if last:
        emit({"resumed_from": last})
    _set_environment(job)
    report = _train(job, rows, emit, steps)
    if first:
        told = {"job": identity, "devices": owner["devices"], "resumed_from": last, **report}
        (job.partial / "training.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
        rename_whole(job.partial, job.out)
        job.steps.remove()


def _train(job: Job, rows: list[Any], emit: OnLog, steps: Steps | None) -> dict[str, Any]:
    """Train into `job.partial`; return the report. It loads torch, which must find the environment set."""
    if isinstance(job.settings, DPOSettings):
        from sparring.training.dpo import prefer

        return prefer(job.model, rows, job.partial, job.seed, job.settings, emit, job.reference, job.tracking, steps)
    from sparring.training.sft import fine_tune

    settings = cast("SFTSettings", job.settings)
    return fine_tune(job.model, rows, job.partial, job.seed, settings, emit, job.tracking, steps)


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
