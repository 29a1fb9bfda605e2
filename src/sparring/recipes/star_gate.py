"""STaR-GATE: learn to ask the questions that make a good answer likely.

Andukuri, Fränken, Gerstenberg and Goodman (2024), https://arxiv.org/abs/2403.19154

A policy m_t questions a role-played user whose persona it cannot see. A conversation is worth the log-probability it
lends, under the base model m_0, to the response an oracle wrote knowing the persona. The best conversation of each pair
of task and persona is trained on, closed by m_t's own answer, so that it learns to ask without forgetting to answer.

    sparring run star-gate                      on the embedded world, in minutes
    sparring run star-gate --config mine.toml   on your own model, tasks and servers

Where paper and code differ we follow the records behind the paper's figures. Departures: a judge reads both orders, a
closing answer that only asks back is replaced by m_0's, and a turn off-format or repeated ends its conversation.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from sparring.errors import RolloutError
from sparring.evals.asking import Exam, Examined, Health, against, evaluated, over_pairs, verdict
from sparring.evals.gauges import contamination, exceeded
from sparring.evals.statistics import Interval
from sparring.evals.summary import rounds, summary
from sparring.files import Row, read_lines
from sparring.flow import Flow, Role
from sparring.loop import Loop, Trainer
from sparring.opening import Engines
from sparring.rollouts.controls import floor, for_another, heard, rivals
from sparring.rollouts.conversation import Conversation, converse, is_answer
from sparring.rollouts.situation import (
    Situation,
    answer_tasks,
    check_personas,
    read_examples,
    write_personas,
)
from sparring.runs import Run
from sparring.select import random_k, top_k
from sparring.settings import Player, Serving, Settings, Training, Voice, check_served
from sparring.signals.logprob import log_probs
from sparring.stages import Stages, Tell, read_prompts
from sparring.tasks import Split, Splits


class Roles(Settings):
    """Everybody but the policy. The paper's were GPT-4 (author, oracle, judge) and Mixtral-8x7B (roleplayer)."""

    author: Player = Player(temperature=1.4, top_p=0.9, max_tokens=400)
    """Writes the personas."""
    oracle: Player = Player(temperature=0, top_p=0.9, max_tokens=300)
    """Answers knowing the persona."""
    roleplayer: Player = Player(engine="base")
    """Plays the user."""
    test_roleplayer: Player | None = None
    """Plays the user on test; None: the roleplayer."""
    judge: Player = Player(temperature=0, top_p=0.9, max_tokens=300)
    """Compares two answers."""


class StarGate(Settings):
    """Defaults are the paper's; every ablation is a value here."""

    policy: str = "world:concierge/policy"
    """m_0: hf:ID (a folder or a Hub id), vllm:ID (served, its adapters trained here), or a world's."""
    tasks: str = "Dahoas/instruct-human-assistant-prompt"
    """A JSONL file, a `datasets` name, or world:NAME."""
    task_splits: tuple[int, int, int] = (250, 250, 50)
    """Tasks for A, B and test, where the rows do not name their split."""
    personas: tuple[int, int, int] = (50, 50, 10)
    """Personas written for A, B and test."""
    prompts: str = ""
    """Folder of prompt files; empty: the recipe's own; world:NAME: a world's."""
    check_content: bool = True
    """Leave out personas that the oracle's provider refuses to speak to."""
    rounds: int = Field(default=2, ge=1)
    """Odd ones learn from split A, even ones from B."""
    samples: int = Field(default=10, ge=1)
    """Conversations a pair of task and persona."""
    turns: tuple[int, ...] = (1, 2, 3)
    """Question-reply turns; drawn once a pair, the same for every model."""
    questioner: Voice = Voice(temperature=0.9, top_p=0.9)
    answerer: Voice = Voice()
    roles: Roles = Roles()
    signal: Literal["log_prob", "information_gain"] = "log_prob"
    """information_gain: less the log-prob lent to the response for another persona."""
    keep: int = Field(default=1, ge=1)
    """Conversations trained on, a pair."""
    keep_if_above_floor: bool = False
    """Leave out conversations after which the response is no likelier than without."""
    selection: Literal["best", "random"] = "best"
    """random: the ablation."""
    closing: Literal["own", "oracle", "none"] = "own"
    """What closes a conversation in training: m_t's answer; the oracle's response; nothing (no regulariser)."""
    closing_instruction: Literal["personalise", "neutral"] = "personalise"
    """Under which m_t answers; dropped from the row, as published."""
    elicit: Literal["always", "first round"] = "always"
    """When the instruction to ask is given. As published: always, though it is never in a training row."""
    init: Literal["base", "previous"] = "base"
    """What each round trains: m_0, as published, or m_(t-1)."""
    roll_back: bool = False
    """After a round that got worse than the best before it (p < 0.05), the next begins from that one's model."""
    training: Training = Training()
    test_samples: int = Field(default=10, ge=1)
    """Conversations a test pair."""
    max_failed: float = Field(default=0.5, ge=0, le=1)
    """Largest share of a stage's rollouts that may fail."""
    vllm: Serving = Serving()
    ledger: Literal["paid", "all"] = "paid"
    """What is kept for ever: calls to servers that others run; or those of vllm: and hf: as well."""
    seed: int = 0
    """Of everything that is drawn."""

    @model_validator(mode="after")
    def check(self) -> Self:
        if self.keep > self.samples:
            raise ValueError(f"keep = {self.keep} is over samples = {self.samples}; keep at most what is sampled")
        if not self.turns or min(self.turns) < 1:
            raise ValueError(f"turns = {self.turns} needs at least one number, each 1 or more")
        for name in ("task_splits", "personas"):
            if min(getattr(self, name)) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: A, B and test each need at least 1")
        if self.signal == "information_gain" and min(self.personas[:2]) < 2:
            raise ValueError(f"personas = {self.personas}: information_gain compares personas; A and B each need 2")
        check_served(self.policy, self.init, training=self.training)
        return self


