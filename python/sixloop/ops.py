"""The kernels as functions on arrays.

Arrays are :class:`sixloop.Tensor`, NumPy arrays or DLPack providers, float32 or float64, not mixed. NumPy
arrays in give NumPy arrays out (read without a copy where they are dense and aligned); any Tensor in gives
Tensors out. Activations are [N, H, W, C], convolution weights [KH, KW, C / groups, O]. ``strides``,
``dilation`` and windows are an int or a pair (h, w). ``padding`` is an int, a pair (h, w), a pair of pairs
((top, bottom), (left, right)), "valid" or "same" (TensorFlow's rule, with strides too).

Every function raises ValueError or TypeError with the op's tag, the rule and the offending values, and
MemoryError where memory does not suffice.
"""

from __future__ import annotations

from typing import Any

from sixloop import _core

Array = Any


def add(a: Array, b: Array) -> Array:
    """Returns a + b of two arrays of one shape."""
    return _core.add(a, b)


def resolve_padding(
    size_hw: Any, kernel_hw: Any, strides: Any = 1, dilation: Any = 1, padding: Any = 0
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns the padding that a window gets, ((top, bottom), (left, right)).

    "same" is TensorFlow's rule: ceil(n / stride) outputs with the smallest sum of paddings that gives
    them, max((ceil(n / stride) - 1) * stride + dilation * (k - 1) + 1 - n, 0); where the sum is odd, the
    larger half comes after the input.

    Args:
        size_hw: input size, int or (h, w).
        kernel_hw: filter or window size, int or (h, w).
        strides: int or (h, w), default 1.
        dilation: int or (h, w), default 1.
        padding: int, (h, w), ((top, bottom), (left, right)), "valid" or "same"; default 0.
    """
    return _core.resolve_padding(size_hw, kernel_hw, strides, dilation, padding)
