"""Date understanding: what is drawn, what the gold rationale says, and how an option is read."""

from __future__ import annotations

import random
import re
from datetime import date

import pytest

from sparring.tasks.dates import DATES, LETTERS, TIERS, moved, us
from sparring.tasks.exercise import exercises, part_of, read_steps

DATE = re.compile(r"\b\d\d/\d\d/\d{4}\b")
DRAWN = [(tier, *DATES.draw(random.Random(f"{tier}{seed}"), tier)) for tier in TIERS for seed in range(600)]


def options(question: str) -> dict[str, str]:
    return dict(re.findall(r"^(\([A-F]\)) (\S+)$", question, re.M))


def test_every_question_offers_six_different_dates_and_its_answer_is_one() -> None:
    for _, question, answer, _ in DRAWN:
        offered = options(question)
        assert list(offered) == [f"({letter})" for letter in LETTERS]
        assert len(set(offered.values())) == len(LETTERS)
        assert answer in offered
        assert all(date(int(day[6:]), int(day[:2]), int(day[3:5])) for day in offered.values())


def test_the_gold_rationale_ends_in_its_answer_and_derives_the_date_in_the_step_before() -> None:
    for _, question, answer, rationale in DRAWN:
        assert rationale is not None
        assert DATES.answer_of(rationale) == answer
        assert DATE.findall(read_steps(rationale)[-2].text)[-1] == options(question)[answer]


def test_tiers_are_told_apart_by_the_number_of_steps() -> None:
    steps = {tier: {len(read_steps(r or "")) - 1 for t, _, _, r in DRAWN if t == tier} for tier in TIERS}
    assert steps == {"1-2": {1, 2}, "3+": {3}}
    assert TIERS == {"1-2": True, "3+": False}


def test_the_answer_stands_behind_every_letter_equally_often() -> None:
    counts = [sum(answer == f"({letter})" for _, _, answer, _ in DRAWN) for letter in LETTERS]
    assert min(counts) > len(DRAWN) / 6 * 0.75


def test_draws_repeat_with_their_seed_and_parts_share_no_question() -> None:
    train, test = exercises(DATES, "train", 60, 1), exercises(DATES, "test", 60, 1)
    assert train == exercises(DATES, "train", 60, 1)
    assert {e.question for e in train}.isdisjoint(e.question for e in test)
    assert {e.tier for e in train} == {"1-2"}
    assert {(e.tier, e.seen) for e in test} == {("1-2", True), ("3+", False)}
    assert all(part_of(e.question) == "test" for e in test)


@pytest.mark.parametrize(
    ("day", "months", "then"),
    [
        (date(2020, 1, 31), 1, "02/29/2020"),
        (date(2019, 12, 5), 1, "01/05/2020"),
        (date(2020, 1, 5), -1, "12/05/2019"),
        (date(2020, 2, 29), -12, "02/28/2019"),
        (date(2020, 5, 5), 0, "05/05/2020"),
    ],
)
def test_months_are_counted_on_the_calendar(day: date, months: int, then: str) -> None:
    assert us(moved(day, months)) == then


@pytest.mark.parametrize(
    ("attempt", "read"),
    [
        ("(1) Today is 01/02/2003.\n(Final response) So the answer is (B).", "(B)"),
        ("(Final response) So the answer is B.", "(B)"),
        ("(Final response) (C)", "(C)"),
        ("(Final response) **D**", "(D)"),
        ("The answer is (A). Wait, I counted twice. The answer is (E).", "(E)"),
        ("The answer is (A).\nNo.\n**Answer:** (B) 01/02/2003", "(B)"),
        ("so \\boxed{\\text{(F)}}", "(F)"),
        ("so \\boxed{C}", "(C)"),
        ("the answer is option D, 01/02/2003", "(D)"),
        ("(Final response) So the answer is (G).", None),
        ("(Final response) So the answer is 01/02/2003.", None),
        ("(Final response) So the answer is A good day to rest.", None),
        ("(Final response)", None),
        ("I would pick (B)", None),
        ("", None),
        ("\x00(\ud800 answer is", None),
    ],
)
def test_an_option_is_read_out_of_prose_and_one_not_offered_is_none(attempt: str, read: str | None) -> None:
    assert DATES.answer_of(attempt) == read


def test_no_script_criticises_dates() -> None:
    assert DATES.verify is None
    assert DATES.repair is None
    assert DATES.corrupt is None
