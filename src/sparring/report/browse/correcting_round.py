"""TriPosT's rounds: attempts, what the teacher made of them, and why a row was learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from sparring.files import Row
from sparring.report.browse.core import Chat, Detail, Entry, Group, GroupKind, Link, Mark, Part, Words
from sparring.report.browse.correcting import OUTCOMES, Correcting, trajectory
from sparring.report.browse.marks import differing
from sparring.report.browse.rows import Rows, Shelf, text
from sparring.report.browse.saying import chat, facts, learned
from sparring.report.browse.siblings import Siblings
from sparring.report.tripost import quoted_in

KINDS = {
    "improvement": "a wrong attempt, feedback on it, and its update",
    "non-improvement": "a right attempt, and feedback that says so",
    "false alarm": "a right attempt that the policy had criticised, and feedback that says that it is right",
    "gold": "a gold rationale, and feedback that says that it is right",
    "rationale": "a gold rationale by itself",
    "answer": "a bare answer",
    "sample": "an attempt that was selected, by itself",
}
SPEAKERS = ("attempt", "feedback", "update")
ABOUT = {
    "attempts": "m_{last} attempts a question, criticises its attempt, and updates it until it finds nothing wrong.",
    "trajectories": "What the teacher left of each: from the first wrong criticism on, its own words.",
    "train": "What the round was trained on, one improvement a row, with the weight of each message.",
}

SOURCES = {
    "demonstrations": "The teacher's own attempts, with mistakes to be found and mended.",
    "votes": "m_{last} attempts a question; learned is what agrees with the majority of its attempts.",
    "filtered": "m_{last} attempts a question; learned is what is right.",
}
"""What attempts are for, by `learn_from`, where it is not their correction."""


@dataclass(frozen=True)
class Round:
    """What a round tried, edited and learned."""

    run: Correcting
    t: int

    def name(self, name: str) -> str:
        return f"round-{self.t}/{name}.jsonl"

    def rows(self, name: str) -> Rows:
        return self.run.shelf[self.name(name)]

    def groups(self) -> Iterator[Group]:
        made: tuple[tuple[str, str, GroupKind, Callable[[], Iterator[Entry]]], ...] = (
            ("attempts", "attempts", "trajectories", partial(self.tried, "attempts")),
            ("trajectories", "edited trajectories", "trajectories", partial(self.tried, "trajectories")),
            ("train", "training rows", "rows", self.learned),
        )
        shelf: Shelf = self.run.shelf
        for name, label, kind, entries in made:
            if self.name(name) in shelf:
                n = shelf.n(self.name(name))
                yield Group(
                    f"round-{self.t}/{name}",
                    label,
                    self.t,
                    kind,
                    self._about(name),
                    entries,
                    n,
                )

    def _about(self, name: str) -> str:
        source = str(self.run.settings.get("learn_from")) if name == "attempts" else ""
        return SOURCES.get(source, ABOUT[name]).format(last=max(0, self.t - 1))

    @cached_property
    def outcomes(self) -> dict[str, str]:
        """What the teacher made of each attempt, by its id; empty where nobody edits."""
        looked = self.rows("trajectories").glances(lambda row: (text(row, "id"), text(row, "outcome")))
        return dict(looked)

    @cached_property
    def siblings(self) -> Siblings:
        name = "attempts" if self.name("attempts") in self.run.shelf else "trajectories"
        looked = self.rows(name).glances(_ids)
        return Siblings.among((id, of, None) for id, of in looked)

    @cached_property
    def made(self) -> dict[str, list[str]]:
        """The training rows that were cut of each trajectory, by its id."""
        found: dict[str, list[str]] = {}
        for id in self.rows("train").ids:
            found.setdefault(whose(id), []).append(id)
        return found

    def came_of(self, id: str) -> str:
        outcome = self.outcomes.get(id, "")
        return ", ".join(filter(None, [outcome, "learned" if id in self.made else ""]))

    def tried(self, name: str) -> Iterator[Entry]:
        for at, (id, of) in enumerate(self.rows(name).glances(_ids)):
            outcome = self.outcomes.get(id)
            tags = [outcome] if outcome else []
            tags += ["mended"] if outcome == "edited" else []
            tags += ["learned"] if id in self.made else []
            detail = partial(self._tried, name, at)
            yield Entry(id, self.run.title(of, False), None, "", None, None, tuple(tags), detail)

    def _tried(self, name: str, at: int) -> Detail:
        row = self.rows(name)[at]
        id, exercise = text(row, "id"), self.run.exercise(text(row, "exercise"), False)
        edited = name == "trajectories"
        sampled = self.rows("attempts").find(id) if edited else None
        chat = trajectory(name, text(exercise, "question"), row, "wrong" if edited else "quoted", sampled)
        parts: list[Part] = [chat, *rationale(exercise), self._grid(id, name)]
        return Detail(facts(*self._came_of(id, row), *self.run.about(exercise)), tuple(parts), self._links(id, name))

    def _came_of(self, id: str, row: Row) -> tuple[tuple[str, object], ...]:
        after = self.rows("trajectories").find(id) or row
        outcome, tokens = text(after, "outcome"), row.get("tokens") or []
        return (
            ("outcome", f"{outcome}: {OUTCOMES[outcome]}" if outcome in OUTCOMES else outcome),
            ("reason", text(after, "reason")),
            ("cut off", True if row.get("cut_off") else None),
            ("tokens written", ", ".join(map(str, tokens))),
            ("rows learned of it", len(self.made.get(id, ())) if self.name("train") in self.run.shelf else None),
        )

    def _links(self, id: str, here: str) -> tuple[Link, ...]:
        group = f"round-{self.t}/"
        others = (("attempts", "as the policy said it"), ("trajectories", "as the teacher left it"))
        found = [Link(label, group + name, id) for name, label in others if name != here and id in self.rows(name).ids]
        return (*found, *(Link(f"training row: {row}", f"{group}train", row) for row in self.made.get(id, ())))

    def _grid(self, id: str, name: str) -> Part:
        return self.siblings.grid(id, f"round-{self.t}/{name}", "", self.came_of, "attempts at the same question")

    def learned(self) -> Iterator[Entry]:
        for at, (id, kind, of) in enumerate(self.rows("train").glances(_lesson)):
            tags = ("learned", *((kind,) if kind else ()))
            yield Entry(id, self.run.title(of, False), None, "", None, None, tags, partial(self._row, at))

    def _row(self, at: int) -> Detail:
        row = self.rows("train")[at]
        id, kind = text(row, "id"), text(row, "kind")
        said, exercise = lesson(row), self.run.exercise(text(row, "exercise"), False)
        of, home = whose(id), self.home
        name = "trajectories" if of in home.rows("trajectories").ids else "attempts"
        source = home.rows(name).find(of)
        known = facts(
            ("what it is", f"{kind}: {KINDS[kind]}" if kind in KINDS else kind),
            ("what selection kept of its kind", self._kept(kind)),
            *(home._came_of(of, source) if source else ()),
            ("learned", learned(said.messages)),
            *self.run.about(exercise),
        )
        parts: list[Part] = [said, *([home._grid(of, name)] if source else []), *rationale(exercise)]
        links = home._links(of, "") if source else ()
        return Detail(known, tuple(parts), tuple(link for link in links if link.entry != id))

    @property
    def home(self) -> Round:
        """The round whose trajectories the rows are made of: the first, where all rounds learn what it did."""
        tried = any(self.name(name) in self.run.shelf for name in ("attempts", "trajectories"))
        return self if tried else Round(self.run, 1)

    def _kept(self, kind: str) -> str | None:
        """Return how many rows of a kind were learned, of how many there were to learn."""
        noted = self.run.notes.get(self.name("train"), {})
        found, kept = ((noted.get(name) or {}).get(kind) for name in ("found", "learned"))
        return None if found is None or kept is None else f"{kept} of {found}"


def lesson(row: Row) -> Chat:
    """Return a training row with what is wrong in the attempt, and what its update mends, marked."""
    found = chat("what is learned", row, SPEAKERS)
    by = {message.who: message for message in found.messages}
    attempt, feedback, update = (by[who].text if who in by else "" for who in SPEAKERS)
    quoted = quoted_in(attempt, feedback)
    marks: dict[str, Sequence[Mark]] = {
        "attempt": [Mark(*quoted, "wrong")] if quoted else [],
        "update": differing(attempt, update)[1],
    }
    marked = [replace(one, marks=(*one.marks, *marks.get(one.who, ()))) for one in found.messages]
    return Chat(found.label, tuple(marked))


def rationale(exercise: Row) -> list[Part]:
    gold = text(exercise, "rationale")
    return [Words("gold rationale", gold)] if gold else []


def whose(id: str) -> str:
    """Return the id of the trajectory that a training row is made of; of others, one that nothing has."""
    if " turn " in id:
        return id.rpartition(" turn ")[0]
    exercise, _, index = id.rpartition(" sample ")
    return f"{exercise} #{index}" if exercise else ""


def _ids(row: Row) -> tuple[str, str]:
    return text(row, "id"), text(row, "exercise")


def _lesson(row: Row) -> tuple[str, str, str]:
    return text(row, "id"), text(row, "kind"), text(row, "exercise")
