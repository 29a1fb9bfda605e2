"""What a run is going to use, and what is found when that is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from sparring.engines.weights import folder_of
from sparring.errors import SparringError
from sparring.training.settings import TrainingSettings
from sparring.worlds import model_of

State = Literal["ok", "miss", "skip"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check came to."""

    name: str
    state: State
    found: str
    to_do: str = ""
    """What would mend it; empty unless missed."""


@dataclass(frozen=True, slots=True)
class Job:
    """A kind of training that the run does."""

    settings: TrainingSettings
    launcher: Sequence[str] = ()
    checkpoints: int = 1
    """How often it is done."""
    reference: str = ""
    """Of pairs: the model that they are anchored to; empty for the one that is trained."""


@dataclass(frozen=True)
class Plumbing:
    """What a run is going to use."""

    policy: str
    """Engine that is trained, and that scores."""
    engines: Mapping[str, str]
    """The engine of each role, by name; the policy's among them. Empty: not named yet."""
    open: Callable[[str], Any]
    """Opens an engine, once."""
    jobs: Mapping[str, Job]
    """Its trainings, by the settings that tell how."""
    place: Path
    """The run's directory, there or not."""
    max_lora_rank: int | None = None
    """Of the server that the policy's adapters are loaded on; None: there is none."""

    failed: dict[str, SparringError] = field(default_factory=lambda: dict[str, SparringError]())
    """Engines that could not be opened, by name: they are not tried twice."""

    def engine(self, name: str) -> Any:
        """Return the engine of that name. Raises SparringError."""
        if name in self.failed:
            raise self.failed[name]
        try:
            return self.open(name)
        except SparringError as error:
            self.failed[name] = error
            raise

    @cached_property
    def model(self) -> Path | None:
        """The folder with the files of the policy's model; None where they are not on this machine."""
        return folder_of(model_of(self.policy))

    @cached_property
    def template(self) -> Any:
        """The chat template as the trainer reads it. Raises EngineError."""
        from sparring.engines.http import load_template

        return load_template(model_of(self.policy), f"the trainer of {self.policy!r}")


def gigabytes(count: float) -> str:
    """Return a number of bytes as people read it."""
    return f"{count / 1e9:,.2f} GB"
