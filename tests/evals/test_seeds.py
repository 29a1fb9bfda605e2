"""Several seeds of one recipe as one table: means, and intervals over tasks and seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sparring.evals.seeds import Seeded, over_seeds, student, two_level
from sparring.evals.statistics import Interval, mean_interval

Right = list[float]


def seeded(seed: int, *rounds: Right, own: bool = True, word: str = "improved") -> Seeded:
    """A run of TriPosT; of each round, which questions are answered rightly after correcting itself."""
    items = [
        {"round": t, "item": "greedy", "id": f"{'q' if own else seed} {at}", "seen": True, "direct": 0.0}
        | {"self_corrected": value}
        for t, those in enumerate(rounds)
        for at, value in enumerate(those)
    ]
    bbh = [{**items[0], "id": "bbh 1", "seen": None, "self_corrected": 99.0}]
    metrics: list[dict[str, Any]] = []
    for those in rounds:
        mean = {"value": float(np.mean(those)), "low": 0.0, "high": 1.0, "n": len(those)}
        over = {**mean, "value": float(np.mean(those) - np.mean(rounds[0]))}
        gains = {f"accuracy_self_corrected_over_round_0{name}": over for name in ("", "_direct")}
        metrics.append(
            {"accuracy_self_corrected": mean, "mended": {**mean, "value": 0.1 * (seed + 1)}, "x": None} | gains
        )
    summary: dict[str, Any] = {"recipe": "tripost", "verdict": f"round {len(rounds) - 1} {word} (p = 0.01): so"}
    return Seeded(
        seed, summary | {"rounds": [{"round": t, "metrics": one} for t, one in enumerate(metrics)]}, items + bbh
    )


LOW, HIGH = [1.0] * 10 + [0.0] * 30, [1.0] * 30 + [0.0] * 10


def test_a_metric_is_the_mean_over_seeds_with_every_seeds_value() -> None:
    found = over_seeds([seeded(0, LOW, HIGH), seeded(1, LOW, LOW), seeded(2, LOW, HIGH)])
    assert (found["recipe"], found["seeds"], [one["round"] for one in found["rounds"]]) == (
        "tripost",
        [0, 1, 2],
        [0, 1],
    )
    metric = found["rounds"][1]["metrics"]["accuracy_self_corrected"]
    assert metric["seeds"] == [0.75, 0.25, 0.75]
    assert metric["value"] == pytest.approx(np.mean(metric["seeds"]))
    assert (metric["over"], metric["n"]) == ("tasks and seeds", 40)
    assert found["rounds"][1]["metrics"]["x"] is None


def test_an_interval_of_three_seeds_is_never_only_their_range() -> None:
    seeds = [[1.0] * n + [0.0] * (400 - n) for n in (220, 240, 260)]  # far apart, for so many tasks
    metric = over_seeds([seeded(at, LOW * 10, right) for at, right in enumerate(seeds)])["rounds"][1]["metrics"]
    found = metric["accuracy_self_corrected"]
    assert found["over"] == "tasks and seeds" and found["n"] == 400
    assert found["high"] - found["value"] == pytest.approx(4.303 * 0.05 / 3**0.5)


def test_a_seed_that_ended_early_is_named() -> None:
    found = over_seeds([seeded(0, LOW, HIGH, HIGH), seeded(1, LOW, HIGH)])
    assert found["verdict"].endswith("; seed 1 ended before round 2, and no later one is compared")


def test_what_has_no_items_has_students_interval_over_seeds() -> None:
    metric = over_seeds([seeded(at, LOW) for at in range(3)])["rounds"][0]["metrics"]["mended"]
    assert (metric["over"], metric["n"], metric["value"]) == ("seeds", 3, pytest.approx(0.2))
    assert metric["high"] - metric["value"] == pytest.approx(4.303 * 0.1 / 3**0.5)


def test_gains_are_paired_by_task() -> None:
    mixed = [1.0, 0.0] * 20
    better = [1.0, 1.0, *mixed[2:]]  # one question of forty, always the same
    found = over_seeds([seeded(at, mixed, better) for at in range(3)])["rounds"][1]["metrics"]
    gain, share = found["accuracy_self_corrected_over_round_0"], found["accuracy_self_corrected"]
    assert gain["value"] == pytest.approx(1 / 40)
    assert gain["high"] - gain["low"] < (share["high"] - share["low"]) / 2


def test_a_round_improved_where_both_gains_lie_above_no_change_over_all_seeds() -> None:
    found = over_seeds([seeded(0, LOW, HIGH), seeded(1, LOW, HIGH), seeded(2, LOW, HIGH, word="did not improve")])
    assert found["verdict"].startswith(
        "over 3 seeds round 1 improved: accuracy self corrected over round 0 +50.0 points (95 %"
    )
    assert found["verdict"].endswith("by itself it improved in 2 of 3")
    found = over_seeds([seeded(0, LOW, HIGH), seeded(1, HIGH, LOW)])
    assert found["verdict"].startswith("over 2 seeds round 1 did not improve: ")


def test_seeds_that_differ_widen_the_interval_beyond_that_of_tasks() -> None:
    generator = np.random.default_rng(0)
    alike = [{str(at): float(value) for at, value in enumerate(generator.random(200) < 0.5)} for _ in range(3)]
    apart = [
        {task: value + shift for task, value in those.items()}
        for those, shift in zip(alike, (-0.3, 0, 0.3), strict=True)
    ]
    (a, b), tasks = (two_level(alike), two_level(apart)), mean_interval(list(alike[0].values()))
    assert b.value == pytest.approx(a.value)
    assert width(b) > 3 * width(a)
    assert tasks and width(a) < width(tasks)  # three seeds of tasks of their own are more tasks


def test_tasks_that_all_seeds_share_are_drawn_once_for_all() -> None:
    generator = np.random.default_rng(0)
    same = {str(at): float(value) for at, value in enumerate(generator.random(200) < 0.5)}
    shared = two_level([same] * 3)
    own = two_level([{f"{seed} {task}": value for task, value in same.items()} for seed in range(3)])
    tasks = mean_interval(list(same.values()))
    assert tasks and width(shared) == pytest.approx(width(tasks), rel=0.1)
    assert (shared.n, own.n) == (200, 600)
    assert width(own) < 0.9 * width(shared)


def test_the_interval_over_both_holds_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        level = generator.normal(0.0, 0.05, size=5)
        values = [{str(at): value for at, value in enumerate(generator.normal(one, 1.0, size=60))} for one in level]
        found = two_level(values)
        held += found.low is not None and found.high is not None and found.low <= 0 <= found.high
    assert 0.88 <= held / 200 <= 1.0


def test_seeds_of_other_tasks_may_have_few() -> None:
    found = two_level([{"a": 1.0}, {"b": 0.0}])
    assert (found.value, found.low, found.high, found.n) == (0.5, 0.0, 1.0, 2)
    assert two_level([{"a": 1.0}, {"a": 0.0}]) == Interval(0.5, None, None, 1)


def width(found: Interval) -> float:
    assert found.low is not None and found.high is not None
    return found.high - found.low


def test_students_interval_of_many_seeds_is_near_the_normal_one() -> None:
    found = student(np.random.default_rng(0).normal(size=1000).tolist())
    assert found and width(found) == pytest.approx(2 * 1.96 / 1000**0.5, rel=0.1)
    assert student([]) is None
    assert student([0.5]) == Interval(0.5, None, None, 1)
