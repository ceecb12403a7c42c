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

from collections.abc import Sequence
from typing import Any

from sixloop import _core

Array = Any
Pair = int | Sequence[int]
Padding = int | str | Sequence[int] | Sequence[Sequence[int]]


def gemm(
    a: Array,
    b: Array,
    bias: Array | None = None,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    activation: str | None = None,
) -> Array:
    """Returns activation(a b + bias), with a and b transposed where asked for.

    Every element has one accumulator that meets k in ascending order, one fused multiply-add a step.

    Args:
        a: [M, K], or [K, M] with ``transpose_a``.
        b: [K, N], or [N, K] with ``transpose_b``.
        bias: [N], default none.
        transpose_a: use the transpose of a; default False.
        transpose_b: use the transpose of b; default False.
        activation: None or the name of an activation function, fused into the kernel.

    Returns:
        [M, N]; K = 0 gives activation(bias).
    """
    return _core.gemm(a, b, bias, transpose_a, transpose_b, activation)


def conv2d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    strides: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    activation: str | None = None,
    algorithm: str = "auto",
) -> Array:
    """Returns the two-dimensional convolution (cross-correlation) of x with the filters w.

    y[n, oh, ow, o] = activation(bias[o] + sum over kh, kw, i of x[n, oh * sh - top + kh * dh,
    ow * sw - left + kw * dw, g * I + i] * w[kh, kw, i, o]), g being the group of o; elements outside x
    count as zero.

    Args:
        x: [N, H, W, C].
        w: [KH, KW, C / groups, O].
        bias: [O], default none.
        strides: int or (h, w), default 1.
        padding: int, (h, w), ((top, bottom), (left, right)), "valid" or "same"; default 0.
        dilation: distance of neighbouring filter elements, int or (h, w), default 1.
        groups: cuts input and output channels into this many independent parts; groups == C is depthwise.
        activation: None or the name of an activation function, fused into the kernel.
        algorithm: "direct" reads the input in place, "im2col" writes the matrix of all windows and
            multiplies it; "auto" chooses by the shape alone.

    Returns:
        [N, OH, OW, O] with OH = floor((H + top + bottom - dh * (KH - 1) - 1) / sh) + 1, OW alike.
    """
    return _core.conv2d(x, w, bias, strides, padding, dilation, groups, activation, algorithm)


def conv2d_grad_input(
    dy: Array,
    w: Array,
    x_shape: Sequence[int],
    *,
    strides: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    algorithm: str = "auto",
) -> Array:
    """Returns the gradient of a loss with respect to the input of :func:`conv2d`.

    dx[n, h, w, c] is the sum over all outputs that saw this element of dy times the weight it met. It is
    also the transposed convolution of dy with w.

    Args:
        dy: [N, OH, OW, O], the gradient with respect to the output.
        w: [KH, KW, C / groups, O].
        x_shape: (N, H, W, C) of the input.
        strides: as in conv2d; default 1.
        padding: as in conv2d; default 0.
        dilation: as in conv2d; default 1.
        groups: as in conv2d; default 1.
        algorithm: "direct", "im2col" or "auto".

    Returns:
        An array of shape x_shape.
    """
    return _core.conv2d_grad_input(dy, w, x_shape, strides, padding, dilation, groups, algorithm)


def conv2d_grad_weight(
    x: Array,
    dy: Array,
    w_shape: Sequence[int],
    *,
    strides: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    algorithm: str = "auto",
) -> Array:
    """Returns the gradient of a loss with respect to the weights of :func:`conv2d`.

    dw[kh, kw, i, o] = sum over n, oh, ow of x under (kh, kw, i) of the window times dy[n, oh, ow, o]. The
    sum over output pixels is cut into at most 16 parts by the shape alone, which are added in order.

    Args:
        x: [N, H, W, C].
        dy: [N, OH, OW, O], the gradient with respect to the output.
        w_shape: (KH, KW, C / groups, O) of the weights.
        strides: as in conv2d; default 1.
        padding: as in conv2d; default 0.
        dilation: as in conv2d; default 1.
        groups: as in conv2d; default 1.
        algorithm: "direct", "im2col" or "auto".

    Returns:
        An array of shape w_shape.
    """
    return _core.conv2d_grad_weight(x, dy, w_shape, strides, padding, dilation, groups, algorithm)


