"""How well a policy finds and mends its own mistakes, on held-out questions, by how difficult they are.

The first attempt and the last are of the same trajectory: what was mended less what was broken is what self-correction
is worth. A question whose rollout failed is answered wrong. Where a script verifies, an attempt whose answer is right
by a wrong way counts as wrong when it is asked whether feedback found what there was to find.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sparring.evals.gauges import distinct, forgotten, length
from sparring.evals.statistics import Interval, mean_interval, paired_difference
from sparring.evals.summary import as_row, judged, said
from sparring.files import Row
from sparring.rollouts.lessons import vote
from sparring.rollouts.trajectory import Trajectory
from sparring.tasks.exercise import Exercise, Family, Feedback, agree, read_feedback

Metrics = dict[str, Interval | None]
LEAST_VOTES = 3
"""A vote of two is the first one's."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What an evaluation found of one model."""

    metrics: Metrics
    tiers: dict[str, Metrics]
    """Both accuracies, by tier, easiest first."""
    items: list[Row]
    """One line a question, and whether it was tried greedily or sampled."""
    failed: dict[str, int] = field(default_factory=lambda: dict[str, int]())
    """Trajectories that failed, by reason."""
    edits: dict[str, int] = field(default_factory=lambda: dict[str, int]())
    """What the teacher made of the round's trajectories, by outcome."""
    learned: dict[str, int] = field(default_factory=lambda: dict[str, int]())
    """Rows that the round was trained on, by kind."""

    def row(self) -> Row:
        counts = {"failed": self.failed, "edits": self.edits, "learned": self.learned}
        tiers = {tier: as_row(metrics) for tier, metrics in self.tiers.items()}
        return {"metrics": as_row(self.metrics), "tiers": tiers, **counts}

    def values(self, item: str, name: str) -> dict[str, float]:
        """Return a column of the items of one kind, by question; those from elsewhere left out."""
        return {row["id"]: float(row[name]) for row in self.items if row["item"] == item and row["seen"] is not None}


@dataclass(frozen=True, slots=True)
class Tried:
    """What the policy did on test."""

    greedy: Sequence[Trajectory]
    some: Sequence[Exercise] = ()
    """The questions that were also sampled, at temperature 1."""
    sampled: Sequence[Trajectory] = ()
    votes: Sequence[Trajectory] = ()
    """Further first attempts at those."""


def examine(family: Family, questions: Sequence[Exercise], tried: Tried, m_0: Examined | None) -> Examined:
    """Evaluate a model; `m_0` is the evaluation of the one before the first round, None if this is it."""
    items = readings(family, questions, tried.greedy, "greedy")
    items += readings(family, tried.some, tried.sampled, "sampled")
    greedy = [row for row in items if row["item"] == "greedy"]
    own = [row for row in greedy if row["seen"] is not None]
    found = Examined(metrics_of(own), tiers_of(greedy), items)
    answers = {one.exercise.id: [one.attempts[-1]] for one in tried.greedy if one.exercise.seen is not None}
    found.metrics.update({"answer_words": length(answers), "distinct_2": distinct(answers, 2)})
    if m_0:
        for name, over in zip(("", "_direct"), against(found, m_0), strict=True):
            found.metrics[f"accuracy_self_corrected_over_round_0{name}"] = over
        now, before = (one.values("greedy", "self_corrected") for one in (found, m_0))
        found.metrics["forgotten"] = forgotten(now, before)
    if tried.some:
        found.metrics.update(sampled_metrics(family, found, tried))
    return found


def readings(family: Family, questions: Sequence[Exercise], tried: Sequence[Trajectory], item: str) -> list[Row]:
    """Return a line a question: what it came to, and what the first feedback said of the first attempt."""
    by_question = {one.exercise.id: one for one in tried}
    rows: list[Row] = []
    for question in questions:
        one = by_question.get(question.id)
        row = {"item": item, "id": question.id, "tier": question.tier, "seen": question.seen}
        rows.append(row | (reading(family, one) if one else NOTHING))
    return rows