def told_to_ask(elicit: str, t: int) -> bool:
    """Say whether m_t is given the instruction to ask."""
    return t == 0 or elicit == "always"


def star_gate(loop: StarGateLoop, tasks: Splits, train: Trainer) -> Row:
    """Run the whole recipe and return its summary: the same dict as summary.json."""
    found = improve(loop, loop.situations(tasks), train)
    run = loop.stages.run
    run.lines("eval.jsonl", lambda: evaluated(run, len(found)))
    rows = rounds(found, against, loop.settings.roll_back)
    return run.json("summary.json", lambda: summary("star-gate", run, rows, verdict(found), loop.engines.billed()))


def improve(loop: StarGateLoop, splits: Mapping[Split, Sequence[Situation]], train: Trainer) -> list[Examined]:
    """Return the evaluation of m_0, m_1, ... Splits A and B alternate: m_t never meets the pairs it was trained on."""
    policies, start = [loop.settings.policy], 0
    found = [loop.examine(0, policies[0], splits["test"], None)]
    for t in range(loop.settings.rounds):
        policies.append(one_round(loop, t, start, policies[start], splits["a" if start % 2 == 0 else "b"], train))
        found.append(loop.examine(t + 1, policies[-1], splits["test"], found[0]))
        start = loop.went(found, against)
    return found


def one_round(
    loop: StarGateLoop, t: int, start: int, policy: str, situations: Sequence[Situation], train: Trainer
) -> str:
    """Return m_(t+1), trained on what m_start (`policy`: m_t, unless the loop rolled back) did in these situations."""
    settings, stages = loop.settings, loop.stages.within(f"round-{t + 1}")

    # 1. Roll out: ten conversations a pair, with as many turns as the pair has in every round.
    indices = range((t - start) * settings.samples, (t - start + 1) * settings.samples)  # tried again: other samples
    conversations = loop.simulate(stages, "conversations.jsonl", policy, situations, indices, start)

    # 2. Signal: log p_m0(oracle response | conversation), in nats. m_0 scores every round, so rounds compare.
    values = loop.worth(stages, conversations, situations)

    # 3. Select: the conversation that helped most, for each pair.
    best = loop.select(stages, conversations, values)

    # 4. Regularise: the policy's own answer closes each conversation, or it would forget how to answer.
    loop.close(stages, best, policy)

    # 5. Train from m_0, not from m_t: each round's data stands alone.
    return loop.train(stages, policy, train)


