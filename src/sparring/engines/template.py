"""A chat template turned into token ids: the one place where a chat becomes what a model reads.

Engines and trainers both go through here, so a row is trained on exactly as it was sampled. Text is rendered by the
model's own template and tokenised once, without adding special tokens again: one BOS, if the template writes one.

We sample and train without thinking: every template is told `enable_thinking=False`, and one that does not know the
word ignores it. A template that shows thoughts (Qwen3's, say) then writes an empty think block into the cue, which is
read and never learned; and as it drops that block from earlier turns, each reply is trained on as a row of its own.
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
_told: set[tuple[str, str]] = set()
"""What was said of which template."""
PROBE = "sparring-probe"
"""A word that a template has no reason to alter."""


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return every token that ends a turn: the generation config's and the tokenizer's. They differ for Gemma, say."""
    configured = model.generation_config.eos_token_id
    ids = cast("list[int | None]", configured if isinstance(configured, list) else [configured])
    return frozenset(i for i in [*ids, tokenizer.eos_token_id] if i is not None)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A chat as token ids, to its end or to the end of one reply."""

    ids: list[int]
    spans: list[tuple[int, int]]
    """One a message: the half-open range of token positions to learn. For an assistant message these are its words
    and its end-of-turn; it is empty for any other, and for a reply that is learned in a row of its own."""


class Template:
    """The chat template of one tokenizer."""

    def __init__(self, tokenizer: Any, name: str, ends: Collection[int] = ()):
        """`ends` are tokens that end a turn besides the tokenizer's own (Gemma's `<end_of_turn>` is no `eos`).

        Raises EngineError for a template with which a reply cannot be learned as it was sampled.
        """
        if not tokenizer.chat_template:
            raise EngineError(f"model {name!r} has no chat template; use an instruction-tuned model")
        self.tokenizer, self.name, self.ends = tokenizer, name, frozenset([*ends, tokenizer.eos_token_id])
        self.takes_system = self._takes_system()
        try:
            self.rows([user("hello"), assistant(PROBE), user("hello"), assistant(PROBE)])
        except TemplateError as error:
            raise EngineError(f"the chat template of {name!r} takes no chat of two turns: {error}") from error

    def prompt(self, chat: Chat) -> list[int]:
        """Return the ids of `chat` followed by the cue for the assistant to speak."""
        return self._encode(self._text(chat, cue=True))

    def prompts(self, chats: Sequence[Chat]) -> list[list[int]]:
        """Return the ids of each chat followed by the cue, tokenised in one call."""
        texts = [self._text(chat, cue=True) for chat in chats]
        return self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []

    def target(self, chat: Chat, reply: str) -> tuple[list[int], list[int]]:
        """Return the ids of `chat` with its cue, and those of `reply` after it, end-of-turn included.

        The reply stands there as it was sampled, also where the template would read it (and cut thoughts off, say).
        Raises EngineError where the template does not write the cue and then the words.
        """
        cue = self._text(chat, cue=True)
        before = self._encode(cue)
        for said in (reply, PROBE):
            done = self._text([*chat, assistant(said)], cue=False)
            if done.startswith(cue) and done[len(cue) :].lstrip().startswith(said.strip()):
                whole = self._encode(cue + done[len(cue) :].replace(said, reply, 1))
                if whole[: len(before)] == before:
                    return before, whole[len(before) : self._end_of_turn(whole, len(before))]
        raise EngineError(
            f"the chat template of {self.name!r} does not write a finished reply as its cue and then the words: those "
            f"of turn {len(chat) + 1} cannot be found. Pass a template that does."
        )

    def rows(self, chat: Chat) -> list[Rendered]:
        """Return a finished chat as the rows to train on, in which every reply follows the very ids of its prompt.

        A span runs from the cue to the end-of-turn token; what a template writes after that (a line break, say) is
        nobody's to learn. That is one row, or one a reply where the template rewrites earlier turns. Raises EngineError
        as `target` does.
        """
        chat = self.folded(chat)
        whole = self._encode(self._text(chat, cue=False))
        spans, rows = [(0, 0)] * len(chat), list[Rendered]()
        for at, message in enumerate(chat):
            if message["role"] != "assistant":
                continue
            before, reply = self.target(chat[:at], message["content"])
            spans[at] = (len(before), len(before) + len(reply))
            alone = [span if turn == at else (0, 0) for turn, span in enumerate(spans)]
            rows.append(Rendered(before + reply, alone))
        if all(whole[: len(row.ids)] == row.ids for row in rows):
            return [Rendered(whole, spans)]
        self._tell_once("the chat template of %r rewrites earlier turns: each reply is a row of its own")
        return rows

    def folded(self, chat: Chat) -> Chat:
        """Return `chat` as this template takes it: a system message moves into the first user turn if it must."""
        if self.takes_system or not chat or chat[0]["role"] != "system":
            return chat
        first, rest = chat[0]["content"], chat[1:]
        if not rest or rest[0]["role"] != "user":
            return [user(first), *rest]
        return [user(f"{first}\n\n{rest[0]['content']}"), *rest[1:]]

    def _takes_system(self) -> bool:
        try:
            text = self._render([system(PROBE), user("hello")], cue=True)
        except TemplateError:
            text = ""
        if PROBE in text:
            return True
        self._tell_once("the chat template of %r takes no system message; it goes into the first user turn")
        return False

    def _tell_once(self, what: str) -> None:
        if (self.tokenizer.chat_template, what) not in _told:  # once, not once a round's checkpoint
            _told.add((self.tokenizer.chat_template, what))
            log.warning(what, self.name)

    def _end_of_turn(self, ids: list[int], start: int) -> int:
        stops = [at for at in range(start, len(ids)) if ids[at] in self.ends]
        return stops[-1] + 1 if stops else len(ids)

    def _text(self, chat: Chat, cue: bool) -> str:
        return self._render(self.folded(chat), cue)

    def _render(self, chat: Chat, cue: bool) -> str:
        return self.tokenizer.apply_chat_template(
            chat, tokenize=False, add_generation_prompt=cue, enable_thinking=False
        )

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]
