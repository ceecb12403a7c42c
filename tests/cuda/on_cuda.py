"""The one comparison of these tests: an op on the GPU has the bits that it has on the CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

import sixloop
from comparators import assert_same_bits
from sixloop import ops

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


def rounded(x: Any) -> Any:
    """The nearest bfloat16 of float32 numbers, ties to even, as float32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    near = (bits.astype(np.uint64) + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return np.where(np.isnan(x), np.float32(np.nan), near.astype(np.uint32).view(np.float32))


def to_bfloat16(x: Any) -> sixloop.Tensor:
    """NumPy's numbers as bfloat16 on the GPU."""
    return ops.cast(sixloop.Tensor(np.asarray(x, np.float32)).to("cuda"), "bfloat16")


def assert_rounded_once(op: Callable[..., Any], *arrays: Any, kept: tuple[int, ...] = ()) -> None:
    """Calls op(*arrays) with bfloat16 on the GPU, and in float32 with the same numbers on the CPU.

    Results of bfloat16 have the bits of the other ones rounded, results of another dtype theirs.
    The arrays at `kept` go to the GPU as they are.
    """
    narrow = [i not in kept and isinstance(x, np.ndarray) for i, x in enumerate(arrays)]
    expected = op(*(rounded(x) if n else x for x, n in zip(arrays, narrow, strict=True)))
    got = op(*(to_bfloat16(x) if n else to_cuda(x) for x, n in zip(arrays, narrow, strict=True)))
    assert_rounded(got, expected)


def assert_rounded(got: Any, expected: Any) -> None:
    """Demands of results of bfloat16 the bits of float32 ones rounded, of others the same bits."""
    if not isinstance(expected, tuple):
        got, expected = (got,), (expected,)
    assert len(got) == len(expected), f"{len(got)} results, not {len(expected)}"
    for number, (one, other) in enumerate(zip(got, expected, strict=True)):
        if isinstance(one, sixloop.Tensor):
            assert one.device == "cuda"
        if str(getattr(one, "dtype", "")) == "bfloat16":
            one, other = ops.cast(one, "float32"), rounded(other)
        values = one.numpy() if isinstance(one, sixloop.Tensor) else one
        assert_same_bits(values, other, f"result {number}: ")


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

    def __init__(self, x: Any, *, bfloat16: bool = False) -> None:
        flat = np.concatenate([np.zeros(1, x.dtype), x.reshape(-1)])
        flat = np.concatenate([flat, np.zeros((x.shape[0] + 1) * x[0].size - flat.size, x.dtype)])
        self.rows = x.shape[0]
        flat = flat.reshape(-1, *x.shape[1:])
        self.tensor = to_bfloat16(flat) if bfloat16 else sixloop.Tensor(flat).to("cuda")

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, stream: Any = None) -> Any:
        capsule = self.tensor.__dlpack__(stream=stream)
        seen = _DLTensor.from_address(_pointer_of(capsule, b"dltensor"))
        seen.shape[0] = self.rows
        seen.byte_offset = self.tensor.nbytes // self.tensor.size
        return capsule


class Altered:
    """An array on the GPU whose DLPack says something else about it than is true."""

    def __init__(
        self, x: Any, *, device: int = 0, bits: int = 32, strides: tuple[int, ...] | None = None
    ) -> None:
        self.tensor, self.device, self.bits, self.strides = to_cuda(x), device, bits, strides

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.tensor.__dlpack_device__()[0], self.device

    def __dlpack__(self, stream: Any = None) -> Any:
        capsule = self.tensor.__dlpack__(stream=stream)
        seen = _DLTensor.from_address(_pointer_of(capsule, b"dltensor"))
        seen.device[1] = self.device
        seen.dtype[1] = self.bits
        for axis, stride in enumerate(self.strides or ()):
            seen.strides[axis] = stride
        return capsule


class Displaced:
    """Elements of float32 before, in or behind an array on the GPU: a view that lies."""

    def __init__(self, x: Any, first: int, count: int) -> None:
        self.tensor, self.first, self.count = x.reshape(-1), first, count

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, stream: Any = None) -> Any:
        capsule = self.tensor.__dlpack__(stream=stream)
        seen = _DLTensor.from_address(_pointer_of(capsule, b"dltensor"))
        seen.data += 4 * self.first
        seen.shape[0] = self.count
        return capsule
