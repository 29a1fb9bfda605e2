"""Debian's chromium, driven by Playwright: pages are looked at in a real browser, and nothing leaves this machine.

The browser lives as long as a file of tests: while Playwright is on, no other event loop can run in this thread.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.tab import Tab

ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser that knows no host but this one."""
    path = shutil.which("chromium")
    if not path:
        pytest.fail("no chromium on PATH: these tests need Debian's (apt-get install chromium), as .ci/run installs it")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=[*ARGUMENTS])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Callable[..., Tab]]:
    """Opens an empty tab, each in a profile of its own: `tab(dark=True, width=360)`."""
    opened: list[Tab] = []

    def open_tab(dark: bool = False, width: int = 1280, height: int = 900, **options: Any) -> Tab:
        scheme = "dark" if dark else "light"
        context = chromium.new_context(
            color_scheme=scheme, viewport={"width": width, "height": height}, reduced_motion="reduce", **options
        )
        context.set_default_timeout(10_000)
        opened.append(Tab(context.new_page()))
        return opened[-1]

    yield open_tab
    for one in opened:
        one.page.context.close()
