"""Losses: `loss(output, target)` is the mean loss and its gradient with respect to `output`.

    loss, gradient = CrossEntropy()(logits, labels)
    model.backward(gradient, from_logits=True)

CrossEntropy and BinaryCrossEntropy are functions of logits, the values before the last softmax or
sigmoid: log(softmax(z)) keeps its digits where softmax(z) has already rounded to 0 or 1. Their
`final_activation` tells the Trainer which last activation to leave out (`model(x, logits=True)`);
a model without one gives logits as it is.

Gradients are made of correctly rounded operations and sixloop's own functions alone, so that they
have the same bits on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from sixloop import _on_device, _registry, ops
from sixloop._arrays import device_of, to_device, to_numpy

if TYPE_CHECKING:
    from sixloop import Tensor
    from sixloop.ops import Array

# The order in which the terms of a loss are added up: csrc/loss/loss.h has it for the GPU.
_CHUNK, _LANES = 4096, 256
_FEW_LABELS = 64  # up to which NumPy's two reductions, 2 us each, take longer than a list

__all__ = [
    "BinaryCrossEntropy",
    "CrossEntropy",
    "L2Penalty",
    "Loss",
    "MeanSquaredError",
    "WestonWatkinsHinge",
    "get",
]


class Loss:
    """The base of the losses. A subclass sets `name` and implements `check` and `_evaluate`."""

    name: ClassVar[str]

    final_activation: ClassVar[str | None] = None
    """The last activation that this loss takes the place of: it wants the values before it."""

    refused_activations: ClassVar[tuple[str, ...]] = ()
    """Last activations whose output this loss would misread."""

    on_device: ClassVar[bool] = False
    """Whether `_evaluate` takes an output on the GPU. Otherwise `sum_on_gpu` does, and where a
    class has none, `_evaluate` is given a copy on the CPU."""

    is_recordable: ClassVar[bool] = False
    """Whether there are `target_on_gpu` and `sum_on_gpu`; what a class inherits does not count."""

    def __call__(self, output: Array, target: Any) -> tuple[float, Array]:
        """Return the mean loss of a batch and its gradient, of the shape and dtype of `output`.

        The gradient is on the device of `output`. A batch without samples has loss 0.
        """
        target = np.asarray(target)
        self.check(tuple(output.shape), target)
        device = device_of(output)
        with np.errstate(over="ignore", invalid="ignore"):  # the loss shows it
            if device == "cpu" or self.on_device:
                return self._evaluate(output, target)
            if output.size and _on_device.declares(self, "is_recordable"):
                return self._evaluate_there(output, target)
            loss, gradient = self._evaluate(to_numpy(output), target)
        return loss, to_device(gradient, device)

    def _evaluate_there(self, output: Tensor, target: NDArray[Any]) -> tuple[float, Tensor]:
        dtype = "float32" if output.dtype == "bfloat16" else output.dtype
        values = self.target_on_gpu(tuple(output.shape), target, dtype)
        total, divisor, gradient = self.sum_on_gpu(output, to_device(values, "cuda"))
        return float(total.item()) / divisor, gradient

    def check(self, output_shape: tuple[int, ...], target: NDArray[Any]) -> None:
        """Raise ValueError or TypeError unless `target` fits an output of `output_shape`.

        The Trainer calls this with all targets before the first step.
        """
        raise NotImplementedError

    def _evaluate(self, output: Array, target: NDArray[Any]) -> tuple[float, Array]:
        raise NotImplementedError

    def target_on_gpu(self, output_shape: tuple[int, ...], target: Any, dtype: Any) -> NDArray[Any]:
        """Return what `sum_on_gpu` takes as target, of the output's dtype where it is floating."""
        raise NotImplementedError

    def sum_on_gpu(self, output: Tensor, target: Tensor) -> tuple[Tensor, float, Tensor]:
        """Return the loss without waiting for it.

        Returns:
            A sum, float64 [1] on the GPU; what it is divided by to be the loss; the gradient.
        """
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """Return the name and arguments from which `get` builds this loss again."""
        return {"name": self.name}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.config().items() if k != "name")
        return f"{type(self).__name__}({arguments})"


