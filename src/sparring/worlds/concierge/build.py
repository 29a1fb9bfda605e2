"""Trains the concierge's model from scratch: a word-level tokenizer, Llama weights, and the gates it must pass.

One small model plays questioner, responder, roleplayer and scorer. `build` is the whole of it; the shipped `model/` is
what `build` makes with its defaults.
"""

from __future__ import annotations

import math
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sparring.types import Example
from sparring.worlds.concierge import prompt
from sparring.worlds.concierge.corpus import SKILLS_FIRST, Mix, document
from sparring.worlds.concierge.gates import LEAST, enforce, gates
from sparring.worlds.concierge.language import ANY, CHIT_CHAT, NAMES, QUESTIONS, SLOT_OF, SLOTS, TASKS, truthful_reply

CONTEXT = 256
"""Positions of the model, in tokens."""

PAD, END, USER, ASSISTANT, UNKNOWN = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|unknown|>"

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if message['role'] not in ['user', 'assistant'] -%}
{{- raise_exception("this model's chats hold only user and assistant turns, not " + message['role']) -}}
{%- endif -%}
{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""

_WORDS = re.compile(r"\w+|[^\w\s]+")  # what the Whitespace pre-tokenizer splits on


def vocabulary() -> list[str]:
    """Return every token, special ones first."""
    values = {slot: options[0] for slot, options in SLOTS.items()}
    texts = [*NAMES, *SLOTS, *SLOT_OF, ANY, *CHIT_CHAT.values(), "My name is. I am. I like and,"]
    texts += [text for task in TASKS.values() for text in (task.text, task.proposal)]
    texts += [text for question in QUESTIONS for text in (question, truthful_reply(question, values))]
    for name in ("ask", "personalise", "neutral", "play"):
        texts.append(prompt(name).replace("{persona}", "").replace("{task}", ""))
    return [PAD, END, USER, ASSISTANT, UNKNOWN, *sorted({word for text in texts for word in _WORDS.findall(text)})]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return the word-level tokenizer with its chat template."""
    words = {word: index for index, word in enumerate(vocabulary())}
    fast = Tokenizer(WordLevel(words, unk_token=UNKNOWN))
    fast.pre_tokenizer = Whitespace()
    fast.decoder = decoders.WordPiece(prefix="##", cleanup=True)  # words joined by spaces, none before punctuation
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=fast,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        additional_special_tokens=[USER, ASSISTANT],
        model_max_length=CONTEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,  # the decoder does it
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_config(layers: int, width: int, heads: int) -> LlamaConfig:
    """Return the architecture."""
    words = vocabulary()
    return LlamaConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=width * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=CONTEXT,
        initializer_range=0.1,  # about 1 / sqrt(width): from the usual 0.02 attention starts flat, copying late
        tie_word_embeddings=True,
        pad_token_id=words.index(PAD),
        eos_token_id=words.index(END),
        bos_token_id=None,
    )


# --- training ----------------------------------------------------------------------------------------------------


class ChatEncoder:
    """Chats -> token ids and target flags, as the chat template has it but without the cost of rendering it."""

    def __init__(self) -> None:
        self.ids = {word: index for index, word in enumerate(vocabulary())}

    def __call__(self, example: Example) -> tuple[list[int], list[int]]:
        ids: list[int] = []
        learned: list[int] = []
        for message, weight in zip(example.messages, example.weights, strict=True):
            words = [self.ids[word] for word in _WORDS.findall(message["content"])]
            ids += [self.ids[f"<|{message['role']}|>"], *words, self.ids[END]]
            learned += [0, *[int(weight)] * (len(words) + 1)]
        return ids, learned


def batches(
    rng: random.Random, mix: Mix, batch: int, count: int, skills: int = 0
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield `count` batches of (ids, labels), each (batch, length); labels are -100 where nothing is learned.

    The first `skills` batches, rounded up to whole pools, are of `SKILLS_FIRST` in place of `mix`.

    Chats of a like length share a batch, drawn from pools of 16 batches, so that little of it is padding.
    """
    encode = ChatEncoder()
    pool: list[list[tuple[list[int], list[int]]]] = []
    for number in range(count):
        if not pool:
            now = SKILLS_FIRST if number < skills else mix
            rows = sorted((encode(document(rng, now)) for _ in range(16 * batch)), key=lambda row: len(row[0]))
            pool = [rows[start : start + batch] for start in range(0, len(rows), batch)]
            rng.shuffle(pool)
        rows = pool.pop()
        longest = max(len(ids) for ids, _ in rows)
        ids = torch.zeros(batch, longest, dtype=torch.long)  # 0 is the pad; it stands right of the text, where causal
        labels = torch.full((batch, longest), -100)  # attention never looks from a target
        for index, (tokens, learned) in enumerate(rows):
            ids[index, : len(tokens)] = torch.tensor(tokens)
            labels[index, : len(tokens)] = torch.tensor(tokens).masked_fill(torch.tensor(learned) == 0, -100)
        yield ids, labels


def loss_of(model: LlamaForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy over the learned tokens, in nats; the head is applied to their positions only."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    wanted = targets != -100
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[wanted]).float(), targets[wanted])


