"""TriPosT from questions to a model that corrects itself, on scripted engines: what is edited, learned, measured."""

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

import sparring.recipes.tripost as recipe
from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.errors import EngineError, RolloutError, SettingsError, TooManyFailures, TrainingError
from sparring.files import read_lines
from sparring.opening import Engines
from sparring.recipes.tripost import TriPosT, TriPosTLoop, check_teacher, read_texts, tripost
from sparring.rollouts.teaching import words
from sparring.runs import Run
from sparring.settings import Training
from sparring.tasks.exercise import Exercise, Family, Feedback, exercises, read_feedback
from sparring.training.canary import Canary, write_canary
from sparring.types import Completion, assistant, user
from tests.sums import BY_TEACHER, SUMS, answer_of, repair, solve, terms, verify

QUESTIONS = exercises(SUMS, "train", 8, 1)
TEST = exercises(SUMS, "test", 6, 1)
PROMPTS = {
    "attempt": "Add: {question}\n\n{format}",
    "feedback": "Feedback:",
    "update": "Updated answer:",
    "answer_only": "Just say: {question}",
    "teacher_attempt": "DO {question}",
    "teacher_feedback": "CRITICISE {question} IS {answer}\n{attempt}",
    "teacher_update": "UPDATE {question} FROM {step}",
}
SETTINGS: dict[str, Any] = {"policy": "hf:base", "samples": 3, "rounds": 2, "seed": 5}
SAY = words(SUMS, False)


def model_name(engine: str) -> str:
    """`base`, or `m_N` for the checkpoint of round N."""
    found = re.search(r"round-(\d+)", engine)
    return f"m_{found[1]}" if found else "base"


def speak(model: str, request: Request) -> str:
    """Of three samples one slips in step 1, as who is greedy does, and one in step 2; only m_1 and later can check."""
    said = [message["content"] for message in request.chat]
    question = said[0].split(": ")[1]
    if len(said) == 1:
        slip = request.sample_index % 3 if request.sampling.temperature else 1
        return solve(question, slip) if said[0].startswith("Add") else f"(Final response) So the answer is {slip}."
    if len(said) == 3:
        return check(model, question, said[1])
    feedback = read_feedback(said[3], said[1])
    assert feedback and feedback.step, "an update is asked for after criticism"
    return said[1][: said[1].index(f"({feedback.step})")] + (repair(question, said[1], feedback) or "")


def check(model: str, question: str, attempt: str) -> str:
    """m_0 finds everything wrong that ends in an even number; later models know."""
    found = verify(question, attempt)
    if model in ("base", "m_0"):
        odd = int(answer_of(attempt) or 0) % 2
        return SAY(TEST[0], attempt, Feedback() if odd else Feedback("1", attempt[4:9], "I say so"))
    return SAY(TEST[0], attempt, found or Feedback())


def teach(request: Request) -> str:
    """The teacher that is a model: says what the scripts do, in its own form."""
    prompt = request.chat[-1]["content"]
    question = re.search(r"\d+ (\+ \d+ )*=", prompt)
    assert question
    if prompt.startswith("DO"):
        return solve(question[0], request.sample_index % 3 or 1)
    if prompt.startswith("UPDATE"):
        return solve(question[0])
    found = verify(question[0], re.sub("^> ", "", prompt[prompt.index("\n") + 1 :], flags=re.M))
    assert found
    return f"Step: ({found.step})\nPart: {found.span}\nReason: model says so"


class Opened(Engines):
    """Engines of a stage's own, each opened once."""

    def __init__(self, open_one: Callable[[str], Any]):
        super().__init__("run")
        self.open_one = open_one

    def open(self, name: str) -> Any:
        return self.opened.setdefault(name, self.open_one(name))


