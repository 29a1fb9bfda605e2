"""Text from a run inside Markdown, YAML, Python and the shell: it is shown as it is, and can be nothing else there.

A template of ours is rendered with `finalize` below, so that whatever it puts in is escaped as prose unless it was made
into something else by one of these functions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from sparring.visible import visible

if TYPE_CHECKING:
    from jinja2 import Environment

MARKS = re.compile(r"([\\`*_{}\[\]#|~!$^@]|:(?=//)|(?<=mailto):|(?<=xmpp):|(?<=\bwww)\.)", re.I)
"""What Markdown, GitHub's and the Hub's, may read as its own inside a line; the last ones make links of bare words."""


class Ours(str):
    """Markdown that is to stand as it is."""


def finalize(value: object) -> str:
    """Return what a template puts in for a value."""
    return value if isinstance(value, Ours) else prose(str(value))


def prose(text: str) -> Ours:
    """Return a text as words within a line: no markup, no HTML, no link."""
    text = " ".join(visible(text).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Ours(MARKS.sub(r"\\\1", text))


def code(text: str) -> Ours:
    """Return a text as code within a line, not in a table."""
    text = " ".join(visible(text).split())
    ticks = "`" * (_longest(text) + 1)
    room = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return Ours(f"{ticks}{room}{text}{room}{ticks}")


def fenced(text: str, language: str = "text") -> Ours:
    """Return a text as a block that no line within it can close."""
    ticks = "`" * max(3, _longest(text) + 1)
    return Ours(f"{ticks}{language}\n{visible(text.strip(chr(10)))}\n{ticks}")


def yaml_text(text: str) -> Ours:
    """Return a text as a string of YAML, on one line."""
    return Ours(json.dumps(" ".join(visible(text).split()), ensure_ascii=False))


def literal(text: str) -> Ours:
    """Return a Python string in its source: over lines where it has any, or is long."""
    lines = text.splitlines(keepends=True)
    if len(lines) < 2:
        return Ours(_quoted(text))
    return Ours("\n".join(["(", *(f"    {_quoted(line)}" for line in lines), ")"]))


def keywords(values: Mapping[str, Any]) -> Ours:
    """Return numbers and truths by name as Python writes a dict."""
    return Ours(repr(dict(values)).replace("'", '"'))


def _quoted(text: str) -> str:
    source = repr(text)  # whatever cannot be printed stands there as its escape
    if source.startswith("'") and '"' not in source:
        source = f'"{source[1:-1]}"'
    return source


def _longest(text: str) -> int:
    return max(map(len, re.findall(r"`+", text)), default=0)


@cache
def templates() -> Environment:
    """The templates of cards and snippets."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("sparring.export", "cards")
    made = Environment(
        loader=loader,
        autoescape=False,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"code": code, "fenced": fenced, "yaml": yaml_text, "literal": literal, "keywords": keywords}
    return made
