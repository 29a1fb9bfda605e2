"""Whatever stands in a run's files, and whatever is missing there, it can be looked through."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from sparring.errors import RunError
from sparring.report import browse
from sparring.report.browse.core import MOST_TITLE
from sparring.report.record import Record
from sparring.runs import Run
from tests.made_runs import MAKERS

BAD = (
    "<script>alert(1)</script>",
    "\x00\x1b[31m\u202e\u2066evil",
    "\ud800 alone",
    "😀" * 300,
    "",
    'In step (1) the part "1" is incorrect. This is because no.',
    "x" * 1_000_000,
)


def hurt(value: object, rng: random.Random) -> object:
    """Leave out fields, make some None, and put hostile words in place of others."""
    if isinstance(value, Mapping):
        kept = {key: part for key, part in cast(Mapping[str, Any], value).items() if rng.random() > 0.05}
        return {key: None if rng.random() < 0.05 else hurt(part, rng) for key, part in kept.items()}
    if isinstance(value, list):
        return [hurt(part, rng) for part in cast(list[Any], value)]
    return rng.choice(BAD) if isinstance(value, str) and rng.random() < 0.02 else value


def look_through(folder: Path) -> int:
    """Make every detail; return how many there are."""
    n = 0
    for group in browse.groups(Run(folder)):
        entries = [*group.entries()]
        assert len({entry.id for entry in entries}) == len(entries) == group.n
        for entry in entries:
            assert len(entry.title) <= MOST_TITLE
            json.loads(json.dumps([group.row(), entry.row(), entry.detail().row()], allow_nan=False))
            n += 1
    return n


@pytest.mark.parametrize("recipe", MAKERS)
@pytest.mark.parametrize("seed", range(3))
def test_rows_that_miss_fields_or_hold_hostile_words_are_shown(recipe: str, seed: int, tmp_path: Path) -> None:
    folder, rng = tmp_path / "run", random.Random(f"{recipe}/{seed}")
    MAKERS[recipe](folder)
    for path in folder.rglob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        path.write_text("".join(json.dumps(hurt(row, rng)) + "\n" for row in rows))
    (folder / "summary.json").unlink()
    assert look_through(folder) > 20
    Record.read(Run(folder))


@pytest.mark.parametrize("recipe", MAKERS)
def test_every_text_may_be_hostile_in_every_place(recipe: str, tmp_path: Path) -> None:
    def text(place: str, n: int, plain: str) -> str:
        return plain if place in ("stage", "role", "key", "id") else f"{BAD[n % 4]} {plain}"

    MAKERS[recipe](tmp_path / "run", text=text)
    assert look_through(tmp_path / "run") > 20


@pytest.mark.parametrize("recipe", MAKERS)
def test_a_run_of_which_only_the_record_is_there_has_no_groups(recipe: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"recipe": recipe, "settings": {}}))
    assert browse.groups(Run(tmp_path)) == []


def test_a_recipe_of_another_version_shows_its_failures(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"recipe": "unknown", "settings": {}}')
    (tmp_path / "failures.jsonl").write_text('{"stage": "x", "id": "a", "reason": "r", "detail": "d"}\n')
    (group,) = browse.groups(Run(tmp_path))
    assert [(entry.title, entry.tags) for entry in group.entries()] == [("r: d", ("failed", "r"))]


def test_a_broken_line_is_named_with_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    MAKERS["tripost"](folder)
    path = folder / "round-1/attempts.jsonl"
    path.write_bytes(path.read_bytes() + b'{"id": "x\n')
    group = next(one for one in browse.groups(Run(folder)) if one.id == "round-1/attempts")
    with pytest.raises(RunError, match=r"attempts\.jsonl:\d+: not a whole JSON object"):
        list(group.entries())


def test_ten_thousand_rollouts_are_listed_without_reading_a_file_twice_for_each(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    MAKERS["star-gate"](folder, 500, 10, 1)
    began = time.process_time()
    n = sum(1 for group in browse.groups(Run(folder)) for entry in group.entries() if entry.detail())
    assert n > 5000 and time.process_time() - began < 10  # about 0.7 s; a list searched for each would take minutes
