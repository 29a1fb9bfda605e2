"""The page of a run of 10,000 rollouts: seconds to build it, its weight, and seconds until its verdict is seen.

Twice: with sentences of an embedded world (`report_...`), and with turns as long as people's (`report_long_...`), for
which no page has room, so that some lie beside it. A view is timed from the navigation to the frame in which the
verdict is painted, in headless Chromium, from disk, in a profile that is new each time; the median counts. Beside
the building stands reading the run's lines, beside the page their bytes, and beside the view a page of one word.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.alternate import seconds
from bench.table import Figure, unmeasured
from sparring.files import read_lines
from sparring.report.page import build
from sparring.runs import Run
from tests.made_runs import make_star_gate

ROLLOUTS = 10_000
FIGURES = tuple(
    figure
    for what, key in (("sentences of a world", "report"), ("turns of natural length", "report_long"))
    for figure in (
        Figure(
            f"report of 10,000 rollouts, {what}",
            f"{key}_build_seconds",
            "s",
            against="reading the run's lines",
            peer=f"{key}_read_seconds",
            asked=10,
            of="ours",
            at_most=True,
        ),
        Figure(
            f"report, {what}: the page",
            f"{key}_page_megabytes",
            "MB",
            against="the run's lines",
            peer=f"{key}_run_megabytes",
            asked=5,
            of="ours",
            at_most=True,
        ),
        Figure(
            f"report, {what}: verdict painted",
            f"{key}_first_view_seconds",
            "s",
            against="a page of one word",
            peer=f"{key}_word_view_seconds",
            asked=1.5,
            of="ours",
            at_most=True,
        ),
    )
)
WORD = '<!doctype html><p class="verdict">verdict</p>'
VERDICT = """
    window.verdict = new Promise(resolve => {
        const painted = new PerformanceObserver(list => resolve(list.getEntries()[0].renderTime));
        painted.observe({type: "element", buffered: true});
        new MutationObserver((_, observer) => {
            const verdict = document.querySelector(".verdict");
            if (verdict) { verdict.setAttribute("elementtiming", "verdict"); observer.disconnect(); }
        }).observe(document, {childList: true, subtree: true});
    });
"""
"""Marks the verdict as soon as it is there, and tells when it was painted, in ms since the navigation."""


def measure(quick: bool) -> dict[str, Any]:
    chromium = shutil.which("chromium")
    if not chromium or not find_spec("playwright"):
        return unmeasured(FIGURES, "chromium or playwright is not installed")
    from playwright.sync_api import sync_playwright

    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        word = Path(folder, "word.html")
        word.write_text(WORD, encoding="utf-8")
        for name, long in (("report", False), ("report_long", True)):
            pairs, test_pairs = (25, 34) if quick else (250, 334)
            run = make_star_gate(Path(folder, name), pairs, samples=16, test_pairs=test_pairs, long=long)
            lines = sorted(run.rglob("*.jsonl"))
            reading = seconds(lambda lines=lines: [read_lines(path) for path in lines])
            built = build(Run(run))
            views = [(first_view(browser, built.html), first_view(browser, word)) for _ in range(3 if quick else 9)]
            found |= {
                f"{name}_build_seconds": built.seconds,
                f"{name}_read_seconds": reading,
                f"{name}_page_megabytes": built.html.stat().st_size / 1e6,
                f"{name}_run_megabytes": sum(path.stat().st_size for path in lines) / 1e6,
                f"{name}_beside_megabytes": sum(path.stat().st_size for path in built.data) / 1e6,
                f"{name}_first_view_seconds": statistics.median(ours for ours, _ in views),
                f"{name}_word_view_seconds": statistics.median(other for _, other in views),
            }
        browser.close()
    return found


def first_view(browser: Any, page: Path) -> float:
    """Return the seconds from the navigation to the painted verdict."""
    context = browser.new_context()
    context.add_init_script(VERDICT)
    tab = context.new_page()
    tab.goto(page.resolve().as_uri())
    painted: float = tab.evaluate("window.verdict")
    context.close()
    return painted / 1000
