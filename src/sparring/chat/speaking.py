"""An engine that is listened to: what it says alone is heard as it comes, what it says many times at once is not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from sparring.engines.base import OnText, Request, Streaming
from sparring.errors import RolloutError
from sparring.types import Completion


class Stopped(Exception):
    """The person wants to hear no more. Nothing went wrong, and what was said may be billed: no SparringError."""


class Speaking:
    """A Generator over another engine. Its replies come in the driver's lane, one batch at a time."""

    def __init__(
        self,
        engine: Any,
        hearing: Callable[[Request], OnText],
        whole: Callable[[Request, Completion], None],
    ):
        """`hearing` gives who is told the words of a reply as they come, who may raise Stopped; `whole` is told it all.

        With "" that one is asked whether to go on.
        """
        self.engine, self.hearing, self.whole = engine, hearing, whole
        self.batch_size: int = engine.batch_size
        self._one = threading.Lock()

    def generate(self, requests: Sequence[Request]) -> list[Completion | RolloutError]:
        """Return one completion a request, in order. Raises Stopped."""
        with self._one:  # what was stopped may still be at its last token
            self.hearing(requests[0])("")
            if len(requests) == 1:
                return [self._alone(requests[0])]
            replies: list[Completion | RolloutError] = self.engine.generate(requests)
        for request, reply in zip(requests, replies, strict=True):
            if isinstance(reply, Completion):
                self.whole(request, reply)
        return replies

    def _alone(self, request: Request) -> Completion | RolloutError:
        hear = self.hearing(request)
        if isinstance(self.engine, Streaming):
            reply = self.engine.stream(request, hear)
        else:
            [reply] = self.engine.generate([request])
        if isinstance(reply, Completion):
            hear("")
            self.whole(request, reply)
        return reply
