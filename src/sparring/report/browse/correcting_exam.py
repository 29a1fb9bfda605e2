"""TriPosT's evaluation: held-out questions, greedily and sampled, and m_0 beside the last model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from sparring.files import Row
from sparring.report.browse.beside import beside, first_and_last
from sparring.report.browse.core import Detail, Entry, Group, Link, Part
from sparring.report.browse.correcting import Correcting, trajectory
from sparring.report.browse.correcting_round import rationale
from sparring.report.browse.rows import Rows, text
from sparring.report.browse.saying import facts

WAYS = {
    "test-trajectories": ("greedy", "test trajectories", "tries held-out questions greedily, and corrects itself."),
    "test-sampled": (
        "sampled",
        "test trajectories, sampled",
        "tries some of them at temperature 1, and corrects itself.",
    ),
    "test-votes": (
        "",
        "test votes",
        "tries these again, at temperature 1: first attempts that a majority is taken of.",
    ),
}
Right = tuple[bool, bool]
"""Whether the first attempt is right, and the last."""
CAME_OF = {
    (True, True): "right at once",
    (False, True): "wrong, then right",
    (True, False): "right, then wrong",
    (False, False): "wrong to the end",
}


@dataclass(frozen=True)
class Exam:
    """What a round's model did on held-out questions."""

    run: Correcting
    t: int

    def rows(self, name: str) -> Rows:
        return self.run.shelf[f"round-{self.t}/{name}.jsonl"]

    def groups(self) -> Iterator[Group]:
        for name, (_, label, about) in WAYS.items():
            file = f"round-{self.t}/{name}.jsonl"
            if file in self.run.shelf:
                n, entries = self.run.shelf.n(file), partial(self.tried, name)
                told = f"m_{self.t} {about}"
                yield Group(f"round-{self.t}/{name}", label, self.t, "trajectories", told, entries, n)

    def right(self, name: str, exercise: str) -> Right | None:
        """Tell what a trajectory came to; None where it was not measured, or not yet."""
        item = WAYS[name][0]
        return self.run.readings.get((self.t, item, exercise)) if item else None

    def tried(self, name: str) -> Iterator[Entry]:
        for at, (id, of) in enumerate(self.rows(name).glances(lambda row: (text(row, "id"), text(row, "exercise")))):
            tags = _tags(self.right(name, of))
            yield Entry(id, self.run.title(of, True), None, "", None, None, tags, partial(self._tried, name, at))

    def _tried(self, name: str, at: int) -> Detail:
        row = self.rows(name)[at]
        of = text(row, "exercise")
        exercise = self.run.exercise(of, True)
        parts: list[Part] = [trajectory(name, text(exercise, "question"), row), *rationale(exercise)]
        known = facts(*came_of(self.right(name, of), row), *self.run.about(exercise))
        others = [other for other in WAYS if other != name and text(row, "id") in self.rows(other).ids]
        links = [Link(WAYS[other][1], f"round-{self.t}/{other}", text(row, "id")) for other in others]
        return Detail(known, tuple(parts), tuple(links))


def came_of(right: Right | None, row: Row) -> tuple[tuple[str, object], ...]:
    return (
        ("outcome", CAME_OF.get(right) if right else None),
        ("updates", max(0, len(row.get("attempts") or []) - 1) if row else None),
        ("cut off", True if row.get("cut_off") else None),
        ("tokens written", ", ".join(map(str, row.get("tokens") or []))),
    )


def _tags(right: Right | None) -> tuple[str, ...]:
    if right is None:
        return ()
    first, last = right
    changed = ("mended",) if last and not first else ("broken",) if first and not last else ()
    return ("right" if last else "wrong", *changed)


def comparison(run: Correcting) -> Group | None:
    """Return m_0 beside the last model on every held-out question that both tried; None before there are two."""
    name = "test-trajectories"
    rounds = first_and_last(run.shelf, lambda t: f"round-{t}/{name}.jsonl")
    if rounds is None:
        return None
    first, last = (Exam(run, t) for t in rounds)
    both = [id for id in last.rows(name).ids if id in first.rows(name).ids]
    about = f"Held-out questions with m_0 and m_{last.t}, those first that only one of them gets right."
    return beside(last.t, both, about, partial(_compared, first, last, both))


def _compared(first: Exam, last: Exam, both: list[str]) -> Iterator[Entry]:
    name = "test-trajectories"
    found: list[tuple[int, str, tuple[str, ...]]] = []
    for id in both:
        before, after = (exam.right(name, id.rpartition(" #")[0]) for exam in (first, last))
        order, tags = 4, ()
        if before and after:
            changed = ("changed", "better" if after[1] else "worse") if before[1] != after[1] else ()
            order = 3 if not changed else 0 if after[1] else 1
            tags = (*changed, "right" if after[1] else "wrong")
        found.append((order, id, tags))
    for _, id, tags in sorted(found, key=lambda one: one[0]):
        told = last.run.title(id.rpartition(" #")[0], True)
        yield Entry(id, told, None, "", None, None, tags, partial(_beside, first, last, id))


def _beside(first: Exam, last: Exam, id: str) -> Detail:
    name, of = "test-trajectories", id.rpartition(" #")[0]
    exercise = first.run.exercise(of, True)
    parts, told, links = list[Part](), list[tuple[str, object]](), list[Link]()
    for exam in (first, last):
        row, label, right = exam.rows(name).find(id) or {}, f"m_{exam.t}", exam.right(name, of)
        parts.append(trajectory(label, text(exercise, "question"), row))
        told.append((label, CAME_OF.get(right) if right else None))
        links.append(Link(f"{label}'s trajectory", f"round-{exam.t}/{name}", id))
    return Detail(facts(*told, *first.run.about(exercise)), (*parts, *rationale(exercise)), tuple(links))
