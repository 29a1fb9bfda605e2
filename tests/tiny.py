"""A language model of a few thousand random weights, with a tokenizer and a chat template, written to a folder.

Tests of engines and trainers open it as they would open any other. The chat templates are ours, in the shape of the
families they are named after.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

WORDS = (
    "you are helpful . hello what do like ? i tea coffee and cake then have a nice day red blue one two three".split()
)

CHATML = """
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""

LLAMA3 = """
{{- '<s>' }}
{%- for message in messages %}
{{- '<|start|>' + message['role'] + '<|end|>\\n\\n' + message['content'] | trim + '<|eot|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant<|end|>\\n\\n' }}{%- endif %}"""

MISTRAL = """
{{- '<s>' }}
{%- for message in messages %}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{%- endif %}
{%- if message['role'] == 'user' %}{{- '[INST] ' + message['content'] + ' [/INST]' }}
{%- else %}{{- ' ' + message['content'] + '</s>' }}
{%- endif %}
{%- endfor %}"""

GEMMA = """
{{- '<s>' }}
{%- for message in messages %}
{%- if message['role'] == 'system' %}{{- raise_exception('System role not supported') }}{%- endif %}
{%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{- '<turn>' + role + '\\n' + message['content'] | trim + '</turn>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<turn>model\\n' }}{%- endif %}"""

QWEN3 = """
{%- set empty = '<think>\\n\\n</think>\\n\\n' %}
{%- set asked = namespace(last=-1) %}
{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set asked.last = loop.index0 %}{%- endif %}
{%- endfor %}
{%- for message in messages %}
{%- set words, thoughts = message['content'], empty %}
{%- if message['role'] == 'assistant' and '</think>' in words %}
{%- set thoughts = '<think>\\n' + words.split('</think>')[0] + '\\n</think>\\n\\n' %}
{%- set words = words.split('</think>')[-1].lstrip('\\n') %}
{%- endif %}
{%- set thoughts = thoughts if message['role'] == 'assistant' and loop.index0 > asked.last else '' %}
{{- '<|im_start|>' + message['role'] + '\\n' + thoughts + words + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and not enable_thinking %}{{- empty }}{%- endif %}
{%- endif %}"""
"""Rewrites earlier turns: thoughts are shown after the last question only, empty where there were none."""

TEMPLATES = {
    "chatml": (CHATML, "<|im_end|>"),
    "llama3": (LLAMA3, "<|eot|>"),
    "mistral": (MISTRAL, "</s>"),
    "gemma": (GEMMA, "</turn>"),
    "qwen3": (QWEN3, "<|im_end|>"),
}
"""Each with its end-of-turn token."""

REWRITING = {"qwen3"}
"""Families whose templates do not only append."""

SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start|>", "<|end|>", "<|eot|>", "[INST]"]
SPECIAL += ["[/INST]", "<turn>", "</turn>"]


def tiny_tokenizer(vocab_words: Iterable[str] = WORDS, family: str = "chatml", pad: str = "<pad>"):
    """Return a tokenizer with a token a word, a punctuation mark and a line break; spaces are not kept."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    template, end_of_turn = TEMPLATES[family]
    words = [*SPECIAL, "\n", "system", "user", "assistant", "model", *vocab_words]
    vocab = {word: at for at, word in enumerate(dict.fromkeys(words))}
    inner = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n|[\w'-]+|[^\w\s]"), "removed", invert=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token=end_of_turn,
        unk_token="<unk>",
        pad_token=pad,
        additional_special_tokens=[word for word in SPECIAL if word not in ("<s>", "<unk>", pad, end_of_turn)],
    )
    if "<think>" in template:
        tokenizer.add_tokens(["<think>", "</think>"])  # one token each, but shown when decoded, as a word is
    tokenizer.chat_template = template
    return tokenizer


def tiny_model(
    folder: Path,
    vocab_words: Iterable[str] = WORDS,
    hidden: int = 32,
    layers: int = 2,
    family: str = "chatml",
    pad: str = "<pad>",
    seed: int = 0,
    context: int = 256,
) -> Path:
    """Write a random Llama with its tokenizer to `folder` and return it. `context` is its longest row, in tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer(vocab_words, family, pad)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=context,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            initializer_range=0.2,  # far from uniform, so that a wrong position or mask shows in every log-prob
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
