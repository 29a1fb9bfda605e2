"""A user's own exercises: how rows are read, what a bad one is told, and how answers are read out of prose."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.errors import DataError, SettingsError
from sparring.tasks.exercise import exercises
from sparring.tasks.own import canonical, load_own

TEST = {"question": "Capital of Italy?", "answer": "Rome", "split": "test"}
TRAIN = {"question": "Capital of France?", "answer": "Paris", "split": "train"}


def rows_file(folder: Path, *rows: Any) -> Path:
    path = folder / "capitals.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def complaint(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_own(path)
    return str(caught.value)


def test_rows_become_exercises_of_their_split(tmp_path: Path) -> None:
    row = {**TRAIN, "rationale": "(1) It is on the Seine.\n(Final response) So the answer is paris.", "tier": "easy"}
    own = load_own(rows_file(tmp_path, row, {**TEST, "id": "it", "answer": 7}))
    (train,), (test,) = own.train, own.test
    assert (train.id, train.question, train.answer, train.tier, train.seen) == (
        *("train-1", "Capital of France?", "Paris", "easy", True),
    )
    assert train.rationale == row["rationale"]
    assert (test.id, test.answer, test.tier, test.seen, test.rationale) == ("it", "7", "capitals", False, None)
    assert own.family.tiers == {"easy": True, "capitals": False}
    assert own.family.is_right(train, train.rationale or "")


def test_without_splits_a_digest_of_the_question_decides(tmp_path: Path) -> None:
    rows = [{"question": f"What is {n} + 1?", "answer": n + 1} for n in range(200)]
    one, other = load_own(rows_file(tmp_path, *rows)), load_own(rows_file(tmp_path, *reversed(rows)))
    assert {e.question for e in one.test} == {e.question for e in other.test}
    assert 30 < len(one.test) < 90
    assert len(one.train) + len(one.test) == 200


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"answer": "x", "split": "test"}, "question is missing"),
        ({"question": "?", "split": "test"}, "answer is missing"),
        ({**TEST, "question": " "}, "question is empty"),
        ({**TEST, "answer": ["Rome"]}, "answer is ['Rome'], not a string"),
        ({**TEST, "answer": True}, "answer is True"),
        ({**TEST, "answer": None}, "answer is None"),
        ({**TEST, "answer": "\ud800"}, "surrogate"),
        ({**TEST, "tier": 3.5, "rationale": "(Final response) So the answer is Milan."}, "ends in 'Milan.'"),
        (
            {**TEST, "rationale": "It is Rome"},
            "no answer that can be read, but the answer is 'Rome'; close it",
        ),
        ({**TEST, "split": "validation"}, "split is 'validation'"),
        ({"question": "?", "answer": "x"}, "split is None"),
        ({**TEST, "anwser": "x"}, "'anwser' is not a column"),
        ([1], "not an object"),
    ],
)
def test_a_bad_row_is_told_by_file_and_line(tmp_path: Path, row: Any, told: str) -> None:
    path = rows_file(tmp_path, TRAIN, row)
    message = complaint(path)
    assert message.startswith(f"{path}:2: ")
    assert told in message


def test_a_question_in_both_splits_is_refused_whatever_its_spacing_and_case(tmp_path: Path) -> None:
    path = rows_file(tmp_path, TRAIN, TEST, {**TEST, "question": "capital  of FRANCE?"})
    assert complaint(path).startswith(f"{path}:3: questions must differ")
    assert f"first at {path}:1" in complaint(path)


def test_an_id_given_twice_and_an_empty_split_are_refused(tmp_path: Path) -> None:
    assert "ids must differ" in complaint(rows_file(tmp_path, {**TRAIN, "id": "x"}, {**TEST, "id": "x"}))
    assert complaint(rows_file(tmp_path, TRAIN)).endswith("split 'test' is empty")


def test_what_is_given_cannot_be_drawn(tmp_path: Path) -> None:
    family = load_own(rows_file(tmp_path, TRAIN, TEST)).family
    with pytest.raises(SettingsError, match=r"capitals\.jsonl: its exercises are given"):
        exercises(family, "train", 1, 0)
    with pytest.raises(SettingsError):
        family.draw(random.Random(0), "capitals")


@pytest.mark.parametrize(
    ("attempt", "read"),
    [
        ("(1) Think.\n(Final response) So the answer is ROME.", "Rome"),
        ("(Final response) Rome", "Rome"),
        ("The answer is **Rome**, which lies on the Tiber.", "Rome"),
        ("The answer is Paris. No: the answer is Rome because of the Tiber.", "Rome"),
        ("Therefore \\boxed{\\text{Rome}}.", "Rome"),
        ("**Answer:** Rome", "Rome"),
        ("The answer is Milan.", "milan"),
        ("Rome", None),
        ("", None),
    ],
)
def test_an_answer_is_read_out_of_prose_as_the_file_spells_it(tmp_path: Path, attempt: str, read: str | None) -> None:
    assert load_own(rows_file(tmp_path, TRAIN, TEST)).family.answer_of(attempt) == read


@pytest.mark.parametrize(
    ("attempt", "read"),
    [
        ("So the answer is 1,200 apples.", "1200"),
        ("So the answer is $1,200.00.", "1200"),
        ("The answer is: 1000 + 200 = 1200", "1200"),
        ("\\boxed{1200}", "1200"),
        ("The answer is -3.50", "-3.5"),
        ("The answer is −3", "-3"),
        ("The answer is 7 of 8.", "7"),
    ],
)
def test_where_answers_are_numbers_units_are_passed_over(tmp_path: Path, attempt: str, read: str) -> None:
    rows = ({**TRAIN, "answer": 1200}, {**TEST, "answer": "-3"})
    assert load_own(rows_file(tmp_path, *rows)).family.answer_of(attempt) == read


@settings(deadline=None)
@given(st.text(alphabet="aB 1.0,()*$-+\"'"))
def test_a_canonical_answer_stays_as_it_is(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text)


@settings(deadline=None)
@given(st.text())
def test_any_text_has_a_canonical_form(text: str) -> None:
    assert isinstance(canonical(text), str)


@pytest.mark.parametrize("same", [("1000", "1,000", "+1000.00", " 1000. "), ("(B)", "b", "**(B)**"), ("-0", "0")])
def test_answers_that_mean_the_same_are_the_same(same: tuple[str, ...]) -> None:
    assert len({canonical(answer) for answer in same}) == 1


def test_answers_that_differ_stay_apart() -> None:
    assert len({canonical(answer) for answer in ("10", "1.0", "-10", "100", "1,0", "10%", "ten")}) == 7
