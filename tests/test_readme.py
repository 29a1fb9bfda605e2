"""The README's Python runs as it stands there, and prints what it says there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_python_of_the_readme_prints_the_output_of_the_readme() -> None:
    found = re.search(r"```python\n(.*?)```\s*```text\n(.*?)```", README, re.DOTALL)
    assert found
    done = subprocess.run([sys.executable, "-c", found[1]], capture_output=True, text=True, timeout=120)
    assert done.stdout == found[2], done.stderr


def test_the_settings_of_the_readme_are_settings(tmp_path: Path) -> None:
    from sparring.recipes.spar_settings import SPaR
    from sparring.recipes.star_gate import StarGate
    from sparring.recipes.tripost import TriPosT

    mine, mend, follow, served, _ = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    config = tmp_path / "mine.toml"
    config.write_text(mine)
    settings = StarGate.load([config], ["closing=none", "seed=1"])
    assert settings.roles.judge.engine.startswith("hf:")
    config.write_text(mend)
    assert TriPosT.load([config], ["learn_from=demonstrations"]).roles.teacher.engine.startswith("hf:")
    config.write_text(follow)
    assert SPaR.load([config], ["search.branch=1", "search.depth=1"]).bootstrap.actor == 2000
    config.write_text(served)
    settings = StarGate.load([config])
    assert settings.policy.startswith("vllm:") and settings.vllm.command


def test_with_the_prices_of_the_readme_a_budget_in_money_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sparring.prices import price_of, price_table

    *_, served, prices = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "prices.toml").write_text(prices)
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path))
    price_table.cache_clear()
    models = re.findall(r'engine = "http[^"]*#([^"]*)"', served)
    assert len(models) == 3 and all(price_of(model) for model in models)


def test_the_files_that_the_readme_points_at_are_there() -> None:
    here = Path(__file__).parent.parent
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (here / target).is_file(), target
