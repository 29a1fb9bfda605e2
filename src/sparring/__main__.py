"""The command `sparring`, also as `python -m sparring`.

A command loads its modules for up to some seconds. Ctrl-C in that time ends it at once: it has begun nothing that would
have to be left in order, and a KeyboardInterrupt raised within an import is shown as a traceback, or lost.
"""

import os
import signal
from typing import NoReturn


def stop(*_: object) -> NoReturn:
    os.write(2, b"sparring: stopped; nothing was begun\n")
    os._exit(130)


def main() -> None:
    """Run the command, which can be stopped from here on; `sparring.cli.stop` takes over where it begins to work."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop)
    from sparring.cli import main

    main()


if __name__ == "__main__":
    main()
