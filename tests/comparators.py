"""The three ways the tests compare numbers: exactly, within a derived bound, and with differences.

Every tolerance is derived from the arithmetic (rounding unit, number of terms, actual magnitudes);
none is chosen until a test passes. tests/test_comparators.py feeds each of them wrong answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_UINT = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def _check_kind(actual: Any, shape: tuple[int, ...], dtype: Any, what: str) -> NDArray[Any]:
    actual = np.asarray(actual)
    assert actual.dtype == np.dtype(dtype), f"{what}dtype {actual.dtype}, expected {dtype}"
    assert actual.shape == tuple(shape), f"{what}shape {actual.shape}, expected {tuple(shape)}"
    return actual


def _fail(
    what: str, wrong: NDArray[np.bool_], actual: Any, expected: Any, bound: Any = 0.0
) -> None:
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
    allowed = np.broadcast_to(bound, wrong.shape)[index]
    raise AssertionError(
        f"{what}{int(wrong.sum())} of {wrong.size} elements differ, first at {index}: "
        f"got {actual[index]!r}, expected {expected[index]!r}, allowed {allowed!r}"
    )


def assert_same_bits(actual: Any, expected: Any, what: str = "") -> None:
    """Demands the same dtype, shape and bits: for comparisons between ISAs, threads and batches.

    -0.0 is not 0.0. Any NaN equals any NaN: which operand's payload survives is no promise.
    """
    if isinstance(expected, (tuple, list)):
        assert isinstance(actual, (tuple, list)), f"{what}got one result, expected {len(expected)}"
        assert len(actual) == len(expected), f"{what}{len(actual)} results, not {len(expected)}"
        for number, (one, other) in enumerate(zip(actual, expected, strict=True)):
            assert_same_bits(one, other, f"{what}result {number}: ")
        return
    expected = np.asarray(expected)
    actual = _check_kind(actual, expected.shape, expected.dtype, what)
    uint = _UINT[expected.dtype.itemsize]
    same = np.ascontiguousarray(actual).view(uint) == np.ascontiguousarray(expected).view(uint)
    if expected.dtype.kind == "f":
        same |= np.isnan(actual) & np.isnan(expected)
    same = same.reshape(expected.shape)
    if not same.all():
        _fail(what, ~same, actual, expected)


def assert_exact(actual: Any, expected: Any, dtype: Any, what: str = "") -> None:
    """Demands exactly the expected values in the given dtype: for integer-valued inputs.

    expected: float64 from the reference; it must be representable in the dtype.
    """
    expected = np.asarray(expected, dtype=np.float64)
    actual = _check_kind(actual, expected.shape, dtype, what)
    rounded = expected.astype(dtype)
    assert np.array_equal(rounded.astype(np.float64), expected, equal_nan=True), (
        f"{what}the expected values are not exact in {dtype}: the test's inputs are too large"
    )
    same = (actual == rounded) | (np.isnan(actual) & np.isnan(rounded))
    if not same.all():
        _fail(what, ~same, actual, expected)


def _largest(a: Any) -> float:
    a = np.asarray(a)
    return float(np.abs(a).max()) if a.size else 0.0


def dot_bound(dtype: Any, k: int, a: Any, b: Any, bias: Any = None) -> float:
    """Error allowed to a sum of k products of elements of a and b, plus a bias.

    eps * (k + 1) * max|a| * max|b| * 2: each of the k + 1 roundings errs by eps/2 of a partial sum,
    which k max|a| max|b| bounds from above very generously; the 2 leaves room for any order of
    summation.
    """
    eps = float(np.finfo(dtype).eps)
    largest_bias = 0.0 if bias is None else _largest(bias)
    return eps * 2 * ((k + 1) * _largest(a) * _largest(b) + largest_bias)


def relative_bound(dtype: Any, expected: Any, ulps: float = 4) -> NDArray[np.float64]:
    """Error of some units in the last place of every expected value, underflow forgiven."""
    info = np.finfo(dtype)
    magnitude = np.abs(np.asarray(expected, dtype=np.float64))
    return ulps * (float(info.eps) * magnitude + float(info.smallest_subnormal))


def assert_within(actual: Any, expected: Any, bound: Any, dtype: Any, what: str = "") -> None:
    """Demands |actual - expected| <= bound, elementwise, and the same NaNs and infinities.

    bound: a number or an array, >= 0, computed from the inputs' magnitudes (dot_bound, ...).
    """
    expected = np.asarray(expected, dtype=np.float64)
    actual = _check_kind(actual, expected.shape, dtype, what)
    bound = np.asarray(bound, dtype=np.float64)
    finite = np.isfinite(expected)
    assert np.all(np.broadcast_to(bound, expected.shape)[finite] >= 0), f"{what}bound is not >= 0"
    wide = actual.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        # <= is false for a NaN on either side, so that a NaN where a number is due is an error.
        good = np.abs(wide - expected) <= bound
    same_special = (wide == expected) | (np.isnan(wide) & np.isnan(expected))
    good = np.where(finite & np.isfinite(wide), good, same_special)
    if not good.all():
        _fail(what, ~good, actual, expected, bound)


def assert_gradient(
    function: Callable[[NDArray[np.float64]], Any],
    x: NDArray[np.float64],
    dy: Any,
    gradient: Any,
    what: str = "",
) -> None:
    """Demands that gradient be d sum(dy * function(x)) / dx by central differences, in float64.

    The step h = cbrt(eps) * max(1, |x|) balances truncation, O(h^2), against rounding, O(eps / h),
    both near 4e-11 of the function's scale. The bound allows 100 times that, for third derivatives
    and sums larger than 1; a wrong term is 10^6 times as large.
    """
    x = np.asarray(x)
    dy = np.asarray(dy, dtype=np.float64)
    assert x.dtype == np.float64, "differences need float64"
    gradient = _check_kind(gradient, x.shape, np.float64, what)
    eps = float(np.finfo(np.float64).eps)
    expected = np.empty_like(x)
    scale = 0.0
    for index in np.ndindex(x.shape):
        h = eps ** (1 / 3) * max(1.0, abs(float(x[index])))
        above, below = x.copy(), x.copy()
        above[index] += h
        below[index] -= h
        y_above = np.asarray(function(above), dtype=np.float64)
        y_below = np.asarray(function(below), dtype=np.float64)
        assert y_above.shape == dy.shape, f"{what}dy {dy.shape}, the function gives {y_above.shape}"
        expected[index] = np.sum(dy * (y_above - y_below)) / (above[index] - below[index])
        scale = max(scale, float(np.sum(np.abs(dy * y_above))))
    bound = 100 * eps ** (2 / 3) * max(1.0, scale, _largest(expected))
    assert_within(gradient, expected, bound, np.float64, what)
