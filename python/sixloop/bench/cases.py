"""What is timed: the families, their shapes, and how each is run in sixloop."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sixloop
from sixloop import losses, models, ops, optim
from sixloop.bench import verify
from sixloop.bench.shapes import GEMM, NETWORKS, Convolution, convolutions

__all__ = ["DEFAULT", "FAMILIES", "PASSES", "Case", "Work", "cases", "prepare"]

PASSES = ("forward", "grad_input", "grad_weight")
# What --only takes, and the families of rows that each stands for.
FAMILIES: dict[str, tuple[str, ...]] = {
    "gemm": ("gemm",),
    "conv2d": PASSES,
    "direct": ("direct",),
    "pool2d": ("pool2d",),
    "softmax": ("softmax",),
    "batch_norm": ("batch_norm",),
    "lenet": ("lenet",),
}

DEFAULT = ("gemm", "conv2d", "pool2d", "softmax", "batch_norm", "lenet")

_FLOAT = 4  # bytes
# N, H, W, C, window, stride.
_POOLS = (
    (16, 112, 112, 64, 3, 2),
    (16, 112, 112, 64, 2, 2),
    (8, 55, 55, 96, 3, 2),
    (16, 28, 28, 128, 2, 2),
)
_SOFTMAX = ((4096, 10), (256, 1000), (64, 50_000))  # rows, classes
_BATCH_NORM = ((16, 56, 56, 64), (16, 112, 112, 64), (8, 14, 14, 256))
_LENET_BATCHES = (64, 1)
EPSILON = 1e-5


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        family: "gemm", "forward", "grad_input", "grad_weight", "direct", "pool2d", "softmax",
            "batch_norm" or "lenet".
        name: unique in its family.
        shape: for people.
        op: what is computed; a key of the functions that prepare it and of the peers.
        arguments: of those functions.
        flop: useful operations, two for a multiply-add; 0 where memory decides.
        bytes: of arrays that must be read or written once; 0 where caches hold them all.
        network: the network that a layer is of.
    """

    family: str
    name: str
    shape: str
    op: str
    arguments: tuple[Any, ...]
    flop: int = 0
    bytes: int = 0
    network: str = ""


@dataclass(frozen=True)
class Work:
    """A case with its arrays.

    Attributes:
        inputs: NumPy arrays by name, for the peers.
        run: what is timed.
        result: computes what is verified, a list of arrays.
        samples: what the result must be.
        algorithm: that a convolution runs.
    """

    inputs: dict[str, NDArray[Any]]
    run: Callable[[], Any]
    result: Callable[[], Sequence[Any]]
    samples: Callable[[], Iterable[verify.Sample]]
    algorithm: str = ""


def cases(
    families: Sequence[str] = DEFAULT,
    networks: Sequence[str] = tuple(NETWORKS),
    passes: Sequence[str] = PASSES,
) -> Iterator[Case]:
    """Yields the rows of these families.

    Args:
        families: of `FAMILIES`; default all but "direct".
        networks: of `shapes.NETWORKS`, whose convolutions are meant; default all.
        passes: of the convolutions; default all three.
    """
    if "gemm" in families:
        for m, n, k in GEMM:
            yield Case(
                "gemm",
                f"{m}x{n}x{k}",
                f"{m}x{n}x{k}",
                "gemm",
                (m, n, k),
                2 * m * n * k,
                _FLOAT * (m * k + k * n + m * n),
            )
    wanted = [which for which in passes if "conv2d" in families]
    if "direct" in families:
        wanted = ["direct", *wanted]
    for network in networks if wanted else ():
        for layer, shape in convolutions(network):
            for which in wanted:
                if which == "grad_input" and shape.c <= 3:
                    continue  # a first layer's input gradient is not computed in training
                yield Case(
                    which,
                    f"{network} {layer}",
                    str(shape),
                    "forward" if which == "direct" else which,
                    (shape, "direct" if which == "direct" else "auto"),
                    shape.flop,
                    _FLOAT * shape.elements,
                    network,
                )
    if "pool2d" in families:
        yield from _pool2d_cases()
    if "softmax" in families:
        for rows, classes in _SOFTMAX:
            size = _FLOAT * 2 * rows * classes
            for op, name in (("softmax", "softmax"), ("cross_entropy", "cross-entropy, gradient")):
                text = f"{rows}x{classes}"
                yield Case("softmax", f"{name} {text}", text, op, (rows, classes), 0, size)
    if "batch_norm" in families:
        for sizes in _BATCH_NORM:
            size = _FLOAT * math.prod(sizes)
            text = "x".join(map(str, sizes))
            for what, arrays in (("training", 2), ("backward", 3), ("inference", 2)):
                name = f"BN+ReLU {what} {text}"
                yield Case("batch_norm", name, text, f"bn_{what}", (sizes,), 0, arrays * size)
    if "lenet" in families:
        for what in ("training step", "inference"):
            for batch in _LENET_BATCHES:
                op = f"lenet_{what.partition(' ')[0]}"
                yield Case("lenet", f"LeNet-5 {what} b{batch}", f"{batch}x28x28x1", op, (batch,))


