"""What a page loads of rollouts, cut into blocks: gzipped JSON, each small enough to be read when somebody looks.

    groups     the catalogue: every group, and the name of its index
    g3.…       the index of a group: columns of ids, titles, values, ranks and tags, and which block holds which entries
    g3-0.…     details of some entries of it: {"details": [...]}

A name ends in a digest of what the block holds, so that a page never reads a block of another page. Names are ours:
ASCII letters, digits, `-` and `.`; nothing of a run is in them.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sparring.files import Row, text_of
from sparring.report.browse import Entry, Group

CATALOGUE = "groups"
FULL = 400_000
"""Bytes of JSON from which on a block is full; a longer detail has one to itself."""
FEW = 32
"""Entries of a block that is made on demand."""
HELD = 2
"""Groups whose entries stay read."""


@dataclass(frozen=True, slots=True)
class Block:
    """A part of what a page loads."""

    name: str
    data: bytes
    """Gzipped JSON."""
    group: str | None = None
    """Id of the group whose details it holds; None: a catalogue or an index."""


def blocks(groups: Sequence[Group]) -> Iterator[Block]:
    """Yield every block: the details of a group, then its index; the catalogue last.

    Reads the run's files; raises RunError for one that is broken.
    """
    indexes: list[str] = []
    for number, group in enumerate(groups):
        entries: list[Entry] = []
        parts: list[tuple[str, int]] = []
        for rows in _filled(group.entries(), entries):
            block = _named(f"g{number}-{len(parts)}", _squeezed(b'{"details": [' + b",".join(rows) + b"]}"), group.id)
            parts.append((block.name, len(rows)))
            yield block
        index = _named(f"g{number}", packed(columns(entries, parts)))
        indexes.append(index.name)
        yield index
    yield Block(CATALOGUE, packed(catalogue(groups, indexes)))


def packed(row: Row) -> bytes:
    """Return JSON, gzipped; the same bytes for the same row."""
    return _squeezed(text_of(row))


def catalogue(groups: Sequence[Group], indexes: Sequence[str]) -> Row:
    """Return all groups with the names of their indexes."""
    return {"groups": [group.row() | {"index": index} for group, index in zip(groups, indexes, strict=True)]}


def columns(entries: Sequence[Entry], parts: Sequence[tuple[str, int]]) -> Row:
    """Return the index of a group, a column a field; `parts` are its blocks, by name, and how many entries each has."""
    tags = sorted({tag for entry in entries for tag in entry.tags})
    place = {tag: at for at, tag in enumerate(tags)}
    units = sorted({entry.unit for entry in entries})
    return {
        "ids": [entry.id for entry in entries],
        "titles": [entry.title for entry in entries],
        "values": [None if entry.value is None else round(entry.value, 6) for entry in entries],
        "units": units,
        "unit": [units.index(entry.unit) for entry in entries] if len(units) > 1 else [],
        "ranks": [entry.rank for entry in entries],
        "of": [entry.of for entry in entries],
        "tags": tags,
        "tagged": [[place[tag] for tag in entry.tags] for entry in entries],
        "blocks": [[name, n] for name, n in parts],
    }


class OnDemand:
    """The blocks of a run that may still be going on, each made when it is asked for. For one thread."""

    def __init__(self, groups: Sequence[Group]):
        self.groups = groups
        self._read: OrderedDict[int, list[Entry]] = OrderedDict()

    def block(self, name: str) -> bytes | None:
        """Return a block, gzipped JSON; None where there is none of that name. Raises RunError for a broken file."""
        if name == CATALOGUE:
            return packed(catalogue(self.groups, [f"g{number}" for number in range(len(self.groups))]))
        found = re.fullmatch(r"g([0-9]{1,4})(?:-([0-9]{1,7}))?", name)
        if not found or int(found[1]) >= len(self.groups):
            return None
        entries = self._entries(int(found[1]))
        if found[2] is None:
            return packed(columns(entries, self._parts(name, len(entries))))
        start = FEW * int(found[2])
        rows = [entry.detail().row() for entry in entries[start : start + FEW]]
        return packed({"details": rows}) if rows else None

    def _entries(self, number: int) -> list[Entry]:
        if number not in self._read:
            self._read[number] = list(self.groups[number].entries())
        self._read.move_to_end(number)
        while len(self._read) > HELD:
            self._read.popitem(last=False)
        return self._read[number]

    def _parts(self, name: str, n: int) -> list[tuple[str, int]]:
        return [(f"{name}-{part}", min(FEW, n - part * FEW)) for part in range(-(-n // FEW))]


def _filled(entries: Iterable[Entry], seen: list[Entry]) -> Iterator[list[bytes]]:
    """Yield details as JSON, as many as fill a block; note each entry in `seen`."""
    rows: list[bytes] = []
    size = 0
    for entry in entries:
        row = text_of(entry.detail().row())
        if rows and size + len(row) > FULL:
            yield rows
            rows, size = [], 0
        seen.append(entry)
        rows.append(row)
        size += len(row)
    if rows:
        yield rows


def _squeezed(text: bytes) -> bytes:
    return gzip.compress(text, 6, mtime=0)


def _named(stem: str, data: bytes, group: str | None = None) -> Block:
    return Block(f"{stem}.{hashlib.sha256(data).hexdigest()[:8]}", data, group)
