"""SPaR: learn to follow instructions by refining one's own failed answers with tree search.

Cheng, Liu, Wang, Gu, Lu, Zhang, Dong, Tang, Wang and Huang (2024), https://arxiv.org/abs/2412.11605

An actor M_t answers, a refiner R_t of the same base judges the answers by vote and refines a failed one, in a tree of
refinements, until it passes. The two answers of such a pair differ where it matters and hardly elsewhere, so the actor
learns by DPO why one fails; the refiner learns, by rejection, the refinements that worked and the judgements on which
its votes disagreed.

    sparring run spar                      on the embedded world, in minutes
    sparring run spar --config mine.toml   on your own model, instructions and servers

Where paper and code differ we follow the code. Departures: a majority takes a quorum of readable votes; a refinement
that changes nothing is never judged, accepted or learned; how much likelier what was chosen becomes is measured in
every round, and may be bounded. The steps are `SPaRLoop`'s; settings, and the baselines that they make, `SPaR`'s.
"""

from __future__ import annotations

from collections.abc import Sequence

from sparring.evals.instructed import Exam, Examined, against
from sparring.evals.summary import rounds, summary
from sparring.files import Row
from sparring.loop import Trainer
from sparring.recipes.spar_audit import distrusted, ended
from sparring.recipes.spar_beginning import begin, instructions
from sparring.recipes.spar_loop import Models, SPaRLoop
from sparring.rollouts.pairs import failed
from sparring.tasks.instructions import Instructed


def spar(loop: SPaRLoop, prompts: Sequence[Instructed], exam: Exam, train: Trainer) -> Row:
    """Run the whole recipe and return its summary: the same dict as summary.json."""
    found, distrust = improve(loop, prompts, exam, train)
    run = loop.stages.run
    run.lines("eval.jsonl", lambda: [{"round": t, **row} for t, one in enumerate(found) for row in one.items])
    rows = rounds(found, against, loop.settings.roll_back)
    told, stopped = ended(found, distrust)
    return run.json("summary.json", lambda: summary("spar", run, rows, told, loop.engines.billed()) | stopped)


def improve(
    loop: SPaRLoop, prompts: Sequence[Instructed], exam: Exam, train: Trainer
) -> tuple[list[Examined], list[str]]:
    """Return the evaluation of M_0 and R_0, M_1 and R_1, ..., and why the last R is no judge for another round.

    Every prompt is tried in one round only. Raises CertificateError where a judge that fails is to stop the run.
    """
    shares = instructions(loop, prompts, exam)
    models, start = [begin(loop, shares[0], train)], 0
    found = [loop.examine(0, models[0], exam, None)]
    for t in range(loop.settings.rounds):
        if distrust := distrusted(loop.stages, t + 1, start, loop.settings):
            return found, distrust
        models.append(one_round(loop, t, models[start], shares[t + 1], train))
        found.append(loop.examine(t + 1, models[-1], exam, found[0]))
        start = loop.went(found, against)
    return found, []


def one_round(loop: SPaRLoop, t: int, models: Models, prompts: Sequence[Instructed], train: Trainer) -> Models:
    """Return M_(t+1) and R_(t+1), trained on what M_t and R_t (`models`) did with these prompts."""
    stages = loop.stages.within(f"round-{t + 1}")

    # 1. Answer: the actor answers every prompt five times.
    attempts = loop.answer(stages, models, prompts)

    # 2. Judge: the refiner votes five times on every answer; of those that fail, one a prompt is drawn.
    attempts = loop.judge(stages, models, attempts)
    begun = failed(attempts, loop.settings.seed)

    # 3. Refine: from each grows a tree of refinements, every node judged by vote, until one passes.
    trees = loop.refine(stages, models, begun)

    # 4. Select: for the actor, what passed over the answer that its tree began with; for the refiner, the refinements
    #    that passed, and the judgements on which votes disagreed.
    rows = loop.select(stages, models, attempts, trees)

    # 5. Train: the actor by DPO from M_t, the refiner by fine-tuning from R_t.
    return loop.teach(stages, models, rows, train)