class CrossEntropy(Loss):
    """Softmax cross-entropy of logits and class indices.

    L = 1/N * sum_i (log(sum_j exp(z_ij)) - z_i,y_i); dL/dz_ij = (softmax(z_i)_j - [j == y_i]) / N

    Args of a call:
        output: logits, float (N, ..., classes).
        target: class indices 0 to classes - 1, integers (N, ...). N above counts all of them.

    Source: Bishop, Pattern Recognition and Machine Learning (2006), equations 4.108 and 4.109.
    """

    name = "cross_entropy"
    final_activation = "softmax"
    refused_activations = ("sigmoid",)
    on_device = True
    is_recordable = True

    def check(self, output_shape: tuple[int, ...], target: NDArray[Any]) -> None:
        check_labels(self.name, output_shape, target)

    def target_on_gpu(self, output_shape: tuple[int, ...], target: Any, dtype: Any) -> NDArray[Any]:
        return _labels(target)

    def sum_on_gpu(self, output: Tensor, target: Tensor) -> tuple[Tensor, float, Tensor]:
        rows = output.reshape(-1, output.shape[-1])
        loss, divisor, gradient = _on_device.loss_cross_entropy(rows, target)
        return loss, divisor, gradient.reshape(output.shape)

    def _evaluate(self, output: Array, target: NDArray[Any]) -> tuple[float, Array]:
        shape = tuple(output.shape)
        labels: Any = target.reshape(-1).astype(np.int64, copy=False)
        if labels.size == 0:
            return 0.0, output
        if device_of(output) != "cpu":
            labels = to_device(labels, device_of(output))
        if len(shape) == 2:
            return ops.cross_entropy(output, labels)
        loss, gradient = ops.cross_entropy(output.reshape(-1, shape[-1]), labels)
        return loss, gradient.reshape(*shape)


class BinaryCrossEntropy(Loss):
    """Sigmoid cross-entropy of logits and probabilities, the mean over all elements.

    L = mean(max(z, 0) - z*y + log(1 + exp(-|z|))); dL/dz = (sigmoid(z) - y) / elements

    The form is stable: no exponential overflows and log(0) does not occur.

    Args of a call:
        output: logits, float, any shape.
        target: 0 to 1, of the shape of `output` or that shape without a last axis of 1.

    Source: the negative logarithm of Bishop (2006), equation 4.89, divided by the elements.
    """

    name = "binary_cross_entropy"
    final_activation = "sigmoid"
    refused_activations = ("softmax",)
    is_recordable = True

    def check(self, output_shape: tuple[int, ...], target: NDArray[Any]) -> None:
        _check_values(self.name, output_shape, target)
        # Written so that NaN is refused too.
        if target.size and not (target.min() >= 0 and target.max() <= 1):
            raise ValueError(
                f"[{self.name}] targets are probabilities: expected 0 <= target <= 1; "
                f"got {target.min()} to {target.max()}"
            )

    def target_on_gpu(self, output_shape: tuple[int, ...], target: Any, dtype: Any) -> NDArray[Any]:
        return _values(output_shape, target, dtype)

    def sum_on_gpu(self, output: Tensor, target: Tensor) -> tuple[Tensor, float, Tensor]:
        return _on_device.loss_binary_cross_entropy(output, target)

    def _evaluate(self, output: Array, target: NDArray[Any]) -> tuple[float, Array]:
        z = np.asarray(output)
        if z.size == 0:
            return 0.0, output
        y = target.reshape(z.shape).astype(z.dtype, copy=False)
        tail = np.asarray(ops.softplus(-np.abs(z)))
        loss = _sum(np.maximum(z, 0) - z * y + tail) / z.size
        gradient = np.asarray(ops.sigmoid(z)) - y
        gradient /= z.size
        return float(loss), gradient


class MeanSquaredError(Loss):
    """The squared difference, the mean over all elements.

    L = mean((output - target)^2); dL/doutput = 2 * (output - target) / elements

    Args of a call:
        output: float, any shape.
        target: numbers, of the shape of `output` or that shape without a last axis of 1.
    """

    name = "mean_squared_error"
    is_recordable = True

    def check(self, output_shape: tuple[int, ...], target: NDArray[Any]) -> None:
        _check_values(self.name, output_shape, target)

    def target_on_gpu(self, output_shape: tuple[int, ...], target: Any, dtype: Any) -> NDArray[Any]:
        return _values(output_shape, target, dtype)

    def sum_on_gpu(self, output: Tensor, target: Tensor) -> tuple[Tensor, float, Tensor]:
        return _on_device.loss_squared_error(output, target)

    def _evaluate(self, output: Array, target: NDArray[Any]) -> tuple[float, Array]:
        values = np.asarray(output)
        if values.size == 0:
            return 0.0, output
        gradient = values - target.reshape(values.shape).astype(values.dtype, copy=False)
        loss = _sum(gradient, squared=True) / values.size
        gradient *= 2
        gradient /= values.size
        return float(loss), gradient


