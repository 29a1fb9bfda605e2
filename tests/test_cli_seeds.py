"""`seeds=3`: what is refused, which runs are made, and the table over them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sparring.cli.seeds import asked_seeds, run_seeds, show
from sparring.cli.setup import Setup
from sparring.cli.tripost import TriPosTSetup
from sparring.errors import RunError, SettingsError
from sparring.files import read_json
from tests.made_runs import make_tripost

SMALL = ["questions=6", "test_questions=6"]


def test_seeds_is_a_setting_of_the_command_and_not_of_the_recipe() -> None:
    assert asked_seeds(["rounds=2", "seeds=3"]) == (3, ["rounds=2"])
    assert asked_seeds(["seed=3"]) == (0, ["seed=3"])


@pytest.mark.parametrize("overrides", [["seeds=1"], ["seeds=many"], ["seeds="], ["seeds=-2"], ["seeds=3", "seed=1"]])
def test_what_is_no_number_of_seeds_is_refused(overrides: list[str]) -> None:
    with pytest.raises(SettingsError, match="seed"):
        asked_seeds(overrides)


def finished(setup: Setup, folder: Path) -> None:
    """Leave what a run of that seed does: the more right, the higher the seed."""
    seed, right = setup.settings.seed, [setup.settings.seed / 2, 1.0]
    folder.mkdir(parents=True)
    metrics = [{"accuracy_self_corrected": {"value": value, "low": 0.0, "high": 1.0, "n": 6}} for value in right]
    rounds = [{"round": t, "metrics": one} for t, one in enumerate(metrics)]
    summary = {"recipe": "tripost", "verdict": f"round 1 improved with {seed}", "rounds": rounds}
    (folder / "summary.json").write_text(json.dumps(summary))
    items = [
        {"round": t, "item": "greedy", "id": f"{seed} {at}", "seen": True, "direct": 0, "self_corrected": right[t]}
        for t in (0, 1)
        for at in range(6)
    ]
    (folder / "eval.jsonl").write_text("\n".join(map(json.dumps, items)))


def test_each_seed_is_a_run_of_its_own_and_one_summary_is_over_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[tuple[int, int, Path]] = []

    def run_one(setup: Setup, folder: Path) -> None:
        made.append((setup.settings.seed, setup.settings.questions, folder))
        finished(setup, folder)

    run_seeds(TriPosTSetup, None, SMALL, 3, tmp_path, True, run_one)
    assert made == [(seed, 6, tmp_path / f"seed-{seed}") for seed in range(3)]
    found = read_json(tmp_path / "summary.json")
    assert found["seeds"] == [0, 1, 2]
    assert found["rounds"][0]["metrics"]["accuracy_self_corrected"]["seeds"] == [0.0, 0.5, 1.0]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["seed", "seed", "seed", "seeds"]
    assert {**lines[-1]} == {"event": "seeds", **found}
    assert shown(found, tmp_path).count("improved with") == 3


def shown(found: dict[str, Any], out: Path) -> str:
    text = shown_whole(found, out)
    assert "means over 3 seeds" in text and "right after correcting itself" in text and "50.0 %" in text
    return text


def test_a_run_is_not_overlaid_with_seeds(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RunError, match="is a run itself"):
        run_seeds(TriPosTSetup, None, SMALL, 2, tmp_path, True, finished)


def test_a_setting_that_is_wrong_is_known_before_the_first_run(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="rounds = 0"):
        run_seeds(TriPosTSetup, None, [*SMALL, "rounds=0"], 2, tmp_path, True, finished)
    assert not any(tmp_path.iterdir())


def test_the_page_over_all_seeds_is_written_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def write(_: Setup, at: Path) -> None:
        make_tripost(at)

    run_seeds(TriPosTSetup, None, SMALL, 2, tmp_path, True, write)
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["page"] == str(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert last["verdict"] in text and 'href="seed-1/report.html"' in text
    assert "report.html shows it all" in shown_whole(last, tmp_path)


def shown_whole(found: dict[str, Any], out: Path) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    show(console, found, out)
    return console.export_text()
