"""The page of a run of 10,000 rollouts: seconds to build it, its weight, and seconds until its verdict is seen.

Twice: with sentences of an embedded world (`report_...`), and with turns as long as people's (`report_long_...`), for
which no page has room, so that some lie beside it. A view is timed from the navigation to the frame in which the
verdict is painted, in headless Chromium, from disk, in a profile that is new each time; the median counts.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from sparring.report.page import build
from sparring.runs import Run
from tests.made_runs import make_star_gate

ROLLOUTS = 10_000
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


def measure(quick: bool) -> dict[str, float]:
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, long in (("report", False), ("report_long", True)):
            pairs, test_pairs = (25, 34) if quick else (250, 334)
            run = make_star_gate(Path(folder, name), pairs, samples=16, test_pairs=test_pairs, long=long)
            built = build(Run(run))
            views = [first_view(browser, built.html) for _ in range(3 if quick else 9)]
            found |= {
                f"{name}_build_seconds": built.seconds,
                f"{name}_page_megabytes": built.html.stat().st_size / 1e6,
                f"{name}_beside_megabytes": sum(path.stat().st_size for path in built.data) / 1e6,
                f"{name}_first_view_seconds": statistics.median(views),
            }
        browser.close()
    return found


def first_view(browser: Browser, page: Path) -> float:
    """Return the seconds from the navigation to the painted verdict."""
    context = browser.new_context()
    context.add_init_script(VERDICT)
    tab = context.new_page()
    tab.goto(page.resolve().as_uri())
    painted: float = tab.evaluate("window.verdict")
    context.close()
    return painted / 1000
