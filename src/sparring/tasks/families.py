"""The families of exercises, by name. Each is imported when it is asked for."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

from sparring.errors import SettingsError
from sparring.tasks.exercise import Family

FAMILIES = {
    "multistep-arithmetic": ("arithmetic", "ARITHMETIC"),
    "word-sorting": ("sorting", "SORTING"),
    "date-understanding": ("dates", "DATES"),
    "logical-deduction": ("deduction", "DEDUCTION"),
}
"""Module below `sparring.tasks`, and the family's name in it."""


def family_of(name: str) -> Family:
    """Return a family. Raises SettingsError, with the nearest name, for one that is unknown."""
    if name not in FAMILIES:
        close = get_close_matches(name.lower().replace("_", "-"), FAMILIES, n=1)
        hint = (
            f"did you mean {close[0]!r}?"
            if close
            else f"known are {', '.join(FAMILIES)}; a world:NAME or a .jsonl file will do as well"
        )
        raise SettingsError(f"no family of exercises is called {name!r}; {hint}")
    module, attribute = FAMILIES[name]
    family = getattr(import_module(f"sparring.tasks.{module}"), attribute)
    assert isinstance(family, Family)
    return family
