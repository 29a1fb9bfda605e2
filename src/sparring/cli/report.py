"""`sparring report RUN`: a run as one HTML page, to look at and to share."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from sparring.errors import DataError
from sparring.files import read_json
from sparring.report import seeds
from sparring.report.page import Built, build
from sparring.runs import Run, seed_folders


def report(run: Path, out: Path | None, as_json: bool) -> None:
    """Write the page of a run and say where it is.

    Of a folder of seeds it is one over all of them. Raises RunError where `run` is neither, or its files are broken;
    DataError where `out` cannot be written.
    """
    if out is not None:
        _fit(out)
    try:
        row, said = _of_seeds(run, out) if seed_folders(run) else _of_run(run, out)
    except OSError as error:
        where = error.filename or out or run
        raise DataError(f"the page of {run} cannot be made: {error.strerror} ({where})") from error
    typer.echo(json.dumps(row) if as_json else said)


def _of_run(run: Path, out: Path | None) -> tuple[dict[str, object], str]:
    built = build(Run(run), out)
    return _row(built), _said(built)


def _of_seeds(folder: Path, out: Path | None) -> tuple[dict[str, object], str]:
    page, folders = seeds.build(folder, out), [str(one) for one in seed_folders(folder)]
    n = len(read_json(folder / "summary.json")["seeds"])
    said = f"{page}: means over {n} seeds; their own pages, which it leads to, are in {', '.join(folders[:n])}"
    return {"page": str(page), "bytes": page.stat().st_size, "seeds": folders}, said


def _fit(out: Path) -> None:
    """Refuse what a page must not replace: a folder, or a file that is something else, one of a run for instance."""
    if out.is_dir():
        raise DataError(f"--out {out} is a folder; name a file in it, {out / 'report.html'} for one")
    if out.exists() and not out.is_file():
        raise DataError(f"--out {out} is a device or a pipe, which a page would take the place of; name a file")
    if out.is_file() and not out.read_bytes()[:15].lower() == b"<!doctype html>":
        raise DataError(f"--out {out} is a file that is no page; it stays as it is, name another")


def _row(built: Built) -> dict[str, object]:
    return {
        "page": str(built.html),
        "bytes": built.size,
        "data": [str(path) for path in built.data],
        "data_bytes": _beside(built),
        "rollouts": built.rollouts,
        "seconds": round(built.seconds, 3),
    }


def _said(built: Built) -> str:
    line = f"{built.html}: {built.rollouts:,} rollouts, {built.size / 1e6:.1f} MB, made in {built.seconds:.1f} s"
    if not built.data:
        return f"{line}; it opens from disk and needs no other file"
    return f"{line}; {_beside(built) / 1e6:.1f} MB more in {built.data[0].parent}/, to be kept beside it"


def _beside(built: Built) -> int:
    return sum(path.stat().st_size for path in built.data)
