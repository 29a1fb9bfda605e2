"""Direct preference optimisation by TRL's `DPOTrainer`, on token ids that our own template made.

Rafailov et al. (2023), https://arxiv.org/abs/2305.18290, as SPaR uses it (https://arxiv.org/abs/2412.11605). With l(y)
the log-prob of a reply, summed over its tokens to its end-of-turn, the loss of a pair is

    -log sigmoid(beta * ((l(chosen) - l_ref(chosen)) - (l(rejected) - l_ref(rejected))))
    - sft_weight * l(chosen) / (tokens of chosen)

and that of an optimiser step the mean over its pairs, however they are cut into micro batches and devices. The first
term is TRL's. The second is ours: TRL has it as a mean over all tokens of a micro batch, which depends on how that is
cut and lets a long reply speak louder. The reference's log-probs are taken once, before the first step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import DataLoader
from trl.models.utils import prepare_deepspeed
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer

from sparring.engines.hf import open_model
from sparring.errors import TrainingError
from sparring.training.rows import EncodedPair, encode_pair, held_out, whole
from sparring.training.settings import DPOSettings, Tracking
from sparring.training.shared import (
    Emit,
    adapter_config,
    arguments,
    carry_out,
    check_context,
    followers,
    opened,
    report,
    save,
    steps_of,
)
from sparring.types import Pair

SAMPLE = 512
"""Pairs, of those trained on, whose log-probs are looked at once more in the end."""
Score = Callable[[dict[str, Tensor]], tuple[Tensor, Tensor]]
"""Log-probs of a batch's chosen and rejected replies."""


