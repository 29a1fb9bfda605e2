"""The command line in a test: what it came to, and that a refusal is one clear message."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


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


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the command as a shell would: in a process of its own, where Ctrl-C is not ignored."""
    return subprocess.Popen(
        [sys.executable, "-m", "sparring", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env=os.environ | {"TQDM_DISABLE": "1"},
    )
