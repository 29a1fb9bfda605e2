"""Watching servers' processes, and one that starts at once."""

from __future__ import annotations

import json
import os
import select
import sys
from pathlib import Path
from typing import Any

from sparring.engines.process import Process, free_port
from sparring.ledger import home

PRETENDER = Path(__file__).with_name("pretender.py")


def started(behave: str = "", startup: float = 30, grace: float = 5) -> Process:
    port = free_port()
    command = [sys.executable, str(PRETENDER), "serve", "MODEL", "--port", str(port), "--behave", behave]
    server = Process(command, os.environ, port=port, model="MODEL", startup=startup, grace=grace)
    server.ready()
    return server


def facts(port: int) -> dict[str, Any]:
    """What is on file of the server at a port."""
    found = [json.loads(path.read_text()) for path in (home() / "servers").glob("*.json")]
    return next(one for one in found if one["port"] == port)


def members(session: int) -> list[int]:
    """The processes of a server: each of them, and the pids are those of its whole session."""
    alive = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in alive if in_session(pid, session)]


def in_session(pid: int, session: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return int(stat[3]) == session and stat[0] not in "ZX"


def gone(pids: list[int], seconds: float = 60) -> bool:
    """Wait for processes to end; return whether all have."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([handle], [], [], seconds)[0]:
                return False
        finally:
            os.close(handle)
    return True
