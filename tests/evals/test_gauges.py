"""What tells early that a loop spoils its model, and when there is a warning."""

from __future__ import annotations

import pytest

from sparring.evals.gauges import contamination, distinct, divergence, exceeded, forgotten, length, questions
from sparring.evals.statistics import Interval


def value(found: Interval | None) -> float:
    assert found is not None
    return found.value


def test_diversity_is_the_share_of_different_texts() -> None:
    assert value(distinct({"a": ["Which diet?", "which  diet?"], "b": ["Which diet?", "What budget?"]})) == 2 / 4
    assert value(distinct({"a": ["One?"], "b": ["Two?"]})) == 1.0
    assert distinct({"a": []}) is None


def test_distinct_n_is_the_share_of_different_words_in_a_row() -> None:
    assert value(distinct({"a": ["red red red"], "b": ["red blue"]}, 2)) == pytest.approx(2 / 3)  # red red, red blue
    assert value(distinct({"a": ["red", "red"]}, 2)) == 0.5  # too short: as a whole


def test_the_interval_of_diversity_is_over_tasks() -> None:
    found = distinct({task: [f"question {task // 2}?"] for task in range(40)})
    assert found and (found.value, found.low, found.high, found.n) == (0.5, 0.5, 0.5, 40)


def test_length_and_questions_count_a_task_once() -> None:
    assert value(length({"a": ["one two", "one two three four"], "b": ["one"]})) == 2.0
    assert value(questions({"a": ["Which? And when??", "Tell me."], "b": ["\u4ec0\u4e48\uff1f"]})) == 1.0


def test_what_is_lost_shows_beside_what_is_won() -> None:
    assert value(forgotten({"a": 1.0, "b": 0.0, "c": 1.0}, {"a": 0.0, "b": 1.0, "c": 1.0, "d": 1.0})) == 1 / 3


def test_a_judge_that_passes_too_much_diverges_upwards() -> None:
    assert value(divergence({"a": [(True, False), (True, True)], "b": [(True, False)]})) == 0.75
    assert value(divergence({"a": [(False, True)]})) == -1.0
    assert divergence({}) is None


LONG = "write a poem of four lines about a ship that sails to the far end of the cold sea"


@pytest.mark.parametrize(
    ("learned", "share"),
    [
        ([], 0.0),
        (["add 2  AND 3"], 0.5),  # the same but for case and spacing
        (["add 2 and 3 and 4"], 0.0),  # short, and not the same
        (["Add 2 & 3"], 0.0),
        ([f"please {LONG.upper()}, thanks"], 0.5),  # thirteen words in a row
        ([" ".join(LONG.split()[:12])], 0.0),  # twelve are none
    ],
)
def test_a_test_prompt_is_known_by_itself_or_by_thirteen_words_in_a_row(learned: list[str], share: float) -> None:
    assert value(contamination(["Add 2 and 3", LONG], learned)) == share


def test_prompts_of_one_template_are_compared_as_wholes() -> None:
    assert value(contamination([LONG], [f"{LONG} again"])) == 1.0
    assert value(contamination([LONG], [f"{LONG} again"], None)) == 0.0


def at(number: float) -> Interval:
    return Interval(number, None, None, 1)


@pytest.mark.parametrize(
    ("metric", "m_0", "fine", "passed"),
    [
        ("distinct_questions", 0.8, 0.4, 0.39),
        ("questions_a_turn", 1.0, 1.5, 1.6),
        ("questions_a_turn", 1.0, 0.5, 0.4),
        ("distinct_2", 0.5, 0.3, 0.2),
        ("answer_words", 20.0, 40.0, 41.0),
        ("answer_words", 20.0, 10.0, 9.0),
        ("judge_over_checker", 0.0, 0.1, 0.2),
        ("judge_over_checker", 0.0, -0.1, -0.2),
        ("contaminated", 0.0, 0.0, 0.01),
    ],
)
def test_a_warning_is_due_beyond_each_bound(metric: str, m_0: float, fine: float, passed: float) -> None:
    assert exceeded({metric: at(fine)}, {metric: at(m_0)}) == []
    assert len(exceeded({metric: at(passed)}, {metric: at(m_0)})) == 1


def test_what_is_not_known_warns_of_nothing() -> None:
    assert exceeded({"answer_words": at(99.0), "contaminated": None}, {}) == []
    [warning] = exceeded({"judge_over_checker": at(0.3)}, {})
    assert warning == "the judge passes +30.0% of answers over the checker's share"
