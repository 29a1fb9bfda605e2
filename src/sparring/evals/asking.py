"""How well a policy asks: what its conversations lend to the oracle's response, and what its questions are like.

STaR-GATE section 4.1. The controls stand beside the result because it cannot be read without them: the published
records show two thirds of the gain with *another* user's conversation, so only experimental minus shuffled is about
this user. Intervals are over pairs of task and persona: conversations of one pair are not independent.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sparring.engines.base import Scorer
from sparring.evals.gauges import distinct, forgotten, length, questions
from sparring.evals.statistics import Interval, mean_interval, paired_difference
from sparring.evals.summary import as_row, judged, said
from sparring.evals.win_rate import Verdicts, compare, win_rate
from sparring.files import Row, read_lines
from sparring.flow import Flow, Role
from sparring.rollouts.controls import ceiling, ceiling_and_heard, floor, heard, shuffled
from sparring.rollouts.conversation import Conversation
from sparring.rollouts.situation import Situation, task_of
from sparring.runs import Run
from sparring.signals.logprob import Told, log_probs
from sparring.stages import Stages

Metrics = dict[str, Interval | None]
Health = Callable[[Conversation, str], Mapping[str, float]]
"""Counts what a world can read off a conversation and the answer after it; the keys are in `health_metrics`."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What an evaluation found of one model."""

    metrics: Metrics
    chosen: dict[str, Conversation]
    """The one conversation of each pair that was answered, drawn by a seed, not by its value."""
    answers: dict[str, str]
    """The model's own answer after it, by pair."""
    judge: dict[str, dict[str, float | None]] = field(default_factory=lambda: dict[str, dict[str, float | None]]())
    """How far the judge can be trusted, by comparison: ties, unreadable, spoiled, position_bias, agreement."""
    log_probs: dict[str, float] = field(default_factory=lambda: dict[str, float]())
    """Mean log-prob of the oracle's response, by pair, in nats."""
    preferred: dict[str, float] = field(default_factory=lambda: dict[str, float]())
    """How the model's answer did against m_0's, by pair: 1 a win, 0.5 a tie, 0 a loss; of m_0 itself 0.5."""
    failed: dict[str, int] = field(default_factory=lambda: dict[str, int]())
    """Conversations that failed, by reason."""

    def row(self) -> Row:
        return {"metrics": as_row(self.metrics), "judge": self.judge, "failed": self.failed}


