"""Two ways of doing the same work, measured in turn, so that a busy machine slows both alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak(work: Callable[[], T]) -> tuple[T, float]:
    """Return what `work` returns, and the GB that stood on the accelerator at most meanwhile; 0 without one."""
    import torch

    if not torch.accelerator.is_available():
        return work(), 0.0
    gc.collect()
    torch.accelerator.empty_cache()
    torch.accelerator.reset_peak_memory_stats()
    return work(), torch.accelerator.max_memory_allocated() / 1e9


def rate(work: Callable[[], int]) -> float:
    """Return how many units a second `work` did; it returns how many it did."""
    start = time.perf_counter()
    done = work()
    return done / (time.perf_counter() - start)


def compare(name: str, ours: Callable[[], int], other: Callable[[], int], times: int) -> dict[str, float]:
    """Return the median rate of both, in units a second, and the median of their ratios, after one warm-up of each."""
    ours(), other()
    pairs = [(rate(ours), rate(other)) for _ in range(times)]
    return {
        f"{name}_per_s": statistics.median(a for a, _ in pairs),
        f"{name}_other_per_s": statistics.median(b for _, b in pairs),
        f"{name}_ratio": statistics.median(a / b for a, b in pairs),
    }
