"""A training that was killed goes on from its last saved step, to the weights that it would have had."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from sparring.errors import SettingsError
from sparring.settings import Training
from sparring.training.dpo import prefer
from sparring.training.job import Job, beside, run_job, work
from sparring.training.settings import DPOSettings, LoRASettings, SFTSettings, TrainingSettings
from sparring.training.sft import fine_tune
from sparring.training.steps import Steps
from tests.tiny import tiny_model
from tests.training.conftest import examples, pairs, write_pairs, write_rows

SFT = SFTSettings(
    learning_rate=3e-3, epochs=8, batch_size=8, rows_per_device=4, validation_share=0.1, max_truncated=0, threads=1
)
"""5 steps an epoch, 40 in all, on the 36 of 40 rows that are not held out."""
DPO = DPOSettings(learning_rate=3e-3, epochs=8, batch_size=8, rows_per_device=4, validation_share=0.1, threads=1)
LORA = LoRASettings(r=4, alpha=64, dropout=0.3)
"""Its dropout draws random numbers at each step."""
TRAININGS: dict[str, TrainingSettings] = {
    "sft": SFT,
    "sft-lora": replace(SFT, lora=LORA),
    "dpo": DPO,
    "dpo-lora": replace(DPO, lora=replace(LORA, dropout=0.0)),
}


@pytest.fixture(scope="module", autouse=True)
def one_cpu() -> Any:
    """The promise of equal bytes is for a CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield


def job_of(settings: TrainingSettings, base: Path, folder: Path) -> Job:
    folder.mkdir(exist_ok=True)
    if isinstance(settings, DPOSettings):
        anchor = tiny_model(folder / "anchor", seed=1) if settings.lora is None else ""
        return Job(
            *(str(base), write_pairs(folder / "rows.jsonl", pairs(40)), folder / "checkpoint", 1, settings, str(anchor))
        )
    return Job(str(base), write_rows(folder / "rows.jsonl", examples(40)), folder / "checkpoint", 1, settings)


def uninterrupted(job: Job, out: Path) -> dict[str, Any]:
    """Train in this process, which saves one a start; return the report."""
    if isinstance(job.settings, DPOSettings):
        return prefer(job.model, pairs(40), out, job.seed, job.settings, lambda _: None, job.reference)
    settings = cast("SFTSettings", job.settings)
    return fine_tune(job.model, examples(40), out, job.seed, settings, lambda _: None)


