"""SPaR from instructions to a better actor and refiner, on scripted engines: what is tried, learned and measured."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.errors import EngineError, RunError, SettingsError, TrainingError
from sparring.evals.instructed import Exam
from sparring.files import read_lines
from sparring.opening import Engines
from sparring.recipes.spar import spar
from sparring.recipes.spar_loop import SPaRLoop
from sparring.recipes.spar_settings import SPaR
from sparring.rollouts.pairs import Attempt, failed
from sparring.rollouts.refining import BEGIN, END
from sparring.rollouts.tree import Tree
from sparring.runs import Run
from sparring.settings import Preference, Training
from sparring.signals.judge import Judgement
from sparring.tasks.instructions import Instructed, Judged
from sparring.training.canary import Canary, write_canary
from sparring.types import Completion, user
from tests.toy_suite import PROMPTS, SUITE, judge, plays, wanted

SETTINGS: dict[str, Any] = {
    "policy": "hf:base",
    "prompts_a_round": 4,
    "rounds": 2,
    "seed": 5,
    "test_prompts": 6,
    "search": {"beam": 1},
}
EXAM = Exam(SUITE.draw("test", 6, 5), SUITE.judged(8, 5) if SUITE.judged else [], [])


def round_of(engine: str) -> int:
    """The round of a checkpoint, 0 for a model as it was given."""
    found = re.search(r"round-(\d+)", engine)
    return int(found[1]) if found else 0


def name_of(engine: str) -> str:
    """`base`, or `round-1/actor`."""
    found = re.search(r"round-\d+/\w+", engine)
    return found[0] if found else engine.removeprefix("hf:")


class Opened(Engines):
    def __init__(self, open_one: Callable[[str], Any]):
        super().__init__("run")
        self.open_one = open_one

    def open(self, name: str) -> Any:
        if name not in self.opened:
            self.opened[name] = self.open_one(name)
        return self.opened[name]


Speak = Callable[[str, Request], str | Completion]


def speak(engine: str, request: Request) -> str | Completion:
    return plays(request, round_of(engine))


@dataclass
class Stage:
    """Everybody who plays, and a record of what they were asked."""

    folder: Path
    speak: Speak = speak
    worth: Callable[[str, str], float] = lambda engine, target: -1.0
    said: list[tuple[str, Request]] = field(default_factory=list)
    trained: list[tuple[str, str, Training]] = field(default_factory=list)
    """(start, rows, settings) of every training."""
    opened: list[str] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)

    def open(self, name: str) -> Any:
        self.opened.append(name_of(name))

        def record(request: Request) -> str | Completion:
            self.said.append((name_of(name), request))
            return self.speak(name, request)

        return Scripted(record, lambda chat, target: self.worth(name_of(name), target))

    def train(self, model: str, rows: Path, checkpoint: Path, settings: Training, seed: int) -> None:
        self.trained.append((name_of(model), rows.relative_to(self.folder).as_posix(), settings))
        checkpoint.mkdir()
        value = self.worth(name_of(str(checkpoint)), "Hello.")
        write_canary(checkpoint, [Canary([user("Hi.")], "Hello.", value, 1)])

    def run(self, most: int | None = None, exam: Exam = EXAM, **changes: Any) -> dict[str, Any]:
        settings = SPaR.model_validate(SETTINGS | changes)
        prompts = SUITE.draw("train", settings.needed, settings.seed)
        with Run.open(self.folder, "spar", settings.model_dump(mode="json"), "", [settings.seed]) as kept:
            asked = [*prompts, *exam.test]
            loop = SPaRLoop.start(settings, kept, Opened(self.open), PROMPTS, SUITE, asked, self.told.append, most)
            return spar(loop, prompts, exam, self.train)

    def rows(self, name: str) -> list[dict[str, Any]]:
        return read_lines(self.folder / name)

    def attempts(self, t: int, name: str = "judgements") -> list[Attempt]:
        return [Attempt.from_row(row) for row in self.rows(f"round-{t}/{name}.jsonl")]

    def trees(self, t: int) -> list[Tree]:
        return [Tree.from_row(row) for row in self.rows(f"round-{t}/trees.jsonl")]

    def journal(self, stage: str) -> dict[str, Any]:
        return next(row for row in self.rows("journal.jsonl") if row["stage"] == stage)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncing is most of a scripted run's time, and outlasting a power cut is the subject of other tests."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "run")


def value(summary: dict[str, Any], t: int, name: str) -> float:
    return summary["rounds"][t]["metrics"][name]["value"]


# The method


def test_the_actor_answers_every_prompt_several_times_in_one_round_only(stage: Stage) -> None:
    stage.run()
    tried = [[one.prompt_id for one in stage.attempts(t, "attempts")] for t in (1, 2)]
    assert [len(ids) for ids in tried] == [20, 20]
    assert all(set(Counter(ids).values()) == {5} for ids in tried)
    assert not set(tried[0]) & set(tried[1])
    assert not {*tried[0], *tried[1]} & {one.id for one in EXAM.test}


def test_every_answer_is_judged_by_five_votes_of_the_refiner(stage: Stage) -> None:
    stage.run(rounds=1)
    for one in stage.attempts(1):
        assert one.judgement and len(one.judgement.votes) == 5
        assert one.value in (0.2, 0.8)  # the last of five errs
        assert one.passed is (one.index == 3)


def test_one_failed_answer_a_prompt_is_the_root_of_a_tree(stage: Stage) -> None:
    stage.run(rounds=1)
    trees, begun = stage.trees(1), failed(stage.attempts(1), 5)
    assert [(tree.id, tree.root.response) for tree in trees] == [(one.id, one.response) for one in begun]
    assert len({tree.prompt for tree in trees}) == 4
    for tree in trees:
        assert tree.leaf and tree.leaf.depth == 2  # two words are missing, and a refinement adds one
        assert set(wanted(tree.prompt)) <= set(tree.leaf.response.split())
        assert tree.dropped["no-op"] >= 1


def test_the_actor_learns_what_was_accepted_over_the_answer_that_the_tree_began_with(stage: Stage) -> None:
    stage.run(rounds=1)
    trees = {tree.id: tree for tree in stage.trees(1)}
    rows = stage.rows("round-1/actor.jsonl")
    assert len(rows) == 4
    for row in rows:
        tree = trees[row["id"]]
        assert tree.leaf and (row["chosen"], row["rejected"]) == (tree.leaf.response, tree.root.response)
        assert row["prompt"] == [user(tree.prompt)]


def test_the_refiner_learns_refinements_and_the_judgements_on_which_votes_disagreed(stage: Stage) -> None:
    stage.run(rounds=1)
    rows = stage.rows("round-1/refiner.jsonl")
    kinds = Counter(row["kind"] for row in rows)
    assert kinds["refinement"] == 4 and kinds["positive"] and kinds["tree_negative"] <= 4
    asked = {json.dumps(request.chat) for _, request in stage.said}
    for row in rows:
        *chat, last = row["messages"]
        assert json.dumps(chat) in asked, "what is learned is what was asked, word for word"
        assert last["role"] == "assistant" and row["weights"][-1] == 1.0


def test_every_round_trains_both_models_of_the_last_each_on_its_own_rows(stage: Stage) -> None:
    stage.run()
    assert [(start, rows) for start, rows, _ in stage.trained] == [
        ("base", "round-1/actor.jsonl"),
        ("base", "round-1/refiner.jsonl"),
        ("round-1/actor", "round-2/actor.jsonl"),
        ("round-1/refiner", "round-2/refiner.jsonl"),
    ]
    for _, rows, settings in stage.trained:
        assert settings == (SPaR().training if "actor" in rows else SPaR().refiner_training)
    roles = {(request.role, engine) for engine, request in stage.said}
    for role, kind in (("policy", "actor"), ("judge", "refiner"), ("refiner", "refiner")):
        assert {engine for each, engine in roles if each == role} == {"base", f"round-1/{kind}", f"round-2/{kind}"}


def test_each_checkpoint_is_opened_once_and_let_go_of_before_the_next_training(stage: Stage) -> None:
    stage.run()
    # The refiner is trained last, and proved then; the next training lets go of both.
    assert stage.opened.count("round-1/refiner") == stage.opened.count("round-2/refiner") == 1
    assert stage.opened.count("round-1/actor") == stage.opened.count("round-2/actor") == 2
    assert stage.opened.count("base") == 1


def test_a_refiner_of_its_own_is_another_checkpoint_of_the_base(stage: Stage) -> None:
    stage.run(refiner="hf:other")
    starts = [start for start, _, _ in stage.trained]
    assert starts == ["base", "other", "round-1/actor", "round-1/refiner"]
    assert {engine for engine, request in stage.said if request.role == "judge"} == {
        "other",
        "round-1/refiner",
        "round-2/refiner",
    }


def test_a_run_goes_on_where_it_was_stopped(stage: Stage) -> None:
    class Stop(Exception):
        pass

    def stop(model: str, rows: Path, checkpoint: Path, settings: Training, seed: int) -> None:
        raise Stop

    train, stage.train = stage.train, stop  # type: ignore[method-assign]
    with pytest.raises(Stop):
        stage.run()
    before = len(stage.said)
    stage.train = train  # type: ignore[method-assign]
    summary = stage.run()
    assert len(stage.said) > before
    whole = Stage(stage.folder.parent / "whole")
    whole.run()
    assert json.loads((whole.folder / "summary.json").read_text())["rounds"] == summary["rounds"]


# What is measured


def test_a_run_ends_with_a_summary_in_which_the_actor_has_learned(stage: Stage) -> None:
    summary = stage.run()
    assert summary == json.loads((stage.folder / "summary.json").read_text())
    assert [entry["round"] for entry in summary["rounds"]] == [0, 1, 2]
    assert [value(summary, t, "prompt_strict") for t in (0, 1, 2)] == [0.0, 0.0, 1.0]
    assert value(summary, 1, "instruction_strict") == pytest.approx(2 / 3)
    assert value(summary, 2, "prompt_strict_over_round_0") == 1.0
    assert value(summary, 2, "prompt_strict_sampled_over_round_0") == 1.0
    assert summary["verdict"].startswith(
        "round 2 improved (p = 0.031): of 6 held-out prompts it follows 100.0%, +100.0 points"
    )
    assert "its judge is right on 100.0%" in summary["verdict"]
    assert set(summary["calls"]) == {"policy", "judge", "refiner"}


def test_the_judge_is_measured_on_labelled_responses_by_majority_and_by_single_votes(stage: Stage) -> None:
    summary = stage.run(rounds=1)
    for t in (0, 1):
        assert value(summary, t, "judge_balanced_accuracy") == value(summary, t, "judge_accuracy_bad") == 1.0
        assert value(summary, t, "judge_accuracy_one_vote") == pytest.approx(0.8)
    assert value(summary, 1, "judge_balanced_accuracy_over_round_0") == 0.0
    assert summary["rounds"][1]["kinds"]["natural"]["judge_accuracy"]["n"] == 8


def test_refinements_of_wrong_answers_are_measured_by_the_checker_and_by_the_refiner(stage: Stage) -> None:
    # M_0 misses two words and one refinement adds one; what M_1 misses is not asked for.
    summary = stage.run(rounds=1)
    assert (value(summary, 0, "refinement_success"), value(summary, 1, "refinement_success")) == (0.0, 0.0)
    assert value(summary, 0, "refinement_gap") == value(summary, 1, "refinement_gap") == 0.0
    first, last = ([row["response"] for row in stage.rows(f"round-{t}/test-votes.jsonl")] for t in (0, 1))
    assert first and first == last, "the same wrong answers in every round, or rounds could not be compared"


def test_only_some_wrong_answers_are_refined_in_an_exam(stage: Stage) -> None:
    summary = stage.run(rounds=1, test_refined=2)
    assert summary["rounds"][0]["metrics"]["refinement_gap"]["n"] == 2
    assert len(stage.rows("round-0/test-votes.jsonl")) == 2


def test_what_a_round_made_of_its_own_prompts_is_measured(stage: Stage) -> None:
    summary = stage.run()
    assert "accepted_right" not in summary["rounds"][0]["metrics"]
    first = summary["rounds"][1]
    assert first["metrics"]["accepted_right_depth_2"]["value"] == 1.0
    assert first["metrics"]["accepted_right_depth_2"]["n"] == first["learned"]["pairs"] == 4
    assert value(summary, 1, "pairs_a_prompt") == 1.0
    assert value(summary, 1, "pair_edits") == 2.0
    assert 0 < value(summary, 1, "pair_similarity") < 1
    assert first["learned"]["refinement"] == 4


def test_nested_levels_are_answered_where_there_are_any(stage: Stage) -> None:
    assert SUITE.levels
    summary = stage.run(rounds=1, exam=Exam(EXAM.test, EXAM.judged, SUITE.levels(3, 5)))
    assert value(summary, 0, "csl") == 1.0  # it says the first word alone
    assert value(summary, 1, "hsr_2") == 1.0


def test_evaluation_is_greedy_and_sampled_once_of_held_out_prompts(stage: Stage) -> None:
    stage.run(rounds=1)
    prompts = {one.prompt for one in EXAM.test}
    asked = [r for _, r in stage.said if r.role == "policy" and r.chat[0]["content"] in prompts]
    assert Counter((r.sampling.temperature, r.sample_index) for r in asked) == {(0.0, 0): 12, (0.9, 0): 12}
    lines = Counter((row["round"], row["item"]) for row in stage.rows("eval.jsonl"))
    assert {lines[t, item] for t in (0, 1) for item in ("greedy", "sampled")} == {6}


def test_an_answer_that_fails_is_a_miss(stage: Stage) -> None:
    def silent(engine: str, request: Request) -> str | Completion:
        said = plays(request, 2)
        lost = request.role == "policy" and not request.sampling.temperature and "test 0" in request.chat[0]["content"]
        return Completion(said, "length") if lost else said

    stage.speak = silent
    summary = stage.run(rounds=1)
    assert value(summary, 0, "prompt_strict") == pytest.approx(5 / 6)
    assert summary["rounds"][0]["failed"] == {"policy cut off at max_tokens": 1}


def test_a_held_out_prompt_that_nothing_can_check_is_in_no_figure(stage: Stage) -> None:
    bare = Instructed("bare", "test bare. Say tea cake.")
    summary = stage.run(rounds=1, exam=Exam([*EXAM.test, bare], EXAM.judged))
    assert summary["rounds"][1]["metrics"]["prompt_strict"]["n"] == 6
    assert "bare #0" not in {row["id"] for row in stage.rows("round-1/test-trees.jsonl")}


def test_an_actor_that_fails_in_nothing_ends_the_learning_and_no_run(stage: Stage) -> None:
    stage.speak = lambda engine, request: plays(request, 2)
    summary = stage.run(judging={"temperature": 0.7}, votes=1, quorum=1)
    assert stage.trained == []
    assert value(summary, 2, "prompt_strict") == 1.0
    assert summary["verdict"].endswith("there was nothing to learn from in round 1, 2")
    assert summary["rounds"][1]["metrics"]["pairs_a_prompt"]["value"] == 0.0


def test_how_likely_the_sides_of_pairs_are_is_taken_before_and_after_a_training(stage: Stage) -> None:
    stage.worth = lambda engine, target: -2.0 - len(target) / 100 if engine == "base" else -3.0 - len(target) / 100
    summary = stage.run(rounds=1)
    assert value(summary, 1, "chosen_log_prob_change") == pytest.approx(-1.0)
    assert value(summary, 1, "rejected_log_prob_change") == pytest.approx(-1.0)


def test_a_round_that_makes_chosen_answers_much_less_likely_stops_the_run(stage: Stage) -> None:
    stage.worth = lambda engine, target: {"base": -1.0, "round-1/actor": -1.5}.get(engine, -4.0)
    with pytest.raises(TrainingError, match=r"round-2/actor: .* fell by 2\.50 nats .* chosen_may_fall = 1\.0"):
        stage.run(chosen_may_fall=1.0)
    assert (stage.folder / "round-2" / "actor").is_dir()


# Ablations and baselines, each a value


def test_without_tree_search_there_is_one_try(stage: Stage) -> None:
    stage.run(rounds=1, search={"branch": 1, "depth": 1})
    assert {tree.generated for tree in stage.trees(1)} == {2}
    assert not any(tree.leaf for tree in stage.trees(1))


def test_independent_pairs_reject_the_same_answers_and_the_refiner_learns_as_ever(stage: Stage) -> None:
    stage.run(rounds=1, learn_from="independent")
    roots = {tree.root.response for tree in stage.trees(1)}
    rows = stage.rows("round-1/actor.jsonl")
    assert {row["rejected"] for row in rows} <= roots and {row["source"] for row in rows} == {"independent"}
    assert all("take3" in row["chosen"] for row in rows)
    assert [rows for _, rows, _ in stage.trained] == ["round-1/actor.jsonl", "round-1/refiner.jsonl"]


def test_self_learns_refined_answers_without_contrast(stage: Stage) -> None:
    summary = stage.run(rounds=1, learn_from="sft")
    trees = stage.trees(1)
    learned = [row["messages"][-1]["content"] for row in stage.rows("round-1/actor.jsonl")]
    assert learned == [tree.leaf.response for tree in trees if tree.leaf]
    assert next((rows, settings) for _, rows, settings in stage.trained) == (
        "round-1/actor.jsonl",
        SPaR().refiner_training,
    )
    assert "pairs_a_prompt" not in summary["rounds"][1]["metrics"]


def test_self_rewarding_learns_the_best_answer_over_the_worst_and_nobody_searches(stage: Stage) -> None:
    stage.run(rounds=1, learn_from="extremes", refiner_learns=False)
    assert {row["source"] for row in stage.rows("round-1/actor.jsonl")} == {"extremes"}
    assert not (stage.folder / "round-1" / "trees.jsonl").exists()
    assert [rows for _, rows, _ in stage.trained] == ["round-1/actor.jsonl"]


def test_a_frozen_refiner_stays_what_it_is(stage: Stage) -> None:
    stage.run(refiner_learns=False)
    assert {engine for engine, request in stage.said if request.role in ("judge", "refiner")} == {"base"}


def test_an_actor_that_learns_nothing_stays_what_it_is(stage: Stage) -> None:
    stage.run(learn_from="none")
    assert {rows for _, rows, _ in stage.trained} == {"round-1/refiner.jsonl", "round-2/refiner.jsonl"}
    assert {engine for engine, request in stage.said if request.role == "policy"} == {"base"}


def wrong(engine: str, request: Request) -> str | Completion:
    """A refiner whose votes are all wrong."""
    if request.role == "judge":
        said = judge(request, errs=False)
        swap = {"Yes": "No", "No": "Yes"}
        return re.sub("Verdict: (Yes|No)", lambda found: f"Verdict: {swap[found[1]]}", said)
    return plays(request, round_of(engine))


def test_a_checker_may_judge_in_training_and_the_refiner_is_still_measured_itself(stage: Stage) -> None:
    stage.speak = wrong
    summary = stage.run(rounds=1, judge="checker")
    assert all(one.passed is (one.index == 3) for one in stage.attempts(1))
    assert all(tree.leaf and set(wanted(tree.prompt)) <= set(tree.leaf.response.split()) for tree in stage.trees(1))
    assert value(summary, 0, "judge_accuracy") == 0.0


def test_a_coin_may_judge_in_training(stage: Stage) -> None:
    stage.run(rounds=1, judge="random", prompts_a_round=20)
    passed = [one.passed for one in stage.attempts(1)]
    assert 30 < sum(says is True for says in passed) < 70


def test_the_refiner_may_learn_majority_over_dissent_after_its_rejection_sampling(stage: Stage) -> None:
    stage.run(rounds=1, judge_pairs=True)
    assert [(start, rows) for start, rows, _ in stage.trained][1:] == [
        ("base", "round-1/refiner.jsonl"),
        ("round-1/refiner", "round-1/judge.jsonl"),
    ]
    assert isinstance(stage.trained[-1][2], Preference)
    for row in stage.rows("round-1/judge.jsonl"):
        assert "Vote 4" in row["rejected"] and "Vote 0" in row["chosen"]
    assert {e for e, r in stage.said if r.role == "judge"} == {"base", "round-1/judge"}


def test_pairs_may_be_counted_out_to_compare_arms(stage: Stage) -> None:
    summary = stage.run(rounds=1, most_pairs=3)
    assert len(stage.rows("round-1/actor.jsonl")) == summary["rounds"][1]["learned"]["pairs"] == 3
    assert value(summary, 1, "pairs_a_prompt") == 1.0, "the yield is of all pairs"


def test_pairs_that_lie_too_far_apart_are_left_out_and_counted(stage: Stage) -> None:
    stage.run(rounds=1, hygiene={"edits": 1})
    assert stage.rows("round-1/actor.jsonl") == []
    assert stage.journal("round-1/pairs.jsonl")["dropped"] == {"edits": 4}


def test_caps_bound_what_the_refiner_learns_of_a_kind(stage: Stage) -> None:
    stage.run(rounds=1, caps={"refinement": 1, "negative": 0})
    kinds = Counter(row["kind"] for row in stage.rows("round-1/refiner.jsonl"))
    assert kinds["refinement"] == 1 and "negative" not in kinds


def test_every_round_may_train_the_models_as_they_were_given(stage: Stage) -> None:
    stage.run(init="base", refiner="hf:other")
    assert [start for start, _, _ in stage.trained] == ["base", "other", "base", "other"]


def test_the_anchor_may_be_the_policy_as_it_was_given(stage: Stage) -> None:
    stage.run(training={"reference": "base"})
    anchors = [settings.reference for _, _, settings in stage.trained if isinstance(settings, Preference)]
    assert anchors == ["hf:base", "hf:base"]


def test_no_iteration_is_one_round_with_all_the_prompts(stage: Stage) -> None:
    stage.run(rounds=1, prompts_a_round=8)
    once = {one.prompt_id for one in stage.attempts(1)}
    twice = Stage(stage.folder.parent / "twice")
    twice.run()
    assert once == {one.prompt_id for t in (1, 2) for one in twice.attempts(t)}


# Before the first round


def taught(engine: str, request: Request) -> str | Completion:
    """With a teacher that does all that is asked, and makes instructions of requests."""
    first = request.chat[0]["content"]
    if engine != "toy:teacher":
        return plays(request, round_of(engine))
    if first == PROMPTS["teacher_answer"]:
        return " ".join(wanted(request.chat[-1]["content"]))
    if first.startswith("HARDER"):
        seed = re.findall(r"> (.*)", first)[-1]
        return f"{BEGIN.replace('refined', 'instruction')}\n{seed} And say {len(seed)} kind things.\n{END}"
    return "All fine.\nVerdict: Yes" if first.startswith("VALID") else plays(request)


def test_a_teacher_may_show_m_0_and_r_0_what_to_do(stage: Stage) -> None:
    stage.speak = taught
    bootstrap = {"actor": 3, "judgements": 4, "refinements": 2}
    stage.run(rounds=1, bootstrap=bootstrap, roles={"teacher": {"engine": "toy:teacher"}})
    assert [(start, rows, settings.epochs) for start, rows, settings in stage.trained][:2] == [
        ("base", "round-0/actor.jsonl", 5),
        ("base", "round-0/refiner.jsonl", 5),
    ]
    assert [start for start, _, _ in stage.trained][2:] == ["round-0/actor", "round-0/refiner"]
    for row in stage.rows("round-0/actor.jsonl"):
        prompt, answer = row["messages"]
        assert answer["content"].split() == wanted(prompt["content"])
    assert len(stage.rows("round-0/trees.jsonl")) == 2
    judged = [one.prompt_id for one in stage.attempts(0)]
    shown = [row["prompt_id"] for row in stage.rows("round-0/demonstrations.jsonl")]
    tried = [one.prompt_id for one in stage.attempts(1)]
    assert not {*judged} & {*shown} and not {*judged, *shown} & {*tried}
    assert {engine for engine, request in stage.said if request.role == "judge"} == {
        "round-0/refiner",
        "round-1/refiner",
    }


def test_a_teacher_may_make_the_instructions_harder_and_what_is_tested_stays_out(stage: Stage) -> None:
    stage.speak = taught
    stage.run(rounds=1, evolve=True, roles={"teacher": {"engine": "toy:teacher"}})
    tried = {one.prompt for one in stage.attempts(1)}
    assert tried and all("kind things" in prompt for prompt in tried)
    assert tried <= {row["prompt"] for row in stage.rows("prompts.jsonl")}
    assert len(stage.rows("evolved.jsonl")) == 4


def test_what_a_judge_is_tested_on_stays_out_of_what_is_evolved(stage: Stage, tmp_path: Path) -> None:
    teacher: dict[str, Any] = {"roles": {"teacher": {"engine": "toy:teacher"}}}
    stage.speak = taught
    stage.run(rounds=1, evolve=True, **teacher)
    first, *others = [row["prompt"] for row in stage.rows("prompts.jsonl")]
    again = Stage(tmp_path / "again", taught)
    judged = [*EXAM.judged, Judged("judged-9", first, "red", False)]
    again.run(rounds=1, evolve=True, exam=replace(EXAM, judged=judged), **teacher)
    assert [row["prompt"] for row in again.rows("prompts.jsonl")] == others


# Settings


def test_the_defaults_are_the_papers() -> None:
    paper = SPaR()
    assert (paper.prompts_a_round, paper.rounds, paper.samples, paper.votes) == (10_000, 3, 5, 5)
    assert (paper.attempts.temperature, paper.attempts.top_p, paper.attempts.max_tokens) == (0.9, 0.9, 2048)
    assert (paper.judging.temperature, paper.judging.max_tokens) == (0.7, 2048)
    assert (paper.refining.temperature, paper.refining.max_tokens) == (0.7, 3072)
    assert (paper.search.order, paper.search.branch, paper.search.beam, paper.search.depth) == ("bfs", 3, 2, 3)
    assert paper.search.threshold == 0.5
    assert [*paper.caps.model_dump().values()] == [4000, 1500, 1000, 500, 2500]
    dpo, sft = paper.training, paper.refiner_training
    assert (dpo.learning_rate, dpo.beta, dpo.sft_weight, dpo.epochs, dpo.batch_size) == (2e-7, 0.1, 0.1, 1, 32)
    assert (dpo.schedule, dpo.warmup_share, dpo.max_length) == ("linear", 0.1, 2048)
    assert (sft.learning_rate, sft.schedule, sft.warmup_share) == (2e-6, "constant_with_warmup", 0.1)
    assert (sft.batch_size, sft.max_length, paper.bootstrap_training.epochs) == (64, 4096, 5)
    assert (paper.init, paper.training.reference) == ("previous", "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quorum": 6}, "quorum = 6 is over votes = 5"),
        ({"votes": 1001}, "votes = 1001"),
        ({"search": {"confirm": 1001}}, "search.confirm = 1001"),
        ({"stop_early": True, "search": {"threshold": 0.6}}, "so search.threshold must be 0.5, not 0.6"),
        ({"search": {"threshold": 1.5}}, "search.threshold = 1.5"),
        ({"search": {"order": "mcts"}}, "search.order = 'mcts'"),
        ({"search": {"branch": 0}}, "search.branch = 0"),
        ({"caps": {"refinement": -1}}, "caps.refinement = -1"),
        ({"hygiene": {"similarity": 2}}, "hygiene.similarity = 2"),
        ({"learn_from": "independent", "samples": 1}, "learn_from = 'independent' takes samples >= 2, not 1"),
        ({"evolve": True}, "evolve needs a teacher: name roles.teacher.engine"),
        ({"bootstrap": {"judgements": 5}}, "bootstrap.judgements needs a teacher"),
        ({"judge_pairs": True, "init": "base"}, 'init must be "previous"'),
        ({"policy": "vllm:m"}, "training.lora and refiner_training.lora must be set"),
        ({"policy": "hf:m", "refiner": "vllm:m"}, "policy = 'vllm:m': a served policy is trained"),
        ({"serach": {}}, "did you mean 'search'"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        SPaR.load([changes])


def test_a_budget_of_no_refinements_makes_trees_of_their_roots(stage: Stage) -> None:
    stage.run(rounds=1, search={"nodes": 0})
    assert {len(tree.nodes) for tree in stage.trees(1)} == {1}
    assert stage.rows("round-1/pairs.jsonl") == []


def test_an_engine_that_cannot_score_is_refused_before_the_first_call(stage: Stage) -> None:
    class Mute:
        batch_size = 1

        def generate(self, requests: Any) -> Any:
            raise AssertionError("nobody may be asked")

    whole, stage.open = stage.open, lambda name: Mute() if name == "hf:mute" else whole(name)  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="refiner 'hf:mute' must continue chats and return log-probs"):
        stage.run(refiner="hf:mute")
    assert stage.said == []


def test_a_trial_tries_whole_prompts_and_trains_but_goes_on_with_the_models_as_they_were(stage: Stage) -> None:
    stage.run(most=10, rounds=1)
    assert Counter(one.prompt_id for one in stage.attempts(1)) == dict.fromkeys(
        {one.prompt_id for one in stage.attempts(1)}, 5
    )
    assert len(stage.attempts(1)) == 10
    assert {engine for engine, _ in stage.said} == {"base"}


def test_what_is_learned_does_not_depend_on_what_a_judgement_cannot_tell(stage: Stage) -> None:
    def mumbling(engine: str, request: Request) -> str | Completion:
        return "Hm." if request.role == "judge" and request.sample_index < 3 else speak(engine, request)

    stage.speak = mumbling
    stage.run(rounds=1)
    judgements = [one.judgement for one in stage.attempts(1)]
    assert all(isinstance(one, Judgement) and one.value is None for one in judgements)
    assert stage.trained == []


def test_other_settings_are_another_run(stage: Stage) -> None:
    stage.run(rounds=1)
    with pytest.raises(RunError, match="samples: 5 -> 4"):
        stage.run(rounds=1, samples=4)


# Rolling back


def spoiled_once(engine: str, request: Request) -> str:
    """M_1 follows no test prompt, every other actor all of them."""
    is_test = request.chat[-1]["content"] in {one.prompt for one in EXAM.test}
    return plays(request, 2 if is_test and round_of(engine) != 1 else 0)


@pytest.mark.parametrize("roll_back", [True, False])
def test_after_a_round_that_got_worse_both_models_begin_from_the_best_where_that_is_set(
    tmp_path: Path, roll_back: bool
) -> None:
    stage = Stage(tmp_path / "run", spoiled_once)
    summary = stage.run(roll_back=roll_back)
    starts = ["base", "base"] if roll_back else ["round-1/actor", "round-1/refiner"]
    assert [start for start, rows, _ in stage.trained if rows.startswith("round-2")] == starts
    back = ", rolled back to round 0" if roll_back else ""
    assert summary["rounds"][1]["verdict"] == f"got worse (p = 0.031 against round 0){back}"
    assert summary["rounds"][2]["verdict"] == "did not improve (p = 1.000 against round 0)"
    assert value(summary, 1, "forgotten") == 1.0


def test_what_the_judge_passes_is_held_against_the_checkers(stage: Stage) -> None:
    summary = stage.run(rounds=1)
    assert value(summary, 1, "judge_over_checker") == 0.0
    assert "judge_over_checker" not in summary["rounds"][0]["metrics"]
    lenient = Stage(stage.folder.parent / "lenient", yes_to_all)
    summary = lenient.run(rounds=1)
    assert value(summary, 1, "judge_over_checker") == pytest.approx(0.8)  # one of five answers has all words
    assert summary["rounds"][1]["warnings"] == ["the judge passes +80.0% of answers over the checker's share"]


def yes_to_all(engine: str, request: Request) -> str:
    said = plays(request, round_of(engine))
    is_vote = request.chat[0]["content"].startswith("JUDGE") and len(request.chat) == 1
    return "It is fine.\nVerdict: Yes" if is_vote else said
