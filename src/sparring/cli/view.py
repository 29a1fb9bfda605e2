"""`sparring view`: a run in the browser."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

import typer

from sparring.runs import Run


def view(path: Path, port: int | None, browser: bool) -> None:
    """Serve the page of a run until Ctrl-C, and open a browser at it. Raises UsageError."""
    from sparring.view import PORT, serve

    wanted = PORT if port is None else port

    def ready(address: str) -> None:
        if wanted and not address.endswith(f":{wanted}/"):
            typer.echo(f"port {wanted} is taken; this is the next free one", err=True)
        typer.echo(address)
        typer.echo("Only this machine can open it. Ctrl-C ends it; the run goes on.", err=True)
        sys.stdout.flush()
        if browser and shown():
            webbrowser.open(address)

    serve(Run(path), wanted, ready=ready)


def shown() -> bool:
    """Tell whether there is a screen to open a browser on: not over ssh, and not in a container."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
