"""How a run stands, in words: what is under way, how long it may take, and how it ended."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import pytest

from sparring.report.progress import NAME, Progress, born
from sparring.runs import Run
from sparring.view.now import duration, label, left_of_run, now
from tests.made_runs import make_star_gate

CLOCK = 1_000_000.0


def told(run: Path, **more: Any) -> None:
    """Write down how far a run is, as its process would."""
    who = {"pid": os.getpid(), "born": born(os.getpid()), "host": platform.node(), "started": CLOCK - 60, "now": CLOCK}
    row = {"stages": [], "rounds": [], "training": None, "billed": None, "budget": None}
    row |= {"ended": False, "outcome": "underway", "error": None, **who, **more}
    (run / NAME).write_text(json.dumps(row))


def stage(name: str, done: int, of: int, took: float = 10.0, ago: float = 0.0, first: int = 0) -> dict[str, Any]:
    when = {"since": CLOCK - ago - took, "at": CLOCK - ago, "ended": None}
    return {"stage": name, "done": done, "of": of, "first": first, **when}


def stands(run: Path, clock: float = CLOCK) -> dict[str, Any]:
    return now(Run(run), clock)


@pytest.fixture
def middle(tmp_path: Path) -> Path:
    return make_star_gate(tmp_path / "run", pairs=2, samples=2, until="round-1/conversations.jsonl")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return make_star_gate(tmp_path / "run", pairs=2, samples=2)


def test_a_stage_under_way_has_its_rate_and_the_time_that_is_left(middle: Path) -> None:
    told(middle, stages=[stage("round-1/signals.jsonl", 120, 400, took=10, first=20)])
    row = stands(middle)
    assert row["state"] == "underway" and row["says"] == "Going on: round 1 of 2."
    bar = row["bar"]
    assert (bar["label"], bar["done"], bar["of"]) == ("round 1: signals", 120, 400)
    assert (bar["rate"], bar["left"]) == ("10 a second", "28 s left")
    assert row["quiet"] is None


def test_a_stage_that_has_only_begun_has_no_rate(middle: Path) -> None:
    told(middle, stages=[stage("round-1/signals.jsonl", 1, 400, took=0.0, first=1)])
    bar = stands(middle)["bar"]
    assert bar["rate"] is None and bar["left"] is None


def test_what_is_slow_is_told_by_the_minute(middle: Path) -> None:
    told(middle, stages=[stage("situations.jsonl", 2, 4, took=60)])
    assert stands(middle)["bar"]["rate"] == "2.0 a minute"


def test_a_stage_that_stalls_does_not_promise_the_same_time_for_ever(middle: Path) -> None:
    told(middle, stages=[stage("round-1/signals.jsonl", 100, 400, took=10, ago=25)], now=CLOCK - 25)
    row = stands(middle)
    assert row["bar"]["seconds"] == pytest.approx(5)
    assert row["quiet"] == "No news for 25 s."


def test_between_two_stages_the_last_one_stays_in_sight(middle: Path) -> None:
    told(middle, stages=[stage("round-1/signals.jsonl", 4, 4) | {"ended": CLOCK}])
    bar = stands(middle)["bar"]
    assert (bar["done"], bar["of"], bar["rate"]) == (4, 4, "finished; the next begins")


def test_before_its_first_stage_a_run_only_says_that_it_goes_on(middle: Path) -> None:
    told(middle)
    row = stands(middle)
    assert (row["state"], row["bar"], row["left"], row["spend"]) == ("underway", None, None, None)


def test_a_training_is_under_way_with_its_loss(middle: Path) -> None:
    points = [[step, 4 / step] for step in range(1, 11)]
    training = {"checkpoint": "round-1/checkpoint", "step": 10, "of": 40, "first": 1, "points": points}
    training |= {"since": CLOCK - 9, "at": CLOCK, "ended": None}
    told(middle, stages=[stage("round-1/train.jsonl", 4, 4, ago=20)], training=training)
    row = stands(middle)
    assert row["bar"]["label"] == "round 1: checkpoint" and row["bar"]["rate"] == "1.0 a second"
    assert row["training"]["label"] == "round 1: checkpoint: step 10 of 40, loss 0.400"
    assert row["training"]["points"] == points


def test_what_was_billed_is_said_with_the_ceiling_and_what_came_before(middle: Path) -> None:
    part = {"calls": 1200, "tokens": 34_000, "usd": 1.5}
    told(middle, billed=part, billed_earlier={**part, "usd": None}, budget="20 usd")
    assert stands(middle)["spend"] == (
        "Billed: 1.5000 USD (1,200 calls, 34,000 tokens) in this attempt; "
        "price unknown (1,200 calls, 34,000 tokens) in earlier ones; ceiling 20 usd."
    )


def test_rounds_are_shown_as_they_are_evaluated(middle: Path) -> None:
    rounds = [
        {"round": 0, "metrics": {"win_rate": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}, "oracle_log_prob": None}},
        {"round": 1, "metrics": {"win_rate": {"value": 0.75, "low": None, "high": None, "n": 1}}},
    ]
    told(middle, rounds=rounds)
    assert stands(middle)["rounds"] == {
        "head": ["m_0", "m_1"],
        "rows": [{"label": "answers preferred to m_0's", "cells": ["50.0 % [40.0, 60.0]", "75.0 %"]}],
    }


@pytest.mark.parametrize("outcome", ["paused", "stopped", "failed"])
def test_a_run_that_ended_says_how(middle: Path, outcome: str) -> None:
    told(middle, ended=True, outcome=outcome, error="the ledger says no")
    row = stands(middle)
    assert row["state"] == outcome and row["error"] == "the ledger says no"
    assert "bar" not in row


def test_a_process_that_is_gone_is_said_to_be(middle: Path) -> None:
    told(middle, stages=[stage("a.jsonl", 1, 2)], born=1)
    row = stands(middle)
    assert row["state"] == "died" and "is gone" in row["says"]
    assert "bar" not in row


def test_of_another_machine_nobody_knows_more_than_when_it_was_heard_of(middle: Path) -> None:
    told(middle, stages=[stage("a.jsonl", 1, 2)], host="elsewhere", born=1, now=CLOCK - 7200)
    row = stands(middle)
    assert row["state"] == "underway" and row["quiet"] == "No news for 2 h 0 min."


def test_a_run_with_a_summary_is_done_whatever_its_progress_says(finished: Path) -> None:
    assert stands(finished)["state"] == "done"
    told(finished, ended=True, outcome="failed", error="x")
    row = stands(finished)
    assert (row["state"], row["error"]) == ("done", None)


def test_a_run_of_which_nothing_was_told_shows_its_finished_stages(middle: Path) -> None:
    row = stands(middle)
    assert row["state"] == "unknown"
    assert row["latest"][0]["label"] == "round 1: conversations"


@pytest.mark.parametrize(
    "broken",
    [{"stages": [{}]}, {"stages": ["x"]}, {"rounds": [{"round": 1}]}, {"training": 3}, {"outcome": 3, "ended": True},
     {"billed": [1]}, {"stages": [stage("x", 1, 2) | {"at": "soon"}]}],
)  # fmt: skip
def test_a_progress_file_of_another_version_is_no_disaster(middle: Path, broken: dict[str, Any]) -> None:
    told(middle, **broken)
    assert stands(middle)["state"] in ("unknown", "failed")


def test_it_is_read_as_its_process_writes_it(middle: Path) -> None:
    with Progress(middle) as progress:
        progress.tell({"event": "stage", "stage": "round-1/signals.jsonl", "done": 1, "of": 3})
        assert stands(middle, time.time())["state"] == "underway"
    assert stands(middle, time.time())["state"] == "stopped"  # it ended without a summary


# How long the rest takes


def line(stage: str, seconds: float) -> dict[str, Any]:
    return {"stage": stage, "seconds": seconds}


ONE = [line("gates.json", 99), line("round-0/test.jsonl", 50), line("round-1/a.jsonl", 10), line("round-1/b.jsonl", 30)]


def test_the_rest_is_what_the_round_before_took() -> None:
    assert left_of_run(4, [*ONE, line("round-2/a.jsonl", 11)], None) == (30 + 2 * 40, 1)


def test_the_stage_under_way_goes_by_its_own_rate() -> None:
    bar = {"stage": "round-2/a.jsonl", "seconds": 3.0}
    assert left_of_run(2, ONE, bar) == (3 + 30, 1)
    assert left_of_run(2, ONE, bar | {"seconds": None}) == (10 + 30, 1)
    last = {"stage": "round-1/a.jsonl", "seconds": 0.0}  # over, and nothing has been told of this round
    assert left_of_run(2, [*ONE, line("round-2/b.jsonl", 1)], last) == (10, 1)


@pytest.mark.parametrize(
    "rounds, journal",
    [(2, ONE[:2]), (2, ONE), (None, [*ONE, line("round-2/a.jsonl", 1)]), (1, [*ONE, line("round-2/a.jsonl", 1)]),
     (2, [*ONE, line("round-2/a.jsonl", 1), line("round-2/b.jsonl", 1)]), (2, [])],
)  # fmt: skip
def test_nothing_is_said_before_a_round_is_over_or_at_the_end(rounds: Any, journal: list[dict[str, Any]]) -> None:
    assert left_of_run(rounds, journal, None) is None


TIMES = [(0.2, "0 s"), (89, "89 s"), (91, "2 min"), (89 * 60, "89 min"), (7260, "2 h 1 min"), (50 * 3600, "2 d 2 h")]


@pytest.mark.parametrize("seconds, words", TIMES)
def test_times_are_no_finer_than_a_person_needs(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_stages_are_named_for_people() -> None:
    assert label("round-12/test-answers.jsonl") == "round 12: test answers"
    assert label("summary.json") == "summary"
