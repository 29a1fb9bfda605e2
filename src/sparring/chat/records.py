"""What a run directory or an exported folder says about how its models are talked to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sparring.chat.partner import Partner, no_examples
from sparring.engines import trained
from sparring.engines.vllm import Serving
from sparring.errors import RunError
from sparring.export.chosen import checkpoints, default_round, rolled_back_to
from sparring.export.speech import FILE
from sparring.files import read_json
from sparring.recipes.spar_settings import SPaR
from sparring.recipes.star_gate import StarGate
from sparring.recipes.tripost import TriPosT
from sparring.runs import Run
from sparring.settings import Settings, Training
from sparring.stages import read_prompts
from sparring.worlds import World, world_of

SETTINGS: Mapping[str, type[Settings]] = {"star-gate": StarGate, "tripost": TriPosT, "spar": SPaR}
PROMPTS: Mapping[str, tuple[str, ...]] = {
    "star-gate": ("ask",),
    "tripost": ("attempt", "feedback", "update", "answer_only"),
    "spar": ("judge", "refine"),
}
"""Prompts without which a model cannot be talked to as it was trained."""


def of_run(run: Run, wanted: int | None) -> Partner:
    """Return the model of a round of a run; without one the last, or what the run rolled back to.

    Raises RunError where there is none.
    """
    recipe = run.record["recipe"]
    if recipe not in SETTINGS:
        raise RunError(
            f"{run.path} is a run of {recipe!r}, whose models cannot be talked to; there is {', '.join(SETTINGS)}"
        )
    settings = read_settings(recipe, run.record["settings"], str(run.path / "run.json"))
    made = checkpoints(run, "actor" if recipe == "spar" else "policy")
    at = round_of(run, made, wanted)
    policy: str = settings.policy
    first = trained(policy, made[0]) if 0 in made else policy
    model = trained(policy, made[at]) if at in made else policy
    back = rolled_back_to(run) if wanted is None else None
    partner = Partner(
        model,
        f"m_{at} of {run.path}: the policy of {recipe} "
        + (f"after round {at}." if at else "before its first round.")
        + (f" The run rolled back to round {back}, its best." if back is not None else ""),
        f"m_{at}",
        recipe,
        settings,
        run.prompts,
        first if model != first else "",
        round=at,
        examples=partial(tried, run.path, recipe),
        serving=serving(settings),
    )
    return replace(partner, refiner=refiner_of(run, settings, at)) if recipe == "spar" else partner


def round_of(run: Run, made: Mapping[int, Path], wanted: int | None) -> int:
    """Return the round that is meant. Raises RunError for one that left no model; round 0 is always there."""
    there = sorted({0, *made})
    if wanted is None:
        return default_round(there, rolled_back_to(run))
    if wanted not in there:
        raise RunError(
            f"{run.path} has no model of round {wanted}; there is {', '.join(map(str, there))} (0: before the first)"
        )
    return wanted


def refiner_of(run: Run, settings: SPaR, at: int) -> str:
    """Return the engine of R_t: what the last round up to `at` left of it, or the refiner as it was given."""
    made = [folder for t, folder in checkpoints(run, "refiner").items() if t <= at]
    base = settings.refiner or settings.policy
    return trained(base, made[-1]) if made else base


def read_settings(recipe: str, given: Mapping[str, Any], where: str) -> Any:
    """Return a recipe's settings as they were written down. Raises RunError for what this version cannot read."""
    values = {name: value for name, value in given.items() if name != "inputs"}
    try:
        return SETTINGS[recipe].model_validate(values)
    except ValidationError as error:
        found = error.errors()[0]
        name = ".".join(map(str, found["loc"]))
        raise RunError(f"{where}: {name}: {found['msg']}; was it written by another version?") from error


def serving(settings: Any) -> Serving:
    """Return how a server of ours is started for what these settings trained."""
    told = Serving(**settings.vllm.model_dump(exclude={"stay"}))
    adapters = [value.lora for _, value in settings if isinstance(value, Training) and value.lora]
    return replace(told, max_lora_rank=max([told.max_lora_rank, *(int(lora.get("r", 0)) for lora in adapters)]))


# Things to try

FILES: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "star-gate": ("situations.jsonl", lambda row: row["task"]["text"] if row["task"].get("split") == "test" else ""),
    "tripost": ("exercises.jsonl", lambda row: row["question"] if row.get("part") == "test" else ""),
    "spar": ("instructions.jsonl", lambda row: row["prompt"] if row.get("part") == "test" else ""),
}


def tried(path: Path, recipe: str) -> Iterator[str]:
    """Yield what the run's models were tested on, each once."""
    name, text_of = FILES[recipe]
    if not (path / name).is_file():
        return
    seen = set[str]()
    with (path / name).open(encoding="utf-8") as lines:
        for line in lines:
            text = text_of(json.loads(line))
            if text and text not in seen:
                seen.add(text)
                yield text


def of_world(world: World, recipe: str) -> Partner:
    """Return a world's own model, with what the world brings for a recipe."""
    settings = SETTINGS[recipe].load([world.preset(recipe)])
    name = f"world:{world.name}/policy"
    found: Any = settings
    prompts = read_prompts(world.prompts, *PROMPTS[recipe])
    described = f"{name}: the embedded model that {recipe} begins with."
    refiner = name if recipe == "spar" else ""
    return Partner(name, described, "m_0", recipe, found, prompts, refiner=refiner, examples=partial(drawn, world))


def drawn(world: World) -> Iterator[str]:
    """Yield held-out things of a world."""
    if world.tasks:
        yield from dict.fromkeys(task.text for task in world.tasks()["test"])
    elif world.suite:
        yield from (one.prompt for one in world.suite.draw("test", 20, 0))
    elif world.family:
        from sparring.tasks.exercise import exercises

        yield from (one.question for one in exercises(world.family, "test", 20, 0))


def of_export(folder: Path) -> Partner:
    """Return an exported model. Raises RunError for a `sparring.json` that says too little."""
    told, where = read_json(folder / FILE), str(folder / FILE)
    recipe, at = str(told.get("recipe")), int(told.get("round", 0))
    if recipe not in SETTINGS or not isinstance(told.get("prompts"), dict):
        raise RunError(f"{where} names no recipe of {', '.join(SETTINGS)}, or no prompts; talk to hf:{folder} plainly")
    model = f"hf:{folder}"
    settings = read_settings(recipe, {"policy": model, **told.get("settings", {})}, where)
    if missing := [name for name in PROMPTS[recipe] if name not in told["prompts"] and name != "answer_only"]:
        raise RunError(f"{where} lacks the prompt {missing[0]!r}; talk to hf:{folder} plainly")
    is_refiner = told.get("model") == "refiner"
    described = f"{folder}: m_{at} of {recipe}" + (", its refiner." if is_refiner else ".")
    base = base_of(told.get("base", "")) if at and not is_refiner else ""
    examples = partial(drawn, world) if (world := world_of(settings.tasks)) else no_examples
    refiner = model if is_refiner else ""
    return Partner(model, described, f"m_{at}", recipe, settings, told["prompts"], base, refiner, at, examples)


def base_of(name: object) -> str:
    """Return the engine of what an exported model began as; "" where it cannot be found from here."""
    if not isinstance(name, str) or not name:
        return ""
    if name.startswith("world:"):
        return name
    return f"hf:{name}" if "/" in name else ""
