"""Editions of a page: made when the run has more to show, and not more often than it is worth."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from sparring.errors import RunError
from sparring.view import watch
from sparring.view.watch import Watch
from tests.made_runs import make_star_gate


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return make_star_gate(tmp_path / "whole", pairs=2, samples=2)


def grown(whole: Path, run: Path, upto: str) -> Path:
    """Bring a run to where a whole one was when it had made a stage."""
    run.mkdir(exist_ok=True)
    shutil.copy(whole / "run.json", run / "run.json")
    lines = []
    for text in (whole / "journal.jsonl").read_text().splitlines():
        lines.append(text)
        name = json.loads(text)["stage"]
        (run / name).parent.mkdir(exist_ok=True)
        if not (run / name).exists():
            (shutil.copytree if (whole / name).is_dir() else shutil.copy)(whole / name, run / name)
        if name == upto:
            break
    (run / "journal.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return run


def groups(watch: Watch, edition: int) -> list[str]:
    block = watch.block(edition, "groups")
    assert block
    return [group["id"] for group in json.loads(gzip.decompress(block))["groups"]]


def test_a_run_that_has_grown_has_a_new_edition_and_the_old_one_can_still_be_read(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "EVERY", 0.0)
    monkeypatch.setattr(watch, "SHARE", 0)
    run = grown(whole, tmp_path / "run", "situations.jsonl")
    seen = Watch(run)
    assert seen.look().number == 1
    grown(whole, run, "round-1/conversations.jsonl")
    assert seen.look().number == 2
    assert "round 1: conversations" in seen.news(1)
    assert seen.news(2) == []
    assert "round-1/conversations" not in groups(seen, 1) and "round-1/conversations" in groups(seen, 2)
    for upto in ("round-1/train.jsonl", "round-1/test-answers.jsonl", "summary.json"):
        grown(whole, run, upto)
        seen.look()
    assert seen.newest.number == 5
    assert seen.block(1, "g0") == seen.block(1, "g0") is not None
    assert seen.block(6, "groups") is None and seen.block(0, "groups") is None
    assert set(seen.news(99)) == set(seen.newest.shown)


def test_editions_that_are_not_looked_at_keep_no_file_open(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "EVERY", 0.0)
    monkeypatch.setattr(watch, "SHARE", 0)
    seen = Watch(whole)
    opened: list[int] = []
    for number in range(1, 13):
        for name in groups(seen, number):
            place = groups(seen, number).index(name)
            assert seen.block(number, f"g{place}"), name
        opened.append(len(os.listdir("/proc/self/fd")))
        os.utime(whole / "run.json", (number, number))
        assert seen.look().number == number + 1
    assert opened[-1] <= opened[watch.READ]
    assert seen.block(1, "g0") == seen.block(12, "g0") is not None


def test_what_became_something_else_is_not_shown_under_its_old_name(whole: Path, tmp_path: Path) -> None:
    run = grown(whole, tmp_path / "run", "summary.json")
    seen = Watch(run)
    place = [group.id for group in seen.newest.groups].index("comparison")
    shutil.copytree(run / "round-1", run / "round-9")
    os.utime(run / "run.json", (1, 1))
    assert seen.look(at_once=True).number == 2
    with pytest.raises(RunError, match="an earlier state of the run"):
        seen.block(1, f"g{place}")
    assert seen.block(2, f"g{groups(seen, 2).index('comparison')}")


def test_a_run_that_stands_still_is_not_read_again(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Watch(whole)
    monkeypatch.setattr(watch.page, "render", pytest.fail)
    assert seen.look(at_once=True).number == 1


def test_an_edition_waits_for_its_time_unless_a_reader_asks(whole: Path, tmp_path: Path) -> None:
    run = grown(whole, tmp_path / "run", "situations.jsonl")
    seen = Watch(run)
    grown(whole, run, "round-1/train.jsonl")
    began = time.monotonic()
    assert seen.look().number == 1 or time.monotonic() - began > watch.EVERY
    edition, html = seen.page()
    assert edition.number == 2 and "<html" in html


def test_a_file_that_cannot_be_read_leaves_the_page_as_it_was(whole: Path, caplog: pytest.LogCaptureFixture) -> None:
    seen = Watch(whole)
    with (whole / "journal.jsonl").open("a") as journal:
        journal.write("no line of ours\n")
    assert seen.look(at_once=True).number == 1
    assert seen.problem and "the page stays as it was" in caplog.text


def test_a_folder_that_is_no_run_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run directory: it has no run\.json"):
        Watch(tmp_path)


def test_ten_thousand_rollouts_are_quick(tmp_path: Path) -> None:
    run = make_star_gate(tmp_path / "run", pairs=250, samples=16, test_pairs=50)
    began = time.monotonic()
    seen = Watch(run)
    took = time.monotonic() - began
    assert took < 10, f"{took:.1f} s to the first page"
    began = time.monotonic()
    for name in ("groups", "g5", "g5-0"):
        assert seen.block(1, name)
    assert time.monotonic() - began < 10
