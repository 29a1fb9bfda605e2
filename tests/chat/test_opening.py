"""What may be talked to, and what is said where it may not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sparring.chat import open_session
from sparring.chat.opening import partner_of
from sparring.chat.records import SETTINGS
from sparring.errors import EngineError, RunError, SettingsError
from sparring.files import Row
from sparring.worlds import world_of
from tests.tiny import tiny_model

WORLDS = {"star-gate": "concierge", "tripost": "arithmetic", "spar": "instructions"}


def record(recipe: str) -> Row:
    world = world_of(f"world:{WORLDS[recipe]}")
    assert world
    settings = SETTINGS[recipe].load([world.preset(recipe)]).model_dump(mode="json")
    prompts = {"ask": "Ask the user one short question."}
    return {"recipe": recipe, "settings": {**settings, "inputs": {"tasks": "0"}}, "seeds": [0], "prompts": prompts}


def made_run(path: Path, recipe: str, *checkpoints: str, **more: Any) -> Path:
    """Write a run's record, and copies of its world's model where it left checkpoints."""
    path.mkdir()
    (path / "run.json").write_text(json.dumps(record(recipe) | more))
    world = world_of(f"world:{WORLDS[recipe]}")
    assert world
    for name in checkpoints:
        shutil.copytree(world.model, path / name)
        (path / name / "training.json").write_text("{}")
    return path


def test_of_a_run_the_last_round_is_talked_to_or_the_one_that_is_named(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", "star-gate", "round-1/checkpoint", "round-2/checkpoint", "round-10/checkpoint")
    last = partner_of(str(run))
    assert (last.label, last.model, last.base) == ("m_10", f"hf:{run}/round-10/checkpoint", "world:concierge/policy")
    assert partner_of(str(run), 2).model == f"hf:{run}/round-2/checkpoint"
    first = partner_of(str(run), 0)
    assert (first.label, first.model, first.base) == ("m_0", "world:concierge/policy", "")
    with pytest.raises(RunError, match=r"no model of round 3; there is 0, 1, 2, 10"):
        partner_of(str(run), 3)


def test_a_run_that_trained_nothing_yet_is_talked_to_as_it_began(tmp_path: Path) -> None:
    assert partner_of(str(made_run(tmp_path / "run", "spar"))).label == "m_0"


def test_m_0_of_tripost_is_what_its_rationales_made(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", "tripost", "round-0/checkpoint", "round-1/checkpoint")
    assert partner_of(str(run)).base == f"hf:{run}/round-0/checkpoint"
    assert partner_of(str(run), 0).base == ""


def test_a_checkpoint_inside_a_run_finds_the_run(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", "star-gate", "round-1/checkpoint", "round-2/checkpoint")
    assert partner_of(str(run / "round-1" / "checkpoint")).label == "m_1"
    with pytest.raises(SettingsError, match="name the run"):
        partner_of(str(run / "round-1" / "checkpoint"), 2)


def test_spars_refiner_is_that_of_the_round_or_the_last_before_it(tmp_path: Path) -> None:
    made = ("round-1/actor", "round-1/refiner", "round-2/actor", "round-3/actor", "round-3/refiner", "round-3/judge")
    run = made_run(tmp_path / "run", "spar", *made)
    refiners = [partner_of(str(run), t).refiner.removeprefix(f"hf:{run}/") for t in range(4)]
    assert refiners == ["world:instructions/policy", "round-1/refiner", "round-1/refiner", "round-3/judge"]


def test_the_prompts_are_those_on_record(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", "star-gate", prompts={"ask": "Ask as it was asked then."})
    assert partner_of(str(run)).prompts["ask"] == "Ask as it was asked then."


def test_a_run_without_prompts_on_record_is_not_talked_to(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no prompts.*give the command that made the run once more"):
        partner_of(str(made_run(tmp_path / "other", "star-gate", prompts={})))


def test_what_to_try_is_what_the_run_was_tested_on(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", "tripost")
    rows = [
        {"part": "train", "question": "no"},
        {"part": "test", "question": "yes"},
        {"part": "test", "question": "yes"},
    ]
    (run / "exercises.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [*partner_of(str(run)).examples()] == ["yes"]
    assert [*partner_of(str(made_run(tmp_path / "new", "spar"))).examples()] == []


@pytest.mark.parametrize("world", ["concierge", "word-sorting", "instructions"])
def test_an_embedded_model_is_talked_to_in_its_worlds_words(world: str) -> None:
    partner = partner_of(f"world:{world}/policy")
    assert partner.recipe and partner.prompts and next(partner.examples())


def exported(path: Path, **told: Any) -> Path:
    world = world_of("world:concierge")
    assert world
    shutil.copytree(world.model, path)
    settings = {name: record("star-gate")["settings"][name] for name in ("tasks", "questioner", "turns", "elicit")}
    said = {"recipe": "star-gate", "round": 2, "base": "world:concierge/policy", "settings": settings}
    (path / "sparring.json").write_text(json.dumps({**said, "prompts": {"ask": "Ask."}, **told}))
    return path


def test_an_exported_folder_is_talked_to_as_it_says(tmp_path: Path) -> None:
    folder = exported(tmp_path / "model")
    partner = partner_of(str(folder))
    assert (partner.model, partner.label, partner.base) == (f"hf:{folder}", "m_2", "world:concierge/policy")
    assert partner.settings.questioner.max_tokens == 24 and partner.prompts == {"ask": "Ask."}
    heard: list[Any] = []
    session = open_session(str(folder), tell=heard.append)
    session.send(next(partner.examples()))
    session.close()
    assert any(event["event"] == "message" for event in heard)


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({"recipe": "unheard-of"}, "names no recipe"),
        ({"prompts": {}}, "lacks the prompt 'ask'"),
        ({"settings": {"turns": []}}, "turns"),
    ],
)
def test_a_folder_that_says_too_little_is_refused_by_what_it_lacks(tmp_path: Path, told: Row, named: str) -> None:
    with pytest.raises(RunError, match=named):
        partner_of(str(exported(tmp_path / "model", **told)))


@pytest.mark.parametrize("base", ["", "mine", None, 7])
def test_an_exported_model_whose_beginning_cannot_be_found_is_compared_with_nothing(tmp_path: Path, base: Any) -> None:
    folder = exported(tmp_path / "model", base=base)
    assert partner_of(str(folder)).base == ""
    with pytest.raises(SettingsError, match="no m_0 to compare with"):
        open_session(str(folder), tell=print, compare=True)


def test_a_bare_model_is_chatted_with_plainly(tmp_path: Path) -> None:
    folder, heard = tiny_model(tmp_path / "model"), list[Any]()
    for what in (str(folder), f"hf:{folder}"):
        session = open_session(what, tell=heard.append)
        session.send("hello what do you like ?")
        session.close()
    assert [event["who"] for event in heard if event["event"] == "message"] == ["model", "model"]


def test_what_is_nothing_is_refused_with_what_it_might_be(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no model"):
        partner_of(str(tmp_path))
    with pytest.raises(RunError, match=r"there is no 'runs/nowhere' here.*hf:ID"):
        partner_of("runs/nowhere")
    with pytest.raises(EngineError, match="unknown engine"):
        open_session("hff:x", tell=print)
    with pytest.raises(SettingsError, match="is no run directory"):
        partner_of("world:concierge/policy", 1)


def test_a_record_that_another_version_wrote_is_refused_by_its_setting(tmp_path: Path) -> None:
    settings = {**record("star-gate")["settings"], "of_tomorrow": 1}
    with pytest.raises(RunError, match="of_tomorrow"):
        partner_of(str(made_run(tmp_path / "run", "star-gate", settings=settings)))


@pytest.mark.parametrize(("best", "model"), [(0, "world:concierge/policy"), (1, "round-1/checkpoint")])
def test_after_a_roll_back_it_is_the_best_round_that_talks(best: int, model: str, tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", "star-gate", "round-1/checkpoint", "round-2/checkpoint")
    rounds = [{"round": 2, "best": best, "rolled_back": True}]
    (run / "summary.json").write_text(json.dumps({"rounds": rounds}))
    partner = partner_of(str(run))
    assert partner.round == best and partner.model.endswith(model)
    assert partner.described.endswith(f"The run rolled back to round {best}, its best.")
    assert partner_of(str(run), 2).round == 2 and "rolled back" not in partner_of(str(run), 2).described
