"""Our own checkers of IFEval's 25 types, what it is to follow strictly and loosely, and what no text may break."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.tasks.instructions import CHECKERS, Instructed, Instruction, follow, follow_loosely, variants
from sparring.tasks.instructions.counting import capitals, sentences
from sparring.tasks.instructions.languages import LANGUAGES, languages_of
from tests.tasks.languages import OTHERS, SAID

WITH: dict[str, dict[str, Any]] = {
    "change_case:capital_word_frequency": {"capital_frequency": 2, "capital_relation": "at least"},
    "change_case:english_capital": {},
    "change_case:english_lowercase": {},
    "combination:repeat_prompt": {"prompt_to_repeat": "Say hi. "},
    "combination:two_responses": {},
    "detectable_content:number_placeholders": {"num_placeholders": 2},
    "detectable_content:postscript": {"postscript_marker": "P.P.S"},
    "detectable_format:constrained_response": {},
    "detectable_format:json_format": {},
    "detectable_format:multiple_sections": {"section_spliter": "Section", "num_sections": 2},
    "detectable_format:number_bullet_lists": {"num_bullets": 2},
    "detectable_format:number_highlighted_sections": {"num_highlights": 2},
    "detectable_format:title": {},
    "keywords:existence": {"keywords": ["C++", "sun"]},
    "keywords:forbidden_words": {"forbidden_words": ["sun", "C++"]},
    "keywords:frequency": {"keyword": "sun", "frequency": 2, "relation": "less than"},
    "keywords:letter_frequency": {"letter": "#", "let_frequency": 2, "let_relation": "at least"},
    "language:response_language": {"language": "de"},
    "length_constraints:nth_paragraph_first_word": {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Sun"},
    "length_constraints:number_paragraphs": {"num_paragraphs": 2},
    "length_constraints:number_sentences": {"num_sentences": 2, "relation": "less than"},
    "length_constraints:number_words": {"num_words": 3, "relation": "at least"},
    "punctuation:no_comma": {},
    "startend:end_checker": {"end_phrase": "That is all."},
    "startend:quotation": {},
}
"""What each type is asked with below."""
OBEYED: list[tuple[str, str]] = [
    ("change_case:capital_word_frequency", "An ALL-CAPS word and NASA"),
    ("change_case:capital_word_frequency", "only IT'S, as two words"),
    ("change_case:english_capital", "IT IS THE END OF THE DAY, 24 HOURS."),
    ("change_case:english_lowercase", "it is the end of the day."),
    ("combination:repeat_prompt", "  say HI. hi"),
    ("combination:two_responses", "one******two"),
    ("combination:two_responses", "******\none\n******\ntwo\n******"),
    ("detectable_content:number_placeholders", "Dear [name] of [place] [more"),
    ("detectable_content:postscript", "Bye.\n\np. p. s. more"),
    ("detectable_format:constrained_response", "Well: My answer is maybe. Or not."),
    ("detectable_format:json_format", '```json\n{"a": [1, 2]}\n```'),
    ("detectable_format:multiple_sections", "Section 1\na\nSection 2\nb\nSection 3"),
    ("detectable_format:number_bullet_lists", "a\n * b\n- c\n**d**"),
    ("detectable_format:number_highlighted_sections", "*a b* and **c**"),
    ("detectable_format:title", "so\n<<A day>>\nit was"),
    ("keywords:existence", "c++ in the SUNNY south"),
    ("keywords:forbidden_words", "sunny, C+ and C"),
    ("keywords:frequency", "sunny"),
    ("keywords:letter_frequency", "#one #two"),
    ("language:response_language", SAID["de"]),
    ("language:response_language", "12345"),
    ("length_constraints:nth_paragraph_first_word", "one\n\n'Sun, two"),
    ("length_constraints:number_paragraphs", "***\none\n***\ntwo"),
    ("length_constraints:number_sentences", "Mr. J. Smith of the U.S. Army said 3.5"),
    ("length_constraints:number_words", "one, two-three"),
    ("punctuation:no_comma", "one; two"),
    ("startend:end_checker", 'So "THAT is all."'),
    ("startend:quotation", ' "so"\n'),
]
BROKEN: list[tuple[str, str]] = [
    ("change_case:capital_word_frequency", "An ALL-CAPS word"),
    ("change_case:english_capital", "IT IS THE END of THE DAY"),
    ("change_case:english_capital", SAID["de"].upper()),
    ("change_case:english_lowercase", SAID["en"]),
    ("combination:repeat_prompt", "You said: Say hi."),
    ("combination:two_responses", "one ****** one"),
    ("combination:two_responses", "one ****** ****** two"),
    ("combination:two_responses", "one ****** two ****** three"),
    ("detectable_content:number_placeholders", "[one] [\n]"),
    ("detectable_content:postscript", "P.S. more"),
    ("detectable_format:constrained_response", "my answer is yes."),
    ("detectable_format:json_format", "Sure: {}"),
    ("detectable_format:json_format", "[" * 200_000),
    ("detectable_format:multiple_sections", "section 1 section 2"),
    ("detectable_format:number_bullet_lists", "* a\n* b\n* c"),
    ("detectable_format:number_highlighted_sections", "*a* * * **"),
    ("detectable_format:title", "<<  >>\n<<\n>>"),
    ("keywords:existence", "C and sun"),
    ("keywords:forbidden_words", "in the SUN."),
    ("keywords:forbidden_words", "in C++, say"),
    ("keywords:frequency", "sunny sun"),
    ("keywords:letter_frequency", "#one"),
    ("language:response_language", OTHERS["nl"]),
    ("length_constraints:nth_paragraph_first_word", "one\n\n\n\nsun"),
    ("length_constraints:nth_paragraph_first_word", "one\n\nSunny"),
    ("length_constraints:number_paragraphs", "one\n\ntwo"),
    ("length_constraints:number_paragraphs", "one *** *** two"),
    ("length_constraints:number_sentences", "Wow!! It was."),
    ("length_constraints:number_words", "one, two"),
    ("punctuation:no_comma", "one, two"),
    ("startend:end_checker", "That is all. Bye."),
    ("startend:quotation", '"'),
]


def asking(*ids: str) -> Instructed:
    return Instructed("1", "prompt", tuple(Instruction(id, WITH[id]) for id in ids))


def named(case: tuple[str, str]) -> str:
    return f"{case[0]}: {case[1][:30]!r}"


@pytest.mark.parametrize("case", OBEYED, ids=named)
def test_what_obeys(case: tuple[str, str]) -> None:
    assert follow(asking(case[0]), case[1], CHECKERS) == [True]


@pytest.mark.parametrize("case", BROKEN, ids=named)
def test_what_does_not(case: tuple[str, str]) -> None:
    assert follow(asking(case[0]), case[1], CHECKERS) == [False]


def test_every_type_was_tried_both_ways() -> None:
    assert WITH.keys() == CHECKERS.keys() == dict(OBEYED).keys() == dict(BROKEN).keys()


def test_a_bound_of_zero_is_a_bound() -> None:
    zero = dict.fromkeys(("num_bullets", "num_words", "frequency", "num_paragraphs"), 0)
    assert CHECKERS["detectable_format:number_bullet_lists"]("no list", num_bullets=zero["num_bullets"])
    assert not CHECKERS["detectable_format:number_bullet_lists"]("- a", num_bullets=0)
    assert not CHECKERS["length_constraints:number_words"]("a", num_words=0, relation="less than")
    assert CHECKERS["keywords:frequency"]("a", keyword="b", frequency=0, relation="at least")


# Strictly and loosely


@pytest.mark.parametrize("text", ["", " \n\t", "\u2028"])
def test_an_empty_response_obeys_nothing(text: str) -> None:
    asked = asking("punctuation:no_comma", "length_constraints:number_sentences")
    assert follow(asked, text, CHECKERS) == follow_loosely(asked, text, CHECKERS) == [False, False]


def test_a_prompt_without_instructions_gives_an_empty_list() -> None:
    asked = Instructed("1", "prompt")
    assert follow(asked, "text", CHECKERS) == follow_loosely(asked, "text", CHECKERS) == []


def test_the_variants_leave_out_the_first_line_the_last_both_and_the_asterisks() -> None:
    assert variants("*a*\nb\nc*") == ["*a*\nb\nc*", "b\nc*", "*a*\nb", "b", "a\nb\nc", "b\nc", "a\nb", "b"]


def test_different_instructions_may_be_obeyed_by_different_variants() -> None:
    text = 'Sure, here it is:\n"it is so"\nThat is all.'
    asked = asking("startend:quotation", "startend:end_checker", "punctuation:no_comma")
    assert follow(asked, text, CHECKERS) == [False, True, False]
    assert follow_loosely(asked, text, CHECKERS) == [True, True, True]


ASKED = asking(*CHECKERS)
TEXTS = st.text(alphabet=st.sampled_from(' \n*-"[]<>{}`.,!?#aZé1中ю\u2028\u0301'), max_size=80) | st.text(max_size=80)


@given(TEXTS)
def test_whatever_a_model_says_is_checked_and_loosely_is_never_less(text: str) -> None:
    strict, loose = follow(ASKED, text, CHECKERS), follow_loosely(ASKED, text, CHECKERS)
    assert all(type(one) is bool for one in [*strict, *loose])
    assert all(later or not first for first, later in zip(strict, loose, strict=True))
    assert strict == follow(ASKED, text, CHECKERS)


@pytest.mark.parametrize(
    "piece", ["\n", " ", "*", "[", "<<", ">", "a", "- \n", '"', "(a+)+$", "中", "1.", "Section ", "\u0301"]
)
def test_an_enormous_response_is_checked_in_a_moment(piece: str) -> None:
    start = time.process_time()
    assert len(follow(ASKED, piece * 40_000, CHECKERS)) == 25
    assert time.process_time() - start < 5


def test_a_keyword_is_no_regular_expression() -> None:
    assert not CHECKERS["keywords:existence"]("aaa", keywords=["a+"])
    assert CHECKERS["keywords:existence"]("A+B", keywords=["a+"])
    assert CHECKERS["keywords:existence"]("a" * 4000 + "!", keywords=["(a+)+$"]) is False
    assert not CHECKERS["detectable_format:multiple_sections"]("aa 1", section_spliter="a.", num_sections=1)


# Counting


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        (" \n", 0),
        ("no end", 1),
        ("One. Two! Three? Four", 4),
        ("One.\n\nTwo.", 2),
        ('He said: "Go." Then he went.', 2),
        ("It is 3.5 m. It is v1.2.", 2),
        ("Dr. A. B. Lee of Acme Inc. lives at No. 5, e.g. here.", 2),
        ("Acme Inc. It grew.", 2),
        ("Wait... what? Wait... What?", 3),
        ("In 2024. and so on", 1),
        ("Visit example.com. Now.", 2),
        ("Really?! Yes!!", 2),
        ("寒い。晴れた。", 2),
        ("یہ ہے۔ وہ ہے۔", 2),
        ("*So it is.* And so.", 2),
        ("In the U.S. Army. In the U.S. It is.", 3),
        ("J. A. Smith", 1),
    ],
)
def test_sentences(text: str, expected: int) -> None:
    assert sentences(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("A b C", 2),
        ("NASA's, NASA-BUILT (U.S.A.)", 3),
        ("DON'T CANNOT WE'LL", 6),
        ("A1 11 R&B A,B 1,A", 6),
        ("Été ÉTÉ", 1),
        ("WHAT...NOW--THEN", 3),
    ],
)
def test_words_in_capitals(text: str, expected: int) -> None:
    assert capitals(text) == expected


# Languages


@pytest.mark.parametrize("code", [*SAID, *OTHERS])
def test_a_language_is_told_from_the_others_in_capitals_too(code: str) -> None:
    text = {**SAID, **OTHERS}[code]
    assert languages_of(text) == languages_of(f"* {text}\n12 %") == {code}
    if code != "tr":  # İ and I
        assert languages_of(text.upper()) == {code}


def test_ifevals_languages_are_all_known() -> None:
    assert len(SAID) == 30
    assert {*SAID, *OTHERS} == set(LANGUAGES)


def test_what_cannot_be_told_may_be_any_language_of_its_script_and_another_script_is_none() -> None:
    assert languages_of("3 + 4 = 7 !") == set(LANGUAGES)
    assert {"en", "fi", "sw"} <= languages_of("Hmm zzz") and "ru" not in languages_of("Hmm zzz")
    assert languages_of("Καλημέρα") == set()
    assert languages_of("東京タワー") == {"ja"}
    assert languages_of(f"{SAID['ru']} (the bus)") == {"ru"}


def test_checking_loads_nothing_that_downloads() -> None:
    script = (
        "import sys\nfrom sparring.tasks.instructions import CHECKERS\n"
        "CHECKERS['language:response_language']('so it is', language='en')\n"
        "print([name for name in ('nltk', 'langdetect', 'datasets', 'torch', 'aiohttp') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
