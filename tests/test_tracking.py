"""Trackers, the real ones, offline: losses and rounds of one run meet there, and what breaks there breaks no run."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sparring.cli.setup import in_part, trainer
from sparring.cli.tripost import TriPosTSetup
from sparring.errors import SettingsError
from sparring.evals.statistics import Interval
from sparring.runs import Run
from sparring.settings import Training
from sparring.tracking import Trackers, check_trackers, described, tracking
from sparring.training.job import Job, run_job
from sparring.training.settings import SFTSettings, Tracking
from tests.command import Command, refused
from tests.tiny import tiny_model
from tests.training.conftest import examples, write_rows

ALL = ("tensorboard", "wandb", "trackio")
ROUND: dict[str, Any] = {
    "event": "round",
    "round": 1,
    "metrics": {"win_rate": Interval(0.5, 0.4, 0.6, 10), "alone": Interval(0.3, None, None, 1), "unknown": None},
}
QUICK = SFTSettings(epochs=1, batch_size=8, rows_per_device=4, validation_share=0, max_truncated=1, threads=1)
TINY = ("questions=4", "test_questions=4", "rounds=1", "samples=2", "training.epochs=1", "gold=0", "ratio=all")


@pytest.fixture(autouse=True, scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing is sent anywhere, and nothing kept in the user's folders; return trackio's."""
    home = tmp_path_factory.mktemp("trackers")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("WANDB_", "TRACKIO_", "TENSORBOARD_"))]:
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("TRACKIO_DIR", str(home / "trackio"))
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield home / "trackio"


