"""Text from a run is text wherever a card puts it."""

from __future__ import annotations

import ast
import html
import re

import yaml
from hypothesis import given
from hypothesis import strategies as st

from sparring.export.words import code, fenced, finalize, keywords, literal, prose, yaml_text

HARD = st.text(st.sampled_from("`~<>&|*_[](){}#!\\$@:/.-+=\"' \n\r\t\x00\u202e\u2028\ud800wa😀"), max_size=40)


@given(HARD)
def test_prose_is_one_line_without_a_mark_that_is_not_escaped(text: str) -> None:
    shown = prose(text)
    assert "\n" not in shown and "<" not in shown and ">" not in shown
    bare = re.sub(r"\\[\\`*_{}\[\]#|~!$^@:.]", "", html.unescape(shown.replace("&lt;", "").replace("&gt;", "")))
    assert not re.search(r"[\\`*_{}\[\]#|~!$^@]|://", bare), shown
    assert not re.search("[\x00-\x08\u202e\u2028\ud800]", shown)


@given(HARD)
def test_no_line_of_a_text_closes_the_block_around_it(text: str) -> None:
    first, *lines, last = fenced(text).split("\n")
    ticks = first.removesuffix("text")
    assert set(ticks) == {"`"} and len(ticks) >= 3 and last == ticks
    assert not any(ticks in line for line in lines)


@given(HARD)
def test_code_within_a_line_holds_its_text_alone(text: str) -> None:
    shown = code(text)
    found = re.fullmatch(r"(`+)(?!`)(.*?)(?<!`)\1", shown)
    assert found and found[1] not in re.findall("`+", found[2])


@given(HARD)
def test_a_string_of_yaml_is_that_string_and_nothing_more(text: str) -> None:
    read = yaml.safe_load(f"name: {yaml_text(text)}\nafter: 1")
    assert read.keys() == {"name", "after"} and isinstance(read["name"], str)


@given(st.text(max_size=60) | HARD)
def test_a_string_in_python_is_the_text_to_the_last_character(text: str) -> None:
    source = literal(text)
    assert ast.literal_eval(source) == text
    assert source.isprintable() or "\n" in source


def test_numbers_by_name_are_a_dict_in_python() -> None:
    assert ast.literal_eval(keywords({"do_sample": False, "top_p": None, "n": 0.9})) == {
        "do_sample": False,
        "top_p": None,
        "n": 0.9,
    }


def test_whatever_a_template_puts_in_is_prose_unless_it_was_made_something_else() -> None:
    assert finalize("<b>") == "&lt;b&gt;"
    assert finalize(code("<b>")) == "`<b>`"
    assert finalize(7) == "7"
