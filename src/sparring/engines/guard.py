"""Ends a server, with every process of it, when whoever wanted it is gone. It is run as a program of its own:

    python -I guard.py FOLDER FACTS COMMAND ...

Standard input is the leash: it closes when its holder lets go or dies, SIGKILL included, and the server then gets
SIGTERM and after a grace SIGKILL. While the server runs, FOLDER/PID.json says whose it is (FACTS, and what is
known of the process), so that one that outlives both is found (`stale`). Ends with the server's exit status. Only the
standard library is loaded, to start at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GRACE = 10.0
"""Seconds that a server is given to end by itself, if its owner does not say."""
ADOPT_ORPHANS = 36
"""PR_SET_CHILD_SUBREAPER of Linux's prctl."""


def born(pid: int) -> str | None:
    """Return when a process started, in whatever its system counts; None where there is no such process.

    With its number that is a name for a process which no other one takes on.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if stat[0] in "ZX" else stat[19]  # a zombie has ended
    except OSError:
        if Path("/proc/self").exists():
            return None
    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def stale(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the file and the facts of each server that runs on though its owner is gone; remove files of no server."""
    for path in folder.glob("*.json"):
        try:
            facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if facts["host"] != platform.node() or born(facts["owner"]) == facts["owner_born"]:
                continue
            lives = born(facts["pid"]) == facts["born"]
        except (OSError, ValueError, KeyError):
            continue  # removed meanwhile, or not ours
        if lives:
            yield path, facts
        else:
            path.unlink(missing_ok=True)


def end_group(pid: int, how: signal.Signals) -> None:
    """Send a signal to a process and to all that it started, but for what left its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says "not permitted" of one that has ended
        os.killpg(pid, how)


def keep(folder: Path, facts: dict[str, Any], command: list[str]) -> int:
    """Start the server, hold it until it ends or the leash is let go, and return its exit status."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(ADOPT_ORPHANS, 1)  # so that its workers become ours to wait for when it dies
    try:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        sys.stderr.write(f"{command[0]!r} cannot be started: {error.strerror}\n")
        return 127

    def pass_on(number: int, frame: object) -> None:
        end_group(server.pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, pass_on)  # told to end, it ends when the server has
    path = folder / f"{server.pid}.json"
    facts = {**facts, "host": platform.node(), "pid": server.pid, "born": born(server.pid), "command": command}
    path.write_text(json.dumps(facts), encoding="utf-8")
    ended = threading.Event()

    def hold() -> None:
        while os.read(0, 1024):
            pass
        end_group(server.pid, signal.SIGTERM)
        if not ended.wait(facts["grace"]):
            end_group(server.pid, signal.SIGKILL)

    threading.Thread(target=hold, daemon=True).start()
    status = server.wait()
    ended.set()
    end_group(server.pid, signal.SIGKILL)
    _bury()
    path.unlink(missing_ok=True)
    return status if status >= 0 else 128 - status


def _bury() -> None:
    """End what the server left behind, and wait until the last of it is gone."""
    while True:
        for children in Path("/proc/self/task").glob("*/children"):
            for child in children.read_text().split():
                os.kill(int(child), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


if __name__ == "__main__":
    sys.exit(keep(Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]))
