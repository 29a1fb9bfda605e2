"""Reads a page to its end, as a tireless reader would: every group, every entry, every node, vote and fold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page

READ = Path(__file__).with_name("reading.js").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Read:
    """All that a page showed."""

    still: str
    """What stands on it before anything is opened, folds unfolded."""
    entries: tuple[tuple[str, str, str], ...]
    """(label of the group, id, text) of every entry, each of them opened."""
    tags: frozenset[str]
    """Names of all elements that were ever there."""
    strange: tuple[str, ...]
    """Attributes that a page of ours does not have: handlers, links elsewhere, sources; and bare control characters."""
    mixed: tuple[str, ...]
    """Texts that are written from right to left among words of ours, not set apart from them."""

    @property
    def text(self) -> str:
        return "\n".join([self.still, *(text for _, _, text in self.entries)])


def read_all(page: Page) -> Read:
    """Open everything there is on a page, and return what was shown."""
    found = page.evaluate(READ)
    return Read(
        found["still"],
        tuple((one["group"], one["id"], one["text"]) for one in found["entries"]),
        frozenset(found["tags"]),
        tuple(found["strange"]),
        tuple(found["mixed"]),
    )
