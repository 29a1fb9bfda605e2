"""Looking through the groups of a run, as the tests of every recipe's do."""

from __future__ import annotations

from pathlib import Path

from sparring.report import browse
from sparring.report.browse import Entry, Grid, Group
from sparring.runs import Run


def groups(folder: Path) -> dict[str, Group]:
    return {group.id: group for group in browse.groups(Run(folder))}


def entries(folder: Path, group: str) -> dict[str, Entry]:
    return {entry.id: entry for entry in groups(folder)[group].entries()}


def check_links(folder: Path) -> None:
    """Every link of every detail leads to an entry, and there are some."""
    found = {id: [*group.entries()] for id, group in groups(folder).items()}
    known = {(id, entry.id) for id, those in found.items() for entry in those}
    met: set[tuple[str, str]] = set()
    for detail in (entry.detail() for those in found.values() for entry in those):
        grids = [one for one in detail.parts if isinstance(one, Grid)]
        links = [*detail.links, *(link for grid in grids for link in grid.links if link)]
        met |= {(link.group, link.entry) for link in links}
    assert met and met <= known
