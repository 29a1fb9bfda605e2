"""BIG-Bench-Hard's files as exercises: `{"examples": [{"input": ..., "target": ...}, ...]}`. They are only tested on.

https://github.com/suzgunmirac/BIG-Bench-Hard (MIT). Nothing of them is in this package.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sparring.errors import DataError, SettingsError
from sparring.tasks.exercise import Exercise
from sparring.tasks.load import check_text

NUMBER = re.compile(r"[+-]?[0-9]{1,300}")
OPTION = re.compile(r"\(([A-Z])\)")
SHORT = 7
"""Words of a list to sort that is still short: those have a tier of their own."""


@dataclass(frozen=True, slots=True)
class File:
    """What a file holds."""

    family: str
    canonical: Callable[[str, str], str | None]
    """(question, target) -> the answer as the family's `answer_of` gives it; None where it is none."""


def _number(_: str, target: str) -> str | None:
    return str(int(target)) if NUMBER.fullmatch(target) else None


def _words(question: str, target: str) -> str | None:
    """Return the words, where they are those of the question."""
    words = target.split()
    asked = question.rpartition("List:")[2].split()
    return " ".join(words) if words and sorted(words) == sorted(asked) else None


def _option(question: str, target: str) -> str | None:
    offered = OPTION.findall(question.partition("\nOptions:")[2])
    return target if (found := OPTION.fullmatch(target)) and found[1] in offered else None


FILES: Mapping[str, File] = {
    "multistep_arithmetic_two": File("multistep-arithmetic", _number),
    "word_sorting": File("word-sorting", _words),
    "date_understanding": File("date-understanding", _option),
    "logical_deduction_three_objects": File("logical-deduction", _option),
    "logical_deduction_five_objects": File("logical-deduction", _option),
    "logical_deduction_seven_objects": File("logical-deduction", _option),
}
"""By the file's name without its suffix."""


def load_bbh(folder: Path, family: str) -> list[Exercise]:
    """Return all of a family's exercises in a folder that has its files. Raises DataError as `read_bbh` does."""
    if not folder.is_dir():
        raise DataError(
            f"bbh = {str(folder)!r}: no such folder; it holds BIG-Bench-Hard's files, word_sorting.json say"
        )
    names = [name for name, file in FILES.items() if file.family == family]
    if not names:
        known = ", ".join(dict.fromkeys(file.family for file in FILES.values()))
        raise SettingsError(f"BIG-Bench-Hard has nothing for {family!r}, only for {known}")
    return [exercise for name in names for exercise in read_bbh(folder / f"{name}.json")]


def read_bbh(path: Path) -> list[Exercise]:
    """Return the exercises of a file, known by its name; the tier is that name, of words to sort with their number.

    Raises DataError, with the example's number from 1, for what cannot be read.
    """
    file = FILES.get(path.stem)
    if file is None:
        raise DataError(f"{path}: not a file of BIG-Bench-Hard that is known; those are {', '.join(FILES)}")
    return [_exercise(file, path, number, row) for number, row in enumerate(_examples(path), 1)]


def _examples(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error})") from error
    examples = cast(dict[str, Any], content).get("examples") if isinstance(content, dict) else None
    if not isinstance(examples, list) or not examples:
        raise DataError(f"{path}: no list of examples")
    return cast(list[Any], examples)


def _exercise(file: File, path: Path, number: int, row: Any) -> Exercise:
    where = f"{path}: example {number}"
    question, target = (_text(row, name, where) for name in ("input", "target"))
    answer = file.canonical(question, target)
    if answer is None:
        raise DataError(f"{where}: target {target!r:.80} does not answer its question")
    tier = path.stem
    if file.canonical is _words:
        tier = f"{tier} 1-{SHORT}" if len(answer.split()) <= SHORT else f"{tier} {SHORT + 1}-20"
    return Exercise(f"{path.stem}-{number}", question, answer, tier, seen=None)


def _text(row: Any, name: str, where: str) -> str:
    value = cast(dict[str, Any], row).get(name) if isinstance(row, dict) else None
    if not isinstance(value, str):
        raise DataError(f"{where}: {name} is {value!r:.80}, not a string")
    check_text(value, f"{where}: {name}")
    return value.strip()
