"""Pooling on the GPU against the CPU, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sixloop
from comparators import assert_same_bits
from on_cuda import DTYPES, Unaligned, assert_same_as_cpu, to_cuda, values
from sixloop import ops

every_dtype = pytest.mark.parametrize("dtype", DTYPES)

WINDOWS = [
    # h, w, pool, strides, padding
    (6, 8, 2, None, 0),  # tiles the image
    (7, 9, 2, None, 0),  # leaves a row and a column over
    (6, 9, (3, 3), None, 0),
    (9, 7, 3, 2, 1),  # windows overlap
    (7, 6, (3, 2), (2, 1), "same"),
    (8, 7, (2, 3), (3, 4), ((1, 0), (2, 1))),  # cells that no window has
    (5, 5, 1, 2, 0),
    (4, 3, (4, 3), None, 0),
    (3, 4, (2, 2), (1, 1), 1),
]
CHANNELS = (1, 3, 4, 6, 8)


def check(rng, shape, dtype, pool, **options):
    x = values(rng, shape, dtype)
    # Neighbours that are equal: the first of them is the maximum.
    x[np.asarray(rng.random(shape) < 0.3)] = 1
    assert_same_as_cpu(lambda x: ops.max_pool2d(x, pool, **options), x)
    assert_same_as_cpu(lambda x: ops.max_pool2d(x, pool, return_indices=True, **options), x)
    assert_same_as_cpu(lambda x: ops.avg_pool2d(x, pool, **options), x)
    y, indices = ops.max_pool2d(x, pool, return_indices=True, **options)
    dy = values(rng, y.shape, dtype)
    assert_same_as_cpu(lambda dy, x: ops.max_pool2d_grad(dy, x, pool, **options), dy, x)
    assert_same_as_cpu(
        lambda dy, i: ops.max_pool2d_grad(dy, shape, pool, indices=i, **options), dy, indices
    )
    assert_same_as_cpu(lambda dy: ops.avg_pool2d_grad(dy, shape, pool, **options), dy)


@every_dtype
@pytest.mark.parametrize("h, w, pool, strides, padding", WINDOWS)
def test_windows(rng, h, w, pool, strides, padding, dtype):
    for channels in CHANNELS:
        check(rng, (2, h, w, channels), dtype, pool, strides=strides, padding=padding)


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 3),
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    c=st.integers(1, 9),
    pool=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.sampled_from([0, 1, (0, 1), "same"]),
    dtype=st.sampled_from(DTYPES),
)
def test_any_shape(n, h, w, c, pool, strides, padding, dtype):
    pool = (min(pool[0], h), min(pool[1], w))
    if padding in (1, (0, 1)) and min(pool) == 1:
        padding = 0
    rng = np.random.default_rng([n, h, w, c])
    check(rng, (n, h, w, c), dtype, pool, strides=strides, padding=padding)


@every_dtype
def test_more_cells_than_a_byte_can_number(rng, dtype):
    x = rng.normal(size=(1, 19, 20, 3)).astype(dtype)
    for strides in (None, 2):
        y = ops.max_pool2d(x, (18, 17), strides=strides)
        dy = values(rng, y.shape, dtype)
        assert_same_as_cpu(lambda x, s=strides: ops.max_pool2d(x, (18, 17), strides=s), x)
        assert_same_as_cpu(
            lambda dy, x, s=strides: ops.max_pool2d_grad(dy, x, (18, 17), strides=s), dy, x
        )


@every_dtype
def test_nan_wherever_it_stands(dtype):
    for place in range(6):
        for channels in (1, 4):
            x = np.arange(6 * channels, dtype=dtype).reshape(1, 2, 3, channels)
            x[0, place // 3, place % 3] = np.nan
            assert_same_as_cpu(lambda x: ops.max_pool2d(x, (2, 3), return_indices=True), x)
            dy = np.ones((1, 1, 1, channels), dtype)
            assert_same_as_cpu(lambda dy, x: ops.max_pool2d_grad(dy, x, (2, 3)), dy, x)


@every_dtype
def test_numbers_that_no_cell_has(dtype):
    dy = np.ones((1, 2, 2, 4), dtype)
    indices = np.full((1, 2, 2, 4), 200, "uint8")
    for pool, strides in ((2, None), (2, 1)):
        size = 4 if strides is None else 3
        assert_same_as_cpu(
            lambda dy, i, p=pool, s=strides, n=size: ops.max_pool2d_grad(
                dy, (1, n, n, 4), p, strides=s, indices=i
            ),
            dy,
            indices,
        )


@every_dtype
def test_global_average(rng, dtype):
    for shape in ((2, 7, 7, 5), (1, 3, 5, 8), (3, 1, 1, 1)):
        assert_same_as_cpu(ops.global_avg_pool2d, values(rng, shape, dtype))
        dy = values(rng, (shape[0], shape[3]), dtype)
        assert_same_as_cpu(lambda dy, s=shape: ops.global_avg_pool2d_grad(dy, s), dy)


@every_dtype
def test_empty(dtype):
    for shape in ((0, 4, 4, 3), (2, 4, 4, 0)):
        x = np.zeros(shape, dtype)
        dy = np.zeros((shape[0], 2, 2, shape[3]), dtype)
        assert_same_as_cpu(lambda x: ops.max_pool2d(x, 2, return_indices=True), x)
        assert_same_as_cpu(lambda x: ops.avg_pool2d(x, 2), x)
        assert_same_as_cpu(lambda dy, x: ops.max_pool2d_grad(dy, x, 2), dy, x)
        assert_same_as_cpu(lambda dy, s=shape: ops.avg_pool2d_grad(dy, s, 2), dy)


@every_dtype
def test_memory_that_is_not_aligned(rng, dtype):
    x = values(rng, (2, 4, 6, 4), dtype)
    y, indices = ops.max_pool2d(x, 2, return_indices=True)
    dy = values(rng, y.shape, dtype)
    options = {"strides": 1}
    wide = values(rng, (2, 3, 5, 4), dtype)
    for where in (Unaligned, to_cuda):
        assert_same_bits(ops.max_pool2d(where(x), 2).numpy(), y)
        assert_same_bits(ops.avg_pool2d(where(x), 2).numpy(), ops.avg_pool2d(x, 2))
        got = ops.max_pool2d_grad(where(dy), x.shape, 2, indices=Unaligned(indices))
        assert_same_bits(got.numpy(), ops.max_pool2d_grad(dy, x, 2))
        got = ops.max_pool2d_grad(where(wide), to_cuda(x), 2, **options)
        assert_same_bits(got.numpy(), ops.max_pool2d_grad(wide, x, 2, **options))


def test_bad_input():
    x, dy = np.zeros((1, 4, 4, 2), "float32"), np.zeros((1, 2, 2, 2), "float32")
    for a, b in ((to_cuda(dy), x), (dy, to_cuda(x))):
        with pytest.raises(ValueError, match=r"\[max_pool2d_grad\] all arrays.*on"):
            ops.max_pool2d_grad(a, b, 2)
    with pytest.raises(ValueError, match=r"\[max_pool2d_grad\] all arrays.*indices on cpu"):
        ops.max_pool2d_grad(to_cuda(dy), (1, 4, 4, 2), 2, indices=np.zeros(dy.shape, "uint8"))
    with pytest.raises(TypeError, match="indices must be uint8"):
        ops.max_pool2d_grad(to_cuda(dy), (1, 4, 4, 2), 2, indices=to_cuda(dy))
    with pytest.raises(ValueError, match=r"\[avg_pool2d\] x must have 4 dimensions"):
        ops.avg_pool2d(to_cuda(dy[0]), 2)
    with pytest.raises(ValueError, match="indices are bytes"):
        ops.max_pool2d(sixloop.zeros((1, 20, 20, 1), device="cuda"), 17, return_indices=True)
