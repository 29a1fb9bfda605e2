"""Made runs whose checkpoints are real: the embedded models, changed a little so that no round is another's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from sparring.files import read_json, write_json
from sparring.runs import Run
from sparring.stages import read_prompts
from sparring.worlds import World, world_of
from tests.made_runs import MAKERS

WORLDS = {"star-gate": "concierge", "tripost": "arithmetic", "spar": "instructions"}
PROMPTS = {
    "star-gate": ("ask", "play", "judge", "personalise", "neutral"),
    "tripost": ("attempt", "feedback", "update", "answer_only"),
    "spar": ("judge", "refine"),
}
VOICES = ("questioner", "answerer", "attempts", "judging", "refining")
Made = Callable[..., Run]


def the_world(recipe: str) -> World:
    world = world_of(f"world:{WORLDS[recipe]}")
    assert world
    return world


def checkpoint(model: Path, folder: Path, times: float) -> None:
    """Fill a made checkpoint: the model with its last norm scaled, as training changes all of it."""
    for path in model.iterdir():
        shutil.copyfile(path, folder / path.name)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] * times
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "canary.json").write_text("[]")


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = read_json(path)
    change(value)
    write_json(path, value)


def at_home(recipe: str, record: dict[str, Any]) -> None:
    """Give a run the prompts of its world, and few enough tokens."""
    world = the_world(recipe)
    record["prompts"] = read_prompts(world.prompts, *PROMPTS[recipe]) | ({"format": ""} if recipe == "tripost" else {})
    record["settings"] |= {"policy": f"world:{world.name}/policy", "tasks": f"world:{world.name}"}
    for name in VOICES:
        if name in record["settings"]:
            record["settings"][name]["max_tokens"] = 24


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Makes a run of a recipe: (recipe, rounds=2, text=..., until=...)."""

    def make(recipe: str, **how: Any) -> Run:
        path = tmp_path / "runs" / f"{recipe}-{len(list(tmp_path.glob('runs/*')))}"
        MAKERS[recipe](path, **how)
        edit(path / "run.json", lambda record: at_home(recipe, record))
        for report in sorted(path.glob("round-*/*/training.json")):
            times = 1 + 0.01 * int(report.parts[-3][6:])
            checkpoint(the_world(recipe).model, report.parent, times)
        return Run(path)

    return make


def front_matter(card: str) -> dict[str, Any]:
    """Return a card's front matter as the Hub reads it."""
    from huggingface_hub import ModelCard

    data: Any = ModelCard(card).data.to_dict()
    return json.loads(json.dumps(data))
