"""A run of SPaR that nobody ran."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from sparring.engines.base import Generator
from sparring.evals.certificate import certify
from sparring.evals.instructed import Examined, answered, obeyed
from sparring.evals.judging import outcomes, readings
from sparring.files import write_json
from sparring.flow import Role
from sparring.recipes.spar_audit import CERTIFICATE, VOTES
from sparring.recipes.spar_settings import SPaR
from sparring.report.spar import ROWS
from sparring.rollouts.pairs import Attempt, refined
from sparring.rollouts.refining import BEGIN, END
from sparring.rollouts.rejection import Caps, lessons
from sparring.rollouts.tree import Node, Refiner, Tree
from sparring.signals.judge import Judgement, Panel, Vote
from sparring.stages import read_prompts
from sparring.tasks.instructions import CHECKERS, Instructed, Instruction, Judged
from tests.made.desk import Desk, Stopped, Text, metrics_of

PROMPTS = Path(__file__).parents[2] / "src/sparring/recipes/prompts/spar"
REQUIRED = {"balanced_accuracy": 0.65, "length_bias": 0.2, "calibration_error": 0.5}
NOBODY = cast(Generator, None)
"""Chats are laid out, and nobody is asked."""


def make_spar(
    path: Path,
    prompts: int = 4,
    samples: int = 2,
    rounds: int = 2,
    text: Text | None = None,
    *,
    until: str | None = None,
    test: int | None = None,
) -> Path:
    """Write a run that tried `prompts` in each round, `samples` answers of each, and `test` others on test.

    Otherwise as `make_star_gate`.
    """
    desk = Desk(path, text, until)
    settings = SPaR.model_validate(
        {"policy": "world:instructions/policy", "prompts_a_round": prompts, "samples": samples, "rounds": rounds}
        | {"judge_require": REQUIRED}
    )
    texts = read_prompts(PROMPTS, "judge", "refine", "evolve", "valid")
    engines: dict[str, str] = dict.fromkeys(("policy", "judge", "refiner"), "world:instructions/policy")
    desk.record("spar", settings.model_dump(mode="json"), texts, engines)
    panel = Panel(Role("judge", NOBODY), texts["judge"])
    made = _SPaR(desk, panel, Refiner(Role("refiner", NOBODY), texts["refine"]), samples)
    with suppress(Stopped):
        made.all(prompts, test or max(1, prompts // 2), rounds)
    desk.close()
    return path


class _SPaR:
    def __init__(self, desk: Desk, panel: Panel, refiner: Refiner, samples: int):
        self.desk, self.panel, self.refiner, self.samples = desk, panel, refiner, samples

    def all(self, prompts: int, test: int, rounds: int) -> None:
        desk = self.desk
        shares = [self.instructed(f"train-{t + 1}", prompts) for t in range(rounds)]
        held_out = self.instructed("test", test)
        judged = [
            Judged(desk.say("id", f"judged-{n + 1}"), one.prompt, desk.say("response", desk.words(5, 20)), bool(n % 2))
            for n, one in enumerate(held_out)
        ]
        parts: dict[str, Sequence[Any]] = {"train": [one for share in shares for one in share], "test": held_out}
        parts |= {"judged": judged, "levels": self.nested()}
        rows = [{"part": part, **asdict(one)} for part, those in parts.items() for one in those]
        desk.lines("instructions.jsonl", rows)
        found = [self.examined(0, held_out, judged, parts["levels"])]
        for t, share in enumerate(shares):
            self.round(t + 1, share)
            found.append(self.examined(t + 1, held_out, judged, parts["levels"]))
        desk.lines("eval.jsonl", [{"round": t, **row} for t, one in enumerate(found) for row in one.items])
        told = f"round {rounds} improved: of {test} held-out prompts it follows 80.6%, +17.4 points on m_0"
        desk.summary("spar", found, told, "teacher")

    def instructed(self, name: str, count: int) -> list[Instructed]:
        desk, check = self.desk, Instruction("punctuation:no_comma", {})
        return [
            Instructed(
                desk.say("id", f"{name}-{n + 1}"),
                desk.say("task", f"Write about {desk.words(3, 12)}\nUse no comma"),
                (check,),
            )
            for n in range(count)
        ]

    def nested(self) -> list[Instructed]:
        one = self.instructed("group-1", 1)[0]
        return [replace(one, id=f"group-1 level-{level}", group="group-1", level=level) for level in (1, 2)]

    def attempt(self, one: Instructed, index: int) -> Attempt:
        comma = "," if self.desk.rng.random() < 0.5 else ""
        said = f"{self.desk.words(4, 15)}{comma} {self.desk.words(4, 15)}"
        return Attempt(one.id, one.prompt, index, self.desk.say("response", said))

    def judgement(self, yes: int) -> Judgement:
        """Return five votes, of which so many say Yes, and one in ten more cannot be read."""
        votes = [Vote(self.critique(at < yes), at < yes) for at in range(5)]
        if self.desk.rng.random() < 0.1:
            votes.append(Vote(self.desk.say("critique", "Hm"), None, "unreadable"))
        return Judgement.of(votes, 3)

    def critique(self, passed: bool) -> str:
        said = f"Use no comma: {'none, met' if passed else 'a comma, broken'}\nVerdict: {'Yes' if passed else 'No'}"
        return self.desk.say("critique", said)

    def tree(self, one: Attempt) -> Tree:
        """Return three refinements of an answer, and one of the first of them, which is accepted."""
        assert one.judgement
        nodes = [Node(0, None, 0, one.response, one.judgement)]
        for parent, depth, yes in ((0, 1, 1), (0, 1, 2), (0, 1, 0), (1, 2, 4)):
            better = self.desk.say("response", f"{one.response[:60]} {self.desk.words(3, 9)}")
            said = self.desk.say("refinement", f"The comma has to go.\n{BEGIN}\n{better}\n{END}")
            nodes.append(Node(len(nodes), parent, depth, better, self.judgement(yes), said))
        accepted = 4 if self.desk.rng.random() < 0.7 else None
        confirmed = self.judgement(5) if accepted else None
        return Tree(one.id, one.prompt, tuple(nodes), accepted, confirmed, {"no-op": 1, "duplicate": 2})

    def round(self, t: int, asked: Sequence[Instructed]) -> None:
        desk, folder = self.desk, f"round-{t}"
        tried = [self.attempt(one, index) for one in asked for index in range(self.samples)]
        desk.rolled_out(f"{folder}/attempts.jsonl", [one.row() for one in tried], 1, "policy")
        tried = [replace(one, judgement=self.judgement(at % 6)) for at, one in enumerate(tried)]
        desk.rolled_out(f"{folder}/judgements.jsonl", [one.row() for one in tried], 0, "judge")
        begun = {one.prompt_id: one for one in tried if one.passed is False}
        trees = [self.tree(one) for one in begun.values()]
        desk.rolled_out(f"{folder}/trees.jsonl", [tree.row() for tree in trees], 0, "refiner", "judge")
        self.learn(folder, tried, trees)

    def learn(self, folder: str, tried: Sequence[Attempt], trees: Sequence[Tree]) -> None:
        desk = self.desk
        pairs = [one.row() for one in refined(trees)]
        found, dropped = lessons(trees, tried, self.panel, self.refiner, Caps(), 0)
        desk.lines(f"{folder}/pairs.jsonl", pairs, dropped={"similarity": 1})
        desk.lines(f"{folder}/actor.jsonl", pairs)
        desk.lines(f"{folder}/refiner.jsonl", [one.row() for one in found], dropped=dropped)
        for name, by in (("before", 0.0), ("after", 0.9)):
            rows = [{"id": row["id"], "chosen": -37.5 + by, "rejected": -31.8 - by} for row in pairs]
            desk.lines(f"{folder}/scores-{name}.jsonl", rows)
            if name == "before":
                desk.checkpoint(f"{folder}/actor", "dpo", len(pairs))
        desk.checkpoint(f"{folder}/refiner", "sft", len(found))

    def certified(self, folder: str, judged: Sequence[Judged]) -> None:
        voted = [(one, self.judgement(5 if one.label else 1)) for one in judged]
        self.desk.rolled_out(f"{folder}/{VOTES}", [{"id": one.id, **said.row()} for one, said in voted], 0, "judge")
        write_json(self.desk.path / folder / CERTIFICATE, certify(voted, voted).row())
        self.desk.made(f"{folder}/{CERTIFICATE}", 1)

    def examined(
        self, t: int, test: Sequence[Instructed], judged: Sequence[Judged], nested: Sequence[Instructed]
    ) -> Examined:
        desk, folder = self.desk, f"round-{t}"
        said = {name: [self.attempt(one, 0) for one in test] for name in ("answers", "sampled")}
        said["levels"] = [self.attempt(one, 0) for one in nested]
        for name, those in said.items():
            desk.rolled_out(f"{folder}/test-{name}.jsonl", [one.row() for one in those], 0, "policy")
        self.certified(folder, judged)
        verdicts = {one.id: self.judgement(5 if one.label else 1) for one in judged}
        rows = [{"id": id, **judgement.row()} for id, judgement in verdicts.items()]
        desk.rolled_out(f"{folder}/test-judgements.jsonl", rows, 0, "judge")
        wrong = [replace(one, judgement=self.judgement(1)) for one in said["sampled"]]
        desk.rolled_out(f"{folder}/test-votes.jsonl", [one.row() for one in wrong], 0, "judge")
        trees = [self.tree(one) for one in wrong]
        desk.rolled_out(f"{folder}/test-trees.jsonl", [tree.row() for tree in trees], 0, "refiner", "judge")
        items = [
            row
            for item, name in (("greedy", "answers"), ("sampled", "sampled"))
            for row in obeyed(item, answered(test, said[name]), CHECKERS)
        ]
        items += readings((one, verdicts[one.id]) for one in judged)
        items += outcomes(trees, lambda prompt, response: "," not in response)
        kinds = {desk.say("kind", "natural"): metrics_of((("judge_accuracy", "", "%"),), t)}
        learned = {"pairs": 3, "refinement": 2} if t else {}
        return Examined(metrics_of(ROWS, t), kinds, items, learned, {desk.say("job", "cut off"): 1})
