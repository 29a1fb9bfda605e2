"""Pairs: what is preferred to what, where it comes from, and what is not worth learning from."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.errors import SettingsError
from sparring.flow import Role, run
from sparring.rollouts.pairs import (
    Attempt,
    Bounds,
    PairRow,
    agreeing,
    attempt,
    extremes,
    failed,
    hygiene,
    independent,
    judge_pairs,
    judged,
    refined,
)
from sparring.signals.judge import Panel
from sparring.types import Completion, Failure, Pair, user
from tests.rollouts.judgements import PANEL, grown, tried, votes


def sides(rows: list[PairRow]) -> list[tuple[str, str]]:
    return [(row.pair.chosen, row.pair.rejected) for row in rows]


def pair(chosen: str, rejected: str) -> PairRow:
    return PairRow("p", "refined", Pair([user("do it")], chosen, rejected))


# Attempts


def test_an_answer_is_asked_for_bare_and_judged_with_its_prompt() -> None:
    asked: list[Request] = []

    def reply(request: Request) -> str:
        asked.append(request)
        return "an answer" if request.role == "actor" else "Verdict: No"

    engine = Scripted(reply)
    [made] = run([("one", attempt("one", "do it", 3, Role("actor", engine)))])
    assert isinstance(made, Attempt) and made == Attempt("one", "do it", 3, "an answer")
    assert (asked[0].chat, asked[0].sample_index) == ([user("do it")], 3)
    panel = Panel(Role("judge", engine), "{prompt} {response}", votes=3)
    [found] = run([("one", judged(made, panel))])
    assert isinstance(found, Attempt) and (found.passed, found.value, found.id) == (False, 0.0, "one #3")
    assert Attempt.from_row(json.loads(json.dumps(found.row()))) == found
    assert Attempt.from_row(json.loads(json.dumps(made.row()))) == made


@pytest.mark.parametrize("reply", ["", Completion("half an ans", "length"), Completion("I will not", "refused")])
def test_an_answer_that_is_no_whole_answer_is_a_failure_and_so_in_no_pair(reply: Any) -> None:
    [made] = run([("one", attempt("one", "do it", 0, Role("actor", Scripted(lambda _: reply))))])
    assert isinstance(made, Failure)


# An actor's


def test_a_refined_pair_is_the_accepted_answer_over_the_one_the_tree_began_with_not_over_its_parent() -> None:
    tree = grown("t", (0, "better", "nnyyn"), (1, "right", "yyyyn"), accepted=2, root="wrong")
    [row] = refined([tree])
    assert row.pair == Pair([user("do t")], "right", "wrong")
    assert (row.id, row.source, row.depth) == ("t", "refined", 2)


def test_a_tree_that_accepted_nothing_or_its_root_has_no_pair() -> None:
    assert refined([grown("t", (0, "no better", "nnnyn")), grown("u", accepted=0, began="yyyyy")]) == []


def test_a_refinement_that_changed_nothing_is_no_pair() -> None:
    rows = refined([grown("t", (0, "root\n", "yyyyn"), accepted=1)])
    assert hygiene(rows) == ([], {"no-op": 1})


def test_independent_pairs_reject_the_very_answers_that_searches_begin_from() -> None:
    answers = [tried("a", n, f"a{n}", "yyyyn" if n % 2 else "nnnny") for n in range(8)]
    answers += [tried("b", n, f"b{n}", "nnnnn") for n in range(3)]
    answers += [tried("c", n, f"c{n}", "yyyyy") for n in range(3)]
    for seed in range(9):
        begun = {one.prompt_id: one for one in failed(answers, seed)}
        assert set(begun) == {"a", "b"}
        [row] = independent(answers, seed)
        assert row.pair.rejected == begun["a"].response and row.pair.chosen in ("a1", "a3", "a5", "a7")
    assert len({independent(answers, seed)[0].pair.chosen for seed in range(30)}) > 1


def test_what_is_drawn_of_a_prompt_does_not_depend_on_other_prompts() -> None:
    a, b = ([tried(name, n, f"{name}{n}", "nnnny") for n in range(6)] for name in "ab")
    assert failed(a, 1) + failed(b, 1) == failed(a + b, 1)
    assert failed(b + a, 1) == failed(b, 1) + failed(a, 1)


def test_a_tie_and_an_answer_that_could_not_be_judged_neither_passed_nor_failed() -> None:
    unjudged = Attempt("a", "do a", 9, "a9")
    answers = [tried("a", 0, "a0", "yynn"), tried("a", 1, "a1", "n????"), unjudged]
    assert [one.passed for one in answers] == [None, None, None]
    assert failed(answers, 0) == independent(answers, 0) == []


def test_extremes_are_the_best_answer_over_the_worst_whatever_the_majority() -> None:
    answers = [
        tried("a", n, f"a{n}", verdicts) for n, verdicts in enumerate(["nnnny", "nnyyn", "nnnny", "nnyyn", "??nnn"])
    ]
    answers += [tried("b", n, f"b{n}", "yyyyy") for n in range(3)]
    answers += [Attempt("c", "do c", 0, "c0"), tried("c", 1, "c1", "yyyyy")]
    assert sides(extremes(answers)) == [("a1", "a4")]


# A judge's


def test_a_judges_pair_is_the_majoritys_critique_over_the_first_dissenting_one() -> None:
    answers = [tried("a", 0, "a0", "nynyn"), tried("a", 1, "a1", "yyyyy"), tried("a", 2, "a2", "yynn")]
    tree = grown("t", (0, "better", "ynyyy"))
    rows = judge_pairs([tree], answers, PANEL)
    assert sides(rows) == [("n0", "y1"), ("better y0", "better n1")]
    assert [row.pair.prompt for row in rows] == [PANEL.chat("do a", "a0"), PANEL.chat("do t", "better")]
    assert [row.id for row in rows] == ["a #0", "t node 1"]


def test_what_was_judged_twice_is_learned_once() -> None:
    tree = grown("a", root="a0", began="ynnnn")
    assert sides(judge_pairs([tree], [tried("a", 0, "a0", "nynyn")], PANEL)) == [("n0", "y1")]


def test_a_critique_that_disagrees_with_a_checker_is_never_the_chosen_one() -> None:
    against_all = votes("nnnnn", value=1.0)
    assert against_all.critique == "n0" and agreeing(against_all) is None
    assert judge_pairs([], [Attempt("a", "do a", 0, "a0", against_all)], PANEL) == []
    assert agreeing(votes("nnynn", value=1.0)) == "y2"


# What is not learned


def test_each_reason_for_leaving_a_pair_out_is_counted() -> None:
    rows = [
        pair("a b c", "a b d"),
        pair("a b c", "a b c "),
        pair("", "a b c"),
        pair("a b c", " \n"),
        pair("a b c d e f g", "a b c"),
        pair("a b c", "a b c d e f g"),
        pair("x y z", "a b c"),
        pair("a x c d", "e b c d"),
    ]
    kept, dropped = hygiene(rows, Bounds(similarity=0.5, length_ratio=2, edits=2))
    assert kept == [rows[0], rows[7]]
    assert dropped == {"edits": 1, "empty": 2, "length ratio": 2, "no-op": 1}
    kept, dropped = hygiene(rows, Bounds(similarity=0.6))
    assert (len(kept), dropped) == (3, {"empty": 2, "no-op": 1, "similarity": 2})


def test_by_default_only_twins_and_empty_sides_are_left_out() -> None:
    far = pair("x", " ".join(["word"] * 5000))
    assert hygiene([far, pair("a", "a")]) == ([far], {"no-op": 1})


@pytest.mark.parametrize("bad", [{"similarity": 1.1}, {"similarity": -1}, {"length_ratio": 0.5}, {"edits": 0}])
def test_a_bound_that_means_nothing_is_refused(bad: Any) -> None:
    with pytest.raises(SettingsError, match=f"{next(iter(bad))} = "):
        Bounds(**bad)
    with pytest.raises(SettingsError, match="length_ratio = nan"):
        Bounds(length_ratio=float("nan"))


def test_a_row_says_how_far_its_sides_lie_apart() -> None:
    row = PairRow("t", "refined", Pair([user("do it")], "the red fox ran home", "the fox ran"), 1)
    assert row.row() == {
        "id": "t",
        "source": "refined",
        "depth": 1,
        "edits": 2,
        "similarity": 0.75,
        "length_ratio": pytest.approx(5 / 3),
        "prompt": [user("do it")],
        "chosen": "the red fox ran home",
        "rejected": "the fox ran",
    }


def test_how_far_long_answers_that_repeat_themselves_lie_apart_is_quickly_known() -> None:
    row = pair("so " * 5000, "so and " * 2500)
    assert (row.similarity, row.edits) == (0.5, 2500)
