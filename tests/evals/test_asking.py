"""How well a policy asks: the numbers made of scored conversations, and what an unknown value does to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.evals.asking import (
    Exam,
    Examined,
    control_rows,
    health_metrics,
    health_rows,
    log_prob_metrics,
    log_prob_rows,
    over_pairs,
    share_over_pairs,
)
from sparring.evals.statistics import Interval
from sparring.files import read_lines
from sparring.flow import Role
from sparring.rollouts.conversation import Conversation
from sparring.rollouts.situation import Persona, Situation
from sparring.runs import Run
from sparring.signals.logprob import Told
from sparring.stages import Stages
from sparring.tasks import Task
from sparring.types import Chat, Failure

UNKNOWN = {"position_bias": None, "agreement": None}
PERSONAS = [Persona(f"persona-test-{p}", name, f"I'm {name}. Secret {p}.") for p, name in enumerate(["Ada", "Bo"], 1)]
TASKS = [
    Task("task-1", "Where should we eat?", "specific", "test"),
    Task("task-2", "Who wrote Emma?", "general", "test"),
]
SITUATIONS = [Situation(t, p, f"{p.name}'s answer to {t.id}.") for p in PERSONAS for t in TASKS]
SILENT: Told = lambda done, of: None  # noqa: E731


def conversations(samples: int = 2) -> list[Conversation]:
    return [Conversation(s, i, ((f"Q{i}?", f"{s.persona.name} {i}"),)) for s in SITUATIONS for i in range(samples)]


def value(interval: Interval | None) -> float:
    assert interval is not None
    return interval.value


def says(chat: Chat) -> str:
    return "\n".join(message["content"] for message in chat)


# Log-probs


def names_heard(chat: Chat, target: str) -> float:
    """-10, and 2 more for each time that the target's own user is named after the opening, 5 more for the secret."""
    name, rest = target.split("'")[0], says(chat).split("\n\n", 1)[1]
    return -10.0 + 2 * rest.count(name) + 5 * ("Secret" in rest)


def test_each_conversation_is_scored_as_held_shuffled_and_with_the_persona_known() -> None:
    rows = log_prob_rows(Scripted(lambda _: "", names_heard), conversations(), 0, SILENT)
    assert [row["id"] for row in rows] == [c.id for c in conversations()]
    for row in rows:
        # The persona's text names its user once, the conversation once; another's conversation names another.
        assert (row["heard"], row["shuffled"], row["ceiling_and_heard"]) == (-8.0, -10.0, -1.0)


def test_the_controls_are_scored_once_a_pair() -> None:
    rows = control_rows(Scripted(lambda _: "", names_heard), SITUATIONS, SILENT)
    assert [(row["situation"], row["floor"], row["ceiling"]) for row in rows] == [
        (s.id, -10.0, -3.0) for s in SITUATIONS
    ]


def test_where_a_task_has_one_persona_the_shuffled_column_is_unknown_and_the_others_stay_in_their_rows() -> None:
    alone = [c for c in conversations() if c.situation != SITUATIONS[3]]  # leaves task-2 to one persona
    rows = log_prob_rows(Scripted(lambda _: "", names_heard), alone, 0, SILENT)
    assert {row["situation"] for row in rows if row["shuffled"] is None} == {SITUATIONS[1].id}
    assert {row["ceiling_and_heard"] for row in rows} == {-1.0}
    assert value(log_prob_metrics(rows, [], {})["experimental_minus_shuffled"]) == 2.0


def row(pair: str, heard: float | None, shuffled: float | None = None, both: float | None = None) -> dict[str, Any]:
    return {"situation": pair, "heard": heard, "shuffled": shuffled, "ceiling_and_heard": both}


def test_a_pair_counts_once_however_many_conversations_it_has() -> None:
    rows = [row("x", -4.0), row("x", -6.0), row("x", -8.0), row("y", -2.0)]
    found = log_prob_metrics(rows, [], {})["oracle_log_prob"]
    assert found is not None
    assert (found.value, found.n) == (pytest.approx((-6.0 - 2.0) / 2), 2)


