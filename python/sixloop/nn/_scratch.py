"""What the kernels allocate for themselves: told by the functions that cut their work.

The figures count the buffers of a task for each thread, as if all were at work at once; they are
those of the machine that computes them, since cuts follow its instruction set and its second-level
cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sixloop import allocated_bytes, ops
from sixloop._checks import Pair
from sixloop.nn.layer import Scratch


def of_convolution(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    itemsize: int,
    *,
    strides: Pair = (1, 1),
    padding: ops.Padding = 0,
    dilation: Pair = (1, 1),
    groups: int = 1,
    algorithm: str = "auto",
) -> Scratch:
    """Returns the scratch memory of a convolution and of its two gradients."""

    def plan(which: str, *, keep_filters: bool = False) -> ops.Plan:
        return ops.conv2d_plan(
            which,
            x_shape,
            w_shape,
            strides=strides,
            padding=padding,
            dilation=dilation,
            groups=groups,
            algorithm=algorithm,
            dtype=_dtype(itemsize),
            keep_filters=keep_filters,
        )

    inference = plan("forward", keep_filters=True)
    return Scratch(
        forward=plan("forward").scratch_bytes,
        grad_weight=plan("grad_weight").scratch_bytes,
        grad_input=plan("grad_input").scratch_bytes,
        inference=inference.scratch_bytes,
        kept=inference.kept_bytes,
    )


def of_convolution_with_own_filters(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    itemsize: int,
    *,
    strides: Pair = (1, 1),
    groups: int = 1,
) -> Scratch:
    """Returns the same where the filters, too, are made for the call, and their gradient."""
    scratch = of_convolution(x_shape, w_shape, itemsize, strides=strides, groups=groups)
    filters = allocated_bytes(math.prod(w_shape) * itemsize)
    return Scratch(
        forward=scratch.forward + filters,
        grad_weight=scratch.grad_weight + 2 * filters,
        grad_input=scratch.grad_input + filters,
    )


def of_product(batch: int, inputs: int, units: int, itemsize: int) -> Scratch:
    """Returns the scratch memory of a Dense layer and of its two gradients."""
    dtype = _dtype(itemsize)
    forward = ops.gemm_plan(batch, units, inputs, dtype=dtype)
    grad_weight = ops.gemm_plan(inputs, units, batch, transpose_a=True, dtype=dtype)
    grad_input = ops.gemm_plan(batch, inputs, units, transpose_b=True, dtype=dtype)
    return Scratch(
        forward=forward.scratch_bytes,
        grad_weight=grad_weight.scratch_bytes,
        grad_input=grad_input.scratch_bytes,
    )


def _dtype(itemsize: int) -> str:
    return np.dtype(f"f{itemsize}").name
