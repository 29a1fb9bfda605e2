"""A run as one HTML page: what came of it, how, and every rollout to look through. Opens from disk, with no network.

What stands still (verdict, figures, curves, stages, settings) is HTML that Jinja escapes, readable without JavaScript.
Rollouts lie in blocks (`report.blocks`): gzip in base64 within the page while there is room, else in files beside it,
which a script element brings when they are looked at. No text of a run is ever markup: the browser is told to run our
own scripts, known by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparring.files import write_whole
from sparring.report import browse
from sparring.report.blocks import CATALOGUE, Block, blocks
from sparring.report.figures import count, duration, figures_of, tokens
from sparring.report.record import Record
from sparring.report.topology import STYLE
from sparring.runs import Run
from sparring.visible import visible

if TYPE_CHECKING:
    from jinja2 import Template

ROOM = 4_300_000
"""Characters of blocks, in base64, that a page holds itself."""
ASSETS = Path(__file__).with_name("assets")
SCRIPTS = ("page.js", "detail.js", "tree.js", "browse.js")
"""What a page runs, in this order; a served page has more."""
SERVED_SCRIPTS = ("live.js", "chat.js")
BESIDE = re.compile(r"g\d+(-\d+)?\.[0-9a-f]{8}\.js")
"""Names of the files beside a page."""


@dataclass(frozen=True, slots=True)
class Built:
    """A page that was written."""

    html: Path
    data: tuple[Path, ...]
    """Files beside it, without which some rollouts cannot be shown."""
    rollouts: int
    """Entries of all groups."""
    seconds: float

    @property
    def size(self) -> int:
        """Bytes of the page itself."""
        return self.html.stat().st_size


def build(run: Run, out: Path | None = None) -> Built:
    """Write the page of a run, also of one that goes on; `out` is RUN/report.html where it is not given.

    Whole or not there, and the run is not disturbed: its stages are only read. Data that the page has no room for goes
    into a folder beside it, `report-data/`. Raises RunError for a run whose files are broken, OSError for an `out` that
    cannot be written, SparringError for a full disk.
    """
    started = time.monotonic()
    out = out or run.path / "report.html"
    groups = browse.groups(run)
    inside, outside = shared(list(blocks(groups)), ROOM)
    folder = out.with_name(data_folder(out))
    data = [written(folder / f"{block.name}.js", _arrived(block)) for block in outside]
    beside = folder.name if outside else ""
    written(out, render(Record.read(run), [(block.name, _text(block)) for block in inside], beside=beside))
    _clear(folder, keep={path.name for path in data})
    return Built(out, tuple(data), sum(group.n for group in groups), time.monotonic() - started)


def of_finished(run: Run) -> Path:
    """Return the page of a run that has its summary, written anew where it is older than that, or not there."""
    page, summary = run.path / "report.html", run.path / "summary.json"
    if not page.exists() or page.stat().st_mtime < summary.stat().st_mtime:
        build(run)
    return page


def render(record: Record, inside: Iterable[tuple[str, str]] = (), *, beside: str = "", live: bool = False) -> str:
    """Return the page: `inside` are blocks (name, base64 of gzipped JSON), `beside` the folder of those that are not.

    A `live` page has neither: it fetches `data/NAME.json` from where it came from, and has a served page's sections.
    """
    figures = figures_of(record)
    scripts = (*SCRIPTS, *(SERVED_SCRIPTS if live else ()))
    sheets = ("page.css", "browse.css", *(("served.css",) if live else ()))
    told = {"figures": figures, "record": record, "blocks": inside}
    return framed("page.html.j2", record.name, figures.title, told, scripts, sheets, beside=beside, live=live)


def framed(
    template: str,
    name: str,
    title: str,
    told: Mapping[str, Any],
    scripts: Sequence[str] = (),
    sheets: Sequence[str] = ("page.css",),
    *,
    beside: str = "",
    live: bool = False,
) -> str:
    """Return a page by its template, with `told`, its scripts and its style."""
    run, style = [_script(one) for one in scripts], "\n".join([STYLE, *(_asset(sheet) for sheet in sheets)])
    around = {"name": name, "title": title, "beside": beside, "live": live, "scripts": run, "style": style}
    return _template(template).render(**told, **around, policy=policy(run, style, live))


def policy(scripts: Sequence[str], style: str, live: bool = False) -> str:
    """Return the content security policy of a page: its own scripts and style by their hashes, and nothing else.

    'strict-dynamic' lets these scripts, and nobody else, bring data from beside the page.
    """
    allowed = " ".join(_hashed(script) for script in scripts)
    rules = [
        "default-src 'none'",
        *((f"script-src {allowed} 'strict-dynamic'",) if scripts else ()),
        f"style-src {_hashed(style)}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        *(("connect-src 'self'",) if live else ()),
    ]
    return "; ".join(rules)


def shared(made: Sequence[Block], room: int) -> tuple[list[Block], list[Block]]:
    """Return the blocks that a page holds, and those beside it.

    Catalogue and indexes come first, then groups, the smallest first and each whole or not: what is missing is a list.
    """
    weights: dict[str, int] = {}
    for block in made:
        if block.group is not None:
            weights[block.group] = weights.get(block.group, 0) + _weight(block)
    room -= sum(_weight(block) for block in made if block.name == CATALOGUE)
    inside: set[str] = {CATALOGUE}
    for block in sorted((block for block in made if block.group is None and block.name not in inside), key=_weight):
        room -= _weight(block)
        inside |= {block.name} if room >= 0 else set()
    held: set[str] = set()
    for group in sorted(weights, key=lambda group: weights[group]):
        room -= weights[group]
        held |= {group} if room >= 0 else set()
    chosen = [block.group in held or block.name in inside for block in made]
    return [b for b, here in zip(made, chosen, strict=True) if here], [
        b for b, here in zip(made, chosen, strict=True) if not here
    ]


def data_folder(out: Path) -> str:
    """Return the name of the folder beside a page: its own name where that is plain ASCII, else a digest of it."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", out.stem):
        return f"{out.stem}-data"
    return f"report-{hashlib.sha256(out.name.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}-data"


def _weight(block: Block) -> int:
    return 4 * len(block.data) // 3 + 80


def _text(block: Block) -> str:
    return base64.b64encode(block.data).decode()


def _arrived(block: Block) -> str:
    return f'sparring.arrived("{block.name}","{_text(block)}")\n'


def written(path: Path, text: str) -> Path:
    """Write a text, whole or not at all, and return its path."""
    data = text.encode("utf-8", "backslashreplace")
    write_whole(path, lambda temp: _filled(temp, data))
    return path


def _filled(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _clear(folder: Path, keep: set[str]) -> None:
    """Remove what an earlier page had beside it."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name not in keep and BESIDE.fullmatch(path.name):
            path.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _script(name: str) -> str:
    """Return a script of ours as it stands in the page."""
    text = _asset(name)
    assert "</script" not in text.lower() and "<!--" not in text  # it would end, or swallow, its element
    return text


@cache
def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from sparring.report import charts, topology

    shelf = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawings: dict[str, Any] = {"curve": charts.curve, "bars": charts.bars, "drawn": topology.loop}
    filters: dict[str, Any] = {
        "visible": visible,
        "ours": Markup,
        "duration": duration,
        "count": count,
        "tokens": tokens,
    }
    shelf.filters.update(filters)
    shelf.globals |= drawings
    return shelf.get_template(name)
