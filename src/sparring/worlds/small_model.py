"""What every embedded model is made with: a tokenizer out of a list of words, Llama weights from nothing, training.

A world brings its words and how text falls into them (`Lexicon`), and a function that draws one chat to learn from
(`Document`). `build_model` is the rest. The same seed gives the same weights, bit for bit, on the same machine with the
same number of threads.
"""

from __future__ import annotations

import math
import random
import re
import time
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sparring.errors import DataError, GateError
from sparring.types import Example, Weight

PAD, END, USER, ASSISTANT, UNKNOWN = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|unknown|>"
SPECIAL = (PAD, END, USER, ASSISTANT, UNKNOWN)

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if message['role'] not in ['user', 'assistant'] -%}
{{- raise_exception("this model's chats hold only user and assistant turns, not " + message['role']) -}}
{%- endif -%}
{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""

POOL = 16
"""Batches that are drawn together, so that chats of a like length can share one."""

Document = Callable[[random.Random, int], Example]
"""Draws one chat; the number is how many batches were made before the pool that it is for."""
Batch = tuple[torch.Tensor, torch.Tensor]
"""Token ids and their weights in the loss, each (batch, length); the weight of what is not learned is 0."""


@dataclass(frozen=True)
class Lexicon:
    """How text falls into tokens. As it stands, lossless: the tokens of a text, put together, are the text."""

    words: Iterable[str]
    """Every token but the special ones. Where `pieces` keep their leading space, so do these: "7" and " 7" are two."""
    pieces: str
    r"""Regular expression for one token, of Python's `re` and of Oniguruma alike: `\n|\.| ?[^ \n.]+`."""
    context: int = 256
    """Positions of the model, in tokens."""
    pre_tokenizer: Any = None
    """Of `tokenizers.pre_tokenizers`, splitting as `pieces` does; None: made of `pieces`."""
    decoder: Any = None
    """Of `tokenizers.decoders`; None: Fuse, which puts tokens together as they are."""

    @property
    def lossless(self) -> bool:
        return self.decoder is None

    @cached_property
    def vocabulary(self) -> list[str]:
        """Every token, special ones first."""
        return [*SPECIAL, *sorted(set(self.words))]

    @cached_property
    def ids(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.vocabulary)}

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Return the tokenizer with its chat template."""
        fast = Tokenizer(WordLevel(self.ids, unk_token=UNKNOWN))
        fast.pre_tokenizer = self.pre_tokenizer or pre_tokenizers.Split(Regex(self.pieces), "isolated")
        fast.decoder = self.decoder or decoders.Fuse()
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=fast,
            pad_token=PAD,
            eos_token=END,
            unk_token=UNKNOWN,
            additional_special_tokens=[USER, ASSISTANT],
            model_max_length=self.context,
            padding_side="left",
            clean_up_tokenization_spaces=False,  # the decoder does it
        )
        tokenizer.chat_template = CHAT_TEMPLATE
        return tokenizer


@dataclass(frozen=True, slots=True)
class Shape:
    """The architecture: a Llama of this size, its head tied to its embeddings."""

    layers: int = 3
    width: int = 96
    heads: int = 4

    def config(self, lexicon: Lexicon) -> LlamaConfig:
        return LlamaConfig(
            vocab_size=len(lexicon.vocabulary),
            hidden_size=self.width,
            intermediate_size=self.width * 8 // 3,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            max_position_embeddings=lexicon.context,
            initializer_range=0.1,  # about 1 / sqrt(width): from the usual 0.02 attention starts flat, copying late
            tie_word_embeddings=True,
            pad_token_id=lexicon.ids[PAD],
            eos_token_id=lexicon.ids[END],
            bos_token_id=None,
        )


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a model is trained: AdamW, 5 % linear warm-up and a cosine down to 2 % of `lr`."""

    steps: int
    batch: int = 32
    """Chats a step."""
    lr: float = 3e-3
    bf16: bool = False
    """Pays from about a million parameters up."""

    def factor(self, step: int) -> float:
        """Return the share of `lr` that a step has."""
        warm = max(1, self.steps // 20)
        return min((step + 1) / warm, 0.02 + 0.49 * (1 + math.cos(math.pi * min(1.0, step / self.steps))))


class ChatEncoder:
    """Chats -> token ids and their weights, as the chat template has it but without the cost of rendering it."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon, self.ids, self.pieces = lexicon, lexicon.ids, re.compile(lexicon.pieces)

    def __call__(self, example: Example) -> tuple[list[int], list[float]]:
        """Return ids and weights, of one length. Raises DataError for what no token stands for."""
        ids: list[int] = []
        weights: list[float] = []
        for message, weight in zip(example.messages, example.weights, strict=True):
            found = list(self.pieces.finditer(message["content"]))
            ids += [self.ids[f"<|{message['role']}|>"], *self._ids(message["content"], found), self.ids[END]]
            weights += [0.0, *_spread(weight, [_start(match) for match in found])]
        return ids, weights

    def _ids(self, text: str, found: Sequence[re.Match[str]]) -> list[int]:
        words = [match.group() for match in found]
        if self.lexicon.lossless and "".join(words) != text:
            raise DataError(f"some of it is lost in tokens: {text!r:.200}")
        if unknown := [word for word in words if word not in self.ids]:
            raise DataError(f"no token {unknown[0]!r} for {text!r:.200}")
        return [self.ids[word] for word in words]


def _start(token: re.Match[str]) -> int:
    """Return the character at which a token starts, spaces before it left out."""
    return token.end() - len(token.group().lstrip() or token.group())


def _spread(weight: Weight, starts: Sequence[int]) -> list[float]:
    """Return the weight of each token, by the character at which it starts, and of the end of the turn."""
    if not isinstance(weight, list):
        return [float(weight)] * (len(starts) + 1)
    ends = list(accumulate(count for count, _ in weight))
    return [float(weight[at][1]) for at in (*(bisect(ends, start) for start in starts), len(weight) - 1)]


def batches(encode: ChatEncoder, document: Document, rng: random.Random, batch: int, count: int) -> Iterator[Batch]:
    """Yield `count` batches, drawn in pools, so that chats of a like length share one and little of it is padding."""
    pool: list[list[tuple[list[int], list[float]]]] = []
    for number in range(count):
        if not pool:
            rows = sorted((encode(document(rng, number)) for _ in range(POOL * batch)), key=lambda row: len(row[0]))
            pool = [rows[start : start + batch] for start in range(0, len(rows), batch)]
            rng.shuffle(pool)
        rows = pool.pop()
        longest = max(len(ids) for ids, _ in rows)
        ids = torch.zeros(batch, longest, dtype=torch.long)  # 0 is the pad; it stands right of the text, where causal
        weights = torch.zeros(batch, longest)  # attention never looks from a target
        for index, (tokens, learned) in enumerate(rows):
            ids[index, : len(tokens)] = torch.tensor(tokens)
            weights[index, : len(tokens)] = torch.tensor(learned)
        yield ids, weights


def loss_of(model: LlamaForCausalLM, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean of the learned tokens' cross-entropy, in nats: sum(w * ce) / sum(w).

    The head is applied to their positions only.
    """
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = weights[:, 1:] != 0
    logits, targets, weight = model.lm_head(hidden[wanted]).float(), ids[:, 1:][wanted], weights[:, 1:][wanted]
    if bool((weight == 1).all()):
        return torch.nn.functional.cross_entropy(logits, targets)
    each = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    return (weight * each).sum() / weight.sum()


def train(model: LlamaForCausalLM, corpus: Iterable[Batch], schedule: Schedule, log: Callable[[str], None]) -> None:
    """Train on the batches of `corpus`, of which there are `schedule.steps`."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=schedule.lr, betas=(0.9, 0.98), weight_decay=0.01)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.factor)
    model.train()
    begun, recent, steps = time.monotonic(), 0.0, schedule.steps
    for step, (ids, weights) in enumerate(corpus, start=1):
        with torch.autocast("cpu", torch.bfloat16, enabled=schedule.bf16):
            loss = loss_of(model, ids, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
        recent += loss.item()
        if step % 100 == 0 or step == steps:
            log(f"step {step}/{steps}  loss {recent / (step % 100 or 100):.3f}  {time.monotonic() - begun:.0f} s")
            recent = 0.0
    model.eval()


def save(model: LlamaForCausalLM, lexicon: Lexicon, out: Path, max_new_tokens: int) -> None:
    """Write a checkpoint that `AutoModelForCausalLM` and `AutoTokenizer` open."""
    model.generation_config = GenerationConfig(
        eos_token_id=model.config.eos_token_id, pad_token_id=model.config.pad_token_id, max_new_tokens=max_new_tokens
    )
    model.save_pretrained(out)
    lexicon.tokenizer().save_pretrained(out)


def build_model(
    out: Path,
    lexicon: Lexicon,
    document: Document,
    *,
    name: str,
    seed: int,
    shape: Shape,
    schedule: Schedule,
    max_new_tokens: int,
    log: Callable[[str], None],
) -> None:
    """Train a model from nothing into the folder `out`; chats are drawn by `name` and `seed`."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(shape.config(lexicon))
    log(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters")
    rng = random.Random(f"{name} {seed}")
    corpus = batches(ChatEncoder(lexicon), document, rng, schedule.batch, schedule.steps)
    train(model, corpus, schedule, log)
    save(model, lexicon, out, max_new_tokens)


def tell(measured: Mapping[str, float], least: Mapping[str, float], log: Callable[[str], None]) -> None:
    """Log what was measured of a model, a line a gate, with the least that is needed of those that are enforced."""
    for name, value in measured.items():
        log(f"{name} {value:.3f}" + (f"  (at least {least[name]})" if name in least else ""))


def keep_within(measured: Mapping[str, float], bounds: Mapping[str, tuple[float, float]], whose: str) -> None:
    """Raise `GateError` where what was measured of a model is out of its bounds, least and most."""
    missed = {name: (low, high) for name, (low, high) in bounds.items() if not low <= measured[name] <= high}
    if missed:
        what = "; ".join(f"{name} is {measured[name]:.3f}, not {low} to {high}" for name, (low, high) in missed.items())
        raise GateError(f"{whose}: {what}. Train longer, or with another mix or seed.")
