"""Pooling and its gradients against the float64 reference. Padding counts as absent."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings

import reference
from comparators import assert_exact, assert_gradient, assert_within, relative_bound
from shapes import LARGE_POOLS, POOLS, Pool
from sixloop import ops

DTYPES = ("float32", "float64")

every_case = pytest.mark.parametrize("case", [*POOLS, *LARGE_POOLS], ids=str)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def _integers(rng, shape, dtype, largest=4):
    return rng.integers(-largest, largest + 1, shape).astype(dtype)


def _window_size(pool) -> int:
    return pool * pool if isinstance(pool, int) else pool[0] * pool[1]


def _windows_over_a_cell(case: Pool) -> int:
    """The most windows that one cell can lie in."""
    pool = (case.pool, case.pool) if isinstance(case.pool, int) else case.pool
    strides = pool if case.strides is None else case.strides
    strides = (strides, strides) if isinstance(strides, int) else strides
    return -(-pool[0] // strides[0]) * -(-pool[1] // strides[1])


@every_dtype
@every_case
def test_max_pool(rng, case: Pool, dtype):
    x = rng.normal(size=case.x).astype(dtype)
    expected = reference.max_pool2d(x, case.pool, **case.params)
    assert_exact(ops.max_pool2d(x, case.pool, **case.params), expected, dtype)
    x = -1 - np.abs(x)  # a kernel that counts the padding would answer 0
    expected = reference.max_pool2d(x, case.pool, **case.params)
    assert_exact(ops.max_pool2d(x, case.pool, **case.params), expected, dtype)


@every_dtype
@every_case
def test_max_pool_grad(rng, case: Pool, dtype):
    for largest in (1, 1000):  # many ties, few ties
        x = _integers(rng, case.x, dtype, largest)
        dy = _integers(rng, case.y, dtype)
        expected = reference.max_pool2d_grad(dy, x, case.pool, **case.params)
        assert_exact(ops.max_pool2d_grad(dy, x, case.pool, **case.params), expected, dtype)


def _numbers(x, pool, strides, padding):
    """The number of each window's first maximum or first NaN, cell by cell."""
    (kh, kw), (sh, sw) = pool, strides
    (top, bottom), (left, right) = padding
    size = (x.shape[1] + top + bottom - kh) // sh + 1, (x.shape[2] + left + right - kw) // sw + 1
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=-np.inf)
    inside = np.pad(np.ones(x.shape, bool), ((0, 0), (top, bottom), (left, right), (0, 0)))
    numbers = np.empty((x.shape[0], *size, x.shape[3]), np.uint8)
    for n, i, j, c in np.ndindex(numbers.shape):
        cells = np.s_[n, i * sh : i * sh + kh, j * sw : j * sw + kw, c]
        values, real = padded[cells].ravel(), inside[cells].ravel()
        order = [k for k in np.flatnonzero(real) if np.isnan(values[k])]
        largest = values[real].max()
        order += [k for k in np.flatnonzero(real) if values[k] == largest]
        numbers[n, i, j, c] = order[0]
    return numbers


@every_dtype
@every_case
def test_max_pool_with_indices(rng, case: Pool, dtype):
    """The same maxima, and the same gradient from the indices as from the input."""
    for largest in (1, 1000):
        x = _integers(rng, case.x, dtype, largest)
        if _window_size(case.pool) > 256:
            with pytest.raises(ValueError, match=r"\[max_pool2d\].* at most 256 cells"):
                ops.max_pool2d(x, case.pool, **case.params, return_indices=True)
            continue
        y, indices = ops.max_pool2d(x, case.pool, **case.params, return_indices=True)
        assert_exact(y, ops.max_pool2d(x, case.pool, **case.params), dtype)
        assert indices.dtype == np.uint8
        assert indices.shape == case.y
        dy = _integers(rng, case.y, dtype)
        expected = reference.max_pool2d_grad(dy, x, case.pool, **case.params)
        dx = ops.max_pool2d_grad(dy, case.x, case.pool, **case.params, indices=indices)
        assert_exact(dx, expected, dtype)


