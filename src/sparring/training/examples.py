"""Training rows as they lie in a file: read, and checked down to the characters that a weight is of.

A row is an example (a chat and its weights) or a pair (a prompt and two replies).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sparring.errors import DataError
from sparring.types import Example, Message, Pair, Weight

R = TypeVar("R")


def read_examples(path: Path) -> list[Example]:
    """Read chats to learn. Raises DataError with file and line for a row that is not one."""
    return _read(path, _example)


def read_pairs(path: Path) -> list[Pair]:
    """Read pairs of replies. Raises DataError with file and line for a row that is not one."""
    return _read(path, _pair)


def check(example: Example, place: str) -> None:
    """Raise DataError, which begins with `place`, where the weights are not of the messages."""
    if len(example.weights) != len(example.messages):
        raise DataError(f"{place}: {len(example.messages)} messages but {len(example.weights)} weights")
    for message, weight in zip(example.messages, example.weights, strict=True):
        if isinstance(weight, list):
            _check_pieces(message, weight, place)
        for each in numbers(weight):
            _check_number(message, each, place)


def numbers(weight: Weight) -> list[float]:
    """Return the weights that a message's tokens can have."""
    return [each for _, each in weight] if isinstance(weight, list) else [weight]


def _read(path: Path, read: Callable[[str, str], R]) -> list[R]:
    with path.open(encoding="utf-8") as lines:
        return [read(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]


def _example(line: str, place: str) -> Example:
    try:
        row = json.loads(line)
        messages = [_message(message, place) for message in row["messages"]]
        example = Example(messages, [_weight(weight) for weight in row["weights"]])
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{place}: not a training row with messages and weights: {error!r}") from error
    check(example, place)
    return example


def _pair(line: str, place: str) -> Pair:
    try:
        row = json.loads(line)
        prompt = [_message(message, place) for message in row["prompt"]]
        chosen, rejected = row["chosen"], row["rejected"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(f"{place}: not a pair with prompt, chosen and rejected: {error!r}") from error
    if not prompt or prompt[-1]["role"] == "assistant":
        raise DataError(f"{place}: a prompt needs a message, and ends with one that the assistant can reply to")
    for reply in (chosen, rejected):
        if not isinstance(reply, str):
            raise DataError(f"{place}: a reply is a text, not {reply!r}")
    if chosen == rejected:
        raise DataError(f"{place}: chosen and rejected are both {chosen!r:.200}: there is nothing to prefer")
    return Pair(prompt, chosen, rejected)


def _message(value: Any, place: str) -> Message:
    role, content = value["role"], value["content"]
    if role not in ("system", "user", "assistant") or not isinstance(content, str):
        raise DataError(f"{place}: a message needs a known role and a text, not {role!r} and {content!r}")
    return value


def _weight(value: Any) -> Weight:
    return [[characters, float(weight)] for characters, weight in value] if isinstance(value, list) else float(value)


def _check_pieces(message: Message, pieces: list[list[float]], place: str) -> None:
    counts = [count for count, _ in pieces]
    bad = [count for count in counts if type(count) is not int or count < 0]
    if bad:
        raise DataError(f"{place}: a piece of {bad[0]!r} characters, but it must be a whole number >= 0")
    held = len(message["content"])
    if not pieces or sum(counts) != held:
        raise DataError(f"{place}: pieces of {sum(counts)} characters in all on a message of {held}")


def _check_number(message: Message, weight: float, place: str) -> None:
    if not 0 <= weight < math.inf:
        raise DataError(f"{place}: weight = {weight}, but it must be >= 0")
    if weight and message["role"] != "assistant":
        raise DataError(
            f"{place}: weight = {weight} on a {message['role']} message: only an assistant's words can be learned"
        )
