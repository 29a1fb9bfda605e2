"""How well an actor follows instructions and its refiner judges and refines, round by round, on held-out prompts.

Checkers have the last word here, and no part in what is learned. A prompt whose answer failed is followed in nothing.
What a round made of its own prompts is measured too: whether what it accepted is right, how many pairs it came to and
how far apart their sides lie, and what training on them did to the answers that were chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sparring.evals.following import Answers, Checkers, check, following, levels
from sparring.evals.gauges import distinct, divergence, forgotten, length
from sparring.evals.judging import IsRight, by_kind, judging, outcomes, readings, refining
from sparring.evals.statistics import Interval, mean_interval, paired_difference
from sparring.evals.summary import as_row, judged, said
from sparring.files import Row
from sparring.rollouts.pairs import Attempt
from sparring.rollouts.tree import Tree
from sparring.signals.judge import Judgement
from sparring.tasks.instructions import Instructed, Judged

Metrics = dict[str, Interval | None]


@dataclass(frozen=True, slots=True)
class Exam:
    """What is asked after every round."""

    test: Sequence[Instructed]
    judged: Sequence[Judged] = ()
    """Responses to be judged, of which it is known whether they follow."""
    levels: Sequence[Instructed] = ()
    """Prompts of nested levels."""
    audit: Sequence[Judged] = ()
    """Labelled responses by which a judge is certified before a round trains on what it says: on none of the others'
    prompts."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What actor and refiner did in an exam."""

    greedy: Sequence[Attempt]
    sampled: Sequence[Attempt]
    levels: Sequence[Attempt] = ()
    judgements: Mapping[str, Judgement] = field(default_factory=lambda: dict[str, Judgement]())
    """By the id of the response."""
    refined: Sequence[Tree] = ()
    """One refinement each of answers that M_0 drew and that are wrong by the checkers."""


@dataclass(frozen=True, slots=True)
class Made:
    """What the round before an exam made of its own prompts."""

    prompts: int = 0
    """That it tried."""
    trees: Sequence[Tree] = ()
    """Of prompts that can be checked."""
    answers: Sequence[Attempt] = ()
    """To prompts that can be checked, judged."""
    pairs: Sequence[Row] | None = None
    """All of them, learned or not; None: it did not learn from pairs."""
    before: Sequence[Row] = ()
    """Log-probs of both sides of pairs, before the actor learned them."""
    after: Sequence[Row] = ()
    learned: Mapping[str, int] = field(default_factory=lambda: dict[str, int]())
    """Rows, by kind."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What an evaluation found of one actor and its refiner."""

    metrics: Metrics
    kinds: dict[str, Metrics]
    """How well responses of each kind are judged."""
    items: list[Row]
    """One line a prompt and way to answer, a response judged, an answer refined."""
    learned: Mapping[str, int]
    """What the round before was trained on: rows by kind, `pairs` also where answers were learned without contrast."""
    failed: Mapping[str, int] = field(default_factory=lambda: dict[str, int]())
    """Greedy answers that failed, by reason."""

    def row(self) -> Row:
        kinds = {kind: as_row({"judge_accuracy": found["judge_accuracy"]}) for kind, found in self.kinds.items()}
        counts = {"failed": dict(self.failed), "learned": dict(self.learned)}
        return {"metrics": as_row(self.metrics), "kinds": kinds, **counts}

    def values(self, item: str, name: str) -> dict[str, float]:
        """Return a column of the items of one kind, by their ids."""
        return {row["id"]: float(row[name]) for row in self.items if row["item"] == item}


def examine(
    checkers: Checkers, is_right: IsRight, exam: Exam, seen: Seen, made: Made, m_0: Examined | None
) -> Examined:
    """Evaluate M_t and R_t; `m_0` is the evaluation of those before the first round, None if this is it.

    Shares of prompts that are followed have `_sampled` at the end where answers were drawn, `..._over_round_0` are
    paired differences.
    """
    said = {"greedy": answered(exam.test, seen.greedy), "sampled": answered(exam.test, seen.sampled)}
    items = [row for item, answers in said.items() for row in obeyed(item, answers, checkers)]
    judged = readings((one, seen.judgements.get(one.id)) for one in exam.judged)
    refined = outcomes(seen.refined, is_right)
    metrics: Metrics = following(said["greedy"], checkers)
    metrics |= {f"{name}_sampled": value for name, value in following(said["sampled"], checkers).items()}
    if exam.levels:
        metrics |= levels(answered(exam.levels, seen.levels), checkers)
    before = [row for row in m_0.items if row["item"] == "judgement"] if m_0 else []
    metrics |= judging(judged, before)
    metrics |= {name: value for name, value in refining(refined).items() if name in OF_TEST}
    metrics |= making(made, is_right)
    found = Examined(metrics, by_kind(judged), [*items, *judged, *refined], made.learned)
    answers = {one.prompt_id: [one.response] for one in seen.greedy}
    metrics |= {"answer_words": length(answers), "distinct_2": distinct(answers, 2)}
    if m_0:
        for name, gain in zip(("prompt_strict", "prompt_strict_sampled"), against(found, m_0), strict=True):
            metrics[f"{name}_over_round_0"] = gain
        metrics["forgotten"] = forgotten(found.values("greedy", "strict"), m_0.values("greedy", "strict"))
    return found


