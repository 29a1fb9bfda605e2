"""The command line in a test: what it came to, and that a refusal is one clear message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Ended:
    """What a command came to."""

    status: int
    out: str
    err: str


Command = Callable[..., Ended]


def refused(ended: Ended, *parts: str, status: int = 2) -> None:
    """Check that the command ended with one message that holds `parts`, and nothing else."""
    message = ended.err.strip()
    assert ended.status == status, message
    assert "Traceback" not in message
    assert message.startswith("sparring: ") and message.count("sparring: ") == 1
    for part in parts:
        assert part in message, message
