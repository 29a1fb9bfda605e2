"""A judge's certificates, on the page and in the terminal: what was measured, required, met, and what came of it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sparring.errors import RunError
from sparring.evals.certificate import AT_LEAST, AT_MOST, FALLS, Certificate
from sparring.evals.statistics import Interval
from sparring.files import read_json, write_json
from sparring.report.certificates import ROWS
from sparring.report.figures import Certified, figures_of
from sparring.report.page import build, render
from sparring.report.record import Record
from sparring.report.terminal import show_summary
from sparring.runs import Run
from tests.made_runs import make_spar, make_star_gate

OF_COMPARING = {"accuracy", "position_bias", "ties"}
"""What only a judge that compares two is measured by, which trains nobody."""


def sure(value: float) -> Interval:
    return Interval(value, value - 0.05, value + 0.05, 40)


FAIR = Certificate(
    {"balanced_accuracy": sure(0.81), "length_bias": sure(-0.125), "drift": sure(0), "unscored": None}, 40
)
BIASED = Certificate({"balanced_accuracy": sure(0.5), "length_bias": sure(0.3), "drift": None}, 40)


def folder(path: Path, *rounds: Certificate, require: dict[str, float | None], **summary: Any) -> Path:
    """A run whose judge has these certificates."""
    make_spar(path, rounds=max(1, len(rounds) - 1))
    for old in path.glob("round-*/certificate.json"):
        old.unlink()
    for t, one in enumerate(rounds):
        write_json(path / f"round-{t}" / "certificate.json", one.row())
    record = read_json(path / "run.json")
    record["settings"]["judge_require"] = require
    write_json(path / "run.json", record)
    write_json(path / "summary.json", read_json(path / "summary.json") | summary)
    return path


def shown(path: Path) -> dict[str, Certified]:
    return {line.label: line for line in figures_of(Record.read(Run(path))).judge}


def test_every_metric_of_a_certificate_of_a_judge_that_reads_one_response_has_a_line() -> None:
    assert {name for name, _, _ in ROWS} == {*AT_LEAST, *AT_MOST, *FALLS} - OF_COMPARING


def test_a_line_has_the_figure_of_every_round_the_bound_and_whether_it_is_met(tmp_path: Path) -> None:
    require = {"balanced_accuracy": 0.65, "length_bias": 0.2, "drift": 0.1, "unscored": 0.1, "agreement": None}
    lines = shown(folder(tmp_path / "run", FAIR, BIASED, require=require))
    assert list(lines) == ["balanced accuracy", "drift from its first", "length bias: yes to the longer"]
    right = lines["balanced accuracy"]
    assert right.required == "at least 65.0 %"
    assert [(cell.value, cell.interval, met) for cell, met in right.cells] == [
        ("81.0 %", "76.0 to 86.0", True),
        ("50.0 %", "45.0 to 55.0", False),
    ]
    leaning = lines["length bias: yes to the longer"]
    assert leaning.required == "-20.0 to +20.0 points".replace("-", "−")
    assert [(cell.value, met) for cell, met in leaning.cells] == [("−12.5 points", True), ("+30.0 points", False)]
    drift = lines["drift from its first"]
    assert drift.required == "at least −10.0 points" and drift.under
    assert [(cell.value, met) for cell, met in drift.cells] == [("+0.0 points", True), ("–", False)], "not measured"


def test_a_share_is_bounded_from_above(tmp_path: Path) -> None:
    found = Certificate({"calibration_error": sure(0.3)}, 40)
    (line,) = shown(folder(tmp_path / "run", found, require={"calibration_error": 0.1})).values()
    assert (line.required, line.cells[0][1]) == ("at most 10.0 %", False)


def test_what_has_no_bound_is_shown_without_a_verdict(tmp_path: Path) -> None:
    path = folder(tmp_path / "run", BIASED, require={"length_bias": 0.5})
    assert [line.required for line in shown(path).values()] == ["", "−50.0 to +50.0 points"]
    text = build(Run(path)).html.read_text()
    assert text.count(">met</span>") == 1 and ">not met</span>" not in text


def test_the_page_says_that_the_run_was_stopped_for_it(tmp_path: Path) -> None:
    path = folder(tmp_path / "run", FAIR, BIASED, require={"balanced_accuracy": 0.65})
    assert "stopped for it" not in render(Record.read(Run(path)))
    stopped = {"round": 1, "best": 0, "reasons": ["..."]}
    path = folder(tmp_path / "stopped", FAIR, BIASED, require={"balanced_accuracy": 0.65}, stopped=stopped)
    text = render(Record.read(Run(path)))
    assert "stopped for it: no round was to train on what the judge of round 1 says. The best round is 0." in text
    assert "Round 0: as required" in text
    assert "Round 1: not as required, 1 of 1 bounds not met" in text and "must be at least 65.0 %" in text


def test_a_run_that_was_refused_shows_it_though_it_has_no_summary(tmp_path: Path) -> None:
    path = folder(tmp_path / "run", BIASED, require={"balanced_accuracy": 0.65})
    (path / "summary.json").unlink()
    assert "Round 0: not as required" in render(Record.read(Run(path)))


def test_a_run_without_certificates_has_no_such_section(tmp_path: Path) -> None:
    for run in (folder(tmp_path / "spar", require={}), make_star_gate(tmp_path / "star-gate")):
        assert "Judge certificate" not in render(Record.read(Run(run)))
        assert "judge:" not in told(run)


def told(path: Path) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    show_summary(console, read_json(path / "summary.json"), path)
    return console.export_text()


def test_the_terminal_says_it_in_a_line_a_round(tmp_path: Path) -> None:
    path = folder(tmp_path / "run", FAIR, BIASED, require={"balanced_accuracy": 0.65, "length_bias": 0.2})
    lines = [line.rstrip() for line in told(path).splitlines() if " judge: " in line]
    assert lines == [
        "round 0 judge: balanced accuracy 81.0 % ±5.0, length bias -12.5 ±5.0, as required",
        "round 1 judge: balanced accuracy 50.0 % ±5.0, length bias +30.0 ±5.0, not as required",
    ]


@pytest.mark.parametrize("broken", ["{}", '{"n": 1, "metrics": {"drift": 3}, "calibration": []}', "{"])
def test_a_certificate_that_is_none_is_named(broken: str, tmp_path: Path) -> None:
    path = folder(tmp_path / "run", FAIR, require={})
    (path / "round-0" / "certificate.json").write_text(broken)
    with pytest.raises(RunError, match=r"round-0/certificate\.json.*delete"):
        Record.read(Run(path))
