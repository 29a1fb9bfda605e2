"""Recipes with their policy on a real vLLM server, and an oracle on another, by settings alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.served import ADAPTER, settings
from bench.vllm import PYTHON
from sparring.files import read_json, read_lines
from sparring.ledger import Ledger
from sparring.worlds import concierge, lessons
from tests.command import Command
from tests.servable import servable
from tests.serving import serving
from tests.test_paid import home, reply

__all__ = ["home"]


@pytest.mark.vllm
@pytest.mark.timeout(600)
@pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-vllm: run `make vllm`")
def test_the_recipe_runs_on_servers(sparring: Command, home: Path, tmp_path: Path) -> None:
    model = servable(concierge.MODEL, tmp_path / "model")
    config = tmp_path / "served.toml"
    config.write_text(settings(model, concierge.HERE / "star-gate.toml", "world:concierge"), encoding="utf-8")
    with serving(reply=reply) as server:
        sizes = ("personas=[2, 1, 1]", "samples=2", "test_samples=1", "rounds=1", "elicit=always", "max_failed=1")
        engine = f"roles.oracle.engine={server.url}#test"
        ended = sparring(
            "run", "star-gate", "--config", str(config), "--out", "run", "--json", engine, *ADAPTER, *sizes
        )
        assert ended.status == 0, ended.err
        billed = server.books()["billed"]
    summary = json.loads(ended.out.splitlines()[-1])
    assert [entry["round"] for entry in summary["rounds"]] == [0, 1]
    assert summary["billed"]["oracle"]["billed_now"]["calls"] == len(billed)
    assert set(billed.values()) == {1}
    with Ledger() as ledger:
        assert {row["role"] for row in ledger.export()} == {"oracle"}, "calls to a server of ours cost nothing"
    adapter = tmp_path / "run/round-1/checkpoint/adapter"
    assert read_json(adapter / "adapter_config.json")["r"] == 8
    held = {row["situation"] for row in read_lines(tmp_path / "run/round-1/test-signals.jsonl")}
    assert len(held) > 20, "the adapter talked to hardly anybody"
    assert list((home / "servers").glob("*.json")) == [], "a server was left running"


@pytest.mark.vllm
@pytest.mark.timeout(600)
@pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-vllm: run `make vllm`")
def test_tripost_corrects_itself_on_a_server(sparring: Command, home: Path, tmp_path: Path) -> None:
    config = tmp_path / "served.toml"
    text = settings(lessons.model("arithmetic"), lessons.HERE / "tripost.toml", "world:arithmetic")
    config.write_text(text, encoding="utf-8")
    sizes = ("questions=20", "gold=10", "samples=1", "test_questions=20", "test_sampled=5", "rounds=1", "init=base")
    lora = ("rationale.lora={ r = 8, alpha = 16 }", *ADAPTER)
    ended = sparring("run", "tripost", "--config", str(config), "--out", "run", "--json", *sizes, *lora)
    assert ended.status == 0, ended.err
    summary = json.loads(ended.out.splitlines()[-1])
    assert [entry["round"] for entry in summary["rounds"]] == [0, 1]
    assert summary["rounds"][1]["metrics"]["accuracy_direct"]["n"] == 20
    assert not summary["rounds"][1]["failed"]
    for place in ("round-0", "round-1"):
        assert read_json(tmp_path / "run" / place / "checkpoint/adapter/adapter_config.json")["r"] == 8
    said = [row for row in read_lines(tmp_path / "run/round-1/attempts.jsonl") if row["feedbacks"]]
    assert len(said) > 15, "the adapter criticised hardly anything"
