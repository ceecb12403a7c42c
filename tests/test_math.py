"""Errors of the library's own exp, log1p, expm1, tanh and normal distribution, in ulps.

The activations are the way to them. The bounds are those of csrc/base/simd/math-inl.h, rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sixloop import ops

Wide = Callable[[Any], Any]


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _elu(x: Any) -> Any:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _gelu(x: Any) -> Any:
    return x * np.array([0.5 * math.erfc(-float(v) / math.sqrt(2)) for v in x])


# Name, the same in a wider format, largest error in ulp.
CASES: list[tuple[str, Wide, float]] = [
    ("sigmoid", _sigmoid, 2.5),
    ("tanh", np.tanh, 1.5),
    ("softplus", _softplus, 1.75),
    ("elu", _elu, 1.25),
    ("gaussian", lambda x: np.exp(-x * x), 1.5),
]
by_case = pytest.mark.parametrize("name, wide, bound", CASES, ids=[c[0] for c in CASES])


def _arguments(rng: np.random.Generator, dtype: Any) -> Any:
    small = rng.choice([-1.0, 1.0], 50_000) * 10 ** rng.uniform(-30, 1, 50_000)
    wide, near = rng.uniform(-20, 20, 100_000), rng.uniform(-2, 2, 50_000)
    return np.concatenate([small, wide, near]).astype(dtype)


def _worst(actual: Any, expected: Any) -> float:
    """Returns the largest error of normal numbers in ulps; expected is in a wider format."""
    info = np.finfo(actual.dtype)
    normal = np.abs(expected) >= info.tiny
    actual, expected = actual[normal].astype(expected.dtype), expected[normal]
    ulp = np.ldexp(expected.dtype.type(1), np.frexp(expected)[1] - 1 - info.nmant)
    return float(np.max(np.abs(actual - expected) / ulp))


@by_case
def test_float32(rng: np.random.Generator, name: str, wide: Wide, bound: float) -> None:
    x = _arguments(rng, np.float32)
    assert _worst(getattr(ops, name)(x), wide(x.astype(np.float64))) <= bound


@by_case
def test_float64(rng: np.random.Generator, name: str, wide: Wide, bound: float) -> None:
    if np.finfo(np.longdouble).nmant < 60:
        pytest.skip("needs a long double of more than 60 bits")
    x = _arguments(rng, np.float64)
    assert _worst(getattr(ops, name)(x), wide(x.astype(np.longdouble))) <= bound


def test_gelu_keeps_its_negative_tail(rng: np.random.Generator) -> None:
    x = np.concatenate([rng.uniform(-13, 6, 30_000), rng.uniform(-2, 2, 30_000)]).astype(np.float32)
    assert _worst(ops.gelu(x), _gelu(x.astype(np.float64))) <= 4.5


def test_subnormal_results_underflow_gradually() -> None:
    x = np.linspace(-105, -87, 5000).astype(np.float32)
    y = ops.sigmoid(x)
    unit = float(np.finfo(np.float32).smallest_subnormal)
    steps, expected = y.astype(np.float64) / unit, np.exp(x.astype(np.float64)) / unit
    # Half a step of the last rounding, and what exp itself errs by: an ulp of a normal number.
    assert np.all(np.abs(steps - expected) <= 0.5 + 2.0**-23 * expected)
    assert np.all(np.diff(y) >= 0) and y[0] == 0
