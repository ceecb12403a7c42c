"""The one comparison of these tests: an op on the GPU has the bits that it has on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import sixloop
from comparators import assert_same_bits

EMULATOR = "SIMT emulator"  # the device's name in a build for tests/simt

DTYPES = ("float32", "float64")

# Zeros, infinities, NaN, subnormal numbers, and where exp and its kin change their way.
SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1e-310, 0.625, -0.625)
SPECIAL += (10.0, -10.0, 15.0, -17.3, 88.0, -88.0, 89.5, -104.5, 709.5, -746.0, 3e38, -3e38)


def values(rng: np.random.Generator, shape: Any, dtype: str) -> Any:
    """Normal numbers, every seventh of them a special one."""
    x = rng.normal(scale=4, size=shape).astype(dtype)
    flat = x.reshape(-1)
    special = flat[::7]
    special[...] = rng.choice(SPECIAL, size=special.size).astype(dtype)
    return x


def to_cuda(x: Any) -> Any:
    return sixloop.Tensor(x).to("cuda") if isinstance(x, np.ndarray) else x


def assert_same_as_cpu(op: Callable[..., Any], *arrays: Any) -> None:
    """Calls op(*arrays) with NumPy arrays and with the same on the GPU."""
    expected = op(*arrays)
    got = op(*map(to_cuda, arrays))
    if not isinstance(expected, tuple):
        expected, got = (expected,), (got,)
    for one in got:
        assert isinstance(one, sixloop.Tensor)
        assert one.device == "cuda"
    assert_same_bits(tuple(one.numpy() for one in got), expected)
