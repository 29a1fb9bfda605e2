"""An exported model is a standard folder: whole, without anything of ours, and the same model."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from sparring.engines.hf import HF
from sparring.errors import RunError
from sparring.export import export, folder
from sparring.export.chosen import choose
from sparring.files import read_json
from sparring.runs import Run
from sparring.types import assistant, user
from tests.export.conftest import Made, edit

TEXTS = [("Where should we eat for a birthday?", "What food do you like?"), ("Where should we eat?", "A bistro.")]


def opened_alone(path: Path) -> Callable[[str, str], tuple[float, int]]:
    """Open a folder as anybody would, and return what scores a reply: nats and tokens, end-of-turn included."""
    tokenizer: Any = AutoTokenizer.from_pretrained(path)
    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)

    def score(asked: str, reply: str) -> tuple[float, int]:
        chat: list[Any] = [user(asked)]
        before = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
        whole = tokenizer.apply_chat_template([*chat, assistant(reply)], return_dict=True)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([whole])).logits[0].double().log_softmax(-1)
        nats = [logits[at - 1, whole[at]] for at in range(len(before), len(whole))]
        return float(sum(nats)), len(nats)

    return score


@pytest.mark.parametrize("recipe", ["star-gate", "tripost", "spar"])
def test_the_exported_model_is_the_checkpoint_to_a_thousandth_of_a_nat_a_token(
    made: Made, recipe: str, tmp_path: Path
) -> None:
    run = made(recipe)
    alone = opened_alone(export(run, tmp_path / "out"))
    ours = HF(choose(run).folder, device="cpu")
    for asked, reply in TEXTS:
        [expected] = ours.log_prob([[user(asked)]], [reply])
        nats, tokens = alone(asked, reply)
        assert tokens == expected.tokens
        assert abs(nats - expected.total) / tokens < 1e-3
    earlier = opened_alone(export(run, tmp_path / "earlier", round=1))
    assert abs(alone(*TEXTS[0])[0] - earlier(*TEXTS[0])[0]) > 1e-2, "the rounds cannot be told apart here"


def test_nothing_of_ours_is_in_it_but_one_file(made: Made, tmp_path: Path) -> None:
    run = made("star-gate")
    (run.path / "round-2/checkpoint/optimizer.pt").write_bytes(b"pickle")
    out = export(run, tmp_path / "out")
    assert {path.name for path in out.iterdir()} == {
        *("README.md", "figures.png", "sparring.json", "model.safetensors", "config.json", "generation_config.json"),
        *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
    }
    assert (out / "figures.png").read_bytes().startswith(b"\x89PNG")
    text = "".join((out / name).read_text() for name in os.listdir(out) if not name.endswith(("png", "safetensors")))
    assert str(tmp_path) not in text and os.path.expanduser("~") not in text


def test_configs_do_not_tell_where_the_model_lay(made: Made, tmp_path: Path) -> None:
    run = made("star-gate")
    checkpoint = run.path / "round-2/checkpoint"
    edit(checkpoint / "config.json", lambda told: told.update(_name_or_path="/home/ada/model", use_cache=False))
    edit(checkpoint / "tokenizer_config.json", lambda told: told.update(is_local=True, name_or_path="/home/ada/model"))
    out = export(run, tmp_path / "out")
    assert "ada" not in (out / "config.json").read_text() + (out / "tokenizer_config.json").read_text()
    assert read_json(out / "config.json")["use_cache"] is True
    assert "is_local" not in read_json(out / "tokenizer_config.json")


def test_generation_stops_at_every_token_that_ends_a_turn_and_draws_as_it_was_measured(
    made: Made, tmp_path: Path
) -> None:
    run = made("star-gate")
    path = run.path / "round-2/checkpoint/generation_config.json"
    edit(path, lambda told: told.update(eos_token_id=[2], temperature=0.1, top_k=3, repetition_penalty=1.3))
    edit(run.path / "run.json", lambda record: record["settings"]["answerer"].update(max_tokens=40))
    config: Any = GenerationConfig.from_pretrained(export(Run(run.path), tmp_path / "out"))
    assert config.eos_token_id == [1, 2], "the template's own end of turn, and the config's"
    assert (config.do_sample, config.temperature, config.top_p, config.top_k) == (True, 0.9, 0.9, 0)
    assert config.max_new_tokens == 40 and config.repetition_penalty in (None, 1.0)


@pytest.mark.parametrize(("model", "samples"), [("actor", False), ("refiner", True)])
def test_an_actor_answers_greedily_and_a_refiner_draws_its_votes(
    made: Made, model: Any, samples: bool, tmp_path: Path
) -> None:
    out = export(made("spar"), tmp_path / "out", model=model)
    config = read_json(out / "generation_config.json")
    assert config["do_sample"] is samples and config.get("temperature") == (0.7 if samples else None)


def test_what_a_chat_needs_to_know_stands_in_one_file(made: Made, tmp_path: Path) -> None:
    told = read_json(export(made("tripost"), tmp_path / "out", round=1) / "sparring.json")
    assert (told["kind"], told["recipe"], told["model"], told["round"]) == ("model", "tripost", "policy", 1)
    assert told["base"] == "world:arithmetic/policy" and told["form"] == "merged" and told["version"]
    assert told["prompts"]["feedback"] == "Feedback:" and "oracle" not in told["prompts"]
    assert told["sampling"]["attempt"] == {"temperature": 0.0, "top_p": 1.0, "max_tokens": 24}
    assert told["settings"]["updates"] == 3


def test_a_policy_that_was_measured_without_being_told_to_ask_is_not_told(made: Made, tmp_path: Path) -> None:
    run = made("star-gate")
    always = read_json(export(run, tmp_path / "always") / "sparring.json")
    assert always["instructions"] == {"question": "Ask the user one short question.", "answer": ""}
    edit(run.path / "run.json", lambda record: record["settings"].update(elicit="first round"))
    first = read_json(export(Run(run.path), tmp_path / "first") / "sparring.json")
    assert first["instructions"] == {"question": "", "answer": ""}


def test_a_run_without_its_prompts_on_record_says_what_to_do(made: Made, tmp_path: Path) -> None:
    run = made("star-gate")
    edit(run.path / "run.json", lambda record: record.pop("prompts"))
    with pytest.raises(RunError, match=r"holds no prompts.*give the command that made the run once more"):
        export(Run(run.path), tmp_path / "out")


def test_an_export_goes_over_an_earlier_one_of_its_run_and_over_nothing_else(made: Made, tmp_path: Path) -> None:
    run, out = made("star-gate"), tmp_path / "out"
    export(run, out, round=1)
    (out / "figures.png").unlink()
    export(run, out)
    assert read_json(out / "sparring.json")["round"] == 2 and (out / "figures.png").exists()
    edit(run.path / "run.json", lambda record: record.update(id="another"))
    with pytest.raises(RunError, match="holds the model of another run"):
        export(Run(run.path), out)
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"holds something that is no export \('thesis.tex'\)"):
        export(run, thesis)
    assert os.listdir(thesis) == ["thesis.tex"]
    with pytest.raises(RunError, match="is no folder"):
        export(run, thesis / "thesis.tex")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "litter"


def test_an_export_that_breaks_off_leaves_what_was_there(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = made("star-gate"), tmp_path / "out"
    export(run, out, round=1)

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folder, "copy_model", broken)
    for target in (out, tmp_path / "fresh"):
        with pytest.raises(KeyboardInterrupt):
            export(run, target)
    assert read_json(out / "sparring.json")["round"] == 1 and (out / "model.safetensors").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "runs"]


def test_a_run_that_is_not_finished_is_exported_with_a_card_that_says_so(made: Made, tmp_path: Path) -> None:
    out = export(made("star-gate", until="round-1/checkpoint"), tmp_path / "out")
    card = (out / "README.md").read_text()
    assert "The run is not finished: nothing was measured yet." in card and "figures.png" not in card
    assert not (out / "figures.png").exists()


def test_sharded_weights_and_further_chat_templates_are_copied(made: Made, tmp_path: Path) -> None:
    checkpoint, out = made("star-gate").path / "round-2/checkpoint", tmp_path / "out"
    (checkpoint / "model.safetensors").rename(checkpoint / "model-00001-of-00001.safetensors")
    (checkpoint / "model.safetensors.index.json").write_text("{}")
    (checkpoint / "additional_chat_templates").mkdir()
    (checkpoint / "additional_chat_templates/tools.jinja").write_text("x")
    out.mkdir()
    folder.copy(checkpoint, out)
    assert {"model.safetensors.index.json", "model-00001-of-00001.safetensors"} <= {path.name for path in out.iterdir()}
    assert (out / "additional_chat_templates/tools.jinja").exists() and not (out / "training.json").exists()
