"""Direct preference optimisation, on token ids that our own template made.

Rafailov et al. (2023), https://arxiv.org/abs/2305.18290, as SPaR uses it (https://arxiv.org/abs/2412.11605). With l(y)
the log-prob of a reply, summed over its tokens to its end-of-turn, the loss of a pair is

    -log sigmoid(beta * ((l(chosen) - l_ref(chosen)) - (l(rejected) - l_ref(rejected))))
    - sft_weight * l(chosen) / (tokens of chosen)

and that of an optimiser step the mean over its pairs, however they are cut into micro batches and devices. The first
term is that of TRL's `DPOTrainer` (`tests/training/test_parity.py`). TRL has the second as a mean over all tokens of a
micro batch, which depends on how that is cut and lets a long reply speak louder. The reference's log-probs are taken
once, before the first step, and are kept with the saved steps.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import Dropout, Module
from torch.nn.functional import logsigmoid
from transformers import TrainerCallback, TrainingArguments

from sparring.engines.hf import open_model
from sparring.errors import TrainingError
from sparring.files import write_whole
from sparring.training.batches import StepTrainer
from sparring.training.callbacks import Emit, followers
from sparring.training.rows import EncodedPair, encode_pair, held_out, whole
from sparring.training.settings import DPOSettings, Tracking
from sparring.training.shared import (
    adapted,
    arguments,
    carry_out,
    check_context,
    opened,
    report,
    save,
    steps_of,
)
from sparring.training.steps import Steps
from sparring.types import Pair

SAMPLE = 512
"""Pairs, of those trained on, whose log-probs are looked at once more in the end."""
REFERENCE = "reference.json"
"""With the saved steps: what the reference thinks of all pairs, and how far from it the model was at first."""
Scores = tuple[float, float]
"""Log-probs of the chosen and the rejected reply, in nats."""


@dataclass(slots=True, eq=False)
class Anchored:
    """A pair, and what the reference thinks of it."""

    pair: EncodedPair
    reference: Scores = (0.0, 0.0)
    counts: float = 1.0
    """In the loss. 0 for a pair that only keeps a process busy."""

    @property
    def longest(self) -> int:
        return self.pair.longest

    @property
    def tokens(self) -> int:
        return self.pair.tokens


def collate(rows: Sequence[Anchored]) -> dict[str, Tensor]:
    """Pad on the right to (2 x pairs, longest), the chosen rows first; `learned` is of the predictions, one less."""
    longest = max(row.longest for row in rows)
    replies = [(row.pair.prompt, row.pair.chosen) for row in rows] + [
        (row.pair.prompt, row.pair.rejected) for row in rows
    ]
    tails = [longest - len(prompt) - len(reply) for prompt, reply in replies]
    each = list(zip(replies, tails, strict=True))
    return {
        "input_ids": torch.tensor([[*prompt, *reply, *[0] * tail] for (prompt, reply), tail in each]),
        "learned": torch.tensor(
            [[*[False] * (len(prompt) - 1), *[True] * len(reply), *[False] * tail] for (prompt, reply), tail in each]
        ),
        "reference": torch.tensor([row.reference for row in rows]),
        "counts": torch.tensor([row.counts for row in rows]),
    }


class PairTrainer(StepTrainer):
    """The Trainer with the module's loss. What the reference thinks is asked when the model stands ready to train."""

    def __init__(
        self,
        settings: DPOSettings,
        train: Sequence[Anchored],
        held: Sequence[Anchored],
        anchor: Any = None,
        steps: Steps | None = None,
        **rest: Any,
    ):
        """`anchor` is the reference, or None for the model as it is; its name, where `steps` know what it said."""
        self.settings, self.anchor, self.steps = settings, anchor, steps
        self.before: list[Scores] = []
        self.margins: list[Tensor] = []
        super().__init__(settings, train, held, **rest)
        for module in cast("Module", self.model).modules():
            # As TRL: what is compared to the reference is the model itself.
            if isinstance(module, Dropout):
                module.p = 0.0
            if isinstance(getattr(module, "attention_dropout", None), float):
                cast("Any", module).attention_dropout = 0.0
        self.add_callback(Beginning(self))

    def collate(self, rows: Sequence[Anchored]) -> dict[str, Tensor]:
        return collate(rows)

    def blank(self, row: Anchored) -> Anchored:
        return Anchored(EncodedPair(row.pair.prompt[:1], row.pair.chosen[:1], row.pair.rejected[:1]), counts=0.0)

    def divisor(self, rows: Sequence[Anchored]) -> float:
        return len(rows)

    def total(self, model: Module, inputs: dict[str, Tensor]) -> Tensor:
        """Return the summed loss of a micro batch's pairs."""
        replies, learned, counts = self.replies(model, inputs), inputs["learned"], inputs["counts"]
        changes = replies - inputs["reference"]
        margins = self.settings.beta * (changes[:, 0] - changes[:, 1])
        per_token = replies[:, 0] / learned[: len(counts)].sum(1)
        self.margins.append(
            torch.stack([(margins * counts).sum(), ((margins > 0) * counts).sum(), counts.sum()]).detach()
        )
        return ((-logsigmoid(margins) - self.settings.sft_weight * per_token) * counts).sum()

    def replies(self, model: Module, inputs: dict[str, Tensor]) -> Tensor:
        """Return the log-probs of replies, (pairs, 2): chosen, rejected."""
        learned = inputs["learned"]
        found = self.log_probs(model, inputs["input_ids"], learned)
        sums = found.new_zeros(learned.shape).masked_scatter(learned, found).sum(1)
        return torch.stack(sums.chunk(2), dim=1)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the margin, beta x nats, and the share of pairs that have it above 0, under TRL's names."""
        start = "eval_" if "eval_loss" in logs else ""
        if self.margins:
            margins, positive, pairs = cast(
                "Tensor", self.accelerator.reduce(torch.stack(self.margins).sum(0))
            ).tolist()
            logs |= {f"{start}rewards/margins": margins / pairs, f"{start}rewards/accuracies": positive / pairs}
            self.margins.clear()
        super().log(logs, start_time)

    # How far the model is from the reference

    def begin(self) -> None:
        """Ask the reference, unless that was done before the training was killed: its weights are others by now."""
        rows = [*self.rows, *self.held]
        kept = self.steps.folder / REFERENCE if self.steps else None
        if kept and kept.is_file():
            told = json.loads(kept.read_text(encoding="utf-8"))
        else:
            told = self._asked(rows)
            if kept and self.is_world_process_zero():
                write_whole(kept, lambda path: _write(path, told))
        for row, reference in zip(rows, told["reference"], strict=True):
            row.reference = (reference[0], reference[1])
        self.before, self.anchor = told["before"], None

    def _asked(self, rows: Sequence[Anchored]) -> dict[str, list[Scores]]:
        if self.anchor is None:
            found = self.scores(rows)
            return {"reference": found, "before": found[: len(self.sample)]}
        if isinstance(self.anchor, str):
            raise TrainingError(f"what {self.anchor!r} said of the pairs was removed by another process: start again")
        anchor = _prepared(self.anchor, self)
        return {"reference": self.scores(rows, anchor), "before": self.scores(self.sample)}

    @property
    def sample(self) -> Sequence[Anchored]:
        """The pairs that are looked at again."""
        return self.rows[:SAMPLE]

    def scores(self, rows: Sequence[Any], model: Any = None) -> list[Scores]:
        """Return the log-probs of all replies."""
        model = model or self.model_wrapped

        def score(batch: dict[str, Tensor]) -> list[Any]:
            return self.replies(model, batch).tolist()

        return self.scored(rows, score)

    def change(self, scores: Sequence[Scores]) -> dict[str, float]:
        """Return how far scores of the sample are from the reference, in nats a reply, and the pairs it has right."""
        told = torch.tensor([row.reference for row in self.sample], dtype=torch.double)
        chosen, rejected = (torch.tensor(scores, dtype=torch.double) - told).unbind(1)
        positive = (chosen > rejected).double().mean()
        return {"chosen": float(chosen.mean()), "rejected": float(rejected.mean()), "positive": float(positive)}


