"""An engine whose replies come from a function: tests, docs, dry runs, and the rule-based experts of a world."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sparring.engines.base import Request, cut
from sparring.errors import RolloutError
from sparring.types import Chat, Completion, LogProb


class Scripted:
    """Replies and scores from functions.

    `reply` gets the request and returns the words, or a whole `Completion`; `score`, where given, gets a chat and a
    target and returns the log-probability in nats. Either may raise RolloutError for a request that fails.
    """

    def __init__(
        self,
        reply: Callable[[Request], str | Completion],
        score: Callable[[Chat, str], float] | None = None,
        batch_size: int = 1024,
    ):
        self.reply, self.score, self.batch_size = reply, score, batch_size

    def generate(self, requests: Sequence[Request]) -> list[Completion | RolloutError]:
        return [self._answer(request) for request in requests]

    def log_prob(self, chats: Sequence[Chat], targets: Sequence[str]) -> list[LogProb | RolloutError]:
        return [self._judge(chat, target) for chat, target in zip(chats, targets, strict=True)]

    def _judge(self, chat: Chat, target: str) -> LogProb | RolloutError:
        if self.score is None:
            raise TypeError("this scripted engine was given no `score` function")
        try:
            return LogProb(self.score(chat, target), len(target.split()))
        except RolloutError as error:
            return error

    def _answer(self, request: Request) -> Completion | RolloutError:
        try:
            reply = self.reply(request)
        except RolloutError as error:
            return error
        return cut(reply if isinstance(reply, Completion) else Completion(reply), request.sampling.stop)
