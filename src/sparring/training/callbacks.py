"""Who is told of a training as the Trainer goes: the process that waits for it, trackers, and what saves its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from transformers import Trainer, TrainerCallback
from transformers.integrations.integration_utils import get_reporting_integration_callbacks

from sparring.training.settings import Tracking, failures_of
from sparring.training.steps import UNSEALED, Steps

Emit = Callable[[dict[str, Any]], None]


class Reporting(TrainerCallback):
    """The Trainer's own trackers, which may fail without failing the training."""

    def __init__(self, trackers: Sequence[str], emit: Emit):
        self.emit = emit
        self.open: dict[str, TrainerCallback] = {}
        for name in trackers:
            self._try(name, partial(self._open, name))

    def _open(self, name: str) -> None:
        (kind,) = get_reporting_integration_callbacks([name])
        self.open[name] = kind()

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self._pass("on_train_begin", args, state, control, **rest)

    def on_log(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self._pass("on_log", args, state, control, **rest)

    def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self._pass("on_train_end", args, state, control, **rest)
        if "wandb" in self.open:
            self._try("wandb", _end_of_wandb)

    def _pass(self, moment: str, *told: Any, **rest: Any) -> None:
        for name, callback in list(self.open.items()):
            self._try(name, partial(getattr(callback, moment), *told, **rest))

    def _try(self, name: str, do: Callable[[], object]) -> None:
        try:
            do()
        except failures_of(name) as error:
            self.open.pop(name, None)
            self.emit({"tracker": name, "failed": str(error) or repr(error)})


def _end_of_wandb() -> None:
    """End the run, which the Trainer leaves open; the service that keeps it may be that of the process that waits."""
    import wandb

    wandb.finish()


class Progress(TrainerCallback):
    """Hands each logged loss on, from the first process only."""

    def __init__(self, emit: Emit):
        self.emit = emit

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if state.is_world_process_zero and logs:
            names = {"loss": "loss", "learning_rate": "learning_rate", "eval_loss": "validation_loss"}
            found = {new: logs[old] for old, new in names.items() if old in logs}
            if found:
                self.emit({"step": state.global_step, "of": state.max_steps, **found})


class Saving(TrainerCallback):
    """Has steps saved, each whole before the next one begins.

    The last step of an epoch is saved after its validation, and that of the training not at all: there the Trainer
    would go on with one step too many.
    """

    def __init__(self, steps: Steps, every: int, trainer: Trainer, started: float):
        """`started` is by `time.perf_counter`."""
        self.steps, self.every, self.trainer, self.started = steps, every, trainer, started

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_save = self._is_due(state) and state.epoch % 1 != 0

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_save = self._is_due(state) and state.epoch % 1 == 0

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.accelerator.wait_for_everyone()  # each process writes a part
        if state.is_world_process_zero:
            (self.steps.folder / f"{UNSEALED}-{state.global_step}" / "training_args.bin").unlink(missing_ok=True)
            self.steps.seal(state.global_step, time.perf_counter() - self.started)

    def _is_due(self, state: Any) -> bool:
        return state.global_step % self.every == 0 and state.global_step < state.max_steps


def followers(emit: Emit, tracking: Tracking | None) -> list[TrainerCallback]:
    """Return who is told of a training as it goes: the process that waits for it, and the trackers."""
    return [Progress(emit), *([Reporting(tracking.report_to, emit)] if tracking else [])]
