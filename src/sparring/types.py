"""The values that pass between the parts. Nothing here does anything.

A chat is the ecosystem's own list of message dicts, from the prompt file to the training row; the chat template is
applied inside engines and trainers and nowhere else. Every record of what happened is frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict


class Message(TypedDict):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


Chat = list[Message]


def system(content: str) -> Message:
    return {"role": "system", "content": content}


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a completion is drawn."""

    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    """Nucleus mass, in (0, 1]."""
    max_tokens: int = 256
    """Longest completion, in tokens, end-of-turn included."""
    seed: int = 0
    """A completion depends on the seed, the chat and the call's sample index, never on who shares its batch."""
    stop: tuple[str, ...] = ()
    """A completion ends before the first of these; it is no part of its text."""
    log_prob: bool = False
    """Whether to tell how likely the completion was."""


Finish = Literal["stop", "length", "refused"]


@dataclass(frozen=True, slots=True)
class LogProb:
    """How likely a target is in a context."""

    total: float
    """Sum over the target's tokens, end-of-turn included, in nats (<= 0)."""
    tokens: int
    """Tokens summed over."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What an engine said."""

    text: str
    finish: Finish = "stop"
    """`length`: cut off at `max_tokens`. `refused`: the provider would not answer."""
    prompt_tokens: int | None = None
    """Tokens read for it; None where nobody said. Samples that shared one reading share its count."""
    completion_tokens: int | None = None
    """Tokens written, end-of-turn included; None where nobody said."""
    log_prob: LogProb | None = None
    """Of the tokens written, under the model as it is (temperature 1, whole vocabulary); None where not asked for."""


Weight = float | list[list[float]]
"""How much a message counts: one number, or its pieces in order, each [characters, weight].

The pieces' characters sum to those of the message's content. A token has the weight of the piece in which it starts,
spaces before it left out; the end-of-turn has the last piece's.
"""


@dataclass(frozen=True, slots=True)
class Example:
    """One chat to learn from."""

    messages: Chat
    weights: Sequence[Weight]
    """One a message: 0 is not learned, 1 is plain fine-tuning."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replies to one prompt, of which one is preferred."""

    prompt: Chat
    """What was said before: it does not end with the assistant."""
    chosen: str
    """The assistant's words, to their end. So is the other; they differ."""
    rejected: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A rollout that came to nothing, with its reason. Selection never sees it."""

    id: str
    """Of the rollout, unique within its stage."""
    reason: str
    """A short fixed phrase that can be counted."""
    detail: str = ""
    """The value that was met, as text."""
