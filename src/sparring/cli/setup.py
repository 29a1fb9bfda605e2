"""What `run`, `plan` and `doctor` need to know of a recipe before its first call.

A `Setup` holds settings that were read, and all that they name which can be read without a model: what is wrong with
what the user wrote is known once it is there. Each recipe's own is in the module of its name.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from sparring.budget import Budget
from sparring.engines import is_remote, weights, without_options
from sparring.errors import SettingsError
from sparring.files import Row, read_json, read_lines
from sparring.loop import Trainer
from sparring.opening import Engines
from sparring.runs import Run
from sparring.settings import Preference, Settings, Training, overlaid
from sparring.tracking import check_trackers, tracking
from sparring.training.job import Job, run_job
from sparring.training.process import launched
from sparring.training.settings import DPOSettings, SFTSettings
from sparring.worlds import World, model_of, world_of

Tell = Callable[[dict[str, Any]], None]
S = TypeVar("S", bound=Settings)
FREE = frozenset({"max_failed", "vllm", "ledger"})
"""Settings with which a run may go on: they bound failures or say where things run, and choose no result."""
FREE_IN_TRAINING = ("max_truncated", "rows_per_device", "report_to", "save_every")
"""So may these of a training, which bound failures and memory, or say who is told of it and what is saved of it."""


@dataclass(frozen=True)
class Setup(ABC):
    """Settings and what they name."""

    settings: Any
    """The recipe's own settings: all have a policy, prompts, rounds, a training, roles, vllm, ledger and seed."""

    recipe: ClassVar[str]
    trainings: ClassVar[Mapping[str, str]]
    """Settings that are a `Training`, with the checkpoints that each has made once it may no longer change."""

    @classmethod
    @abstractmethod
    def read(cls, config: Path | None, overrides: Sequence[str]) -> Self:
        """Return what a user asked for. Raises UsageError for what cannot be run."""

    @abstractmethod
    def trial(self) -> Self:
        """Return a setup that makes every kind of stage once, with the policy as it is throughout."""

    @abstractmethod
    def sizes(self) -> dict[str, float]:
        """Return how much each stage does if nothing fails, in the unit that costs."""

    @abstractmethod
    def done(self, run: Run) -> dict[str, float]:
        """Return how much each stage of a run did, in the units of `sizes`."""

    @abstractmethod
    def checkpoints(self) -> dict[str, int]:
        """Return how many checkpoints each of `trainings` makes."""

    @abstractmethod
    def contents(self) -> dict[str, object]:
        """Return what was read of what the settings name, to know it again by: a value that JSON holds, by name."""

    @abstractmethod
    def make(self, run: Run, engines: Engines, train: Trainer, tell: Tell, most: int | None) -> Row:
        """Run the recipe to its summary, every stage or (`most`) a part of each."""

    @property
    @abstractmethod
    def prompts(self) -> Mapping[str, str]:
        """The prompts by name."""

    @property
    def world(self) -> World | None:
        return world_of(self.settings.policy)

    @property
    def report_to(self) -> tuple[str, ...]:
        """The trackers that any of the trainings names."""
        return tuple(dict.fromkeys(name for part in self.trainings for name in getattr(self.settings, part).report_to))

    def players(self) -> dict[str, str]:
        """Return the engine of each role but the policy, as set; `base` is the policy as it was given."""
        return {
            name: player.engine
            for name in type(self.settings.roles).model_fields
            if (player := getattr(self.settings.roles, name))
        }

    def engine_names(self) -> dict[str, str]:
        """Return whose engine each role speaks through."""
        names = self.players() | {"policy": self.settings.policy}
        return {name: self.settings.policy if engine == "base" else engine for name, engine in names.items()}

    def engines(self, run: str, budget: Budget | None = None) -> Engines:
        from sparring.engines.vllm import Serving

        told = self.settings.vllm
        serving = Serving(**told.model_dump(exclude={"stay"}))
        for name in self.trainings:
            if lora := job_settings(getattr(self.settings, name)).lora:  # what is trained here must fit the server
                serving = replace(serving, max_lora_rank=max(serving.max_lora_rank, lora.r))
        return Engines(run, budget=budget, keep=self.settings.ledger, serving=serving, stay=told.stay)

    def open_run(self, out: Path, command: str) -> Run:
        """Make the run's directory, or go on with it. Raises RunError where it is another run's."""
        record = self.settings.model_dump(mode="json") | {"inputs": self.inputs()}
        seeds, free = [self.settings.seed], self.free(out)
        return Run.open(out, self.recipe, record, command, seeds, free=free, prompts=self.prompts)

    def free(self, out: Path) -> frozenset[str]:
        """Return the settings that may differ from those that a run was made with."""
        # Engines' names may, as long as the same model answers: `inputs` holds who that is.
        names = {*FREE, *(f"roles.{name}.engine" for name in type(self.settings.roles).model_fields)}
        names |= {f"{training}.{name}" for training in self.trainings for name in FREE_IN_TRAINING}
        # What training was refused or failed with may be mended as long as nothing is trained.
        return frozenset(names | {name for name, made in self.trainings.items() if not any(out.glob(made))})

    def carry_out(self, run: Run, engines: Engines, tell: Tell, most: int | None = None) -> Row:
        """Return the run's summary, read where it is there already."""
        if (run.path / "summary.json").exists():
            return read_json(run.path / "summary.json")
        for name in sorted(set(self.engine_names().values())):
            if is_remote(name):  # a server that is no help is known before a model is loaded
                engines.open(name)
        if world := self.world:
            run.json("gates.json", lambda: world.gates(world.model))
        return self.make(run, engines, trainer(tell, run), tell, most)

    def inputs(self) -> Row:
        """Return what the settings only name: digests of tasks, prompts and weights, and who answers for each role."""
        texts = {name: json.dumps(content).encode() for name, content in self.contents().items()}
        found: Row = {name: hashlib.sha256(text).hexdigest()[:16] for name, text in texts.items()}
        folder = Path(model_of(self.settings.policy)).expanduser()
        if folder.is_dir():  # the weights of a Hub id are the Hub's to keep
            found["policy"] = weights.digest(folder)
        return {**found, "engines": {role: without_options(name) for role, name in self.engine_names().items()}}


