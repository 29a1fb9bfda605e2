"""`sparring run | plan | doctor tripost`: what is refused at the door, and that a plan counts what a run then does."""

from __future__ import annotations

import io
import json
import os
import random
from pathlib import Path
from typing import Any, Literal, cast

import pytest
from rich.console import Console

from sparring.cli.doctor import jobs_of
from sparring.cli.tripost import TriPosTSetup, balanced
from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.evals.statistics import Interval
from sparring.files import read_json, read_lines
from sparring.opening import Engines
from sparring.plan import Trial, estimate
from sparring.report.terminal import REPORTS, show_summary
from sparring.rollouts.lessons import Kind, Lesson, balance
from sparring.runs import Run
from sparring.settings import Training
from sparring.tasks.exercise import Exercise, Feedback, before, render_feedback
from sparring.training.canary import Canary, write_canary
from sparring.types import Example, user
from tests.command import Command, refused
from tests.tiny import tiny_model

ARITHMETIC = ("policy=hf:./tiny", "tasks=multistep-arithmetic")
SMALL = ("questions=6", "test_questions=6", "rounds=2", "samples=3")


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def own(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return f"tasks={path}"


def questions(split: str, count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"question": f"{split} {n} + 1?", "answer": str(n + 1), "split": split, **more} for n in range(count)]


# At the door


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["tasks=multistep-aritmetic"], "did you mean 'multistep-arithmetic'?"),
        (["tasks=none.jsonl"], "none.jsonl: no such file"),
        (["tasks=world:concierge"], "tasks = 'world:concierge': this world is for star-gate, not for tripost"),
        (["policy=world:concierge/policy"], "world:concierge is a world for star-gate, not for tripost"),
        (["policy=world:aritmetc/policy"], "no world 'aritmetc'"),
        (
            ["policy=world:arithmetic/policy", "tasks=word-sorting"],
            "policy = 'world:arithmetic/policy' has words for tasks = 'world:arithmetic' alone, not for 'word-sorting'",
        ),
        (["roles.teacher.engine=world:arithmetic/teacher"], "roles.teacher.engine = 'world:arithmetic/teacher' has"),
        (["policy=org/model"], "policy 'org/model' cannot be trained here"),
        (["feedback=teacher"], "feedback = 'teacher': name roles.teacher.engine"),
        (["tasks=date-understanding"], "date-understanding: no script can criticise or mend; name roles.teacher"),
        (["tasks=date-understanding", "learn_from=filtered", "evidence=true"], "evidence = true: nothing can work out"),
        (["learn_from=rationales", "gold=0"], "no question of 'multistep-arithmetic' has a gold rationale"),
        (['training.launcher=["accelerate", "sparring:fdsp.yaml"]'], "'sparring:fdsp.yaml' is not shipped"),
        (["rationale.lora={rank = 8}"], "unknown training setting lora.rank"),
        (["prompts=nowhere"], "prompts: no file attempt.md in nowhere; the recipe reads attempt, feedback, update"),
        (["roles.teacher.engine=http://me:secret@127.0.0.1:9/v1#m"], "holds a password"),
        (
            ["tasks=world:arithmetic", "bbh=files"],
            "bbh = 'files': its questions are of families, not of tasks = 'world:",
        ),
        (
            ["learn_from=demonstrations", 'mistakes=["wrong sing"]'],
            "has no kind 'wrong sing'; did you mean 'wrong sign'?",
        ),
        (["tasks=world:arithmetic", 'mistakes=["slip", "blundre"]'], "did you mean 'blunder'?"),
        (["tasks=world:word-sorting", 'mistakes=["?"]'], "'word-sorting' has no kind '?'; known are slip, blunder"),
        (["tasks=date-understanding", "learn_from=filtered", 'mistakes=["x"]'], "its script makes none"),
        (["learn_form=votes"], "unknown setting 'learn_form'; did you mean 'learn_from'?"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_made(
    sparring: Command, tmp_path: Path, overrides: list[str], message: str
) -> None:
    ended = sparring("run", "tripost", *ARITHMETIC, *SMALL, *overrides)
    refused(ended, message)
    assert list(tmp_path.iterdir()) == []


def test_big_bench_hard_is_no_test_of_ones_own_exercises(sparring: Command, tmp_path: Path) -> None:
    source = own(tmp_path / "mine.jsonl", *questions("train", 1), *questions("test", 1))
    refused(sparring("run", "tripost", "policy=hf:./tiny", source, "bbh=files"), "bbh = 'files': its questions are")


def test_a_folder_that_is_called_like_a_family_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "multistep-arithmetic").mkdir()
    monkeypatch.chdir(tmp_path)
    assert TriPosTSetup.read(None, [*ARITHMETIC, *SMALL]).family.name == "multistep-arithmetic"


