"""What `run`, `plan` and `doctor` need to know of STaR-GATE before its first call."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from sparring.budget import Budget
from sparring.engines import is_remote, weights, without_options
from sparring.files import Row, read_json, read_lines
from sparring.opening import Engines
from sparring.recipes import star_gate as recipe
from sparring.recipes.star_gate import StarGate, StarGateLoop, turns_of
from sparring.rollouts.situation import persona_ids
from sparring.runs import Run
from sparring.settings import Training
from sparring.tasks import SPLITS, Split, Splits, load_tasks
from sparring.training.job import Job, run_job
from sparring.training.settings import SFTSettings
from sparring.worlds import World, model_of, world_of

Tell = Callable[[dict[str, Any]], None]
FREE = frozenset({"max_failed", "training.max_truncated", "training.rows_per_device", "vllm", "ledger"})
"""Settings with which a run may go on: they bound failures and memory or say where things run, and choose no result."""
ENGINES = frozenset(f"roles.{name}.engine" for name in recipe.Roles.model_fields)
"""So may engines' names, as long as the same model answers: `inputs` holds who that is."""


@dataclass(frozen=True)
class StarGateSetup:
    """Settings, tasks and prompts: all that can be wrong with what the user wrote is known once this is there."""

    settings: StarGate
    tasks: Splits
    texts: tuple[dict[str, str], list[str]]
    """The prompts by name, and the example personas."""

    @classmethod
    def read(cls, config: Path | None, overrides: Sequence[str]) -> Self:
        """Return the settings: the paper's, under those of the policy's world if it is one, under the user's own."""
        own = [config] if config else []
        world = world_of(StarGate.load(own, overrides).policy)
        settings = StarGate.load([world.preset("star-gate"), *own] if world else own, overrides)
        # What cannot be trained, or be read, is known at the door: before a run directory is made, a model loaded.
        model_of(settings.policy)
        sft_settings(settings.training).accumulation(devices=1)
        told = world_of(settings.tasks)
        tasks = told.tasks() if told else load_tasks(settings.tasks, split_sizes=settings.task_splits)
        return cls(settings, tasks, recipe.read_texts(settings, _prompts(settings)))

    @property
    def world(self) -> World | None:
        return world_of(self.settings.policy)

    def engines(self, run: str, budget: Budget | None = None) -> Engines:
        from sparring.engines.vllm import Serving

        told, lora = self.settings.vllm, sft_settings(self.settings.training).lora
        serving = Serving(**told.model_dump(exclude={"stay"}))
        if lora:  # what is trained here must fit the server
            serving = replace(serving, max_lora_rank=max(serving.max_lora_rank, lora.r))
        return Engines(run, budget=budget, keep=self.settings.ledger, serving=serving, stay=told.stay)

    def engine_names(self) -> dict[str, str]:
        """Return whose engine each role speaks through."""
        players = {name: player for name in recipe.Roles.model_fields if (player := getattr(self.settings.roles, name))}
        names = {name: player.engine for name, player in players.items()} | {"policy": self.settings.policy}
        return {name: self.settings.policy if engine == "base" else engine for name, engine in names.items()}

    def trial(self) -> Self:
        """Return a setup that makes every kind of stage once, with m_0 throughout, which must be told to ask."""
        changes = {"rounds": 1, "elicit": "always", "max_failed": 1.0}
        return replace(self, settings=self.settings.model_copy(update=changes))

    def open_run(self, out: Path, command: str) -> Run:
        """Make the run's directory, or go on with it. Raises RunError where it is another run's."""
        record = self.settings.model_dump(mode="json") | {"inputs": self.inputs()}
        # What training was refused or failed with may be mended as long as nothing is trained.
        free = FREE | ENGINES | (set() if any(out.glob("round-*/checkpoint")) else {"training"})
        return Run.open(out, "star-gate", record, command, [self.settings.seed], free=frozenset(free))

    def carry_out(self, run: Run, engines: Engines, tell: Tell, most: int | None = None) -> Row:
        """Run the recipe to its summary, every stage or (`most`) a part of each; one that is done is read."""
        if (run.path / "summary.json").exists():
            return read_json(run.path / "summary.json")
        for name in sorted(set(self.engine_names().values())):
            if is_remote(name):  # a server that is no help is known before a model is loaded
                engines.open(name)
        if world := self.world:
            run.json("gates.json", lambda: world.gates(world.model))
        reader = world_of(self.settings.tasks)
        health = reader and reader.health
        loop = StarGateLoop.start(self.settings, run, engines, self.texts, health, tell, most)
        return recipe.star_gate(loop, self.tasks, trainer(tell))

    def inputs(self) -> Row:
        """Return what the settings only name: digests of tasks, prompts and weights, and who answers for each role."""
        rows = [(task.text, task.kind, task.split) for split in self.tasks.values() for task in split]
        contents = {"prompts": json.dumps(self.texts).encode(), "tasks": json.dumps(rows).encode()}
        found = {name: hashlib.sha256(content).hexdigest()[:16] for name, content in contents.items()}
        folder = Path(model_of(self.settings.policy)).expanduser()
        if folder.is_dir():  # the weights of a Hub id are the Hub's to keep
            found["policy"] = weights.digest(folder)
        return {**found, "engines": {role: without_options(name) for role, name in self.engine_names().items()}}


