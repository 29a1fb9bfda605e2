"""SPaR before its first round: instructions made harder by a teacher, and what it shows M_0 and R_0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from sparring.evals.instructed import Exam
from sparring.files import Row
from sparring.flow import Flow
from sparring.loop import Trainer
from sparring.recipes.spar_loop import Models, SPaRLoop
from sparring.rollouts.bootstrapping import ONCE, answers, demonstrate, judgements, refinements
from sparring.rollouts.evolution import Evolved, Evolver, validate
from sparring.rollouts.pairs import Attempt, failed
from sparring.rollouts.refining import Refiner
from sparring.select import draw
from sparring.signals.judge import Panel
from sparring.stages import Stages
from sparring.tasks.cleaning import decontaminated, without_twins
from sparring.tasks.instructions import Instructed
from sparring.tasks.taxonomy import read_taxonomy


def instructions(loop: SPaRLoop, prompts: Sequence[Instructed], exam: Exam) -> list[Sequence[Instructed]]:
    """Return the prompts that a teacher shows M_0 and R_0 how to follow, and those of each round.

    Where there are fewer than were asked for, as evolution and cleaning leave some out, all parts shrink alike.
    """
    settings = loop.settings
    if settings.evolve:
        prompts = evolved(loop, prompts, exam)
    parts = [settings.shown, *[settings.prompts_a_round] * settings.rounds]
    ends = [len(prompts) * sum(parts[:at]) // sum(parts) for at in range(len(parts) + 1)]
    return [prompts[ends[at] : ends[at + 1]] for at in range(len(parts))]


def evolved(loop: SPaRLoop, seeds: Sequence[Instructed], exam: Exam) -> list[Instructed]:
    """Return what a teacher makes of plain requests, without what is in the test, or stands there already."""
    stages, teacher = loop.stages, loop.role("teacher", loop.settings.roles.teacher)
    evolver = Evolver(teacher, loop.prompts["evolve"], read_taxonomy(), loop.settings.seed)
    judge = teaching(loop, "valid")

    def harder(one: Instructed) -> Flow[Evolved]:
        made = yield from evolver(one.id, one.prompt)
        return (yield from validate(made, judge))

    made = stages.roll_out("evolved.jsonl", [(one.id, harder(one)) for one in seeds], Evolved.row)

    def clean() -> list[Row]:
        # Decontaminated first: the twin of a prompt that has to go may stay.
        tests = [one.prompt for one in (*exam.test, *exam.levels, *exam.judged, *exam.audit)]
        fresh, known = decontaminated([Evolved.from_row(row) for row in made], tests)
        fresh, twins = without_twins(fresh)
        stages.folder.note("prompts.jsonl", dropped=Counter(failure.reason for failure in (*known, *twins)))
        return [{"id": one.id, "prompt": one.prompt} for one in fresh]

    return [Instructed(**row) for row in stages.lines("prompts.jsonl", clean)]


def begin(loop: SPaRLoop, prompts: Sequence[Instructed], train: Trainer) -> Models:
    """Return M_0 and R_0: the models as given, trained on what a teacher shows, where it shows anything."""
    settings, stages = loop.settings, loop.stages.within("round-0")
    actor, refiner = settings.policy, settings.refiner or settings.policy
    first = len(prompts) * settings.bootstrap.actor // max(1, settings.shown)
    if settings.bootstrap.actor:
        rows = {"actor": shown_answers(loop, stages, prompts[:first])}
        actor = loop.learn(stages, actor, "actor", rows, train, settings.bootstrap_training)
    if settings.bootstrap.refiner:
        rows = {"refiner": shown_judgements(loop, stages, Models(actor, refiner), prompts[first:])}
        refiner = loop.learn(stages, refiner, "refiner", rows, train, settings.bootstrap_training)
    return Models(actor, refiner)


def shown_answers(loop: SPaRLoop, stages: Stages, prompts: Sequence[Instructed]) -> list[Row]:
    """Return the teacher's answers as rows."""
    teacher, told = loop.role("teacher", loop.settings.roles.teacher), loop.prompts["teacher_answer"]
    flows = [(one.id, demonstrate(one.id, one.prompt, teacher, told)) for one in prompts]
    made = [Attempt.from_row(row) for row in stages.roll_out("demonstrations.jsonl", flows, Attempt.row)]
    return stages.lines("actor.jsonl", lambda: [one.row() for one in answers(made)])


def shown_judgements(loop: SPaRLoop, stages: Stages, models: Models, prompts: Sequence[Instructed]) -> list[Row]:
    """Return the teacher's judgements of M_0's answers, and its refinements of those that fail, as rows."""
    settings, judge = loop.settings, teaching(loop, "judge")
    refiner = Refiner(loop.role("teacher", settings.roles.teacher), loop.prompts["refine"])
    made = loop.answers(stages, "attempts.jsonl", loop.actor(models.actor), prompts, 1)
    made = loop.voted(stages, "judgements.jsonl", made, judge)
    begun = draw(failed(made, settings.seed), settings.bootstrap.refinements, Random(f"{settings.seed}/shown"))
    trees = loop.trees(stages, "trees.jsonl", begun, refiner, judge, ONCE)

    def rows() -> list[Row]:
        mended = refinements(trees, judge, refiner)
        known = {one.id.partition(" node ")[0] for one in mended}  # whose judgement is learned with its refinement
        others = [one for one in made if one.id not in known]
        said = judgements(others, judge, most=settings.bootstrap.judgements, seed=settings.seed)
        return [one.row() for one in (*said, *mended)]

    return stages.lines("refiner.jsonl", rows)


def teaching(loop: SPaRLoop, prompt: str) -> Panel:
    """Return the teacher as a judge, of one vote."""
    return Panel(loop.role("teacher", loop.settings.roles.teacher), loop.prompts[prompt], votes=1, quorum=1)