class WestonWatkinsHinge(Loss):
    """Multi-class hinge loss in the form of Weston and Watkins: every wrong class counts.

    L = 1/N * sum_i sum_{j != y_i} max(0, s_ij - s_i,y_i + margin)

    The gradient where a term is exactly 0 is 0. (Crammer and Singer take the largest term in place
    of the sum; torch's multi_margin_loss divides this loss by the number of classes.)

    Args:
        margin: by how much the score of the right class shall exceed the others, > 0 (default 1).

    Args of a call:
        output: scores, float (N, ..., classes).
        target: class indices 0 to classes - 1, integers (N, ...). N above counts all of them.

    Source: Weston and Watkins, Support vector machines for multi-class pattern recognition (1999);
    the "multiclass SVM loss" of Stanford's CS231n.
    """

    name = "weston_watkins_hinge"
    refused_activations = ("softmax", "sigmoid")
    is_recordable = True

    def __init__(self, margin: float = 1.0) -> None:
        if not (math.isfinite(margin) and margin > 0):
            raise ValueError(f"[{self.name}] margin must be finite and > 0; got {margin!r}")
        self.margin = float(margin)

    def check(self, output_shape: tuple[int, ...], target: NDArray[Any]) -> None:
        check_labels(self.name, output_shape, target)

    def target_on_gpu(self, output_shape: tuple[int, ...], target: Any, dtype: Any) -> NDArray[Any]:
        return _labels(target)

    def sum_on_gpu(self, output: Tensor, target: Tensor) -> tuple[Tensor, float, Tensor]:
        return _on_device.loss_hinge(output, target, self.margin)

    def _evaluate(self, output: Array, target: NDArray[Any]) -> tuple[float, Array]:
        scores = np.asarray(output)
        if scores.size == 0:
            return 0.0, output
        shape, labels = scores.shape, target.reshape(-1)
        scores = scores.reshape(-1, shape[-1])
        rows = np.arange(len(labels))
        margins = scores - scores[rows, labels][:, None]
        margins += scores.dtype.type(self.margin)
        margins[rows, labels] = 0
        np.maximum(margins, 0, out=margins)
        loss = _sum(margins) / len(labels)
        gradient = (margins > 0).astype(scores.dtype)
        # Counts up to the number of classes: exact in float32.
        gradient[rows, labels] = -gradient.sum(axis=1)
        gradient /= len(labels)
        return float(loss), gradient.reshape(shape)

    def config(self) -> dict[str, Any]:
        return {"name": self.name, "margin": self.margin}


class L2Penalty:
    """The penalty l2/2 * sum(w^2) over the weights, added to the loss (ridge, Tikhonov).

    The weights are the parameters of rank 2 and more: biases and the scales and shifts of the
    norms, which are of rank 1, do not count. dP/dw = l2 * w is added to the gradients, so that for
    plain SGD the penalty is the same as a weight decay of `l2` on these parameters; for RMSprop and
    Adam it is scaled as the rest of the gradient is, which is what AdamW's decoupled decay avoids
    (Loshchilov and Hutter, 2019). An optimizer's `weight_decay` acts on all parameters and is not
    part of the reported loss; this penalty is.

    Args:
        l2: the factor, finite and >= 0.
    """

    def __init__(self, l2: float) -> None:
        if not (math.isfinite(l2) and l2 >= 0):
            raise ValueError(f"[l2] the penalty's factor must be finite and >= 0; got {l2!r}")
        self.l2 = float(l2)

    def __call__(self, parameters: Mapping[str, Array], gradients: Mapping[str, Array]) -> float:
        """Return the penalty and add its gradient to `gradients`, in place.

        Args:
            parameters: trainable parameters by name.
            gradients: theirs, by the same names and of the same shapes.
        """
        total = 0.0
        for name, parameter in parameters.items():
            weight, gradient = to_numpy(parameter), gradients[name]
            if weight.ndim < 2:
                continue
            with np.errstate(over="ignore", invalid="ignore"):  # the loss shows it
                total += _sum(weight, squared=True)
                if device_of(gradient) == "cpu":
                    values = to_numpy(gradient)
                    values += weight.dtype.type(self.l2) * weight
                else:
                    gradient.assign(ops.add(gradient, ops.scale(parameter, self.l2)))
        return 0.5 * self.l2 * total


