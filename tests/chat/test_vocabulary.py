"""Words that a small model knows, and those that it does not."""

from __future__ import annotations

import pytest

from sparring.chat.vocabulary import Vocabulary
from sparring.engines.scripted import Scripted
from sparring.worlds import open_engine


@pytest.fixture(scope="module")
def words() -> Vocabulary:
    return Vocabulary.of(open_engine("world:concierge/policy"))


def test_what_is_known_needs_no_word(words: Vocabulary) -> None:
    assert words.unknown("Where should we eat for a graduation?\nI like thai food.") == ""


def test_each_unknown_word_is_named_once_with_what_is_near(words: Vocabulary) -> None:
    assert words.missing("Where is xyzzy, xyzzy and Graduation?") == ["xyzzy", "Graduation"]
    note = words.unknown("Where is Graduation?")
    assert "'Graduation' (perhaps 'graduation'" in note and "/words" in note


def test_marks_of_the_template_are_no_words(words: Vocabulary) -> None:
    assert not any("<|" in word for word in words.words) and "food" in words.words


def test_a_vocabulary_whose_words_begin_with_spaces_is_listed_without(words: Vocabulary) -> None:
    verses = Vocabulary.of(open_engine("world:instructions/policy"))
    assert "waves" in verses.words and len(set(verses.words)) == len(verses.words)
    assert verses.missing("Write about the sea\nMention the number 7") == []
    assert verses.missing("Write about the moon")


def test_of_an_engine_that_does_not_tell_everything_is_known() -> None:
    free = Vocabulary.of(Scripted(lambda request: ""))
    assert free.unknown("xyzzy") == "" and "write as you like" in free.listed()
