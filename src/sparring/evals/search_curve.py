"""What search is worth when answering: the score against the responses generated for it.

Greedy answering, the best of N by the judge's value, iterative refinement, and search breadth first and depth first
(SPaR's figure 5, https://arxiv.org/abs/2412.11605). All begin with the same greedy answer. One that the judge passes is
answered by a search as it stands; the best of N draws all N and takes the highest value, whatever the greedy one has. A
prompt without an answer counts as missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sparring.errors import SettingsError
from sparring.evals.judging import delivered
from sparring.evals.statistics import Interval, mean_interval, paired_difference
from sparring.files import Row
from sparring.flow import Flow, Role, together
from sparring.rollouts.pairs import Attempt, attempt, judged
from sparring.rollouts.tree import Refiner, Search, Tree, search
from sparring.signals.judge import Judge
from sparring.tasks.instructions import Checker, Instructed, follow
from sparring.types import Failure

Metrics = dict[str, Interval | None]
Way = Search | int
"""How to answer: by a search, or as the best of so many answers (the greedy one and others, drawn)."""
GREEDY = "greedy"
"""The way that all others are measured against."""
BUDGETS = (2, 4, 8, 16)
"""Responses generated at most, the greedy one included."""


@dataclass(frozen=True)
class Answering:
    """Who answers, and what checks it."""

    actor: Role
    """As it draws; it is greedy where it answers at once."""
    refiner: Refiner
    judge: Judge
    checkers: Mapping[str, Checker]


def curve_ways(how: Search, budgets: Sequence[int] = BUDGETS) -> dict[str, Way]:
    """Return every way at every budget, by name (`bfs_8`); `how` tells the shape of the trees.

    Raises SettingsError for a budget below 2, which leaves nothing to search with.
    """
    ways: dict[str, Way] = {}
    for most in budgets:
        if most < 2:
            raise SettingsError(f"a budget of {most} responses: the greedy answer is one, so it takes 2 or more")
        ways[f"best_of_{most}"] = most
        ways[f"iterative_{most}"] = replace(how, order="bfs", branch=1, beam=1, depth=most - 1, nodes=None)
        ways[f"bfs_{most}"] = replace(how, order="bfs", nodes=most - 1)
        ways[f"dfs_{most}"] = replace(how, order="dfs", nodes=most - 1)
    return dict(sorted(ways.items(), key=lambda named: named[0].rpartition("_")[0]))


def answers(asked: Instructed, ways: Mapping[str, Way], who: Answering) -> Flow[list[Row]]:
    """Answer a prompt greedily and in every way, side by side; return a line each.

    `right` says whether every instruction is obeyed, strictly; None where there is none that can be checked.
    `generated` and `votes` are what the answer took: votes on refinements that came to nothing are not known.
    `accepted` says whether the judge passed it, None where it was not asked or could not tell. `reason` says why there
    is no answer, or why the greedy one stands in for a search's.
    """
    greedy, *_ = yield from together([_first(asked, who, bool(ways))])
    if isinstance(greedy, Failure):
        return [_row(asked, name, who, None, generated=1, reason=greedy.reason) for name in (GREEDY, *ways)]
    rows = [_row(asked, GREEDY, who, greedy.response, generated=1)]
    most = max((way for way in ways.values() if isinstance(way, int)), default=1)
    flows = [*(_drawn(asked, index, who) for index in range(1, most)), *_searches(asked, greedy, ways, who)]
    tried = yield from together(flows)
    drawn, trees = tried[: most - 1], iter(tried[most - 1 :])
    for name, way in ways.items():
        if isinstance(way, int):
            rows.append(_best(asked, name, [greedy, *drawn[: way - 1]], who))
        else:
            rows.append(_found(asked, name, greedy, next(trees), who))
    return rows


def points(rows: Sequence[Row]) -> dict[str, Metrics]:
    """Return, by way, greedy first: `prompt_strict`, the share of prompts answered as every instruction of them asks;
    `over_greedy`, the paired difference; `generated` and `votes`, the mean a prompt took."""
    ways = dict.fromkeys(row["way"] for row in rows)
    by_way = {way: {row["id"]: row for row in rows if row["way"] == way} for way in ways}
    right = {
        way: {id: float(row["right"]) for id, row in those.items() if row["right"] is not None}
        for way, those in by_way.items()
    }
    return {
        way: {
            "generated": mean_interval([row["generated"] for row in those.values()]),
            "votes": mean_interval([row["votes"] for row in those.values()]),
            "prompt_strict": mean_interval([*right[way].values()]),
            "over_greedy": paired_difference(right[way], right[GREEDY]) if way != GREEDY else None,
        }
        for way, those in by_way.items()
    }


def _first(asked: Instructed, who: Answering, is_judged: bool) -> Flow[Attempt]:
    made = yield from attempt(asked.id, asked.prompt, 0, who.actor.greedy())
    return (yield from judged(made, who.judge)) if is_judged else made


def _drawn(asked: Instructed, index: int, who: Answering) -> Flow[Attempt]:
    made = yield from attempt(asked.id, asked.prompt, index, who.actor)
    return (yield from judged(made, who.judge))


def _searches(asked: Instructed, greedy: Attempt, ways: Mapping[str, Way], who: Answering) -> Iterator[Flow[Tree]]:
    """Yield the searches among the ways, in order; what the judge passes at once is answered as it stands."""
    for name, way in ways.items():
        if isinstance(way, Search):
            how = replace(way, accept_root=True)
            root = (greedy.response, who.refiner, who.judge, how, greedy.judgement)
            yield search(f"{asked.id} {name}", asked.prompt, *root)


def _best(asked: Instructed, way: str, tried: Sequence[Attempt | Tree | Failure], who: Answering) -> Row:
    """Return the answer of highest value, the first of equals; one that failed, or was not scored, is none or last."""
    there = [one for one in tried if isinstance(one, Attempt)]
    best = max(there, key=lambda one: -1.0 if one.value is None else one.value)
    votes = sum(len(one.judgement.votes) for one in there if one.judgement)
    return _row(asked, way, who, best.response, generated=len(tried), votes=votes, accepted=best.passed)


def _found(asked: Instructed, way: str, greedy: Attempt, tree: Attempt | Tree | Failure, who: Answering) -> Row:
    """Return what a search came to."""
    if not isinstance(tree, Tree):
        votes = len(greedy.judgement.votes) if greedy.judgement else 0
        reason = tree.reason if isinstance(tree, Failure) else ""
        return _row(asked, way, who, greedy.response, generated=1, votes=votes, reason=reason)
    votes = sum(len(node.judgement.votes) for node in tree.nodes) + len(tree.confirmed.votes if tree.confirmed else ())
    accepted = tree.leaf is not None
    return _row(asked, way, who, delivered(tree).response, generated=tree.generated, votes=votes, accepted=accepted)


def _row(
    asked: Instructed,
    way: str,
    who: Answering,
    response: str | None,
    *,
    generated: int,
    votes: int = 0,
    accepted: bool | None = None,
    reason: str = "",
) -> Row:
    obeyed = follow(asked, response or "", who.checkers)
    right = all(obeyed) if obeyed else None
    took = {"generated": generated, "votes": votes, "accepted": accepted}
    return {
        "item": "answer",
        "way": way,
        "id": asked.id,
        "right": right,
        **took,
        "reason": reason,
        "response": response,
    }