def collate(rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """Pad on the right to (2 x pairs, longest), the chosen rows first; the masks come from lengths.

    What has one number a pair stands first, for the Trainer reads the size of a batch off its first tensor.
    """
    batch: dict[str, Tensor] = DataCollatorForPreference(pad_token_id=0)(list(rows))
    return dict(sorted(batch.items(), key=lambda item: not item[0].startswith("ref_")))


class PairTrainer(DPOTrainer):
    """TRL's trainer with our rows and our mean; its docstring is the module's."""

    loss_is_scaled_for_ga = True

    def __init__(
        self, settings: DPOSettings, model: Any, anchor: Any, tokenizer: Any, held: Sequence[Any], **rest: Any
    ):
        """`anchor` is the reference, or None for the model as it is. What TRL sets for its own use is not kept."""
        self.settings = settings
        text, generation = model.config.get_text_config(), model.generation_config
        pads = text.pad_token_id, generation.pad_token_id
        super().__init__(
            model=model,
            ref_model=anchor,
            data_collator=collate,
            eval_dataset=_dataset(held) if held else None,
            processing_class=deepcopy(tokenizer),
            peft_config=adapter_config(settings.lora) if settings.lora else None,
            **rest,
        )
        self.ref_model, self.processing_class = None, None  # its log-probs are taken, and the rows are token ids
        text.pad_token_id, generation.pad_token_id = pads

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset  # the template has made token ids of it

    def _send_telemetry(self) -> None:
        """Nobody is told what is trained here."""

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        """Add the reference's log-probs. TRL goes through a file that the other processes would not find."""
        if self.ref_model is None and self.is_deepspeed_enabled:
            reference: Any = prepare_deepspeed(cast("Any", self.model), self.accelerator)
        else:
            reference = self.ref_model or self.model
        chosen, rejected = self.log_probs(dataset, partial(self.compute_ref_log_probs, reference))
        added = dataset.add_column("ref_chosen_logps", chosen.tolist())
        return added.add_column("ref_rejected_logps", rejected.tolist())

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Tensor]], device: torch.device) -> Tensor:
        pairs = torch.tensor(sum(len(batch["ref_chosen_logps"]) for batch in batch_samples), device=device)
        return cast("Tensor", self.accelerator.gather(pairs)).sum()

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Return the mean over the batch's pairs; in training, this micro batch's part of the optimiser step's."""
        heard: list[Any] = []

        def listened(**given: Any) -> Any:
            heard.append(model(**given))
            return heard[0]

        dpo = super().compute_loss(cast("Any", listened), inputs)
        pairs = len(inputs["ref_chosen_logps"])
        lengths = inputs["completion_mask"][:pairs, 1:].sum(1)
        loss = dpo - self.settings.sft_weight * (heard[0].log_probs[:pairs].sum(1) / lengths).mean()
        if num_items_in_batch is None:
            return loss
        # Gradients are averaged over processes, and the pairs are of all of them.
        return loss * pairs / num_items_in_batch * self.accelerator.num_processes

    def log_probs(self, dataset: Dataset, score: Score) -> tuple[Tensor, Tensor]:
        """Return log-probs of all chosen and all rejected replies, in order, on the CPU."""
        cast("torch.nn.Module", self.model).eval()
        rows = self.args.per_device_eval_batch_size
        loader = self.accelerator.prepare(DataLoader(cast("Any", dataset), batch_size=rows, collate_fn=collate))
        found = [self.accelerator.gather_for_metrics(score(batch)) for batch in loader]
        chosen, rejected = (torch.cat(each).double().cpu() for each in zip(*found, strict=True))
        return chosen, rejected

    def change(self, dataset: Dataset) -> dict[str, float]:
        """Return how far the model is from the reference: nats a reply, mean over pairs, and the pairs it has right."""
        chosen, rejected = self.log_probs(dataset, self._policy)
        chosen -= torch.tensor(dataset["ref_chosen_logps"], dtype=torch.double)
        rejected -= torch.tensor(dataset["ref_rejected_logps"], dtype=torch.double)
        positive = (chosen > rejected).double().mean()
        return {"chosen": float(chosen.mean()), "rejected": float(rejected.mean()), "positive": float(positive)}

    def _policy(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
        seen = {name: batch[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad(), self.accelerator.autocast():
            outputs: Any = cast("Any", self.model_wrapped)(**seen, labels=labels, use_cache=False, fused_lm_head=True)
        return outputs.log_probs.sum(1).chunk(2)


def prefer(
    model_id: str,
    pairs: Sequence[Pair],
    folder: Path,
    seed: int,
    settings: DPOSettings,
    emit: Emit,
    reference: str = "",
    tracking: Tracking | None = None,
) -> dict[str, Any]:
    """Train `model_id` on `pairs` and write a checkpoint into `folder`; return the report that goes with it.

    `reference` names the model of the anchor; empty is `model_id` as it was, which with `lora` is the base without its
    adapter. Checkpoint, `emit`, report and errors are those of `sft.fine_tune`; the canaries are chosen replies. The
    report has `pairs` besides: of the first of those trained on, how far the model is from the reference before and
    after training, in nats a reply, and the share of them whose margin is above 0. Raises TrainingError for a
    reference that reads other tokens.
    """
    tokenizer, model, template = opened(model_id, pairs, settings)
    anchor = _anchor(reference, tokenizer, model_id)
    encoded = [encode_pair(pair, template) for pair in pairs]
    rows, lengths = whole(encoded, settings)
    check_context(model_id, model, max(row.longest for row in rows))
    emit({"lengths": asdict(lengths)})
    train, held = held_out(rows, settings.validation_share, seed)
    own = {"beta": settings.beta, "max_length": None, "precompute_ref_log_probs": True}
    trainer = PairTrainer(
        settings,
        model,
        anchor,
        tokenizer,
        held,
        train_dataset=_dataset(train),
        args=arguments(DPOConfig, folder, seed, settings, steps_of(train, settings), bool(held), tracking, **own),
        callbacks=followers(emit, tracking),
    )
    sample = trainer.train_dataset.select(range(min(SAMPLE, len(train))))
    before = trainer.change(sample) if anchor else {"chosen": 0.0, "rejected": 0.0, "positive": 0.0}
    seconds = carry_out(trainer, settings)
    after = trainer.change(sample)
    kept = {id(row) for row in rows}
    fitting = [pair for pair, row in zip(pairs, encoded, strict=True) if id(row) in kept]
    save(trainer, tokenizer, template, folder, [(pair.prompt, pair.chosen) for pair in fitting])
    told = report(trainer, seconds, lengths, train, held)
    told["pairs"] = {"looked_at": len(sample), "before": before, "after": after}
    told["versions"]["trl"] = version("trl")
    return told


def _anchor(reference: str, tokenizer: Any, model_id: str) -> Any:
    """Return the model of the anchor; None where that is the model to be trained."""
    if not reference:
        return None
    other, anchor = open_model(reference, torch.float32)
    if other.get_vocab() != tokenizer.get_vocab():
        raise TrainingError(
            f"reference {reference!r} reads other tokens than {model_id!r}: their log-probs compare not"
        )
    return anchor


def _dataset(rows: Sequence[EncodedPair]) -> Dataset:
    return Dataset.from_list(
        [{"prompt_ids": row.prompt, "chosen_ids": row.chosen, "rejected_ids": row.rejected} for row in rows]
    )
