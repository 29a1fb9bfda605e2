"""Tasks from a JSON-lines file or a `datasets` name.

A task is the first human turn of its row: a string, a chat (`[{"role": "user", ...}]`), or a transcript (`"Human: ...
Assistant: ..."`). Three splits: rounds alternate between `a` and `b`, and `test` is never trained on. Every bad row is
a DataError that starts with `file:line`.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

from sparring.errors import DataError, SettingsError

T = TypeVar("T")
Name = TypeVar("Name", bound=str)

Split = Literal["a", "b", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, slots=True)
class Task:
    """One thing that is asked."""

    id: str
    """`task-N`, N being the row's line, from 1."""
    text: str
    """The request itself, stripped, never empty."""
    kind: str | None = None
    """A label that evaluation reports by, `general` or `specific` for one."""
    split: Split | None = None


Splits = dict[Split, list[Task]]
Row = dict[str, Any]
Rows = dict[int, Row]
"""By line, from 1."""


def load_tasks(source: str, *, split_sizes: tuple[int, int, int] = (250, 250, 50), column: str = "prompt") -> Splits:
    """Return the tasks of each split from `source`, a `.jsonl` path or a dataset `org/name[:config/split]`.

    A row of a file has its text in `column`, `text` or `messages`, and may have a `kind`. Where rows have a `split` all
    of them are taken; else the first rows are, contiguously, in `split_sizes` (a, b, test; >= 1 each).
    Raises DataError for a source that cannot be read, a bad row, too few rows, an empty split and a repeated task.
    """
    if min(split_sizes) < 1:
        raise SettingsError(f"split_sizes is {split_sizes}; each of a, b and test needs at least 1 task")
    is_file = source.endswith(".jsonl") or Path(source).is_file()
    rows = file_rows(Path(source)) if is_file else _dataset_rows(source, column, sum(split_sizes))
    labelled = any(row.get("split") is not None for row in rows.values())
    wanted = rows if labelled else dict(islice(rows.items(), sum(split_sizes)))
    tasks = [_task(line, row, f"{source}:{line}", column) for line, row in wanted.items()]
    splits = _by_label(tasks, source) if labelled else _contiguous(tasks, source, split_sizes)
    check_disjoint(splits, what="tasks", key=lambda task: task.text, place=lambda task: _place(source, task))
    return splits


def check_disjoint(
    splits: Mapping[Name, Sequence[T]],
    *,
    what: str,
    key: Callable[[T], str] = str,
    place: Callable[[T], str] | None = None,
) -> None:
    """Raise DataError where the same `what` (by `key`, but for case, width and spacing) stands twice, in any splits.

    `place` says where an item stands; else its split and number do.
    """
    seen: dict[str, tuple[Name, str]] = {}
    for split, items in splits.items():
        for number, item in enumerate(items, 1):
            text, here = _normalised(key(item)), place(item) if place else f"{split} {number}"
            if text in seen:
                other, there = seen[text]
                where = f"twice in split {split!r}" if split == other else f"in splits {other!r} and {split!r}"
                raise DataError(f"{here}: {what} must differ, but {key(item)!r:.80} stands {where}, first at {there}")
            seen[text] = split, here


