"""SPaR's loop: who plays, what each step of a round does, and what is learned and measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from sparring.engines.base import Generator, Scorer
from sparring.errors import EngineError, TrainingError
from sparring.evals.gauges import OVERLAP, contamination, exceeded
from sparring.evals.instructed import Exam, Examined, Made, Seen, changes, counted, examine
from sparring.files import Row
from sparring.flow import Role
from sparring.loop import Loop, Trainer
from sparring.opening import Engines
from sparring.recipes.spar_audit import VOTES, certificate, votes_on
from sparring.recipes.spar_settings import SPaR
from sparring.rollouts.bootstrapping import ONCE
from sparring.rollouts.pairs import (
    Attempt,
    Bounds,
    attempt,
    extremes,
    hygiene,
    independent,
    judge_pairs,
    judged,
    refined,
)
from sparring.rollouts.refining import Refiner
from sparring.rollouts.rejection import Caps, lessons, sft_refined
from sparring.rollouts.tree import Search, Tree, search
from sparring.runs import Run
from sparring.select import draw, spread
from sparring.settings import Training
from sparring.signals.judge import Judge, Panel, at_random, checked
from sparring.signals.logprob import log_probs
from sparring.stages import Stages, Tell
from sparring.tasks.instructions import Instructed, Suite, follow
from sparring.types import Chat

SIDES = ("chosen", "rejected")
SCORED = 500
"""Most pairs whose log-probs are taken before and after a training."""


@dataclass(frozen=True, slots=True)
class Models:
    """Engines' names."""

    actor: str
    refiner: str


