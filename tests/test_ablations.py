"""The table of ablations: no number where a run behind it failed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_no_table_is_printed_where_a_run_failed_and_the_run_is_named(tmp_path: Path) -> None:
    taken = tmp_path / "no-regulariser-seed-3"
    taken.mkdir()
    (taken / "thesis.tex").touch()  # the run is refused this folder
    arms = ("--arms", "no regulariser", "--seeds", "3", "--out", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "bench.ablations", *arms], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"no table: {taken} failed; the logs are beside them" in done.stderr
    assert "holds 'thesis.tex'" in (tmp_path / "no-regulariser-seed-3.log").read_text()
