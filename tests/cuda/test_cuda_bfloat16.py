"""bfloat16 on the GPU: conversions, and that an op rounds once what it computes in float32."""

import ctypes

import numpy as np
import pytest

import sixloop
from comparators import assert_same_bits
from on_cuda import (
    Unaligned,
    assert_rounded,
    assert_rounded_once,
    rounded,
    to_bfloat16,
    to_cuda,
    values,
)
from sixloop import ops

F32 = np.float32
# All numbers of the dtype as float32: its bits are the upper half.
ALL = (np.arange(1 << 16, dtype=np.uint32) << 16).view(F32)


def wide(t):
    assert t.dtype == "bfloat16"
    return ops.cast(t, "float32").numpy()


def test_the_comparison_finds_a_wrong_answer(rng):
    x = rng.normal(size=9).astype(F32)
    right = rounded(x)
    assert_rounded(to_bfloat16(x), x)
    for i in range(9):
        wrong = right.copy()
        wrong.view(np.uint32)[i] ^= 1 << 16  # the last digit
        with pytest.raises(AssertionError, match=f"1 of 9 elements differ, first at \\({i},"):
            assert_rounded(to_bfloat16(wrong), x)
    with pytest.raises(AssertionError, match="2 results"):
        assert_rounded((to_bfloat16(x),) * 2, (x,))


# ---------------------------------------------------------------------------------- conversions


def test_every_number_comes_back():
    assert_same_bits(wide(to_bfloat16(ALL)), ALL)
    with np.errstate(invalid="ignore"):  # signalling NaN
        expected = ALL.astype("float64")
    assert_same_bits(ops.cast(to_bfloat16(ALL), "float64").numpy(), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nearest_ties_to_even(dtype):
    """Between two neighbours: the middle goes to the even one, what is nearer to one goes there."""
    low = ALL[: 0x7F80 - 1]  # from 0 to the largest but one
    high = ALL[1:0x7F80]
    middle = ((low.astype("float64") + high.astype("float64")) / 2).astype(dtype)
    even = np.where(np.arange(low.size) % 2 == 0, low, high)
    below, above = np.nextafter(middle, 0, dtype=dtype), np.nextafter(middle, np.inf, dtype=dtype)
    for x, nearest in ((middle, even), (below, low), (above, high)):
        for sign in (1, -1):
            there = ops.cast(to_cuda((sign * x).astype(dtype)), "bfloat16")
            assert_same_bits(wide(there), sign * nearest)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_overflow(dtype):
    largest = float(ALL[0x7F7F])
    half = 2.0**119
    x = np.array([largest + half, -largest - half, largest, 3.4e38, np.inf, np.nan], dtype)
    if dtype == "float64":
        x = np.append(x, [np.nextafter(largest + half, 0), 1e39, -1e300, 1e-300, -1e-300, 5e-324])
    got = wide(ops.cast(to_cuda(x), "bfloat16"))
    expected = [np.inf, -np.inf, largest, np.inf, np.inf, np.nan]
    if dtype == "float64":
        expected += [largest, np.inf, -np.inf, 0.0, -0.0, 0.0]
    assert_same_bits(got, np.array(expected, F32))


def test_float64_is_rounded_once():
    """Through float32 the number next to the middle would become the middle."""
    x = np.array([1 + 2.0**-8 + 2.0**-40, 1 + 2.0**-8 - 2.0**-40, 1 + 2.0**-8])
    assert wide(ops.cast(to_cuda(x), "bfloat16")).tolist() == [1 + 2.0**-7, 1.0, 1.0]


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 2047, 2049])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sizes(rng, size, dtype):
    x = values(rng, size, dtype)
    with np.errstate(over="ignore"):
        assert_same_bits(ops.cast(to_cuda(x), "float64").numpy(), x.astype("float64"))
        assert_same_bits(ops.cast(to_cuda(x), "float32").numpy(), x.astype("float32"))
        assert_same_bits(ops.cast(x, "float32"), x.astype("float32"))
    assert_same_bits(ops.cast(x, "float64"), x.astype("float64"))
    if dtype == "float32":
        assert_same_bits(wide(to_bfloat16(x)), rounded(x))


