"""The loop of a run, drawn: what each step of a round did in this run, who spoke, and what led where.

It is drawn twice, as a ring for wide pages and as a column for narrow ones. The ring is what shows by itself; a page's
style sheet holds `STYLE`, which shows the other one where the ring would be too small to read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from textwrap import wrap
from typing import TYPE_CHECKING, Literal

from sparring.report.svg import plain, rendered

if TYPE_CHECKING:
    from sparring.report.record import Topology

STYLE = """
.loop { display: block; max-width: 100%; height: auto; }
.loop-narrow { display: none; }
@media (max-width: 760px) { .loop-wide { display: none; } .loop-narrow { display: block; } }
"""
"""What a page needs besides its colours, to show the drawing that fits."""
WIDE, NARROW = 880, 340
"""Pixels of the two drawings."""
GAP, ASIDE = 44, 84
"""Pixels between two boxes, one below the other and side by side, for the arrow and its words."""
LINE = 16
"""Pixels of a line of text."""
LETTER = 7.1
"""Pixels of a letter, of those that are wide."""
BESIDE = 380
"""Pixels of words beside the arrow into a training."""
PAD = 12
"""Pixels between a box and its text."""
MOST = 7
"""Lines of what a step does; a longer text loses its end."""
HEAD, SPEAKER = 28, 18
"""Pixels of a box's name, and of who speaks."""
SPLITS = {
    "alternate": "tasks: split A in odd rounds, B in even ones",
    "fresh": "tasks: those that no other round meets",
    "same": "tasks: the same in every round",
}
GIVEN = {"Train": "rows", "Evaluate": "checkpoint"}
"""What a step is handed by the one before it."""
INIT = {"base": "starts from m_0 in every round", "previous": "goes on from the round before"}


@dataclass(frozen=True, slots=True)
class Box:
    """A step, in pixels."""

    x: float
    y: float
    width: float
    height: float
    name: str
    who: str
    lines: tuple[str, ...]

    @property
    def head(self) -> int:
        """Pixels above the first of the lines."""
        return HEAD + (SPEAKER if self.who else 0)


@dataclass(frozen=True, slots=True)
class Arrow:
    """A line, and where its head points to."""

    path: str
    x: float
    y: float
    angle: int
    """Degrees; 0 is to the right, 90 down."""

    @staticmethod
    def through(*points: tuple[float, float]) -> Arrow:
        (x0, y0), (x, y) = points[-2:]
        angle = (0 if x > x0 else 180) if y == y0 else (90 if y > y0 else -90)
        return Arrow("M" + "L".join(f"{a:g} {b:g}" for a, b in points), x, y, angle)


@dataclass(frozen=True, slots=True)
class Words:
    """Lines beside an arrow; the first line's baseline is at `y`."""

    x: float
    y: float
    lines: tuple[str, ...]
    anchor: Literal["start", "middle", "end"] = "start"


@dataclass(frozen=True, slots=True)
class Drawing:
    """All that is drawn, in pixels."""

    kind: Literal["wide", "narrow"]
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    words: tuple[Words, ...]


def loop(topology: Topology) -> str:
    """Return the drawing, two SVGs of which a page shows one; "" where nothing is known of the loop's steps."""
    steps = [
        Box(0, 0, 0, 0, plain(name, 24), plain(who, 60), (plain(what, 300),)) for name, what, who in topology.boxes
    ]
    if not steps:
        return ""
    drawings = (_ring(steps, topology), _column(steps, topology))
    widths = {"wide": WIDE, "narrow": NARROW}
    return "".join(rendered("loop", **_parts(each), width=widths[each.kind], said=said(topology)) for each in drawings)


def said(topology: Topology) -> str:
    """Return the loop in words, for those who do not see it."""
    told = [f"{plain(name)}{f' ({plain(who)})' if who else ''}: {plain(what)}" for name, what, who in topology.boxes]
    edges = [*_into_first(topology), *_into_training(topology), _back(topology)]
    return f"{' Then: '.join(told)} {'. '.join(edges)}."


def _into_first(topology: Topology) -> Iterator[str]:
    if topology.splits in SPLITS:
        yield SPLITS[topology.splits]


def _into_training(topology: Topology) -> Iterator[str]:
    """Yield what a training is given besides the rows: where it starts, what it is anchored to, whose rows."""
    if topology.init in INIT:
        yield INIT[topology.init]
    if topology.reference:
        yield plain(f"anchored to {topology.reference}", 80)
    if topology.data != "this round":
        yield plain(f"learns what {topology.data} did", 80)


def _back(topology: Topology) -> str:
    return f"next round, {topology.rounds} in all" if topology.rounds else "next round"


def _parts(drawing: Drawing) -> Mapping[str, object]:
    names = ("kind", "height", "boxes", "arrows", "words")
    return {name: getattr(drawing, name) for name in names} | {"line": LINE, "pad": PAD}


def _wrapped(text: str, width: float, most: int = MOST) -> tuple[str, ...]:
    lines = wrap(text, max(8, int(width / LETTER)), break_on_hyphens=False)
    return tuple(lines if len(lines) <= most else [*lines[: most - 1], f"{lines[most - 1][:-1]}…"])


