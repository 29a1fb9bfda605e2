"""`sparring run | plan | doctor spar`: what is refused at the door, and that a plan counts what a run then does."""

from __future__ import annotations

import io
import json
import os
import random
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from sparring.cli.doctor import jobs_of
from sparring.cli.spar import SPaRSetup
from sparring.cli.spar_sizes import worth
from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.errors import SettingsError
from sparring.evals.statistics import Interval
from sparring.files import read_json, read_lines
from sparring.opening import Engines
from sparring.plan import Trial, estimate
from sparring.report.terminal import REPORTS, show_summary
from sparring.runs import Run
from sparring.settings import Training
from sparring.training.canary import Canary, write_canary
from sparring.types import user
from tests.command import Command, refused
from tests.toy_suite import PROMPTS, WORDS, plays

SMALL = ("prompts_a_round=4", "rounds=2", "test_prompts=5", "test_judged=4")


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instructions, labelled responses and prompts of one's own, in the folder where one is."""
    monkeypatch.chdir(tmp_path)
    for part, n in (("train", 120), ("test", 60)):
        write(tmp_path / f"{part}.jsonl", [asked(part, at) for at in range(n)])
    write(tmp_path / "bare.jsonl", [{"prompt": f"bare {at}. Say tea cake."} for at in range(60)])
    rows = [{"prompt": asked("test", at)["prompt"], "response": "red", "label": at % 2 == 0} for at in range(8)]
    write(tmp_path / "judged.jsonl", rows)
    (tmp_path / "words").mkdir()
    for name, text in PROMPTS.items():
        (tmp_path / "words" / f"{name}.md").write_text(text)


def asked(part: str, n: int) -> dict[str, Any]:
    words = random.Random(f"{part} {n}").sample(WORDS, 3)
    return {
        "key": f"{part}-{n}",
        "prompt": f"{part} {n}. Say {' '.join(words)}.",
        "instruction_id_list": ["keywords:existence"],
        "kwargs": [{"keywords": words}],
    }


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


MINE = ("policy=hf:./tiny", "tasks=train.jsonl", "test=test.jsonl", "judged=judged.jsonl", "prompts=words")


