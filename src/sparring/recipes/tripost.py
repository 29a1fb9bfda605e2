"""TriPosT: learn to find and mend one's own mistakes.

Yu, Peng, Galley, Gao and Yu (2023), https://arxiv.org/abs/2310.13522

A policy m_t attempts questions step by step, criticises its attempts and updates them. A teacher goes through what it
did, and from the first criticism that is wrong or missing on it points at the first wrong step and has the attempt
mended from there. The edited trajectories, balanced with attempts that were right and with gold rationales, are trained
on with more weight on feedback and updates, so that m_(t+1) corrects itself alone.

    sparring run tripost                      on the embedded world, in minutes
    sparring run tripost --config mine.toml   on your own model, exercises and servers

Where paper and code differ we do what the paper says: every round samples, a script verifies every step, and what is
not learned is counted. Departures: right attempts that were criticised are lessons too; where policy and teacher agree
and the attempt is still wrong, the teacher goes on from there; round 1 asks m_0 for feedback as every round does; a
family's script may stand for the LLM that mends; gold rationales fill their share also of questions that have lessons.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from sparring.errors import SettingsError
from sparring.evals.correcting import Examined, Tried, against, examine, verdict, votes_needed
from sparring.evals.gauges import contamination, exceeded
from sparring.evals.summary import rounds, summary
from sparring.files import Row
from sparring.flow import Role
from sparring.loop import Loop, Trainer
from sparring.opening import Engines
from sparring.rollouts.editing import Teacher, edit, outcomes
from sparring.rollouts.lessons import (
    Lesson,
    Say,
    Weights,
    agreed,
    attempted,
    balance,
    closing,
    cut,
    gold,
    kinds,
    without_twins,
)
from sparring.rollouts.teaching import (
    Critic,
    Improver,
    corrupted,
    demonstrated,
    model_critic,
    model_improver,
    policy_improver,
    script_critic,
    script_improver,
    words,
)
from sparring.rollouts.trajectory import Layout, Policy, Trajectory, correct_itself
from sparring.runs import Run
from sparring.select import draw, spread
from sparring.settings import Player, Serving, Settings, Training, Voice, check_served
from sparring.stages import Stages, Tell, read_prompts
from sparring.tasks.exercise import Exercise, Family

EDITED = ("trajectories", "demonstrations")
"""What is learned from after a teacher has seen it."""
BARE = ("rationales", "answers")
"""What is learned as it is given."""


PUBLISHED = Training(
    learning_rate=1e-6,
    epochs=4,
    batch_size=4,
    schedule="linear",
    warmup_share=0.2,
    weight_decay=0.01,
    normaliser="tokens",
)


class Roles(Settings):
    """Everybody but the policy. The paper's teachers were a script or text-davinci-003, and code-davinci-002."""

    teacher: Player = Player(temperature=0.7, max_tokens=2048)
    """Criticises (greedily) and mends where no script does; engine "": the family's script does both."""