def test_an_unknown_log_prob_is_left_out_and_never_counted_as_nought() -> None:
    rows = [row("x", -4.0, None, -1.0), row("x", None, -9.0, None), row("y", None, None, None)]
    found = log_prob_metrics(rows, [{"situation": "x", "floor": None, "ceiling": -3.0}], {})
    assert (value(found["oracle_log_prob"]), value(found["oracle_log_prob_shuffled"])) == (-4.0, -9.0)
    assert value(found["oracle_log_prob_persona_and_conversation"]) == -1.0
    assert found["oracle_log_prob"] is not None and found["oracle_log_prob"].n == 1
    assert found["experimental_minus_shuffled"] is None  # no conversation has both
    assert found["experimental_minus_floor"] is None  # the floor is not known
    assert (found["oracle_log_prob_floor"], value(found["oracle_log_prob_ceiling"])) == (None, -3.0)


def test_experimental_minus_shuffled_is_paired_by_conversation() -> None:
    rows = [row("x", -4.0, -5.0), row("x", -6.0, -10.0), row("x", -1.0, None), row("y", -8.0, -8.5)]
    assert value(log_prob_metrics(rows, [], {})["experimental_minus_shuffled"]) == pytest.approx((2.5 + 0.5) / 2)


def test_experimental_minus_floor_takes_each_pairs_own_floor_and_leaves_out_what_is_unknown() -> None:
    rows = [row("x", -4.0), row("x", None), row("x", -6.0), row("y", -1.0), row("z", -9.0)]
    floors = [
        {"situation": pair, "floor": at, "ceiling": None} for pair, at in (("x", -10.0), ("y", -2.0), ("z", None))
    ]
    found = log_prob_metrics(rows, floors, {})["experimental_minus_floor"]
    assert found is not None
    assert (found.value, found.n) == (pytest.approx((5.0 + 1.0) / 2), 2)


def test_log_probs_are_given_for_each_kind_of_task_and_for_no_kind_where_tasks_have_none() -> None:
    rows = [row("x", -4.0), row("x", -6.0), row("y", -2.0), row("z", -30.0)]
    found = log_prob_metrics(rows, [], {"x": "specific", "y": "specific", "z": "general", "unheard": "odd"})
    assert value(found["oracle_log_prob_on_specific"]) == pytest.approx((-5.0 - 2.0) / 2)
    assert value(found["oracle_log_prob_on_general"]) == -30.0
    assert found["oracle_log_prob_on_odd"] is None
    assert not [name for name in log_prob_metrics(rows, [], dict.fromkeys("xyz")) if "_on_" in name]


def test_the_best_of_a_pair_is_its_highest_known_value() -> None:
    rows = [row("x", -4.0), row("x", None), row("x", -3.0), row("y", -8.0)]
    assert value(log_prob_metrics(rows, [], {})["oracle_log_prob_best"]) == pytest.approx(-5.5)


def test_of_nothing_every_number_is_unknown() -> None:
    assert set(log_prob_metrics([], [], {}).values()) == {None}
    assert set(health_metrics([], []).values()) == {None}


# Shares


def test_a_share_is_that_of_each_pair_and_a_pair_without_a_whole_says_nothing() -> None:
    rows = [
        {"situation": "x", "relevant": 1.0, "open": 1.0},
        {"situation": "x", "relevant": 0.0, "open": 3.0},
        {"situation": "y", "relevant": 1.0, "open": 1.0},
        {"situation": "general", "relevant": 0.0, "open": 0.0},
    ]
    found = share_over_pairs(rows, "relevant", "open")
    assert found is not None
    assert (found.value, found.n) == (pytest.approx((0.25 + 1.0) / 2), 2)


def test_where_no_pair_has_a_whole_the_share_is_unknown_and_not_nought() -> None:
    assert share_over_pairs([{"situation": "general", "relevant": 0.0, "open": 0.0}], "relevant", "open") is None