NOTHING: Row = {
    "direct": False,
    "self_corrected": False,
    "updates": 0,
    "sound": False,
    "criticised": None,
    "step_named": None,
    "span_named": None,
    "tokens_direct": None,
    "tokens_self_corrected": None,
}
"""What is known of a question whose rollout failed."""


def reading(family: Family, one: Trajectory) -> Row:
    """Return what a trajectory came to.

    `sound`: its first attempt is right, in every step where a script can tell. `criticised`: the feedback on it names a
    mistake. `step_named`: the feedback names the step that the script does, or that all is correct where the script
    finds nothing; `span_named`: and quotes the same, of attempts with a mistake. What is not known is None.
    """
    attempt, direct = one.attempts[0], one.is_right(family, 0)
    truth = family.verify(one.exercise.question, attempt) if family.verify and not one.cut_off else None
    said = read_feedback(one.feedbacks[0], attempt) if one.feedbacks else None
    sound = direct and (truth is None or truth.is_correct)
    return {
        "direct": direct,
        "self_corrected": one.is_right(family, -1),
        "updates": len(one.attempts) - 1,
        "sound": sound,
        "criticised": said is not None and not said.is_correct if one.feedbacks and one.feedbacks[0] else None,
        "step_named": said is not None and said.step == truth.step if one.feedbacks and truth else None,
        "span_named": _names_span(said, truth) if one.feedbacks and truth else None,
        "tokens_direct": one.tokens[0] if one.tokens else None,
        "tokens_self_corrected": sum(one.tokens) if one.tokens else None,
    }


def _names_span(said: Feedback | None, truth: Feedback) -> bool | None:
    return None if truth.is_correct else said is not None and agree(said, truth)


def metrics_of(rows: Sequence[Row]) -> Metrics:
    """Return shares of questions. Of all: `accuracy_direct` (first attempts right), `accuracy_self_corrected` (last
    attempts right), also `_seen` and `_unseen`; `mended` (wrong, then right), `broken` (right, then wrong),
    `corrects_itself` (updated at all). Of attempts that got feedback: `false_alarms` (of sound ones, those criticised),
    `errors_found` (of others). Of those that a script could read: `feedback_accuracy` (verdict and step agree with the
    script), `feedback_span` (of those with a mistake: step and quotation agree). And tokens written a question.
    """
    parts = {"": rows, "_seen": [r for r in rows if r["seen"]], "_unseen": [r for r in rows if r["seen"] is False]}
    found: Metrics = {}
    for suffix, part in parts.items():
        found[f"accuracy_direct{suffix}"] = _share(part, lambda row: row["direct"])
        found[f"accuracy_self_corrected{suffix}"] = _share(part, lambda row: row["self_corrected"])
    return found | {
        "mended": _share(rows, lambda row: row["self_corrected"] and not row["direct"]),
        "broken": _share(rows, lambda row: row["direct"] and not row["self_corrected"]),
        "corrects_itself": _share(rows, lambda row: row["updates"] > 0),
        "false_alarms": _share([row for row in rows if row["sound"]], lambda row: row["criticised"]),
        "errors_found": _share([row for row in rows if not row["sound"]], lambda row: row["criticised"]),
        "feedback_accuracy": _share(rows, lambda row: row["step_named"]),
        "feedback_span": _share(rows, lambda row: row["span_named"]),
        "tokens_direct": _share(rows, lambda row: row["tokens_direct"]),
        "tokens_self_corrected": _share(rows, lambda row: row["tokens_self_corrected"]),
    }


def tiers_of(rows: Sequence[Row]) -> dict[str, Metrics]:
    """Return both accuracies for each tier."""
    found: dict[str, Metrics] = {}
    for tier in dict.fromkeys(row["tier"] for row in rows):
        part = [row for row in rows if row["tier"] == tier]
        names = ("direct", "self_corrected")
        found[tier] = {f"accuracy_{name}": _share(part, lambda row, name=name: row[name]) for name in names}
    return found


