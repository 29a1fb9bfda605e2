"""Charts of a run: a metric over its rounds, what its stages took, and the picture that goes with a model.

`curve` and `bars` return SVG for a page, in the page's own colours and type: its style sheet sets `--ink`, `--muted`,
`--line`, `--accent` and `--paper` (the background). Shapes have no ids and no styles; what is drawn is also said in
words, in `<title>` and `<desc>`. `picture` returns a PNG, for places that show no SVG.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from sparring.errors import RunError
from sparring.report.parts import Unit
from sparring.report.svg import ACCENT, ALONE, INK, LINE, MUTED, plain, rendered, shapes
from sparring.report.terminal import REPORTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sparring.report.record import Metric as Measured
    from sparring.report.record import Record

WIDTH, HEIGHT = 280, 176
"""Pixels of a curve."""
LETTERS = 34
"""Characters of a label that fit into a line of a curve."""
NUMBERED = 7
"""Rounds that all have their number at the point; of more, the first, the best and the last have."""
SPAN = {"%": 4.0, "points": 4.0, "nats": 0.5, "words": 1.0, "questions": 1.0}
"""Least height of the scale in the metric's unit, so that next to nothing does not look like much."""
MINUS = "\N{MINUS SIGN}"
ROW = 22
"""Pixels of a bar with its words."""
PICTURE = 900, 360
"""Pixels of the picture."""
LIGHT = {INK: "#1c1e21", MUTED: "#5d646d", LINE: "#dfe3e8", ACCENT: "#2457c5"}
"""The picture's colours, where a page has its own."""
Metric = Mapping[str, Any]
"""A number with "value", "low", "high" (None: no interval) and perhaps "n"."""
Known = Sequence[tuple[int, Mapping[str, float]]]
"""The rounds that have a metric: value, low and high, in the unit that is drawn."""


def curve(label: str, unit: Unit, rounds: Sequence[Metric | None]) -> str:
    """Return a metric over the rounds, the 0th first: points with their 95 % intervals, joined by a thin line.

    A round of None leaves a gap. Shares (`%`, `points`) are given as parts of 1, and drawn times 100.
    """
    label = plain(label)
    known = [(t, _scaled(metric, unit)) for t, metric in enumerate(rounds) if metric]
    lines = wrap(label, LETTERS)[:2]
    top = 16 * len(lines)
    said = "; ".join(_said(t, metric, unit) for t, metric in enumerate(rounds)) or "no round yet"
    return rendered(
        "curve",
        width=WIDTH,
        height=HEIGHT + top,
        label=label,
        said=f"{said}. Bars are 95 % intervals.",
        lines=lines,
        unit=_unit(unit),
        shapes=_curve(known, unit, len(rounds), top) if known else [],
    )


def bars(label: str, rows: Sequence[tuple[str, float]], unit: str) -> str:
    """Return one bar a row, in the rows' order, as wide as the page is: what it is on the left, how much on the right.

    `unit` stands behind each number; seconds (`s`) of a minute and more are told in minutes and hours.
    """
    unit = plain(unit, 20)
    most = max([value for _, value in rows], default=0.0) or 1.0
    drawn = [(plain(name, 80), 100 * max(0.0, value) / most, amount(value, unit)) for name, value in rows]
    said = "; ".join(f"{name} {much}" for name, _, much in drawn) or "nothing yet"
    return rendered("bars", label=plain(label), said=said, rows=drawn, row=ROW, height=max(1, len(rows)) * ROW)


