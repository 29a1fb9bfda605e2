"""Pages can be read by everybody: axe-core finds nothing serious in any state of them, and no mouse is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from sparring.report import seeds
from sparring.report.browse import groups
from sparring.report.page import build
from sparring.report.progress import Progress
from sparring.runs import Run
from tests.browser.serving import served
from tests.browser.tab import Tab
from tests.made_runs import MAKERS
from tests.report.test_seeds import folder

OF_NOTE = ("serious", "critical")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each recipe, and of a run in the middle."""
    folder = tmp_path_factory.mktemp("pages")
    runs = {recipe: make(folder / recipe, 8) for recipe, make in MAKERS.items()}
    runs["middle"] = MAKERS["star-gate"](folder / "middle", until="round-1/train.jsonl")
    return {name: build(Run(run)).html for name, run in runs.items()}


def findings(page: Page, within: str = "body", contrast: bool | None = None) -> list[str]:
    """Return what axe-core finds in a part of the page, as it is now, that keeps somebody from using it.

    `contrast`: of the contrast of colours alone, or of all else; None: of everything.
    """
    chosen: dict[str, Any] = {} if contrast is None else {"rules": {"color-contrast": {"enabled": contrast}}}
    if contrast:
        chosen = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
    found: Any = Axe().run(page, context=within, options={**chosen, "resultTypes": ["violations"]}).response
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in OF_NOTE
        for node in one["nodes"]
    ]


def unfold(page: Page) -> None:
    """Open every fold, and every pane to its full height: axe-core does not look at what is scrolled out of sight."""
    page.evaluate(
        """for (const fold of document.querySelectorAll("details")) fold.open = true;
        for (const pane of document.querySelectorAll(".detail, .node, .log"))
            Object.assign(pane.style, {height: "auto", maxHeight: "none", position: "static"});"""
    )


@pytest.mark.parametrize("recipe", [*MAKERS, "middle"])
def test_a_page_has_no_serious_finding_in_light_dark_or_on_a_phone(
    recipe: str, pages: dict[str, Path], tab: Callable[..., Tab]
) -> None:
    page = tab().open(pages[recipe])
    page.locator(".detail .parts > *").first.wait_for()
    unfold(page)
    assert findings(page) == []
    page.emulate_media(color_scheme="dark")
    assert findings(page, contrast=True) == []
    page.set_viewport_size({"width": 360, "height": 740})
    assert findings(page, contrast=False) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("recipe", MAKERS)
def test_an_open_entry_of_any_kind_has_no_serious_finding(
    recipe: str, pages: dict[str, Path], tab: Callable[..., Tab]
) -> None:
    """Conversations, trees with votes, training rows, failures, comparisons: the first of each kind."""
    kinds = {group.kind: group.id for group in reversed(groups(Run(pages[recipe].parent)))}
    one = tab()
    page = one.open(pages[recipe])
    page.locator(".detail .parts > *").first.wait_for()
    for kind, group in kinds.items():
        page.evaluate("document.querySelector('.detail .parts').classList.add('seen')")
        one.look_into(group)
        page.locator(".detail .parts:not(.seen) > *").first.wait_for()
        unfold(page)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert (kind, findings(page, ".detail", contrast=scheme == "dark" or None)) == (kind, [])


def test_findings_are_found_wherever_an_entry_is_long(pages: dict[str, Path], tab: Callable[..., Tab]) -> None:
    page = tab().open(pages["spar"])
    page.locator(".detail .parts > *").first.wait_for()
    unfold(page)
    page.evaluate(
        """const pale = Object.assign(document.createElement("p"), {textContent: "pale"});
        Object.assign(pale.style, {color: "#ddd", background: "#fff"});
        document.querySelector(".detail").append(pale)"""
    )
    assert [found.partition(":")[0] for found in findings(page, ".detail", contrast=True)] == ["color-contrast"]