class Beginning(TrainerCallback):
    """Has the reference asked when the model is where it is trained, on whatever devices."""

    def __init__(self, trainer: PairTrainer):
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.begin()


def _prepared(anchor: Any, trainer: PairTrainer) -> Any:
    """Return the reference where it can be asked; sharded, if the model is."""
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        from trl.models.utils import prepare_deepspeed, prepare_fsdp

        return (prepare_deepspeed if trainer.is_deepspeed_enabled else prepare_fsdp)(anchor, trainer.accelerator)
    return anchor.to(trainer.accelerator.device).eval()


def _write(path: Path, told: dict[str, list[Scores]]) -> None:
    path.write_text(json.dumps(told), encoding="utf-8")


def prefer(
    model_id: str,
    pairs: Sequence[Pair],
    folder: Path,
    seed: int,
    settings: DPOSettings,
    emit: Emit,
    reference: str = "",
    tracking: Tracking | None = None,
    steps: Steps | None = None,
) -> dict[str, Any]:
    """Train `model_id` on `pairs` and write a checkpoint into `folder`; return the report that goes with it.

    `reference` names the model of the anchor; empty is `model_id` as it was, which with `lora` is the base without its
    adapter. Checkpoint, `steps`, `emit`, report and errors are those of `sft.fine_tune`; the canaries are chosen
    replies. The report has `pairs` besides: of the first of those trained on, how far the model is from the reference
    before and after training, in nats a reply, and the share of them whose margin is above 0. Raises TrainingError for
    a reference that reads other tokens.
    """
    tokenizer, model, template = opened(model_id, pairs, settings)
    encoded = [encode_pair(pair, template) for pair in pairs]
    rows, lengths = whole(encoded, settings)
    check_context(model_id, model, max(row.longest for row in rows))
    emit({"lengths": asdict(lengths)})
    train, held = held_out(rows, settings.validation_share, seed)
    asked = steps is not None and (steps.folder / REFERENCE).is_file()
    trainer = PairTrainer(
        settings,
        [Anchored(row) for row in train],
        [Anchored(row) for row in held],
        (reference or None) if asked else _anchor(reference, tokenizer, model_id),  # held by the trainer alone
        steps,
        model=adapted(model, settings.lora, seed),
        args=arguments(TrainingArguments, folder, seed, settings, steps_of(train, settings), bool(held), tracking),
        callbacks=followers(emit, tracking),
    )
    seconds = carry_out(trainer, settings, steps)
    after = trainer.scores(trainer.sample)
    kept = {id(row) for row in rows}
    fitting = [pair for pair, row in zip(pairs, encoded, strict=True) if id(row) in kept]
    save(trainer, tokenizer, template, folder, [(pair.prompt, pair.chosen) for pair in fitting])
    told = report(trainer, seconds, lengths, train, held)
    moved = {"before": trainer.change(trainer.before), "after": trainer.change(after)}
    told["pairs"] = {"looked_at": len(trainer.sample), **moved}
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
