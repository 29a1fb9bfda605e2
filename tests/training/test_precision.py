"""What trades time or precision for memory: that it is done at all, and what it does to the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import AutoModelForCausalLM
from transformers.activations import SiLUActivation

from sparring.engines.hf import HF
from sparring.training.canary import check_canary
from sparring.training.dpo import prefer
from sparring.training.settings import DPOSettings, LoRASettings, SFTSettings, TrainingSettings
from sparring.training.sft import fine_tune
from tests.training.conftest import examples, pairs

SFT = SFTSettings(learning_rate=3e-3, batch_size=16, rows_per_device=16, validation_share=0, threads=1, epochs=3)
DPO = DPOSettings(learning_rate=3e-3, batch_size=16, rows_per_device=16, validation_share=0, threads=1, epochs=3)
LORA = LoRASettings(r=4, alpha=64)
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",  # PEFT's own
)
trainings = pytest.mark.parametrize(
    "settings", [SFT, replace(SFT, lora=LORA), DPO, replace(DPO, lora=LORA)], ids=["sft", "sft-lora", "dpo", "dpo-lora"]
)


def trained(settings: TrainingSettings, base: Path, out: Path) -> list[dict[str, float]]:
    """Train, and return the curve."""
    if isinstance(settings, DPOSettings):
        return prefer(str(base), pairs(16), out, 0, settings, lambda _: None)["curve"]
    assert isinstance(settings, SFTSettings)
    return fine_tune(str(base), examples(16), out, 0, settings, lambda _: None)["curve"]


@contextmanager
def heard() -> Iterator[list[torch.dtype]]:
    """The kinds of numbers that feed-forward layers' activations are while gradients are wanted, one a call."""
    kinds: list[torch.dtype] = []

    def note(module: Any, given: Any) -> None:
        if isinstance(module, SiLUActivation) and module.training:
            kinds.append(given[0].dtype)

    hook = register_module_forward_pre_hook(note)  # a second call ends as soon as all is there that is wanted
    yield kinds
    hook.remove()


@trainings
def test_activations_are_recomputed_and_change_nothing(base: Path, tmp_path: Path, settings: TrainingSettings) -> None:
    curves, calls = {}, {}
    for recompute in (False, True):
        with heard() as kinds:
            each = replace(settings, gradient_checkpointing=recompute)
            curves[recompute] = trained(each, base, tmp_path / str(recompute))
        calls[recompute] = len(kinds)
    assert calls[True] == 2 * calls[False] > 0
    for plain, again in zip(curves[False], curves[True], strict=True):
        assert again == pytest.approx(plain, rel=1e-4, abs=1e-6)
    assert curves[True][2]["loss"] < curves[True][0]["loss"]


@trainings
def test_half_precision_computes_in_it_and_comes_near_and_weights_stay_whole(
    base: Path, tmp_path: Path, settings: TrainingSettings
) -> None:
    plain = trained(settings, base, tmp_path / "plain")
    with heard() as kinds:
        half = trained(replace(settings, bf16=True), base, tmp_path / "half")
    assert set(kinds) == {torch.bfloat16}
    for whole, near in zip(plain, half, strict=True):
        assert near["loss"] == pytest.approx(whole["loss"], rel=0.02) and near["loss"] != whole["loss"]
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "half", dtype="auto").state_dict()
    assert {weight.dtype for weight in saved.values()} == {torch.float32}
    check_canary(tmp_path / "half", HF(tmp_path / "half", device="cpu"))


def test_both_together_with_an_adapter(base: Path, tmp_path: Path) -> None:
    half = trained(replace(SFT, bf16=True, lora=LORA), base, tmp_path / "half")
    both = trained(replace(SFT, bf16=True, lora=LORA, gradient_checkpointing=True), base, tmp_path / "both")
    for one, other in zip(half, both, strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-5)
