"""Where a training that was killed goes on: its optimiser steps, saved beside the checkpoint until that is whole.

CHECKPOINT.steps/ holds `job.json`, which says whose steps they are, and `step-N/` as the Trainer saves it: weights,
optimiser, learning rate, random numbers, what was logged, and the seconds that it had taken. A folder has that name
only when all of it is on disk.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparring.files import rename_whole, write_whole

OWNER = "job.json"
UNSEALED = "checkpoint"
"""The Trainer's own name for a step that it writes: checkpoint-N."""
SECONDS = "seconds.json"


@dataclass(frozen=True, slots=True)
class Steps:
    """The saved steps of one training."""

    folder: Path

    def are_of(self, job: Mapping[str, Any]) -> bool:
        """Tell whether they were saved by a job of this identity."""
        owner = self.folder / OWNER
        return owner.is_file() and owner.read_bytes() == _text(job)

    def claim(self, job: Mapping[str, Any]) -> None:
        """Keep the whole steps of this job, and throw away all else that a killed one has left."""
        if self.are_of(job):
            for part in self.folder.glob(f"{UNSEALED}-*"):
                shutil.rmtree(part)
            return
        self.remove()
        self.folder.mkdir(parents=True)
        write_whole(self.folder / OWNER, lambda path: _write(path, job))

    def last(self) -> int | None:
        """Return the last step that is whole; None where there is none."""
        return max(self._whole(), default=None)

    def at(self, step: int) -> Path:
        """Return the folder of a step that is whole."""
        return self.folder / f"step-{step}"

    def seconds(self, step: int) -> float:
        """Return how long the training had taken until then."""
        return json.loads((self.at(step) / SECONDS).read_text(encoding="utf-8"))

    def seal(self, step: int, seconds: float) -> None:
        """Say that the step which the Trainer has written is whole, after so many seconds; remove those before it."""
        before, written = self._whole(), self.folder / f"{UNSEALED}-{step}"
        (written / SECONDS).write_text(json.dumps(seconds), encoding="utf-8")
        rename_whole(written, self.at(step))
        for each in before:
            shutil.rmtree(self.at(each))

    def remove(self) -> None:
        """Remove them, whose they are first: what is left of them is then nobody's."""
        (self.folder / OWNER).unlink(missing_ok=True)
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _whole(self) -> list[int]:
        return [int(part.name.removeprefix("step-")) for part in self.folder.glob("step-*")]


def _text(job: Mapping[str, Any]) -> bytes:
    return json.dumps(job, indent=1, sort_keys=True).encode()


def _write(path: Path, job: Mapping[str, Any]) -> None:
    path.write_bytes(_text(job))
