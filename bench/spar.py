"""SPaR, its baselines and ablations on the embedded world, over several seeds: the tables of RESULTS.md.

    python -m bench.spar --seeds 0 1 2 --out runs/spar                    make what is not made yet, then print
    python -m bench.spar --seeds 0 1 2 --out runs/spar --table            print what is finished
    python -m bench.spar --seeds 0 1 2 3 4 --arms SPaR "independent answers" "SPaR, equal pairs" ...

Every arm is a run directory of its own, so a stopped measurement goes on where it was. The two arms at equal pairs
learn in every round as many as the poorest round of the whole arms with the same seed had, so those are made first.
Intervals are over held-out prompts of all seeds together, paired by seed and prompt: what they leave out, the spread
over seeds, stands beside them. Arms other than SPaR may unlearn what they chose: that is a finding, and no error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.arms import Arm, carry_out, folder_of
from bench.spar_runs import Runs, figure, learned, over, over_by_seed
from sparring.cli.setup import read_settings
from sparring.cli.spar import SPaRSetup
from sparring.evals.statistics import Interval
from sparring.recipes.spar_settings import SPaR

FULL, INDEPENDENT = "SPaR", "independent answers"
EQUAL, EQUAL_INDEPENDENT = "SPaR, equal pairs", "independent answers, equal pairs"
ONCE = "no iteration"
ARMS: dict[str, tuple[str, ...]] = {
    FULL: (),
    "one try": ("search.branch=1", "search.depth=1"),
    "frozen refiner": ("refiner_learns=false",),
    "SFT on refined": ("learn_from=sft",),
    INDEPENDENT: ("learn_from=independent",),
    EQUAL_INDEPENDENT: ("learn_from=independent",),
    EQUAL: (),
    "best over worst (as Self-Rewarding)": ("learn_from=extremes", "refiner_learns=false"),
    "random judge, refined": ("judge=random",),
    "random judge, independent": ("judge=random", "learn_from=independent"),
    "oracle judge": ("judge=checker",),
    ONCE: ("rounds=1",),
}
AGAINST: tuple[tuple[str, str], ...] = ((EQUAL, EQUAL_INDEPENDENT),)
"""Compared beside SPaR and each arm."""
UNBOUNDED = "chosen_may_fall=1000"
DEPTHS = (1, 2, 3)


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.spar", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--out", type=Path, default=Path("runs/spar"))
    parser.add_argument("--at-once", type=int, default=2, help="runs side by side, one thread each")
    parser.add_argument("--table", action="store_true", help="make no run")
    parser.add_argument("--settings", nargs="*", default=[], metavar="KEY=VALUE", help="for all arms")
    options = parser.parse_args()
    if not options.table:
        make(options.arms, options.seeds, options.out, options.at_once, options.settings)
    found = finished(options.arms, options.seeds, options.out)
    for line in [*rounds(found), "", *gains(found)]:
        print(line)


def make(arms: Sequence[str], seeds: Sequence[int], out: Path, at_once: int, given: Sequence[str]) -> None:
    """Make the runs; first those that others have to know."""
    equal = [arm for arm in arms if arm in (EQUAL, EQUAL_INDEPENDENT)]
    whole = (FULL, INDEPENDENT) if equal else ()
    first = [arm for arm in ARMS if arm in (*arms, *whole) and arm not in equal]
    for those in (first, equal):
        carry_out([run_of(arm, seed, out, given) for seed in seeds for arm in those], at_once)


def run_of(arm: str, seed: int, out: Path, given: Sequence[str]) -> Arm:
    """Return the run of an arm with a seed; `given` are settings of all arms."""
    settings = (f"seed={seed}", *given, *ARMS[arm], *([UNBOUNDED] if arm != FULL else []))
    if arm in (EQUAL, EQUAL_INDEPENDENT):
        settings = (*settings, f"most_pairs={poorest([folder_of(whole, seed, out) for whole in (FULL, INDEPENDENT)])}")
    if arm == ONCE:
        settings = (*settings, *at_once(read_settings(SPaRSetup, SPaR, None, given)))
    return Arm("spar", folder_of(arm, seed, out), settings)


def poorest(folders: Sequence[Path]) -> int:
    """Return the fewest pairs that any round of these runs learned."""
    fewest = min(learned(folder, t) for folder in folders for t in range(1, Runs({0: folder}).last + 1))
    if not fewest:
        raise SystemExit(
            f"a round of {' or '.join(map(str, folders))} learned no pair: nothing can be made equal to it"
        )
    return fewest


def at_once(settings: SPaR) -> list[str]:
    """Return what makes one round of several: their prompts, and their caps."""
    times = settings.rounds
    caps = [f"caps.{name}={most * times}" for name, most in settings.caps.model_dump().items()]
    return [f"prompts_a_round={settings.prompts_a_round * times}", *caps]


def finished(arms: Sequence[str], seeds: Sequence[int], out: Path) -> dict[str, Runs]:
    """Return the runs that are done, by arm. Names on standard error what is missing."""
    found: dict[str, Runs] = {}
    for arm in arms:
        folders = {seed: folder_of(arm, seed, out) for seed in seeds}
        there = {seed: folder for seed, folder in folders.items() if (folder / "summary.json").exists()}
        if missing := [str(folders[seed]) for seed in seeds if seed not in there]:
            print(f"not finished: {', '.join(missing)}", file=sys.stderr)
        if there:
            found[arm] = Runs(there)
    return found


def rounds(found: Mapping[str, Runs]) -> Iterator[str]:
    """Yield every round of every arm."""
    columns = ("greedy", "sampled", "judge, balanced", "judge on bad answers", "pairs learned", "pairs a 1,000 prompts")
    yield f"| arm | round | {' | '.join(columns)} | accepted right | by depth {', '.join(map(str, DEPTHS))} |"
    yield f"|---|---|{'---|' * (len(columns) + 2)}"
    for arm, runs in found.items():
        for t in range(runs.last + 1):
            judge = runs.judge(t)
            shares = [runs.share(t, "greedy"), runs.share(t, "sampled"), judge["judge_balanced_accuracy"]]
            cells = [figure(one) for one in (*shares, judge["judge_accuracy_bad"])]
            cells += [_pairs(runs, t), _per_thousand(runs.pooled(t, "pairs_a_prompt"))]
            cells += [figure(runs.pooled(t, "accepted_right"))]
            depths = [runs.pooled(t, f"accepted_right_depth_{depth}") for depth in DEPTHS]
            yield f"| {arm} ({len(runs.folders)} seeds) | {t} | {' | '.join(cells)} | {_by_depth(depths)} |"


def _pairs(runs: Runs, t: int) -> str:
    """Return the mean over seeds and the range."""
    pairs = runs.learned(t)
    if not t or not any(pairs):
        return "-"
    return f"{sum(pairs) / len(pairs):.0f} ({min(pairs)} to {max(pairs)})"


def _per_thousand(share: Interval | None) -> str:
    return f"{1000 * share.value:.0f}" if share and share.value else "-"


def _by_depth(shares: Sequence[Interval | None]) -> str:
    return " / ".join(f"{100 * share.value:.1f} (n {share.n})" if share else "-" for share in shares)


def gains(found: Mapping[str, Runs]) -> Iterator[str]:
    """Yield how far SPaR's last round is over its round 0 and over each arm's last: points, and range over seeds."""
    yield "| over | greedy | by seed | sampled | by seed | judge, balanced | judge on bad answers |"
    yield "|---|---|---|---|---|---|---|"
    for name, (ours, t), (theirs, s) in comparisons(found):
        cells = [
            cell
            for item in ("greedy", "sampled")
            for gap in [(ours.strict(t, item), theirs.strict(s, item))]
            for cell in (figure(over(*gap), "+"), over_by_seed(*gap))
        ]
        judge = ours.judge(t, (theirs, s))
        names = ("judge_balanced_accuracy_over_round_0", "judge_accuracy_bad_over_round_0")
        yield f"| {name} | {' | '.join([*cells, *(figure(judge.get(one), '+') for one in names)])} |"


def comparisons(found: Mapping[str, Runs]) -> Iterator[tuple[str, tuple[Runs, int], tuple[Runs, int]]]:
    """Yield what is compared: a name, and runs with a round twice."""
    if full := found.get(FULL):
        yield f"{FULL} over its round 0", (full, full.last), (full, 0)
        for arm, runs in found.items():
            if arm != FULL:
                yield f"{FULL} over {arm}", (full, full.last), (runs, runs.last)
    for a, b in AGAINST:
        if a in found and b in found:
            yield f"{a}, over {b}", (found[a], found[a].last), (found[b], found[b].last)


if __name__ == "__main__":
    main()
