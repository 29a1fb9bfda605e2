"""Micro batches: which rows a step has, how it is cut, and that the cut decides nothing of what is learned."""

from __future__ import annotations

import random
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType
from torch.utils.data import RandomSampler
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from sparring.training.batches import Order, Step, cut
from sparring.training.dpo import REFERENCE, Anchored, PairTrainer, prefer
from sparring.training.rows import EncodedPair, Row
from sparring.training.settings import DPOSettings, SFTSettings
from sparring.training.sft import WeightedTrainer, fine_tune
from sparring.training.shared import arguments
from sparring.training.steps import Steps
from tests.tiny import tiny_model
from tests.training.conftest import examples, pairs


def ignore(_: dict[str, Any]) -> None:
    """Progress that nobody watches."""


def lengths_of(rows: int, seed: int = 0) -> list[int]:
    draw = random.Random(seed)
    return [max(4, min(512, round(draw.lognormvariate(4.1, 0.8)))) for _ in range(rows)]


def padded(parts: list[list[int]], lengths: list[int]) -> int:
    return sum(len(part) * max(lengths[at] for at in part) for part in parts if part)


# Which rows


def test_a_step_has_the_rows_that_the_trainer_itself_would_draw_for_it(tmp_path: Path) -> None:
    class Plain(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return RandomSampler(range(23))

    args = TrainingArguments(str(tmp_path), seed=5, use_cpu=True, per_device_train_batch_size=4, report_to=[])
    data: Any = list(range(23))
    trainer = Plain(torch.nn.Linear(1, 1), args, data_collator=lambda rows: torch.tensor(rows), train_dataset=data)
    loader: Any = trainer.get_train_dataloader()
    order = Order(23, 4, 5)
    for epoch in (0, 1, 7):
        loader.set_epoch(epoch)
        order.set_epoch(epoch)
        assert [batch.tolist() for batch in loader] == list(order)
    assert len(order) == 6


def test_every_row_is_in_one_step_of_an_epoch() -> None:
    order = Order(10, 4, 0)
    assert sorted(at for step in order for at in step) == list(range(10))
    assert [len(step) for step in order] == [4, 4, 2] and list(order) == list(order)
    first = list(order)
    order.set_epoch(1)
    assert list(order) != first


# How it is cut


@pytest.mark.parametrize("devices", [1, 2, 3, 8])
@pytest.mark.parametrize("rows", [1, 2, 7, 64, 300])
def test_every_row_is_in_one_micro_batch_and_none_is_larger_than_the_bound(rows: int, devices: int) -> None:
    lengths, most = lengths_of(rows), 1024
    parts = cut(lengths, most, devices)
    assert sorted(at for device in parts for part in device for at in part) == list(range(rows))
    assert len(parts) == devices and len({len(device) for device in parts}) == 1
    assert all(padded([part], lengths) <= most for device in parts for part in device if len(part) > 1)
    empty = sum(not part for device in parts for part in device)
    assert empty == (0 if rows >= devices else devices - rows)


def test_a_row_over_the_bound_stands_alone() -> None:
    parts = cut([50, 400, 60, 300], 128)[0]
    assert [1] in parts and [3] in parts and sorted(map(sorted, parts)) == [[0, 2], [1], [3]]


def test_rows_of_mixed_lengths_are_hardly_padded_and_not_many_micro_batches() -> None:
    lengths = lengths_of(64)
    [parts] = cut(lengths, 8 * 512)
    as_drawn = padded([list(range(start, start + 8)) for start in range(0, 64, 8)], lengths)
    assert padded(parts, lengths) < 1.3 * sum(lengths) < 2 * sum(lengths) < as_drawn
    assert len(parts) <= 8
    assert cut([60] * 64, 8 * 512)[0] == [list(range(64))]  # nothing to gain


def test_no_cut_of_a_few_rows_costs_less() -> None:
    lengths, fixed = [300, 280, 100, 90, 80, 10], 256

    def cost(parts: list[list[int]]) -> int:
        return padded(parts, lengths) + fixed * len(parts)

    ways = []
    for bits in range(2**5):
        parts = [[0]]
        for at in range(1, 6):
            parts = [*parts, [at]] if bits >> (at - 1) & 1 else [*parts[:-1], [*parts[-1], at]]
        if all(padded([part], lengths) <= 600 for part in parts):
            ways.append(cost(parts))
    assert cost(cut(lengths, 600)[0]) == min(ways)


# What it comes to


def trainer_of(base: Path, folder: Path, rows: list[Row], **changed: Any) -> WeightedTrainer:
    settings = SFTSettings(3e-3, batch_size=len(rows), warmup_share=0, **changed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return WeightedTrainer(
        settings, rows, [], model=model, args=arguments(TrainingArguments, folder, 0, settings, 1, False)
    )


def test_only_predictions_that_are_learned_become_logits(base: Path, tmp_path: Path) -> None:
    rows = [Row([5] * n, [0.0] * (n - 3) + [1.0] * 3) for n in (5, 9, 30)]
    trainer = trainer_of(base, tmp_path, rows, rows_per_device=3)
    made: list[int] = []
    head: Any = trainer.model
    head.get_output_embeddings().register_forward_hook(lambda _, __, logits: made.append(logits.numel()))
    trainer.train()
    assert sum(made) == 3 * 3 * head.config.vocab_size


def test_a_row_that_only_keeps_a_process_busy_changes_no_loss_and_no_gradient(base: Path, tmp_path: Path) -> None:
    row = Row([5, 6, 7, 8], [0.0, 0.0, 1.0, 2.0])
    trainer = trainer_of(base, tmp_path, [row])
    blank = trainer.total(trainer.model, trainer.collate([trainer.blank(row)]))  # type: ignore[arg-type]
    blank.backward()
    assert blank == 0 and all((p.grad == 0).all() for p in trainer.model.parameters())  # type: ignore[union-attr]
    settings = DPOSettings(3e-3, batch_size=1)
    args = arguments(TrainingArguments, tmp_path, 0, settings, 1, False)
    pair = Anchored(EncodedPair([5, 6], [7, 8], [9]), (-3.0, -1.0))
    both = PairTrainer(settings, [pair], [], model=trainer.model, args=args)
    model: Any = both.model
    whole = both.total(model, both.collate([pair]))
    padded_out = both.total(model, both.collate([pair, both.blank(pair)]))
    assert padded_out.item() == pytest.approx(whole.item(), rel=1e-5)
    blank = both.total(model, both.collate([both.blank(pair)]))
    blank.backward()
    assert blank == 0 and all((p.grad == 0).all() for p in model.parameters())


def test_rows_per_device_bounds_a_micro_batch_by_as_many_of_the_longest_rows(base: Path, tmp_path: Path) -> None:
    rows = [Row([5] * n, [0.0] + [1.0] * (n - 1)) for n in (100, *[10] * 59)]
    trainer = trainer_of(base, tmp_path, rows, rows_per_device=2)
    [step] = trainer.get_train_dataloader()
    shapes = [tuple(part["input_ids"].shape) for part in step.parts]
    assert len(shapes) == 4 and (1, 100) in shapes and sum(rows for rows, _ in shapes) == 60
    assert all(rows * longest <= 2 * 100 for rows, longest in shapes)
    assert (step.divisor, step.tokens) == (99 + 59 * 9, 690)


@pytest.mark.parametrize(
    ("kind", "kept"), [(DistributedType.MULTI_GPU, 2), (DistributedType.FSDP, 0), (DistributedType.DEEPSPEED, 0)]
)
def test_gradients_wait_for_the_last_micro_batch_but_where_they_are_sharded(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: DistributedType, kept: int
) -> None:
    trainer = trainer_of(base, tmp_path, [Row([5, 6], [0.0, 1.0])])
    waited: list[Any] = []

    def no_sync(model: Any) -> Any:
        waited.append(model)
        return nullcontext()

    monkeypatch.setattr(Trainer, "training_step", lambda *_: torch.ones(()))
    monkeypatch.setattr(trainer, "accelerator", SimpleNamespace(distributed_type=kind, no_sync=no_sync))
    total = trainer.training_step(torch.nn.Linear(1, 1), Step([{}, {}, {}], 1.0, 1))
    assert (float(total), len(waited)) == (3, kept)


# What the reference thinks is asked once


def test_what_the_reference_said_is_read_from_the_saved_steps_and_not_asked_again(base: Path, tmp_path: Path) -> None:
    settings = DPOSettings(3e-3, batch_size=8, rows_per_device=8, validation_share=0.2, threads=1)
    other, steps = tiny_model(tmp_path / "other", seed=1), Steps(tmp_path / "steps")
    steps.claim({})
    first = prefer(str(base), pairs(20), tmp_path / "first", 0, settings, ignore, str(other), steps=steps)
    assert (steps.folder / REFERENCE).is_file()
    strange = tiny_model(tmp_path / "strange", seed=2)  # would say something else, if it were asked
    again = prefer(str(base), pairs(20), tmp_path / "again", 0, settings, ignore, str(strange), steps=steps)
    assert (again["curve"], again["pairs"]) == (first["curve"], first["pairs"])
    fresh = prefer(str(base), pairs(20), tmp_path / "fresh", 0, settings, ignore, str(strange))
    assert fresh["curve"][0]["loss"] != pytest.approx(first["curve"][0]["loss"], rel=1e-3)


def test_mixed_lengths_are_learned_alike_one_row_at_a_time_and_all_at_once(base: Path, tmp_path: Path) -> None:
    settings = SFTSettings(3e-3, epochs=2, batch_size=24, validation_share=0.2, threads=1)
    curves: list[list[float]] = []
    for rows in (1, 24):
        told = fine_tune(
            str(base), examples(60), tmp_path / f"{rows}", 0, replace(settings, rows_per_device=rows), ignore
        )
        curves.append([value for point in told["curve"] for name, value in point.items() if "loss" in name])
    assert len(curves[0]) == 6 and curves[0] == pytest.approx(curves[1], rel=1e-4)
