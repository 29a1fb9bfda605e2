"""The page of a run: whole, small, made of the run's files alone, and nothing in it but our own scripts."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sparring.cli import page_of
from sparring.cli.report import report
from sparring.errors import DataError, RunError
from sparring.files import read_json, write_json
from sparring.report import browse, page
from sparring.report.blocks import CATALOGUE, FEW, Block, OnDemand, blocks
from sparring.report.figures import amount, count, duration, figures_of, tokens
from sparring.report.page import build, data_folder, of_finished, render, shared
from sparring.report.record import Record
from sparring.runs import Run
from sparring.visible import visible
from tests.made_runs import MAKERS, make_spar, make_star_gate, make_tripost


class Parts(HTMLParser):
    """The elements of a page, as a browser's parser meets them."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.within = tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.within, []).append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def opened(data: bytes) -> dict[str, Any]:
    return json.loads(gzip.decompress(data))


def inside(text: str) -> dict[str, dict[str, Any]]:
    """The blocks that a page holds."""
    found = re.findall(r'<script type="application/octet-stream" id="block-([^"]*)">([^<]*)</script>', text)
    return {name: opened(base64.b64decode(data)) for name, data in found}


def files_of(path: Path) -> dict[str, tuple[int, bytes]]:
    return {
        file.relative_to(path).as_posix(): (file.stat().st_mtime_ns, file.read_bytes())
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


# The file


@pytest.mark.parametrize("recipe", MAKERS)
def test_a_page_says_what_came_of_a_run_and_holds_every_rollout(recipe: str, tmp_path: Path) -> None:
    run = Run(MAKERS[recipe](tmp_path / "run"))
    built = build(run)
    text = built.html.read_text()
    assert built.html == tmp_path / "run" / "report.html" and built.data == ()
    said = Parts(text)
    verdict = read_json(run.path / "summary.json")["verdict"]
    assert verdict in " ".join(said.texts["bdi"])
    for metric in Record.read(run).metrics:
        assert metric.label.removeprefix("·").strip() in said.texts["bdi"]
    held = inside(text)
    shown = {one["id"]: held[one["index"]]["ids"] for one in held[CATALOGUE]["groups"]}
    assert shown == {group.id: [entry.id for entry in group.entries()] for group in browse.groups(run)}
    assert built.rollouts == sum(map(len, shown.values())) > 0


@pytest.mark.parametrize("recipe", MAKERS)
def test_a_page_names_no_address_and_no_file_but_its_own(recipe: str, tmp_path: Path) -> None:
    said = Parts(build(Run(MAKERS[recipe](tmp_path / "run"))).html.read_text())
    for tag, attributes in said.elements:
        for name, value in attributes.items():
            if name in ("src", "href", "action", "srcset", "style", "data") or name.startswith("on"):
                assert (value or "").startswith(("#", "data:image/svg+xml,")), (tag, name, value)


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    run = Run(make_spar(tmp_path / "run"))
    one, other = (build(run, tmp_path / name / "report.html").html.read_bytes() for name in "ab")
    assert one == other


def test_making_a_page_changes_nothing_else_in_the_run(tmp_path: Path) -> None:
    path = make_star_gate(tmp_path / "run")
    before = files_of(path)
    build(Run(path))
    after = files_of(path)
    assert after.pop("report.html") and after == before


def test_a_page_that_cannot_be_finished_leaves_the_one_before_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(make_star_gate(tmp_path / "run"))
    first = build(run).html.read_bytes()

    def full(*_: object) -> None:
        raise OSError(5, "no")

    monkeypatch.setattr(page, "_filled", full)
    with pytest.raises(OSError, match="no"):
        build(run)
    assert (tmp_path / "run" / "report.html").read_bytes() == first
    assert not [*(tmp_path / "run").glob(".report*")]


@pytest.mark.parametrize("until", ["personas.jsonl", "round-1/conversations.jsonl", "round-1/train.jsonl"])
def test_a_run_that_goes_on_has_a_page_of_what_is_there(until: str, tmp_path: Path) -> None:
    run = Run(make_star_gate(tmp_path / "run", until=until))
    text = build(run).html.read_text()
    assert "The verdict is not in yet." in text
    assert len(inside(text)[CATALOGUE]["groups"]) == len(browse.groups(run))


def test_a_run_of_a_recipe_that_is_not_known_has_a_page(tmp_path: Path) -> None:
    path = make_star_gate(tmp_path / "run")
    record = read_json(path / "run.json")
    write_json(path / "run.json", record | {"recipe": "of the future"})
    assert "of the future" in build(Run(path)).html.read_text()


def test_a_broken_file_of_a_run_is_named_and_no_page_is_left(tmp_path: Path) -> None:
    path = make_star_gate(tmp_path / "run")
    (path / "round-1" / "conversations.jsonl").write_text('{"id": \n')
    with pytest.raises(RunError, match=r"conversations\.jsonl:1"):
        build(Run(path))
    assert not (path / "report.html").exists()


# The command


def test_the_command_says_where_the_page_is_and_what_it_weighs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_star_gate(tmp_path / "run")
    report(path, None, as_json=True)
    row = json.loads(capsys.readouterr().out)
    assert (row["page"], row["data"], row["data_bytes"]) == (str(path / "report.html"), [], 0)
    assert row["bytes"] == (path / "report.html").stat().st_size and row["rollouts"] > 0
    report(path, tmp_path / "new" / "mine.html", as_json=False)
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'new' / 'mine.html'}: {row['rollouts']} rollouts, ")


