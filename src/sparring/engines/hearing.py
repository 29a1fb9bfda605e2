"""What has been said so far, as text that can be shown: for replies that are heard while they come."""

from __future__ import annotations

from sparring.engines.base import OnText, stopped

PART = "\ufffd"
"""What a tokenizer writes for a character of which not all bytes are there yet."""


class Hearing:
    """Tells the words of one reply in pieces, each once: no half characters, nothing of a stop string or after it."""

    def __init__(self, on_text: OnText, stop: tuple[str, ...] = ()):
        self.on_text, self.stop = on_text, stop
        self.told = ""

    def so_far(self, text: str, ended: bool = False) -> None:
        """Take all that was said up to now.

        What was told is never taken back: where the text differs in it, as a tokenizer may tidy up what it decoded
        before, nothing is told until it is the same again.
        """
        end = stopped(text, self.stop)
        if end is not None:
            text = text[:end]
        elif not ended:
            text = self._sure(text)
        if len(text) > len(self.told) and text.startswith(self.told):
            piece, self.told = text[len(self.told) :], text
            self.on_text(piece)

    def _sure(self, text: str) -> str:
        """Return the text without what may still become something else."""
        text = text.rstrip(PART)
        held = max((_begun(text, word) for word in self.stop), default=0)
        return text[: len(text) - held]


def _begun(text: str, word: str) -> int:
    """Return the length of the longest end of `text` with which `word` begins."""
    return next((length for length in range(min(len(word) - 1, len(text)), 0, -1) if text.endswith(word[:length])), 0)
