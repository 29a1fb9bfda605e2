"""Rows of chats as messages, figures as words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sparring.files import Row
from sparring.report.browse.core import Chat, Mark, Message
from sparring.report.browse.rows import text


def nats(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f} nats"


def share(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.0f} % of votes Yes"


def facts(*pairs: tuple[str, object]) -> tuple[tuple[str, str], ...]:
    """Return those that are known, as text."""
    return tuple((name, _plain(value)) for name, value in pairs if value is not None and value != "")


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def counts(found: Mapping[str, int] | None) -> str:
    """Return "3 x no-op, 1 x empty"; "" where there is nothing to count."""
    return ", ".join(f"{n} x {reason}" for reason, n in (found or {}).items())


def chat(label: str, row: Row, speakers: Sequence[str] = ("policy",)) -> Chat:
    """Return the messages of a training row with their weights.

    `speakers` are who the assistant is, one a message of its own; the last is who all further ones are.
    """
    weights: list[Any] = row.get("weights") or []
    messages: list[Message] = []
    said = 0
    for at, one in enumerate(row.get("messages") or row.get("prompt") or []):
        who = text(one, "role")
        if who == "assistant":
            who, said = speakers[min(said, len(speakers) - 1)], said + 1
        messages.append(weighed(who, text(one, "content"), weights[at] if at < len(weights) else None))
    return Chat(label, tuple(messages))


def weighed(who: str, words: str, weight: Any) -> Message:
    """Return a message with its weight: a number, or pieces of [characters, weight]; those learned are marked then."""
    if not isinstance(weight, list):
        return Message(who, words, weight=float(weight) if isinstance(weight, (int, float)) else None)
    marks: list[Mark] = []
    at, pieces = 0, [(int(piece[0]), float(piece[1])) for piece in weight]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    for length, worth in pieces:
        end = min(at + length, len(words))
        if worth > 0 and at < end:
            marks.append(Mark(at, end, "learned"))
        at = end
    return Message(who, words, tuple(marks), max((worth for _, worth in pieces), default=None), _pieces(pieces))


def _pieces(pieces: Iterable[tuple[int, float]]) -> str:
    return "weights of its parts: " + ", ".join(f"{worth:g}" for _, worth in pieces)


def learned(messages: Iterable[Message]) -> str | None:
    """Return how many messages are learned, of how many; None where no weight is known."""
    weights = [message.weight for message in messages]
    if all(weight is None for weight in weights):
        return None
    return f"{sum(weight is not None and weight > 0 for weight in weights)} of {len(weights)} messages"
