"""Every function of ``sixloop.ops`` in plain NumPy, float64, independent of the C++ code.

Written to be obviously right: one loop over filter offsets or windows, whole arrays inside it.
Results are float64 whatever the input, so that a float32 kernel is compared with something far
more exact than itself. Only the functions that fill or update arrays in place keep the dtype they
are given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Pair = Any  # int or (h, w)
Padding = Any  # int, (h, w), ((top, bottom), (left, right)), "valid" or "same"


def _f64(x: Any) -> Array:
    return np.array(x, dtype=np.float64)


def _pair(value: Pair) -> tuple[int, int]:
    if isinstance(value, (int, np.integer)):
        return int(value), int(value)
    h, w = value
    return int(h), int(w)


# -------------------------------------------------------------------------------------- activations


def relu(x: Any) -> Array:
    x = _f64(x)
    return np.where(x < 0, 0.0, x) + 0.0


def relu_grad(dy: Any, x: Any) -> Array:
    return np.where(_f64(x) > 0, _f64(dy), 0.0)


def sigmoid(x: Any) -> Array:
    x = _f64(x)
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def sigmoid_grad(dy: Any, x: Any) -> Array:
    e = np.exp(-np.abs(_f64(x)))  # s(x) s(-x), exact in both tails
    return _f64(dy) * (e / (1 + e) ** 2)


def tanh(x: Any) -> Array:
    return np.tanh(_f64(x))


def tanh_grad(dy: Any, x: Any) -> Array:
    e = np.exp(-2 * np.abs(_f64(x)))  # 1 - tanh^2 = 4e / (1 + e)^2, exact in both tails
    return _f64(dy) * (4 * e / (1 + e) ** 2)


def leaky_relu(x: Any, alpha: float = 0.01) -> Array:
    x = _f64(x)
    return np.where(x > 0, x, alpha * x)


def leaky_relu_grad(dy: Any, x: Any, alpha: float = 0.01) -> Array:
    return np.where(_f64(x) > 0, _f64(dy), alpha * _f64(dy))


def elu(x: Any, alpha: float = 1.0) -> Array:
    x = _f64(x)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def elu_grad(dy: Any, x: Any, alpha: float = 1.0) -> Array:
    x = _f64(x)
    return _f64(dy) * np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0)))


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _normal_cdf(x: Array) -> Array:
    return 0.5 * _erfc(-x / math.sqrt(2)) if x.size else x


def gelu(x: Any) -> Array:
    """x * Phi(x) (Hendrycks and Gimpel 2016), the exact form."""
    x = _f64(x)
    return np.where(x < -40, 0.0, np.maximum(x, -40) * _normal_cdf(x))


def gelu_grad(dy: Any, x: Any) -> Array:
    x = np.clip(_f64(x), -40, 40)  # where the slope is 0 and 1
    return _f64(dy) * (_normal_cdf(x) + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi))


def softplus(x: Any) -> Array:
    x = _f64(x)
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def softplus_grad(dy: Any, x: Any) -> Array:
    return _f64(dy) * sigmoid(x)


def step(x: Any) -> Array:
    return np.where(_f64(x) > 0, 1.0, 0.0)


def step_grad(dy: Any, x: Any) -> Array:
    return np.zeros_like(_f64(x))


def ramp(x: Any) -> Array:
    return np.clip(_f64(x), 0.0, 1.0)


def ramp_grad(dy: Any, x: Any) -> Array:
    x = _f64(x)
    return np.where((x > 0) & (x < 1), _f64(dy), 0.0)


def gaussian(x: Any) -> Array:
    x = np.clip(_f64(x), -40, 40)  # where it is 0
    return np.exp(-x * x)


def gaussian_grad(dy: Any, x: Any) -> Array:
    x = np.clip(_f64(x), -40, 40)
    return _f64(dy) * (-2 * x * np.exp(-x * x))


ACTIVATIONS = (
    "relu",
    "sigmoid",
    "tanh",
    "leaky_relu",
    "elu",
    "gelu",
    "softplus",
    "step",
    "ramp",
    "gaussian",
)
FROM_OUTPUT = ("relu", "sigmoid", "tanh", "leaky_relu", "elu", "softplus", "step", "ramp")


def activation(x: Any, name: str | None) -> Array:
    if name is None:
        return _f64(x)
    if name not in ACTIVATIONS:
        raise ValueError(f"[activation] unknown name {name!r}; valid: {', '.join(ACTIVATIONS)}")
    return globals()[name](x)


def activation_grad_from_output(dy: Any, y: Any, name: str | None) -> Array:
    dy, y = _f64(dy), _f64(y)
    if name is None:
        return dy
    if name == "relu":
        return np.where(y > 0, dy, 0.0)
    if name == "sigmoid":
        return dy * y * (1 - y)
    if name == "tanh":
        return dy * (1 - y * y)
    if name == "leaky_relu":
        return np.where(y > 0, dy, 0.01 * dy)
    if name == "elu":
        return np.where(y > 0, dy, dy * (y + 1))
    if name == "softplus":
        return dy * -np.expm1(-y)
    if name == "step":
        return np.zeros_like(dy)
    if name == "ramp":
        return np.where((y > 0) & (y < 1), dy, 0.0)
    raise ValueError(
        f"[activation] the gradient of {name!r} needs the input; valid: {', '.join(FROM_OUTPUT)}"
    )


def activation_bias_grad(dy: Any, y: Any, name: str | None) -> tuple[Array, Array]:
    dz = activation_grad_from_output(dy, y, name)
    return dz, bias_grad(dz)


# ----------------------------------------------------------------------------- gemm and convolution


def gemm(
    a: Any,
    b: Any,
    bias: Any = None,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    activation: str | None = None,
) -> Array:
    a, b = _f64(a), _f64(b)
    y = (a.T if transpose_a else a) @ (b.T if transpose_b else b)
    if bias is not None:
        y = y + _f64(bias)
    return _activate(y, activation)


def _activate(y: Array, name: str | None) -> Array:
    return activation(y, name)


def resolve_padding(
    size_hw: Pair, kernel_hw: Pair, strides: Pair, dilation: Pair, padding: Padding
) -> tuple[tuple[int, int], tuple[int, int]]:
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        out = []
        for n, k, s, d in zip(
            _pair(size_hw), _pair(kernel_hw), _pair(strides), _pair(dilation), strict=True
        ):
            total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
            out.append((total // 2, total - total // 2))
        return out[0], out[1]
    if isinstance(padding, (int, np.integer)):
        return (int(padding), int(padding)), (int(padding), int(padding))
    h, w = padding
    return _pair(h), _pair(w)


def _output_hw(
    size_hw: Pair, kernel_hw: Pair, strides: Pair, dilation: Pair, padding: Padding
) -> tuple[int, int]:
    pad = resolve_padding(size_hw, kernel_hw, strides, dilation, padding)
    out = []
    for n, k, s, d, (before, after) in zip(
        _pair(size_hw), _pair(kernel_hw), _pair(strides), _pair(dilation), pad, strict=True
    ):
        room = n + before + after - d * (k - 1) - 1
        if room < 0:
            raise ValueError(
                f"filter of {k} with dilation {d} does not fit {n} + {before} + {after}"
            )
        out.append(room // s + 1)
    return out[0], out[1]


def conv2d_output_shape(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    *,
    strides: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> tuple[int, int, int, int]:
    n, h, w, c = x_shape
    kh, kw, i, o = w_shape
    if c != groups * i or o % groups:
        raise ValueError(
            f"channels do not match: input {x_shape}, weight {w_shape}, groups={groups}"
        )
    oh, ow = _output_hw((h, w), (kh, kw), strides, dilation, padding)
    return n, oh, ow, o


def pool2d_output_shape(
    x_shape: Sequence[int], pool: Pair, *, strides: Pair = None, padding: Padding = 0
) -> tuple[int, int, int, int]:
    n, h, w, c = x_shape
    oh, ow = _output_hw((h, w), pool, pool if strides is None else strides, 1, padding)
    return n, oh, ow, c


def _padded(x: Array, pad: tuple[tuple[int, int], tuple[int, int]], value: float = 0.0) -> Array:
    return np.pad(x, ((0, 0), pad[0], pad[1], (0, 0)), constant_values=value)


def _taps(
    kernel: tuple[int, int], out_hw: tuple[int, int], strides: Pair, dilation: Pair
) -> Iterator[tuple[int, int, tuple[slice, slice, slice]]]:
    """Yields for each filter offset the cells of the padded image it meets, one per output cell."""
    (sh, sw), (dh, dw) = _pair(strides), _pair(dilation)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            rows = slice(i * dh, i * dh + (out_hw[0] - 1) * sh + 1, sh)
            cols = slice(j * dw, j * dw + (out_hw[1] - 1) * sw + 1, sw)
            yield i, j, (slice(None), rows, cols)


def conv2d(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    strides: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    activation: str | None = None,
    algorithm: str = "auto",
) -> Array:
    x, w = _f64(x), _f64(w)
    shape = conv2d_output_shape(
        x.shape, w.shape, strides=strides, padding=padding, dilation=dilation, groups=groups
    )
    kernel, i_per_group, o = w.shape[:2], w.shape[2], w.shape[3]
    o_per_group = o // groups
    xp = _padded(x, resolve_padding(x.shape[1:3], kernel, strides, dilation, padding))
    y = np.zeros(shape)
    for i, j, cells in _taps(kernel, shape[1:3], strides, dilation):
        for g in range(groups):
            ins = slice(g * i_per_group, (g + 1) * i_per_group)
            outs = slice(g * o_per_group, (g + 1) * o_per_group)
            y[..., outs] += xp[cells][..., ins] @ w[i, j][:, outs]
    if bias is not None:
        y += _f64(bias)
    return _activate(y, activation)


def conv2d_grad_input(
    dy: Any,
    w: Any,
    x_shape: Sequence[int],
    *,
    strides: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    algorithm: str = "auto",
) -> Array:
    dy, w = _f64(dy), _f64(w)
    kernel, i_per_group, o_per_group = w.shape[:2], w.shape[2], w.shape[3] // groups
    (top, bottom), (left, right) = pad = resolve_padding(
        x_shape[1:3], kernel, strides, dilation, padding
    )
    dxp = _padded(np.zeros(x_shape), pad)
    for i, j, cells in _taps(kernel, dy.shape[1:3], strides, dilation):
        for g in range(groups):
            ins = slice(g * i_per_group, (g + 1) * i_per_group)
            outs = slice(g * o_per_group, (g + 1) * o_per_group)
            dxp[cells][..., ins] += dy[..., outs] @ w[i, j][:, outs].T
    return dxp[:, top : dxp.shape[1] - bottom, left : dxp.shape[2] - right].copy()


def conv2d_grad_weight(
    x: Any,
    dy: Any,
    w_shape: Sequence[int],
    *,
    strides: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    algorithm: str = "auto",
) -> Array:
    x, dy = _f64(x), _f64(dy)
    kernel, i_per_group, o_per_group = tuple(w_shape[:2]), w_shape[2], w_shape[3] // groups
    xp = _padded(x, resolve_padding(x.shape[1:3], kernel, strides, dilation, padding))
    dw = np.zeros(tuple(w_shape))
    for i, j, cells in _taps(kernel, dy.shape[1:3], strides, dilation):
        for g in range(groups):
            ins = slice(g * i_per_group, (g + 1) * i_per_group)
            outs = slice(g * o_per_group, (g + 1) * o_per_group)
            dw[i, j][:, outs] = np.einsum("nhwi,nhwo->io", xp[cells][..., ins], dy[..., outs])
    return dw


def im2col(
    x: Any, kernel: Pair, *, strides: Pair = 1, padding: Padding = 0, dilation: Pair = 1
) -> Array:
    x, kernel = _f64(x), _pair(kernel)
    out_hw = _output_hw(x.shape[1:3], kernel, strides, dilation, padding)
    xp = _padded(x, resolve_padding(x.shape[1:3], kernel, strides, dilation, padding))
    col = np.zeros((x.shape[0], *out_hw, *kernel, x.shape[3]))
    for i, j, cells in _taps(kernel, out_hw, strides, dilation):
        col[:, :, :, i, j] = xp[cells]
    return col.reshape(x.shape[0], *out_hw, kernel[0] * kernel[1] * x.shape[3])


def col2im(
    col: Any,
    x_shape: Sequence[int],
    kernel: Pair,
    *,
    strides: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
) -> Array:
    kernel = _pair(kernel)
    out_hw = _output_hw(x_shape[1:3], kernel, strides, dilation, padding)
    col = _f64(col).reshape(x_shape[0], *out_hw, *kernel, x_shape[3])
    (top, bottom), (left, right) = pad = resolve_padding(
        x_shape[1:3], kernel, strides, dilation, padding
    )
    xp = _padded(np.zeros(tuple(x_shape)), pad)
    for i, j, cells in _taps(kernel, out_hw, strides, dilation):
        xp[cells] += col[:, :, :, i, j]
    return xp[:, top : xp.shape[1] - bottom, left : xp.shape[2] - right].copy()


# ------------------------------------------------------------------------------------------ pooling


def _windows(
    x_shape: Sequence[int], pool: Pair, strides: Pair, padding: Padding
) -> Iterator[tuple[int, int, slice, slice]]:
    """Yields for each output cell the rows and columns of its window that lie inside the image."""
    (ph, pw), (sh, sw) = _pair(pool), _pair(pool if strides is None else strides)
    h, w = x_shape[1:3]
    (top, _), (left, _) = resolve_padding((h, w), (ph, pw), (sh, sw), 1, padding)
    _, oh, ow, _ = pool2d_output_shape(x_shape, pool, strides=strides, padding=padding)
    for i in range(oh):
        for j in range(ow):
            rows = slice(max(i * sh - top, 0), min(max(i * sh - top + ph, 0), h))
            cols = slice(max(j * sw - left, 0), min(max(j * sw - left + pw, 0), w))
            yield i, j, rows, cols


def _cells(x: Array, rows: slice, cols: slice) -> Array:
    """The part of x as [N, cells, C]."""
    part = x[:, rows, cols]
    return part.reshape(part.shape[0], part.shape[1] * part.shape[2], part.shape[3])


def _argmax(cells: Array) -> NDArray[np.intp]:
    """Index of the first maximum along axis 1; a NaN beats every number (np.argmax's rule)."""
    return np.argmax(cells, axis=1)


def max_pool2d(x: Any, pool: Pair, *, strides: Pair = None, padding: Padding = 0) -> Array:
    x = _f64(x)
    y = np.zeros(pool2d_output_shape(x.shape, pool, strides=strides, padding=padding))
    for i, j, rows, cols in _windows(x.shape, pool, strides, padding):
        cells = _cells(x, rows, cols)
        y[:, i, j] = np.take_along_axis(cells, _argmax(cells)[:, None], axis=1)[:, 0]
    return y


def max_pool2d_grad(
    dy: Any, x: Any, pool: Pair, *, strides: Pair = None, padding: Padding = 0
) -> Array:
    dy, x = _f64(dy), _f64(x)
    dx = np.zeros_like(x)
    for i, j, rows, cols in _windows(x.shape, pool, strides, padding):
        cells = _cells(x, rows, cols)
        winner = np.arange(cells.shape[1])[None, :, None] == _argmax(cells)[:, None]
        part = dx[:, rows, cols]
        part += np.where(winner, dy[:, i, j][:, None], 0.0).reshape(part.shape)
    return dx


def avg_pool2d(x: Any, pool: Pair, *, strides: Pair = None, padding: Padding = 0) -> Array:
    x = _f64(x)
    y = np.zeros(pool2d_output_shape(x.shape, pool, strides=strides, padding=padding))
    for i, j, rows, cols in _windows(x.shape, pool, strides, padding):
        y[:, i, j] = x[:, rows, cols].mean(axis=(1, 2))
    return y


def avg_pool2d_grad(
    dy: Any, x_shape: Sequence[int], pool: Pair, *, strides: Pair = None, padding: Padding = 0
) -> Array:
    dy = _f64(dy)
    dx = np.zeros(tuple(x_shape))
    for i, j, rows, cols in _windows(x_shape, pool, strides, padding):
        part = dx[:, rows, cols]
        part += dy[:, i, j][:, None, None] / (part.shape[1] * part.shape[2])
    return dx


def global_avg_pool2d(x: Any) -> Array:
    return _f64(x).mean(axis=(1, 2))


def global_avg_pool2d_grad(dy: Any, x_shape: Sequence[int]) -> Array:
    n, h, w, c = x_shape
    return np.broadcast_to(_f64(dy)[:, None, None] / (h * w), (n, h, w, c)).copy()


# ------------------------------------------------------------------------------------------ softmax


def log_softmax(x: Any, axis: int = -1) -> Array:
    x = _f64(x)
    if x.size == 0:
        return x
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def softmax(x: Any, axis: int = -1) -> Array:
    return np.exp(log_softmax(x, axis))


def softmax_grad(dy: Any, y: Any, axis: int = -1) -> Array:
    dy, y = _f64(dy), _f64(y)
    return y * (dy - (dy * y).sum(axis=axis, keepdims=True))


def log_softmax_grad(dy: Any, y: Any, axis: int = -1) -> Array:
    dy, y = _f64(dy), _f64(y)
    return dy - np.exp(y) * dy.sum(axis=axis, keepdims=True)


def cross_entropy(logits: Any, labels: Any) -> tuple[float, Array]:
    log_p = log_softmax(logits)
    rows = np.arange(len(log_p))
    labels = np.asarray(labels, dtype=int)
    if not len(labels):
        return 0.0, log_p
    hot = np.zeros_like(log_p)
    hot[rows, labels] = 1.0
    return float(-log_p[rows, labels].mean()), (np.exp(log_p) - hot) / len(log_p)


# -------------------------------------------------------------------------------------------- norms


def _all_but_last(x: Array) -> tuple[int, ...]:
    return tuple(range(x.ndim - 1))


def batch_norm(
    x: Any,
    gamma: Any,
    beta: Any,
    mean: Any = None,
    variance: Any = None,
    *,
    epsilon: float = 1e-5,
    activation: str | None = None,
    residual: Any = 0.0,
) -> tuple[Array, Array, Array]:
    """Ioffe and Szegedy 2015; the variance is the biased one."""
    x = _f64(x)
    count = max(math.prod(x.shape[:-1]), 1)  # the statistics of nothing are zeros
    mean = x.sum(axis=_all_but_last(x)) / count if mean is None else _f64(mean)
    if variance is None:
        variance = ((x - mean) ** 2).sum(axis=_all_but_last(x)) / count
    variance = _f64(variance)
    y = _f64(gamma) * (x - mean) / np.sqrt(variance + epsilon) + _f64(beta) + _f64(residual)
    return _activate(y, activation), mean, variance


def batch_norm_grad(
    dy: Any,
    x: Any,
    gamma: Any,
    mean: Any,
    variance: Any,
    *,
    epsilon: float = 1e-5,
    training: bool = True,
) -> tuple[Array, Array, Array]:
    dy, x = _f64(dy), _f64(x)
    axes = _all_but_last(x)
    inverse = 1 / np.sqrt(_f64(variance) + epsilon)
    x_hat = (x - _f64(mean)) * inverse
    dgamma, dbeta = (dy * x_hat).sum(axis=axes), dy.sum(axis=axes)
    dx = _f64(gamma) * inverse * dy
    if training:
        count = math.prod(x.shape[:-1])
        dx = _f64(gamma) * inverse * (dy - dbeta / count - x_hat * dgamma / count)
    return dx, dgamma, dbeta


def _window_sum(v: Array, before: int, after: int) -> Array:
    """Sums v over channels c - before ... c + after, those that exist."""
    out = np.zeros_like(v)
    channels = v.shape[-1]
    for c in range(channels):
        out[..., c] = v[..., max(c - before, 0) : min(c + after, channels - 1) + 1].sum(axis=-1)
    return out


def local_response_norm(
    x: Any, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0
) -> Array:
    """Krizhevsky, Sutskever and Hinton 2012, section 3.3; alpha is not divided by the size."""
    x = _f64(x)
    return x / (k + alpha * _window_sum(x * x, size // 2, (size - 1) // 2)) ** beta


def local_response_norm_grad(
    dy: Any, x: Any, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0
) -> Array:
    dy, x = _f64(dy), _f64(x)
    s = k + alpha * _window_sum(x * x, size // 2, (size - 1) // 2)
    # Channel c meets every window that contains it, hence the mirrored extent.
    shared = _window_sum(dy * x * s ** (-beta - 1), (size - 1) // 2, size // 2)
    return dy * s**-beta - 2 * alpha * beta * x * shared


# -------------------------------------------------------------------------------------- elementwise


def add(a: Any, b: Any, *, activation: str | None = None) -> Array:
    return _activate(_f64(a) + _f64(b), activation)


def bias_add(x: Any, b: Any, *, activation: str | None = None) -> Array:
    return _activate(_f64(x) + _f64(b), activation)


def bias_grad(dy: Any) -> Array:
    dy = _f64(dy)
    return dy.sum(axis=_all_but_last(dy))


def scale(x: Any, s: float) -> Array:
    return _f64(x) * s


def concat(arrays: Sequence[Any], axis: int = -1) -> Array:
    return np.concatenate([_f64(a) for a in arrays], axis=axis)


def split(x: Any, sizes: Sequence[int], axis: int = -1) -> list[Array]:
    parts = np.split(_f64(x), np.cumsum(sizes, dtype=int)[:-1], axis=axis)
    return [part.copy() for part in parts[: len(sizes)]]


def zero_pad2d(x: Any, padding: Padding) -> Array:
    return _padded(_f64(x), resolve_padding((1, 1), 1, 1, 1, padding))


def crop2d(x: Any, padding: Padding) -> Array:
    x = _f64(x)
    (top, bottom), (left, right) = resolve_padding((1, 1), 1, 1, 1, padding)
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right].copy()


# ------------------------------------------------------------------------------------------- random


def philox4x32(counter: Any, key: Any, rounds: int = 10) -> NDArray[np.uint32]:
    """Philox4x32 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers", SC 2011.

    counter: [..., 4] words, key: [2] words; returns the shape of counter.
    """
    low = np.uint64(0xFFFFFFFF)
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, dtype=np.uint64), -1, 0)
    k0, k1 = int(key[0]), int(key[1])
    for _ in range(rounds):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (
            (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0),
            p1 & low,
            (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1),
            p0 & low,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def _blocks(count: int, seed: int, purpose: int, step: int) -> NDArray[np.uint32]:
    """Words of blocks 0 ... count - 1: key is the seed, counter is (block, purpose, step)."""
    blocks = np.arange(count, dtype=np.uint64)
    counter = np.empty((count, 4), dtype=np.uint64)
    counter[:, 0] = blocks & np.uint64(0xFFFFFFFF)
    counter[:, 1] = blocks >> np.uint64(32)
    counter[:, 2] = purpose
    counter[:, 3] = step
    return philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))


def random_bits(n: int, *, seed: int, purpose: int, step: int = 0) -> NDArray[np.uint64]:
    """Pairs of words of the stream, low word first."""
    words = _blocks((n + 1) // 2, seed, purpose, step).astype(np.uint64)
    return (words[:, 0::2] | (words[:, 1::2] << np.uint64(32))).reshape(-1)[:n]


def random_uniform(
    shape: Sequence[int],
    low: float,
    high: float,
    *,
    seed: int,
    purpose: int,
    step: int = 0,
    dtype: str = "float32",
) -> NDArray[Any]:
    bits = random_bits(math.prod(shape), seed=seed, purpose=purpose, step=step)
    u = (bits >> np.uint64(11)) * 2.0**-53
    low_high = np.array([low, high], dtype)
    top = max(np.nextafter(low_high[1], low_high.dtype.type(-np.inf)), low_high[0])
    return np.minimum((low + (high - low) * u).astype(dtype), top).reshape(tuple(shape))


_quantile = np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])