def check_labels(op: str, output_shape: tuple[int, ...], target: NDArray[Any]) -> None:
    """Raise unless `target` holds a class index for every vector of scores in an output.

    Args:
        op: the tag of the message.
        output_shape: (N, ..., classes).
        target: integers (N, ...), 0 to classes - 1.

    Raises:
        TypeError: not integers.
        ValueError: another shape, or an index out of range.
    """
    expected, classes = output_shape[:-1], output_shape[-1] if output_shape else 0
    if target.dtype.kind not in "iu":
        raise TypeError(
            f"[{op}] labels are class indices: expected integers; got dtype {target.dtype} "
            f"of shape {target.shape}"
        )
    if len(output_shape) < 2 or target.shape != expected:
        hint = "; for one-hot rows pass target.argmax(-1)" if target.shape == output_shape else ""
        raise ValueError(
            f"[{op}] expected one class index for each row of scores, output (N, ..., classes) and "
            f"target (N, ...); got output {output_shape}, target {target.shape}{hint}"
        )
    low, high = _extremes(target)
    if target.size and not 0 <= low <= high < classes:
        raise ValueError(
            f"[{op}] labels out of range: expected 0 <= label < classes; "
            f"got {low} to {high} with {classes} classes"
        )


def _extremes(labels: NDArray[Any]) -> tuple[int, int]:
    """Return the smallest and the largest label, and zeros where there is none."""
    if labels.size == 0:
        return 0, 0
    if labels.size <= _FEW_LABELS:
        values = labels.reshape(-1).tolist()
        return min(values), max(values)
    return int(labels.min()), int(labels.max())


def _check_values(op: str, output_shape: tuple[int, ...], target: NDArray[Any]) -> None:
    if target.dtype.kind not in "fiub":
        raise TypeError(f"[{op}] expected real numbers as targets; got dtype {target.dtype}")
    # Anything else would broadcast, and (N, 1) - (N,) would be all pairs.
    if target.shape != output_shape and (*target.shape, 1) != output_shape:
        raise ValueError(
            f"[{op}] expected targets of the output's shape; "
            f"got output {output_shape}, target {target.shape}"
        )


def _labels(target: Any) -> NDArray[Any]:
    return np.ascontiguousarray(target, np.int64).reshape(-1)


def _values(output_shape: tuple[int, ...], target: Any, dtype: Any) -> NDArray[Any]:
    return np.ascontiguousarray(target, dtype).reshape(output_shape)


def _sum(terms: NDArray[Any], *, squared: bool = False) -> float:
    """Return the sum in float64, in an order that the GPU can follow.

    Of each chunk, element i belongs to lane i % 256; lanes add their elements in order and are
    folded in halves; chunks are added in order. Padding with zeros changes no sum.
    """
    values = terms.reshape(-1)
    slab = 256 * _CHUNK  # at a time, or the copies of large weights would fill the memory
    total = 0.0
    for begin in range(0, values.size, slab):
        part = values[begin : begin + slab]
        chunks = -(-part.size // _CHUNK)
        rows = np.zeros((chunks, _CHUNK // _LANES, _LANES))
        flat = rows.reshape(-1)[: part.size]
        flat[...] = part
        if squared:
            np.square(flat, out=flat)
        lanes = rows[:, 0]
        for row in range(1, rows.shape[1]):
            lanes += rows[:, row]
        while lanes.shape[1] > 1:
            half = lanes.shape[1] // 2
            lanes = lanes[:, :half] + lanes[:, half:]
        for value in lanes[:, 0].tolist():
            total += value
    return total


_LOSSES: dict[str, Callable[..., Loss]] = {
    loss.name: loss
    for loss in (CrossEntropy, BinaryCrossEntropy, MeanSquaredError, WestonWatkinsHinge)
}


def get(spec: str | Mapping[str, Any] | Loss | Callable[[Any, Any], tuple[float, Any]]) -> Loss:
    """Return the loss that `spec` names, or `spec` itself if it can be called.

    Args:
        spec: "cross_entropy", "binary_cross_entropy", "mean_squared_error" or
            "weston_watkins_hinge"; what a loss's `config()` returned; or a callable of your own,
            `loss(output, target) -> (float, gradient)`.

    Raises:
        ValueError: unknown name. TypeError: none of these.
    """
    if callable(spec) and not isinstance(spec, type):
        return cast(Loss, spec)
    return _registry.build("loss", _LOSSES, spec)
