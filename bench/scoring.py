"""Target-only scoring against a scorer that computes the logits of whole rows, in the same batches.

On a random Llama of the 15M class with a vocabulary of 32,000, contexts of 256-512 tokens and targets of about 128; and
on the embedded model, where the vocabulary is small and there is less to save.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from bench.alternate import compare
from bench.table import Figure
from sparring.engines.hf import HF
from sparring.types import Chat, LogProb, assistant, user
from sparring.worlds import concierge
from sparring.worlds.concierge import language
from tests.tiny import tiny_tokenizer

Pairs = Sequence[tuple[Chat, str]]


FIGURES = tuple(
    figure
    for what, key in (("32,000 words", "score_32k"), ("embedded model", "score_world"))
    for figure in (
        Figure(
            f"scoring: {what}",
            f"{key}_per_s",
            "texts/s",
            against="logits of whole rows",
            peer=f"{key}_other_per_s",
            ratio=f"{key}_ratio",
            asked=1.5,
            aim=2.5,
        ),
        Figure(f"scoring: {what}, nats a token apart", f"{key}_max_nats_apart", asked=1e-4, of="ours", at_most=True),
    )
)


def random_llama(folder: Path) -> Path:
    """Write a Llama of the shape of stories15M, random weights, with a word a token."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer(f"w{n}" for n in range(32_000))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=288,
        intermediate_size=768,
        num_hidden_layers=6,
        num_attention_heads=6,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@torch.inference_mode()
def full_logits(engine: HF, pairs: Pairs) -> list[float]:
    """Score as is commonly done: rows padded on the right, a mask, log_softmax of every position, gather."""
    ids = [engine.template.target(chat, target) for chat, target in pairs]
    order = sorted(range(len(ids)), key=lambda at: len(ids[at][0]) + len(ids[at][1]))
    totals = [0.0] * len(ids)
    for start in range(0, len(order), engine.rows):
        batch = order[start : start + engine.rows]
        rows = [torch.tensor([*ids[at][0], *ids[at][1]], device=engine.device) for at in batch]
        whole = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=engine.pad)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        log_probs = engine.model(input_ids=whole, attention_mask=mask, use_cache=False).logits.log_softmax(dim=-1)
        picked = log_probs[:, :-1].gather(2, whole[:, 1:, None])[:, :, 0].double()
        for row, at in zip(picked, batch, strict=True):
            context, target = ids[at]
            totals[at] = float(row[len(context) - 1 : len(context) + len(target) - 1].sum())
    return totals


def ours(engine: HF, pairs: Pairs) -> list[LogProb]:
    scores = engine.log_prob([chat for chat, _ in pairs], [target for _, target in pairs])
    return [score for score in scores if isinstance(score, LogProb)]


def against(name: str, engine: HF, pairs: Pairs, times: int) -> dict[str, float]:
    """Return texts a second of both, their ratio, and the largest difference in nats a token."""
    whole = zip(ours(engine, pairs), full_logits(engine, pairs), strict=True)
    apart = max(abs(score.total - total) / score.tokens for score, total in whole)
    rates = compare(name, lambda: len(ours(engine, pairs)), lambda: len(full_logits(engine, pairs)), times)
    return {**rates, f"{name}_max_nats_apart": apart}


def measure(quick: bool) -> dict[str, float]:
    draw = random.Random(0)

    def words(low: int, high: int) -> str:
        return " ".join(f"w{draw.randrange(32_000)}" for _ in range(draw.randint(low, high)))

    tasks = [row["text"] for row in language.tasks()]
    dialogues = [[user(a), assistant("What kind of food do you like?"), user(f"Tea. {a}")] for a in tasks]
    short: Pairs = [(chat, f"{draw.choice(tasks)} {draw.choice(tasks)}") for chat in dialogues]
    long: Pairs = [([user(words(256, 512))], words(112, 144)) for _ in range(4 if quick else 16)]
    times = 2 if quick else 5
    with tempfile.TemporaryDirectory() as folder:
        large = HF(random_llama(Path(folder)), rows=3, device="cpu")
    small = HF(concierge.MODEL, rows=32, device="cpu")
    return against("score_32k", large, long, times) | against(
        "score_world", small, short[: 100 if quick else None], times
    )
