"""What is shown of rollouts, whatever recipe made them: groups of entries, each with a detail that is made when asked.

Whoever shows these values (a page, a card, a terminal) knows no recipe. All text in them came from models and users: it
is data, in any shape, and never markup. `row()` of each is JSON without what is absent: None, no marks, no note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from sparring.files import Row

MOST_TITLE = 120
"""Characters of a title."""
CUT = "…"
"""Stands at the end of a title that was cut."""

MarkKind = Literal["wrong", "mended", "learned", "quoted"]
"""wrong: what feedback that bears out calls a mistake. quoted: what feedback quotes of a text, rightly or not.
mended: what is new in a text that was mended. learned: what of a text is learned, where that is a part of it."""
GroupKind = Literal["conversations", "trajectories", "trees", "answers", "rows", "failures", "comparison"]
Cell = str | float | None
"""None: not known, and never 0."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A part of a text: characters [start, end) of the Python string, 0 <= start < end <= len(text)."""

    start: int
    end: int
    kind: MarkKind


@dataclass(frozen=True, slots=True)
class Message:
    """What somebody said."""

    who: str
    """Speaker's label: system, user, policy, roleplayer, oracle, judge, refiner, attempt, feedback, update..."""
    text: str
    marks: tuple[Mark, ...] = ()
    weight: float | None = None
    """How much it is learned: 0 is not at all, 1 as in plain fine-tuning; None: nothing was learned here."""
    note: str = ""
    """A few words on it, ours."""

    def row(self) -> Row:
        """Return JSON; marks in UTF-16 units, as JavaScript counts characters."""
        said = {"who": self.who, "text": self.text, "weight": self.weight, "note": self.note or None}
        return _known(said, marks=_in_units(self.text, self.marks))


@dataclass(frozen=True, slots=True)
class Vote:
    """One reply of a judge."""

    verdict: Literal["yes", "no"] | None
    """None: it cannot be read; `reason` says why."""
    text: str
    reason: str = ""

    def row(self) -> Row:
        return _known({"verdict": self.verdict, "text": self.text, "reason": self.reason or None})


@dataclass(frozen=True, slots=True)
class Node:
    """A response in a tree, or a judged response on its own (id 0, no parent)."""

    id: int
    parent: int | None
    depth: int
    value: float | None
    """Share of Yes among the readable votes, in [0, 1]; None: unscored."""
    text: str
    critique: str
    votes: tuple[Vote, ...]
    refinement: str = ""
    """All that the refiner said to make it; "" for a root."""
    accepted: bool = False

    def row(self) -> Row:
        place = {"id": self.id, "parent": self.parent, "depth": self.depth, "value": self.value, "text": self.text}
        said = {"critique": self.critique or None, "refinement": self.refinement or None}
        return _known(place | said | {"accepted": self.accepted or None}, votes=[vote.row() for vote in self.votes])


@dataclass(frozen=True, slots=True)
class Chat:
    """Messages in the order in which they were said."""

    label: str
    messages: tuple[Message, ...]

    def row(self) -> Row:
        return {"kind": "chat", "label": self.label, "messages": [message.row() for message in self.messages]}


@dataclass(frozen=True, slots=True)
class Grown:
    """A tree. Nodes come parents first; `dropped` counts by reason the refinements that became no node."""

    label: str
    nodes: tuple[Node, ...]
    dropped: Mapping[str, int]

    def row(self) -> Row:
        nodes = [node.row() for node in self.nodes]
        return _known({"kind": "tree", "label": self.label, "nodes": nodes}, dropped=dict(self.dropped))


@dataclass(frozen=True, slots=True)
class Words:
    """One text."""

    label: str
    text: str

    def row(self) -> Row:
        return {"kind": "text", "label": self.label, "text": self.text}


@dataclass(frozen=True, slots=True)
class Link:
    """Leads to an entry of a group; the group may be missing where a run is in the middle."""

    label: str
    group: str
    entry: str

    def row(self) -> Row:
        return {"label": self.label, "group": self.group, "entry": self.entry}


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: a column a name of `head`, None where a cell is not known."""

    label: str
    head: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    links: tuple[Link | None, ...] = ()
    """Where a row leads, one a row; empty: nowhere."""

    def row(self) -> Row:
        made: Row = {"kind": "table", "label": self.label, "head": [*self.head], "rows": [[*row] for row in self.rows]}
        return _known(made, links=[link and link.row() for link in self.links])


Part = Chat | Grown | Words | Grid


@dataclass(frozen=True, slots=True)
class Detail:
    """All that is known of an entry."""

    facts: tuple[tuple[str, str], ...] = ()
    """Name and value, units included."""
    parts: tuple[Part, ...] = ()
    links: tuple[Link, ...] = ()

    def row(self) -> Row:
        lists = {"parts": [part.row() for part in self.parts], "links": [link.row() for link in self.links]}
        return {"facts": [[name, value] for name, value in self.facts], **lists}


@dataclass(frozen=True, slots=True)
class Entry:
    """One rollout, training row, failure or comparison, as a line of a list."""

    id: str
    """Unique within its group; any text."""
    title: str
    """At most 120 characters of what was asked; one line."""
    value: float | None
    """What it is worth, in `unit`; None: not scored."""
    unit: str
    """nats, "of votes", ...; "" where there is no value."""
    rank: int | None
    """Its place among its siblings (same task and persona, or prompt) by value, from 1 (best); equals share a place."""
    of: int | None
    """How many siblings have a value, itself included; None with `rank`."""
    tags: tuple[str, ...]
    """What one filters by: learned, failed, right, wrong, mended, broken, accepted, unscored, ..."""
    detail: Callable[[], Detail]

    def row(self) -> Row:
        """Return JSON, without the detail."""
        place = {"value": self.value, "unit": self.unit or None, "rank": self.rank, "of": self.of}
        return _known({"id": self.id, "title": self.title} | place, tags=[*self.tags])


@dataclass(frozen=True, slots=True)
class Group:
    """Entries of one kind."""

    id: str
    """Unique within the run: the stage that made it, as `round-1/conversations`, or a word, as `failures`."""
    label: str
    round: int | None
    """None: of no round, or of all."""
    kind: GroupKind
    about: str
    """One sentence for whoever never saw such a list."""
    entries: Callable[[], Iterator[Entry]]
    """May be called again; reads its files then. Raises RunError for a file that is broken."""
    n: int
    """Entries in all."""

    def row(self) -> Row:
        """Return JSON, without the entries."""
        said = {"id": self.id, "label": self.label, "round": self.round, "kind": self.kind}
        return _known(said | {"about": self.about, "n": self.n})


def title(text: str) -> str:
    """Return the beginning of a text as one line of at most 120 characters."""
    line = " ".join(text.lstrip()[: 8 * MOST_TITLE].split())
    return line if len(line) <= MOST_TITLE else line[: MOST_TITLE - 1] + CUT


def _known(row: Row, **lists: object) -> Row:
    """Return what is not None, and the lists that are not empty."""
    return {name: value for name, value in row.items() if value is not None} | {n: v for n, v in lists.items() if v}


def _in_units(text: str, marks: Sequence[Mark]) -> list[Row]:
    if not marks:
        return []
    # A character beyond U+FFFF is two units; a lone surrogate is one.
    at = range(len(text) + 1) if text.isascii() else [0, *accumulate(1 + (char > "\uffff") for char in text)]
    return [{"start": at[mark.start], "end": at[mark.end], "kind": mark.kind} for mark in marks]
