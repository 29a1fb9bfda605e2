"""SPaR's settings: the paper's values as defaults, every ablation and baseline a value.

no tree search        search.branch=1 search.depth=1        one try
no iteration          rounds=1, and three times the prompts_a_round
no refinement         learn_from=independent
SELF                  learn_from=sft
Self-Rewarding        learn_from=extremes refiner_learns=false
ceiling, floor        judge=checker, judge=random
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, cast

from pydantic import Field, model_validator

from sparring.settings import Player, Preference, Serving, Settings, Training, Voice, check_served
from sparring.signals.judge import MOST_VOTES

SUPERVISED = Training(
    learning_rate=2e-6,
    batch_size=64,
    schedule="constant_with_warmup",
    warmup_share=0.1,
    max_length=4096,
    max_truncated=0.0,
)
"""The paper's one way of fine-tuning, of actor and refiner. A row that is too long is refused, where the published code
cut off the end of the refinement that was to be taught: raise `max_length`, or bear it with `max_truncated`."""


class Roles(Settings):
    """Everybody but actor and refiner."""

    teacher: Player = Player(temperature=0.7, max_tokens=3072)
    """Evolves instructions, and writes what actor and refiner begin with; published: GPT-4o-mini. Engine "": nobody."""


class Searching(Settings):
    """The search for a refinement that passes. Names and defaults are `rollouts.tree.Search`'s."""

    order: Literal["bfs", "dfs", "best"] = "bfs"
    """Breadth first, depth first, or the best node of the whole frontier first."""
    branch: int = Field(default=3, ge=1)
    """Refinements tried of a node."""
    beam: int = Field(default=2, ge=1)
    """Nodes that are gone on from: of a level, or of siblings."""
    depth: int = Field(default=3, ge=1)
    """Most refinements one after the other."""
    nodes: int | None = Field(default=None, ge=0)
    """Most refinements asked for in a tree; None: as many as the shape has room for."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """A node is accepted when its share of Yes votes is above this."""
    confirm: int = Field(default=0, ge=0, le=MOST_VOTES)
    """Fresh votes whose majority must agree before a node is accepted."""


class Caps(Settings):
    """Most rows of a kind that the refiner learns in a round: as published for 10,000 prompts, and never scaled."""

    refinement: int = Field(default=4000, ge=0)
    """Refinements that were accepted, with the critique that they answer."""
    tree_positive: int = Field(default=1500, ge=0)
    """Judgements Yes of nodes, at most one a tree."""
    tree_negative: int = Field(default=1000, ge=0)
    """Judgements No of nodes, at most one a tree."""
    negative: int = Field(default=500, ge=0)
    """Judgements No of sampled answers."""
    positive: int = Field(default=2500, ge=0)
    """Judgements Yes of sampled answers."""


class Bootstrap(Settings):
    """Rows that a teacher writes for M_0 and R_0; 0: none of that kind. Published: 8000, and about 9000 and 3000."""

    actor: int = Field(default=0, ge=0)
    """Answers to instructions."""
    judgements: int = Field(default=0, ge=0)
    """Judgements of the actor's answers."""
    refinements: int = Field(default=0, ge=0)
    """Refinements of those judged No."""

    @property
    def refiner(self) -> int:
        """Answers of M_0 that the teacher judges, each to an instruction of its own."""
        return max(self.judgements, self.refinements)


class Hygiene(Settings):
    """How far apart chosen and rejected may lie, in words; published: as far as they do. Twins are never learned."""

    similarity: float = Field(default=0.0, ge=0, le=1)
    """Least share of words in common."""
    length_ratio: float | None = Field(default=None, ge=1)
    """Most that one side may be longer than the other."""
    edits: int | None = Field(default=None, ge=1)
    """Most words changed."""


