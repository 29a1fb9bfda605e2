"""A tree of refinements: a failed response, refined and judged until one passes. For any engine, and on its own:

    from sparring.flow import Role, run
    from sparring.rollouts.tree import Refiner, search
    from sparring.signals.judge import Panel

    judge, refiner = Panel(Role("judge", engine), JUDGE), Refiner(Role("refiner", engine), REFINE)
    trees = run((str(at), search(str(at), prompt, response, refiner, judge)) for at, (prompt, response) in ...)

SPaR, https://arxiv.org/abs/2412.11605: breadth-first and depth-first, branch 3, beam 2, depth 3. Departures from the
published code: what changed nothing, and what the tree has already, is dropped before it is judged; an unfinished
refinement is no response; a tree with no child that can be judged is a tree, and no crash; an acceptance may have to be
confirmed by fresh votes, for a search finds the judge's mistakes as well; and whatever does not wait for something else
is under way at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sparring.errors import RolloutError, SettingsError
from sparring.flow import Flow, together
from sparring.rollouts.refining import BEGIN, END, Refiner, read_refined
from sparring.signals.judge import MOST_VOTES, Judge, Judgement
from sparring.types import Failure

__all__ = ["BEGIN", "END", "PUBLISHED", "Node", "Refiner", "Search", "Tree", "complaint", "read_refined", "search"]


@dataclass(frozen=True, slots=True)
class Node:
    """A response in a tree."""

    id: int
    """Its place among the tree's nodes."""
    parent: int | None
    """None for the root alone."""
    depth: int
    """Refinements between it and the root: 0 for the root."""
    response: str
    judgement: Judgement
    """Always with a value and a critique: what could not be judged is no node."""
    refinement: str = ""
    """All that the refiner said, reflection and sentinels included; "" for the root."""

    @property
    def value(self) -> float:
        """The share of votes that say it does all that is asked, in [0, 1]."""
        assert self.judgement.value is not None
        return self.judgement.value

    def row(self) -> dict[str, Any]:
        said = {"id": self.id, "parent": self.parent, "depth": self.depth, "response": self.response}
        return {**said, "judgement": self.judgement.row(), "refinement": self.refinement}

    @staticmethod
    def from_row(row: Mapping[str, Any]) -> Node:
        plain = {name: value for name, value in row.items() if name != "judgement"}
        return Node(judgement=Judgement.from_row(row["judgement"]), **plain)


@dataclass(frozen=True, slots=True)
class Tree:
    """What came of a search."""

    id: str
    prompt: str
    nodes: tuple[Node, ...]
    """The root first, then in the order of their making."""
    accepted: int | None = None
    """Id of the node that passed; None where none did."""
    confirmed: Judgement | None = None
    """The fresh votes that bore the acceptance out, where any were asked for."""
    dropped: Mapping[str, int] = field(default_factory=lambda: dict[str, int]())
    """Refinements that became no node, by reason: no-op (the response refined, or the root, once more), duplicate
    (of another in the tree), unreadable (sentinels missing or there twice), cut off, refused, empty, unscored (votes
    below the quorum), or what failed."""

    @property
    def root(self) -> Node:
        return self.nodes[0]

    @property
    def leaf(self) -> Node | None:
        """The accepted node."""
        return None if self.accepted is None else self.nodes[self.accepted]

    @property
    def generated(self) -> int:
        """Responses generated: the root, and every refinement asked for, what became of it or not."""
        return len(self.nodes) + sum(self.dropped.values())

    def path(self, node: Node) -> list[Node]:
        """Return the nodes from the root to `node`, both included."""
        path = [node]
        while path[0].parent is not None:
            path.insert(0, self.nodes[path[0].parent])
        return path

    def row(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "prompt": self.prompt,
            "accepted": self.accepted,
            "confirmed": self.confirmed.row() if self.confirmed else None,
            "dropped": dict(self.dropped),
            "nodes": [node.row() for node in self.nodes],
        }

    @staticmethod
    def from_row(row: Mapping[str, Any]) -> Tree:
        confirmed = Judgement.from_row(row["confirmed"]) if row["confirmed"] else None
        nodes = tuple(Node.from_row(node) for node in row["nodes"])
        return Tree(row["id"], row["prompt"], nodes, row["accepted"], confirmed, dict(row["dropped"]))


