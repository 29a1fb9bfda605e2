"""The page's server in a thread, questions to it down to the bytes, and somebody to talk to who needs no model."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ClassVar

from sparring.errors import EngineError
from sparring.runs import Run
from sparring.view.server import hold, listening, of_run
from sparring.view.talks import Opener
from sparring.view.watch import Watch

PAGE = "0123456789abcdef"


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: str

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    """A server, and how to ask it."""

    address: str

    @property
    def port(self) -> int:
        return int(self.address.rstrip("/").rpartition(":")[2])

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        found = re.search(r'data-token="([\w-]+)"', self.ask("/").body)
        assert found
        return found[1]

    def ask(self, path: str, method: str = "GET", body: str | None = None, **headers: str | None) -> Answer:
        """Ask as a browser's page would; a header given as None is left out."""
        told = {"Host": self.host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in told.items():
                if value is not None:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body.encode())))
            connection.endheaders(body.encode() if body is not None else None)
            response = connection.getresponse()
            read, told = response.read(), {name.lower(): value for name, value in response.getheaders()}
            read = gzip.decompress(read) if told.get("content-encoding") == "gzip" else read
            return Answer(response.status, told, read.decode())
        finally:
            connection.close()

    def post(self, path: str, value: object, **headers: str | None) -> Answer:
        """Post JSON as the page does; headers given stand in for its own."""
        own = {"Origin": f"http://{self.host}", "Content_Type": "application/json"}
        if "X_Sparring_Token" not in headers:
            own["X_Sparring_Token"] = self.token
        return self.ask(path, "POST", value if isinstance(value, str) else json.dumps(value), **{**own, **headers})

    def say(self, text: str, **more: Any) -> list[dict[str, Any]]:
        """Say something and return the events of the answer."""
        answer = self.post("/say", {"page": PAGE, "text": text, **more})
        assert answer.status == 200, answer
        return [json.loads(line) for line in answer.body.splitlines() if line]

    def raw(self, request: bytes) -> bytes:
        """Send bytes, and return all that comes back until the server closes or says no more."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as line:
            line.sendall(request)
            line.settimeout(1.0)
            got = b""
            try:
                while part := line.recv(65536):
                    got += part
            except TimeoutError:
                pass
            return got


@contextmanager
def serving(run: Path, opener: Opener | None = None, port: int = 0) -> Iterator[Site]:
    """Serve a run for as long as the block lasts."""
    loop, ready = asyncio.new_event_loop(), SimpleQueue[str]()
    listener = listening(port)
    opened = Run(run)
    task = loop.create_task(hold(opened, Watch(run), listener, ready.put, opener or of_run(opened)))

    def work() -> None:
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        finally:
            loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield Site(ready.get(timeout=30))
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(30)
        listener.close()
        assert not thread.is_alive()


@dataclass
class Parrot:
    """Says what it is told, a word at a time; counts what is done with it."""

    tell: Callable[[dict[str, Any]], None]
    compare: bool = False
    greeting: str = "m_1 of /home/ada/runs/star: a parrot."
    commands: ClassVar[dict[str, str]] = {"/new": "begin anew", "/help": "this"}
    pause: float = 0.0
    opened: ClassVar[list[Parrot]] = []
    stopped: threading.Event = field(default_factory=threading.Event)
    closed: bool = False

    def send(self, text: str) -> None:
        if text == "/break":
            raise EngineError("/home/ada/models/thing is gone")
        for who in ("m_1", "m_0") if self.compare else ("m_1",):
            for word in text.split():
                if self.stopped.wait(self.pause) or self.stopped.is_set():
                    self.stopped.clear()
                    self.tell({"event": "note", "text": "Stopped."})
                    return self.tell({"event": "turn", "hint": "Say more."})
                self.tell({"event": "delta", "who": who, "part": "answer", "text": word + " "})
            self.tell({"event": "message", "who": who, "part": "answer", "text": text, "facts": {}})
        self.tell({"event": "turn", "hint": "Say more."})

    def stop(self) -> None:
        self.stopped.set()

    def close(self) -> None:
        self.closed = True


def parrots(pause: float = 0.0) -> tuple[Opener, list[Parrot]]:
    """Return what opens parrots, and the list of those that were opened."""
    opened: list[Parrot] = []

    def open_one(tell: Callable[[dict[str, Any]], None], compare: bool) -> Parrot:
        opened.append(Parrot(tell, compare, pause=pause))
        return opened[-1]

    return open_one, opened


def until(what: Callable[[], bool], seconds: float = 10) -> bool:
    """Wait for something to come true; return whether it did."""
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.02)
    return what()