def test_a_bad_row_of_ones_own_exercises_is_told_by_file_and_line(sparring: Command, tmp_path: Path) -> None:
    rows = [*questions("train", 1), {"question": "2 + 2?", "split": "train"}, *questions("test", 1)]
    source = own(tmp_path / "mine.jsonl", *rows)
    refused(sparring("run", "tripost", "policy=hf:./tiny", source), "mine.jsonl:2: answer is missing")


def test_ones_own_exercises_are_all_taken_or_as_many_as_the_settings_say(tmp_path: Path) -> None:
    rows = [*questions("train", 9), *questions("test", 7)]
    source = [own(tmp_path / "mine.jsonl", *rows), "policy=hf:./tiny", "learn_from=filtered"]
    whole = TriPosTSetup.read(None, source)
    assert (len(whole.questions), len(whole.test), whole.family.name) == (9, 7, "mine")
    some = TriPosTSetup.read(None, [*source, "questions=4", "test_questions=3"])
    assert (len(some.questions), len(some.test)) == (4, 3)
    other = TriPosTSetup.read(None, [*source, "questions=4", "test_questions=3", "seed=1"])
    assert {one.id for one in other.questions} != {one.id for one in some.questions}


@pytest.mark.parametrize("world", ["arithmetic", "word-sorting"])
def test_the_policy_of_a_world_brings_its_exercises_prompts_and_settings(world: str) -> None:
    policy = [f"policy=world:{world}/policy"]
    setup = TriPosTSetup.read(None, policy)
    assert setup.settings.tasks == setup.settings.prompts == f"world:{world}"
    assert len(setup.questions) == setup.settings.questions and len(setup.test) == setup.settings.test_questions
    assert TriPosTSetup.read(None, [*policy, "samples=7"]).settings.samples == 7
    assert setup.family.verify and not {one.question for one in setup.questions} & {one.question for one in setup.test}


def test_a_role_that_a_script_plays_has_no_engine(tmp_path: Path) -> None:
    alone = TriPosTSetup.read(None, [*ARITHMETIC, *SMALL])
    assert alone.engine_names() == {"policy": "hf:./tiny"}
    taught = TriPosTSetup.read(None, [*ARITHMETIC, *SMALL, "improver=teacher", "roles.teacher.engine=base"])
    assert taught.engine_names() == {"policy": "hf:./tiny", "teacher": "hf:./tiny"}


@pytest.mark.parametrize(
    "overrides, expected",
    [
        ([], {"rationale": 1, "training": 2}),
        (["gold=0"], {"training": 2}),
        (["learn_from=none"], {"rationale": 1}),
        (["learn_from=none", "gold=0"], {}),
    ],
)
def test_the_doctor_looks_at_the_trainings_that_are_done(overrides: list[str], expected: dict[str, int]) -> None:
    jobs = jobs_of(TriPosTSetup.read(None, [*ARITHMETIC, *SMALL, *overrides]))
    assert {name: job.checkpoints for name, job in jobs.items()} == expected


# Run directories


def settings_of(out: Path, *overrides: str) -> Any:
    with TriPosTSetup.read(None, [*ARITHMETIC, *SMALL, *overrides]).open_run(out, "") as kept:
        kept.lines("exercises.jsonl", list)
        return kept.record["settings"]


