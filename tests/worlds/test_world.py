"""What a world brings to recipes, and what it says to those it is not for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sparring import worlds
from sparring.errors import GateError, SettingsError
from sparring.worlds import WORLDS, World, world_of
from tests.command import Command, refused


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world of exercises, for TriPosT alone, whose model is a file of one line."""

    def build(out: Path, seed: int = 0, *, log: Callable[[str], None]) -> dict[str, float]:
        (out / "model.txt").write_text(str(seed))
        if seed == 13:
            raise GateError("toy: adds is 0.1, at least 0.9 is needed")
        log(f"seed {seed}")
        return {"adds": 0.95}

    for name in ("model", "presets"):
        (tmp_path / name).mkdir()
    (tmp_path / "presets" / "tripost.toml").write_text("rounds = 2")
    concierge = worlds.concierge_world()
    world = replace(
        concierge,
        name="toy",
        model=tmp_path / "model",
        presets=tmp_path / "presets",
        build=build,
        tasks=None,
        health=None,
    )
    monkeypatch.setitem(WORLDS, "toy", lambda: world)
    return world


def test_a_world_says_which_recipes_it_is_for(toy: World) -> None:
    assert toy.recipes == ["tripost"]
    itself = {"policy": "world:toy/policy", "tasks": "world:toy", "prompts": "world:toy"}
    assert toy.preset("tripost") == {**itself, "rounds": 2}
    with pytest.raises(SettingsError, match="world:toy is a world for tripost, not for star-gate"):
        toy.preset("star-gate")
    for name in WORLDS:
        assert (world := world_of(f"world:{name}")) and world.recipes


def test_a_recipe_on_the_policy_of_a_world_that_is_not_for_it_says_so(sparring: Command, toy: World) -> None:
    refused(sparring("run", "star-gate", "policy=world:toy/policy"), "world:toy is a world for tripost, not for")
    refused(sparring("plan", "star-gate", "tasks=world:toy"), "tasks = 'world:toy': this world is for tripost, not for")


def test_help_names_every_world(sparring: Command) -> None:
    told = sparring("world", "build", "--help").out
    assert all(name in told for name in WORLDS)


@pytest.mark.usefixtures("toy")
def test_any_world_is_built_by_its_own_builder(sparring: Command, tmp_path: Path) -> None:
    ended = sparring("world", "build", "toy", "--seed", "7", "--out", "made")
    assert ended.status == 0 and json.loads(ended.out) == {"adds": 0.95}
    assert "seed 7" in ended.err
    assert (tmp_path / "made" / "model.txt").read_text() == "7"
    assert sparring("world", "build", "toy").status == 0
    assert (tmp_path / "model" / "model.txt").read_text() == "0"


@pytest.mark.usefixtures("toy")
def test_a_model_that_misses_its_gates_replaces_none(sparring: Command, tmp_path: Path) -> None:
    assert sparring("world", "build", "toy").status == 0
    refused(sparring("world", "build", "toy", "--seed", "13"), "adds is 0.1", status=1)
    assert (tmp_path / "model" / "model.txt").read_text() == "0"
