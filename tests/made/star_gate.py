"""A run of STaR-GATE that nobody ran."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from sparring.evals.asking import Examined, evaluated
from sparring.recipes.star_gate import StarGate, read_texts
from sparring.report.star_gate import ROWS
from sparring.rollouts.conversation import Conversation
from sparring.rollouts.situation import Persona, Situation
from sparring.runs import Run
from sparring.tasks import Split, Task
from tests.made.desk import Desk, Stopped, Text, metrics_of, share

PROMPTS = Path(__file__).parents[2] / "src/sparring/recipes/prompts/star_gate"
PERSONAS = 2
"""Of each split."""


def make_star_gate(
    path: Path,
    pairs: int = 4,
    samples: int = 3,
    rounds: int = 2,
    text: Text | None = None,
    *,
    until: str | None = None,
    test_pairs: int | None = None,
    long: bool = False,
) -> Path:
    """Write a run of so many pairs of task and persona in A, in B, and on test (`test_pairs`), and return its path.

    Of a round there are pairs * samples conversations, on test 2 of each pair. `text` may replace any text (`Text`).
    `until`: the last stage that is there ("round-1/train.jsonl"), of a run in the middle. `long`: turns of natural
    length, and not of a world's.
    """
    desk = Desk(path, text, until)
    settings = StarGate(rounds=rounds, samples=samples, test_samples=2)
    roles = ("author", "oracle", "roleplayer", "judge")
    engines = {role: f"world:concierge/{role}" for role in roles} | {"policy": "world:concierge/policy"}
    desk.record("star-gate", settings.model_dump(mode="json"), read_texts(settings, PROMPTS)[0], engines)
    made = _StarGate(desk, pairs, test_pairs or max(1, pairs // 2), samples, long)
    with suppress(Stopped):
        made.all(rounds)
    desk.close()
    return path


class _StarGate:
    def __init__(self, desk: Desk, pairs: int, test_pairs: int, samples: int, long: bool):
        self.desk, self.samples, self.long = desk, samples, long
        self.counts: dict[Split, int] = {"a": pairs, "b": pairs, "test": test_pairs}

    def all(self, rounds: int) -> None:
        desk = self.desk
        situations = {split: self.situations(split, count) for split, count in self.counts.items()}
        personas = {s.persona.id: asdict(s.persona) for those in situations.values() for s in those}
        desk.rolled_out("personas.jsonl", personas.values(), 0, "author")
        rows = [s.row() for those in situations.values() for s in those]
        desk.rolled_out("situations.jsonl", rows, 1, "oracle")
        found = [self.examined(0, situations["test"])]
        for t in range(rounds):
            self.round(t + 1, situations["a" if t % 2 == 0 else "b"])
            found.append(self.examined(t + 1, situations["test"]))
        desk.lines("eval.jsonl", evaluated(Run(desk.path), rounds + 1))
        told = f"round {rounds} improved: its answers are preferred to m_0's in 92.3% of {self.counts['test']} pairs"
        desk.summary("star-gate", found, told, "oracle")

    def situations(self, split: Split, count: int) -> list[Situation]:
        desk = self.desk
        people = [
            Persona(
                desk.say("id", f"persona-{split}-{n + 1}"),
                desk.say("name", f"Maya{n}"),
                desk.say("persona", f"I am Maya{n}. I like {desk.words(8, 24)}."),
            )
            for n in range(PERSONAS)
        ]
        tasks = [
            Task(
                desk.say("id", f"task-{split}-{n + 1}"),
                desk.say("task", f"Where should we eat for {desk.words(3, 9)}?"),
                desk.say("kind", "specific" if n % 3 else "general"),
                split,
            )
            for n in range(-(-count // PERSONAS))
        ]
        those = [*product(tasks, people)][:count]
        return [
            Situation(task, person, desk.say("oracle", self.sentence("Book a bistro with"))) for task, person in those
        ]

    def sentence(self, begin: str) -> str:
        return f"{begin} {self.desk.words(30, 90) if self.long else self.desk.words(4, 9)}."

    def conversations(self, situations: Sequence[Situation], samples: int) -> list[Conversation]:
        desk = self.desk
        return [
            Conversation(situation, index, tuple(self.turn() for _ in range(1 + at % 3)))
            for at, situation in enumerate(situations)
            for index in range(samples)
            if desk.rng.random() > 0.02 or index == 0
        ]

    def turn(self) -> tuple[str, str]:
        desk = self.desk
        question = desk.say("question", self.sentence("What would you say of").replace(".", "?"))
        return question, desk.say("reply", self.sentence("I would rather have"))

    def round(self, t: int, situations: Sequence[Situation]) -> None:
        desk, folder = self.desk, f"round-{t}"
        talks = self.conversations(situations, self.samples)
        failed = len(situations) * self.samples - len(talks)
        desk.rolled_out(f"{folder}/conversations.jsonl", [c.row() for c in talks], failed, "policy", "roleplayer")
        worth: dict[str, float | None] = {c.id: -desk.rng.expovariate(0.1) for c in talks}
        if len(talks) > 2:
            worth[talks[1].id] = None  # too long for the scorer
        desk.lines(f"{folder}/signals.jsonl", [{"id": id, "log_prob": value} for id, value in worth.items()])
        best: dict[str, Conversation] = {}
        for talk in sorted(talks, key=lambda c: -1e9 if worth[c.id] is None else worth[c.id] or 0.0, reverse=True):
            best.setdefault(talk.situation.id, talk)
        desk.lines(f"{folder}/selected.jsonl", [{"id": c.id, "value": worth[c.id]} for c in best.values()])
        rows = [self.closed(c) for c in best.values()]
        desk.rolled_out(f"{folder}/train.jsonl", rows, 0, "policy")
        desk.checkpoint(f"{folder}/checkpoint", "sft", len(rows))

    def closed(self, conversation: Conversation) -> dict[str, Any]:
        example = conversation.example(self.desk.say("answer", self.sentence("For you, book")))
        return {
            "id": conversation.id,
            "closed_by": "policy",
            "messages": example.messages,
            "weights": example.weights,
        }

    def examined(self, t: int, test: Sequence[Situation]) -> Examined:
        desk, folder = self.desk, f"round-{t}"
        talks = self.conversations(test, 2)
        desk.rolled_out(f"{folder}/test-conversations.jsonl", [c.row() for c in talks], 1, "policy", "roleplayer")
        scored = [
            {"id": c.id, "situation": c.situation.id, "heard": -9.0 / (t + 1), "shuffled": -21.5}
            | {"ceiling_and_heard": -0.1}
            for c in talks
        ]
        desk.lines(f"{folder}/test-signals.jsonl", scored)
        if t == 0:
            controls = [{"situation": s.id, "floor": -15.1, "ceiling": -0.01} for s in test]
            desk.lines(f"{folder}/test-controls.jsonl", controls)
        chosen = {c.situation.id: c for c in talks}
        voices = ("own", "questions_alone", "answers_alone") if t else ("own", "personalised")
        answers = [
            {"situation": pair, "conversation": c.id, "voice": voice}
            | {"text": desk.say("answer", self.sentence("For you, book"))}
            for voice in voices
            for pair, c in chosen.items()
        ]
        desk.rolled_out(f"{folder}/test-answers.jsonl", answers, 0, "policy")
        verdicts = [
            self.verdict(s, voice, t + at) for voice in voices[not t :] for at, s in enumerate(test) if s.id in chosen
        ]
        desk.rolled_out(f"{folder}/test-verdicts.jsonl", verdicts, 0, "judge")
        judge: dict[str, dict[str, float | None]] = {
            "win_rate": {"ties": 0.14, "unreadable": 0.0, "spoiled": 0.0, "position_bias": None}
        }
        kinds = {s.task.kind or "": share(t, 1) for s in test}
        metrics = metrics_of(ROWS, t) | {f"win_rate_on_{kind}": found for kind, found in kinds.items()}
        return Examined(metrics, {}, {}, judge=judge, failed={desk.say("job", "question repeated"): 1})

    def verdict(self, situation: Situation, voice: str, at: int) -> dict[str, Any]:
        value, first, second = [(1.0, "a", "b"), (0.5, "tie", "tie"), (0.0, "b", "a"), (None, None, None)][at % 4]
        row = {"situation": situation.id, "voice": voice, "kind": situation.task.kind, "value": value}
        return row | {"ours_first": first, "theirs_first": second, "spoiled": value is None}
