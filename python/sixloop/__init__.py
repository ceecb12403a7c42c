"""sixloop: convolutional networks on C++ kernels that are fast and quotable to the bit.

``sixloop.ops`` has the kernels as functions on arrays, ``sixloop.nn`` the layers and the model
graph, ``sixloop.Trainer`` the training loop. Activations are NHWC, convolution weights HWIO.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sixloop import _core
from sixloop._core import Tensor, __version__, empty_cache, reset_peak_memory, set_cache_limit

if TYPE_CHECKING:
    from sixloop.nn.serialization import load as load
    from sixloop.trainer import Trainer as Trainer

__all__ = [
    "Tensor",
    "Trainer",
    "__version__",
    "allocated_bytes",
    "available_isas",
    "batch_invariant",
    "empty",
    "empty_cache",
    "force_isa",
    "from_nchw",
    "get_num_threads",
    "isa",
    "load",
    "memory_stats",
    "num_threads",
    "reset_peak_memory",
    "set_cache_limit",
    "set_isa",
    "set_num_threads",
    "to_nchw",
    "zeros",
]

# Imported at first use: `import sixloop` costs little more than NumPy.
_SUBMODULES = frozenset(
    [
        "bench",
        "callbacks",
        "checkpoint",
        "cuda",
        "data",
        "initializers",
        "inspect",
        "losses",
        "metrics",
        "models",
        "nn",
        "ops",
        "optim",
        "schedules",
    ]
)
_LAZY = {"Trainer": "sixloop.trainer", "load": "sixloop.nn.serialization"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in _SUBMODULES:
        return importlib.import_module(f"sixloop.{name}")
    raise AttributeError(f"module 'sixloop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *_LAZY})


def zeros(shape: Sequence[int], dtype: Any = "float32", device: str = "cpu") -> Tensor:
    """Returns a tensor of zeros.

    Args:
        shape: extents.
        dtype: default float32.
        device: "cpu" (default) or "cuda".
    """
    return _core.zeros(tuple(shape), dtype, device)


def empty(shape: Sequence[int], dtype: Any = "float32", device: str = "cpu") -> Tensor:
    """Returns a tensor whose elements are undefined.

    Args:
        shape: extents.
        dtype: default float32.
        device: "cpu" (default) or "cuda".
    """
    return _core.empty(tuple(shape), dtype, device)


def from_nchw(array: Any) -> Any:
    """Returns activations [N, C, H, W] as [N, H, W, C].

    Args:
        array: four-dimensional, anything that NumPy reads, or a Tensor on the GPU.

    Returns:
        A NumPy array; of a Tensor on the GPU, one there.
    """
    import numpy as np

    if isinstance(array, Tensor) and array.device == "cuda":
        return _core.from_nchw(array)
    a = np.asarray(array)
    if a.ndim != 4:
        raise ValueError(
            f"[from_nchw] array must have 4 dimensions [N, C, H, W]; got shape {a.shape}"
        )
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1))


def to_nchw(array: Any) -> Any:
    """Returns activations [N, H, W, C] as [N, C, H, W].

    Args:
        array: four-dimensional, anything that NumPy reads, or a Tensor on the GPU.

    Returns:
        A NumPy array; of a Tensor on the GPU, one there.
    """
    import numpy as np

    if isinstance(array, Tensor) and array.device == "cuda":
        return _core.to_nchw(array)
    a = np.asarray(array)
    if a.ndim != 4:
        raise ValueError(
            f"[to_nchw] array must have 4 dimensions [N, H, W, C]; got shape {a.shape}"
        )
    return np.ascontiguousarray(a.transpose(0, 3, 1, 2))


def get_num_threads() -> int:
    """Returns how many threads an op may use."""
    return _core.num_threads()


def set_num_threads(threads: int) -> None:
    """Sets how many threads an op may use; no bit of any result depends on it.

    The default is SIXLOOP_NUM_THREADS, else the CPUs that affinity and the cgroup's quota allow.

    Raises:
        ValueError: unless 1 <= threads <= 1024.
    """
    _core.set_num_threads(threads)


@contextmanager
def num_threads(threads: int) -> Iterator[None]:
    """Sets the number of threads (process-wide) within a ``with`` block."""
    before = _core.num_threads()
    _core.set_num_threads(threads)
    try:
        yield
    finally:
        _core.set_num_threads(before)


def isa() -> str:
    """Returns the best instruction set in force: "scalar", "avx2", "avx512" or "neon"."""
    return _core.isa()


def available_isas() -> list[str]:
    """Returns the instruction sets that this processor supports and this build contains."""
    return _core.available_isas()


def set_isa(name: str) -> None:
    """Chooses the instruction set of all kernels, as SIXLOOP_ISA does at start; "" is the best one.

    No bit of any result depends on it.

    Raises:
        ValueError: unknown or unsupported name; the message lists the valid ones.
    """
    _core.set_isa(name)


@contextmanager
def force_isa(name: str) -> Iterator[None]:
    """Chooses the instruction set (process-wide) within a ``with`` block."""
    before = _core.isa()
    _core.set_isa(name)
    try:
        yield
    finally:
        _core.set_isa(before)


@contextmanager
def batch_invariant() -> Iterator[None]:
    """Makes ``algorithm="auto"`` ignore the batch size within a ``with`` block (process-wide).

    A row of a batch then has the same bits in a batch of any size.
    """
    before = _core.batch_invariant()
    _core.set_batch_invariant(True)
    try:
        yield
    finally:
        _core.set_batch_invariant(before)


def allocated_bytes(size: int) -> int:
    """Returns what the allocator takes for an array of so many bytes: at most a quarter more.

    Raises:
        ValueError, TypeError: a size that is no whole number from 0 to 2**60.
    """
    return _core.allocated_bytes(size)


def memory_stats() -> dict[str, int]:
    """Returns the allocator's counters.

    ``allocated``, ``peak``, ``cached``, ``cache_limit`` and ``kept_filters`` are bytes, the last
    those of ``allocated`` that convolutions keep beside their weights, see ``keep_filters`` of
    ``ops.conv2d``; ``requests`` counts allocations and ``system_requests`` those that the cache
    could not serve.
    """
    return _core.memory_stats()
