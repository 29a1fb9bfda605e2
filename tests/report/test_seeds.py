"""The page of a folder of seeds: means, intervals, each seed's value, and the way to each seed's own page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from sparring.chat.opening import partner_of
from sparring.cli.export import export_run
from sparring.cli.report import report
from sparring.cli.view import view
from sparring.errors import RunError
from sparring.evals.seeds import Seeded, over_seeds
from sparring.files import read_json, read_lines, write_json
from sparring.report.seeds import build
from sparring.runs import seed_folder, seed_folders
from tests.made_runs import make_tripost


def folder(path: Path, n: int = 2) -> Path:
    """What `sparring run tripost seeds=N` leaves; each seed is a tenth better than the one before."""
    runs: list[Seeded] = []
    for seed in range(n):
        run = make_tripost(seed_folder(path, seed))
        summary = read_json(run / "summary.json")
        for entry in summary["rounds"]:
            entry["metrics"]["answer_words"] = {"value": 3 + seed, "low": 3, "high": 9, "n": 9}
        write_json(run / "summary.json", summary)
        runs.append(Seeded(seed, summary, read_lines(run / "eval.jsonl")))
    write_json(path / "summary.json", over_seeds(runs))
    return path


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("seeds") / "out")


def test_the_page_has_the_verdict_the_means_and_each_seeds_value(seeds: Path) -> None:
    text = build(seeds).read_text()
    summary = read_json(seeds / "summary.json")
    assert summary["verdict"] in text and "<h1" in text and "TriPosT" in text
    row = re.sub(r"<[^>]*>|\s+", " ", text[text.index("words in an answer") :][:900])
    said = " ".join(row.split())
    assert said.startswith("words in an answer 3.5 words −2.9 to 9.9 3.0, 4.0 3.5 words")
    assert "seeds" in said and "tasks and seeds" not in said.partition("</tr>")[0][:120]
    assert "<td>tasks and seeds</td>" in text, "accuracies are over both"
    assert "<script" not in text


def test_it_leads_to_the_page_of_every_seed_which_is_made_where_it_is_not_there(seeds: Path, tmp_path: Path) -> None:
    build(seeds)
    for path in (seeds / "report.html", build(seeds, tmp_path / "a b" / "mine.html")):
        links = re.findall(r'<a href="([^"#][^"]*)">Seed (\d)</a>', path.read_text())
        assert [seed for _, seed in links] == ["0", "1"]
        assert all((path.parent / unquote(link)).read_text().startswith("<!doctype html>") for link, _ in links)
    assert re.findall(r'href="(seed[^"]*)"', (seeds / "report.html").read_text())[0] == "seed-0/report.html"


def test_text_of_a_seed_is_never_markup(tmp_path: Path) -> None:
    path = folder(tmp_path / "<b>out")
    summary = read_json(path / "summary.json")
    summary |= {"verdict": "<img src=x>\u202e", "verdicts": {"0": "<script>x</script>", "1": "\x00"}}
    write_json(path / "summary.json", summary | {"seeds": [0, 1]})
    text = build(path).read_text()
    assert [part for part in ("<img", "<script", "<b>", "\u202e", "\x00") if part in text] == []
    assert "&lt;img src=x&gt;⟮RLO⟯" in text


def test_the_command_says_where_it_is(seeds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(seeds, None, as_json=True)
    row = json.loads(capsys.readouterr().out)
    assert row["page"] == str(seeds / "report.html") and row["seeds"] == [str(seeds / "seed-0"), str(seeds / "seed-1")]
    report(seeds, None, as_json=False)
    assert capsys.readouterr().out.startswith(f"{seeds}/report.html: means over 2 seeds; ")


def test_seeds_that_have_not_all_ended_have_no_page_over_them(tmp_path: Path) -> None:
    make_tripost(seed_folder(tmp_path, 0), until="round-1/train.jsonl")
    with pytest.raises(RunError, match=r"once every seed has ended. Until then take one: .*seed-0"):
        report(tmp_path, None, as_json=True)
    write_json(tmp_path / "summary.json", {"recipe": "tripost"})
    with pytest.raises(RunError, match=r"summary\.json is no summary over seeds: it has no seeds"):
        report(tmp_path, None, as_json=True)


def test_what_is_for_one_run_names_the_folders_to_take(seeds: Path) -> None:
    asked: list[Any] = [
        lambda: view(seeds, 0, False),
        lambda: export_run(seeds),
        lambda: partner_of(str(seeds)),
    ]
    for one in asked:
        with pytest.raises(RunError, match=r"^[^\n]*a run of each seed, and is none itself: take .*seed-0, .*seed-1$"):
            one()


def test_a_folder_of_seeds_is_told_from_any_other(seeds: Path, tmp_path: Path) -> None:
    assert seed_folders(seeds) == [seeds / "seed-0", seeds / "seed-1"]
    (tmp_path / "seed-1").mkdir()
    assert seed_folders(tmp_path) == seed_folders(tmp_path / "nowhere") == []
