"""BIG-Bench-Hard's files: read where the folder is there; what is wrong with a file is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sparring.errors import DataError, SettingsError
from sparring.tasks.bbh import FILES, load_bbh, read_bbh
from sparring.tasks.deduction import DEDUCTION, rationale_of
from sparring.tasks.exercise import FINAL, Feedback
from sparring.tasks.families import FAMILIES, family_of

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "bbh"
there = pytest.mark.skipif(not FOLDER.is_dir(), reason="BIG-Bench-Hard is not beside the repository")


def written(folder: Path, *examples: Any, name: str = "multistep_arithmetic_two") -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"canary": "", "examples": list(examples)}), encoding="utf-8")
    return path


def complaint(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_bbh(path)
    return str(caught.value)


@there
@pytest.mark.parametrize("name", FILES)
def test_every_file_gives_250_exercises_with_ids_of_their_own(name: str) -> None:
    read = read_bbh(FOLDER / f"{name}.json")
    assert len(read) == len({exercise.id for exercise in read}) == 250
    assert all(exercise.tier.startswith(name) for exercise in read)


@there
@pytest.mark.parametrize("name", FAMILIES)
def test_answers_are_in_the_form_that_their_family_reads(name: str) -> None:
    family = family_of(name)
    for exercise in load_bbh(FOLDER, name):
        told = "So the answer is:" if name == "word-sorting" else "So the answer is"
        assert family.is_right(exercise, f"({FINAL}) {told} {exercise.answer}."), exercise


@there
def test_every_puzzle_of_theirs_is_read_solved_and_its_rationale_accepted() -> None:
    for exercise in load_bbh(FOLDER, "logical-deduction"):
        rationale = rationale_of(exercise.question)
        assert rationale is not None, exercise
        assert DEDUCTION.is_right(exercise, rationale), exercise
        assert DEDUCTION.verify is not None
        assert DEDUCTION.verify(exercise.question, rationale) == Feedback(), exercise


@there
def test_they_are_of_no_tier_that_is_trained_on() -> None:
    read = [exercise for family in FAMILIES for exercise in load_bbh(FOLDER, family)]
    assert {exercise.seen for exercise in read} == {None}
    assert {exercise.tier for exercise in read} >= {"word_sorting 1-7", "word_sorting 8-20", "multistep_arithmetic_two"}


def test_an_example_becomes_an_exercise(tmp_path: Path) -> None:
    (exercise,) = read_bbh(written(tmp_path, {"input": "((1 + 2)) =", "target": "+03"}))
    assert (exercise.id, exercise.question, exercise.answer) == ("multistep_arithmetic_two-1", "((1 + 2)) =", "3")


@pytest.mark.parametrize(
    ("name", "row", "told"),
    [
        ("multistep_arithmetic_two", {"input": "1 =", "target": "one"}, "target 'one' does not answer"),
        ("multistep_arithmetic_two", {"input": "1 =", "target": "9" * 5000}, "does not answer"),
        ("multistep_arithmetic_two", {"input": "1 =", "target": 1}, "target is 1, not a string"),
        ("multistep_arithmetic_two", {"input": " ", "target": "1"}, "input is empty"),
        ("multistep_arithmetic_two", {"target": "1"}, "input is None"),
        ("multistep_arithmetic_two", "1", "input is None"),
        ("word_sorting", {"input": "Sort: List: b a", "target": "a c"}, "target 'a c'"),
        ("word_sorting", {"input": "Sort: List: ", "target": "a"}, "target 'a'"),
        ("date_understanding", {"input": "When?\nOptions:\n(A) 1\n(B) 2", "target": "(C)"}, "target '(C)'"),
        ("logical_deduction_three_objects", {"input": "Who?\nOptions:\n(A) x", "target": "A"}, "target 'A'"),
    ],
)
def test_a_bad_example_is_told_by_file_and_number(tmp_path: Path, name: str, row: Any, told: str) -> None:
    good = {
        "multistep_arithmetic_two": {"input": "1 =", "target": "1"},
        "word_sorting": {"input": "Sort: List: b a", "target": "a b"},
    }.get(name, {"input": "?\nOptions:\n(A) x", "target": "(A)"})
    path = written(tmp_path, good, row, name=name)
    message = complaint(path)
    assert message.startswith(f"{path}: example 2: ")
    assert told in message


@pytest.mark.parametrize(
    "content", [b"", b"[", b"[]", b"{}", b'{"examples": []}', b'{"examples": 3}', b"\xff", b"[" * 99999]
)
def test_a_file_of_another_shape_is_told_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "word_sorting.json"
    path.write_bytes(content)
    assert complaint(path).startswith(f"{path}: ")


def test_unknown_files_families_and_missing_folders_are_told(tmp_path: Path) -> None:
    assert "known" in complaint(tmp_path / "navigate.json")
    assert "word_sorting.json: No such file" in complaint(tmp_path / "word_sorting.json")
    with pytest.raises(SettingsError, match="nothing for 'chess'"):
        load_bbh(tmp_path, "chess")
