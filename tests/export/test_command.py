"""`sparring export`, as far as it is ours: what goes together, where it is put, what is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sparring.cli.export import export_run
from sparring.errors import SettingsError
from sparring.files import read_json
from tests.export.conftest import Made, edit


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_model_is_put_under_a_name_that_says_which(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = made("spar")
    assert export_run(run.path, model="refiner", round=1) == 0
    found = told(capsys)
    assert found["out"] == f"exports/{run.path.name}-refiner-round-1"
    assert (found["model"], found["round"], found["form"], found["url"]) == ("refiner", 1, "merged", None)
    assert read_json(tmp_path / found["out"] / "sparring.json")["model"] == "refiner"
    export_run(run.path, rows=True)
    assert (tmp_path / told(capsys)["out"] / "train").is_dir()
    export_run(run.path, trainer="trl")
    assert told(capsys)["out"] == f"exports/{run.path.name}-trl"


def test_a_better_earlier_round_is_said(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made("star-gate")

    def worse(summary: dict[str, Any]) -> None:
        for entry, value in zip(summary["rounds"], (0.5, 0.9, 0.7), strict=True):
            entry["metrics"]["win_rate"] = {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 99}

    edit(run.path / "summary.json", worse)
    export_run(run.path, out=tmp_path / "out")
    assert told(capsys)["better_round"] == 1
    export_run(run.path, out=tmp_path / "one", round=1)
    assert told(capsys)["better_round"] is None


def test_a_roll_back_is_said(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made("star-gate")
    edit(run.path / "summary.json", lambda summary: summary["rounds"][-1].update(best=1, rolled_back=True))
    export_run(run.path, out=tmp_path / "out")
    found = told(capsys)
    assert (found["round"], found["rolled_back_to"]) == (1, 1)
    export_run(run.path, out=tmp_path / "last", round=2)
    assert told(capsys)["rolled_back_to"] is None
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    export_run(run.path, out=tmp_path / "out")
    assert "It is of round 1: the run rolled back to round 1, its best." in capsys.readouterr().out


def test_on_a_terminal_it_is_said_in_words(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    export_run(made("star-gate", until="round-1/checkpoint").path, out=tmp_path / "out")
    said = capsys.readouterr().out
    assert f"{tmp_path / 'out'} is whole" in said and "its card has no figures" in said


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"model": "judge"}, "--model 'judge': there is policy, actor, refiner"),
        ({"trainer": "axolotl"}, "--to 'axolotl': there is trl, llama-factory"),
        ({"rows": True, "trainer": "trl"}, "two exports"),
        ({"rows": True, "round": 1}, "leave them out with --data and --to"),
        ({"trainer": "trl", "adapter": True}, "leave them out with --data and --to"),
        ({"private": True}, "--private is for --push"),
        ({"repo": "asker"}, "as OWNER/NAME"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(
    options: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=told):
        export_run(tmp_path / "no such run", out=tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())
