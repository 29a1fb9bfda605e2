"""The command, given what it cannot use: one clear message, an exit status, no traceback, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sparring import cli
from sparring.cli.star_gate import StarGateSetup
from sparring.errors import SparringError
from sparring.runs import Run
from tests.command import Command, refused, start
from tests.tiny import tiny_model

WORLD = Path(cli.__file__).parents[1] / "worlds" / "concierge"
CONFIG, OF_WORLD = WORLD / "star-gate.toml", ("tasks=world:concierge", "prompts=world:concierge")
PLAYED = ("--config", str(CONFIG), *OF_WORLD)
"""The world's tasks, prompts and experts, for a policy of one's own."""


def jsonl(path: Path, *rows: object) -> str:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return str(path)


# Settings


def test_an_unknown_recipe_is_told_the_ones_there_are(sparring: Command) -> None:
    refused(sparring("run", "star-gaze"), "no recipe 'star-gaze'; there is star-gate, tripost")


def test_an_unknown_setting_is_told_the_nearest_one(sparring: Command) -> None:
    refused(sparring("run", "star-gate", "sampels=3"), "unknown setting 'sampels'; did you mean 'samples'?")
    refused(sparring("run", "star-gate", "training.learning_rat=1"), "did you mean 'training.learning_rate'?")


def test_keeping_more_than_is_sampled_is_refused_with_both_numbers(sparring: Command) -> None:
    refused(sparring("run", "star-gate", "keep=11"), "keep = 11 is over samples = 10")


def test_a_value_out_of_its_bounds_is_named_with_the_bound(sparring: Command) -> None:
    refused(sparring("run", "star-gate", "rounds=0"), "rounds = 0: must be greater than or equal to 1")
    refused(sparring("run", "star-gate", "signal=luck"), "signal = 'luck': must be 'log_prob' or 'information_gain'")


def test_an_override_without_a_value_is_shown_how_to_write_one(sparring: Command) -> None:
    refused(sparring("run", "star-gate", "rounds"), "override 'rounds' has no '='; write NAME=VALUE")


def test_a_settings_file_is_named_where_it_is_missing_or_broken(sparring: Command, tmp_path: Path) -> None:
    refused(sparring("run", "star-gate", "--config", "mine.toml"), "mine.toml: No such file or directory")
    (tmp_path / "mine.toml").write_text("rounds = 2\nkeep = ")
    refused(sparring("run", "star-gate", "--config", "mine.toml"), "mine.toml:2: ")


def test_a_refusal_leaves_no_run_directory_behind(sparring: Command, tmp_path: Path) -> None:
    sparring("run", "star-gate", "keep=11")
    sparring("run", "star-gate", "policy=world:concierge/oracle")
    sparring("run", "star-gate", "tasks=none.jsonl")
    sparring("run", "star-gate", "prompts=none")
    assert list(tmp_path.iterdir()) == []


def test_what_training_cannot_do_is_known_before_anybody_speaks(sparring: Command) -> None:
    refused(sparring("run", "star-gate", "training.lora={rank = 8}"), "unknown training setting lora.rank")


# Tasks


def test_a_missing_file_of_tasks_is_named_with_the_nearest_that_is_there(sparring: Command, tmp_path: Path) -> None:
    jsonl(tmp_path / "tasks.jsonl", {"text": "Where?"})
    refused(sparring("run", "star-gate", "tasks=task.jsonl"), "task.jsonl: no such file; did you mean tasks.jsonl?")


@pytest.mark.parametrize(
    "rows, message",
    [
        (['{"text": "Where?"}', '{"text": '], "tasks.jsonl:2: not JSON"),
        ([{"text": "Where?"}, ["When?"]], "tasks.jsonl:2: not an object"),
        ([{"text": "Where?"}, {"txt": "When?"}], "tasks.jsonl:2: none of prompt, text, messages is there, only txt"),
        ([{"text": "Where?", "split": "train"}], "tasks.jsonl:1: split is 'train'; it is one of a, b, test"),
        ([{"text": "Where?", "split": "a"}, {"text": "When?", "split": "b"}], "tasks.jsonl: split 'test' is empty"),
        (
            [{"text": text, "split": split} for text, split in (("Where?", "a"), ("When?", "b"), ("WHERE? ", "test"))],
            "tasks.jsonl:3: tasks must differ, but 'WHERE?' stands in splits 'a' and 'test', first at tasks.jsonl:1",
        ),
        ([{"text": "Where?"}], "tasks.jsonl: 1 rows, but split_sizes asks for 250 + 250 + 50 = 550"),
        ([], "tasks.jsonl: the file is empty"),
    ],
)
def test_bad_tasks_are_told_by_file_and_line(
    sparring: Command, tmp_path: Path, rows: list[object], message: str
) -> None:
    jsonl(tmp_path / "tasks.jsonl", *rows)
    refused(sparring("run", "star-gate", "tasks=tasks.jsonl"), message)


def test_a_split_of_nobody_is_refused(sparring: Command) -> None:
    refused(
        sparring("run", "star-gate", "personas=[2, 0, 2]"), "personas = (2, 0, 2): A, B and test each need at least 1"
    )


# Engines


def test_a_model_that_nobody_has_is_named(sparring: Command) -> None:
    ended = sparring("run", "star-gate", *PLAYED, "policy=hf:no/such-model")
    refused(ended, "cannot open model 'no/such-model'")


def test_a_folder_that_is_no_model_is_named(sparring: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(sparring("run", "star-gate", *PLAYED, "policy=hf:./empty"), "cannot open model './empty'")


def test_an_engine_without_its_kind_is_told_how_to_name_it(sparring: Command) -> None:
    refused(sparring("run", "star-gate", *PLAYED, "policy=org/model"), "policy 'org/model' cannot be trained here")
    refused(sparring("run", "star-gate", *PLAYED, "policy=world:concerge/policy"), "did you mean world:concierge?")


def test_a_policy_that_is_a_rule_can_neither_score_nor_learn(sparring: Command) -> None:
    ended = sparring("run", "star-gate", "policy=world:concierge/oracle")
    refused(ended, "'world:concierge/oracle' cannot be trained; the model of this world is world:concierge/policy")


def test_a_role_that_a_world_has_not_is_told_those_it_has(sparring: Command, tmp_path: Path) -> None:
    tiny = tiny_model(tmp_path / "tiny")
    ended = sparring("run", "star-gate", *PLAYED, f"policy=hf:{tiny}", "roles.oracle.engine=world:concierge/orcale")
    lines = [line for line in ended.err.splitlines() if line.startswith("sparring: ")]
    assert ended.status == 2
    assert lines == ["sparring: engine 'world:concierge/orcale': the world concierge has policy, author, oracle, judge"]
    assert not (tmp_path / "runs" / "star-gate" / "personas.jsonl").exists()  # known before the first call


def test_a_role_that_nobody_was_named_for_is_told_before_a_call_and_the_mended_command_goes_on(
    sparring: Command, tmp_path: Path
) -> None:
    tiny, out = tiny_model(tmp_path / "tiny"), tmp_path / "runs" / "star-gate"
    jsonl(tmp_path / "tasks.jsonl", *({"text": f"Where, {split}?", "split": split} for split in ("a", "b", "test")))
    command = ["run", "star-gate", f"policy=hf:{tiny}", "tasks=tasks.jsonl"]
    for role in ("author", "oracle", "judge"):
        ended = sparring(*command)
        assert ended.status == 2
        lines = [line for line in ended.err.splitlines() if line.startswith("sparring: ")]
        assert lines == [f"sparring: roles.{role}.engine is not set: name hf:ID, or base to let m_0 play the {role}"]
        assert [path.name for path in out.iterdir() if not path.name.startswith(".")] == ["run.json"]
        command.append(f"roles.{role}.engine=base")
    assert "is not set" not in sparring(*command, "personas=[1, 1, 1]", "roles.author.max_tokens=1").err
    assert (out / "failures.jsonl").exists()  # it has begun; a random model writes no persona


def test_a_missing_prompt_is_named_with_its_folder(sparring: Command, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "ask.md").write_text("Ask.")
    ended = sparring("run", "star-gate", *PLAYED, "policy=hf:./tiny", "prompts=mine")
    refused(ended, "prompts: no file play.md in mine; the recipe reads ask, play, oracle")


# Run directories


def made(out: Path, *overrides: str) -> None:
    """Make the run directory that the command would make."""
    with StarGateSetup.read(CONFIG, [*OF_WORLD, *overrides]).open_run(out, "") as kept:
        kept.lines("personas.jsonl", lambda: [{"id": "persona-a-1"}])


def test_a_run_of_other_settings_is_refused_with_a_line_for_each(sparring: Command, tmp_path: Path) -> None:
    made(tmp_path / "run", "policy=hf:./tiny", "samples=5")
    ended = sparring(
        "run", "star-gate", *PLAYED, "--out", "run", "policy=hf:./tiny", "samples=8", "roles.judge.max_tokens=9"
    )
    refused(
        ended,
        "run was made with other settings:\n",
        "\n  samples: 5 -> 8\n",
        "\n  roles.judge.max_tokens: 80 -> 9\n",
        "it holds personas.jsonl; take another folder, or delete this one",
    )
    assert (tmp_path / "run" / "personas.jsonl").read_text() == '{"id": "persona-a-1"}\n'


def test_a_setting_that_touches_no_result_may_change(sparring: Command, tmp_path: Path) -> None:
    made(tmp_path / "run", "policy=hf:./tiny")
    ended = sparring("run", "star-gate", *PLAYED, "--out", "run", "policy=hf:./tiny", "max_failed=0.9")
    assert "other settings" not in ended.err
    refused(ended, "cannot open model './tiny'")


TINY = ("run", "star-gate", *PLAYED, "--out", "run", "policy=hf:./tiny")
"""A command that comes as far as the model, which is not there."""


def trained(out: Path) -> None:
    """Bring a run as far as its first checkpoint."""
    made(out, "policy=hf:./tiny")
    (out / "round-1" / "checkpoint").mkdir(parents=True)


def recorded(out: Path) -> dict[str, Any]:
    return json.loads((out / "run.json").read_text())["settings"]["training"]


@pytest.mark.parametrize("change", ["training.max_truncated=0.2", "training.rows_per_device=16"])
def test_what_bounds_failures_and_memory_may_change_after_training_too(
    sparring: Command, tmp_path: Path, change: str
) -> None:
    trained(tmp_path / "run")
    refused(sparring(*TINY, change), "cannot open model './tiny'")
    name, _, given = change.removeprefix("training.").partition("=")
    assert recorded(tmp_path / "run")[name] == float(given)


@pytest.mark.parametrize(
    "change", ["training.learning_rate=0.5", "training.epochs=9", "training.max_length=99", "training.lora={r = 4}"]
)
def test_training_may_be_mended_until_something_is_trained_and_not_after(
    sparring: Command, tmp_path: Path, change: str
) -> None:
    made(tmp_path / "run", "policy=hf:./tiny")
    # What a job leaves that was stopped half-way is no checkpoint.
    (tmp_path / "run" / "round-1" / "checkpoint.partial").mkdir(parents=True)
    refused(sparring(*TINY, change), "cannot open model './tiny'")
    name = change.removeprefix("training.").partition("=")[0]
    assert recorded(tmp_path / "run")[name] != StarGateSetup.read(CONFIG, OF_WORLD).settings.training.model_dump()[name]

    trained(tmp_path / "other")
    before = (tmp_path / "other" / "run.json").read_bytes()
    ended = sparring("run", "star-gate", *PLAYED, "--out", "other", "policy=hf:./tiny", change)
    refused(ended, "other was made with other settings:\n", f"\n  training.{name}")
    assert (tmp_path / "other" / "run.json").read_bytes() == before


def test_a_checkpoint_of_a_later_round_binds_training_as_well(sparring: Command, tmp_path: Path) -> None:
    made(tmp_path / "run", "policy=hf:./tiny")
    (tmp_path / "run" / "round-12" / "checkpoint").mkdir(parents=True)
    refused(sparring(*TINY, "training.epochs=9"), "\n  training.epochs: 5 -> 9\n")


def test_what_is_not_training_is_bound_from_the_first_stage_on(sparring: Command, tmp_path: Path) -> None:
    made(tmp_path / "run", "policy=hf:./tiny")
    ended = sparring(*TINY, "samples=8", "training.epochs=9", "max_failed=0.9")
    refused(ended, "\n  samples: 10 -> 8\n")
    assert "epochs" not in ended.err and "max_failed" not in ended.err


def test_edited_tasks_are_other_tasks_though_their_file_has_the_same_name(sparring: Command, tmp_path: Path) -> None:
    rows = [{"text": f"Where, {split}?", "split": split} for split in ("a", "b", "test")]
    source = f"tasks={tmp_path / 'tasks.jsonl'}"
    jsonl(tmp_path / "tasks.jsonl", *rows)
    made(tmp_path / "run", "policy=hf:./tiny", source)
    jsonl(tmp_path / "tasks.jsonl", {**rows[0], "text": "How, a?"}, *rows[1:])
    refused(sparring("run", "star-gate", *PLAYED, "--out", "run", "policy=hf:./tiny", source), "\n  inputs.tasks: ")


def test_a_run_of_another_recipe_is_refused(sparring: Command, tmp_path: Path) -> None:
    Run.open(tmp_path / "run", "spar", {}, "").close()
    ended = sparring("run", "star-gate", *PLAYED, "--out", "run", "policy=hf:./tiny")
    refused(ended, "run is a run of 'spar', not of 'star-gate'")


def test_a_folder_that_holds_something_else_is_left_alone(sparring: Command, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("a cat")
    ended = sparring("run", "star-gate", *PLAYED, "--out", "photos", "policy=hf:./tiny")
    refused(ended, "photos is not empty and is not a run (it holds 'cat.jpg')")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.jpg"]


def test_two_never_work_on_one_run(sparring: Command, tmp_path: Path) -> None:
    with StarGateSetup.read(CONFIG, [*OF_WORLD, "policy=hf:./tiny"]).open_run(tmp_path / "run", ""):
        ended = sparring("run", "star-gate", *PLAYED, "--out", "run", "policy=hf:./tiny")
    refused(ended, f"run is being worked on by another process ({os.getpid()})")


# While it runs


def test_chats_longer_than_the_models_context_are_failures_with_both_lengths(sparring: Command, tmp_path: Path) -> None:
    tiny = tiny_model(tmp_path / "tiny", context=16)
    ended = sparring("run", "star-gate", *PLAYED, f"policy=hf:{tiny}", "personas=[1, 1, 1]", "test_samples=1")
    assert ended.status == 1
    assert "Traceback" not in ended.err
    assert "round-0/test-conversations.jsonl: 50 of 50 rollouts failed (max_failed = 0.5)" in ended.err
    assert "context overflow" in ended.err
    assert f" tokens > 16, the context of '{tiny}'" in ended.err
    failures = (tmp_path / "runs" / "star-gate" / "failures.jsonl").read_text().splitlines()
    assert {json.loads(line)["reason"] for line in failures} == {"context overflow"}


def test_a_chat_template_without_a_system_role_is_folded_and_it_is_said_once(tmp_path: Path) -> None:
    tiny = tiny_model(tmp_path / "tiny", family="gemma", context=512)
    sizes = ("personas=[1, 1, 1]", "test_samples=1", "questioner.max_tokens=1")
    process = start(tmp_path, "run", "star-gate", *PLAYED, f"policy=hf:{tiny}", *sizes)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, err  # it is cut off before it can ask anything
    assert err.count(f"the chat template of '{tiny}' takes no system message") == 1
    assert "Traceback" not in err and "System role not supported" not in err + out
    assert "policy cut off at max_tokens" in err
    # Without a terminal each event is a line of JSON.
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["stage"] for event in events if event.get("ended")] == ["personas.jsonl", "situations.jsonl"]


def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(tmp_path: Path) -> None:
    tiny = tiny_model(tmp_path / "tiny")
    out = tmp_path / "runs" / "star-gate"
    command = ("run", "star-gate", *PLAYED, f"policy=hf:{tiny}", "personas=[1, 1, 2]", "test_samples=400")
    process = start(tmp_path, *command)
    deadline = time.monotonic() + 100
    while not (out / "situations.jsonl").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert err.strip().endswith(
        "sparring: stopped; every finished stage and paid call is kept, the same command goes on"
    )
    kept = {path.name: path.read_bytes() for path in (out / "personas.jsonl", out / "situations.jsonl")}
    assert not list(out.rglob("*.tmp"))

    again = start(tmp_path, *command)
    assert again.stdout
    lines = [json.loads(again.stdout.readline()) for _ in range(2)]
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=100)
    assert [line["stage"] for line in lines] == ["personas.jsonl", "situations.jsonl"]
    assert {path.name: path.read_bytes() for path in (out / "personas.jsonl", out / "situations.jsonl")} == kept


STOPPED_AT = """
import os, signal, sys

