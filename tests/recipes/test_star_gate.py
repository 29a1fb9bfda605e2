"""STaR-GATE from tasks to a better model, on scripted engines: what is kept, what is trained on, in what order."""

from __future__ import annotations

import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sparring.cli.star_gate import done, sizes
from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.errors import DataError, EngineError, RunError, SettingsError, TooManyFailures, TrainingError
from sparring.evals.asking import Examined, verdict
from sparring.evals.statistics import Interval
from sparring.files import read_lines
from sparring.opening import Engines
from sparring.recipes.star_gate import StarGate, StarGateLoop, Training, read_texts, star_gate, turns_of
from sparring.runs import Run
from sparring.tasks import Splits, Task
from sparring.training.canary import Canary, write_canary
from sparring.types import Chat, Completion, assistant, user

NAMES = ("Ada", "Bo", "Cy", "Di", "Ed", "Flo")
"""Of personas, by their number; the first two are in A, the next in B, the last on test."""
TASKS: Splits = {
    "a": [
        Task("task-1", "Where should we eat?", "specific", "a"),
        Task("task-2", "What [INST] is it?", "general", "a"),
    ],
    "b": [Task("task-3", "Where should we stay?", "specific", "b"), Task("task-4", "Who wrote it?", "general", "b")],
    "test": [Task("task-5", "Where to?", "specific", "test"), Task("task-6", "Who did it?", "general", "test")],
}
PROMPTS = {
    "ask": "ASK",
    "play": "PLAY {persona} WHO WANTS {task}",
    "oracle": "ORACLE {persona} WANTS {task}",
    "judge": "JUDGE {persona} WANTS {task}\n{a}\nOR\n{b}",
    "persona": "PERSONA {example_1} {example_2}",
    "content": "CONTENT {persona}",
    "personalise": "PERSONALISE",
    "neutral": "NEUTRAL",
}
ROLES = {
    "author": {"engine": "toy:author"},
    "oracle": {"engine": "toy:oracle"},
    "roleplayer": {"engine": "toy:roleplayer"},
    "judge": {"engine": "toy:judge"},
}
SETTINGS: dict[str, Any] = {
    "policy": "hf:base",
    "personas": (2, 2, 2),
    "samples": 3,
    "test_samples": 2,
    "check_content": False,
    "roles": ROLES,
    "seed": 5,
}


def text_of(chat: Chat) -> str:
    return "\n".join(message["content"] for message in chat)


def model_name(engine: str) -> str:
    """`m_0` for the base, `m_N` for the checkpoint of round N."""
    found = re.search(r"round-(\d+)", engine)
    return f"m_{found[1]}" if found else "m_0"


def speak(model: str, request: Request) -> str:
    """Answer where the task was repeated, and ask otherwise: "Q2 of m_0, 1?" is sample 2's first question."""
    last = request.chat[-1]["content"]
    if "\n\n" in last and not last.startswith("My name is"):
        told = request.chat[0]["content"] if request.chat[0]["role"] == "system" else "nothing"
        return f"{model} answers, told {told}."
    turn = sum(message["role"] == "assistant" for message in request.chat) + 1
    return f"Q{request.sample_index} of {model}, {turn}?"


def play(request: Request) -> str:
    name = re.search(r"I'm (\w+)", request.chat[0]["content"])
    assert name
    return f"{name[1].title()} hears {request.chat[-1]['content'][:2]}."


def favourite(target: str) -> int:
    """The question (by sample) that helps the user to whom this response was written."""
    return NAMES.index(target.split()[0]) % 3


def score(chat: Chat, target: str) -> float:
    """-50 nats knowing nothing, 20 more for each favourite question heard, 40 more with the persona."""
    if target == "Hello.":
        return -1.0
    text = text_of(chat)
    return -50.0 + 20 * text.count(f"Q{favourite(target)} of") + 40 * ("secret" in text)


def judge(request: Request) -> str:
    first, second = re.findall(r"> m_(\d)", request.chat[0]["content"])
    return "Final Response: " + ("tie" if first == second else "A" if first > second else "B")


def write(request: Request) -> str:
    name = NAMES[request.sample_index]
    return f"I'm {name.upper()}. My secret is {name[::-1]}."


def respond(request: Request) -> str:
    found = re.fullmatch(r"ORACLE I'm (\w+)\. .* WANTS (.*)", request.chat[0]["content"])
    assert found
    return f"{found[1].title()} should know: {found[2]}"


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
    score: Callable[[Chat, str], float] = score
    others: dict[str, Callable[[Request], str | Completion]] = field(default_factory=dict)
    said: list[tuple[str, Request]] = field(default_factory=list)
    """(engine, request) of every completion."""
    scored: list[str] = field(default_factory=list)
    """The engine of every score, the canary's apart."""
    trained: list[tuple[str, str, Training, int]] = field(default_factory=list)
    """(start, rows, settings, seed) of every training."""
    told: list[dict[str, Any]] = field(default_factory=list)

    def open(self, name: str) -> Any:
        rules = {"toy:author": write, "toy:oracle": respond, "toy:roleplayer": play, "toy:judge": judge} | self.others
        reply = rules.get(name) or (lambda request: self.speak(model_name(name), request))

        def record(request: Request) -> str | Completion:
            self.said.append((name, request))
            return reply(request)

        def scored(chat: Chat, target: str) -> float:
            if target != "Hello.":
                self.scored.append(name)
            return self.score(chat, target)

        return Scripted(record, scored)

    def train(self, model: str, rows: Path, checkpoint: Path, settings: Training, seed: int) -> None:
        self.trained.append((model, rows.relative_to(self.folder).as_posix(), settings, seed))
        checkpoint.mkdir()
        write_canary(checkpoint, [Canary([user("Hi.")], "Hello.", -1.0, 1)])

    def run(self, tasks: Splits = TASKS, most: int | None = None, **changes: Any) -> dict[str, Any]:
        settings = StarGate.model_validate(SETTINGS | changes)
        prompts = self.folder.parent / f"{self.folder.name}-prompts"
        if not prompts.exists():
            write_prompts(prompts)
        with Run.open(self.folder, "star-gate", settings.model_dump(mode="json"), "", [settings.seed]) as kept:
            loop = StarGateLoop.start(
                settings, kept, Opened(self.open), read_texts(settings, prompts), None, self.told.append, most
            )
            return star_gate(loop, tasks, self.train)

    def rows(self, name: str) -> list[dict[str, Any]]:
        return read_lines(self.folder / name)

    def asked(self, engine: str) -> list[Request]:
        """The requests an engine got; `policy`: every model's."""
        return [r for name, r in self.said if name == engine or (engine == "policy" and name.startswith("hf:"))]


