"""The server: bound to this machine alone, until it is stopped."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from aiohttp import web

from sparring.chat import open_session
from sparring.errors import SettingsError
from sparring.runs import Run
from sparring.view.app import Served
from sparring.view.guard import HOST, Guard
from sparring.view.talks import Opener, Talks
from sparring.view.watch import Watch

PORT = 8765
"""The port that is tried first."""
TRIES = 20
"""Ports that are tried, one after the other."""
LOOK = 30.0
"""Seconds between two looks for talks that nobody uses."""
LAST = 3.0
"""Seconds that talks are given to let their models go."""


def serve(run: Run, port: int = PORT, *, ready: Callable[[str], None], opener: Opener | None = None) -> None:
    """Serve the page of a run until the task is cancelled or a signal raises; `ready` is given its address.

    A port that is taken gives way to the next free one; 0 is any. `opener` makes sessions; by default it opens the
    run's last model. Raises RunError for a run whose files are broken, SettingsError where no port is free.
    """
    watch = Watch(run.path)
    with closing(listening(port)) as listener:
        asyncio.run(hold(run, watch, listener, ready, opener or of_run(run)))


def of_run(run: Run) -> Opener:
    """Return what opens sessions with the last model of a run."""
    return lambda tell, compare: open_session(str(run.path), tell=tell, compare=compare)


def listening(port: int) -> socket.socket:
    """Return a socket bound to the loopback at `port`, or the next free one. Raises SettingsError."""
    ports = range(port, min(port + TRIES, 65536)) if port else [0]
    for number in ports:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, number))
            listener.listen(64)
            return listener
        except OSError as error:
            listener.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    raise SettingsError(
        f"--port {port}: no port from {ports[0]} to {ports[-1]} can be had; name another one, or 0 for any"
    )


async def hold(run: Run, watch: Watch, listener: socket.socket, ready: Callable[[str], None], opener: Opener) -> None:
    """Serve on a socket until cancelled; `ready` is given the address."""
    number: int = listener.getsockname()[1]
    talks = Talks(opener)
    with ThreadPoolExecutor(1, "sparring-page") as thread:
        app = Served(run, watch, talks, Guard(number), thread).app()
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            ready(f"http://{HOST}:{number}/")
            while True:
                await asyncio.sleep(LOOK)
                talks.end_idle()
        finally:
            await talks.end_all(LAST)
            await runner.cleanup()
