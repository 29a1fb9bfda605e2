"""Lessons: what of a trajectory is learned, a row each, with a weight for every message.

A row holds at most one improvement: a trajectory is cut into (attempt, feedback, update), one after the other, and its
tail, the right attempt with the feedback that says so.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sparring.rollouts.trajectory import Layout, Trajectory
from sparring.select import draw, unique
from sparring.tasks.exercise import FINAL, Exercise, Family, Feedback, read_steps
from sparring.types import Chat, Example, assistant

Kind = Literal["improvement", "non-improvement", "false alarm", "gold", "rationale", "answer", "sample"]
"""improvement: a wrong attempt, its feedback and its update. non-improvement: a right attempt and feedback that says
so. false alarm: one that the policy had criticised. gold: a gold rationale with such feedback. rationale, answer,
sample: a gold rationale, its last line, or a sampled attempt, by itself."""

Say = Callable[[Exercise, str, Feedback], str]
"""(exercise, attempt, feedback) -> the words in which it is learned."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How much the words of an improvement are learned; all others have weight 1, and what is asked has none."""

    attempt: float = 1.0
    """Of the wrong attempt."""
    feedback: float = 1.5
    """Of the feedback and the update; also of the feedback that closes a trajectory with an improvement."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One row to learn from."""

    id: str
    kind: Kind
    exercise: str
    """The id of its exercise."""
    example: Example

    def row(self) -> dict[str, Any]:
        """Return it as a line of train.jsonl."""
        said = {"messages": self.example.messages, "weights": self.example.weights}
        return {"id": self.id, "kind": self.kind, "exercise": self.exercise, **said}


def cut(trajectory: Trajectory, layout: Layout, weights: Weights) -> list[Lesson]:
    """Return the lessons of a trajectory that a teacher has seen; none of one that was dropped."""
    if trajectory.outcome in ("dropped", "as sampled"):
        return []
    question, last = trajectory.exercise.question, len(trajectory.attempts) - 1
    lessons: list[Lesson] = []
    for at, (attempt, feedback) in enumerate(zip(trajectory.attempts, trajectory.feedbacks, strict=True)):
        chat, weighed = layout.criticising(question, attempt), [weights.attempt, weights.feedback]
        kind: Kind = "improvement"
        if at < last:
            chat = layout.updating(question, attempt, feedback)
            said, weighed = trajectory.attempts[at + 1], [*weighed, weights.feedback]
        else:
            said = feedback
        if at == last and trajectory.outcome != "feedback only":
            kind = "false alarm" if trajectory.outcome == "false alarm" else "non-improvement"
            weighed = [1.0, 1.0 if trajectory.outcome == "accepted" and last == 0 else weights.feedback]
        lessons.append(_lesson(f"{trajectory.id} turn {at + 1}", kind, trajectory.exercise, chat, said, weighed))
    return lessons


def gold(exercise: Exercise, layout: Layout, say: Say) -> Lesson:
    """Return the gold rationale with feedback that finds nothing wrong in it."""
    rationale = exercise.rationale or ""
    chat = layout.criticising(exercise.question, rationale)
    said = say(exercise, rationale, Feedback())
    return _lesson(f"{exercise.id} gold", "gold", exercise, chat, said, [1.0, 1.0])


def attempted(kind: Kind, exercise: Exercise, index: int, attempt: str, layout: Layout) -> Lesson:
    """Return an attempt by itself."""
    chat = layout.asking(exercise.question)
    return _lesson(f"{exercise.id} {kind} {index}", kind, exercise, chat, attempt, [1.0])


def closing(exercise: Exercise) -> str:
    """Return the bare answer: the last line of the gold rationale, or one that a family reads alike."""
    steps = read_steps(exercise.rationale or "")
    said = steps[-1].text if steps and steps[-1].label == FINAL else f"So the answer is {exercise.answer}."
    return f"({FINAL}) {said}"


def agreed(family: Family, tried: Sequence[Trajectory]) -> list[Trajectory]:
    """Return the trajectories whose first attempt has the commonest answer; none where no answer can be read."""
    answer = vote(family, [one.attempts[0] for one in tried])
    return [one for one in tried if answer is not None and family.answer_of(one.attempts[0]) == answer]


def vote(family: Family, attempts: Sequence[str]) -> str | None:
    """Return the commonest answer, the first of equals; None where none can be read."""
    answers = [answer for attempt in attempts if (answer := family.answer_of(attempt)) is not None]
    return max(answers, key=answers.count, default=None)


def without_twins(lessons: Sequence[Lesson]) -> list[Lesson]:
    """Return lessons that differ in what is said: of equals a false alarm, or the first."""
    alarms_first = sorted(lessons, key=lambda lesson: lesson.kind != "false alarm")
    return unique(alarms_first, _said)


def _said(lesson: Lesson) -> tuple[str, ...]:
    return tuple(message["content"] for message in lesson.example.messages)


def balance(lessons: Sequence[Lesson], ratio: float | Literal["all"], seed: str) -> list[Lesson]:
    """Return lessons in the proportion improvement : non-improvement : gold = `ratio` : 1 : 1, shuffled.

    No improvement is left out, and nothing is drawn twice: where there is too little of a kind its share is smaller.
    False alarms are of the second kind, and none of them is left out either: they make its share larger where they have
    to. Gold is first of questions that have no other lesson, as published; then of others, which the published code
    leaves out, but never what stands there already. Lessons of other kinds are only shuffled, and so are those of all
    kinds where the ratio is "all".
    """
    rng = random.Random(seed)
    if ratio != "all":
        of: dict[Kind, list[Lesson]] = {kind: [] for kind in ("improvement", "false alarm", "non-improvement", "gold")}
        rest = [lesson for lesson in lessons if lesson.kind not in of]
        for lesson in lessons:
            of.get(lesson.kind, []).append(lesson)
        share = max(math.ceil(len(of["improvement"]) / ratio), len(of["false alarm"]))
        right = draw(of["false alarm"], share, rng)
        right += draw(of["non-improvement"], share - len(right), rng)
        taught = {lesson.exercise for lesson in [*of["improvement"], *right]}
        said = {_said(lesson) for lesson in right}
        fresh = [lesson for lesson in of["gold"] if _said(lesson) not in said]  # a mended attempt may be the rationale
        golden = draw([lesson for lesson in fresh if lesson.exercise not in taught], len(right), rng)
        again = [lesson for lesson in fresh if lesson.exercise in taught]
        lessons = [*rest, *of["improvement"], *right, *golden, *draw(again, len(right) - len(golden), rng)]
    return rng.sample(lessons, len(lessons))


def kinds(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count the rows of lessons by kind."""
    return dict(sorted(Counter(str(row["kind"]) for row in rows).items()))


def _lesson(id: str, kind: Kind, exercise: Exercise, chat: Chat, said: str, weighed: Sequence[float]) -> Lesson:
    """Return the lesson of a chat and what is said in it; `weighed` are the weights of the assistant's messages."""
    messages, left = [*chat, assistant(said)], iter(weighed)
    weights = [next(left) if message["role"] == "assistant" else 0.0 for message in messages]
    return Lesson(id, kind, exercise.id, Example(messages, weights))