def write_prompts(folder: Path) -> None:
    folder.mkdir()
    for name, text in PROMPTS.items():
        (folder / f"{name}.md").write_text(text)
    examples = [json.dumps({"text": f"I'm EXAMPLE{n}."}) for n in range(8)]
    (folder / "personas_examples.jsonl").write_text("\n".join(examples))


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncing is most of a scripted run's time, and outlasting a power cut is the subject of other tests."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "run")


def value(summary: dict[str, Any], t: int, name: str) -> float:
    return summary["rounds"][t]["metrics"][name]["value"]


def pair(n: int, split: str, p: int) -> str:
    return f"task-{n} persona-{split}-{p}"


A_PAIRS = [pair(1, "a", 1), pair(2, "a", 1), pair(1, "a", 2), pair(2, "a", 2)]
B_PAIRS = [pair(3, "b", 1), pair(4, "b", 1), pair(3, "b", 2), pair(4, "b", 2)]


# The method


def test_of_each_pair_the_conversation_that_helped_most_is_kept(stage: Stage) -> None:
    stage.run()
    # Ada is helped by question 0, Bo by 1, Cy by 2, Di by 0.
    assert [row["id"] for row in stage.rows("round-1/selected.jsonl")] == [
        f"{A_PAIRS[0]} #0",
        f"{A_PAIRS[1]} #0",
        f"{A_PAIRS[2]} #1",
        f"{A_PAIRS[3]} #1",
    ]
    assert [row["id"][-1] for row in stage.rows("round-2/selected.jsonl")] == ["2", "2", "0", "0"]


def test_what_is_kept_is_trained_on_in_its_order_questions_and_answer(stage: Stage) -> None:
    stage.run(turns=(2,))
    rows = stage.rows("round-1/train.jsonl")
    assert [row["id"] for row in rows] == [row["id"] for row in stage.rows("round-1/selected.jsonl")]
    assert rows[2] == {
        "id": f"{A_PAIRS[2]} #1",
        "closed_by": "policy",
        "messages": [
            user("My name is Bo.\n\nWhere should we eat?"),
            assistant("Q1 of m_0, 1?"),
            user("Bo hears Q1."),
            assistant("Q1 of m_0, 2?"),
            user("Bo hears Q1.\n\nWhere should we eat?"),
            assistant("m_0 answers, told PERSONALISE."),
        ],
        "weights": [0.0, 1.0, 0.0, 1.0, 0.0, 1.0],
    }


def test_no_row_holds_a_persona_or_an_instruction(stage: Stage) -> None:
    stage.run()
    for t in (1, 2):
        text = json.dumps([row["messages"][:-1] for row in stage.rows(f"round-{t}/train.jsonl")])
        assert not re.search("secret|ASK|PERSONALISE|NEUTRAL|system", text)


def test_the_policy_is_told_a_name_and_a_task_and_never_a_persona(stage: Stage) -> None:
    stage.run()
    assert len(stage.asked("policy")) > 100
    assert not any("secret" in text_of(request.chat) for request in stage.asked("policy"))
    assert all("secret" in text_of(request.chat) for request in stage.asked("toy:roleplayer"))


def test_splits_alternate_and_test_is_never_trained_on(stage: Stage) -> None:
    stage.run(rounds=3)
    for t, pairs in ((1, A_PAIRS), (2, B_PAIRS), (3, A_PAIRS)):
        rows = stage.rows(f"round-{t}/conversations.jsonl")
        assert list(dict.fromkeys(row["situation"] for row in rows)) == pairs
        assert {row["id"].rpartition(" #")[0] for row in stage.rows(f"round-{t}/train.jsonl")} == set(pairs)


def test_each_round_is_played_by_the_model_of_the_last_and_trained_from_m_0(stage: Stage) -> None:
    stage.run(rounds=3)
    assert stage.trained == [("hf:base", f"round-{t}/train.jsonl", Training(), 5) for t in (1, 2, 3)]
    for t in (1, 2, 3):
        questions = {q for row in stage.rows(f"round-{t}/conversations.jsonl") for q, _ in row["turns"]}
        assert {re.findall(r"m_\d", question)[0] for question in questions} == {f"m_{t - 1}"}
        assert all(
            row["messages"][-1]["content"].startswith(f"m_{t - 1} ") for row in stage.rows(f"round-{t}/train.jsonl")
        )


def test_m_0_scores_every_round_whoever_asked(stage: Stage) -> None:
    stage.run(rounds=2)
    assert set(stage.scored) == {"hf:base"}


def test_a_pair_has_as_many_turns_for_every_model_and_in_each_of_its_conversations(stage: Stage) -> None:
    stage.run(rounds=3)
    turns: dict[str, set[int]] = {}
    for name in ("round-0/test", "round-1/test", "round-2/test", "round-3/test"):
        for row in stage.rows(f"{name}-conversations.jsonl"):
            turns.setdefault(row["situation"], set()).add(len(row["turns"]))
    for t in (1, 2, 3):
        for row in stage.rows(f"round-{t}/conversations.jsonl"):
            turns.setdefault(row["situation"], set()).add(len(row["turns"]))
    assert all(len(counts) == 1 for counts in turns.values())
    assert len(set.union(*turns.values())) > 1


def test_the_number_of_turns_is_drawn_evenly_by_the_seed() -> None:
    many = [StarGate.model_validate(SETTINGS | {"seed": seed}) for seed in range(300)]
    drawn = Counter(turns_of(settings, "task-1 persona-a-1") for settings in many)
    assert drawn.keys() == {1, 2, 3}
    assert min(drawn.values()) > 70


def test_a_run_ends_with_a_summary_of_every_round(stage: Stage) -> None:
    summary = stage.run()
    assert summary == json.loads((stage.folder / "summary.json").read_text())
    assert summary["recipe"] == "star-gate"
    assert [entry["round"] for entry in summary["rounds"]] == [0, 1, 2]
    assert (value(summary, 1, "win_rate"), value(summary, 2, "win_rate")) == (1.0, 1.0)
    assert (value(summary, 2, "win_rate_questions_alone"), value(summary, 2, "win_rate_answers_alone")) == (0.5, 1.0)
    assert (value(summary, 0, "win_rate"), value(summary, 0, "win_rate_personalised")) == (0.5, 0.5)
    assert (value(summary, 2, "win_rate_on_specific"), value(summary, 2, "win_rate_on_general")) == (1.0, 1.0)
    assert (value(summary, 2, "conversations_held"), summary["rounds"][2]["failed"]) == (1.0, {})
    assert (value(summary, 0, "oracle_log_prob_floor"), value(summary, 0, "oracle_log_prob_ceiling")) == (-50, -10)
    assert summary["verdict"].startswith(
        "round 2 did not improve (p = 0.500): its answers are preferred to m_0's in 100.0% of 4"  # no two tasks could
    )


