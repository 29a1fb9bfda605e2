"""Recipes with their policy on a real vLLM server, and an oracle on another, by settings alone."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from bench.served import ADAPTER, ADAPTERS, LORA, settings
from bench.vllm import PYTHON, SERVING
from sparring.engines.vllm import open_vllm
from sparring.files import read_json, read_lines
from sparring.ledger import Ledger
from sparring.worlds import concierge, instructions, lessons
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
    lora = (f"rationale.lora={LORA}", *ADAPTER)
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


@pytest.mark.vllm
@pytest.mark.timeout(600)
@pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-vllm: run `make vllm`")
def test_spar_trains_two_adapters_of_one_server_which_also_search_over_http(
    sparring: Command, home: Path, tmp_path: Path
) -> None:
    config, run = tmp_path / "served.toml", tmp_path / "run"
    text = settings(instructions.MODEL, instructions.HERE / "spar.toml", "world:instructions")
    config.write_text(text, encoding="utf-8")
    sizes = ("prompts_a_round=12", "samples=2", "search.depth=1", "votes=3", "quorum=2", "rounds=1")
    sizes += ("test_prompts=20", "test_judged=10", "test_groups=0", "test_refined=10")
    with closing(open_vllm(str(instructions.MODEL), SERVING)) as base:  # keeps the server of the run, for what follows
        ended = sparring("run", "spar", "--config", str(config), "--out", "run", "--json", *sizes, *ADAPTERS)
        assert ended.status == 0, ended.err
        summary = json.loads(ended.out.splitlines()[-1])
        assert [entry["round"] for entry in summary["rounds"]] == [0, 1]
        assert summary["rounds"][1]["metrics"]["prompt_strict"]["n"] == 20
        assert not summary["rounds"][1]["failed"]
        url, names = base.server.url, list[str]()
        for model in ("actor", "refiner"):
            assert read_json(run / "round-1" / model / "adapter/adapter_config.json")["r"] == 8
            names.append(base.server.adapter(run / "round-1" / model / "adapter"))
        who = (f"{url}#{names[0]}", "--refiner", f"{url}#{names[1]}", "--suite", "world:instructions")
        first, second = (
            json.loads(sparring("eval", *who, "--n", "20", "--json", "search.order=bfs").out) for _ in range(2)
        )
    assert first["ways"]["search"]["prompt_strict"]["n"] == 20 and not first["failed"]
    assert second["ways"] == first["ways"]
    for role, billed in second["billed"].items():
        assert first["billed"][role]["billed_now"]["calls"] > 0 and billed["billed_now"]["calls"] == 0
    assert len(list((home / "servers").glob("*.log"))) == 1, "not one server, but several"