class Requirements(Settings):
    """What a judge's certificate must show before a round trains on what the judge says; None: anything.

    A bound must hold for the value itself, whatever its interval. Shares and differences, 0.1 for ten points.
    """

    balanced_accuracy: float | None = Field(default=None, ge=0, le=1)
    """At least: mean of how often it is right on good and on bad responses."""
    accuracy_bad: float | None = Field(default=None, ge=0, le=1)
    """At least: how often it finds a bad response out."""
    accuracy_good: float | None = Field(default=None, ge=0, le=1)
    """At least: how often it lets a good response pass."""
    agreement: float | None = Field(default=None, ge=-1, le=1)
    """At least: Krippendorff's alpha of its votes; 0 is chance."""
    length_bias: float | None = Field(default=None, ge=0, le=1)
    """At most, to either side: share of Yes for the longer responses less the shorter ones', at equal label."""
    yes_bias: float | None = Field(default=None, ge=0, le=1)
    """At most, to either side: share of Yes less the share that deserves it."""
    calibration_error: float | None = Field(default=None, ge=0, le=1)
    """At most: expected distance of the share of Yes from the share that deserves it."""
    unscored: float | None = Field(default=None, ge=0, le=1)
    """At most: responses without a majority."""
    unreadable: float | None = Field(default=None, ge=0, le=1)
    """At most: votes without a verdict."""
    drift: float | None = Field(default=None, ge=0, le=1)
    """At most: by how much its balanced accuracy may lie below the first refiner's."""
    drift_yes: float | None = Field(default=None, ge=0, le=1)
    """At most, to either side: its share of Yes less the first refiner's."""

    @model_validator(mode="before")
    @classmethod
    def without_position(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "position_bias" in given:
            raise ValueError(
                "position_bias is of a judge that compares two responses, and the refiner reads one at a time: "
                "leave it out (`sparring eval ENGINE --suite judge --compare` measures it)"
            )
        return cast(Any, given)

    @property
    def given(self) -> dict[str, float]:
        """What is required, by name."""
        return self.model_dump(exclude_none=True)


class SPaR(Settings):
    """Defaults are the paper's; every ablation is a value here."""

    policy: str = "world:instructions/policy"
    """The actor at first: hf:ID (a folder or a Hub id), vllm:ID (served, its adapters trained here), or a world's."""
    refiner: str = ""
    """The refiner at first; empty: the policy as given. Both are checkpoints of one base."""
    tasks: str = "prompts.jsonl"
    """Instructions: a JSONL file, a `datasets` name, or world:NAME."""
    test: str = "google/IFEval"
    """Held-out instructions with their checks, in IFEval's format; a world brings its own."""
    judged: str = ""
    """Labelled responses to measure the judge on, a JSONL file; empty: it is not measured. A world brings its own."""
    prompts: str = ""
    """Folder of prompt files; empty: the recipe's own; world:NAME: a world's."""
    prompts_a_round: int = Field(default=10_000, ge=1)
    """Instructions tried in a round; no other round meets them."""
    test_prompts: int = Field(default=541, ge=1)
    """Held-out instructions followed, checked by code."""
    test_judged: int = Field(default=1000, ge=0)
    """Labelled responses judged."""
    test_refined: int = Field(default=200, ge=0)
    """Most of M_0's sampled answers, of those wrong by the checkers, that every round's refiner refines once.
    Published: 200."""
    test_groups: int = Field(default=0, ge=0)
    """Groups of nested instructions, one constraint more at every level, where the tasks have any."""
    evolve: bool = False
    """The teacher makes the instructions harder first, by a constraint of each category as often."""
    bootstrap: Bootstrap = Bootstrap()
    bootstrap_training: Training = SUPERVISED.model_copy(update={"epochs": 5})
    """Of M_0 and R_0 on the teacher's rows."""
    rounds: int = Field(default=3, ge=1)
    """Each has instructions of its own."""
    samples: int = Field(default=5, ge=1)
    """Answers to an instruction."""
    attempts: Voice = Voice(temperature=0.9, top_p=0.9, max_tokens=2048)
    """How answers are drawn; evaluation is greedy as well, with the same `max_tokens`."""
    judging: Voice = Voice(temperature=0.7, max_tokens=2048)
    refining: Voice = Voice(temperature=0.7, max_tokens=3072)
    votes: int = Field(default=5, ge=1, le=MOST_VOTES)
    """Judgements of an answer; their majority counts."""
    quorum: int = Field(default=3, ge=1)
    """Readable votes that a majority takes; below it an answer is unscored."""
    stop_early: bool = False
    """Cast no further votes when the majority is decided; which votes disagree is then not always known, nor whether
    a share is above any threshold but 0.5."""
    search: Searching = Searching()
    judge: Literal["refiner", "checker", "random"] = "refiner"
    """Whose verdicts count in training. checker: a ceiling, where instructions have checks. random: a floor."""
    learn_from: Literal["refined", "independent", "sft", "extremes", "none"] = "refined"
    """What the actor learns. refined: SPaR. independent: an answer that passed over one that failed. extremes: the best
    answer by votes over the worst. sft: refined answers without contrast, by `refiner_training`. none: nothing."""
    refiner_learns: bool = True
    """false: the refiner is frozen."""
    judge_pairs: bool = False
    """The refiner learns the majority's critique over a dissenter's as well."""
    judge_require: Requirements = Requirements()
    """Certify the refiner before each round, by labelled responses that no exam has: {balanced_accuracy = 0.65}."""
    judge_fails: Literal["stop", "roll back"] = "stop"
    """What a judge that is not as required comes to. stop: the run ends with an error. roll back: it ends with the best
    round so far, and says so."""
    audit: str = ""
    """Labelled responses to certify the judge by, a JSONL file; empty: those of `judged` that no exam has."""
    audit_judged: int = Field(default=400, ge=2)
    """Labelled responses of it, at most those that there are in a file of their own."""
    caps: Caps = Caps()
    hygiene: Hygiene = Hygiene()
    most_pairs: int | None = Field(default=None, ge=1)
    """Most pairs learned in a round, to compare arms at equal counts; None: all."""
    init: Literal["base", "previous"] = "previous"
    """What each round trains: M_t and R_t, or both as they were given. DPO's anchor is the model it starts from, unless
    `training.reference` is "base"."""
    roll_back: bool = False
    """After a round that got worse than the best before it (p < 0.05), the next begins from that one's models."""
    training: Preference = Preference(
        learning_rate=2e-7, schedule="linear", warmup_share=0.1, batch_size=32, max_length=2048
    )
    """Of the actor."""
    refiner_training: Training = SUPERVISED
    """Of the refiner; its epochs are unpublished, one is our choice."""
    chosen_may_fall: float | None = Field(default=None, ge=0)
    """Most nats by which a round may lower the log-prob of what was chosen, on average; beyond it the run stops."""
    roles: Roles = Roles()
    max_failed: float = Field(default=0.5, ge=0, le=1)
    """Largest share of a stage's rollouts that may fail."""
    vllm: Serving = Serving()
    ledger: Literal["paid", "all"] = "paid"
    """What is kept for ever: calls to servers that others run; or those of vllm: and hf: as well."""
    seed: int = 0
    """Of everything that is drawn."""

    @property
    def shown(self) -> int:
        """Instructions that the teacher shows how to follow."""
        return self.bootstrap.actor + self.bootstrap.refiner

    @property
    def needed(self) -> int:
        """Instructions that are tried in all."""
        return self.shown + self.rounds * self.prompts_a_round

    @property
    def compares(self) -> bool:
        """Whether the actor learns from pairs."""
        return self.learn_from in ("refined", "independent", "extremes")

    @property
    def searches(self) -> bool:
        """Whether somebody learns from trees."""
        return self.refiner_learns or self.judge_pairs or self.learn_from in ("refined", "sft")

    @model_validator(mode="after")
    def check(self) -> Self:
        if self.quorum > self.votes:
            raise ValueError(f"quorum = {self.quorum} is over votes = {self.votes}: nothing could be judged")
        if self.stop_early and self.search.threshold != 0.5:
            raise ValueError(
                f"stop_early tells majorities alone, so search.threshold must be 0.5, not {self.search.threshold}: "
                "leave one of them out"
            )
        if self.learn_from in ("independent", "extremes") and self.samples < 2:
            raise ValueError(f"learn_from = {self.learn_from!r} takes samples >= 2, not {self.samples}")
        if self.judge_pairs and self.init == "base":
            raise ValueError('judge_pairs goes on from the refiner that was just trained: init must be "previous"')
        if self.judge_require.given and self.judge == "checker":
            raise ValueError('judge_require certifies a judge, and judge = "checker" takes none: leave one of them out')
        asked = [name for name in ("actor", "judgements", "refinements") if getattr(self.bootstrap, name)]
        asked = [*(f"bootstrap.{name}" for name in asked), *(["evolve"] if self.evolve else [])]
        if asked and not self.roles.teacher.engine:
            raise ValueError(f"{asked[0]} needs a teacher: name roles.teacher.engine")
        if self.init == "base" and self.shown:
            raise ValueError(
                'bootstrap: with init = "base" round 1 would begin from the model as given, without what a teacher '
                "showed; bootstrap in a run of its own, and name its checkpoints as policy and refiner"
            )
        trainings = {"training": self.training, "refiner_training": self.refiner_training}
        if self.bootstrap.actor or self.bootstrap.refiner:
            trainings["bootstrap_training"] = self.bootstrap_training
        for name in (self.policy, self.refiner):
            check_served(name, self.init, **trainings)
        return self
