"""Where an array lies, and how it gets elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sixloop import Tensor, cuda


def check_device(tag: str, device: str) -> None:
    """Raises unless `device` is "cpu", or "cuda" where there is a GPU to use."""
    if device not in ("cpu", "cuda"):
        raise ValueError(f"[{tag}] unknown device {device!r}; valid devices: cpu, cuda")
    if device == "cuda" and (why := cuda.why()):
        raise RuntimeError(f"[{tag}] cuda is not available: {why}")


def device_of(array: Any) -> str:
    """Returns "cpu" or "cuda"."""
    return array.device if isinstance(array, Tensor) else "cpu"


def to_device(array: Any, device: str) -> Tensor:
    """Returns a Tensor on a device: the array itself where it is one there, else a copy."""
    tensor = array if isinstance(array, Tensor) else Tensor(array)
    return tensor.to(device)


def to_numpy(array: Any) -> NDArray[Any]:
    """Returns a NumPy array: a view of memory of the CPU, a copy of memory of the GPU."""
    return array.numpy() if isinstance(array, Tensor) else np.asarray(array)


def share_memory(a: Any, b: Any) -> bool:
    """Returns whether two arrays may have bytes in common."""
    device = device_of(a)
    if device != device_of(b):
        return False
    if device == "cpu":
        return np.may_share_memory(to_numpy(a), to_numpy(b))
    return bool(a._address < b._address + b.nbytes and b._address < a._address + a.nbytes)