@every_dtype
@pytest.mark.parametrize("channels", [1, 3, 8, 17, 33])
def test_indices_count_the_cells_of_the_window(rng, dtype, channels):
    x = _integers(rng, (2, 9, 7, channels), dtype, 2)
    x[0, 3, 2] = x[1, 8, 6] = np.nan
    x[1, 0:4] = -np.inf
    for pool, strides, padding in [
        ((3, 2), (2, 1), ((1, 2), (1, 0))),
        ((2, 2), (2, 2), ((0, 0), (0, 0))),
        ((3, 3), (1, 2), ((2, 1), (1, 1))),
        ((4, 3), (4, 3), ((0, 0), (0, 0))),
    ]:
        y, indices = ops.max_pool2d(x, pool, strides=strides, padding=padding, return_indices=True)
        assert_exact(y, ops.max_pool2d(x, pool, strides=strides, padding=padding), dtype)
        np.testing.assert_array_equal(indices, _numbers(x, pool, strides, padding))


def test_indices_that_do_not_fit():
    x = np.zeros((1, 4, 6, 2), np.float32)
    y, indices = ops.max_pool2d(x, 2, return_indices=True)
    with pytest.raises(TypeError, match=r"\[max_pool2d_grad\] indices must be uint8"):
        ops.max_pool2d_grad(y, x.shape, 2, indices=indices.astype(np.int32))
    with pytest.raises(ValueError, match=r"\[max_pool2d_grad\] indices must have shape"):
        ops.max_pool2d_grad(y, x.shape, 2, indices=indices[:, :1])
    with pytest.raises(TypeError, match=r"\[max_pool2d_grad\] x"):
        ops.max_pool2d_grad(y, x, 2, indices=indices)
    # A number beyond the window names no cell.
    dx = ops.max_pool2d_grad(y + 1, x.shape, 2, indices=np.full_like(indices, 4))
    assert_exact(dx, np.zeros(x.shape), "float32")


@every_dtype
@every_case
def test_avg_pool(rng, case: Pool, dtype):
    x = rng.normal(size=case.x).astype(dtype)
    expected = reference.avg_pool2d(x, case.pool, **case.params)
    bound = 2 * np.finfo(dtype).eps * (_window_size(case.pool) + 1) * np.abs(x).max()
    assert_within(ops.avg_pool2d(x, case.pool, **case.params), expected, bound, dtype)


@every_dtype
@every_case
def test_avg_pool_grad(rng, case: Pool, dtype):
    dy = rng.normal(size=case.y).astype(dtype)
    expected = reference.avg_pool2d_grad(dy, case.x, case.pool, **case.params)
    bound = 2 * np.finfo(dtype).eps * (_windows_over_a_cell(case) + 2) * np.abs(dy).max()
    assert_within(ops.avg_pool2d_grad(dy, case.x, case.pool, **case.params), expected, bound, dtype)


@every_dtype
def test_global_avg_pool(rng, dtype):
    for shape in [(2, 3, 5, 7), (1, 1, 1, 1), (3, 7, 6, 65), (5, 13, 8, 16), (2, 40, 30, 3)]:
        x = rng.normal(size=shape).astype(dtype)
        cells = shape[1] * shape[2]
        bound = 2 * np.finfo(dtype).eps * (cells + 1) * np.abs(x).max()
        assert_within(ops.global_avg_pool2d(x), reference.global_avg_pool2d(x), bound, dtype)
        dy = rng.normal(size=(shape[0], shape[3])).astype(dtype)
        expected = reference.global_avg_pool2d_grad(dy, shape)
        bound = relative_bound(dtype, expected, 2)
        assert_within(ops.global_avg_pool2d_grad(dy, shape), expected, bound, dtype)


@every_case
def test_output_shape(case: Pool):
    assert ops.pool2d_output_shape(case.x, case.pool, **case.params) == case.y


def test_the_textbook_example():
    x = np.array([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]], np.float32)
    y = ops.max_pool2d(x.reshape(1, 4, 4, 1), 2, strides=2)
    assert_exact(y.reshape(2, 2), [[6, 8], [3, 4]], "float32")