@pytest.fixture(scope="module")
def tracked(offline: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run on an embedded world, told to all trackers: a round before its training, and one after."""
    setup = TriPosTSetup.read(None, [*TINY, f"training.report_to={json.dumps(ALL)}"])
    assert setup.report_to == ALL
    path = tmp_path_factory.mktemp("runs") / "mine"
    with setup.open_run(path, "") as run, Trackers(setup.report_to, run) as trackers, setup.engines(run.id) as engines:
        summary = setup.make(run, engines, trainer(trackers.tell, run), trackers.tell, None)
        trackers.tell({"event": "summary", **summary})
    yield run


def known_as(run: Run) -> str:
    return f"mine-{run.id[:6]}"


def of_trackio(folder: Path, name: str) -> list[dict[str, Any]]:
    with sqlite3.connect(folder / "sparring.db") as database:
        rows = database.execute("select metrics from metrics where run_name = ? order by step", (name,)).fetchall()
    database.close()
    return [json.loads(row[0]) for row in rows]


def of_tensorboard(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return step and value of everything in a folder of event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    read = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    read.Reload()
    told = {tag: [(one.step, one.value) for one in read.Scalars(tag)] for tag in read.Tags()["scalars"]}
    for tag in read.Tags()["tensors"]:
        arrays = [(one.step, make_ndarray(one.tensor_proto)) for one in read.Tensors(tag)]
        told[tag] = [(step, float(array)) for step, array in arrays if array.ndim == 0]
    return told


def of_wandb(folder: Path) -> tuple[tuple[str, str, str], list[dict[str, Any]]]:
    """Return group, name and job of an offline run, and its rows."""
    from wandb.proto.wandb_internal_pb2 import Record

    rows, known = list[dict[str, Any]](), ("", "", "")
    for data in records(next(folder.glob("*.wandb")).read_bytes()):
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "run":
            known = (record.run.run_group, record.run.display_name, record.run.job_type)
        elif record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return known, rows


def records(data: bytes, block: int = 32768) -> Iterator[bytes]:
    """Yield the records of LevelDB's log, which wandb's files are: pieces of whole, first, middle, last."""
    at, parts = 7, b""
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""


def metric(run: Run, t: int, name: str) -> float:
    return json.loads((run.path / "summary.json").read_text())["rounds"][t]["metrics"][name]["value"]


# A run that is tracked


def test_trackio_has_losses_and_rounds_in_one_run(tracked: Run, offline: Path) -> None:
    rows = of_trackio(offline, known_as(tracked))
    kinds = ["loss" if "train/loss" in row else f"round {row['round']}" if "round" in row else "" for row in rows]
    told = [kind for at, kind in enumerate(kinds) if kind and kind != kinds[at - 1]]
    assert told == ["round 0", "loss", "round 1"]
    of_rounds = [row for row in rows if "round" in row]
    for t, row in enumerate(of_rounds):
        assert row["metrics/accuracy_direct"] == metric(tracked, t, "accuracy_direct")
        assert row["metrics/accuracy_direct/low"] <= row["metrics/accuracy_direct"]
    assert of_rounds[0]["seconds/exercises"] >= 0, "what was before the rounds"
    assert of_rounds[1]["seconds/checkpoint"] == tracked.seconds()["round-1/checkpoint"]
    assert of_rounds[1]["calls/attempts"] > 0 and of_rounds[1]["completion_tokens/attempts"] > 0
    assert of_rounds[1]["failed/attempts"] >= 0


def test_tensorboard_has_a_folder_a_training_and_one_of_the_rounds(tracked: Run) -> None:
    folder = tracked.path / "tracking"
    rounds = of_tensorboard(folder / "rounds")
    expected = [(t, pytest.approx(metric(tracked, t, "accuracy_direct"))) for t in (0, 1)]
    assert rounds["metrics/accuracy_direct"] == expected
    losses = of_tensorboard(folder / "round-1/checkpoint")["train/loss"]
    report = json.loads((tracked.path / "round-1/checkpoint/training.json").read_text())
    assert losses == [(one["step"], pytest.approx(one["loss"])) for one in report["curve"] if "loss" in one] != []


def test_wandb_has_a_group_of_the_trainings_and_the_rounds(tracked: Run) -> None:
    found = dict(of_wandb(folder) for folder in (tracked.path / "tracking" / "wandb").glob("offline-run-*"))
    name = known_as(tracked)
    assert found.keys() == {(name, name, job) for job in ("rounds", "round-1/checkpoint")}
    losses = [row["train/loss"] for row in found[name, name, "round-1/checkpoint"] if "train/loss" in row]
    report = json.loads((tracked.path / "round-1/checkpoint/training.json").read_text())
    assert losses == pytest.approx([point["loss"] for point in report["curve"] if "loss" in point])
    rounds = [(row["round"], row["metrics/accuracy_direct"]) for row in found[name, name, "rounds"]]
    assert rounds == [(t, metric(tracked, t, "accuracy_direct")) for t in (0, 1)]


def test_a_run_without_trackers_keeps_no_folder_for_them(tmp_path: Path) -> None:
    with Run.open(tmp_path, "x", {}, "") as run, Trackers((), run) as trackers:
        trackers.tell(ROUND)
    assert tracking(run, tmp_path / "round-1" / "checkpoint", ()) is None
    assert not (tmp_path / "tracking").exists()


def test_what_an_earlier_attempt_told_is_not_told_again(tmp_path: Path, offline: Path) -> None:
    for attempt in range(2):
        with Run.open(tmp_path / "again", "x", {}, "") as run, Trackers(("trackio",), run) as trackers:
            for t in range(attempt + 1):
                trackers.tell({**ROUND, "round": t})
    assert [row["round"] for row in of_trackio(offline, f"again-{run.id[:6]}")] == [0, 1]


def test_a_round_is_told_with_its_intervals_and_without_what_is_unknown(tmp_path: Path, offline: Path) -> None:
    paid = {"billed_now": {"usd": 1.0}, "billed_earlier": {"usd": 0.5}}
    unpriced = {"billed_now": {"usd": None}, "billed_earlier": {"usd": 0.5}}
    with Run.open(tmp_path / "one", "x", {}, "") as run, Trackers(("trackio",), run) as trackers:
        trackers.tell({"event": "stage", "stage": "a.jsonl", "done": 1, "of": 2})
        trackers.tell(ROUND)
        trackers.tell({"event": "summary", "rounds": [{}, {}], "billed": {"oracle": paid, "judge": unpriced}})
    metrics = {"metrics/win_rate": 0.5, "metrics/win_rate/low": 0.4, "metrics/win_rate/high": 0.6, "metrics/alone": 0.3}
    rows = of_trackio(offline, f"one-{run.id[:6]}")
    assert rows == [{"round": 1, **metrics}, {"round": 1, "usd/oracle": 1.5}]


def test_what_a_server_is_started_with_is_told_to_nobody(tmp_path: Path) -> None:
    settings = {"samples": 3, "vllm": {"environment": {"HF_TOKEN": "hf_secret"}}}
    with Run.open(tmp_path, "x", settings, "sparring run x vllm.environment.HF_TOKEN=hf_secret") as run:
        told = described(run)
    assert told["settings"] == {"samples": 3} and "hf_secret" not in json.dumps(told)


def test_nothing_of_it_goes_to_standard_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Run.open(tmp_path, "x", {}, "") as run, Trackers(ALL, run) as trackers:
        trackers.tell(ROUND)
    assert capfd.readouterr().out == "", "the narrator's lines of JSON are there"


# What breaks


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base"))


def test_a_tracker_that_fails_is_said_once_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, offline: Path
) -> None:
    with Run.open(tmp_path / "run", "x", {}, "") as run, Trackers(("tensorboard", "trackio"), run) as trackers:
        (run.path / "tracking").mkdir()
        (run.path / "tracking" / "rounds").write_text("in its way")
        with caplog.at_level(logging.WARNING, "sparring"):
            for t in range(3):
                trackers.tell({**ROUND, "round": t})
            trackers.tell({"event": "training", "checkpoint": "c", "tracker": "tensorboard", "failed": "there as well"})
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("tensorboard failed and is told nothing more, the run goes on: ")
    assert len(of_trackio(offline, f"run-{run.id[:6]}")) == 3
    assert json.loads((run.path / "tracking" / "told.json").read_text()) == {"trackio": ["0", "1", "2"]}


def test_being_tracked_well_or_ill_changes_neither_a_job_nor_its_weights(base: Path, tmp_path: Path) -> None:
    rows, folder = write_rows(tmp_path / "train.jsonl", examples(8)), tmp_path / "tracking"
    folder.mkdir()
    (folder / "told").write_text("in TensorBoard's way")
    plain = Job(str(base), rows, tmp_path / "plain", 1, QUICK)
    told = replace(plain, out=tmp_path / "told", tracking=Tracking(ALL, "same", "told", str(folder)))
    assert plain.identity() == told.identity()
    events: list[dict[str, Any]] = []
    weights = [(run_job(job, on_log=events.append) / "model.safetensors").read_bytes() for job in (plain, told)]
    assert weights[0] == weights[1]
    failed = [event for event in events if "tracker" in event]
    assert [event["tracker"] for event in failed] == ["tensorboard"] and failed[0]["failed"]
    assert list((folder / "wandb").glob("offline-run-*")), "the others go on"
    assert replace(plain, out=told.out).is_done(), "it is the same job without"
    assert Job.read(tmp_path / "told.job.json").tracking == told.tracking


# At the door


def test_a_tracker_that_is_not_installed_is_refused_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparring.tracking.find_spec", lambda name: None if name == "trackio" else object())
    check_trackers(("tensorboard",))
    with pytest.raises(SettingsError, match=r"'trackio', which is not installed: pip install 'sparring\[track\]'"):
        check_trackers(("tensorboard", "trackio"))


def test_wandb_without_a_key_is_refused_instead_of_stopping_to_ask(
    sparring: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import wandb

    monkeypatch.delenv("WANDB_MODE")
    wandb.teardown()  # it has read its environment
    ended = sparring("run", "star-gate", 'training.report_to=["wandb"]')
    refused(ended, "knows no API key: run `wandb login`, or set WANDB_MODE=offline")
    assert not (tmp_path / "runs").exists()
    wandb.teardown()


def test_trackers_may_change_when_a_run_goes_on() -> None:
    setup = TriPosTSetup.read(None, [])
    assert {"training.report_to", "rationale.report_to"} <= setup.free(Path("nowhere"))


def test_an_estimate_is_not_tracked() -> None:
    assert in_part(Training(report_to=("trackio",))).report_to == ()