def test_every_call_is_counted_under_its_role(stage: Stage) -> None:
    calls = stage.run()["calls"]
    asked = Counter("policy" if name.startswith("hf:") else name.removeprefix("toy:") for name, _ in stage.said)
    assert {role: count["calls"] for role, count in calls.items()} == asked


def test_every_evaluated_item_has_a_line(stage: Stage) -> None:
    stage.run()
    lines = Counter((row["round"], row["item"]) for row in stage.rows("eval.jsonl"))
    assert lines == {
        (0, "verdict"): 4,  # four pairs, m_0 told to personalise
        (1, "verdict"): 12,  # own, questions alone, answers alone
        (2, "verdict"): 12,
        (0, "log_prob"): 8,
        (1, "log_prob"): 8,
        (2, "log_prob"): 8,
    }


def test_what_happens_is_told_as_it_happens(stage: Stage) -> None:
    stage.run(rounds=1)
    ended = [event["stage"] for event in stage.told if event["event"] == "stage" and event.get("ended")]
    assert [name for name in ended if not name.startswith("round-0") and "test" not in name] == [
        "personas.jsonl",
        "situations.jsonl",
        "round-1/conversations.jsonl",
        "round-1/signals.jsonl",
        "round-1/selected.jsonl",
        "round-1/train.jsonl",
    ]
    assert [event["round"] for event in stage.told if event["event"] == "round"] == [0, 1]


# Settings and ablations


def test_the_defaults_are_the_papers() -> None:
    paper = StarGate()
    assert (paper.task_splits, paper.personas) == ((250, 250, 50), (50, 50, 10))
    assert (paper.samples, paper.keep, paper.turns) == (10, 1, (1, 2, 3))
    assert (paper.questioner.temperature, paper.questioner.top_p, paper.questioner.max_tokens) == (0.9, 0.9, 700)
    assert (paper.answerer.temperature, paper.roles.roleplayer.temperature) == (0, 0)
    assert (paper.roles.author.temperature, paper.roles.oracle.max_tokens) == (1.4, 300)
    assert (paper.signal, paper.selection, paper.closing, paper.closing_instruction) == (
        "log_prob",
        "best",
        "own",
        "personalise",
    )
    assert (paper.elicit, paper.init) == ("always", "base")
    assert (paper.training.learning_rate, paper.training.epochs, paper.training.batch_size) == (2e-5, 1, 64)


def test_trained_on_from_the_previous_model_where_that_is_set(stage: Stage) -> None:
    stage.run(init="previous")
    assert [start for start, *_ in stage.trained] == ["hf:base", f"hf:{stage.folder}/round-1/checkpoint"]


def test_random_selection_does_not_look_at_values(stage: Stage, tmp_path: Path) -> None:
    stage.run(selection="random", samples=8)
    other = Stage(tmp_path / "other", score=lambda chat, target: -1.0 if target == "Hello." else -float(len(chat)))
    other.run(selection="random", samples=8)
    kept = [row["id"] for row in stage.rows("round-1/selected.jsonl")]
    assert kept == [row["id"] for row in other.rows("round-1/selected.jsonl")]
    assert [id.rpartition(" #")[0] for id in kept] == A_PAIRS  # still one a pair
    assert [int(id[-1]) for id in kept] != [0, 0, 1, 1]


def test_several_may_be_kept_of_each_pair_best_first(stage: Stage) -> None:
    stage.run(keep=2)
    rows = stage.rows("round-1/train.jsonl")
    assert [row["id"][-1] for row in rows] == ["0", "1", "0", "1", "1", "0", "1", "0"]
    assert all(row["messages"][-1]["content"] == "m_0 answers, told PERSONALISE." for row in rows)


def test_without_a_regulariser_a_row_ends_with_the_last_question(stage: Stage) -> None:
    stage.run(closing="none", turns=(2,))
    for row in stage.rows("round-1/train.jsonl"):
        assert row["messages"][-1]["content"].endswith("of m_0, 2?")
        assert (row["weights"], row["closed_by"]) == ([0.0, 1.0, 0.0, 1.0], "none")


def test_trained_on_oracle_responses_a_row_ends_with_the_oracles(stage: Stage) -> None:
    stage.run(closing="oracle")
    rows = stage.rows("round-1/train.jsonl")
    assert rows[0]["messages"][-1] == assistant("Ada should know: Where should we eat?")
    assert {row["closed_by"] for row in rows} == {"oracle"}
    assert all(row["weights"][-1] == 1.0 for row in rows)


@pytest.mark.parametrize("closing", ["none", "oracle"])
def test_the_policy_is_not_asked_for_answers_that_are_not_used(stage: Stage, closing: str) -> None:
    stage.run(closing=closing)
    under = [r for r in stage.asked("policy") if text_of(r.chat).startswith("PERSONALISE")]
    assert len(under) == 4  # m_0 told to personalise, on test


def test_the_closing_answer_may_be_given_under_a_neutral_instruction_dropped_like_the_other(stage: Stage) -> None:
    stage.run(closing_instruction="neutral")
    rows = stage.rows("round-1/train.jsonl")
    assert {row["messages"][-1]["content"] for row in rows} == {"m_0 answers, told NEUTRAL."}
    assert "NEUTRAL" not in json.dumps([row["messages"][:-1] for row in rows])


def generic(chat: Chat, target: str) -> float:
    """Question 2 helps everybody a good deal; the favourite helps only its own user, a little less."""
    if target == "Hello.":
        return -1.0
    text, own = text_of(chat), NAMES.index(target.split()[0]) % 2
    return -50.0 + 12 * ("Q2 of" in text) + 10 * (f"Q{own} of" in text)


