"""What `run`, `plan` and `doctor` need to know of SPaR before its first call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import ClassVar, Self

from sparring.cli.setup import (
    Setup,
    Tell,
    check_worlds,
    in_part,
    prompts_folder,
    read_settings,
    world_with,
)
from sparring.cli.spar_sizes import done, sizes
from sparring.engines import weights
from sparring.engines.scripted import Scripted
from sparring.errors import SettingsError
from sparring.evals.gauges import plain
from sparring.evals.instructed import Exam
from sparring.files import Row
from sparring.flow import Role
from sparring.loop import Trainer
from sparring.opening import Engines
from sparring.recipes import spar as recipe
from sparring.recipes.spar_loop import SPaRLoop
from sparring.recipes.spar_settings import Requirements, SPaR
from sparring.rollouts.refining import Refiner
from sparring.runs import Run
from sparring.select import draw
from sparring.signals.judge import Panel
from sparring.stages import read_prompts
from sparring.tasks.instructions import Instructed, Judged, Suite
from sparring.tasks.instructions.files import suite_of
from sparring.tasks.instructions.load import load_judged
from sparring.worlds import model_of

PROMPTS = Path(recipe.__file__).parent / "prompts" / "spar"


@dataclass(frozen=True)
class SPaRSetup(Setup):
    """Settings, instructions and prompts."""

    settings: SPaR
    suite: Suite
    instructions: list[Instructed]
    """To train on: first what a teacher shows, then round by round."""
    exam: Exam
    texts: dict[str, str]
    """The prompts by name."""

    recipe: ClassVar[str] = "spar"
    trainings: ClassVar[dict[str, str]] = {
        "bootstrap_training": "round-0/*r",  # actor, refiner
        "training": "round-[1-9]*/actor",
        "refiner_training": "round-[1-9]*/refiner",
    }

    @classmethod
    def read(cls, config: Path | None, overrides: Sequence[str]) -> Self:
        settings = read_settings(cls, SPaR, config, overrides)
        teacher = settings.roles.teacher.engine
        world = world_with(settings.tasks, "suite", cls.recipe)
        if world and (idle := sorted({"test", "judged"} & settings.model_fields_set)):
            value = getattr(settings, idle[0])
            raise SettingsError(f"{idle[0]} = {value!r}: tasks = {settings.tasks!r} brings its own; leave it out")
        suite = (world and world.suite) or suite_of(settings.tasks, settings.test, settings.judged or None)
        check_worlds(
            settings.tasks,
            {"policy": settings.policy, "refiner": settings.refiner, "roles.teacher.engine": teacher},
        )
        instructions = suite.draw("train", settings.needed, settings.seed)
        texts = read_texts(settings, prompts_folder(settings.prompts, PROMPTS))
        setup = cls(settings, suite, instructions, read_exam(settings, suite, instructions), texts)
        setup.check()
        return setup

    def check(self) -> None:
        """Refuse what these instructions have not."""
        settings, bare = self.settings, sum(not one.instructions for one in self.instructions)
        if settings.refiner:
            model_of(settings.refiner)
        if settings.judge == "checker" and (bare or settings.evolve):
            has = (
                "what a teacher makes of them has none"
                if settings.evolve
                else f"{bare} of {settings.tasks!r} have none"
            )
            raise SettingsError(f"judge = 'checker' takes instructions with checks: {has}")

    def players(self) -> dict[str, str]:
        return {name: engine for name, engine in super().players().items() if engine}

    def engine_names(self) -> dict[str, str]:
        refiner = self.settings.refiner or self.settings.policy
        return {**super().engine_names(), "judge": refiner, "refiner": refiner}

    def free(self, out: Path) -> frozenset[str]:
        learned = self.settings.learn_from == "sft" and any(out.glob(self.trainings["training"]))
        used = {"refiner_training": learned, "training": any(out.glob("round-[1-9]*/judge"))}  # a judge's pairs
        used |= dict.fromkeys(("judge_require", "judge_fails"), (out / "summary.json").exists())  # which says so
        return (super().free(out) | {"chosen_may_fall", "judge_require", "judge_fails"}) - {
            name for name, is_used in used.items() if is_used
        }

    def inputs(self) -> Row:
        folder = Path(model_of(self.settings.refiner or self.settings.policy)).expanduser()
        return {**super().inputs(), **({"refiner": weights.digest(folder)} if folder.is_dir() else {})}

    def checkpoints(self) -> dict[str, int]:
        settings = self.settings
        compared = settings.compares + settings.judge_pairs
        taught = settings.refiner_learns + (settings.learn_from == "sft")
        shown = (settings.bootstrap.actor > 0) + (settings.bootstrap.refiner > 0)
        times = {"training": settings.rounds * compared, "refiner_training": settings.rounds * taught}
        return {"bootstrap_training": shown, **times}

    def trial(self) -> Self:
        """Return a setup that makes every kind of stage once, with the models as they were given throughout."""
        trainings = {name: in_part(getattr(self.settings, name)) for name in self.trainings}
        changes = {
            "rounds": 1,
            "max_failed": 1.0,
            "chosen_may_fall": None,
            "judge_require": Requirements(),
            **trainings,
        }
        settings = self.settings.model_copy(update=changes)
        return replace(self, settings=settings, instructions=self.instructions[: settings.needed])

    @property
    def prompts(self) -> Mapping[str, str]:
        return self.texts

    def contents(self) -> dict[str, object]:
        return {"prompts": self.texts, "tasks": self.rows()}

    def rows(self) -> list[Row]:
        """Return everything that is tried or judged, with the part that it is of."""
        parts = {"train": self.instructions, "test": self.exam.test, "judged": self.exam.judged}
        parts |= {"levels": self.exam.levels, "audit": self.exam.audit}
        return [{"part": part, **asdict(one)} for part, those in parts.items() for one in those]

    def make(self, run: Run, engines: Engines, train: Trainer, tell: Tell, most: int | None) -> Row:
        run.lines("instructions.jsonl", self.rows)
        asked = [*self.instructions, *self.exam.test]
        loop = SPaRLoop.start(self.settings, run, engines, self.texts, self.suite, asked, tell, most)
        return recipe.spar(loop, self.instructions, self.exam, train)

    def sizes(self) -> dict[str, float]:
        return sizes(self.settings, self.exam)

    def done(self, run: Run) -> dict[str, float]:
        return done(self.settings, run)


def read_exam(settings: SPaR, suite: Suite, instructions: Sequence[Instructed]) -> Exam:
    """Return what is asked after every round. Raises SettingsError for more than there is."""
    test = suite.draw("test", settings.test_prompts, settings.seed)
    if settings.test_groups and suite.levels is None:
        raise SettingsError(f"test_groups = {settings.test_groups}: {suite.name!r} has no nested levels; set it to 0")
    levels = suite.levels(settings.test_groups, settings.seed) if suite.levels and settings.test_groups else []
    judged = suite.judged(settings.test_judged, settings.seed) if suite.judged else []
    return Exam(test, judged, levels, read_audit(settings, suite, [*instructions, *test, *levels, *judged]))


def read_audit(settings: SPaR, suite: Suite, others: Sequence[Instructed | Judged]) -> list[Judged]:
    """Return the labelled responses by which a judge is certified, none to a prompt of `others`.

    Raises SettingsError where a certificate is required and there is nothing to tell it by.
    """
    if not settings.judge_require.given:
        return []
    if settings.audit:
        found = load_judged(settings.audit)
        found = draw(found, min(len(found), settings.audit_judged), Random(f"{settings.seed}/audit"))
    elif suite.judged:
        drawn = settings.test_judged + settings.audit_judged  # fewer are the first ones of more
        found = suite.judged(drawn, settings.seed)[settings.test_judged :]
    else:
        found = []
    known = {plain(one.prompt) for one in others}
    kept = [one for one in found if plain(one.prompt) not in known]
    if len({one.label for one in kept}) < 2:
        raise SettingsError(
            f"judge_require takes labelled responses, good and bad, to prompts that are neither learned from nor in an "
            f"exam; there are {len(kept)} of {len(found)}: name a file of such, audit = FILE.jsonl"
        )
    return kept


def read_texts(settings: SPaR, folder: Path) -> dict[str, str]:
    """Return the prompts of a folder by name. Raises SettingsError for a missing file, or one without its blanks."""
    names = ["judge", "refine"]
    names += ["teacher_answer"] if settings.bootstrap.actor else []
    names += ["evolve", "valid"] if settings.evolve else []
    texts, nobody = read_prompts(folder, *names), Role("nobody", Scripted(lambda request: ""))
    Refiner(nobody, texts["refine"])
    for name in {"judge", "valid"} & {*names}:
        Panel(nobody, texts[name])
    return texts
