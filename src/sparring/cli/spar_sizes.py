"""How much each stage of SPaR does: sampled answers, responses judged, and of what prompts come to, prompts."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sparring.cli.setup import count, to_train, was_trained
from sparring.evals.instructed import Exam, counted
from sparring.files import read_lines
from sparring.recipes.spar_loop import SCORED
from sparring.recipes.spar_settings import SPaR
from sparring.runs import Run


def sizes(settings: SPaR, exam: Exam) -> dict[str, float]:
    """Return how much each stage does if nothing fails. Of prompts that evolution leaves out nothing is known yet."""
    found: dict[str, float] = dict.fromkeys(
        ("evolved.jsonl", "prompts.jsonl"), settings.needed if settings.evolve else 0
    )
    for t in range(settings.rounds + 1):
        n = tried(settings, t)
        answers = n * (settings.samples if t else 1)
        stages: dict[str, float] = dict.fromkeys(("attempts.jsonl", "judgements.jsonl"), answers)
        stages |= dict.fromkeys(("demonstrations.jsonl", "actor.jsonl"), 0 if t else settings.bootstrap.actor)
        stages |= dict.fromkeys(made(settings, t), n)
        for name, training in trained(settings, t).items():
            stages[name] = to_train(stages[f"{name}.jsonl"], getattr(settings, training))
        test = ("test-answers", "test-sampled", *(("test-votes", "test-trees") if settings.test_refined else ()))
        stages |= {f"{name}.jsonl": len(exam.test) for name in test}
        stages |= {"test-judgements.jsonl": len(exam.judged), "test-levels.jsonl": len(exam.levels)}
        stages["audit-judgements.jsonl"] = len(exam.audit)
        found |= {f"round-{t}/{name}": size for name, size in stages.items()}
    return {stage: size for stage, size in found.items() if size}


def done(settings: SPaR, run: Run) -> dict[str, float]:
    """Return how much each stage of a run did, in the units of `sizes`."""
    found: dict[str, float] = {stage: count(run, stage) for stage in run.seconds() if stage.endswith(".jsonl")}
    for t in range(settings.rounds + 1):
        here = f"round-{t}"
        stages = prompts_of(settings, run, t) if f"{here}/attempts.jsonl" in found else {}
        if not t and f"{here}/demonstrations.jsonl" in found:
            stages["actor.jsonl"] = found[f"{here}/demonstrations.jsonl"]
        sampled, wrong = (int(found.get(f"{here}/test-{name}.jsonl", 0)) for name in ("sampled", "votes"))
        refined = worth({"": wrong}, sampled, settings.test_prompts, {"": settings.test_refined})
        stages |= dict.fromkeys(("test-votes.jsonl", "test-trees.jsonl"), refined)
        for name, training in trained(settings, t).items():
            if (run.path / here / name).exists():
                how = getattr(settings, training)
                found[f"{here}/{name}"] = was_trained(run.path / here / name, stages[f"{name}.jsonl"], how)
        found |= {f"{here}/{name}": size for name, size in stages.items() if f"{here}/{name}" in found}
    return found


def tried(settings: SPaR, t: int) -> int:
    """Return the prompts that an actor tries in a round; in round 0 the first one, for a teacher to judge."""
    return settings.prompts_a_round if t else settings.bootstrap.refiner


def made(settings: SPaR, t: int) -> list[str]:
    """Return the stages that a round makes of the prompts it tries, in no more lines than there are prompts."""
    if not t:
        return ["trees.jsonl", "refiner.jsonl"]
    pairs = ["pairs.jsonl", "actor.jsonl", "scores-before.jsonl", "scores-after.jsonl"]
    return [
        *(["trees.jsonl"] if settings.searches else []),
        *(pairs if settings.compares else ["actor.jsonl"] if settings.learn_from == "sft" else []),
        *(["refiner.jsonl"] if settings.refiner_learns else []),
        *(["judge.jsonl"] if settings.judge_pairs else []),
    ]


def trained(settings: SPaR, t: int) -> dict[str, str]:
    """Return the checkpoints of a round, each with the setting that tells how it is trained."""
    if not t:
        shown = {"actor": settings.bootstrap.actor, "refiner": settings.bootstrap.refiner}
        return {name: "bootstrap_training" for name, size in shown.items() if size}
    actor = "refiner_training" if settings.learn_from == "sft" else "training"
    names = {"actor": actor, "refiner": "refiner_training", "judge": "training"}
    return {name: training for name, training in names.items() if f"{name}.jsonl" in made(settings, t)}


def prompts_of(settings: SPaR, run: Run, t: int) -> dict[str, float]:
    """Return how many prompts each stage of a round was made of: of one that is capped, those that its rows are worth.

    A trial meets no cap, and a whole round may.
    """
    here = f"round-{t}"
    ids = {row["prompt_id"] for row in read_lines(run.path / here / "attempts.jsonl")}
    ids |= {failure.id.rpartition(" #")[0] for failure in run.failures.get(f"{here}/attempts.jsonl", [])}
    found: dict[str, float] = dict.fromkeys(made(settings, t), len(ids))
    caps: dict[str, Mapping[str, float]] = {"scores-before.jsonl": {"": SCORED}, "scores-after.jsonl": {"": SCORED}}
    if settings.most_pairs is not None:
        caps["actor.jsonl"] = {"": settings.most_pairs}
    if t:
        caps["refiner.jsonl"] = settings.caps.model_dump()
    for name, most in caps.items():
        if (run.path / here / name).exists():
            rows = read_lines(run.path / here / name)
            kinds = {"": len(rows)} if "" in most else counted(rows, "kind")
            found[name] = worth(kinds, len(ids), tried(settings, t), most)
    return found


def worth(rows: Mapping[str, int], prompts: int, whole: int, most: Mapping[str, float]) -> float:
    """Return how many of `whole` prompts the rows of some prompts are worth, where all of them come to `most` rows."""
    due = sum(min(most.get(kind, math.inf), n * whole / prompts) for kind, n in rows.items() if prompts)
    return whole * sum(rows.values()) / due if due else prompts
