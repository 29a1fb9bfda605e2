"""What finished runs of SPaR with several seeds say together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean

from sparring.evals.judging import judging
from sparring.evals.statistics import Interval, mean_interval, paired_difference
from sparring.files import Row, read_json, read_lines

Values = dict[tuple[int, str], float]
"""By seed and held-out prompt: other seeds have other prompts."""


@dataclass(frozen=True, slots=True)
class Runs:
    """The finished runs of one arm."""

    folders: dict[int, Path]
    """By seed."""

    @property
    def last(self) -> int:
        """The last round, in every run."""
        lasts = {len(read_json(folder / "summary.json")["rounds"]) - 1 for folder in self.folders.values()}
        if len(lasts) > 1:
            raise SystemExit(f"{', '.join(map(str, self.folders.values()))} differ in their rounds: {sorted(lasts)}")
        return lasts.pop()

    def strict(self, t: int, item: str) -> Values:
        """Return which held-out prompts were followed in a round: `item` is greedy or sampled."""
        return {
            (seed, row["id"]): float(row["strict"])
            for seed, folder in self.folders.items()
            for row in items(folder)[t, item]
        }

    def share(self, t: int, item: str) -> Interval | None:
        return mean_interval(list(self.strict(t, item).values()))

    def readings(self, t: int) -> list[Row]:
        """Return what was said of the labelled responses in a round."""
        return [
            {**row, "id": f"{seed}/{row['id']}"}
            for seed, folder in self.folders.items()
            for row in items(folder)[t, "judgement"]
        ]

    def judge(self, t: int, before: tuple[Runs, int] | None = None) -> dict[str, Interval | None]:
        """Return how well a round's judge judges; with another's round, also how much better (`..._over_round_0`)."""
        return judging(self.readings(t), before[0].readings(before[1]) if before else [])

    def pooled(self, t: int, name: str) -> Interval | None:
        """Return a share that the summaries tell, over what all seeds counted."""
        found = [self._round(folder, t)["metrics"].get(name) for folder in self.folders.values()]
        counted = [value for one in found if one for value in _counted(one)]
        return mean_interval(counted)

    def learned(self, t: int) -> list[int]:
        """Return by how many pairs, or refined answers, the actor was trained in a round, by seed."""
        return [learned(folder, t) for folder in self.folders.values()]

    @staticmethod
    def _round(folder: Path, t: int) -> Row:
        return read_json(folder / "summary.json")["rounds"][t]


@cache
def items(folder: Path) -> Mapping[tuple[int, str], list[Row]]:
    """Return the evaluated items of a run, by round and kind."""
    found: dict[tuple[int, str], list[Row]] = defaultdict(list)
    for row in read_lines(folder / "eval.jsonl"):
        found[row["round"], row["item"]].append(row)
    return found


def learned(folder: Path, t: int) -> int:
    """Return how many rows the actor of a round was trained on."""
    path = folder / f"round-{t}" / "actor.jsonl"
    return len(read_lines(path)) if path.exists() else 0


def _counted(share: Mapping[str, float]) -> list[float]:
    """Return a share of n as so many ones, and zeros for the rest."""
    n = int(share["n"])
    ones = round(share["value"] * n)
    return [1.0] * ones + [0.0] * (n - ones)


def over(ours: Values, theirs: Values) -> Interval | None:
    """Return the paired difference, over the prompts of the seeds that both have."""
    return paired_difference(ours, theirs)


def over_by_seed(ours: Values, theirs: Values) -> str:
    """Return the mean of the seeds' differences, and their range, in points."""
    gaps: dict[int, list[float]] = defaultdict(list)
    for seed, id in ours.keys() & theirs.keys():
        gaps[seed].append(ours[seed, id] - theirs[seed, id])
    means = [100 * mean(those) for those in gaps.values()]
    if not means:
        return "-"
    return f"{mean(means):+.1f} ({min(means):+.1f} to {max(means):+.1f}, {len(means)} seeds)"


def figure(found: Interval | None, sign: str = "") -> str:
    """Return a share, or a difference of two, in points."""
    if found is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{100 * found.value:{sign}.1f}"
    value, low, high = (f"{100 * bound:{sign}.1f}" for bound in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"
