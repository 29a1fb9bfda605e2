"""Tasks: how a row is read, what a bad one is told, and that no task stands twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.errors import DataError, SettingsError
from sparring.tasks import SPLITS, Task, check_disjoint, load_tasks

ONE_EACH = (1, 1, 1)


def rows_file(folder: Path, *rows: Any, name: str = "tasks.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def texts(*rows: Any, folder: Path, **kwargs: Any) -> list[str]:
    splits = load_tasks(str(rows_file(folder, *rows)), **{"split_sizes": ONE_EACH, **kwargs})
    return [task.text for split in SPLITS for task in splits[split]]


def complaint(path: Path, sizes: tuple[int, int, int] = ONE_EACH, **kwargs: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_tasks(str(path), split_sizes=sizes, **kwargs)
    return str(caught.value)


FILLERS = [{"text": "filler one"}, {"text": "filler two"}]


# What a row says


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"text": " Plan a trip. \n"}, "Plan a trip."),
        ({"prompt": "Human: Plan a trip.\n\nAssistant: Where to? Human: Rome. Assistant: Good."}, "Plan a trip."),
        ({"prompt": "  Human:Plan a trip. Assistant:"}, "Plan a trip."),
        ({"prompt": "Plan a trip"}, "Plan a trip"),
        ({"prompt": "Write an advert: Executive Assistant: salary?"}, "Write an advert: Executive Assistant: salary?"),
        ({"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]}, "Hi"),
        ({"prompt": [{"role": "user", "content": "Human: Hi"}, {"role": "user", "content": "Bye"}]}, "Human: Hi"),
        ({"text": "this one", "messages": "not this"}, "this one"),
        ({"prompt": "this one", "text": "not this"}, "this one"),
        ({"text": "\u2028line\u2028separators\x85"}, "line\u2028separators"),
    ],
)
def test_a_task_is_the_first_thing_the_human_says(tmp_path: Path, row: dict[str, Any], text: str) -> None:
    assert texts(row, *FILLERS, folder=tmp_path)[0] == text


def test_a_transcript_without_an_answer_keeps_its_last_character(tmp_path: Path) -> None:
    """The published code took `text[:text.find("Assistant: ")]`, so an absent marker cut the last character off."""
    assert texts({"prompt": "Human: What is 7 x 8?"}, *FILLERS, folder=tmp_path)[0] == "What is 7 x 8?"


def test_another_column_can_be_named(tmp_path: Path) -> None:
    rows = [{"question": f"q{n}", "text": "not this", "prompt": "nor this"} for n in range(3)]
    assert texts(*rows, folder=tmp_path, column="question") == ["q0", "q1", "q2"]


def test_kind_line_and_split_go_with_the_task(tmp_path: Path) -> None:
    path = rows_file(tmp_path, {"text": "x", "kind": "general"}, *FILLERS)
    assert load_tasks(str(path), split_sizes=ONE_EACH)["a"] == [Task("task-1", "x", "general", "a")]


# Splits


def test_unlabelled_rows_are_split_contiguously_and_the_rest_is_left(tmp_path: Path) -> None:
    path = rows_file(tmp_path, *({"text": f"task {n}"} for n in range(20)))
    splits = load_tasks(str(path), split_sizes=(5, 3, 2))
    assert list(splits) == ["a", "b", "test"]
    assert [[task.id for task in splits[split]] for split in SPLITS] == [
        ["task-1", "task-2", "task-3", "task-4", "task-5"],
        ["task-6", "task-7", "task-8"],
        ["task-9", "task-10"],
    ]


def test_the_papers_sizes_are_the_default(tmp_path: Path) -> None:
    path = rows_file(tmp_path, *({"text": f"task {n}"} for n in range(551)))
    splits = load_tasks(str(path))
    assert [len(splits[split]) for split in SPLITS] == [250, 250, 50]


def test_labelled_rows_are_all_taken_whatever_their_order(tmp_path: Path) -> None:
    labels = ["test", "a", "b", "a", "b", "a", "a"]
    path = rows_file(tmp_path, *({"text": f"task {n}", "split": label} for n, label in enumerate(labels)))
    splits = load_tasks(str(path), split_sizes=ONE_EACH)
    assert [len(splits[split]) for split in SPLITS] == [4, 2, 1]
    assert all(task.split == split for split in SPLITS for task in splits[split])


def test_blank_lines_are_no_rows_but_are_counted_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "one"}\r\n\r\n  \n{"text": "two"}\n{"text": "three"}')
    splits = load_tasks(str(path), split_sizes=ONE_EACH)
    assert [splits[split][0].id for split in SPLITS] == ["task-1", "task-4", "task-5"]


# Bad rows: file, line, and what is wrong


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "torn', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('"text"', "not an object but 'text'"),
        ('{"question": "x", "answer": "y"}', "none of prompt, text, messages is there, only question, answer"),
        ("{}", "none of prompt, text, messages is there, only nothing"),
        ('{"text": " \\n "}', "text is empty"),
        ('{"prompt": "Human: Assistant: Hello."}', "prompt is empty"),
        ('{"text": null}', "text is None, neither a string nor a list"),
        ('{"text": 7}', "text is 7, neither a string nor a list"),
        ('{"messages": []}', "messages has no message whose role is 'user'"),
        ('{"messages": [{"role": "assistant", "content": "x"}, 7]}', "messages has no message whose role is 'user'"),
        ('{"messages": [{"role": "user", "content": ["x"]}]}', "content of the first user message is ['x'], not a"),
        ('{"text": "x", "kind": 3}', "kind is 3, not a string"),
        ('{"text": "x", "split": "train"}', "split is 'train'; it is one of a, b, test"),
        ('{"text": "x", "split": ["a"]}', "split is ['a']; it is one of a, b, test"),
        ('{"text": "half \\ud83d"}', "half of a surrogate pair"),
    ],
)
def test_a_bad_row_is_told_by_file_line_and_fault(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(f'{{"text": "first"}}\n{line}\n{{"text": "third"}}\n')
    said = complaint(path)
    assert said.startswith(f"{path}:2: ")
    assert message in said


def test_bytes_that_are_no_text_are_told_by_line(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b'{"text": "one"}\n{"text": "caf\xe9"}\n')
    assert complaint(path).startswith(f"{path}:2: not JSON ('utf-8'")


def test_a_missing_file_is_told_with_the_nearest_name_that_is_there(tmp_path: Path) -> None:
    here = rows_file(tmp_path, *FILLERS)
    assert complaint(tmp_path / "taks.jsonl") == f"{tmp_path / 'taks.jsonl'}: no such file; did you mean {here}?"
    assert complaint(tmp_path / "no" / "folder.jsonl") == f"{tmp_path / 'no' / 'folder.jsonl'}: no such file"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").mkdir()
    assert complaint(tmp_path / "tasks.jsonl") == f"{tmp_path / 'tasks.jsonl'}: Is a directory"


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "tasks.jsonl").write_text(text)
    assert complaint(tmp_path / "tasks.jsonl") == f"{tmp_path / 'tasks.jsonl'}: the file is empty"


def test_fewer_rows_than_asked_are_refused_with_both_numbers(tmp_path: Path) -> None:
    path = rows_file(tmp_path, *FILLERS)
    assert complaint(path, (2, 2, 1)) == f"{path}: 2 rows, but split_sizes asks for 2 + 2 + 1 = 5"


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 1, -1)])
def test_a_split_of_nothing_is_refused_before_anything_is_read(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(SettingsError, match="at least 1 task"):
        load_tasks("not-there.jsonl", split_sizes=sizes)


def test_an_empty_labelled_split_is_named(tmp_path: Path) -> None:
    path = rows_file(tmp_path, {"text": "x", "split": "a"}, {"text": "y", "split": "b"})
    assert complaint(path) == f"{path}: split 'test' is empty"


def test_a_row_without_a_label_among_labelled_ones_is_named(tmp_path: Path) -> None:
    path = rows_file(tmp_path, {"text": "x"}, {"text": "y", "split": "b"})
    assert complaint(path).startswith(f"{path}:1: no split, while other rows have one")


# No task twice


def test_overlapping_splits_are_told_with_both_lines(tmp_path: Path) -> None:
    path = rows_file(tmp_path, {"text": "Plan a trip"}, {"text": "other"}, {"text": "plan  a\nTRIP"})
    said = complaint(path)
    assert said.startswith(f"{path}:3: tasks must differ")
    assert said.endswith(f"stands in splits 'a' and 'test', first at {path}:1")


def test_a_task_that_is_twice_in_one_split_is_told_and_not_dropped(tmp_path: Path) -> None:
    path = rows_file(tmp_path, {"text": "x"}, {"text": "x"}, *FILLERS)
    assert complaint(path, (2, 1, 1)).endswith(f"stands twice in split 'a', first at {path}:1")


def test_a_repetition_among_rows_that_are_not_taken_does_not_matter(tmp_path: Path) -> None:
    path = rows_file(tmp_path, {"text": "x"}, *FILLERS, {"text": "x"})
    assert len(load_tasks(str(path), split_sizes=ONE_EACH)) == 3


def test_personas_are_told_by_split_and_number() -> None:
    with pytest.raises(DataError, match=r"^b 2: personas must differ, but 'I am Ann\.' stands .* first at a 1$"):
        check_disjoint({"a": ["I am Ann."], "b": ["I am Bo.", "I am Ann."]}, what="personas")


@given(st.lists(st.text(min_size=1, max_size=3), max_size=12), st.data())
@settings(deadline=None)
def test_splits_are_disjoint_exactly_where_no_two_items_read_alike(items: list[str], data: st.DataObject) -> None:
    labels = [data.draw(st.sampled_from(SPLITS)) for _ in items]
    splits = {split: [i for i, label in zip(items, labels, strict=True) if label == split] for split in SPLITS}
    if len({item.casefold().strip() for item in items}) < len(items):
        with pytest.raises(DataError):
            check_disjoint(splits, what="items")
    elif all(item.isascii() and item.isalnum() for item in items):
        check_disjoint(splits, what="items")


# Datasets by name. In a process of its own: `datasets` reads its settings, offline among them, when it is imported.

DATASET = """
import json, sys
from sparring.errors import DataError
from sparring.tasks import load_tasks
for source, column in json.loads(sys.argv[1]):
    try:
        splits = load_tasks(source, split_sizes=(2, 1, 1), column=column)
        print(json.dumps([[task.text for task in tasks] for tasks in splits.values()]))
    except DataError as error:
        print(json.dumps(str(error).splitlines()[0]))