def test_the_command_replaces_a_page_and_nothing_else(tmp_path: Path) -> None:
    path = make_star_gate(tmp_path / "run")
    kept = (path / "run.json").read_bytes()
    with pytest.raises(DataError, match="is no page; it stays as it is"):
        report(path, path / "run.json", as_json=False)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is a device or a pipe"):
        report(path, tmp_path / "pipe", as_json=False)
    with pytest.raises(DataError, match=r"is a folder; name a file in it, .*report\.html"):
        report(path, path, as_json=False)
    with pytest.raises(DataError, match="cannot be made"):
        report(path, path / "run.json" / "page.html", as_json=False)
    with pytest.raises(RunError, match=r"it has no run\.json"):
        report(tmp_path, None, as_json=False)
    assert (path / "run.json").read_bytes() == kept
    report(path, None, as_json=False)
    report(path, None, as_json=False)


# Data beside it


def test_what_a_page_has_no_room_for_lies_beside_it_and_goes_with_the_next_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(make_star_gate(tmp_path / "run"))
    whole = inside(build(run).html.read_text())
    monkeypatch.setattr(page, "ROOM", 0)
    built = build(run)
    text = built.html.read_text()
    assert [*inside(text)] == [CATALOGUE]
    assert {path.parent for path in built.data} == {run.path / "report-data"}
    brought = {}
    for path in built.data:
        name, data = re.fullmatch(
            r'sparring\.arrived\("([a-z0-9.-]+)","([A-Za-z0-9+/=]+)"\)\n', path.read_text()
        ).groups()
        assert path.name == f"{name}.js" and path.name.isascii()
        brought[name] = opened(base64.b64decode(data))
    assert {**brought, **inside(text)} == whole
    assert 'data-beside="report-data"' in text
    monkeypatch.undo()
    (run.path / "report-data" / "mine.txt").write_text("kept")
    build(run)
    assert [path.name for path in (run.path / "report-data").iterdir()] == ["mine.txt"]


def test_room_goes_to_the_lists_first_then_to_the_smallest_groups_whole() -> None:
    made = [
        Block("g0-0", b"x" * 600, "long"),
        Block("g0-1", b"x" * 600, "long"),
        Block("g0", b"x" * 30),
        Block("g1-0", b"x" * 300, "short"),
        Block("g1", b"x" * 30),
        Block(CATALOGUE, b"x" * 30),
    ]
    here, there = shared(made, room=1500)
    assert [block.name for block in here] == ["g0", "g1-0", "g1", CATALOGUE]
    assert [block.name for block in there] == ["g0-0", "g0-1"]


@pytest.mark.parametrize("name", ["report.html", "my-run_2.html"])
def test_the_folder_beside_a_page_has_its_name(name: str) -> None:
    assert data_folder(Path("runs", name)) == f"{Path(name).stem}-data"


@pytest.mark.parametrize(
    "name", ["a b.html", "<script>.html", "ümlaut.html", "..html", "-x.html", "\udc80.html", "x" * 99]
)
def test_the_folder_beside_a_page_of_an_odd_name_is_plain(name: str) -> None:
    assert re.fullmatch(r"report-[0-9a-f]{8}-data", data_folder(Path("runs", name)))


# What the browser may run


