"""Training rows as TRL and LLaMA-Factory read them: looked at by TRL's own trainers."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from sparring.errors import RunError, SettingsError
from sparring.export import to
from sparring.files import read_json, read_lines
from sparring.runs import Run
from tests.export.conftest import Made, the_world
from tests.made_runs import MAKERS


def rows_of(path: Path, cache: Path) -> Any:
    return load_dataset("json", data_files=str(path), split="train", cache_dir=str(cache))


def prepared(kind: str, recipe: str, rows: Any, folder: Path) -> Any:
    """Return the rows as TRL's trainer would put them into a model."""
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    path = the_world(recipe).model
    tokenizer: Any = AutoTokenizer.from_pretrained(path)
    model: Any = AutoModelForCausalLM.from_pretrained(path)
    told = {"output_dir": str(folder), "report_to": [], "use_cpu": True, "bf16": False, "disable_tqdm": True}
    config, trainer = (SFTConfig, SFTTrainer) if kind == "sft" else (DPOConfig, DPOTrainer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TRL's own, of what it will do otherwise one day
        return trainer(
            model=model, args=config(max_length=4096, **told), train_dataset=rows, processing_class=tokenizer
        ), tokenizer


@pytest.mark.parametrize("recipe", ["star-gate", "tripost", "spar"])
def test_trl_learns_the_very_replies_that_were_learned(made: Made, recipe: str, tmp_path: Path) -> None:
    run = made(recipe)
    out = to(run, tmp_path / "out", "trl")
    trainer, tokenizer = prepared(
        "sft", recipe, rows_of(out / "train-round-1.jsonl", tmp_path / "cache"), tmp_path / "trl"
    )
    source = read_lines(run.path / "round-1" / ("refiner.jsonl" if recipe == "spar" else "train.jsonl"))
    replies = [
        message["content"]
        for row in source
        for message, weight in zip(row["messages"], row["weights"], strict=True)
        if weight
    ]
    assert len(trainer.train_dataset) == len(replies) > 0
    for row, reply in zip(trainer.train_dataset, replies, strict=True):
        batch = trainer.data_collator([row])
        learned = [int(token) for token in batch["labels"][0] if token != -100]
        assert learned == tokenizer(reply + tokenizer.eos_token, add_special_tokens=False)["input_ids"]


def test_trl_takes_the_pairs(made: Made, tmp_path: Path) -> None:
    run = made("spar")
    out = to(run, tmp_path / "out", "trl")
    pairs = rows_of(out / "preferences-round-1.jsonl", tmp_path / "cache")
    trainer, _ = prepared("dpo", "spar", pairs, tmp_path / "trl")
    assert len(trainer.train_dataset) == len(read_lines(run.path / "round-1/actor.jsonl")) > 0
    assert {"prompt_ids", "chosen_ids", "rejected_ids"} <= set(trainer.train_dataset.column_names)


def test_llama_factory_finds_every_file_and_its_columns(made: Made, tmp_path: Path) -> None:
    out = to(made("spar"), tmp_path / "out", "llama-factory")
    info = read_json(out / "dataset_info.json")
    assert {entry["file_name"] for entry in info.values()} == {path.name for path in out.glob("*.jsonl")}
    for entry in info.values():
        assert entry["formatting"] == "sharegpt" and entry["tags"]["role_tag"] == "role"
        for row in read_lines(out / entry["file_name"]):
            said = [message["role"] for message in row["messages"]]
            turns = [role for role in said if role != "system"]
            pairs = entry.get("ranking", False)
            # Its sharegpt reader drops what does not alternate, and rows that do not end as they must.
            assert turns == ["user", "assistant"] * (len(turns) // 2) + ["user"] * (len(turns) % 2)
            assert turns[-1] == ("user" if pairs else "assistant")
            assert set(row) == set(entry["columns"].values())
            if pairs:
                assert row["chosen"]["role"] == row["rejected"]["role"] == "assistant"


def test_what_is_lost_is_counted(made: Made, tmp_path: Path) -> None:
    run = made("star-gate")
    chat = [{"role": role, "content": "ab cd"} for role in ("user", "assistant", "user", "assistant")]
    rows = [
        {"id": "1", "closed_by": "", "messages": chat, "weights": [0, 1, 0, 1]},
        {"id": "2", "closed_by": "", "messages": chat, "weights": [0, 0, 0, 1.5]},
        {"id": "3", "closed_by": "", "messages": chat, "weights": [0, [[5, 0]], 0, [[2, 0], [3, 1]]]},
        {"id": "4", "closed_by": "", "messages": chat, "weights": [0, 0, 0, 0]},
        {"id": "5", "closed_by": "", "messages": chat, "weights": [0, 0, 0, [[2, 0.5], [3, 1]]]},
    ]
    (run.path / "round-1/train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = to(run, tmp_path / "out", "trl")
    kept = read_lines(out / "train-round-1.jsonl")
    assert [len(row["prompt"]) for row in kept] == [1, 3, 3, 3], "half a reply that must not be learned is left out"
    told = (out / "README.md").read_text()
    assert "2 replies had a weight other than 1" in told
    assert "1 replies were learned in part only, and are left out" in told
    assert "Parts of 1 replies counted unlike" in told
    assert "1 chats with several learned replies became a row for each" in told
    assert "| `train-round-1.jsonl` | sft | 4 | 5 |" in told


def test_another_trainer_or_a_run_without_rows_is_refused(made: Made, tmp_path: Path) -> None:
    trainer: Any = "axolotl"
    with pytest.raises(SettingsError, match="'axolotl', but it must be one of trl, llama-factory"):
        to(made("star-gate"), tmp_path / "out", trainer)
    run = Run(MAKERS["star-gate"](tmp_path / "early", until="round-1/signals.jsonl"))
    with pytest.raises(RunError, match="no training rows yet"):
        to(run, tmp_path / "out", "trl")
