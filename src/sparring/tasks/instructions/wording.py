"""IFEval's checkers of what a text says: keywords, letters, language, case, its start and its end.

What a keyword is made of is taken as it stands. IFEval takes it for a regular expression, so that `C++` is an error
there and `etc.` finds `etch`; for keywords of letters, digits and spaces the two agree.
"""

from __future__ import annotations

import re

from sparring.tasks.instructions.counting import capitals
from sparring.tasks.instructions.languages import languages_of

Relation = str
"""`less than` or `at least`: IFEval has no others."""
LESS, LEAST = "less than", "at least"


def holds(count: int, relation: Relation, bound: int) -> bool:
    """Tell whether a count is less than a bound, or at least it."""
    return count < bound if relation == LESS else count >= bound


def has_keywords(text: str, *, keywords: list[str]) -> bool:
    """Tell whether each keyword is there, in words or within them, in capitals or not."""
    return all(_count(keyword, text) for keyword in keywords)


def keyword_frequency(text: str, *, keyword: str, frequency: int, relation: Relation) -> bool:
    """Tell whether a keyword is there so often, in words or within them."""
    return holds(_count(keyword.strip(), text), relation, frequency)


def has_no_forbidden_words(text: str, *, forbidden_words: list[str]) -> bool:
    """Tell whether none of the words is there as a word of its own."""
    return not any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.I) for word in forbidden_words)


def letter_frequency(text: str, *, letter: str, let_frequency: int, let_relation: Relation) -> bool:
    """Tell whether a letter is there so often, in capitals or not.

    Any sign is counted: IFEval has prompts about `#` and `!`, for which its own checkers draw a random letter.
    """
    return holds(text.lower().count(letter.lower()), let_relation, let_frequency)


def in_language(text: str, *, language: str) -> bool:
    """Tell whether a text may be in a language, by its code. A text without letters may be in any, as in IFEval."""
    return language in languages_of(text)


def in_english_capitals(text: str) -> bool:
    return text.isupper() and in_language(text, language="en")


def in_english_lowercase(text: str) -> bool:
    return text.islower() and in_language(text, language="en")


def capital_word_frequency(text: str, *, capital_frequency: int, capital_relation: Relation) -> bool:
    """Tell whether there are so many words in capitals; a hyphenated word is one, IT'S is two."""
    return holds(capitals(text), capital_relation, capital_frequency)


def has_no_comma(text: str) -> bool:
    return "," not in text


def starts_with_prompt(text: str, *, prompt_to_repeat: str) -> bool:
    """Tell whether a text begins with the prompt, in capitals or not."""
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def ends_with(text: str, *, end_phrase: str) -> bool:
    """Tell whether a text ends with a phrase, in capitals or not, quotation marks behind it left out."""
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def is_quoted(text: str) -> bool:
    """Tell whether a text stands between double quotation marks."""
    bare = text.strip()
    return len(bare) > 1 and bare[0] == bare[-1] == '"'


def _count(keyword: str, text: str) -> int:
    return len(re.findall(re.escape(keyword), text, re.I))
