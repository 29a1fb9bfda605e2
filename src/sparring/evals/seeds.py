"""A recipe run with several seeds: every metric's mean over them, and how far it is known.

Two things are drawn: tasks, and what a seed decides (who is tried, what is sampled, how training goes). Of each metric
there is one number a seed, and the interval is Student's over them. Where the items of an evaluation are at hand, there
is a two-level bootstrap as well: tasks are drawn, and as many seeds as there are; a task that several seeds have is
drawn for all of them. The interval is then as wide as either: Student's knows nothing of tasks that all seeds share,
and of three seeds a bootstrap never leaves the range of their values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from sparring.evals.statistics import Interval
from sparring.evals.summary import Word
from sparring.files import Row
from sparring.rollouts.situation import task_of

DRAWS = 2_000
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5 % quantiles, by degrees of freedom from 1 on."""

Values = Mapping[str, float]
"""One seed's, by task."""


@dataclass(frozen=True, slots=True)
class Column:
    """Where a metric's values stand in eval.jsonl."""

    item: str
    value: str
    task: str = "id"
    voice: str | None = None
    of_pairs: bool = False
    """Whether `task` holds "TASK PERSONA": a task is drawn with everybody who asks it."""

    def of(self, rows: Sequence[Row], t: int) -> dict[str, float]:
        """Return the values of a round by task, the mean of several of one."""
        found: dict[str, list[float]] = defaultdict(list)
        for row in rows:
            if row["round"] == t and row["item"] == self.item and row.get("voice") == self.voice and self._counts(row):
                task: str = row[self.task]
                found[task_of(task) if self.of_pairs else task].append(float(row[self.value]))
        return {task: fmean(values) for task, values in found.items()}

    def _counts(self, row: Row) -> bool:
        return row[self.value] is not None and row.get("seen", True) is not None  # None: of elsewhere, in no total


WIN = Column("verdict", "value", "situation", "own", of_pairs=True)
LOG_PROB = Column("log_prob", "heard", "situation", of_pairs=True)
DIRECT, CORRECTED = Column("greedy", "direct"), Column("greedy", "self_corrected")
STRICT, LOOSE, SAMPLED = Column("greedy", "strict"), Column("greedy", "loose"), Column("sampled", "strict")

COLUMNS: Mapping[str, Mapping[str, tuple[Column, Column | None]]] = {
    "star-gate": {
        "win_rate": (WIN, None),
        "oracle_log_prob": (LOG_PROB, None),
        "oracle_log_prob_over_m_0": (LOG_PROB, LOG_PROB),
    },
    "tripost": {
        "accuracy_direct": (DIRECT, None),
        "accuracy_self_corrected": (CORRECTED, None),
        "accuracy_self_corrected_over_round_0": (CORRECTED, CORRECTED),
        "accuracy_self_corrected_over_round_0_direct": (CORRECTED, DIRECT),
    },
    "spar": {
        "prompt_strict": (STRICT, None),
        "prompt_loose": (LOOSE, None),
        "prompt_strict_sampled": (SAMPLED, None),
        "prompt_strict_over_round_0": (STRICT, STRICT),
        "prompt_strict_sampled_over_round_0": (SAMPLED, SAMPLED),
    },
}
"""Of each recipe the metrics whose items are at hand: the column, and round 0's that is taken from it, if any."""

HEADLINES: Mapping[str, tuple[tuple[str, ...], float]] = {
    "star-gate": (("win_rate",), 0.5),
    "tripost": (("accuracy_self_corrected_over_round_0", "accuracy_self_corrected_over_round_0_direct"), 0.0),
    "spar": (("prompt_strict_over_round_0", "prompt_strict_sampled_over_round_0"), 0.0),
}
"""The metrics that a verdict is about, and their value if nothing had changed."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """One seed's run."""

    seed: int
    summary: Row
    """Its summary.json."""
    items: Sequence[Row]
    """Its eval.jsonl."""


def over_seeds(runs: Sequence[Seeded]) -> Row:
    """Return what several runs of one recipe come to, each metric with `seeds`, its value in every one of them.

    `over` says what an interval is over, "tasks and seeds" (n tasks) or "seeds" (n seeds).
    """
    recipe = runs[0].summary["recipe"]
    rounds = [
        {"round": t, "metrics": _metrics(recipe, runs, t)}
        for t in range(min(len(run.summary["rounds"]) for run in runs))
    ]
    verdicts = {str(run.seed): run.summary["verdict"] for run in runs}
    seeds = [run.seed for run in runs]
    return {"recipe": recipe, "seeds": seeds, "verdict": _verdict(recipe, rounds, runs), "rounds": rounds} | {
        "verdicts": verdicts
    }


