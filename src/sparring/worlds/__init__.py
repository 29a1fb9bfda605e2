"""Embedded worlds: a small language, its rule-based experts and a small trained model each, all inside the package.

A world is named in settings as `world:NAME`, its engines as `world:NAME/policy` (the model) or `world:NAME/oracle` (a
rule, standing where a paper has a far stronger model).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sparring import engines
from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.errors import EngineError, SettingsError
from sparring.evals.asking import Health
from sparring.rollouts.conversation import Conversation
from sparring.tasks import SPLITS, Splits, Task
from sparring.tasks.exercise import Family

if TYPE_CHECKING:
    from sparring.engines.vllm import Serving
    from sparring.tasks.instructions import Suite

PREFIX = "world:"


class Build(Protocol):
    """Trains a world's model from nothing into a folder and returns its gates; raises GateError where one is missed."""

    def __call__(self, out: Path, seed: int = 0, *, log: Callable[[str], None]) -> dict[str, float]: ...


@dataclass(frozen=True, slots=True)
class World:
    """What a recipe needs of a world.

    A world of exercises has a family; one of conversations, tasks and a reader; one of instructions, a suite.
    """

    name: str
    model: Path
    """The shipped checkpoint."""
    prompts: Path
    """Prompt files in the world's own few words."""
    presets: Path
    """Folder with RECIPE.toml: sizes and rates that fit the world, under a user's own settings."""
    experts: Mapping[str, Callable[[Request], str]]
    """Rules by role."""
    gates: Callable[[Path], dict[str, float]]
    """Measures a model's skills; raises GateError where one that the loop relies on is missing."""
    build: Build
    tasks: Callable[[], Splits] | None = None
    health: Health | None = None
    """Reads what happened in a conversation."""
    family: Family | None = None
    suite: Suite | None = None
    """Draws instructions and labelled responses, and checks what follows them."""

    @property
    def recipes(self) -> list[str]:
        """The recipes that this world is for."""
        return sorted(path.stem for path in self.presets.glob("*.toml"))

    def preset(self, recipe: str) -> dict[str, Any]:
        """Return the settings this world brings for a recipe: itself throughout, and what its RECIPE.toml says.

        Raises SettingsError for a recipe it is not for.
        """
        if recipe not in self.recipes:
            raise SettingsError(f"{PREFIX}{self.name} is a world for {', '.join(self.recipes)}, not for {recipe}")
        here = f"{PREFIX}{self.name}"
        brought = tomllib.loads((self.presets / f"{recipe}.toml").read_text(encoding="utf-8"))
        return {"policy": f"{here}/policy", "tasks": here, "prompts": here, **brought}


def concierge_world() -> World:
    """Users who leave things unsaid, and tasks that need them."""
    import sparring.worlds.concierge as here
    from sparring.worlds.concierge import experts, language

    def tasks() -> Splits:
        rows = [(n, row) for n, row in enumerate(language.tasks(), 1)]
        return {s: [Task(f"task-{n}", r["text"], r["kind"], s) for n, r in rows if r["split"] == s] for s in SPLITS}

    def health(conversation: Conversation, answer: str) -> Mapping[str, float]:
        from sparring.worlds.concierge.health import conversation_health

        situation = conversation.situation
        return conversation_health(situation.task.text, situation.persona.text, conversation.turns, answer or None)

    rules = {"author": experts.write_persona, "oracle": experts.oracle, "judge": experts.judge}
    making = _gates(here.__name__), _build(here.__name__)
    return World("concierge", here.MODEL, here.PROMPTS, here.HERE, rules, *making, tasks, health)


def lessons_world(name: str) -> World:
    """Exercises in steps, and a model that slips in them."""
    import sparring.worlds.lessons as here
    from sparring.worlds.lessons.chain import Chain, family
    from sparring.worlds.lessons.sums import Sums
    from sparring.worlds.lessons.teacher import teacher
    from sparring.worlds.lessons.words import Words

    chains: dict[str, Chain] = {chain.name: chain for chain in (Sums(), Words())}
    chain = chains[name]

    rules = {"teacher": partial(teacher, chain)}
    making = _gates(here.__name__, chain), _build(here.__name__, chain)
    return World(name, here.model(name), here.PROMPTS, here.HERE, rules, *making, family=family(chain))


def instructions_world() -> World:
    """Verses under constraints, and a model that meets some of them, judges badly and refines badly."""
    import sparring.worlds.instructions as here
    from sparring.worlds.instructions.suite import suite
    from sparring.worlds.instructions.teacher import teacher

    making = _gates(here.__name__), _build(here.__name__)
    return World("instructions", here.MODEL, here.PROMPTS, here.HERE, {"teacher": teacher}, *making, suite=suite())


def _gates(package: str, *about: object) -> Callable[[Path], dict[str, float]]:
    """Return what measures a model by a world's module `gates`, which loads torch."""

    def gates(model: Path) -> dict[str, float]:
        module = import_module(f"{package}.gates")
        measured = module.gates(*about, model)
        module.enforce(measured, str(model))
        return measured

    return gates


def _build(package: str, *about: object) -> Build:
    """Return what trains a model by a world's module `build`, which loads torch."""

    def build(out: Path, seed: int = 0, *, log: Callable[[str], None]) -> dict[str, float]:
        return import_module(f"{package}.build").build(*about, out, seed, log=log)

    return build


WORLDS: dict[str, Callable[[], World]] = {
    "concierge": concierge_world,
    "arithmetic": partial(lessons_world, "arithmetic"),
    "word-sorting": partial(lessons_world, "word-sorting"),
    "instructions": instructions_world,
}


def world_of(name: str) -> World | None:
    """Return the world that `world:NAME` or `world:NAME/ROLE` names; None for any other name."""
    if not name.startswith(PREFIX):
        return None
    world = name.removeprefix(PREFIX).partition("/")[0]
    if world not in WORLDS:
        close = get_close_matches(world, WORLDS, n=1)
        hint = f"did you mean world:{close[0]}?" if close else f"there is {', '.join(WORLDS)}"
        raise EngineError(f"no world {world!r}; {hint}")
    return WORLDS[world]()


def open_engine(name: str, serving: Serving | None = None) -> Any:
    """Open `world:NAME/policy`, `world:NAME/EXPERT`, or any engine of `sparring.engines`."""
    world = world_of(name)
    if world is None:
        return engines.open_engine(name, serving)
    role = name.partition("/")[2]
    if role == "policy":
        return engines.open_engine(f"hf:{world.model}")
    if role not in world.experts:
        raise EngineError(f"engine {name!r}: the world {world.name} has {', '.join(['policy', *world.experts])}")
    return Scripted(world.experts[role])


def model_of(name: str) -> str:
    """Return the folder or Hub id of an engine that can be trained."""
    world = world_of(name)
    if world is None:
        return engines.model_of(name)
    if name != f"{PREFIX}{world.name}/policy":
        raise EngineError(f"{name!r} cannot be trained; the model of this world is {PREFIX}{world.name}/policy")
    return str(world.model)
