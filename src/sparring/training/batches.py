"""An optimiser step, cut into micro batches of rows of like length.

What is learned in a step are the rows that the seed draws for it, and the loss is normalised over all of them, so the
cut changes memory and speed alone. One item of the data loader is a whole step: each process knows all rows of it,
takes its own micro batches, and needs to ask no other what it divides by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, cast

import numpy as np
import torch
from accelerate.utils import DistributedType, gather_object
from torch import Tensor
from torch.nn import Module, functional
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput

from sparring.training.settings import TrainingSettings

FIXED = 256
"""Tokens that go through a model in the time that a micro batch takes besides. It differs by model and machine, and
twice too many or too few cost a few per cent."""


class Sized(Protocol):
    """A row as it is trained on."""

    @property
    def longest(self) -> int:
        """Tokens that it is as long as: of a pair, those of its longer reply with the prompt."""
        ...

    @property
    def tokens(self) -> int:
        """What goes through the model for it."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One process's share of an optimiser step."""

    parts: list[dict[str, Tensor]]
    """Micro batches: as many as every other process has."""
    divisor: float
    """What the loss is divided by, of all processes."""
    tokens: int
    """What goes through the model, of all processes, without pads."""


class Order(Sampler[list[int]]):
    """Which rows each step of an epoch has, by seed and epoch: those that accelerate's seedable sampler gives."""

    def __init__(self, rows: int, batch_size: int, seed: int):
        self.rows, self.batch_size, self.seed, self.epoch = rows, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        for step in torch.randperm(self.rows, generator=generator).split(self.batch_size):
            yield step.tolist()

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)


def cut(lengths: Sequence[int], most: int, devices: int = 1) -> list[list[list[int]]]:
    """Return the micro batches of each device, as places in `lengths`.

    One holds at most `most` tokens with its pads, or a single row. All devices have the same number of them, which
    sharded weights need; where the rows do not suffice, some are empty.
    """
    order = sorted(range(len(lengths)), key=lambda at: -lengths[at])

    def padded(part: list[int]) -> int:
        return len(part) * lengths[part[0]] if part else 0

    parts = [order[start:end] for start, end in pairwise(_cuts([lengths[at] for at in order], most))]
    while len(parts) % devices:
        widest = max(parts, key=lambda part: (len(part) > 1, padded(part)))
        half = (len(widest) + 1) // 2
        parts.remove(widest)
        parts += [widest[:half], widest[half:]]  # the second is empty where no part has two rows
    parts.sort(key=padded, reverse=True)  # devices work on parts of like size at the same time
    return [parts[device::devices] for device in range(devices)]


