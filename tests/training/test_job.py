"""A training job as a process of its own: finished, killed, orphaned, failed."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from sparring.errors import DataError, SettingsError, TrainingError
from sparring.training.canary import read_canary
from sparring.training.dpo import prefer
from sparring.training.examples import read_pairs
from sparring.training.job import Job, read_examples, run_job, work
from sparring.training.settings import DPOSettings, SFTSettings
from sparring.training.sft import fine_tune
from tests.training.conftest import examples, pairs, write_pairs, write_rows

SETTINGS = SFTSettings(
    learning_rate=3e-3, epochs=4, batch_size=8, rows_per_device=4, validation_share=0.1, max_truncated=0, threads=1
)


@pytest.fixture(scope="module", autouse=True)
def one_cpu() -> Any:
    """The promise of equal bytes is for a CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield


@pytest.fixture(scope="module")
def job(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("job")
    return Job(str(base), write_rows(folder / "train.jsonl", examples(40)), folder / "checkpoint", 1, SETTINGS)


@pytest.fixture(scope="module")
def finished(job: Job) -> tuple[Path, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    return run_job(job, on_log=events.append), events


@pytest.fixture(scope="module")
def of_pairs(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("pairs")
    rows = write_pairs(folder / "pairs.jsonl", pairs(20))
    settings = DPOSettings(learning_rate=3e-3, batch_size=8, rows_per_device=4, validation_share=0, threads=1)
    return Job(str(base), rows, folder / "checkpoint", 1, settings)


def weight_bytes(checkpoint: Path) -> bytes:
    return (checkpoint / "model.safetensors").read_bytes()


def test_a_finished_job_leaves_a_whole_checkpoint_and_its_report(
    job: Job, finished: tuple[Path, list[dict[str, Any]]]
) -> None:
    checkpoint, events = finished
    report = json.loads((checkpoint / "training.json").read_text())
    assert checkpoint == job.out and not job.partial.exists()
    assert report["steps"] == 20 and report["seconds"] > 0 and report["versions"]["torch"]
    assert report["lengths"]["rows"] == 40 and report["rows"] == {"train": 36, "validation": 4}
    assert report["curve"][-2]["loss"] < report["curve"][0]["loss"]
    assert len(read_canary(checkpoint)) == 4
    assert events[0] == {"lengths": report["lengths"]}
    steps = [event for event in events if "loss" in event]
    assert [event["step"] for event in steps] == list(range(1, 21)) and {event["of"] for event in steps} == {20}


@pytest.mark.skipif(torch.cuda.is_available(), reason="equal bytes are promised on a CPU")
def test_the_same_job_gives_the_same_bytes_of_weights(job: Job, finished: tuple[Path, Any], tmp_path: Path) -> None:
    """Here in this process, which has done other things before."""
    fine_tune(job.model, examples(40), tmp_path, job.seed, job.settings, lambda _: None)
    assert weight_bytes(tmp_path) == weight_bytes(finished[0])


def test_a_finished_job_is_not_done_again(job: Job, finished: tuple[Path, Any]) -> None:
    before = (finished[0] / "training.json").stat().st_mtime_ns
    assert run_job(job, launcher=["/no/such/launcher"]) == finished[0]
    assert (finished[0] / "training.json").stat().st_mtime_ns == before


def test_a_checkpoint_of_another_job_is_not_taken_for_this_one(job: Job, finished: tuple[Path, Any]) -> None:
    with pytest.raises(TrainingError, match="was trained with other seed, settings"):
        run_job(replace(job, seed=2, settings=replace(SETTINGS, epochs=1)))


def test_a_folder_with_something_else_in_it_is_left_alone(job: Job, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(TrainingError, match="holds files but no finished checkpoint"):
        run_job(replace(job, out=tmp_path))


def test_a_killed_job_leaves_no_half_checkpoint_and_comes_to_the_same_weights_when_rerun(
    job: Job, finished: tuple[Path, Any], tmp_path: Path
) -> None:
    def interrupt(event: dict[str, Any]) -> None:
        if event.get("step") == 3:
            raise KeyboardInterrupt

    killed = replace(job, out=tmp_path / "checkpoint")
    with pytest.raises(KeyboardInterrupt):
        run_job(killed, on_log=interrupt)
    assert not killed.out.exists()
    killed.partial.mkdir(exist_ok=True)
    (killed.partial / "model.safetensors").write_bytes(b"half")
    assert weight_bytes(run_job(killed)) == weight_bytes(finished[0])
    assert not killed.partial.exists()


def test_the_whole_checkpoint_is_on_disk_before_it_stands_in_its_place(
    job: Job, finished: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("HF_HUB_OFFLINE", "1"), ("HF_HUB_DISABLE_TELEMETRY", "1"), ("TQDM_DISABLE", "1")):
        monkeypatch.setenv(name, value)  # the job sets them in its process, which is this one here
    sync, early = os.fsync, set[int]()
    here = replace(job, out=tmp_path / "checkpoint")

    def watched(handle: int) -> None:
        if not here.out.exists():
            early.add(os.fstat(handle).st_ino)
        sync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    work(here, lambda _: None)
    assert {part.name for part in here.out.rglob("*")} == {part.name for part in finished[0].rglob("*")}
    assert {part.stat().st_ino for part in (here.out, *here.out.rglob("*"))} <= early


@pytest.mark.skipif(torch.cuda.is_available(), reason="equal bytes are promised on a CPU")
def test_a_job_of_pairs_is_a_job_like_any_other(of_pairs: Job, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    checkpoint = run_job(of_pairs, on_log=events.append)
    told = json.loads((checkpoint / "training.json").read_text())
    assert told["job"]["kind"] == "dpo" and told["job"]["reference"] == "" and told["rows"]["train"] == 20
    assert events[0] == {"lengths": told["lengths"]} and events[-1]["step"] == told["steps"] == 3
    assert told["pairs"]["after"]["chosen"] > 0 and not of_pairs.partial.exists()
    again = prefer(of_pairs.model, pairs(20), tmp_path, 1, cast("DPOSettings", of_pairs.settings), lambda _: None)
    assert weight_bytes(tmp_path) == weight_bytes(checkpoint)
    assert again["pairs"] == told["pairs"]
    assert run_job(of_pairs, launcher=["/no/such/launcher"]) == checkpoint
    with pytest.raises(TrainingError, match="was trained with other settings, reference"):
        run_job(replace(of_pairs, settings=DPOSettings(beta=0.2), reference="org/anchor"))
    with pytest.raises(TrainingError, match="was trained with other kind"):
        run_job(replace(of_pairs, settings=SETTINGS))


def test_a_job_ends_with_a_parent_that_was_killed(job: Job, tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    endless = replace(job, out=tmp_path / "checkpoint", settings=replace(SETTINGS, epochs=1e5))
    endless.write(tmp_path / "wanted.json")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "wanted.json")], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout and "lengths" in parent.stdout.readline()
    children = psutil.Process(parent.pid).children(recursive=True)
    assert children
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    for orphan in alive:
        orphan.kill()
    parent.stdout.close()
    assert not alive and not endless.out.exists()


PARENT = """
import sys
from pathlib import Path
from sparring.training.job import Job, run_job
run_job(Job.read(Path(sys.argv[1])), on_log=lambda event: print(event, flush=True))
"""


def test_a_model_that_cannot_be_opened_is_named(job: Job, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="model '/no/such/model' cannot be opened"):
        run_job(replace(job, model="/no/such/model", out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_failing_job_carries_its_last_lines(job: Job, tmp_path: Path) -> None:
    script = "import sys; print('port 29500'); sys.stderr.write('device 3 fell off the bus\\n'); sys.exit(7)"
    with pytest.raises(TrainingError, match=r"(?s)exit status 7.*device 3 fell off the bus"):
        run_job(replace(job, out=tmp_path / "out"), launcher=[sys.executable, "-c", script])
    assert "port 29500" in (tmp_path / "out.log").read_text()


def test_a_killed_process_is_said_to_be_killed(job: Job, tmp_path: Path) -> None:
    script = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(TrainingError, match=r"killed by SIGKILL \(out of memory\?\)"):
        run_job(replace(job, out=tmp_path / "out"), launcher=[sys.executable, "-c", script])


def test_a_launcher_that_is_not_there_is_named(job: Job, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="'acelerate' cannot be started: No such file"):
        run_job(replace(job, out=tmp_path / "out"), launcher=["acelerate", "launch"])


def test_a_bad_row_ends_the_job_before_a_model_is_loaded(job: Job, tmp_path: Path) -> None:
    rows = tmp_path / "train.jsonl"
    rows.write_text(job.rows.read_text() + '{"messages": [\n')
    with pytest.raises(TrainingError, match=r"train.jsonl:41: not a training row"):
        run_job(replace(job, rows=rows, out=tmp_path / "out"))
    assert "torch" not in (tmp_path / "out.log").read_text()


def said(pieces: list[Any], role: str = "assistant") -> dict[str, Any]:
    """A row of one message of three characters."""
    return {"messages": [{"role": role, "content": "tea"}], "weights": [pieces]}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"messages": [{"role": "user", "content": "a"}]}, "not a training row"),
        ({"messages": [{"role": "user", "content": "a"}], "weights": [0, 1]}, "1 messages but 2 weights"),
        ({"messages": [{"role": "user", "content": "a"}], "weights": [1]}, "weight = 1.0 on a user message"),
        ({"messages": [{"role": "assistant", "content": "a"}], "weights": [-1]}, "weight = -1.0, but it must be >= 0"),
        (
            {"messages": [{"role": "robot", "content": "a"}], "weights": [1]},
            "needs a known role and a text, not 'robot'",
        ),
        ({"messages": [{"role": "assistant", "content": None}], "weights": [1]}, "a known role and a text"),
        ([1], "not a training row"),
        (said([[1, 1], [1, 1]]), "pieces of 2 characters in all on a message of 3"),
        (said([[4, 1]]), "pieces of 4 characters in all on a message of 3"),
        (said([]), "pieces of 0 characters in all on a message of 3"),
        (said([[4, 1], [-1, 1]]), "a piece of -1 characters, but it must be a whole number >= 0"),
        (said([[1.5, 1], [1.5, 1]]), "a piece of 1.5 characters"),
        (said([["3", 1]]), "a piece of '3' characters"),
        (said([[2, 1], [1, -0.5]]), "weight = -0.5, but it must be >= 0"),
        (said([[2, 1], [1, float("nan")]]), "weight = nan, but it must be >= 0"),
        (said([[2, 0], [1, 1.5]], role="user"), "weight = 1.5 on a user message"),
        (said([3, 1]), "not a training row"),
        (said([[3, 1, 1]]), "not a training row"),
        (said([[3, "much"]]), "not a training row"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, row: object, told: str) -> None:
    path = write_rows(tmp_path / "train.jsonl", examples(2))
    path.write_text(path.read_text() + "\n" + json.dumps(row) + "\n")
    with pytest.raises(DataError, match=rf"train.jsonl:4: .*{told}"):
        read_examples(path)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": [{"role": "user", "content": "a"}], "chosen": "b"}, "not a pair"),
        ([1], "not a pair"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "not a pair"),
        ({"prompt": [], "chosen": "b", "rejected": "c"}, "a prompt needs a message"),
        (
            {"prompt": [{"role": "assistant", "content": "a"}], "chosen": "b", "rejected": "c"},
            "ends with one that the assistant can reply to",
        ),
        ({"prompt": [{"role": "robot", "content": "a"}], "chosen": "b", "rejected": "c"}, "a known role and a text"),
        ({"prompt": [{"role": "user", "content": "a"}], "chosen": "b", "rejected": None}, "a reply is a text"),
        ({"prompt": [{"role": "user", "content": "a"}], "chosen": "b", "rejected": "b"}, "there is nothing to prefer"),
    ],
)
def test_a_bad_pair_is_named_by_file_and_line(tmp_path: Path, row: object, told: str) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", pairs(2))
    assert read_pairs(path) == pairs(2)
    path.write_text(path.read_text() + "\n" + json.dumps(row) + "\n")
    with pytest.raises(DataError, match=rf"pairs.jsonl:4: .*{told}"):
        read_pairs(path)


def test_rows_are_read_as_they_were_written_and_other_keys_ignored(job: Job) -> None:
    assert read_examples(job.rows) == examples(40)


def test_pieces_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = [
        replace(row, weights=[0, 0, [[4, 0], [0, 2], [len("what do you like ?") - 4, 1.5]], 0, 1])
        for row in examples(3)
    ]
    assert read_examples(write_rows(tmp_path / "train.jsonl", rows)) == rows


def test_a_checkpoint_from_before_a_setting_was_known_was_trained_with_its_default(
    job: Job, finished: tuple[Path, Any], tmp_path: Path
) -> None:
    report = json.loads((finished[0] / "training.json").read_text())
    del report["job"]["settings"]["tokens"]
    older = replace(job, out=tmp_path / "older")
    older.out.mkdir()
    (older.out / "training.json").write_text(json.dumps(report))
    assert older.is_done()
    with pytest.raises(TrainingError, match="was trained with other settings"):
        replace(older, settings=replace(SETTINGS, tokens=500)).is_done()


def test_missing_rows_are_named(job: Job, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "training.json").write_text('{"job": {}}')
    with pytest.raises(DataError, match=r"none.jsonl: cannot be read: No such file"):
        run_job(replace(job, rows=tmp_path / "none.jsonl", out=tmp_path / "out"))


def test_a_job_is_read_as_it_was_written(job: Job, of_pairs: Job, tmp_path: Path) -> None:
    for each in (job, of_pairs, replace(of_pairs, reference="org/anchor")):
        each.write(tmp_path / "job.json")
        assert Job.read(tmp_path / "job.json") == each


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "does not describe a training job"),
        ('{"model": "m", "rows": "r"}', "'out'"),
        ('{"model": "m", "rows": "r", "out": "o", "kind": "ppo"}', "kind = 'ppo', but it must be one of sft, dpo"),
        ('{"model": "m", "rows": "r", "out": "o", "reference": "n"}', "reference = 'n', but sft has none"),
        ('{"model": "m", "rows": "r", "out": "o", "settings": {"beta": 1}}', "unknown training setting beta"),
        ('{"model": "m", "rows": "r", "out": "o", "settings": {"epoch": 1}}', "did you mean epochs"),
    ],
)
def test_a_file_that_is_no_job_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(SettingsError, match=said):
        Job.read(tmp_path / "job.json")


def test_starting_a_job_loads_no_model_library() -> None:
    script = (
        "import sys, sparring.training.job; sys.exit(bool({'torch', 'transformers', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
