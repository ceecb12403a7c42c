"""Softmax and cross-entropy on the GPU against the CPU, bit for bit."""

import re

import numpy as np
import pytest

import sixloop
from comparators import assert_same_bits
from on_cuda import DTYPES, EMULATOR, assert_same_as_cpu, to_cuda, values
from sixloop import ops

every_dtype = pytest.mark.parametrize("dtype", DTYPES)

# Around the lanes of a row (16 and 8), what threads keep of it (4 and 16 times that), and a tile of
# shared memory (64 times that on the emulator).
LENGTHS = (1, 2, 7, 8, 9, 10, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 129, 255, 256, 257, 260)
LENGTHS += (500, 511, 513, 1000, 1023, 1024, 1025, 2052)


def pairs(rng, shape, dtype):
    return values(rng, shape, dtype), rng.random(size=shape).astype(dtype)


def check(rng, shape, dtype, axis=-1):
    x, y = pairs(rng, shape, dtype)
    for data in (x, rng.normal(scale=4, size=shape).astype(dtype)):
        assert_same_as_cpu(lambda x: ops.softmax(x, axis), data)
        assert_same_as_cpu(lambda x: ops.log_softmax(x, axis), data)
        assert_same_as_cpu(lambda dy, y: ops.softmax_grad(dy, y, axis), data, y)
        assert_same_as_cpu(lambda dy, y: ops.log_softmax_grad(dy, y, axis), data, np.log(y))


@every_dtype
@pytest.mark.parametrize("n", LENGTHS)
def test_rows(rng, n, dtype):
    for rows in (1, 5) if n > 64 else (1, 3, 35):
        check(rng, (rows, n), dtype)


@every_dtype
@pytest.mark.parametrize(
    "shape, axis",
    [((5, 7), 0), ((3, 4, 8), 1), ((2, 3, 5, 6), 1), ((1, 9, 300), 1), ((4, 1, 3), 1)],
)
def test_columns(rng, shape, axis, dtype):
    check(rng, shape, dtype, axis)


@every_dtype
def test_rows_longer_than_shared_memory(rng, dtype):
    emulated = sixloop.cuda.device_name() == EMULATOR  # whose tiles are small
    check(rng, (2, 3000 if emulated else 100_003), dtype)


@every_dtype
def test_special_rows(dtype):
    inf, nan = np.inf, np.nan
    rows = [
        [-inf] * 4,
        [inf, 0, 1, 2],
        [nan, 0, 1, 2],
        [nan] * 4,
        [-inf, 0, -inf, -0.0],
        [0, -0.0, 0, -0.0],
    ]
    rows += [
        [-inf, -inf, -inf, 3],
        [1e-40, -1e-40, 0, 0],
        [800, 0, -800, 700],
        [3e38, -3e38, 0, 3e38],
    ]
    for width in (4, 20, 400):
        x = np.full((len(rows), width), -inf, dtype)
        x[:, :4] = np.asarray(rows, dtype)
        assert_same_as_cpu(ops.softmax, x)
        assert_same_as_cpu(ops.log_softmax, x)
        assert_same_as_cpu(lambda x: ops.softmax(x, 0), x)
        assert_same_as_cpu(lambda x: ops.log_softmax(x, 0), x)


@every_dtype
@pytest.mark.parametrize("n", [10, 16, 20, 64, 257, 272, 1000])
def test_sum_that_is_minus_zero(n, dtype):
    """Terms that underflow leave -0, which the zeros after a row's end make 0: dx shows it."""
    y = np.full((1, n), 1e-30 if dtype == "float32" else 1e-200, dtype)
    dy = np.full((1, n), -0.0, dtype)
    dy[:, : 64 // dy.itemsize] = -y[0, 0]
    assert_same_as_cpu(ops.softmax_grad, dy, y)
    assert_same_as_cpu(ops.softmax_grad, -dy, y)


def same_cross_entropy(x, labels):
    loss, gradient = ops.cross_entropy(x, labels)
    got_loss, got = ops.cross_entropy(to_cuda(x), to_cuda(labels))
    assert isinstance(got_loss, float)
    assert got.device == "cuda"
    assert_same_bits((np.float64(got_loss), got.numpy()), (np.float64(loss), gradient))


@every_dtype
@pytest.mark.parametrize("n", [1, 2, 10, 16, 17, 100, 257, 1000, 2052])
def test_cross_entropy(rng, n, dtype):
    for rows in (1, 7) if n > 64 else (1, 7, 600):
        x = rng.normal(scale=5, size=(rows, n)).astype(dtype)
        same_cross_entropy(x, rng.integers(0, n, size=rows))


@every_dtype
@pytest.mark.parametrize("label_dtype", ["int32", "int64", "uint8"])
def test_labels(rng, label_dtype, dtype):
    x = values(rng, (9, 10), dtype)
    same_cross_entropy(x, rng.integers(0, 10, size=9).astype(label_dtype))


@every_dtype
@pytest.mark.parametrize("classes, rows", [(10, 600), (300, 9)])
@pytest.mark.parametrize("wrong", [-1, 300, 2**40])
def test_labels_out_of_range(wrong, classes, rows, dtype):
    x, labels = np.zeros((rows, classes), dtype), np.zeros(rows, "int64")
    labels[[rows // 2, rows // 2 + 3, rows - 1]] = wrong
    with pytest.raises(ValueError, match=r"\[cross_entropy\] labels must be from 0 to") as on_cpu:
        ops.cross_entropy(x, labels)
    with pytest.raises(ValueError, match=f"^{re.escape(str(on_cpu.value))}$"):
        ops.cross_entropy(to_cuda(x), to_cuda(labels))
    labels[:] = 0
    same_cross_entropy(x, labels)


@every_dtype
def test_empty(dtype):
    for shape in ((0, 5), (3, 0), (2, 0, 3)):
        x = np.zeros(shape, dtype)
        assert_same_as_cpu(ops.softmax, x)
        assert_same_as_cpu(lambda x: ops.log_softmax(x, 1), x)
        assert_same_as_cpu(ops.softmax_grad, x, x)
    same_cross_entropy(np.zeros((0, 5), dtype), np.zeros(0, "int64"))
    with pytest.raises(ValueError, match="labels must be from 0 to -1 for 0 classes"):
        ops.cross_entropy(to_cuda(np.zeros((3, 0), dtype)), to_cuda(np.zeros(3, "int64")))


def test_bad_input():
    x, labels = np.zeros((3, 4), "float32"), np.zeros(3, "int64")
    for a, b in ((to_cuda(x), labels), (x, to_cuda(labels))):
        with pytest.raises(ValueError, match=r"\[cross_entropy\] all arrays.*on"):
            ops.cross_entropy(a, b)
    with pytest.raises(TypeError, match="labels must be whole numbers"):
        ops.cross_entropy(to_cuda(x), to_cuda(x[:, 0]))
    with pytest.raises(ValueError, match="one value per row"):
        ops.cross_entropy(to_cuda(x), to_cuda(labels[1:]))
    with pytest.raises(ValueError, match=r"\[softmax_grad\] all arrays.*y on cpu"):
        ops.softmax_grad(to_cuda(x), x)
    with pytest.raises(ValueError, match=r"\[softmax\] .*axis"):
        ops.softmax(to_cuda(x), 2)