@dataclass(frozen=True)
class SPaRLoop(Loop):
    """What the steps of the loop share."""

    settings: SPaR
    suite: Suite
    """Checks what can be checked: in evaluation, and where the judge is a checker."""
    asked: Mapping[str, Instructed]
    """What can be checked, by its prompt."""

    @staticmethod
    def start(
        settings: SPaR,
        run: Run,
        engines: Engines,
        prompts: Mapping[str, str],
        suite: Suite,
        asked: Sequence[Instructed],
        tell: Tell,
        most: int | None = None,
    ) -> SPaRLoop:
        """Open the engines; `prompts` are what `read_prompts` gives, `asked` is all that is tried.

        Raises EngineError for an engine that cannot be used.
        """
        stages, known = (
            Stages(run, tell, settings.max_failed, run, most),
            {o.prompt: o for o in asked if o.instructions},
        )
        loop = SPaRLoop(settings, prompts, stages, engines, suite, known)
        teacher = settings.roles.teacher
        loop.check_engines({"teacher": teacher} if teacher.engine else {}, "the proof of a checkpoint")
        engine = engines.open(settings.refiner or settings.policy)
        if not (isinstance(engine, Generator) and isinstance(engine, Scorer)):
            raise EngineError(f"refiner {settings.refiner!r} must continue chats and return log-probs")
        return loop

    # Who plays

    def actor(self, name: str) -> Role:
        return Role("policy", self.engines.open(name), self.settings.attempts.sampling(self.settings.seed))

    def panel(self, name: str, whole: bool = False) -> Panel:
        """Return a refiner as a judge; `whole`: all its votes, whatever the settings stop early."""
        settings = self.settings
        role = Role("judge", self.engines.open(name), settings.judging.sampling(settings.seed))
        return Panel(role, self.prompts["judge"], settings.votes, settings.quorum, settings.stop_early and not whole)

    def refiner(self, name: str) -> Refiner:
        role = Role("refiner", self.engines.open(name), self.settings.refining.sampling(self.settings.seed))
        return Refiner(role, self.prompts["refine"])

    def judge_of(self, name: str, whole: bool = False) -> Judge:
        """Return whose verdicts count in training."""
        panel = self.panel(name, whole)
        match self.settings.judge:
            case "checker":
                return checked(panel, self.follows)
            case "random":
                return at_random(panel, self.settings.seed)
            case "refiner":
                return panel

    def follows(self, prompt: str, response: str) -> bool:
        """Tell whether a response obeys, strictly, every instruction of a prompt that can be checked."""
        return all(follow(self.asked[prompt], response, self.suite.checkers))

    # The steps of a round

    def answer(self, stages: Stages, models: Models, prompts: Sequence[Instructed]) -> list[Attempt]:
        """Return the actor's answers."""
        samples = self.settings.samples
        if stages.most is not None:  # what a round does is told by whole prompts
            prompts = spread(prompts, max(1, stages.most // samples))
        return self.answers(stages, "attempts.jsonl", self.actor(models.actor), prompts, samples)

    def answers(
        self, stages: Stages, name: str, actor: Role, prompts: Sequence[Instructed], samples: int
    ) -> list[Attempt]:
        flows = [(f"{one.id} #{n}", attempt(one.id, one.prompt, n, actor)) for one in prompts for n in range(samples)]
        return [Attempt.from_row(row) for row in stages.roll_out(name, flows, Attempt.row)]

    def judge(self, stages: Stages, models: Models, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Return the answers, judged."""
        return self.voted(stages, "judgements.jsonl", attempts, self.judge_of(models.refiner))

    def voted(self, stages: Stages, name: str, attempts: Sequence[Attempt], judge: Judge) -> list[Attempt]:
        flows = [(one.id, judged(one, judge)) for one in attempts]
        return [Attempt.from_row(row) for row in stages.roll_out(name, flows, Attempt.row)]

    def refine(self, stages: Stages, models: Models, begun: Sequence[Attempt]) -> list[Tree]:
        """Return the trees that grow from failed answers; none where nobody learns from them."""
        if not self.settings.searches:
            return []
        how, judge = Search(**self.settings.search.model_dump()), self.judge_of(models.refiner)
        return self.trees(stages, "trees.jsonl", begun, self.refiner(models.refiner), judge, how)

    def trees(
        self, stages: Stages, name: str, begun: Sequence[Attempt], refiner: Refiner, judge: Judge, how: Search
    ) -> list[Tree]:
        flows = [
            (one.id, search(one.id, one.prompt, one.response, refiner, judge, how, one.judgement)) for one in begun
        ]
        return [Tree.from_row(row) for row in stages.roll_out(name, flows, Tree.row)]

    def select(
        self, stages: Stages, models: Models, attempts: Sequence[Attempt], trees: Sequence[Tree]
    ) -> dict[str, list[Row]]:
        """Return the rows that are learned, by the checkpoint that they make; the journal counts the others."""
        settings, panel, refiner = self.settings, self.panel(models.refiner), self.refiner(models.refiner)

        def learned() -> list[Row]:
            found, dropped = lessons(trees, attempts, panel, refiner, Caps(**settings.caps.model_dump()), settings.seed)
            stages.folder.note("refiner.jsonl", dropped=dropped)
            return [one.row() for one in found]

        rows: dict[str, list[Row]] = {}
        if settings.learn_from != "none":
            made = (
                self.pairs(stages, attempts, trees) if settings.compares else [one.row() for one in sft_refined(trees)]
            )
            rows["actor"] = stages.lines("actor.jsonl", lambda: self.some(made))
        if settings.refiner_learns:
            rows["refiner"] = stages.lines("refiner.jsonl", learned)
        if settings.judge_pairs:
            kept, _ = hygiene(judge_pairs(trees, attempts, panel))
            rows["judge"] = stages.lines("judge.jsonl", lambda: [one.row() for one in kept])
        return rows

    def pairs(self, stages: Stages, attempts: Sequence[Attempt], trees: Sequence[Tree]) -> list[Row]:
        """Return the pairs that the actor might learn."""
        settings = self.settings

        def rows() -> list[Row]:
            match settings.learn_from:
                case "independent":
                    found = independent(attempts, settings.seed)
                case "extremes":
                    found = extremes(attempts)
                case _:
                    found = refined(trees)
            kept, dropped = hygiene(found, Bounds(**settings.hygiene.model_dump(exclude_none=True)))
            stages.folder.note("pairs.jsonl", dropped=dropped)
            return [one.row() for one in kept]

        return stages.lines("pairs.jsonl", rows)

    def some(self, rows: Sequence[Row]) -> list[Row]:
        """Return no more rows than the actor may learn, drawn by the seed."""
        most, rng = self.settings.most_pairs, Random(f"{self.settings.seed}/pairs")
        return draw(rows, len(rows) if most is None else most, rng)

    def teach(self, stages: Stages, models: Models, rows: Mapping[str, Sequence[Row]], train: Trainer) -> Models:
        """Return M_(t+1) and R_(t+1): either is as it was where it has nothing to learn."""
        settings, pairs = self.settings, rows.get("actor", ()) if self.settings.compares else ()
        comparing = settings.training if settings.compares else settings.refiner_training
        before = self.scores(stages, "scores-before.jsonl", models.actor, pairs)
        actor = self.learn(stages, models.actor, "actor", rows, train, comparing)
        self.check_fall(stages, before, self.scores(stages, "scores-after.jsonl", actor, pairs))
        refiner = self.learn(stages, models.refiner, "refiner", rows, train, settings.refiner_training)
        return Models(actor, self.learn(stages, refiner, "judge", rows, train, settings.training))

    def learn(
        self,
        stages: Stages,
        model: str,
        out: str,
        rows: Mapping[str, Sequence[Row]],
        train: Trainer,
        training: Training,
    ) -> str:
        """Return a model trained on OUT.jsonl into OUT; as it is where that has no rows."""
        if not rows.get(out):
            return model
        base = self.settings.policy if out == "actor" else self.settings.refiner or self.settings.policy
        return self.train(stages, model, train, training, rows=f"{out}.jsonl", out=out, base=base)

    def scores(self, stages: Stages, name: str, model: str, pairs: Sequence[Row]) -> list[Row]:
        """Return how likely a model finds both sides of the pairs, or of some, in nats; None for what does not fit."""
        some = spread(pairs, SCORED)

        def rows() -> list[Row]:
            sides: list[tuple[Chat, str]] = [(one["prompt"], one[side]) for one in some for side in SIDES]
            found = log_probs(self.engines.open(model), sides, stages.progress(name))
            those = zip(some, found[::2], found[1::2], strict=True)
            return [{"id": one["id"], "chosen": chosen, "rejected": rejected} for one, chosen, rejected in those]

        return stages.lines(name, rows) if some else []

    def check_fall(self, stages: Stages, before: Sequence[Row], after: Sequence[Row]) -> None:
        """Raise TrainingError where what was chosen has become less likely than the settings allow."""
        most, change = self.settings.chosen_may_fall, changes(before, after)["chosen_log_prob_change"]
        if most is not None and change and change.value < -most:
            raise TrainingError(
                f"{stages.folder.stage('actor')}: the log-prob of chosen answers fell by {-change.value:.2f} nats on "
                f"average, over chosen_may_fall = {most}: DPO has begun to unlearn them. Raise training.sft_weight "
                f"(now {self.settings.training.sft_weight}), or lower training.learning_rate or epochs, in a new run"
            )

    # What is measured

    def examine(self, t: int, models: Models, exam: Exam, m_0: Examined | None) -> Examined:
        """Evaluate M_t and R_t on held-out prompts, greedily and sampled, and what the round before made of its own."""
        stages, actor = self.stages.within(f"round-{t}"), self.actor(models.actor)
        panel, refiner = self.panel(models.refiner), self.refiner(models.refiner)
        greedy = self.answers(stages, "test-answers.jsonl", actor.greedy(), exam.test, 1)
        sampled = self.answers(stages, "test-sampled.jsonl", actor, exam.test, 1)
        levels = self.answers(stages, "test-levels.jsonl", actor.greedy(), exam.levels, 1) if exam.levels else []
        judgements = votes_on(stages, panel, exam.judged) if exam.judged else {}
        # One refinement of M_0's wrong answers, after the refiner's own critique: the same answers in every round.
        wrong = [one for one in self.voted(stages, "test-votes.jsonl", self.wrong(), panel) if one.value is not None]
        mended = self.trees(stages, "test-trees.jsonl", wrong, refiner, panel, ONCE)
        seen = Seen(greedy, sampled, levels, judgements, mended)
        found = examine(self.suite.checkers, self.follows, exam, seen, self.made(stages) if t else Made(), m_0)
        found = replace(found, failed=stages.reasons("test-answers.jsonl"))
        if exam.audit:
            votes_on(stages, self.judge_of(models.refiner, whole=True), exam.audit, VOTES)
        of_exam = self.settings.judge == "refiner" and not self.settings.stop_early
        found.metrics.update(certificate(self.stages, t, exam, of_exam))
        if tried := [row["prompt"] for row in stages.rows("attempts.jsonl")] if t else []:
            # A world's prompts are made of the same few phrases: of those only the same prompt is contamination.
            n = None if self.settings.tasks.startswith("world:") else OVERLAP
            found.metrics["contaminated"] = contamination([one.prompt for one in exam.test], tried, n)
        warnings = exceeded(found.metrics, (m_0 or found).metrics)
        self.stages.tell({"event": "round", "round": t, "metrics": found.metrics, "warnings": warnings})
        return found

    def wrong(self) -> list[Attempt]:
        """Return answers that M_0 drew in its exam and that are wrong by the checkers, spread over all of them."""
        drawn = [Attempt.from_row(row) for row in self.stages.within("round-0").rows("test-sampled.jsonl")]
        wrong = [one for one in drawn if one.prompt in self.asked and not self.follows(one.prompt, one.response)]
        return spread(wrong, self.settings.test_refined)

    def made(self, stages: Stages) -> Made:
        """Return what a round made of its own prompts."""
        trees = [Tree.from_row(row) for row in stages.rows("trees.jsonl")]
        judged = [Attempt.from_row(row) for row in stages.rows("judgements.jsonl")]
        failures = stages.run.failures.get(stages.folder.stage("attempts.jsonl"), [])
        tried = {row["prompt_id"] for row in stages.rows("attempts.jsonl")}
        tried |= {failure.id.rpartition(" #")[0] for failure in failures}
        learned = {"pairs": len(stages.rows("actor.jsonl")), "judge_pairs": len(stages.rows("judge.jsonl"))}
        learned |= counted(stages.rows("refiner.jsonl"), "kind")
        return Made(
            prompts=len(tried),
            trees=[tree for tree in trees if tree.prompt in self.asked],
            answers=[one for one in judged if one.prompt in self.asked],
            pairs=stages.rows("pairs.jsonl") if self.settings.compares else None,
            before=stages.rows("scores-before.jsonl"),
            after=stages.rows("scores-after.jsonl"),
            learned={kind: n for kind, n in learned.items() if n},
        )
