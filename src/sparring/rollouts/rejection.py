"""Rejection: what a refiner learns from its own refinements and judgements, those that did not bear out left aside.

SPaR's rejection-sampling fine-tuning (https://arxiv.org/abs/2412.11605), as its code does it: four sources, capped in
one order, each judge's prompt once, so that what was refined is not learned again as a judgement. Judgements are
learned only where votes disagreed, for then the majority teaches those that were against it. The chats are made by the
very `Judge` and `Refiner` that made the trees: what is learned is what will be asked.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from sparring.errors import SettingsError
from sparring.rollouts.pairs import Attempt, agreeing
from sparring.rollouts.tree import Node, Refiner, Tree, complaint
from sparring.signals.judge import Judge, Judgement
from sparring.types import Chat, Example, assistant, user

Kind = Literal["refinement", "tree_positive", "tree_negative", "negative", "positive"]
"""What a row is of, in the order in which rows are taken. refinement: an accepted node, after its parent's critique.
The others are judgements: Yes or No, of a tree's node or of a sampled answer."""
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Caps:
    """Most rows of each kind, as published for 10,000 prompts. Raises SettingsError for one below 0."""

    refinement: int = 4000
    tree_positive: int = 1500
    tree_negative: int = 1000
    negative: int = 500
    positive: int = 2500

    def __post_init__(self) -> None:
        for name, cap in asdict(self).items():
            if cap < 0:
                raise SettingsError(f"caps.{name} = {cap}: it is a number of rows, 0 for none")


@dataclass(frozen=True, slots=True)
class Lesson:
    """One row to learn from."""

    id: str
    kind: str
    example: Example

    def row(self) -> dict[str, Any]:
        """Return it as a line of a file to train on."""
        said = {"messages": self.example.messages, "weights": self.example.weights}
        return {"id": self.id, "kind": self.kind, **said}


def lessons(
    trees: Sequence[Tree], attempts: Sequence[Attempt], judge: Judge, refiner: Refiner, caps: Caps, seed: int
) -> tuple[list[Lesson], dict[str, int]]:
    """Return what the refiner learns, shuffled, and how much was left out for which reason.

    Of refinements: `no-op`. Of judgements: `unscored` (ties too), `unanimous`, `no agreeing critique` (a checker
    decided against every vote), `one a tree`. Of rows made: `judged before` (the judge's prompt stands already) and
    `over the cap`.
    """
    rng, dropped = random.Random(f"{seed}/refiner"), Counter[str]()
    found: dict[Kind, list[Lesson]] = {kind: [] for kind in KINDS}
    for tree in trees:
        dropped["no-op"] += is_no_op(tree)
        found["refinement"] += [made] if (made := refinement(tree, judge, refiner)) else []
        for node, critique in _nodes(tree, rng, dropped):
            kind = "tree_positive" if node.judgement.majority else "tree_negative"
            asked = judge.chat(tree.prompt, node.response)
            found[kind].append(judgement(f"{tree.id} node {node.id}", kind, asked, critique))
    for one in attempts:
        if critique := _taught(one.judgement, dropped):
            kind = "positive" if one.passed else "negative"
            found[kind].append(judgement(one.id, kind, judge.chat(one.prompt, one.response), critique))
    taken = _capped(found, caps, rng, dropped)
    return rng.sample(taken, len(taken)), {reason: n for reason, n in sorted(dropped.items()) if n}


def refinement(tree: Tree, judge: Judge, refiner: Refiner) -> Lesson | None:
    """Return an accepted node as the three turns it was made in: judge's prompt, critique of its parent, refinement.

    Critique and refinement are both learned; the critique not where the majority is not behind it: where votes were
    tied, most were content, or all were against a checker. None where nothing was accepted, or what was is a no-op.
    """
    leaf = tree.leaf
    if leaf is None or leaf.parent is None or is_no_op(tree):
        return None
    parent = tree.nodes[leaf.parent]
    critique = complaint(parent.judgement)
    chat = [*refiner.chat(judge, tree.prompt, parent.response, critique), assistant(leaf.refinement)]
    learned = float(critique == agreeing(parent.judgement))
    weights = [*[0.0] * (len(chat) - 3), learned, 0.0, 1.0]
    return Lesson(f"{tree.id} node {leaf.id}", "refinement", Example(chat, weights))


def judgement(id: str, kind: Kind, asked: Chat, critique: str) -> Lesson:
    """Return a critique, with its verdict, as what is said in a judge's chat."""
    return Lesson(id, kind, Example([*asked, assistant(critique)], [*[0.0] * len(asked), 1.0]))


def sft_refined(trees: Iterable[Tree]) -> list[Lesson]:
    """Return what an actor learns without contrast, as in SELF: each accepted refinement as the answer."""
    return [
        Lesson(tree.id, "refined", Example([user(tree.prompt), assistant(leaf.response)], [0.0, 1.0]))
        for tree in trees
        if (leaf := tree.leaf) is not None and leaf is not tree.root and not is_no_op(tree)
    ]


def is_no_op(tree: Tree) -> bool:
    """Tell whether the accepted refinement says what its parent, or the root, said already."""
    leaf = tree.leaf
    if leaf is None or leaf.parent is None:
        return False
    return leaf.response.strip() in (tree.root.response.strip(), tree.nodes[leaf.parent].response.strip())


def _nodes(tree: Tree, rng: random.Random, dropped: Counter[str]) -> Iterator[tuple[Node, str]]:
    """Yield at most one node judged Yes and one judged No with what is taught of it, drawn from those of a tree.

    The root is none of them: its votes are those of a sampled answer.
    """
    for says in (True, False):
        judged = [node for node in tree.nodes[1:] if node.judgement.majority is says]
        taught = [(node, critique) for node in judged if (critique := _taught(node.judgement, dropped))]
        if taught:
            dropped["one a tree"] += len(taught) - 1
            yield rng.choice(taught)


def _taught(judgement: Judgement | None, dropped: Counter[str]) -> str | None:
    """Return the majority's critique where votes differed; else count why not, and return None."""
    critique = agreeing(judgement) if judgement else None
    if judgement is None or judgement.majority is None:
        dropped["unscored"] += 1
    elif critique is None:
        dropped["no agreeing critique"] += 1
    elif judgement.dissent is None:
        dropped["unanimous"] += 1
    else:
        return critique
    return None


def _capped(
    found: Mapping[Kind, Sequence[Lesson]], caps: Caps, rng: random.Random, dropped: Counter[str]
) -> list[Lesson]:
    """Return of each kind as many as its cap, drawn anew, leaving out judge's prompts that were taken before."""
    taken: dict[str, Lesson] = {}
    for kind in KINDS:
        room = getattr(caps, kind)
        for lesson in rng.sample(found[kind], len(found[kind])):
            asked = next(said["content"] for said in lesson.example.messages if said["role"] == "user")
            if asked in taken:
                dropped["judged before"] += 1
            elif not room:
                dropped["over the cap"] += 1
            else:
                taken[asked], room = lesson, room - 1
    return list(taken.values())
