"""STaR-GATE and the paper's ablations on the embedded world, over several seeds: the table of RESULTS.md.

    python -m bench.ablations --seeds 0 1 2 --out runs/ablations

Each run is a run directory of its own, so a stopped measurement goes on where it was. Intervals are over pairs of task
and persona of all seeds together; for the win rate also over tasks, which is wider and says more about new tasks.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.arms import Arm, carry_out, folder_of
from sparring.evals.statistics import Interval, mean_interval, overlap
from sparring.files import read_json, read_lines

ARMS: dict[str, list[str]] = {
    "STaR-GATE": [],
    "no regulariser": ["closing=none"],
    "trained on oracle responses": ["closing=oracle"],
    "random selection": ["selection=random"],
    "instruction kept after round 0 (as published)": ["elicit=always"],
    "neutral closing instruction": ["closing_instruction=neutral"],
    "information gain as signal": ["signal=information_gain"],
}
COLUMNS = {
    "own": "win rate",
    "by task": "win rate, interval over tasks",
    "questions_alone": "m_0 answers both",
    "answers_alone": "m_0 asks in both",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--at-once", type=int, default=2, help="runs side by side, one thread each")
    options = parser.parse_args()
    runs = [
        Arm("star-gate", folder_of(arm, seed, options.out), (f"seed={seed}", *ARMS[arm]))
        for seed in options.seeds
        for arm in options.arms
    ]
    carry_out(runs, options.at_once)
    for line in _table(options.arms, options.seeds, options.out):
        print(line)


def _table(arms: Sequence[str], seeds: Sequence[int], out: Path) -> Iterator[str]:
    yield f"| arm | round | {' | '.join(COLUMNS.values())} | relevant questions | log-prob | experimental - shuffled |"
    yield f"|---|---|{'---|' * (len(COLUMNS) + 3)}"
    for arm in arms:
        folders = [folder_of(arm, seed, out) for seed in seeds]
        rounds = len(read_json(folders[0] / "summary.json")["rounds"])
        for t in range(rounds):
            wins = [_figure(_win_rate(folders, t, voice), 100) for voice in COLUMNS]
            means = [
                _figure(_pooled(folders, t, name), times)
                for name, times in (
                    ("questions_relevant", 100),
                    ("oracle_log_prob", 1),
                    ("experimental_minus_shuffled", 1),
                )
            ]
            yield f"| {arm} ({len(folders)} seeds) | {t} | {' | '.join([*wins, *means])} |"
        yield from _by_seed(arm, folders, rounds)
    yield from _apart(arms, seeds, out)


def _by_seed(arm: str, folders: Sequence[Path], rounds: int) -> Iterator[str]:
    wins = [read_json(folder / "summary.json")["rounds"][-1]["metrics"]["win_rate"]["value"] for folder in folders]
    yield f"| {arm}, by seed | {rounds - 1} | {' / '.join(f'{100 * win:.1f}' for win in wins)} | | | | | |"


def _apart(arms: Sequence[str], seeds: Sequence[int], out: Path) -> Iterator[str]:
    """Say of each arm whether its last win rate and the full method's have intervals apart."""
    full = next(iter(ARMS))
    for arm in arms if full in arms else ():
        if arm == full:
            continue
        ours, theirs = ([folder_of(name, seed, out) for seed in seeds] for name in (full, arm))
        last = len(read_json(theirs[0] / "summary.json")["rounds"]) - 1
        for voice, over in (("own", "pairs"), ("by task", "tasks")):
            a, b = _win_rate(ours, last, voice), _win_rate(theirs, last, voice)
            if a and b:
                where = "overlap with" if overlap(a, b) else "lie apart from"
                yield f"{full} against {arm}, round {last}: intervals over {over} {where} each other"


def _win_rate(folders: Sequence[Path], t: int, voice: str) -> Interval | None:
    """Return a win rate over all seeds; `by task` is that of the model's own answers, its 50 tasks drawn anew."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for folder in folders:
        for row in read_lines(folder / f"round-{t}" / "test-verdicts.jsonl"):
            if row["voice"] == ("own" if voice == "by task" else voice) and row["value"] is not None:
                task = row["situation"].split()[0]
                values[("", task) if voice == "by task" else (folder.name, row["situation"])].append(row["value"])
    return mean_interval(values)


def _pooled(folders: Sequence[Path], t: int, name: str) -> Interval | None:
    """Return a metric averaged over seeds; bounds as if seeds were independent samples of one size."""
    found = [read_json(folder / "summary.json")["rounds"][t]["metrics"].get(name) for folder in folders]
    known = [Interval(**metric) for metric in found if metric]
    if not known or any(i.low is None or i.high is None for i in known):
        return None
    value = sum(i.value for i in known) / len(known)
    below = sum((i.value - (i.low or 0)) ** 2 for i in known) ** 0.5 / len(known)
    above = sum(((i.high or 0) - i.value) ** 2 for i in known) ** 0.5 / len(known)
    return Interval(value, value - below, value + above, sum(i.n for i in known))


def _figure(found: Interval | None, times: float) -> str:
    if found is None or found.low is None or found.high is None:
        return "-"
    return f"{times * found.value:.1f} [{times * found.low:.1f}, {times * found.high:.1f}] (n {found.n})"


if __name__ == "__main__":
    main()
