"""A run of TriPosT that nobody ran."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sparring.evals.correcting import Examined, readings
from sparring.recipes.tripost import TriPosT, read_texts
from sparring.report.tripost import ROWS
from sparring.rollouts.lessons import Lesson, Weights, cut, gold, kinds, without_twins
from sparring.rollouts.trajectory import Layout, Trajectory
from sparring.tasks.arithmetic import ARITHMETIC
from sparring.tasks.exercise import Exercise, Feedback, exercises, render_feedback
from tests.made.desk import Desk, Stopped, Text, metrics_of

PROMPTS = Path(__file__).parents[2] / "src/sparring/recipes/prompts/tripost"


def make_tripost(
    path: Path,
    questions: int = 6,
    samples: int = 1,
    rounds: int = 2,
    text: Text | None = None,
    *,
    until: str | None = None,
    test: int | None = None,
) -> Path:
    """Write a run that tried `questions` in every round, and `test` others on test, and return its path.

    Otherwise as `make_star_gate`.
    """
    desk = Desk(path, text, until)
    settings = TriPosT(questions=questions, samples=samples, rounds=rounds, policy="world:arithmetic/policy")
    prompts = read_texts(settings, PROMPTS, ARITHMETIC)
    desk.record("tripost", settings.model_dump(mode="json"), prompts, {"policy": "world:arithmetic/policy"})
    layout = Layout(prompts["attempt"], prompts["feedback"], prompts["update"], prompts["format"])
    with suppress(Stopped):
        _TriPosT(desk, layout, samples).all(questions, test or max(2, questions // 2), rounds)
    desk.close()
    return path


class _TriPosT:
    def __init__(self, desk: Desk, layout: Layout, samples: int):
        self.desk, self.layout, self.samples = desk, layout, samples

    def all(self, questions: int, test: int, rounds: int) -> None:
        desk = self.desk
        asked, tried = self.exercises("train", questions), self.exercises("test", test)
        parts = {"train": asked, "test": tried}
        desk.lines("exercises.jsonl", [{"part": name, **asdict(one)} for name, those in parts.items() for one in those])
        self.learn(0, [gold(one, self.layout, self.say) for one in asked[: max(1, questions // 4)]])
        found = [self.examined(0, tried, rounds)]
        for t in range(rounds):
            self.round(t + 1, asked)
            found.append(self.examined(t + 1, tried, rounds))
        desk.lines("eval.jsonl", [{"round": t, **row} for t, one in enumerate(found) for row in one.items])
        told = f"round {rounds} improved: correcting itself it answers 95.8% of {test} held-out questions"
        desk.summary("tripost", found, told, "teacher")

    def exercises(self, part: Any, count: int) -> list[Exercise]:
        """Return exercises of the embedded arithmetic, with other words where texts are replaced."""
        desk = self.desk
        return [
            replace(
                one,
                id=desk.say("id", one.id),
                question=desk.say("task", one.question),
                tier=desk.say("tier", one.tier),
                rationale=desk.say("answer", one.rationale or ""),
            )
            for one in exercises(ARITHMETIC, part, count, 0)
        ]

    def say(self, exercise: Exercise, attempt: str, feedback: Feedback) -> str:
        return render_feedback(feedback, attempt)

    def trajectory(self, exercise: Exercise, index: int) -> Trajectory:
        """Return an attempt: right or, of every other, wrong, criticised and updated."""
        desk, right = self.desk, exercise.rationale or ""
        if desk.rng.random() < 0.5:
            attempts, said = (right,), [Feedback()]
        else:
            wrong = right.replace("(1)", "(1) 1 +", 1)
            attempts, said = (wrong, right), [self.fault(wrong), Feedback()]
        told = tuple(
            desk.say("feedback", render_feedback(one, attempt)) for one, attempt in zip(said, attempts, strict=True)
        )
        attempts = tuple(desk.say("attempt", attempt) for attempt in attempts)
        tokens = (19,) * (2 * len(attempts))
        return Trajectory(exercise, index, attempts, told, cut_off=False, tokens=tokens)

    def fault(self, attempt: str) -> Feedback:
        step = attempt.splitlines()[0].removeprefix("(1) ") if attempt.startswith("(1) ") else attempt[:10]
        return Feedback("1", step, "that is not equal")

    def edited(self, one: Trajectory) -> Trajectory:
        if one.index % 7 == 6:
            return replace(one, outcome="dropped", reason=self.desk.say("reason", "no update"))
        if len(one.attempts) > 1:
            return replace(one, outcome="edited", edited=0)
        return replace(one, outcome="accepted")

    def round(self, t: int, asked: Sequence[Exercise]) -> None:
        desk, folder = self.desk, f"round-{t}"
        indices = range((t - 1) * self.samples, t * self.samples)
        tried = [self.trajectory(one, index) for one in asked for index in indices]
        desk.rolled_out(f"{folder}/attempts.jsonl", [one.row() for one in tried], 1, "policy")
        edited = [self.edited(one) for one in tried]
        desk.rolled_out(f"{folder}/trajectories.jsonl", [one.row() for one in edited])
        lessons = without_twins([lesson for one in edited for lesson in cut(one, self.layout, Weights(0.0, 1.5))])
        self.learn(t, [*lessons, *(gold(one, self.layout, self.say) for one in asked[:1])])

    def learn(self, t: int, lessons: Sequence[Lesson]) -> None:
        rows = [lesson.row() for lesson in lessons]
        self.desk.lines(f"round-{t}/train.jsonl", rows, found=kinds(rows), learned=kinds(rows))
        self.desk.checkpoint(f"round-{t}/checkpoint", "sft", len(rows))

    def examined(self, t: int, test: Sequence[Exercise], rounds: int) -> Examined:
        desk, folder = self.desk, f"round-{t}"
        greedy = [self.trajectory(one, 0) for one in test]
        desk.rolled_out(f"{folder}/test-trajectories.jsonl", [one.row() for one in greedy], 0, "policy")
        sampled = [self.trajectory(one, 0) for one in test[:2]]
        desk.rolled_out(f"{folder}/test-sampled.jsonl", [one.row() for one in sampled], 0, "policy")
        if t in (0, rounds):
            votes = [Trajectory(one, 1, (desk.say("attempt", one.rationale or ""),), tokens=(19,)) for one in test[:2]]
            desk.rolled_out(f"{folder}/test-votes.jsonl", [one.row() for one in votes], 0, "policy")
        items = readings(ARITHMETIC, test, greedy, "greedy") + readings(ARITHMETIC, test[:2], sampled, "sampled")
        tiers = {one.tier: metrics_of(ROWS[:2], t) for one in test}
        counts = {"accepted": 2, "edited": 3} if t else {}
        failed = {desk.say("job", "cut off"): 1}
        return Examined(metrics_of(ROWS, t), tiers, items, failed, counts, {"improvement": 3})
