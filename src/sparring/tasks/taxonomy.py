"""What an instruction can ask for beyond its task: families of categories, each with its leaves, as data.

The shipped file has the 3 families, 14 categories and 63 leaves of SPaR (https://arxiv.org/abs/2412.11605), in our own
words.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sparring.errors import DataError

SHIPPED = Path(__file__).with_name("taxonomy.toml")


@dataclass(frozen=True, slots=True)
class Category:
    """One kind of constraint."""

    family: str
    name: str
    """Unique within a taxonomy."""
    leaves: tuple[str, ...]
    """What in particular can be asked for, at least one thing."""

    def __str__(self) -> str:
        return f"{self.name}: {'; '.join(self.leaves)}"


def read_taxonomy(path: Path = SHIPPED) -> tuple[Category, ...]:
    """Return the categories of a TOML file: a table a family, a list of leaves a category.

    Raises DataError for a file that cannot be read, one without categories, a category that stands twice, and leaves
    that are not texts.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no taxonomy can be read ({error})") from error
    categories = [Category(*found) for found in _categories(tables, path)]
    names = [category.name for category in categories]
    if not names:
        raise DataError(f"{path}: no category; a taxonomy has tables like [Format] with lists of leaves")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: category {twice[0]!r} stands twice; give each a name of its own")
    return tuple(categories)


def drawn(categories: Sequence[Category], id: str, seed: int) -> Category:
    """Return the main category of a task, each as likely: it depends on the run's seed and the task's id alone.

    An author who chooses freely asks for lengths far too often; so it is told what to ask for.
    """
    return random.Random(f"{seed}/{id}/category").choice(categories)


def outline(categories: Sequence[Category]) -> str:
    """Return the taxonomy as text: a line a family, and under it a line a category with its leaves."""
    lines: dict[str, list[str]] = {}
    for category in categories:
        lines.setdefault(category.family, [category.family]).append(f"- {category}")
    return "\n".join(line for family in lines.values() for line in family)


def _categories(tables: dict[str, Any], path: Path) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for family, table in tables.items():
        if not isinstance(table, dict):
            raise DataError(f"{path}: {family} is {table!r:.80}; a family is a table of categories")
        for name, leaves in cast(dict[str, Any], table).items():
            if (
                not isinstance(leaves, list)
                or not leaves
                or not all(_is_text(leaf) for leaf in cast(list[Any], leaves))
            ):
                raise DataError(f"{path}: {family}.{name} is {leaves!r:.80}; it must be a list of texts, 1 at least")
            yield family, name, tuple(cast(list[str], leaves))


def _is_text(leaf: object) -> bool:
    return isinstance(leaf, str) and bool(leaf.strip())
