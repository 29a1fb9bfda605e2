"""How well a judge judges, and a refiner refines: by checkers that never enter the loop, and by themselves.

A judge that says Yes to everything has a high F1 where most is right, and one that drifts to Yes spoils a loop unseen:
balanced accuracy, and the accuracy on bad answers alone, stand beside both. A refiner that is its own judge believes
itself; the gap between what it says of its refinements and what a checker says is that belief.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sparring.evals.statistics import DRAWS, Interval, mean_interval
from sparring.files import Row
from sparring.rollouts.tree import Node, Tree
from sparring.signals.judge import Judgement
from sparring.tasks.instructions import Judged

if TYPE_CHECKING:
    from numpy.typing import NDArray

Metrics = dict[str, Interval | None]
IsRight = Callable[[str, str], bool]
"""(prompt, response) -> whether it follows, by a checker."""


# The judge


def readings(judged: Iterable[tuple[Judged, Judgement | None]]) -> list[Row]:
    """Return a line a labelled response: what the majority said of it, and how many votes were right.

    `says` and `right` are None where votes were tied or too few readable; `votes_right` is the share of the readable
    votes that were right, `agreement` the share that was with the larger side, None where none was readable;
    `unreadable` is the share of all votes.
    """
    return [_reading(one, judgement) for one, judgement in judged]


def _reading(one: Judged, judgement: Judgement | None) -> Row:
    votes = judgement.votes if judgement else ()
    readable = [vote.verdict for vote in votes if vote.verdict is not None]
    says, right = judgement.majority if judgement else None, readable.count(one.label)
    known = {"item": "judgement", "id": one.id, "kind": one.kind, "label": one.label, "says": says}
    return known | {
        "right": None if says is None else says is one.label,
        "votes_right": right / len(readable) if readable else None,
        "agreement": max(right, len(readable) - right) / len(readable) if readable else None,
        "unreadable": 1 - len(readable) / len(votes) if votes else None,
    }


def judging(rows: Sequence[Row], before: Sequence[Row] = ()) -> Metrics:
    """Return how often the majority is right, of the responses that it decided; `judge_unscored` is the others' share.

    `judge_accuracy_good` and `_bad` are of responses that follow and that do not, `judge_balanced_accuracy` is their
    mean, `judge_f1` takes Yes for the find. `judge_accuracy_one_vote` is a single vote's, `judge_agreement` the share
    of votes on the larger side, `judge_unreadable` of votes without a verdict. With `before`, readings of the same
    responses by an earlier judge, `..._over_round_0` are paired differences.
    """
    scored = [row for row in rows if row["right"] is not None]
    metrics: Metrics = {
        "judge_accuracy": mean_interval([float(row["right"]) for row in scored]),
        "judge_balanced_accuracy": _of_counts(scored, _balanced),
        "judge_f1": _of_counts(scored, _f1),
        "judge_accuracy_bad": mean_interval([float(row["right"]) for row in scored if not row["label"]]),
        "judge_accuracy_good": mean_interval([float(row["right"]) for row in scored if row["label"]]),
        "judge_accuracy_one_vote": _mean(rows, "votes_right"),
        "judge_agreement": _mean(rows, "agreement"),
        "judge_unreadable": _mean(rows, "unreadable"),
        "judge_unscored": mean_interval([float(row["right"] is None) for row in rows]),
    }
    return metrics | (_over(scored, before) if before else {})


def by_kind(rows: Sequence[Row]) -> dict[str, Metrics]:
    """Return `judging` of each kind of response: natural, adversarial, or a fault; in the order of their names."""
    return {kind: judging([row for row in rows if row["kind"] == kind]) for kind in sorted({r["kind"] for r in rows})}


def _over(now: Sequence[Row], before: Sequence[Row]) -> Metrics:
    """Return paired differences over the responses that both judges decided."""
    then = {row["id"]: row["right"] for row in before if row["right"] is not None}
    gains = [(row["label"], float(row["right"]) - then[row["id"]]) for row in now if row["id"] in then]
    good, bad = ([gain for label, gain in gains if label is kind] for kind in (True, False))
    # Of n responses each kind counts a half, so that the mean is the gain in balanced accuracy.
    halves = [gain * len(gains) / (2 * len(those)) for those in (good, bad) for gain in those]
    return {
        "judge_accuracy_over_round_0": mean_interval(good + bad),
        "judge_balanced_accuracy_over_round_0": mean_interval(halves) if good and bad else None,
        "judge_accuracy_bad_over_round_0": mean_interval(bad),
        "judge_accuracy_good_over_round_0": mean_interval(good),
    }


def _of_counts(rows: Sequence[Row], statistic: Callable[[NDArray[Any]], NDArray[Any]]) -> Interval | None:
    """Return a statistic of right and wrong Yes and No with its percentile-bootstrap interval over responses.

    To draw responses is to draw how many of each of the four there are. None where the statistic has no value.
    """
    import numpy as np

    kinds = Counter((row["label"], row["right"]) for row in rows)
    counts = np.array([[kinds[cell] for cell in ((True, True), (True, False), (False, True), (False, False))]])
    value = float(statistic(counts)[0]) if rows else np.nan
    if np.isnan(value):
        return None
    drawn = statistic(np.random.default_rng(0).multinomial(len(rows), counts[0] / len(rows), size=DRAWS))
    if len(rows) == 1:
        return Interval(value, None, None, 1)
    low, high = np.nanquantile(drawn, [0.025, 0.975])  # a draw that has one class alone says nothing
    return Interval(value, min(float(low), value), max(float(high), value), len(rows))


def _balanced(counts: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    yes, missed, no, alarm = counts.T
    with np.errstate(invalid="ignore"):
        return (yes / (yes + missed) + no / (no + alarm)) / 2


def _f1(counts: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    yes, missed, _, alarm = counts.T
    with np.errstate(invalid="ignore"):
        return np.where(yes + missed > 0, 2 * yes / (2 * yes + missed + alarm), np.nan)  # nothing to find: no value


def _mean(rows: Sequence[Row], name: str) -> Interval | None:
    return mean_interval([row[name] for row in rows if row[name] is not None])


# The refiner


def delivered(tree: Tree) -> Node:
    """Return what a search ends with: the accepted node, else the refinement of highest value, the first of equals, as
    published; the root where nothing came of it."""
    return tree.leaf or max(tree.nodes[1:], key=lambda node: node.value, default=tree.root)


def outcomes(trees: Iterable[Tree], is_right: IsRight) -> list[Row]:
    """Return a line a tree: what the checker says of its root and of what the search ended with, and its own judge.

    A tree whose root was accepted refined nothing, and has no line.
    """
    rows: list[Row] = []
    for tree in trees:
        if tree.leaf is not tree.root:
            last = delivered(tree)
            right = {"began": is_right(tree.prompt, tree.root.response), "right": is_right(tree.prompt, last.response)}
            made = {"accepted": tree.leaf is not None, "depth": last.depth, "generated": tree.generated}
            rows.append({"item": "refinement", "id": tree.id, **right, **made})
    return rows


def refining(rows: Sequence[Row]) -> Metrics:
    """Return how well answers are refined, and how far the judge can be believed about it.

    `refinement_success` is the share of answers wrong by the checker that end right by it, `refinement_success_self`
    the share of the same that the judge accepted, `refinement_gap` the second less the first. `accepted_right` is the
    share of accepted refinements that the checker agrees with, also by depth: the purity of what is learned. Of all
    trees, `refinement_accepted` is the share that accepted one, `refinement_needless` of those whose root was right.
    """
    wrong = [row for row in rows if not row["began"]]
    accepted = [row for row in rows if row["accepted"]]
    metrics: Metrics = {
        "refinement_success": mean_interval([float(row["right"]) for row in wrong]),
        "refinement_success_self": mean_interval([float(row["accepted"]) for row in wrong]),
        "refinement_gap": mean_interval([float(row["accepted"]) - float(row["right"]) for row in wrong]),
        "refinement_needless": mean_interval([float(row["began"]) for row in rows]),
        "refinement_accepted": mean_interval([float(row["accepted"]) for row in rows]),
        "accepted_right": mean_interval([float(row["right"]) for row in accepted]),
    }
    for depth in sorted({row["depth"] for row in accepted}):
        those = [float(row["right"]) for row in accepted if row["depth"] == depth]
        metrics[f"accepted_right_depth_{depth}"] = mean_interval(those)
    return metrics
