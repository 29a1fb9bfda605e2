"""Training a policy within a loop: which rows, from which model, into which place, anchored to what."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sparring.engines.scripted import Scripted
from sparring.loop import Loop
from sparring.opening import Engines
from sparring.runs import Run
from sparring.settings import Preference, Training
from sparring.stages import Stages
from sparring.training.canary import Canary, write_canary
from sparring.types import user


@dataclass
class Settings:
    init: str = "previous"
    policy: str = "hf:base"
    training: Training = field(default_factory=Training)
    seed: int = 3


@dataclass
class Trained:
    """A loop whose engines all think alike, and what it was told to train."""

    folder: Path
    settings: Settings = field(default_factory=Settings)
    told: list[tuple[str, str, str, Training]] = field(default_factory=list)

    def make(self, model: str, rows: Path, checkpoint: Path, settings: Training, seed: int) -> None:
        self.told.append((model, *(p.relative_to(self.folder).as_posix() for p in (rows, checkpoint)), settings))
        checkpoint.mkdir(parents=True)
        write_canary(checkpoint, [Canary([user("Hi.")], "Hello.", -1.0, 1)])

    engines: Opened = field(default_factory=lambda: Opened("test"))

    def train(self, *given: Any, most: int | None = None, policy: str = "hf:m_0", **named: Any) -> str:
        with Run.open(self.folder, "spar", {}, "", [3]) as run:
            stages = Stages(run, lambda _: None, 0.0, run / "round-1", most)
            loop = Loop(self.settings, {}, stages, self.engines)  # type: ignore[arg-type]
            return loop.train(stages, policy, self.make, *given, **named)


class Opened(Engines):
    """Engines that exist for any name, and are alike."""

    def open(self, name: str) -> Any:
        return self.opened.setdefault(name, Scripted(lambda _: "", lambda chat, target: -1.0))


@pytest.fixture
def trained(tmp_path: Path) -> Trained:
    return Trained(tmp_path / "run")


def test_a_round_trains_on_its_rows_into_its_checkpoint(trained: Trained) -> None:
    after = trained.train()
    assert after == f"hf:{trained.folder / 'round-1' / 'checkpoint'}"
    assert trained.told == [("hf:m_0", "round-1/train.jsonl", "round-1/checkpoint", Training())]


def test_a_round_may_train_several_from_files_of_their_own(trained: Trained) -> None:
    pairs = Preference(beta=0.5)
    after = trained.train(pairs, rows="actor.jsonl", out="actor")
    assert after == f"hf:{trained.folder / 'round-1' / 'actor'}"
    trained.train(rows="refiner.jsonl", out="refiner")
    assert [told[1:] for told in trained.told] == [
        ("round-1/actor.jsonl", "round-1/actor", pairs),
        ("round-1/refiner.jsonl", "round-1/refiner", Training()),
    ]
    trained.train(pairs, rows="actor.jsonl", out="actor")
    assert len(trained.told) == 2  # what is there is kept


def test_a_reference_named_base_is_the_policy_as_it_was_given(trained: Trained) -> None:
    trained.train(Preference(reference="base"))
    [(start, _, _, told)] = trained.told
    assert start == "hf:m_0" and isinstance(told, Preference) and told.reference == "hf:base"


def test_a_trial_goes_on_with_the_policy_that_it_had(trained: Trained) -> None:
    assert trained.train(most=2) == "hf:m_0" and len(trained.told) == 1


def test_what_was_trained_takes_the_place_of_the_engine_that_it_was_trained_from(trained: Trained) -> None:
    trained.settings.policy, trained.engines.stay = "vllm:base", True  # nobody else lets an adapter go
    for name in ("vllm:base", "vllm:m_0", "vllm:teacher"):
        trained.engines.open(name)
    after = trained.train(policy="vllm:m_0")
    assert list(trained.engines.opened) == ["vllm:base", "vllm:teacher", after]
    trained.train(policy="vllm:base", out="other")
    assert "vllm:base" in trained.engines.opened, "the base scores, and plays other roles"
