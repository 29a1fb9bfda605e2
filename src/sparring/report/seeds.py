"""The page of a folder of seeds: means over them by round, every seed's value, and the way to each seed's own page."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sparring.errors import RunError
from sparring.files import Row, read_json
from sparring.report.figures import Cell, bare, cell
from sparring.report.page import framed, of_finished, written
from sparring.report.parts import Unit
from sparring.report.terminal import REPORTS
from sparring.runs import Run, seed_folder, seed_folders


@dataclass(frozen=True, slots=True)
class Line:
    """One metric of all rounds."""

    label: str
    under: bool
    """Whether it explains the line above it."""
    over: str
    """What its intervals are over: tasks and seeds, or seeds."""
    cells: tuple[tuple[Cell, str], ...]
    """By round: the mean, and the value of each seed."""


@dataclass(frozen=True, slots=True)
class Seed:
    """One seed's run."""

    seed: int
    verdict: str
    page: str
    """Address of its own page, from this one."""


def build(folder: Path, out: Path | None = None) -> Path:
    """Write the page of a folder of seeds, and each seed's own where that is not there yet; return where it is.

    `out` is FOLDER/report.html where it is not given. Raises RunError where not every seed has ended, or a file is
    broken; OSError for an `out` that cannot be written.
    """
    out, summary = out or folder / "report.html", _summary(folder)
    pages = {seed: of_finished(Run(seed_folder(folder, seed))) for seed in summary["seeds"]}
    verdicts: Mapping[str, str] = summary["verdicts"]
    seeds = [Seed(seed, verdicts[str(seed)], _address(page, out)) for seed, page in pages.items()]
    report = REPORTS.get(summary["recipe"])
    told = {"summary": summary, "seeds": seeds, "lines": tuple(_lines(summary, report.rows if report else ()))}
    title = report.name if report else summary["recipe"]
    return written(out, framed("seeds.html.j2", folder.resolve().name, title, told))


def _summary(folder: Path) -> Row:
    path = folder / "summary.json"
    if not path.is_file():
        there = ", ".join(map(str, seed_folders(folder)))
        raise RunError(f"{path} is not there: it is written once every seed has ended. Until then take one: {there}")
    summary = read_json(path)
    if missing := [name for name in ("recipe", "seeds", "rounds", "verdict", "verdicts") if name not in summary]:
        raise RunError(f"{path} is no summary over seeds: it has no {missing[0]}")
    return summary


def _address(page: Path, out: Path) -> str:
    """Return how a browser that reads `out` finds a page, as long as both stay where they are to each other."""
    return quote(
        Path(os.path.relpath(page.resolve(), out.parent.resolve())).as_posix().encode("utf-8", "surrogateescape")
    )


def _lines(summary: Row, rows: Sequence[tuple[str, str, Unit]]) -> Iterator[Line]:
    for name, label, unit in rows:
        found: list[Mapping[str, Any] | None] = [entry["metrics"].get(name) for entry in summary["rounds"]]
        if any(found):
            plain = label.removeprefix("· ")
            over = " or ".join(dict.fromkeys(one["over"] for one in found if one))
            yield Line(plain, plain != label, over, tuple((cell(one, unit), _each(one, unit)) for one in found))


def _each(metric: Mapping[str, Any] | None, unit: Unit) -> str:
    """Return "81.2, 79.0, –": a metric's value in each seed."""
    values: Sequence[float | None] = metric["seeds"] if metric else ()
    return ", ".join("–" if value is None else bare(value, unit) for value in values)
