"""Rollouts and training rows as a dataset folder: Parquet, with a card."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sparring import __version__
from sparring.errors import RunError
from sparring.export import facts
from sparring.export.card import rendered
from sparring.export.kinds import KINDS, Kind
from sparring.export.place import check, put
from sparring.files import Row, read_lines
from sparring.report.record import Record
from sparring.report.terminal import REPORTS
from sparring.runs import Run


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one kind in one round."""

    kind: Kind
    round: int | None
    """None: they belong to the whole run."""
    path: Path
    """The run's own file."""

    @property
    def config(self) -> str:
        return self.kind.name if self.round is None else f"{self.kind.name}_round_{self.round}"

    @property
    def file(self) -> str:
        return f"{self.kind.name}/{'all' if self.round is None else f'round-{self.round}'}.parquet"


def data(run: Run, out: Path) -> Path:
    """Write what a run collected as a folder that `datasets.load_dataset` reads, and return it.

    A config a kind (`train`, `conversations`, ...) holds all rounds, KIND_round_N one of them. Raises RunError where
    there are no rows yet, or `out` holds something else.
    """
    about: Row = {"kind": "data", "recipe": run.record["recipe"], "run": run.id, "version": __version__}
    check(out, about)
    tables = tables_of(run)
    if not tables:
        raise RunError(f"{run.path} holds no rows yet: they come with the stages of its first round")

    def fill(folder: Path) -> None:
        counts = {table.config: write(run, table, folder / table.file) for table in tables}
        (folder / "README.md").write_text(data_card(run, tables, counts), encoding="utf-8")

    return put(out, about, fill)


def tables_of(run: Run) -> list[Table]:
    """Return what the run has of every kind, round by round; files without a row are left out."""
    found: list[Table] = []
    rounds = sorted(int(path.name[6:]) for path in run.path.glob("round-*") if path.name[6:].isdigit())
    for kind in KINDS[str(run.record["recipe"])]:
        places: list[tuple[int | None, Path]] = [(at, run.path / f"round-{at}") for at in rounds]
        for at, folder in places if kind.by_round else [(None, run.path)]:
            path = next((folder / name for name in kind.files if (folder / name).is_file()), None)
            if path and path.stat().st_size and kind.fits(path):
                found.append(Table(kind, at, path))
    return found


def write(run: Run, table: Table, path: Path) -> int:
    """Write a table as Parquet; return its number of rows."""
    from datasets import Dataset, Features, disable_progress_bars

    disable_progress_bars()
    own: Row = {} if table.round is None else {"round": table.round}
    read = table.kind.reader(run.path, table.path.parent)
    rows = [clean(read(row) | own) for row in read_lines(table.path)]
    schema = {**table.kind.schema, **dict.fromkeys(own, "int64")}
    path.parent.mkdir(exist_ok=True)
    made = Dataset.from_list([{name: row.get(name) for name in schema} for row in rows], Features(features(schema)))
    made.to_parquet(path)
    return len(rows)


def features(schema: Any) -> Any:
    """Return a schema of names, [of one], {of several} as that of `datasets`."""
    from datasets import List, Value

    if isinstance(schema, Mapping):
        return {name: features(one) for name, one in cast(Mapping[str, Any], schema).items()}
    return List(features(schema[0])) if isinstance(schema, list) else Value(schema)


def clean(value: Any) -> Any:
    """Return a value as Arrow holds it: text in valid UTF-8, a mark in the place of each lone surrogate."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _ODD.search(value) else value
    if isinstance(value, Mapping):
        return {name: clean(one) for name, one in cast(Mapping[str, Any], value).items()}
    return [clean(one) for one in cast("Iterable[Any]", value)] if isinstance(value, list | tuple) else value


_ODD = re.compile("[\ud800-\udfff]")


def data_card(run: Run, tables: list[Table], counts: Mapping[str, int]) -> str:
    """Return the README.md of a dataset folder, with the configs that `load_dataset` knows it by."""
    record = Record.read(run)
    kinds = list(dict.fromkeys(table.kind for table in tables))
    configs = [(kind.name, f"{kind.name}/*.parquet", kind.split) for kind in kinds]
    configs += [(table.config, table.file, table.kind.split) for table in tables if table.round is not None]
    rows = [(kind, [(table.round, counts[table.config]) for table in tables if table.kind is kind]) for kind in kinds]
    default = "train" if any(kind.name == "train" for kind in kinds) else kinds[0].name
    policy = facts.place(str(record.settings.get("policy")))
    return rendered(
        "data.md.j2",
        title=f"{REPORTS[record.recipe].name}: what a run of {policy} collected",
        recipe=record.recipe,
        configs=configs,
        default=default,
        rows=rows,
        size=size_of(sum(counts.values())),
        verdict=record.verdict,
        is_world=facts.is_of_a_world(record.settings),
        **facts.made(record),
    )


def size_of(rows: int) -> str:
    """Return the Hub's name for a number of rows."""
    bounds = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
    return next((name for most, name in bounds if rows < most), "1M<n<10M")
