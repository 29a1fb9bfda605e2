"""A chat template turned into token ids: the one place where a chat becomes what a model reads.

Engines and trainers both go through here, so a row is trained on exactly as it was sampled. Text is rendered by the
model's own template and tokenised once, without adding special tokens again: one BOS, if the template writes one.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

from jinja2 import TemplateError

from sparring.errors import EngineError
from sparring.types import Chat, assistant, system, user

log = logging.getLogger("sparring")
_folded: set[str] = set()
"""Templates of which it was said that they take no system message."""


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return every token that ends a turn: the generation config's and the tokenizer's. They differ for Gemma, say."""
    configured = model.generation_config.eos_token_id
    ids = cast("list[int | None]", configured if isinstance(configured, list) else [configured])
    return frozenset(i for i in [*ids, tokenizer.eos_token_id] if i is not None)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A whole chat as token ids."""

    ids: list[int]
    spans: list[tuple[int, int]]
    """One a message: the half-open range of token positions that the speaker had to produce. For an assistant message
    these are its words and its end-of-turn; for any other it is empty."""


class Template:
    """The chat template of one tokenizer."""

    def __init__(self, tokenizer: Any, name: str, ends: Collection[int] = ()):
        """`ends` are tokens that end a turn besides the tokenizer's own (Gemma's `<end_of_turn>` is no `eos`)."""
        if not tokenizer.chat_template:
            raise EngineError(f"model {name!r} has no chat template; use an instruction-tuned model")
        self.tokenizer, self.name, self.ends = tokenizer, name, frozenset([*ends, tokenizer.eos_token_id])
        self.takes_system = self._takes_system()

    def prompt(self, chat: Chat) -> list[int]:
        """Return the ids of `chat` followed by the cue for the assistant to speak."""
        return self._encode(self._text(chat, cue=True))

    def prompts(self, chats: Sequence[Chat]) -> list[list[int]]:
        """Return the ids of each chat followed by the cue, tokenised in one call."""
        texts = [self._text(chat, cue=True) for chat in chats]
        return self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []

    def target(self, chat: Chat, reply: str) -> tuple[list[int], list[int]]:
        """Return the ids of `chat` with its cue, and those of `reply` after it, end-of-turn included.

        Raises EngineError where the template writes `chat` in another way once a reply follows.
        """
        before = self.prompt(chat)
        whole = self._encode(self._text([*chat, assistant(reply)], cue=False))
        self._check_appends(whole, before, len(chat) + 1)
        return before, whole[len(before) : self._end_of_turn(whole, len(before), len(whole))]

    def rendered(self, chat: Chat) -> Rendered:
        """Return the ids of a finished chat, and where in them the assistant speaks.

        A span runs from the cue to the end-of-turn token; what a template writes after that (a line break, say) is
        nobody's to learn. Raises EngineError where the template rewrites earlier turns, so that no span is exact.
        """
        chat = self.folded(chat)
        whole = self._encode(self._text(chat, cue=False))
        spans = [(0, 0)] * len(chat)
        for at, message in enumerate(chat):
            if message["role"] != "assistant":
                continue
            before = self._encode(self._text(chat[:at], cue=True))
            after = self._encode(self._text(chat[: at + 1], cue=False))
            self._check_appends(whole, before, at + 1)
            self._check_appends(whole, after, at + 1)
            spans[at] = (len(before), self._end_of_turn(whole, len(before), len(after)))
        return Rendered(whole, spans)

    def folded(self, chat: Chat) -> Chat:
        """Return `chat` as this template takes it: a system message moves into the first user turn if it must."""
        if self.takes_system or not chat or chat[0]["role"] != "system":
            return chat
        first, rest = chat[0]["content"], chat[1:]
        if not rest or rest[0]["role"] != "user":
            return [user(first), *rest]
        return [user(f"{first}\n\n{rest[0]['content']}"), *rest[1:]]

    def _check_appends(self, whole: list[int], part: list[int], turn: int) -> None:
        if whole[: len(part)] != part:
            raise EngineError(
                f"the chat template of {self.name!r} rewrites earlier turns: the words of turn {turn} cannot be found "
                "again in the whole chat. Pass a template that only appends."
            )

    def _takes_system(self) -> bool:
        try:
            text = self._render([system("sparring-probe"), user("hello")], cue=True)
        except TemplateError:
            text = ""
        if "sparring-probe" in text:
            return True
        if self.tokenizer.chat_template not in _folded:  # once, not once a round's checkpoint
            _folded.add(self.tokenizer.chat_template)
            log.warning("the chat template of %r takes no system message; it goes into the first user turn", self.name)
        return False

    def _end_of_turn(self, ids: list[int], start: int, end: int) -> int:
        stops = [at for at in range(start, end) if ids[at] in self.ends]
        return stops[-1] + 1 if stops else end

    def _text(self, chat: Chat, cue: bool) -> str:
        return self._render(self.folded(chat), cue)

    def _render(self, chat: Chat, cue: bool) -> str:
        return self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=cue)

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]
