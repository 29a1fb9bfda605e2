"""Where an export is put: whole or not at all, and over nothing but an earlier export of the same run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from sparring.errors import RunError
from sparring.export.speech import FILE
from sparring.files import Row, read_json, write_json, write_whole


def put(out: Path, about: Row, fill: Callable[[Path], None]) -> Path:
    """Make the folder `out` with what `fill` writes, and `about` in its sparring.json; return it.

    `about` has at least a `kind` and the `run` that it is of. Raises RunError where `out` holds anything but an export
    of that kind and run.
    """
    check(out, about)

    def make(folder: Path) -> None:
        folder.mkdir()
        fill(folder)
        write_json(folder / FILE, about)
        if out.is_dir() and any(out.iterdir()):
            os.rename(out, out.with_name(f".{out.name}.before.tmp"))

    write_whole(out, make)
    shutil.rmtree(out.with_name(f".{out.name}.before.tmp"), ignore_errors=True)
    return out


def check(out: Path, about: Row) -> None:
    """Raise RunError where `out` may not be replaced."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise RunError(f"{out} is no folder; choose another --out")
    if not out.exists() or not any(out.iterdir()):
        return
    mark = out / FILE
    if not mark.is_file():
        raise RunError(f"{out} holds something that is no export ({min(os.listdir(out))!r}); choose another --out")
    there = read_json(mark)
    if any(there.get(name) != about[name] for name in ("kind", "run")):
        raise RunError(
            f"{out} holds the {there.get('kind')} of another run, or something else of this one; choose another --out"
        )
