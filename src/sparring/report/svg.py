"""Matplotlib's SVG made small, and dressed in the page's colours.

What matplotlib writes has a font in every text, a clip path a line and colours of its own. Here only shapes and texts
are kept; each colour is one of the page's CSS variables, so that a chart is light or dark as its page is. There are no
ids, no styles, no dates: the same figures give the same bytes, and a page that forbids inline styles shows them.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import cache
from io import StringIO
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from sparring.visible import visible

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure

PAINTS = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    "#040404": "var(--accent)",
    "#050505": "var(--paper)",
}
"""What a colour that is drawn with becomes."""
INK, MUTED, LINE, ACCENT, PAPER = PAINTS
ALONE = threading.Lock()
"""Matplotlib's settings belong to the whole process."""
NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
KEPT = ("fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "font-size")
KEPT_OF_TEXT = ("font-weight", "text-anchor")
AS_IT_IS = {("stroke-linejoin", "miter"), ("stroke-linecap", "butt"), ("text-anchor", "start"), ("stroke-width", "1")}
"""SVG's own defaults, which need no saying."""
NAMESPACE = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
Placed = tuple[str, dict[str, str], str]
"""A shape: tag, attributes, text."""


def plain(text: str, most: int = 200) -> str:
    """Return at most `most` characters of a text, with pictures for characters that cannot be seen."""
    text = NOT_XML.sub("\N{REPLACEMENT CHARACTER}", visible(re.sub(r"\s+", " ", text).strip()))
    return text if len(text) <= most else f"{text[: most - 1]}…"


@cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("sparring.report", "assets")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def rendered(template: str, **values: Any) -> str:
    """Return `assets/TEMPLATE.svg.j2` with its values; every text among them becomes text, never markup."""
    return _templates().get_template(f"{template}.svg.j2").render(**values)


def written(figure: Figure) -> str:
    """Return a figure as matplotlib writes it, with text as text."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    file = StringIO()
    with ALONE, rc_context({"svg.fonttype": "none", "svg.hashsalt": "sparring", "text.parse_math": False}):
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return file.getvalue()


def shapes(figure: Figure) -> list[Placed]:
    """Return what a figure shows, in the order that it is painted in, each with the page's colours."""
    root = ElementTree.fromstring(written(figure))
    marks = {f"#{path.get('id')}": path for path in root.iter(f"{NAMESPACE}path") if path.get("id")}
    return [
        placed
        for element in _painted(root)
        if (placed := _used(element, marks) if element.tag.endswith("}use") else _shape(element))
    ]


def _painted(element: ElementTree.Element) -> Iterator[ElementTree.Element]:
    for child in element:
        tag = child.tag.removeprefix(NAMESPACE)
        if tag in ("defs", "metadata"):
            continue
        if tag in ("path", "use", "text"):
            yield child
        else:
            yield from _painted(child)


def _shape(element: ElementTree.Element) -> Placed | None:
    """Return an element as it is kept; None for one that paints nothing."""
    style = _style(element)
    if element.tag == f"{NAMESPACE}text":
        found = {name: style[name] for name in (*KEPT, *KEPT_OF_TEXT) if name in style}
        place = {name: _short(element.get(name, "0")) for name in ("x", "y")}
        turned = element.get("transform", "")
        if not re.fullmatch(r"rotate\(-?0 .*\)", turned):
            place["transform"] = _short(turned)
        return "text", {**place, **_dressed(found)}, element.text or ""
    if style.get("fill", "none") == "none" and style.get("stroke", "none") == "none":
        return None
    return "path", {"d": _short(element.get("d", "")), **_dressed(style)}, ""


def _used(element: ElementTree.Element, marks: dict[str, ElementTree.Element]) -> Placed | None:
    """Return a mark that is drawn in many places, as a path of this one."""
    mark = marks[element.get(LINK, "")]
    style = f"{mark.get('style', '')};{element.get('style', '')}"
    placed = _shape(ElementTree.Element(f"{NAMESPACE}path", {"d": mark.get("d", ""), "style": style}))
    x, y = (_short(element.get(name, "0")) for name in ("x", "y"))
    return placed and ("path", {**placed[1], "transform": f"translate({x} {y})"}, "")


def _style(element: ElementTree.Element) -> dict[str, str]:
    pairs = (part.partition(":") for part in element.get("style", "").split(";"))
    style = {name.strip(): value.strip() for name, _, value in pairs if value}
    return style if element.tag.endswith("text") or "fill" in style else {"fill": "#000000", **style}


def _dressed(style: dict[str, str]) -> dict[str, str]:
    found = {name: PAINTS.get(style[name], style[name]) for name in (*KEPT, *KEPT_OF_TEXT) if name in style}
    return {name: _short(value) for name, value in found.items() if (name, value) not in AS_IT_IS}


def _short(text: str) -> str:
    """Return a text with its numbers to a tenth of a pixel."""
    found = re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), text)
    return re.sub(r"\s+", " ", found).replace("-0 ", "0 ").strip()