def _normalised(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _place(source: str, task: Task) -> str:
    return f"{source}:{task.id.removeprefix('task-')}"


def _contiguous(tasks: Sequence[Task], source: str, sizes: Sequence[int]) -> Splits:
    if len(tasks) < sum(sizes):
        asked = " + ".join(str(size) for size in sizes)
        raise DataError(f"{source}: {len(tasks)} rows, but split_sizes asks for {asked} = {sum(sizes)}")
    left = iter(tasks)
    return {
        split: [replace(task, split=split) for task in islice(left, size)]
        for split, size in zip(SPLITS, sizes, strict=True)
    }


def _by_label(tasks: Sequence[Task], source: str) -> Splits:
    splits: Splits = {split: [] for split in SPLITS}
    for task in tasks:
        if task.split is None:
            raise DataError(f"{_place(source, task)}: no split, while other rows have one; it is one of {_choices()}")
        splits[task.split].append(task)
    for split, those in splits.items():
        if not those:
            raise DataError(f"{source}: split {split!r} is empty")
    return splits


def _task(line: int, row: Row, where: str, column: str) -> Task:
    kind, split = row.get("kind"), row.get("split")
    if kind is not None and not isinstance(kind, str):
        raise DataError(f"{where}: kind is {kind!r}, not a string")
    if split not in (None, *SPLITS):
        raise DataError(f"{where}: split is {split!r}; it is one of {_choices()}")
    return Task(f"task-{line}", _text(row, where, column), kind, split)


def _choices() -> str:
    return ", ".join(SPLITS)


def _text(row: Row, where: str, column: str) -> str:
    names = dict.fromkeys((column, "text", "messages"))
    name = next((name for name in names if name in row), None)
    if name is None:
        raise DataError(f"{where}: none of {', '.join(names)} is there, only {', '.join(row) or 'nothing'}")
    text = _first_turn(row[name], f"{where}: {name}").strip()
    check_text(text, f"{where}: {name}")
    return text


def check_text(text: str, where: str) -> None:
    """Raise DataError for a text that is blank, or that no tokenizer reads."""
    if not text.strip():
        raise DataError(f"{where} is empty")
    if not text.isprintable() and any("\ud800" <= character <= "\udfff" for character in text):
        raise DataError(f"{where} holds half of a surrogate pair, which no tokenizer reads")


def _first_turn(value: Any, where: str) -> str:
    """Return what the human said first in a string, a transcript or a chat."""
    if isinstance(value, str):
        return _transcript_start(value)
    if not isinstance(value, list):
        raise DataError(f"{where} is {value!r:.80}, neither a string nor a list of messages")
    for message in cast(list[Any], value):
        if isinstance(message, dict) and cast(Row, message).get("role") == "user":
            content = cast(Row, message).get("content")
            if isinstance(content, str):
                return content
            raise DataError(f"{where}: the content of the first user message is {content!r:.80}, not a string")
    raise DataError(f"{where} has no message whose role is 'user'")


def _transcript_start(text: str) -> str:
    """Return what stands between `Human:` and `Assistant:`, or the whole text where it does not open with `Human:`.

    The published code cut the last character off a text without `Assistant:`.
    """
    opened = text.lstrip()
    if not opened.startswith("Human:"):
        return text
    return opened.removeprefix("Human:").partition("Assistant:")[0]


def file_rows(path: Path) -> Rows:
    """Return the objects of a JSON-lines file by line, from 1. Raises DataError with `file:line`, and for no rows."""
    try:
        data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file{_nearest_file(path)}") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    # Only at line feeds: `splitlines` would also break at U+2028, which is free to stand in a JSON string.
    lines = enumerate(data.split(b"\n"), 1)
    rows = {number: _row(line, f"{path}:{number}") for number, line in lines if line.strip()}
    if not rows:
        raise DataError(f"{path}: the file is empty")
    return rows


def _row(line: bytes, where: str) -> Row:
    try:
        row = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: not an object but {row!r:.80}")
    return cast(Row, row)


def _nearest_file(path: Path) -> str:
    names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    close = get_close_matches(path.name, names, n=1)
    return f"; did you mean {path.with_name(close[0])}?" if close else ""


def source_rows(source: str) -> Rows:
    """Return the whole rows of a `.jsonl` path or a dataset `org/name[:config/split]` by number, from 1."""
    if source.endswith(".jsonl") or Path(source).is_file():
        return file_rows(Path(source))
    return dict(enumerate(_dataset(source), 1))


def _dataset_rows(source: str, column: str, limit: int) -> Rows:
    """Return the first `limit` rows of a dataset."""
    rows = _dataset(source)
    if column not in rows.column_names:
        raise DataError(f"{source}: no column {column!r}; the columns are {', '.join(rows.column_names)}")
    return {number: {column: row[column]} for number, row in enumerate(islice(rows, limit), 1)}


def _dataset(source: str) -> Any:
    """Return a dataset; its split is `train` where the name has none."""
    try:
        datasets: Any = import_module("datasets")
    except ImportError as error:
        raise DataError(f"{source}: no .jsonl file; a dataset needs `pip install 'sparring[local]'`") from error
    name, _, rest = source.partition(":")
    config, _, split = rest.partition("/")
    try:
        return datasets.load_dataset(name, config or None, split=split or "train")
    # RuntimeError is what a dataset that needs its own code gives: it is not run.
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DataError(f"{source}: the dataset cannot be opened: {error}") from error
