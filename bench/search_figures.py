"""What ways of growing the same trees took, and how they compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from sparring.rollouts.tree import Tree

OURS, EARLY, POOL, PUBLISHED = "sparring", "sparring, early", "pool", "pool, published"
WAYS = (OURS, EARLY, POOL, PUBLISHED)
RATES = ("nodes", "tokens")


@dataclass(frozen=True)
class Took:
    """What a way of growing all trees came to."""

    seconds: float
    trees: list[Tree] = field(repr=False)
    posts: int
    tokens: int
    """Generated."""

    @property
    def nodes(self) -> int:
        """Refinements that were judged."""
        return sum(len(tree.nodes) - 1 for tree in self.trees)

    @property
    def figures(self) -> dict[str, float]:
        counts = {
            "seconds": self.seconds,
            "refinements": sum(tree.generated - 1 for tree in self.trees),
            "nodes": self.nodes,
            "accepted": sum(tree.accepted is not None for tree in self.trees),
            "posts": self.posts,
            "tokens": self.tokens,
        }
        return counts | {f"{name}_per_s": counts[name] / self.seconds for name in RATES}


def medians(found: Sequence[Mapping[str, Took]]) -> dict[str, dict[str, float]]:
    """Return the median of every figure, by way."""
    return {
        way: {name: median(one[way].figures[name] for one in found) for name in found[0][way].figures}
        for way in found[0]
    }


def ratios(found: Sequence[Mapping[str, Took]], ours: str, other: str) -> dict[str, float]:
    """Return the medians of how much longer the other way took, and of how much faster our nodes and tokens came.

    `same_trees` is the share of trees that are the same in both, node by node: a server computes a little differently
    in batches of other sizes.
    """
    pairs = [(one[ours], one[other]) for one in found]
    rates = {
        f"{name}_per_s": median(a.figures[f"{name}_per_s"] / b.figures[f"{name}_per_s"] for a, b in pairs)
        for name in RATES
    }
    same = median(sum(map(alike, a.trees, b.trees)) / len(a.trees) for a, b in pairs)
    return {"seconds": median(b.seconds / a.seconds for a, b in pairs), **rates, "same_trees": same}


def alike(a: Tree, b: Tree) -> bool:
    said = [[(node.parent, node.response, node.value) for node in tree.nodes] for tree in (a, b)]
    return said[0] == said[1] and a.accepted == b.accepted


def table(found: Sequence[Mapping[str, Took]]) -> Iterator[str]:
    by_way = medians(found)
    names = list(next(iter(by_way.values())))
    yield f"| median of {len(found)} | {' | '.join(name.replace('_per_s', ' / s') for name in names)} |"
    yield f"|---|{'---|' * len(names)}"
    for way, figures in by_way.items():
        yield f"| {way} | {' | '.join(f'{figures[name]:,.1f}' for name in names)} |"
    yield ""
    yield "| of our way | to | seconds | nodes / s | tokens / s | same trees | seconds, every repeat |"
    yield "|---|---|---|---|---|---|---|"
    for ours, other in pairs_of(by_way):
        figures = ratios(found, ours, other)
        every = " / ".join(f"{one[other].seconds / one[ours].seconds:.2f}" for one in found)
        shown = " | ".join(f"{figures[name]:.2f}x" for name in ("seconds", "nodes_per_s", "tokens_per_s"))
        yield f"| {ours} | {other} | {shown} | {figures['same_trees']:.0%} | {every} |"


def pairs_of(ways: Mapping[str, object]) -> list[tuple[str, str]]:
    return [(a, b) for a in (OURS, EARLY) for b in (POOL, PUBLISHED) if a in ways and b in ways]
