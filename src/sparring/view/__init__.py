"""A run in the browser while it goes on, and talks with what it trained: on this machine's loopback, for nobody else.

    serve(Run("runs/star-gate"), ready=print)      # until it is stopped

It reads the run directory and writes nothing there; the run is another process, and is not held up.
"""

from sparring.view.server import PORT, serve

__all__ = ["PORT", "serve"]
