"""Whatever a model, a user or a folder from elsewhere says is shown as text, and nothing of it is ever run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sparring.files import read_json, write_json
from sparring.report.page import build
from sparring.report.progress import Progress
from sparring.runs import Run
from sparring.visible import visible
from tests.browser.hostile import PAYLOADS, of_a_folder
from tests.browser.reading import read_all
from tests.browser.serving import served
from tests.browser.tab import Tab
from tests.made_runs import MAKERS, PLACES, make_star_gate

BARE = frozenset({"id", "kind", "tier", "key", "reason", "stage", "role", "dropped"})
"""Places whose text is a name in some table: there the payload stands alone, so that `__proto__` is a key."""
UNTOLD = frozenset({"job"})
"""Places that no page shows."""
SIZES = {"star-gate": 16, "tripost": 20, "spar": 8}
LEAST = 200
"""Cases (a payload in a place) of each recipe."""
OURS = frozenset(
    "a article b bdi body button caption code dd desc details div dl dt figure footer g h1 h2 h3 h4 h5 head header "
    "html input kbd li link main mark meta nav noscript ol option p path pre rect script section select span style "
    "sub summary svg table tbody td text th thead title tr tspan ul".split()
)
"""Elements that a page is made of; of the rest, many a payload brings one."""
OURS_SERVED = OURS | {"aside", "figcaption", "form", "label", "polyline", "progress", "textarea"}


@dataclass
class Mouth:
    """Says payloads wherever somebody may speak, others each time; `at_once`: so many in one text."""

    offset: int = 0
    at_once: int = 1
    said: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """What was said, by place and name of the payload."""

    def __call__(self, place: str, n: int, plain: str) -> str:
        names = [*PAYLOADS]
        first = n * self.at_once + self.offset + 7 * PLACES.index(place)
        those = [names[(first + at) % len(names)] for at in range(self.at_once)]
        text = " ".join(PAYLOADS[name] for name in those)
        text = text if place in BARE and n < len(names) else f"{place}{n} {text} end"
        for name in those:
            self.said.setdefault((place, name), []).append(text)
        return text

    def unseen(self, told: str, *places: str) -> list[tuple[str, str, str]]:
        """Return what was said (in these places, or in all) and is nowhere told; the unseen is told in pictures."""
        wanted = {*(places or PLACES)} - UNTOLD
        said = {case: texts for case, texts in self.said.items() if case[0] in wanted}
        return [(*case, texts[0]) for case, texts in said.items() if not any(visible(text) in told for text in texts)]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Mouth, Path]]:
    """A hostile run of every recipe, and its page."""
    found: dict[str, tuple[Mouth, Path]] = {}
    for at, (recipe, make) in enumerate(MAKERS.items()):
        mouth = Mouth(offset=40 * at)
        run = make(tmp_path_factory.mktemp("hostile") / "run", SIZES[recipe], text=mouth)
        found[recipe] = mouth, build(Run(run)).html
    return found


@pytest.mark.parametrize("recipe", MAKERS)
def test_all_that_a_report_shows_is_text_and_nothing_of_it_runs(
    recipe: str, spoken: dict[str, tuple[Mouth, Path]], tab: Callable[..., Tab]
) -> None:
    mouth, page = spoken[recipe]
    one = tab(offline=True)
    read = read_all(one.open(page))
    assert one.strange == []
    assert read.strange == ()
    assert read.mixed == ()
    assert read.tags - OURS == set()
    assert mouth.unseen(read.text) == []
    assert len(mouth.said) >= LEAST


STILL = ("verdict", "command", "commit", "version", "setting", "key", "model", "prompt", "reason", "stage", "role")
"""Places of which a run has a few texts only, which stand on the page itself."""
AT_ONCE = 13


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Mouth, str, Path]]:
    """Pages of small runs with few metrics: all payloads in every place, and in the names of the folders."""
    found: list[tuple[Mouth, str, Path]] = []
    for offset in range(0, len(PAYLOADS), AT_ONCE):
        mouth = Mouth(offset, AT_ONCE)
        name = of_a_folder([*PAYLOADS.values()][offset])
        run = make_star_gate(tmp_path_factory.mktemp("still") / name, 1, 1, 1, text=mouth)
        summary = read_json(run / "summary.json")
        for entry in summary["rounds"]:
            entry["metrics"] = {"win_rate": entry["metrics"]["win_rate"]}
        write_json(run / "summary.json", summary)
        found.append((mouth, name, build(Run(run)).html))
    return found


def test_every_payload_in_what_stands_on_a_page_and_in_the_name_of_its_folder_is_text(
    still: list[tuple[Mouth, str, Path]], tab: Callable[..., Tab]
) -> None:
    one = tab(offline=True)
    for mouth, name, path in still:
        page = one.open(path)
        page.wait_for_selector(".detail .id")
        assert one.strange == []
        told = page.locator("body").text_content() or ""
        assert mouth.unseen(told, *STILL) == []
        assert visible(name) in told
        assert visible(name).split() == page.title().partition(" · ")[0].split()
        assert {*page.evaluate("[...document.querySelectorAll('*')].map(node => node.localName)")} - OURS == set()
    assert len({case for mouth, _, _ in still for case in mouth.said if case[0] in STILL}) >= LEAST


def test_a_line_of_a_megabyte_and_a_text_without_a_space_are_shown_within_the_page(
    tab: Callable[..., Tab], tmp_path: Path
) -> None:
    long = "<b>" + "x" * 1_000_000
    run = make_star_gate(tmp_path / "run", 1, 1, 1, text=lambda place, n, plain: long if place == "reply" else plain)
    one = tab(offline=True)
    page = one.open(build(Run(run)).html)
    page.locator(".group", has_text="conversations").first.click()
    page.get_by_role("button", name="Show all 1,000,003 characters").first.click(timeout=60_000)
    assert long in (page.locator(".detail").text_content() or "")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert one.strange == []


# Served


@pytest.fixture(scope="module")
def address(spoken: dict[str, tuple[Mouth, Path]]) -> Iterator[str]:
    """The hostile run of STaR-GATE, served; it says of itself that it goes on, in words that are no better."""
    run = spoken["star-gate"][1].parent
    (run / "summary.json").unlink()
    with Progress(run) as progress:
        for payload in PAYLOADS.values():
            progress.tell({"event": "stage", "stage": f"round-2/{payload}", "done": 3, "of": 9})
        progress.tell({"event": "training", "checkpoint": f"{run}/round-2/<script>", "step": 1, "of": 2, "loss": 0.5})
        progress.tell({"event": "round", "round": "<img src=x onerror=window.__pwned.push(1)>", "metrics": {}})
        with served(run) as found:
            yield found


def test_all_that_a_served_page_shows_is_text_and_nothing_of_it_runs(
    address: str, spoken: dict[str, tuple[Mouth, Path]], tab: Callable[..., Tab]
) -> None:
    one = tab()
    page = one.open(address)
    page.locator("#live-stage:not(:empty)").wait_for()
    read = read_all(page)
    assert one.strange == []
    assert read.strange == ()
    assert read.mixed == ()
    assert read.tags - OURS_SERVED == set()
    assert spoken["star-gate"][0].unseen(read.text, *(set(PLACES) - {"verdict"})) == []


def test_all_that_models_say_in_a_talk_is_text_and_nothing_of_it_runs(address: str, tab: Callable[..., Tab]) -> None:
    one = tab()
    page = one.open(address)
    for said in ("<img src=x onerror=window.__pwned.push(1)>", "constructor"):
        page.locator("#chat-text").fill(said)
        page.locator("#chat-text").press("Enter")
        page.locator("#chat-send:enabled").wait_for(timeout=60_000)
        assert page.locator(".message.you .text").last.text_content() == said
    page.evaluate("for (const fold of document.querySelectorAll('#chat details')) fold.open = true")
    told = page.locator("#chat").text_content() or ""
    texts = [*PAYLOADS.values()]
    assert [text for at, text in enumerate(texts) if visible(f"{at} {text} end") not in told] == []
    # Notes are ours, and show no path in full.
    noted = [text for at, text in enumerate(texts) if "/" not in text and visible(f"note{at} {text} end") not in told]
    assert noted == []
    assert "<b onclick=window.__pwned.push(1)>hello</b>" in told
    assert one.strange == []
    assert {
        *page.evaluate("[...document.querySelectorAll('#chat *')].map(node => node.localName)")
    } - OURS_SERVED == set()
