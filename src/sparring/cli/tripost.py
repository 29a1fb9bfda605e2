"""What `run`, `plan` and `doctor` need to know of TriPosT before its first call."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar, Literal, Self

from sparring.cli.setup import (
    Setup,
    Tell,
    check_worlds,
    count,
    in_part,
    prompts_folder,
    read_settings,
    to_train,
    was_trained,
    world_with,
)
from sparring.errors import SettingsError
from sparring.evals.correcting import votes_needed
from sparring.files import Row, read_lines
from sparring.loop import Trainer
from sparring.opening import Engines
from sparring.recipes import tripost as recipe
from sparring.recipes.tripost import BARE, EDITED, TriPosT, TriPosTLoop
from sparring.rollouts.trajectory import Trajectory
from sparring.runs import Run
from sparring.select import draw
from sparring.tasks.bbh import load_bbh
from sparring.tasks.exercise import Exercise, Family, exercises
from sparring.tasks.families import family_of
from sparring.tasks.own import load_own

PROMPTS = Path(recipe.__file__).parent / "prompts" / "tripost"


@dataclass(frozen=True)
class TriPosTSetup(Setup):
    """Settings, exercises and prompts."""

    settings: TriPosT
    family: Family
    questions: list[Exercise]
    test: list[Exercise]
    texts: dict[str, str]
    """The prompts by name."""

    recipe: ClassVar[str] = "tripost"
    trainings: ClassVar[dict[str, str]] = {"rationale": "round-0/checkpoint", "training": "round-[1-9]*/checkpoint"}

    @classmethod
    def read(cls, config: Path | None, overrides: Sequence[str]) -> Self:
        settings = read_settings(cls, TriPosT, config, overrides)
        family, questions, test = read_exercises(settings)
        named = {"policy": settings.policy, "roles.teacher.engine": settings.roles.teacher.engine}
        check_worlds(settings.tasks, named)
        recipe.check_teacher(settings, family)
        texts = recipe.read_texts(settings, prompts_folder(settings.prompts, PROMPTS), family)
        setup = cls(settings, family, questions, test, texts)
        setup.check()
        return setup

    def check(self) -> None:
        """Refuse what these exercises have not."""
        settings, name = self.settings, self.settings.tasks
        if settings.evidence and self.family.evidence is None:
            raise SettingsError(f"evidence = true: nothing can work out the steps of {name!r} anew")
        if settings.learn_from in BARE and not self.golden:
            raise SettingsError(f"learn_from = {settings.learn_from!r}: no question of {name!r} has a gold rationale")
        check_mistakes(settings.mistakes, self.family)

    @property
    def golden(self) -> int:
        """How many gold rationales there are to learn from."""
        known = sum(question.rationale is not None for question in self.questions)
        return known if self.settings.gold is None else min(known, self.settings.gold)

    def players(self) -> dict[str, str]:
        return {name: engine for name, engine in super().players().items() if engine}

    def checkpoints(self) -> dict[str, int]:
        rounds = 0 if self.settings.learn_from == "none" else self.settings.rounds
        return {"rationale": int(self.golden > 0), "training": rounds}

    def trial(self) -> Self:
        """Return a setup that makes every kind of stage once, with the policy as it was given throughout."""
        trainings = {name: in_part(getattr(self.settings, name)) for name in self.trainings}
        changes = {"rounds": 1, "max_failed": 1.0, **trainings}
        return replace(self, settings=self.settings.model_copy(update=changes))

    @property
    def prompts(self) -> Mapping[str, str]:
        return self.texts

    def contents(self) -> dict[str, object]:
        return {"prompts": self.texts, "tasks": self.rows()}

    def rows(self) -> list[Row]:
        """Return every exercise, with the part that it is of."""
        parts = {"train": self.questions, "test": self.test}
        return [{"part": part, **asdict(exercise)} for part, those in parts.items() for exercise in those]

    def make(self, run: Run, engines: Engines, train: Trainer, tell: Tell, most: int | None) -> Row:
        run.lines("exercises.jsonl", self.rows)
        loop = TriPosTLoop.start(self.settings, run, engines, self.texts, self.family, tell, most)
        return recipe.tripost(loop, self.questions, self.test, train)

    def sizes(self) -> dict[str, float]:
        """Return how much each stage does: rollouts, and of training those that its rows are made of, or rows."""
        settings, found = self.settings, self._round_0()
        tried = len(self.questions) * settings.samples
        for t in range(1, settings.rounds + 1):
            rows = self.golden if settings.learn_from in BARE else tried
            if samples(settings, t):
                found[f"round-{t}/attempts.jsonl"] = tried
            if samples(settings, t) and settings.learn_from in EDITED:
                found[f"round-{t}/trajectories.jsonl"] = tried
            if settings.learn_from != "none":
                found[f"round-{t}/train.jsonl"] = rows
                found[f"round-{t}/checkpoint"] = to_train(rows, settings.training)
            found |= self._test(t)
        return found

    def _round_0(self) -> dict[str, float]:
        if not self.golden:
            return self._test(0)
        rows = {"round-0/train.jsonl": self.golden}
        return {**rows, "round-0/checkpoint": to_train(self.golden, self.settings.rationale), **self._test(0)}

    def _test(self, t: int) -> dict[str, float]:
        found: dict[str, float] = {f"round-{t}/test-trajectories.jsonl": len(self.test)}
        if some := min(self.settings.test_sampled, self.settings.test_questions, len(self.test)):
            found[f"round-{t}/test-sampled.jsonl"] = some
            if t in (0, self.settings.rounds):
                found[f"round-{t}/test-votes.jsonl"] = some
        return found

    def done(self, run: Run) -> dict[str, float]:
        found: dict[str, float] = {stage: count(run, stage) for stage in run.seconds() if stage.endswith(".jsonl")}
        for t in range(self.settings.rounds + 1):
            votes, rows = f"round-{t}/test-votes.jsonl", f"round-{t}/train.jsonl"
            if votes in found:
                found[votes] /= self._votes(run, f"round-{t}")
            if rows in found and t and self.settings.learn_from not in BARE:
                found[rows] = self._made_of(run, t)
            if (checkpoint := run.path / f"round-{t}" / "checkpoint").exists():
                training = self.settings.training if t else self.settings.rationale
                found[f"round-{t}/checkpoint"] = was_trained(checkpoint, found[rows], training)
        return found

    def _votes(self, run: Run, folder: str) -> int:
        """Return how many votes were cast for each question."""
        by_id = {exercise.id: exercise for exercise in self.test}
        sampled = [Trajectory.from_row(row, by_id) for row in read_lines(run.path / folder / "test-sampled.jsonl")]
        return votes_needed(sampled) - 1

    def _made_of(self, run: Run, t: int) -> float:
        """Return how many attempts the training rows of a round were made of.

        Of a trial's: as many as its rows are worth, for it leaves some out, and gold does not grow with attempts. Fewer
        where gold was left out that said what was learned already.
        """
        first = t if samples(self.settings, t) else 1
        facts = {row["stage"]: row for row in run.journal()}[f"round-{first}/train.jsonl"]
        tried, whole = count(run, f"round-{first}/attempts.jsonl"), len(self.questions) * self.settings.samples
        found = {kind: n if kind == "gold" else n * whole / tried for kind, n in facts["found"].items()}
        rows = balanced(found, self.settings.ratio)
        return whole * sum(facts["learned"].values()) / rows if rows else tried


def check_mistakes(asked: Sequence[str], family: Family) -> None:
    """Raise SettingsError, with the nearest name, for a kind of mistake that the family's script does not make."""
    for kind in asked:
        if kind not in family.mistakes:
            close = get_close_matches(kind, family.mistakes, n=1)
            known = f"known are {', '.join(family.mistakes)}" if family.mistakes else "its script makes none"
            hint = f"did you mean {close[0]!r}?" if close else known
            raise SettingsError(f"mistakes: {family.name!r} has no kind {kind!r}; {hint}")


