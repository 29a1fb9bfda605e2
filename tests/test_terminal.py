"""What people see: progress with what was paid, the plan, the doctor's findings; and JSON lines without a terminal."""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from sparring.cli.doctor import drawn
from sparring.cli.plan import show
from sparring.doctor import Finding
from sparring.engines import without_options
from sparring.ledger import Ledger
from sparring.plan import Band, Line, Plan, Trial, estimate
from sparring.prices import price_table
from sparring.report import terminal
from sparring.runs import Run
from tests.command import Command, refused

SERVER = "http://a-rather-long-name.of-a-host.example:8000/v1,http://b:8000/v1?concurrency=4#org/model"


def billed(calls: int, usd: float | None) -> dict[str, Any]:
    part = {"calls": calls, "prompt_tokens": 10 * calls, "completion_tokens": calls, "usd": usd}
    return {"billed_now": part, "billed_earlier": part, "lost": {"calls": 0}}


def exact(value: float) -> Band:
    return Band(value, value, value)


def shown(plan: Plan, paid: dict[str, Any]) -> str:
    """Return the plan as 80 columns show it."""
    console = Console(file=io.StringIO(), width=80, highlight=False)
    setup = SimpleNamespace(engine_names=lambda: {"oracle": SERVER, "policy": "hf:org/base"})
    show(console, cast(Any, setup), plan, paid)
    return cast(io.StringIO, console.file).getvalue()


def of(usd: Band | None, untried: Sequence[str] = ()) -> Plan:
    lines = [
        Line("before", "oracle", exact(25_000), Band(9e6, 8.1e6, 9.9e6), exact(5e5), usd),
        Line("round 1", "policy", exact(750), exact(1e5), exact(2e4), exact(0)),
    ]
    minutes = {"before": Band(2, 1, 4), "round 1": Band(100, 50, 200)}
    return Plan(lines, minutes, {"before": 1e6, "round 1": 3e9}, list(untried))


# Progress


def test_where_a_killed_training_goes_on_is_told_however_soon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with terminal.narrator("star-gate", tmp_path, True) as tell:
        for event in ({"resumed_from": 30}, {"step": 31, "of": 40, "loss": 1.0}, {"step": 32, "of": 40, "loss": 1.0}):
            tell({"event": "training", "checkpoint": "round-1/checkpoint", **event})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["resumed_from"] == 30 and len(lines) < 3, "steps are told once in a while"


def test_a_training_whose_saved_steps_are_thrown_away_says_so(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=120)
    drawn = terminal._Drawn(cast(Any, None), console, cast(Any, None), tmp_path, cast(Any, None))
    drawn.tell({"event": "training", "checkpoint": "round-1/checkpoint", "steps_discarded": 30})
    assert "round-1/checkpoint begins again: its saved step 30 was another job's" in cast(Any, console.file).getvalue()


def test_lines_of_a_stage_say_what_was_paid_so_far(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roles = {"oracle": billed(3, 0.25), "judge": billed(1, 0.5)}
    with terminal.narrator("star-gate", tmp_path, True, lambda: roles) as tell:
        tell({"event": "stage", "stage": "situations.jsonl", "done": 1, "of": 9})
        roles["judge"] = billed(2, None)
        tell({"event": "stage", "stage": "situations.jsonl", "done": 9, "of": 9, "ended": True})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["billed"] for line in lines] == [
        {"calls": 4, "tokens": 44, "usd": 0.75},
        {"calls": 5, "tokens": 55, "usd": None},  # a price is unknown
    ]