@dataclass(frozen=True, slots=True)
class Exam:
    """What stays the same when m_0, m_1, ... are evaluated."""

    situations: Sequence[Situation]
    """Held-out pairs."""
    scorer: Scorer
    """m_0."""
    judge: Role
    judge_prompt: str
    health: Health | None
    seed: int
    samples: int
    """Conversations a pair."""

    def take(
        self, stages: Stages, conversations: Sequence[Conversation], voices: Mapping[str, Role], m_0: Examined | None
    ) -> Examined:
        """Evaluate a model that held these conversations with every test user.

        `voices` answer: `own` is the model. With `m_0`, its evaluation, every answer is judged against m_0's own:
        that of `own`, of `questions_alone` (m_0's voice after the model's questions), of `answers_alone` (the model's
        voice after m_0's questions). Any other voice answers after this model's own conversation.
        """
        signals = stages.lines(
            "test-signals.jsonl",
            lambda: log_prob_rows(self.scorer, conversations, self.seed, stages.progress("test-signals.jsonl")),
        )
        controls = stages.within("round-0").lines(
            "test-controls.jsonl",
            lambda: control_rows(self.scorer, self.situations, stages.progress("test-controls.jsonl")),
        )
        chosen = self._chosen(conversations)
        answers = self._answers(stages, chosen, voices, m_0)
        own = {row["situation"]: row["text"] for row in answers if row["voice"] == "own"}
        against = m_0.answers if m_0 else own
        kinds = {s.id: s.task.kind for s in self.situations}
        metrics = log_prob_metrics(signals, controls, kinds)
        metrics["conversations_held"] = self._held(conversations)
        means = {pair: sum(values) / len(values) for pair, values in _by_pair(signals, "heard").items()}
        if m_0:
            metrics["oracle_log_prob_over_m_0"] = paired_difference(means, m_0.log_probs)
        else:
            metrics["win_rate"] = Interval(0.5, 0.5, 0.5, len(own)) if own else None  # against itself, by definition
        found, judge, worth = self._judged(
            stages, [voice for voice in voices if m_0 or voice != "own"], answers, against
        )
        metrics |= found
        even = dict.fromkeys(own, 0.5)
        preferred = worth.get("own", {}) if m_0 else even
        if m_0 and (won := metrics.get("win_rate")):
            tasks = by_task(preferred)
            over = paired_difference(tasks, dict.fromkeys(tasks, 0.5))
            metrics["win_rate"] = replace(won, p=over and over.p)
        metrics |= self._gauges(conversations, own, preferred, m_0)
        if self.health:
            after = {chosen[pair].id: text for pair, text in own.items()}
            metrics |= health_metrics(health_rows(conversations, after, self.health), after)
        return Examined(metrics, chosen, own, judge, means, preferred, self._failed(stages))

    def _gauges(
        self,
        conversations: Sequence[Conversation],
        own: Mapping[str, str],
        preferred: Mapping[str, float],
        m_0: Examined | None,
    ) -> Metrics:
        """Return what tells of a loop that goes wrong; see `evals.gauges`."""
        asked: dict[str, list[str]] = defaultdict(list)
        for conversation in conversations:
            asked[conversation.situation.id] += [question for question, _ in conversation.turns]
        found = {
            "distinct_questions": distinct(asked),
            "questions_a_turn": questions(asked),
            "answer_words": length({pair: [text] for pair, text in own.items()}),
        }
        return found | ({"forgotten": forgotten(preferred, m_0.preferred)} if m_0 else {})

    def _held(self, conversations: Sequence[Conversation]) -> Interval | None:
        """Return the share of conversations that did not fail, over all pairs."""
        held = Counter(conversation.situation.id for conversation in conversations)
        return mean_interval({s.id: [held[s.id] / self.samples] for s in self.situations})

    def _failed(self, stages: Stages) -> dict[str, int]:
        failures = stages.run.failures.get(stages.folder.stage("test-conversations.jsonl"), [])
        return dict(Counter(failure.reason for failure in failures))

    def _chosen(self, conversations: Sequence[Conversation]) -> dict[str, Conversation]:
        by_pair: dict[str, list[Conversation]] = defaultdict(list)
        for conversation in conversations:
            by_pair[conversation.situation.id].append(conversation)
        return {pair: random.Random(f"{self.seed}/test/{pair}").choice(group) for pair, group in by_pair.items()}

    def _answers(
        self, stages: Stages, chosen: Mapping[str, Conversation], voices: Mapping[str, Role], m_0: Examined | None
    ) -> list[Row]:
        flows = [
            (f"{pair} {voice}", _answer(pair, voice, conversation, role))
            for voice, role in voices.items()
            for pair, conversation in (m_0.chosen if m_0 and voice == "answers_alone" else chosen).items()
        ]
        return stages.roll_out("test-answers.jsonl", flows, dict)

    def _judged(
        self, stages: Stages, voices: Sequence[str], answers: Sequence[Row], against: Mapping[str, str]
    ) -> tuple[Metrics, dict[str, Any], dict[str, dict[str, float]]]:
        """Return metrics, how far the judge can be trusted, and what each voice's answers are worth by pair."""
        by_id = {s.id: s for s in self.situations}
        texts = {(row["voice"], row["situation"]): row["text"] for row in answers}
        flows = [
            (f"{pair} {voice}", self._verdict(by_id[pair], voice, texts.get((voice, pair)), theirs))
            for voice in voices
            for pair, theirs in against.items()
        ]
        rows = stages.roll_out("test-verdicts.jsonl", flows, dict)
        metrics: Metrics = {}
        judge: dict[str, Any] = {}
        worth: dict[str, dict[str, float]] = {}
        for voice in voices:
            items = [
                Verdicts(by_id[r["situation"]], r["ours_first"], r["theirs_first"], r["spoiled"])
                for r in rows
                if r["voice"] == voice
            ]
            name = "win_rate" if voice == "own" else f"win_rate_{voice}"
            worth[voice] = {item.situation.id: item.value for item in items if item.value is not None}
            found = win_rate(items)
            metrics[name] = found.win_rate
            judge[name] = {key: value for key, value in asdict(found).items() if key != "win_rate"}
            for kind in _kinds(i.situation.task.kind for i in items) if voice == "own" else ():
                those = [item for item in items if item.situation.task.kind == kind]
                metrics[f"win_rate_on_{kind}"] = win_rate(those).win_rate
        return metrics, judge, worth

    def _verdict(self, situation: Situation, voice: str, ours: str | None, theirs: str) -> Flow[Row]:
        if ours is None:
            found = Verdicts(situation, None, None, spoiled=True)
        else:
            found = yield from compare(situation, ours, theirs, self.judge, self.judge_prompt)
        row = {"situation": situation.id, "voice": voice, "kind": situation.task.kind, "value": found.value}
        return row | {"ours_first": found.ours_first, "theirs_first": found.theirs_first, "spoiled": found.spoiled}


