"""How two libraries are timed side by side: one process, in turns of 50 ms, medians.

Importing this starts the script anew where the environment is not the one that timings need; so it
comes before NumPy and PyTorch.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    # OpenBLAS's threads would spin through the next one's turn: 2^16 cycles instead of 2^28.
    "OPENBLAS_THREAD_TIMEOUT": "16",
}
if not all(os.environ.get(k) == v for k, v in _ENVIRONMENT.items()):
    os.environ.update(_ENVIRONMENT)
    os.execv(sys.executable, [sys.executable, *sys.argv])

from sixloop import _core  # noqa: E402

LIMITS = (
    "ONEDNN_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "ATEN_CPU_CAPABILITY",
    "OPENBLAS_CORETYPE",
)


def alternate(
    seconds: float, calls: dict[str, Callable[[], Any]], least: int = 5
) -> tuple[dict[str, dict[str, float]], float]:
    """Runs the calls in turn until the time is up, each at least `least` times.

    Each turn runs one of them for 50 ms. The first 10 ms do not count: the threads of the one
    before still spin for work. That is nothing to a call of 0.2 s or more, whose turn is one call.
    The peak of the multiply-adds is measured once in each round.

    Returns:
        Median and 20th percentile of each call in ms, and the median of the peaks in GFLOP/s.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    peaks: list[float] = []
    end = time.perf_counter() + seconds * len(calls)
    while time.perf_counter() < end or min(len(t) for t in times.values()) < least:
        peaks.append(_core.fma_peak() / 1e9)
        for name, call in calls.items():
            turn = time.perf_counter()
            slow = bool(times[name]) and times[name][-1] > 0.2
            while not slow and time.perf_counter() < turn + 0.01:
                call()
            turn = time.perf_counter()
            while (begin := time.perf_counter()) < turn + 0.04:
                call()
                times[name].append(time.perf_counter() - begin)
    summary = {
        name: {
            "median_ms": 1e3 * statistics.median(t),
            "p20_ms": 1e3 * sorted(t)[len(t) // 5],
            "runs": len(t),
        }
        for name, t in times.items()
    }
    return summary, statistics.median(peaks)


def limits() -> dict[str, str | None]:
    """Returns what the environment allows the peers."""
    return {name: os.environ.get(name) for name in LIMITS}
