"""Learning from pairs in this process on a tiny model: the loss, what it is anchored to, what is left out."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from collections.abc import Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import AutoModelForCausalLM, AutoTokenizer

from sparring.engines.hf import HF, open_model
from sparring.engines.template import Template
from sparring.errors import SettingsError, TrainingError
from sparring.training import dpo
from sparring.training.canary import check_canary, read_canary
from sparring.training.dpo import REFERENCE, Anchored, collate, prefer
from sparring.training.rows import encode_pair, held_out, whole
from sparring.training.settings import DPOSettings, LoRASettings, SFTSettings
from sparring.training.sft import fine_tune
from sparring.training.shared import carry_out
from sparring.training.steps import Steps
from sparring.types import Pair, assistant, user
from tests.tiny import TEMPLATES, tiny_model, tiny_tokenizer
from tests.training.conftest import examples, pairs

SETTINGS = DPOSettings(
    learning_rate=3e-3, batch_size=16, rows_per_device=16, validation_share=0, threads=1, beta=0.3, sft_weight=0.7
)


def ignore(_: dict[str, Any]) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of other weights that reads the same tokens."""
    return tiny_model(tmp_path_factory.mktemp("other"), seed=1)


def opened(folder: Path) -> tuple[Template, Any]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    return Template(AutoTokenizer.from_pretrained(folder), str(folder)), model


def log_probs(template: Template, model: Any, pair: Pair) -> list[tuple[Tensor, int]]:
    """Log-prob of the chosen and the rejected reply with its tokens, one row at a time without a pad, in float64."""
    found: list[tuple[Tensor, int]] = []
    for said in (pair.chosen, pair.rejected):
        before, reply = template.target(pair.prompt, said)
        logits = model(input_ids=torch.tensor([before + reply])).logits[0, len(before) - 1 : -1]
        found.append((logits.log_softmax(-1).gather(-1, torch.tensor(reply)[:, None]).sum(), len(reply)))
    return found


def by_hand(
    folder: Path, reference: Path, rows: Sequence[Pair], settings: DPOSettings = SETTINGS
) -> tuple[float, float]:
    """The mean loss over pairs, and the norm of its gradient."""
    template, model = opened(folder)
    _, anchor = opened(reference)
    total = torch.tensor(0.0, dtype=torch.double)
    for pair in rows:
        (chosen, tokens), (rejected, _) = log_probs(template, model, pair)
        with torch.no_grad():
            (chosen_ref, _), (rejected_ref, _) = log_probs(template, anchor, pair)
        margin = (chosen - chosen_ref) - (rejected - rejected_ref)
        total = total - logsigmoid(settings.beta * margin) - settings.sft_weight * chosen / tokens
    loss = total / len(rows)
    loss.backward()
    squares = [parameter.grad.square().sum() for parameter in model.parameters() if parameter.grad is not None]
    return loss.item(), torch.stack(squares).sum().sqrt().item()


def change(folder: Path, reference: Path, rows: Sequence[Pair]) -> dict[str, float]:
    template, model = opened(folder)
    _, anchor = opened(reference)
    found: list[tuple[float, float]] = []
    with torch.no_grad():
        for pair in rows:
            now, then = log_probs(template, model, pair), log_probs(template, anchor, pair)
            found.append((float(now[0][0] - then[0][0]), float(now[1][0] - then[1][0])))
    chosen, rejected = (sum(each) / len(rows) for each in zip(*found, strict=True))
    return {"chosen": chosen, "rejected": rejected, "positive": sum(c > r for c, r in found) / len(rows)}


def weights(folder: Path) -> dict[str, Tensor]:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()


# The loss


@pytest.mark.parametrize("rows_per_device", [16, 2])
def test_loss_and_gradient_are_those_of_a_computation_by_hand(
    base: Path, other: Path, tmp_path: Path, rows_per_device: int
) -> None:
    settings = replace(SETTINGS, rows_per_device=rows_per_device)
    report = prefer(str(base), pairs(16), tmp_path / "out", 0, settings, ignore, str(other))
    loss, norm = by_hand(base, other, pairs(16))
    assert report["curve"][0]["loss"] == pytest.approx(loss, rel=1e-5)
    assert report["curve"][0]["grad_norm"] == pytest.approx(norm, rel=1e-4)


