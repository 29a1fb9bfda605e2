"""The proof of the hand-over: how far a sampler may be from the trainer, and what it says when it is further."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparring.engines.hf import HF
from sparring.engines.scripted import Scripted
from sparring.errors import RolloutError, TrainingError
from sparring.training.canary import Canary, check_canary, read_canary, write_canary
from sparring.training.settings import SFTSettings
from sparring.training.sft import fine_tune
from sparring.types import Chat, user
from tests.training.conftest import examples

TEXT = "one two three four"
"""Four tokens to a scripted scorer, which counts words."""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """To the trainer, the text had -2 nats a token."""
    write_canary(tmp_path, [Canary([user("Hi.")], TEXT, -8.0, 4)])
    return tmp_path


def sampler(total: float, rounding: float | None) -> Scripted:
    """A sampler to which every text has log-prob `total`, and which says how exact it is, or does not."""

    class Rounding(Scripted):
        pass

    if rounding is not None:
        Rounding.rounding = rounding  # type: ignore[attr-defined]
    return Rounding(lambda _: "", lambda chat, target: total)


@pytest.mark.parametrize(
    "rounding, within, beyond",
    [(None, 0.9e-3, 1.1e-3), (1e-3, 0.9e-3, 1.1e-3), (5e-2, 0.049, 0.051), (1e-6, 0.0, 2e-6)],
)
def test_a_sampler_may_differ_by_its_own_rounding_a_token_and_by_no_more(
    checkpoint: Path, rounding: float | None, within: float, beyond: float
) -> None:
    for sign in (1, -1):
        check_canary(checkpoint, sampler(-8.0 + sign * 4 * within, rounding))
        with pytest.raises(TrainingError, match="does not hold the weights that were trained"):
            check_canary(checkpoint, sampler(-8.0 + sign * 4 * beyond, rounding))


def test_the_refusal_says_both_numbers_and_what_was_allowed(checkpoint: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        check_canary(checkpoint, sampler(-9.0, 5e-2))
    said = "'one two three four' has log-prob -9.0000 nats over 4 tokens there, -8.0000 over 4 in the trainer"
    assert said in str(caught.value) and "(allowed: 0.05 nats a token)" in str(caught.value)


def test_no_rounding_excuses_another_count_of_tokens_or_a_number_that_is_none(checkpoint: Path) -> None:
    with pytest.raises(TrainingError, match="does not hold the weights"):
        check_canary(checkpoint, sampler(float("nan"), 5e-2))
    write_canary(checkpoint, [Canary([user("Hi.")], TEXT, -8.0, 5)])
    with pytest.raises(TrainingError, match=r"over 4 tokens there, -8\.0000 over 5 in the trainer"):
        check_canary(checkpoint, sampler(-8.0, 5e-2))


def test_a_sampler_that_cannot_score_the_texts_is_refused(checkpoint: Path) -> None:
    def overflow(chat: Chat, target: str) -> float:
        raise RolloutError("context overflow")

    with pytest.raises(TrainingError, match="cannot score its canary: context overflow"):
        check_canary(checkpoint, Scripted(lambda _: "", overflow))


def test_in_float32_the_engine_says_so_and_other_weights_are_far_beyond_its_rounding(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SFTSettings(learning_rate=3e-3, batch_size=16, rows_per_device=16, validation_share=0, threads=1)
    fine_tune(str(base), examples(32), tmp_path, 0, settings, lambda _: None)
    trained = HF(str(tmp_path), device="cpu")
    assert trained.rounding == 1e-3
    check_canary(tmp_path, trained)
    with pytest.raises(TrainingError, match=r"does not hold the weights .* \(allowed: 0.001 nats a token\)"):
        check_canary(tmp_path, HF(str(base), device="cpu"))
    assert len(read_canary(tmp_path)) == 4
