"""SPaR's rounds: answers with their votes, and trees of refinements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

from sparring.files import Row
from sparring.report.browse.core import Detail, Entry, Group, GroupKind, Link, Part, Words, title
from sparring.report.browse.refining import (
    FILES,
    UNIT,
    Refining,
    entry_of,
    judged,
    judgement_of,
    passed,
    tree_of,
    verdict,
    whose,
)
from sparring.report.browse.rows import Rows, name_of, text
from sparring.report.browse.saying import counts, facts, share
from sparring.report.browse.siblings import Siblings

ABOUT = {
    "demonstrations": "Answers that a teacher wrote for the actor to begin with.",
    "attempts": "Answers of M_{last} to every prompt, with the votes of the judge on each.",
    "trees": "Each grows from a failed answer: refinements, and refinements of those, judged by vote until one passes.",
}
LABELS = {"demonstrations": "the teacher's answers", "attempts": "answers", "trees": "trees"}


class Glance(NamedTuple):
    """What is held of an answer."""

    id: str
    of: str
    title: str
    value: float | None
    passed: str


class Tree(NamedTuple):
    """What is held of a tree."""

    id: str
    title: str
    value: float | None
    """Of the node that was accepted, else of the best refinement."""
    accepted: int | None
    depth: int | None
    """Of the node that was accepted."""


@dataclass(frozen=True)
class Round:
    """What a round tried, judged and refined."""

    run: Refining
    t: int

    def name(self, name: str) -> str:
        return f"round-{self.t}/{name}.jsonl"

    def rows(self, name: str) -> Rows:
        return self.run.shelf[self.name(name)]

    def has(self, name: str, id: str) -> bool:
        return id in self.rows(name).ids

    def groups(self) -> Iterator[Group]:
        made: tuple[tuple[str, GroupKind, Callable[[], Iterator[Entry]]], ...] = (
            ("demonstrations", "answers", partial(self.answers, "demonstrations")),
            ("attempts", "answers", partial(self.answers, "attempts")),
            ("trees", "trees", self.trees),
        )
        for name, kind, entries in made:
            if self.name(name) in self.run.shelf:
                n = self.run.shelf.n(self.name(name))
                yield Group(
                    f"round-{self.t}/{name}",
                    LABELS[name],
                    self.t,
                    kind,
                    ABOUT[name].format(last=max(0, self.t - 1)),
                    entries,
                    n,
                )

    # Answers

    def judgement_file(self, name: str) -> Rows:
        """Return the file that has the votes on the rows of another."""
        return self.rows("judgements" if name == "attempts" else name)

    @cached_property
    def votes(self) -> dict[str, tuple[float | None, str]]:
        """Share of Yes and outcome of each answer, by its id; empty while they are being judged."""
        return {id: (value, came_of) for id, value, came_of in self.rows("judgements").glances(_votes)}

    @cached_property
    def titles(self) -> dict[str, str]:
        """What was asked, by the id of the prompt."""
        return dict(self.rows("attempts").glances(lambda row: (text(row, "prompt_id"), title(text(row, "prompt")))))

    @cached_property
    def siblings(self) -> Siblings:
        looked = self.rows("attempts").glances(lambda row: (name_of(row), text(row, "prompt_id")))
        return Siblings.among((id, of, self.votes.get(id, (None, ""))[0]) for id, of in looked)

    def came_of(self, id: str) -> str:
        """Return what came of an answer: of its votes, its tree, and whether it is in a row."""
        grown = "refined" if self.has("trees", id) else ""
        learned = "learned" if id in self.learned else ""
        return ", ".join(filter(None, [self.votes.get(id, (None, ""))[1], grown, learned]))

    @cached_property
    def learned(self) -> dict[str, list[tuple[str, str]]]:
        """(file, entry) of the training rows that an answer, or the tree that grows from it, is in; by its id."""
        found: dict[str, list[tuple[str, str]]] = {}
        for name in FILES:
            for row in self.rows(name).glances(lambda row: {"id": row.get("id"), "kind": row.get("kind")}):
                for id in whose(text(row, "id")):
                    found.setdefault(id, []).append((name, entry_of(row)))
        return found

    def answers(self, name: str) -> Iterator[Entry]:
        siblings = self.siblings if name == "attempts" else Siblings()
        for at, (id, told) in enumerate(
            self.rows(name).glances(lambda row: (name_of(row), title(text(row, "prompt"))))
        ):
            value = siblings.values.get(id)
            tags = tuple(filter(None, self.came_of(id).split(", "))) if name == "attempts" else ()
            unit = UNIT if value is not None else ""
            yield Entry(id, told, value, unit, *siblings.place(id), tags, partial(self._answer, name, at))

    def _answer(self, name: str, at: int) -> Detail:
        row = self.rows(name)[at]
        id = name_of(row)
        judgement = judgement_of(self.judgement_file(name).find(id) or row)
        known = facts(
            ("votes", verdict(judgement)),
            ("rank among its siblings", self.siblings.told(id) if name == "attempts" else None),
            ("prompt", text(row, "prompt_id")),
        )
        parts: list[Part] = [Words("prompt", text(row, "prompt")), judged("answer", text(row, "response"), judgement)]
        if name == "attempts":
            parts.append(self.grid(id))
        return Detail(known, tuple(parts), self.links(id, "attempts"))

    def grid(self, id: str) -> Part:
        return self.siblings.grid(
            id, f"round-{self.t}/attempts", "votes Yes", self.came_of, "answers to the same prompt"
        )

    def links(self, id: str, here: str) -> tuple[Link, ...]:
        """Return where else an answer stands; `here` is the file that it is looked at in."""
        group = f"round-{self.t}/"
        others = (("attempts", "the answer, with its votes"), ("trees", "the tree that grows from it"))
        found = [Link(label, group + name, id) for name, label in others if name != here and self.has(name, id)]
        rows = [(name, entry) for name, entry in self.learned.get(id, []) if name != here]
        return (*found, *(Link(f"training row: {entry}", group + name, entry) for name, entry in rows))

    # Trees

    def trees(self) -> Iterator[Entry]:
        paired = self.rows("actor").ids
        for at, tree in enumerate(self.rows("trees").glances(glance_at_tree)):
            tags = [*tree_tags(tree), *(["learned"] if tree.id in paired else [])]
            unit = UNIT if tree.value is not None else ""
            yield Entry(tree.id, tree.title, tree.value, unit, None, None, tuple(tags), partial(self._tree, at))

    def _tree(self, at: int) -> Detail:
        row = self.rows("trees")[at]
        id = text(row, "id")
        parts: list[Part] = [*tree_parts(row)]
        if self.has("attempts", id):
            parts.append(self.grid(id))
        return Detail(tree_facts(row), tuple(parts), self.links(id, "trees"))


def _votes(row: Row) -> tuple[str, float | None, str]:
    judgement = judgement_of(row)
    return name_of(row), judgement.value if judgement else None, passed(judgement)


def glance_at_tree(row: Row) -> Tree:
    nodes, accepted = row.get("nodes") or [], row.get("accepted")
    values = {one.get("id"): (one.get("judgement") or {}).get("value") for one in nodes}
    known = [value for id, value in values.items() if value is not None and id != 0]
    value = values.get(accepted) if accepted is not None else max(known, default=None)
    depth = next((one.get("depth") for one in nodes if accepted is not None and one.get("id") == accepted), None)
    return Tree(text(row, "id"), title(text(row, "prompt")), value, accepted, depth)


def tree_tags(tree: Tree) -> list[str]:
    if tree.accepted is None:
        return ["not accepted"]
    return ["accepted", *([f"depth {tree.depth}"] if tree.depth is not None else [])]


def tree_facts(row: Row) -> tuple[tuple[str, str], ...]:
    tree, nodes = glance_at_tree(row), row.get("nodes") or []
    confirmed = row.get("confirmed")
    dropped = row.get("dropped") or {}
    return facts(
        ("accepted", "nothing" if tree.accepted is None else f"node {tree.accepted}, {share(tree.value)}"),
        ("depth of it", tree.depth),
        ("fresh votes on it", verdict(judgement_of({"judgement": confirmed})) if confirmed else None),
        ("responses in the tree", len(nodes)),
        ("refinements that became none", counts(dropped)),
    )


def tree_parts(row: Row) -> tuple[Part, ...]:
    return Words("prompt", text(row, "prompt")), tree_of("tree", row)
