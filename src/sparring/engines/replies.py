"""What a server's answer says, read with care: any field may be missing, or something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any, cast

from sparring.engines.wire import Unanswered
from sparring.errors import EngineError, RolloutError
from sparring.types import Completion, Finish, LogProb

FINISHES: dict[str, Finish] = {"length": "length", "max_tokens": "length", "content_filter": "refused"}
"""Every other reason to finish is a `stop`, if there are words."""
MOST = 2**53
"""No count is as large: what a server tells beyond is not known, and no price can be made of it."""


def completions(reply: Mapping[str, Any], count: int) -> list[Completion | RolloutError]:
    """Return what was said, in order of `index`: `count` of them, or fewer where the server gave fewer.

    Tokens reported for several together are split evenly, to the exact sum; the prompt counts for the first. What
    finished with a call of a tool and no words is an Unanswered.
    """
    choices = [choice for choice in _list(reply.get("choices")) if isinstance(choice, dict)]
    choices = sorted(cast("list[dict[str, Any]]", choices), key=lambda choice: _whole(choice.get("index")) or 0)[:count]
    if not choices:
        return [Unanswered("no reply", "the server's answer holds no choices")] * count
    usage = _dict(reply.get("usage"))
    read, written = _whole(usage.get("prompt_tokens")), _whole(usage.get("completion_tokens"))
    replies = list[Completion | RolloutError]()
    for at, choice in enumerate(choices):
        share = None if written is None else written // len(choices) + (at < written % len(choices))
        replies.append(_completion(choice, read if at == 0 or read is None else 0, share))
    return replies


def copied(reply: Completion | RolloutError) -> Completion | RolloutError:
    """Return a reply once more, for which no further token was read or written."""
    if isinstance(reply, RolloutError):
        return reply
    none_more = {name: 0 for name in ("prompt_tokens", "completion_tokens") if getattr(reply, name) is not None}
    return replace(reply, **none_more)


def _completion(choice: Mapping[str, Any], read: int | None, written: int | None) -> Completion | RolloutError:
    message, reason = _dict(choice.get("message")), choice.get("finish_reason")
    text, refusal = _text(message.get("content")), _text(message.get("refusal"))
    if refusal and not text:
        return Completion(refusal, "refused", read, written)
    finish = FINISHES.get(reason, "stop") if isinstance(reason, str) else "stop"
    if not text and finish == "stop" and reason != "stop":
        return Unanswered("no reply", f"no words, and finish_reason is {str(reason)[:40]!r}")
    return Completion(text, "refused" if refusal else finish, read, written, _likely(choice))


def _likely(choice: Mapping[str, Any]) -> LogProb | None:
    """Return the log-prob of what was said, over the tokens that the server tells of; None where it tells of none."""
    values = [_number(_dict(token).get("logprob")) for token in _list(_dict(choice.get("logprobs")).get("content"))]
    known = [value for value in values if value is not None]
    return LogProb(sum(known), len(known)) if known and len(known) == len(values) else None


def _text(content: Any) -> str:
    """Some servers give a list of parts, of which the text is to be said and the rest (thoughts, say) is not."""
    if isinstance(content, str):
        return content
    parts = [_dict(part) for part in _list(content)]
    return "".join(part["text"] for part in parts if part.get("type") == "text" and isinstance(part.get("text"), str))


def log_probs(reply: Mapping[str, Any], ids: Sequence[int]) -> list[float | None] | None:
    """Return the log-prob of each token of a prompt, in nats, in either of the usual forms; None where there is none.

    Raises EngineError where they are not those of `ids`.
    """
    choice = _dict(next(iter(_list(reply.get("choices"))), None))
    entries = _list(choice.get("prompt_logprobs") or reply.get("prompt_logprobs"))
    if entries:
        found = [_dict(_dict(entry).get(str(token))).get("logprob") for entry, token in zip(entries, ids, strict=False)]
        _same_tokens(len(entries) == len(ids) and None not in found[1:], len(entries), len(ids))
        return [_number(value) for value in found]
    echoed = _list(_dict(choice.get("logprobs")).get("token_logprobs"))
    if not any(isinstance(value, int | float) for value in echoed):
        return None
    if len(echoed) < len(ids) - 1 and len(echoed) <= 1:
        return None  # of the one token that it had to write: the prompt was not echoed
    _same_tokens(len(echoed) in (len(ids), len(ids) + 1), len(echoed), len(ids))
    return [_number(value) for value in echoed[: len(ids)]]


def _same_tokens(same: bool, got: int, sent: int) -> None:
    if not same:
        raise EngineError(
            f"the server gave log-probs of {got} tokens for the {sent} it was sent, or of other ones; "
            "is the tokenizer the served model's own? ?tokenizer=ID names it"
        )


def summed(values: Sequence[float | None], target: int) -> LogProb | RolloutError:
    """Return the sum over the last `target` tokens."""
    last = [value for value in values[len(values) - target :] if value is not None]
    if len(last) < target:
        return Unanswered("unreadable score", "the server gave a log-prob that is no finite number")
    return LogProb(sum(last), target)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and isfinite(value) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST else None


def _dict(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