@pytest.mark.parametrize("live", [False, True])
def test_a_browser_is_told_to_run_the_scripts_of_the_page_and_no_other(live: bool, tmp_path: Path) -> None:
    text = render(Record.read(Run(make_star_gate(tmp_path / "run"))), live=live)
    said = Parts(text)
    policy = next(meta["content"] for meta in said.of("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert ("connect-src 'self'" in policy) == live
    for tag in ("script", "style"):
        there = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        hashes = re.search(rf"{tag}-src ([^;]*)", policy)
        named = re.findall(r"'sha256-([^']*)'", hashes[1]) if hashes else []
        assert [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in there] == named
    assert not [attributes for attributes in said.of("script") if attributes and "type" not in attributes]


def test_text_of_a_run_is_never_markup(tmp_path: Path) -> None:
    bad = "</script><script>x</script>\"'><img src=x onerror=x>"
    plain = Parts(build(Run(make_star_gate(tmp_path / "plain"))).html.read_text())
    hostile = Parts(build(Run(make_star_gate(tmp_path / "bad", text=lambda place, n, t: bad + t))).html.read_text())
    assert [tag for tag, _ in hostile.elements if tag == "img"] == []
    assert len([one for one in hostile.of("script") if not one]) == len([one for one in plain.of("script") if not one])
    assert any(bad in text for text in hostile.texts["bdi"])


def test_what_cannot_be_seen_is_shown_as_a_picture() -> None:
    assert visible("a\x00b\x1b[31m\x7f") == "a␀b␛[31m␡"
    assert visible("\u202egpj.exe\u2066\u200b\ufeff\ud800\x85") == "⟮RLO⟯gpj.exe⟮LRI⟯⟮ZWSP⟯⟮BOM⟯⟮U+D800⟯⟮U+0085⟯"
    assert visible("line\n\ttab שלום 👩\u200d💻 é") == "line\n\ttab שלום 👩\u200d💻 é"


# Blocks


def test_an_index_says_which_block_holds_which_entry(tmp_path: Path) -> None:
    groups = browse.groups(Run(make_tripost(tmp_path / "run", 40)))
    made = {block.name: opened(block.data) for block in blocks(groups)}
    for group, row in zip(groups, made[CATALOGUE]["groups"], strict=True):
        index, entries = made[row["index"]], list(group.entries())
        details = [detail for name, n in index["blocks"] for detail in made[name]["details"][:n]]
        assert details == [entry.detail().row() for entry in entries]
        assert [[index["tags"][tag] for tag in tags] for tags in index["tagged"]] == [[*e.tags] for e in entries]
        assert [index["units"][at] for at in index["unit"] or [0] * len(entries)] == [e.unit for e in entries]
        assert index["values"] == pytest.approx([e.value for e in entries], abs=1e-6)


def test_a_long_text_has_a_block_to_itself(tmp_path: Path) -> None:
    path = make_star_gate(tmp_path / "run", text=lambda place, n, t: "x" * 500_000 if place == "reply" and not n else t)
    sizes = [len(gzip.decompress(block.data)) for block in blocks(browse.groups(Run(path))) if block.group]
    assert max(sizes) > 500_000
    details = [opened(block.data)["details"] for block in blocks(browse.groups(Run(path))) if block.group]
    assert all(len(rows) == 1 for rows in details if len(json.dumps(rows)) > 500_000)


def test_blocks_made_on_demand_hold_what_those_of_a_page_hold(tmp_path: Path) -> None:
    groups = browse.groups(Run(make_star_gate(tmp_path / "run", 20)))
    desk, held = OnDemand(groups), {block.name: opened(block.data) for block in blocks(groups)}
    catalogue = opened(desk.block(CATALOGUE) or b"")["groups"]
    for row, other in zip(catalogue, held[CATALOGUE]["groups"], strict=True):
        index, known = opened(desk.block(row["index"]) or b""), held[other["index"]]
        assert {**index, "blocks": 0} == {**known, "blocks": 0}
        assert all(n <= FEW for _, n in index["blocks"]) and sum(n for _, n in index["blocks"]) == len(index["ids"])
        asked = [one for name, _ in index["blocks"] for one in opened(desk.block(name) or b"")["details"]]
        assert asked == [one for name, _ in known["blocks"] for one in held[name]["details"]]


@pytest.mark.parametrize("name", ["", "g", "g99", "g0-9999", "g0-", "g-1", "../g0", "g0.0", "G0", "g٣", "groups "])
def test_there_is_no_block_of_any_other_name(name: str, tmp_path: Path) -> None:
    assert OnDemand(browse.groups(Run(make_star_gate(tmp_path / "run")))).block(name) is None


# Figures


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (amount(0.9234, "%"), "92.3 %"),
        (amount(-0.0004, "points"), "+0.0 points"),
        (amount(-8.79, "nats"), "−8.8 nats"),
        (amount(1.24, "questions"), "1.2 questions"),
        (duration(None), "–"),
        (duration(0.04), "0.0 s"),
        (duration(9.96), "10 s"),
        (duration(59.6), "1 min"),
        (duration(125), "2 min 5 s"),
        (duration(3 * 3600 + 1200), "3 h 20 min"),
        (count(None), "–"),
        (count(1234567), "1,234,567"),
    ],
)
def test_figures_are_rounded_and_have_their_units(said: str, shown: str) -> None:
    assert said == shown