def sampled_metrics(family: Family, found: Examined, tried: Tried) -> Metrics:
    """Return accuracies at temperature 1, and of a majority vote over no fewer tokens where there was one."""
    first, last = found.values("sampled", "direct"), found.values("sampled", "self_corrected")
    metrics: Metrics = {
        "sampled_direct": mean_interval(list(first.values())),
        "sampled_self_corrected": mean_interval(list(last.values())),
        "sampled_gain": paired_difference(last, first),
    }
    if tried.votes:
        right = votes_of(family, [*tried.sampled, *tried.votes])
        voted = {one.id: float(right.get(one.id, False)) for one in tried.some}
        metrics["majority_vote"] = mean_interval(list(voted.values()))
        metrics["self_corrected_over_vote"] = paired_difference(last, voted)
        metrics["tokens_vote"] = mean_interval([float(n) for n in _tokens([*tried.sampled, *tried.votes]).values()])
        metrics["tokens_sampled"] = mean_interval([float(sum(one.tokens)) for one in tried.sampled])
    return metrics


def votes_needed(sampled: Sequence[Trajectory]) -> int:
    """Return how many first attempts a vote takes to have written no fewer tokens than self-correction did."""
    first = sum(one.tokens[0] for one in sampled)
    return max(LEAST_VOTES, math.ceil(sum(sum(one.tokens) for one in sampled) / max(1, first)))


def votes_of(family: Family, tried: Sequence[Trajectory]) -> dict[str, bool]:
    """Return whether the commonest answer among the first attempts at a question is right; of equals, the first."""
    ballots: dict[str, list[Trajectory]] = {}
    for one in sorted(tried, key=lambda one: one.index):
        ballots.setdefault(one.exercise.id, []).append(one)
    return {
        id: vote(family, [one.attempts[0] for one in those if not one.cut_off]) == those[0].exercise.answer
        for id, those in ballots.items()
    }


def against(now: Examined, then: Examined) -> list[Interval | None]:
    """Return how much better a model that corrects itself answers than an earlier one that did, and than its first
    attempts."""
    corrected = now.values("greedy", "self_corrected")
    return [paired_difference(corrected, then.values("greedy", name)) for name in ("self_corrected", "direct")]


def verdict(found: Sequence[Examined]) -> str:
    """Return one sentence: whether the last round, correcting itself, answers better than m_0, with and without."""
    last, t = found[-1].metrics, len(found) - 1
    right = last["accuracy_self_corrected"]
    over = [last.get(f"accuracy_self_corrected_over_round_0{name}") for name in ("", "_direct")]
    word, p = judged(over)
    if right is None or p is None or over[0] is None or over[1] is None:
        return f"round {t} could not be judged: there were too few questions"
    told = f"{right.value:.1%} of {right.n} held-out questions, {_points(over[0])} on m_0 correcting itself"
    mended, broken = (_count(last[name]) for name in ("mended", "broken"))
    idle = [str(number) for number, one in enumerate(found) if number and not one.learned]
    nothing = f"; there was nothing to learn from in round {', '.join(idle)}" if idle else ""
    return (
        f"round {t} {said(word, p)}: correcting itself it answers {told}, {_points(over[1])} on m_0's first attempts; "
        f"it mended {mended} and broke {broken}{nothing}"
    )


def _points(gain: Interval) -> str:
    bounds = f"95 % interval {100 * (gain.low or 0):+.1f} to {100 * (gain.high or 0):+.1f}"
    return f"{100 * gain.value:+.1f} points ({bounds})"


def _count(share: Interval | None) -> int:
    return round(share.value * share.n) if share else 0


def _tokens(tried: Sequence[Trajectory]) -> dict[str, int]:
    """Return the tokens of the first attempts at each question."""
    written: Counter[str] = Counter()
    for one in tried:
        written[one.exercise.id] += one.tokens[0]
    return dict(written)


def _share(rows: Sequence[Row], value: Callable[[Mapping[str, Any]], Any]) -> Interval | None:
    """Return the mean of a value over the rows where it is known."""
    return mean_interval([float(found) for row in rows if (found := value(row)) is not None])
