"""Families by name."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from sparring.errors import SettingsError
from sparring.tasks.families import FAMILIES, family_of


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_had_by_its_own_name(name: str) -> None:
    assert family_of(name).name == name


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("word_sorting", "did you mean 'word-sorting'?"),
        ("Logical-Deductions", "did you mean 'logical-deduction'?"),
        ("chess", "known are multistep-arithmetic, word-sorting"),
    ],
)
def test_an_unknown_name_is_told_the_nearest(name: str, told: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        family_of(name)
    assert told in str(caught.value)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_kinds_of_mistakes_that_a_family_names_are_those_that_it_makes(name: str) -> None:
    family, rng, made = family_of(name), random.Random(0), set[str]()
    for tier in list(family.tiers) * (40 if family.corrupt else 0):
        assert family.corrupt
        made.add(family.corrupt(family.draw(rng, tier)[0], rng).kind)
    assert made == set(family.mistakes)


def test_families_are_imported_only_when_asked_for() -> None:
    script = (
        "import sys, sparring.tasks.families as f\n"
        "assert 'sparring.tasks.dates' not in sys.modules\n"
        "f.family_of('date-understanding')\n"
        "assert 'sparring.tasks.dates' in sys.modules and 'sparring.tasks.deduction' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
