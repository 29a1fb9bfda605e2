"""A served page in a real browser: live while a run goes on, and a talk that streams."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import chromium, tab
from tests.browser.tab import Tab
from tests.browser.test_accessibility import findings
from tests.command import start
from tests.made_runs import make_star_gate

__all__ = ["chromium", "tab"]

ROOT = Path(__file__).parents[2]
Tabs = Callable[..., Tab]


class Slow:
    """A run that goes on in a process of its own, a step at a time."""

    def __init__(self, process: subprocess.Popen[str], folder: Path):
        self.process, self.folder = process, folder

    def step(self, word: str = "") -> None:
        """Let it go on to where it waits again, or to its end."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def upto(self, stage: str) -> None:
        while not (self.folder / stage).exists():
            self.step()

    def finish(self) -> None:
        while self.process.poll() is None and not (self.folder / "summary.json").exists():
            self.step()
        self.process.wait(20)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Slow]:
    whole, run = make_star_gate(tmp_path / "whole", pairs=2, samples=2), tmp_path / "going"
    command = [sys.executable, "-m", "tests.view.slow_run", str(whole), str(run)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.readline()
        yield Slow(process, run)
        process.kill()


@contextmanager
def viewed(run: Path) -> Iterator[str]:
    """`sparring view` as a person starts it; yields the address it prints."""
    with start(ROOT, "view", str(run), "--port", "0", "--no-browser") as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
            assert process.returncode == 130, err
            assert "Traceback" not in err


def says(page: Page, words: str) -> None:
    expect(page.locator("#live-says")).to_contain_text(words, timeout=15_000)


def test_a_run_is_watched_from_its_first_stage_to_its_verdict(slow: Slow, tab: Tabs) -> None:
    with viewed(slow.folder) as address:
        seen = tab()
        page = seen.open(address)
        says(page, "Going on.")
        slow.upto("situations.jsonl")
        expect(page.locator("#live-going")).to_be_visible()
        slow.upto("round-1/train.jsonl")
        slow.step()
        expect(page.locator("#live-loss")).to_contain_text("round 1: checkpoint: step 2 of 10, loss 1.500")
        expect(page.locator("#live-bar")).to_have_js_property("value", 2)
        expect(page.locator("#live-rounds")).to_contain_text("m_0")
        assert not page.locator("#live-left").is_visible()  # nothing tells yet
        slow.upto("round-2/signals.jsonl")
        says(page, "Going on: round 2 of 2.")
        expect(page.locator("#live-left")).to_contain_text("if it goes on as in round 1")
        expect(page.locator("#live-rounds thead")).to_contain_text("m_1")
        slow.finish()
        says(page, "Done.")
        expect(page.locator("#news-says")).to_have_text("The run is done: its results are in.", timeout=15_000)
        page.locator("#news-show").click()
        expect(page.locator(".verdict")).to_contain_text("round 2 improved")
        expect(page.locator("#news")).to_be_hidden()
        assert seen.strange == []


def test_what_is_new_waits_until_the_reader_wants_it_and_leaves_them_where_they_are(slow: Slow, tab: Tabs) -> None:
    slow.upto("round-1/conversations.jsonl")
    with viewed(slow.folder) as address:
        page = tab().open(address)
        page.locator(".group").last.click()
        page.locator(".line").first.click()
        read, place = page.locator(".detail").inner_text(), page.url
        before = page.locator(".group").count()
        slow.upto("round-1/train.jsonl")
        expect(page.locator("#news-says")).to_contain_text("New: ", timeout=15_000)
        assert page.locator(".group").count() == before
        top = page.locator("#rollouts").bounding_box()
        page.locator("#news-show").click()
        expect(page.locator("#news")).to_be_hidden()
        expect(page.locator(".group")).not_to_have_count(before)
        now = page.locator("#rollouts").bounding_box()
        assert top and now and abs(top["y"] - now["y"]) < 3
        assert page.url == place and "#g=" in place
        assert page.locator(".detail").inner_text()[:60] == read[:60]  # below it more may be known by now


@pytest.mark.parametrize(
    "word, words, shown",
    [("pause", "Paused by its budget", "the next call would pass 20 usd"), ("fail", "Ended by an error", "<script>")],
)
def test_a_run_that_ended_says_how(slow: Slow, tab: Tabs, word: str, words: str, shown: str) -> None:
    with viewed(slow.folder) as address:
        seen = tab()
        page = seen.open(address)
        slow.step(word)
        says(page, words)
        expect(page.locator("#live-error")).to_contain_text(shown)
        assert seen.strange == []


def test_a_process_that_is_killed_is_missed(slow: Slow, tab: Tabs) -> None:
    with viewed(slow.folder) as address:
        page = tab().open(address)
        says(page, "Going on.")
        os.kill(slow.process.pid, signal.SIGKILL)
        slow.process.wait()
        says(page, "The process that worked on it is gone")


def test_a_server_that_is_gone_is_said_and_the_page_stays(tmp_path: Path, tab: Tabs) -> None:
    run = make_star_gate(tmp_path / "run", pairs=1, samples=1)
    with viewed(run) as address:
        page = tab().open(address)
        says(page, "Done.")
    says(page, "No answer from sparring view")
    expect(page.locator(".verdict")).to_contain_text("round 2 improved")


def test_the_embedded_model_asks_and_is_answered_in_the_browser(tmp_path: Path, tab: Tabs) -> None:
    run = make_star_gate(tmp_path / "run", pairs=1, samples=1, until="situations.jsonl")
    with viewed(run) as address:
        seen = tab()
        page = seen.open(address)
        assert page.locator("#chat-log").is_hidden()
        page.locator("#chat-text").fill("Where should we eat for a birthday?")
        page.keyboard.press("Enter")
        expect(page.locator("#chat-log .message.you")).to_contain_text("birthday")
        expect(page.locator("#chat-hint")).to_have_text("Reply, or /answer.", timeout=60_000)
        expect(page.locator("#chat-log .message.other .who")).to_contain_text("m_0question")
        page.get_by_role("button", name="Answer now").click()
        expect(page.locator("#chat-log .message.other")).to_have_count(2, timeout=30_000)
        expect(page.locator("#chat-hint")).to_contain_text("Write another request")
        assert page.locator(".coming").count() == 0
        page.get_by_role("button", name="Example").click()
        expect(page.locator("#chat-text")).not_to_have_value("")
        page.get_by_role("button", name="Close the model").click()
        expect(page.locator("#chat-commands button")).to_have_count(0)
        assert findings(page, "#chat") == [] and findings(page, "#live") == []
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": 360, "height": 740})
        assert findings(page, "#chat") == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert seen.strange == []
