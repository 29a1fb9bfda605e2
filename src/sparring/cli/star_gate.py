"""What `run`, `plan` and `doctor` need to know of STaR-GATE before its first call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from sparring.cli.setup import (
    Setup,
    Tell,
    in_part,
    prompts_folder,
    read_settings,
    to_train,
    was_trained,
    world_with,
)
from sparring.files import Row, read_lines
from sparring.loop import Trainer
from sparring.opening import Engines
from sparring.recipes import star_gate as recipe
from sparring.recipes.star_gate import StarGate, StarGateLoop, turns_of
from sparring.rollouts.situation import persona_ids
from sparring.runs import Run
from sparring.tasks import SPLITS, Split, Splits, load_tasks
from sparring.worlds import world_of

PROMPTS = Path(recipe.__file__).parent / "prompts" / "star_gate"


@dataclass(frozen=True)
class StarGateSetup(Setup):
    """Settings, tasks and prompts."""

    settings: StarGate
    tasks: Splits
    texts: tuple[dict[str, str], list[str]]
    """The prompts by name, and the example personas."""

    recipe: ClassVar[str] = "star-gate"
    trainings: ClassVar[dict[str, str]] = {"training": "round-*/checkpoint"}

    @classmethod
    def read(cls, config: Path | None, overrides: Sequence[str]) -> Self:
        settings = read_settings(cls, StarGate, config, overrides)
        world = world_with(settings.tasks, "tasks", cls.recipe)
        told = world and world.tasks
        tasks = told() if told else load_tasks(settings.tasks, split_sizes=settings.task_splits)
        return cls(settings, tasks, recipe.read_texts(settings, prompts_folder(settings.prompts, PROMPTS)))

    def trial(self) -> Self:
        """Return a setup that makes every kind of stage once, with m_0 throughout, which must be told to ask."""
        changes = {"rounds": 1, "elicit": "always", "max_failed": 1.0, "training": in_part(self.settings.training)}
        return replace(self, settings=self.settings.model_copy(update=changes))

    def sizes(self) -> dict[str, float]:
        return sizes(self.settings, self.tasks)

    def done(self, run: Run) -> dict[str, float]:
        return done(self.settings, run)

    def checkpoints(self) -> dict[str, int]:
        return {"training": self.settings.rounds}

    @property
    def prompts(self) -> Mapping[str, str]:
        return self.texts[0]

    def contents(self) -> dict[str, object]:
        rows = [(task.text, task.kind, task.split) for split in self.tasks.values() for task in split]
        return {"prompts": self.texts, "tasks": rows}

    def make(self, run: Run, engines: Engines, train: Trainer, tell: Tell, most: int | None) -> Row:
        reader = world_of(self.settings.tasks)
        loop = StarGateLoop.start(self.settings, run, engines, self.texts, reader and reader.health, tell, most)
        return recipe.star_gate(loop, self.tasks, train)


def sizes(settings: StarGate, tasks: Splits) -> dict[str, float]:
    """Return how much each stage does if nothing fails: turns where it is turns that cost, else rollouts or rows."""
    people = {split: persona_ids(split, count) for split, count in zip(SPLITS, settings.personas, strict=True)}
    pairs = {split: [f"{task.id} {who}" for who in people[split] for task in tasks[split]] for split in SPLITS}
    turns = {split: sum(turns_of(settings, pair) for pair in pairs[split]) for split in SPLITS}
    found: dict[str, float] = {
        "personas.jsonl": sum(settings.personas),
        "situations.jsonl": sum(len(those) for those in pairs.values()),
    }
    if settings.check_content:
        found["personas-checked.jsonl"] = sum(settings.personas)
    for t in range(settings.rounds + 1):
        test = len(pairs["test"])
        found |= {
            f"round-{t}/test-conversations.jsonl": turns["test"] * settings.test_samples,
            f"round-{t}/test-signals.jsonl": test * settings.test_samples,
            f"round-{t}/test-answers.jsonl": test * (3 if t else 2),
            f"round-{t}/test-verdicts.jsonl": test * (3 if t else 1),
        }
        if t == settings.rounds:
            break
        split: Split = "a" if t % 2 == 0 else "b"
        found |= {
            f"round-{t + 1}/conversations.jsonl": turns[split] * settings.samples,
            f"round-{t + 1}/signals.jsonl": len(pairs[split]) * settings.samples,
            f"round-{t + 1}/selected.jsonl": len(pairs[split]) * settings.keep,
            f"round-{t + 1}/train.jsonl": len(pairs[split]) * settings.keep,
            f"round-{t + 1}/checkpoint": to_train(len(pairs[split]) * settings.keep, settings.training),
        }
    return found | {"round-0/test-controls.jsonl": len(pairs["test"])}


def done(settings: StarGate, run: Run) -> dict[str, float]:
    """Return how much each stage of a run did, in the units of `sizes`."""
    failures = run.failures
    found: dict[str, float] = {}
    for stage in run.seconds():
        if not stage.endswith(".jsonl"):
            continue
        ids = [str(row.get("id")) for row in read_lines(run.path / stage)]
        ids += [failure.id for failure in failures.get(stage, [])]
        spoken = stage.endswith("conversations.jsonl")
        found[stage] = sum(turns_of(settings, id.rpartition(" #")[0]) for id in ids) if spoken else len(ids)
        checkpoint = stage.replace("train.jsonl", "checkpoint")
        if checkpoint != stage and (run.path / checkpoint).exists():
            found[checkpoint] = was_trained(run.path / checkpoint, len(ids), settings.training)
    return found