def killed(job: Job, at: int) -> int:
    """Kill the job's process by SIGKILL when it has told of step `at`; return the last step that it told of."""
    job.write(beside(job.out, "job.json"))
    command = [sys.executable, "-m", "sparring.training.job", str(beside(job.out, "job.json"))]
    with beside(job.out, "killed.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout
    steps = [0]
    with process.stdout:
        for line in process.stdout:
            steps.append(json.loads(line).get("step", steps[-1]))
            if steps[-1] == at:
                process.kill()
    assert process.wait() == -9, beside(job.out, "killed.log").read_text()
    return steps[-1]


def weight_bytes(checkpoint: Path) -> dict[str, bytes]:
    return {str(path.relative_to(checkpoint)): path.read_bytes() for path in checkpoint.rglob("*.safetensors")}


def told(checkpoint: Path) -> dict[str, Any]:
    return json.loads((checkpoint / "training.json").read_text())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT's own
@pytest.mark.skipif(torch.cuda.is_available(), reason="equal bytes are promised on a CPU")
@pytest.mark.parametrize("name", TRAININGS)
def test_a_killed_training_comes_to_the_very_bytes_of_one_that_was_not(base: Path, tmp_path: Path, name: str) -> None:
    job = job_of(replace(TRAININGS[name], save_every=3), base, tmp_path)
    whole = uninterrupted(job, tmp_path / "whole")
    assert killed(job, at=7) < 40 and not job.out.exists()
    saved = job.steps.last()
    assert saved and saved >= 6 and saved % 3 == 0
    events: list[dict[str, Any]] = []
    run_job(job, on_log=events.append)
    assert events[0] == {"resumed_from": saved}
    assert [event["step"] for event in events if "loss" in event] == list(range(saved + 1, 41))
    assert weight_bytes(job.out) == weight_bytes(tmp_path / "whole")
    assert len(weight_bytes(job.out)) == (2 if "lora" in name else 1)
    report = told(job.out)
    assert report["resumed_from"] == saved
    for figure in ("steps", "tokens", "rows", "lengths", "curve"):
        assert report[figure] == whole[figure]
    assert not job.steps.folder.exists() and not job.partial.exists()


class Interrupted(Exception):
    """A training that ends here."""


def interrupted(job: Job, out: Path, at: int) -> None:
    """Train in this process until it tells of step `at`."""

    def stop(event: dict[str, Any]) -> None:
        if event.get("step") == at and "loss" in event:
            raise Interrupted

    job.steps.claim({})
    with pytest.raises(Interrupted):
        fine_tune(job.model, examples(40), out, job.seed, cast("SFTSettings", job.settings), stop, None, job.steps)


@pytest.mark.skipif(torch.cuda.is_available(), reason="equal bytes are promised on a CPU")
def test_the_last_step_of_an_epoch_is_saved_with_its_validation(base: Path, tmp_path: Path) -> None:
    job = job_of(replace(SFT, epochs=2, save_every=5), base, tmp_path)
    whole = uninterrupted(job, tmp_path / "whole")
    interrupted(job, tmp_path / "part", at=6)
    assert job.steps.last() == 5
    settings = cast("SFTSettings", job.settings)
    again = fine_tune(
        job.model, examples(40), tmp_path / "again", 1, settings, lambda _: None, tracking=None, steps=job.steps
    )
    assert again["curve"] == whole["curve"]
    assert [point["step"] for point in again["curve"] if "validation_loss" in point] == [5, 10]
    assert weight_bytes(tmp_path / "again") == weight_bytes(tmp_path / "whole")


def test_one_step_is_kept_without_pickled_settings_and_never_the_trainings_last(base: Path, tmp_path: Path) -> None:
    job = job_of(replace(SFT, epochs=1, save_every=1), base, tmp_path)
    job.steps.claim({})
    settings = cast("SFTSettings", job.settings)
    fine_tune(job.model, examples(40), tmp_path / "out", 1, settings, lambda _: None, None, job.steps)
    assert {path.name for path in job.steps.folder.iterdir()} == {"job.json", "step-4"}
    saved = {path.name for path in job.steps.at(4).iterdir()}
    assert {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"} <= saved
    assert "training_args.bin" not in saved


def test_nothing_is_saved_unless_it_is_asked_for(base: Path, tmp_path: Path) -> None:
    job = job_of(replace(SFT, epochs=1), base, tmp_path)
    interrupted(job, tmp_path / "part", at=4)
    assert job.steps.last() is None


# Whose the steps are


def test_what_was_being_saved_when_it_was_killed_is_thrown_away_and_whole_steps_are_kept(tmp_path: Path) -> None:
    steps = Steps(tmp_path / "checkpoint.steps")
    steps.claim({"seed": 1})
    for step in (9, 12):
        (steps.folder / f"checkpoint-{step}").mkdir()
    steps.seal(9, 1.5)
    assert (steps.last(), steps.are_of({"seed": 1})) == (9, True)
    steps.claim({"seed": 1})
    assert {path.name for path in steps.folder.iterdir()} == {"job.json", "step-9"}
    (steps.folder / "checkpoint-18").mkdir()
    steps.seal(18, 3.0)
    assert {path.name for path in steps.folder.iterdir()} == {"job.json", "step-18"}


def test_the_steps_of_another_job_are_thrown_away(tmp_path: Path) -> None:
    steps = Steps(tmp_path / "checkpoint.steps")
    steps.claim({"seed": 1})
    (steps.folder / "checkpoint-9").mkdir()
    steps.seal(9, 1.5)
    assert not steps.are_of({"seed": 2})
    steps.claim({"seed": 2})
    assert steps.last() is None and steps.are_of({"seed": 2})
    steps.remove()
    steps.remove()
    assert not steps.folder.exists() and not steps.are_of({"seed": 2})


def test_a_killed_job_that_was_changed_begins_again(base: Path, tmp_path: Path) -> None:
    job = job_of(replace(SFT, epochs=1, save_every=3), base, tmp_path)
    job.steps.claim(job.owner())
    (job.steps.folder / "checkpoint-3").mkdir()  # not one to go on from: it would fail
    job.steps.seal(3, 1.5)
    changed = replace(job, settings=replace(job.settings, learning_rate=1e-3))
    events: list[dict[str, Any]] = []
    run_job(changed, on_log=events.append)
    assert events[0] == {"steps_discarded": 3} and "lengths" in events[1]
    assert told(job.out)["resumed_from"] is None


@pytest.mark.parametrize("changes", [{"rows_per_device": 2}, {"max_truncated": 0.5}, {"save_every": 7}])
def test_settings_that_decide_only_how_steps_are_cut_or_saved_leave_them_to_go_on_from(
    base: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    job = job_of(replace(SFT, save_every=3), base, tmp_path)
    changed = replace(job, settings=replace(job.settings, **changes))
    assert changed.owner() == job.owner()
    assert replace(job, settings=replace(job.settings, epochs=9)).owner() != job.owner()


def test_less_memory_goes_on_from_the_saved_step_to_the_same_weights_within_rounding(
    base: Path, tmp_path: Path
) -> None:
    job = job_of(replace(SFT, epochs=2, save_every=3), base, tmp_path)
    whole = uninterrupted(job, tmp_path / "whole")
    killed(job, at=4)
    events: list[dict[str, Any]] = []
    run_job(replace(job, settings=replace(job.settings, rows_per_device=2)), on_log=events.append)
    assert "resumed_from" in events[0]
    for ours, theirs in zip(told(job.out)["curve"], whole["curve"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)


def test_steps_are_of_processes_that_share_the_model_alike(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(SFT, base, tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    owners = [job.owner()]
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    for stage in ("2", "3"):
        monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", stage)
        owners.append(job.owner())
    assert all(owners.count(owner) == 1 for owner in owners)


def test_the_seconds_are_those_of_all_its_sittings(base: Path, tmp_path: Path) -> None:
    job = job_of(replace(SFT, epochs=2, save_every=3), base, tmp_path)
    interrupted(job, tmp_path / "part", at=4)
    assert 0 < job.steps.seconds(3) < 600
    (job.steps.at(3) / "seconds.json").write_text("1000")
    settings = cast("SFTSettings", job.settings)
    again = fine_tune(job.model, examples(40), tmp_path / "again", 1, settings, lambda _: None, None, job.steps)
    assert 1000 < again["seconds"] < 1600


def test_a_job_that_is_done_leaves_no_steps_in_its_own_process_either(base: Path, tmp_path: Path) -> None:
    job = job_of(SFT, base, tmp_path)
    job.out.mkdir()
    (job.out / "training.json").write_text(json.dumps({"job": job.identity()}))
    job.steps.claim(job.owner())
    work(job, lambda _: None)
    assert not job.steps.folder.exists()


def test_a_finished_job_is_the_same_however_often_it_was_saved(base: Path, tmp_path: Path) -> None:
    job = job_of(SFT, base, tmp_path)
    job.out.mkdir()
    (job.out / "training.json").write_text(json.dumps({"job": job.identity()}))
    saved = replace(job, settings=replace(SFT, save_every=7))
    assert saved.is_done() and saved.identity() == job.identity()
    saved.steps.claim({"left": "by a job that was killed after its checkpoint had its place"})
    assert run_job(saved, launcher=["/no/such/launcher"]) == job.out
    assert not saved.steps.folder.exists()


def test_saving_every_nought_steps_is_refused() -> None:
    with pytest.raises(SettingsError, match="save_every = 0, but it must be >= 1"):
        SFTSettings(save_every=0)
    with pytest.raises(SettingsError, match="save_every = 0: must be greater than or equal to 1"):
        Training.load([], ["save_every=0"])
