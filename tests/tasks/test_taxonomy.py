"""The taxonomy: its counts, a draw that favours no category, and files that are none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sparring.errors import DataError
from sparring.tasks.taxonomy import Category, drawn, outline, read_taxonomy

CATEGORIES = read_taxonomy()


def test_there_are_three_families_fourteen_categories_and_sixty_three_leaves() -> None:
    families = Counter(category.family for category in CATEGORIES)
    assert families == {"Format": 6, "Content": 4, "General": 4}
    leaves = [(category.name, leaf) for category in CATEGORIES for leaf in category.leaves]
    assert len(set(leaves)) == len(leaves) == 63
    assert [len(category.leaves) for category in CATEGORIES] == [5, 6, 4, 3, 4, 4, 3, 4, 4, 7, 6, 3, 6, 4]


def test_every_category_is_drawn_about_as_often() -> None:
    n = 14_000
    counts = Counter(drawn(CATEGORIES, f"task-{at}", 3).name for at in range(n))
    expected = n / 14
    assert len(counts) == 14
    # 34.5 is exceeded once in a thousand by chi-squared of 13 degrees of freedom.
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 34.5


def test_a_draw_depends_on_the_seed_and_the_task_alone() -> None:
    once = [drawn(CATEGORIES, f"task-{at}", 0) for at in range(50)]
    assert [drawn(CATEGORIES, f"task-{at}", 0) for at in reversed(range(50))] == once[::-1]
    assert [drawn(CATEGORIES, f"task-{at}", 1) for at in range(50)] != once


def test_the_outline_names_each_family_once_and_every_leaf() -> None:
    lines = outline(CATEGORIES).splitlines()
    assert [line for line in lines if not line.startswith("- ")] == ["Format", "Content", "General"]
    assert len(lines) == 3 + 14
    assert all(leaf in outline(CATEGORIES) for category in CATEGORIES for leaf in category.leaves)


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('[Form]\nLength = ["words"]\n[Tone]\nMood = ["glad", "sad"]\n', encoding="utf-8")
    assert read_taxonomy(path) == (Category("Form", "Length", ("words",)), Category("Tone", "Mood", ("glad", "sad")))
    assert outline(read_taxonomy(path)) == "Form\n- Length: words\nTone\n- Mood: glad; sad"


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("", "no category"),
        ("[Format]\n", "no category"),
        ("Format = 3\n", "Format is 3; a family is a table"),
        ("[Format]\nLength = []\n", r"Format.Length is \[\]; it must be a list of texts"),
        ("[Format]\nLength = [3]\n", r"Format.Length is \[3\]"),
        ('[Format]\nLength = ["words", " "]\n', "Format.Length is"),
        ('[Format]\nLength = "words"\n', "Format.Length is 'words'"),
        ('[A]\nLength = ["words"]\n[B]\nLength = ["lines"]\n', "category 'Length' stands twice"),
        ("[Format", "no taxonomy can be read"),
    ],
)
def test_a_file_that_is_no_taxonomy_is_refused_with_its_name(text: str, met: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=met) as caught:
        read_taxonomy(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.toml: no taxonomy can be read"):
        read_taxonomy(tmp_path / "none.toml")
