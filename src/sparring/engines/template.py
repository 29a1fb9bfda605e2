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


@dataclass(frozen=True, slots=True)
class _Turn:
    """A reply as the template writes it after its cue."""

    text: str
    """The chat, its cue and the reply, to the template's last character."""
    before: list[int]
    """Ids of the chat and its cue."""
    reply: list[int]
    """Ids of the words and their end-of-turn."""
    origin: int
    """Where in `text` the first character of the words stands, or would if the template did not strip it."""
    end: int
    """Characters of the words up to the last that the template wrote."""
    length: int
    """Characters of the words as they were sampled."""

    def character(self, ended: int, start: int, end: int) -> int:
        """Return the character of the words at which text[start:end] starts, a token; the last ended at `ended`."""
        if start == end:  # of spaces alone, as some tokenizers have it
            start = ended
        word = self.text[start:end].lstrip()
        at = (end - len(word) if word else start) - self.origin
        return self.length if at >= self.end else max(0, at)


def _margin(text: str) -> int:
    """Return the number of spaces before the first word."""
    return len(text) - len(text.lstrip())


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
        turn = self._turn(chat, reply)
        return turn.before, turn.reply

    def starts(self, chat: Chat, reply: str) -> list[int]:
        """Return, for each token of `target`'s reply, the character of `reply` at which it starts.

        Spaces that a token begins with are skipped, as tokenizers differ in whether they count them. What the template
        writes after the words, the end-of-turn above all, starts at len(reply); several tokens of one character start
        where it does. Raises EngineError as `target` does, and for a tokenizer that does not tell.
        """
        if not self.tokenizer.is_fast:
            raise EngineError(
                f"the tokenizer of {self.name!r} does not tell which characters a token stands for, so that a part of "
                "a message cannot have a weight of its own: use a fast tokenizer, or one weight a message"
            )
        turn = self._turn(chat, reply)
        encoded = self.tokenizer(turn.text, add_special_tokens=False, return_offsets_mapping=True)
        offsets: list[tuple[int, int]] = encoded["offset_mapping"]
        first = len(turn.before)
        return [turn.character(offsets[at - 1][1], *offsets[at]) for at in range(first, first + len(turn.reply))]

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
        asked = [system(PROBE), user("hello")]
        try:
            texts = [self._render(asked, cue=True), self._render([*asked, assistant("hello")], cue=False)]
        except TemplateError:
            texts = [""]
        if all(PROBE in text for text in texts):  # Mistral 7B v0.3's leaves it out of a chat that ends with a reply
            return True
        self._tell_once("the chat template of %r takes no system message; it goes into the first user turn")
        return False

    def _tell_once(self, what: str) -> None:
        told = str(self.tokenizer.chat_template), what  # some tokenizers have several templates, by name
        if told not in _told:  # once, not once a round's checkpoint
            _told.add(told)
            log.warning(what, self.name)

    def _turn(self, chat: Chat, reply: str) -> _Turn:
        cue = self._text(chat, cue=True)
        before = self._encode(cue)
        for said in (reply, PROBE):
            done = self._text([*chat, assistant(said)], cue=False)
            after = done[len(cue) :]
            if done.startswith(cue) and after.lstrip().startswith(said.strip()):
                text = cue + after.replace(said, reply, 1)
                whole = self._encode(text)
                if whole[: len(before)] == before:
                    ids = whole[len(before) : self._end_of_turn(whole, len(before))]
                    origin = len(done) - len(after.lstrip()) - _margin(said)
                    kept = text.startswith(reply.lstrip(), origin + _margin(reply))
                    return _Turn(text, before, ids, origin, len(reply if kept else reply.rstrip()), len(reply))
        raise EngineError(
            f"the chat template of {self.name!r} does not write a finished reply as its cue and then the words: those "
            f"of turn {len(chat) + 1} cannot be found. Pass a template that does."
        )

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
