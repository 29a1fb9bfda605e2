"""What a run directory says of a run: metrics, stages, failures, the bill, the loop as its settings make it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sparring.files import Row, write_json
from sparring.report.figures import figures_of
from sparring.report.page import render
from sparring.report.record import LONG, Charge, Failed, Metric, Paid, Record
from sparring.report.steps import topology
from sparring.report.terminal import verdicts
from sparring.runs import Run
from sparring.types import Failure

HALF = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
SETTINGS: Row = {"init": "base", "rounds": 2, "samples": 3, "selection": "best", "keep": 1, "closing": "own"}
CALLS = {"policy": {"calls": 4, "prompt_tokens": 8, "completion_tokens": 2}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    with Run.open(path, "star-gate", SETTINGS, "sparring run", [7], prompts={"ask": "ASK"}) as run:
        run.lines("situations.jsonl", lambda: [{"id": "a"}, {"id": "b"}])
        part, name = run / "round-1", "conversations.jsonl"

        def rolled_out() -> list[Row]:
            failures = [Failure("a #0", "refused"), Failure("a #1", "cut off", "x" * 900), Failure("b #0", "cut off")]
            run.record_failures(f"round-1/{name}", failures)
            part.note(name, calls=CALLS, failed=3, dropped={"no-op": 2})
            return [{"id": "b #1"}]

        part.lines(name, rolled_out)
        part.folder("checkpoint", lambda made: None)
    return path


def finish(folder: Path, **summary: Any) -> Record:
    rounds = [{"round": 0, "metrics": {"win_rate": HALF}}, {"round": 1, "metrics": {"oracle_log_prob": HALF}}]
    base = {"recipe": "star-gate", "verdict": "round 1 improved", "rounds": rounds, "calls": CALLS, "billed": {}}
    write_json(folder / "summary.json", base | summary)
    return Record.read(Run(folder))


def test_a_run_that_goes_on_has_stages_and_no_verdict(folder: Path) -> None:
    found = Record.read(Run(folder))
    assert (found.done, found.verdict, found.metrics, [*found.rounds]) == (False, None, (), [])
    assert [(one.name, one.round, one.n, one.failed, one.calls) for one in found.stages] == [
        ("situations.jsonl", None, 2, None, None),
        ("round-1/conversations.jsonl", 1, 1, 3, 4),
        ("round-1/checkpoint", 1, None, None, None),
    ]
    assert found.stages[1].facts == {"dropped": {"no-op": 2}}
    assert (found.stages[1].prompt_tokens, found.stages[1].completion_tokens) == (8, 2)
    assert found.bill == (Charge("policy", 4, 8, 2, None, None, None, None),)
    assert (found.seeds, found.prompts, found.command) == ((7,), {"ask": "ASK"}, "sparring run")


def test_metrics_come_in_the_order_of_the_report_and_those_not_measured_are_none(folder: Path) -> None:
    found = finish(folder)
    assert found.done and found.verdict == "round 1 improved"
    assert found.metrics == (
        Metric("win_rate", "answers preferred to m_0's", "%", (HALF, None)),
        Metric("oracle_log_prob", "oracle log-prob (nats)", "nats", (None, HALF)),
    )


def test_failures_are_counted_by_stage_and_reason_with_an_example_of_each(folder: Path) -> None:
    stage = "round-1/conversations.jsonl"
    assert Record.read(Run(folder)).failures == (
        Failed(stage, "cut off", 2, "a #1", "x" * LONG),
        Failed(stage, "refused", 1, "a #0", ""),
    )


def test_the_bill_says_what_was_billed_lost_and_free(folder: Path) -> None:
    paid = {"calls": 1, "prompt_tokens": 2, "completion_tokens": 3, "usd": 0.5}
    none = {"calls": 0, "prompt_tokens": 0, "completion_tokens": 0, "usd": 0.0}
    billed = {"policy": {"billed_now": paid, "billed_earlier": none, "lost": {"calls": 2}}}
    (one,) = finish(folder, billed=billed).bill
    assert one == Charge("policy", 4, 8, 2, Paid(1, 2, 3, 0.5), Paid(0, 0, 0, 0.0), 2, 3)
    (one,) = finish(folder).bill
    assert (one.now, one.lost, one.free) == (None, None, 4)


def test_an_older_run_that_says_little_is_read_all_the_same(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"recipe": "spar", "settings": {}})
    (tmp_path / "journal.jsonl").write_text('{"stage": "round-1/x.jsonl"}\n{"stage": "y"}\n')
    found = Record.read(Run(tmp_path))
    assert [(one.seconds, one.calls, one.n) for one in found.stages] == [(None, None, None)] * 2
    assert (found.commit, found.command, found.seeds, found.prompts) == (None, None, (), {})
    assert found.topology.init is None and found.topology.rounds is None


def test_a_recipe_of_another_version_has_its_facts_and_no_metrics(folder: Path) -> None:
    record = json.loads((folder / "run.json").read_text())
    write_json(folder / "run.json", {**record, "recipe": "unknown"})
    found = finish(folder)
    assert (found.recipe, found.metrics, found.topology.boxes) == ("unknown", (), ())
    assert len(found.stages) == 3


def test_a_stage_that_was_made_again_counts_once_as_it_was_made_last(folder: Path) -> None:
    with (folder / "journal.jsonl").open("a") as file:
        file.write('{"stage": "situations.jsonl", "seconds": 9}\n')
    (folder / "situations.jsonl").write_text('{"id": "a"}\n')
    stages = [one for one in Record.read(Run(folder)).stages if one.name == "situations.jsonl"]
    assert [(one.seconds, one.n) for one in stages] == [(9, 1)]


# The loop


def test_the_loop_says_what_a_round_begins_from_and_learns_from() -> None:
    assert (topology("star-gate", SETTINGS).init, topology("star-gate", SETTINGS).splits) == ("base", "alternate")
    assert topology("tripost", {"interaction": "once"}).data == "round 1"
    assert topology("tripost", {"interaction": "every round"}).data == "this round"
    assert topology("spar", {}).splits == "fresh"


def test_the_anchor_of_dpo_is_named_where_pairs_are_learned_alone() -> None:
    pairs = {"learn_from": "refined", "training": {"reference": ""}}
    assert topology("spar", pairs).reference == "the model that the round starts from"
    assert topology("spar", {**pairs, "training": {"reference": "base"}}).reference == "the model as it was given"
    assert topology("spar", {**pairs, "learn_from": "sft"}).reference is None


@pytest.mark.parametrize("recipe, first", [("star-gate", "Roll out"), ("tripost", "Attempt"), ("spar", "Answer")])
def test_a_round_is_drawn_from_its_first_step_to_its_evaluation(recipe: str, first: str) -> None:
    boxes = topology(recipe, {}).boxes
    assert (boxes[0][0], boxes[-1][0]) == (first, "Evaluate")
    assert all(name and what.endswith(".") and what[0].isupper() for name, what, _ in boxes)


def test_an_ablation_draws_the_loop_that_it_runs() -> None:
    assert "Edit" not in [name for name, _, _ in topology("tripost", {"learn_from": "filtered"}).boxes]
    idle = {"learn_from": "extremes", "refiner_learns": False}
    assert "Refine" not in [name for name, _, _ in topology("spar", idle).boxes]
    assert ("Judge", "a coin") in [(name, who) for name, _, who in topology("spar", {"judge": "random"}).boxes]


def test_what_a_server_was_told_is_not_shared(tmp_path: Path) -> None:
    told = {"environment": {"HF_TOKEN": "hf_secret"}}
    command = "sparring run star-gate vllm.environment.HF_TOKEN=hf_secret 'vllm={stay=true, startup=9}' seed=1"
    with Run.open(tmp_path / "run", "star-gate", {**SETTINGS, "vllm": told}, command) as run:
        record = Record.read(run)
    assert record.command == "sparring run star-gate seed=1"
    assert "secret" not in str(record) and "startup" not in str(record)


def test_each_rounds_verdict_and_warnings_are_lines_and_older_runs_have_none(folder: Path) -> None:
    rounds = [{"round": 0, "metrics": {"win_rate": HALF}, "verdict": None, "warnings": []}]
    rounds += [
        {
            "round": 1,
            "metrics": {"win_rate": HALF},
            "verdict": "got worse (p = 0.010 against round 0)",
            "warnings": ["<too long>"],
        }
    ]
    told = ("round 1 got worse (p = 0.010 against round 0)", "round 1, warning: <too long>")
    record = finish(folder, rounds=rounds)
    assert figures_of(record).verdicts == tuple(verdicts(rounds)) == told
    page = render(record)
    assert told[0] in page and "&lt;too long&gt;" in page and "<too long>" not in page
    assert figures_of(finish(folder)).verdicts == ()