def _cuts(lengths: Sequence[int], most: int) -> list[int]:
    """Return where to cut rows, longest first, so that tokens, pads and FIXED a part come to the least in all."""
    sizes = np.array(lengths)
    costs, begins = np.zeros(len(lengths) + 1), [0]
    for end in range(1, len(lengths) + 1):
        start = max(0, end - max(1, most // lengths[end - 1]))  # no part that ends here begins before it
        padded = sizes[start:end] * np.arange(end - start, 0, -1)
        found = costs[start:end] + padded + FIXED
        found[:-1][padded[:-1] > most] = np.inf
        costs[end] = found.min()
        begins.append(start + int(found.argmin()))
    at = [len(lengths)]
    while at[-1]:
        at.append(begins[at[-1]])
    return at[::-1]


class StepTrainer(Trainer):
    """The Trainer over whole steps. What a row is, and what is learned of it, is for the kinds to say."""

    loss_is_scaled_for_ga = True

    def __init__(self, settings: TrainingSettings, train: Sequence[Sized], held: Sequence[Sized], **rest: Any):
        data = {"train_dataset": list(train), "eval_dataset": list(held) or None}
        super().__init__(**cast("dict[str, Any]", data), **rest)
        self.rows: Sequence[Any] = train
        self.held: Sequence[Any] = held
        self.batch_size = settings.batch_size
        self.most = settings.rows_per_device * max(row.longest for row in [*train, *held])

    def collate(self, rows: Sequence[Any]) -> dict[str, Tensor]:
        """Return a micro batch."""
        raise NotImplementedError

    def blank(self, row: Any) -> Any:
        """Return a row that counts for nothing: what a process is given where there are not enough."""
        raise NotImplementedError

    def divisor(self, rows: Sequence[Any]) -> float:
        """Return what the summed losses of rows are divided by."""
        raise NotImplementedError

    def total(self, model: Module, inputs: dict[str, Tensor]) -> Tensor:
        """Return the summed loss of a micro batch."""
        raise NotImplementedError

    def log_probs(self, model: Module, ids: Tensor, learned: Tensor) -> Tensor:
        """Return the log-probs of ids[:, 1:][learned], row by row, where ids are (rows, longest) padded on the right.

        No token sees what is to its right, so that no mask is needed; and nothing else becomes logits.
        """

        def chosen(_: Any, hidden: tuple[Tensor]) -> tuple[Tensor]:
            return (hidden[0][learned],)

        head = cast("Any", self.accelerator.unwrap_model(model)).get_output_embeddings()
        with head.register_forward_pre_hook(chosen):
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        return -functional.cross_entropy(logits.float(), ids[:, 1:][learned], reduction="none")

    def each(self, rows: Sequence[Any]) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        """Yield this process's micro batches of rows, and which rows they are of; none, where it only keeps up."""
        accelerator = self.accelerator
        lengths = [row.longest for row in rows]
        for part in cut(lengths, self.most, accelerator.num_processes)[accelerator.process_index]:
            yield part, self.collate([rows[at] for at in part] or [self.blank(rows[0])])

    def scored(self, rows: Sequence[Any], score: Callable[[dict[str, Tensor]], list[Any]]) -> list[Any]:
        """Return what `score` makes of rows, a list of one value a row of a micro batch, in order, on every process."""
        cast("Module", self.model_wrapped).eval()
        found: list[tuple[int, Any]] = []
        for part, batch in self.each(rows):
            with torch.no_grad(), self.accelerator.autocast():
                values = score(cast("Any", self._prepare_inputs(batch)))
            found += zip(part, values[: len(part)], strict=True)
        every: dict[int, Any] = dict(gather_object(found))
        return [every[at] for at in range(len(rows))]

    # What the Trainer asks for

    def get_train_dataloader(self) -> DataLoader[Any]:
        order = Order(len(self.rows), self.batch_size, self.args.seed)
        loader = DataLoader(cast("Any", self.rows), batch_sampler=order, collate_fn=self._step)
        cast("Any", loader).set_epoch = order.set_epoch
        return loader

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        return DataLoader(cast("Any", self.held), batch_sampler=[list(range(len(self.held)))], collate_fn=self._step)

    def _step(self, rows: Sequence[Any]) -> Step:
        parts = [batch for _, batch in self.each(rows)]
        return Step(parts, self.divisor(rows), sum(row.tokens for row in rows))

    def _get_num_items_in_batch(self, batch_samples: list[Step], device: torch.device) -> Any:
        return batch_samples[0].divisor

    def _track_num_input_tokens(self, inputs: Any) -> None:
        self.state.num_input_tokens_seen += inputs.tokens

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # nobody is told

    def training_step(self, model: Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Go forward and backward through all micro batches; gradients meet those of other processes at the last."""
        parts, total = inputs.parts, torch.zeros((), device=self.args.device)
        # DeepSpeed knows no `no_sync`, and under FSDP each GPU would hold whole gradients meanwhile.
        sharded = self.accelerator.distributed_type in (DistributedType.DEEPSPEED, DistributedType.FSDP)
        for at, part in enumerate(parts):
            last = at == len(parts) - 1
            self.accelerator.sync_gradients = last
            with nullcontext() if last or sharded else self.accelerator.no_sync(model):
                total += super().training_step(model, part, num_items_in_batch)
        return total

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Return a micro batch's part of its step's loss."""
        # Gradients are averaged over processes, and the divisor is of all of them.
        return self.total(model, inputs) / num_items_in_batch * self.accelerator.num_processes

    def evaluation_loop(
        self, dataloader: Any, description: str, *_: Any, metric_key_prefix: str = "eval", **__: Any
    ) -> EvalLoopOutput:
        """Return the loss of the held-out rows, normalised over all of them as a step's is."""
        model = cast("Module", self.model_wrapped).eval()
        [step] = dataloader
        total = torch.zeros((), device=self.args.device)
        for part in step.parts:
            with torch.no_grad(), self.compute_loss_context_manager():
                total += self.total(model, cast("Any", self._prepare_inputs(part)))
        loss = float(cast("Tensor", self.accelerator.reduce(total))) / step.divisor
        return EvalLoopOutput(cast("Any", None), None, {f"{metric_key_prefix}_loss": loss}, len(self.held))
