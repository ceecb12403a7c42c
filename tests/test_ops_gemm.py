"""gemm against the float64 reference: every tile remainder, transpose, bias and activation."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import reference
import sixloop
from comparators import assert_exact, assert_gradient, assert_same_bits, assert_within, dot_bound
from sixloop import ops

TRANSPOSES = list(itertools.product((False, True), repeat=2))
DTYPES = ("float32", "float64")
# Register tiles have up to 14 rows and 8, 16, 32 or 64 columns.
ROWS = range(1, 16)
COLUMNS = (1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65)
DEPTHS = (1, 2, 5, 8, 33)


def _operands(rng, m, n, k, transpose_a, transpose_b, dtype, integers=False):
    a_shape = (k, m) if transpose_a else (m, k)
    b_shape = (n, k) if transpose_b else (k, n)
    if integers:
        a, b = rng.integers(-4, 5, a_shape), rng.integers(-4, 5, b_shape)
    else:
        a, b = rng.normal(size=a_shape), rng.normal(size=b_shape)
    return a.astype(dtype), b.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transpose_a, transpose_b", TRANSPOSES)
def test_every_tile_remainder_is_exact(rng, transpose_a, transpose_b, dtype):
    flags = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    for m, n, k in itertools.product(ROWS, COLUMNS, DEPTHS):
        a, b = _operands(rng, m, n, k, transpose_a, transpose_b, dtype, integers=True)
        bias = rng.integers(-9, 10, n).astype(dtype)
        what = f"m={m} n={n} k={k}: "
        expected = reference.gemm(a, b, bias, **flags)
        assert_exact(ops.gemm(a, b, bias, **flags), expected, dtype, what)
        assert_exact(ops.gemm(a, b, **flags), expected - bias, dtype, what)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transpose_a, transpose_b", TRANSPOSES)
@pytest.mark.parametrize(
    "m, n, k",
    [(5, 9, 255), (6, 16, 256), (7, 17, 257), (13, 33, 1025), (3, 4, 5000), (70, 100, 40)],
)
def test_blocks_over_k_and_large_shapes(rng, m, n, k, transpose_a, transpose_b, dtype):
    flags = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    a, b = _operands(rng, m, n, k, transpose_a, transpose_b, dtype)
    bias = rng.normal(size=n).astype(dtype)
    expected = reference.gemm(a, b, bias, **flags)
    assert_within(ops.gemm(a, b, bias, **flags), expected, dot_bound(dtype, k, a, b, bias), dtype)
    a, b = _operands(rng, m, n, k, transpose_a, transpose_b, dtype, integers=True)
    assert_exact(ops.gemm(a, b, **flags), reference.gemm(a, b, **flags), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "m, n, k", [(300, 260, 270), (1, 700, 900), (900, 1, 700), (515, 10, 64), (260, 150, 1100)]
)
def test_shapes_that_threads_share(rng, m, n, k, dtype):
    for transpose_a, transpose_b in TRANSPOSES:
        a, b = _operands(rng, m, n, k, transpose_a, transpose_b, dtype, integers=True)
        flags = {"transpose_a": transpose_a, "transpose_b": transpose_b}
        assert_exact(ops.gemm(a, b, **flags), reference.gemm(a, b, **flags), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_narrow_results_of_many_rows(rng, isa, dtype):
    """Rows shorter than a register tile: what is written beyond them must not reach other tasks."""
    with sixloop.num_threads(7):
        for m, n in itertools.product((337, 1537, 3001), (1, 2, 3, 6, 7, 10, 13, 20, 33)):
            a, b = _operands(rng, m, n, 150, False, False, dtype, integers=True)
            assert_exact(ops.gemm(a, b), reference.gemm(a, b), dtype, f"m={m} n={n}: ")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_fused_activation(rng, name, dtype):
    for m, n, k in [(1, 1, 1), (5, 7, 9), (13, 34, 20), (6, 48, 3), (9, 130, 300)]:
        a, b = _operands(rng, m, n, k, False, False, dtype)
        b /= np.sqrt(np.asarray(k, dtype))
        bias = rng.normal(size=n).astype(dtype)
        fused = ops.gemm(a, b, bias, activation=name)
        # The activation's own accuracy is for test_ops_elementwise.py: here it must be the
        # same function, applied to the same sums.
        assert_same_bits(fused, ops.activation(ops.gemm(a, b, bias), name))
        if name == "step":
            continue  # not continuous: a rounding of the sum may flip it
        bound = 1.2 * dot_bound(dtype, k, a, b, bias) + 8 * np.finfo(dtype).eps
        assert_within(fused, reference.gemm(a, b, bias, activation=name), bound, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_empty_sides_and_empty_sums(dtype):
    bias = np.array([1.5, -2.0, 0.25], dtype)
    zeros = np.zeros
    assert_exact(ops.gemm(zeros((0, 4), dtype), zeros((4, 3), dtype), bias), zeros((0, 3)), dtype)
    assert_exact(ops.gemm(zeros((2, 4), dtype), zeros((4, 0), dtype)), zeros((2, 0)), dtype)
    for flags in ({}, {"transpose_a": True}, {"transpose_b": True}):
        a = zeros((0, 2) if "transpose_a" in flags else (2, 0), dtype)
        b = zeros((3, 0) if "transpose_b" in flags else (0, 3), dtype)
        assert_exact(ops.gemm(a, b, **flags), zeros((2, 3)), dtype)
        assert_exact(ops.gemm(a, b, bias, **flags), [bias, bias], dtype)
        many = np.zeros((500, 0), dtype)  # enough rows for several tasks
        assert_exact(ops.gemm(many, zeros((0, 3), dtype), bias), np.tile(bias, (500, 1)), dtype)
        expected = np.maximum([bias, bias], 0)
        assert_exact(ops.gemm(a, b, bias, activation="relu", **flags), expected, dtype)


def test_nan_and_infinity_reach_only_their_row(rng):
    for special in (np.nan, np.inf):
        for m, n, k in [(7, 9, 5), (15, 33, 70)]:
            a = np.ones((m, k), np.float32)
            b = np.ones((k, n), np.float32)
            a[m // 2, k // 2] = special
            y = ops.gemm(a, b)
            rows = np.arange(m) != m // 2
            assert np.all(y[rows] == k)
            assert np.array_equal(y[m // 2], np.full(n, special, np.float32), equal_nan=True)


def test_zero_times_infinity_is_not_skipped():
    a = np.zeros((3, 4), np.float32)
    b = np.ones((4, 5), np.float32)
    b[2, 3] = np.inf
    y = ops.gemm(a, b)
    assert np.isnan(y[:, 3]).all()
    assert not y[:, [0, 1, 2, 4]].any()


def test_gradients_by_differences(rng):
    a, b = rng.normal(size=(4, 3)), rng.normal(size=(3, 5))
    dy = rng.normal(size=(4, 5))
    assert_gradient(lambda a: ops.gemm(a, b), a, dy, ops.gemm(dy, b, transpose_b=True))
    assert_gradient(lambda b: ops.gemm(a, b), b, dy, ops.gemm(a, dy, transpose_a=True))


@settings(max_examples=150)
@given(
    m=st.integers(0, 40),
    n=st.integers(0, 80),
    k=st.integers(0, 80),
    transpose_a=st.booleans(),
    transpose_b=st.booleans(),
    with_bias=st.booleans(),
    activation=st.sampled_from([None, "relu", "ramp", "step"]),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape(m, n, k, transpose_a, transpose_b, with_bias, activation, dtype, seed):
    rng = np.random.default_rng(seed)
    a, b = _operands(rng, m, n, k, transpose_a, transpose_b, dtype, integers=True)
    bias = rng.integers(-9, 10, n).astype(dtype) if with_bias else None
    flags = {"transpose_a": transpose_a, "transpose_b": transpose_b, "activation": activation}
    assert_exact(ops.gemm(a, b, bias, **flags), reference.gemm(a, b, bias, **flags), dtype)
