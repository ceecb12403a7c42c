"""The kernels as functions on arrays.

Arrays are :class:`sixloop.Tensor`, NumPy arrays or DLPack providers, float32 or float64, not
mixed. On the GPU they may be bfloat16, too, but not what updates weights or makes random numbers:
computed in float32 and rounded once (docs/arithmetic.md); :func:`cast` converts. NumPy arrays in
give NumPy arrays out (read without a copy where they are dense and aligned); any Tensor in gives
Tensors out.
Activations are [N, H, W, C], convolution weights [KH, KW, C / groups, O]. ``strides``, ``dilation``
and windows are an int or a pair (h, w). ``padding`` is an int, a pair (h, w), a pair of pairs
((top, bottom), (left, right)), "valid" or "same" (TensorFlow's rule, with strides too).

Every function raises ValueError or TypeError with the op's tag, the rule and the offending values,
and MemoryError where memory does not suffice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

from sixloop import _core

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sixloop import Tensor

Array = Any
Pair = int | Sequence[int]
Precision = Literal["fp32", "tf32"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32")
Padding = int | str | Sequence[int] | Sequence[Sequence[int]]


class Launch(NamedTuple):
    """A launch of a kernel on the GPU, or several that are alike.

    Attributes:
        kernel: its name, for a product with what its factors are rounded to, its tile, and "simt"
            (ordinary cores), "mma" (tensor cores by mma.sync), "wgmma" (Hopper's, whose operands
            come by cp.async) or "wgmma_tma" (by TMA): "product_bf16_128x256__wgmma_tma".
        tile: of a product: rows and columns of the result that a block computes, and the steps of
            the sum between two barriers; else None.
        parts: that the sum of a product is cut into, 1 for all others.
        blocks: of threads.
        threads: of a block.
        shared_bytes: of shared memory that a block asks for.
        times: how many launches they are.
    """

    kernel: str
    tile: tuple[int, int, int] | None
    parts: int
    blocks: int
    threads: int
    shared_bytes: int
    times: int


class Plan(NamedTuple):
    """How an op is done, as its kernels decide it; see :func:`conv2d_plan` and :func:`gemm_plan`.

    Attributes:
        algorithm: "direct", "im2col", "winograd2x2" or "winograd4x4", on tensor cores
            "implicit_gemm"; "gemm" for a product.
        reason: the rule that chose the algorithm; on tensor cores the one that chose their kernels.
        method: how the algorithm goes about this shape; on the GPU what multiplies.
        kernels: their names, <op>_<dtype>_<tile>__<instruction set>; the transform of Winograd's
            tiles comes before the kernel of the product. On the GPU those of the launches, each
            once.
        scratch_bytes: what the op takes from the allocator besides its result, at most, with the
            present number of threads.
        launches: on the GPU, in the order of the first one of each; empty on the CPU.
        kept_bytes: what stays for the next call, with ``keep_filters``.
    """

    algorithm: str
    reason: str
    method: str
    kernels: tuple[str, ...]
    scratch_bytes: int
    launches: tuple[Launch, ...] = ()
    kept_bytes: int = 0


def gemm(
    a: Array,
    b: Array,
    bias: Array | None = None,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    activation: str | None = None,
    precision: Precision = "fp32",
) -> Array:
    """Returns activation(a b + bias), with a and b transposed where asked for.

    Every element has one accumulator that meets k in ascending order, one fused multiply-add a
    step. On tensor cores (bfloat16, and ``precision="tf32"``) sums are float32, in the order of the
    hardware; a long one may be cut into parts by its shape.

    Args:
        a: [M, K], or [K, M] with ``transpose_a``.
        b: [K, N], or [N, K] with ``transpose_b``.
        bias: [N], default none; for bfloat16 arrays float32 or bfloat16.
        transpose_a: use the transpose of a; default False.
        transpose_b: use the transpose of b; default False.
        activation: None or the name of an activation function, fused into the kernel.
        precision: of the products of float32 arrays: "fp32" (the default), or "tf32", which rounds
            their factors to 10 bits of mantissa for the tensor cores of a GPU; sums are float32.
            ValueError on the CPU and for other dtypes.

    Returns:
        [M, N]; K = 0 gives activation(bias).
    """
    return _core.gemm(a, b, bias, transpose_a, transpose_b, activation, precision)


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
    precision: Precision = "fp32",
    residual: Array | None = None,
    keep_filters: bool = False,
) -> Array:
    """Returns the two-dimensional convolution (cross-correlation) of x with the filters w.

    y[n, oh, ow, o] = activation(bias[o] + residual[n, oh, ow, o] + sum over kh, kw, i of
    x[n, oh * sh - top + kh * dh, ow * sw - left + kw * dw, g * I + i] * w[kh, kw, i, o]), g being
    the group of o; elements outside x count as zero.

    Args:
        x: [N, H, W, C].
        w: [KH, KW, C / groups, O].
        bias: [O], default none; for bfloat16 arrays float32 or bfloat16.
        strides: int or (h, w), default 1.
        padding: int, (h, w), ((top, bottom), (left, right)), "valid" or "same"; default 0.
        dilation: distance of neighbouring filter elements, int or (h, w), default 1.
        groups: cuts input and output channels into this many independent parts; groups == C is
            depthwise.
        activation: None or the name of an activation function, fused into the kernel.
        algorithm: "direct" reads the input in place, "im2col" writes the matrix of all windows and
            multiplies it; "winograd2x2" and "winograd4x4" (Lavin and Gray 2016) need 2.25 and 4
            times fewer multiplications for 3x3 filters, "winograd2x2" 2.8 times fewer for 5x5
            ones ("winograd4x4" cuts its tiles short where the image ends: 14x14 pixels need 3.6
            times fewer, 13x13 3.4), with stride 1, dilation 1, no groups and padding of less than
            the filter's size: in float32 with up to 512 channels the error is below 4e-6 of the
            largest output.
            "auto" chooses by the shape alone, see :func:`conv2d_algorithm`. Tensor cores, that is
            bfloat16 arrays and ``precision="tf32"``, know "auto" and "implicit_gemm" alone, which
            are the same: windows are gathered while they are multiplied.
        precision: of the products of float32 arrays: "fp32" (the default), or "tf32", which rounds
            their factors to 10 bits of mantissa for the tensor cores of a GPU; sums are float32.
            ValueError on the CPU and for other dtypes.
        residual: [N, OH, OW, O] of the dtype of x, default none; added after the bias. On tensor
            cores that is part of the kernel, and rounded with it once (but for groups of fewer than
            16 output channels); elsewhere it is what :func:`add` does, with the same bits.
        keep_filters: keep the filters beside w in the form that the kernels read, where there is
            one that pays, for the next call with w: the bits are the same. What writes to w ends
            that, and while a NumPy view or DLPack capsule of w is alive, through which anyone may
            write, nothing is kept or used. Transformed for "winograd4x4" they take four times the
            memory of w, for "winograd2x2" 1.8 times (2.25 times for 5x5 filters);
            ``memory_stats()["kept_filters"]`` counts them, ``set_cache_limit()`` bounds and
            ``empty_cache()`` frees them. On the GPU nothing is kept. Default False; TypeError where
            w is not a :class:`sixloop.Tensor`.

    Returns:
        [N, OH, OW, O] with OH = floor((H + top + bottom - dh * (KH - 1) - 1) / sh) + 1, OW alike.
    """
    return _core.conv2d(
        *(x, w, bias, strides, padding, dilation, groups, activation, algorithm, precision),
        *(residual, keep_filters),
    )


def conv2d_statistics(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    strides: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    algorithm: str = "auto",
    precision: Precision = "fp32",
) -> tuple[Array, Array, Array]:
    """Returns conv2d of these arguments, and the mean and variance of each output channel.

    For a batch normalisation that follows: ``batch_norm(y, gamma, beta, mean, variance)`` then need
    not read y for them. On tensor cores the kernel of the convolution computes them of each 64
    rows of y, as they are rounded, and a small one merges these in float64, as Chan, Golub and
    LeVeque 1979; a large mean costs the variance no digits. Elsewhere, and for groups of fewer than
    16 output channels, they are computed from y as by :func:`batch_norm`, with the same bits.

    Args:
        x: [N, H, W, C].
        w: [KH, KW, C / groups, O].
        bias: [O], default none.
        strides, padding, dilation, groups, algorithm, precision: as in :func:`conv2d`.

    Returns:
        (y, mean, variance): [N, OH, OW, O] with the bits of conv2d, and twice [O], float32 where x
        is bfloat16; the variance is the biased one. Both are zero where y is empty.
    """
    return _core.conv2d_statistics(
        *(x, w, bias, strides, padding, dilation, groups, algorithm, precision)
    )


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
    precision: Precision = "fp32",
) -> Array:
    """Returns the gradient of a loss with respect to the input of :func:`conv2d`.

    dx[n, h, w, c] is the sum over all outputs that saw this element of dy times the weight it met.
    It is also the transposed convolution of dy with w.

    Args:
        dy: [N, OH, OW, O], the gradient with respect to the output.
        w: [KH, KW, C / groups, O].
        x_shape: (N, H, W, C) of the input.
        strides: as in conv2d; default 1.
        padding: as in conv2d; default 0.
        dilation: as in conv2d; default 1.
        groups: as in conv2d; default 1.
        algorithm: as in conv2d; default "auto".
        precision: as in conv2d; default "fp32".

    Returns:
        An array of shape x_shape.
    """
    return _core.conv2d_grad_input(
        *(dy, w, x_shape, strides, padding, dilation, groups, algorithm, precision)
    )


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
    precision: Precision = "fp32",
) -> Array:
    """Returns the gradient of a loss with respect to the weights of :func:`conv2d`.

    dw[kh, kw, i, o] = sum over n, oh, ow of x under (kh, kw, i) of the window times dy[n, oh, ow,
    o]. The sum over output pixels is cut into at most 16 parts by the shape alone, which are added
    in order.

    Args:
        x: [N, H, W, C].
        dy: [N, OH, OW, O], the gradient with respect to the output.
        w_shape: (KH, KW, C / groups, O) of the weights.
        strides: as in conv2d; default 1.
        padding: as in conv2d; default 0.
        dilation: as in conv2d; default 1.
        groups: as in conv2d; default 1.
        algorithm: as in conv2d; default "auto".
        precision: as in conv2d; default "fp32".

    Returns:
        An array of shape w_shape.
    """
    return _core.conv2d_grad_weight(
        *(x, dy, w_shape, strides, padding, dilation, groups, algorithm, precision)
    )


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


def conv2d_algorithm(
    which: str,
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    *,
    strides: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> str:
    """Returns the algorithm that "auto" stands for, a function of the shapes alone.

    Where Winograd's algorithm applies, with 16 to 512 input and output channels (for the weight
    gradient from 32, or 24 with a 5x5 filter), it depends on the number of tiles. 3x3, with
    N * ceil(OH / 4) * ceil(OW / 4) of them: "winograd4x4" from 24 on, "winograd2x2" from 16 on.
    5x5, with N * ceil(OH / 2) * ceil(OW / 2): "winograd2x2" from 16 on. Else "direct". Under
    :func:`sixloop.batch_invariant` N counts as 1.

    Args:
        which: "forward", "grad_input" or "grad_weight".
        x_shape: (N, H, W, C).
        w_shape: (KH, KW, C / groups, O).
        strides: as in conv2d; default 1.
        padding: as in conv2d; default 0.
        dilation: as in conv2d; default 1.
        groups: as in conv2d; default 1.
    """
    name: str = _core.conv2d_algorithm(which, x_shape, w_shape, strides, padding, dilation, groups)
    return name


def conv2d_plan(
    which: str,
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    *,
    strides: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    algorithm: str = "auto",
    dtype: str = "float32",
    device: str = "cpu",
    precision: Precision = "fp32",
    capability: tuple[int, int] | None = None,
    keep_filters: bool = False,
) -> Plan:
    """Returns how a convolution is done, and why: told by the functions that decide it.

    Algorithm and reason depend on the shapes alone, on the CPU the rest on the instruction set and
    the caches of this machine, too. For the GPU, which need not be there, the pass runs as ever but
    for its launches, which are noted, and its memory, which is counted.

    Args:
        which: "forward", "grad_input" or "grad_weight".
        x_shape: (N, H, W, C).
        w_shape: (KH, KW, C / groups, O).
        strides: as in conv2d; default 1.
        padding: as in conv2d; default 0.
        dilation: as in conv2d; default 1.
        groups: as in conv2d; default 1.
        algorithm: as in conv2d; default "auto".
        dtype: "float32" (default), "float64" or, on the GPU, "bfloat16".
        device: "cpu" (default) or "cuda".
        precision: as in conv2d; default "fp32".
        capability: the GPU's compute capability; default that of the GPU here, without one (9, 0).
        keep_filters: as in conv2d, for calls after the first, default False; gradients and the GPU
            keep none.

    Raises:
        ValueError, TypeError: as in conv2d, and an unknown pass, dtype or device, a capability
            below (8, 0), or one for the CPU.
        RuntimeError: device "cuda" in a build without CUDA.
        MemoryError: there cannot be arrays of these shapes.
    """
    if _for_cuda("conv2d_plan", dtype, device, precision, capability):
        return _cuda_plan(
            *_core.conv2d_plan_on_cuda(
                *(which, x_shape, w_shape, strides, padding, dilation, groups, algorithm),
                *(dtype, precision, capability),
            )
        )
    name, reason, method, kernels, scratch, kept = _core.conv2d_plan(
        *(which, x_shape, w_shape, strides, padding, dilation, groups, algorithm),
        *(dtype == "float64", keep_filters),
    )
    return Plan(name, reason, method, tuple(kernels), scratch, kept_bytes=kept)


def gemm_plan(
    m: int,
    n: int,
    k: int,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    dtype: str = "float32",
    device: str = "cpu",
    precision: Precision = "fp32",
    capability: tuple[int, int] | None = None,
) -> Plan:
    """Returns how :func:`gemm` does a product of an M x K with a K x N matrix.

    Args:
        m, n, k: sizes.
        transpose_a, transpose_b: as in gemm; default False.
        dtype, device, precision, capability: as in :func:`conv2d_plan`.

    Raises:
        ValueError, TypeError: a size that is no whole number from 0 to 2**31 - 1; the others as in
            conv2d_plan.
        RuntimeError: device "cuda" in a build without CUDA.
        MemoryError: there cannot be matrices of these sizes on the GPU.
    """
    sizes = (m, n, k, transpose_a, transpose_b)
    if _for_cuda("gemm_plan", dtype, device, precision, capability):
        return _cuda_plan(*_core.gemm_plan_on_cuda(*sizes, dtype, precision, capability))
    method, kernel, scratch = _core.gemm_plan(*sizes, dtype == "float64")
    return Plan("gemm", "", method, (kernel,), scratch)


def _for_cuda(op: str, dtype: str, device: str, precision: str, capability: object) -> bool:
    """Returns whether a plan is one for the GPU; the CPU has no bfloat16, tf32 and capability."""
    if device not in ("cpu", "cuda"):
        raise ValueError(f'[{op}] unknown device {device!r}; valid: "cpu", "cuda"')
    if device == "cuda":
        if dtype not in ("float32", "float64", "bfloat16"):
            raise ValueError(f"[{op}] dtype must be float32, float64 or bfloat16; got {dtype!r}")
        return True
    if dtype not in ("float32", "float64"):
        raise ValueError(f"[{op}] dtype must be float32 or float64; got {dtype!r}")
    if precision != "fp32":
        raise ValueError(f'[{op}] precision {precision!r} is for device="cuda"; the CPU has "fp32"')
    if capability is not None:
        raise ValueError(f'[{op}] capability is for device="cuda"; got {capability!r} for the CPU')
    return False


def _cuda_plan(algorithm: str, reason: str, method: str, launches: list[Any], scratch: int) -> Plan:
    made = tuple(Launch(*launch) for launch in launches)
    kernels = tuple(dict.fromkeys(launch.kernel for launch in made))
    return Plan(algorithm, reason, method, kernels, scratch, made)


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


@overload
def max_pool2d(
    x: Array,
    pool: Pair,
    *,
    strides: Pair | None = None,
    padding: Padding = 0,
    return_indices: Literal[False] = False,
) -> Array: ...
@overload
def max_pool2d(
    x: Array,
    pool: Pair,
    *,
    strides: Pair | None = None,
    padding: Padding = 0,
    return_indices: Literal[True],
) -> tuple[Array, Array]: ...
def max_pool2d(
    x: Array,
    pool: Pair,
    *,
    strides: Pair | None = None,
    padding: Padding = 0,
    return_indices: bool = False,
) -> Array | tuple[Array, Array]:
    """Returns the maximum of each window.

    Padding counts as absent, a window with a NaN gives NaN, and of 0.0 and -0.0 the first one wins.

    Args:
        x: [N, H, W, C].
        pool: window, int or (h, w).
        strides: int or (h, w); None: those of the window.
        padding: int, (h, w), ((top, bottom), (left, right)), "valid" or "same"; default 0. Smaller
            than the window.
        return_indices: also return where the maxima are, for :func:`max_pool2d_grad`; of windows of
            at most 256 cells (default False).

    Returns:
        [N, OH, OW, C]; see :func:`pool2d_output_shape`. With ``return_indices`` also, as uint8 of
        the same shape, the number of the first maximum (or first NaN) in its window, whose cells
        count row by row, those in the padding included.

    Raises:
        ValueError: wrong rank, a size out of range, or a window that does not fit.
        TypeError: not a floating-point array, or a size that is not a whole number.
    """
    if return_indices:
        return _core.max_pool2d_indices(x, pool, strides, padding)
    return _core.max_pool2d(x, pool, strides, padding)


def max_pool2d_grad(
    dy: Array,
    x: Array | Sequence[int],
    pool: Pair,
    *,
    strides: Pair | None = None,
    padding: Padding = 0,
    indices: Array | None = None,
) -> Array:
    """Returns the gradient of max_pool2d's input.

    Each dy goes to the first maximum of its window in row-major order, in a window with NaNs to the
    first NaN. Where windows overlap, a cell gets the sum.

    Args:
        dy: gradient of the result, [N, OH, OW, C].
        x: the input, [N, H, W, C]; with ``indices`` its shape, (N, H, W, C).
        pool: window, int or (h, w), of at most 2**24 cells; with ``indices`` of at most 256.
        strides: int or (h, w); None: those of the window.
        padding: int, (h, w), ((top, bottom), (left, right)), "valid" or "same"; default 0.
        indices: what ``max_pool2d(return_indices=True)`` returned, uint8 [N, OH, OW, C]; None (the
            default) finds the maxima again. The dy of a number that no cell has goes nowhere.

    Returns:
        [N, H, W, C].

    Raises:
        ValueError: wrong rank or shape, a size out of range, or a window that does not fit.
        TypeError: not floating-point arrays of one dtype, or a size that is not a whole number.
    """
    if indices is None:
        return _core.max_pool2d_grad(dy, x, pool, strides, padding)
    return _core.max_pool2d_grad_from_indices(dy, x, indices, pool, strides, padding)


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


def softmax(x: Array, axis: int = -1) -> Array:
    """Returns exp(x - m) / sum(exp(x - m)) along an axis, m being the largest element.

    -inf gives 0. Where all are -inf, or one is inf or NaN, all along the axis are NaN. The last
    axis (and one that only axes of length 1 follow) is summed over 64 bytes of lanes, other axes
    in order.

    Args:
        x: at least one dimension.
        axis: default -1, the last one.

    Returns:
        The shape of x.

    Raises:
        ValueError: no dimension, or an axis that x has not.
        TypeError: not a floating-point array.
    """
    return _core.softmax(x, axis)


def softmax_grad(dy: Array, y: Array, axis: int = -1) -> Array:
    """Returns the gradient of softmax's input, y (dy - sum(dy y)).

    Args:
        dy: gradient of the result.
        y: the result of softmax, of the same shape.
        axis: the axis that softmax took; default -1.

    Returns:
        The shape of y.

    Raises:
        ValueError: different shapes, or an axis that y has not.
        TypeError: not floating-point arrays of one dtype.
    """
    return _core.softmax_grad(dy, y, axis)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """Returns x - m - log(sum(exp(x - m))) along an axis, m being the largest element.

    More exact than the logarithm of :func:`softmax`, and finite where that underflows. -inf gives
    -inf. Where all are -inf, or one is inf or NaN, all along the axis are NaN.

    Args:
        x: at least one dimension.
        axis: default -1, the last one.

    Returns:
        The shape of x.

    Raises:
        ValueError: no dimension, or an axis that x has not.
        TypeError: not a floating-point array.
    """
    return _core.log_softmax(x, axis)


def log_softmax_grad(dy: Array, y: Array, axis: int = -1) -> Array:
    """Returns the gradient of log_softmax's input, dy - exp(y) sum(dy).

    Args:
        dy: gradient of the result.
        y: the result of log_softmax, of the same shape.
        axis: the axis that log_softmax took; default -1.

    Returns:
        The shape of y.

    Raises:
        ValueError: different shapes, or an axis that y has not.
        TypeError: not floating-point arrays of one dtype.
    """
    return _core.log_softmax_grad(dy, y, axis)


def cross_entropy(logits: Array, labels: Any) -> tuple[float, Array]:
    """Returns the mean of -log(softmax(logits)[label]) over the rows, and its gradient.

    Both come from one pass over the logits, without the rounding of a softmax in between.

    Args:
        logits: [N, classes].
        labels: integers from 0 to classes - 1, [N], on the device of the logits.

    Returns:
        The loss, 0.0 where N is 0 (an empty sum, so that totals over batches stay finite), and
        (softmax(logits) - one_hot(labels)) / N, [N, classes].

    Raises:
        ValueError: wrong rank, different lengths, or a label out of range (the first is named).
        TypeError: logits not floating-point, or labels not integers.
    """
    return _core.cross_entropy(logits, labels)


@overload
def batch_norm(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array | None = None,
    variance: Array | None = None,
    *,
    epsilon: float = 1e-5,
    activation: str | None = None,
    return_affine: Literal[False] = False,
    residual: Array | None = None,
) -> tuple[Array, Array, Array]: ...
@overload
def batch_norm(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array | None = None,
    variance: Array | None = None,
    *,
    epsilon: float = 1e-5,
    activation: str | None = None,
    return_affine: Literal[True],
    residual: Array | None = None,
) -> tuple[Array, Array, Array, Array]: ...
def batch_norm(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array | None = None,
    variance: Array | None = None,
    *,
    epsilon: float = 1e-5,
    activation: str | None = None,
    return_affine: bool = False,
    residual: Array | None = None,
) -> tuple[Array, Array, Array] | tuple[Array, Array, Array, Array]:
    """Returns activation(gamma (x - mean) / sqrt(variance + epsilon) + beta) and the statistics.

    Ioffe and Szegedy 2015, algorithm 1. Every channel (index of the last axis) has statistics of
    its own over all other axes. With a residual, the end of a residual block (He et al. 2016,
    figure 2) in one pass, bit for bit ``add(batch_norm(x, ...)[0], residual, activation=)``.

    Args:
        x: [..., C].
        gamma: scale, [C].
        beta: shift, [C].
        mean: [C]; None (with ``variance``): that of the batch.
        variance: [C]; None: that of the batch, the biased one (divided by the number of values).
        epsilon: finite and not negative; default 1e-5.
        activation: None or the name of an activation function, applied to each part of the
            result while it is in cache.
        return_affine: also return the scale and shift, [2, C], of
            y = activation((x - mean) scale + shift), for :func:`batch_norm_grad` (default False).
        residual: [..., C], of the shape and dtype of x: added before the activation; default None.

    Returns:
        (y, mean, variance), or (y, mean, variance, affine): y of the shape of x; statistics that
        were given, as they are; else those of the batch, zeros where it is empty. The variance
        keeps its digits where the mean is large: it is that of blocks of rows, combined as by
        Chan, Golub and LeVeque 1979.

    Raises:
        ValueError: wrong shapes, mean or variance alone, a negative epsilon, an unknown name.
        TypeError: not floating-point arrays of one dtype; of bfloat16 are x, the residual, y, dy
            and dx, all else is float32 then.
    """
    return _core.batch_norm(
        x, gamma, beta, mean, variance, epsilon, activation, return_affine, residual
    )


@overload
def batch_norm_grad(
    dy: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    training: bool = True,
    relu_affine: None = None,
    relu_output: Array,
) -> tuple[Array, Array, Array, Array]: ...
@overload
def batch_norm_grad(
    dy: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    training: bool = True,
    relu_affine: Array | None = None,
    relu_output: None = None,
) -> tuple[Array, Array, Array]: ...
def batch_norm_grad(
    dy: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    training: bool = True,
    relu_affine: Array | None = None,
    relu_output: Array | None = None,
) -> tuple[Array, Array, Array] | tuple[Array, Array, Array, Array]:
    """Returns the gradients of batch_norm's input, gamma and beta, and that of a residual.

    With x_hat = (x - mean) / sqrt(variance + epsilon): dbeta = sum(dy), dgamma = sum(dy x_hat), and
    dx = gamma / sqrt(variance + epsilon) (dy - mean(dy) - x_hat mean(dy x_hat)).

    Args:
        dy: gradient of the result, before an activation function (but see relu_affine and
            relu_output), [..., C]. It is that of a residual, too.
        x: the input, [..., C].
        gamma: scale, [C].
        mean: the mean that batch_norm returned, [C].
        variance: the variance that batch_norm returned, [C].
        epsilon: that of batch_norm; default 1e-5.
        training: True (default): the statistics are those of x, and have gradients. False: they are
            constants, and dx = gamma / sqrt(variance + epsilon) dy.
        relu_affine: what batch_norm(activation="relu", return_affine=True) returned last, [2, C]:
            dy is then the gradient of the ReLU's result, and counts where that was above 0. One
            pass over memory less than :func:`relu_grad` before it, and the same bits.
        relu_output: what batch_norm(activation="relu", residual=) returned first, [..., C]: dy is
            then the gradient of the ReLU's result, and counts where relu_output is above 0, which
            is the gradient of the residual. The bits are those of
            ``activation_grad_from_output(dy, relu_output, "relu")`` before it. Not with
            relu_affine.

    Returns:
        (dx, dgamma, dbeta), of shapes [..., C], [C] and [C]; with relu_output (dx, dgamma, dbeta,
        dresidual), the last of shape [..., C].

    Raises:
        ValueError: wrong shapes, a negative epsilon, both relu_affine and relu_output.
        TypeError: not floating-point arrays of one dtype; of bfloat16 are x, relu_output, dy, dx
            and dresidual, all else is float32 then.
    """
    return _core.batch_norm_grad(
        dy, x, gamma, mean, variance, epsilon, training, relu_affine, relu_output
    )


def local_response_norm(
    x: Array, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0
) -> Array:
    """Returns y_c = x_c / (k + alpha * sum(x_j^2))^beta, j from c - size//2 to c + (size-1)//2.

    Krizhevsky, Sutskever and Hinton 2012, section 3.3, whose constants are the defaults. Channels
    (indices of the last axis) that do not exist count as zero; alpha is not divided by the size, as
    it is in other libraries.

    Args:
        x: [..., C].
        size: channels in a window, at least 1; default 5.
        alpha: finite; default 1e-4.
        beta: from -1000 to 1000; default 0.75, which is computed from square roots.
        k: finite; default 2.

    Returns:
        The shape of x; NaN where the base of the power is negative.

    Raises:
        ValueError: no dimension, or a parameter out of range.
        TypeError: not a floating-point array, or a parameter that is not a number.
    """
    return _core.local_response_norm(x, size, alpha, beta, k)


def local_response_norm_grad(
    dy: Array, x: Array, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0
) -> Array:
    """Returns the gradient of local_response_norm's input.

    With s_c = k + alpha * sum(x_j^2): dx_c = dy_c s_c^-beta - 2 alpha beta x_c sum(dy_j x_j
    s_j^(-beta-1)), the sum over the j whose windows contain c.

    Args:
        dy: gradient of the result, [..., C].
        x: the input, [..., C].
        size: as of local_response_norm; default 5.
        alpha: as of local_response_norm; default 1e-4.
        beta: as of local_response_norm; default 0.75.
        k: as of local_response_norm; default 2.

    Returns:
        The shape of x.

    Raises:
        ValueError: wrong shapes, or a parameter out of range.
        TypeError: not floating-point arrays of one dtype, or a parameter that is not a number.
    """
    return _core.local_response_norm_grad(dy, x, size, alpha, beta, k)


def relu(x: Array) -> Array:
    """Returns max(x, 0), and NaN for NaN.

    Args:
        x: any shape.
    """
    return _core.activate("relu", x, None)


def relu_grad(dy: Array, x: Array) -> Array:
    """Returns the gradient of relu's input: dy where x > 0, else 0 (at 0 and NaN too).

    Args:
        dy: gradient of the result, the shape of x.
        x: the input.
    """
    return _core.activate_grad("relu", dy, x, None)


def sigmoid(x: Array) -> Array:
    """Returns 1 / (1 + exp(-x)), with full relative accuracy in both tails.

    Args:
        x: any shape.
    """
    return _core.activate("sigmoid", x, None)


def sigmoid_grad(dy: Array, x: Array) -> Array:
    """Returns the gradient of sigmoid's input: dy * s(x) * s(-x).

    Args:
        dy: gradient of the result, the shape of x.
        x: the input.
    """
    return _core.activate_grad("sigmoid", dy, x, None)


def tanh(x: Array) -> Array:
    """Returns the hyperbolic tangent.

    Args:
        x: any shape.
    """
    return _core.activate("tanh", x, None)


def tanh_grad(dy: Array, x: Array) -> Array:
    """Returns the gradient of tanh's input: dy * (1 - tanh(x)^2), accurate in both tails.

    Args:
        dy: gradient of the result, the shape of x.
        x: the input.
    """
    return _core.activate_grad("tanh", dy, x, None)


def leaky_relu(x: Array, alpha: float = 0.01) -> Array:
    """Returns x where x > 0, else alpha * x (Maas, Hannun and Ng 2013).

    Args:
        x: any shape.
        alpha: slope below zero, default 0.01.
    """
    return _core.activate("leaky_relu", x, alpha)


def leaky_relu_grad(dy: Array, x: Array, alpha: float = 0.01) -> Array:
    """Returns the gradient of leaky_relu's input: dy where x > 0, else alpha * dy (at NaN too).

    Args:
        dy: gradient of the result, the shape of x.
        x: the input.
        alpha: slope below zero, default 0.01.
    """
    return _core.activate_grad("leaky_relu", dy, x, alpha)


def elu(x: Array, alpha: float = 1.0) -> Array:
    """Returns x where x > 0, else alpha * (exp(x) - 1) (Clevert, Unterthiner and Hochreiter 2016).

    Args:
        x: any shape.
        alpha: minus the limit at -infinity, default 1.
    """
    return _core.activate("elu", x, alpha)


def elu_grad(dy: Array, x: Array, alpha: float = 1.0) -> Array:
    """Returns the gradient of elu's input: dy where x > 0, else dy * alpha * exp(x).

    Args:
        dy: gradient of the result, the shape of x.
        x: the input.
        alpha: minus the limit at -infinity, default 1.
    """
    return _core.activate_grad("elu", dy, x, alpha)


def gelu(x: Array) -> Array:
    """Returns x * Phi(x), Phi being the normal distribution's (Hendrycks and Gimpel 2016).

    The exact form, with full relative accuracy in the negative tail.

    Args:
        x: any shape.
    """
    return _core.activate("gelu", x, None)


def gelu_grad(dy: Array, x: Array) -> Array:
    """Returns the gradient of gelu's input: dy * (Phi(x) + x * exp(-x^2 / 2) / sqrt(2 pi)).

    Args:
        dy: gradient of the result, the shape of x.
        x: the input.
    """
    return _core.activate_grad("gelu", dy, x, None)


def softplus(x: Array) -> Array:
    """Returns log(1 + exp(x)), computed as max(x, 0) + log1p(exp(-|x|)).

    Args:
        x: any shape.
    """
    return _core.activate("softplus", x, None)


def softplus_grad(dy: Array, x: Array) -> Array:
    """Returns the gradient of softplus' input: dy * sigmoid(x).

    Args:
        dy: gradient of the result, the shape of x.
        x: the input.
    """
    return _core.activate_grad("softplus", dy, x, None)


def step(x: Array) -> Array:
    """Returns 1 where x > 0, else 0 (at NaN too).

    Args:
        x: any shape.
    """
    return _core.activate("step", x, None)


def step_grad(dy: Array, x: Array) -> Array:
    """Returns the gradient of step's input: zeros.

    Args:
        dy: gradient of the result, the shape of x.
        x: the input.
    """
    return _core.activate_grad("step", dy, x, None)


def ramp(x: Array) -> Array:
    """Returns x clipped to [0, 1], and NaN for NaN.

    Args:
        x: any shape.
    """
    return _core.activate("ramp", x, None)


def ramp_grad(dy: Array, x: Array) -> Array:
    """Returns the gradient of ramp's input: dy where 0 < x < 1, else 0 (at NaN too).

    Args:
        dy: gradient of the result, the shape of x.
        x: the input.
    """
    return _core.activate_grad("ramp", dy, x, None)


def gaussian(x: Array) -> Array:
    """Returns exp(-x^2).

    Args:
        x: any shape.
    """
    return _core.activate("gaussian", x, None)


def gaussian_grad(dy: Array, x: Array) -> Array:
    """Returns the gradient of gaussian's input: dy * -2x * exp(-x^2).

    Args:
        dy: gradient of the result, the shape of x.
        x: the input.
    """
    return _core.activate_grad("gaussian", dy, x, None)


def activation(x: Array, name: str | None) -> Array:
    """Returns the activation function of that name at x.

    Args:
        x: any shape.
        name: relu, sigmoid, tanh, leaky_relu, elu, gelu, softplus, step, ramp or gaussian, each
            with its default alpha; None copies x.

    Raises:
        ValueError: unknown name.
    """
    return _core.activation(x, name)


def activation_grad_from_output(dy: Array, y: Array, name: str | None) -> Array:
    """Returns the gradient of an activation function's input, computed from its output.

    A training step then need not keep the input: sigmoid' = y (1 - y), tanh' = 1 - y^2,
    elu' = y + 1 below zero, softplus' = 1 - exp(-y); relu, leaky_relu, step and ramp have the same
    kinks in y as in x. leaky_relu and elu have their default alpha.

    Args:
        dy: gradient of the result, the shape of y.
        y: the result.
        name: relu, sigmoid, tanh, leaky_relu, elu, softplus, step or ramp; None copies dy.

    Raises:
        ValueError: unknown name, gelu and gaussian (two inputs give the same output), or shapes
            that differ.
    """
    return _core.activation_grad_from_output(dy, y, name)


def activation_bias_grad(dy: Array, y: Array, name: str | None) -> tuple[Array, Array]:
    """Returns the gradients of z and b for y = activation(z + b), in one pass over memory.

    The same bits as ``dz = activation_grad_from_output(dy, y, name)`` and ``db = bias_grad(dz)``;
    of bfloat16, db is float32 and the sum of dz before it was rounded.

    Args:
        dy: gradient of the result, [..., C].
        y: the result, [..., C].
        name: as in :func:`activation_grad_from_output`.

    Returns:
        (dz, db) of shapes [..., C] and [C].
    """
    return _core.activation_bias_grad(dy, y, name)


def add(a: Array, b: Array, *, activation: str | None = None) -> Array:
    """Returns activation(a + b).

    Args:
        a, b: of one shape.
        activation: None or the name of an activation function; default None.
    """
    return _core.add(a, b, activation)


def bias_add(x: Array, b: Array, *, activation: str | None = None) -> Array:
    """Returns activation(x + b), b along the last axis.

    Args:
        x: [..., C].
        b: [C]; float32 or bfloat16 where x is bfloat16.
        activation: None or the name of an activation function; default None.
    """
    return _core.bias_add(x, b, activation)


def bias_grad(dy: Array) -> Array:
    """Returns the sum of dy over all axes but the last: the gradient of a bias.

    The order of summation depends on the shape alone: chunks of 128 rows (where C <= 64, of
    128 groups of 128 // C rows, one accumulator for each row of the group), then sums of halves.

    Args:
        dy: [..., C].

    Returns:
        [C]; float32 where dy is bfloat16.
    """
    return _core.bias_grad(dy)


def scale(x: Array, s: float) -> Array:
    """Returns s * x, s rounded to x's dtype.

    Args:
        x: any shape.
        s: a number.
    """
    return _core.scale(x, s)


def cast(x: Array, dtype: Any) -> Array:
    """Returns x in another floating-point dtype, rounded once to nearest, ties to even.

    Args:
        x: float32, float64 or, on "cuda", bfloat16.
        dtype: "float32", "float64" or, on "cuda", "bfloat16" (the upper half of float32: its
            exponent and 8 of its 24 digits), into which NaN becomes one NaN.

    Returns:
        The shape of x; the memory of x where it has that dtype.

    Raises:
        TypeError: another dtype, or bfloat16 on the CPU.
    """
    return _core.cast(x, dtype)


def cast_into(x: Array | Sequence[Array], y: Array | Sequence[Array]) -> None:
    """Writes x into y, which is there already, in the dtype of y: as :func:`cast` does.

    On the GPU few launches convert many arrays (64 of each pair of dtypes by one): weights that an
    optimizer keeps in float32 get their copies in bfloat16 so.

    Args:
        x: an array of float32, float64 or, on "cuda", bfloat16; or a list of them.
        y: as many Tensors or writable dense NumPy arrays, each of the shape of its x, on one
            device. No array overlaps another one.

    Raises:
        ValueError: different shapes, or lists of different lengths.
        TypeError: another dtype.
    """
    _core.cast_into(x, y)


def concat(arrays: Sequence[Array], axis: int = -1) -> Array:
    """Returns arrays joined along an axis.

    Args:
        arrays: at least one; they agree in dtype and in all other axes.
        axis: default the last; negative axes count from the end.
    """
    return _core.concat(arrays, axis)


def split(x: Array, sizes: Sequence[int], axis: int = -1) -> list[Array]:
    """Returns copies of the parts of x along an axis: the inverse (and gradient) of concat.

    Args:
        x: at least one dimension.
        sizes: extents of the parts, which add up to the extent of the axis; 0 is fine.
        axis: default the last; negative axes count from the end.
    """
    return _core.split(x, sizes, axis)


def zero_pad2d(x: Array, padding: Padding) -> Array:
    """Returns x with a border of zeros.

    Args:
        x: [N, H, W, C].
        padding: int, (h, w) or ((top, bottom), (left, right)).

    Returns:
        [N, top + H + bottom, left + W + right, C].
    """
    return _core.zero_pad2d(x, padding)


def crop2d(x: Array, padding: Padding) -> Array:
    """Returns x without a border: the inverse (and gradient) of zero_pad2d.

    Args:
        x: [N, H, W, C].
        padding: int, (h, w) or ((top, bottom), (left, right)).

    Returns:
        [N, H - top - bottom, W - left - right, C].
    """
    return _core.crop2d(x, padding)


def dropout(x: Array, rate: float, *, seed: int, purpose: int, step: int | Tensor) -> Array:
    """Returns x with each element zeroed with probability ``rate``, the others divided by 1 - rate.

    Inverted dropout (Srivastava et al. 2014). Which elements go is a function of (seed, purpose,
    step, element) alone: element i in row-major order stays where word i % 4 of Philox block i // 4
    is at least rate * 2^32, rounded. It depends neither on the shape nor on the dtype.

    Args:
        x: any shape.
        rate: in [0, 1).
        seed: from 0 to 2**63 - 1.
        purpose: from 0 to 2**32 - 1; tells streams of one seed apart.
        step: from 0 to 2**32 - 1. On the GPU it may be a Tensor of one float64 there, which is read
            when the kernel runs: a recorded graph drops others every time.
    """
    return _core.dropout("dropout", "x", x, rate, seed, purpose, step)


def dropout_grad(dy: Array, rate: float, *, seed: int, purpose: int, step: int | Tensor) -> Array:
    """Returns the gradient of dropout's input: dy through the same mask and factor.

    Args:
        dy: gradient of the result.
        rate, seed, purpose, step: those of :func:`dropout`.
    """
    return _core.dropout("dropout_grad", "dy", dy, rate, seed, purpose, step)


def random_bits(n: int, *, seed: int, purpose: int, step: int = 0) -> NDArray[np.uint64]:
    """Returns n random numbers of 64 bits.

    Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011) with the words of the seed, low word first,
    as key and (block low, block high, purpose, step) as counter. Number i is words 0 and 1 of block
    i // 2 where i is even, words 2 and 3 where it is odd, low word first. So a longer stream begins
    with the shorter.

    Args:
        n: how many.
        seed: from 0 to 2**63 - 1.
        purpose: from 0 to 2**32 - 1; tells streams of one seed apart.
        step: from 0 to 2**32 - 1, default 0.

    Returns:
        [n], a NumPy array.
    """
    bits: NDArray[np.uint64] = _core.random_bits(n, seed, purpose, step)
    return bits


def moving_average(running: Array, value: Array, *, momentum: float, factor: float) -> None:
    """Makes running = momentum * running + factor * value, in place; both products are rounded.

    Args:
        running: updated; a Tensor or a writable dense NumPy array.
        value: the shape and dtype of running.
        momentum: share of what was there.
        factor: share of value.
    """
    _core.moving_average(running, value, momentum, factor)


def random_uniform(
    shape: Sequence[int],
    low: float,
    high: float,
    *,
    seed: int,
    purpose: int,
    step: int = 0,
    dtype: Any = "float32",
    device: str = "cpu",
) -> Tensor:
    """Returns numbers uniform on [low, high).

    Element i is low + (high - low) * u with u = (bits >> 11) / 2^53, bits being number i of
    :func:`random_bits`; computed in float64 and rounded, and kept below ``high``.

    Args:
        shape: of the result.
        low, high: limits; low <= high. Equal ones give that number.
        seed, purpose, step: as in :func:`random_bits`.
        dtype: "float32" (default) or "float64".
        device: "cpu" (default) or "cuda".
    """
    return _core.random_uniform(tuple(shape), low, high, seed, purpose, step, dtype, device)


def random_normal(
    shape: Sequence[int],
    mean: float,
    std: float,
    *,
    seed: int,
    purpose: int,
    step: int = 0,
    dtype: Any = "float32",
    device: str = "cpu",
) -> Tensor:
    """Returns normally distributed numbers.

    Element i is mean + std * z, z being the normal distribution's quantile (Wichura 1988, algorithm
    AS 241) at ((bits >> 12) + 1/2) / 2^52 for number i of :func:`random_bits`; computed in float64
    and rounded. |z| is at most 8.21.

    Args:
        shape: of the result.
        mean: of the distribution.
        std: its standard deviation, not negative.
        seed, purpose, step: as in :func:`random_bits`.
        dtype: "float32" (default) or "float64".
        device: "cpu" (default) or "cuda".
    """
    return _core.random_normal(tuple(shape), mean, std, seed, purpose, step, dtype, device)


def sgd_update(
    param: Array | Sequence[Array],
    grad: Array | Sequence[Array],
    velocity: Array | Sequence[Array] | None,
    *,
    lr: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    live: Tensor | None = None,
) -> None:
    """Makes one step of stochastic gradient descent, in place, in torch.optim.SGD's convention.

    g = grad + weight_decay * param; velocity = momentum * velocity + g; param -= lr * velocity,
    with ``nesterov`` param -= lr * (g + momentum * velocity). Without momentum param -= lr * g.

    Args:
        param: updated; a Tensor or a writable dense NumPy array; or a list of them, which few
            launches update on the GPU.
        grad: gradient, the shape and dtype of param; a list where param is one.
        velocity: as grad; updated, zeros before the first step; may be None where momentum is 0,
            and is left alone then.
        lr: learning rate.
        momentum: default 0.
        nesterov: look-ahead (Nesterov 1983, as of Sutskever et al. 2013); default False.
        weight_decay: L2 penalty, default 0.
        live: on the GPU, 4 float64 there that are read when the kernel runs, so that a recorded
            graph follows them: lr, two that are not used, and 0 for no update at all. Default None.
    """
    _core.sgd_update(param, grad, velocity, lr, momentum, nesterov, weight_decay, live)


def adam_update(
    param: Array | Sequence[Array],
    grad: Array | Sequence[Array],
    m: Array | Sequence[Array],
    v: Array | Sequence[Array],
    *,
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    live: Tensor | None = None,
) -> None:
    """Makes one step of Adam or AdamW, in place, in torch.optim's convention.

    m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g^2; param -= lr * m_hat /
    (sqrt(v_hat) + epsilon) with m_hat = m / (1 - beta1^step), v_hat = v / (1 - beta2^step)
    (Kingma and Ba 2015). Weight decay adds weight_decay * param to the gradient g, or, decoupled,
    multiplies param by 1 - lr * weight_decay beforehand (AdamW, Loshchilov and Hutter 2019).

    Args:
        param: updated; a Tensor or a writable dense NumPy array; or a list of them, which few
            launches update on the GPU.
        grad: gradient, the shape and dtype of param; a list where param is one.
        m, v: as grad; updated, zeros before the first step.
        step: number of this step, from 1.
        lr: learning rate.
        beta1, beta2: in [0, 1), default 0.9 and 0.999.
        epsilon: default 1e-8.
        weight_decay: default 0.
        decoupled: AdamW; default False.
        live: on the GPU, 4 float64 there that are read when the kernel runs, so that a recorded
            graph follows them: lr / (1 - beta1^step), 1 / sqrt(1 - beta2^step), 1 - lr *
            weight_decay (1 unless decoupled), and 0 for no update at all. Default None.
    """
    _core.adam_update(
        param, grad, m, v, step, lr, beta1, beta2, epsilon, weight_decay, decoupled, live
    )


def rmsprop_update(
    param: Array | Sequence[Array],
    grad: Array | Sequence[Array],
    square_avg: Array | Sequence[Array],
    *,
    lr: float,
    rho: float = 0.99,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    live: Tensor | None = None,
) -> None:
    """Makes one step of RMSprop (Tieleman and Hinton 2012), in place, in torch.optim's convention.

    g = grad + weight_decay * param; square_avg = rho * square_avg + (1 - rho) * g^2;
    param -= lr * g / (sqrt(square_avg) + epsilon).

    Args:
        param: updated; a Tensor or a writable dense NumPy array; or a list of them, which few
            launches update on the GPU.
        grad: gradient, the shape and dtype of param; a list where param is one.
        square_avg: as grad; updated, zeros before the first step.
        lr: learning rate.
        rho: in [0, 1), default 0.99 (torch's alpha).
        epsilon: default 1e-8.
        weight_decay: L2 penalty, default 0.
        live: on the GPU, 4 float64 there that are read when the kernel runs, so that a recorded
            graph follows them: lr, two that are not used, and 0 for no update at all. Default None.
    """
    _core.rmsprop_update(param, grad, square_avg, lr, rho, epsilon, weight_decay, live)


def fma_peak() -> float:
    """Returns the FLOP a second that all threads reach in float32 with multiply-adds alone.

    The best of 50 runs of independent fused multiply-adds in registers, which count as two
    operations each; some 20 ms. It is the ceiling that kernels are measured against.
    """
    peak: float = _core.fma_peak()
    return peak


def copy_bandwidth(bytes: int = 256 << 20) -> float:
    """Returns the bytes a second that all threads read and write in a copy, the best of 5 runs.

    Args:
        bytes: read and written by a copy, half each; default 256 MiB. What fits into a cache is
            measured there: for the rate of memory take several times the last-level cache.

    Raises:
        ValueError: not positive.
        TypeError: not a whole number.
        MemoryError: so many bytes are not there.
    """
    bandwidth: float = _core.copy_bandwidth(bytes)
    return bandwidth
