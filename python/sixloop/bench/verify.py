"""What the results should be: by the definition, in float64 NumPy, at places drawn at random.

Nothing here calls a kernel: a result that is wrong is refused whatever library it comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixloop._checks import Pair
from sixloop.bench.shapes import Convolution

__all__ = ["Sample", "check_all", "check_samples"]

Floats = NDArray[Any]

# Of the largest expected value. Winograd's sums in float32 stay below 4e-6, long direct ones too.
TOLERANCE = 2e-5
# Of the largest value, between two libraries whose errors add up and whose ReLUs may tip over.
AGREEMENT = 1e-4
_PLACES = 48


class Sample(NamedTuple):
    """What one of the results must hold at some of its places.

    Args:
        output: which of the results.
        index: of the places in it.
        expected: the values, float64.
        exact: to the bit.
    """

    output: int
    index: Any
    expected: Floats
    exact: bool = False


def check_samples(what: str, results: Sequence[Any], samples: Iterable[Sample]) -> None:
    """Raises where a result is not what it should be.

    Args:
        what: for the message.
        results: arrays.
        samples: at least one.

    Raises:
        ValueError: a result differs, or nothing was compared.
    """
    compared = 0
    for output, index, expected, exact in samples:
        found = np.asarray(results[output], np.float64)[index]
        error = _error(found, expected)
        compared += np.size(expected)
        if not error <= (0 if exact else TOLERANCE):
            raise ValueError(
                f"[bench] {what}: result {output} differs from the definition by {error:.1e} of "
                f"its largest value, so it is not timed"
            )
    if compared == 0:
        raise ValueError(f"[bench] {what}: there was nothing to compare, so it is not timed")


def check_all(what: str, ours: Sequence[Any], peer: str, theirs: Sequence[Any]) -> None:
    """Raises where a peer's results are not ours.

    Args:
        what, peer: for the message.
        ours, theirs: arrays, in the same order and layout.

    Raises:
        ValueError: shapes or values differ.
    """
    for output, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape:
            raise ValueError(
                f"[bench] {what}: result {output} has shape {a.shape}, {peer}'s {b.shape}"
            )
        error = _error(a, b)
        if not error < AGREEMENT:
            raise ValueError(
                f"[bench] {what}: result {output} and {peer}'s differ by {error:.1e} of the "
                f"largest value, so it is not timed"
            )


def _error(found: Floats, expected: Floats) -> float:
    scale = float(np.max(np.abs(expected), initial=0))
    distance = float(np.max(np.abs(found - expected), initial=0))
    return distance / scale if scale > 0 else distance


# ---------------------------------------------------------------------------------------- matrices


def gemm(a: Floats, b: Floats, rng: np.random.Generator) -> Iterable[Sample]:
    """Yields elements of a b."""
    rows, columns = _places(rng, (a.shape[0], b.shape[1]))
    sums = [a[i].astype(np.float64) @ b[:, j] for i, j in zip(rows, columns, strict=True)]
    yield Sample(0, (rows, columns), np.array(sums))


# ------------------------------------------------------------------------------------ convolutions


def conv2d(x: Floats, w: Floats, shape: Convolution, rng: np.random.Generator) -> Iterable[Sample]:
    """Yields elements of ops.conv2d."""
    places = _places(rng, shape.y_shape)
    sums = []
    for n, oh, ow, o in zip(*places, strict=True):
        rows, kh = _window(oh, shape.h, shape, 0)
        columns, kw = _window(ow, shape.w, shape, 1)
        first = o // (shape.o // shape.groups) * w.shape[2]
        pixels = x[n][rows][:, columns, first : first + w.shape[2]]
        sums.append(np.sum(pixels.astype(np.float64) * w[..., o][kh][:, kw]))
    yield Sample(0, places, np.array(sums))


def conv2d_grad_input(
    dy: Floats, w: Floats, shape: Convolution, rng: np.random.Generator
) -> Iterable[Sample]:
    """Yields elements of ops.conv2d_grad_input."""
    places = _places(rng, shape.x_shape)
    _, oh, ow, _ = shape.y_shape
    outputs = shape.o // shape.groups
    sums = []
    for n, h, column, c in zip(*places, strict=True):
        first = c // w.shape[2] * outputs
        total = 0.0
        for i, row in _outputs_at(h, oh, shape, 0):
            for j, col in _outputs_at(column, ow, shape, 1):
                gradient = dy[n, row, col, first : first + outputs].astype(np.float64)
                total += float(gradient @ w[i, j, c % w.shape[2], first : first + outputs])
        sums.append(total)
    yield Sample(0, places, np.array(sums))


def conv2d_grad_weight(
    x: Floats, dy: Floats, shape: Convolution, rng: np.random.Generator
) -> Iterable[Sample]:
    """Yields elements of ops.conv2d_grad_weight."""
    places = tuple(axis[:12] for axis in _places(rng, shape.w_shape))
    _, oh, ow, _ = shape.y_shape
    (sh, sw), (dh, dw) = shape.strides, shape.dilation
    sums = []
    for i, j, c, o in zip(*places, strict=True):
        channel = o // (shape.o // shape.groups) * shape.w_shape[2] + c
        plane = np.pad(x[..., channel].astype(np.float64), ((0, 0), *shape.padding))
        seen = plane[:, i * dh :, j * dw :][:, : (oh - 1) * sh + 1 : sh, : (ow - 1) * sw + 1 : sw]
        sums.append(np.sum(seen * dy[..., o]))
    yield Sample(0, places, np.array(sums))


def _window(at: int, size: int, shape: Convolution, axis: int) -> tuple[Floats, Floats]:
    """Returns pixels of the input under the window `at`, and which of its taps they meet."""
    taps = np.arange(shape.kernel[axis])
    first = at * shape.strides[axis] - shape.padding[axis][0]
    pixels = first + taps * shape.dilation[axis]
    inside = (pixels >= 0) & (pixels < size)
    return pixels[inside], taps[inside]


def _outputs_at(at: int, outputs: int, shape: Convolution, axis: int) -> list[Pair]:
    """Returns (tap, output) for each window that holds the input pixel `at`."""
    found = []
    for tap in range(shape.kernel[axis]):
        distance = int(at) + shape.padding[axis][0] - tap * shape.dilation[axis]
        output, rest = divmod(distance, shape.strides[axis])
        if rest == 0 and 0 <= output < outputs:
            found.append((tap, output))
    return found


# ----------------------------------------------------------------------------------------- pooling


def pool2d(
    x: Floats, pool: int, stride: int, average: bool, rng: np.random.Generator
) -> Iterable[Sample]:
    """Yields pixels of ops.max_pool2d or avg_pool2d without padding."""
    places = _places(rng, _pooled(x, pool, stride))
    function = np.mean if average else np.max
    windows = [
        function(_cells(x, n, i, j, pool, stride).astype(np.float64), axis=(0, 1))
        for n, i, j in zip(*places, strict=True)
    ]
    yield Sample(0, places, np.array(windows), exact=not average)


def pool2d_grad(
    dy: Floats, x: Floats, pool: int, stride: int, average: bool, rng: np.random.Generator
) -> Iterable[Sample]:
    """Yields pixels of ops.max_pool2d_grad or avg_pool2d_grad without padding."""
    places = _places(rng, x.shape[:3])
    _, oh, ow = _pooled(x, pool, stride)
    sums = []
    for n, h, w in zip(*places, strict=True):
        total = np.zeros(x.shape[3])
        for i in range(max(0, (h - pool) // stride + 1), min(oh, h // stride + 1)):
            for j in range(max(0, (w - pool) // stride + 1), min(ow, w // stride + 1)):
                cells = _cells(x, n, i, j, pool, stride).reshape(pool * pool, -1)
                place = (h - i * stride) * pool + w - j * stride
                share = 1 / pool**2 if average else cells.argmax(axis=0) == place
                total += dy[n, i, j] * share
        sums.append(total)
    yield Sample(0, places, np.array(sums))


def _pooled(x: Floats, pool: int, stride: int) -> tuple[int, int, int]:
    n, h, w, _ = x.shape
    return n, (h - pool) // stride + 1, (w - pool) // stride + 1


def _cells(x: Floats, n: int, i: int, j: int, pool: int, stride: int) -> Floats:
    return x[n, i * stride : i * stride + pool, j * stride : j * stride + pool]


# -------------------------------------------------------------------------- softmax, normalisation


def softmax(x: Floats, rng: np.random.Generator) -> Iterable[Sample]:
    """Yields rows of ops.softmax."""
    (rows,) = _places(rng, x.shape[:1])
    yield Sample(0, (rows,), _softmax(x[rows]))


def cross_entropy(x: Floats, labels: Floats, rng: np.random.Generator) -> Iterable[Sample]:
    """Yields the loss and rows of the gradient of ops.cross_entropy."""
    loss, gradient = _cross_entropy(x, labels)
    (rows,) = _places(rng, x.shape[:1])
    yield Sample(0, (), np.array(loss))
    yield Sample(1, (rows,), gradient[rows])


def _softmax(x: Floats) -> Floats:
    powers = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _cross_entropy(x: Floats, labels: Floats) -> tuple[float, Floats]:
    gradient = _softmax(x)
    rows = np.arange(len(x))
    loss = -float(np.mean(np.log(gradient[rows, labels])))
    gradient[rows, labels] -= 1
    return loss, gradient / len(x)


def batch_norm(
    x: Floats,
    gamma: Floats,
    beta: Floats,
    statistics: tuple[Floats, Floats] | None,
    rng: np.random.Generator,
    epsilon: float,
) -> Iterable[Sample]:
    """Yields channels of relu(batch_norm(x)), with the batch's statistics or those given."""
    channels = rng.choice(x.shape[-1], min(4, x.shape[-1]), replace=False)
    values = x[..., channels].astype(np.float64)
    if statistics is None:
        mean, variance = values.mean(axis=(0, 1, 2)), values.var(axis=(0, 1, 2))
    else:
        mean, variance = (s[channels].astype(np.float64) for s in statistics)
    normal = (values - mean) / np.sqrt(variance + epsilon)
    y = np.maximum(gamma[channels] * normal + beta[channels], 0)
    yield Sample(0, (..., channels), y)
    if statistics is None:
        yield Sample(1, (channels,), mean)
        yield Sample(2, (channels,), variance)