@every_dtype
def test_a_tie_goes_to_the_first(dtype):
    for channels in (1, 3, 8, 17, 64):
        x = np.full((1, 5, 7, channels), 2, dtype)
        dy = np.ones((1, 2, 3, channels), dtype)
        dx = ops.max_pool2d_grad(dy, x, (3, 2), strides=(2, 2))
        expected = np.zeros(x.shape)
        expected[:, 0:4:2, 0:6:2] = 1
        assert_exact(dx, expected, dtype)
        # -0.0 equals 0.0, so that the first of the two wins here too.
        x = np.full((1, 1, 2, channels), 0.0, dtype)
        x[0, 0, 0] = -0.0
        dx = ops.max_pool2d_grad(np.ones((1, 1, 1, channels), dtype), x, (1, 2))
        assert_exact(dx[0, 0, 0], np.ones(channels), dtype)


@every_dtype
def test_nan_and_infinity(dtype):
    for channels in (1, 5, 8, 19):
        # All NaN: the maximum is NaN, and somebody gets the gradient.
        x = np.full((1, 4, 6, channels), np.nan, dtype)
        y = ops.max_pool2d(x, 2)
        assert_exact(y, np.full((1, 2, 3, channels), np.nan), dtype)
        dx = ops.max_pool2d_grad(np.ones_like(y), x, 2)
        expected = np.zeros(x.shape)
        expected[:, ::2, ::2] = 1
        assert_exact(dx, expected, dtype)
        # Wholly minus infinity: the maximum is minus infinity and the first cell's.
        x = np.full((1, 4, 6, channels), -np.inf, dtype)
        y = ops.max_pool2d(x, (2, 3), padding=(1, 0), strides=(2, 3))
        assert_exact(y, np.full((1, 3, 2, channels), -np.inf), dtype)
        x = np.full((1, 2, 2, channels), -np.inf, dtype)
        dx = ops.max_pool2d_grad(np.ones((1, 1, 1, channels), dtype), x, 2)
        expected = np.zeros(x.shape)
        expected[:, 0, 0] = 1
        assert_exact(dx, expected, dtype)
        # An average meets NaN in its own windows only.
        x = np.ones((1, 4, 6, channels), dtype)
        x[0, 1, 1] = np.nan
        y = ops.avg_pool2d(x, 2)
        expected = np.ones(y.shape)
        expected[0, 0, 0] = np.nan
        assert_exact(y, expected, dtype)


