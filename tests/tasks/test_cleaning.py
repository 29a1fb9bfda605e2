"""Cleaning: what is in a test set, what stands there twice or nearly, what is too long, what cannot be followed."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from sparring.errors import SettingsError
from sparring.tasks.cleaning import Cleaned, decontaminated, grams, solvable, within, without_twins, words
from sparring.tasks.instructions import Instructed

TEST = "Write a short note to the neighbours about the party on Saturday, in fewer than forty words, please."


def asked(*prompts: str) -> list[Instructed]:
    return [Instructed(f"p{at}", prompt) for at, prompt in enumerate(prompts)]


def ids(found: Cleaned[Instructed]) -> tuple[list[str], list[tuple[str, str]]]:
    kept, failures = found
    return [item.id for item in kept], [(failure.id, failure.reason) for failure in failures]


# Words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Don't SHOUT, please!", ["don", "t", "shout", "please"]),
        ("**Ｗｉｄｅ** _straße_\tend", ["wide", "strasse", "end"]),
        ("写一首诗 about tea3", ["写", "一", "首", "诗", "about", "tea3"]),
        ("?! -- ...", []),
        ("", []),
    ],
)
def test_words_are_compared_without_case_width_and_marks(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_a_text_shorter_than_a_gram_is_one_gram() -> None:
    assert grams("a b c", 2) == [("a", "b"), ("b", "c")]
    assert grams("a b", 3) == [("a", "b")]
    assert grams("!", 3) == []


# Test sets


def test_a_prompt_that_shares_thirteen_words_in_a_row_with_a_test_prompt_is_left_out() -> None:
    run_of_13 = " ".join(TEST.split()[2:15])
    run_of_12 = " ".join(TEST.split()[2:14])
    items = asked(f"Hello! {run_of_13.upper()} or else", f"Hello! {run_of_12} or else", "Say hello.")
    kept, failures = decontaminated(items, [TEST])
    assert [item.id for item in kept] == ["p1", "p2"]
    [failure] = failures
    assert (failure.id, failure.reason) == ("p0", "in a test set")
    assert failure.detail == " ".join(words(run_of_13))


def test_the_words_looked_for_are_a_setting() -> None:
    items = asked("To the neighbours about the party", "To the neighbours")
    assert ids(decontaminated(items, [TEST], n=6)) == (["p1"], [("p0", "in a test set")])
    assert ids(decontaminated(items, [TEST], n=3))[0] == []
    assert ids(decontaminated(items, [TEST], n=10_000))[0] == ["p0", "p1"], "whole test prompts alone"


def test_a_test_prompt_that_is_short_counts_as_a_whole() -> None:
    items = asked("Please write a poem about rain, with no rhymes.", "Write a poem about snow.")
    assert ids(decontaminated(items, ["Write a poem about rain!"])) == (["p1"], [("p0", "in a test set")])


@pytest.mark.parametrize("tests", [[], [""], ["?!"]])
def test_a_test_set_without_words_leaves_nothing_out(tests: list[str]) -> None:
    items = asked("Say hello.", "")
    assert decontaminated(items, tests) == (items, [])


def test_comparing_no_words_is_refused() -> None:
    with pytest.raises(SettingsError, match="n is 0; at least 1 word"):
        decontaminated(asked("a"), ["a"], n=0)


# Twins


def test_of_prompts_that_are_the_same_but_for_case_and_marks_the_first_is_kept() -> None:
    kept, failures = without_twins(asked("Say hello to all.", "say HELLO, to all", "Say goodbye."))
    assert [item.id for item in kept] == ["p0", "p2"]
    assert [(f.id, f.reason, f.detail) for f in failures] == [("p1", "prompt repeated", "p0")]


def test_of_prompts_that_are_nearly_the_same_the_first_is_kept() -> None:
    long = "Tell me in three short lines how a kettle boils water and why it whistles when it is done"
    other = long.replace("kettle", "pot").replace("three", "four")
    found = without_twins(asked(long, f"{long} today", other, "Tell me a joke."))
    assert ids(found) == (["p0", "p2", "p3"], [("p1", "prompt nearly repeated")])
    assert ids(without_twins(asked(long, other), alike=0.4))[0] == ["p0"]


def test_a_twin_of_a_twin_that_was_left_out_is_kept() -> None:
    # b is like a, c is like b alone: b is gone, so c stays.
    found = without_twins(asked("a b c d e f", "b c d e f g", "c d e f g h"), alike=0.6, n=2)
    assert ids(found) == (["p0", "p2"], [("p1", "prompt nearly repeated")])


def test_the_same_words_in_the_same_grams_are_twins_at_most_likeness_and_others_are_not() -> None:
    found = without_twins(asked("a b c d", "a b c d!", "a b c e"), alike=1.0)
    assert ids(found) == (["p0", "p2"], [("p1", "prompt repeated")])


def test_prompts_without_words_are_twins_of_nothing() -> None:
    assert ids(without_twins(asked("?", "!")))[0] == ["p0", "p1"]


@pytest.mark.parametrize(("alike", "n"), [(0.0, 3), (1.1, 3), (-1.0, 3), (0.5, 0)])
def test_impossible_likeness_is_refused(alike: float, n: int) -> None:
    with pytest.raises(SettingsError, match=f"alike is {alike} and n is {n}"):
        without_twins(asked("a"), alike, n)


def plainly(items: Sequence[Instructed], alike: float, n: int) -> list[str]:
    """Compare each with each that was kept."""
    kept: list[Instructed] = []
    for item in items:
        mine = set(grams(item.prompt, n))
        others = [set(grams(other.prompt, n)) for other in kept]
        if not any(mine and len(mine & other) >= alike * len(mine | other) for other in others):
            kept.append(item)
    return [item.id for item in kept]


@pytest.mark.parametrize("alike", [0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 1.0])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_twins_are_found_as_by_comparing_all_with_all(alike: float, n: int) -> None:
    rng = random.Random(f"{alike}/{n}")
    items = asked(*(" ".join(rng.choices("abcdef", k=rng.randrange(9))) for _ in range(150)))
    assert ids(without_twins(items, alike, n))[0] == plainly(items, alike, n)


# Length, clashes


def test_prompts_outside_the_bounds_are_left_out_with_their_length() -> None:
    kept, failures = within(asked("Hi.", "Say hello.", "Say hello to all."), 2, 3)
    assert [item.id for item in kept] == ["p1"]
    found = [(f.id, f.reason, f.detail) for f in failures]
    assert found == [("p0", "prompt too short", "1 words"), ("p2", "prompt too long", "4 words")]


def test_what_a_solver_finds_is_the_detail_of_what_is_left_out() -> None:
    def clash(item: Instructed) -> str | None:
        return "no capitals, and all capitals" if "capitals" in item.prompt else None

    kept, failures = solvable(asked("In capitals, without capitals.", "In small letters."), clash)
    assert [item.id for item in kept] == ["p1"]
    assert [(f.id, f.reason, f.detail) for f in failures] == [
        ("p0", "constraints clash", "no capitals, and all capitals")
    ]
