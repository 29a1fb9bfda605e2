"""What is shown of rollouts: values, their JSON, marks between two texts, ranks among siblings."""

from __future__ import annotations

import json

import pytest

from sparring.report.browse.core import CUT, MOST_TITLE, Grid, Link, Mark, Message, Node, title
from sparring.report.browse.marks import differing
from sparring.report.browse.saying import weighed
from sparring.report.browse.siblings import MOST, Siblings


def shown(text: str, marks: tuple[Mark, ...]) -> list[str]:
    return [text[mark.start : mark.end] for mark in marks]


@pytest.mark.parametrize("text", ["ab<b>cd", "a😀b<b>cd", "\ud800x\u202e<b>é", "😀😀\x00<b>"])
def test_marks_are_counted_as_javascript_counts_characters(text: str) -> None:
    start = text.index("<b>")
    mark = Message("policy", text, (Mark(start, start + 3, "wrong"),)).row()["marks"][0]
    units = text.encode("utf-16-le", "surrogatepass")
    assert units[2 * mark["start"] : 2 * mark["end"]].decode("utf-16-le") == "<b>"
    assert mark["kind"] == "wrong"


def test_what_is_absent_is_left_out_and_a_weight_of_nothing_is_not() -> None:
    assert Message("user", "").row() == {"who": "user", "text": ""}
    assert Message("user", "x", weight=0.0).row() == {"who": "user", "text": "x", "weight": 0.0}
    node = Node(0, None, 0, 0.0, "text", "", ())
    assert node.row() == {"id": 0, "depth": 0, "value": 0.0, "text": "text"}


def test_a_grid_says_none_where_nothing_is_known() -> None:
    row = Grid("siblings", ("rollout", "nats"), [["a", None]], (Link("a", "g", "a"),)).row()
    assert row["rows"] == [["a", None]] and row["links"] == [{"label": "a", "group": "g", "entry": "a"}]
    assert row["kind"] == "table"


def test_a_title_is_one_line_of_at_most_120_characters() -> None:
    assert title("  two\nlines\u2028and  a\ttab ") == "two lines and a tab"
    long = title("😀" * 1_000_000)
    assert len(long) == MOST_TITLE and long.endswith(CUT)
    assert title(" " * 1_000_000 + "x") == "x"


def test_a_title_with_any_character_can_be_written_as_json() -> None:
    assert json.loads(json.dumps(title("\ud800 \x00 \u202e"))) == "\ud800 \x00 \u202e"


# Marks


def test_what_differs_in_a_line_is_marked_by_whole_words_on_both_sides() -> None:
    before, after = "(1) 30 + 5 = 34\n(2) 1 + 1 = 2", "(1) 30 + 5 = 35\n(2) 1 + 1 = 2"
    wrong, mended = differing(before, after)
    assert shown(before, wrong) == ["34"] and shown(after, mended) == ["35"]
    assert {mark.kind for mark in wrong} == {"wrong"} and {mark.kind for mark in mended} == {"mended"}


def test_a_line_that_was_put_in_is_marked_and_nothing_else() -> None:
    before, after = "one\ntwo\nthree", "one\nnew line\ntwo\nthree"
    wrong, mended = differing(before, after)
    assert wrong == () and shown(after, mended) == ["new line"]


def test_texts_that_are_alike_or_empty_have_no_marks() -> None:
    assert differing("same", "same") == ((), ())
    assert differing("", "") == ((), ())
    assert shown("new", differing("", "new")[1]) == ["new"]


@pytest.mark.parametrize("before, after", [("x" * 300_000, "x" * 299_999 + "y"), ("a\n" * 50_000, "b\n" * 50_000)])
def test_texts_of_any_length_are_compared_at_once(before: str, after: str) -> None:
    for text, marks in zip((before, after), differing(before, after), strict=True):
        assert marks and all(0 <= mark.start < mark.end <= len(text) for mark in marks)


def test_what_is_learned_of_a_message_in_part_is_marked() -> None:
    message = weighed("policy", "wrong right", [[6, 0.0], [5, 1.5]])
    assert message.weight == 1.5 and shown(message.text, message.marks) == ["right"]
    assert message.marks[0].kind == "learned" and "0, 1.5" in message.note


# Siblings


def test_rank_1_is_the_highest_value_and_equals_share_a_rank() -> None:
    found = Siblings.among([("a", "t", -3.0), ("b", "t", -1.0), ("c", "t", -3.0), ("d", "t", None), ("e", "u", -9.0)])
    assert [found.place(id) for id in "abcde"] == [(2, 3), (1, 3), (2, 3), (None, None), (1, 1)]
    assert found.told("a") == "2 of 3" and found.told("d") is None


def test_the_grid_of_siblings_leads_to_each_but_the_one_looked_at() -> None:
    found = Siblings.among([("a", "t", -3.0), ("b", "t", -1.0), ("c", "u", 0.0)])
    grid = found.grid("a", "round-1/x", "nats", lambda id: "learned" if id == "b" else "")
    assert [*map(list, grid.rows)] == [["b", -1.0, 1, "learned"], ["a (this)", -3.0, 2, ""]]
    assert grid.links == (Link("b", "round-1/x", "b"), None)


def test_of_many_siblings_the_best_are_shown_and_the_one_looked_at() -> None:
    found = Siblings.among((f"r{n}", "t", float(-n)) for n in range(200))
    grid = found.grid("r150", "g", "nats", lambda id: "")
    assert len(grid.rows) == MOST + 1 and grid.rows[-1][0] == "r150 (this)" and grid.rows[-1][2] == 151
    assert f"{MOST} of 200" in grid.label
