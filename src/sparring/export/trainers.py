"""Training rows as other trainers read them.

No other trainer knows a weight for every message. What they can do is learn one reply and not what stands before it,
so a chat becomes one row for each reply that was learned: the mask is exact, and the size of a weight is lost. Each
folder's README says what.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sparring import __version__
from sparring.errors import RunError, SettingsError
from sparring.export.card import rendered
from sparring.export.dataset import Table, clean, tables_of
from sparring.export.place import check, put
from sparring.files import Row, read_lines, write_lines
from sparring.report.terminal import REPORTS
from sparring.runs import Run

Trainer = Literal["trl", "llama-factory"]
TRAINERS: tuple[Trainer, ...] = ("trl", "llama-factory")


@dataclass(slots=True)
class Lost:
    """What of a file's rows the other trainer does not learn as we did."""

    weighted: int = 0
    """Replies whose weight is neither 0 nor 1."""
    in_pieces: int = 0
    """Replies whose parts counted unlike: here the whole reply counts as 1."""
    left_out: int = 0
    """Replies of which a part must not be learned: here none of it is."""
    split: int = 0
    """Chats that became several rows."""


@dataclass(frozen=True, slots=True)
class Written:
    """One file of rows."""

    name: str
    kind: Literal["sft", "dpo"]
    rows: int
    of: int
    """Rows of the run's own file."""
    lost: Lost


def to(run: Run, out: Path, trainer: Trainer) -> Path:
    """Write a run's training rows for another trainer, a file a round and model, and return the folder.

    trl: {"prompt", "completion"} and {"prompt", "chosen", "rejected"}, all chats. llama-factory: {"messages"}, of which
    the last is learned (`mask_history`), {"messages", "chosen", "rejected"}, and dataset_info.json. Raises RunError
    where there are no rows yet, or `out` holds something else; SettingsError for another trainer.
    """
    if trainer not in TRAINERS:
        raise SettingsError(f"to = {trainer!r}, but it must be one of {', '.join(TRAINERS)}")
    about: Row = {"kind": trainer, "recipe": run.record["recipe"], "run": run.id, "version": __version__}
    check(out, about)
    tables = [table for table in tables_of(run) if {"weights", "chosen"} & table.kind.schema.keys()]
    if not tables:
        raise RunError(f"{run.path} holds no training rows yet: they come at the end of its first round")

    def fill(folder: Path) -> None:
        written = [write(run, table, folder, trainer) for table in tables]
        if trainer == "llama-factory":
            info = {one.name.removesuffix(".jsonl"): described(one) for one in written}
            (folder / "dataset_info.json").write_text(json.dumps(info, indent=2), encoding="utf-8")
        card = rendered("rows.md.j2", name=REPORTS[run.record["recipe"]].name, trainer=trainer, files=written)
        (folder / "README.md").write_text(card, encoding="utf-8")

    return put(out, about, fill)


def write(run: Run, table: Table, folder: Path, trainer: Trainer) -> Written:
    """Write the rows of one table; return what came of them."""
    source, lost = read_lines(table.path), Lost()
    pairs = "chosen" in table.kind.schema
    made = [compared(row, trainer) for row in source] if pairs else [*learned(source, trainer, lost)]
    name = f"{table.kind.name}-round-{table.round}.jsonl"
    write_lines(folder / name, [clean(row) for row in made])
    return Written(name, "dpo" if pairs else "sft", len(made), len(source), lost)


def learned(source: Sequence[Row], trainer: Trainer, lost: Lost) -> Iterator[Row]:
    """Yield a row for each reply that is learned."""
    for row in source:
        replies = [at for at, weight in enumerate(row["weights"]) if _counts(weight, lost)]
        lost.split += len(replies) > 1
        for at in replies:
            before, reply = row["messages"][:at], row["messages"][at]
            if trainer == "trl":
                yield {"prompt": before, "completion": [reply]}
            else:
                yield {"messages": [*before, reply]}


def _counts(weight: Any, lost: Lost) -> bool:
    """Tell whether a message is learned, and note what of that is lost."""
    if not isinstance(weight, list):
        lost.weighted += weight not in (0, 1)
        return weight > 0
    parts = {float(part) for n, part in weight if n}
    if 0.0 in parts:
        lost.left_out += len(parts) > 1
        return False
    lost.in_pieces += len(parts) > 1
    lost.weighted += parts != {1.0}
    return bool(parts)


def compared(row: Row, trainer: Trainer) -> Row:
    """Return a pair with both replies as messages."""
    chosen, rejected = ({"role": "assistant", "content": row[side]} for side in ("chosen", "rejected"))
    if trainer == "trl":
        return {"prompt": row["prompt"], "chosen": [chosen], "rejected": [rejected]}
    return {"messages": row["prompt"], "chosen": chosen, "rejected": rejected}


def described(one: Written) -> Row:
    """Return what LLaMA-Factory's dataset_info.json says of a file."""
    columns = {"messages": "messages"}
    if one.kind == "dpo":
        columns |= {"chosen": "chosen", "rejected": "rejected"}
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    }
    told: Row = {"file_name": one.name, "formatting": "sharegpt", "columns": columns, "tags": tags}
    return {**told, "ranking": True} if one.kind == "dpo" else told
