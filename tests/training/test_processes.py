"""Two processes, which talk by gloo: the losses and weights of one, within rounding."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file

from sparring.training.dpo import prefer
from sparring.training.job import Job, run_job
from sparring.training.settings import DPOSettings, LoRASettings, SFTSettings
from sparring.training.sft import fine_tune
from tests.tiny import tiny_model
from tests.training.conftest import examples, pairs, write_pairs, write_rows

SFT = SFTSettings(
    learning_rate=3e-3, epochs=2, batch_size=9, rows_per_device=2, validation_share=0.1, max_truncated=0, threads=1
)
DPO = DPOSettings(learning_rate=3e-3, epochs=2, batch_size=9, rows_per_device=2, validation_share=0.1, threads=1)
LORA = LoRASettings(r=4, alpha=64)
ROWS = 31
"""28 are trained on: no step has as many for each process, and the last of an epoch has one row for two."""
# `accelerate launch --cpu` would start one process, whatever it is told. Without a GPU these two are on the CPU.
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
LAUNCHERS = {
    "accelerate": [*ACCELERATE, "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"],
    "torchrun": [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
}


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def same(together: Path, report: dict[str, Any], alone: Path) -> None:
    """All that is told of both trainings, step by step, and the weights that they came to."""
    told = json.loads((together / "training.json").read_text())
    assert told["devices"] == 2
    for name in ("steps", "tokens", "rows", "lengths"):
        assert told[name] == report[name]
    assert len(told["curve"]) == len(report["curve"]) == 2 * (4 + 1)
    for ours, theirs in zip(told["curve"], report["curve"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)
    ours, theirs = load_file(together / "model.safetensors"), load_file(alone / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-3, atol=2e-5)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT's own
@pytest.mark.parametrize(("launcher", "lora"), [("torchrun", None), ("accelerate", LORA)], ids=["full", "lora"])
def test_on_chats(base: Path, tmp_path: Path, launcher: str, lora: LoRASettings | None) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", examples(ROWS))
    job = Job(str(base), rows, tmp_path / "together", 1, replace(SFT, lora=lora))
    together = run_job(job, LAUNCHERS[launcher])
    settings = cast("SFTSettings", job.settings)
    report = fine_tune(str(base), examples(ROWS), tmp_path / "alone", 1, settings, lambda _: None)
    same(together, report, tmp_path / "alone")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT's own
@pytest.mark.parametrize("lora", [None, LORA], ids=["full, anchored elsewhere", "lora"])
def test_on_pairs(base: Path, tmp_path: Path, lora: LoRASettings | None) -> None:
    anchor = "" if lora else str(tiny_model(tmp_path / "anchor", seed=1))
    rows = write_pairs(tmp_path / "rows.jsonl", pairs(ROWS))
    job = Job(str(base), rows, tmp_path / "together", 1, replace(DPO, lora=lora), anchor)
    together = run_job(job, LAUNCHERS["accelerate"])
    settings = cast("DPOSettings", job.settings)
    report = prefer(str(base), pairs(ROWS), tmp_path / "alone", 1, settings, lambda _: None, anchor)
    same(together, report, tmp_path / "alone")
    told = json.loads((together / "training.json").read_text())
    for when in ("before", "after"):
        assert told["pairs"][when] == pytest.approx(report["pairs"][when], abs=2e-3)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT's own
def test_a_killed_training_of_two_goes_on_as_two(base: Path, tmp_path: Path) -> None:
    """Each process has random numbers of its own, here for its dropout, which are saved and read by each."""
    rows = write_rows(tmp_path / "rows.jsonl", examples(ROWS))
    job = Job(str(base), rows, tmp_path / "together", 1, replace(SFT, save_every=3, lora=replace(LORA, dropout=0.3)))
    unkilled = run_job(replace(job, out=tmp_path / "unkilled"), LAUNCHERS["accelerate"])

    def interrupt(event: dict[str, Any]) -> None:
        if event.get("step") == 5 and "loss" in event:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(job, LAUNCHERS["accelerate"], interrupt)
    last = job.steps.last()
    assert last in (3, 6)
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {path.name for path in job.steps.at(last).iterdir()}
    events: list[dict[str, Any]] = []
    run_job(job, LAUNCHERS["accelerate"], events.append)
    assert events[0] == {"resumed_from": last}
    same(job.out, json.loads((unkilled / "training.json").read_text()), unkilled)
