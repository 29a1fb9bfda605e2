"""Which checkpoint an export is of."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from sparring.errors import RunError, SettingsError
from sparring.export.chosen import best_round, choose, rolled_back_to
from sparring.runs import Run
from tests.export.conftest import Made, edit


def test_the_last_checkpoint_is_meant_where_nobody_says_which(made: Made) -> None:
    chosen = choose(made("star-gate"))
    assert (chosen.model, chosen.round, chosen.last) == ("policy", 2, True)
    assert chosen.folder.parts[-2:] == ("round-2", "checkpoint")


def test_a_run_without_a_checkpoint_says_so_and_how_to_go_on(made: Made) -> None:
    run = made("star-gate", until="round-1/train.jsonl")
    with pytest.raises(RunError, match=r"has no checkpoint of its policy yet.*sparring run star-gate --out"):
        choose(run)


def test_half_a_checkpoint_is_none(made: Made) -> None:
    run = made("star-gate")
    (run.path / "round-2/checkpoint/training.json").unlink()
    assert choose(run).round == 1


def test_spars_policy_is_its_actor_and_its_refiner_ends_with_what_its_judgements_taught(made: Made) -> None:
    run = made("spar")
    assert choose(run).model == "actor"
    shutil.copytree(run.path / "round-2/refiner", run.path / "round-2/judge")
    assert choose(run, "refiner").folder.name == "judge"
    assert choose(run, "refiner", 1).folder.name == "refiner"


def test_a_model_that_the_recipe_does_not_train_is_refused(made: Made) -> None:
    with pytest.raises(SettingsError, match="star-gate trains policy"):
        choose(made("star-gate"), "refiner")


def test_a_round_that_is_not_there_names_those_that_are(made: Made) -> None:
    with pytest.raises(RunError, match="for round 7; there is 1, 2"):
        choose(made("star-gate"), round=7)


def test_a_round_that_trained_nothing_names_the_round_whose_model_it_went_on_with(made: Made) -> None:
    run = made("spar", rounds=3)
    shutil.rmtree(run.path / "round-2/actor")
    with pytest.raises(RunError, match=r"round 2 .* trained no actor, which went on as round 1's: --round 1"):
        choose(run, round=2)


def test_an_adapter_of_a_run_that_trained_all_weights_is_refused(made: Made) -> None:
    with pytest.raises(SettingsError, match=r"holds no adapter: all weights were trained.*training\.lora"):
        choose(made("star-gate"), form="adapter")


@pytest.mark.parametrize(
    ("policy", "hub", "name"),
    [
        ("hf:Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
        ("vllm:Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
        ("hf:gpt2", "gpt2", "gpt2"),
        ("hf:/home/ada/secret/model", None, "model"),
        ("hf:../model", None, "model"),
        ("hf:a/b/c", None, "c"),
        ("hf:x'><script>", None, "x'><script>"),
        ("world:concierge/policy", None, "world:concierge/policy"),
    ],
)
def test_only_an_id_on_the_hub_is_a_base_that_a_stranger_finds(
    made: Made, policy: str, hub: str | None, name: str
) -> None:
    run = made("star-gate")
    edit(run.path / "run.json", lambda record: record["settings"].update(policy=policy))
    base = choose(Run(run.path)).base
    assert (base.hub, base.name) == (hub, name)


def test_a_folder_of_then_is_no_id_on_the_hub_now(made: Made) -> None:
    run = made("spar")
    settings = {"policy": "hf:models/base", "refiner": "hf:models/judge", "inputs": {"policy": "0f", "tasks": "1a"}}
    edit(run.path / "run.json", lambda record: record["settings"].update(settings))
    assert choose(Run(run.path)).base.hub is None
    assert choose(Run(run.path), "refiner").base.hub == "models/judge"


def test_an_earlier_round_is_better_only_beyond_the_interval_of_the_later_one() -> None:
    def rounds(*values: float) -> list[dict[str, object]]:
        return [
            {"round": t, "metrics": {"win_rate": {"value": value, "low": value - 0.02, "high": value + 0.02}}}
            for t, value in enumerate(values)
        ]

    assert best_round(rounds(0.5, 0.9, 0.8), "star-gate", "policy", 2) == (1, "win_rate")
    assert best_round(rounds(0.5, 0.81, 0.8), "star-gate", "policy", 2) is None
    assert best_round(rounds(0.5, 0.9, 0.8), "star-gate", "policy", 1) is None
    assert best_round([], "star-gate", "policy", 1) is None


def rolled_back(run: Run, best: int, *, by: str = "round", rounds: int = 2) -> Run:
    """Make its summary that of a run that rolled back to `best`, after a round or by a certificate."""

    def change(summary: dict[str, Any]) -> None:
        if by == "certificate":
            summary["stopped"] = {"round": rounds, "best": best, "reasons": ["it says Yes"]}
            return
        for entry in summary["rounds"]:
            entry |= {"best": min(best, entry["round"]), "rolled_back": entry["round"] == rounds}

    edit(run.path / "summary.json", change)
    return run


@pytest.mark.parametrize("by", ["round", "certificate"])
def test_after_a_roll_back_the_best_round_is_meant_where_nobody_says_which(made: Made, by: str) -> None:
    run = rolled_back(made("spar"), 1, by=by)
    assert rolled_back_to(run) == 1
    assert (choose(run).round, choose(run, "refiner").round, choose(run, round=2).round) == (1, 1, 2)


def test_a_refiner_whose_certificate_failed_is_not_what_is_meant(made: Made) -> None:
    run = rolled_back(made("spar"), 2, by="certificate")
    assert (choose(run).round, choose(run, "refiner").round) == (2, 1)


def test_a_best_round_that_trained_nothing_is_that_before_it(made: Made) -> None:
    run = rolled_back(made("spar", rounds=3), 2, rounds=3)
    shutil.rmtree(run.path / "round-2/actor")
    assert (choose(run).round, choose(run, "refiner").round) == (1, 2)


def test_a_run_that_did_not_roll_back_has_its_last_round_meant_whichever_was_best(made: Made) -> None:
    run = made("star-gate")
    edit(run.path / "summary.json", lambda summary: summary["rounds"][-1].update(best=1))
    assert rolled_back_to(run) is None and choose(run).round == 2


def test_what_rolled_back_to_the_model_as_it_was_given_has_nothing_to_export(made: Made) -> None:
    run = rolled_back(made("spar"), 0)
    said = (
        r"rolled back to round 0, whose actor is the one that it began with, world:instructions/policy: .*--round 2 is"
    )
    with pytest.raises(RunError, match=said):
        choose(run)
    for folder in run.path.glob("round-*/actor"):
        shutil.rmtree(folder)
    with pytest.raises(RunError, match=r"there is nothing of it to export$"):
        choose(run)
