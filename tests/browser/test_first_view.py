"""The page of a run of ten thousand rollouts: light enough to be sent, seen before they are, whole without them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sparring.report.browse import groups
from sparring.report.page import Built, build
from sparring.runs import Run
from tests.browser.tab import Tab
from tests.made_runs import make_star_gate

MOST_BYTES = 5_000_000


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Two rounds of 4,000 conversations, and 2,000 on test."""
    run = make_star_gate(tmp_path_factory.mktemp("large") / "run", 250, 16, test_pairs=334, long=True)
    return build(Run(run))


def beside(built: Built) -> str:
    """Return a group whose entries lie beside the page."""
    number = int(built.data[0].name[1:].partition("-")[0])
    return groups(Run(built.html.parent))[number].id


def test_a_page_of_ten_thousand_rollouts_weighs_less_than_five_megabytes(built: Built) -> None:
    assert built.rollouts > 10_000
    assert built.html.stat().st_size < MOST_BYTES


def test_no_file_beside_it_is_larger_than_a_page_may_be(built: Built) -> None:
    assert built.data
    assert max(path.stat().st_size for path in built.data) < MOST_BYTES


def test_what_stands_still_is_there_without_javascript(built: Built, tab: Callable[..., Tab]) -> None:
    page = tab(java_script_enabled=False, offline=True).open(built.html)
    assert "improved" in (page.locator(".verdict").text_content() or "")
    assert page.locator("table.figures tbody tr").count() > 10
    assert page.get_by_text("This part needs JavaScript").is_visible()


def test_rollouts_beside_the_page_are_brought_when_they_are_looked_at(built: Built, tab: Callable[..., Tab]) -> None:
    one = tab(offline=True)
    page = one.open(built.html)
    page.locator(".detail .parts > *").first.wait_for()
    assert [url for url in one.requests if url.endswith(".js")] == []
    one.look_into(beside(built))
    page.locator(".detail .message").first.wait_for()
    page.locator(".list").press("End")
    page.locator(".line[aria-selected=true]:last-child").wait_for()
    page.locator(".detail .message").first.wait_for()
    assert len({url for url in one.requests if url.endswith(".js")}) == 2
    assert one.strange == []


def test_a_page_that_was_moved_without_what_belongs_beside_it_says_so(
    built: Built, tab: Callable[..., Tab], tmp_path: Path
) -> None:
    shutil.copy(built.html, tmp_path / "moved.html")
    one = tab(offline=True)
    page = one.open(tmp_path / "moved.html")
    page.locator(".detail .parts > *").first.wait_for()
    one.look_into(beside(built))
    page.locator(".detail [role=alert]", has_text="belongs beside this page").wait_for()
    assert "improved" in (page.locator(".verdict").text_content() or "")