def read_settings(setup: type[Setup], kind: type[S], config: Path | None, overrides: Sequence[str]) -> S:
    """Return the settings: the paper's, under those of the policy's world if it is one, under the user's own.

    What cannot be trained is known at the door: before a run directory is made, a model loaded.
    """
    own = [config] if config else []
    policy = overlaid(own, overrides).get("policy", kind.model_fields["policy"].default)
    world = world_of(policy) if isinstance(policy, str) else None
    settings: Any = kind.load([world.preset(setup.recipe), *own] if world else own, overrides)
    model_of(settings.policy)
    for name in setup.trainings:
        training: Training = getattr(settings, name)
        job_settings(training)
        launched(training.launcher)  # a file that is not shipped
        reference_of(training)
        check_trackers(training.report_to)
    return settings


def world_with(name: str, part: str, recipe: str) -> World | None:
    """Return the world that a setting names, which must have what the recipe needs of it: `tasks`, or a `family`.

    None: it names none. Raises SettingsError for a world that is for other recipes.
    """
    world = world_of(name)
    if world and getattr(world, part) is None:
        raise SettingsError(f"tasks = {name!r}: this world is for {', '.join(world.recipes)}, not for {recipe}")
    return world


def check_worlds(tasks: str, engines: Mapping[str, str]) -> None:
    """Refuse a world's models for anything but its own tasks: they have words for nothing else.

    `engines` are named by the settings that name them.
    """
    for what, name in engines.items():
        world = world_of(name)
        if world and tasks != f"world:{world.name}":
            raise SettingsError(
                f"{what} = {name!r} has words for tasks = 'world:{world.name}' alone, not for {tasks!r}: "
                f"name a model of your own, {what} = hf:ID for one"
            )


def prompts_folder(name: str, own: Path) -> Path:
    """Return the folder that the setting `prompts` names; where it names none, the recipe's `own`."""
    world = world_of(name)
    return world.prompts if world else Path(name) if name else own


def to_train(rows: float, training: Training) -> float:
    """Return what a training of so many rows has to do: tokens where it is told in tokens, else rows."""
    return training.tokens or rows * training.epochs


def was_trained(checkpoint: Path, rows: float, training: Training) -> float:
    """Return what a training of so many rows did, in the unit of `to_train`."""
    return read_json(checkpoint / "training.json")["tokens"] if training.tokens else rows * training.epochs


def count(run: Run, stage: str) -> int:
    """Return the lines of a stage, and what failed in it."""
    return len(read_lines(run.path / stage)) + len(run.failures.get(stage, []))


def in_part(training: Training) -> Training:
    """Return the settings to try a training by: in epochs, for so many tokens would be as many for a few rows."""
    return training.model_copy(update={"tokens": None, "report_to": ()})


def job_settings(training: Training) -> SFTSettings | DPOSettings:
    """Return what the training process is told: everything but how it is launched, and by what it is anchored."""
    if isinstance(training, Preference):
        return DPOSettings.read(training.model_dump(exclude={"launcher", "report_to", "reference", "normaliser"}))
    return SFTSettings.read(training.model_dump(exclude={"launcher", "report_to"}))


def reference_of(training: Training) -> str:
    """Return the model that a training is anchored to; empty: the one it starts from, or none.

    `base` is the loop's to name. Raises EngineError for an engine whose model cannot be opened by a trainer.
    """
    if not isinstance(training, Preference) or training.reference in ("", "base"):
        return ""
    return model_of(training.reference)


def trainer(tell: Tell, run: Run) -> Trainer:
    """Return what trains a policy: a job in a process of its own, by `dpo` where the settings are a `Preference`."""

    def train(model: str, rows: Path, checkpoint: Path, settings: Training, seed: int) -> None:
        told = tracking(run, checkpoint, settings.report_to)
        job = Job(model_of(model), rows, checkpoint, seed, job_settings(settings), reference_of(settings), told)
        about = {"event": "training", "checkpoint": str(checkpoint)}
        run_job(job, settings.launcher, on_log=lambda event: tell({**about, **event}))

    return train