@dataclass(frozen=True)
class StarGateLoop(Loop):
    """What the steps of the loop share."""

    settings: StarGate
    examples: Sequence[str]
    """Personas shown to the author, two at a time."""
    health: Health | None = None
    """Reads a world's conversations; None where nobody can but a judge."""

    @staticmethod
    def start(
        settings: StarGate,
        run: Run,
        engines: Engines,
        texts: tuple[Mapping[str, str], Sequence[str]],
        health: Health | None,
        tell: Tell,
        most: int | None = None,
    ) -> StarGateLoop:
        """Open the engines; `texts` are what `read_texts` gives. Raises EngineError for one that cannot be used."""
        prompts, examples = texts
        stages = Stages(run, tell, settings.max_failed, run, most)
        loop = StarGateLoop(settings, prompts, stages, engines, examples, health)
        players = {name: player for name in Roles.model_fields if (player := getattr(settings.roles, name))}
        loop.check_engines(players, "the signal")
        return loop

    def asker(self, policy: str, t: int) -> Role:
        """The policy with a question due. In rows it is not told to ask; whether it is when sampled is a setting."""
        told = told_to_ask(self.settings.elicit, t)
        sampling = self.settings.questioner.sampling(self.settings.seed)
        return Role("policy", self.engines.open(policy), sampling, self.prompts["ask"] if told else "")

    def answerer(self, policy: str, instruction: str = "") -> Role:
        """The policy with an answer due; `instruction` names a prompt, or none."""
        sampling = self.settings.answerer.sampling(self.settings.seed)
        return Role("policy", self.engines.open(policy), sampling, self.prompts[instruction] if instruction else "")

    def roleplayer(self, test: bool = False) -> Role:
        player = self.settings.roles.test_roleplayer if test else None
        return self.role("roleplayer", player or self.settings.roles.roleplayer, self.prompts["play"])

    def situations(self, tasks: Splits) -> dict[Split, list[Situation]]:
        """Return each split's pairs of task and persona with the oracle's response, each made once and kept."""
        roles, prompts, stages = self.settings.roles, self.prompts, self.stages
        author, oracle = self.role("author", roles.author), self.role("oracle", roles.oracle)
        counts, seed = self.settings.personas, self.settings.seed
        personas = write_personas(stages, counts, author, prompts["persona"], self.examples, seed)
        if self.settings.check_content:
            personas = check_personas(stages, personas, oracle, prompts["content"])
        return answer_tasks(stages, tasks, personas, oracle, prompts["oracle"])

    def examine(self, t: int, policy: str, test: Sequence[Situation], m_0: Examined | None) -> Examined:
        """Evaluate m_t on held-out tasks and personas: log-probs with controls, win rates in a 2 x 2 table, health."""
        stages = self.stages.within(f"round-{t}")
        name = "test-conversations.jsonl"
        conversations = self.simulate(stages, name, policy, test, range(self.settings.test_samples), t, test=True)
        voices = {"own": self.answerer(policy)}
        if m_0:
            voices |= {"questions_alone": self.answerer(self.settings.policy), "answers_alone": self.answerer(policy)}
        else:
            voices["personalised"] = self.answerer(policy, "personalise")
        judge = self.role("judge", self.settings.roles.judge)
        samples, seed = self.settings.test_samples, self.settings.seed
        exam = Exam(test, self.base, judge, self.prompts["judge"], self.health, seed, samples)
        found = exam.take(stages, conversations, voices, m_0)
        if t:
            found.metrics.update(self.learned(stages, test))
        warnings = exceeded(found.metrics, (m_0 or found).metrics)
        self.stages.tell({"event": "round", "round": t, "metrics": found.metrics, "warnings": warnings})
        return found

    def learned(self, stages: Stages, test: Sequence[Situation]) -> dict[str, Interval | None]:
        """Return what the rows say that a round was trained on."""
        rows = read_lines(stages.folder.path / "train.jsonl")
        pairs = [row["id"].rpartition(" #")[0] for row in rows]
        closed = [
            {"situation": pair, "replaced": float(row["closed_by"] == "base")}
            for pair, row in zip(pairs, rows, strict=True)
        ]
        known = set(pairs)
        tasks = [row["task"]["text"] for row in self.stages.rows("situations.jsonl") if row["id"] in known]
        return {
            "closing_answers_replaced": over_pairs(closed, "replaced"),
            "contaminated": contamination([s.task.text for s in test], tasks),
        }

    def simulate(
        self,
        stages: Stages,
        name: str,
        policy: str,
        situations: Sequence[Situation],
        indices: range,
        t: int,
        test: bool = False,
    ) -> list[Conversation]:
        """Let the policy, which is m_t, talk to each situation's user, once an index."""
        asker, roleplayer = self.asker(policy, t), self.roleplayer(test)
        flows = [
            (f"{s.id} #{index}", converse(s, index, turns_of(self.settings, s.id), asker, roleplayer))
            for s in situations
            for index in indices
        ]
        by_id = {s.id: s for s in situations}
        return [Conversation.from_row(row, by_id) for row in stages.roll_out(name, flows, Conversation.row)]

    def worth(
        self, stages: Stages, conversations: Sequence[Conversation], situations: Sequence[Situation]
    ) -> dict[str, float | None]:
        """Return each conversation's value by its id, in nats; None: not to be trained on."""
        settings = self.settings

        def produce() -> list[Row]:
            told = stages.progress("signals.jsonl")
            rows = [{"id": c.id} for c in conversations]
            _add(rows, "log_prob", log_probs(self.base, [heard(c) for c in conversations], told))
            if settings.signal == "information_gain":
                rival = rivals(situations)
                with_one = [c for c in conversations if c.situation.id in rival]
                texts = [for_another(c, rival[c.situation.id]) for c in with_one]
                lent = dict(zip([c.id for c in with_one], log_probs(self.base, texts, told), strict=True))
                _add(rows, "for_another", [lent.get(c.id) for c in conversations])
            if settings.keep_if_above_floor:
                lowest = log_probs(self.base, [floor(s) for s in situations], told)
                floors = dict(zip([s.id for s in situations], lowest, strict=True))
                _add(rows, "floor", [floors[c.situation.id] for c in conversations])
            return rows

        return {row["id"]: _value(row) for row in stages.lines("signals.jsonl", produce)}

    def select(
        self, stages: Stages, conversations: Sequence[Conversation], values: Mapping[str, float | None]
    ) -> list[Conversation]:
        """Return the conversations to learn from."""
        settings = self.settings

        def produce() -> list[Row]:
            worth = [values[c.id] for c in conversations]
            if settings.selection == "best":
                kept = top_k(conversations, worth, settings.keep, per=lambda c: c.situation.id)
            else:
                scored = [c for c, value in zip(conversations, worth, strict=True) if value is not None]
                kept = random_k(scored, settings.keep, per=lambda c: c.situation.id, seed=settings.seed)
            return [{"id": c.id, "value": values[c.id]} for c in kept]

        by_id = {c.id: c for c in conversations}
        return [by_id[row["id"]] for row in stages.lines("selected.jsonl", produce)]

    def close(self, stages: Stages, best: Sequence[Conversation], policy: str) -> None:
        """Write the training rows: the kept conversations, each with its closing answer."""
        settings = self.settings
        by_id = {c.id: c for c in best}

        def row(conversation: Conversation, answer: str | None, by: str) -> Row:
            example = conversation.example(answer)
            return {"id": conversation.id, "closed_by": by, "messages": example.messages, "weights": example.weights}

        if settings.closing != "own":
            by = settings.closing
            stages.lines(
                "train.jsonl", lambda: [row(c, c.situation.oracle if by == "oracle" else None, by) for c in best]
            )
            return
        voices = {
            "policy": self.answerer(policy, settings.closing_instruction),
            "base": self.answerer(settings.policy, settings.closing_instruction),
        }
        flows = [(c.id, closing_answer(c, voices)) for c in best]
        stages.roll_out("train.jsonl", flows, lambda closed: row(by_id[closed[0]], closed[1], closed[2]))


