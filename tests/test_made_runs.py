"""Made runs are what the recipes write: the same files, and in each the same keys with the same kinds of value."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from sparring.files import Row, read_json, read_lines
from sparring.runs import Run
from tests.made_runs import MAKERS, PLACES
from tests.recipes import test_spar, test_spar_audit, test_star_gate, test_tripost

RECIPES = {"star-gate": test_star_gate.Stage, "tripost": test_tripost.Stage, "spar": test_spar.Stage}
"""Whole runs on scripted engines, by recipe."""
OF_THE_CLI = {"gates.json", "exercises.jsonl", "instructions.jsonl"}
"""Written around the recipe, not by it."""
OPTIONAL = {f"round-{t}/test-levels.jsonl" for t in range(3)}
"""Of suites that have nested levels."""
AUDIT = {"exam": test_spar_audit.AUDITED, "judge_require": test_spar_audit.REQUIRED}
CHANGES: dict[str, dict[str, Any]] = {"star-gate": {}, "tripost": {"test_sampled": 2}, "spar": AUDIT}
WEIGHTS = ("checkpoint/", "actor/", "refiner/")


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def files(run: Path) -> set[str]:
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith(".lock") and not any(part in name for part in WEIGHTS)}


def kinds(rows: list[Row]) -> dict[str, set[str]]:
    """Return what kinds of value each key has; whole numbers are numbers, and who says nothing says None."""
    found: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.items():
            kind = "number" if type(value) in (int, float) else type(value).__name__
            found.setdefault(name, set()).add(kind)
    return {name: those - {"NoneType"} for name, those in found.items()}


@pytest.mark.parametrize("recipe", MAKERS)
def test_a_made_run_has_the_files_and_keys_of_a_real_one(recipe: str, tmp_path: Path) -> None:
    real, made = tmp_path / "real", MAKERS[recipe](tmp_path / "made", 6)
    RECIPES[recipe](real).run(**CHANGES[recipe])
    assert files(made) - OF_THE_CLI - OPTIONAL == files(real) | {"failures.jsonl"}
    for name in files(real) & files(made):
        if name.endswith(".jsonl") and name not in ("journal.jsonl", "failures.jsonl"):
            ours, theirs = kinds(read_lines(made / name)), kinds(read_lines(real / name))
            assert ours.keys() == theirs.keys(), name
            for key in ours:
                assert not ours[key] or not theirs[key] or ours[key] & theirs[key], f"{name}: {key}"


@pytest.mark.parametrize("recipe", MAKERS)
def test_a_made_summary_has_the_metrics_and_counts_of_a_real_one(recipe: str, tmp_path: Path) -> None:
    MAKERS[recipe](tmp_path / "made", 6)
    RECIPES[recipe](tmp_path / "real").run()
    made, real = (read_json(tmp_path / name / "summary.json") for name in ("made", "real"))
    assert made.keys() == real.keys()
    assert made["rounds"][-1].keys() == real["rounds"][-1].keys()
    interval: Any = next(filter(None, made["rounds"][-1]["metrics"].values()))
    assert interval.keys() == next(filter(None, real["rounds"][-1]["metrics"].values())).keys()


@pytest.mark.parametrize("recipe", MAKERS)
def test_a_made_run_can_be_read_as_a_run(recipe: str, tmp_path: Path) -> None:
    run = Run(MAKERS[recipe](tmp_path / "run"))
    assert run.record["recipe"] == recipe
    assert run.record["prompts"]
    assert run.calls()
    assert run.failures
    assert run.journal()[-1]["stage"] == "summary.json"


@pytest.mark.parametrize("recipe", MAKERS)
def test_a_run_in_the_middle_ends_with_the_stage_that_was_named(recipe: str, tmp_path: Path) -> None:
    whole = Run(MAKERS[recipe](tmp_path / "whole")).journal()
    stage = next(row["stage"] for row in whole if row["stage"].startswith("round-1/"))
    run = Run(MAKERS[recipe](tmp_path / "run", until=stage))
    assert run.journal()[-1]["stage"] == stage
    assert not (run.path / "summary.json").exists()
    assert not (run.path / "round-2").exists()


def test_every_place_of_a_text_is_in_some_recipe_and_holds_what_was_put_there(tmp_path: Path) -> None:
    texts = ""
    for recipe, make in MAKERS.items():
        written = make(tmp_path / recipe, text=lambda place, n, plain: f"<{place} {n}>{plain}")
        texts += "".join(path.read_text() for path in written.rglob("*.json*"))
    assert [place for place in PLACES if f"<{place} 0>" not in texts] == []


def test_a_made_run_of_ten_thousand_rollouts_is_written_in_a_moment(tmp_path: Path) -> None:
    started = time.monotonic()
    run = MAKERS["star-gate"](tmp_path / "run", 250, 16)
    rollouts = sum(len(read_lines(path)) for path in run.rglob("*conversations.jsonl"))
    assert rollouts > 8000
    assert time.monotonic() - started < 30
