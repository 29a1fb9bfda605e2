"""The tables of SPaR's arms: from the files of finished runs alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import spar
from bench.spar_runs import Runs, over, over_by_seed
from sparring.cli.setup import read_settings
from sparring.cli.spar import SPaRSetup
from sparring.files import Row
from sparring.recipes.spar_settings import SPaR

PROMPTS = 10


def share(value: float, n: int) -> Row:
    return {"value": value, "low": value, "high": value, "n": n}


def finished(folder: Path, followed: list[int], pairs: int = 4) -> Path:
    """Write what a run leaves: in round t its actor followed so many of ten prompts, its judge was right as often."""
    rounds, items = [], []
    for t, right in enumerate(followed):
        metrics = (
            {"pairs_a_prompt": share(0.4, 10), "accepted_right": share(0.75, 4), "prompt_strict": None} if t else {}
        )
        metrics |= {"accepted_right_depth_1": share(1.0, 3), "accepted_right_depth_2": share(0.0, 1)} if t else {}
        rounds.append({"round": t, "metrics": metrics, "learned": {}})
        if t:
            learned = folder / f"round-{t}" / "actor.jsonl"
            learned.parent.mkdir(parents=True)
            learned.write_text("{}\n" * max(0, pairs - t + 1))
        for at in range(PROMPTS):
            obeyed = {"id": f"test-{at}", "strict": at < right, "loose": at < right}
            items += [{"round": t, "item": item, **obeyed} for item in ("greedy", "sampled")]
            reading = {"id": f"judged-{at}", "kind": "natural", "label": at % 2 == 0, "says": True, "right": at < right}
            items.append(
                {"round": t, "item": "judgement", **reading, "votes_right": 1, "agreement": 1, "unreadable": 0}
            )
    folder.mkdir(exist_ok=True)
    (folder / "summary.json").write_text(json.dumps({"rounds": rounds}))
    (folder / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in items))
    return folder


def test_the_tables_tell_every_round_and_what_spar_is_over_each_arm_by_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, last in ((0, 9), (1, 7)):
        finished(tmp_path / f"spar-seed-{seed}", [2, 5, last])
        finished(tmp_path / f"one-try-seed-{seed}", [2, 4, 6])
    monkeypatch.setattr("sys.argv", ["bench.spar", "--seeds", "0", "1", "2", "--out", str(tmp_path), "--table"])
    spar.main()
    said = capsys.readouterr()
    assert "not finished:" in said.err and "spar-seed-2" in said.err and "oracle-judge-seed-0" in said.err
    lines = [[cell.strip() for cell in line.split("|")] for line in said.out.splitlines()]
    last = next(line for line in lines if line[1:3] == ["SPaR (2 seeds)", "2"])
    assert last[3].startswith("80.0 [") and last[4].startswith("80.0 [")
    assert last[7:] == ["3 (3 to 3)", "400", "75.0 [37.5, 100.0]", "100.0 (n 6) / 0.0 (n 2) / -", ""]
    over = next(line for line in lines if line[1:2] == ["SPaR over one try"])
    assert over[2].startswith("+20.0 [") and over[3] == "+20.0 (+10.0 to +30.0, 2 seeds)"
    assert over[6].startswith("+20.0 [")  # the judge, both labels alike
    first = next(line for line in lines if line[1:2] == ["SPaR over its round 0"])
    assert first[3] == "+60.0 (+50.0 to +70.0, 2 seeds)"


def test_prompts_are_paired_within_a_seed_alone(tmp_path: Path) -> None:
    a = Runs({0: finished(tmp_path / "a", [3]), 1: finished(tmp_path / "b", [5])})
    b = Runs({1: finished(tmp_path / "c", [4])})
    gap = over(a.strict(0, "greedy"), b.strict(0, "greedy"))
    assert gap and gap.n == PROMPTS and gap.value == pytest.approx(0.1)
    assert over_by_seed(a.strict(0, "greedy"), b.strict(0, "greedy")) == "+10.0 (+10.0 to +10.0, 1 seeds)"


@pytest.mark.parametrize("arm", spar.ARMS)
def test_the_settings_of_every_arm_are_settings(arm: str, tmp_path: Path) -> None:
    for name, pairs in (("spar", 9), ("independent-answers", 5)):
        finished(tmp_path / f"{name}-seed-7", [2, 5, 6, 7], pairs)
    made = spar.run_of(arm, 7, tmp_path, ["test_prompts=50"])
    settings = read_settings(SPaRSetup, SPaR, None, made.settings)
    assert settings.seed == 7 and settings.test_prompts == 50
    if arm in (spar.EQUAL, spar.EQUAL_INDEPENDENT):
        assert settings.most_pairs == 3
    if arm == spar.ONCE:
        whole = read_settings(SPaRSetup, SPaR, None, [])
        assert settings.needed == whole.needed and settings.rounds == 1
        assert settings.caps.refinement == 3 * whole.caps.refinement


def test_arms_of_equal_pairs_are_refused_where_a_round_learned_none(tmp_path: Path) -> None:
    folder = finished(tmp_path / "spar-seed-0", [2, 5], 0)
    with pytest.raises(SystemExit, match=r"spar-seed-0 learned no pair"):
        spar.poorest([folder])
