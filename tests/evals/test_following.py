"""How well instructions are followed: what each share counts, over what, and what a failed response is worth."""

from __future__ import annotations

import random

import numpy as np
import pytest

from sparring.evals.following import Metrics, by_category, following, levels
from sparring.evals.statistics import ratio_interval
from sparring.tasks.instructions import Checker, Instructed, Instruction


def has(text: str, *, word: str) -> bool:
    return word in text.split()


def starts(text: str, *, word: str) -> bool:
    return text.startswith(word)


CHECKERS: dict[str, Checker] = {"word:has": has, "start:word": starts}


def asking(id: str, *words: str, group: str | None = None, level: int | None = None) -> Instructed:
    return Instructed(id, "p", tuple(Instruction("word:has", {"word": word}) for word in words), group, level)


def values(metrics: Metrics) -> dict[str, float | None]:
    return {name: found and round(found.value, 6) for name, found in metrics.items()}


def test_prompts_count_as_a_whole_and_instructions_one_by_one() -> None:
    answers = [(asking("1", "a", "b", "c"), "a b"), (asking("2", "a"), "a"), (asking("3", "z", "a"), "sure\na z")]
    found = following(answers, CHECKERS)
    assert values(found) == {
        "prompt_strict": 0.666667,
        "prompt_loose": 0.666667,
        "instruction_strict": 0.833333,
        "instruction_loose": 0.833333,
    }
    assert all(one is not None and one.n == 3 for one in found.values())


def test_loosely_a_first_line_is_forgiven() -> None:
    asked = Instructed("1", "p", (Instruction("start:word", {"word": "a"}), Instruction("word:has", {"word": "q"})))
    assert values(following([(asked, "sure:\na")], CHECKERS)) == {
        "prompt_strict": 0,
        "prompt_loose": 0,
        "instruction_strict": 0,
        "instruction_loose": 0.5,
    }


def test_a_failed_response_misses_every_instruction() -> None:
    found = values(following([(asking("1", "a"), "a"), (asking("2", "a", "b"), None)], CHECKERS))
    assert found["prompt_strict"] == 0.5 and found["instruction_loose"] == 0.333333


def test_prompts_without_instructions_are_left_out_and_none_of_any_is_not_known() -> None:
    assert set(following([(asking("1"), "a")], CHECKERS).values()) == {None}
    assert set(following([], CHECKERS).values()) == {None}
    found = following([(asking("1"), "a"), (asking("2", "a"), "a")], CHECKERS)["prompt_strict"]
    assert found is not None and (found.value, found.n) == (1, 1)


def test_several_responses_to_a_prompt_are_one_cluster() -> None:
    answers = [(asking("1", "a"), "a"), (asking("1", "a"), "b"), (asking("2", "a"), "a")]
    found = following(answers, CHECKERS)["prompt_strict"]
    assert found is not None and (found.value, found.n) == (0.75, 2)


def test_shares_by_category_count_instructions() -> None:
    both = Instructed("1", "p", (Instruction("start:word", {"word": "a"}), Instruction("word:has", {"word": "b"})))
    found = by_category([(both, "sure\na"), (asking("2", "b"), "b")], CHECKERS)
    assert {name: values(metrics) for name, metrics in found.items()} == {
        "start": {"strict": 0, "loose": 1},
        "word": {"strict": 0.5, "loose": 0.5},
    }
    assert by_category([(both, "a")], CHECKERS, of=lambda one: one.id).keys() == {"start:word", "word:has"}


# Nested levels


def nested(group: str, *said: str | None) -> list[tuple[Instructed, str | None]]:
    return [
        (asking(f"{group}{level}", *"abcde"[:level], group=group, level=level), text)
        for level, text in enumerate(said, 1)
    ]


