"""`sparring doctor`: each check finds what it is for, with real parts."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from sparring import cli
from sparring.doctor import Finding, Job, Plumbing, examine, machine
from sparring.doctor.machine import devices_of
from sparring.engines import guard
from sparring.engines.awaited import Awaited
from sparring.engines.base import Permit, Request, freely
from sparring.engines.hf import HF
from sparring.engines.weights import parameters
from sparring.errors import EngineError, RolloutError
from sparring.training.canary import Canary, write_canary
from sparring.training.settings import DPOSettings, LoRASettings, SFTSettings
from sparring.types import Chat, Completion, LogProb, user
from sparring.worlds import open_engine
from tests.serving import serving
from tests.tiny import CHATML, tiny_model

WORLD = Path(cli.__file__).parents[1] / "worlds" / "concierge"
PLAYED = ("--config", str(WORLD / "star-gate.toml"), "tasks=world:concierge", "prompts=world:concierge")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def opener(name: str) -> Any:
    return HF(name.removeprefix("hf:"), device="cpu") if name.startswith("hf:") else open_engine(name)


def plumbing(model: Path, **changes: Any) -> Plumbing:
    """A run on a small model, in which nothing is amiss."""
    policy = f"hf:{model}"
    jobs = {"training": Job(SFTSettings(batch_size=4), checkpoints=2)}
    return replace(Plumbing(policy, {"policy": policy}, opener, jobs, model / "runs"), **changes)


def found(of: Plumbing) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(of)}


def missed(of: Plumbing, name: str, *parts: str) -> dict[str, Finding]:
    """Check that a check, and no other, is missed, with `parts` in what is said of it."""
    findings = found(of)
    assert [other for other, finding in findings.items() if finding.state == "miss"] == [name], findings
    for part in parts:
        assert part in findings[name].found, findings[name]
    assert findings[name].to_do
    return findings


class Deaf(Awaited):
    """A server that cannot score, and counts no tokens."""

    async def answer(self, requests: Any, permit: Permit = freely) -> list[Completion | RolloutError]:
        return [Completion("tea") for _ in requests]

    async def score(self, chat: Chat, target: str, permit: Permit = freely) -> LogProb | RolloutError:
        raise EngineError("this server cannot return prompt log-probs, so it cannot score")


class Mute:
    """A generator to which every request is too much."""

    batch_size = 1

    def generate(self, requests: list[Request]) -> list[Completion | RolloutError]:
        return [RolloutError("server error", "500") for _ in requests]


# Nothing amiss


def test_a_run_with_nothing_amiss_is_told_so(model: Path) -> None:
    findings = found(plumbing(model))
    assert {finding.state for finding in findings.values()} == {"ok"}, findings
    assert set(findings) == {
        *("servers", "ledger", "training", "disk", "memory"),
        *("policy", "log-probs", "weights", "chat template", "end of turn"),
    }


# Engines


def test_a_role_whose_engine_is_not_there_is_named_with_its_setting(model: Path) -> None:
    engines = {"policy": f"hf:{model}", "judge": "hf:./nowhere", "oracle": ""}
    findings = found(plumbing(model, engines=engines))
    assert [name for name, finding in findings.items() if finding.state == "miss"] == ["judge", "oracle"]
    assert "cannot open model './nowhere'" in findings["judge"].found
    assert findings["judge"].to_do == "mend roles.judge.engine, or name another engine there"
    assert findings["oracle"].found == "its engine is not set"


def test_an_engine_is_not_opened_twice_to_find_it_missing_and_what_needs_it_is_skipped(model: Path) -> None:
    tries: list[str] = []

    def closed(name: str) -> Any:
        tries.append(name)
        raise EngineError("the server did not start")

    roles = {"roleplayer": f"hf:{model}", "policy": f"hf:{model}"}
    findings = found(plumbing(model, engines=roles, open=closed))
    assert tries == [f"hf:{model}"]
    assert {findings[name].state for name in roles} == {"miss"}
    assert {findings[name].state for name in ("log-probs", "weights", "chat template")} == {"skip"}


def test_an_engine_that_fails_or_refuses_a_short_reply_is_missed(model: Path) -> None:
    class Refusing(Mute):
        def generate(self, requests: list[Request]) -> list[Completion | RolloutError]:
            return [Completion("", "refused") for _ in requests]

    for engine, message in ((Mute(), "server error: 500"), (Refusing(), "refused to answer 'Hello!")):
        engines = {"policy": f"hf:{model}", "judge": "judge"}
        missed(
            plumbing(model, engines=engines, open=lambda n, e=engine: e if n == "judge" else opener(n)),
            "judge",
            message,
        )


def test_a_policy_that_cannot_score_is_missed(model: Path) -> None:
    findings = found(plumbing(model, open=lambda name: Deaf()))
    assert findings["log-probs"].state == "miss"
    assert "cannot return prompt log-probs" in findings["log-probs"].found
    assert "prompt log-probs" in findings["log-probs"].to_do

    class Speaker(Mute):
        def generate(self, requests: list[Request]) -> list[Completion | RolloutError]:
            return [Completion("tea") for _ in requests]

    assert "cannot return log-probs" in found(plumbing(model, open=lambda name: Speaker()))["log-probs"].found


def test_a_bug_in_an_engine_is_no_finding(model: Path) -> None:
    def broken(name: str) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        found(plumbing(model, open=broken))


# Weights


def test_an_engine_with_other_weights_is_missed(model: Path, tmp_path: Path) -> None:
    other = HF(tiny_model(tmp_path, seed=1), device="cpu")
    missed(plumbing(model, open=lambda name: other), "weights", "does not hold the weights", "(allowed: 0.001)")


def test_a_checkpoint_that_was_altered_after_its_training_is_missed(tmp_path: Path) -> None:
    checkpoint = tiny_model(tmp_path)
    [score] = HF(checkpoint, device="cpu").log_prob([[user("hello")]], ["tea"])
    assert isinstance(score, LogProb)
    write_canary(checkpoint, [Canary([user("hello")], "tea", score.total, score.tokens)])
    assert found(plumbing(checkpoint))["hand-over"].state == "ok"
    weights = load_file(checkpoint / "model.safetensors")
    weights["model.norm.weight"] *= 1.5
    save_file(weights, checkpoint / "model.safetensors", {"format": "pt"})
    missed(plumbing(checkpoint), "hand-over", "does not hold the weights that were trained")


def test_weights_that_are_not_on_this_machine_are_skipped_with_a_reason(model: Path) -> None:
    engine = HF(model, device="cpu")
    findings = found(plumbing(model, policy="hf:nobody/nothing", engines={}, open=lambda name: engine))
    for name in ("weights", "disk", "memory"):
        assert findings[name].state == "skip" and "'nobody/nothing'" in findings[name].found


# Chat templates


def test_an_engine_with_another_chat_template_is_missed(model: Path, tmp_path: Path) -> None:
    other = tiny_model(tmp_path)
    greeting = "{{- 'you are helpful .' }}" + CHATML
    (other / "chat_template.jinja").write_text(greeting)
    findings = found(plumbing(model, open=lambda name: HF(other, device="cpu")))
    assert findings["chat template"].state == "miss"
    assert "for a question the engine reads 19 tokens, the trainer 15" in findings["chat template"].found


def test_an_engine_that_counts_no_tokens_is_skipped(model: Path) -> None:
    assert found(plumbing(model, open=lambda name: Deaf()))["chat template"].state == "skip"


def test_an_end_of_turn_that_the_template_does_not_write_is_missed(tmp_path: Path) -> None:
    silent = tiny_model(tmp_path)
    (silent / "chat_template.jinja").write_text(CHATML.replace("<|im_end|>", ""))
    findings = missed(plumbing(silent), "end of turn", "'<|im_end|>': none is learned")
    assert "closes a reply" in findings["end of turn"].to_do


# Training, disk, memory


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"launcher": ("no-such-launcher", "launch")}, "training.launcher: there is no program 'no-such-launcher'"),
        (
            {"settings": SFTSettings(batch_size=4, lora=LoRASettings(r=32))},
            "training.lora.r = 32 is above the server's max_lora_rank = 16",
        ),
    ],
)
def test_settings_that_training_cannot_use_are_missed(model: Path, changes: dict[str, Any], message: str) -> None:
    job = replace(Job(SFTSettings(batch_size=4)), **changes)
    missed(plumbing(model, jobs={"training": job}, max_lora_rank=16), "training", message)


def test_each_of_a_runs_trainings_is_looked_at_and_the_one_that_is_amiss_is_named(model: Path) -> None:
    jobs = {"rationale": Job(SFTSettings(batch_size=4), ("no-such-launcher",)), "training": Job(SFTSettings())}
    findings = missed(plumbing(model, jobs=jobs), "rationale", "rationale.launcher: there is no program")
    assert findings["training"].state == "ok"


def test_what_is_told_of_a_training_is_what_it_does_and_pairs_need_no_other_library(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "find_spec", lambda name: None if name == "trl" else find_spec(name))
    two = (sys.executable, "--num_processes", "2")
    jobs = {"training": Job(DPOSettings(batch_size=5, rows_per_device=3, lora=LoRASettings(r=8)), two)}
    said = "LoRA of rank 8, 5 rows a step on 2 device(s), each with room for 3 of the longest"
    assert found(plumbing(model, jobs=jobs))["training"].found == said


def test_libraries_that_only_sharded_training_takes_are_missed_there(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = ("trl", "deepspeed")
    monkeypatch.setattr(machine, "find_spec", lambda name: None if name in absent else find_spec(name))
    launcher = (sys.executable, "--config_file=sparring:deepspeed-zero2.yaml")
    jobs = {"training": Job(SFTSettings(batch_size=4), launcher)}
    missed(plumbing(model, jobs=jobs), "training", "deepspeed is not installed")
    anchored = Job(DPOSettings(batch_size=4), (sys.executable,), reference=f"hf:{model}")
    missed(plumbing(model, jobs={"training": anchored}), "training", "trl is not installed")
    assert found(plumbing(model, jobs={"training": replace(anchored, launcher=())}))["training"].state == "ok"


def test_a_run_that_trains_nothing_needs_no_memory_for_it(model: Path) -> None:
    findings = found(plumbing(model, jobs={}))
    assert findings["memory"].found == "nothing is trained" and "training" not in findings


@pytest.mark.parametrize(
    "launcher, devices",
    [
        ((), 1),
        (("accelerate", "launch", "--num_processes", "8"), 8),
        (("torchrun", "--nproc-per-node=4"), 4),
        (("accelerate", "launch", "--config_file", "fsdp.yaml"), 1),
        (("torchrun", "--nproc_per_node", "gpu"), 1),
    ],
)
def test_a_launcher_says_how_many_processes_it_starts(launcher: tuple[str, ...], devices: int) -> None:
    assert devices_of(launcher) == devices


def test_more_checkpoints_than_the_disk_holds_are_missed(model: Path) -> None:
    findings = missed(
        plumbing(model, jobs={"training": Job(SFTSettings(), checkpoints=10**12)}),
        "disk",
        "1000000000000 checkpoints and records take",
    )
    assert str(model) in findings["disk"].found  # the run's folder is not there yet, this is


def test_saved_steps_take_room_twice_and_those_of_adapters_little(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def needed(settings: SFTSettings) -> str:
        return found(plumbing(model, jobs={"training": Job(settings)}))["disk"].found.split(" of ")[0]

    monkeypatch.setattr(machine, "parameters", lambda folder: 10**6)
    monkeypatch.setattr(machine, "RECORDS", 0)
    monkeypatch.setattr(machine, "gigabytes", lambda count: f"{count:.0f} bytes")
    assert needed(SFTSettings()) == needed(SFTSettings(save_every=5, lora=LoRASettings())) == "4000000 bytes"
    assert needed(SFTSettings(save_every=5)) == "28000000 bytes"


def test_a_model_larger_than_the_memory_is_missed_and_its_weights_are_not_loaded(model: Path, tmp_path: Path) -> None:
    large = tiny_model(tmp_path)
    # Only the header is read: tensors of ten terabytes.
    header = {"x": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}}
    text = json.dumps(header).encode()
    (large / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    assert parameters(large) == 10**12
    small = HF(model, device="cpu")
    findings = found(plumbing(large, open=lambda name: small))
    assert findings["memory"].state == "miss" and "training holds 16,000.00 GB" in findings["memory"].found
    assert "training.lora" in findings["memory"].to_do
    assert findings["weights"].state == "skip"
    adapted = found(plumbing(large, open=lambda name: small, jobs={"training": Job(SFTSettings(lora=LoRASettings()))}))
    assert "training holds 4,500.00 GB" in adapted["memory"].found


def test_weights_that_are_none_are_missed(model: Path, tmp_path: Path) -> None:
    torn = tiny_model(tmp_path)
    (torn / "model.safetensors").write_bytes(b"<html>")
    small = HF(model, device="cpu")
    findings = found(plumbing(torn, open=lambda name: small))
    assert findings["disk"].state == "miss" and "is no safetensors file" in findings["disk"].found


# Ledger and servers


def test_a_ledger_that_is_none_is_missed(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path))
    (tmp_path / "ledger.sqlite").write_text("Dear diary, today I wrote a ledger.")
    missed(plumbing(model), "ledger", "is not a ledger")


@pytest.fixture
def left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that runs on though its owner is gone."""
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path))
    owner = subprocess.Popen([sys.executable, "-c", ""])
    born = guard.born(owner.pid)
    owner.wait()
    server = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    facts = {"owner": owner.pid, "owner_born": born, "port": 8000, "model": "org/name", "host": platform.node()}
    folder = tmp_path / "servers"
    folder.mkdir()
    (folder / f"{server.pid}.json").write_text(
        json.dumps({**facts, "pid": server.pid, "born": guard.born(server.pid), "grace": 1})
    )
    yield server.pid
    server.kill()
    server.communicate()