"""


def asked(folder: Path, *cases: tuple[str, str]) -> list[Any]:
    env = {**os.environ, "HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    command = [sys.executable, "-c", DATASET, json.dumps(cases)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_dataset_is_read_by_name_config_split_and_column(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    org = tmp_path / "org" / "name"
    org.mkdir(parents=True)
    rows_file(org, *({"prompt": f"Human: q{n} Assistant: a", "split": "mine"} for n in range(9)), name="train.jsonl")
    rows_file(org, *({"prompt": f"held out {n}"} for n in range(4)), name="test.jsonl")
    whole, test, missing_column, missing_split, unknown = asked(
        tmp_path, ("org/name", "prompt"), ("org/name:/test", "prompt"), ("org/name", "question"),
        ("org/name:/validation", "prompt"), ("nobody/nothing", "prompt"),
    )  # fmt: skip
    assert whole == [["q0", "q1"], ["q2"], ["q3"]]
    assert test == [["held out 0", "held out 1"], ["held out 2"], ["held out 3"]]
    assert missing_column == "org/name: no column 'question'; the columns are prompt, split"
    assert missing_split.startswith("org/name:/validation: the dataset cannot be opened: ")
    assert unknown.startswith("nobody/nothing: the dataset cannot be opened: ")


def test_a_dataset_without_the_library_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"no \.jsonl file; a dataset needs `pip install 'sparring\[local\]'`"):
        load_tasks("org/name")
