"""An exported adapter, over a base that a stranger finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from sparring.errors import SettingsError
from sparring.export import export
from sparring.export.chosen import choose
from sparring.export.hub import named
from sparring.files import read_json
from sparring.runs import Run
from tests.export.conftest import Made, edit, front_matter, with_adapter


@pytest.fixture
def run(made: Made) -> Run:
    return with_adapter(made("star-gate"))


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model(torch.tensor([[3, 4, 5, 6]])).logits


def test_over_its_base_it_is_the_merged_model(run: Run, tmp_path: Path) -> None:
    merged: Any = AutoModelForCausalLM.from_pretrained(export(run, tmp_path / "merged"), dtype=torch.float32)
    out = export(run, tmp_path / "adapter", form="adapter")
    assert not (out / "model.safetensors").exists() and not (out / "config.json").exists()
    bare: Any = AutoModelForCausalLM.from_pretrained(out / "base", dtype=torch.float32)
    before = logits(bare)
    over = logits(PeftModel.from_pretrained(bare, out))
    assert torch.allclose(over, logits(merged), atol=1e-3)
    assert not torch.allclose(before, over, atol=1e-2)


def test_a_world_lends_its_model_which_nobody_could_find(run: Run, tmp_path: Path) -> None:
    out = export(run, tmp_path / "out", form="adapter")
    assert read_json(out / "adapter_config.json")["base_model_name_or_path"] == "base"
    assert (out / "base/model.safetensors").exists() and (out / "tokenizer.json").exists()
    told = front_matter((out / "README.md").read_text())
    assert told["library_name"] == "peft" and "base_model" not in told


def test_an_id_on_the_hub_is_named_and_nothing_of_the_base_is_copied(run: Run, tmp_path: Path) -> None:
    edit(run.path / "run.json", lambda record: record["settings"].update(policy="vllm:Qwen/Qwen3-0.6B"))
    out = export(Run(run.path), tmp_path / "out", form="adapter")
    assert read_json(out / "adapter_config.json")["base_model_name_or_path"] == "Qwen/Qwen3-0.6B"
    assert not (out / "base").exists()
    card = (out / "README.md").read_text()
    told = front_matter(card)
    assert told["base_model"] == "Qwen/Qwen3-0.6B" and told["base_model_relation"] == "adapter"
    assert 'BASE = "Qwen/Qwen3-0.6B"' in card
    assert "vllm serve Qwen/Qwen3-0.6B --enable-lora --lora-modules star-gate-policy-2=." in card
    assert "license" not in told, "the base's licence is not ours to say"


def test_a_rank_that_vllm_refuses_by_itself_is_told_to_it(run: Run, tmp_path: Path) -> None:
    config = run.path / "round-2/checkpoint/adapter/adapter_config.json"
    for r, told in ((16, " --enable-lora --lora-modules "), (48, " --enable-lora --max-lora-rank 64 --lora-modules ")):
        edit(config, lambda known, r=r: known.update(r=r))
        card = (export(run, tmp_path / "out", form="adapter") / "README.md").read_text()
        assert f"vllm serve ./base{told}star-gate-policy-2=.\n" in card
    assert "--lora-modules star-gate-policy-2=ada/asker\n" in named(card, "ada/asker")


def test_a_local_folder_is_named_by_its_last_part_and_the_card_says_so(run: Run, tmp_path: Path) -> None:
    edit(run.path / "run.json", lambda record: record["settings"].update(policy="vllm:/home/ada/secret/base"))
    out = export(Run(run.path), tmp_path / "out", form="adapter")
    assert read_json(out / "adapter_config.json")["base_model_name_or_path"] == "base"
    card = (out / "README.md").read_text()
    assert "not on the Hub: ask them" in card and "/home/ada" not in card


def test_an_adapter_on_top_of_an_earlier_round_is_no_adapter_of_the_base(run: Run) -> None:
    edit(run.path / "run.json", lambda record: record["settings"].update(init="previous"))
    with pytest.raises(SettingsError, match="changes round 1's model, not world:concierge/policy"):
        choose(Run(run.path), form="adapter")
