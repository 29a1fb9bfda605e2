"""What the README and the pages of the site show as code: fenced blocks, and the commands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = re.compile(r"`([^`\n]+)`")
"""Words of a page in backticks."""
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: Path
    line: int
    """Of its first line of text, from 1."""
    language: str
    text: str
    printed: str | None
    """The `text` block right below it: what it prints."""

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def name(self) -> str:
        """The file that a comment in its first line says it is, or nothing."""
        found = re.match(r"# (?:\S*/)?([\w-]+\.(?:toml|py))\b", self.text)
        return found[1] if found else ""


@dataclass(frozen=True)
class Shown:
    """A command line as a page shows it."""

    text: str
    where: str


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page; directives of the site are none."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        after = re.match(r"\s*```text\n(.*?)^```$", text[found.end() :], re.DOTALL | re.MULTILINE)
        line = text[: found.start(2)].count("\n") + 1
        if not found[1].startswith("{"):
            yield Block(page, line, found[1].strip(), found[2], after[1] if after else None)


def shown(*languages: str) -> list[Block]:
    """Return the blocks of all pages in these languages."""
    return [block for page in PAGES for block in blocks(page) if block.language in languages]


def commands() -> list[Shown]:
    """Return every command line of every page, each once, in the order of the pages."""
    found: dict[str, Shown] = {}
    for block in shown("sh"):
        whole = block.text.replace("\\\n", " ")
        for line in whole.splitlines():
            command = " ".join(uncommented(line).split())
            if command:
                found.setdefault(command, Shown(command, block.where))
    return list(found.values())


def uncommented(line: str) -> str:
    """Return a line without the remark behind it."""
    return re.sub(r"(^|\s+)#( .*)?$", "", line).strip()
