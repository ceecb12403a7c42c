"""Metrics: what share of the predictions is right.

A metric counts: `metric.count(output, target)` returns (right, of how many) for one batch, so that
the figure for an epoch is exact however it was cut into batches. `metric(output, target)` is the
share.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sixloop import _on_device, _registry
from sixloop._arrays import to_numpy
from sixloop.losses import check_labels

if TYPE_CHECKING:
    from sixloop import Tensor

__all__ = ["Accuracy", "BinaryAccuracy", "Metric", "TopKAccuracy", "get"]


class Metric:
    """The base of the metrics. A subclass sets `name` and implements `count`."""

    name: str

    is_recordable: ClassVar[bool] = False
    """Whether `count_on_gpu` and its target are there; what a class inherits does not count."""

    def target_on_gpu(self, output_shape: tuple[int, ...], target: Any, dtype: Any) -> NDArray[Any]:
        """Return what `count_on_gpu` takes as target."""
        raise NotImplementedError

    def count_on_gpu(self, output: Tensor, target: Tensor, *, logits: bool) -> Tensor:
        """Return the numbers of right predictions, int64 on the GPU, to be added up."""
        raise NotImplementedError

    def total(self, output_shape: tuple[int, ...]) -> int:
        """Return the number of predictions in an output of this shape."""
        return math.prod(output_shape[:-1])

    def count(self, output: Any, target: Any, *, logits: bool = False) -> tuple[float, int]:
        """Return the number of right predictions in a batch and the number of all.

        Args:
            output: the model's, float (N, ...); copied, where it is on the GPU.
            target: what it should have been.
            logits: whether `output` lacks the final softmax or sigmoid (default False).
        """
        raise NotImplementedError

    def __call__(self, output: Any, target: Any, *, logits: bool = False) -> float:
        """Return the share of right predictions, 0 to 1 (NaN of none)."""
        right, total = self.count(output, target, logits=logits)
        return right / total if total else math.nan

    def config(self) -> dict[str, Any]:
        """Return the name and arguments from which `get` builds this metric again."""
        return {"name": self.name}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.config().items() if k != "name")
        return f"{type(self).__name__}({arguments})"


class Accuracy(Metric):
    """The share of samples whose largest score is that of the right class (the first if tied).

    Args of a call:
        output: scores, probabilities or logits, float (N, ..., classes).
        target: class indices, integers (N, ...), or one-hot rows of the shape of `output`.
    """

    name = "accuracy"
    is_recordable = True

    def target_on_gpu(self, output_shape: tuple[int, ...], target: Any, dtype: Any) -> NDArray[Any]:
        labels = np.asarray(target)
        if labels.shape == output_shape and labels.ndim >= 2:
            labels = labels.argmax(axis=-1)
        check_labels(self.name, output_shape, labels)
        return np.ascontiguousarray(labels, np.int64).reshape(-1)

    def count_on_gpu(self, output: Tensor, target: Tensor, *, logits: bool) -> Tensor:
        return _on_device.count_top_k(output, target, 0)

    def count(self, output: Any, target: Any, *, logits: bool = False) -> tuple[float, int]:
        scores, labels = to_numpy(output), to_numpy(target)
        if labels.shape == scores.shape and labels.ndim >= 2:
            labels = labels.argmax(axis=-1)
        check_labels(self.name, scores.shape, labels)
        return int(np.count_nonzero(scores.argmax(axis=-1) == labels)), labels.size


class BinaryAccuracy(Metric):
    """The share of elements on the right side of a threshold.

    An element is predicted true if its probability is over the threshold; its target is true if it
    is over 1/2.

    Args:
        threshold: a probability, 0 < threshold < 1 (default 0.5). For logits it is
            log(threshold / (1 - threshold)).

    Args of a call:
        output: probabilities or logits, float, any shape.
        target: 0 to 1, of the shape of `output` or that shape without a last axis of 1.
    """

    name = "binary_accuracy"
    is_recordable = True

    def __init__(self, threshold: float = 0.5) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f"[{self.name}] expected 0 < threshold < 1; got {threshold!r}")
        self.threshold = float(threshold)

    def _edge(self, logits: bool) -> float:
        return math.log(self.threshold / (1 - self.threshold)) if logits else self.threshold

    def _check(self, output_shape: tuple[int, ...], target_shape: tuple[int, ...]) -> None:
        if target_shape != output_shape and (*target_shape, 1) != output_shape:
            raise ValueError(
                f"[{self.name}] expected targets of the output's shape; "
                f"got output {output_shape}, target {target_shape}"
            )

    def target_on_gpu(self, output_shape: tuple[int, ...], target: Any, dtype: Any) -> NDArray[Any]:
        truth = np.asarray(target)
        self._check(output_shape, truth.shape)
        # As numbers that no dtype rounds across the edge.
        return np.ascontiguousarray(truth > 0.5, dtype).reshape(output_shape)

    def count_on_gpu(self, output: Tensor, target: Tensor, *, logits: bool) -> Tensor:
        return _on_device.count_binary(output, target, self._edge(logits))

    def total(self, output_shape: tuple[int, ...]) -> int:
        return math.prod(output_shape)

    def count(self, output: Any, target: Any, *, logits: bool = False) -> tuple[float, int]:
        values, truth = to_numpy(output), to_numpy(target)
        self._check(values.shape, truth.shape)
        edge = self._edge(logits)
        right = (values > edge) == (truth.reshape(values.shape) > 0.5)
        return int(np.count_nonzero(right & ~np.isnan(values))), values.size

    def config(self) -> dict[str, Any]:
        return {"name": self.name, "threshold": self.threshold}


class AccuracyOfBinary(BinaryAccuracy):
    """What "accuracy" means beside a loss on binary targets: `BinaryAccuracy` by that name."""

    name = "accuracy"
    is_recordable = True

    def __init__(self) -> None:
        super().__init__()

    def config(self) -> dict[str, Any]:
        return {"name": self.name}


class TopKAccuracy(Metric):
    """The share of samples whose right class is among the k with the largest scores.

    Of equal scores the lower class index goes first, so that k = 1 is `Accuracy`.

    Args:
        k: how many classes count, >= 1 (default 5). All of them if there are fewer.

    Args of a call:
        output: scores, probabilities or logits, float (N, ..., classes).
        target: class indices, integers (N, ...).
    """

    is_recordable = True

    def __init__(self, k: int = 5) -> None:
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(f"[top_k_accuracy] k must be an integer >= 1; got {k!r}")
        self.k = k
        self.name = f"top_{k}_accuracy"

    def target_on_gpu(self, output_shape: tuple[int, ...], target: Any, dtype: Any) -> NDArray[Any]:
        labels = np.asarray(target)
        check_labels(self.name, output_shape, labels)
        return np.ascontiguousarray(labels, np.int64).reshape(-1)

    def count_on_gpu(self, output: Tensor, target: Tensor, *, logits: bool) -> Tensor:
        return _on_device.count_top_k(output, target, self.k)

    def count(self, output: Any, target: Any, *, logits: bool = False) -> tuple[float, int]:
        scores, labels = to_numpy(output), to_numpy(target)
        check_labels(self.name, scores.shape, labels)
        labels = labels[..., None]
        right: NDArray[Any] = np.take_along_axis(scores, labels, axis=-1)
        # "Not <=" counts NaN as larger, so that a diverged model is not taken for a perfect one.
        ahead = ~(scores <= right)
        ahead |= (scores == right) & (np.arange(scores.shape[-1]) < labels)
        rank = np.count_nonzero(ahead, axis=-1)
        return int(np.count_nonzero((rank < self.k) & ~np.isnan(right[..., 0]))), rank.size

    def config(self) -> dict[str, Any]:
        return {"name": "top_k_accuracy", "k": self.k}


class _Function(Metric):
    """A function of the user's own, `f(output, target) -> mean over the samples`."""

    def __init__(self, function: Callable[[Any, Any], float]) -> None:
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)

    def count(self, output: Any, target: Any, *, logits: bool = False) -> tuple[float, int]:
        return float(self.function(output, target)) * len(output), len(output)

    def config(self) -> dict[str, Any]:
        return {"custom": self.name}


_METRICS: dict[str, Callable[..., Metric]] = {
    "accuracy": Accuracy,
    "binary_accuracy": BinaryAccuracy,
    "top_k_accuracy": TopKAccuracy,
}


def get(spec: Any) -> Metric:
    """Return the metric that `spec` names.

    Args:
        spec: "accuracy", "binary_accuracy", "top_k_accuracy" (k = 5) or with a number in place of
            the k ("top_3_accuracy"); what a metric's `config()` returned; a Metric; or a function
            `f(output, target) -> float`, the mean over the samples of a batch.

    Raises:
        ValueError: unknown name. TypeError: none of these.
    """
    if isinstance(spec, Metric):
        return spec
    if callable(spec) and not isinstance(spec, type):
        return _Function(spec)
    if isinstance(spec, str) and (match := re.fullmatch(r"top_(\d{1,9})_accuracy", spec)):
        return TopKAccuracy(int(match[1]))
    return _registry.build("metric", _METRICS, spec)