def prepare(case: Case) -> Work:
    """Returns the case with arrays of random numbers, the same in every run."""
    return _PREPARE[case.op](*case.arguments)


def _pool2d_cases() -> Iterator[Case]:
    for n, h, w, c, pool, stride in _POOLS:
        x = n * h * w * c
        y = n * ((h - pool) // stride + 1) * ((w - pool) // stride + 1) * c
        text = f"{n}x{h}x{w}x{c} {pool}x{pool}/{stride}"
        for kind in ("max", "avg"):
            for backward in (False, True):
                # The maxima's numbers are a byte each, written by forward, read by backward.
                size = _FLOAT * (x + y) + (y if kind == "max" else 0)
                yield Case(
                    "pool2d",
                    f"{kind} {'backward' if backward else 'forward'} {text}",
                    text,
                    "pool2d_grad" if backward else "pool2d",
                    ((n, h, w, c), pool, stride, kind == "avg"),
                    0,
                    size,
                )


# ------------------------------------------------------------------------------------------ arrays


def _rng() -> np.random.Generator:
    return np.random.default_rng(20260612)


@functools.cache
def _pool() -> NDArray[np.float32]:
    # Drawn once: a batch of images takes longer to draw than to use. Their number is a prime, so
    # that no axis of an array repeats them.
    return _rng().standard_normal(1_000_003, dtype=np.float32)


def values(shape: Sequence[int], *, first: int = 0) -> NDArray[np.float32]:
    """Returns normally distributed numbers, the same in every run.

    Args:
        shape: of the array.
        first: where to begin in the stream of numbers; arrays of one case take different ones.
    """
    return np.resize(np.roll(_pool(), -first) if first else _pool(), tuple(shape))


# ----------------------------------------------------------------------------------------- prepare


def _gemm(m: int, n: int, k: int) -> Work:
    a, b = values((m, k)), values((k, n), first=7919)
    sa, sb = sixloop.Tensor(a), sixloop.Tensor(b)

    def run() -> Any:
        return ops.gemm(sa, sb)

    return Work({"a": a, "b": b}, run, lambda: [run()], lambda: verify.gemm(a, b, _rng()))


def _algorithm(which: str, shape: Convolution) -> str:
    return ops.conv2d_algorithm(which, shape.x_shape, shape.w_shape, **shape.options)


def _forward(shape: Convolution, algorithm: str) -> Work:
    x, w = values(shape.x_shape), values(shape.w_shape, first=7919)
    sx, sw = sixloop.Tensor(x), sixloop.Tensor(w)

    def run() -> Any:
        return ops.conv2d(sx, sw, algorithm=algorithm, **shape.options)

    return Work(
        {"x": x, "w": w},
        run,
        lambda: [run()],
        lambda: verify.conv2d(x, w, shape, _rng()),
        _algorithm("forward", shape) if algorithm == "auto" else algorithm,
    )


def _grad_input(shape: Convolution, algorithm: str) -> Work:
    dy, w = values(shape.y_shape), values(shape.w_shape, first=7919)
    sdy, sw = sixloop.Tensor(dy), sixloop.Tensor(w)

    def run() -> Any:
        return ops.conv2d_grad_input(sdy, sw, shape.x_shape, algorithm=algorithm, **shape.options)

    return Work(
        {"dy": dy, "w": w, "x": np.empty(shape.x_shape, np.float32)},
        run,
        lambda: [run()],
        lambda: verify.conv2d_grad_input(dy, w, shape, _rng()),
        _algorithm("grad_input", shape) if algorithm == "auto" else algorithm,
    )


def _grad_weight(shape: Convolution, algorithm: str) -> Work:
    x, dy = values(shape.x_shape), values(shape.y_shape, first=7919)
    sx, sdy = sixloop.Tensor(x), sixloop.Tensor(dy)

    def run() -> Any:
        return ops.conv2d_grad_weight(sx, sdy, shape.w_shape, algorithm=algorithm, **shape.options)

    return Work(
        {"x": x, "dy": dy, "w": np.empty(shape.w_shape, np.float32)},
        run,
        lambda: [run()],
        lambda: verify.conv2d_grad_weight(x, dy, shape, _rng()),
        _algorithm("grad_weight", shape) if algorithm == "auto" else algorithm,
    )


def _pool2d(shape: tuple[int, ...], pool: int, stride: int, average: bool) -> Work:
    x = values(shape)
    sx = sixloop.Tensor(x)

    def run() -> Any:
        if average:
            return ops.avg_pool2d(sx, pool, strides=stride)
        # As in training; PyTorch numbers the maxima at all times.
        return ops.max_pool2d(sx, pool, strides=stride, return_indices=True)

    return Work(
        {"x": x},
        run,
        lambda: [run()] if average else [run()[0]],
        lambda: verify.pool2d(x, pool, stride, average, _rng()),
    )


def _pool2d_grad(shape: tuple[int, ...], pool: int, stride: int, average: bool) -> Work:
    x = values(shape)
    dy = values(ops.pool2d_output_shape(shape, pool, strides=stride), first=7919)
    sdy = sixloop.Tensor(dy)
    indices = None
    if not average:
        _, indices = ops.max_pool2d(sixloop.Tensor(x), pool, strides=stride, return_indices=True)

    def run() -> Any:
        if average:
            return ops.avg_pool2d_grad(sdy, shape, pool, strides=stride)
        return ops.max_pool2d_grad(sdy, shape, pool, strides=stride, indices=indices)

    return Work(
        {"x": x, "dy": dy},
        run,
        lambda: [run()],
        lambda: verify.pool2d_grad(dy, x, pool, stride, average, _rng()),
    )


def _softmax(rows: int, classes: int) -> Work:
    x = values((rows, classes))
    sx = sixloop.Tensor(x)

    def run() -> Any:
        return ops.softmax(sx)

    return Work({"x": x}, run, lambda: [run()], lambda: verify.softmax(x, _rng()))


def _cross_entropy(rows: int, classes: int) -> Work:
    x, labels = values((rows, classes)), _rng().integers(0, classes, rows)
    sx = sixloop.Tensor(x)

    def run() -> Any:
        return ops.cross_entropy(sx, labels)

    return Work(
        {"x": x, "labels": labels}, run, run, lambda: verify.cross_entropy(x, labels, _rng())
    )


def _norm_inputs(shape: Sequence[int]) -> dict[str, NDArray[Any]]:
    channels = shape[-1]
    return {
        "x": values(shape),
        "gamma": 1 + values((channels,), first=31) / 8,
        "beta": values((channels,), first=7919) / 8,
        "mean": values((channels,), first=101) / 8,
        "variance": 1 + np.abs(values((channels,), first=211)) / 8,
    }


def _bn_training(shape: Sequence[int]) -> Work:
    inputs = _norm_inputs(shape)
    tensors = {key: sixloop.Tensor(value) for key, value in inputs.items()}

    def run() -> Any:
        return ops.batch_norm(
            tensors["x"],
            tensors["gamma"],
            tensors["beta"],
            epsilon=EPSILON,
            activation="relu",
            return_affine=True,
        )

    def samples() -> Iterable[verify.Sample]:
        x, gamma, beta = inputs["x"], inputs["gamma"], inputs["beta"]
        return verify.batch_norm(x, gamma, beta, None, _rng(), EPSILON)

    return Work(inputs, run, lambda: run()[:3], samples)


def _bn_inference(shape: Sequence[int]) -> Work:
    inputs = _norm_inputs(shape)
    tensors = {key: sixloop.Tensor(value) for key, value in inputs.items()}

    def run() -> Any:
        arguments = (tensors[name] for name in ("x", "gamma", "beta", "mean", "variance"))
        return ops.batch_norm(*arguments, epsilon=EPSILON, activation="relu")

    def samples() -> Iterable[verify.Sample]:
        statistics = inputs["mean"], inputs["variance"]
        x, gamma, beta = inputs["x"], inputs["gamma"], inputs["beta"]
        return verify.batch_norm(x, gamma, beta, statistics, _rng(), EPSILON)

    return Work(inputs, run, lambda: [run()[0]], samples)


def _bn_backward(shape: Sequence[int]) -> Work:
    inputs = _norm_inputs(shape)
    inputs["dy"] = values(shape, first=7919)
    tensors = {key: sixloop.Tensor(value) for key, value in inputs.items()}
    x, gamma, dy = tensors["x"], tensors["gamma"], tensors["dy"]
    y, mean, variance, affine = ops.batch_norm(
        x, gamma, tensors["beta"], epsilon=EPSILON, activation="relu", return_affine=True
    )

    inputs["y"] = y.numpy()

    def run() -> Any:
        return ops.batch_norm_grad(
            dy, x, gamma, mean, variance, epsilon=EPSILON, relu_affine=affine
        )

    def samples() -> Iterable[verify.Sample]:
        return verify.batch_norm_grad(
            inputs["dy"], inputs["x"], inputs["y"], inputs["gamma"], _rng(), EPSILON
        )

    return Work(inputs, run, run, samples)


def _lenet_inputs(batch: int) -> tuple[Any, dict[str, NDArray[Any]]]:
    model = models.build("lenet5")
    inputs: dict[str, NDArray[Any]] = {"x": values((batch, 28, 28, 1))}
    inputs["labels"] = _rng().integers(0, 10, batch)
    for name, parameter in model.trainable_parameters().items():
        inputs[name] = np.array(parameter)
    return model, inputs


def _lenet_training(batch: int) -> Work:
    model, inputs = _lenet_inputs(batch)
    x, labels = inputs["x"], inputs["labels"]
    loss = losses.get("cross_entropy")
    # The weights do not move: once the one batch is learnt, velocities of units that no longer fire
    # would decay to subnormal numbers, which processors compute with far more slowly.
    optimizer = optim.SGD(lr=0.0, momentum=0.9)
    parameters = model.trainable_parameters()
    step = 0

    def gradients() -> Any:
        logits = model(x, training=True, step=step, logits=True)
        value, gradient = loss(logits, labels)
        model.backward(gradient, input_gradient=False, from_logits=True)
        return value

    def run() -> None:
        nonlocal step
        gradients()
        optimizer.update(parameters, model.gradients())
        step += 1

    def result() -> list[Any]:
        return [gradients(), *(np.array(model.gradients()[name]) for name in parameters)]

    def samples() -> Iterable[verify.Sample]:
        return verify.lenet5(x, labels, [inputs[name] for name in parameters])

    return Work(inputs, run, result, samples)


def _lenet_inference(batch: int) -> Work:
    model, inputs = _lenet_inputs(batch)
    x = sixloop.Tensor(inputs["x"])
    names = list(model.trainable_parameters())

    def run() -> Any:
        return model(x)

    def samples() -> Iterable[verify.Sample]:
        return verify.lenet5(inputs["x"], None, [inputs[name] for name in names])

    return Work(inputs, run, lambda: [run()], samples)


_PREPARE: dict[str, Callable[..., Work]] = {
    "gemm": _gemm,
    "forward": _forward,
    "grad_input": _grad_input,
    "grad_weight": _grad_weight,
    "pool2d": _pool2d,
    "pool2d_grad": _pool2d_grad,
    "softmax": _softmax,
    "cross_entropy": _cross_entropy,
    "bn_training": _bn_training,
    "bn_backward": _bn_backward,
    "bn_inference": _bn_inference,
    "lenet_training": _lenet_training,
    "lenet_inference": _lenet_inference,
}
