"""Which of a run's checkpoints is meant: by model and round; by default the last, or the best after a roll back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sparring.engines.adapters import read_adapter
from sparring.errors import RunError, SettingsError
from sparring.files import read_json
from sparring.report.terminal import REPORTS
from sparring.runs import Run
from sparring.worlds import model_of, world_of

Model = Literal["policy", "actor", "refiner"]
Form = Literal["merged", "adapter"]

FOLDERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "star-gate": {"policy": ("checkpoint",)},
    "tripost": {"policy": ("checkpoint",)},
    "spar": {"actor": ("actor",), "refiner": ("judge", "refiner")},
}
"""Where each model of a recipe stands in a round's folder; the first that is there is the round's last word."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")


@dataclass(frozen=True, slots=True)
class Base:
    """The model that a run began with."""

    engine: str
    """As set: hf:ID, vllm:ID, world:NAME/policy."""
    hub: str | None
    """Its id on the Hub; None: a stranger finds it nowhere."""
    world: str | None
    """Name of the embedded world whose model it is."""

    @property
    def name(self) -> str:
        """What a stranger may be told: an id, a world's model, the last part of a local folder's path."""
        return self.hub or (self.engine if self.world else Path(self.engine.partition(":")[2]).name)


@dataclass(frozen=True, slots=True)
class Chosen:
    """One checkpoint of a run."""

    run: Run
    recipe: str
    model: Model
    round: int
    """0: what was trained before the first round."""
    folder: Path
    """The merged model, whole."""
    base: Base
    last: bool
    """Whether no later round trained this model."""

    @property
    def adapter(self) -> Path | None:
        """The adapter that was merged into it, in a folder of its own; None where all weights were trained."""
        inner = self.folder / "adapter"
        return inner if inner.is_dir() else None


def choose(run: Run, model: Model = "policy", round: int | None = None, form: Form = "merged") -> Chosen:
    """Return the checkpoint of a round; without one, that of the round rolled back to, or else the last there is.

    SPaR's policy is its actor. Raises SettingsError for a model that the recipe does not have, or an adapter where
    there is none of the base; RunError where nothing is trained yet, or not in that round.
    """
    recipe = str(run.record["recipe"])
    known = FOLDERS.get(recipe)
    if known is None:
        raise RunError(f"{run.path} is a run of {recipe!r}, which cannot be exported; there is {', '.join(FOLDERS)}")
    model = "actor" if model == "policy" and "actor" in known else model
    if model not in known:
        raise SettingsError(f"model = {model!r}: {recipe} trains {' and '.join(known)}")
    made, best = checkpoints(run, model), rolled_back_to(run, model)
    if round is None and best is not None and not any(at <= best for at in made):
        last = f"; --round {max(made)} is the last that was trained" if made else ""
        raise RunError(
            f"{run.path} rolled back to round {best}, whose {model} is the one that it began with, "
            f"{base_of(run, model).name}: there is nothing of it to export{last}"
        )
    if not made:
        raise RunError(
            f"{run.path} has no checkpoint of its {model} yet: it is made at the end of a round's training. "
            f"Go on with the run: sparring run {recipe} --out {run.path}"
        )
    at = default_round(made, best) if round is None else round
    if at not in made:
        raise RunError(_no_such_round(run, model, at, made))
    chosen = Chosen(run, recipe, model, at, made[at], base_of(run, model), at == max(made))
    if form == "adapter":
        _check_adapter(chosen, made)
    return chosen


def rolled_back_to(run: Run, model: Model = "policy") -> int | None:
    """Return the best round of a run that rolled back, or that its judge's certificate stopped; None of any other.

    The refiner whose certificate stopped it is never the best.
    """
    path = run.path / "summary.json"
    summary = read_json(path) if path.is_file() else {}
    if stopped := summary.get("stopped"):
        best, failed = int(stopped["best"]), int(stopped["round"])
        return min(best, max(0, failed - 1)) if model == "refiner" else best
    rounds: list[Mapping[str, Any]] = summary.get("rounds") or []
    return int(rounds[-1]["best"]) if any(one.get("rolled_back") for one in rounds) else None


def default_round(made: Iterable[int], best: int | None) -> int:
    """Return the round that is meant where nobody says: the last, but none after `best` where a run rolled back."""
    return max(at for at in made if best is None or at <= best)


def checkpoints(run: Run, model: Model) -> dict[int, Path]:
    """Return every checkpoint of a model by its round, in order."""
    found: dict[int, Path] = {}
    names = FOLDERS[str(run.record["recipe"])][model]
    rounds = [int(path.name[6:]) for path in run.path.glob("round-*") if path.name[6:].isdigit()]
    for at in sorted(rounds):
        places = [run.path / f"round-{at}" / name for name in names]
        if whole := [place for place in places if (place / "training.json").is_file()]:
            found[at] = whole[0]
    return found


def base_of(run: Run, model: Model) -> Base:
    """Return what a model was before the run. Raises EngineError for a world that this version does not have."""
    settings = run.record["settings"]
    own = settings.get("refiner") if model == "refiner" else ""
    engine = str(own or settings["policy"])
    world = world_of(engine)
    if world:
        return Base(engine, None, world.name)
    name = model_of(engine)
    was_local = ("refiner" if own else "policy") in (settings.get("inputs") or {})  # its weights were read there
    is_local = was_local or name.startswith((".", "/", "~")) or Path(name).expanduser().is_dir()
    return Base(engine, None if is_local or not HUB_ID.fullmatch(name) else name, None)


def best_round(rounds: list[Mapping[str, Any]], recipe: str, model: Model, at: int) -> tuple[int, str] | None:
    """Return an earlier round that measured better, beyond the interval of round `at`, with the metric's name.

    `rounds` are those of summary.json. None: there is none, or nothing tells.
    """
    name = "judge_balanced_accuracy" if model == "refiner" else REPORTS[recipe].decisive
    found = {entry["round"]: entry["metrics"].get(name) for entry in rounds}
    here = found.get(at)
    if not here:
        return None
    bound = here["value"] if here["high"] is None else here["high"]
    better = {t: one["value"] for t, one in found.items() if one and t < at and one["value"] > bound}
    return (max(better, key=lambda t: better[t]), name) if better else None


def _no_such_round(run: Run, model: Model, at: int, made: Mapping[int, Path]) -> str:
    there = ", ".join(map(str, made))
    before = [t for t in made if t < at]
    if (run.path / f"round-{at}").is_dir() and before and at < max(made):
        return (
            f"round {at} of {run.path} trained no {model}, which went on as round {before[-1]}'s: "
            f"--round {before[-1]} is the same model (there is {there})"
        )
    return f"{run.path} has no checkpoint of its {model} for round {at}; there is {there}"


def _check_adapter(chosen: Chosen, made: Mapping[int, Path]) -> None:
    if chosen.adapter is None:
        raise SettingsError(
            f"{chosen.folder} holds no adapter: all weights were trained. Leave out --adapter, or train with "
            "training.lora"
        )
    read_adapter(chosen.adapter)
    earlier = [at for at in made if at < chosen.round]
    if earlier and chosen.run.record["settings"].get("init") == "previous":
        raise SettingsError(
            f"the adapter of round {chosen.round} changes round {earlier[-1]}'s model, not {chosen.base.name}, so that "
            "it is no use by itself: leave out --adapter for the merged model, or train with init=base"
        )
