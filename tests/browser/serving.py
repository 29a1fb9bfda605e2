"""`sparring view` in a process of its own, whose model says every payload: `python -m tests.browser.serving RUN`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from sparring.runs import Run
from sparring.view import serve
from tests.browser.hostile import PAYLOADS

Event = dict[str, Any]


class Parrot:
    """A session whose models say every payload, in every kind of event; a few, where it is asked to be brief."""

    commands: ClassVar[dict[str, str]] = {"/answer": "a </button><script>", "/new": '" onclick="window.__pwned.push(1)'}
    greeting = "<b onclick=window.__pwned.push(1)>hello</b>"

    def __init__(self, tell: Callable[[Event], None]):
        self.tell = tell

    def send(self, text: str) -> None:
        payloads = [*PAYLOADS.values()][: 3 if text == "briefly" else None]
        for at, payload in enumerate(payloads):
            who = payload if at % 2 else "m_2"
            for piece in (payload[:3], payload[3:]):
                self.tell({"event": "delta", "who": who, "part": "answer", "text": piece})
            facts = {"verdict": payload, "finish": payload, "step": payload}
            self.tell({"event": "message", "who": who, "part": "answer", "text": f"{at} {payload} end", "facts": facts})
            self.tell({"event": "note", "text": f"note{at} {payload} end"})
        votes = [{"verdict": "yes", "text": payload, "reason": payload} for payload in payloads]
        node = {"id": 0, "depth": 0, "value": 0.5, "text": "root", "critique": "<script>", "votes": votes}
        self.tell({"event": "node", "tree": "__proto__", "node": node})
        self.tell({"event": "error", "text": "error <img src=x onerror=window.__pwned.push(1)> end"})
        self.tell({"event": "turn", "hint": "over <script>window.__pwned.push(1)</script> end"})

    def stop(self) -> None: ...

    def close(self) -> None: ...


@contextmanager
def served(run: Path) -> Generator[str]:
    """Serve a run until the end of the `with`; yield its address."""
    command = [sys.executable, "-m", "tests.browser.serving", str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().decode().strip()
        finally:
            process.terminate()


if __name__ == "__main__":
    run = Run(sys.argv[1])
    serve(run, 0, ready=lambda address: print(address, flush=True), opener=lambda tell, compare: Parrot(tell))
