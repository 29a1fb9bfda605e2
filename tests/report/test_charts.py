"""Charts: what they say in words is what they draw, they take the page's colours, and no text of a run is markup."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from sparring.errors import RunError
from sparring.report import charts
from sparring.report.charts import amount, bars, curve, picture
from sparring.report.record import Metric, Record
from sparring.report.svg import plain
from sparring.runs import Run

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "]]><x/><!--",
    "$\\frac{1}{0}$ m_0^{2}",
    "a\x00b\x1b[31mc\x07d\ue000\ufffe\ud800",
    "‮gnp.exe",
    "漢字 emoji 🙂 العربية",
    "&amp; &lt;",
    "x" * 1_000_000,
)


def measured(value: float, n: int = 500, half: float = 0.02) -> dict[str, Any]:
    return {"value": value, "low": value - half, "high": value + half, "n": n}


def drawn(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in drawn(svg).iter() if element.tag.endswith("}text")]


def said(svg: str) -> str:
    return next(element.text or "" for element in drawn(svg) if element.tag.endswith("}desc"))


def heights(svg: str) -> list[float]:
    """Return how far down each point of a curve stands."""
    places = re.findall(r'<path d="[^"]*C[^"]*"[^>]*transform="translate\([\d.]+ ([\d.]+)\)"', svg)
    return [float(place) for place in places]


def test_a_curve_says_each_round_with_its_interval_and_n() -> None:
    svg = curve("answers preferred", "%", [measured(0.5), measured(0.847, 499)])
    assert drawn(svg).get("role") == "img"
    assert said(svg).startswith(
        "m_0: 50.0 %, 95 % interval 48.0 to 52.0, n = 500; m_1: 84.7 %, 95 % interval 82.7 to 86.7, n = 499."
    )
    assert {"m_0", "m_1", "50.0", "84.7", "%", "answers preferred"} <= set(texts(svg))


def test_better_stands_higher_and_all_points_are_inside() -> None:
    svg = curve("x", "nats", [measured(value) for value in (-8.8, -3.4, -5.0)])
    first, second, third = heights(svg)
    assert second < third < first
    assert all(0 < place < charts.HEIGHT for place in heights(svg))


@pytest.mark.parametrize(
    ("unit", "value", "shown"),
    [
        ("%", 0.5, "50.0"),
        ("points", 0.05, "+5.0"),
        ("points", -0.05, "−5.0"),
        ("nats", -8.79, "−8.8"),
        ("words", 3, "3.0"),
        ("questions", 3, "questions"),
    ],
)
def test_a_number_is_shown_in_its_unit(unit: Any, value: float, shown: str) -> None:
    assert shown in texts(curve("x", unit, [measured(value)]))


def test_a_round_that_is_not_known_is_a_gap_and_no_zero() -> None:
    svg = curve("x", "%", [measured(0.5), None, measured(0.6), measured(0.7)])
    assert "m_1: not known" in said(svg)
    assert len(heights(svg)) == 3 and "0.0" not in texts(svg)
    lines = re.findall(
        r'd="M [\d.]+ [\d.]+( L [\d.]+ [\d.]+)+" fill="none" stroke="var\(--accent\)" stroke-width="1.2"', svg
    )
    assert len(lines) == 1, "the line must not go over the gap"


def test_without_an_interval_none_is_claimed() -> None:
    svg = curve("x", "%", [{"value": 0.5, "low": None, "high": None, "n": 1}])
    assert said(svg).startswith("m_0: 50.0 %, n = 1.")


@pytest.mark.parametrize("rounds", [[], [None, None]])
def test_nothing_measured_says_so(rounds: Sequence[None]) -> None:
    assert "not measured yet" in texts(curve("x", "%", rounds))


def test_many_rounds_are_numbered_at_first_best_and_last() -> None:
    svg = curve("x", "nats", [measured(20 - abs(9 - t)) for t in range(16)])
    assert {"11.0", "20.0", "14.0"} <= set(texts(svg))
    assert "15.0" not in texts(svg), "a number that would stand in another's way"


@pytest.mark.parametrize("values", [(0.0, 0.0), (1.0, 1.0), (1e-9, -1e-9), (1e9, -1e9)])
def test_flat_and_huge_figures_are_drawn_as_well(values: tuple[float, float]) -> None:
    assert len(heights(curve("x", "nats", [measured(value, half=0) for value in values]))) == 2


def test_a_share_has_no_mark_over_a_hundred() -> None:
    marks = [float(text) for text in texts(curve("x", "%", [measured(1.0, half=0)])) if re.fullmatch(r"[\d.]+", text)]
    assert max(marks) == 100


def test_the_same_figures_give_the_same_bytes() -> None:
    assert curve("x", "%", [measured(0.5), None]) == curve("x", "%", [measured(0.5), None])


def test_a_chart_has_the_pages_colours_alone_and_nothing_that_a_strict_page_forbids() -> None:
    for svg in (curve("x", "points", [measured(0.01), measured(-0.01)]), bars("x", [("a", 1.0)], "s")):
        colours = set(re.findall(r'(?:fill|stroke)="([^"]*)"', svg))
        assert colours <= {"none", *(f"var(--{name})" for name in ("ink", "muted", "line", "accent", "paper"))}
        assert not re.search(r"style|<script|<use|<defs| id=|href|font-family", svg)
        assert len(svg) < 15_000


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text(text: str) -> None:
    for svg in (curve(text, "%", [measured(0.5)]), bars(text, [(text, 1.0), ("b", 2.0)], text)):
        tags = {element.tag.split("}")[1] for element in drawn(svg).iter()}
        assert tags <= {"svg", "title", "desc", "text", "tspan", "path", "rect"}
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff\ufffe\uffff]", svg)
        assert len(svg) < 20_000


def test_what_cannot_be_seen_is_shown_as_a_picture() -> None:
    assert plain("a\x00b\n c") == "a␀b c"
    assert "\u202e" not in plain("\u202egnp")


def test_bars_keep_their_order_and_are_as_long_as_their_values() -> None:
    svg = bars("seconds", [("b", 10.0), ("a", 40.0), ("none", 0.0)], "s")
    assert texts(svg) == ["b", "10.0 s", "a", "40.0 s", "none", "0.0 s"]
    widths = [element.get("width") for element in drawn(svg) if element.get("fill") == "var(--accent)"]
    assert widths == ["25.00%", "100.00%", "0.00%"]
    assert said(svg) == "b 10.0 s; a 40.0 s; none 0.0 s"
    assert bars("seconds", [], "s") and bars("seconds", [("a", 0.0)], "s")


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.04, "s", "0.0 s"),
        (59.4, "s", "59.4 s"),
        (59.96, "s", "1 min 00 s"),
        (3725, "s", "1 h 02 min"),
        (1234, "calls", "1,234 calls"),
        (0.5, "USD", "0.50 USD"),
        (3, "", "3"),
    ],
)
def test_an_amount_is_short(value: float, unit: str, shown: str) -> None:
    assert amount(value, unit) == shown


# The picture


def record(tmp_path: Path, recipe: str, metrics: Mapping[str, Sequence[float | None]]) -> Record:
    with Run.open(tmp_path, recipe, {}, "") as run:
        found = Record.read(run)
    rounds = {name: tuple(None if v is None else measured(v) for v in values) for name, values in metrics.items()}
    return replace(found, metrics=tuple(Metric(name, f"the {name}", "%", those) for name, those in rounds.items()))


def test_a_picture_is_a_small_png_in_which_something_is_drawn(tmp_path: Path) -> None:
    made = record(
        tmp_path, "star-gate", {"win_rate": (0.5, 0.8), "questions_relevant": (0.3, None), "facts_right": (0, 1)}
    )
    png = picture(made)
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.size) == ("PNG", charts.PICTURE)
    assert len(png) < 60_000
    assert png == picture(made)
    colours = image.convert("RGB").getcolors(1_000_000) or []
    blue = sum(count for count, colour in colours if math.dist(colour, (0x24, 0x57, 0xC5)) < 10)
    assert blue > 100


def test_a_picture_leads_with_what_the_recipe_is_for(tmp_path: Path) -> None:
    names = ("facts_right", "questions_relevant", "win_rate")
    made = record(tmp_path, "star-gate", dict.fromkeys(names, (0.1, 0.2)))
    assert [metric.name for metric in charts.headlines(made)] == ["win_rate", "questions_relevant"]
    unknown = record(tmp_path / "other", "chess", dict.fromkeys("abcd", (0.1, 0.2)))
    assert [metric.name for metric in charts.headlines(unknown)] == ["a", "b", "c"]


def test_a_run_without_figures_has_no_picture(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no metric to draw yet: its summary.json is written at its end"):
        picture(record(tmp_path / "mine", "star-gate", {}))