def turns_of(settings: StarGate, pair: str) -> int:
    """Return how long a pair's conversations are: drawn by a seed that all models share."""
    return random.Random(f"{settings.seed}/turns/{pair}").choice(settings.turns)


def closing_answer(conversation: Conversation, voices: Mapping[str, Role]) -> Flow[tuple[str, str, str]]:
    """Return (conversation id, answer, who gave it): the first voice whose reply is an answer.

    A policy trained to ask may ask back where it should answer; learned from, that would end the loop (one sketch's
    win rate fell to .05), so m_0's answer stands in.
    """
    trouble = RolloutError("no voice to answer")
    for who, voice in voices.items():
        try:
            answer = yield from voice.say(conversation.answering())
        except RolloutError as error:
            trouble = error
            continue
        if is_answer(answer):
            return conversation.id, answer, who
        trouble = RolloutError("closing answer only asks back", answer)
    raise trouble


def _add(rows: list[Row], key: str, values: Sequence[float | None]) -> None:
    for row, value in zip(rows, values, strict=True):
        row[key] = value


def _value(row: Row) -> float | None:
    """Return what a conversation is worth: its log-prob, less what it lends to anybody; None if not above the floor."""
    parts = [row["log_prob"], row.get("for_another", 0.0), row.get("floor", float("-inf"))]
    if any(part is None for part in parts) or row["log_prob"] <= parts[2]:
        return None
    return row["log_prob"] - parts[1]


def read_texts(settings: StarGate, folder: Path) -> tuple[dict[str, str], list[str]]:
    """Return the prompts of a folder by name, and its example personas. Raises SettingsError for a missing file."""
    names = ["ask", "play", "oracle", "judge", "persona", "personalise", "neutral"]
    prompts = read_prompts(folder, *names, *(["content"] if settings.check_content else []))
    return prompts, read_examples(folder / "personas_examples.jsonl")
