"""A transformers model in this process: the embedded default, on CPU or one GPU.

Batches are sorted by length; the samples of one prompt share its prefill; rows that have ended leave the batch, so the
last slow ones run in a small one. A sample depends on (seed, chat, sample index) through a random stream of its own,
never on who shares its batch. Scores are exact: only target positions ever become logits, and no padding is summed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.utils.logging import disable_progress_bar

from sparring.engines import weights
from sparring.engines.base import OnText, Request, cut, said, stopped
from sparring.engines.hearing import Hearing
from sparring.engines.template import Template, end_tokens
from sparring.errors import EngineError, RolloutError
from sparring.types import Chat, Completion, Finish, LogProb, Sampling

COMPACT_BELOW = 0.75
"""Rows that have ended are dropped from the cache once the share still speaking falls below this."""
LIKELIEST = 64
"""Tokens among which a nucleus is looked for first."""
READ_AT_ONCE = 2**11
"""Most tokens a scoring batch may read, padding included: a CPU's caches hold no more activations."""
LOGITS_AT_ONCE = 2**25
"""Most logits a scoring batch may hold (128 MB in float32)."""
GPU_TAKES = 8
"""How many times more of both a GPU takes at once."""


def open_model(name: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Return tokenizer and model, on the CPU. Raises EngineError, also where a weight would be left to chance."""
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(name)
        opened: Any = AutoModelForCausalLM.from_pretrained(
            name, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise EngineError(f"cannot open model {name!r}: {first_line}") from error
    model, told = opened
    missing = sorted([*told["missing_keys"], *(key for key, *_ in told["mismatched_keys"])])  # tied ones are not
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise EngineError(
            f"cannot open model {name!r}: its weights lack {missing[0]}{more} in the size that its config says"
        )
    return tokenizer, model


class HF:
    """A Generator and a Scorer over one local or cached transformers model."""

    def __init__(self, model: str | Path, *, rows: int = 256, device: str | None = None):
        """Load `model`, a folder or a Hub id. `rows` is how many chats speak at once. Raises EngineError."""
        self.name, self.rows, self.batch_size = str(model), rows, 4 * rows
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.float32 if self.device == "cpu" else torch.bfloat16
        self.rounding = 1e-3 if dtype == torch.float32 else 5e-2
        """Nats a token by which a float32 scorer of the same weights may differ."""
        disable_progress_bar()  # it would write across whoever shows progress here
        tokenizer, loaded = open_model(self.name, dtype)
        self.tokenizer, self.model = tokenizer, loaded.to(self.device).eval()
        self.limit: int = self.model.config.get_text_config().max_position_embeddings
        self.ends = end_tokens(self.model, tokenizer)
        self.template = Template(tokenizer, self.name, self.ends)
        self.pad: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(self.ends)

    @cached_property
    def identity(self) -> str:
        """Who answers, for the ledger: the contents of a folder, or the revision of an id on the Hub."""
        return f"hf:{weights.identity(self.name) or self.name}"

    def close(self) -> None:
        """Let go of the model's memory."""
        del self.model
        if self.device != "cpu":
            torch.cuda.empty_cache()

    # Generation

    def generate(self, requests: Sequence[Request]) -> list[Completion | RolloutError]:
        """Return one completion a request, in order; a chat longer than the model's context gives its error."""
        rows: dict[tuple[_Said, Sampling, int], _Row] = {}
        asked: list[_Row | RolloutError] = []
        prompts = self._prompts([request.chat for request in requests])
        for request in requests:
            ids = prompts[said(request.chat)]
            if len(ids) >= self.limit:
                asked.append(self._overflow(len(ids)))
                continue
            index = request.sample_index if request.sampling.temperature else 0
            key = (said(request.chat), request.sampling, index)
            if key not in rows:
                rows[key] = _Row(ids, request.sampling, index, self.limit)
            asked.append(rows[key])
        for batch in _batches(list(rows.values()), self.rows):
            self._speak(batch)
        return [row if isinstance(row, RolloutError) else self._completion(row) for row in asked]

    def stream(self, request: Request, on_text: OnText) -> Completion | RolloutError:
        """Return what `generate` would, to the bit, and tell its words token by token."""
        ids = self.template.prompt(request.chat)
        if len(ids) >= self.limit:
            return self._overflow(len(ids))
        index = request.sample_index if request.sampling.temperature else 0
        row = _Row(ids, request.sampling, index, self.limit, hearing=Hearing(on_text, request.sampling.stop))
        self._speak([row])
        return self._completion(row)

    def _prompts(self, chats: Sequence[Chat]) -> dict[_Said, list[int]]:
        """Return the ids of each chat, made once however many samples are drawn from it."""
        unlike = {said(chat): chat for chat in chats}
        return dict(zip(unlike, self.template.prompts(list(unlike.values())), strict=True))

    @torch.inference_mode()
    def _speak(self, rows: list[_Row]) -> None:
        """Decode a batch of rows to their ends, filling in `said`."""
        prompts = list(dict.fromkeys(tuple(row.ids) for row in rows))
        place = {prompt: at for at, prompt in enumerate(prompts)}
        ids, mask = self._left_padded(prompts)
        cache = DynamicCache(config=self.model.config)
        logits = self._forward(ids, mask, cache)
        chosen = torch.tensor([place[tuple(row.ids)] for row in rows], device=self.device)
        if len(prompts) < len(rows):
            cache.batch_select_indices(chosen)
            logits, mask = logits[chosen], mask[chosen]
        while True:
            tokens = _pick(logits, rows)
            likely = self._likely(logits, tokens, rows)
            for row, token, nats in zip(rows, tokens.tolist(), likely, strict=True):
                row.hear(token, self.ends, nats)
                if row.sampling.stop and not row.ended and stopped(self._text(row), row.sampling.stop) is not None:
                    row.ended, row.finish = True, "stop"
                if row.hearing:
                    row.hearing.so_far(self._text(row), row.ended)
            speaking = [at for at, row in enumerate(rows) if not row.ended]
            if not speaking:
                return
            if len(speaking) < COMPACT_BELOW * len(rows):
                keep = torch.tensor(speaking, device=self.device)
                cache.batch_select_indices(keep)
                rows, tokens, mask = [rows[at] for at in speaking], tokens[keep], mask[keep]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            logits = self._forward(tokens[:, None], mask, cache)

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
        """Return the logits after the last position, (rows, vocabulary), in float32."""
        positions = _positions(mask)[:, -ids.shape[1] :]
        out = self.model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=1
        )
        return out.logits[:, -1].float()

    def _likely(self, logits: torch.Tensor, tokens: torch.Tensor, rows: list[_Row]) -> list[float]:
        """Return the log-prob of each row's token, where any row wants to know."""
        if not any(row.sampling.log_prob for row in rows):
            return [0.0] * len(rows)
        return logits.log_softmax(dim=1).gather(1, tokens[:, None])[:, 0].tolist()

    def _text(self, row: _Row) -> str:
        return self.tokenizer.decode(row.said, skip_special_tokens=True)

    def _completion(self, row: _Row) -> Completion:
        log_prob = LogProb(row.nats, row.count) if row.sampling.log_prob else None
        whole = Completion(self._text(row), row.finish, len(row.ids), row.count, log_prob)
        return cut(whole, row.sampling.stop)

    # Scoring

    def log_prob(self, chats: Sequence[Chat], targets: Sequence[str]) -> list[LogProb | RolloutError]:
        """Return log p(target | chat), summed over the target's tokens with its end-of-turn, in nats."""
        pairs = [self.template.target(chat, target) for chat, target in zip(chats, targets, strict=True)]
        results: list[LogProb | RolloutError] = [LogProb(0.0, 0)] * len(pairs)
        fitting: list[int] = []
        for at, (context, target) in enumerate(pairs):
            if len(context) + len(target) > self.limit:
                results[at] = self._overflow(len(context) + len(target))
            else:
                fitting.append(at)
        fitting.sort(key=lambda at: (len(pairs[at][0]) + len(pairs[at][1]), len(pairs[at][1])))
        for batch in self._scoring_batches(fitting, pairs):
            for at, total in zip(batch, self._score([pairs[at] for at in batch]), strict=True):
                results[at] = LogProb(total, len(pairs[at][1]))
        return results

    @torch.inference_mode()
    def _score(self, pairs: list[tuple[list[int], list[int]]]) -> list[float]:
        """Return the summed log-probs of targets.

        Rows are padded on the right, where no token can see the padding: without a mask attention is cheapest. What
        enters the head is cut down to the positions before a target's token, (target tokens, hidden), and no other
        position becomes logits.
        """
        longest = max(len(context) + len(target) for context, target in pairs)
        ids = torch.tensor(
            [[*context, *target, *[self.pad] * (longest - len(context) - len(target))] for context, target in pairs],
            device=self.device,
        )
        at = torch.arange(longest - 1, device=self.device)
        starts, lengths = [len(context) - 1 for context, _ in pairs], [len(target) for _, target in pairs]
        first = torch.tensor(starts, device=self.device)[:, None]
        predicting = (at >= first) & (at < first + torch.tensor(lengths, device=self.device)[:, None])

        def cut(_: Any, hidden: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            return (hidden[0][predicting],)

        with self.model.get_output_embeddings().register_forward_pre_hook(cut):
            logits = self.model(input_ids=ids[:, :-1], use_cache=False).logits
        losses = cross_entropy(logits.float(), ids[:, 1:][predicting], reduction="none").double()
        return (-torch.stack([row.sum() for row in losses.split(lengths)])).tolist()

    def _scoring_batches(self, order: list[int], pairs: Sequence[tuple[list[int], list[int]]]) -> Iterator[list[int]]:
        """Cut `order`, shortest first, into batches of at most `rows` that keep READ_AT_ONCE and LOGITS_AT_ONCE."""
        times = 1 if self.device == "cpu" else GPU_TAKES
        most_read = times * READ_AT_ONCE
        most_scored = times * LOGITS_AT_ONCE // self.model.config.get_text_config().vocab_size
        batch: list[int] = []
        scored = 0
        for at in order:
            context, target = pairs[at]
            read = (len(batch) + 1) * (len(context) + len(target))
            if batch and (len(batch) == self.rows or read > most_read or scored + len(target) > most_scored):
                yield batch
                batch, scored = [], 0
            batch.append(at)
            scored += len(target)
        if batch:
            yield batch

    def _left_padded(self, sequences: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids and attention mask, each (rows, longest). Left, so that all rows end at the same place."""
        longest = max(len(ids) for ids in sequences)
        padded = [[self.pad] * (longest - len(ids)) + list(ids) for ids in sequences]
        seen = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in sequences]
        return torch.tensor(padded, device=self.device), torch.tensor(seen, device=self.device)

    def _overflow(self, tokens: int) -> RolloutError:
        return RolloutError("context overflow", f"{tokens} tokens > {self.limit}, the context of {self.name!r}")


_Said = tuple[tuple[str, str], ...]


@dataclass(eq=False)
class _Row:
    """One chat that is being continued."""

    ids: list[int]
    sampling: Sampling
    sample_index: int
    limit: int
    hearing: Hearing | None = None
    """Who listens while it is continued."""
    said: list[int] = field(default_factory=lambda: list[int]())
    count: int = 0
    nats: float = 0.0
    """Log-prob of what was said, where that is wanted."""
    ended: bool = False
    finish: Finish = "stop"

    def __post_init__(self) -> None:
        self.most = min(self.sampling.max_tokens, self.limit - len(self.ids))
        self.luck = self._luck() if self.sampling.temperature else None

    def hear(self, token: int, ends: frozenset[int], nats: float) -> None:
        if self.ended:
            return
        self.count += 1
        self.nats += nats
        if token in ends:
            self.ended = True
            return
        self.said.append(token)
        if self.count == self.most:
            self.ended, self.finish = True, "length"

    def _luck(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return this row's random numbers, one a token, in [0, 1): a stream that belongs to its identity.

        In float32 as drawn, since a float64 could be rounded up to 1, where tokens of no probability lie.
        """
        name = f"{self.sampling.seed}/{self.sample_index}/{self.ids}".encode()
        key = int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "big")
        return np.random.Generator(np.random.Philox(key=key)).random(self.most, dtype=np.float32)


def _pick(logits: torch.Tensor, rows: list[_Row]) -> torch.Tensor:
    """Return the next token of each row, (rows,): the likeliest, or by inverting the distribution of its nucleus."""
    picked = logits.argmax(dim=1)
    alike: dict[tuple[float, float], list[int]] = {}
    for at, row in enumerate(rows):
        if row.luck is not None:
            alike.setdefault((row.sampling.temperature, row.sampling.top_p), []).append(at)
    for (temperature, top_p), at in alike.items():
        luck = logits.new_tensor([_luck_of(rows[i]) for i in at])[:, None]
        which = torch.tensor(at, device=logits.device)
        probs = (logits[which] / temperature).softmax(dim=1)
        picked[which] = _drawn(probs, luck) if top_p >= 1 else _drawn_from_nucleus(probs, top_p, luck)
    return picked


def _drawn(probs: torch.Tensor, luck: torch.Tensor) -> torch.Tensor:
    """Return the token at which the cumulated mass, (rows, vocabulary), passes the share `luck` of it, (rows, 1)."""
    mass = probs.cumsum(dim=1)
    return torch.searchsorted(mass, luck * mass[:, -1:], right=True)[:, 0]


def _drawn_from_nucleus(probs: torch.Tensor, top_p: float, luck: torch.Tensor) -> torch.Tensor:
    """Draw from the likeliest tokens whose mass reaches `top_p`. Only rows where those are many are sorted in full."""
    few, order = probs.topk(min(LIKELIEST, probs.shape[1]), dim=1)
    tokens = _drawn_from_sorted(few, order, top_p, luck)
    wide = few.sum(dim=1) < top_p
    if wide.any():
        every, order = probs[wide].sort(dim=1, descending=True, stable=True)
        tokens[wide] = _drawn_from_sorted(every, order, top_p, luck[wide])
    return tokens


def _drawn_from_sorted(probs: torch.Tensor, order: torch.Tensor, top_p: float, luck: torch.Tensor) -> torch.Tensor:
    nucleus = probs * (probs.cumsum(dim=1) - probs < top_p)
    last = (nucleus > 0).sum(dim=1) - 1  # a sum made in parallel, on a GPU, may still rise by a rounding after it
    return order.gather(1, torch.minimum(_drawn(nucleus, luck), last)[:, None])[:, 0]


def _luck_of(row: _Row) -> float:
    return float(row.luck[min(row.count, row.most - 1)]) if row.luck is not None else 0.0


def _batches(rows: list[_Row], most: int) -> Iterator[list[_Row]]:
    """Cut rows into batches of like length; rows of one prompt stand together, so that they share its prefill."""
    rows.sort(key=lambda row: (len(row.ids), row.ids))
    for start in range(0, len(rows), most):
        yield rows[start : start + most]


def _positions(mask: torch.Tensor) -> torch.Tensor:
    return (mask.cumsum(dim=1) - 1).clamp(min=0)
