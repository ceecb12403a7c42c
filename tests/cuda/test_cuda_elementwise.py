"""Maps and sums on the GPU against the CPU, bit for bit."""

import numpy as np
import pytest

import sixloop
from on_cuda import DTYPES, assert_same_as_cpu, values
from sixloop import ops

SIZES = (0, 1, 3, 4, 5, 1023, 1024, 1025, 2500)
# Of gelu and gaussian the output does not determine the gradient.
FROM_OUTPUT = ["relu", "sigmoid", "tanh", "leaky_relu", "elu", "softplus", "step", "ramp"]
ACTIVATIONS = [*FROM_OUTPUT, "gelu", "gaussian"]

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_activation = pytest.mark.parametrize("name", ACTIVATIONS)


@every_dtype
@every_activation
def test_activations(rng, name, dtype):
    for size in SIZES:
        x, dy = values(rng, size, dtype), values(rng, size, dtype)
        assert_same_as_cpu(getattr(ops, name), x)
        assert_same_as_cpu(getattr(ops, f"{name}_grad"), dy, x)


@every_dtype
def test_alpha(rng, dtype):
    x, dy = values(rng, (7, 11), dtype), values(rng, (7, 11), dtype)
    for op, grad in ((ops.leaky_relu, ops.leaky_relu_grad), (ops.elu, ops.elu_grad)):
        assert_same_as_cpu(lambda x, op=op: op(x, alpha=0.3), x)
        assert_same_as_cpu(lambda dy, x, grad=grad: grad(dy, x, alpha=0.3), dy, x)


@every_dtype
@pytest.mark.parametrize("name", [None, *ACTIVATIONS])
def test_sums_of_two(rng, name, dtype):
    for shape in ((3,), (5, 7), (2, 3, 5, 8), (257, 4), (0, 4)):
        a, b = values(rng, shape, dtype), values(rng, shape, dtype)
        assert_same_as_cpu(lambda a, b: ops.add(a, b, activation=name), a, b)
        bias = values(rng, shape[-1], dtype)
        assert_same_as_cpu(lambda a, b: ops.bias_add(a, b, activation=name), a, bias)


@every_dtype
def test_scale(rng, dtype):
    assert_same_as_cpu(lambda x: ops.scale(x, 0.3), values(rng, 1021, dtype))


@every_dtype
@pytest.mark.parametrize(
    "shape",
    [(1, 1), (3, 5), (257, 10), (1000, 3), (130, 64), (129, 65), (300, 200), (0, 4), (2, 9, 7, 6)],
)
def test_bias_grad(rng, shape, dtype):
    dy = values(rng, shape, dtype)
    dy[~np.isfinite(dy)] = 0.5
    assert_same_as_cpu(ops.bias_grad, dy)
    for name in FROM_OUTPUT:
        y = getattr(ops, name)(rng.normal(size=shape).astype(dtype))
        assert_same_as_cpu(lambda dy, y: ops.activation_grad_from_output(dy, y, name), dy, y)
        assert_same_as_cpu(lambda dy, y: ops.activation_bias_grad(dy, y, name), dy, y)


@every_dtype
def test_memory_that_is_not_aligned_to_packs(rng, dtype):
    """Other libraries' arrays begin where they like: here one element after the allocation."""
    x = values(rng, 1001, dtype)

    class Shifted:
        def __init__(self, tensor):
            self.tensor = tensor

        def __dlpack_device__(self):
            return self.tensor.__dlpack_device__()

        def __dlpack__(self, stream=None):
            return offset_capsule(self.tensor.__dlpack__(stream=stream), 1, 1000, x.itemsize)

    y = ops.tanh(Shifted(sixloop.Tensor(x).to("cuda")))
    np.testing.assert_array_equal(y.numpy().view("u1"), ops.tanh(x[1:]).view("u1"))


def offset_capsule(capsule, skip, length, itemsize):
    """Makes a DLPack capsule of one dimension begin later and end earlier."""
    import ctypes

    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    at = pointer(capsule, b"dltensor")
    # DLTensor: data, device (8 bytes), ndim and dtype (8 bytes), shape, strides, byte_offset.
    shape = ctypes.c_void_p.from_address(at + 24).value
    assert shape is not None
    ctypes.c_int64.from_address(shape).value = length
    ctypes.c_uint64.from_address(at + 40).value = skip * itemsize
    return capsule
