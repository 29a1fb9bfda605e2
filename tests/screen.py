"""A terminal for tests: a program runs in a pseudo-terminal of its own, and somebody reads what it shows and types."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-_]|\r")
"""What a terminal obeys."""


class Screen:
    """A program at its terminal."""

    def __init__(self, pid: int, terminal: int):
        self.pid, self.terminal = pid, terminal
        self.raw = ""
        """All that was shown, escapes included."""
        self.status: int | None = None
        self._read = 0

    @property
    def shown(self) -> str:
        return ESCAPES.sub("", self.raw)

    def until(self, words: str, within: float = 60.0) -> str:
        """Wait until `words` are shown, after those that were waited for last; return what was shown meanwhile."""
        end = time.monotonic() + within
        while True:
            new = self.shown[self._read :]
            if words in new:
                at = new.index(words) + len(words)
                self._read += at
                return new[:at]
            if not self._more(end - time.monotonic()):
                raise AssertionError(f"{words!r} was not shown, but: {new!r}")

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self.terminal, f"{text}\n".encode())

    def press(self, key: str) -> None:
        """Press Control and a letter. D only at a prompt: between two, readline has the terminal keep it for itself."""
        self._rest()
        os.write(self.terminal, bytes([ord(key.upper()) - 64]))

    def end(self, within: float = 60.0) -> int:
        """Wait until the program has let go of the terminal and ended; return its exit status."""
        end, read = time.monotonic() + within, len(self.raw)
        while self._more(end - time.monotonic()):
            pass
        if time.monotonic() >= end:
            raise AssertionError(f"it has not ended in {within:.0f} s; since then it showed {self.raw[read:]!r}")
        if self.status is None:
            _, status = os.waitpid(self.pid, 0)
            self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def close(self) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.terminal)

    def _rest(self, within: float = 10.0) -> None:
        """Wait until the program does nothing, as people are slower than programs.

        input() lets a signal lie that comes after it showed a key and before it waits for the next (CPython's
        readline_until_enter_or_signal looks for signals only when its wait is interrupted).
        """
        end, stat = time.monotonic() + within, Path(f"/proc/{self.pid}/stat")
        while time.monotonic() < end:
            time.sleep(0.02)
            if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "S":
                return

    def _more(self, seconds: float) -> bool:
        """Take what is shown next; return whether there was anything."""
        ready, _, _ = select.select([self.terminal], [], [], max(0.0, seconds))
        try:
            data = os.read(self.terminal, 2**16) if ready else b""
        except OSError:  # the program has let go of it
            data = b""
        self.raw += data.decode(errors="replace")
        return bool(data)


@contextmanager
def screen(
    *arguments: str,
    folder: Path | None = None,
    stdout: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Screen]:
    """Run `python ARGUMENTS` at a terminal of 100 columns, standard output in a file where one is given."""
    pid, terminal = pty.fork()
    if pid == 0:  # the program
        _become([sys.executable, *arguments], folder, stdout, environment or {})
    one = Screen(pid, terminal)
    try:
        yield one
    finally:
        one.close()


def _become(command: Sequence[str], folder: Path | None, stdout: Path | None, environment: Mapping[str, str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever runs tests in the background may ignore it
    try:
        if folder:
            os.chdir(folder)
        if stdout:
            os.dup2(os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.execvpe(command[0], command, {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40", **environment})
    finally:
        os._exit(127)
