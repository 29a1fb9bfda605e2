"""Talks with a model, each in a thread of its own: what it says is put into a queue that a response empties.

A talk begins with its first message, which opens the model, and ends when it is told to, when nobody has used it for a
while, or with the server.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ClassVar, Protocol

from sparring.errors import SparringError

MOST = 2
"""Talks at once, a page one: each holds a model."""
IDLE = 600.0
"""Seconds after which a talk that nobody uses is ended."""
AHEAD = 256
"""Events that may wait for a page that reads slowly; the model then waits for it."""
STALLED = 30.0
"""Seconds that it waits so before the page counts as gone."""
BEAT = 10.0
"""Seconds of silence after which a response shows that it is still there."""

Event = dict[str, Any]


class Session(Protocol):
    """What a talk is held with: `sparring.chat.open_session` makes them."""

    greeting: str
    commands: ClassVar[dict[str, str]]

    def send(self, text: str) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...


Opener = Callable[[Callable[[Event], None], bool], Session]
"""(tell, compare) -> a session. Raises SparringError."""


class Busy(Exception):
    """The message cannot be taken now; says why."""


@dataclass(eq=False)
class Listener:
    """The page that a message came from, for as long as the answer to it takes."""

    loop: asyncio.AbstractEventLoop
    queue: asyncio.Queue[Event | None] = field(default_factory=lambda: asyncio.Queue[Event | None](AHEAD))
    gone: threading.Event = field(default_factory=threading.Event)

    def tell(self, event: Event | None) -> None:
        """Hand an event on; None ends it. Called in the talk's thread, which waits where the page is behind."""
        if self.gone.is_set() or self.loop.is_closed():
            return
        put = asyncio.run_coroutine_threadsafe(self.queue.put(event), self.loop)
        try:
            put.result(STALLED)
        except Late:
            put.cancel()
            self.gone.set()


class Talk:
    """One session, and the thread that everything of it happens in."""

    def __init__(self, opener: Opener):
        self.opener, self.used = opener, time.monotonic()
        self.session: Session | None = None
        self.listener: Listener | None = None
        """Of the message that is being answered; None: it waits for one."""
        self._inbox: SimpleQueue[tuple[str, bool, Listener] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="sparring-talk", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def take(self, text: str, compare: bool, listener: Listener) -> None:
        self.listener = listener
        self._inbox.put((text, compare, listener))

    def stop(self) -> None:
        """Break off what is being said. For any thread."""
        if session := self.session:
            session.stop()

    def end(self) -> None:
        """Let go of the model, once it has stopped speaking. Does not wait."""
        if listener := self.listener:
            listener.gone.set()
        self.stop()
        self._inbox.put(None)

    def _work(self) -> None:
        try:
            while message := self._inbox.get():
                text, compare, listener = message
                try:
                    self._answer(text, compare)
                except SparringError as error:
                    self._tell({"event": "error", "text": without_paths(str(error))})
                finally:
                    self.listener, self.used = None, time.monotonic()
                    listener.tell(None)
        finally:
            if self.session:
                self.session.close()

    def _answer(self, text: str, compare: bool) -> None:
        if self.session is None:
            self._tell({"event": "opening"})
            self.session = session = self.opener(self._tell, compare)
            greeting = without_paths(session.greeting)
            self._tell({"event": "open", "greeting": greeting, "commands": dict(session.commands)})
        self.session.send(text)

    def _tell(self, event: Event) -> None:
        listener = self.listener
        if listener is None:
            return
        if event["event"] in ("error", "note"):
            event = {**event, "text": without_paths(str(event["text"]))}
        listener.tell(event)
        if listener.gone.is_set():
            self.stop()


class Talks:
    """The talks of one server, each by the page that it is held in. For the server's own loop."""

    def __init__(self, opener: Opener, most: int = MOST, idle: float = IDLE):
        self.opener, self.most, self.idle = opener, most, idle
        self._talks: dict[str, Talk] = {}

    async def say(self, page: str, text: str, compare: bool = False) -> AsyncGenerator[Event | None]:
        """Yield the events of the answer; None now and then where nothing happens.

        Whoever stops asking for more stops the answer. Raises Busy before the first.
        """
        talk = self._of(page)
        listener = Listener(asyncio.get_running_loop())
        talk.take(text, compare, listener)
        ended = False
        try:
            while not ended:
                event = await self._next(listener, talk)
                ended = event is ENDED
                if event is not ENDED:
                    yield event
        finally:
            if not ended:
                listener.gone.set()
                talk.stop()

    async def _next(self, listener: Listener, talk: Talk) -> Event | None:
        try:
            event = await asyncio.wait_for(listener.queue.get(), BEAT)
        except TimeoutError:
            return None if talk.alive else ENDED
        return ENDED if event is None else event

    def stop(self, page: str) -> None:
        """Break off what is being said to a page."""
        if talk := self._talks.get(page):
            talk.stop()

    def end(self, page: str) -> None:
        """End the talk of a page: the next message opens the model anew."""
        if talk := self._talks.pop(page, None):
            talk.end()

    def end_idle(self) -> None:
        """End the talks that nobody has used for a while."""
        now = time.monotonic()
        for page, talk in list(self._talks.items()):
            if talk.listener is None and now - talk.used >= self.idle:
                self.end(page)

    async def end_all(self, seconds: float) -> None:
        """End all, and wait a little for their models to be let go."""
        talks, until = list(self._talks.values()), time.monotonic() + seconds
        for page in list(self._talks):
            self.end(page)
        while any(talk.alive for talk in talks) and time.monotonic() < until:
            await asyncio.sleep(0.05)

    def _of(self, page: str) -> Talk:
        self._talks = {name: talk for name, talk in self._talks.items() if talk.alive}
        if (talk := self._talks.get(page)) is None:
            self._make_room()
            talk = self._talks[page] = Talk(self.opener)
        if talk.listener is not None:
            raise Busy("The last message is still being answered; stop it first.")
        return talk

    def _make_room(self) -> None:
        if len(self._talks) < self.most:
            return
        idle = [page for page, talk in self._talks.items() if talk.listener is None]
        if not idle:
            raise Busy(f"{self.most} talks go on in other tabs, and each holds a model: end one first.")
        self.end(min(idle, key=lambda page: self._talks[page].used))


ENDED: Event = {}
"""Stands for the end of an answer."""


def without_paths(text: str) -> str:
    """Return words of ours with each absolute path as its last part: a page is shown to others, folders are not."""
    return re.sub(r"(?<![\w:/.~])~?(?:/[^\s/'\",;:()]+){2,}", lambda found: f"…/{Path(found[0]).name}", text)