def test_information_gain_takes_away_what_a_conversation_lends_to_anybody(tmp_path: Path) -> None:
    plain, gain = Stage(tmp_path / "plain", score=generic), Stage(tmp_path / "gain", score=generic)
    plain.run()
    gain.run(signal="information_gain")
    assert [row["id"][-1] for row in plain.rows("round-1/selected.jsonl")] == ["2", "2", "2", "2"]
    assert [row["id"][-1] for row in gain.rows("round-1/selected.jsonl")] == ["0", "0", "1", "1"]
    first = gain.rows("round-1/signals.jsonl")[0]
    assert (first["log_prob"], first["for_another"]) == (-40.0, -50.0)
    assert gain.rows("round-1/selected.jsonl")[0]["value"] == 10.0


def test_information_gain_needs_somebody_to_compare_with() -> None:
    with pytest.raises(SettingsError, match=r"personas = \(1, 2, 2\): information_gain compares personas"):
        StarGate.load([SETTINGS | {"personas": [1, 2, 2], "signal": "information_gain"}])


def worse_for_bo(chat: Chat, target: str) -> float:
    """Whatever is asked, Bo's response becomes less likely."""
    return score(chat, target) - 100 * (target.startswith("Bo") and len(chat) > 1)


def test_pairs_whose_best_conversation_does_not_beat_the_floor_may_be_left_out(tmp_path: Path) -> None:
    plain, above = Stage(tmp_path / "plain", score=worse_for_bo), Stage(tmp_path / "above", score=worse_for_bo)
    plain.run()
    above.run(keep_if_above_floor=True, keep=3)
    assert len(plain.rows("round-1/train.jsonl")) == 4
    assert [row["id"] for row in above.rows("round-1/train.jsonl")] == [f"{p} #0" for p in A_PAIRS[:2]]
    assert above.rows("round-1/signals.jsonl")[0]["floor"] == -50.0


def test_keep_if_above_floor_holds_for_random_selection_too(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "run", score=worse_for_bo)
    stage.run(keep_if_above_floor=True, selection="random")
    assert [row["id"] for row in stage.rows("round-1/selected.jsonl")] == [f"{p} #0" for p in A_PAIRS[:2]]


@pytest.mark.parametrize("elicit, told", [("always", {"m_0", "m_1", "m_2"}), ("first round", {"m_0"})])
def test_who_is_told_to_ask_is_a_setting(stage: Stage, elicit: str, told: set[str]) -> None:
    stage.run(elicit=elicit)
    assert {model_name(name) for name, r in stage.said if text_of(r.chat).startswith("ASK")} == told


def test_another_roleplayer_may_stand_on_test_and_there_alone(stage: Stage) -> None:
    stage.others["toy:terse"] = lambda _: "Maybe."
    stage.run(roles=ROLES | {"test_roleplayer": {"engine": "toy:terse"}})
    replies = {
        name: {reply for row in stage.rows(name) for _, reply in row["turns"]}
        for name in (
            "round-1/conversations.jsonl",
            "round-0/test-conversations.jsonl",
            "round-2/test-conversations.jsonl",
        )
    }
    assert "Maybe." not in replies["round-1/conversations.jsonl"]
    assert replies["round-0/test-conversations.jsonl"] == replies["round-2/test-conversations.jsonl"] == {"Maybe."}


def test_a_roleplayer_without_an_engine_of_its_own_is_m_0_in_every_round(stage: Stage) -> None:
    def both(model: str, request: Request) -> str:
        return play(request) if text_of(request.chat).startswith("PLAY") else speak(model, request)

    stage.speak = both
    stage.run(roles={name: player for name, player in ROLES.items() if name != "roleplayer"})
    assert {model_name(name) for name, r in stage.said if text_of(r.chat).startswith("PLAY")} == {"m_0"}


def test_m_0_judges_its_own_successors_only_where_it_is_told_to(stage: Stage) -> None:
    def both(model: str, request: Request) -> str:
        return judge(request) if text_of(request.chat).startswith("JUDGE") else speak(model, request)

    stage.speak = both
    summary = stage.run(roles=ROLES | {"judge": {"engine": "base"}}, rounds=1)
    assert value(summary, 1, "win_rate") == 1.0
    assert {model_name(name) for name, r in stage.said if text_of(r.chat).startswith("JUDGE")} == {"m_0"}
    assert stage.asked("toy:judge") == []


def test_roles_speak_as_their_settings_say_and_the_seed_reaches_every_engine(stage: Stage) -> None:
    stage.run(questioner={"temperature": 0.7, "top_p": 0.8, "max_tokens": 30}, answerer={"max_tokens": 90})
    asking = [r.sampling for r in stage.asked("policy") if text_of(r.chat).startswith("ASK")]
    closing = [r.sampling for r in stage.asked("policy") if text_of(r.chat).startswith("PERSONALISE")]
    assert {(s.temperature, s.top_p, s.max_tokens) for s in asking} == {(0.7, 0.8, 30)}
    assert {(s.temperature, s.max_tokens) for s in closing} == {(0, 90)}
    assert {request.sampling.seed for _, request in stage.said} == {5}


# Closing answers


def asking_back(model: str, request: Request) -> str:
    reply = speak(model, request)
    return "What would you like?" if reply.startswith("m_1 answers") and "PERSONALISE" in reply else reply


def test_a_closing_answer_that_only_asks_back_is_replaced_by_m_0s(stage: Stage) -> None:
    stage.speak = asking_back
    summary = stage.run()
    rows = stage.rows("round-2/train.jsonl")
    assert {(row["closed_by"], row["messages"][-1]["content"]) for row in rows} == {
        ("base", "m_0 answers, told PERSONALISE.")
    }
    assert {row["closed_by"] for row in stage.rows("round-1/train.jsonl")} == {"policy"}
    assert "closing_answers_replaced" not in summary["rounds"][0]["metrics"]  # nothing was trained on
    assert (value(summary, 1, "closing_answers_replaced"), value(summary, 2, "closing_answers_replaced")) == (0.0, 1.0)


def test_the_share_of_closing_answers_replaced_counts_a_pair_once_however_many_of_its_rows_are_kept(
    stage: Stage,
) -> None:
    def only_to_bo_after_question_1(model: str, request: Request) -> str:
        reply, text = speak(model, request), text_of(request.chat)
        back = reply == "m_0 answers, told PERSONALISE." and "Bo" in text and "Q1 of" in text
        # m_0 asks back once; asked again, as the stand-in, it answers.
        return "What would you like?" if back and not_yet(text) else reply

    seen: set[str] = set()

    def not_yet(text: str) -> bool:
        return text not in seen and not seen.add(text)

    stage.speak = only_to_bo_after_question_1
    found = stage.run(keep=2, rounds=1)["rounds"][1]["metrics"]["closing_answers_replaced"]
    assert Counter(row["closed_by"] for row in stage.rows("round-1/train.jsonl")) == {"policy": 6, "base": 2}
    assert (found["value"], found["n"]) == (0.25, 4)


