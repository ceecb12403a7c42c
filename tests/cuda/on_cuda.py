"""The one comparison of these tests: an op on the GPU has the bits that it has on the CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

import sixloop
from comparators import assert_same_bits

EMULATOR = "SIMT emulator"  # the device's name in a build for tests/simt

DTYPES = ("float32", "float64")

# Zeros, infinities, NaN, subnormal numbers, and where exp and its kin change their way.
SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1e-310, 0.625, -0.625)
SPECIAL += (10.0, -10.0, 15.0, -17.3, 88.0, -88.0, 89.5, -104.5, 709.5, -746.0, 3e38, -3e38)


def values(rng: np.random.Generator, shape: Any, dtype: str) -> Any:
    """Normal numbers, every seventh of them a special one."""
    x = rng.normal(scale=4, size=shape).astype(dtype)
    flat = x.reshape(-1)
    special = flat[::7]
    special[...] = rng.choice(SPECIAL, size=special.size).astype(dtype)
    return x


def to_cuda(x: Any) -> Any:
    return sixloop.Tensor(x).to("cuda") if isinstance(x, np.ndarray) else x


def assert_same_as_cpu(op: Callable[..., Any], *arrays: Any) -> None:
    """Calls op(*arrays) with NumPy arrays and with the same on the GPU."""
    expected = op(*arrays)
    got = op(*map(to_cuda, arrays))
    if not isinstance(expected, tuple):
        expected, got = (expected,), (got,)
    for one in got:
        assert isinstance(one, sixloop.Tensor)
        assert one.device == "cuda"
    assert_same_bits(tuple(one.numpy() for one in got), expected)


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("dtype", ctypes.c_uint8 * 4),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.argtypes, _pointer_of.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_void_p


class Unaligned:
    """An array on the GPU as other libraries hand out views: it begins one element into memory.

    That no 16 bytes are loaded at once from there is what a test with it shows.
    """

    def __init__(self, x: Any) -> None:
        flat = np.concatenate([np.zeros(1, x.dtype), x.reshape(-1)])
        flat = np.concatenate([flat, np.zeros((x.shape[0] + 1) * x[0].size - flat.size, x.dtype)])
        self.rows = x.shape[0]
        self.tensor = sixloop.Tensor(flat.reshape(-1, *x.shape[1:])).to("cuda")

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, stream: Any = None) -> Any:
        capsule = self.tensor.__dlpack__(stream=stream)
        seen = _DLTensor.from_address(_pointer_of(capsule, b"dltensor"))
        seen.shape[0] = self.rows
        seen.byte_offset = self.tensor.dtype.itemsize
        return capsule
