"""A real run of the embedded model, killed outright and given again, ends with the bytes of one left in peace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.killed import compared, measure
from sparring.worlds.concierge import HERE, MODEL
from sparring.worlds.concierge.language import tasks

SMALL = (
    "personas=[1, 1, 1]",
    "samples=2",
    "test_samples=1",
    "rounds=1",
    "turns=[1, 2]",
    "max_failed=1",
    "training.epochs=1",
    "elicit=always",  # one step of training is too little for a policy to ask unprompted
)


@pytest.mark.timeout(600)
def test_a_run_killed_and_rerun_has_the_rounds_rows_and_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    few = [row for split in ("a", "b", "test") for row in [r for r in tasks() if r["split"] == split][:4]]
    (tmp_path / "tasks.jsonl").write_text("\n".join(json.dumps(row) for row in few))
    world = ("--config", str(HERE / "star-gate.toml"), f"policy=hf:{MODEL}", "prompts=world:concierge")
    found = measure(tmp_path, 2, 5, [*world, f"tasks={tmp_path / 'tasks.jsonl'}", *SMALL])
    assert found["kills"] >= 1, found  # on a busy machine a run may be done before its last moment comes
    assert found["train_files"] == 1
    assert (found["rounds_same"], found["train_same"], found["weights_same"]) == (True, True, True)
    assert (found["differ"], found["orphans"], found["left_behind"]) == ([], 0, [])


@pytest.mark.parametrize("name, what", [("summary.json", "rounds_same"), ("round-1/train.jsonl", "train_same")])
def test_a_difference_of_one_byte_is_found(tmp_path: Path, name: str, what: str) -> None:
    for run in ("a", "b"):
        (tmp_path / run / "round-1").mkdir(parents=True)
        (tmp_path / run / "summary.json").write_text('{"rounds": [1], "seconds": 3}')
        (tmp_path / run / "round-1" / "train.jsonl").write_text("[1]\n")
    assert compared(tmp_path / "a", tmp_path / "b")[what] is True
    changed = tmp_path / "b" / name
    changed.write_text(changed.read_text().replace("[1]", "[2]"))
    assert compared(tmp_path / "a", tmp_path / "b")[what] is False
