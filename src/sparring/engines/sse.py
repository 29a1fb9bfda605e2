"""Server-sent events of an OpenAI-compatible server: the chunks of one reply, put together to the answer it would be.

A chunk is data like any answer of a server: any field may be missing, or something else.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any, cast

from sparring.engines.hearing import Hearing

STREAM: Mapping[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
"""What a call says that wants its answer in pieces, and its tokens counted all the same."""
KIND = "text/event-stream"
END = "[DONE]"


class Said:
    """What was said so far in a stream. One a sending."""

    def __init__(self, hearing: Hearing):
        self.hearing = hearing
        self.done = False
        """Whether the server said that it has ended, or why it did."""
        self.error: Any = None
        """What went wrong in the middle, in the server's words."""
        self._text, self._refusal, self._reason = "", "", cast("str | None", None)
        self._ids, self._likely = list[Any](), dict[str, list[Any]]()
        self._usage: Any = None

    def take(self, data: str) -> None:
        """Take an event's data. What is no JSON object says nothing."""
        if data.strip() == END:
            self.done = True
            return
        chunk = _object(data)
        self.error = chunk.get("error") or self.error
        self._usage = chunk.get("usage") or self._usage
        for choice in _list(chunk.get("choices")):
            if isinstance(choice, dict) and not cast("dict[str, Any]", choice).get("index"):
                self._add(cast("dict[str, Any]", choice))

    def _add(self, choice: Mapping[str, Any]) -> None:
        delta = choice.get("delta")
        said = cast("dict[str, Any]", delta) if isinstance(delta, dict) else {"content": choice.get("text")}
        self._text += _string(said.get("content"))
        self._refusal += _string(said.get("refusal"))
        self._ids += _list(choice.get("token_ids"))
        likely = choice.get("logprobs")
        for name, values in (cast("dict[str, Any]", likely) if isinstance(likely, dict) else {}).items():
            self._likely.setdefault(name, []).extend(_list(values))
        if reason := choice.get("finish_reason"):
            self._reason, self.done = str(reason), True
        self.hearing.so_far(self._text)

    @property
    def answer(self) -> dict[str, Any]:
        """What the server would have answered at once, to a chat or to a prompt."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": self._text, "refusal": self._refusal},
            "text": self._text,
            "token_ids": self._ids,
            "finish_reason": self._reason,
            "logprobs": self._likely or None,
        }
        return {"choices": [choice], **({"usage": self._usage} if self._usage else {})}


async def events(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """Yield the data of each event; comments and other fields are passed over, and so is an event without its end."""
    data: list[str] = []
    async for line in _lines(chunks):
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []


async def _lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """Yield whole lines, of any length, without their ends."""
    begun = b""
    async for chunk in chunks:
        *lines, begun = (begun + chunk).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace").removesuffix("\r")


def _object(data: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