def test_what_is_counted_is_shown_as_what_it_is(tmp_path: Path) -> None:
    shown = {
        line.label: line.cells[0].value for line in figures_of(Record.read(Run(make_star_gate(tmp_path / "run")))).table
    }
    assert shown["questions in a turn"].endswith(" questions") and shown["words in an answer"].endswith(" words")


def test_a_recipe_leads_with_what_its_verdict_is_about(tmp_path: Path) -> None:
    heads = {recipe: figures_of(Record.read(Run(make(tmp_path / recipe)))).headline for recipe, make in MAKERS.items()}
    assert {recipe: head and head.label for recipe, head in heads.items()} == {
        "star-gate": "answers preferred to m_0's",
        "tripost": "right after correcting itself",
        "spar": "prompts followed",
    }


def test_every_metric_has_one_curve_and_every_second_of_a_run_is_in_a_bar(tmp_path: Path) -> None:
    record = Record.read(Run(make_spar(tmp_path / "run", rounds=3)))
    figures = figures_of(record)
    assert sorted(metric.name for metric in (*figures.leading, *figures.following)) == sorted(
        metric.name for metric in record.metrics
    )
    assert sum(seconds for _, seconds in figures.bars) == pytest.approx(
        sum(s.seconds or 0 for s in record.stages), abs=0.01
    )


def test_what_is_not_known_is_a_dash_and_never_a_nought(tmp_path: Path) -> None:
    path = make_tripost(tmp_path / "run", until="round-1/attempts.jsonl")
    (path / "journal.jsonl").write_text('{"stage": "round-1/attempts.jsonl"}\n')
    figures = figures_of(Record.read(Run(path)))
    assert (figures.seconds, figures.calls) == (None, None)
    html = render(Record.read(Run(path)))
    assert html.count("<dd>–</dd>") >= 3, "rounds, time and calls"
    script = {"calls": 30, "prompt_tokens": 0, "completion_tokens": 0}
    (path / "journal.jsonl").write_text(
        json.dumps({"stage": "round-1/attempts.jsonl", "seconds": 0.0, "calls": {"oracle": script}}) + "\n"
    )
    record = Record.read(Run(path))
    assert figures_of(record).charges[0][:4] == ("oracle", "30", "–", "–")
    assert tokens(record.stages[0]) == ("–", "–") and figures_of(record).seconds == 0.0


def test_calls_that_may_have_been_billed_without_an_answer_are_said(tmp_path: Path) -> None:
    path = make_star_gate(tmp_path / "run")
    summary = read_json(path / "summary.json")
    part = {"calls": 3, "prompt_tokens": 5, "completion_tokens": 5, "usd": 0.5}
    parts = {"billed_now": part, "billed_earlier": {**part, "calls": 0}, "lost": {"calls": 1_200}}
    write_json(path / "summary.json", {**summary, "billed": {"oracle": parts}})
    assert "Of <bdi>oracle</bdi>, 1,200 calls more may have been billed" in render(Record.read(Run(path)))


def test_a_run_whose_page_cannot_be_made_is_done_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_star_gate(tmp_path / "run")
    assert page_of(lambda: of_finished(Run(path))) == {"page": str(path / "report.html")}
    (path / "report.html").unlink()
    (path / "report.html").mkdir()
    (path / "report.html" / "mine").touch()
    os.utime(path / "report.html", (1, 1))
    assert page_of(lambda: of_finished(Run(path))) == {}
    assert "the run is done, but its page cannot be made" in capsys.readouterr().err


def test_the_page_of_a_finished_run_is_written_once(tmp_path: Path) -> None:
    run = Run(make_tripost(tmp_path / "run"))
    made = of_finished(run)
    first = made.stat().st_mtime_ns
    assert of_finished(run).stat().st_mtime_ns == first
    later = made.stat().st_mtime + 10
    os.utime(run.path / "summary.json", (later, later))
    assert of_finished(run).stat().st_mtime_ns > first