def _metrics(recipe: str, runs: Sequence[Seeded], t: int) -> dict[str, Row | None]:
    every = [run.summary["rounds"][t]["metrics"] for run in runs]
    found: dict[str, Row | None] = {}
    for name in dict.fromkeys(name for metrics in every for name in metrics):
        values = [(metrics.get(name) or {}).get("value") for metrics in every]
        known = [value for value in values if value is not None]
        tasks = _values(recipe, name, runs, t)
        interval = _wider(two_level(tasks), student(known)) if tasks else student(known)
        over = "tasks and seeds" if tasks else "seeds"
        found[name] = interval and {**interval.as_dict(), "over": over, "seeds": values}
    return found


def _values(recipe: str, name: str, runs: Sequence[Seeded], t: int) -> list[Values]:
    """Return a metric's values by seed and task; nothing where a seed has none."""
    if name not in COLUMNS.get(recipe, {}):
        return []
    now, before = COLUMNS[recipe][name]
    found: list[Values] = []
    for run in runs:
        values = now.of(run.items, t)
        if before:
            then = before.of(run.items, 0)
            values = {task: value - then[task] for task, value in values.items() if task in then}
        found.append(values)
    return found if all(found) else []


def two_level(values: Sequence[Values], *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Return the mean over seeds of their means over tasks, with its interval over both; at least one value a seed."""
    import numpy as np

    tasks = {task: at for at, task in enumerate(sorted({task for those in values for task in those}))}
    table = np.full((len(values), len(tasks)), np.nan)
    for at, those in enumerate(values):
        table[at, [tasks[task] for task in those]] = list(those.values())
    value = float(np.nanmean(table, axis=1).mean())
    if len(tasks) == 1:
        return Interval(value, None, None, 1)
    generator, there = np.random.default_rng(seed), ~np.isnan(table)
    filled = np.where(there, table, 0.0)
    means: list[Any] = []
    block = max(1, 1_000_000 // len(tasks))
    for start in range(0, DRAWS, block):
        drawn = generator.multinomial(len(tasks), np.full(len(tasks), 1 / len(tasks)), min(block, DRAWS - start))
        with np.errstate(invalid="ignore"):  # of a seed with few tasks none may be drawn
            by_seed = (drawn @ filled.T) / (drawn @ there.T)
            picked = np.take_along_axis(by_seed, generator.integers(len(values), size=by_seed.shape), axis=1)
            means.append(np.nansum(picked, axis=1) / np.sum(~np.isnan(picked), axis=1))
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(np.concatenate(means), [tail, 1 - tail])
    return Interval(value, min(float(low), value), max(float(high), value), len(tasks))


def _wider(a: Interval, b: Interval | None) -> Interval:
    """Return the first, as wide as either."""
    if b is None or b.low is None or b.high is None or a.low is None or a.high is None:
        return a
    return replace(a, low=min(a.low, b.low), high=max(a.high, b.high))


def student(values: Sequence[float]) -> Interval | None:
    """Return the mean of one value a seed, with its 95 % interval by Student's t; None where there is none."""
    n = len(values)
    if not n:
        return None
    value = fmean(values)
    if n == 1:
        return Interval(value, None, None, 1)
    times = STUDENT[n - 2] if n - 2 < len(STUDENT) else 1.96 + 2.7 / (n - 1)
    wide = times * stdev(values) / sqrt(n)
    return Interval(value, value - wide, value + wide, n)


def _verdict(recipe: str, rounds: Sequence[Row], runs: Sequence[Seeded]) -> str:
    """Return one sentence: whether the last round improved over all seeds, and in how many by itself."""
    names, without = HEADLINES[recipe]
    found = [rounds[-1]["metrics"].get(name) for name in names]
    t, n = len(rounds) - 1, len(runs)
    if not t:
        return f"over {n} seeds nothing was learned in all of them; each seed's verdict says why"
    if not all(one and one["low"] is not None for one in found):
        return f"over {n} seeds round {t} could not be judged"
    lows, highs = [one["low"] for one in found], [one["high"] for one in found]
    word: Word = "improved" if min(lows) > without else "got worse" if highs[0] < without else "did not improve"
    most = max(len(run.summary["rounds"]) for run in runs) - 1
    early = [f"seed {run.seed}" for run in runs if len(run.summary["rounds"]) <= most]
    ended = f"; {', '.join(early)} ended before round {most}, and no later one is compared" if early else ""
    alone = sum(run.summary["verdict"].startswith(f"round {len(run.summary['rounds']) - 1} improved") for run in runs)
    sign, unit = ("", "%") if without else ("+", "points")  # a share against its value by chance, or a difference
    told = "; ".join(
        f"{name.replace('_', ' ')} {100 * one['value']:{sign}.1f} {unit} "
        f"(95 % interval over {one['over']} {100 * one['low']:{sign}.1f} to {100 * one['high']:{sign}.1f})"
        for name, one in zip(names, found, strict=True)
    )
    return f"over {n} seeds round {t} {word}: {told}; by itself it improved in {alone} of {n}{ended}"
