"""The table of `make bench`."""

from __future__ import annotations

import pytest

from bench.table import Figure, Results, shown, table, unmeasured

STEPS = Figure("steps", "ours", "a second", against="TRL", peer="trl", ratio="ratio", asked=1.5, aim=2.5)
START = Figure("start", "start", "s", asked=0.3, aim=0.15, of="ours", at_most=True)


@pytest.mark.parametrize(("ratio", "reached"), [(2.5, "aim"), (1.7, "at least"), (1.4, "**missed**")])
def test_a_row_says_what_is_ours_what_it_stands_beside_and_what_was_reached(ratio: float, reached: str) -> None:
    cells = STEPS.cells({"ours": 2000.0, "trl": 1000.0, "ratio": ratio})
    assert cells == ("steps", "2,000 a second", "TRL", "1,000 a second", f"{ratio:.3g}", "≥ 1.5 (2.5)", reached)


@pytest.mark.parametrize(("seconds", "reached"), [(0.1, "aim"), (0.2, "at least"), (0.4, "**missed**")])
def test_of_seconds_less_is_better(seconds: float, reached: str) -> None:
    assert START.cells({"start": seconds})[-2:] == ("≤ 0.3 s (0.15 s)", reached)


def test_without_a_ratio_of_pairs_the_figures_are_divided_and_without_an_aim_a_bound_is_kept_or_not() -> None:
    row = Figure("start", "start", against="bare", peer="bare", asked=2, at_most=True)
    assert [row.cells({"start": 3.0, "bare": bare})[-3:] for bare in (2.0, 1.0)] == [
        ("1.5", "≤ 2", "yes"),
        ("3", "≤ 2", "**missed**"),
    ]


def test_what_could_not_be_measured_says_why_and_judges_nothing() -> None:
    assert unmeasured([START], "no clock") == {"start": "no clock"}
    assert START.cells({"start": "no clock"})[1] == "not measured: no clock"
    half: Results = {"ours": 2000.0, "trl": "TRL is not installed"}
    assert STEPS.cells(half)[2:] == ("TRL (not measured: TRL is not installed)", "", "", "≥ 1.5 (2.5)", "")
    assert START.cells({})[1] == "not measured: no result"


def test_the_table_is_markdown_in_even_columns() -> None:
    lines = list(table([STEPS, START], {"ours": 1.0, "trl": 1.0, "ratio": 1.0, "start": 0.1}))
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    assert {line.count("|") for line in lines} == {8}


def test_numbers_have_three_figures() -> None:
    assert [shown(x) for x in (1e-7, 0.0512, 0, 1.234, 123456.7)] == ["1e-07", "0.0512", "0", "1.23", "123,457"]