def test_levels_are_counted_hard_softly_and_in_a_row() -> None:
    answers = nested("x", "a", "a b", "a b") + nested("y", "a", "b", "a b c")
    assert values(levels(answers, CHECKERS)) == {
        "hsr_1": 1,
        "ssr_1": 1,
        "hsr_2": 0.5,
        "ssr_2": 0.75,
        "hsr_3": 0.5,
        "ssr_3": 0.833333,
        "hsr": 0.666667,
        "ssr": 0.861111,
        "csl": 1.5,
    }


def test_a_gap_or_a_failed_response_ends_the_row() -> None:
    assert values(levels(nested("x", None, "a b", "a b c"), CHECKERS))["csl"] == 0
    assert values(levels(nested("x", "a", "a b", "a b c")[::2], CHECKERS)) == {
        "hsr_1": 1,
        "ssr_1": 1,
        "hsr_2": None,
        "ssr_2": None,
        "hsr_3": 1,
        "ssr_3": 1,
        "hsr": 1,
        "ssr": 1,
        "csl": 1,
    }


def test_the_order_of_answers_does_not_matter_and_prompts_of_no_group_are_left_out() -> None:
    answers = nested("x", "a", "a b", "a b") + nested("y", "a", "b", "a b c")
    assert levels([*answers[::-1], (asking("1", "z"), "a")], CHECKERS).keys() == levels(answers, CHECKERS).keys()
    assert values(levels([*answers[::-1], (asking("1", "z"), "a")], CHECKERS)) == values(levels(answers, CHECKERS))
    assert values(levels([(asking("1", "z"), "a")], CHECKERS)) == {"hsr": None, "ssr": None, "csl": None}


def test_intervals_draw_whole_groups() -> None:
    found = levels(nested("x", "a", "a b") + nested("y", "b", "b"), CHECKERS)
    assert {name: one and one.n for name, one in found.items()} == dict.fromkeys(found, 2)


def test_two_responses_to_a_level_are_refused() -> None:
    with pytest.raises(ValueError, match="two responses to level 1 of group x; give one"):
        levels(nested("x", "a") * 2, CHECKERS)


# The interval of a ratio


def test_the_interval_of_a_ratio_is_that_of_a_plain_bootstrap() -> None:
    rng = random.Random(3)
    clusters = {n: [float(rng.random() < 0.7) for _ in range(rng.choice([1, 1, 2, 5]))] for n in range(80)}
    found = ratio_interval(clusters)
    pairs = np.array([(sum(one), len(one)) for one in clusters.values()])
    picks = np.random.default_rng(1).integers(80, size=(20_000, 80))
    sums = pairs[picks].sum(axis=1)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
    assert found is not None and found.low is not None and found.high is not None
    assert found.value == pytest.approx(pairs[:, 0].sum() / pairs[:, 1].sum())
    assert (found.low, found.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))
    assert found == ratio_interval(dict(reversed(clusters.items())))


def test_the_interval_of_a_ratio_covers_the_truth_nineteen_times_in_twenty() -> None:
    rng, covered = np.random.default_rng(5), 0
    for trial in range(60):
        sizes = rng.integers(1, 4, size=150)
        chances = rng.beta(6, 4, size=150)
        clusters = {n: list(map(float, rng.random(size) < chances[n])) for n, size in enumerate(sizes)}
        found = ratio_interval(clusters, seed=trial)
        assert found and found.low is not None and found.high is not None
        covered += found.low <= 0.6 <= found.high
    assert covered >= 52


def test_what_a_ratio_does_not_know() -> None:
    assert ratio_interval({}) is None and ratio_interval({"a": []}) is None
    one = ratio_interval({"a": [1.0, 0.0], "b": []})
    assert one is not None and (one.value, one.low, one.high, one.n) == (0.5, None, None, 1)
    same = ratio_interval({"a": [1.0], "b": [1.0, 1.0]})
    assert same is not None and (same.low, same.value, same.high) == (1, 1, 1)
    with pytest.raises(ValueError, match="not finite"):
        ratio_interval({"a": [float("nan")]})
    with pytest.raises(ValueError, match="confidence is 1"):
        ratio_interval({"a": [1.0]}, confidence=1)
