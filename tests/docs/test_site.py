"""The site builds without a warning and a network, and what its pages and the README point at is there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydantic import BaseModel

from tests.docs.blocks import CODE, PAGES, ROOT
from tests.docs.stand_ins import KINDS

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
OURS = re.compile(r"(?:src|tests|bench|docs)/[\w./-]*|[A-Z]{2,}\.md|Makefile")
"""How a file or folder of the repository is called."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", str(out)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    return out


class Asked(HTMLParser):
    """What a page has a browser fetch, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self.ids.add(said.get("id", ""))
        if tag == "a" and "href" in said:
            self.links.append(said["href"])
        elif tag == "link":
            self.fetched += [said["href"]] if said.get("rel") not in ("next", "prev", "index", "search") else []
        elif "src" in said:
            self.fetched.append(said["src"])


def asked(page: Path) -> Asked:
    found = Asked()
    found.feed(page.read_text(encoding="utf-8"))
    return found


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in site.glob("*.html"):
        for target in asked(page).fetched:
            assert not re.match(r"\w+:|//", target), f"{page.name} fetches {target}"
    for sheet in site.glob("_static/**/*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import", text), f"{sheet.name} fetches from elsewhere"


def test_links_within_the_site_lead_somewhere(site: Path) -> None:
    pages = {page.name: asked(page) for page in site.glob("*.html")}
    for name, page in pages.items():
        for link in page.links:
            if re.match(r"\w+:", link) or not link:
                continue
            target, _, anchor = link.partition("#")
            assert not target or (site / target).exists(), f"{name}: {link}"
            known = pages.get(target or name)
            assert not anchor or not known or anchor in known.ids, f"{name}: {link}"


def test_every_setting_is_in_the_reference(site: Path) -> None:
    shown = (site / "settings.html").read_text(encoding="utf-8")
    for recipe, kind in KINDS.items():
        for name in names_of(kind):
            assert f'id="{recipe}-{name.replace(".", "-").replace("_", "-")}"' in shown, f"{recipe}: {name}"


def names_of(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every setting that has a value."""
    for name, field in kind.model_fields.items():
        yield prefix + name
        if isinstance(field.default, BaseModel):
            yield from names_of(type(field.default), f"{prefix}{name}.")


COMMANDS = "run plan doctor score eval report view chat export ledger-stats ledger-export ledger-gc world-build"


def test_every_command_is_in_the_reference(site: Path) -> None:
    shown = (site / "commands.html").read_text(encoding="utf-8")
    for name in COMMANDS.split():
        assert f'id="sparring-{name}"' in shown, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not re.match(r"https?:", target):
            assert (page.parent / target.partition("#")[0]).exists() or target.startswith("#"), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_of_the_repository_that_a_page_names_are_there(page: Path) -> None:
    for name in CODE.findall(page.read_text(encoding="utf-8")):
        if OURS.fullmatch(name) and "NAME" not in name:
            assert (ROOT / name).exists(), f"{page.name}: {name}"
