"""TriPosT, its baselines and ablations on the embedded worlds, over several seeds: the tables of RESULTS.md.

    python -m bench.tripost --worlds arithmetic word-sorting --seeds 1 2 3 --out runs/tripost

Every arm is a run directory of its own, so a stopped measurement goes on where it was. Every arm passes as many tokens
through the model as TriPosT's rounds with the same seed did; arms whose rows do not depend on the policy do so in one
round. Intervals are over held-out questions of all seeds together, paired by seed and question: what they leave out,
the spread over seeds, stands beside them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from bench.arms import Arm, carry_out, folder_of
from sparring.evals.statistics import Interval, mean_interval, paired_difference
from sparring.files import read_json, read_lines

FULL = "TriPosT"
FIXED = ("rounds=1", "test_sampled=0")
"""Of arms whose rows are there before the first round."""
MAIN: dict[str, tuple[str, ...]] = {
    FULL: (),
    "gold rationales": ("learn_from=rationales", *FIXED),
    "gold rationales of all questions": ("learn_from=rationales", "gold=1200", *FIXED),
    "TriPosT, gold of all questions": ("gold=1200", "test_sampled=0"),
    "demonstrations of other mistakes": ("learn_from=demonstrations", 'mistakes=["blunder"]', "samples=3", *FIXED),
    "demonstrations of its own mistakes": ("learn_from=demonstrations", 'mistakes=["slip"]', "samples=3", *FIXED),
}
ABLATIONS: dict[str, tuple[str, ...]] = {
    "answers only": ("learn_from=answers", "updates=0", *FIXED),
    "LMSI by vote": ("learn_from=votes", "samples=5", "questions=240", "test_sampled=0"),
    "LMSI by gold": ("learn_from=filtered", "samples=5", "questions=240", "test_sampled=0"),
    "no interaction": ("interaction=once", "test_sampled=0"),
    "no balance": ("ratio=all", "test_sampled=0"),
    "no weights": ("feedback_weight=1.0", "test_sampled=0"),
    "ratio 0.5": ("ratio=0.5", "test_sampled=0"),
    "ratio 5": ("ratio=5.0", "test_sampled=0"),
    "wrong attempts learned (as published)": ("attempt_weight=1.0", "test_sampled=0"),
    "no false alarms": ("false_alarms=false", "test_sampled=0"),
    "no evidence": ("evidence=false", "test_sampled=0"),
    "the policy mends": ("improver=policy", "test_sampled=0"),
    "a model criticises": ("feedback=teacher", "test_sampled=0"),
}
ARMS = MAIN | ABLATIONS
COLUMNS = ("direct", "self_corrected")


@dataclass(frozen=True, slots=True)
class Runs:
    """The finished runs of one arm in one world."""

    folders: dict[int, Path]
    """By seed."""

    def last(self) -> int:
        return max(
            row["round"] for folder in self.folders.values() for row in read_json(folder / "summary.json")["rounds"]
        )

    def values(
        self, t: int, column: str, item: str = "greedy", seen: bool | None = None
    ) -> dict[tuple[int, str], float]:
        """Return a column of the evaluated items of a round, by seed and question."""
        return {
            (seed, row["id"]): float(row[column])
            for seed, folder in self.folders.items()
            for row in read_lines(folder / "eval.jsonl")
            if row["round"] == t and row["item"] == item and seen in (None, row["seen"]) and row[column] is not None
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", default=["arithmetic", "word-sorting"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(MAIN), choices=list(ARMS))
    parser.add_argument("--out", type=Path, default=Path("runs/tripost"))
    parser.add_argument("--at-once", type=int, default=2, help="runs side by side, one thread each")
    options = parser.parse_args()
    for world in options.worlds:
        out = options.out / world
        for arms in ([FULL], [arm for arm in options.arms if arm != FULL]):  # the others need to know its tokens
            carry_out([_arm(world, arm, seed, out) for arm in arms for seed in options.seeds], options.at_once)
        found = {arm: Runs({seed: folder_of(arm, seed, out) for seed in options.seeds}) for arm in options.arms}
        print(f"\n{world}, seeds {', '.join(map(str, options.seeds))}\n")
        for line in [*_rounds(found), "", *_gains(found), "", *_sampled(found)]:
            print(line)


def _arm(world: str, arm: str, seed: int, out: Path) -> Arm:
    settings = (f"policy=world:{world}/policy", f"seed={seed}", *ARMS[arm])
    if "feedback=teacher" in settings:
        settings = (*settings, f"roles.teacher.engine=world:{world}/teacher")
    if arm != FULL:
        rounds = 1 if "rounds=1" in settings else 3
        settings = (*settings, f"training.tokens={round(_tokens(folder_of(FULL, seed, out)) / rounds)}")
    return Arm("tripost", folder_of(arm, seed, out), settings)


def _tokens(folder: Path) -> int:
    """Return how many tokens the rounds of a run passed through the model."""
    return sum(read_json(report)["tokens"] for report in folder.glob("round-[1-9]*/checkpoint/training.json"))


def _rounds(found: dict[str, Runs]) -> Iterator[str]:
    names = "seen, direct | seen, self-corrected | unseen, direct | unseen, self-corrected"
    yield f"| arm | round | {names} | mended : broken | false alarms | errors found |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for arm, runs in found.items():
        for t in range(runs.last() + 1) if arm == FULL else [runs.last()]:
            shares = [
                _figure(mean_interval(list(runs.values(t, column, seen=seen).values())))
                for seen in (True, False)
                for column in COLUMNS
            ]
            direct, after = (runs.values(t, column) for column in COLUMNS)
            mended = sum(after[key] > direct[key] for key in direct)
            broken = sum(after[key] < direct[key] for key in direct)
            judged = " | ".join(_criticised(runs, t, sound) for sound in (1.0, 0.0))
            yield f"| {arm} | {t} | {' | '.join(shares)} | {mended} : {broken} | {judged} |"


def _criticised(runs: Runs, t: int, sound: float) -> str:
    """Return the share of first attempts, sound or not, that the feedback criticises: seen / unseen."""
    shares: list[str] = []
    for seen in (True, False):
        is_sound, criticised = (runs.values(t, column, seen=seen) for column in ("sound", "criticised"))
        those = [criticised[key] for key in criticised if is_sound[key] == sound]
        shares.append(f"{100 * mean(those):.1f}" if those else "-")
    return " / ".join(shares)


def _gains(found: dict[str, Runs]) -> Iterator[str]:
    """Yield TriPosT's last accuracy, self-corrected, less each arm's better one: first attempts, or self-corrected."""
    if FULL not in found:
        return
    yield "| TriPosT, self-corrected, over | its better way | total | seen | unseen | total by seed |"
    yield "|---|---|---|---|---|---|"
    full, arms = found[FULL], {"m_0": (found[FULL], 0)}
    arms |= {arm: (runs, runs.last()) for arm, runs in found.items() if arm != FULL}
    for arm, (runs, t) in arms.items():
        column = max(COLUMNS, key=lambda column: mean(runs.values(t, column).values()))
        gaps: list[str] = []
        for seen in (None, True, False):
            ours, theirs = full.values(full.last(), "self_corrected", seen=seen), runs.values(t, column, seen=seen)
            gaps.append(_figure(paired_difference(ours, theirs), "+"))
        ours, theirs = full.values(full.last(), "self_corrected"), runs.values(t, column)
        seeds = [100 * mean(ours[key] - theirs[key] for key in ours if key[0] == seed) for seed in full.folders]
        shown = " / ".join(f"{gap:+.1f}" for gap in seeds)
        yield f"| {arm} | {column.replace('_', '-')} | {' | '.join(gaps)} | {shown} |"


def _sampled(found: dict[str, Runs]) -> Iterator[str]:
    """Yield what self-correction adds to attempts at temperature 1, beside a vote over no fewer tokens."""
    yield "| arm | round | sampled, direct | self-corrected | gain | majority vote | tokens: corrected, vote |"
    yield "|---|---|---|---|---|---|---|"
    for arm, runs in found.items():
        for t in (0, runs.last()):
            first, last = (runs.values(t, column, "sampled") for column in COLUMNS)
            if not first:
                continue
            votes = [_metric(folder, t, "majority_vote") for folder in runs.folders.values()]
            tokens = [
                _metric(folder, t, name)
                for name in ("tokens_sampled", "tokens_vote")
                for folder in runs.folders.values()
            ]
            half = len(tokens) // 2
            figures = [_figure(mean_interval(list(values.values()))) for values in (first, last)]
            gain = _figure(paired_difference(last, first), "+")
            written = f"{mean(tokens[:half]):.0f}, {mean(tokens[half:]):.0f}"
            yield f"| {arm} | {t} | {' | '.join(figures)} | {gain} | {100 * mean(votes):.1f} | {written} |"


def _metric(folder: Path, t: int, name: str) -> float:
    return read_json(folder / "summary.json")["rounds"][t]["metrics"][name]["value"]


def _figure(found: Interval | None, sign: str = "") -> str:
    if found is None or found.low is None or found.high is None:
        return "-"
    value, low, high = (f"{100 * bound:{sign}.1f}" for bound in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


if __name__ == "__main__":
    main()
