"""The page's browser of rollouts, in a real one: lists, search, filters, addresses, keys, and what an entry shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from sparring.report import browse, page
from sparring.report.page import build
from sparring.runs import Run
from sparring.visible import UNSEEN, visible
from tests.browser.tab import Tab
from tests.made_runs import make_spar, make_star_gate, make_tripost

Tabs = Callable[..., Tab]


@pytest.fixture(scope="module")
def star(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(Run(make_star_gate(tmp_path_factory.mktemp("star") / "run", 60, 4))).html


@pytest.fixture(scope="module")
def tri(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(Run(make_tripost(tmp_path_factory.mktemp("tri") / "run", 40))).html


@pytest.fixture(scope="module")
def spar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(Run(make_spar(tmp_path_factory.mktemp("spar") / "run", 12))).html


def address(path: Path, group: str, entry: str) -> str:
    return f"{path.resolve().as_uri()}#{urlencode({'g': group, 'e': entry})}"


def group_of(path: Path, id: str) -> browse.Group:
    return next(group for group in browse.groups(Run(path.parent)) if group.id == id)


def choose(page: Page, group: browse.Group) -> None:
    page.locator(f".round-groups:has(.label:text-is('Round {group.round}')) .group", has_text=group.label).first.click()
    expect(page.locator(".group[aria-current]")).to_contain_text(group.label)
    expect(page.locator(".count")).to_contain_text(f"{group.n:,}")


def test_every_group_is_listed_with_its_entries(star: Path, tab: Tabs) -> None:
    one = tab()
    shown = one.open(star).locator(".group")
    expect(shown.first).to_be_visible()
    groups = browse.groups(Run(star.parent))
    assert sorted(shown.all_inner_texts()) == sorted(f"{group.label}\n{group.n:,}" for group in groups)
    assert one.strange == []


def test_a_list_draws_only_the_lines_in_view(star: Path, tab: Tabs) -> None:
    page, group = tab().open(star), group_of(star, "round-1/conversations")
    assert group.n > 200
    choose(page, group)
    last = list(group.entries())[-1]
    assert page.locator(".line").count() < 40
    page.locator(".list").focus()
    page.keyboard.press("End")
    expect(page.locator(".line[aria-selected=true]")).to_have_attribute("aria-posinset", str(group.n))
    expect(page.locator(".detail .id")).to_have_text(last.id)
    assert page.locator(".line").count() < 40


def test_titles_are_searched_at_once_and_all_text_when_asked(star: Path, tab: Tabs) -> None:
    page, group = tab().open(star), group_of(star, "round-1/conversations")
    choose(page, group)
    details = [json.dumps(entry.detail().row()).lower() for entry in group.entries()]
    titles = [entry.title.lower() for entry in group.entries()]
    word = next(
        w for w in re.findall(r"[a-z]{6,}", details[7]) if sum(w in t for t in titles) < sum(w in d for d in details)
    )
    page.locator("#search").fill(word.upper())
    expect(page.locator(".count")).to_have_text(f"{sum(word in t for t in titles):,} of {group.n:,} entries")
    page.get_by_role("button", name="Search all text").click()
    found = page.locator(".count")
    expect(page.get_by_role("button", name="Search all text")).to_be_hidden()
    assert int((found.inner_text()).split(" of ")[0].replace(",", "")) > sum(word in t for t in titles)


def test_all_text_is_what_is_shown_and_not_how_it_is_kept(star: Path, tab: Tabs) -> None:
    page, group = tab().open(star), group_of(star, "round-1/conversations")
    choose(page, group)
    page.locator("#search").fill("round-1/conv")  # in every link of every entry, and nowhere on the page
    page.get_by_role("button", name="Search all text").click()
    expect(page.get_by_role("button", name="Search all text")).to_be_hidden()
    expect(page.locator(".count")).to_have_text(f"0 of {group.n:,} entries")


def test_entries_are_filtered_by_tags_and_sorted_by_value(star: Path, tab: Tabs) -> None:
    page, group = tab().open(star), group_of(star, "round-1/conversations")
    choose(page, group)
    learned = [entry for entry in group.entries() if "learned" in entry.tags]
    page.locator(".tag", has_text="learned").click()
    expect(page.locator(".count")).to_have_text(f"{len(learned):,} of {group.n:,} entries")
    expect(page.locator(".tag", has_text="learned")).to_be_focused()
    page.get_by_label("Order", exact=True).select_option("Lowest value")
    lowest = min(entry.value for entry in learned if entry.value is not None)
    first = page.locator(".line").first.locator(".worth b").inner_text()
    assert float(first.replace("−", "-")) == pytest.approx(lowest, abs=0.06)


def test_an_address_opens_an_entry_and_choosing_another_changes_it(star: Path, tab: Tabs) -> None:
    group = group_of(star, "round-1/conversations")
    entry, after = list(group.entries())[100:102]
    one = tab()
    page = one.open(address(star, group.id, entry.id))
    expect(page.locator(".detail .id")).to_have_text(entry.id)
    expect(page.locator(".panes")).to_be_in_viewport()
    page.keyboard.press("j")
    expect(page.locator(".detail .id")).to_have_text(after.id)
    assert page.evaluate("location.hash") == "#" + urlencode({"g": group.id, "e": after.id}).replace("%23", "%23")
    assert [one for one in one.errors + one.console if one] == []


def test_an_address_of_nothing_says_so(star: Path, tab: Tabs) -> None:
    page = tab().open(address(star, "round-1/conversations", "<b>nobody</b>"))
    expect(page.get_by_role("alert")).to_have_text("There is no <b>nobody</b> in conversations.")


def test_a_training_row_leads_to_its_rollout_and_back(star: Path, tab: Tabs) -> None:
    rows = group_of(star, "round-1/train")
    row = next(rows.entries())
    link = row.detail().links[0]
    page = tab().open(address(star, rows.id, row.id))
    expect(page.locator(".detail .weight.on").first).to_be_visible()
    page.locator(".links .link", has_text=link.label).first.click()
    expect(page.locator(".detail .id")).to_have_text(link.entry)
    page.go_back()
    expect(page.locator(".detail .id")).to_have_text(row.id)


def test_all_is_reached_by_keys(star: Path, tab: Tabs) -> None:
    page = tab().open(star)
    expect(page.locator(".detail .id")).to_be_visible()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".list")).to_be_focused()
    first = page.locator(".detail .id").inner_text()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".detail .id")).not_to_have_text(first)
    page.keyboard.press("Enter")
    expect(page.locator(".detail h3")).to_be_focused()
    page.keyboard.press("k")
    expect(page.locator(".detail .id")).to_have_text(first)
    page.keyboard.press("Escape")
    expect(page.locator(".list")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_hidden()


def test_what_is_wrong_and_what_is_mended_is_said_in_words(tri: Path, tab: Tabs) -> None:
    group = group_of(tri, "round-1/trajectories")
    entry = next(entry for entry in group.entries() if "mended" in entry.tags)
    page = tab().open(address(tri, group.id, entry.id))
    for kind in ("wrong", "mended"):
        marked = page.locator(f".chat mark.{kind}").first
        expect(marked.locator(".tip")).to_have_text(kind)
        expect(page.locator(f".legend mark.{kind}")).to_be_visible()


def test_marks_stand_where_they_should_beside_wide_characters(star: Path, tab: Tabs) -> None:
    page = tab().open(star)
    marked = browse.Message("attempt", "👩 one\u202e two", (browse.Mark(2, 5, "wrong"),)).row()
    shown = page.evaluate("([text, marks]) => sparring.text(text, marks).innerHTML", [marked["text"], marked["marks"]])
    assert shown == '👩 <mark class="wrong"><span class="tip">wrong</span>one</mark>⟮RLO⟯ two'


def test_a_tree_is_drawn_and_a_node_opens_with_its_votes(spar: Path, tab: Tabs) -> None:
    group = group_of(spar, "round-1/trees")
    entry = max(group.entries(), key=lambda entry: len(_tree(entry).nodes))
    tree = _tree(entry)
    page = tab().open(address(spar, group.id, entry.id))
    knots = page.locator(".knot")
    expect(knots).to_have_count(len(tree.nodes))
    assert page.locator(".edge").count() == sum(node.parent is not None for node in tree.nodes)
    for at, node in enumerate(tree.nodes):
        knots.nth(at).focus()
        page.keyboard.press("Enter")
        expect(knots.nth(at)).to_have_attribute("aria-pressed", "true")
        expect(page.locator(".node .text").first).to_have_text(visible(node.text))
        assert page.locator(".node .vote").count() == len(node.votes)
    assert page.locator(".knot.accepted").count() == sum(node.accepted for node in tree.nodes)


def _tree(entry: browse.Entry) -> browse.Grown:
    return next(part for part in entry.detail().parts if isinstance(part, browse.Grown))


def test_before_and_after_stand_side_by_side_where_there_is_room(star: Path, tab: Tabs) -> None:
    page = tab(width=1440).open(star)
    boxes = [page.locator(".beside .part").nth(at).bounding_box() for at in (0, 1)]
    assert boxes[0] and boxes[1] and boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] < boxes[1]["x"]
    narrow = tab(width=360, height=780).open(star)
    narrow.locator(".line").first.click()
    boxes = [narrow.locator(".beside .part").nth(at).bounding_box() for at in (0, 1)]
    assert boxes[0] and boxes[1] and boxes[0]["x"] == boxes[1]["x"] and boxes[0]["y"] < boxes[1]["y"]


def test_a_phone_shows_the_list_or_the_entry(star: Path, tab: Tabs) -> None:
    page = tab(width=360, height=780).open(star)
    page.locator(".line").nth(2).click()
    expect(page.locator(".detail h3")).to_be_visible()
    expect(page.locator(".list")).to_be_hidden()
    page.get_by_role("button", name="List").click()
    expect(page.locator(".list")).to_be_visible()
    expect(page.locator(".detail")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_light_and_dark_are_the_readers_choice(star: Path, tab: Tabs) -> None:
    page = tab(dark=True).open(star)
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate(paper) != dark
    assert page.evaluate(paper) == tab().open(star).evaluate(paper)


def test_the_command_is_copied(star: Path, tab: Tabs) -> None:
    one = tab(permissions=["clipboard-read", "clipboard-write"])
    page = one.open(star)
    page.locator(".copy").click()
    expect(page.locator(".copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#command").inner_text()


def test_the_browser_and_python_show_the_same_pictures(star: Path, tab: Tabs) -> None:
    page = tab().open(star)
    codes = [*range(0x3000), *range(0xD7F0, 0x10000), *range(0x1F460, 0x1F480), *range(0xE0000, 0xE0100)]
    shown = page.evaluate("codes => codes.map(code => sparring.shown(String.fromCodePoint(code)))", codes)
    assert shown == [visible(chr(code)) for code in codes]
    assert sum(bool(UNSEEN.match(chr(code))) for code in codes) > 2000


def test_data_beside_a_page_is_brought_when_it_is_looked_at(
    tmp_path: Path, tab: Tabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "ROOM", 0)
    built = build(Run(make_star_gate(tmp_path / "run", 20)))
    one = tab()
    shown = one.open(built.html)
    expect(shown.locator(".detail .id")).to_be_visible()
    brought = {url.rpartition("/")[2] for url in one.requests if "/report-data/" in url}
    assert 0 < len(brought) < len(built.data) and brought <= {path.name for path in built.data}
    assert one.strange == []


def test_a_page_without_the_data_beside_it_says_what_is_missing(
    tmp_path: Path, tab: Tabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "ROOM", 0)
    built = build(Run(make_star_gate(tmp_path / "run")))
    for path in built.data:
        path.unlink()
    shown = tab().open(built.html)
    expect(shown.get_by_role("alert")).to_contain_text("the folder report-data belongs beside this page")
    expect(shown.locator(".verdict")).to_be_visible()


def test_without_javascript_the_results_are_readable(star: Path, tab: Tabs) -> None:
    page = tab(java_script_enabled=False).page
    page.goto(star.resolve().as_uri())
    expect(page.locator(".verdict")).to_be_visible()
    expect(page.locator("table.figures tbody tr").first).to_be_visible()
    expect(page.get_by_text("This part needs JavaScript")).to_be_visible()
    expect(page.locator("#theme")).to_be_hidden()
