"""What moves elements on the GPU: the same elements as on the CPU."""

import numpy as np
import pytest

import sixloop
from comparators import assert_same_bits
from on_cuda import DTYPES, assert_same_as_cpu, values
from sixloop import ops

every_dtype = pytest.mark.parametrize("dtype", DTYPES)


@every_dtype
@pytest.mark.parametrize(
    ("shapes", "axis"),
    [
        ([(5,)], 0),
        ([(2, 3), (2, 4)], 1),
        ([(2, 3), (4, 3), (0, 3)], 0),
        ([(2, 3, 5, 4), (2, 3, 5, 8)], -1),
        ([(2, 3, 5, 1), (2, 3, 5, 2), (2, 3, 5, 6)], -1),
        ([(2, 3, 5, 2), (2, 1, 5, 2)], 1),
        ([(0, 3), (0, 4)], 1),
        ([(3, 200, 3), (3, 129, 3)], 1),
    ],
)
def test_concat_and_split(rng, shapes, axis, dtype):
    arrays = [values(rng, shape, dtype) for shape in shapes]
    assert_same_as_cpu(lambda *a: ops.concat(list(a), axis=axis), *arrays)
    sizes = [shape[axis] for shape in shapes]
    joined = ops.concat(arrays, axis=axis)
    assert_same_as_cpu(lambda x: tuple(ops.split(x, sizes, axis=axis)), joined)


@every_dtype
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (2, 3, 5, 3), (2, 5, 4, 8), (3, 7, 2, 6), (0, 4, 4, 2)]
)
@pytest.mark.parametrize("padding", [0, 1, (2, 1), ((1, 0), (0, 3)), ((0, 2), (1, 1))])
def test_borders(rng, shape, padding, dtype):
    x = values(rng, shape, dtype)
    assert_same_as_cpu(lambda x: ops.zero_pad2d(x, padding), x)
    assert_same_as_cpu(lambda x: ops.crop2d(x, padding), ops.zero_pad2d(x, padding))


def test_nothing_is_left_of_the_crop(rng):
    assert_same_as_cpu(lambda x: ops.crop2d(x, (2, 0)), values(rng, (1, 4, 3, 2), "float32"))


@every_dtype
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (2, 3, 5, 7), (1, 33, 4, 9), (3, 64, 8, 4), (0, 2, 3, 4)]
)
def test_channels_first_and_last(rng, shape, dtype):
    x = values(rng, shape, dtype)
    for move in (sixloop.from_nchw, sixloop.to_nchw):
        there = move(sixloop.Tensor(x).to("cuda"))
        assert there.device == "cuda"
        assert_same_bits(there.numpy(), move(x))
    with pytest.raises(ValueError, match=r"from_nchw"):
        sixloop.from_nchw(sixloop.zeros((2, 3), device="cuda"))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize(("to", "of"), [("cpu", "cuda"), ("cuda", "cpu"), ("cuda", "cuda")])
def test_assign(rng, to, of, dtype):
    x = rng.integers(0, 100, size=(3, 5)).astype(dtype)
    t = sixloop.zeros((3, 5), dtype, device=to)
    t.assign(sixloop.Tensor(x).to(of))
    np.testing.assert_array_equal(t.numpy(), x)
    t.assign(x + 1)
    np.testing.assert_array_equal(t.numpy(), x + 1)
    with pytest.raises(ValueError, match=r"\[Tensor.assign\]"):
        t.assign(x[:2])
    with pytest.raises((TypeError, ValueError), match=r"\[Tensor.assign\]"):
        t.assign(x.astype("int32"))
