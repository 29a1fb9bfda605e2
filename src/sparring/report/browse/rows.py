"""The files of a run as they are looked through: each gone over once, a row parsed again where it is shown."""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from sparring.files import Row, parsed
from sparring.report.record import count_lines

T = TypeVar("T")


class Rows:
    """The rows of a JSON-lines file, by their places and by their names; none where there is no file.

    The file is mapped, not read: what is held of it is where its lines begin. Raises RunError for a broken line.
    """

    def __init__(self, path: Path):
        self.path = path
        self._ids: dict[str, int] | None = None

    @cached_property
    def _data(self) -> mmap.mmap | bytes:
        if not self.path.is_file() or not self.path.stat().st_size:
            return b""
        with self.path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    @cached_property
    def _starts(self) -> array[int]:
        starts, at, data = array("Q", [0]), 0, self._data
        while (found := data.find(b"\n", at)) >= 0:
            at = found + 1
            starts.append(at)
        if starts[-1] != len(data):
            starts.append(len(data) + 1)  # a last line that no line feed ends
        return starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, at: int) -> Row:
        data = self._data[self._starts[at] : self._starts[at + 1] - 1]
        return parsed(bytes(data), f"{self.path}:{at + 1}")

    def __iter__(self) -> Iterator[Row]:
        return (self[at] for at in range(len(self)))

    def glances(self, look: Callable[[Row], T]) -> list[T]:
        """Return what `look` sees in each row: a little, for all of it is held."""
        seen: list[T] = []
        ids: dict[str, int] = {}
        for at, row in enumerate(self):
            ids.setdefault(name_of(row), at)
            seen.append(look(row))
        self._ids = ids
        return seen

    @property
    def ids(self) -> dict[str, int]:
        """The place of each row, by its name; of twins, the first's."""
        if self._ids is None:
            self.glances(lambda row: None)
        return self._ids or {}

    def find(self, id: str) -> Row | None:
        """Return the row of that name; None where there is none."""
        at = self.ids.get(id)
        return None if at is None else self[at]


class Shelf:
    """The files of a run."""

    def __init__(self, path: Path):
        self.path = path
        self._open: dict[str, Rows] = {}

    def __getitem__(self, name: str) -> Rows:
        """Return the rows of a file, by its path in the run."""
        if name not in self._open:
            self._open[name] = Rows(self.path / name)
        return self._open[name]

    def __contains__(self, name: str) -> bool:
        return (self.path / name).is_file()

    def n(self, name: str) -> int:
        """Return how many rows a file has, without parsing it."""
        return count_lines(self.path / name) or 0

    @cached_property
    def rounds(self) -> list[int]:
        """The numbers of the rounds that were begun."""
        names = [path.name.removeprefix("round-") for path in self.path.glob("round-*")]
        return sorted(int(name) for name in names if name.isascii() and name.isdigit() and len(name) < 7)


def name_of(row: Row) -> str:
    """Return what a row is known by in its file."""
    if "id" in row:
        return text(row, "id")
    if "prompt_id" in row:
        return f"{text(row, 'prompt_id')} #{text(row, 'index')}"
    return f"{text(row, 'situation')} {text(row, 'voice')}".strip()


def text(row: Row, *names: str) -> str:
    """Return the text under a name, or under names one in the other; "" where there is none."""
    value: Any = row
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return "" if value is None else str(value)


def number(row: Row, name: str) -> float | None:
    """Return the number under a name; None where there is none."""
    value = row.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