# At the door


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["tasks=nowhere.jsonl"], "nowhere.jsonl"),
        (["prompts_a_round=90"], "180 prompts in train are asked for; there are 120"),
        (["test_prompts=61"], "61 prompts in test are asked for; there are 60"),
        (["test_judged=9"], "9 labelled responses are asked for; there are 8"),
        (["test_groups=2"], "test_groups = 2: 'files' has no nested levels; set it to 0"),
        (["test=train.jsonl"], "it is no test"),
        (["tasks=bare.jsonl", "judge=checker"], "judge = 'checker' takes instructions with checks: 8 of 'bare.jsonl'"),
        (["tasks=world:instructions"], "judged = 'judged.jsonl': tasks = 'world:instructions' brings its own"),
        (["tasks=world:concierge"], "tasks = 'world:concierge': this world is for star-gate, not for spar"),
        (["policy=world:arithmetic/policy"], "world:arithmetic is a world for tripost, not for spar"),
        (["refiner=world:arithmetic/policy"], "refiner = 'world:arithmetic/policy' has words for tasks ="),
        (["policy=org/model"], "policy 'org/model' cannot be trained here"),
        (["refiner=http://127.0.0.1:9/v1#m"], "'http://127.0.0.1:9/v1#m' cannot be trained here"),
        (["training.beta=0"], "training.beta = 0"),
        (["prompts=nowhere"], "prompts: no file judge.md in nowhere; the recipe reads judge, refine"),
        (["learn_form=sft"], "unknown setting 'learn_form'; did you mean 'learn_from'?"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_made(
    sparring: Command, tmp_path: Path, overrides: list[str], message: str
) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    refused(sparring("run", "spar", *MINE, *SMALL, *overrides), message)
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("shown", ["actor", "judgements", "refinements"])
def test_the_teacher_of_a_world_need_not_be_named(shown: str) -> None:
    setup = SPaRSetup.read(None, [f"bootstrap.{shown}=3"])
    assert setup.engine_names()["teacher"] == "world:instructions/teacher"


@pytest.mark.parametrize("name, without", [("judge", "{response}"), ("refine", "{end}"), ("valid", "{prompt}")])
def test_a_prompt_without_its_blanks_is_refused_at_the_door(tmp_path: Path, name: str, without: str) -> None:
    text = (tmp_path / "words" / f"{name}.md").read_text()
    (tmp_path / "words" / f"{name}.md").write_text(text.replace(without, ""))
    with pytest.raises(SettingsError, match="prompt"):
        SPaRSetup.read(None, [*MINE, *SMALL, "evolve=true", "roles.teacher.engine=base"])


@pytest.mark.parametrize("made, fixed", [("actor", "training"), ("judge", "training"), ("refiner", "refiner_training")])
def test_what_a_round_was_trained_with_is_fixed(tmp_path: Path, made: str, fixed: str) -> None:
    setup = SPaRSetup.read(None, [*MINE, *SMALL, "learn_from=none", "judge_pairs=true"])
    assert {"training", "refiner_training"} <= setup.free(tmp_path)
    (tmp_path / "round-1" / made).mkdir(parents=True)
    assert {"training", "refiner_training"} - setup.free(tmp_path) == {fixed}


def test_every_role_is_known_by_its_engine() -> None:
    alone = SPaRSetup.read(None, [*MINE, *SMALL])
    assert alone.engine_names() == dict.fromkeys(("policy", "judge", "refiner"), "hf:./tiny")
    two = SPaRSetup.read(None, [*MINE, *SMALL, "refiner=hf:./other", "roles.teacher.engine=base"])
    assert two.engine_names() == {
        "policy": "hf:./tiny",
        "teacher": "hf:./tiny",
        "judge": "hf:./other",
        "refiner": "hf:./other",
    }


@pytest.mark.parametrize(
    "overrides, expected",
    [
        ([], {"training": 2, "refiner_training": 2}),
        (["learn_from=sft"], {"refiner_training": 4}),
        (["learn_from=none"], {"refiner_training": 2}),
        (["refiner_learns=false"], {"training": 2}),
        (["judge_pairs=true"], {"training": 4, "refiner_training": 2}),
        (
            ["bootstrap.actor=3", "bootstrap.judgements=2", "roles.teacher.engine=base"],
            {"bootstrap_training": 2, "training": 2, "refiner_training": 2},
        ),
    ],
)
def test_the_doctor_looks_at_the_trainings_that_are_done(overrides: list[str], expected: dict[str, int]) -> None:
    jobs = jobs_of(SPaRSetup.read(None, [*MINE, *SMALL, *overrides]))
    assert {name: job.checkpoints for name, job in jobs.items()} == expected


# Run directories


def settings_of(out: Path, *overrides: str) -> Any:
    with SPaRSetup.read(None, [*MINE, *SMALL, *overrides]).open_run(out, "") as kept:
        kept.lines("instructions.jsonl", list)
        return kept.record["settings"]


def test_each_training_may_be_mended_until_its_own_first_checkpoint(sparring: Command, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings_of(out, "chosen_may_fall=1")
    (out / "round-1" / "actor").mkdir(parents=True)
    told = settings_of(out, "chosen_may_fall=2", "refiner_training.epochs=3")
    assert (told["chosen_may_fall"], told["refiner_training"]["epochs"]) == (2, 3)
    refused(sparring("run", "spar", *MINE, *SMALL, "--out", "run", "training.beta=0.2"), "training.beta: 0.1 -> 0.2")


def test_what_the_actor_was_fine_tuned_with_is_bound_by_its_checkpoint(sparring: Command, tmp_path: Path) -> None:
    settings_of(tmp_path / "run", "learn_from=sft")
    (tmp_path / "run" / "round-1" / "actor").mkdir(parents=True)
    changed = ("learn_from=sft", "refiner_training.epochs=3")
    refused(sparring("run", "spar", *MINE, *SMALL, *changed, "--out", "run"), "refiner_training.epochs: 1 -> 3")


def test_other_instructions_are_another_run_though_their_file_has_the_same_name(
    sparring: Command, tmp_path: Path
) -> None:
    settings_of(tmp_path / "run")
    write(tmp_path / "judged.jsonl", [{**row, "label": True} for row in read_lines(tmp_path / "judged.jsonl")])
    refused(sparring("run", "spar", *MINE, *SMALL, "--out", "run"), "\n  inputs.tasks: ")


# Estimates


class Opened(Engines):
    """Models that say two of three words and judge well, and a teacher that does all that is asked."""

    def open(self, name: str) -> Any:
        return self.opened.setdefault(name, Scripted(speak, lambda chat, target: -1.0))


def speak(request: Request) -> str:
    return plays(request, 2 if request.role == "teacher" else 1)


def train(model: str, rows: Path, checkpoint: Path, settings: Training, seed: int) -> None:
    checkpoint.mkdir()
    write_canary(checkpoint, [Canary([user("Hi.")], "Hello.", -1.0, 1)])
    count = len(read_lines(rows))
    report = {"tokens": 100 * count, "seconds": 1.0, "rows": {"train": count}}
    (checkpoint / "training.json").write_text(json.dumps({**report, "job": {"settings": {"batch_size": 4}}}))


def carried_out(setup: SPaRSetup, out: Path, most: int | None = None) -> Run:
    with setup.open_run(out, "") as run:
        told: list[Any] = []
        setup.make(run, Opened("run"), train, told.append, most)
    return Run(out)


TEACHER = "roles.teacher.engine=toy:teacher"
VARIANTS = [
    [],
    ["most_pairs=2", "test_refined=1"],
    ["caps.refinement=1", "caps.positive=2", "judge_pairs=true"],
    ["learn_from=independent", "rounds=1"],
    ["learn_from=sft", "rounds=1"],
    ["learn_from=extremes", "refiner_learns=false", "rounds=1"],
    ["learn_from=none", "rounds=1", "judged="],
    ["training.epochs=0.5", "refiner_training.epochs=2", "rounds=1"],
    ["bootstrap.actor=3", "rounds=1", TEACHER],
    ["bootstrap.actor=3", "bootstrap.judgements=5", "bootstrap.refinements=2", "rounds=1", TEACHER],
]


@pytest.mark.parametrize("overrides", VARIANTS, ids=[" ".join(each) or "as published" for each in VARIANTS])
def test_the_sizes_of_a_plan_are_those_of_the_run(tmp_path: Path, overrides: list[str]) -> None:
    setup = SPaRSetup.read(None, [*MINE, *SMALL, *overrides])
    run = carried_out(setup, tmp_path / "run")
    planned, found = setup.sizes(), setup.done(run)
    assert planned == {name: found.get(name) for name in planned}
    assert set(found) - set(planned) == {"instructions.jsonl", "eval.jsonl"}


def test_an_estimate_of_a_part_comes_near_the_calls_and_rows_of_the_whole(tmp_path: Path) -> None:
    sizes = ["prompts_a_round=50", "test_prompts=50", "rounds=1", "caps.refinement=20"]
    setup = SPaRSetup.read(None, [*MINE, *SMALL, *sizes])
    whole, trial = carried_out(setup, tmp_path / "whole"), carried_out(setup.trial(), tmp_path / "trial", most=25)
    done = setup.done(trial)
    found = estimate(Trial(trial, done, 256), setup.sizes(), {})
    assert found.untried == []
    for role in ("policy", "judge", "refiner"):
        calls = sum(line.calls.value for line in found.lines if line.role == role)
        assert calls == pytest.approx(whole.calls()[role]["calls"], rel=0.2)
    for name in ("actor", "refiner"):
        rows = [len(read_lines(run.path / "round-1" / f"{name}.jsonl")) for run in (trial, whole)]
        due = setup.sizes()[f"round-1/{name}.jsonl"] / done[f"round-1/{name}.jsonl"]
        assert due * rows[0] == pytest.approx(rows[1], rel=0.3)


def test_rows_are_worth_the_prompts_that_they_were_made_of_also_where_the_whole_is_capped() -> None:
    assert worth({"": 10}, 10, 100, {"": 1000}) == 10
    assert worth({"": 10}, 10, 100, {"": 50}) == 20  # ten rows are a fifth of the fifty that there will be
    assert worth({"a": 5, "b": 5}, 10, 100, {"a": 25, "b": 1000}) == pytest.approx(1000 / 75)
    assert worth({}, 10, 100, {}) == 10


# What people see


def shown(run: Run, summary: dict[str, Any], width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show_summary(console, summary, run.path)
    return cast(io.StringIO, console.file).getvalue()


def test_rounds_are_a_narrow_table_and_one_prompt_that_was_learned_is_shown(tmp_path: Path) -> None:
    class Learning(Opened):
        def open(self, name: str) -> Any:
            t = 2 if "round-" in name else 1
            return self.opened.setdefault(name, Scripted(lambda request: plays(request, t), lambda chat, target: -1.0))

    setup = SPaRSetup.read(None, [*MINE, *SMALL, "rounds=3"])
    with setup.open_run(tmp_path / "run", "") as run:
        setup.make(run, Learning("run"), train, lambda _: None, None)
    summary = read_json(tmp_path / "run" / "summary.json")
    text = shown(Run(tmp_path / "run"), summary)
    assert all(len(line) <= 100 for line in text.splitlines())
    for label in (
        "prompts followed, sampled",
        "judged rightly, balanced",
        "wrong answers mended",
        "prompts with a pair",
    ):
        assert label in text
    assert summary["verdict"] in " ".join(text.split())
    assert "m_3 follows what m_0 did not (test-" in text


def test_a_round_is_told_in_one_line_of_a_hundred_columns() -> None:
    names = ("prompt_strict", "prompt_strict_sampled", "judge_balanced_accuracy", "refinement_success")
    told = f"round 3  {REPORTS['spar'].line({name: Interval(0.123, 0.1, 0.15, 2000) for name in names})}"
    assert told == (
        "round 3  followed 12.3 % ±2.7, sampled 12.3 % ±2.7, judged rightly 12.3 % ±2.7, mended 12.3 % ±2.7"
    )
    assert len(told) <= 100