def test_a_mean_over_a_column_of_unknowns_is_unknown() -> None:
    assert over_pairs([{"situation": "x", "a": None}], "a") is None


def counted(conversation: Conversation, answer: str) -> Mapping[str, float]:
    general = conversation.situation.task.kind == "general"
    return {
        "questions": 2.0,
        "open": 0.0 if general else 2.0,
        "relevant": 0.0 if general else 1.0 + conversation.index,
        "chit_chat": 1.0,
        "malformed": 0.0,
        "repeated": float(conversation.index),
        "needed": 0.0 if general else 2.0,
        "facts_right": 1.0,
        "facts_invented": 0.0,
        "facts_garbled": 2.0 * conversation.index,
        "hedged": 1.0,
        "is_answer": float(bool(answer)),
    }


def test_questions_are_read_of_all_conversations_and_answers_of_those_answered() -> None:
    held = conversations()
    answers = {c.id: "Eat." for c in held if c.index == 0}
    found = health_metrics(health_rows(held, answers, counted), answers)
    assert value(found["questions_relevant"]) == 0.75  # general tasks have no open question
    assert found["questions_relevant"] is not None and found["questions_relevant"].n == 2
    assert (value(found["questions_chit_chat"]), value(found["questions_malformed"])) == (0.5, 0.0)
    assert value(found["questions_repeated"]) == 0.25  # one of two, in every second conversation
    assert (value(found["facts_right"]), value(found["facts_open"])) == (0.5, 0.5)
    assert value(found["facts_garbled"]) == 0.0  # those of the conversations that were not answered do not count
    assert value(found["answers_valid"]) == 1.0  # over the answered, not over all


# The whole examination


def judge(request: Request) -> str:
    """Prefer the answer that says "good"; a tie where both or neither do."""
    a, b = request.chat[0]["content"].split("|")
    first, second = "good" in a, "good" in b
    return "Final Response: " + ("tie" if first == second else "A" if first else "B")


def answering(words: Mapping[str, str]) -> Role:
    """Answer by the kind of task."""
    return Role("policy", Scripted(lambda r: words["general" if "Emma" in says(r.chat) else "specific"]))


def examined(
    folder: Path,
    t: int,
    voices: Mapping[str, Role],
    m_0: Examined | None,
    held: list[Conversation] | None = None,
    **changes: Any,
) -> Examined:
    """Examine a model that held the conversations `held`; None: two with everybody."""
    held = conversations() if held is None else held
    with Run.open(folder, "test", {}, "") as kept:
        stages = Stages(kept, lambda event: None, 0.9, kept).within(f"round-{t}")
        usual: dict[str, Any] = {"scorer": Scripted(lambda _: "", names_heard), "judge": Role("judge", Scripted(judge))}
        exam = Exam(SITUATIONS, judge_prompt="{a}|{b}", health=counted, seed=0, samples=2, **usual | changes)
        return exam.take(stages, held, voices, m_0)


BAD, GOOD = {"general": "bad", "specific": "bad"}, {"general": "good", "specific": "good"}


def test_m_0_is_measured_against_itself_only_where_it_is_told_to_personalise(tmp_path: Path) -> None:
    found = examined(tmp_path, 0, {"own": answering(BAD), "personalised": answering(GOOD)}, None)
    assert found.metrics["win_rate"] == Interval(0.5, 0.5, 0.5, 4)  # by definition; no verdict is asked for
    assert value(found.metrics["win_rate_personalised"]) == 1.0
    assert found.answers == {s.id: "bad" for s in SITUATIONS}


def test_general_and_specific_tasks_are_reported_apart(tmp_path: Path) -> None:
    m_0 = examined(tmp_path, 0, {"own": answering(BAD)}, None)
    better = {"own": answering({"general": "bad", "specific": "good"})}
    found = examined(tmp_path, 1, better, m_0).metrics
    assert value(found["win_rate"]) == 0.75
    assert (value(found["win_rate_on_specific"]), value(found["win_rate_on_general"])) == (1.0, 0.5)
    assert {"oracle_log_prob_on_specific", "oracle_log_prob_on_general"} < found.keys()