def batch_norm_grad(
    dy: Floats, x: Floats, y: Floats, gamma: Floats, rng: np.random.Generator, epsilon: float
) -> Iterable[Sample]:
    """Yields channels of the gradients of relu(batch_norm(x)), whose result y tells the ReLU."""
    channels = rng.choice(x.shape[-1], min(4, x.shape[-1]), replace=False)
    values = x[..., channels].astype(np.float64)
    dz = dy[..., channels] * (y[..., channels] > 0).astype(np.float64)
    deviation = np.sqrt(values.var(axis=(0, 1, 2)) + epsilon)
    normal = (values - values.mean(axis=(0, 1, 2))) / deviation
    mean, along = dz.mean(axis=(0, 1, 2)), (dz * normal).mean(axis=(0, 1, 2))
    yield Sample(0, (..., channels), gamma[channels] / deviation * (dz - mean - normal * along))
    count = dz[..., 0].size
    yield Sample(1, (channels,), count * along)
    yield Sample(2, (channels,), count * mean)


# ----------------------------------------------------------------------------------------- LeNet-5


def lenet5(x: Floats, labels: Floats | None, parameters: Sequence[Floats]) -> Iterable[Sample]:
    """Yields the probabilities of the modern LeNet-5, or with labels its loss and gradients.

    Args:
        x: [N, 28, 28, 1].
        labels: [N], or None for the probabilities.
        parameters: weight and bias of its five layers, in order.

    Yields:
        Result 0: the probabilities; or the loss, and then the gradient of each parameter.
    """
    w1, b1, w2, b2, *dense = (p.astype(np.float64) for p in parameters)
    x1 = np.pad(x.astype(np.float64), ((0, 0), (2, 2), (2, 2), (0, 0)))
    y1 = np.maximum(_correlate(x1, w1) + b1, 0)
    x2, mask1 = _max_pool(y1)
    y2 = np.maximum(_correlate(x2, w2) + b2, 0)
    pooled, mask2 = _max_pool(y2)
    inputs = [pooled.reshape(len(x), -1)]
    for w, b in zip(dense[0::2], dense[1::2], strict=True):
        inputs.append(np.maximum(inputs[-1] @ w + b, 0))
    logits = inputs[-2] @ dense[-2] + dense[-1]
    if labels is None:
        yield Sample(0, (), _softmax(logits))
        return
    loss, gradient = _cross_entropy(logits, labels)
    gradients: list[Floats] = []
    for k in (2, 1, 0):
        gradients = [inputs[k].T @ gradient, gradient.sum(axis=0), *gradients]
        gradient = gradient @ dense[2 * k].T * (1 if k == 0 else inputs[k] > 0)
    dy2 = _spread(gradient.reshape(pooled.shape), mask2) * (y2 > 0)
    turned = w2[::-1, ::-1].swapaxes(2, 3)
    dx2 = _correlate(np.pad(dy2, ((0, 0), (4, 4), (4, 4), (0, 0))), turned)
    dy1 = _spread(dx2, mask1) * (y1 > 0)
    for source, dy in ((x2, dy2), (x1, dy1)):
        dw = np.einsum("nhwcij,nhwo->ijco", _windows(source), dy, optimize=True)
        gradients = [dw, dy.sum(axis=(0, 1, 2)), *gradients]
    yield Sample(0, (), np.array(loss))
    for i, expected in enumerate(gradients, 1):
        yield Sample(i, (), expected)


