"""How libraries are timed side by side: one process, in turns of 50 ms, medians."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from sixloop import ops

__all__ = ["ENVIRONMENT", "Times", "alternate", "limits", "restart_with_environment"]

# What the peers need to be at their best: no page faults for results that malloc would give back,
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    # and for the others, that OpenBLAS's threads do not spin through the next one's turn: 2^16
    # cycles instead of 2^28.
    "OPENBLAS_THREAD_TIMEOUT": "16",
}
LIMITS = (
    "ONEDNN_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "ATEN_CPU_CAPABILITY",
    "OPENBLAS_CORETYPE",
)

_TURN = 0.04  # seconds that count, after
_WARM_UP = 0.01  # seconds in which the threads of the one before may still spin for work
_SLOW = 0.2  # seconds from which a turn is a single call


class Times(TypedDict):
    """What is known of one call's times."""

    median_ms: float
    p20_ms: float
    runs: int


def restart_with_environment() -> None:
    """Starts the process anew, with the same command line, where `ENVIRONMENT` is not in force.

    For the beginning of a program: malloc and OpenBLAS read it when they are loaded.
    """
    if not is_environment_set():
        os.environ.update(ENVIRONMENT)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def is_environment_set() -> bool:
    """Returns whether the peers have the environment they need to be at their best."""
    return all(os.environ.get(key) == value for key, value in ENVIRONMENT.items())


def alternate(
    seconds: float, calls: Mapping[str, Callable[[], Any]], least: int = 5
) -> tuple[dict[str, Times], float]:
    """Runs the calls in turn until the time is up, each at least `least` times.

    Each turn runs one of them for 50 ms. The first 10 ms do not count: the threads of the one
    before still spin for work. That is nothing to a call of 0.2 s or more, whose turn is one call.
    The peak of the multiply-adds is measured once in each round.

    Args:
        seconds: for each of the calls, on average.
        calls: by name.
        least: runs of each call; default 5.

    Returns:
        Median and 20th percentile of each call in ms, and the median of the peaks in GFLOP/s.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    peaks: list[float] = []
    end = time.perf_counter() + seconds * len(calls)
    while time.perf_counter() < end or min(map(len, times.values())) < least:
        peaks.append(ops.fma_peak() / 1e9)
        for name, call in calls.items():
            turn = time.perf_counter()
            slow = bool(times[name]) and times[name][-1] > _SLOW
            while not slow and time.perf_counter() < turn + _WARM_UP:
                call()
            turn = time.perf_counter()
            while (begin := time.perf_counter()) < turn + _TURN:
                call()
                times[name].append(time.perf_counter() - begin)
    summary = {
        name: Times(
            median_ms=1e3 * statistics.median(t),
            p20_ms=1e3 * sorted(t)[len(t) // 5],
            runs=len(t),
        )
        for name, t in times.items()
    }
    return summary, statistics.median(peaks)


def limits() -> dict[str, str | None]:
    """Returns what the environment allows the peers."""
    return {name: os.environ.get(name) for name in LIMITS}