def read_exercises(settings: TriPosT) -> tuple[Family, list[Exercise], list[Exercise]]:
    """Return the family, and the exercises to train and to test on.

    Of a file's own there are as many as it has, or as the settings say. Raises UsageError.
    """
    world, name, seed = world_with(settings.tasks, "family", "tripost"), settings.tasks, settings.seed
    sizes = (settings.questions, settings.test_questions)
    is_file = world is None and (Path(name).is_file() or Path(name).suffix in (".jsonl", ".json"))
    if settings.bbh and (world or is_file):
        raise SettingsError(f"bbh = {settings.bbh!r}: its questions are of families, not of tasks = {name!r}")
    if is_file:
        own = load_own(Path(name))
        questions = draw(own.train, sizes[0], random.Random(f"{seed}/train"))
        return own.family, questions, draw(own.test, sizes[1], random.Random(f"{seed}/test"))
    family = (world and world.family) or family_of(name)
    outside = load_bbh(Path(settings.bbh), family.name) if settings.bbh else []
    return family, exercises(family, "train", sizes[0], seed), [*exercises(family, "test", sizes[1], seed), *outside]


def samples(settings: TriPosT, t: int) -> bool:
    """Say whether attempts are sampled to be learned from in a round, counted from 1."""
    learns = settings.learn_from not in (*BARE, "none")
    return learns and (t == 1 or settings.interaction == "every round")


def balanced(found: Mapping[str, float], ratio: float | Literal["all"]) -> float:
    """Return how many rows are kept of those found, by kind, as `lessons.balance` does.

    An upper bound: which gold rows say what is learned already, and are left out, cannot be known from counts.
    """
    if ratio == "all":
        return sum(found.values())
    mends, alarms, gold = (found.get(kind, 0) for kind in ("improvement", "false alarm", "gold"))
    right = min(max(math.ceil(mends / ratio), alarms), alarms + found.get("non-improvement", 0))
    others = sum(
        n for kind, n in found.items() if kind not in ("improvement", "false alarm", "non-improvement", "gold")
    )
    return others + mends + right + min(right, gold)