def conv2d_output_shape(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    *,
    strides: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> tuple[int, int, int, int]:
    """Returns (N, OH, OW, O) of :func:`conv2d` for these shapes, with all of its checks."""
    return _core.conv2d_output_shape(x_shape, w_shape, strides, padding, dilation, groups)


def im2col(
    x: Array, kernel: Pair, *, strides: Pair = 1, padding: Padding = 0, dilation: Pair = 1
) -> Array:
    """Returns the matrix of all windows: a convolution is its product with the reshaped weights.

    Args:
        x: [N, H, W, C].
        kernel: size of the window, int or (h, w).
        strides: as in conv2d; default 1.
        padding: as in conv2d; default 0.
        dilation: as in conv2d; default 1.

    Returns:
        [N, OH, OW, KH * KW * C]: the elements under each window, zeros for padding.
    """
    return _core.im2col(x, kernel, strides, padding, dilation)


def col2im(
    col: Array,
    x_shape: Sequence[int],
    kernel: Pair,
    *,
    strides: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
) -> Array:
    """Returns the adjoint of :func:`im2col`: each element is the sum of its copies in col.

    Args:
        col: [N, OH, OW, KH * KW * C].
        x_shape: (N, H, W, C) of the result.
        kernel: size of the window, int or (h, w).
        strides: as in conv2d; default 1.
        padding: as in conv2d; default 0.
        dilation: as in conv2d; default 1.
    """
    return _core.col2im(col, x_shape, kernel, strides, padding, dilation)


def add(a: Array, b: Array) -> Array:
    """Returns a + b of two arrays of one shape."""
    return _core.add(a, b)


def resolve_padding(
    size_hw: Any, kernel_hw: Any, strides: Any = 1, dilation: Any = 1, padding: Any = 0
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns the padding that a window gets, ((top, bottom), (left, right)).

    "same" is TensorFlow's rule: ceil(n / stride) outputs with the smallest sum of paddings that
    gives them, max((ceil(n / stride) - 1) * stride + dilation * (k - 1) + 1 - n, 0); where the sum
    is odd, the larger half comes after the input.

    Args:
        size_hw: input size, int or (h, w).
        kernel_hw: filter or window size, int or (h, w).
        strides: int or (h, w), default 1.
        dilation: int or (h, w), default 1.
        padding: int, (h, w), ((top, bottom), (left, right)), "valid" or "same"; default 0.
    """
    return _core.resolve_padding(size_hw, kernel_hw, strides, dilation, padding)


def pool2d_output_shape(
    x_shape: Sequence[int], pool: Pair, *, strides: Pair | None = None, padding: Padding = 0
) -> tuple[int, int, int, int]:
    """Returns the shape of max_pool2d's and avg_pool2d's result.

    Args:
        x_shape: (N, H, W, C).
        pool: window, int or (h, w).
        strides: int or (h, w); None: those of the window.
        padding: int, (h, w), ((top, bottom), (left, right)), "valid" or "same"; default 0. Smaller
            than the window.

    Returns:
        (N, OH, OW, C) with OH = floor((H + top + bottom - h) / stride) + 1, OW alike.

    Raises:
        ValueError: a size out of range, or a window that does not fit.
        TypeError: a size that is not a whole number.
    """
    return _core.pool2d_output_shape(x_shape, pool, strides, padding)


def max_pool2d(x: Array, pool: Pair, *, strides: Pair | None = None, padding: Padding = 0) -> Array:
    """Returns the maximum of each window.

    Padding counts as absent, a window with a NaN gives NaN, and of 0.0 and -0.0 the first one wins.

    Args:
        x: [N, H, W, C].
        pool: window, int or (h, w).
        strides: int or (h, w); None: those of the window.
        padding: int, (h, w), ((top, bottom), (left, right)), "valid" or "same"; default 0. Smaller
            than the window.

    Returns:
        [N, OH, OW, C]; see :func:`pool2d_output_shape`.

    Raises:
        ValueError: wrong rank, a size out of range, or a window that does not fit.
        TypeError: not a floating-point array, or a size that is not a whole number.
    """
    return _core.max_pool2d(x, pool, strides, padding)


def max_pool2d_grad(
    dy: Array, x: Array, pool: Pair, *, strides: Pair | None = None, padding: Padding = 0
) -> Array:
    """Returns the gradient of max_pool2d's input.

    Each dy goes to the first maximum of its window in row-major order, in a window with NaNs to the
    first NaN. Where windows overlap, a cell gets the sum.

    Args:
        dy: gradient of the result, [N, OH, OW, C].
        x: the input, [N, H, W, C].
        pool: window, int or (h, w), of at most 2**24 cells.
        strides: int or (h, w); None: those of the window.
        padding: int, (h, w), ((top, bottom), (left, right)), "valid" or "same"; default 0.

    Returns:
        [N, H, W, C].

    Raises:
        ValueError: wrong rank or shape, a size out of range, or a window that does not fit.
        TypeError: not floating-point arrays of one dtype, or a size that is not a whole number.
    """
    return _core.max_pool2d_grad(dy, x, pool, strides, padding)


def avg_pool2d(x: Array, pool: Pair, *, strides: Pair | None = None, padding: Padding = 0) -> Array:
    """Returns the mean of each window.

    Padding counts as absent: the divisor is the number of cells inside the image.

    Args:
        x: [N, H, W, C].
        pool: window, int or (h, w).
        strides: int or (h, w); None: those of the window.
        padding: int, (h, w), ((top, bottom), (left, right)), "valid" or "same"; default 0. Smaller
            than the window.

    Returns:
        [N, OH, OW, C]; see :func:`pool2d_output_shape`.

    Raises:
        ValueError: wrong rank, a size out of range, or a window that does not fit.
        TypeError: not a floating-point array, or a size that is not a whole number.
    """
    return _core.avg_pool2d(x, pool, strides, padding)


def avg_pool2d_grad(
    dy: Array,
    x_shape: Sequence[int],
    pool: Pair,
    *,
    strides: Pair | None = None,
    padding: Padding = 0,
) -> Array:
    """Returns the gradient of avg_pool2d's input.

    A cell gets dy / (cells inside) of each window that it lies in, summed.

    Args:
        dy: gradient of the result, [N, OH, OW, C].
        x_shape: shape of the input, (N, H, W, C).
        pool: window, int or (h, w).
        strides: int or (h, w); None: those of the window.
        padding: int, (h, w), ((top, bottom), (left, right)), "valid" or "same"; default 0.

    Returns:
        [N, H, W, C].

    Raises:
        ValueError: wrong rank or shape, a size out of range, or a window that does not fit.
        TypeError: not a floating-point array, or a size that is not a whole number.
    """
    return _core.avg_pool2d_grad(dy, x_shape, pool, strides, padding)


def global_avg_pool2d(x: Array) -> Array:
    """Returns the mean over height and width (Lin, Chen and Yan 2013, section 3.2).

    Args:
        x: [N, H, W, C].

    Returns:
        [N, C].

    Raises:
        ValueError: wrong rank, or no height or width.
        TypeError: not a floating-point array.
    """
    return _core.global_avg_pool2d(x)


def global_avg_pool2d_grad(dy: Array, x_shape: Sequence[int]) -> Array:
    """Returns the gradient of global_avg_pool2d's input: dy / (H * W) for every cell.

    Args:
        dy: gradient of the result, [N, C].
        x_shape: shape of the input, (N, H, W, C).

    Returns:
        [N, H, W, C].

    Raises:
        ValueError: wrong rank or shape, or no height or width.
        TypeError: not a floating-point array.
    """
    return _core.global_avg_pool2d_grad(dy, x_shape)
