"""Rollouts that came to nothing, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from sparring.report.browse.core import Detail, Entry, Group, Part, Words, title
from sparring.report.browse.rows import Shelf, text
from sparring.report.browse.saying import facts
from sparring.report.record import round_of

FILE = "failures.jsonl"
Asked = Callable[[str], str]
"""What was asked of the rollout of an id; "" where nobody knows."""


def failures(shelf: Shelf, asked: Asked) -> list[Group]:
    """Return a group a stage that has any."""
    places: dict[str, list[int]] = {}
    for at, stage in enumerate(shelf[FILE].glances(lambda row: text(row, "stage"))):
        places.setdefault(stage, []).append(at)
    about = "Rollouts that came to nothing, each with its reason. Nothing of them is learned."
    return [
        Group(
            f"failures/{stage}",
            f"failed: {stage}",
            round_of(stage),
            "failures",
            about,
            partial(_entries, shelf, those, asked),
            len(those),
        )
        for stage, those in places.items()
    ]


def _entries(shelf: Shelf, places: list[int], asked: Asked) -> Iterator[Entry]:
    for at in places:
        row = shelf[FILE][at]
        reason, words = text(row, "reason"), asked(text(row, "id"))
        told = title(f"{reason}: {words or text(row, 'detail')}")
        yield Entry(text(row, "id"), told, None, "", None, None, ("failed", reason), partial(_detail, shelf, at, asked))


def _detail(shelf: Shelf, at: int, asked: Asked) -> Detail:
    row = shelf[FILE][at]
    parts: list[Part] = [Words("what was met", text(row, "detail"))] if text(row, "detail") else []
    if words := asked(text(row, "id")):
        parts.append(Words("what was asked", words))
    known = facts(("rollout", text(row, "id")), ("stage", text(row, "stage")), ("reason", text(row, "reason")))
    return Detail(known, tuple(parts))