def test_a_run_that_costs_nothing_says_nothing_of_money(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.narrator("star-gate", tmp_path, True) as tell:
        tell({"event": "stage", "stage": "situations.jsonl", "done": 1, "of": 9})
    assert "billed" not in json.loads(capsys.readouterr().out)


def test_the_ledger_is_asked_now_and_then_and_not_at_every_event(tmp_path: Path) -> None:
    asked: list[int] = []

    def told() -> dict[str, Any]:
        asked.append(1)
        return {"oracle": billed(1, 0.0)}

    with terminal.narrator("star-gate", tmp_path, True, told) as tell:
        for done in range(1000):
            tell({"event": "stage", "stage": "situations.jsonl", "done": done, "of": 1000})
    assert len(asked) < 50


# The plan


def test_a_plan_names_engines_whole_and_adds_up_calls_tokens_money_time_and_disk() -> None:
    text = shown(of(Band(20, 19, 21)), {})
    assert all(len(line) <= 80 for line in text.splitlines())
    assert SERVER in "".join(line.strip() for line in text.splitlines())
    whole = next(line for line in text.splitlines() if line.startswith(" all"))
    assert "26k" in whole and "9,100k ±10 %" in whole and "520k" in whole
    assert "20.00 ±5 %" in whole
    assert "1 to 4 minutes" in text and "0.8 to 3.4 hours" in text
    assert "1.0 MB" in text and "3.0 GB" in text


def test_a_plan_says_which_stages_it_knows_nothing_of() -> None:
    text = " ".join(shown(of(None, ["round-0/test-verdicts.jsonl"]), {}).split())
    assert "Not in these figures" in text and "larger --items: round-0/test-verdicts.jsonl" in text
    assert "Not in these figures" not in shown(of(None), {})


def test_a_stage_of_which_nothing_was_tried_is_told_and_not_taken_for_nothing(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run", "star-gate", {}, "") as run:
        run.lines("situations.jsonl", lambda: [{"id": "a"}])
        (run / "round-0").lines("test-verdicts.jsonl", list)
        due = {"situations.jsonl": 4, "round-0/test-verdicts.jsonl": 9, "round-1/train.jsonl": 9}
        tried = {"situations.jsonl": 1, "round-0/test-verdicts.jsonl": 0}
        found = estimate(Trial(run, tried, 256), due, {})
    assert found.untried == ["round-0/test-verdicts.jsonl", "round-1/train.jsonl"]


def test_a_plan_says_which_price_is_unknown_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path))
    text = " ".join(shown(of(None), {"oracle": billed(7, None)}).split())
    assert 'No price is known for org/model. Add "org/model" = { prompt = ..., completion = ... } to' in text
    assert "prices.toml" in text
    assert "This estimate made 7 paid calls at a price unknown." in text


def test_a_price_for_one_server_of_a_pool_is_the_one_that_the_bill_goes_by() -> None:
    assert without_options(SERVER) == "http://a-rather-long-name.of-a-host.example:8000/v1#org/model"
    assert without_options("hf:org/base") == "hf:org/base"


# The doctor


def test_findings_are_told_whole_with_what_to_do_and_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    findings = [Finding("ledger", "ok", "x"), Finding("oracle", "miss", "no [answer]", f"name another than {SERVER}")]
    assert drawn(iter(findings)) == 1
    text = capsys.readouterr().out
    assert "no [answer]" in text and SERVER in "".join(text.split()).replace("\n", "")
    assert text.rstrip().endswith("1 missed")


# Every command


@pytest.mark.parametrize("command, module", [("plan", "sparring.cli.plan"), ("doctor", "sparring.cli.doctor")])
def test_ctrl_c_is_one_line_and_its_own_exit_status(
    sparring: Command, monkeypatch: pytest.MonkeyPatch, command: str, module: str
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module(module), command, stop)
    refused(sparring(command, "star-gate"), "stopped; ", status=130)


def test_cleaning_the_ledger_can_be_read_by_a_program_and_a_bad_place_to_export_to_is_named(
    sparring: Command, tmp_path: Path
) -> None:
    Ledger(tmp_path / "ledger.sqlite").close()
    ended = sparring("ledger", "gc", "--dry-run", "--json", "--file", "ledger.sqlite")
    assert json.loads(ended.out) == {"calls": 0, "bytes": 0, "dry_run": True}
    (tmp_path / "file").touch()
    refused(
        sparring("ledger", "export", "--file", "ledger.sqlite", "--out", "file/x"), "--out file/x cannot be written"
    )


def test_help_says_the_exit_statuses(sparring: Command) -> None:
    assert "3 paused by the budget" in sparring("--help").out


# What must not be written down


def test_a_key_in_an_engines_name_is_refused_before_a_run_directory_holds_it(
    sparring: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "home"))
    price_table.cache_clear()
    for name, told in (
        ("http://127.0.0.1:9/v1?key=sk-not-a-name#m", "key= takes the NAME of an environment variable"),
        ("http://me:sk-not-a-name@127.0.0.1:9/v1#m", "holds a password"),
    ):
        for command in ("run", "plan"):
            ended = sparring(command, "star-gate", f"roles.oracle.engine={name}")
            refused(ended, told)
            assert "sk-not-a-name" not in ended.err
    assert list(tmp_path.iterdir()) == []