def test_each_training_may_be_mended_until_its_own_first_checkpoint(sparring: Command, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings_of(out)
    (out / "round-0" / "checkpoint").mkdir(parents=True)
    assert settings_of(out, "training.epochs=9")["training"]["epochs"] == 9
    ended = sparring("run", "tripost", *ARITHMETIC, *SMALL, "--out", "run", "rationale.epochs=7", "training.epochs=9")
    refused(ended, "run was made with other settings:\n", "\n  rationale.epochs: 5 -> 7\n")
    assert settings_of(out, "training.epochs=9", "rationale.max_truncated=0.5")["rationale"]["max_truncated"] == 0.5
    (out / "round-2" / "checkpoint").mkdir(parents=True)
    ended = sparring("run", "tripost", *ARITHMETIC, *SMALL, "--out", "run", "rationale.max_truncated=0.5")
    refused(ended, "\n  training.epochs: 9 -> 4\n")


def test_other_exercises_are_another_run_though_their_file_has_the_same_name(sparring: Command, tmp_path: Path) -> None:
    rows = [*questions("train", 2), *questions("test", 2)]
    command = ["policy=hf:./tiny", own(tmp_path / "mine.jsonl", *rows), "learn_from=filtered"]
    with TriPosTSetup.read(None, command).open_run(tmp_path / "run", "") as kept:
        kept.lines("exercises.jsonl", list)
    own(tmp_path / "mine.jsonl", *rows[:-1], {**rows[-1], "answer": "11"})
    refused(sparring("run", "tripost", *command, "--out", "run"), "\n  inputs.tasks: ")


# Estimates


class Opened(Engines):
    """A policy that slips in half of its samples, and reads and mends its attempts as the scripts do."""

    def __init__(self, setup: TriPosTSetup):
        super().__init__("run")
        self.setup = setup

    def open(self, name: str) -> Any:
        return self.opened.setdefault(name, Scripted(self.speak, lambda chat, target: -1.0))

    def speak(self, request: Request) -> str:
        family, chat = self.setup.family, request.chat
        assert family.verify and family.repair and family.corrupt
        asked = [*self.setup.questions, *self.setup.test]
        one = next(each for each in asked if each.question in chat[0]["content"])
        if len(chat) == 1:
            return attempt_at(self.setup, one, request.sample_index)
        attempt = chat[1]["content"]
        found = family.verify(one.question, attempt) or Feedback()
        if len(chat) == 3:
            return render_feedback(found, attempt)
        return f"{before(attempt, found.step or '')}{family.repair(one.question, attempt, found)}"


def attempt_at(setup: TriPosTSetup, one: Exercise, index: int) -> str:
    rng = random.Random(f"{one.id} {index}")
    assert setup.family.corrupt
    said = one.rationale if rng.random() < 0.5 else setup.family.corrupt(one.question, rng).attempt
    return f"Try {index}.\n{said}"  # no two alike


def train(model: str, rows: Path, checkpoint: Path, settings: Training, seed: int) -> None:
    checkpoint.mkdir()
    write_canary(checkpoint, [Canary([user("Hi.")], "Hello.", -1.0, 1)])
    count = len(read_lines(rows))
    report = {"tokens": 100 * count, "seconds": 1.0, "rows": {"train": count}}
    (checkpoint / "training.json").write_text(json.dumps({**report, "job": {"settings": {"batch_size": 4}}}))


def carried_out(setup: TriPosTSetup, out: Path, most: int | None = None) -> Run:
    with setup.open_run(out, "") as run:
        told: list[Any] = []
        setup.make(run, Opened(setup), train, told.append, most)
    return Run(out)


VARIANTS = [
    [],
    ["learn_from=demonstrations", "ratio=1", "gold=0"],
    ["learn_from=rationales", "gold=4"],
    ["learn_from=answers"],
    ["learn_from=votes", "gold=0"],
    ["learn_from=filtered", "test_sampled=3"],
    ["learn_from=none"],
    ["interaction=once", "rounds=3", "test_sampled=4"],
    ["training.epochs=0.5", "rationale.epochs=2"],
]


@pytest.mark.parametrize("overrides", VARIANTS, ids=[" ".join(each) or "as published" for each in VARIANTS])
def test_the_sizes_of_a_plan_are_those_of_the_run(tmp_path: Path, overrides: list[str]) -> None:
    setup = TriPosTSetup.read(None, [*ARITHMETIC, *SMALL, *overrides])
    run = carried_out(setup, tmp_path / "run")
    planned, found = setup.sizes(), setup.done(run)
    assert planned == {name: found.get(name) for name in planned}
    assert set(found) - set(planned) == {"exercises.jsonl", "eval.jsonl"}


@pytest.mark.parametrize("alarms", [0, 3, 9])
@pytest.mark.parametrize("ratio", [1.5, 4.0, "all"])
def test_a_plan_balances_as_the_run_does(alarms: int, ratio: float | Literal["all"]) -> None:
    found: dict[Kind, int] = {"improvement": 12, "false alarm": alarms, "non-improvement": 6, "gold": 7}
    lessons = [
        Lesson(f"{kind} {n}", kind, f"{n}", Example([user(f"{kind} {n}")], [0.0]))
        for kind, count in found.items()
        for n in range(count)
    ]
    assert balanced({str(kind): n for kind, n in found.items()}, ratio) == len(balance(lessons, ratio, "0"))


def test_gold_that_is_learned_already_makes_a_plan_an_upper_bound(tmp_path: Path) -> None:
    # A script mends its own mistakes back to the gold rationale.
    setup = TriPosTSetup.read(None, [*ARITHMETIC, *SMALL, "learn_from=demonstrations", "ratio=1"])
    planned, found = setup.sizes(), setup.done(carried_out(setup, tmp_path / "run"))
    assert 0 < found["round-1/train.jsonl"] < planned["round-1/train.jsonl"]
    assert 0 < found["round-1/checkpoint"] < planned["round-1/checkpoint"]


@pytest.mark.parametrize("ratio", ["1.5", "all"])
def test_an_estimate_of_a_part_comes_near_the_calls_and_rows_of_the_whole(tmp_path: Path, ratio: str) -> None:
    sizes = ["questions=60", "test_questions=60", "rounds=1", "samples=2", "test_sampled=40"]
    setup = TriPosTSetup.read(None, [*ARITHMETIC, *sizes, f"ratio={ratio}"])
    whole, trial = carried_out(setup, tmp_path / "whole"), carried_out(setup.trial(), tmp_path / "trial", most=24)
    done = setup.done(trial)
    found = estimate(Trial(trial, done, 256), setup.sizes(), {"policy": None})
    assert found.untried == []
    calls = sum(line.calls.value for line in found.lines)
    assert calls == pytest.approx(whole.calls()["policy"]["calls"], rel=0.15)
    rows = [len(read_lines(run.path / "round-1" / "train.jsonl")) for run in (trial, whole)]
    due = setup.sizes()["round-1/train.jsonl"] / done["round-1/train.jsonl"]
    assert due * rows[0] == pytest.approx(rows[1], rel=0.3)


def test_what_is_trained_in_tokens_is_planned_in_tokens_and_tried_in_epochs(tmp_path: Path) -> None:
    setup = TriPosTSetup.read(None, [*ARITHMETIC, *SMALL, "rounds=1", "training.tokens=50_000"])
    assert setup.trial().settings.training.tokens is None
    run = carried_out(setup.trial(), tmp_path / "trial", most=4)
    rows = len(read_lines(run.path / "round-1" / "train.jsonl"))
    assert setup.sizes()["round-1/checkpoint"] == 50_000
    assert setup.done(run)["round-1/checkpoint"] == 100 * rows > 0


# The commands, with a model that knows nothing


def test_run_plan_and_doctor_go_through_on_a_model_that_knows_nothing(sparring: Command, tmp_path: Path) -> None:
    tiny_model(tmp_path / "tiny", context=1024)
    own(tmp_path / "mine.jsonl", *questions("train", 3), *questions("test", 3))
    command = ("tripost", "policy=hf:./tiny", "tasks=mine.jsonl", "learn_from=filtered", "attempts.max_tokens=4")
    small = ("rounds=1", "samples=1")
    ended = sparring("plan", *command, *small, "--items", "2")
    assert ended.status == 0, ended.err
    plan = json.loads(ended.out.splitlines()[-1])
    assert {line["round"] for line in plan["lines"]} == {"round 0", "round 1"}
    assert plan["untried"] == ["round-1/checkpoint"]  # nothing was right, so nothing is learned
    ended = sparring("run", *command, *small)
    assert ended.status == 0, ended.err
    summary = json.loads(ended.out.splitlines()[-1])
    assert summary["event"] == "summary" and summary["recipe"] == "tripost"
    assert summary["calls"]["policy"]["calls"] == sum(line["calls"]["value"] for line in plan["lines"])
    asked = read_lines(tmp_path / "runs" / "tripost" / "exercises.jsonl")
    assert [row["part"] for row in asked] == ["train"] * 3 + ["test"] * 3
    again = sparring("run", *command, *small)
    assert json.loads(again.out.splitlines()[-1]) == summary
    ended = sparring("doctor", *command, *small)
    assert ended.status == 0 and '"name": "training"' in ended.out and '"name": "rationale"' not in ended.out


# What people see


def shown(run: Run, summary: dict[str, Any], width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show_summary(console, summary, run.path)
    return cast(io.StringIO, console.file).getvalue()


def test_rounds_are_a_narrow_table_with_what_correcting_is_worth_and_one_question_that_was_mended(
    tmp_path: Path,
) -> None:
    setup = TriPosTSetup.read(None, [*ARITHMETIC, *SMALL, "rounds=3", "test_sampled=6"])
    run = carried_out(setup, tmp_path / "run")
    summary = read_json(run.path / "summary.json")
    text = shown(run, summary)
    assert all(len(line) <= 100 for line in text.splitlines())
    rows = {line.strip().split("  ")[0]: line for line in text.splitlines()}
    last = summary["rounds"][-1]["metrics"]["accuracy_self_corrected"]
    assert last["value"] == 1.0 and rows["right after correcting itself"].rstrip().endswith("100.0 % ±0.0")
    first = summary["rounds"][-1]["metrics"]["accuracy_direct"]
    assert f"{100 * first['value']:.1f} % ±" in rows["right at the first attempt"]
    for label in ("wrong, then right", "right attempts that it criticises", "· correcting itself over votes"):
        assert label in rows
    assert summary["verdict"] in " ".join(text.split())
    panel = text[text.index("m_3 mends its own mistake") : text.index("╰")].replace("│", " ")
    panel = " ".join(panel.split())
    for part in (
        " question ",
        " attempt ",
        " feedback ",
        " update ",
        " is incorrect. This is because",
        "also correct.",
    ):
        assert part in panel
    mended = next(one for one in setup.test if one.question in panel)
    assert f"({mended.tier})" in panel
    attempt, update = panel.split(" attempt ")[1].split(" update ")
    assert setup.family.answer_of(attempt.split(" feedback ")[0].replace(" (", "\n(")) != mended.answer
    assert setup.family.answer_of(update.split(" feedback ")[0].replace(" (", "\n(")) == mended.answer


def test_a_run_in_which_nothing_was_mended_shows_no_question(tmp_path: Path) -> None:
    setup = TriPosTSetup.read(None, [*ARITHMETIC, *SMALL, "updates=0"])
    run = carried_out(setup, tmp_path / "run")
    assert "mends its own mistake" not in shown(run, read_json(run.path / "summary.json"))


def test_a_round_is_told_in_one_line_of_a_hundred_columns() -> None:
    metrics = {
        name: Interval(0.123, 0.1, 0.15, 2000)
        for name in ("accuracy_direct", "accuracy_self_corrected", "mended", "broken")
    }
    told = f"round 3  {REPORTS['tripost'].line(metrics)}"
    assert told == (
        "round 3  right at first 12.3 % ±2.7, corrected 12.3 % ±2.7, mended 12.3 % ±2.7, broken 12.3 % ±2.7"
    )
    assert len(told) <= 100
    assert "mended -" in REPORTS["tripost"].line({**metrics, "mended": None})