def _answer(pair: str, voice: str, conversation: Conversation, role: Role) -> Flow[Row]:
    text = yield from role.say(conversation.answering())
    return {"situation": pair, "conversation": conversation.id, "voice": voice, "text": text}


def control_rows(scorer: Scorer, situations: Sequence[Situation], told: Told) -> list[Row]:
    """Score the oracle's response knowing nothing (floor) and knowing the persona (ceiling), once a pair, in nats."""
    texts = [text(s) for s in situations for text in (floor, ceiling)]
    values = log_probs(scorer, texts, told)
    return [
        {"situation": s.id, "floor": low, "ceiling": high}
        for s, low, high in zip(situations, values[::2], values[1::2], strict=True)
    ]


def log_prob_rows(scorer: Scorer, conversations: Sequence[Conversation], seed: int, told: Told) -> list[Row]:
    """Score the oracle's response after each conversation: as held, with another persona's turns, persona known."""
    mixed = shuffled(conversations, seed)
    texts = (
        [heard(c) for c in conversations] + [heard(c) for c in mixed] + [ceiling_and_heard(c) for c in conversations]
    )
    values = log_probs(scorer, texts, told)
    n = len(conversations)
    of_mixed = {c.id: value for c, value in zip(mixed, values[n:], strict=False)}
    return [
        {
            "id": c.id,
            "situation": c.situation.id,
            "heard": value,
            "shuffled": of_mixed.get(c.id),
            "ceiling_and_heard": known,
        }
        for c, value, known in zip(conversations, values, values[n + len(mixed) :], strict=False)
    ]


def log_prob_metrics(rows: Sequence[Row], controls: Sequence[Row], kinds: Mapping[str, str | None]) -> Metrics:
    """Return mean log-probs of the oracle's response, in nats, each with its interval over pairs.

    `kinds` gives the kind of a pair's task; where there are kinds, the mean is given for each of them too.
    """
    both = [row | {"about_user": row["heard"] - row["shuffled"]} for row in rows if _known(row, "heard", "shuffled")]
    floors = {row["situation"]: row["floor"] for row in controls if _known(row, "floor")}
    told = [
        row | {"gain": row["heard"] - floors[row["situation"]]}
        for row in rows
        if _known(row, "heard") and row["situation"] in floors
    ]
    by_kind = {
        f"oracle_log_prob_on_{kind}": over_pairs([row for row in rows if kinds[row["situation"]] == kind], "heard")
        for kind in _kinds(kinds.values())
    }
    return by_kind | {
        "experimental_minus_floor": over_pairs(told, "gain"),
        "oracle_log_prob": over_pairs(rows, "heard"),
        "oracle_log_prob_shuffled": over_pairs(rows, "shuffled"),
        "experimental_minus_shuffled": over_pairs(both, "about_user"),
        "oracle_log_prob_best": mean_interval(
            {pair: [max(values)] for pair, values in _by_pair(rows, "heard").items()}
        ),
        "oracle_log_prob_persona_and_conversation": over_pairs(rows, "ceiling_and_heard"),
        "oracle_log_prob_floor": over_pairs(controls, "floor"),
        "oracle_log_prob_ceiling": over_pairs(controls, "ceiling"),
    }


def health_rows(conversations: Sequence[Conversation], answers: Mapping[str, str], health: Health) -> list[Row]:
    """Count, for each conversation, what its questions were, and what the answer after it was where there is one."""
    rows: list[Row] = []
    for conversation in conversations:
        counts = health(conversation, answers.get(conversation.id, ""))
        rows.append({"id": conversation.id, "situation": conversation.situation.id, **counts})
    return rows


