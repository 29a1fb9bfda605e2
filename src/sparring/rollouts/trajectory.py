"""A trajectory: the policy attempts, criticises its attempt, and updates it until it finds nothing wrong.

A chat shows the last attempt only, never the ones before it (the published design), so that one update is as good as
any other, and each is learned in a row of its own. The words around it are the same in training and at test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from sparring.errors import RolloutError
from sparring.flow import Flow, Role, render
from sparring.tasks.exercise import FINAL, Exercise, Family, read_feedback, read_steps
from sparring.types import Chat, Completion, assistant, user

Outcome = Literal["as sampled", "accepted", "edited", "false alarm", "feedback only", "dropped"]
"""accepted: right, and the policy found nothing wrong with it, if it said anything. edited: mended by the teacher.
false alarm: a right attempt that the policy criticised; the teacher says that it is right. feedback only: mended in so
roundabout a way that only the first feedback is learned. dropped: nothing is learned."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The words between which attempts, feedback and updates stand."""

    attempt: str
    """A prompt with the blanks `{question}` and `{format}`."""
    feedback: str
    """Asks for feedback on the attempt before it."""
    update: str
    """Asks for a better attempt."""
    format: str = ""
    """How the steps of an attempt are to be written."""

    def asking(self, question: str) -> Chat:
        """Return the chat in which an attempt is due."""
        return [user(render(self.attempt, question=question, format=self.format).strip())]

    def criticising(self, question: str, attempt: str) -> Chat:
        """Return the chat in which feedback is due."""
        return [*self.asking(question), assistant(attempt), user(self.feedback)]

    def updating(self, question: str, attempt: str, feedback: str) -> Chat:
        """Return the chat in which an update is due."""
        return [*self.criticising(question, attempt), assistant(feedback), user(self.update)]


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy, in its two voices."""

    family: Family
    layout: Layout
    attempts: Role
    """Draws attempts and updates."""
    feedback: Role
    """Criticises: a decision, and not a sample, so greedy."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Attempts at one exercise, each but the last with the feedback that led to the next."""

    exercise: Exercise
    index: int
    """Which of the exercise's trajectories this is, from 0."""
    attempts: tuple[str, ...]
    """At least one; the last is what is answered."""
    feedbacks: tuple[str, ...] = ()
    """As many as attempts, or one fewer; "" where one did not come to its end."""
    cut_off: bool = False
    """Whether the first attempt did not come to its end: it cannot be read, and is wrong whatever it says."""
    tokens: tuple[int, ...] = ()
    """Written for each reply, those not taken over too; words where the engine does not count."""
    outcome: Outcome = "as sampled"
    reason: str = ""
    """Why it was dropped: a short fixed phrase that can be counted."""
    edited: int | None = None
    """Number, from 0, of the first feedback that is the teacher's against the policy's, or that the teacher gave where
    the policy had come to its end; None: no word is the teacher's."""

    @property
    def id(self) -> str:
        return f"{self.exercise.id} #{self.index}"

    def is_right(self, family: Family, at: int) -> bool:
        """Say whether the answer of an attempt is the exercise's. The first is 0, the last -1."""
        attempt = self.attempts[at]
        is_first = at % len(self.attempts) == 0
        return not (self.cut_off and is_first) and family.is_right(self.exercise, attempt)

    def row(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "exercise": self.exercise.id,
            "index": self.index,
            "outcome": self.outcome,
            "reason": self.reason,
            "edited": self.edited,
            "cut_off": self.cut_off,
            "tokens": [*self.tokens],
            "attempts": [*self.attempts],
            "feedbacks": [*self.feedbacks],
        }

    @staticmethod
    def from_row(row: Mapping[str, Any], exercises: Mapping[str, Exercise]) -> Trajectory:
        lists: dict[str, Any] = {name: tuple(row[name]) for name in ("attempts", "feedbacks", "tokens")}
        plain: dict[str, Any] = {name: row[name] for name in ("index", "outcome", "reason", "edited", "cut_off")}
        return Trajectory(exercises[row["exercise"]], **plain, **lists)


def correct_itself(exercise: Exercise, index: int, policy: Policy, updates: int) -> Flow[Trajectory]:
    """Let the policy attempt an exercise, and then criticise and update its attempt, all by itself.

    It ends where its feedback says that all is correct, or cannot be read; where an update has no answer to read, which
    is not taken over; or with the last of `updates`. A chat too long for a reply ends it too: what is there counts.
    """
    said = yield from policy.attempts.complete(policy.layout.asking(exercise.question), index)
    trajectory = Trajectory(exercise, index, (tidy(said.text),), cut_off=not _ended(said), tokens=(_written(said),))
    while not trajectory.cut_off and len(trajectory.attempts) <= updates:
        longer = yield from _corrected(trajectory, policy)
        if len(longer.attempts) == len(trajectory.attempts):
            return longer
        trajectory = longer
    return trajectory


def _corrected(trajectory: Trajectory, policy: Policy) -> Flow[Trajectory]:
    """Criticise the last attempt and, where a mistake is named, update it."""
    question, attempt = trajectory.exercise.question, trajectory.attempts[-1]
    said = yield from _reply(policy.feedback, policy.layout.criticising(question, attempt), trajectory.index)
    text = said.text.strip() if _ended(said) else ""
    trajectory = replace(
        trajectory, feedbacks=(*trajectory.feedbacks, text), tokens=(*trajectory.tokens, _written(said))
    )
    feedback = read_feedback(text, attempt)
    if feedback is None or feedback.is_correct:
        return trajectory
    said = yield from _reply(policy.attempts, policy.layout.updating(question, attempt, text), trajectory.index)
    trajectory = replace(trajectory, tokens=(*trajectory.tokens, _written(said)))
    update = tidy(said.text)
    if not _ended(said) or policy.family.answer_of(update) is None:
        return trajectory
    return replace(trajectory, attempts=(*trajectory.attempts, update))


def tidy(attempt: str) -> str:
    """Return an attempt up to the line of its final response, as it is read; stripped."""
    steps = read_steps(attempt)
    if not steps or steps[-1].label != FINAL:
        return attempt.strip()
    end = attempt.find("\n", steps[-1].start)
    return (attempt if end < 0 else attempt[:end]).strip()


def _reply(role: Role, chat: Chat, index: int) -> Flow[Completion]:
    """Return a reply; where the chat has grown too long for one, nothing is said."""
    try:
        return (yield from role.complete(chat, index))
    except RolloutError as error:
        if error.reason != "context overflow":
            raise
        return Completion("", "refused", completion_tokens=0)


def _ended(said: Completion) -> bool:
    return said.finish == "stop" and bool(said.text.strip())


def _written(said: Completion) -> int:
    return len(said.text.split()) if said.completion_tokens is None else said.completion_tokens
