"""A suite made of files: prompts to train on, prompts to test on, responses to judge."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

from sparring.errors import DataError, SettingsError
from sparring.tasks.instructions.core import Checker, Instructed, Judged, Part, Suite
from sparring.tasks.instructions.ifeval import CHECKERS
from sparring.tasks.instructions.load import load_instructed, load_judged

Item = TypeVar("Item")


def suite_of(
    train: str | None = None,
    test: str | None = None,
    judged: str | None = None,
    *,
    name: str = "files",
    checkers: Mapping[str, Checker] = CHECKERS,
) -> Suite:
    """Return a suite of `.jsonl` paths or `datasets` names; what is None has nothing to draw.

    Prompts of a group are drawn as nested levels and in no other way. Raises DataError for files that cannot be read
    and for a prompt that is in both; what it draws is a SettingsError where a file has too few.
    """
    parts: dict[Part, list[Instructed]] = {
        "train": load_instructed(train, checkers) if train else [],
        "test": load_instructed(test, checkers) if test else [],
    }
    _check_parts(parts, train, test)
    single = {part: [asked for asked in those if asked.group is None] for part, those in parts.items()}
    groups = _groups(parts["test"])
    responses = load_judged(judged) if judged else []
    return Suite(
        name,
        checkers,
        lambda part, n, seed: _drawn(single[part], n, f"{part}/{seed}", f"prompts in {part}"),
        (lambda n, seed: _judged(responses, n, seed)) if responses else None,
        (lambda n, seed: _levels(groups, n, seed)) if groups else None,
    )


def _check_parts(parts: Mapping[Part, Sequence[Instructed]], train: str | None, test: str | None) -> None:
    """Raise DataError where nothing of the test can be checked, and for a prompt of it that is trained on."""
    if test and not any(one.instructions for one in parts["test"]):
        raise DataError(f"{test}: no prompt has instructions, so nothing of it can be checked")
    trained = {_plain(one.prompt): one.id for one in parts["train"]}
    for one in parts["test"]:
        if (key := trained.get(_plain(one.prompt))) is not None:
            raise DataError(f"{test}: the prompt with key {one.id} is also in {train}, with key {key}: it is no test")


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _groups(asked: Sequence[Instructed]) -> dict[str, list[Instructed]]:
    groups: dict[str, list[Instructed]] = {}
    for one in sorted((one for one in asked if one.group is not None), key=lambda one: one.level or 0):
        groups.setdefault(str(one.group), []).append(one)
    return groups


def _drawn(items: Sequence[Item], n: int, seed: str, what: str) -> list[Item]:
    """Return `n` items in an order that the seed decides; fewer of them are the first ones of more."""
    if not 0 <= n <= len(items):
        raise SettingsError(f"{n} {what} are asked for; there are {len(items)}")
    return random.Random(seed).sample(items, len(items))[:n]


def _judged(responses: Sequence[Judged], n: int, seed: int) -> list[Judged]:
    return _drawn(responses, n, f"judged/{seed}", "labelled responses")


def _levels(groups: Mapping[str, list[Instructed]], n: int, seed: int) -> list[Instructed]:
    return [asked for name in _drawn(sorted(groups), n, f"levels/{seed}", "groups") for asked in groups[name]]