def health_metrics(rows: Sequence[Row], answered: Iterable[str]) -> Metrics:
    """Return the shares that tell early whether a loop is sound.

    `questions_relevant`: of the questions asked while the task still needed a fact, those that asked for one.
    `questions_chit_chat`, `questions_malformed`, `questions_repeated` (asked before in other words): of all questions
    in conversations that did not fail. `facts_right`, `facts_invented` (asserted, neither told nor true),
    `facts_garbled` (told, and yet wrong), `facts_open` (the neutral word): of the facts that the task needs, in the
    answers of `answered` alone.
    """
    ids = set(answered)
    after = [row for row in rows if row["id"] in ids]
    return {
        "questions_relevant": share_over_pairs(rows, "relevant", "open"),
        "questions_chit_chat": share_over_pairs(rows, "chit_chat", "questions"),
        "questions_malformed": share_over_pairs(rows, "malformed", "questions"),
        "questions_repeated": share_over_pairs(rows, "repeated", "questions"),
        "facts_right": share_over_pairs(after, "facts_right", "needed"),
        "facts_invented": share_over_pairs(after, "facts_invented", "needed"),
        "facts_garbled": share_over_pairs(after, "facts_garbled", "needed"),
        "facts_open": share_over_pairs(after, "hedged", "needed"),
        "answers_valid": over_pairs(after, "is_answer"),
    }


def over_pairs(rows: Sequence[Row], key: str) -> Interval | None:
    """Return the mean of a column with its interval; a pair counts once, an unknown value not at all."""
    return mean_interval(_by_pair(rows, key))


def share_over_pairs(rows: Sequence[Row], part: str, whole: str) -> Interval | None:
    """Return sum(part) / sum(whole) of each pair, averaged; pairs where the whole is 0 say nothing."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in rows:
        sums[row["situation"]][0] += row[part]
        sums[row["situation"]][1] += row[whole]
    return mean_interval({pair: [a / b] for pair, (a, b) in sums.items() if b})


def _by_pair(rows: Sequence[Row], key: str) -> dict[str, list[float]]:
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row[key] is not None:
            values[row["situation"]].append(row[key])
    return values


def _kinds(kinds: Iterable[str | None]) -> list[str]:
    return sorted({kind for kind in kinds if kind is not None})


def _known(row: Row, *keys: str) -> bool:
    return all(row[key] is not None for key in keys)


def evaluated(run: Run, rounds: int) -> list[Row]:
    """Return one line an evaluated item: every verdict, and every test conversation's log-probs."""
    rows: list[Row] = []
    for t in range(rounds):
        for name, item in (("test-verdicts.jsonl", "verdict"), ("test-signals.jsonl", "log_prob")):
            rows += [{"round": t, "item": item, **row} for row in read_lines(run.path / f"round-{t}" / name)]
    return rows


def against(now: Examined, then: Examined) -> list[Interval | None]:
    """Return by how much a model's answers are preferred more than an earlier one's, each against m_0's.

    Over tasks: every persona asks every task, and what suits a task suits all its pairs.
    """
    shared = now.preferred.keys() & then.preferred.keys()
    tasks = [by_task({pair: one.preferred[pair] for pair in shared}) for one in (now, then)]
    return [paired_difference(*tasks)]


def by_task(values: Mapping[str, float]) -> dict[str, float]:
    """Return the mean over each task's pairs."""
    found: dict[str, list[float]] = defaultdict(list)
    for pair, value in values.items():
        found[task_of(pair)].append(value)
    return {task: sum(those) / len(those) for task, those in found.items()}


def verdict(found: Sequence[Examined]) -> str:
    """Return one sentence: whether the last round's answers are preferred to m_0's, and how surely."""
    won = found[-1].metrics.get("win_rate")
    word, p = judged([won], without=0.5)
    if won is None or p is None:
        return f"round {len(found) - 1} could not be judged: no verdict was readable"
    of = f"{won.value:.1%} of {won.n} held-out pairs (95 % interval {won.low:.1%} to {won.high:.1%})"
    sentence = f"round {len(found) - 1} {said(word, p)}: its answers are preferred to m_0's in {of}"
    about_user = [examined.metrics.get("experimental_minus_shuffled") for examined in found]
    if about_user[0] and about_user[-1]:
        sentence += f"; experimental minus shuffled {about_user[0].value:.1f} -> {about_user[-1].value:.1f} nats"
    return sentence
