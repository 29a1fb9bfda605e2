"""Prompts with instructions, and labelled responses, from a JSON-lines file or a `datasets` name.

A row is IFEval's, `{"key", "prompt", "instruction_id_list", "kwargs"}`, or a bare `{"prompt"}`; `group` and `level` put
it among nested levels. Every bad row is a DataError that starts with `file:line`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar, cast

from sparring.errors import DataError
from sparring.tasks.instructions.core import Checker, Instructed, Instruction, Judged
from sparring.tasks.instructions.ifeval import ARGUMENTS, CHECKERS
from sparring.tasks.load import Row, check_text, source_rows

Item = TypeVar("Item", Instructed, Judged)


def load_instructed(source: str, checkers: Mapping[str, Checker] = CHECKERS) -> list[Instructed]:
    """Return the prompts of `source`, a `.jsonl` path or a dataset `org/name[:config/split]`, in its order.

    Raises DataError for what cannot be read: an instruction without a checker, a value that it lacks, does not know or
    cannot take, a blank prompt, an id or a level of a group that stands twice. A value of None is not there; 0 is.
    """
    items = [(where, _instructed(line, row, where, checkers)) for line, where, row in _places(source)]
    _check_once(items, "key", lambda asked: asked.id)
    _check_once(items, "level", lambda asked: asked.group and f"{asked.level} of group {asked.group}")
    return [asked for _, asked in items]


def load_judged(source: str) -> list[Judged]:
    """Return the responses of `source`: `{"prompt", "response", "label"}`, label true where it follows its prompt.

    `kind` is `natural` where a row has none. A row of LLMBar, `{"input", "output_1", "output_2", "label"}` with the
    number of the better one, gives two: what SPaR does, where LLMBar compares them. Raises DataError as above.
    """
    items = [(where, one) for line, where, row in _places(source) for one in _labelled(line, row, where)]
    _check_once(items, "id", lambda judged: judged.id)
    return [judged for _, judged in items]


def _places(source: str) -> Iterable[tuple[int, str, Row]]:
    return ((line, f"{source}:{line}", row) for line, row in source_rows(source).items())


def _check_once(items: Iterable[tuple[str, Item]], what: str, key: Callable[[Item], str | None]) -> None:
    seen: dict[str, str] = {}
    for where, item in items:
        name = key(item)
        if name is not None and seen.setdefault(name, where) != where:
            raise DataError(f"{where}: {what} {name} stands twice, first at {seen[name]}")


def _instructed(line: int, row: Row, where: str, checkers: Mapping[str, Checker]) -> Instructed:
    prompt = _string(row, "prompt", where)
    check_text(prompt, f"{where}: prompt")
    ids, kwargs = _list(row, "instruction_id_list", where), _list(row, "kwargs", where)
    if len(ids) != len(kwargs):
        raise DataError(f"{where}: {len(ids)} in instruction_id_list, but {len(kwargs)} kwargs; each id has its own")
    asked = tuple(_instruction(id, given, where, checkers) for id, given in zip(ids, kwargs, strict=True))
    return Instructed(_key(row, f"prompt-{line}", where), prompt, asked, *_nested(row, where))


def _key(row: Row, otherwise: str, where: str) -> str:
    key = next((row[name] for name in ("key", "id") if row.get(name) is not None), otherwise)
    if isinstance(key, bool) or not isinstance(key, str | int) or key == "":
        raise DataError(f"{where}: key is {key!r:.80}, neither a number nor a string")
    return str(key)


def _nested(row: Row, where: str) -> tuple[str | None, int | None]:
    group, level = row.get("group"), row.get("level")
    if group is None and level is None:
        return None, None
    if isinstance(group, bool) or not isinstance(group, str | int) or group == "":
        raise DataError(f"{where}: group is {group!r:.80}; a row with a level names its group")
    if isinstance(level, bool) or not isinstance(level, int) or level < 1:
        raise DataError(f"{where}: level is {level!r:.80}; it is a whole number of 1 or more")
    return str(group), level


def _instruction(id: Any, given: Any, where: str, checkers: Mapping[str, Checker]) -> Instruction:
    if not isinstance(id, str) or id not in checkers:
        raise DataError(f"{where}: unknown instruction {id!r:.80}{_nearest(str(id), checkers)}")
    if given is not None and not isinstance(given, Mapping):
        raise DataError(f"{where}: {id}: its kwargs are {given!r:.80}, not an object")
    there = {name: value for name, value in cast(Row, given or {}).items() if value is not None}
    _check_names(id, there, where, checkers[id])
    return Instruction(id, {name: _value(id, name, value, where) for name, value in there.items()})


def _check_names(id: str, given: Row, where: str, checker: Checker) -> None:
    """Raise DataError where a checker lacks an argument that it needs, or is given one that it does not know."""
    wanted = list(inspect.signature(checker).parameters.values())[1:]
    names = [one.name for one in wanted]
    missing = [one.name for one in wanted if one.default is one.empty and one.name not in given]
    unknown = [name for name in given if name not in names]
    if missing:
        raise DataError(f"{where}: {id} needs {', '.join(missing)}; its kwargs are {given!r:.80}")
    if unknown:
        raise DataError(f"{where}: {id} does not take {unknown[0]!r:.80}{_nearest(unknown[0], names)}")


def _value(id: str, name: str, value: Any, where: str) -> Any:
    read = ARGUMENTS.get(name)
    try:
        return read(value) if read else value
    except ValueError as error:
        raise DataError(f"{where}: {id}: {name} is {value!r:.80}; it is {error}") from error


def _nearest(name: str, names: Iterable[str]) -> str:
    known = list(names)
    close = get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(known)}" if known else "; it takes nothing"


def _labelled(line: int, row: Row, where: str) -> list[Judged]:
    key, kind = _key(row, f"response-{line}", where), row.get("kind", "natural")
    if not isinstance(kind, str) or not kind:
        raise DataError(f"{where}: kind is {kind!r:.80}, not a name")
    if "output_1" in row:
        return [_half(key, row, where, kind, number) for number in (1, 2)]
    prompt, response, label = _string(row, "prompt", where), _string(row, "response", where), row.get("label")
    check_text(prompt, f"{where}: prompt")
    if not isinstance(label, bool):
        raise DataError(f"{where}: label is {label!r:.80}; it is true where the response follows its prompt, or false")
    return [Judged(key, prompt, response, label, kind)]


def _half(key: str, row: Row, where: str, kind: str, number: int) -> Judged:
    """Return one of the two responses that LLMBar compares."""
    prompt, better = _string(row, "input", where), row.get("label")
    check_text(prompt, f"{where}: input")
    if isinstance(better, bool) or better not in (1, 2):
        raise DataError(f"{where}: label is {better!r:.80}; it is 1 or 2, the number of the better output")
    return Judged(f"{key}/{number}", prompt, _string(row, f"output_{number}", where), better == number, kind)


def _string(row: Row, name: str, where: str) -> str:
    """Return a string that UTF-8 can hold; it may be blank."""
    value = row.get(name)
    if not isinstance(value, str):
        raise DataError(f"{where}: {name} is {value!r:.80}, not a string")
    check_text(f"{value}.", f"{where}: {name}")
    return value


def _list(row: Row, name: str, where: str) -> list[Any]:
    value = row.get(name)
    if value is not None and not isinstance(value, list):
        raise DataError(f"{where}: {name} is {value!r:.80}, not a list")
    return cast(list[Any], value or [])
