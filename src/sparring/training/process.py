"""A process that trains, followed from the one that started it: its events, its log, its end.

It is started by a launcher or plainly. It tells what it does as lines of JSON on standard output, and a library's words
go to its log.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

from sparring.errors import SettingsError, TrainingError

OnLog = Callable[[dict[str, Any]], None]
TAIL = 15
"""Lines of the log that an error carries."""
SHIPPED = "sparring:"
"""Before the name of a file in `training/accelerate`, where a launcher is told of one: sparring:fsdp.yaml."""
CONFIGS = Path(__file__).with_name("accelerate")


def launched(launcher: Sequence[str]) -> list[str]:
    """Return the words of a launcher, and Python's where there is none. Raises SettingsError for a file not shipped."""
    return [_shipped(word) for word in launcher] or [sys.executable]


def _shipped(word: str) -> str:
    start, found, name = word.partition(SHIPPED)
    if not found or start not in ("", "--config_file="):
        return word
    known = sorted(path.name for path in CONFIGS.iterdir())
    if name not in known:
        raise SettingsError(f"launcher: {word!r} is not shipped; these are: {', '.join(known)}")
    return f"{start}{CONFIGS / name}"


def follow(command: Sequence[str], log: TextIO, on_log: OnLog) -> tuple[str, int]:
    """Run the command; return the reason that it gave for failing, if any, and its exit status."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, encoding="utf-8", errors="replace"
        )
    except OSError as error:
        raise TrainingError(f"{command[0]!r} cannot be started: {error.strerror}") from error
    assert process.stdin and process.stdout
    reason = ""
    try:
        for line in process.stdout:
            event = _event(line)
            if event is None:
                log.write(line)  # a launcher's own words
                log.flush()
            elif "error" in event:
                reason = str(event["error"])
            else:
                on_log(event)
        return reason, process.wait()
    finally:
        process.stdin.close()  # reaches the processes that a launcher has started, too
        process.kill()
        process.wait()
        process.stdout.close()


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except json.JSONDecodeError:
        return None
    return cast("dict[str, Any]", event) if isinstance(event, dict) else None


def last_words(log: Path, code: int) -> str:
    """Return how a process ended, and the last lines of its log."""
    ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    if code == -signal.SIGKILL:
        ended += " (out of memory?)"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([f"{ended}. Its last lines, from {log}:", *lines[-TAIL:]])
