"""What a run tells of itself on disk while it goes on, and how it is told apart from one that died."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sparring.errors import BudgetReached, TooManyFailures
from sparring.evals.statistics import Interval
from sparring.report import progress
from sparring.report.progress import Progress, born, is_alive, read_progress


def stage(name: str, done: int, of: int, **more: Any) -> dict[str, Any]:
    return {"event": "stage", "stage": name, "done": done, "of": of, **more}


def read(run: Path) -> dict[str, Any]:
    found = read_progress(run)
    assert found is not None
    return found


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event is written at once."""
    monkeypatch.setattr(progress, "EVERY", 0.0)


def billed(calls: int, usd: float | None) -> dict[str, Any]:
    part = {"calls": calls, "prompt_tokens": 10 * calls, "completion_tokens": calls, "usd": usd}
    earlier = {"calls": 1, "prompt_tokens": 5, "completion_tokens": None, "usd": 0.5}
    return {"billed_now": part, "billed_earlier": earlier, "lost": {"calls": 0}}


@pytest.mark.usefixtures("eager")
def test_a_stage_is_told_from_its_first_rollout_to_its_end(tmp_path: Path) -> None:
    with Progress(tmp_path) as told:
        told.tell(stage("round-1/a.jsonl", 3, 10))
        told.tell(stage("round-1/a.jsonl", 7, 10))
        [going] = read(tmp_path)["stages"]
        assert (going["stage"], going["first"], going["done"], going["of"], going["ended"]) == (
            "round-1/a.jsonl", 3, 7, 10, None
        )  # fmt: skip
        assert going["since"] <= going["at"] <= time.time()
        told.tell(stage("round-1/a.jsonl", 10, 10, ended=True))
        assert read(tmp_path)["stages"][0]["ended"] >= going["at"]


def test_it_is_written_at_most_twice_a_second_but_never_misses_the_end_of_a_stage(tmp_path: Path) -> None:
    with Progress(tmp_path) as told:
        before = os.stat(tmp_path / progress.NAME).st_ino
        for done in range(10_000):
            told.tell(stage("a.jsonl", done, 10_000))
        assert os.stat(tmp_path / progress.NAME).st_ino == before or read(tmp_path)["stages"][0]["done"] < 9_999
        told.tell(stage("a.jsonl", 10_000, 10_000, ended=True))
        assert read(tmp_path)["stages"][0]["done"] == 10_000


@pytest.mark.usefixtures("eager")
def test_a_training_has_its_curve_and_the_next_one_begins_anew(tmp_path: Path) -> None:
    about = {"event": "training", "checkpoint": str(tmp_path / "round-1" / "actor")}
    with Progress(tmp_path) as told:
        told.tell({**about, "lengths": {"longest": 3}})
        assert read(tmp_path)["training"]["of"] is None
        told.tell({**about, "step": 1, "of": 2, "loss": 3.5})
        told.tell({**about, "step": 1, "of": 2, "validation_loss": 3.0})
        told.tell({**about, "step": 2, "of": 2, "loss": float("nan")})
        training = read(tmp_path)["training"]
        assert training["checkpoint"] == "round-1/actor" and training["ended"]
        assert training["points"] == [[1, 3.5], [2, None]]  # a loss that ran away is not known
        told.tell({**about, "checkpoint": str(tmp_path / "round-1" / "refiner"), "step": 1, "of": 9, "loss": 1.0})
        assert read(tmp_path)["training"]["points"] == [[1, 1.0]]


@pytest.mark.usefixtures("eager")
def test_a_long_training_keeps_few_points_its_last_among_them(tmp_path: Path) -> None:
    with Progress(tmp_path) as told:
        for step in range(1, 10_001):
            told.tell({"event": "training", "checkpoint": "r/c", "step": step, "of": 20_000, "loss": 1 / step})
        points = read(tmp_path)["training"]["points"]
    assert len(points) == progress.POINTS
    assert points[0][0] == 1 and points[-1][0] == 10_000
    gaps = [b[0] - a[0] for a, b in pairwise(points)]
    assert min(gaps) > 0 and max(gaps) < 4 * 10_000 / len(points)  # the whole of it, not what came last


@pytest.mark.usefixtures("eager")
def test_the_rate_of_a_training_goes_by_all_its_steps_and_not_by_its_loading(tmp_path: Path) -> None:
    with Progress(tmp_path) as told:
        told.tell({"event": "training", "checkpoint": "r/c", "lengths": {}})
        before = time.time()
        for step in range(501, 1_501):
            told.tell({"event": "training", "checkpoint": "r/c", "step": step, "of": 2_000, "loss": 1.0})
        training = read(tmp_path)["training"]
    assert training["first"] == 501 and training["since"] >= before


