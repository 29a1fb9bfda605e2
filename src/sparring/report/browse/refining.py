"""A run of SPaR: judgements and trees as they are shown, and what all its rounds share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

from sparring.files import Row
from sparring.report.browse.core import Detail, Entry, Group, Grown, Message, Node, Vote, Words, title
from sparring.report.browse.rows import Shelf, number, text
from sparring.report.browse.saying import facts, share
from sparring.signals import judge
from sparring.signals.judge import Judgement

INSTRUCTIONS = "instructions.jsonl"
UNIT = "of votes Yes"
Known = dict[tuple[Any, str, str], Row]


FILES = ("actor", "refiner", "judge")
"""Of training rows."""
NODE = re.compile(r"(.*) node (\d{1,9})", re.S)
OVER = re.compile(r"(.*) #(\d{1,9}) over #(\d{1,9})", re.S)


def whose(id: str) -> tuple[str, ...]:
    """Return the ids of the answers, and of the tree, that the row of an id is made of."""
    if found := OVER.fullmatch(id):
        return f"{found[1]} #{found[2]}", f"{found[1]} #{found[3]}"
    found = NODE.fullmatch(id)
    return (found[1] if found else id,)


def entry_of(row: Row) -> str:
    """Return the id of a row's entry: a tree's node may stand in several rows of other kinds."""
    kind = text(row, "kind")
    return f"{text(row, 'id')} {kind}" if kind else text(row, "id")


@dataclass(frozen=True)
class Refining:
    """A run of SPaR."""

    shelf: Shelf
    settings: Mapping[str, Any]
    notes: Mapping[str, Row]
    """What the journal says of each stage, by its name."""

    @cached_property
    def _places(self) -> dict[tuple[str, str], int]:
        """The place of what is tried or judged, by its part and id."""
        looked = self.shelf[INSTRUCTIONS].glances(lambda row: (text(row, "part"), text(row, "id")))
        return {key: at for at, key in enumerate(looked)}

    def instructed(self, part: str, id: str) -> Row:
        """Return a prompt, or a labelled response; empty where there is none of that id."""
        at = self._places.get((part, id))
        return {} if at is None else self.shelf[INSTRUCTIONS][at]

    def asked(self, id: str) -> str:
        """Return the prompt that a rollout is of."""
        for of in (id, id.rpartition(" #")[0]):
            for part in ("train", "test", "levels", "judged"):
                if row := self.instructed(part, of):
                    return text(row, "prompt")
        return ""

    @cached_property
    def readings(self) -> Known:
        """What was found of each item, by round, kind of item and id; empty until a run is at its end."""
        looked = self.shelf["eval.jsonl"].glances(lambda row: row)
        return {(row.get("round"), text(row, "item"), text(row, "id")): row for row in looked}

    def groups(self) -> Iterator[Group]:
        if "evolved.jsonl" in self.shelf:
            about = "Plain requests that a teacher made into instructions with constraints."
            n = self.shelf.n("evolved.jsonl")
            yield Group("evolved", "evolved instructions", None, "answers", about, self.evolved, n)

    def evolved(self) -> Iterator[Entry]:
        kept = self.shelf["prompts.jsonl"].ids
        looked = self.shelf["evolved.jsonl"].glances(
            lambda row: (text(row, "id"), title(text(row, "prompt")), number(row, "validity"))
        )
        for at, (id, told, value) in enumerate(looked):
            tags = () if "prompts.jsonl" not in self.shelf else ("kept",) if id in kept else ("dropped",)
            unit = UNIT if value is not None else ""
            yield Entry(id, told, value, unit, None, None, tags, partial(self._evolved, at))

    def _evolved(self, at: int) -> Detail:
        row = self.shelf["evolved.jsonl"][at]
        known = facts(("main constraint", text(row, "category")), ("can be followed", share(number(row, "validity"))))
        return Detail(known, (Words("the request", text(row, "seed")), Words("the instruction", text(row, "prompt"))))


# What is judged


def judgement_of(row: Row) -> Judgement | None:
    """Return the judgement in a row; None where it holds none."""
    said = row.get("judgement")
    return _judgement(said) if isinstance(said, dict) else None  # pyright: ignore[reportUnknownArgumentType]


def _judgement(row: Row) -> Judgement:
    votes = [
        judge.Vote(text(vote, "text"), vote.get("verdict"), text(vote, "reason")) for vote in row.get("votes") or ()
    ]
    return Judgement(tuple(votes), number(row, "value"))


def votes_in(row: Row) -> Judgement:
    """Return the judgement that a row is."""
    return _judgement(row)


def votes_of(judgement: Judgement | None) -> tuple[Vote, ...]:
    words: dict[bool | None, Literal["yes", "no"] | None] = {True: "yes", False: "no", None: None}
    return tuple(Vote(words[vote.verdict], vote.text, vote.reason) for vote in (judgement.votes if judgement else ()))


def judged(label: str, response: str, judgement: Judgement | None) -> Grown:
    """Return a response with its votes."""
    value, critique = (judgement.value, judgement.critique or "") if judgement else (None, "")
    return Grown(label, (Node(0, None, 0, value, response, critique, votes_of(judgement)),), {})


def verdict(judgement: Judgement | None) -> str | None:
    """Return what the majority says, and how many votes are behind it; None where nobody was asked."""
    if judgement is None:
        return None
    said = {
        True: "Yes",
        False: "No",
        None: "a tie" if judgement.value is not None else "nothing: too few readable votes",
    }
    yes, no = (sum(vote.verdict is word for vote in judgement.votes) for word in (True, False))
    unread = len(judgement.votes) - yes - no
    return f"{said[judgement.majority]} ({yes} Yes, {no} No{f', {unread} unreadable' if unread else ''})"


def passed(judgement: Judgement | None) -> str:
    """Return a tag: passed, failed by the votes, tie, unscored; "" where nobody was asked."""
    if judgement is None:
        return ""
    if judgement.value is None:
        return "unscored"
    return {True: "passed", False: "not passed", None: "tie"}[judgement.majority]


# Trees


def node_of(row: Row, accepted: bool) -> Node:
    judgement = judgement_of(row)
    return Node(
        id=row.get("id") or 0,
        parent=row.get("parent"),
        depth=row.get("depth") or 0,
        value=judgement.value if judgement else None,
        text=text(row, "response"),
        critique=(judgement.critique if judgement else None) or "",
        votes=votes_of(judgement),
        refinement=text(row, "refinement"),
        accepted=accepted,
    )


def tree_of(label: str, row: Row, only: Sequence[int] | None = None) -> Grown:
    """Return a tree, or those of its nodes that are named."""
    nodes = [
        node_of(one, one.get("id") is not None and one.get("id") == row.get("accepted"))
        for one in row.get("nodes") or ()
    ]
    shown = tuple(node for node in nodes if only is None or node.id in only)
    return Grown(label, shown, row.get("dropped") or {} if only is None else {})


def path(row: Row, id: int) -> list[int]:
    """Return the ids from the root to a node, both included; of a node that is not there, nothing."""
    parents = {one.get("id") or 0: one.get("parent") for one in row.get("nodes") or ()}
    found: list[int] = []
    at: int | None = id
    while at is not None and at in parents and at not in found:
        found.insert(0, at)
        at = parents[at]
    return found


def node_in(row: Row, id: int) -> Row:
    return next((one for one in row.get("nodes") or () if one.get("id") == id), {})


def asking(prompt: str) -> list[Message]:
    return [Message("user", prompt)] if prompt else []
