"""softmax, log_softmax, cross_entropy and their gradients against the float64 reference."""

from __future__ import annotations

import math

import numpy as np
import pytest

import reference
from comparators import assert_exact, assert_gradient, assert_within
from sixloop import ops

DTYPES = ("float32", "float64")
SHAPES = [
    (1, 1),
    (3, 2),
    (5, 7),
    (4, 10),
    (7, 16),
    (3, 17),
    (2, 33),
    (2, 3, 65),
    (6, 1000),
    (3, 4, 5, 8),
]

every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def _exp_bound(dtype, x, axis=-1):
    """What softmax may err: rounding x - max, then exp itself, the sum and the quotient."""
    spread = np.ptp(x, axis=axis).max() if x.size else 0.0
    terms = math.log2(x.shape[axis] + 1)
    return np.finfo(dtype).eps * (spread + terms + 8)


@every_dtype
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_softmax_on_every_axis(rng, shape, dtype):
    x = (3 * rng.normal(size=shape)).astype(dtype)
    dy = rng.normal(size=shape).astype(dtype)
    for axis in range(-len(shape), len(shape)):
        bound = _exp_bound(dtype, x, axis)
        y = reference.softmax(x, axis)
        # Every value is positive: the bound is relative.
        assert_within(ops.softmax(x, axis), y, bound * y, dtype, f"axis {axis}: ")
        log_y = reference.log_softmax(x, axis)
        log_bound = bound + np.finfo(dtype).eps * np.abs(log_y)
        assert_within(ops.log_softmax(x, axis), log_y, log_bound, dtype, f"axis {axis}: ")

        y, log_y = y.astype(dtype), log_y.astype(dtype)
        n = shape[axis]
        sums = np.abs(dy * y).sum(axis=axis, keepdims=True)
        bound = np.finfo(dtype).eps * (n + 4) * (np.abs(y) * (np.abs(dy) + sums))
        expected = reference.softmax_grad(dy, y, axis)
        assert_within(ops.softmax_grad(dy, y, axis), expected, bound, dtype, f"axis {axis}: ")
        sums = np.abs(dy).sum(axis=axis, keepdims=True)
        exp_bound = np.finfo(dtype).eps * (n + 8 + np.abs(log_y).max())
        bound = exp_bound * (np.abs(dy) + np.exp(log_y.astype(np.float64)) * sums)
        expected = reference.log_softmax_grad(dy, log_y, axis)
        assert_within(ops.log_softmax_grad(dy, log_y, axis), expected, bound, dtype)


@every_dtype
def test_rows_sum_to_one(rng, dtype):
    x = rng.normal(size=(50, 37)).astype(dtype)
    assert np.abs(ops.softmax(x).sum(axis=1) - 1).max() < 40 * np.finfo(dtype).eps


@every_dtype
def test_large_arguments_do_not_overflow(dtype):
    big = np.finfo(dtype).max / 4
    x = np.array([[big, 0, -big], [-big, -big, -big], [1e4, 1e4 + 1, 0], [0, 0, 0]], dtype)
    y = ops.softmax(x)
    assert_within(y[0], [1, 0, 0], 0, dtype)
    third = 4 * np.finfo(dtype).eps
    assert_within(y[1], [1 / 3] * 3, third, dtype)
    assert_within(y[3], [1 / 3] * 3, third, dtype)
    e = math.exp(-1)
    assert_within(y[2], [e / (1 + e), 1 / (1 + e), 0], 8 * np.finfo(dtype).eps, dtype)
    log_y = ops.log_softmax(x)
    assert_within(log_y[0], [0, -big, -2 * big], 0, dtype)
    assert_within(log_y[1], [-math.log(3)] * 3, third, dtype)


@every_dtype
def test_minus_infinity_means_impossible(dtype):
    for n in (2, 9, 40):
        x = np.zeros((3, n), dtype)
        x[:, n // 2] = -np.inf
        y = ops.softmax(x)
        expected = np.full((3, n), 1 / (n - 1))
        expected[:, n // 2] = 0
        assert_within(y, expected, 4 * np.finfo(dtype).eps, dtype)
        log_y = ops.log_softmax(x)
        assert np.all(log_y[:, n // 2] == -np.inf)


@every_dtype
def test_nan_stays_in_its_row(dtype):
    for n in (1, 5, 8, 33):
        for place in {0, n // 2, n - 1}:
            x = np.zeros((3, n), dtype)
            x[1, place] = np.nan
            for f in (ops.softmax, ops.log_softmax):
                y = f(x)
                assert np.isnan(y[1]).all(), (f, n, place)
                assert np.isfinite(y[[0, 2]]).all()


@every_dtype
def test_cross_entropy(rng, dtype):
    for n, classes in [(1, 1), (1, 2), (5, 10), (64, 10), (7, 33), (300, 17), (2, 1000)]:
        logits = (2 * rng.normal(size=(n, classes))).astype(dtype)
        labels = rng.integers(0, classes, n)
        loss, gradient = ops.cross_entropy(logits, labels)
        expected_loss, expected = reference.cross_entropy(logits, labels)
        assert isinstance(loss, float)
        eps = np.finfo(dtype).eps
        bound = _exp_bound(dtype, logits)
        assert abs(loss - expected_loss) <= (bound + eps * math.log2(n + 1)) * (1 + expected_loss)
        assert_within(gradient, expected, (bound + eps) / n, dtype)
        for kind in (np.int32, np.int64, np.uint8):
            if classes <= 256:
                again, other = ops.cross_entropy(logits, labels.astype(kind))
                assert again == loss and np.array_equal(other, gradient)


@every_dtype
def test_cross_entropy_of_confident_answers(dtype):
    """log-sum-exp keeps what log(softmax) would lose."""
    logits = np.array([[1000.0, 0.0], [0.0, 1000.0]], dtype)
    loss, gradient = ops.cross_entropy(logits, np.array([1, 1]))
    assert loss == 500.0
    assert_within(gradient, [[0.5, -0.5], [0, 0]], 0, dtype)


def test_gradients_by_differences(rng):
    for shape, axis in [((3, 5), -1), ((2, 4, 3), 1), ((4, 2), 0)]:
        x, dy = rng.normal(size=shape), rng.normal(size=shape)
        dx = ops.softmax_grad(dy, ops.softmax(x, axis), axis)
        assert_gradient(lambda x, axis=axis: ops.softmax(x, axis), x, dy, dx)
        dx = ops.log_softmax_grad(dy, ops.log_softmax(x, axis), axis)
        assert_gradient(lambda x, axis=axis: ops.log_softmax(x, axis), x, dy, dx)
    logits, labels = rng.normal(size=(4, 5)), np.array([0, 4, 2, 2])
    _, gradient = ops.cross_entropy(logits, labels)
    assert_gradient(lambda x: ops.cross_entropy(x, labels)[0], logits, np.float64(1), gradient)


def test_empty_arrays():
    for dtype in DTYPES:
        loss, gradient = ops.cross_entropy(np.zeros((0, 3), dtype), np.zeros(0, int))
        assert loss == 0
        assert_exact(gradient, np.zeros((0, 3)), dtype)
        for shape in [(0, 3), (2, 0, 3)]:
            x = np.zeros(shape, dtype)
            assert_exact(ops.softmax(x), x, dtype)
            assert_exact(ops.log_softmax(x), x, dtype)
            assert_exact(ops.softmax_grad(x, x), x, dtype)
            assert_exact(ops.log_softmax_grad(x, x), x, dtype)