def test_where_m_0_asks_back_as_well_the_conversation_is_a_failure_and_is_not_learned(stage: Stage) -> None:
    def both(model: str, request: Request) -> str:
        reply = speak(model, request)
        only_ada = "Ada" in text_of(request.chat) and reply.startswith("m_0 answers, told PERS")
        return "What would you like?" if only_ada else reply

    stage.speak = both
    stage.run(rounds=1)
    assert [row["id"] for row in stage.rows("round-1/train.jsonl")] == [f"{p} #1" for p in A_PAIRS[2:]]
    failed = [row for row in stage.rows("failures.jsonl") if row["stage"] == "round-1/train.jsonl"]
    assert [(row["id"], row["reason"], row["detail"]) for row in failed] == [
        (f"{p} #0", "closing answer only asks back", "What would you like?") for p in A_PAIRS[:2]
    ]


def test_a_closing_answer_cut_off_is_replaced_by_m_0s(stage: Stage) -> None:
    def cut(model: str, request: Request) -> str | Completion:
        reply = speak(model, request)
        return Completion(reply, "length") if reply.startswith("m_1 answers, told PERS") else reply

    stage.speak = cut
    stage.run()
    assert {row["closed_by"] for row in stage.rows("round-2/train.jsonl")} == {"base"}


# Personas and situations


def test_each_split_has_its_own_personas_and_its_own_tasks(stage: Stage) -> None:
    stage.run()
    situations = stage.rows("situations.jsonl")
    names = {split: {s["persona"]["name"] for s in situations if s["task"]["split"] == split} for split in TASKS}
    assert names == {"a": {"Ada", "Bo"}, "b": {"Cy", "Di"}, "test": {"Ed", "Flo"}}
    assert len(situations) == 12 == len(stage.asked("toy:oracle"))


def test_every_persona_is_written_after_two_examples_of_its_own_draw(stage: Stage) -> None:
    stage.run(personas=(2, 2, 2))
    shown = [re.findall(r"EXAMPLE\d", text_of(r.chat)) for r in stage.asked("toy:author")]
    assert all(len(set(two)) == 2 for two in shown)
    # The published A and B were written from identical prompts.
    assert shown[:2] != shown[2:4]
    assert [r.sample_index for r in stage.asked("toy:author")] == list(range(6))


def test_a_persona_written_for_two_splits_stays_in_the_first_and_the_rest_goes_on(stage: Stage) -> None:
    stage.others["toy:author"] = lambda r: "I'm ADA. The same." if r.sample_index in (0, 3) else write(r)
    stage.run()
    rows = read_lines(stage.folder / "personas.jsonl")
    assert [row["id"] for row in rows if row["text"] == "I'm ADA. The same."] == ["persona-a-1"]
    assert [f.reason for f in Run(stage.folder).failures["personas.jsonl"]] == ["persona repeated"]


def test_a_persona_without_a_name_or_refused_is_a_failure_line_and_the_rest_goes_on(stage: Stage) -> None:
    stage.others["toy:author"] = lambda r: "A nameless sailor." if r.sample_index == 0 else write(r)

    def oracle(request: Request) -> str | Completion:
        text = text_of(request.chat)
        if text.startswith("CONTENT"):
            return Completion("Filtered.", "refused") if "I'm DI" in text else "Gladly."
        return Completion("No.", "refused") if "I'm ED" in text and "Where to?" in text else respond(request)

    stage.others["toy:oracle"] = oracle
    stage.run(check_content=True)
    assert [(row["stage"], row["id"], row["reason"], row["detail"]) for row in stage.rows("failures.jsonl")] == [
        ("personas.jsonl", "persona-a-1", "persona without a first name", "A nameless sailor."),
        ("personas-checked.jsonl", "persona-b-2", "oracle refused", "Filtered."),
        ("situations.jsonl", pair(5, "test", 1), "oracle refused", "No."),
    ]
    assert [row["id"] for row in stage.rows("situations.jsonl")] == [
        pair(1, "a", 2),
        pair(2, "a", 2),
        pair(3, "b", 1),
        pair(4, "b", 1),
        pair(6, "test", 1),
        pair(5, "test", 2),
        pair(6, "test", 2),
    ]


# Estimates


@pytest.mark.parametrize("changes", [{}, {"check_content": True, "rounds": 3, "samples": 4, "keep": 2}])
def test_the_sizes_of_a_plan_are_those_of_the_run(stage: Stage, changes: dict[str, Any]) -> None:
    stage.others["toy:oracle"] = lambda r: "Yes." if r.chat[0]["content"].startswith("CONTENT") else respond(r)
    stage.run(**changes)
    settings = StarGate.model_validate(SETTINGS | changes)
    planned, found = sizes(settings, TASKS), done(settings, Run(stage.folder))
    assert planned == {name: found[name] for name in planned}
    assert set(found) - set(planned) == {"eval.jsonl"}


def test_a_trial_makes_a_part_of_every_stage_and_asks_only_what_the_run_will_ask(tmp_path: Path) -> None:
    whole, trial = Stage(tmp_path / "run"), Stage(tmp_path / "trial")
    whole.run()
    trial.run(most=3, rounds=1)
    settings = StarGate.model_validate(SETTINGS | {"rounds": 1})
    found = done(settings, Run(trial.folder))
    assert set(found) >= set(sizes(settings, TASKS))
    assert [row["task"]["split"] for row in trial.rows("situations.jsonl")] == ["a", "b", "test"]
    assert len(trial.rows("round-1/conversations.jsonl")) == 3
    asked = {(name, json.dumps(request.chat), request.sample_index) for name, request in whole.said}
    # Those of personas and oracle cost most; what m_1 says depends on what it was trained on.
    strong = [(name, request) for name, request in trial.said if name in ("toy:author", "toy:oracle")]
    assert strong and all((name, json.dumps(r.chat), r.sample_index) in asked for name, r in strong)


# At the door


class Mute:
    """An engine that speaks and cannot score."""

    batch_size = 1

    def generate(self, requests: Any) -> Any:
        raise AssertionError("called")


