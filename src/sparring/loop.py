"""What the loop of every recipe shares: its engines, who speaks through them, and how its policy is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from sparring.engines import trained
from sparring.engines.base import Generator, Scorer, Served
from sparring.errors import EngineError, SettingsError
from sparring.evals.summary import Against, E, verdicts
from sparring.flow import Role
from sparring.opening import Engines
from sparring.settings import Player, Preference, Training
from sparring.stages import Stages
from sparring.training.canary import check_canary
from sparring.types import user


class Trainer(Protocol):
    """Trains `model` on the rows of a file into a checkpoint folder."""

    def __call__(self, model: str, rows: Path, checkpoint: Path, settings: Training, seed: int) -> None: ...


class Common(Protocol):
    """Settings that all recipes have."""

    @property
    def policy(self) -> str: ...
    @property
    def init(self) -> Literal["base", "previous"]: ...
    @property
    def training(self) -> Training: ...
    @property
    def roll_back(self) -> bool: ...
    @property
    def seed(self) -> int: ...


@dataclass(frozen=True)
class Loop:
    """What the steps of a loop share: settings, prompts, engines, and the place where stages are kept."""

    settings: Common
    prompts: Mapping[str, str]
    stages: Stages
    engines: Engines
    """Opens engines by their names, each once."""

    @property
    def base(self) -> Any:
        """The policy as it was given."""
        return self.engines.open(self.settings.policy)

    def role(self, name: str, player: Player, instructions: str = "") -> Role:
        if not player.engine:
            raise SettingsError(f"roles.{name}.engine is not set: name hf:ID, or base to let m_0 play the {name}")
        engine: Generator = self.base if player.engine == "base" else self.engines.open(player.engine)
        return Role(name, engine, player.sampling(self.settings.seed), instructions)

    def check_engines(self, players: Mapping[str, Player], what_for: str) -> None:
        """Open everybody's engine: one that cannot be had, or be used, is known before the first call is paid for.

        `what_for` says what needs the policy's log-probs.
        """
        opened: dict[str, Any] = {"policy": self.base}
        if not isinstance(self.base, Scorer):
            raise EngineError(f"policy {self.settings.policy!r} cannot return log-probs, which {what_for} needs")
        if isinstance(self.base, Served):  # whether a server can is known once it has
            self.base.log_prob([[user("hello")]], ["hello"])
        opened |= {name: self.role(name, player).engine for name, player in players.items()}
        for name, engine in opened.items():
            if not isinstance(engine, Generator):
                raise EngineError(f"the engine of {name!r} cannot continue a chat")

    def went(self, found: Sequence[E], against: Against[E]) -> int:
        """Tell how the last round did, and return the round whose model the next begins from.

        That is the last one, or where it got worse and the settings roll back, the best before it.
        """
        last = verdicts(found, against, self.settings.roll_back)[-1]
        self.stages.tell({"event": "verdict", "round": len(found) - 1, "verdict": last.text})
        if last.rolled_back:
            self.engines.release()  # or the model that is left would stay beside the one that is gone back to
        return last.best if last.rolled_back else len(found) - 1

    def train(
        self,
        stages: Stages,
        policy: str,
        train: Trainer,
        training: Training | None = None,
        *,
        rows: str = "train.jsonl",
        out: str = "checkpoint",
        base: str = "",
    ) -> str:
        """Train on the file `rows` of the stages' folder into its folder `out`.

        Return that checkpoint as an engine's name, once the engine proves to hold it; the engine of the round before
        is let go. `training` stands in for the setting of that name; its class says how: `Training` learns chats,
        `Preference` learns pairs. `base` is the model as it was given, where that is not the policy.
        """
        settings, base = self.settings, base or self.settings.policy
        start = base if settings.init == "base" else policy
        told, read = _anchored(training or settings.training, base), stages.folder.path / rows

        def make(checkpoint: Path) -> None:
            self.engines.release()
            train(start, read, checkpoint, told, settings.seed)

        checkpoint = stages.folder.made(out, make)
        after = trained(base, checkpoint)
        check_canary(checkpoint, self.engines.open(after))
        if stages.most is not None:
            # A trial's few rows spoil a model: what it would do in the next round is nearer to what it does in this.
            return policy
        if policy not in (base, settings.policy):  # those score, and play other roles
            self.engines.let_go(policy)
        return after


def _anchored(training: Training, base: str) -> Training:
    """Return the settings with the reference by its own name."""
    if isinstance(training, Preference) and training.reference == "base":
        return training.model_copy(update={"reference": base})
    return training
