"""Who teaches: critics that find the first wrong step, and improvers that mend it, by script or by a model.

What a model writes is read strictly: three fields of feedback, or the rest of an attempt. What cannot be read is no
lesson, and says why.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from sparring.errors import RolloutError
from sparring.flow import Flow, Role, quoted, render, together
from sparring.rollouts.lessons import Say
from sparring.rollouts.trajectory import Layout, Trajectory, tidy
from sparring.tasks.exercise import (
    FINAL,
    MOST,
    Exercise,
    Family,
    Feedback,
    before,
    read_feedback,
    read_steps,
    render_feedback,
)
from sparring.types import Failure, user

FIELD = re.compile(r"^[\s*_#>-]*(step|part|reason)[*_ \t]*:[*_ \t]*(.*?)[*_\s]*$", re.I | re.M)
QUOTES = "\"'`“”‘’«» "
DRAWS = 100
"""Mistakes that are drawn for one of the kinds asked for."""
TRIES = 4
"""Updates that the policy is asked for, when it mends its own attempts."""


class Untaught(RolloutError):
    """A trajectory from which nothing can be learned."""


Critic = Callable[[Exercise, str], Flow[Feedback]]
"""Criticises an attempt. Raises Untaught where it cannot."""
Improver = Callable[[Exercise, str, Feedback], Flow[str]]
"""Returns the attempt done right from the wrong step on. Raises Untaught where it cannot."""


def words(family: Family, evidence: bool) -> Say:
    """Return what puts feedback into words: its canonical sentence, behind the evidence if there is to be any."""

    def say(exercise: Exercise, attempt: str, feedback: Feedback) -> str:
        sentence = render_feedback(feedback, attempt)
        if not evidence or family.evidence is None:
            return sentence
        return f"{family.evidence(exercise.question, attempt)}\n{sentence}".strip()

    return say


# Critics


def script_critic(family: Family) -> Critic:
    """A script that verifies every step; a right answer by a wrong way is not right."""

    def criticise(exercise: Exercise, attempt: str) -> Flow[Feedback]:
        yield from ()
        found = family.verify(exercise.question, attempt) if family.verify else None
        if found is None:
            raise Untaught("attempt cannot be read")
        if found.is_correct and not family.is_right(exercise, attempt):
            raise Untaught("every step verified, and yet another answer")
        return found

    return criticise


def model_critic(family: Family, role: Role, prompt: str) -> Critic:
    """A model that names step, part and reason of the first mistake; an attempt with the right answer is right."""

    def criticise(exercise: Exercise, attempt: str) -> Flow[Feedback]:
        if family.is_right(exercise, attempt):
            return Feedback()
        if not read_steps(attempt):
            raise Untaught("attempt cannot be read")
        asked = render(prompt, question=exercise.question, answer=exercise.answer, attempt=quoted(attempt))
        said = yield from role.say([user(asked)])
        found = read_fields(said, attempt)
        if found is None:
            raise Untaught("feedback of the teacher cannot be read")
        if found.is_correct:
            raise Untaught("teacher found nothing wrong in a wrong attempt")
        return found

    return criticise


# Improvers


def script_improver(family: Family) -> Improver:
    """A script that does the steps from the wrong one on again."""

    def improve(exercise: Exercise, attempt: str, feedback: Feedback) -> Flow[str]:
        yield from ()
        steps = family.repair(exercise.question, attempt, feedback) if family.repair else None
        kept = before(attempt, feedback.step or "")
        if steps is None or kept is None:
            raise Untaught("script cannot mend it")
        return tidy(kept + steps)

    return improve


def model_improver(role: Role, prompt: str) -> Improver:
    """A model that is given the attempt up to the wrong step and writes the rest."""

    def improve(exercise: Exercise, attempt: str, feedback: Feedback) -> Flow[str]:
        told = {"attempt": quoted(attempt), "feedback": quoted(render_feedback(feedback, attempt))}
        kept = before(attempt, feedback.step or "") or ""
        blanks = {"question": exercise.question, "kept": quoted(kept), "step": feedback.step or "", **told}
        said = yield from role.say([user(render(prompt, **blanks))])
        update = spliced(attempt, feedback, said)
        if update is None:
            raise Untaught("update of the teacher cannot be read")
        return update

    return improve


def policy_improver(
    family: Family, role: Role, layout: Layout, say: Say, critic: Critic, otherwise: Improver
) -> Improver:
    """The policy itself, told the feedback: the first of its updates, from the wrong step on, that the critic accepts.

    Where there is none, `otherwise` mends.
    """

    def improve(exercise: Exercise, attempt: str, feedback: Feedback) -> Flow[str]:
        chat = layout.updating(exercise.question, attempt, say(exercise, attempt, feedback))
        replies = yield from together(role.complete(chat, index) for index in range(TRIES))
        for said in replies:
            if isinstance(said, Failure) or said.finish != "stop":
                continue
            update = spliced(attempt, feedback, said.text)
            if update and family.is_right(exercise, update) and (yield from _accepts(critic, exercise, update)):
                return update
        return (yield from otherwise(exercise, attempt, feedback))

    return improve


def _accepts(critic: Critic, exercise: Exercise, update: str) -> Flow[bool]:
    try:
        found = yield from critic(exercise, update)
    except Untaught:
        return False
    return found.is_correct


# The teacher's own mistakes


def corrupted(exercise: Exercise, index: int, family: Family, seed: str, kinds: Sequence[str] = ()) -> Flow[Trajectory]:
    """Return an attempt into which a script put a mistake, of one of these kinds where some are named."""
    yield from ()
    if family.corrupt is None:
        raise RolloutError("script makes no mistakes", family.name)
    rng = random.Random(f"{seed}/{exercise.id}/{index}")
    for _ in range(DRAWS):
        made = family.corrupt(exercise.question, rng)
        if not kinds or made.kind in kinds:
            return Trajectory(exercise, index, (tidy(made.attempt),))
    raise RolloutError("question leaves no room for the mistake", f"{', '.join(kinds)}: {exercise.question}")


def demonstrated(exercise: Exercise, index: int, role: Role, prompt: str, format: str) -> Flow[Trajectory]:
    """Return the attempt of a teacher that is a model, right or wrong."""
    asked = render(prompt, question=exercise.question, format=format).strip()
    said = yield from role.say([user(asked)], index)
    return Trajectory(exercise, index, (tidy(said),))


# Reading


def read_fields(text: str, attempt: str) -> Feedback | None:
    """Return the feedback that `text` closes with, as lines `Step:`, `Part:`, `Reason:`; `Step: none`: all is right.

    None where a line is missing or there twice, where the attempt has no such step, and where the step does not say the
    part word for word.
    """
    found = [(name.lower(), value) for name, value in FIELD.findall(text[:MOST])]
    starts = [at for at, (name, _) in enumerate(found) if name == "step"]
    closing = found[starts[-1] :] if starts else []
    fields = dict(closing)
    if not closing or len(fields) < len(closing):
        return None
    label = _label(fields["step"])
    if label == "none":
        return Feedback()
    feedback = Feedback(label, fields.get("part", "").strip(QUOTES), _rest_of_sentence(fields.get("reason", "")))
    if not feedback.span or not feedback.reason:
        return None
    # What cannot be read again from its sentence could not be learned.
    return feedback if read_feedback(render_feedback(feedback, attempt), attempt) == feedback else None


def spliced(attempt: str, feedback: Feedback, reply: str) -> str | None:
    """Return the attempt up to the wrong step, and the reply from that step on; None where the reply has no such step.

    So the steps before the wrong one stay as they are, whether or not the reply repeats them.
    """
    kept = before(attempt, feedback.step or "")
    begin = next((step.start for step in read_steps(reply) if step.label == feedback.step), None)
    return None if kept is None or begin is None else tidy(kept + reply[begin:])


def _label(said: str) -> str:
    plain = re.sub(r"^step\b", "", said.strip(" .()*_"), flags=re.I).strip(" .()*_")
    if plain.lower() in ("none", FINAL.lower()):
        return "none" if plain.lower() == "none" else FINAL
    return plain


def _rest_of_sentence(reason: str) -> str:
    return re.sub(r"^this is because\s+", "", reason.strip(), flags=re.I).removesuffix(".").strip()