def sft_settings(training: Training) -> SFTSettings:
    """Return what the training process is told: everything but how it is launched."""
    return SFTSettings.read(training.model_dump(exclude={"launcher"}))


def trainer(tell: Tell) -> Any:
    """Return what trains a policy: a job in a process of its own."""

    def train(model: str, rows: Path, checkpoint: Path, settings: Training, seed: int) -> None:
        job = Job(model_of(model), rows, checkpoint, seed, sft_settings(settings))
        about = {"event": "training", "checkpoint": str(checkpoint)}
        run_job(job, settings.launcher, on_log=lambda event: tell({**about, **event}))

    return train


def _prompts(settings: StarGate) -> Path:
    world = world_of(settings.prompts)
    if world:
        return world.prompts
    return Path(settings.prompts) if settings.prompts else Path(recipe.__file__).parent / "prompts" / "star_gate"


def sizes(settings: StarGate, tasks: Splits) -> dict[str, int]:
    """Return how much each stage does if nothing fails: turns where it is turns that cost, else rollouts or rows."""
    people = {split: persona_ids(split, count) for split, count in zip(SPLITS, settings.personas, strict=True)}
    pairs = {split: [f"{task.id} {who}" for who in people[split] for task in tasks[split]] for split in SPLITS}
    turns = {split: sum(turns_of(settings, pair) for pair in pairs[split]) for split in SPLITS}
    found = {"personas.jsonl": sum(settings.personas), "situations.jsonl": sum(len(those) for those in pairs.values())}
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
            f"round-{t + 1}/checkpoint": len(pairs[split]) * settings.keep * settings.training.epochs,
        }
    return found | {"round-0/test-controls.jsonl": len(pairs["test"])}


def done(settings: StarGate, run: Run) -> dict[str, int]:
    """Return how much each stage of a run did, in the units of `sizes`."""
    failures = run.failures
    found: dict[str, int] = {}
    for stage in run.seconds():
        if not stage.endswith(".jsonl"):
            continue
        ids = [str(row.get("id")) for row in read_lines(run.path / stage)]
        ids += [failure.id for failure in failures.get(stage, [])]
        spoken = stage.endswith("conversations.jsonl")
        found[stage] = sum(turns_of(settings, id.rpartition(" #")[0]) for id in ids) if spoken else len(ids)
        if stage.endswith("/train.jsonl"):
            found[stage.replace("train.jsonl", "checkpoint")] = len(ids) * settings.training.epochs
    return found