@dataclass(frozen=True)
class Search:
    """How a tree grows. Defaults are the published ones; iterative refinement is branch 1 and beam 1."""

    order: Literal["bfs", "dfs", "best"] = "bfs"
    """bfs: level by level. dfs: into the best child first, then its siblings. best: from the best of all open nodes."""
    branch: int = 3
    """Refinements of a node, at least 1."""
    beam: int = 2
    """Nodes gone on from, at least 1: of a level (bfs), of siblings (dfs), of all open ones at once (best)."""
    depth: int = 3
    """Most refinements in a row, at least 1."""
    nodes: int | None = None
    """Most refinements asked for in all; 0: the root alone. None: as many as the shape allows."""
    threshold: float = 0.5
    """A node passes with a value above it; in [0, 1]. Nothing is above 1."""
    confirm: int = 0
    """Fresh votes of which an acceptance needs a majority; 0: none are asked for."""
    accept_root: bool = False
    """Whether the root may pass, and nothing is refined then: for answering rather than for pairs."""

    def __post_init__(self) -> None:
        if self.order not in ("bfs", "dfs", "best"):
            raise SettingsError(f"order = {self.order!r}: must be bfs, dfs or best")
        least = {"branch": 1, "beam": 1, "depth": 1, "nodes": 0, "confirm": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise SettingsError(f"{name} = {value}: must be {bound} or more")
        if self.confirm > MOST_VOTES:
            raise SettingsError(f"confirm = {self.confirm}: must be {MOST_VOTES} or fewer")
        if not 0 <= self.threshold <= 1:
            raise SettingsError(f"threshold = {self.threshold}: must be in [0, 1]; published is 0.5")


PUBLISHED = Search()
Watch = Callable[[Node], None]
"""Is told of a node when it is made, and again where fresh votes changed it."""


def unwatched(node: Node) -> None:
    """Let a tree grow in the dark."""


def search(
    id: str,
    prompt: str,
    response: str,
    refiner: Refiner,
    judge: Judge,
    how: Search = PUBLISHED,
    judgement: Judgement | None = None,
    watch: Watch = unwatched,
) -> Flow[Tree]:
    """Refine `response` until a refinement passes, or the shape or budget of the tree is used up.

    `judgement` is the root's, where it is known; otherwise the root is judged first. Raises RolloutError where it has
    no value, or no critique. A refinement that fails is counted in the tree's `dropped`. `watch` sees the tree grow.
    """
    if judgement is None:
        judgement = yield from judge(prompt, response)
    if judgement.critique is None:
        reasons = Counter(vote.reason for vote in judgement.votes if vote.verdict is None)
        raise RolloutError("root could not be judged", ", ".join(f"{n} x {reason}" for reason, n in reasons.items()))
    growth = _Growth(prompt, refiner, judge, how, watch)
    growth.add(Node(0, None, 0, response, judgement))
    yield from growth.grow()
    dropped = dict(sorted(growth.dropped.items()))
    return Tree(id, prompt, (*growth.nodes,), growth.accepted, growth.confirmed, dropped)


@dataclass
class _Growth:
    """A tree that grows."""

    prompt: str
    refiner: Refiner
    judge: Judge
    how: Search
    watch: Watch
    nodes: list[Node] = field(default_factory=lambda: list[Node]())
    accepted: int | None = None
    confirmed: Judgement | None = None
    dropped: Counter[str] = field(default_factory=lambda: Counter[str]())
    judged: dict[str, Judgement | None] = field(default_factory=lambda: dict[str, Judgement | None]())
    """What was judged, by its words; None while that is under way, or where it came to nothing."""
    met: set[str] = field(default_factory=lambda: set[str]())
    """The words of the nodes, but for the root."""

    def grow(self) -> Flow[None]:
        """Expand group after group of nodes until one passes; whole groups are judged before one is looked at."""
        if self.how.accept_root and (yield from self.accepts(self.nodes)):
            return
        frontier = [*self.nodes]
        while frontier:
            chosen, rest = self.choose(frontier)
            children = yield from self.expand(chosen)
            if (yield from self.accepts(children)):
                return
            children = [self.nodes[child.id] for child in children]  # with the fresh votes
            kept = children if self.how.order == "best" else _best(children)[: self.how.beam]
            frontier = [node for node in (*kept, *rest) if node.depth < self.how.depth]

    def choose(self, frontier: list[Node]) -> tuple[list[Node], list[Node]]:
        """Return the nodes to expand now, and those that wait."""
        match self.how.order:
            case "bfs":
                return frontier, []
            case "dfs":
                return frontier[:1], frontier[1:]
            case "best":
                ranked = _best(frontier)
                return ranked[: self.how.beam], ranked[self.how.beam :]

    def expand(self, parents: Sequence[Node]) -> Flow[list[Node]]:
        """Refine each of the nodes `branch` times, side by side, and return the new nodes."""
        wanted = [(parent, number) for parent in parents for number in range(self.how.branch)]
        if self.how.nodes is not None:
            wanted = wanted[: self.how.nodes - (len(self.nodes) - 1 + self.dropped.total())]
        tried = yield from together(self.attempt(parent, number) for parent, number in wanted)
        return [node for (parent, _), one in zip(wanted, tried, strict=True) if (node := self.made(parent, one))]

    def attempt(self, parent: Node, number: int) -> Flow[tuple[str, str]]:
        """Return what the refiner says of a node, and the response in it, once that is judged or another is at it.

        Raises RolloutError for what changes nothing.
        """
        critique = complaint(parent.judgement)
        refinement = yield from self.refiner.refine(self.judge, self.prompt, parent.response, critique, number)
        response = read_refined(refinement)
        words = _words(response)
        if words in (_words(parent.response), _words(self.nodes[0].response)):
            raise RolloutError("no-op")
        if words not in self.judged:
            self.judged[words] = None
            self.judged[words] = yield from self.judge(self.prompt, response)
        return refinement, response

    def made(self, parent: Node, result: tuple[str, str] | Failure) -> Node | None:
        """Add the node that came of a refinement; where none did, count why.

        Siblings are gone through in order, whichever was there first: a tree does not depend on who was fast.
        """
        if isinstance(result, Failure):
            self.dropped[result.reason] += 1
            return None
        refinement, response = result
        words = _words(response)
        judgement = self.judged[words]
        if words in self.met or judgement is None or judgement.critique is None:
            self.dropped["duplicate" if words in self.met else "unscored"] += 1
            return None
        self.met.add(words)
        return self.add(Node(len(self.nodes), parent.id, parent.depth + 1, response, judgement, refinement))

    def add(self, node: Node) -> Node:
        self.nodes.append(node)
        self.watch(node)
        return node

    def accepts(self, nodes: Sequence[Node]) -> Flow[bool]:
        """Accept the best of the nodes that passes, the first of equals; say whether one did.

        One that fresh votes do not bear out is not accepted, and counts them among its own from then on.
        """
        for node in _best(nodes):
            if node.value <= self.how.threshold:
                return False
            if self.how.confirm:
                fresh = yield from self.judge(self.prompt, node.response, MOST_VOTES, self.how.confirm)
                if not fresh.majority:
                    self.nodes[node.id] = replace(node, judgement=node.judgement.joined(fresh))
                    self.watch(self.nodes[node.id])
                    continue
                self.confirmed = fresh
            self.accepted = node.id
            return True
        return False


def _best(nodes: Sequence[Node]) -> list[Node]:
    """Return the nodes by value, best first, equals in the order of their making."""
    return sorted(nodes, key=lambda node: (-node.value, node.id))


def complaint(judgement: Judgement) -> str:
    """Return the critique to refine by: where most are content, that of the first who is not."""
    return (judgement.dissent if judgement.majority else None) or judgement.critique or ""


def _words(text: str) -> str:
    """Return a response as it is compared: what differs in space around it, or in how its lines end, is the same."""
    return "\n".join(text.strip().splitlines())