def test_the_table_of_two_by_two_says_which_part_won(tmp_path: Path) -> None:
    m_0 = examined(tmp_path, 0, {"own": answering(BAD)}, None)
    voices = {"own": answering(GOOD), "questions_alone": answering(BAD), "answers_alone": answering(GOOD)}
    found = examined(tmp_path, 1, voices, m_0)
    assert value(found.metrics["win_rate"]) == 1.0
    assert value(found.metrics["win_rate_questions_alone"]) == 0.5
    assert value(found.metrics["win_rate_answers_alone"]) == 1.0
    assert found.judge["win_rate_questions_alone"] == {
        "ties": 1.0,
        "unreadable": 0.0,
        "spoiled": 0.0,
        "position_bias": 0.0,
        "agreement": None,
    }


def test_the_gain_over_m_0_is_paired_by_pair(tmp_path: Path) -> None:
    m_0 = examined(tmp_path, 0, {"own": answering(BAD)}, None)
    first = next(iter(m_0.log_probs))
    poorer = replace(m_0, log_probs={first: m_0.log_probs[first] - 2.0, "a pair that m_0 alone knows": -99.0})
    found = examined(tmp_path, 1, {"own": answering(GOOD)}, poorer)
    assert found.metrics["oracle_log_prob_over_m_0"] == Interval(2.0, None, None, 1, 1.0)


def test_answers_alone_come_after_m_0s_questions_and_every_other_answer_after_the_models_own(tmp_path: Path) -> None:
    theirs = {s.id: Conversation(s, 9, (("M0 asks?", f"{s.persona.name} told m_0."),)) for s in SITUATIONS}
    m_0 = Examined({}, theirs, {s.id: "bad" for s in SITUATIONS})
    heard: dict[str, list[str]] = {}

    def voice(name: str) -> Role:
        return Role("policy", Scripted(lambda r: heard.setdefault(name, []).append(says(r.chat)) or "bad"))

    names = ("own", "questions_alone", "answers_alone")
    examined(tmp_path, 1, {name: voice(name) for name in names}, m_0)
    assert {name: {"M0 asks?" in text for text in texts} for name, texts in heard.items()} == {
        "own": {False},
        "questions_alone": {False},
        "answers_alone": {True},
    }


def test_the_answered_conversation_is_drawn_by_the_seed_and_not_by_its_value(tmp_path: Path) -> None:
    def rising(chat: Chat, target: str) -> float:
        return -1.0 if "Q1?" in says(chat) else -50.0

    plain = examined(tmp_path / "a", 0, {"own": answering(BAD)}, None)
    other = examined(tmp_path / "b", 0, {"own": answering(BAD)}, None, scorer=Scripted(lambda _: "", rising))
    assert {pair: c.index for pair, c in plain.chosen.items()} == {pair: c.index for pair, c in other.chosen.items()}


def test_an_unreadable_judge_leaves_the_win_rate_unknown(tmp_path: Path) -> None:
    m_0 = examined(tmp_path, 0, {"own": answering(BAD)}, None)
    mute = Role("judge", Scripted(lambda _: "Both are fine."))
    found = examined(tmp_path, 1, {"own": answering(GOOD)}, m_0, judge=mute)
    assert found.metrics["win_rate"] is None
    assert found.judge["win_rate"] == {"ties": None, "unreadable": 1.0, "spoiled": 0.0} | UNKNOWN


# What came to nothing

MUTE = {"general": "", "specific": ""}
MIXED = {"general": "good", "specific": "bad"}
SPECIFIC = [s.id for s in SITUATIONS if s.task.kind == "specific"]
GENERAL = [s.id for s in SITUATIONS if s.task.kind == "general"]


def on(kind: str) -> list[Conversation]:
    """The conversations of a policy that breaks off on every task of another kind."""
    return [c for c in conversations() if c.situation.task.kind == kind]


