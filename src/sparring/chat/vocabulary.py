"""The words that a small model knows: what a person writes beyond them would reach it as one and the same blank."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

FEW = 2000
"""A vocabulary of at most so many tokens is worth a list."""


@dataclass(frozen=True)
class Vocabulary:
    """Of one model; of one that can write anything, all of it is known."""

    tokenizer: Any = None
    """A fast tokenizer of transformers; None: nobody can tell."""

    @staticmethod
    def of(engine: Any) -> Vocabulary:
        """Return the vocabulary of an engine, where it tells."""
        tokenizer = getattr(getattr(engine, "template", None), "tokenizer", None)
        tells = tokenizer is not None and tokenizer.is_fast and tokenizer.unk_token_id is not None
        return Vocabulary(tokenizer if tells else None)

    @property
    def words(self) -> list[str]:
        """What may be written, sorted, without the tokens that have a meaning of their own."""
        if self.tokenizer is None:
            return []
        special = set(self.tokenizer.all_special_tokens)
        kept = {word.strip() for word in self.tokenizer.get_vocab() if word not in special}
        return sorted(
            (word for word in kept if word and not word.startswith("<|")), key=lambda word: (word.lower(), word)
        )

    def missing(self, text: str) -> list[str]:
        """Return the words of a text that are not known, each once."""
        if self.tokenizer is None:
            return []
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        places = zip(found["input_ids"], found["offset_mapping"], strict=True)
        unknown = (text[start:end].strip() for id, (start, end) in places if id == self.tokenizer.unk_token_id)
        return [word for word in dict.fromkeys(unknown) if word]

    def unknown(self, text: str) -> str:
        """Return what to say to a person who used words that are not known; "" where all are."""
        missing = self.missing(text)
        if not missing:
            return ""
        words = self.words
        lower = {word.lower(): word for word in words}
        near = {word: get_close_matches(word.lower(), lower, n=2, cutoff=0.6) for word in missing}
        told = [
            f"{word!r}" + (f" (perhaps {_either([lower[one] for one in near[word]])})" if near[word] else "")
            for word in missing
        ]
        more = f"/words shows the {len(words)} that it knows, /example something to try." if len(words) <= FEW else ""
        return f"This model has no word for {', '.join(told)}. {more}".strip()

    def listed(self) -> str:
        """Return all words on a few lines, where they are few."""
        words = self.words
        if not words or len(words) > FEW:
            return "It knows too many words to list them: write as you like."
        return f"{len(words)} words: " + " · ".join(words)


def _either(words: list[str]) -> str:
    return " or ".join(repr(word) for word in words)
