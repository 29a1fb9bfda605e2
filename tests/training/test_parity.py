"""The same losses as TRL's trainers, which have other code for rows, masks, padding and the loss itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch.nn.functional import logsigmoid
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from sparring.engines.template import Template, end_tokens
from sparring.training.dpo import prefer
from sparring.training.rows import EncodedPair, encode_pair
from sparring.training.settings import DPOSettings, SFTSettings, TrainingSettings
from sparring.training.sft import fine_tune
from tests.tiny import tiny_model
from tests.training.conftest import examples, pairs
from tests.training.families import FAMILIES, family_model

ROWS, EPOCHS = 12, 4
SFT = SFTSettings(*(3e-3, EPOCHS), batch_size=ROWS, rows_per_device=4, schedule="linear", validation_share=0, threads=1)
DPO = DPOSettings(
    *(3e-3, EPOCHS), batch_size=ROWS, rows_per_device=4, schedule="linear", validation_share=0, threads=1, beta=0.3
)
"""A step has all rows, so that their order is of no account. Ours is cut into micro batches, TRL's is not."""


class OfChats(SFTTrainer):
    """TRL's."""

    def _send_telemetry(self) -> None:
        """Nobody is told of a test."""


class OfIds(DPOTrainer):
    """TRL's, on token ids that are there already."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def _send_telemetry(self) -> None:
        """Nobody is told of a test."""


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return family_model(tmp_path_factory.mktemp(request.param), request.param)


def opened(folder: Path) -> tuple[Any, Any, Template]:
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    return tokenizer, model, Template(tokenizer, str(folder), end_tokens(model, tokenizer))


def told_alike(settings: TrainingSettings, folder: Path) -> dict[str, Any]:
    """Our settings in TRL's words; all else is TRL's default, or says that nothing is saved or sent."""
    return {
        **{"output_dir": str(folder), "learning_rate": settings.learning_rate, "num_train_epochs": settings.epochs},
        **{"per_device_train_batch_size": settings.batch_size, "lr_scheduler_type": settings.schedule},
        **{"warmup_steps": 1, "logging_steps": 1, "save_strategy": "no", "report_to": [], "disable_tqdm": True},
        **{"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "dataloader_pin_memory": False, "seed": 1},
    }


def curve(lines: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    return {name: [line[name] for line in lines if "loss" in line] for name in ("loss", "grad_norm")}


def alike(ours: dict[str, Any], theirs: Any, rel: float = 1e-4) -> None:
    """Losses and gradients of all steps; from the second on, weights that each has trained are in them."""
    ours, theirs = curve(ours["curve"]), curve(theirs.state.log_history)
    assert len(ours["loss"]) == EPOCHS and ours["loss"][-1] < 0.8 * ours["loss"][0]
    for name, values in theirs.items():
        assert ours[name] == pytest.approx(values, rel=rel)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # TRL's own
def test_with_weights_of_one_it_is_trls_fine_tuning(model: Path, tmp_path: Path) -> None:
    rows = [replace(row, weights=[0, 0, 1, 0, 1]) for row in examples(ROWS)]
    ours = fine_tune(str(model), rows, tmp_path / "ours", 1, SFT, lambda _: None)
    tokenizer, theirs, template = opened(model)
    trainer = OfChats(
        model=theirs,
        args=SFTConfig(assistant_only_loss=True, max_length=512, **told_alike(SFT, tmp_path / "theirs")),
        train_dataset=Dataset.from_list([{"messages": template.folded(row.messages)} for row in rows]),
        processing_class=tokenizer,
    )
    trainer.train()
    alike(ours, trainer)


def by_hand(model: Any, anchor: Any, rows: Sequence[EncodedPair], beta: float) -> float:
    """Rafailov et al. (2023), equation 7, one row at a time, in float64."""

    def log_prob(of: Any, prompt: list[int], reply: list[int]) -> torch.Tensor:
        logits = of.double()(input_ids=torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
        return logits.log_softmax(-1).gather(-1, torch.tensor(reply)[:, None]).sum()

    with torch.no_grad():
        margins = [
            sum(
                sign * (log_prob(model, row.prompt, reply) - log_prob(anchor, row.prompt, reply))
                for sign, reply in ((1, row.chosen), (-1, row.rejected))
            )
            for row in rows
        ]
        return float(-logsigmoid(beta * torch.stack([torch.as_tensor(each) for each in margins])).mean())


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # TRL's own
def test_without_its_second_term_it_is_trls_preference_optimisation_and_the_papers(base: Path, tmp_path: Path) -> None:
    other = tiny_model(tmp_path / "other", seed=1)
    settings = replace(DPO, sft_weight=0.0)
    ours = prefer(str(base), pairs(ROWS), tmp_path / "ours", 1, settings, lambda _: None, str(other))
    tokenizer, theirs, template = opened(base)
    rows = [encode_pair(pair, template) for pair in pairs(ROWS)]
    trainer = OfIds(
        model=theirs,
        ref_model=opened(other)[1],
        args=DPOConfig(beta=settings.beta, max_length=None, **told_alike(settings, tmp_path / "theirs")),
        train_dataset=Dataset.from_list(
            [{"prompt_ids": row.prompt, "chosen_ids": row.chosen, "rejected_ids": row.rejected} for row in rows]
        ),
        processing_class=tokenizer,
    )
    trainer.train()
    alike(ours, trainer)
    expected = by_hand(opened(base)[1], opened(other)[1], rows, settings.beta)
    assert ours["curve"][0]["loss"] == pytest.approx(expected, rel=1e-5)