def test_a_policy_that_breaks_off_where_it_does_badly_does_not_gain(tmp_path: Path) -> None:
    m_0 = examined(tmp_path, 0, {"own": answering(MIXED)}, None)
    better_on_specific = {"general": "bad", "specific": "good"}
    through = examined(tmp_path, 1, {"own": answering(better_on_specific)}, m_0)
    unasked = examined(tmp_path, 2, {"own": answering(better_on_specific)}, m_0, on("specific"))
    silent = examined(tmp_path, 3, {"own": answering(better_on_specific | {"general": ""})}, m_0)
    assert value(through.metrics["win_rate"]) == 0.5
    for found in (unasked, silent):
        assert found.metrics["win_rate"] == through.metrics["win_rate"]  # interval and number of pairs included
        assert value(found.metrics["win_rate_on_general"]) == 0.0
        assert found.judge["win_rate"]["spoiled"] == 0.5
    assert through.judge["win_rate"]["spoiled"] == 0.0


def test_breaking_off_costs_a_policy_that_would_have_drawn(tmp_path: Path) -> None:
    m_0 = examined(tmp_path, 0, {"own": answering(BAD)}, None)
    found = examined(tmp_path, 1, {"own": answering(BAD)}, m_0, on("specific"))
    assert value(found.metrics["win_rate"]) == 0.25


def test_a_spoiled_pair_has_a_line_of_its_own_and_no_judge_is_asked_about_it(tmp_path: Path) -> None:
    m_0 = examined(tmp_path, 0, {"own": answering(BAD)}, None)
    asked: list[str] = []
    counting = Role("judge", Scripted(lambda r: asked.append(r.chat[0]["content"]) or judge(r)))
    examined(tmp_path, 1, {"own": answering({"general": "", "specific": "good"})}, m_0, judge=counting)
    lines = {row["situation"]: row for row in read_lines(tmp_path / "round-1" / "test-verdicts.jsonl")}
    assert len(asked) == 2 * len(SPECIFIC)
    assert lines.keys() == {s.id for s in SITUATIONS}
    for pair in GENERAL:
        assert lines[pair] == {
            "situation": pair,
            "voice": "own",
            "kind": "general",
            "value": 0.0,
            "ours_first": None,
            "theirs_first": None,
            "spoiled": True,
        }
    assert {lines[pair]["spoiled"] for pair in SPECIFIC} == {False}


def test_an_answer_that_failed_is_on_record_with_its_reason(tmp_path: Path) -> None:
    m_0 = examined(tmp_path, 0, {"own": answering(BAD)}, None)
    examined(tmp_path, 1, {"own": answering({"general": "", "specific": "good"})}, m_0)
    failed = read_lines(tmp_path / "failures.jsonl")
    assert {(row["stage"], row["reason"]) for row in failed} == {("round-1/test-answers.jsonl", "policy said nothing")}
    assert [row["id"] for row in failed] == [f"{pair} own" for pair in GENERAL]


def test_a_voice_that_answers_nobody_loses_every_pair_and_is_not_merely_absent(tmp_path: Path) -> None:
    m_0 = examined(tmp_path, 0, {"own": answering(BAD)}, None)
    voices = {"own": answering(MUTE), "questions_alone": answering(BAD), "answers_alone": answering(MUTE)}
    found = examined(tmp_path, 1, voices, m_0)
    assert found.metrics["win_rate"] == Interval(0.0, 0.0, 0.0, 4, p=2 / 2**2)  # of two tasks
    assert found.metrics["win_rate_answers_alone"] == Interval(0.0, 0.0, 0.0, 4)
    assert value(found.metrics["win_rate_questions_alone"]) == 0.5
    assert found.judge["win_rate"] == {"ties": None, "unreadable": None, "spoiled": 1.0} | UNKNOWN