OF_TEST = ("refinement_success", "refinement_success_self", "refinement_gap")
"""What is told of refinements of held-out answers, all of which are wrong; the rest is of a round's own trees."""


def answered(asked: Sequence[Instructed], attempts: Sequence[Attempt]) -> Answers:
    """Return every prompt with its answer, None where that failed."""
    said = {one.prompt_id: one.response for one in attempts}
    return [(one, said.get(one.id)) for one in asked]


def obeyed(item: str, answers: Answers, checkers: Checkers) -> list[Row]:
    """Return a line a prompt that can be checked: whether all its instructions are obeyed."""
    return [
        {"item": item, "id": one.asked.id, "strict": all(one.strict), "loose": all(one.loose)}
        for one in check(answers, checkers)
    ]


def making(made: Made, is_right: IsRight) -> Metrics:
    """Return what a round made: nothing of one that there was not.

    `accepted_right` is the share of accepted refinements that the checkers agree with, also by depth.
    `judge_over_checker` is the share of sampled answers that passed less the share that is right. `pairs_a_prompt`
    is the share of prompts that came to a pair, `pair_edits` the words changed in one, `pair_similarity` the share of
    words in common. `chosen_log_prob_change`, in nats a reply, is what learning did to it; so of what was rejected.
    """
    if not made.prompts:
        return {}
    found = {name: value for name, value in refining(outcomes(made.trees, is_right)).items() if name not in OF_TEST}
    passed: dict[str, list[tuple[bool, bool]]] = {}
    for one in made.answers:
        if one.passed is not None:
            passed.setdefault(one.prompt_id, []).append((one.passed, is_right(one.prompt, one.response)))
    found["judge_over_checker"] = divergence(passed)
    if made.pairs is None:
        return found
    without = made.prompts - len(made.pairs)
    return {
        **found,
        "pairs_a_prompt": mean_interval([1.0] * len(made.pairs) + [0.0] * without),
        "pair_edits": mean_interval([float(row["edits"]) for row in made.pairs]),
        "pair_similarity": mean_interval([row["similarity"] for row in made.pairs]),
        **changes(made.before, made.after),
    }


def changes(before: Sequence[Row], after: Sequence[Row]) -> Metrics:
    """Return by how many nats a training changed the log-prob of what was chosen, and of what was rejected."""
    then = {row["id"]: row for row in before}
    found: Metrics = {}
    for side in ("chosen", "rejected"):
        both = [(row[side], then[row["id"]][side]) for row in after]
        found[f"{side}_log_prob_change"] = mean_interval([a - b for a, b in both if a is not None and b is not None])
    return found


def counted(rows: Sequence[Row], name: str) -> dict[str, int]:
    """Count rows by what they have under a name."""
    return dict(sorted(Counter(row[name] for row in rows).items()))


def against(now: Examined, then: Examined) -> list[Interval | None]:
    """Return how many more prompts an actor follows than an earlier one, greedily and where answers are drawn."""
    return [
        paired_difference(now.values(item, "strict"), then.values(item, "strict")) for item in ("greedy", "sampled")
    ]


def verdict(found: Sequence[Examined]) -> str:
    """Return one sentence: whether the last round follows more prompts than M_0, greedily and sampled."""
    last, t = found[-1].metrics, len(found) - 1
    shares = [last[name] for name in ("prompt_strict", "prompt_strict_sampled")]
    gains = [last.get(f"{name}_over_round_0") for name in ("prompt_strict", "prompt_strict_sampled")]
    told = [_gain(share, gain) for share, gain in zip(shares, gains, strict=True) if share and gain]
    word, p = judged(gains)
    if len(told) < 2 or p is None or shares[0] is None:
        return f"round {t} could not be judged: there were too few prompts"
    idle = [str(number) for number, one in enumerate(found) if number and not one.learned]
    nothing = f"; there was nothing to learn from in round {', '.join(idle)}" if idle else ""
    judge = _judge(last.get("judge_balanced_accuracy"), last.get("judge_balanced_accuracy_over_round_0"))
    return (
        f"round {t} {said(word, p)}: of {shares[0].n} held-out prompts it follows {told[0]}, and where answers are "
        f"drawn {told[1]}{judge}{nothing}"
    )


def _gain(share: Interval, gain: Interval) -> str:
    low, high = 100 * (gain.low or 0), 100 * (gain.high or 0)
    return f"{share.value:.1%}, {100 * gain.value:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}) on m_0"


def _judge(accuracy: Interval | None, gain: Interval | None) -> str:
    return f"; good and bad responses alike, its judge is right on {_gain(accuracy, gain)}" if accuracy and gain else ""