class Stop:
    def find_spec(name, *_):
        if name == moment:
            os.kill(os.getpid(), signal.SIGINT)

moment = sys.argv.pop(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs tests in the background may ignore it
sys.meta_path.insert(0, Stop)
from sparring.__main__ import main
main()
"""
"""The command, with Ctrl-C pressed where it comes to load a module."""


@pytest.mark.parametrize(
    "module",
    [
        "sparring.cli",
        "typer",
        "typer.main",
        "sparring.cli.ledger",
        "sparring.cli.star_gate",
        "pydantic",
        "sparring.runs",
        "sparring.cli.seeds",
    ],
)
def test_ctrl_c_while_modules_load_is_one_line_and_its_exit_status(tmp_path: Path, module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_AT, module, "run", "star-gate"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "sparring: stopped; nothing was begun\n")
    assert not list(tmp_path.iterdir())


def test_the_command_that_is_installed_is_the_one_that_can_be_stopped() -> None:
    project = tomllib.loads((Path(cli.__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"] == {"sparring": "sparring.__main__:main"}


# Exit status


def test_every_error_of_ours_is_one_message_with_its_exit_status(
    sparring: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise SparringError("the disk is full: x was not written")

    monkeypatch.setattr(cli, "run_recipe", fail)
    refused(sparring("run", "star-gate"), "the disk is full: x was not written", status=1)


def test_a_world_that_is_not_there_is_told_the_nearest(sparring: Command) -> None:
    refused(sparring("world", "build", "concerge"), "no world 'concerge'; did you mean world:concierge?")


def test_wrong_usage_of_the_command_itself_is_status_two(sparring: Command) -> None:
    assert sparring("run").status == 2
    assert sparring("run", "star-gate", "--nonsense").status == 2
    assert sparring("nonsense").status == 2


def test_help_says_what_there_is(sparring: Command) -> None:
    ended = sparring("run", "--help")
    assert ended.status == 0
    assert "star-gate" in ended.out and "--config" in ended.out