def random_normal(
    shape: Sequence[int],
    mean: float,
    std: float,
    *,
    seed: int,
    purpose: int,
    step: int = 0,
    dtype: str = "float32",
) -> NDArray[Any]:
    bits = random_bits(math.prod(shape), seed=seed, purpose=purpose, step=step)
    u = ((bits >> np.uint64(12)) + 0.5) * 2.0**-52
    z = _quantile(u) if u.size else u
    return (mean + std * z).reshape(tuple(shape)).astype(dtype)


def dropout(x: Any, rate: float, *, seed: int, purpose: int, step: int) -> Array:
    x = _f64(x)
    words = _blocks((x.size + 3) // 4, seed, purpose, step).reshape(-1)[: x.size]
    keep = words.reshape(x.shape) >= math.floor(rate * 2**32 + 0.5)
    return np.where(keep, x / (1 - rate), 0.0)


def dropout_grad(dy: Any, rate: float, *, seed: int, purpose: int, step: int) -> Array:
    return dropout(dy, rate, seed=seed, purpose=purpose, step=step)


# ----------------------------------------------------------------------------- optimizers, in place


def _view(x: Any) -> NDArray[Any]:
    return x if isinstance(x, np.ndarray) else x.numpy()


def sgd_update(
    param: Any,
    grad: Any,
    velocity: Any,
    *,
    lr: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:
    p, g = _f64(param), _f64(grad)
    g = g + weight_decay * p
    if momentum:
        v = momentum * _f64(velocity) + g
        _view(velocity)[...] = v
        g = g + momentum * v if nesterov else v
    _view(param)[...] = p - lr * g


def adam_update(
    param: Any,
    grad: Any,
    m: Any,
    v: Any,
    *,
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """Kingma and Ba 2015; decoupled: AdamW of Loshchilov and Hutter 2019."""
    p, g = _f64(param), _f64(grad)
    if decoupled:
        p = p * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * p
    m1 = beta1 * _f64(m) + (1 - beta1) * g
    v1 = beta2 * _f64(v) + (1 - beta2) * g * g
    _view(m)[...], _view(v)[...] = m1, v1
    m_hat, v_hat = m1 / (1 - beta1**step), v1 / (1 - beta2**step)
    _view(param)[...] = p - lr * m_hat / (np.sqrt(v_hat) + epsilon)


def rmsprop_update(
    param: Any,
    grad: Any,
    square_avg: Any,
    *,
    lr: float,
    rho: float = 0.99,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
) -> None:
    p, g = _f64(param), _f64(grad)
    g = g + weight_decay * p
    s = rho * _f64(square_avg) + (1 - rho) * g * g
    _view(square_avg)[...] = s
    _view(param)[...] = p - lr * g / (np.sqrt(s) + epsilon)
