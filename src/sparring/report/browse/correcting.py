"""A run of TriPosT: its exercises, and what all its rounds share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sparring.files import Row
from sparring.report.browse.core import Chat, Mark, MarkKind, Message, title
from sparring.report.browse.marks import differing
from sparring.report.browse.rows import Shelf, text
from sparring.report.browse.saying import facts
from sparring.report.tripost import said

EXERCISES = "exercises.jsonl"
OUTCOMES = {
    "as sampled": "as the policy said it",
    "accepted": "right, and the policy found nothing wrong with it",
    "edited": "the teacher mended it",
    "false alarm": "right, though the policy criticised it; the teacher says that it is right",
    "feedback only": "mended in so roundabout a way that only the first feedback is learned",
    "dropped": "nothing of it is learned",
}


@dataclass(frozen=True)
class Correcting:
    """A run of TriPosT."""

    shelf: Shelf
    settings: Mapping[str, Any]
    notes: Mapping[str, Row]
    """What the journal says of each stage, by its name."""

    @cached_property
    def _places(self) -> dict[tuple[bool, str], tuple[int, str]]:
        """Place and title of each exercise, by whether it is held out and its id: both parts may use an id."""

        def look(row: Row) -> tuple[bool, str, str]:
            return row.get("part") == "test", text(row, "id"), title(text(row, "question"))

        looked = self.shelf[EXERCISES].glances(look)
        return {(held_out, id): (at, told) for at, (held_out, id, told) in enumerate(looked)}

    def title(self, id: str, test: bool) -> str:
        return self._places.get((test, id), (0, id))[1]

    def exercise(self, id: str, test: bool) -> Row:
        """Return an exercise; empty where there is none of that id."""
        place = self._places.get((test, id))
        return {} if place is None else self.shelf[EXERCISES][place[0]]

    def asked(self, id: str) -> str:
        """Return the question of a trajectory."""
        of = id.rpartition(" #")[0] or id
        return text(self.exercise(of, True) or self.exercise(of, False), "question")

    @cached_property
    def readings(self) -> dict[tuple[Any, str, str], tuple[bool, bool]]:
        """Whether the first and the last attempt are right, by round, "greedy" or "sampled", and exercise.

        Empty until a run is at its end.
        """

        def look(row: Row) -> tuple[Any, str, str, bool, bool]:
            right = row.get("direct") is True, row.get("self_corrected") is True
            return row.get("round"), text(row, "item"), text(row, "id"), *right

        return {(t, item, id): (first, last) for t, item, id, first, last in self.shelf["eval.jsonl"].glances(look)}

    def about(self, exercise: Row) -> tuple[tuple[str, str], ...]:
        return facts(
            ("exercise", text(exercise, "id")), ("tier", text(exercise, "tier")), ("answer", text(exercise, "answer"))
        )


def trajectory(label: str, question: str, row: Row, marked: MarkKind = "quoted", sampled: Row | None = None) -> Chat:
    """Return a trajectory as a chat, what feedback calls wrong marked.

    With `sampled`, the trajectory as the policy made it, words of the teacher say so, and what it mended is marked.
    """
    messages = [Message("user", question)] if question else []
    edited, before = row.get("edited"), ""
    for one in said(row):
        marks = [Mark(*one.quoted, marked)] if one.quoted else []
        by_teacher = edited is not None and _by_teacher(one.who, one.at, int(edited), row, sampled or {})
        if by_teacher and one.who == "update":
            marks += differing(before, one.text)[1]
        if one.who != "feedback":
            before = one.text
        note = "the teacher's" if by_teacher else ""
        messages.append(Message(one.who, one.text, tuple(marks), note=note))
    return Chat(label, tuple(messages))


def _by_teacher(who: str, at: int, edited: int, row: Row, sampled: Row) -> bool:
    """Tell whether words of an edited trajectory are the teacher's, given the number of its first own feedback.

    Before that feedback all is the policy's. The attempt that it is on is, too, but where the teacher went on from an
    attempt before it.
    """
    if at != edited or who == "feedback":
        return at >= edited
    attempts, own = row.get("attempts") or [], sampled.get("attempts") or []
    return bool(own) and (at >= len(own) or attempts[at] != own[at])
