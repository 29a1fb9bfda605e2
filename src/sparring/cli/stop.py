"""Ctrl-C and SIGTERM while a command works. Before that `sparring.__main__` answers Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager

import typer


class Terminated(KeyboardInterrupt):
    """A SIGTERM, as schedulers send it: the command ends as by Ctrl-C."""


@contextmanager
def stoppable(kept: str) -> Generator[None]:
    """Answer Ctrl-C or SIGTERM with one line, which says what is `kept`, and exit status 130 or 143."""

    def terminate(*_: object) -> None:
        raise Terminated

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as it is for a shell's background job
        signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on there is something to leave in order
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt as stop:
        typer.echo(f"sparring: stopped; {kept}", err=True)
        raise typer.Exit(143 if isinstance(stop, Terminated) else 130) from None
    finally:
        signal.signal(signal.SIGTERM, before)
