"""Editing: a teacher goes through what the policy did, and from the first disagreement on says it better.

The teacher criticises (a script that verifies every step, or a model that is told the answer) and mends (a script, a
model, or the policy itself where the script accepts what it says). With a script an attempt is right only if every step
of it is; with a model it is right if its answer is, as published. Departures: a right attempt that was criticised is
learned from (published: dropped); where policy and teacher agree and the attempt is still wrong, the teacher goes on
from there (published: dropped); so it does where the policy's own update is no better (published: learned); where they
agree, the teacher's words are learned, since reasons are not compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sparring.flow import Flow
from sparring.rollouts.lessons import Say
from sparring.rollouts.teaching import Critic, Improver, Untaught
from sparring.rollouts.trajectory import Trajectory
from sparring.tasks.exercise import Family, Feedback, agree, before, read_feedback, read_steps


@dataclass(frozen=True, slots=True)
class Teacher:
    """Who edits trajectories, and how patiently."""

    family: Family
    critic: Critic
    improver: Improver
    say: Say
    """Puts feedback into the words in which it is learned."""
    verifies: bool
    """Whether the critic checks every step, so that what it accepts needs no other check."""
    edits: int = 5
    """Most updates of an attempt."""
    false_alarms: bool = True
    """Whether a right attempt that was criticised is learned from, or dropped."""


def edit(trajectory: Trajectory, teacher: Teacher) -> Flow[Trajectory]:
    """Return the trajectory as it is to be learned, with its outcome; dropped, with a reason, where it cannot be."""
    try:
        return (yield from _edited(trajectory, teacher))
    except Untaught as error:
        return replace(trajectory, outcome="dropped", reason=error.reason)


def _edited(trajectory: Trajectory, teacher: Teacher) -> Flow[Trajectory]:
    if trajectory.cut_off:
        raise Untaught("attempt did not come to its end")
    exercise, feedbacks = trajectory.exercise, list[str]()
    found = Feedback()
    for at, attempt in enumerate(trajectory.attempts):
        last, found = found, (yield from teacher.critic(exercise, attempt))
        if at and not _gets_on(trajectory.attempts[at - 1], attempt, last, found, teacher):
            kept = replace(trajectory, attempts=trajectory.attempts[:at], feedbacks=tuple(feedbacks), edited=at)
            return (yield from _mended(kept, last, teacher))
        feedbacks.append(teacher.say(exercise, attempt, found))
        said = read_feedback(trajectory.feedbacks[at], attempt) if at < len(trajectory.feedbacks) else None
        so_far = replace(trajectory, attempts=trajectory.attempts[: at + 1], feedbacks=tuple(feedbacks))
        if found.is_correct:
            return _right(so_far, said, teacher)
        if said is None or not agree(found, said):
            return (yield from _mended(replace(so_far, edited=at), found, teacher))
    # They agree throughout, and the policy had no more updates: the teacher goes on from its last attempt.
    edited = len(trajectory.attempts)
    return (yield from _mended(replace(trajectory, feedbacks=tuple(feedbacks), edited=edited), found, teacher))


def _gets_on(attempt: str, update: str, last: Feedback, found: Feedback, teacher: Teacher) -> bool:
    """Say whether the policy's own update may be learned: it is right, or does better what was criticised."""
    return found.is_correct or (not illegal(attempt, update, last, teacher) and progresses(last, found, update))


def _right(trajectory: Trajectory, said: Feedback | None, teacher: Teacher) -> Trajectory:
    """Return a trajectory whose last attempt is right; `said` is what the policy thought of it."""
    if said is None or said.is_correct:
        return replace(trajectory, outcome="accepted")
    if not teacher.false_alarms:
        raise Untaught("right attempt criticised")
    return replace(trajectory, outcome="false alarm", edited=len(trajectory.attempts) - 1)


def _mended(trajectory: Trajectory, feedback: Feedback, teacher: Teacher) -> Flow[Trajectory]:
    """Update and criticise until all is correct."""
    exercise, astray = trajectory.exercise, False
    for _ in range(teacher.edits):
        attempt = trajectory.attempts[-1]
        update = yield from teacher.improver(exercise, attempt, feedback)
        if trouble := illegal(attempt, update, feedback, teacher):
            raise Untaught(trouble)
        found = yield from teacher.critic(exercise, update)
        said = teacher.say(exercise, update, found)
        trajectory = replace(
            trajectory, attempts=(*trajectory.attempts, update), feedbacks=(*trajectory.feedbacks, said)
        )
        if found.is_correct:
            return _feedback_only(trajectory) if astray else replace(trajectory, outcome="edited")
        astray = astray or not progresses(feedback, found, update)
        feedback = found
    raise Untaught(f"still wrong after {teacher.edits} updates")


def _feedback_only(trajectory: Trajectory) -> Trajectory:
    """Keep the first attempt and its feedback: the updates did not get on, and are no example."""
    first = replace(trajectory, attempts=trajectory.attempts[:1], feedbacks=trajectory.feedbacks[:1])
    return replace(first, outcome="feedback only", edited=0)


def illegal(attempt: str, update: str, feedback: Feedback, teacher: Teacher) -> str:
    """Return why an update may not follow feedback on an attempt; "" where it may."""
    label, kept = feedback.step or "", before(attempt, feedback.step or "")
    then, now = (
        next((step.text for step in read_steps(text) if step.label == label), "") for text in (attempt, update)
    )
    if teacher.family.answer_of(update) is None:
        return "update without an answer"
    if update.strip() == attempt.strip():
        return "update changes nothing"
    if kept is None or not update.startswith(kept.strip()):
        return "update changes a step before the wrong one"
    if teacher.verifies:
        return ""
    if now == then:
        return "update leaves the wrong step as it was"
    return "update still says what was wrong" if now.count(feedback.span) >= then.count(feedback.span) else ""


def progresses(feedback: Feedback, after: Feedback, update: str) -> bool:
    """Say whether what is wrong in the update comes later than what was wrong, or is another part of the same step."""
    labels = [step.label for step in read_steps(update)]
    if agree(feedback, after):
        return False
    if feedback.step in labels and after.step in labels:
        return labels.index(after.step) >= labels.index(feedback.step)
    return True


def outcomes(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count rows of edited trajectories by outcome, those dropped by their reason too."""
    found = [f"{row['outcome']}: {row['reason']}" if row["reason"] else str(row["outcome"]) for row in rows]
    return {outcome: found.count(outcome) for outcome in sorted(set(found))}
