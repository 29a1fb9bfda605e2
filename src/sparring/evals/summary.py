"""What a run came to: one line an evaluated item, every metric by round, one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from sparring.evals.asking import Examined
from sparring.files import Row, read_lines
from sparring.runs import Run


def evaluated(run: Run, rounds: int) -> list[Row]:
    """Return one line an evaluated item: every verdict, and every test conversation's log-probs."""
    rows: list[Row] = []
    for t in range(rounds):
        for name, item in (("test-verdicts.jsonl", "verdict"), ("test-signals.jsonl", "log_prob")):
            rows += [{"round": t, "item": item, **row} for row in read_lines(run.path / f"round-{t}" / name)]
    return rows


def summary(recipe: str, run: Run, found: Sequence[Examined], billed: Row) -> Row:
    """Return what summary.json holds: every metric of every round, what it took, and the verdict.

    `billed` is what the ledger says of the calls that cost: by role, what was billed by this attempt, by earlier ones,
    and may have been billed without an answer. `calls` counts all that was asked; the difference was free.
    """
    rounds = [
        {
            "round": t,
            "metrics": {name: m and m.as_dict() for name, m in examined.metrics.items()},
            "judge": examined.judge,
            "failed": examined.failed,
        }
        for t, examined in enumerate(found)
    ]
    return {
        "recipe": recipe,
        "verdict": verdict(found),
        "rounds": rounds,
        "calls": run.calls(),
        "billed": billed,
        "seconds": run.seconds(),
    }


def verdict(found: Sequence[Examined]) -> str:
    """Return one sentence: whether the last round's answers are preferred to m_0's, and how surely."""
    won = found[-1].metrics.get("win_rate")
    if won is None or won.low is None or won.high is None:
        return f"round {len(found) - 1} could not be judged: no verdict was readable"
    of = f"{won.value:.1%} of {won.n} held-out pairs (95 % interval {won.low:.1%} to {won.high:.1%})"
    word = "improved" if won.low > 0.5 else "got worse" if won.high < 0.5 else "did not improve"
    sentence = f"round {len(found) - 1} {word}: its answers are preferred to m_0's in {of}"
    about_user = [examined.metrics.get("experimental_minus_shuffled") for examined in found]
    if about_user[0] and about_user[-1]:
        sentence += f"; experimental minus shuffled {about_user[0].value:.1f} -> {about_user[-1].value:.1f} nats"
    return sentence