def test_a_policy_that_cannot_score_is_refused_before_a_call_is_made(stage: Stage) -> None:
    usual = stage.open
    stage.open = lambda name: Mute() if name == "hf:base" else usual(name)  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="policy 'hf:base' cannot return log-probs"):
        stage.run()
    assert stage.said == []


@pytest.mark.parametrize("role", ["author", "oracle", "judge"])
def test_m_0_is_nobodys_author_oracle_or_judge_unless_it_is_named(stage: Stage, role: str) -> None:
    others = {name: player for name, player in ROLES.items() if name != role}
    with pytest.raises(SettingsError) as caught:
        stage.run(roles=others)
    assert str(caught.value) == (f"roles.{role}.engine is not set: name hf:ID, or base to let m_0 play the {role}")
    assert stage.said == stage.scored == []
    assert stage.run(roles=others | {role: ROLES[role]}, rounds=1)["recipe"] == "star-gate"  # in the same folder


@pytest.mark.parametrize("role", [*ROLES, "test_roleplayer"])
def test_an_engine_that_cannot_be_opened_is_known_before_a_call_is_made(stage: Stage, role: str) -> None:
    usual = stage.open

    def open_engine(name: str) -> Any:
        if name == "hf:nobody":
            raise EngineError("cannot open model 'nobody'")
        return usual(name)

    stage.open = open_engine  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="nobody"):
        stage.run(roles=ROLES | {role: {"engine": "hf:nobody"}})
    assert stage.said == []


@pytest.mark.parametrize("name", sorted(PROMPTS))
def test_a_missing_prompt_is_named_with_its_folder(stage: Stage, name: str) -> None:
    prompts = stage.folder.parent / "run-prompts"
    write_prompts(prompts)
    (prompts / f"{name}.md").unlink()
    with pytest.raises(SettingsError, match=rf"no file {name}\.md in {re.escape(str(prompts))}"):
        stage.run(check_content=True)


def test_no_content_prompt_is_needed_where_content_is_not_checked(stage: Stage) -> None:
    prompts = stage.folder.parent / "run-prompts"
    write_prompts(prompts)
    (prompts / "content.md").unlink()
    assert stage.run(rounds=1)["recipe"] == "star-gate"


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"text": "a"}\n{"text": ', r"personas_examples\.jsonl:2: not a JSON object with a text"),
        ('{"text": "a"}\n\n{"name": "b"}', r"personas_examples\.jsonl:3: not a JSON object with a text"),
        ('["a"]', r"personas_examples\.jsonl:1: not a JSON object with a text"),
        ('{"text": "a"}\n', "1 example persona"),
    ],
)
def test_bad_example_personas_are_told_by_file_and_line(stage: Stage, text: str, message: str) -> None:
    prompts = stage.folder.parent / "run-prompts"
    write_prompts(prompts)
    (prompts / "personas_examples.jsonl").write_text(text)
    with pytest.raises((DataError, SettingsError), match=message):
        stage.run()