def train(
    model: LlamaForCausalLM,
    *,
    seed: int,
    steps: int,
    skills: int,
    batch: int,
    lr: float,
    mix: Mix,
    bf16: bool,
    log: Callable[[str], None],
) -> None:
    """Train with AdamW, 5 % linear warm-up and a cosine down to 2 % of `lr`."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01)

    def factor(step: int) -> float:
        warm = max(1, steps // 20)
        return min((step + 1) / warm, 0.02 + 0.49 * (1 + math.cos(math.pi * min(1.0, step / steps))))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    model.train()
    begun, recent = time.monotonic(), 0.0
    corpus = batches(random.Random(f"concierge {seed}"), mix, batch, steps, skills)
    for step, (ids, labels) in enumerate(corpus, start=1):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = loss_of(model, ids, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent += loss.item()
        if step % 100 == 0 or step == steps:
            log(f"step {step}/{steps}  loss {recent / (step % 100 or 100):.3f}  {time.monotonic() - begun:.0f} s")
            recent = 0.0
    model.eval()


def save(model: LlamaForCausalLM, out: Path) -> None:
    """Write a checkpoint that `AutoModelForCausalLM` and `AutoTokenizer` open."""
    model.generation_config = GenerationConfig(
        eos_token_id=model.config.eos_token_id, pad_token_id=model.config.pad_token_id, max_new_tokens=48
    )
    model.save_pretrained(out)
    build_tokenizer().save_pretrained(out)


def build(
    out: str | Path,
    seed: int = 0,
    *,
    steps: int = 4000,
    skills: int = 1000,
    batch: int = 32,
    lr: float = 3e-3,
    layers: int = 3,
    width: int = 96,
    heads: int = 4,
    mix: Mix | None = None,
    bf16: bool = False,
    gated: bool = True,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, float]:
    """Train the world's model from scratch into the folder `out` and return its gates.

    The same seed gives the same weights, bit for bit, on the same machine with the same number of threads. `bf16` pays
    from about a million parameters up. Raises `GateError` where a gate of `gates.LEAST` is missed, with the checkpoint
    left in place; with `gated=False` the gates are measured and not enforced.
    """
    out = Path(out)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(build_config(layers, width, heads))
    log(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters")
    train(model, seed=seed, steps=steps, skills=skills, batch=batch, lr=lr, mix=mix or Mix(), bf16=bf16, log=log)
    save(model, out)
    measured = gates(out)
    for name, value in measured.items():
        log(f"{name} {value:.3f}" + (f"  (at least {LEAST[name]})" if name in LEAST else ""))
    if gated:
        enforce(measured, str(out))
    return measured
