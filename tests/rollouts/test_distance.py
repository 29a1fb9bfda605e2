"""Distances of texts: those of the textbook's tables, in a fraction of their time."""

from __future__ import annotations

from difflib import SequenceMatcher

from hypothesis import given
from hypothesis import strategies as st

from sparring.rollouts.distance import edit_distance, in_common


def by_table(a: list[str], b: list[str]) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row, last = [i], row
        for j, y in enumerate(b, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (x != y)))
    return row[-1]


@given(*(st.lists(st.sampled_from("abcd"), max_size=90) for _ in range(2)))
def test_the_edit_distance_is_that_of_the_table(a: list[str], b: list[str]) -> None:
    assert edit_distance(a, b) == edit_distance(b, a) == by_table(a, b)


@given(*(st.lists(st.sampled_from("abcd"), max_size=90) for _ in range(2)))
def test_words_in_common_are_those_that_neither_insertion_nor_deletion_touches(a: list[str], b: list[str]) -> None:
    common = in_common(a, b)
    assert common == in_common(b, a) == in_order(a, b)
    found = sum(block.size for block in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks())
    assert found <= common


def in_order(a: list[str], b: list[str]) -> int:
    row = [0] * (len(b) + 1)
    for x in a:
        row, last = [0], row
        for j, y in enumerate(b, 1):
            row.append(last[j - 1] + 1 if x == y else max(last[j], row[-1]))
    return row[-1]


def test_the_edit_distance_of_long_answers_is_quickly_known() -> None:
    words = [str(n % 997) for n in range(5000)]
    assert edit_distance(words, [*words[:2000], "new", *words[2001:-3]]) == 4