@every_dtype
def test_nan_position_in_the_window(dtype):
    """A NaN is the maximum wherever it stands, as in NumPy and torch: it must not get lost."""
    for place in range(6):
        for channels in (1, 7, 16):
            x = np.arange(6, dtype=dtype).reshape(1, 2, 3, 1).repeat(channels, axis=3)
            x[0, place // 3, place % 3] = np.nan
            y = ops.max_pool2d(x, (2, 3))
            assert_exact(y, np.full((1, 1, 1, channels), np.nan), dtype, f"NaN at {place}: ")
            dx = ops.max_pool2d_grad(np.ones_like(y), x, (2, 3))
            assert_exact(dx, np.isnan(x).astype(float), dtype, f"NaN at {place}: ")


def test_empty_batch():
    for dtype in DTYPES:
        x, y = np.zeros((0, 4, 6, 3), dtype), np.zeros((0, 2, 3, 3), dtype)
        assert_exact(ops.max_pool2d(x, 2), y, dtype)
        assert_exact(ops.avg_pool2d(x, 2), y, dtype)
        assert_exact(ops.max_pool2d_grad(y, x, 2), x, dtype)
        assert_exact(ops.avg_pool2d_grad(y, x.shape, 2), x, dtype)
        assert_exact(ops.global_avg_pool2d(x), np.zeros((0, 3)), dtype)
        assert_exact(ops.global_avg_pool2d_grad(np.zeros((0, 3), dtype), x.shape), x, dtype)


@pytest.mark.parametrize(
    "case",
    [
        Pool("plain", (1, 4, 6, 2), (2, 3)),
        Pool("overlapping", (2, 5, 4, 2), 3, (1, 2), 1),
        Pool("asymmetric", (1, 4, 5, 2), (3, 2), (2, 1), ((1, 0), (0, 1))),
    ],
    ids=str,
)
def test_gradients_by_differences(rng, case: Pool):
    x = rng.permutation(np.prod(case.x)).reshape(case.x) / 8  # no two cells nearly equal
    dy = rng.normal(size=case.y)
    dx = ops.max_pool2d_grad(dy, x, case.pool, **case.params)
    assert_gradient(lambda x: ops.max_pool2d(x, case.pool, **case.params), x, dy, dx)
    dx = ops.avg_pool2d_grad(dy, case.x, case.pool, **case.params)
    assert_gradient(lambda x: ops.avg_pool2d(x, case.pool, **case.params), x, dy, dx)
    dy = rng.normal(size=(case.x[0], case.x[3]))
    dx = ops.global_avg_pool2d_grad(dy, case.x)
    assert_gradient(ops.global_avg_pool2d, x, dy, dx)


_X_RANGES = ((0, 3), (1, 11), (1, 11), (1, 20))
_small = st.integers(0, 3)
_pairs = st.one_of(st.integers(1, 4), st.tuples(st.integers(1, 4), st.integers(1, 4)))


@settings(max_examples=200)
@given(
    x_shape=st.tuples(
        st.integers(0, 3), st.integers(1, 11), st.integers(1, 11), st.integers(1, 20)
    ),
    pool=_pairs,
    strides=st.one_of(st.none(), _pairs),
    padding=st.one_of(
        st.sampled_from(["same", "valid"]),
        st.integers(0, 2),
        st.tuples(st.tuples(_small, _small), st.tuples(_small, _small)),
    ),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape(x_shape, pool, strides, padding, dtype, seed):
    params = {"strides": strides, "padding": padding}
    try:
        y_shape = reference.pool2d_output_shape(x_shape, pool, **params)
    except ValueError:
        assume(False)
    (top, bottom), (left, right) = reference.resolve_padding(
        x_shape[1:3], pool, pool if strides is None else strides, 1, padding
    )
    window = (pool, pool) if isinstance(pool, int) else pool
    assume(max(top, bottom) < window[0] and max(left, right) < window[1])
    rng = np.random.default_rng(seed)
    x, dy = _integers(rng, x_shape, dtype), _integers(rng, y_shape, dtype)
    assert_exact(ops.max_pool2d(x, pool, **params), reference.max_pool2d(x, pool, **params), dtype)
    assert_exact(
        ops.max_pool2d_grad(dy, x, pool, **params),
        reference.max_pool2d_grad(dy, x, pool, **params),
        dtype,
    )
    bound = 100 * np.finfo(dtype).eps  # at most 16 cells or windows of magnitude 4
    assert_within(
        ops.avg_pool2d(x, pool, **params), reference.avg_pool2d(x, pool, **params), bound, dtype
    )
    assert_within(
        ops.avg_pool2d_grad(dy, x_shape, pool, **params),
        reference.avg_pool2d_grad(dy, x_shape, pool, **params),
        bound,
        dtype,
    )


def _torch_can_pool(case: Pool) -> bool:
    """Torch pads both sides alike, by half a window at most."""
    return isinstance(case.padding, int)


@pytest.mark.parametrize("case", [c for c in POOLS if _torch_can_pool(c)], ids=str)
def test_torch_agrees(rng, case: Pool):
    torch = pytest.importorskip("torch")
    x, dy = rng.normal(size=case.x), rng.normal(size=case.y)
    for name, grad_argument, options in [
        ("max_pool2d", x, {}),
        ("avg_pool2d", case.x, {"count_include_pad": False}),
    ]:
        tx = torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)
        pool = getattr(torch.nn.functional, name)
        ty = pool(tx, case.pool, case.strides, case.padding, **options)
        ty.backward(torch.tensor(dy.transpose(0, 3, 1, 2).copy()))
        y = getattr(ops, name)(x, case.pool, **case.params)
        dx = getattr(ops, f"{name}_grad")(dy, grad_argument, case.pool, **case.params)
        bound = 1e-14 * _window_size(case.pool)
        assert_within(y, ty.detach().permute(0, 2, 3, 1).numpy(), bound, "float64", name)
        assert_within(dx, tx.grad.permute(0, 2, 3, 1).numpy(), bound, "float64", name)