def test_unaligned(rng):
    x = values(rng, (5, 77), "float32")
    assert_same_bits(wide(ops.cast(Unaligned(x), "bfloat16")), rounded(x))
    assert_same_bits(wide(ops.relu(Unaligned(x, bfloat16=True))), rounded(ops.relu(rounded(x))))


def test_cast_to_the_same_dtype_is_no_copy(rng):
    t = to_bfloat16(rng.normal(size=5))
    assert ops.cast(t, "bfloat16") is t
    x = rng.normal(size=5)
    x.flags.writeable = False
    assert ops.cast(x, "float64") is x


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_cast_into(rng, device):
    """More arrays than a launch takes, of all dtypes, sizes around a block's, one of them empty."""
    dtypes = ["float32", "float64"] + (["bfloat16"] if device == "cuda" else [])
    sizes = [0, 1, 7, 8, 8191, 8192, 8200, 3, *rng.integers(1, 50, size=64 * len(dtypes) ** 2)]
    xs, ys, expected = [], [], []
    for i, size in enumerate(map(int, sizes)):
        x = sixloop.Tensor(rng.normal(size=size)).to(device)
        xs.append(ops.cast(x, dtypes[i % len(dtypes)]))
        ys.append(sixloop.empty((size,), dtypes[i // len(dtypes) % len(dtypes)], device))
        expected.append(ops.cast(xs[-1], ys[-1].dtype))
    ops.cast_into(xs, ys)
    for y, same in zip(ys, expected, strict=True):
        assert_same_bits(ops.cast(y, "float64").numpy(), ops.cast(same, "float64").numpy())
    y = np.empty(3, F32)
    ops.cast_into(np.array([0.1, 0.2, 0.3]), y)
    assert_same_bits(y, np.array([0.1, 0.2, 0.3], F32))


def test_cast_into_refuses():
    x, y = sixloop.zeros((2, 3), device="cuda"), sixloop.empty((2, 3), "bfloat16", "cuda")
    with pytest.raises(ValueError, match=r"\[cast_into\] expected one y for each x; got 2 and 1"):
        ops.cast_into([x, x], [y])
    with pytest.raises(ValueError, match=r"\[cast_into\] x and y must have the same shape"):
        ops.cast_into(x, y.reshape(3, 2))
    with pytest.raises(
        TypeError, match=r"\[cast_into\] y must be float32, float64 or bfloat16; got"
    ):
        ops.cast_into(x, sixloop.zeros((2, 3), "int32", "cuda"))
    with pytest.raises(ValueError, match=r"\[cast_into\] all arrays must be on one device"):
        ops.cast_into(x, np.zeros((2, 3)))


# ---------------------------------------------------------------------------------- tensors


def test_tensor(rng):
    x = rng.normal(size=(3, 5)).astype(F32)
    t = to_bfloat16(x)
    assert (t.dtype, t.device, t.shape, t.nbytes, t.size) == ("bfloat16", "cuda", (3, 5), 30, 15)
    assert "dtype=bfloat16, device=cuda" in repr(t)
    assert_same_bits(wide(t.copy()), rounded(x))
    assert_same_bits(wide(t.reshape(5, -1)), rounded(x).reshape(5, 3))
    assert to_bfloat16([2.5]).item() == 2.5
    assert wide(sixloop.zeros((2, 3), "bfloat16", "cuda")).tolist() == [[0.0] * 3] * 2
    other = sixloop.empty((3, 5), "bfloat16", device="cuda")
    other.fill(1 + 2.0**-8)
    assert np.all(wide(other) == 1)
    other.assign(t)
    assert_same_bits(wide(other), rounded(x))
    assert_same_bits(wide(sixloop.Tensor(t)), rounded(x))
    assert t.to("cuda").dtype == "bfloat16"


def test_there_is_none_on_the_cpu(rng):
    t = to_bfloat16(rng.normal(size=3))
    for make in (sixloop.zeros, sixloop.empty):
        with pytest.raises(TypeError, match="bfloat16 is a dtype of cuda alone; got device cpu"):
            make((2, 3), "bfloat16")
    with pytest.raises(TypeError, match=r'use ops.cast\(x, "float32"\).to\("cpu"\)'):
        t.to("cpu")
    with pytest.raises(TypeError, match="bfloat16 is a dtype of cuda alone"):
        sixloop.Tensor([1.0, 2.0], dtype="bfloat16")
    with pytest.raises(TypeError, match=r"\[cast\] bfloat16 is a dtype of cuda alone; got x on"):
        ops.cast(np.ones(3), "bfloat16")
    with pytest.raises(TypeError, match=r"\[cast\] dtype must be"):
        ops.cast(t, "int32")
    with pytest.raises(TypeError, match=r"\[cast\] dtype must be"):
        ops.cast(t, "float16")
    with pytest.raises(TypeError, match=r"\[cast\] x must be"):
        ops.cast(sixloop.zeros((2,), "int32", "cuda"), "float32")
    with pytest.raises(NotImplementedError, match=r"use ops.cast"):
        sixloop.Tensor(t, dtype="float32")


def test_numpy_without_ml_dtypes(rng, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ml_dtypes", None)
    t = to_bfloat16(rng.normal(size=3))
    with pytest.raises(TypeError, match=r'use ops.cast\(x, "float32"\).numpy\(\)'):
        t.numpy()
    with pytest.raises(TypeError, match=r"use numpy\(\)"):
        np.asarray(t)
    assert "bfloat16" in repr(t)


def test_numpy_with_ml_dtypes(rng):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = rng.normal(size=(3, 7)).astype(F32)
    t = to_bfloat16(x)
    array = t.numpy()
    assert array.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(array, x.astype(ml_dtypes.bfloat16))
    other = sixloop.empty((3, 7), ml_dtypes.bfloat16, "cuda")
    other.assign(x.astype(ml_dtypes.bfloat16)[:, ::-1])
    assert_same_bits(wide(other), rounded(x)[:, ::-1])
    with pytest.raises(
        ValueError, match=r"\[Tensor.assign\].*same shape; got \(3, 7\) and \(7, 3\)"
    ):
        other.assign(array.T)


class Foreign:
    """What another library knows of a tensor."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, stream=None):
        return self.tensor.__dlpack__(stream=stream)


def test_dlpack(rng):
    x = rng.normal(size=(3, 5)).astype(F32)
    t = to_bfloat16(x)
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    capsule = t.__dlpack__()
    at = pointer(capsule, b"dltensor")
    # DLTensor: data, device (8 bytes), ndim (4), then the type's code, bits and lanes.
    assert bytes((ctypes.c_uint8 * 4).from_address(at + 20)) == bytes([4, 16, 1, 0])
    del capsule
    same = sixloop.Tensor(Foreign(t))
    assert same.dtype == "bfloat16"
    assert_same_bits(wide(same), rounded(x))
    assert_same_bits(wide(ops.scale(Foreign(t), 2.0)), 2 * rounded(x))
    assert not hasattr(t, "__cuda_array_interface__")


# ---------------------------------------------------------------------------------- maps and sums

SIZES = (0, 1, 7, 8, 9, 2047, 2048, 2061)
FROM_OUTPUT = ["relu", "sigmoid", "tanh", "leaky_relu", "elu", "softplus", "step", "ramp"]
ACTIVATIONS = [*FROM_OUTPUT, "gelu", "gaussian"]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(rng, name):
    for size in SIZES:
        x, dy = values(rng, size, "float32"), values(rng, size, "float32")
        assert_rounded_once(getattr(ops, name), x)
        assert_rounded_once(getattr(ops, f"{name}_grad"), dy, x)
    for op, grad in ((ops.leaky_relu, ops.leaky_relu_grad), (ops.elu, ops.elu_grad)):
        assert_rounded_once(lambda x, op=op: op(x, alpha=0.3), x)
        assert_rounded_once(lambda dy, x, grad=grad: grad(dy, x, alpha=0.3), dy, x)


@pytest.mark.parametrize("name", [None, *ACTIVATIONS])
def test_sums_of_two(rng, name):
    for shape in ((3,), (5, 7), (2, 3, 5, 8), (257, 4), (9, 24), (31, 3), (0, 4)):
        a, b = values(rng, shape, "float32"), values(rng, shape, "float32")
        assert_rounded_once(lambda a, b: ops.add(a, b, activation=name), a, b)
        bias = values(rng, shape[-1], "float32")
        for kept in ((), (1,)):
            assert_rounded_once(
                lambda a, b: ops.bias_add(a, b, activation=name), a, bias, kept=kept
            )


def test_scale(rng):
    assert_rounded_once(lambda x: ops.scale(x, 0.3), values(rng, 1021, "float32"))


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (3, 5), (257, 10), (1000, 3), (130, 64), (129, 65), (300, 200), (0, 4), (2, 9, 7, 6)],
)
def test_bias_grad(rng, shape):
    """Sums are float32, also those of a gradient that is rounded on its way to memory."""
    dy = values(rng, shape, "float32")
    dy[~np.isfinite(dy)] = 0.5
    assert ops.bias_grad(to_bfloat16(dy)).dtype == F32
    assert_rounded_once(ops.bias_grad, dy)
    for name in FROM_OUTPUT:
        y = getattr(ops, name)(rng.normal(size=shape).astype(F32))
        assert_rounded_once(lambda dy, y: ops.activation_grad_from_output(dy, y, name), dy, y)
        assert_rounded_once(lambda dy, y: ops.activation_bias_grad(dy, y, name), dy, y)


def test_many_chunks_of_a_sum(rng):
    """More than one kernel folds: with float32, too, as a GPU may."""
    dy = rng.normal(size=(40_000, 130)).astype(F32)
    assert_rounded_once(ops.bias_grad, dy)
    assert_same_bits(ops.bias_grad(to_cuda(dy)).numpy(), ops.bias_grad(dy))


# ---------------------------------------------------------------------------------- movement


@pytest.mark.parametrize(
    ("shapes", "axis"),
    [
        ([(5,)], 0),
        ([(2, 3), (2, 4)], 1),
        ([(2, 3), (4, 3), (0, 3)], 0),
        ([(2, 3, 5, 4), (2, 3, 5, 8)], -1),
        ([(2, 3, 5, 1), (2, 3, 5, 2), (2, 3, 5, 6)], -1),
        ([(3, 200, 8), (3, 129, 8)], 1),
    ],
)
def test_concat_and_split(rng, shapes, axis):
    arrays = [values(rng, shape, "float32") for shape in shapes]
    assert_rounded_once(lambda *a: ops.concat(list(a), axis=axis), *arrays)
    sizes = [shape[axis] for shape in shapes]
    joined = ops.concat(arrays, axis=axis)
    assert_rounded_once(lambda x: tuple(ops.split(x, sizes, axis=axis)), joined)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 5, 3), (2, 5, 4, 8), (0, 4, 4, 2)])
@pytest.mark.parametrize("padding", [0, 1, ((1, 0), (0, 3))])
def test_borders(rng, shape, padding):
    x = values(rng, shape, "float32")
    assert_rounded_once(lambda x: ops.zero_pad2d(x, padding), x)
    assert_rounded_once(lambda x: ops.crop2d(x, padding), ops.zero_pad2d(x, padding))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 5, 7), (1, 33, 4, 9), (0, 2, 3, 4)])
def test_channels_first_and_last(rng, shape):
    x = values(rng, shape, "float32")
    for move in (sixloop.from_nchw, sixloop.to_nchw):
        assert_rounded_once(move, x)


# ---------------------------------------------------------------------------------- the other ops


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.999])
def test_dropout(rng, rate):
    key = {"seed": 5, "purpose": 3, "step": 7}
    for size in SIZES:
        x = values(rng, size, "float32")
        assert_rounded_once(lambda x: ops.dropout(x, rate, **key), x)
        assert_rounded_once(lambda x: ops.dropout_grad(x, rate, **key), x)


@pytest.mark.parametrize(
    ("shape", "window", "strides", "padding"),
    [
        ((2, 6, 8, 8), 2, None, 0),
        ((2, 7, 9, 3), 2, None, 0),
        ((1, 7, 9, 16), (3, 2), (2, 1), (1, 0)),
        ((2, 5, 8, 5), (2, 3), (1, 2), ((1, 0), (0, 2))),
        ((1, 17, 18, 8), (17, 16), 1, 0),  # more cells than a byte counts
        ((0, 4, 4, 8), 2, None, 0),
    ],
)
def test_pooling(rng, shape, window, strides, padding):
    x = values(rng, shape, "float32")
    p = {"strides": strides, "padding": padding}
    assert_rounded_once(lambda x: ops.max_pool2d(x, window, **p), x)
    assert_rounded_once(lambda x: ops.avg_pool2d(x, window, **p), x)
    y = ops.avg_pool2d(x, window, **p)
    dy = values(rng, y.shape, "float32")
    assert_rounded_once(lambda dy, x: ops.max_pool2d_grad(dy, x, window, **p), dy, x)
    assert_rounded_once(lambda dy: ops.avg_pool2d_grad(dy, shape, window, **p), dy)
    if np.prod(window) <= 256:
        assert_rounded_once(lambda x: ops.max_pool2d(x, window, return_indices=True, **p), x)
        _, indices = ops.max_pool2d(rounded(x), window, return_indices=True, **p)
        assert_rounded_once(
            lambda dy, i: ops.max_pool2d_grad(dy, shape, window, indices=i, **p),
            *(dy, indices),
            kept=(1,),
        )


@pytest.mark.parametrize("shape", [(2, 6, 8, 8), (3, 5, 2, 3)])
def test_global_pooling(rng, shape):
    assert_rounded_once(ops.global_avg_pool2d, values(rng, shape, "float32"))
    dy = values(rng, (shape[0], shape[3]), "float32")
    assert_rounded_once(lambda dy: ops.global_avg_pool2d_grad(dy, shape), dy)


ROWS = [(5, 1), (3, 10), (4, 16), (7, 17), (3, 64), (2, 250), (3, 257), (2, 1000), (2, 1024)]


@pytest.mark.parametrize("shape", [*ROWS, (1, 2049), (0, 4)])
def test_softmax(rng, shape):
    x, dy = (rng.normal(scale=3, size=shape).astype(F32) for _ in range(2))
    for forward, backward in (
        (ops.softmax, ops.softmax_grad),
        (ops.log_softmax, ops.log_softmax_grad),
    ):
        assert_rounded_once(forward, x)
        assert_rounded_once(backward, dy, forward(x))


@pytest.mark.parametrize(("shape", "axis"), [((5, 7), 0), ((3, 5, 8), 1), ((2, 11, 3), 1)])
def test_softmax_of_columns(rng, shape, axis):
    x, dy = values(rng, shape, "float32"), values(rng, shape, "float32")
    for forward, backward in (
        (ops.softmax, ops.softmax_grad),
        (ops.log_softmax, ops.log_softmax_grad),
    ):
        assert_rounded_once(lambda x, f=forward: f(x, axis=axis), x)
        assert_rounded_once(
            lambda dy, y, b=backward: b(dy, y, axis=axis), dy, forward(x, axis=axis)
        )


@pytest.mark.parametrize("shape", ROWS)
def test_cross_entropy(rng, shape):
    """The loss is summed from float32, the gradient rounded."""
    x = rng.normal(scale=3, size=shape).astype(F32)
    for dtype in ("int64", "int32", "uint8"):
        labels = rng.integers(0, min(shape[1], 200), shape[0]).astype(dtype)
        loss, gradient = ops.cross_entropy(rounded(x), labels)
        got, there = ops.cross_entropy(to_bfloat16(x), to_cuda(labels))
        assert got == loss
        assert_rounded(there, gradient)


@pytest.mark.parametrize(
    "shape", [(1, 1), (5, 3), (64, 1), (70, 6), (3, 5, 7, 10), (9, 64), (257, 64), (4, 130, 8)]
)
def test_batch_norm(rng, shape):
    x, dy = (rng.normal(scale=3, size=shape).astype(F32) for _ in range(2))
    gamma, beta, mean = (rng.normal(size=shape[-1]).astype(F32) for _ in range(3))
    variance = np.abs(mean) + F32(0.5)
    vectors = (gamma, beta)
    for name in (None, "relu", "gelu"):
        assert_rounded_once(
            lambda *a, name=name: ops.batch_norm(*a, activation=name, return_affine=True),
            *(x, *vectors),
            kept=(1, 2),
        )
        assert_rounded_once(
            lambda *a, name=name: ops.batch_norm(*a, activation=name)[0],
            *(x, *vectors, mean, variance),
            kept=(1, 2, 3, 4),
        )
    _, mean, variance, affine = ops.batch_norm(rounded(x), *vectors, return_affine=True)
    for training in (True, False):
        for relu in (affine, None):
            arrays = (dy, x, gamma, mean, variance) + (() if relu is None else (relu,))
            assert_rounded_once(
                lambda *a, t=training: ops.batch_norm_grad(
                    *a[:5], training=t, relu_affine=a[5] if len(a) > 5 else None
                ),
                *arrays,
                kept=(2, 3, 4, 5),
            )


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (70, 6), (3, 5, 7, 10), (257, 64), (4, 130, 8)])
def test_batch_norm_with_a_residual(rng, shape):
    """The bits of a normalisation and an addition, whose intermediate result is rounded, too."""
    x, dy, residual = (to_bfloat16(rng.normal(scale=3, size=shape)) for _ in range(3))
    gamma, beta = (to_cuda(rng.normal(size=shape[-1]).astype(F32)) for _ in range(2))
    plain, mean, variance = ops.batch_norm(x, gamma, beta)
    for name in (None, "relu", "gelu", "elu"):
        for statistics in ((), (mean, variance)):
            y = ops.batch_norm(x, gamma, beta, *statistics, activation=name, residual=residual)[0]
            apart = ops.add(plain, residual, activation=name)
            if statistics:
                apart = ops.batch_norm(x, gamma, beta, *statistics)[0]
                apart = ops.add(apart, residual, activation=name)
            assert_same_numbers(y, apart)
    y = ops.batch_norm(x, gamma, beta, activation="relu", residual=residual)[0]
    for training in (True, False):
        *fused, dresidual = ops.batch_norm_grad(
            dy, x, gamma, mean, variance, training=training, relu_output=y
        )
        dz = ops.activation_grad_from_output(dy, y, "relu")
        assert_same_numbers(dresidual, dz)
        apart = ops.batch_norm_grad(dz, x, gamma, mean, variance, training=training)
        for one, other in zip(fused, apart, strict=True):
            assert_same_numbers(one, other)


def assert_same_numbers(one, other):
    assert one.dtype == other.dtype
    assert_same_bits(ops.cast(one, "float32").numpy(), ops.cast(other, "float32").numpy())


@pytest.mark.parametrize("beta", [0.75, 0.5])
@pytest.mark.parametrize("shape", [(3, 4, 7), (5, 16)])
def test_local_response_norm(rng, shape, beta):
    x, dy = (rng.normal(scale=3, size=shape).astype(F32) for _ in range(2))
    p = {"size": 5, "alpha": 0.1, "beta": beta, "k": 2.0}
    assert_rounded_once(lambda x: ops.local_response_norm(x, **p), x)
    assert_rounded_once(lambda dy, x: ops.local_response_norm_grad(dy, x, **p), dy, x)


# ---------------------------------------------------------------------------------- what is refused


def ones(*shape, dtype="bfloat16"):
    return ops.cast(to_cuda(np.ones(shape, F32)), dtype)


def wide_ones(*shape):
    return ones(*shape, dtype="float32")


TWO_DTYPES = {
    "add": lambda: ops.add(ones(3, 4), wide_ones(3, 4)),
    "bias_add": lambda: ops.bias_add(wide_ones(3, 4), ones(4)),
    "relu_grad": lambda: ops.relu_grad(ones(3), wide_ones(3)),
    "activation_grad_from_output": lambda: ops.activation_grad_from_output(
        wide_ones(3), ones(3), "relu"
    ),
    "activation_bias_grad": lambda: ops.activation_bias_grad(ones(3), wide_ones(3), "relu"),
    "concat": lambda: ops.concat([ones(3), wide_ones(3)]),
    "softmax_grad": lambda: ops.softmax_grad(ones(3), wide_ones(3)),
    "max_pool2d_grad": lambda: ops.max_pool2d_grad(wide_ones(1, 2, 2, 2), ones(1, 4, 4, 2), 2),
    "local_response_norm_grad": lambda: ops.local_response_norm_grad(
        ones(3, 4), wide_ones(3, 4), 3, 1.0, 0.5, 1.0
    ),
    "batch_norm": lambda: ops.batch_norm(wide_ones(3, 4), ones(4), ones(4)),
    "batch_norm_grad": lambda: ops.batch_norm_grad(
        ones(3, 4), wide_ones(3, 4), *[wide_ones(4)] * 3
    ),
}


@pytest.mark.parametrize("name", TWO_DTYPES)
def test_two_dtypes(name):
    with pytest.raises(TypeError, match=rf"\[{name}\].*must have one dtype; got .*bfloat16"):
        TWO_DTYPES[name]()


def test_parameters_of_a_normalisation_are_float32():
    x, narrow, wider = ones(3, 4), ones(4), wide_ones(4)
    for arrays, arg in (
        ((narrow, wider), "gamma"),
        ((wider, narrow), "beta"),
        ((wider, wider, narrow, wider), "mean"),
        ((ones(4, dtype="float64"), wider), "gamma"),
    ):
        with pytest.raises(TypeError, match=rf"\[batch_norm\] {arg} must be float32 where x is bf"):
            ops.batch_norm(x, *arrays)
    with pytest.raises(TypeError, match=r"residual.*must have one dtype; got .*bfloat16"):
        ops.batch_norm(x, wider, wider, residual=wide_ones(3, 4))
    with pytest.raises(TypeError, match=r"relu_output.*must have one dtype; got .*bfloat16"):
        ops.batch_norm_grad(x, x, wider, wider, wider, relu_output=wide_ones(3, 4))
    with pytest.raises(TypeError, match="relu_affine must be float32 where x is bfloat16"):
        ops.batch_norm_grad(x, x, wider, wider, wider, relu_affine=ones(2, 4))


REFUSED = {
    "moving_average": lambda: ops.moving_average(ones(3), ones(3), momentum=0.9, factor=0.1),
    "sgd_update": lambda: ops.sgd_update(ones(3), ones(3), None, lr=0.1),
    "cross_entropy": lambda: ops.cross_entropy(ones(3, 4), ones(3)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    with pytest.raises(TypeError, match=rf"\[{name}\].*; got bfloat16"):
        REFUSED[name]()


def test_random_numbers_are_not_made_in_it():
    for op in (ops.random_uniform, ops.random_normal):
        with pytest.raises(TypeError, match="dtype must be float32 or float64; got 'bfloat16'"):
            op((3,), 0.0, 1.0, seed=1, purpose=2, dtype="bfloat16", device="cuda")
