"""What `make bench` measures on a GPU: here on the CPU, with a tiny model, to see that it works."""

from __future__ import annotations

import pytest

from bench import device
from bench.table import table


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")  # TRL's
def test_everything_is_measured_at_some_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "STEPS", 1)
    found = device.measure(quick=True, sizes=("tiny",))
    lines = list(table([row for row in device.figures("tiny") if not row.ours.endswith("_gb")], found))
    assert len(lines) == 2 + 9 and not any("not measured" in line for line in lines)
    assert float(found["device_tiny_sft_loss_apart"]) < 1e-3 and float(found["device_tiny_dpo_loss_apart"]) < 1e-3


def test_without_trl_ours_is_measured_and_the_peer_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.training, "find_spec", lambda name: None)
    monkeypatch.setattr(device, "STEPS", 1)
    found = device.measure(quick=True, sizes=("tiny",))
    assert found["device_tiny_dpo_trl_stored_tokens_per_s"] == "trl is not installed"
    assert float(found["device_tiny_dpo_tokens_per_s"]) > 0


def test_without_an_accelerator_a_line_says_so() -> None:
    if device.torch.accelerator.is_available():
        pytest.skip("there is one")
    lines = list(table(device.FIGURES, device.measure(quick=True)))
    assert len(lines) == 3 and "not measured: no accelerator at hand" in lines[-1]