@pytest.mark.parametrize(
    "change, message",
    [
        ("keep=4", "keep = 4 is over samples = 3"),
        ("turns=[]", "needs at least one number"),
        ("turns=[0, 1]", "each 1 or more"),
        ("personas=[0, 1, 1]", r"personas = \(0, 1, 1\): A, B and test each need at least 1"),
        ("task_splits=[1, 1, 0]", r"task_splits = \(1, 1, 0\): A, B and test each need"),
        ("samples=0", "samples = 0: must be greater than or equal to 1"),
        ("sample=3", "unknown setting 'sample'; did you mean 'samples'"),
        ("roles.judge.temprature=0", r"did you mean 'roles\.judge\.temperature'"),
    ],
)
def test_an_impossible_setting_is_named_with_its_value_and_bound(change: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        StarGate.load([SETTINGS], [change])


# Going on where it was stopped


def never(*_: object) -> Any:
    raise AssertionError("called again")


def test_a_finished_run_given_again_makes_no_call_and_comes_to_the_same_summary(stage: Stage) -> None:
    first = stage.run()
    again = Stage(stage.folder)
    assert again.run() == first
    assert (again.said, again.scored, again.trained) == ([], [], [])


def test_a_stage_that_was_deleted_is_redone_and_no_other(stage: Stage) -> None:
    first = stage.run()
    trained = (stage.folder / "round-2" / "train.jsonl").read_bytes()
    for name in ("round-2/train.jsonl", "eval.jsonl", "summary.json"):
        (stage.folder / name).unlink()
    again = Stage(stage.folder)
    assert again.run()["rounds"] == first["rounds"]
    assert (stage.folder / "round-2" / "train.jsonl").read_bytes() == trained
    assert [(model_name(name), text_of(r.chat).split("\n")[0]) for name, r in again.said] == [
        ("m_1", "PERSONALISE")
    ] * 4
    assert (again.scored, again.trained) == ([], [])


def test_a_run_that_broke_in_its_second_round_goes_on_there_and_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    # The published code took round 1's files for round 2's when it was started again after a crash.
    whole, broken = Stage(tmp_path / "whole"), Stage(tmp_path / "broken")
    expected = whole.run()

    def breaking(model: str, request: Request) -> str:
        if model == "m_1" and "PERSONALISE" in text_of(request.chat):
            raise ConnectionError("the machine went away")
        return speak(model, request)

    broken.speak = breaking
    with pytest.raises(ConnectionError):
        broken.run()
    assert len(broken.trained) == 1
    again = Stage(broken.folder)
    assert again.run()["rounds"] == expected["rounds"]
    assert [rows for _, rows, *_ in again.trained] == ["round-2/train.jsonl"]
    for name in ("round-1/train.jsonl", "round-2/train.jsonl", "round-2/test-verdicts.jsonl", "eval.jsonl"):
        assert (broken.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_other_settings_are_refused_with_what_differs(stage: Stage) -> None:
    stage.run()
    with pytest.raises(RunError, match="keep: 1 -> 2"):
        stage.run(keep=2)


# Failures


def test_a_conversation_that_failed_is_a_line_and_its_pair_is_chosen_from_the_others(stage: Stage) -> None:
    def careless(model: str, request: Request) -> str:
        reply = speak(model, request)
        return reply.replace("?", ".") if reply.startswith("Q0 of m_0") and "Ada" in text_of(request.chat) else reply

    stage.speak = careless
    stage.run()
    failed = [row for row in stage.rows("failures.jsonl") if row["stage"] == "round-1/conversations.jsonl"]
    assert [(row["id"], row["reason"]) for row in failed] == [
        (f"{p} #0", "question without a question mark") for p in A_PAIRS[:2]
    ]
    assert len(stage.rows("round-1/conversations.jsonl")) == 10
    assert [row["id"] for row in stage.rows("round-1/selected.jsonl")[:2]] == [f"{p} #1" for p in A_PAIRS[:2]]


def test_too_many_failures_stop_the_run_with_the_commonest_reason_and_a_case(stage: Stage) -> None:
    stage.speak = lambda model, request: "I will not ask."
    with pytest.raises(TooManyFailures) as caught:
        stage.run()
    message = str(caught.value)
    assert "round-0/test-conversations.jsonl: 8 of 8 rollouts failed (max_failed = 0.5)" in message
    assert "Most often (8): question without a question mark. For example: 'I will not ask.'" in message
    assert not (stage.folder / "round-0" / "test-conversations.jsonl").exists()
    assert len(stage.rows("failures.jsonl")) == 8


def test_a_run_stopped_by_failures_goes_on_once_they_are_gone_and_keeps_no_stale_line(stage: Stage) -> None:
    stage.speak = lambda model, request: "I will not ask."
    with pytest.raises(TooManyFailures):
        stage.run()
    again = Stage(stage.folder)
    again.run()
    assert again.rows("failures.jsonl") == []
    assert len(again.asked("toy:author")) == 0


def test_a_share_of_failures_under_the_limit_is_let_through(stage: Stage) -> None:
    def lazy(model: str, request: Request) -> str:
        reply = speak(model, request)
        return "No." if reply.startswith("Q0") else reply

    stage.speak = lazy
    stage.run(max_failed=0.5)  # a third of training conversations, half of test's
    with pytest.raises(TooManyFailures, match=r"4 of 8 rollouts failed \(max_failed = 0.4\)"):
        Stage(stage.folder.parent / "strict", speak=lazy).run(max_failed=0.4)


def no_question_to_ed(model: str, request: Request) -> str:
    """Ask everybody but Ed, who is on test, once trained; the conversations with him break off."""
    reply = speak(model, request)
    return reply.replace("?", ".") if model != "m_0" and "Ed" in text_of(request.chat) else reply


def test_a_model_that_breaks_off_its_conversations_loses_those_pairs_and_it_is_told_why(stage: Stage) -> None:
    stage.speak = no_question_to_ed
    summary = stage.run()
    assert (value(summary, 1, "win_rate"), value(summary, 2, "win_rate")) == (0.5, 0.5)
    assert summary["rounds"][2]["metrics"]["win_rate"]["n"] == 4
    assert summary["rounds"][2]["judge"]["win_rate"]["spoiled"] == 0.5
    assert [value(summary, t, "conversations_held") for t in (0, 1, 2)] == [1.0, 0.5, 0.5]
    assert [entry["failed"] for entry in summary["rounds"]] == [
        {},
        {"question without a question mark": 4},
        {"question without a question mark": 4},
    ]
    assert summary["verdict"].startswith("round 2 did not improve (p = 1.000): ")


def test_every_pair_that_came_to_nothing_has_its_line_among_what_was_evaluated(stage: Stage) -> None:
    stage.speak = no_question_to_ed
    stage.run()
    own = [r for r in stage.rows("eval.jsonl") if r["item"] == "verdict" and r["voice"] == "own" and r["round"] == 2]
    assert {row["situation"]: (row["value"], row["spoiled"]) for row in own} == {
        pair(5, "test", 1): (0.0, True),
        pair(6, "test", 1): (0.0, True),
        pair(5, "test", 2): (1.0, False),
        pair(6, "test", 2): (1.0, False),
    }


def test_where_m_0_broke_off_its_conversations_no_later_model_is_compared_with_it(stage: Stage) -> None:
    stage.speak = lambda model, r: (
        speak(model, r).replace("?", ".") if model == "m_0" and "Ed" in text_of(r.chat) else speak(model, r)
    )
    summary = stage.run()
    for t, voices in ((0, ["personalised"]), (2, ["own", "questions_alone", "answers_alone"])):
        lines = [(row["voice"], row["situation"]) for row in stage.rows(f"round-{t}/test-verdicts.jsonl")]
        assert lines == [(voice, pair(n, "test", 2)) for voice in voices for n in (5, 6)]
    assert summary["rounds"][2]["metrics"]["win_rate"]["n"] == 2
    assert [value(summary, t, "conversations_held") for t in (0, 1)] == [0.5, 1.0]


def test_a_bug_is_raised_and_never_swallowed(stage: Stage) -> None:
    def buggy(request: Request) -> str:
        raise KeyError("a bug")

    stage.others["toy:judge"] = buggy
    with pytest.raises(KeyError, match="a bug"):
        stage.run()


def test_an_unreadable_judge_leaves_the_verdict_open(stage: Stage) -> None:
    stage.others["toy:judge"] = lambda _: "Final Response: A or B"
    summary = stage.run()
    assert summary["rounds"][2]["metrics"]["win_rate"] is None
    assert summary["rounds"][2]["judge"]["win_rate"]["unreadable"] == 1.0
    assert summary["verdict"] == "round 2 could not be judged: no verdict was readable"


def test_a_judge_that_crashed_costs_its_own_stage_alone(stage: Stage) -> None:
    # The published ratings were lost whole by one error, and m_3 was rated four times.
    def crash(request: Request) -> str:
        raise ConnectionError("rate limit")

    stage.others["toy:judge"] = crash
    with pytest.raises(ConnectionError):
        stage.run(rounds=1)
    again = Stage(stage.folder)
    again.run(rounds=1)
    assert {name for name, r in again.said if text_of(r.chat).startswith(("PERSONA ", "ORACLE"))} == set()
    assert len(stage.rows("round-0/test-answers.jsonl")) == 8


def test_a_sampler_that_does_not_hold_the_trained_weights_stops_the_run(stage: Stage) -> None:
    stage.score = lambda chat, target: -2.0 if target == "Hello." else score(chat, target)
    with pytest.raises(TrainingError, match="does not hold the weights that were trained"):
        stage.run()


def test_a_checkpoint_is_checked_again_when_a_run_goes_on(stage: Stage) -> None:
    stage.run(rounds=1)
    (stage.folder / "round-1" / "checkpoint" / "canary.json").unlink()
    with pytest.raises(TrainingError, match="was not written by a training job"):
        stage.run(rounds=1)


# What broke in the published code, and is not named above


def test_one_refusal_moves_no_response_to_another_task(stage: Stage) -> None:
    # A string in place of a list was flattened letter by letter, which shifted every later response.
    stage.others["toy:oracle"] = lambda r: Completion("C", "refused") if "I'm ADA" in text_of(r.chat) else respond(r)
    stage.run()
    for row in stage.rows("situations.jsonl"):
        assert row["oracle"] == f"{row['persona']['name']} should know: {row['task']['text']}"


def test_rows_are_built_from_structure_so_template_marks_in_a_task_are_plain_text(stage: Stage) -> None:
    stage.run()
    row = next(row for row in stage.rows("round-1/train.jsonl") if row["id"].startswith("task-2"))
    assert row["messages"][0] == user("My name is Ada.\n\nWhat [INST] is it?")
    assert row["messages"][-2]["content"].endswith("\n\nWhat [INST] is it?")


def test_another_list_of_personas_is_never_matched_with_what_was_made_of_the_old_one(stage: Stage) -> None:
    # Files were matched by keys made of positions: a list made anew left every later file stale without a word.
    stage.run()
    with pytest.raises(RunError, match=r"personas: \[2, 2, 2\] -> \[2, 2, 3\]"):
        stage.run(personas=(2, 2, 3))


def test_conversations_of_one_pair_never_widen_the_sample(stage: Stage) -> None:
    # Standard errors counted the ten conversations of a pair as ten independent ones.
    summary = stage.run(test_samples=6)
    assert summary["rounds"][0]["metrics"]["oracle_log_prob"]["n"] == 4


def test_what_is_judged_was_not_chosen_by_the_oracles_response(stage: Stage, tmp_path: Path) -> None:
    # The older published design judged the conversation that scored best with the gold answer.
    other = Stage(tmp_path / "other", score=lambda c, t: -1.0 if t == "Hello." else -random.Random(text_of(c)).random())
    stage.run(rounds=1, test_samples=6)
    other.run(rounds=1, test_samples=6)
    judged = [
        {row["situation"]: row["conversation"] for row in s.rows("round-0/test-answers.jsonl")} for s in (stage, other)
    ]
    assert judged[0] == judged[1]


# The verdict


def won(mean: float, low: float | None, high: float | None, p: float = 0.001) -> Examined:
    return Examined({"win_rate": Interval(mean, low, high, 40, p)}, {}, {})


@pytest.mark.parametrize(
    "examined, word",
    [
        (won(0.7, 0.6, 0.8), "round 1 improved (p = 0.001): "),
        (won(0.3, 0.2, 0.4), "round 1 got worse (p = 0.001): "),
        (won(0.55, 0.45, 0.65, 0.3), "round 1 did not improve (p = 0.300): "),
        (won(0.55, 0.5, 0.65, 0.05), "round 1 did not improve (p = 0.050): "),
        (won(1.0, None, None), "round 1 could not be judged: "),
        (Examined({"win_rate": None}, {}, {}), "round 1 could not be judged: "),
        (Examined({}, {}, {}), "round 1 could not be judged: "),
    ],
)
def test_a_round_that_did_not_improve_says_so(examined: Examined, word: str) -> None:
    assert verdict([won(0.5, None, None), examined]).startswith(word)


def test_the_verdict_says_how_much_of_the_gain_is_about_the_user() -> None:
    m_0, m_1 = won(0.5, 0.5, 0.5), won(0.7, 0.6, 0.8)
    assert "nats" not in verdict([m_0, m_1])  # where a task has one persona it is not known
    m_0.metrics["experimental_minus_shuffled"] = Interval(0.0, -1.0, 1.0, 40)
    m_1.metrics["experimental_minus_shuffled"] = Interval(3.25, 2.0, 4.0, 40)
    assert verdict([m_0, m_1]).endswith("; experimental minus shuffled 0.0 -> 3.2 nats")


# Rolling back, and gauges


def m_1_loses(request: Request) -> str:
    first, second = (number == "1" for number in re.findall(r"> m_(\d)", request.chat[0]["content"]))
    return "Final Response: " + ("tie" if first == second else "B" if first else "A")


EIGHT: Splits = {
    **TASKS,
    "test": [Task(f"test-{at}", f"Where to, {at}?", "specific", "test") for at in range(8)],
}
"""As many tasks as a verdict takes."""


@pytest.mark.parametrize("roll_back", [True, False])
def test_after_a_round_that_got_worse_the_best_rolls_out_where_that_is_set(tmp_path: Path, roll_back: bool) -> None:
    stage = Stage(tmp_path / "run", others={"toy:judge": m_1_loses})
    summary = stage.run(EIGHT, personas=(1, 1, 1), roll_back=roll_back)
    back = ", rolled back to round 0" if roll_back else ""
    assert summary["rounds"][1]["verdict"] == f"got worse (p = 0.008 against round 0){back}"
    assert summary["rounds"][2]["verdict"] == "did not improve (p = 1.000 against round 0)"
    asked = {question for row in stage.rows("round-2/conversations.jsonl") for question, _ in row["turns"]}
    assert {"m_0" in question for question in asked} == {roll_back}
    assert {start for start, _, _, _ in stage.trained} == {"hf:base"}  # as published, whoever rolls out
    tried = [
        {(row["situation"], row["id"].rpartition("#")[2]) for row in stage.rows(f"round-{t}/conversations.jsonl")}
        for t in (1, 2)
    ]
    assert not tried[0] & tried[1], "m_0 has other conversations than those that spoiled m_1"
    there = [{situation.split()[0] for situation, _ in those} for those in tried]
    assert (there[0] == there[1]) == roll_back, "and of the split that it has not learned from"


def test_ten_pairs_of_one_task_are_one_draw(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "run", others={"toy:judge": m_1_loses})
    one: Splits = {**TASKS, "test": TASKS["test"][:1]}
    assert stage.run(one, personas=(1, 1, 4), rounds=1)["rounds"][1]["verdict"] == "could not be judged"


def test_questions_and_answers_are_gauged_in_every_round(stage: Stage) -> None:
    for entry in stage.run()["rounds"]:
        gauges = {name: entry["metrics"][name]["value"] for name in ("distinct_questions", "questions_a_turn")}
        assert gauges["questions_a_turn"] == 1.0
        assert 0.0 < gauges["distinct_questions"] <= 6 / 8  # two samples of at most three turns each, of four pairs
        assert entry["warnings"] == []
        assert ("contaminated" in entry["metrics"]) == (entry["round"] > 0)
