"""A server that is a process of ours: started, watched, and ended with us.

Between us and the server stands a guard (`guard.py`), which holds the server's processes and ends them when we let go
or die, however that comes about.
"""

from __future__ import annotations

import atexit
import http.client
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from sparring.engines import guard
from sparring.errors import EngineError
from sparring.ledger import home

log = logging.getLogger("sparring")

TAIL = 15
"""Lines of a server's log that an error carries."""
EXCEPTION = re.compile(r"(^|\] )([a-z_]\w*\.)*[A-Z]\w*(Error|Exception): \S")
"""Where one is named in a log: at the beginning of a line, or behind `[file.py:123]`."""
NOISE = re.compile(r"nanobind: | - |See https://nanobind")
"""What a library of vLLM's says whenever a process ends."""
BETWEEN = 0.1
"""Seconds between two looks at a server that is starting."""


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def end_stale(folder: Path) -> None:
    """End servers whose owners died without ending them, and say so."""
    for path, facts in guard.stale(folder):
        log.warning(
            "a server was left behind by a run that was killed: pid %(pid)d, port %(port)d, model %(model)s. "
            "It is ended now.",
            facts,
        )
        until = time.monotonic() + guard.GRACE
        guard.end_group(facts["pid"], signal.SIGTERM)
        while guard.born(facts["pid"]) == facts["born"] and time.monotonic() < until:
            time.sleep(BETWEEN)
        guard.end_group(facts["pid"], signal.SIGKILL)
        path.unlink(missing_ok=True)


class Process:
    """A server on a port of this machine that says at /health when it is ready."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        port: int,
        model: str,
        startup: float,
        grace: float = guard.GRACE,
    ):
        """Start it; `ready` waits for it, for `startup` seconds at most. `grace` is how many it is given to end.

        Raises EngineError for a command that is not there.
        """
        self.port, self.model, self.startup = port, model, startup
        folder = home() / "servers"
        folder.mkdir(parents=True, exist_ok=True)
        end_stale(folder)
        program = shutil.which(command[0], path=environment.get("PATH"))
        if program is None:
            raise EngineError(
                f"{command[0]!r} cannot be started: there is no such program. Name the one of an environment that has "
                "vLLM, its `bin/vllm serve` or its `bin/python -m vllm.entrypoints.openai.api_server`"
            )
        self.ended: Future[str] = Future()
        """Resolves when the server has ended, to what there is to say about it."""
        self.closed = False
        self.log = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{port}.log"
        us = {"owner": os.getpid(), "owner_born": guard.born(os.getpid())}
        facts = {**us, "port": port, "model": model, "grace": grace}
        with self.log.open("wb") as words:
            self.guard = subprocess.Popen(
                [sys.executable, "-I", guard.__file__, str(folder), json.dumps(facts), program, *command[1:]],
                stdin=subprocess.PIPE,
                stdout=words,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,  # a Ctrl-C is ours to hear
            )
        threading.Thread(target=self._watch, name=f"sparring-server-{port}", daemon=True).start()
        atexit.register(self.close)

    def ready(self) -> None:
        """Wait until it is. Raises EngineError, with its last lines, where it ends or takes longer than `startup`."""
        until = time.monotonic() + self.startup
        while not self._healthy():
            try:
                self.guard.wait(BETWEEN)
            except subprocess.TimeoutExpired:
                if time.monotonic() > until:
                    self.close()
                    raise EngineError(
                        f"the server of {self.model!r} was not ready within startup = {self.startup:g} s; give it "
                        f"more, or a smaller model. {self._last_lines()}"
                    ) from None
            else:
                raise EngineError(f"the server of {self.model!r} did not start: {self.ended.result()}")

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, wait: float = 60.0) -> tuple[int, str]:
        """Return the status and the text of one answer, within `wait` seconds. Raises OSError where there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=wait)
        try:
            data = json.dumps(body) if body is not None else None
            connection.request(method, path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        except http.client.HTTPException as error:
            raise ConnectionError(repr(error)) from error
        finally:
            connection.close()

    def verdict(self, trouble: str, moment: float = 5.0) -> str:
        """Return what there is to say of a server in trouble, which is given a moment to end of it, and is ended."""
        try:
            return self.ended.result(moment)
        except TimeoutError:
            self.close()
            return f"{trouble}. {self._last_lines()}"

    def close(self) -> None:
        """End it with every process that it started, and wait for that."""
        atexit.unregister(self.close)
        self.closed = True
        assert self.guard.stdin
        self.guard.stdin.close()  # the leash
        self.guard.wait()

    def _healthy(self) -> bool:
        try:
            return self.ask("GET", "/health", wait=10 * BETWEEN)[0] == 200
        except OSError:
            return False

    def _watch(self) -> None:
        status = self.guard.wait()
        if self.closed:
            self.ended.set_result("it was stopped")
            return
        self._end_orphans()
        self.ended.set_result(f"{_manner(status)}. {self._last_lines()}")

    def _end_orphans(self) -> None:
        """End the server of a guard that was killed."""
        for path in self.log.parent.glob("*.json"):
            try:
                facts = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if (facts.get("owner"), facts.get("port")) == (os.getpid(), self.port):
                guard.end_group(facts["pid"], signal.SIGKILL)
                path.unlink(missing_ok=True)

    def _last_lines(self) -> str:
        with self.log.open(encoding="utf-8", errors="replace") as file:
            lines = [re.sub(r"\x1b\[[0-9;]*m", "", line.rstrip()) for line in file]
        lines = [line for line in lines if line and not NOISE.match(line)]
        # The last words are about the end; what led to it stands further up, where an exception was first met.
        reason = next((line for line in lines if EXCEPTION.search(line)), None)
        tail = lines[-TAIL:]
        return "\n".join([f"From its log, {self.log}:", *([reason] if reason and reason not in tail else []), *tail])


def _manner(status: int) -> str:
    """Say how a server ended, from its guard's exit status."""
    if status < 0:
        return f"its guard was killed by {signal.Signals(-status).name}"
    if status == 128 + signal.SIGKILL:
        return "killed by SIGKILL (out of memory?)"
    return f"killed by {signal.Signals(status - 128).name}" if 128 < status < 160 else f"exit status {status}"