def _windows(x: Floats) -> Floats:
    return np.lib.stride_tricks.sliding_window_view(x, (5, 5), axis=(1, 2))


def _correlate(x: Floats, w: Floats) -> Floats:
    return np.asarray(np.einsum("nhwcij,ijco->nhwo", _windows(x), w, optimize=True))


def _max_pool(x: Floats) -> tuple[Floats, Floats]:
    """Returns the maxima of 2x2 cells, and where they were, as [N, H / 2, W / 2, 4, C]."""
    n, h, w, c = x.shape
    cells = x.reshape(n, h // 2, 2, w // 2, 2, c).swapaxes(2, 3).reshape(n, h // 2, w // 2, 4, c)
    first = cells.argmax(axis=3)
    return cells.max(axis=3), np.arange(4)[:, None] == first[:, :, :, None]


def _spread(dy: Floats, mask: Floats) -> Floats:
    """Returns the gradient of the input of `_max_pool`."""
    n, h, w, c = dy.shape
    cells = dy[:, :, :, None] * mask
    return cells.reshape(n, h, w, 2, 2, c).swapaxes(2, 3).reshape(n, 2 * h, 2 * w, c)


def _places(rng: np.random.Generator, shape: Sequence[int]) -> tuple[Floats, ...]:
    """Returns indices of both ends, where padding and edges are, and of places between."""
    places = [rng.integers(0, size, _PLACES) for size in shape]
    for axis, size in zip(places, shape, strict=True):
        axis[0], axis[1] = 0, size - 1
    return tuple(places)