def _sized(steps: Sequence[Box], width: float) -> list[Box]:
    """Return the steps with their lines, as high as the highest of them."""
    text = width - 2 * PAD
    wrapped = [replace(step, width=width, lines=_wrapped(step.lines[0], text)) for step in steps]
    return [replace(step, height=step.head + LINE * len(step.lines) + PAD) for step in wrapped]


def _training(boxes: Sequence[Box]) -> Box:
    return next((box for box in boxes if box.name == "Train"), boxes[-1])


def _ring(steps: Sequence[Box], topology: Topology) -> Drawing:
    """Go to the right above, and back to the left below."""
    columns = (len(steps) + 1) // 2
    width = (WIDE - 4 - (columns - 1) * ASIDE) / columns
    above, back = tuple(_into_first(topology)), _back(topology)
    into = tuple(line for edge in _into_training(topology) for line in _wrapped(edge, BESIDE))
    sized, top = _sized(steps, width), 40 if above else 4
    height = max(box.height for box in sized)
    left = [2 + at * (width + ASIDE) for at in range(columns)]
    backwards = [*left[:0:-1], left[0]][: len(steps) - columns - 1]
    places = [*((x, top) for x in left), *((x, top + height + GAP + 12) for x in (*backwards, left[0]))]
    boxes = [replace(box, x=x, y=y, height=height) for box, (x, y) in zip(sized, places, strict=False)]
    first, last, trained = boxes[0], boxes[-1], _training(boxes)
    arrows, words = [_between(a, b) for a, b in pairwise(boxes)], list[Words]()
    words += [_on(arrow, box) for arrow, box in zip(arrows, boxes[1:], strict=True) if box.name in GIVEN]
    if last is not first:
        arrows.append(Arrow.through((first.x + 28, last.y), (first.x + 28, first.y + height + 2)))
        words.append(Words(first.x + 38, first.y + height + (GAP + 20) / 2, (back,)))
    if above:
        arrows.append(Arrow.through((first.x + 28, 8), (first.x + 28, top - 2)))
        words.append(Words(first.x + 38, 22, above))
    end = last.y + height
    if into:
        middle = trained.x + width / 2
        arrows.append(Arrow.through((middle, end + 10 + LINE * len(into)), (middle, trained.y + height + 2)))
        aside, anchor = (-10, "end") if trained.x + width > WIDE - 10 else (10, "start")
        words.append(Words(middle + aside, end + 22, into, anchor))
        end += 12 + LINE * len(into)
    return Drawing("wide", end + 4, tuple(boxes), tuple(arrows), tuple(words))


def _between(a: Box, b: Box) -> Arrow:
    """Return the arrow from one box of the ring to the next: beside it, or below."""
    middle = a.y + a.height / 2
    if a.y == b.y:
        ends = (a.x + a.width, b.x - 2) if a.x < b.x else (a.x, b.x + b.width + 2)
        return Arrow.through((ends[0], middle), (ends[1], middle))
    out, into = a.x + a.width / 2, b.x + b.width / 2
    half = (a.y + a.height + b.y) / 2
    turns = [(out, half), (into, half)] if out != into else []
    return Arrow.through((out, a.y + a.height), *turns, (into, b.y - 2))


def _on(arrow: Arrow, box: Box) -> Words:
    """Return what an arrow of the ring hands to its box."""
    if arrow.angle == 90:
        return Words(arrow.x + 10, arrow.y - GAP / 2, (GIVEN[box.name],))
    return Words(arrow.x + ASIDE / 2 - 2, arrow.y - 8, (GIVEN[box.name],), "middle")


def _column(steps: Sequence[Box], topology: Topology) -> Drawing:
    """Go down, and back up along the right edge."""
    width, y = NARROW - 32, 4.0
    boxes, arrows, words = list[Box](), list[Arrow](), list[Words]()
    sized = _sized(steps, width)
    trained = _training(sized)
    for box in sized:
        edges = [*([] if boxes else _into_first(topology)), *(_into_training(topology) if box is trained else ())]
        given = [GIVEN[box.name]] if boxes and box.name in GIVEN else []
        beside = tuple(line for edge in (*given, *edges) for line in _wrapped(edge, width - 50))
        if boxes or beside:
            gap = max(28, LINE * len(beside) + 14)
            arrows.append(Arrow.through((30, y), (30, y + gap - 2)))
            words.append(Words(42, y + 18, beside))
            y += gap
        boxes.append(replace(box, x=2, y=y))
        y += box.height
    if len(boxes) > 1:
        first, last, edge = boxes[0], boxes[-1], width + 2
        low, high = last.y + last.height / 2, first.y + first.height / 2
        arrows.append(Arrow.through((edge, low), (NARROW - 8, low), (NARROW - 8, high), (edge + 2, high)))
        words.append(Words(edge, y + 18, (_back(topology),), "end"))
    return Drawing("narrow", y + 26, tuple(boxes), tuple(arrows), tuple(words))