class TriPosT(Settings):
    """Defaults are the paper's; every ablation is a value here."""

    policy: str = "world:arithmetic/policy"
    """The base model: hf:ID (a folder or a Hub id), vllm:ID (served, its adapters trained here), or a world's."""
    tasks: str = "multistep-arithmetic"
    """A family's name, world:NAME, or a JSONL file."""
    prompts: str = ""
    """Folder of prompt files; empty: the recipe's own; world:NAME: a world's."""
    questions: int = Field(default=550, ge=1)
    """Training questions, all tried in every round."""
    gold: int | None = Field(default=None, ge=0)
    """Of them, at most so many whose gold rationale is learned; None: all."""
    test_questions: int = Field(default=2000, ge=1)
    """Held-out questions, spread evenly over all tiers."""
    bbh: str = ""
    """A folder of BIG-Bench-Hard files: those of the family are tested on as well, as tiers that no total counts."""
    test_sampled: int = Field(default=0, ge=0)
    """Of them, at most so many that are also tried at temperature 1, and voted on in the first and the last round."""
    rounds: int = Field(default=3, ge=1)
    """Each trains further, or anew: see `init`."""
    samples: int = Field(default=5, ge=1)
    """Attempts a question and round."""
    attempts: Voice = Voice(temperature=1.0, max_tokens=1024)
    """How attempts are drawn for training; evaluation is greedy, with the same `max_tokens`."""
    updates: int = Field(default=3, ge=0)
    """Most updates the policy makes of one attempt."""
    edits: int = Field(default=5, ge=1)
    """Most updates the teacher makes of one attempt."""
    learn_from: Literal["trajectories", "demonstrations", "rationales", "answers", "votes", "filtered", "none"] = (
        "trajectories"
    )
    """trajectories: TriPosT. demonstrations: the teacher's own mistakes (SI demo). Baselines: gold rationales, bare
    answers, LMSI by majority vote or filtered by gold. none: rounds train nothing."""
    mistakes: tuple[str, ...] = ()
    """Kinds of mistakes that a script makes in demonstrations, by the names of its family; empty: all it can."""
    feedback: Literal["script", "teacher"] = "script"
    """Who criticises in training, where a script can."""
    improver: Literal["script", "teacher", "policy"] = "script"
    """Who mends. policy: the first of four samples from the verified steps on that the verifier accepts, else the
    script."""
    false_alarms: bool = True
    """Learn from right attempts that the policy criticised; the published code threw them away."""
    interaction: Literal["every round", "once"] = "every round"
    """once: what was learned in round 1 is learned in every round."""
    evidence: bool = False
    """Feedback works out every step anew before its verdict, where a script criticises."""
    ratio: float | Literal["all"] = 1.5
    """Improvement : non-improvement : gold = ratio : 1 : 1; all: whatever there is of each."""
    feedback_weight: float = Field(default=1.5, ge=0)
    """On feedback and update where there is an improvement; 1: no weights."""
    attempt_weight: float = Field(default=1.0, ge=0)
    """On the wrong attempt; published as 1."""
    init: Literal["base", "previous"] = "previous"
    """What each round trains: m_(t-1), as published, or the policy as it was given, which knows no gold rationale."""
    roll_back: bool = False
    """After a round that got worse than the best before it (p < 0.05), the next begins from that one's model."""
    rationale: Training = PUBLISHED.model_copy(update={"epochs": 5})
    """Of m_0: the base, trained on gold rationales before the first round."""
    training: Training = PUBLISHED
    roles: Roles = Roles()
    max_failed: float = Field(default=0.5, ge=0, le=1)
    """Largest share of a stage's rollouts that may fail."""
    vllm: Serving = Serving()
    ledger: Literal["paid", "all"] = "paid"
    """What is kept for ever: calls to servers that others run; or those of vllm: and hf: as well."""
    seed: int = 0
    """Of everything that is drawn."""

    @field_validator("ratio", mode="before")
    @classmethod
    def check_ratio(cls, value: object) -> object:
        if value != "all" and not (isinstance(value, int | float) and value > 0):
            raise ValueError("must be a number above 0, or all")
        return value

    @model_validator(mode="after")
    def check(self) -> Self:
        asked = [name for name in ("feedback", "improver") if getattr(self, name) == "teacher"]
        if self.learn_from == "votes" and self.samples < 3:
            raise ValueError(f"samples = {self.samples}: a vote takes 3 at least")
        if asked and not self.roles.teacher.engine:
            raise ValueError(f"{asked[0]} = 'teacher': name roles.teacher.engine, or leave it to the script")
        if self.roll_back and (self.interaction == "once" or self.learn_from in ("rationales", "answers")):
            raise ValueError(
                f"roll_back = true: with interaction = {self.interaction!r} and learn_from = {self.learn_from!r} the "
                "next round would learn the same rows from the same model again; leave it out"
            )
        check_served(self.policy, self.init, training=self.training, rationale=self.rationale)
        return self


def tripost(loop: TriPosTLoop, questions: Sequence[Exercise], test: Sequence[Exercise], train: Trainer) -> Row:
    """Run the whole recipe and return its summary: the same dict as summary.json."""
    found = improve(loop, questions, test, train)
    run = loop.stages.run
    run.lines("eval.jsonl", lambda: [{"round": t, **row} for t, one in enumerate(found) for row in one.items])
    rows = rounds(found, against, loop.settings.roll_back)
    return run.json("summary.json", lambda: summary("tripost", run, rows, verdict(found), loop.engines.billed()))


def improve(
    loop: TriPosTLoop, questions: Sequence[Exercise], test: Sequence[Exercise], train: Trainer
) -> list[Examined]:
    """Return the evaluation of m_0, m_1, ... All questions are tried in every round; m_0 knows gold rationales."""
    policies, start = [loop.begin(questions, train)], 0
    found = [loop.examine(0, policies[0], test, None)]
    for t in range(loop.settings.rounds):
        policies.append(one_round(loop, t, policies[start], questions, train))
        found.append(loop.examine(t + 1, policies[-1], test, found[0]))
        start = loop.went(found, against)
    return found


