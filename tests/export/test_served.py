"""An exported folder in a real vLLM, which knows nothing of us."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bench.vllm import PYTHON, SERVING
from sparring.engines.base import Request
from sparring.engines.hf import HF
from sparring.engines.vllm import open_vllm
from sparring.export import export
from sparring.export.chosen import choose
from sparring.files import read_json
from sparring.types import Sampling, user
from tests.export.conftest import Made

QUESTIONS = ["Work out: 47 - 1 + 6", "Work out: 28 + 8 - 5"]


@pytest.mark.vllm
@pytest.mark.timeout(600)
@pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-vllm: run `make vllm`")
def test_an_exported_model_is_served_and_scores_as_its_checkpoint(made: Made, home: Path, tmp_path: Path) -> None:
    run = made("tripost")
    out = export(run, tmp_path / "out")
    checkpoint = choose(run).folder
    # What we have no part in: `vllm serve` reads the generation config, the template and the end of turn of the folder.
    arguments = (*SERVING.arguments, "--generation-config", "auto")
    ours = HF(checkpoint, device="cpu")
    with closing(open_vllm(str(out), replace(SERVING, arguments=arguments))) as served:
        asked = [[user(question)] for question in QUESTIONS]
        sampling = Sampling(max_tokens=100)
        requests = [Request(chat, sampling, 0, "policy") for chat in asked]
        said = [reply.text for reply in ours.generate(requests)]
        assert [reply.text for reply in served.generate(requests)] == said
        assert all("(Final response)" in text for text in said)
        for theirs, here in zip(served.log_prob(asked, said), ours.log_prob(asked, said), strict=True):
            assert theirs.tokens == here.tokens
            assert abs(theirs.total - here.total) / here.tokens < 1e-3
    assert read_json(out / "generation_config.json")["eos_token_id"] == 1