@pytest.mark.parametrize(
    "held, words", [(on("specific"), BAD), (conversations(), {"general": "", "specific": "bad"})], ids=["asked", "said"]
)
def test_a_pair_in_which_m_0_itself_came_to_nothing_is_left_out_for_every_voice(
    tmp_path: Path, held: list[Conversation], words: Mapping[str, str]
) -> None:
    m_0 = examined(tmp_path, 0, {"own": answering(words), "personalised": answering(GOOD)}, None, held)
    assert m_0.metrics["win_rate"] == Interval(0.5, 0.5, 0.5, 2)
    assert m_0.metrics["win_rate_personalised"] == Interval(1.0, 1.0, 1.0, 2)
    voices = {"own": answering(GOOD), "questions_alone": answering(MUTE), "answers_alone": answering(BAD)}
    found = examined(tmp_path, 1, voices, m_0)
    assert found.metrics["win_rate"] == Interval(1.0, 1.0, 1.0, 2, p=1.0)  # of one task
    assert found.metrics["win_rate_questions_alone"] == Interval(0.0, 0.0, 0.0, 2)
    assert found.metrics["win_rate_answers_alone"] == Interval(0.5, 0.5, 0.5, 2)
    assert "win_rate_on_general" not in found.metrics
    lines = read_lines(tmp_path / "round-1" / "test-verdicts.jsonl")
    assert [(row["voice"], row["situation"]) for row in lines] == [
        (voice, pair) for voice in voices for pair in SPECIFIC
    ]


def test_where_m_0_answered_nobody_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    m_0 = examined(tmp_path, 0, {"own": answering(MUTE), "personalised": answering(GOOD)}, None)
    assert (m_0.metrics["win_rate"], m_0.metrics["win_rate_personalised"]) == (None, None)
    found = examined(tmp_path, 1, {"own": answering(GOOD)}, m_0)
    assert found.metrics["win_rate"] is None
    assert set(found.judge["win_rate"].values()) == {None}


def test_m_0_told_to_personalise_loses_what_it_does_not_answer(tmp_path: Path) -> None:
    voices = {"own": answering(BAD), "personalised": answering({"general": "", "specific": "good"})}
    found = examined(tmp_path, 0, voices, None)
    assert value(found.metrics["win_rate_personalised"]) == 0.5
    assert found.judge["win_rate_personalised"]["spoiled"] == 0.5


def test_conversations_held_counts_the_pairs_that_have_no_conversation_at_all(tmp_path: Path) -> None:
    gone, halved = GENERAL[0], SPECIFIC[0]
    held = [c for c in conversations() if c.situation.id != gone and not (c.situation.id == halved and c.index)]
    found = examined(tmp_path, 0, {"own": answering(BAD)}, None, held).metrics["conversations_held"]
    assert found is not None
    assert (found.value, found.n) == ((0 + 0.5 + 1 + 1) / 4, 4)
    whole = examined(tmp_path, 1, {"own": answering(BAD)}, None).metrics["conversations_held"]
    assert whole == Interval(1.0, 1.0, 1.0, 4)


def test_conversations_that_failed_are_counted_by_reason_in_their_own_round_alone(tmp_path: Path) -> None:
    off, long = Failure("a #0", "question without a question mark"), Failure("a #1", "policy cut off at max_tokens")
    with Run.open(tmp_path, "test", {}, "") as kept:
        kept.record_failures("round-0/test-conversations.jsonl", [off, long, off])
        kept.record_failures("round-1/conversations.jsonl", [long])
    m_0 = examined(tmp_path, 0, {"own": answering({"general": "", "specific": "bad"})}, None)
    assert m_0.failed == {"question without a question mark": 2, "policy cut off at max_tokens": 1}
    assert examined(tmp_path, 1, {"own": answering(BAD)}, m_0).failed == {}


def test_what_was_examined_is_not_examined_again(tmp_path: Path) -> None:
    def never(*_: object) -> Any:
        raise AssertionError("called again")

    first = examined(tmp_path, 0, {"own": answering(BAD), "personalised": answering(GOOD)}, None)
    silent = {name: Role("policy", Scripted(never)) for name in ("own", "personalised")}
    again = examined(tmp_path, 0, silent, None, scorer=Scripted(never, never))
    assert again == first
