"""Files that are whole or not there: written under a temporary name, synced, renamed. Rows are JSON in valid UTF-8.

A lone surrogate is kept as its escape, and NaN is refused (an unknown value is `None`).
"""

from __future__ import annotations

import errno
import glob
import json
import os
import secrets
import shutil
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from sparring.errors import RunError, SparringError

Row = dict[str, Any]


def write_whole(path: Path, fill: Callable[[Path], None]) -> None:
    """Make `path` by filling a temporary neighbour and renaming it: whole or not there, whenever the process dies.

    The temporary name is new each time, so that an orphan of a killed attempt cannot write into this one. A full disk
    raises SparringError.
    """
    with room_on_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            _remove(leftover)
        temp = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            fill(temp)
            rename_whole(temp, path)
        finally:
            _remove(temp)


def rename_whole(temp: Path, path: Path) -> None:
    """Rename a finished file or folder to the name that says it is whole, with all of it on disk before."""
    for part in [temp, *temp.rglob("*")]:
        _sync(part)
    os.replace(temp, path)
    _sync(path.parent)


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("wb") as file:
        file.writelines(text_of(row) for row in rows)


def read_lines(path: Path) -> list[Row]:
    """Return the rows of a JSON-lines file; raise RunError with `file:line` at one that is not whole."""
    return rows_of(path.read_bytes(), path)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_bytes(text_of(value, indent=2))


def read_json(path: Path) -> Row:
    """Return the object in a JSON file; raise RunError where it is not whole."""
    return parsed(path.read_bytes(), str(path))


def rows_of(data: bytes, path: Path) -> list[Row]:
    """Return the rows in the text of a JSON-lines file; `path` is what an error names."""
    # Split at line feeds alone: `splitlines` would also break at U+2028, which is free to stand in a JSON string.
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    return [parsed(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]


def text_of(value: Mapping[str, Any], indent: int | None = None) -> bytes:
    """Return one value as a line of JSON in UTF-8."""
    # An escaped lone surrogate is what `backslashreplace` writes and what JSON reads.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def parsed(data: bytes, where: str) -> Row:
    """Return the JSON object in `data`; raise RunError naming `where` it stands."""
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    except ValueError as error:
        raise RunError(f"{where}: not a whole JSON object ({error}); delete the file to make it again") from error
    if not isinstance(value, dict):
        raise RunError(f"{where}: not a JSON object but {data[:40]!r}")
    return cast(Row, value)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


@contextmanager
def room_on_disk(path: Path) -> Generator[None]:
    """Turn a full disk into one clear SparringError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        message = f"the disk is full: {path} was not written. Free some space and give the same command again"
        raise SparringError(f"{message}; every finished stage is kept.") from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    # Litter under a name that nobody will use again: what an orphan still holds on to may stay.
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
