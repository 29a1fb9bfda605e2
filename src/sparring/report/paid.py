"""What an attempt at a run has been billed so far, asked of the ledger no more often than it is worth."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sparring.files import Row

Billed = Callable[[], Mapping[str, Any]]
"""Tells, by role, what the ledger says was paid: as `Account.totals` does."""

EVERY = 0.5
"""Least seconds between two questions to the ledger."""
DEAR = 50
"""Asking the ledger may take one part in so many of the time."""


class Paid:
    """All roles together: calls, tokens and usd (None: a price is unknown)."""

    def __init__(self, billed: Billed):
        self._billed, self._due = billed, 0.0
        self._known: Row | None = None
        self._earlier: Row | None = None

    def now(self, at_once: bool = False) -> Row | None:
        """Return what this attempt was billed; None where nothing costs."""
        began = time.monotonic()
        if at_once or began >= self._due:
            roles = self._billed().values()
            self._known = _added([parts["billed_now"] for parts in roles])
            self._earlier = _added([parts["billed_earlier"] for parts in roles])
            took = time.monotonic() - began
            self._due = began + max(EVERY, DEAR * took)
        return self._known

    def earlier(self) -> Row | None:
        """Return what earlier attempts were billed, as of the last `now`; None where nothing costs."""
        return self._earlier


def _added(parts: Sequence[Mapping[str, Any]]) -> Row | None:
    if not parts:
        return None
    tokens = sum((part["prompt_tokens"] or 0) + (part["completion_tokens"] or 0) for part in parts)
    prices = [part["usd"] for part in parts]
    return {
        "calls": sum(part["calls"] for part in parts),
        "tokens": tokens,
        "usd": None if None in prices else sum(prices),
    }