def test_a_server_that_a_killed_run_left_behind_is_missed_and_left_alone(model: Path, left_behind: int) -> None:
    findings = missed(plumbing(model), "servers", f"pid {left_behind}, port 8000, org/name")
    assert str(left_behind) in findings["servers"].to_do
    os.kill(left_behind, 0)


# The command


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Run `sparring doctor ...` and return status, findings by name, and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, dict[str, dict[str, Any]], str]:
        monkeypatch.setattr(sys, "argv", ["sparring", "doctor", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capfd.readouterr()
        rows = [json.loads(line) for line in printed.out.splitlines()]
        return int(ended.value.code or 0), {row["name"]: row for row in rows}, printed.err

    return run


def test_the_embedded_world_is_well(command: Any, tmp_path: Path) -> None:
    status, findings, _ = command("star-gate")
    assert status == 0 and {row["state"] for row in findings.values()} == {"ok"}, findings
    assert {"author", "oracle", "judge", "roleplayer", "policy"} <= findings.keys()
    assert list(tmp_path.iterdir()) == []


def test_a_miss_is_the_exit_status_and_says_what_to_do(command: Any) -> None:
    status, findings, _ = command("star-gate", *PLAYED, "roles.judge.engine=hf:./nowhere", "--json")
    assert status == 1
    assert [name for name, row in findings.items() if row["state"] == "miss"] == ["judge"]
    assert "roles.judge.engine" in findings["judge"]["to_do"]


def test_a_paid_engine_is_asked_once_however_often_the_doctor_is(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "home"))
    with serving() as server:
        oracle = f"roles.oracle.engine={server.url}#test"
        for _ in range(2):
            status, findings, _ = command("star-gate", *PLAYED, oracle)
            assert status == 0 and f"{server.url}#test: " in findings["oracle"]["found"]
        assert server.books()["posts"] == 1


def test_settings_that_cannot_be_read_are_refused_as_a_run_would(command: Any) -> None:
    status, findings, err = command("star-gate", "sampels=3")
    assert (status, findings) == (2, {}) and "did you mean 'samples'?" in err
    status, _, err = command("star-gaze")
    assert status == 2 and "no recipe 'star-gaze'" in err
