"""IFEval's 25 types of instruction by their published ids, and what each may be asked for.

Instruction-Following Evaluation for Large Language Models, https://arxiv.org/abs/2311.07911. The checkers are our own
and need no download; `tests/tasks/test_instructions_parity.py` compares them with those of lm-eval. Where they differ
on purpose, the checker says so; a value of 0 is kept here, where lm-eval draws a random one instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from sparring.tasks.instructions import shape, wording
from sparring.tasks.instructions.core import Checker
from sparring.tasks.instructions.languages import LANGUAGES

CHECKERS: Mapping[str, Checker] = {
    "change_case:capital_word_frequency": wording.capital_word_frequency,
    "change_case:english_capital": wording.in_english_capitals,
    "change_case:english_lowercase": wording.in_english_lowercase,
    "combination:repeat_prompt": wording.starts_with_prompt,
    "combination:two_responses": shape.are_two_responses,
    "detectable_content:number_placeholders": shape.number_placeholders,
    "detectable_content:postscript": shape.has_postscript,
    "detectable_format:constrained_response": shape.has_answer,
    "detectable_format:json_format": shape.is_json,
    "detectable_format:multiple_sections": shape.number_sections,
    "detectable_format:number_bullet_lists": shape.number_bullets,
    "detectable_format:number_highlighted_sections": shape.number_highlights,
    "detectable_format:title": shape.has_title,
    "keywords:existence": wording.has_keywords,
    "keywords:forbidden_words": wording.has_no_forbidden_words,
    "keywords:frequency": wording.keyword_frequency,
    "keywords:letter_frequency": wording.letter_frequency,
    "language:response_language": wording.in_language,
    "length_constraints:nth_paragraph_first_word": shape.nth_paragraph_first_word,
    "length_constraints:number_paragraphs": shape.number_paragraphs,
    "length_constraints:number_sentences": shape.number_sentences,
    "length_constraints:number_words": shape.number_words,
    "punctuation:no_comma": wording.has_no_comma,
    "startend:end_checker": wording.ends_with,
    "startend:quotation": wording.is_quoted,
}
"""By instruction id."""


def _count(value: Any) -> int:
    """Return a whole number >= 0; a table with gaps may have made a float of it."""
    whole = value.is_integer() if isinstance(value, float) else isinstance(value, int)
    if not whole or isinstance(value, bool) or value < 0:
        raise ValueError("a whole number of 0 or more")
    return int(value)


def _place(value: Any) -> int:
    if _count(value) < 1:
        raise ValueError("a whole number of 1 or more")
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a string that is not blank")
    return value


def _texts(value: Any) -> list[str]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise ValueError("a list of strings, at least one")
    return [_text(one) for one in cast(Sequence[Any], value)]


def _sign(value: Any) -> str:
    if not isinstance(value, str) or len(value.strip()) != 1:
        raise ValueError("a single letter")
    return value.strip()


def _one_of(choices: Sequence[str]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return value

    return read


_relation = _one_of((wording.LESS, wording.LEAST))

ARGUMENTS: Mapping[str, Callable[[Any], Any]] = {
    "capital_frequency": _count,
    "capital_relation": _relation,
    "end_phrase": _text,
    "first_word": _text,
    "forbidden_words": _texts,
    "frequency": _count,
    "keyword": _text,
    "keywords": _texts,
    "language": _one_of(LANGUAGES),
    "let_frequency": _count,
    "let_relation": _relation,
    "letter": _sign,
    "nth_paragraph": _place,
    "num_bullets": _count,
    "num_highlights": _count,
    "num_paragraphs": _count,
    "num_placeholders": _count,
    "num_sections": _count,
    "num_sentences": _count,
    "num_words": _count,
    "postscript_marker": _text,
    "prompt_to_repeat": _text,
    "relation": _relation,
    "section_spliter": _text,
}
"""By name: returns the value as a checker takes it; raises ValueError saying what it should be."""
