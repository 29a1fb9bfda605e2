"""The loop, drawn twice: every step with who speaks, in order, for wide pages and for narrow ones."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest

from sparring.report.steps import Topology, topology
from sparring.report.topology import NARROW, STYLE, WIDE, loop
from tests.report.test_charts import HOSTILE

ASKING = {"init": "base", "samples": 10, "keep": 1, "rounds": 2, "selection": "best", "closing": "own"}
REFINING = {"init": "previous", "samples": 5, "votes": 5, "rounds": 3, "learn_from": "refined"}


def of(boxes: int = 6, **more: Any) -> Topology:
    steps = tuple((f"Step {n}", f"It does what step {n} does.", "policy") for n in range(boxes))
    return Topology(
        **{"recipe": "x", "init": None, "reference": None, "data": "this round", "splits": None} | more,
        rounds=3,
        boxes=steps,
    )


def drawings(svg: str) -> tuple[ElementTree.Element, ElementTree.Element]:
    wide, narrow = ElementTree.fromstring(f"<both>{svg}</both>")
    return wide, narrow


def texts(drawing: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in drawing.iter() if element.tag.endswith("}text")]


def boxes(drawing: ElementTree.Element) -> list[tuple[float, float, float, float]]:
    """Return the left, upper, right and lower edge of each box."""
    found: list[tuple[float, float, float, float]] = []
    for group in drawing:
        if group.tag.endswith("}g"):
            x, y = (float(number) for number in re.findall(r"[\d.]+", group.get("transform", "")))
            rect = group[0]
            found.append((x, y, x + float(rect.get("width", "")), y + float(rect.get("height", ""))))
    return found


@pytest.mark.parametrize(("recipe", "settings"), [("star-gate", ASKING), ("tripost", {}), ("spar", REFINING)])
def test_a_loop_shows_its_steps_in_order_with_who_speaks(recipe: str, settings: dict[str, Any]) -> None:
    told = topology(recipe, settings)
    for drawing in drawings(loop(told)):
        names = [name for name, _, _ in told.boxes]
        assert [text for text in texts(drawing) if text in names] == names
        assert {who for _, _, who in told.boxes if who} <= set(texts(drawing))
        words = " ".join(texts(drawing))
        assert all(word in words for _, what, _ in told.boxes for word in what.split())


def test_what_a_round_starts_from_is_anchored_to_and_learns_is_at_its_training() -> None:
    told = topology("spar", REFINING)
    for drawing in drawings(loop(told)):
        words = " ".join(texts(drawing))
        assert "goes on from the round before" in words and "anchored to the model that the round" in words
        assert "tasks: those that no other round" in words and "next round, 3 in all" in words
    once = " ".join(texts(drawings(loop(of(data="round 1", init="base", splits="alternate")))[0]))
    assert "learns what round 1 did" in once and "starts from m_0 in every round" in once and "split A" in once


def test_the_loop_is_said_in_words_as_well() -> None:
    for drawing in drawings(loop(topology("star-gate", ASKING))):
        assert drawing.get("role") == "img"
        title, said = drawing[0].text or "", drawing[1].text or ""
        assert title == "The loop of this run"
        assert said.index("Roll out (policy, roleplayer): 10 conversations") < said.index("Then: Signal (base (m_0)):")
        assert said.endswith("starts from m_0 in every round. next round, 2 in all.")


@pytest.mark.parametrize("n", range(1, 9))
def test_no_box_covers_another_and_all_is_inside(n: int) -> None:
    for drawing, width in zip(drawings(loop(of(n, init="base", splits="same"))), (WIDE, NARROW), strict=True):
        height = float(drawing.get("height", ""))
        found = boxes(drawing)
        assert len(found) == n
        assert all(left > 0 and right < width and upper > 0 and lower < height for left, upper, right, lower in found)
        for a, b in pairwise(sorted(found, key=lambda box: (box[1], box[0]))):
            assert a[2] < b[0] or a[3] < b[1]
        for element in drawing.iter():
            if element.tag.endswith("}path") and "L" in element.get("d", "") and element.get("fill") == "none":
                numbers = [float(number) for number in re.findall(r"-?[\d.]+", element.get("d", ""))]
                assert all(0 < x < width for x in numbers[::2]) and all(0 < y < height for y in numbers[1::2])


def test_a_page_shows_the_one_that_fits() -> None:
    wide, narrow = drawings(loop(of()))
    assert (wide.get("class"), wide.get("display")) == ("loop loop-wide", None)
    assert (narrow.get("class"), narrow.get("display")) == ("loop loop-narrow", "none"), "without a style sheet: one"
    assert ".loop-wide" in STYLE and ".loop-narrow" in STYLE
    assert int(narrow.get("width", "")) < 360


def test_a_loop_of_which_nothing_is_known_is_not_drawn() -> None:
    assert loop(topology("chess", {})) == ""


def test_a_loop_has_the_pages_colours_alone() -> None:
    svg = loop(of(init="base"))
    assert set(re.findall(r'(?:fill|stroke)="([^"]*)"', svg)) <= {
        "none",
        *(f"var(--{name})" for name in ("ink", "muted", "line", "accent", "paper")),
    }
    assert not re.search(r"style=| id=|href", svg)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text(text: str) -> None:
    told = Topology("x", "base", text, text, None, 2, ((text, text, text), ("Train", text, text)), (text,))
    svg = loop(told)
    for drawing in drawings(svg):
        tags = {element.tag.split("}")[1] for element in drawing.iter()}
        assert tags <= {"svg", "title", "desc", "text", "path", "rect", "g"}
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff\ufffe\uffff]", svg)
    assert len(svg) < 30_000
