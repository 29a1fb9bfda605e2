"""Models in the shape of common families: their chat templates, as we write them, and tokenizers that keep spaces.

`generation` in a template says what the assistant says, for TRL and transformers to make a mask of. Ours asks no
template for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

TEMPLATES = Path(__file__).with_name("templates")
WORDS = ["what do you like ? i like tea , and cake .", "you are helpful .", "then have a nice day .", "user model"]


@dataclass(frozen=True)
class Family:
    """What its tokenizer knows besides words."""

    bos: str
    eos: str
    special: tuple[str, ...]
    end_of_turn: str
    spaces: bool
    """Whether a word is written with its space as a mark, as by SentencePiece; else by bytes."""


FAMILIES = {
    "chatml": Family("<|endoftext|>", "<|im_end|>", ("<|im_start|>",), "<|im_end|>", spaces=False),
    "llama3": Family(
        "<|begin_of_text|>", "<|eot_id|>", ("<|start_header_id|>", "<|end_header_id|>"), "<|eot_id|>", spaces=False
    ),
    "mistral": Family("<s>", "</s>", ("[INST]", "[/INST]"), "</s>", spaces=True),
    "mistral-v7": Family(
        *("<s>", "</s>", ("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"), "</s>"), spaces=False
    ),
    "gemma": Family("<bos>", "<eos>", ("<start_of_turn>", "<end_of_turn>"), "<end_of_turn>", spaces=True),
}


def family_tokenizer(name: str) -> Any:
    """Return a tokenizer of a few hundred pieces, learned from a few words."""
    family = FAMILIES[name]
    special = ["<pad>", "<unk>", family.bos, family.eos, *family.special]
    inner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=family.spaces))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if family.spaces:
        inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
        inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        special, alphabet = [*special, *(f"<0x{byte:02X}>" for byte in range(256))], []
    else:
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=list(dict.fromkeys(special)), initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(WORDS * 20, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token=family.bos,
        eos_token=family.eos,
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=list(family.special),
    )
    tokenizer.chat_template = (TEMPLATES / f"{name}.jinja").read_text()
    return tokenizer


def family_model(folder: Path, name: str) -> Path:
    """Write a random model of the family's tokens to `folder` and return it."""
    tokenizer = family_tokenizer(name)
    set_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=512,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            initializer_range=0.2,
        )
    )
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(FAMILIES[name].end_of_turn)]
    model.generation_config.eos_token_id = list(dict.fromkeys(ends))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