@dataclass
class Stage:
    """Everybody who plays, and a record of what they were asked."""

    folder: Path
    speak: Callable[[str, Request], str | Completion] = speak
    family: Family = SUMS
    said: list[tuple[str, Request]] = field(default_factory=list)
    """(engine, request) of every completion."""
    trained: list[tuple[str, str, Training, int]] = field(default_factory=list)
    """(start, rows, settings, seed) of every training."""
    told: list[dict[str, Any]] = field(default_factory=list)

    def open(self, name: str) -> Any:
        def record(request: Request) -> str | Completion:
            self.said.append((name, request))
            return teach(request) if name == "toy:teacher" else self.speak(model_name(name), request)

        return Scripted(record, lambda chat, target: -1.0)

    def train(self, model: str, rows: Path, checkpoint: Path, settings: Training, seed: int) -> None:
        self.trained.append((model_name(model), rows.relative_to(self.folder).as_posix(), settings, seed))
        checkpoint.mkdir()
        write_canary(checkpoint, [Canary([user("Hi.")], "Hello.", -1.0, 1)])

    def run(
        self,
        questions: list[Exercise] = QUESTIONS,
        test: list[Exercise] = TEST,
        most: int | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        settings = TriPosT.model_validate(SETTINGS | changes)
        prompts = self.folder.parent / f"{self.folder.name}-prompts"
        write_prompts(prompts)
        with Run.open(self.folder, "tripost", settings.model_dump(mode="json"), "", [settings.seed]) as kept:
            texts = read_texts(settings, prompts, self.family)
            loop = TriPosTLoop.start(settings, kept, Opened(self.open), texts, self.family, self.told.append, most)
            return tripost(loop, questions, test, self.train)

    def rows(self, name: str) -> list[dict[str, Any]]:
        return read_lines(self.folder / name)

    def kinds(self, t: int) -> dict[str, int]:
        return dict(Counter(row["kind"] for row in self.rows(f"round-{t}/train.jsonl")))

    def spoken(self, t: int, kind: str) -> list[list[tuple[str, float]]]:
        """What the policy says in the rows of a kind, with its weights."""
        return [
            [
                (m["content"], w)
                for m, w in zip(row["messages"], row["weights"], strict=True)
                if m["role"] == "assistant"
            ]
            for row in self.rows(f"round-{t}/train.jsonl")
            if row["kind"] == kind
        ]


def write_prompts(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in PROMPTS.items():
        (folder / f"{name}.md").write_text(text)


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


def test_m_0_is_the_base_trained_on_gold_rationales_alone(stage: Stage) -> None:
    stage.run(rounds=1)
    assert stage.trained[0] == ("base", "round-0/train.jsonl", TriPosT().rationale, 5)
    rows = stage.rows("round-0/train.jsonl")
    by_id = {one.id: one for one in QUESTIONS}
    assert sorted(row["exercise"] for row in rows) == sorted(by_id)
    for row in rows:
        one = by_id[row["exercise"]]
        assert row["messages"] == [user(f"Add: {one.question}"), assistant(solve(one.question))]
        assert (row["weights"], row["kind"]) == ([0.0, 1.0], "rationale")


def test_every_round_trains_the_model_of_the_last_on_what_it_did_itself(stage: Stage) -> None:
    stage.run(rounds=3)
    trained = [(start, rows) for start, rows, _, _ in stage.trained]
    assert trained == [("base", "round-0/train.jsonl")] + [(f"m_{t}", f"round-{t + 1}/train.jsonl") for t in range(3)]
    assert all(settings == TriPosT().training for _, _, settings, _ in stage.trained[1:])
    askers = {model_name(engine) for engine, request in stage.said if request.sampling.temperature}
    assert askers == {"m_0", "m_1", "m_2"}


def test_every_question_is_tried_several_times_in_every_round_each_time_anew(stage: Stage) -> None:
    # In the published code later rounds are greedy: five passes give five times the same, removed as duplicates.
    stage.run(rounds=2)
    for t in (1, 2):
        rows = stage.rows(f"round-{t}/attempts.jsonl")
        assert [row["id"] for row in rows] == [f"{one.id} #{n}" for one in QUESTIONS for n in range(3 * t - 3, 3 * t)]
        assert len({row["attempts"][0] for row in rows}) == 3 * len(QUESTIONS)


def test_the_edited_trajectories_are_kept_with_what_became_of_each(stage: Stage) -> None:
    summary = stage.run(rounds=1)
    rows = stage.rows("round-1/trajectories.jsonl")
    assert [row["id"] for row in rows] == [row["id"] for row in stage.rows("round-1/attempts.jsonl")]
    found = Counter(row["outcome"] for row in rows)
    assert set(found) == {"accepted", "edited", "false alarm"}
    assert summary["rounds"][1]["edits"] == dict(sorted(found.items()))
    assert all(
        answer_of(row["attempts"][-1]) == one.answer for row in rows for one in QUESTIONS if one.id == row["exercise"]
    )


def test_what_is_learned_is_balanced_and_weighted(stage: Stage) -> None:
    summary = stage.run(rounds=1)
    kinds = stage.kinds(1)
    n = kinds["improvement"]
    assert n == 16  # two of three attempts at each of eight questions are wrong
    assert kinds["non-improvement"] + kinds["false alarm"] == 8  # of 16 / 1.5: there are no more
    assert "gold" not in kinds  # all eight are learned as the policy's own attempts, word for word
    assert summary["rounds"][1]["learned"] == dict(sorted(kinds.items()))
    for [attempt, feedback, update] in stage.spoken(1, "improvement"):
        assert (attempt[1], feedback[1], update[1]) == (1.0, 1.5, 1.5)
        assert "is incorrect" in feedback[0]


def test_gold_that_nothing_else_says_is_learned_without_weight(stage: Stage) -> None:
    stage.run(rounds=1, ratio=4.0)
    golden = stage.spoken(1, "gold")
    assert golden
    assert {weight for spoken in golden for _, weight in spoken} == {1.0}
    right = [text for kind in ("non-improvement", "false alarm") for text in stage.spoken(1, kind)]
    texts = [tuple(text for text, _ in spoken) for spoken in [*golden, *right]]
    assert len(set(texts)) == len(texts)


def test_all_is_correct_is_said_in_one_way_whoever_says_it(stage: Stage) -> None:
    stage.run(rounds=2)
    said = {
        spoken[1][0]
        for t in (1, 2)
        for kind in ("non-improvement", "gold", "false alarm")
        for spoken in stage.spoken(t, kind)
    }
    assert said == {f"Step (1) to ({n}) are correct. The final response is also correct." for n in (2, 3)}


def test_the_journal_counts_what_was_found_and_what_was_learned(stage: Stage) -> None:
    stage.run(rounds=1, ratio=4.0)
    [noted] = [row for row in read_lines(stage.folder / "journal.jsonl") if row["stage"] == "round-1/train.jsonl"]
    assert noted["learned"] == dict(sorted(stage.kinds(1).items()))
    assert {"improvement": 16, "gold": 8}.items() <= noted["found"].items()
    assert noted["learned"]["gold"] == 3  # the other five of eight are learned as false alarms


def test_a_run_ends_with_a_summary_in_which_the_policy_has_learned_to_mend_its_mistakes(stage: Stage) -> None:
    summary = stage.run()
    assert summary == json.loads((stage.folder / "summary.json").read_text())
    assert summary["recipe"] == "tripost"
    assert [entry["round"] for entry in summary["rounds"]] == [0, 1, 2]
    for t in (1, 2):
        assert (value(summary, t, "accuracy_direct"), value(summary, t, "accuracy_self_corrected")) == (0.0, 1.0)
        assert (value(summary, t, "mended"), value(summary, t, "broken")) == (1.0, 0.0)
        assert value(summary, t, "feedback_accuracy") == value(summary, t, "feedback_span") == 1.0
        assert value(summary, t, "accuracy_self_corrected_unseen") == 1.0
    assert summary["rounds"][2]["tiers"]["5"]["accuracy_self_corrected"]["n"] == 2
    assert value(summary, 2, "accuracy_self_corrected_over_round_0") == 1 - value(summary, 0, "accuracy_self_corrected")
    assert summary["verdict"].startswith(
        "round 2 did not improve (p = 0.062): correcting itself it answers 100.0% of 6 held-out questions"
    )


def test_evaluation_is_greedy_and_of_held_out_questions(stage: Stage) -> None:
    stage.run(rounds=1)
    trained = {row["exercise"] for t in (0, 1) for row in stage.rows(f"round-{t}/train.jsonl")}
    assert not trained & {one.id for one in TEST}
    assert [row["id"] for row in stage.rows("round-1/test-trajectories.jsonl")] == [f"{one.id} #0" for one in TEST]
    asked = [r for _, r in stage.said if any(one.question in r.chat[0]["content"] for one in TEST)]
    assert {request.sampling.temperature for request in asked} == {0.0}
    assert {request.sampling.max_tokens for request in asked} == {1024}


def test_every_question_on_test_has_a_line_for_every_round(stage: Stage) -> None:
    stage.run(test_sampled=4)
    lines = Counter((row["round"], row["item"]) for row in stage.rows("eval.jsonl"))
    assert lines == {(t, item): n for t in (0, 1, 2) for item, n in (("greedy", 6), ("sampled", 4))}


def test_what_happens_is_told_as_it_happens(stage: Stage) -> None:
    stage.run(rounds=1)
    ended = [event["stage"] for event in stage.told if event["event"] == "stage" and event.get("ended")]
    assert ended == [
        "round-0/train.jsonl",
        "round-0/test-trajectories.jsonl",
        "round-1/attempts.jsonl",
        "round-1/trajectories.jsonl",
        "round-1/train.jsonl",
        "round-1/test-trajectories.jsonl",
    ]
    assert [event["round"] for event in stage.told if event["event"] == "round"] == [0, 1]


# Settings and ablations


def test_the_defaults_are_the_papers() -> None:
    paper = TriPosT()
    assert (paper.questions, paper.samples, paper.rounds, paper.edits, paper.ratio) == (550, 5, 3, 5, 1.5)
    assert (paper.feedback_weight, paper.attempt_weight, paper.init) == (1.5, 1.0, "previous")
    assert (paper.attempts.temperature, paper.attempts.max_tokens) == (1.0, 1024)
    for training, epochs in ((paper.rationale, 5), (paper.training, 4)):
        assert (training.learning_rate, training.epochs, training.batch_size) == (1e-6, epochs, 4)
        assert (training.schedule, training.warmup_share, training.weight_decay) == ("linear", 0.2, 0.01)
        assert training.normaliser == "tokens"  # not sum of weights, so that weight also raises the rate of learning


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"feedback": "teacher"}, "name roles.teacher.engine"),
        ({"improver": "teacher"}, "name roles.teacher.engine"),
        ({"policy": "vllm:m"}, "training.lora and rationale.lora must be set"),
        ({"policy": "vllm:m", "training": {"lora": {}}, "init": "base"}, "rationale.lora must be set"),
        ({"learn_from": "votes", "samples": 1}, "samples = 1: a vote takes 3 at least"),
        ({"learn_from": "votes", "samples": 2}, "samples = 2: a vote takes 3 at least"),
        ({"ratio": 0}, "ratio = 0"),
        ({"learn_from": "luck"}, "learn_from = 'luck'"),
        ({"sampels": 3}, "did you mean 'samples'"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        TriPosT.load([changes])


def test_without_weights_every_word_counts_the_same(stage: Stage) -> None:
    stage.run(rounds=1, feedback_weight=1.0)
    weights = {w for row in stage.rows("round-1/train.jsonl") for w in row["weights"]}
    assert weights == {0.0, 1.0}


def test_the_wrong_attempt_need_not_be_learned(stage: Stage) -> None:
    stage.run(rounds=1, attempt_weight=0.0)
    assert {spoken[0][1] for spoken in stage.spoken(1, "improvement")} == {0.0}
    assert {spoken[0][1] for kind in ("non-improvement", "gold") for spoken in stage.spoken(1, kind)} == {1.0}


def test_without_a_balance_everything_is_learned(stage: Stage) -> None:
    stage.run(rounds=1, ratio="all")
    kinds = stage.kinds(1)
    assert (kinds["improvement"], kinds["gold"], kinds["non-improvement"] + kinds["false alarm"]) == (16, 8, 8)


@pytest.mark.parametrize(("ratio", "share"), [(2.5, 7), (4.0, 5), (8.0, 5)])  # 5 false alarms: no share is smaller
def test_the_share_of_improvements_can_be_swept(stage: Stage, ratio: float, share: int) -> None:
    stage.run(rounds=1, ratio=ratio)
    kinds = stage.kinds(1)
    assert (kinds["improvement"], kinds["false alarm"]) == (16, 5)
    assert kinds.get("non-improvement", 0) + kinds["false alarm"] == share
    assert kinds["gold"] == 8 - share  # of the others' questions: theirs are learned already


def test_false_alarms_can_be_thrown_away_as_published(stage: Stage, tmp_path: Path) -> None:
    published = Stage(tmp_path / "published")
    with_alarms, without = stage.run(rounds=1, ratio="all"), published.run(rounds=1, ratio="all", false_alarms=False)
    alarms = with_alarms["rounds"][1]["edits"]["false alarm"]
    assert alarms > 0
    assert stage.kinds(1)["false alarm"] > 0
    assert "false alarm" not in published.kinds(1)
    assert without["rounds"][1]["edits"]["dropped: right attempt criticised"] == alarms


def test_without_interaction_every_round_learns_what_the_first_did(stage: Stage) -> None:
    stage.run(rounds=3, interaction="once")
    first = stage.rows("round-1/train.jsonl")
    assert stage.rows("round-2/train.jsonl") == stage.rows("round-3/train.jsonl") == first
    assert [start for start, _, _, _ in stage.trained] == ["base", "m_0", "m_1", "m_2"]
    assert not (stage.folder / "round-2" / "attempts.jsonl").exists()
    assert {model_name(engine) for engine, r in stage.said if r.sampling.temperature} == {"m_0"}


def test_every_round_may_start_from_the_base(stage: Stage) -> None:
    stage.run(rounds=2, init="base")
    assert [start for start, _, _, _ in stage.trained] == ["base", "base", "base"]


def test_feedback_may_work_out_every_step_before_its_verdict(stage: Stage) -> None:
    stage.run(rounds=1, evidence=True)
    said = [s[1][0] for kind in ("improvement", "non-improvement", "gold") for s in stage.spoken(1, kind)]
    assert said
    assert all(text.startswith("[1] checked\n") for text in said)


@pytest.mark.parametrize("gold", [0, 3])
def test_gold_rationales_may_be_few_or_none(stage: Stage, gold: int) -> None:
    stage.run(rounds=1, gold=gold)
    assert len(stage.trained) == 1 + (gold > 0)
    assert stage.kinds(1).get("gold", 0) <= gold
    if gold:
        assert stage.kinds(0) == {"rationale": 3}
    else:
        assert stage.trained[0][:2] == ("base", "round-1/train.jsonl")


def test_questions_without_a_gold_rationale_have_none_to_learn(stage: Stage) -> None:
    bare = [replace(one, rationale=None) for one in QUESTIONS]
    stage.run(questions=[*bare[:-1], QUESTIONS[-1]], rounds=1)
    assert [row["exercise"] for row in stage.rows("round-0/train.jsonl")] == [QUESTIONS[-1].id]


def test_the_policy_may_correct_itself_only_so_often(stage: Stage) -> None:
    stage.run(rounds=1, updates=0)
    rows = stage.rows("round-1/test-trajectories.jsonl") + stage.rows("round-1/attempts.jsonl")
    assert {(len(row["attempts"]), len(row["feedbacks"])) for row in rows} == {(1, 0)}
    assert stage.kinds(1)["improvement"] == 16


def half_repaired(question: str, attempt: str, feedback: Feedback) -> str:
    """Mend the step and slip in the next, where there is one."""
    at = int(feedback.step or 0)
    return solve(question, slip=at + 1, start=at - 1, total=sum(terms(question)[:at]))


def test_the_teacher_may_update_only_so_often(stage: Stage) -> None:
    stage.family = replace(SUMS, repair=half_repaired)
    stage.run(rounds=1, edits=1, ratio="all")
    assert "still wrong after 1 updates" in {row["reason"] for row in stage.rows("round-1/trajectories.jsonl")}
    patient = Stage(stage.folder.parent / "patient", family=stage.family)
    patient.run(rounds=1, edits=5, ratio="all")
    assert {row["reason"] for row in patient.rows("round-1/trajectories.jsonl")} == {""}


def test_attempts_are_drawn_as_told(stage: Stage) -> None:
    stage.run(rounds=1, attempts={"temperature": 0.6, "top_p": 0.9})
    drawn = {(r.sampling.temperature, r.sampling.top_p) for _, r in stage.said if r.sampling.temperature}
    assert drawn == {(0.6, 0.9)}


# Learning from something else


def test_si_demonstrations_are_the_same_but_for_whose_mistakes_they_mend(stage: Stage) -> None:
    stage.run(rounds=1, learn_from="demonstrations")
    rows = stage.rows("round-1/attempts.jsonl")
    assert len(rows) == 24
    assert all(
        verify(one.question, row["attempts"][0]) != Feedback()
        for row in rows
        for one in QUESTIONS
        if one.id == row["exercise"]
    )
    assert not any(request.sampling.temperature for _, request in stage.said)  # the policy was not asked
    assert {row["outcome"] for row in stage.rows("round-1/trajectories.jsonl")} == {"edited"}
    assert stage.kinds(1)["improvement"] > 8


def test_a_model_may_demonstrate_with_its_own_attempts(stage: Stage) -> None:
    stage.run(rounds=1, learn_from="demonstrations", roles={"teacher": {"engine": "toy:teacher"}})
    attempts = {row["attempts"][0] for row in stage.rows("round-1/attempts.jsonl")}
    assert attempts == {solve(one.question, slip) for one in QUESTIONS for slip in (1, 2)}


@pytest.mark.parametrize(("learn_from", "kind"), [("rationales", "rationale"), ("answers", "answer")])
def test_baselines_on_gold_learn_it_again_in_every_round(stage: Stage, learn_from: str, kind: str) -> None:
    stage.run(rounds=2, learn_from=learn_from)
    assert stage.kinds(0) == stage.kinds(1) == stage.kinds(2) == {kind: 8}
    assert not (stage.folder / "round-1" / "attempts.jsonl").exists()


def test_bare_answers_are_learned_and_asked_for_with_a_prompt_of_their_own(stage: Stage) -> None:
    stage.run(rounds=1, learn_from="answers")
    rows = stage.rows("round-0/train.jsonl")
    by_id = {one.id: one for one in QUESTIONS}
    for row in rows:
        one = by_id[row["exercise"]]
        assert row["messages"] == [
            user(f"Just say: {one.question}"),
            assistant(f"(Final response) So the answer is {one.answer}."),
        ]
    assert all(r.chat[0]["content"].startswith("Just say: ") for _, r in stage.said)


def test_lmsi_learns_what_most_attempts_agree_on_right_or_wrong(stage: Stage) -> None:
    stage.run(rounds=1, learn_from="votes")
    # Sample 0 is right, 1 and 2 are one too high: the majority is wrong.
    assert len(stage.rows("round-1/train.jsonl")) == 16
    texts = {row["messages"][1]["content"] for row in stage.rows("round-1/train.jsonl")}
    assert texts == {solve(one.question, slip) for one in QUESTIONS for slip in (1, 2)}
    assert {tuple(row["weights"]) for row in stage.rows("round-1/train.jsonl")} == {(0.0, 1.0)}


def test_lmsi_filtered_by_gold_learns_right_attempts_alone(stage: Stage) -> None:
    stage.run(rounds=1, learn_from="filtered")
    texts = {row["messages"][1]["content"] for row in stage.rows("round-1/train.jsonl")}
    assert texts == {solve(one.question) for one in QUESTIONS}
    assert {len(row["feedbacks"]) for row in stage.rows("round-1/attempts.jsonl")} == {0}


def test_a_run_that_learns_nothing_measures_m_0_throughout(stage: Stage) -> None:
    summary = stage.run(rounds=2, learn_from="none")
    assert [start for start, _, _, _ in stage.trained] == ["base"]
    assert value(summary, 0, "accuracy_self_corrected") == value(summary, 2, "accuracy_self_corrected")
    assert value(summary, 2, "accuracy_self_corrected_over_round_0") == 0.0


# Teachers


def test_a_model_may_criticise_and_mend_where_a_script_could(stage: Stage) -> None:
    stage.run(rounds=1, feedback="teacher", improver="teacher", roles={"teacher": {"engine": "toy:teacher"}})
    said = [spoken[1][0] for spoken in stage.spoken(1, "improvement")]
    assert said and all(text.endswith("This is because model says so.") for text in said)
    asked = [request for engine, request in stage.said if engine == "toy:teacher"]
    heat = {request.chat[0]["content"].split()[0]: request.sampling.temperature for request in asked}
    assert heat == {"CRITICISE": 0.0, "UPDATE": 0.7}


def test_the_words_of_a_model_that_criticises_have_no_evidence(stage: Stage) -> None:
    stage.run(rounds=1, evidence=True, ratio="all", feedback="teacher", roles={"teacher": {"engine": "toy:teacher"}})
    said = [s[1][0] for kind in ("improvement", "non-improvement", "gold") for s in stage.spoken(1, kind)]
    assert said
    assert not any("checked" in text for text in said)


def test_a_family_without_scripts_is_taught_by_a_model(stage: Stage) -> None:
    stage.family = BY_TEACHER
    summary = stage.run(rounds=1, roles={"teacher": {"engine": "toy:teacher"}})
    assert stage.kinds(1)["improvement"] == 16
    assert summary["rounds"][1]["metrics"]["feedback_accuracy"] is None


@pytest.mark.parametrize(
    ("family", "learn_from", "said"),
    [
        (BY_TEACHER, "trajectories", "no script can criticise or mend; name roles.teacher.engine"),
        (replace(SUMS, repair=None), "trajectories", "no script can mend; name"),
        (replace(SUMS, corrupt=None), "demonstrations", "no script can make mistakes; name"),
    ],
)
def test_a_teacher_that_nobody_named_is_missed_before_anything_runs(
    stage: Stage, family: Family, learn_from: str, said: str
) -> None:
    stage.family = family
    with pytest.raises(SettingsError, match=said):
        stage.run(learn_from=learn_from)
    assert stage.said == []


def test_evidence_that_no_script_can_give_is_refused(stage: Stage) -> None:
    stage.family = replace(SUMS, evidence=None)
    with pytest.raises(SettingsError, match="evidence = true: nothing can work out the steps of 'sums' anew"):
        stage.run(evidence=True)


@pytest.mark.parametrize("learn_from", ["rationales", "answers", "votes", "filtered", "none"])
def test_what_needs_no_teacher_needs_no_script(learn_from: Any) -> None:
    check_teacher(TriPosT(learn_from=learn_from), BY_TEACHER)


def test_the_policy_may_mend_its_own_attempts_where_the_script_accepts_it(stage: Stage) -> None:
    def own_words(model: str, request: Request) -> str:
        said = speak(model, request)
        return said.replace("So the answer", "So I say the answer") if len(request.chat) == 5 else said

    stage.speak = own_words
    stage.run(rounds=1, improver="policy")
    updates = [spoken[2][0] for spoken in stage.spoken(1, "improvement")]
    assert all("So I say" in update for update in updates)
    asked = Counter(r.sample_index for engine, r in stage.said if len(r.chat) == 5 and model_name(engine) == "m_0")
    assert {0, 1, 2, 3} <= asked.keys()


# Sampled, and voted on


def test_some_questions_are_also_sampled_and_voted_on_in_the_first_and_the_last_round(stage: Stage) -> None:
    summary = stage.run(rounds=2, test_sampled=3)
    tiers = {one.id: one.tier for one in TEST}
    rows = stage.rows("round-0/test-sampled.jsonl")
    assert [tiers[row["exercise"]] for row in rows] == ["3", "4", "5"]  # as many of every tier
    assert [(stage.folder / f"round-{t}/test-votes.jsonl").exists() for t in (0, 1, 2)] == [True, False, True]
    assert value(summary, 0, "sampled_direct") == 1.0  # sample 0 is right, 1 and 2 agree on another answer
    assert value(summary, 0, "majority_vote") < 1.0
    assert "majority_vote" not in summary["rounds"][1]["metrics"]
    for t in (0, 2):
        assert value(summary, t, "tokens_vote") >= value(summary, t, "tokens_sampled")


# What goes wrong


def test_a_question_that_fails_on_test_is_answered_wrong_and_its_reason_counted(stage: Stage) -> None:
    def failing(model: str, request: Request) -> str:
        if TEST[0].question in request.chat[0]["content"]:
            raise RolloutError("chat too long")
        return speak(model, request)

    stage.speak = failing
    summary = stage.run(rounds=1)
    assert value(summary, 1, "accuracy_self_corrected") == pytest.approx(5 / 6)
    assert summary["rounds"][1]["failed"] == {"chat too long": 1}


def test_attempts_cut_off_at_max_tokens_are_wrong_and_teach_nothing(stage: Stage) -> None:
    def endless(model: str, request: Request) -> str | Completion:
        said = speak(model, request)
        return Completion(said, "length") if request.sample_index == 2 else said

    stage.speak = endless
    summary = stage.run(rounds=1)
    assert summary["rounds"][1]["edits"]["dropped: attempt did not come to its end"] == 8
    assert not (stage.folder / "failures.jsonl").exists() or stage.rows("failures.jsonl") == []
    assert stage.kinds(1)["improvement"] == 8


def test_a_round_without_a_mistake_trains_nothing_and_the_run_goes_on(stage: Stage) -> None:
    # The published run stopped there for good.
    stage.speak = lambda model, r: (
        solve(r.chat[0]["content"].split(": ")[1])
        if len(r.chat) == 1
        else SAY(TEST[0], r.chat[1]["content"], Feedback())
    )
    summary = stage.run(rounds=2)
    assert [start for start, _, _, _ in stage.trained] == ["base"]
    assert [entry["learned"] for entry in summary["rounds"]] == [{"rationale": 8}, {}, {}]
    assert value(summary, 2, "accuracy_direct") == 1.0


def test_a_policy_that_is_right_and_criticises_itself_still_learns_to_leave_it(stage: Stage) -> None:
    def wary(model: str, request: Request) -> str:
        said = [message["content"] for message in request.chat]
        if len(said) == 3:
            return SAY(TEST[0], said[1], Feedback("1", said[1][4:9], "I say so"))
        return solve(said[0].split(": ")[1])

    stage.speak = wary
    summary = stage.run(rounds=1)
    assert summary["rounds"][1]["edits"] == {"false alarm": 24}
    assert stage.kinds(1) == {"false alarm": 8}
    assert [rows for _, rows, _, _ in stage.trained] == ["round-0/train.jsonl", "round-1/train.jsonl"]


def test_a_policy_that_only_fails_stops_the_run(stage: Stage) -> None:
    def silent(model: str, request: Request) -> str:
        raise RolloutError("server gone")

    stage.speak = silent
    with pytest.raises(TooManyFailures, match="server gone"):
        stage.run()


def test_a_run_that_was_stopped_goes_on_where_it_was(stage: Stage) -> None:
    # The published code resumed the first round only, and asked a question at the terminal.
    def crash(model: str, request: Request) -> str:
        if model == "m_1" and request.sampling.temperature:
            raise KeyError("killed")
        return speak(model, request)

    stage.speak = crash
    with pytest.raises(KeyError):
        stage.run()
    again, whole = Stage(stage.folder), Stage(stage.folder.parent / "whole")
    assert again.run()["rounds"] == whole.run()["rounds"]
    assert [start for start, _, _, _ in again.trained] == ["m_1"]
    assert {model_name(engine) for engine, _ in again.said} == {"m_1", "m_2"}
    assert again.rows("round-2/train.jsonl") == whole.rows("round-2/train.jsonl")


def test_a_sampler_that_does_not_hold_the_trained_weights_stops_the_run(stage: Stage, monkeypatch: Any) -> None:
    monkeypatch.setattr(stage, "open", lambda name: Scripted(lambda r: speak(model_name(name), r), lambda c, t: -2.0))
    with pytest.raises(TrainingError, match="does not hold the weights"):
        stage.run()


def test_a_policy_that_cannot_be_scored_is_refused_at_the_door(stage: Stage, monkeypatch: Any) -> None:
    class Mute:
        batch_size = 1

        def generate(self, requests: Any) -> Any:
            raise AssertionError("nobody was asked")

    monkeypatch.setattr(stage, "open", lambda name: Mute())
    with pytest.raises(EngineError, match="the proof of a checkpoint needs"):
        stage.run()


def test_a_trial_makes_a_part_of_each_stage_and_keeps_the_base(stage: Stage) -> None:
    stage.run(most=2, rounds=1)
    assert [len(stage.rows(f"round-1/{name}.jsonl")) for name in ("attempts", "trajectories", "train")] == [2, 2, 2]
    assert {model_name(engine) for engine, _ in stage.said} == {"base"}


# Prompts

PACK = Path(recipe.__file__).parent / "prompts/tripost"
BLANKS = {
    "attempt": {"question", "format"},
    "answer_only": {"question"},
    "feedback": set[str](),
    "update": set[str](),
    "teacher_attempt": {"question", "format"},
    "teacher_feedback": {"question", "answer", "attempt"},
    "teacher_update": {"question", "attempt", "feedback", "kept", "step"},
}


def test_a_prompt_has_its_blanks_and_no_others() -> None:
    texts = {path.stem: path.read_text(encoding="utf-8") for path in PACK.glob("*.md")}
    formats = {name for name in texts if name.startswith("format-")}
    assert texts.keys() - formats == BLANKS.keys()
    assert {name: set(re.findall(r"\{(\w+)\}", text)) for name, text in texts.items() if name in BLANKS} == BLANKS
    assert formats == {
        f"format-{name}" for name in ("multistep-arithmetic", "word-sorting", "date-understanding", "logical-deduction")
    }


def test_the_policy_is_told_the_sentences_that_are_read() -> None:
    told = (PACK / "feedback.md").read_text(encoding="utf-8")
    attempt = "(1) 1 + 2 = 4"
    wrong = re.search(r"In step .*? because \.\.\.", told)
    assert wrong
    assert read_feedback(wrong[0].replace("(k)", "(1)").replace('" ... "', '" 4 "'), attempt) == Feedback(
        "1", "4", ".."
    )
    assert read_feedback("The final response is also correct.", attempt) == Feedback()
    assert "The final response is also correct." in told


def test_the_format_of_a_family_is_told_where_there_is_a_file_for_it(tmp_path: Path) -> None:
    write_prompts(tmp_path)
    (tmp_path / "format-sums.md").write_text("One addition a line.\n")
    assert read_texts(TriPosT(), tmp_path, SUMS)["format"] == "One addition a line."
    assert read_texts(TriPosT(), tmp_path, BY_TEACHER)["format"] == ""


def test_a_teachers_prompts_are_needed_only_where_there_is_one(tmp_path: Path) -> None:
    write_prompts(tmp_path)
    (tmp_path / "teacher_update.md").unlink()
    read_texts(TriPosT(), tmp_path, SUMS)
    with pytest.raises(SettingsError, match=r"no file teacher_update\.md"):
        read_texts(TriPosT.load([{"roles": {"teacher": {"engine": "base"}}}]), tmp_path, SUMS)


# Rolling back


def spoiled_once(model: str, request: Request) -> str:
    """Everybody is right and finds nothing wrong, but m_1 slips."""
    said = [message["content"] for message in request.chat]
    question = said[0].split(": ")[1]
    if len(said) == 1:
        return solve(question, 1) if model == "m_1" else solve(question)
    return SAY(TEST[0], said[1], Feedback())


@pytest.mark.parametrize(("roll_back", "start"), [(True, "m_0"), (False, "m_1")])
def test_after_a_round_that_got_worse_the_next_begins_from_the_best_where_that_is_set(
    tmp_path: Path, roll_back: bool, start: str
) -> None:
    stage = Stage(tmp_path / "run", spoiled_once)
    summary = stage.run(roll_back=roll_back, ratio="all")  # right attempts are all there is
    assert [begun for begun, _, _, _ in stage.trained] == ["base", "m_0", start]
    back = ", rolled back to round 0" if roll_back else ""
    told = [None, f"got worse (p = 0.031 against round 0){back}", "did not improve (p = 1.000 against round 0)"]
    assert [one["verdict"] for one in summary["rounds"]] == told
    assert [one["verdict"] for one in stage.told if one["event"] == "verdict"] == told[1:]
    assert [one["best"] for one in summary["rounds"]] == [0, 0, 0]
    last = [row["attempts"][0] for row in stage.rows("round-2/attempts.jsonl")]
    assert roll_back == all(answer_of(text) == one.answer for one, text in zip(QUESTIONS, last[::3], strict=True))


def test_a_round_that_learned_a_test_question_is_warned_of_it(stage: Stage) -> None:
    summary = stage.run(
        [*QUESTIONS[:7], replace(TEST[0], id="train-again", rationale=QUESTIONS[0].rationale)], rounds=1
    )
    assert value(summary, 1, "contaminated") == pytest.approx(1 / 6)
    assert summary["rounds"][1]["warnings"] == ["16.7% of test prompts are in what this round tried or learned from"]
