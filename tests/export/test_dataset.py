"""What a run collected, as `datasets` reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset

from sparring.errors import RunError
from sparring.export import data
from sparring.files import read_lines
from sparring.runs import Run
from tests.export.conftest import Made, edit, front_matter
from tests.made_runs import MAKERS


def loaded(folder: Path, name: str, cache: Path) -> Any:
    [split] = load_dataset(str(folder), name, cache_dir=str(cache)).values()
    return split


@pytest.mark.parametrize("recipe", ["star-gate", "tripost", "spar"])
def test_every_kind_and_round_is_loaded_with_all_its_rows(made: Made, recipe: str, tmp_path: Path) -> None:
    out = data(made(recipe), tmp_path / "out")
    configs = front_matter((out / "README.md").read_text())["configs"]
    assert [config["config_name"] for config in configs if config.get("default")] == ["train"]
    sizes = {one["config_name"]: len(loaded(out, one["config_name"], tmp_path / "cache")) for one in configs}
    assert all(sizes.values())
    for name, size in sizes.items():
        parts = [n for config, n in sizes.items() if config.startswith(f"{name}_round_")]
        assert not parts or sum(parts) == size, name


@pytest.mark.parametrize("recipe", ["star-gate", "tripost", "spar"])
def test_training_rows_are_those_of_the_run(made: Made, recipe: str, tmp_path: Path) -> None:
    run = made(recipe)
    rows = loaded(data(run, tmp_path / "out"), "train", tmp_path / "cache")
    name = "refiner.jsonl" if recipe == "spar" else "train.jsonl"
    files = sorted(run.path.glob(f"round-*/{name}"))
    kept = [(int(path.parent.name[6:]), row) for path in files for row in read_lines(path)]
    assert len(rows) == len(kept) > 0
    for found, (at, row) in zip(rows, kept, strict=True):
        assert (found["round"], found["id"], found["messages"]) == (at, row["id"], row["messages"])
        for weight, message, pieces in zip(row["weights"], found["messages"], found["pieces"], strict=True):
            assert sum(piece["characters"] for piece in pieces) == len(message["content"])
            if not isinstance(weight, list):
                assert [piece["weight"] for piece in pieces] == [weight]


def test_a_conversation_has_its_worth_and_whether_it_was_learned(made: Made, tmp_path: Path) -> None:
    run = made("star-gate")
    rows = loaded(data(run, tmp_path / "out"), "conversations_round_1", tmp_path / "cache")
    worth = {row["id"]: row["log_prob"] for row in read_lines(run.path / "round-1/signals.jsonl")}
    learned = {row["id"] for row in read_lines(run.path / "round-1/selected.jsonl")}
    assert None in worth.values()
    for row in rows:
        assert (row["log_prob"], row["selected"]) == (worth[row["id"]], row["id"] in learned)
        assert row["messages"][0]["content"].endswith(row["task"]) and row["persona"] and row["oracle"]


def test_trees_keep_their_nodes_votes_and_what_was_dropped(made: Made, tmp_path: Path) -> None:
    run = made("spar", prompts=12)
    rows = loaded(data(run, tmp_path / "out"), "trees_round_1", tmp_path / "cache")
    for row, kept in zip(rows, read_lines(run.path / "round-1/trees.jsonl"), strict=True):
        assert row["nodes"] == kept["nodes"] and row["accepted"] == kept["accepted"]
        assert {one["reason"]: one["n"] for one in row["dropped"]} == kept["dropped"]


def test_pairs_are_chats_on_both_sides(made: Made, tmp_path: Path) -> None:
    run = made("spar")
    row = loaded(data(run, tmp_path / "out"), "preferences", tmp_path / "cache")[0]
    kept = read_lines(run.path / "round-1/actor.jsonl")[0]
    assert row["prompt"] == kept["prompt"]
    assert row["chosen"] == [{"role": "assistant", "content": kept["chosen"]}]


def test_rows_of_the_actor_that_are_chats_are_no_pairs(made: Made, tmp_path: Path) -> None:
    run = made("spar")
    for path in run.path.glob("round-*/actor.jsonl"):
        path.write_bytes((path.parent / "refiner.jsonl").read_bytes())
    out = data(run, tmp_path / "out")
    assert not (out / "preferences").exists() and len(loaded(out, "train_actor", tmp_path / "cache"))


def test_weights_of_parts_of_a_message_are_kept(made: Made, tmp_path: Path) -> None:
    run = made("star-gate")
    path = run.path / "round-1/train.jsonl"
    row = {"id": "x", "closed_by": "policy", "weights": [0.0, [[2, 0.0], [3, 1.5]]]}
    row |= {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ab cd"}]}
    path.write_text(json.dumps(row) + "\n")
    [found] = loaded(data(run, tmp_path / "out"), "train_round_1", tmp_path / "cache")
    assert found["weights"] == [0.0, None]
    assert found["pieces"][1] == [{"characters": 2, "weight": 0.0}, {"characters": 3, "weight": 1.5}]


def test_text_that_is_no_utf8_is_marked_and_null_bytes_stay(tmp_path: Path) -> None:
    path = MAKERS["star-gate"](
        tmp_path / "run", text=lambda place, n, text: f"{text}\ud800\x00" if place == "reply" else text
    )
    rows = loaded(data(Run(path), tmp_path / "out"), "conversations", tmp_path / "cache")
    assert rows[0]["messages"][2]["content"].endswith("\ufffd\x00")


def test_a_run_in_the_middle_gives_what_is_there(made: Made, tmp_path: Path) -> None:
    out = data(made("star-gate", until="round-1/conversations.jsonl"), tmp_path / "out")
    assert loaded(out, "conversations_round_1", tmp_path / "cache")["log_prob"][0] is None
    assert not (out / "train").exists()


def test_a_run_without_rows_says_so(tmp_path: Path) -> None:
    run = Run(MAKERS["star-gate"](tmp_path / "run", until="personas.jsonl"))
    with pytest.raises(RunError, match="holds no rows yet"):
        data(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_a_worlds_data_has_a_licence_of_ours(made: Made, tmp_path: Path) -> None:
    run = made("star-gate")
    edit(run.path / "run.json", lambda record: record["settings"].update(roles={"oracle": {"engine": "base"}}))
    run = Run(run.path)
    assert front_matter((data(run, tmp_path / "one") / "README.md").read_text())["license"] == "mit"
    for name, theirs in (("one", {"tasks": "mine.jsonl"}), ("two", {"roles": {"oracle": {"engine": "openai:gpt"}}})):
        changed = run.record["settings"] | theirs
        edit(run.path / "run.json", lambda record, changed=changed: record.update(settings=changed))
        card = (data(Run(run.path), tmp_path / name) / "README.md").read_text()
        assert "license" not in front_matter(card) and "before you share it" in card
