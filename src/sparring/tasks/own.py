"""A user's own exercises, from a JSON-lines file.

    {"question": "...", "answer": "42", "rationale": "(1) ...", "tier": "hard", "split": "test"}

`question` and `answer` must be there. `rationale` is an attempt without a mistake, in labelled steps; `tier` (default:
the file's name) is what results are reported by; `split` is `train` or `test`, in every row or in none, where a digest
of the question decides; `id` defaults to the split and the line. Every bad row is a DataError with `file:line`.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from sparring.errors import DataError, SettingsError
from sparring.tasks.exercise import Exercise, Family, part_of
from sparring.tasks.load import check_disjoint, check_text, file_rows
from sparring.tasks.reading import said_in

COLUMNS = ("question", "answer", "rationale", "tier", "split", "id")
SPLITS = ("train", "test")
CLAUSE = re.compile(r"[.!;,]\s|\s(?:because|since)\s|\n")
WRAPPED = re.compile(r"^\(([^()]{1,60})\)$")
NUMBER = re.compile(r"([+-]?)(\d{1,3}(?:,\d{3}){1,20}|\d{1,60})(?:\.(\d{0,60}))?")


@dataclass(frozen=True, slots=True)
class Own:
    """A file's exercises, with a family that reads their answers; its `draw` raises, for they are given."""

    family: Family
    train: list[Exercise]
    test: list[Exercise]


def load_own(path: Path) -> Own:
    """Return the exercises of a file. Raises DataError for a bad row, a repeated question or id, and an empty split."""
    rows = file_rows(path)
    labelled = any(row.get("split") is not None for row in rows.values())
    splits: dict[str, list[Placed]] = {split: [] for split in SPLITS}
    for line, row in rows.items():
        exercise = _exercise(row, f"{path}:{line}", path.stem)
        split = _split(row, exercise, f"{path}:{line}", labelled)
        splits[split].append((line, replace(exercise, id=exercise.id or f"{split}-{line}")))
    for what, key in (("questions", _question), ("ids", _id)):
        check_disjoint(splits, what=what, key=key, place=lambda placed: f"{path}:{placed[0]}")
    if empty := [split for split, those in splits.items() if not those]:
        raise DataError(f"{path}: split {empty[0]!r} is empty")
    return _own(path, *([exercise for _, exercise in splits[split]] for split in SPLITS))


Placed = tuple[int, Exercise]
"""An exercise and its line, from 1."""


def _question(placed: Placed) -> str:
    return placed[1].question


def _id(placed: Placed) -> str:
    return placed[1].id


def _own(path: Path, train: list[Exercise], test: list[Exercise]) -> Own:
    """Tell tiers that training has from others, and give answers that mean the same one spelling."""
    seen = {exercise.tier for exercise in train}
    tiers = {exercise.tier: exercise.tier in seen for exercise in (*train, *test)}
    spelling: dict[str, str] = {}
    for exercise in (*train, *test):
        spelling.setdefault(canonical(exercise.answer), exercise.answer)
    train, test = (
        [replace(each, answer=spelling[canonical(each.answer)], seen=tiers[each.tier]) for each in those]
        for those in (train, test)
    )

    def draw(_: random.Random, tier: str) -> NoReturn:
        raise SettingsError(f"{path}: its exercises are given; none of tier {tier!r} can be drawn")

    numeric = all(NUMBER.fullmatch(known) for known in spelling)
    return Own(Family(path.stem, tiers, draw, partial(_answer_of, spelling, numeric)), train, test)


def _answer_of(spelling: Mapping[str, str], numeric: bool, attempt: str) -> str | None:
    """Read an answer, as the file spells it where it has it.

    What follows a known answer, after a comma, a full stop or "because", is passed over; where all answers are
    numeric, so are units.
    """
    said = said_in(attempt)
    if said is None:
        return None
    tries = [canonical(said), canonical(CLAUSE.split(said, maxsplit=1)[0])]
    if numeric:
        tries += [canonical(found[0]) for found in [NUMBER.search(said.rpartition("=")[2])] if found]
        return next((spelling.get(tried, tried) for tried in tries if NUMBER.fullmatch(tried)), tries[0])
    return next((spelling[tried] for tried in tries if tried in spelling), tries[0])


def canonical(answer: str) -> str:
    """Return what answers that mean the same have in common: `$1,000.00$.` and `1000`, `**(b)**` and `B`."""
    text, before = " ".join(unicodedata.normalize("NFKC", answer).casefold().split()), ""
    while text != before:
        before, text = text, text.strip("*_`\"'“”$ ").rstrip(".!").rstrip()
        text = WRAPPED.sub(r"\1", text)
    found = NUMBER.fullmatch(text.replace("−", "-"))
    if not found:
        return text
    whole, rest = found[2].replace(",", "").lstrip("0") or "0", (found[3] or "").rstrip("0")
    sign = "-" if found[1] == "-" and (whole != "0" or rest) else ""
    return f"{sign}{whole}.{rest}" if rest else f"{sign}{whole}"


def _exercise(row: dict[str, Any], where: str, tier: str) -> Exercise:
    """Return a row's exercise, without an id where the row gives none."""
    if strange := [name for name in row if name not in COLUMNS]:
        raise DataError(f"{where}: {strange[0]!r} is not a column; those are {', '.join(COLUMNS)}")
    question, answer = _text(row, "question", where), _text(row, "answer", where)
    rationale = _text(row, "rationale", where) if row.get("rationale") is not None else None
    if rationale is not None and canonical(said_in(rationale) or "") != canonical(answer):
        ends = f"ends in {said_in(rationale)!r:.80}" if said_in(rationale) else "has no answer that can be read"
        to_do = f"close it with a line '(Final response) So the answer is {answer}.'"
        raise DataError(f"{where}: rationale {ends}, but the answer is {answer!r:.80}; {to_do}")
    names = [_text(row, name, where) if row.get(name) is not None else "" for name in ("id", "tier")]
    return Exercise(names[0], question, answer, names[1] or tier, rationale=rationale)


def _text(row: dict[str, Any], name: str, where: str) -> str:
    if name not in row:
        raise DataError(f"{where}: {name} is missing, only {', '.join(row) or 'nothing'} is there")
    value = row[name]
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise DataError(f"{where}: {name} is {value!r:.80}, not a string")
    check_text(value, f"{where}: {name}")
    return value.strip()


def _split(row: dict[str, Any], exercise: Exercise, where: str, labelled: bool) -> str:
    split = row.get("split")
    if not labelled:
        return "test" if part_of(exercise.question) == "test" else "train"
    if split not in SPLITS:
        raise DataError(f"{where}: split is {split!r}; it is one of {', '.join(SPLITS)}, in every row or in none")
    return str(split)