def picture(record: Record) -> bytes:
    """Return a PNG on white of a finished run's headline metrics over its rounds.

    Raises RunError where it has none yet.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patheffects import Normal, Stroke

    metrics = headlines(record)
    width, height = PICTURE
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="white")
    with ALONE:
        for at, metric in enumerate(metrics):
            axes = figure.add_axes(((at + 0.19) / len(metrics), 0.17, 0.76 / len(metrics), 0.66))
            known = [(t, _scaled(found, metric.unit)) for t, found in enumerate(metric.rounds) if found]
            draw(axes, known, metric.unit, len(metric.rounds), size=10, colours=LIGHT)
            for text in axes.texts:
                text.set_path_effects([Stroke(linewidth=3, foreground="white"), Normal()])
            axes.set_title(_titled(metric), loc="left", x=-0.16, y=1.04, fontsize=11.5, color=LIGHT[INK])
        note = plain(record.title).encode("ascii", "replace").decode()
        figure.text(0.02, 0.03, note, fontsize=9.5, color=LIGHT[MUTED], parse_math=False)
        file = BytesIO()
        FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
    return file.getvalue()


def headlines(record: Record) -> list[Measured]:
    """Return the metrics of the picture: what the recipe is for, or of one that is not known the first three."""
    if not record.metrics:
        raise RunError(f"run {record.name!r} has no metric to draw yet: its summary.json is written at its end")
    known, report = {metric.name: metric for metric in record.metrics}, REPORTS.get(record.recipe)
    named = [known[name] for name in (report.headlines if report else ()) if name in known]
    return named or list(record.metrics[:3])


def _titled(metric: Measured) -> str:
    label = metric.label.removeprefix("· ")
    return label if _unit(metric.unit) in label else f"{label}, {_unit(metric.unit)}"


def amount(value: float, unit: str) -> str:
    """Return "1 h 05 min", "2 min 30 s", "12.3 s", "1,234 calls" or "0.12 USD"."""
    if unit == "s" and value >= 59.5:
        minutes, seconds = divmod(round(value), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours:,} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
    shown = f"{value:,.0f}" if value >= 100 or float(value).is_integer() else f"{value:,.2f}"
    if unit == "s":
        shown = f"{value:.1f}"
    return f"{shown} {unit}".rstrip()


def _unit(unit: Unit) -> str:
    return "percentage points" if unit == "points" else unit


def _scaled(metric: Metric, unit: Unit) -> dict[str, float]:
    """Return value, low and high as drawn; without an interval all three are the value."""
    times = 100 if unit in ("%", "points") else 1
    value = metric["value"]
    ends = {name: value if metric.get(name) is None else metric[name] for name in ("low", "high")}
    return {name: times * number for name, number in {"value": value, **ends}.items()}


def number(value: float, unit: Unit, places: int = 1) -> str:
    """Return a number that is already in its unit, rounded: "+1.2" points, "82.1" per cent."""
    return f"{round(value, places) + 0.0:{'+' if unit == 'points' else ''}.{places}f}".replace("-", MINUS)  # no -0.0


def _said(t: int, metric: Metric | None, unit: Unit) -> str:
    if not metric:
        return f"m_{t}: not known"
    found = _scaled(metric, unit)
    text = f"m_{t}: {number(found['value'], unit)} {_unit(unit)}"
    if metric.get("low") is not None:
        text += f", 95 % interval {number(found['low'], unit)} to {number(found['high'], unit)}"
    return text + (f", n = {metric['n']:,}" if metric.get("n") is not None else "")


def _curve(known: Known, unit: Unit, n: int, top: int) -> Any:
    from matplotlib.figure import Figure

    height = HEIGHT + top
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72, facecolor="none")
    axes = figure.add_axes((40 / WIDTH, 26 / height, (WIDTH - 56) / WIDTH, (HEIGHT - 46) / height))
    draw(axes, known, unit, n)
    return shapes(figure)


def draw(
    axes: Axes, known: Known, unit: Unit, n: int, size: float = 11, colours: Mapping[str, str] | None = None
) -> None:
    """Draw the rounds that are known, of `n`; where no colours are given, in those that stand for the page's."""
    ink, muted, line, accent = ((colours or {}).get(name, name) for name in (INK, MUTED, LINE, ACCENT))
    _scale(axes, known, unit, n)
    axes.tick_params(length=0, labelsize=size, labelcolor=muted, pad=4)
    axes.grid(axis="y", color=line, linewidth=1)
    axes.axhline(0, color=muted, linewidth=1, dashes=(3, 3), zorder=2, visible=unit != "%" and _holds_zero(axes))
    for part in _unbroken([t for t, _ in known]):
        values = [metric["value"] for t, metric in known if t in part]
        axes.plot(part, values, color=accent, linewidth=1.2, zorder=3)
    told = {known[0][0], known[-1][0], max(known, key=lambda at: at[1]["value"])[0]}
    for t, metric in known:
        axes.plot([t, t], [metric["low"], metric["high"]], "_-", color=accent, linewidth=1.8, markersize=7, zorder=4)
        axes.plot([t], [metric["value"]], "o", markersize=6, color=accent, zorder=5)
        if len(known) <= NUMBERED or t in told:
            text, place = number(metric["value"], unit), (t, metric["high"])
            how: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": size, "zorder": 6}
            axes.annotate(text, place, (0, 6), textcoords="offset points", color=ink, parse_math=False, **how)


def _tick(value: float, unit: Unit) -> str:
    return "" if unit == "%" and value > 100 else f"{round(value, 6) + 0.0:g}".replace("-", MINUS)


def _unbroken(rounds: Sequence[int]) -> Iterator[list[int]]:
    """Yield runs of rounds that follow each other."""
    part: list[int] = []
    for t in rounds:
        if part and t != part[-1] + 1:
            yield part
            part = []
        part.append(t)
    yield part


def _scale(axes: Axes, known: Known, unit: Unit, n: int) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    low, high = (pick(metric[name] for _, metric in known) for pick, name in ((min, "low"), (max, "high")))
    room = max(SPAN[unit] - (high - low), 0) / 2
    span = high - low + 2 * room
    low, high = low - room - 0.10 * span, high + room + 0.24 * span  # above a point stands its number
    if unit == "%":
        low = max(low, -0.02 * span)
    axes.set_xlim(-0.4, max(n - 1, 1) + 0.4)
    axes.set_ylim(low, high)
    shown = list(range(0, n, max(1, -(-n // 6))))
    axes.set_xticks(shown, [f"m_{t}" for t in shown], parse_math=False)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(float(value), unit)))  # pyright: ignore
    axes.set_axisbelow(True)
    axes.set_facecolor("none")
    axes.spines[:].set_visible(False)


def _holds_zero(axes: Axes) -> bool:
    low, high = axes.get_ylim()
    return low < 0 < high
