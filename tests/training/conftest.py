"""A tiny model and rows to train it on."""

import json
import random
from dataclasses import asdict
from pathlib import Path

import pytest

from sparring.types import Example, Pair, assistant, system, user
from tests.tiny import tiny_model

WANTS = [
    "tea",
    "coffee",
    "cake",
    "red tea",
    "blue cake and tea",
    "one two three red blue cake",
    " and ".join(["tea"] * 15),
]


def examples(count: int, seed: int = 0) -> list[Example]:
    """Rows of uneven length and uneven weight, so that a mean of means is not the mean."""
    draw = random.Random(seed)
    rows: list[Example] = []
    for _ in range(count):
        want, greeting = draw.choice(WANTS), " ".join(["hello"] * draw.randint(1, 4))
        chat = [
            system("you are helpful ."),
            user(greeting),
            assistant("what do you like ?"),
            user(f"i like {want}"),
            assistant(f"then have {want} ."),
        ]
        rows.append(Example(chat, [0, 0, 1, 0, draw.choice([0.25, 1, 3])]))
    return rows


def pairs(count: int, seed: int = 0) -> list[Pair]:
    """Pairs of uneven length: what was wanted, against something else."""
    draw = random.Random(seed)
    rows: list[Pair] = []
    for _ in range(count):
        want, other = draw.sample(WANTS, 2)
        chat = [system("you are helpful ."), user(f"{' '.join(['hello'] * draw.randint(1, 4))} i like {want}")]
        rows.append(Pair(chat, f"then have {want} .", f"then have {other}"))
    return rows


def write_pairs(path: Path, rows: list[Pair]) -> Path:
    path.write_text("".join(json.dumps({**asdict(row), "id": 7}) + "\n" for row in rows))
    return path


def write_rows(path: Path, rows: list[Example]) -> Path:
    path.write_text("".join(json.dumps({"messages": r.messages, "weights": r.weights, "id": 7}) + "\n" for r in rows))
    return path


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base"))
