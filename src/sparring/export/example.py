"""Something to say to a model, for its card: a held-out item where those are public, else words of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sparring.export.chosen import Chosen
from sparring.export.facts import is_public, tested_on
from sparring.files import Row, parsed

PLAIN: dict[str, dict[str, str]] = {
    "star-gate": {"name": "Ada", "task": "Plan a weekend in Lisbon for me."},
    "tripost": {"question": "((7 - 2) * (3 + 4)) - 6 ="},
    "spar": {
        "prompt": "Describe the sea in exactly two sentences, and do not use the letter z.",
        "response": "The sea is wide.",
    },
}


def example(chosen: Chosen) -> dict[str, str]:
    """Return {"name", "task"}, {"question"}, or {"prompt", "response"}, by recipe. Nobody's own data is quoted."""
    is_theirs = is_public(tested_on(chosen.run.record["settings"]))
    found = next(_held_out(chosen.run.path, chosen.recipe), None) if is_theirs else None
    return found or PLAIN[chosen.recipe]


def _held_out(path: Path, recipe: str) -> Iterator[dict[str, str]]:
    match recipe:
        case "star-gate":
            for row in _rows(path / "situations.jsonl"):
                if row["task"]["split"] == "test":
                    yield {"name": row["persona"]["name"], "task": row["task"]["text"]}
        case "tripost":
            for row in _rows(path / "exercises.jsonl"):
                if row["part"] == "test":
                    yield {"question": row["question"]}
        case _:
            for row in _rows(path / "round-0" / "test-sampled.jsonl"):
                yield {"prompt": row["prompt"], "response": row["response"]}


def _rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file as they are needed; none of one that is not there."""
    if path.is_file():
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                yield parsed(line, f"{path}:{number}")
