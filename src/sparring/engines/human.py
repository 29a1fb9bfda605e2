"""A person at the terminal, in any role: `human:`, or `human:NAME` where the replies of several are to be told apart.

What a model would be sent is put to the person, one question at a time, on the terminal and never on standard output.
A person costs nothing, yet has replied once and for all: the ledger keeps each reply, so that a run that was broken off
never asks the same again. Nobody is waited for any longer once the engine is closed.
"""

from __future__ import annotations

import asyncio
import os
import select
import termios
import textwrap
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from sparring.engines.awaited import Awaited
from sparring.engines.base import Permit, Request, freely
from sparring.errors import EngineError, RolloutError, ServerError, SparringError
from sparring.types import Chat, Completion, LogProb
from sparring.visible import visible

SKIP = "/skip"
"""Written in place of a reply: there is none, and this rollout fails."""
WIDTH = 88
"""Characters of a line of what is shown."""
HOW = (
    f"Reply, and finish with an empty line. {SKIP} alone: no reply, this rollout fails. Ctrl-C: stop, nothing is lost."
)


class HungUp(SparringError):
    """Nobody is waited for any more."""


class Human(Awaited):
    """A Served engine whose replies a person types. Questions that come together wait for each other."""

    rounding = 0.0
    is_free = True
    """Its calls are kept in the ledger, and count against no budget."""

    def __init__(self, name: str = "", terminal: Terminal | None = None):
        """Take the terminal that this process runs in. Raises EngineError where there is none."""
        self.name, self.terminal = name, terminal or Terminal.open()
        self._asking = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sparring-human")
        self._turn, self._waiting, self._asked = asyncio.Lock(), 0, 0

    @property
    def identity(self) -> str:
        """Who answers, for the ledger."""
        return f"human:{self.name}"

    async def answer(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
        """Return what the person replies to each; `refused` where they would not.

        Raises ServerError where nobody is at the terminal any more, HungUp once it is closed.
        """
        return [await self._reply(request, permit) for request in requests]

    def apart(self, requests: Sequence[Request]) -> list[list[int]]:
        """Return each request by itself: what was replied is kept before the next question is asked."""
        return [[at] for at in range(len(requests))]

    async def score(self, chat: Chat, target: str, permit: Permit = freely) -> LogProb | RolloutError:
        raise EngineError("a person cannot return log-probs; name a model where something is scored")

    def hang_up(self) -> None:
        """Wait for the person no longer. For any thread."""
        self.terminal.hang_up()

    def close(self) -> None:
        """Hang up, and let go of the terminal."""
        self.hang_up()
        self._asking.shutdown(wait=True, cancel_futures=True)
        self.terminal.close()

    async def _reply(self, request: Request, permit: Permit) -> Completion | RolloutError:
        self._waiting += 1
        try:
            async with self._turn:
                await permit("")
                self._asked += 1
                ask = asyncio.wrap_future(self._asking.submit(self._ask, request, self._asked))
                text = await ask
        finally:
            self._waiting -= 1
        return Completion(text or "", "stop" if text else "refused")

    def _ask(self, request: Request, number: int) -> str | None:
        """Put a question to the person, while nobody else asks or draws there. In a thread of its own."""
        with _asking, _undisturbed():
            return self.terminal.ask(shown(request, number, self._waiting - 1))


# What is shown


def shown(request: Request, number: int, waiting: int) -> str:
    """Return a question as it is put to a person."""
    role = plain(request.role) or "model"
    rest = f", {waiting} more wait" if waiting else ""
    lines = ["", f"── You are the {role} (question {number}{rest}) ".ljust(WIDTH, "─")]
    for message in request.chat:
        match message["role"]:
            case "system":
                lines += ["What you are told:", *_block(message["content"], "  │ ")]
            case "user":
                lines += ["They say:", *_block(message["content"], "  ")]
            case "assistant":
                lines += ["You said:", *_block(message["content"], "  ")]
    if request.sample_index and request.sampling.temperature:
        lines.append(f"(once more, for sample {request.sample_index}: another reply than before, if you like)")
    return "\n".join([*lines, HOW, "", f"{role}> "])


def _block(text: str, margin: str) -> list[str]:
    """Return text as lines behind a margin, none wider than WIDTH, so that it cannot pose as ours."""
    wide = WIDTH - len(margin)
    lines = (textwrap.wrap(line, wide, drop_whitespace=False) or [""] for line in plain(text).splitlines())
    return [margin + line for wrapped in lines for line in wrapped]


def plain(text: str) -> str:
    """Return text with a picture for whatever a terminal would obey or hide: it comes from models, and is data."""
    return visible(text.replace("\r\n", "\n"))


# The terminal

_asking = threading.Lock()
"""Held while a person is asked: several may share the terminal of this process."""
_drawing: list[tuple[Callable[[], None], Callable[[], None]]] = []
"""Those who draw on the terminal of this process: how to have them pause, and go on."""


@contextmanager
def sharing(pause: Callable[[], None], resume: Callable[[], None]) -> Generator[None]:
    """Draw on the terminal, but not while a person is asked: then `pause` is called, and `resume` afterwards."""
    _drawing.append((pause, resume))
    try:
        yield
    finally:
        _drawing.remove((pause, resume))


@contextmanager
def _undisturbed() -> Generator[None]:
    drawing = [*_drawing]
    for pause, _ in drawing:
        pause()
    try:
        yield
    finally:
        for _, resume in drawing:
            resume()


class Terminal:
    """Where a person reads and types: lines as the terminal hands them over, up to its 4,095 bytes each."""

    def __init__(self, reads: int, writes: int, owned: bool = False):
        """`reads` and `writes` are file descriptors of a terminal, closed with it if they are `owned`."""
        self.reads, self.writes, self.owned = reads, writes, owned
        self._wake, self._waker = os.pipe()
        self._open = threading.Lock()
        self._begun = b""

    @classmethod
    def open(cls) -> Terminal:
        """Return the terminal of this process: standard input and error, or else /dev/tty. Raises EngineError."""
        if os.isatty(0) and os.isatty(2):
            return cls(0, 2)
        try:
            both = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
        except OSError:
            raise EngineError(
                "engine 'human:' needs a person at a terminal, and this process has none: start it in one (not through "
                "nohup, a scheduler or a pipe without one), or name a model"
            ) from None
        return cls(both, both, owned=True)

    def ask(self, question: str) -> str | None:
        """Return what the person writes up to an empty line or Ctrl-D, stripped; None for /skip.

        What was typed before the question was shown is no reply to it. Raises HungUp; ServerError at the end of input.
        """
        with suppress(termios.error):
            termios.tcflush(self.reads, termios.TCIFLUSH)
        self._begun = b""
        self._write(question)
        lines: list[str] = []
        while True:
            try:
                line = self._line()
            except ServerError:
                if not lines:
                    raise
                line = ""  # Ctrl-D ends a reply as well
            if not lines and line.strip() == SKIP:
                return None
            if line.strip():
                lines.append(line)
            elif lines:
                return "\n".join(lines).strip()
            self._write("| " if lines else "(write something, or /skip) ")

    def _write(self, text: str) -> None:
        data = text.encode(errors="replace")
        while data:
            data = data[os.write(self.writes, data) :]

    def _line(self) -> str:
        while b"\n" not in self._begun:
            ready, _, _ = select.select([self.reads, self._wake], [], [])
            if self._wake in ready:
                raise HungUp("nobody is waited for any more")
            try:
                data = os.read(self.reads, 2**16)
            except OSError:  # the terminal was closed
                data = b""
            if not data:
                gone = "nobody is at the terminal any more (end of input)"
                raise ServerError(f"{gone}; every reply is kept, and the same command goes on")
            self._begun += data
        line, _, self._begun = self._begun.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")

    def hang_up(self) -> None:
        """Have whoever waits for a line get HungUp."""
        with self._open, suppress(OSError):
            os.write(self._waker, b".")

    def close(self) -> None:
        """Let go of it. Nobody may be waiting."""
        with self._open:
            for one in {self._wake, self._waker, *({self.reads, self.writes} if self.owned else ())}:
                with suppress(OSError):
                    os.close(one)
            self._wake = self._waker = -1