def luminance(colour: str) -> float:
    """Return the relative luminance of #rrggbb, as WCAG 2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_colour_of_words_stands_out_from_every_ground(
    dark: bool, pages: dict[str, Path], tab: Callable[..., Tab]
) -> None:
    """In drawings too, of which axe-core cannot tell the ground."""
    page = tab(dark=dark).open(pages["spar"])
    told = "name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()"
    for words in ("--ink", "--muted", "--accent", "--good", "--bad", "--warm"):
        for ground in ("--paper", "--raised"):
            low, high = sorted(luminance(page.evaluate(told, name)) for name in (words, ground))
            assert (words, ground, (high + 0.05) / (low + 0.05) >= 4.5) == (words, ground, True)


def test_a_page_of_seeds_has_no_serious_finding_and_leads_to_theirs(tab: Callable[..., Tab], tmp_path: Path) -> None:
    one = tab(offline=True)
    page = one.open(seeds.build(folder(tmp_path / "out")))
    assert findings(page) == []
    page.emulate_media(color_scheme="dark")
    assert findings(page, contrast=True) == []
    page.set_viewport_size({"width": 360, "height": 740})
    assert findings(page, contrast=False) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert one.strange == []
    page.get_by_role("link", name="Seed 1").click()
    page.get_by_role("heading", name="How it was made").wait_for()
    assert page.url.endswith("/seed-1/report.html")


def test_a_bound_that_is_not_met_is_seen_without_scrolling_sideways_on_a_phone(
    pages: dict[str, Path], tab: Callable[..., Tab]
) -> None:
    page = tab(width=360).open(pages["spar"])
    cell = page.locator("#judge tbody td").first
    assert cell.locator(".met, .unmet").text_content() in ("met", "not met")
    box = cell.bounding_box()
    assert box and box["x"] + box["width"] <= 360


# Without a mouse

FOCUSABLE = "a[href], button, input, select, summary, [tabindex='0']"


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.outerHTML.slice(0, 200)")


def test_every_control_is_reached_by_tab_alone_and_shows_that_it_is(
    pages: dict[str, Path], tab: Callable[..., Tab]
) -> None:
    page = tab().open(pages["spar"])
    page.locator(".group", has_text="trees").first.click()
    page.locator(".detail g[role=button]").first.wait_for()
    due: int = page.evaluate(
        f"""[...document.querySelectorAll("{FOCUSABLE}")].filter(node =>
            node.checkVisibility({{visibilityProperty: true}}) && !node.disabled && node.tabIndex >= 0).length"""
    )
    page.evaluate("document.activeElement.blur(); window.reached = new Set(); window.unmarked = []")
    for _ in range(due + 5):
        page.keyboard.press("Tab")
        page.evaluate(
            """const node = document.activeElement, inner = node.querySelector?.("rect");
            if (node !== document.body) {
                window.reached.add(node);
                const marks = [getComputedStyle(node).outlineStyle, inner && getComputedStyle(inner).stroke];
                if (marks.every(mark => !mark || mark === "none")) window.unmarked.push(node.outerHTML.slice(0, 80));
            }"""
        )
    assert page.evaluate("window.reached.size") == due
    assert page.evaluate("window.unmarked") == []


def test_a_rollout_is_found_read_and_left_with_the_keyboard_alone(
    pages: dict[str, Path], tab: Callable[..., Tab]
) -> None:
    one = tab()
    page = one.open(pages["star-gate"])
    page.locator(".detail .parts > *").first.wait_for()
    press = page.keyboard.press
    press("Tab")
    assert "Skip" in focused(page)
    press("Enter")
    assert 'id="main"' in focused(page)
    press("/")
    assert 'type="search"' in focused(page)
    page.keyboard.type("where")
    press("ArrowDown")
    assert 'role="listbox"' in focused(page)
    press("ArrowDown")
    chosen = page.locator(".line[aria-selected=true] .title").text_content()
    assert page.locator(".list").get_attribute("aria-activedescendant") == "line-1"
    press("Enter")
    page.locator(".detail h3:focus").wait_for()
    assert page.locator(".detail h3").text_content() == chosen
    press("j")
    page.locator(".line[aria-selected=true][data-place='2']").wait_for()
    press("Escape")
    assert 'role="listbox"' in focused(page)
    press("?")
    page.locator("dialog[open]").wait_for()
    assert findings(page, "dialog") == []
    press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert one.strange == []


# Served


def test_a_served_page_and_a_talk_in_it_have_no_serious_finding(tab: Callable[..., Tab], tmp_path: Path) -> None:
    run = MAKERS["star-gate"](tmp_path / "run", until="round-1/train.jsonl")
    with Progress(run) as progress, served(run) as address:
        progress.tell({"event": "stage", "stage": "round-1/checkpoint", "done": 1, "of": 9})
        progress.tell({"event": "training", "checkpoint": "round-1/checkpoint", "step": 1, "of": 9, "loss": 0.5})
        page = tab().open(address)
        page.locator("#live-stage:not(:empty)").wait_for()
        page.locator("#chat-text").fill("briefly")
        page.locator("#chat-text").press("Enter")
        page.locator("#chat-hint", has_text="over").wait_for(timeout=60_000)
        unfold(page)
        assert findings(page) == []
        page.emulate_media(color_scheme="dark")
        assert findings(page, "main", contrast=True) == []
        page.set_viewport_size({"width": 360, "height": 740})
        assert findings(page, contrast=False) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
