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
from sparring.training.settings import LoRASettings, SFTSettings
from sparring.training.sft import fine_tune
from sparring.types import Example, assistant, user
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


def make(path: Path, recipe: str, **how: Any) -> Run:
    """Make a run of a recipe: rounds=2, text=..., until=..."""
    MAKERS[recipe](path, **how)
    edit(path / "run.json", lambda record: at_home(recipe, record))
    for report in sorted(path.glob("round-*/*/training.json")):
        times = 1 + 0.01 * int(report.parts[-3][6:])
        checkpoint(the_world(recipe).model, report.parent, times)
    return Run(path)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Makes a run of a recipe: (recipe, rounds=2, text=..., until=...)."""

    def next_one(recipe: str, **how: Any) -> Run:
        return make(tmp_path / "runs" / f"{recipe}-{len(list(tmp_path.glob('runs/*')))}", recipe, **how)

    return next_one


def with_adapter(run: Run) -> Run:
    """Return a run whose last round trained an adapter, as one of star-gate with `policy = "vllm:..."` does."""
    edit(run.path / "run.json", lambda record: record["settings"].update(init="base"))
    checkpoint = run.path / "round-2/checkpoint"
    report = read_json(checkpoint / "training.json")
    shutil.rmtree(checkpoint)
    rows = [Example([user("Where should we eat?"), assistant("What food do you like?")], [0, 1])] * 4
    lora = LoRASettings(r=2, alpha=16)
    settings = SFTSettings(learning_rate=1e-2, batch_size=4, lora=lora, threads=1, epochs=3, validation_share=0)
    checkpoint.mkdir()
    fine_tune(str(the_world("star-gate").model), rows, checkpoint, 0, settings, lambda _: None)
    (checkpoint / "training.json").write_text("{}")
    edit(checkpoint / "training.json", lambda told: told.update(report))
    return Run(run.path)


def front_matter(card: str) -> dict[str, Any]:
    """Return a card's front matter as the Hub reads it."""
    from huggingface_hub import ModelCard

    data: Any = ModelCard(card).data.to_dict()
    return json.loads(json.dumps(data))