def test_against_itself_a_model_starts_at_log_two(base: Path, tmp_path: Path) -> None:
    report = prefer(str(base), pairs(16), tmp_path / "out", 0, replace(SETTINGS, sft_weight=0.0), ignore)
    assert report["curve"][0]["loss"] == pytest.approx(log(2), rel=1e-5)


def test_the_end_of_turn_counts_where_it_is_also_the_pad_and_no_pad_does(tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base", pad="<|im_end|>")
    report = prefer(str(base), pairs(16), tmp_path / "out", 0, SETTINGS, ignore)
    assert report["curve"][0]["loss"] == pytest.approx(by_hand(base, base, pairs(16))[0], rel=1e-5)
    template, _ = opened(base)
    rows = [encode_pair(pair, template) for pair in pairs(16)]
    batch = collate([Anchored(row) for row in rows])
    end = template.tokenizer.eos_token_id
    assert ((batch["input_ids"][:, 1:] == end) & batch["learned"]).sum() == 2 * 16
    assert batch["learned"].sum() == sum(len(row.chosen) + len(row.rejected) for row in rows)


def test_the_same_batches_come_to_the_same_weights_however_they_are_cut(base: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=2)
    runs = {}
    for rows in (16, 2):
        out = tmp_path / f"{rows}"
        report = prefer(str(base), pairs(23), out, 0, replace(settings, rows_per_device=rows), ignore)
        assert report["steps"] == 4  # 16 + 7 pairs, twice: cut by two, one stands alone
        runs[rows] = [point["loss"] for point in report["curve"]], weights(out)
    assert runs[2][0] == pytest.approx(runs[16][0], rel=1e-4)
    for name, weight in runs[16][1].items():
        torch.testing.assert_close(runs[2][1][name], weight, rtol=1e-3, atol=2e-5)


def test_the_validation_loss_is_the_mean_over_the_held_out_pairs(base: Path, other: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, validation_share=0.3, batch_size=4, rows_per_device=4)
    report = prefer(str(base), pairs(30), tmp_path / "out", 5, settings, ignore, str(other))
    assert report["rows"] == {"train": 21, "validation": 9}
    _, held = held_out(pairs(30), 0.3, 5)
    expected, _ = by_hand(tmp_path / "out", other, held)
    assert report["curve"][-1]["validation_loss"] == pytest.approx(expected, rel=1e-4)


def test_tokens_are_those_of_both_rows_of_a_pair(base: Path, tmp_path: Path) -> None:
    template, _ = opened(base)
    held = sum(encode_pair(pair, template).tokens for pair in pairs(20))
    report = prefer(str(base), pairs(20), tmp_path / "out", 0, replace(SETTINGS, epochs=3), ignore)
    assert (report["steps"], report["tokens"]) == (6, 3 * held)
    settings = replace(SETTINGS, epochs=100, tokens=2 * held, batch_size=4, rows_per_device=4)
    told = prefer(str(base), pairs(20), tmp_path / "tokens", 0, settings, ignore)
    assert (told["steps"], told["tokens"]) == (10, 2 * held)


# What it is anchored to, and how far it goes


def test_it_is_told_how_far_both_replies_moved_from_the_reference(base: Path, other: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=4, rows_per_device=4)
    report = prefer(str(base), pairs(24), tmp_path / "itself", 0, settings, ignore)
    told = report["pairs"]
    assert told["looked_at"] == 24 and told["before"] == {"chosen": 0.0, "rejected": 0.0, "positive": 0.0}
    assert told["after"] == pytest.approx(change(tmp_path / "itself", base, pairs(24)), abs=1e-4)
    assert told["after"]["chosen"] > told["after"]["rejected"] and told["after"]["positive"] > 0.9
    told = prefer(str(base), pairs(24), tmp_path / "other", 0, settings, ignore, str(other))["pairs"]
    assert told["before"] == pytest.approx(change(base, other, pairs(24)), abs=1e-4)
    assert told["after"] == pytest.approx(change(tmp_path / "other", other, pairs(24)), abs=1e-4)


def test_a_reference_that_reads_other_tokens_is_refused(base: Path, tmp_path: Path) -> None:
    strange = tiny_model(tmp_path / "strange", vocab_words=["hello", "tea"])
    with pytest.raises(TrainingError, match="reads other tokens than"):
        prefer(str(base), pairs(4), tmp_path / "out", 0, SETTINGS, ignore, str(strange))


def test_the_reference_is_let_go_of_once_asked_and_not_opened_again(
    base: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[weakref.ref[Any]] = []
    alive: list[bool] = []

    def opening(*told: Any) -> Any:
        tokenizer, model = open_model(*told)
        opened.append(weakref.ref(model))
        return tokenizer, model

    def watch(event: dict[str, Any]) -> None:
        if "loss" in event:
            gc.collect()
            alive.append(opened[0]() is not None)

    monkeypatch.setattr(dpo, "open_model", opening)
    steps = Steps(tmp_path / "steps")
    steps.claim({})
    for out in ("out", "again"):
        prefer(str(base), pairs(20), tmp_path / out, 0, SETTINGS, watch, str(other), steps=steps)
    assert len(opened) == 1 and len(alive) == 4 and not any(alive)


def test_a_reference_that_was_asked_by_another_job_is_not_taken_for_the_model_itself(
    base: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the first process throws its answers away after this one has seen them."""
    steps = Steps(tmp_path / "steps")
    steps.claim({})
    (steps.folder / REFERENCE).write_text("{}")

    def after_it_was_removed(*told: Any) -> float:
        (steps.folder / REFERENCE).unlink()
        return carry_out(*told)

    monkeypatch.setattr(dpo, "carry_out", after_it_was_removed)
    with pytest.raises(TrainingError, match="was removed by another process: start again"):
        prefer(str(base), pairs(8), tmp_path / "out", 0, SETTINGS, ignore, str(other), steps=steps)


def test_no_dropout_is_left_in_attention_either(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "dropping")
    config = tmp_path / "dropping" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"attention_dropout": 0.5}))
    report = prefer(str(tmp_path / "dropping"), pairs(16), tmp_path / "out", 0, SETTINGS, ignore)
    assert report["curve"][0]["loss"] == pytest.approx(by_hand(base, base, pairs(16))[0], rel=1e-5)


def test_an_adapter_is_anchored_to_the_base_without_it_and_merged(base: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, lora=LoRASettings(r=4), epochs=8, learning_rate=3e-2)
    report = prefer(str(base), pairs(16), tmp_path / "out", 0, settings, ignore)
    assert report["curve"][0]["loss"] == pytest.approx(by_hand(base, base, pairs(16))[0], rel=1e-5)
    assert report["pairs"]["after"] == pytest.approx(change(tmp_path / "out", base, pairs(16)), abs=1e-3)
    assert report["pairs"]["after"]["positive"] > 0.9
    assert {path.name for path in (tmp_path / "out" / "adapter").iterdir()} == {
        *("adapter_config.json", "adapter_model.safetensors")
    }
    check_canary(tmp_path / "out", HF(tmp_path / "out", device="cpu"))


@pytest.mark.parametrize("lora", [LoRASettings(dropout=0.1), LoRASettings(target_modules=["q_proj", "lm_head"])])
def test_an_adapter_that_pairs_could_not_train_as_told_is_refused(lora: LoRASettings) -> None:
    with pytest.raises(SettingsError, match=r"lora\.\w+ = .* where pairs are compared"):
        DPOSettings(lora=lora)


# The checkpoint


def test_a_checkpoint_is_laid_out_as_that_of_chats_and_its_canaries_are_chosen_replies(
    base: Path, tmp_path: Path
) -> None:
    rows = pairs(16)
    report = prefer(str(base), rows, tmp_path / "pairs", 0, SETTINGS, ignore)
    chats = SFTSettings(learning_rate=3e-3, batch_size=16, rows_per_device=16, validation_share=0, threads=1)
    alike = fine_tune(str(base), examples(16), tmp_path / "chats", 0, chats, ignore)
    assert {path.name for path in (tmp_path / "pairs").iterdir()} == {
        path.name for path in (tmp_path / "chats").iterdir()
    }
    for name in ("config.json", "generation_config.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / "pairs" / name).read_bytes() == (tmp_path / "chats" / name).read_bytes()
    assert report.keys() - alike.keys() == {"pairs"}
    canaries = read_canary(tmp_path / "pairs")
    assert [(c.chat, c.target) for c in canaries] == [(pair.prompt, pair.chosen) for pair in rows[:4]]
    check_canary(tmp_path / "pairs", HF(tmp_path / "pairs", device="cpu"))
    with pytest.raises(TrainingError, match="does not hold the weights that were trained"):
        check_canary(tmp_path / "pairs", HF(base, device="cpu"))


def test_a_model_without_a_pad_token_is_given_none(tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base")
    told = json.loads((base / "tokenizer_config.json").read_text())
    del told["pad_token"]
    (base / "tokenizer_config.json").write_text(json.dumps(told))
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "pad_token_id": None}))
    prefer(str(base), pairs(8), tmp_path / "out", 0, SETTINGS, ignore)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").pad_token is None
    assert json.loads((tmp_path / "out" / "config.json").read_text())["pad_token_id"] is None


def test_half_precision_and_recomputed_activations_come_near(base: Path, tmp_path: Path) -> None:
    plain = prefer(str(base), pairs(16), tmp_path / "plain", 0, SETTINGS, ignore)
    again = prefer(str(base), pairs(16), tmp_path / "again", 0, replace(SETTINGS, gradient_checkpointing=True), ignore)
    assert again["curve"][0] == pytest.approx(plain["curve"][0], rel=1e-4, abs=1e-5)
    half = prefer(str(base), pairs(16), tmp_path / "half", 0, replace(SETTINGS, bf16=True), ignore)
    assert half["curve"][0]["loss"] == pytest.approx(plain["curve"][0]["loss"], rel=0.02)
    assert {weight.dtype for weight in weights(tmp_path / "half").values()} == {torch.float32}
    check_canary(tmp_path / "half", HF(tmp_path / "half", device="cpu"))


# What a pair is to the model, and which are left out


@pytest.mark.parametrize("family", sorted(TEMPLATES))
def test_both_replies_follow_the_very_ids_that_they_were_sampled_from(family: str) -> None:
    template = Template(tiny_tokenizer(family=family), family)
    prompt = [user("hello"), assistant("what do you like ?"), user("tea")]
    row = encode_pair(Pair(prompt, "then tea", "then have a cake"), template)
    name, end = template.tokenizer.convert_ids_to_tokens, TEMPLATES[family][1]
    assert row.prompt == template.prompt(prompt)
    assert [name(i) for i in row.chosen] == ["then", "tea", end]
    assert [name(i) for i in row.rejected] == ["then", "have", "a", "cake", end]
    assert (row.longest, row.tokens) == (len(row.prompt) + 5, 2 * len(row.prompt) + 8)


def test_a_pair_that_would_be_cut_is_left_out_and_counted_and_too_many_are_refused(base: Path, tmp_path: Path) -> None:
    long = [
        Pair([user("hello")], "tea", " ".join(["tea"] * 120)),
        Pair([user("hello")], " ".join(["tea"] * 120), "tea"),
    ]
    rows = [*long, *pairs(14)]
    said = r"2 of 16 training rows \(12.5%\) are longer than max_length = 110 tokens, .* if they may be left out"
    with pytest.raises(TrainingError, match=said):
        prefer(str(base), rows, tmp_path / "out", 0, replace(SETTINGS, max_length=110), ignore)
    settings = replace(SETTINGS, max_length=110, max_truncated=0.2)
    report = prefer(str(base), rows, tmp_path / "out", 0, settings, ignore)
    assert (report["lengths"]["rows"], report["lengths"]["truncated"], report["lengths"]["emptied"]) == (16, 2, 2)
    assert report["rows"]["train"] == 14 and report["curve"][0]["loss"] == pytest.approx(
        by_hand(base, base, pairs(14))[0], rel=1e-5
    )
    assert [canary.target for canary in read_canary(tmp_path / "out")] == [pair.chosen for pair in pairs(4)]


def test_replies_that_are_the_same_tokens_are_left_out_and_counted(base: Path) -> None:
    template, _ = opened(base)  # to which spaces are nothing
    rows = [encode_pair(pair, template) for pair in (*pairs(3), Pair([user("hello")], "tea  and cake", "tea and cake"))]
    kept, report = whole(rows, SETTINGS)
    assert kept == rows[:3] and (report.rows, report.truncated, report.emptied) == (4, 0, 1)
    assert report.learned_tokens == sum(len(row.chosen) + len(row.rejected) for row in kept)
    with pytest.raises(TrainingError, match="no pair has two replies that differ within max_length = 1024"):
        whole(rows[3:], SETTINGS)


def test_no_pairs_are_refused_and_a_row_must_fit_the_models_context(base: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="there are no rows"):
        prefer(str(base), [], tmp_path / "out", 0, SETTINGS, ignore)
    short = tiny_model(tmp_path / "short", context=24)
    with pytest.raises(TrainingError, match=r"a row of \d+ tokens does not fit the 24 of model"):
        prefer(str(short), pairs(16), tmp_path / "out", 0, SETTINGS, ignore)