@pytest.mark.usefixtures("eager")
def test_rounds_are_told_as_they_are_evaluated_and_what_was_billed(tmp_path: Path) -> None:
    with Progress(tmp_path, billed=lambda: {"oracle": billed(2, 0.25)}, budget="20 usd") as told:
        told.tell({"event": "round", "round": 0, "metrics": {"rate": Interval(0.5, 0.4, 0.6, 9), "none": None}})
        row = read(tmp_path)
    assert row["rounds"] == [
        {"round": 0, "metrics": {"rate": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}, "none": None}}
    ]
    assert row["billed"] == {"calls": 2, "tokens": 22, "usd": 0.25}
    assert row["billed_earlier"] == {"calls": 1, "tokens": 5, "usd": 0.5}
    assert row["budget"] == "20 usd"


@pytest.mark.parametrize(
    "error, outcome, said",
    [
        (BudgetReached("the next call would pass 20 usd"), "paused", "the next call would pass 20 usd"),
        (KeyboardInterrupt(), "stopped", None),
        (ZeroDivisionError("of a secret"), "failed", "ZeroDivisionError"),
    ],
)
def test_how_a_run_ended_is_on_record(tmp_path: Path, error: BaseException, outcome: str, said: str | None) -> None:
    with pytest.raises(type(error)), Progress(tmp_path) as told:
        told.tell(stage("a.jsonl", 1, 10))
        raise error
    row = read(tmp_path)
    assert (row["ended"], row["outcome"], row["error"]) == (True, outcome, said)
    assert row["stages"][0]["done"] == 1


def test_an_error_does_not_say_where_the_run_lies(tmp_path: Path) -> None:
    with pytest.raises(TooManyFailures), Progress(tmp_path):
        raise TooManyFailures(f"all are in {tmp_path}/failures.jsonl")
    assert read(tmp_path)["error"] == "all are in RUN/failures.jsonl"


def test_a_run_that_came_to_its_summary_is_done(tmp_path: Path) -> None:
    with Progress(tmp_path) as told:
        told.tell({"event": "summary", "verdict": "better"})
    row = read(tmp_path)
    assert (row["ended"], row["outcome"], row["error"]) == (True, "done", None)


def test_a_run_whose_folder_cannot_be_written_goes_on_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Progress(tmp_path / "gone") as told:
        told.tell(stage("a.jsonl", 1, 1, ended=True))
    [record] = caplog.records
    assert record.message.startswith(f"{tmp_path / 'gone' / progress.NAME} cannot be written")


NONE = ("", "{", "[]", "{}", '{"pid": 1}', '{"pid": "1", "stages": [], "rounds": []}', "[" * 9999)


@pytest.mark.parametrize("text", NONE)
def test_a_file_that_is_no_progress_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / progress.NAME).write_text(text)
    assert read_progress(tmp_path) is None


def test_no_file_is_no_progress(tmp_path: Path) -> None:
    assert read_progress(tmp_path) is None


def test_a_process_that_is_gone_is_told_from_one_that_has_its_number(tmp_path: Path) -> None:
    script = "import sys; from sparring.report.progress import Progress\nPROGRESS = Progress(sys.argv[1])\n"
    script += "PROGRESS.tell({'event': 'round', 'round': 0, 'metrics': {}}); print(flush=True); input()"
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        row = read(tmp_path)
        assert row["pid"] == process.pid and is_alive(row) is True
        assert is_alive({**row, "born": row["born"] - 1}) is False  # another process got the number
        assert is_alive({**row, "host": "elsewhere"}) is None
        process.kill()
        process.wait()
        assert is_alive(row) is False


def test_a_process_is_born_once(tmp_path: Path) -> None:
    assert born(os.getpid()) == born(os.getpid()) is not None
    assert born(2**22 + 1) is None


def test_the_file_is_json_that_javascript_reads(tmp_path: Path) -> None:
    with Progress(tmp_path) as told:
        told.tell(
            {
                "event": "round",
                "round": 0,
                "metrics": {"a": {"value": float("inf")}, "b": Path("x"), "\ud800": "\ud800"},
            }
        )
    text = (tmp_path / progress.NAME).read_text()
    assert json.loads(text, parse_constant=pytest.fail)["rounds"][0]["metrics"]["a"] == {"value": None}