def one_round(loop: TriPosTLoop, t: int, policy: str, questions: Sequence[Exercise], train: Trainer) -> str:
    """Return m_(t+1), trained on what m_t (`policy`) did with these questions and a teacher made of it."""
    stages = loop.stages.within(f"round-{t + 1}")

    # 1. Attempt: the policy tries every question five times, and corrects itself until it finds nothing wrong.
    trajectories = loop.attempt(stages, t, policy, questions)

    # 2. Edit: from the first wrong or missing criticism on, the teacher says what is wrong, and it is mended.
    edited = loop.edit(stages, t, policy, trajectories)

    # 3. Post-process: cut into single improvements, no two alike, 1.5 : 1 : 1 with right attempts and gold rationales.
    lessons = loop.post_process(stages, t, edited, questions)

    # 4. Train m_t further, with more weight on feedback and updates.
    return loop.train(stages, policy, train) if lessons else policy


@dataclass(frozen=True)
class TriPosTLoop(Loop):
    """What the steps of the loop share."""

    settings: TriPosT
    family: Family
    """Draws, reads and, where it has scripts, checks and mends."""

    @staticmethod
    def start(
        settings: TriPosT,
        run: Run,
        engines: Engines,
        prompts: Mapping[str, str],
        family: Family,
        tell: Tell,
        most: int | None = None,
    ) -> TriPosTLoop:
        """Open the engines; `prompts` are what `read_texts` gives. Raises EngineError for one that cannot be used."""
        stages = Stages(run, tell, settings.max_failed, run, most)
        check_teacher(settings, family)
        loop = TriPosTLoop(settings, prompts, stages, engines, family)
        teacher = settings.roles.teacher
        loop.check_engines({"teacher": teacher} if teacher.engine else {}, "the proof of a checkpoint")
        return loop

    @property
    def layout(self) -> Layout:
        prompts = self.prompts
        attempt = prompts["answer_only" if self.settings.learn_from == "answers" else "attempt"]
        return Layout(attempt, prompts["feedback"], prompts["update"], prompts["format"])

    @property
    def by_script(self) -> bool:
        """Whether a script criticises: it verifies every step, and may show its evidence."""
        return self.settings.feedback == "script" and self.family.verify is not None

    @property
    def say(self) -> Say:
        return words(self.family, self.settings.evidence and self.by_script)

    def policy(self, name: str, temperature: float | None = None) -> Policy:
        """Return a model in its two voices; attempts and updates are drawn as set, or at another temperature."""
        sampling = self.settings.attempts.sampling(self.settings.seed)
        if temperature is not None:
            sampling = replace(sampling, temperature=temperature)
        role = Role("policy", self.engines.open(name), sampling)
        return Policy(self.family, self.layout, role, role.greedy())

    def teacher(self, policy: str) -> Teacher:
        """Return who edits what `policy` did."""
        settings, family = self.settings, self.family
        by_script = self.by_script
        critic = script_critic(family) if by_script else self.model_critic()
        improver = self.improver(policy, critic)
        return Teacher(family, critic, improver, self.say, by_script, settings.edits, settings.false_alarms)

    def model_critic(self) -> Critic:
        role = self.role("teacher", self.settings.roles.teacher)
        return model_critic(self.family, role.greedy(), self.prompts["teacher_feedback"])

    def improver(self, policy: str, critic: Critic) -> Improver:
        settings = self.settings
        if settings.improver == "teacher" or self.family.repair is None:
            role = self.role("teacher", settings.roles.teacher)
            other = model_improver(role, self.prompts["teacher_update"])
        else:
            other = script_improver(self.family)
        if settings.improver != "policy":
            return other
        return policy_improver(self.family, self.policy(policy).attempts, self.layout, self.say, critic, other)

    def golden(self, questions: Sequence[Exercise]) -> list[Exercise]:
        """Return the questions whose gold rationale may be learned, the same in every round."""
        known = [one for one in questions if one.rationale]
        most = len(known) if self.settings.gold is None else self.settings.gold
        return draw(known, most, random.Random(f"{self.settings.seed}/gold"))

    def begin(self, questions: Sequence[Exercise], train: Trainer) -> str:
        """Return m_0: the base, trained on gold rationales (or bare answers) where there are any."""
        stages, golden = self.stages.within("round-0"), self.golden(questions)
        if not golden:
            return self.settings.policy
        self.write(stages, f"{self.settings.seed}/m_0", lambda: self.bare(golden))
        return self.train(stages, self.settings.policy, train, self.settings.rationale)

    def correct(
        self, stages: Stages, name: str, policy: Policy, questions: Sequence[Exercise], indices: range, updates: int
    ) -> list[Trajectory]:
        """Let the policy try each question, and correct itself."""
        flows = [
            (f"{question.id} #{index}", correct_itself(question, index, policy, updates))
            for question in questions
            for index in indices
        ]
        return _read(stages.roll_out(name, flows, Trajectory.row), questions)

    def source(self, t: int) -> str:
        """Return what a round learns from: `learn_from`, or after the first what the first did, if set so."""
        return "round 1" if t > 0 and self.settings.interaction == "once" else self.settings.learn_from

    def attempt(self, stages: Stages, t: int, policy: str, questions: Sequence[Exercise]) -> list[Trajectory]:
        """Return what is to be learned from as it was sampled; nothing where no attempts are."""
        match self.source(t):
            case "trajectories":
                updates = self.settings.updates
            case "votes" | "filtered":
                updates = 0
            case "demonstrations":
                return self.demonstrate(stages, t, questions)
            case _:
                return []
        return self.correct(stages, "attempts.jsonl", self.policy(policy), questions, self.indices(t), updates)

    def indices(self, t: int) -> range:
        """Return the numbers of a round's samples: a policy that changed little still says something else."""
        return range(t * self.settings.samples, (t + 1) * self.settings.samples)

    def demonstrate(self, stages: Stages, t: int, questions: Sequence[Exercise]) -> list[Trajectory]:
        """Return the teacher's own attempts: a model's, or a script's with a mistake in each."""
        teacher, seed = self.settings.roles.teacher, str(self.settings.seed)
        role = self.role("teacher", teacher) if teacher.engine else None
        flows = [
            (
                f"{one.id} #{index}",
                demonstrated(one, index, role, self.prompts["teacher_attempt"], self.prompts["format"])
                if role
                else corrupted(one, index, self.family, seed, self.settings.mistakes),
            )
            for one in questions
            for index in self.indices(t)
        ]
        return _read(stages.roll_out("attempts.jsonl", flows, Trajectory.row), questions)

    def edit(self, stages: Stages, t: int, policy: str, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
        """Return the trajectories as the teacher leaves them, those with nothing to learn from marked as dropped."""
        if self.source(t) not in EDITED:
            return [*trajectories]
        teacher = self.teacher(policy)
        flows = [(one.id, edit(one, teacher)) for one in trajectories]
        questions = [one.exercise for one in trajectories]
        return _read(stages.roll_out("trajectories.jsonl", flows, Trajectory.row), questions)

    def post_process(
        self, stages: Stages, t: int, edited: Sequence[Trajectory], questions: Sequence[Exercise]
    ) -> list[Row]:
        """Write the training rows, and return them."""
        if self.source(t) == "none":
            return []
        if self.source(t) == "round 1":
            return stages.lines("train.jsonl", lambda: self.stages.within("round-1").rows("train.jsonl"))
        return self.write(stages, f"{self.settings.seed}/{t}", lambda: self.lessons(edited, questions))

    def lessons(self, edited: Sequence[Trajectory], questions: Sequence[Exercise]) -> list[Lesson]:
        """Return all that could be learned in a round; of what was done, no two alike."""
        settings, layout = self.settings, self.layout
        if settings.learn_from in EDITED:
            weights = Weights(settings.attempt_weight, settings.feedback_weight)
            found = without_twins([lesson for one in edited for lesson in cut(one, layout, weights)])
            return [*found, *(gold(one, layout, self.say) for one in self.golden(questions))]
        return self.bare(self.golden(questions)) if settings.learn_from in BARE else self.sampled(edited)

    def bare(self, golden: Sequence[Exercise]) -> list[Lesson]:
        """Return gold rationales, or only their last lines."""
        if self.settings.learn_from == "answers":
            return [attempted("answer", one, 0, closing(one), self.layout) for one in golden]
        return [attempted("rationale", one, 0, one.rationale or "", self.layout) for one in golden]

    def sampled(self, tried: Sequence[Trajectory]) -> list[Lesson]:
        """Return the attempts at each question that agree with the majority of them, or with gold (LMSI)."""
        found: list[Lesson] = []
        for at in dict.fromkeys(one.exercise.id for one in tried):
            those = [one for one in tried if one.exercise.id == at and not one.cut_off]
            if self.settings.learn_from == "votes":
                those = agreed(self.family, those)
            else:
                those = [one for one in those if one.is_right(self.family, 0)]
            found += [attempted("sample", one.exercise, one.index, one.attempts[0], self.layout) for one in those]
        return without_twins(found)

    def write(self, stages: Stages, seed: str, find: Callable[[], list[Lesson]]) -> list[Row]:
        """Write the training rows: what is found, balanced. The journal counts both by kind."""
        # A trial has too little to balance.
        ratio = self.settings.ratio if stages.most is None else "all"

        def rows() -> list[Row]:
            found = find()
            kept = [lesson.row() for lesson in balance(found, ratio, seed)[: stages.most]]
            stages.folder.note("train.jsonl", found=kinds(one.row() for one in found), learned=kinds(kept))
            return kept

        return stages.lines("train.jsonl", rows)

    def examine(self, t: int, policy: str, test: Sequence[Exercise], m_0: Examined | None) -> Examined:
        """Evaluate m_t on held-out questions: greedily; some of them sampled and, in the end, voted on too."""
        stages = self.stages.within(f"round-{t}")
        updates, own = self.settings.updates, [one for one in test if one.seen is not None]
        some = spread(own, self.settings.test_sampled)
        greedy = self.correct(stages, "test-trajectories.jsonl", self.policy(policy, 0.0), test, range(1), updates)
        tried = Tried(greedy)
        if some:
            drawn = self.policy(policy, 1.0)
            sampled = self.correct(stages, "test-sampled.jsonl", drawn, some, range(1), updates)
            votes: list[Trajectory] = []
            if t in (0, self.settings.rounds):
                indices = range(1, votes_needed(sampled))
                votes = self.correct(stages, "test-votes.jsonl", drawn, some, indices, 0)
            tried = Tried(greedy, some, sampled, votes)
        found = examine(self.family, test, tried, m_0)
        counts = {"edits": outcomes(stages.rows("trajectories.jsonl")), "learned": kinds(stages.rows("train.jsonl"))}
        found = replace(found, failed=stages.reasons("test-trajectories.jsonl"), **counts)
        if learned := [row["messages"][0]["content"] for row in stages.rows("train.jsonl")]:
            # Questions of one family have most of their words in common: only the same one is contamination.
            asked = [self.layout.asking(one.question)[0]["content"] for one in own]
            found.metrics["contaminated"] = contamination(asked, learned, None)
        warnings = exceeded(found.metrics, (m_0 or found).metrics)
        self.stages.tell({"event": "round", "round": t, "metrics": found.metrics, "warnings": warnings})
        return found


def check_teacher(settings: TriPosT, family: Family) -> None:
    """Raise SettingsError where a teacher is needed that nobody named, or one is asked for what no script can do."""
    if settings.evidence and family.evidence is None:
        raise SettingsError(f"evidence = true: nothing can work out the steps of {family.name!r} anew; set it to false")
    if settings.learn_from not in EDITED or settings.roles.teacher.engine:
        return
    parts: dict[str, object] = {"criticise": family.verify, "mend": family.repair}
    if settings.learn_from == "demonstrations":
        parts["make mistakes"] = family.corrupt
    if missing := [what for what, script in parts.items() if script is None]:
        raise SettingsError(
            f"{family.name}: no script can {' or '.join(missing)}; name roles.teacher.engine, or learn_from gold "
            'rationales ("rationales") or own attempts ("filtered")'
        )


def read_texts(settings: TriPosT, folder: Path, family: Family) -> dict[str, str]:
    """Return the prompts of a folder by name; `format` is how the family's steps are written, empty where it is free.

    Raises SettingsError for a missing file.
    """
    names = ["attempt", "feedback", "update", "answer_only"]
    if settings.roles.teacher.engine:
        names += ["teacher_feedback", "teacher_update", "teacher_attempt"]
    prompts = read_prompts(folder, *names)
    written = folder / f"format-{family.name}.md"
    return {**prompts, "format": written.read_text(encoding="utf-8").strip() if written.is_file() else ""}


def _read(rows: Sequence[Row], questions: Sequence[Exercise]) -> list[Trajectory]:
    by_id = {one.id: one for one in questions}
    return [Trajectory.from_row(row, by_id) for row in rows]
