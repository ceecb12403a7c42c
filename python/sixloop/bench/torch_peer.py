"""The same cases in PyTorch, in both of its layouts. No other file of the package imports it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from sixloop.bench.cases import EPSILON, Case, Work
from sixloop.bench.shapes import Convolution

__all__ = ["LAYOUTS", "Peer", "peers", "set_threads", "version"]

LAYOUTS = {"torch_nhwc": torch.channels_last, "torch_nchw": torch.contiguous_format}


class Peer(NamedTuple):
    """A case in another library: what is timed, and what is compared, as arrays in our layout."""

    run: Callable[[], Any]
    result: Callable[[], Sequence[Any]]


def version() -> str:
    """Returns PyTorch's version."""
    return str(torch.__version__)


def set_threads(threads: int) -> None:
    """Sets how many threads an op of PyTorch uses."""
    torch.set_num_threads(threads)


def peers(case: Case, work: Work) -> dict[str, Peer]:
    """Returns PyTorch by layout ("torch_nhwc", "torch_nchw"), or "torch" where there is only one.

    Args:
        case, work: the case in sixloop; its arrays are copied.
    """
    return _PEERS[case.op](work.inputs, *case.arguments)


def _images(array: Any, layout: Any) -> Any:
    """Returns [N, H, W, C] as PyTorch's [N, C, H, W]."""
    return torch.from_numpy(array).permute(0, 3, 1, 2).contiguous(memory_format=layout)


def _filters(array: Any, layout: Any) -> Any:
    """Returns [KH, KW, C, O] as PyTorch's [O, C, KH, KW]."""
    return torch.from_numpy(array).permute(3, 2, 0, 1).contiguous(memory_format=layout)


def _nhwc(tensor: Any) -> Any:
    return tensor.permute(0, 2, 3, 1)


def _layouts(make: Callable[[Any], Peer]) -> dict[str, Peer]:
    return {name: make(layout) for name, layout in LAYOUTS.items()}


def _plain(tensor: Any) -> list[Any]:
    return [tensor.detach().numpy()]


def _gemm(inputs: dict[str, Any], *sizes: int) -> dict[str, Peer]:
    a, b = (torch.from_numpy(inputs[name].copy()) for name in "ab")
    na, nb = inputs["a"], inputs["b"]
    return {
        "torch": Peer(lambda: a @ b, lambda: _plain(a @ b)),
        "numpy": Peer(lambda: na @ nb, lambda: [na @ nb]),
    }


def _padding(shape: Convolution) -> list[int]:
    (top, bottom), (left, right) = shape.padding
    if (top, left) != (bottom, right):
        raise ValueError(f"[bench] PyTorch has no convolution with padding {shape.padding}")
    return [top, left]


def _forward(inputs: dict[str, Any], shape: Convolution, algorithm: str) -> dict[str, Peer]:
    padding = _padding(shape)

    def make(layout: Any) -> Peer:
        x, w = _images(inputs["x"], layout), _filters(inputs["w"], layout)

        def run() -> Any:
            return F.conv2d(x, w, None, shape.strides, padding, shape.dilation, shape.groups)

        return Peer(run, lambda: _plain(_nhwc(run())))

    return _layouts(make)


def _backward(which: int) -> Callable[..., dict[str, Peer]]:
    order = (0, 2, 3, 1) if which == 0 else (2, 3, 1, 0)

    def of_case(inputs: dict[str, Any], shape: Convolution, algorithm: str) -> dict[str, Peer]:
        padding = _padding(shape)
        mask = [which == 0, which == 1, False]

        def make(layout: Any) -> Peer:
            x, dy = _images(inputs["x"], layout), _images(inputs["dy"], layout)
            w = _filters(inputs["w"], layout)

            def run() -> Any:
                return torch.ops.aten.convolution_backward(
                    *(dy, x, w, None, shape.strides, padding, shape.dilation),
                    *(False, [0, 0], shape.groups, mask),
                )[which]

            return Peer(run, lambda: _plain(run().permute(order)))

        return _layouts(make)

    return of_case


def _pool2d(
    inputs: dict[str, Any], shape: Any, pool: int, stride: int, average: bool
) -> dict[str, Peer]:
    function = F.avg_pool2d if average else F.max_pool2d

    def make(layout: Any) -> Peer:
        x = _images(inputs["x"], layout)

        def run() -> Any:
            return function(x, pool, stride)

        return Peer(run, lambda: _plain(_nhwc(run())))

    return _layouts(make)


def _pool2d_grad(
    inputs: dict[str, Any], shape: Any, pool: int, stride: int, average: bool
) -> dict[str, Peer]:
    window = [pool, pool], [stride, stride], [0, 0]

    def make(layout: Any) -> Peer:
        x, dy = _images(inputs["x"], layout), _images(inputs["dy"], layout)
        # Forward keeps the places of the maxima, which is part of what it is timed for elsewhere.
        indices = None if average else F.max_pool2d(x, pool, stride, return_indices=True)[1]

        def run() -> Any:
            if average:
                return torch.ops.aten.avg_pool2d_backward(dy, x, *window, False, True, None)
            return torch.ops.aten.max_pool2d_with_indices_backward(
                dy, x, *window, [1, 1], False, indices
            )

        return Peer(run, lambda: _plain(_nhwc(run())))

    return _layouts(make)


def _softmax(inputs: dict[str, Any], *sizes: int) -> dict[str, Peer]:
    x = torch.from_numpy(inputs["x"].copy())

    def run() -> Any:
        return torch.softmax(x, -1)

    return {"torch": Peer(run, lambda: _plain(run()))}


def _cross_entropy(inputs: dict[str, Any], *sizes: int) -> dict[str, Peer]:
    x = torch.from_numpy(inputs["x"].copy()).requires_grad_()
    labels = torch.from_numpy(inputs["labels"])

    def run() -> Any:
        loss = F.cross_entropy(x, labels)
        return loss, torch.autograd.grad(loss, x)[0]

    def result() -> list[Any]:
        return [t.detach().numpy() for t in run()]

    return {"torch": Peer(run, result)}


def _bn_training(inputs: dict[str, Any], shape: Any) -> dict[str, Peer]:
    return _layouts(lambda layout: _bn_forward(inputs, layout, True))


def _bn_inference(inputs: dict[str, Any], shape: Any) -> dict[str, Peer]:
    return _layouts(lambda layout: _bn_forward(inputs, layout, False))


def _bn_forward(inputs: dict[str, Any], layout: Any, training: bool) -> Peer:
    x = _images(inputs["x"], layout)
    gamma, beta, mean, variance = (
        torch.from_numpy(inputs[name].copy()) for name in ("gamma", "beta", "mean", "variance")
    )
    statistics = (None, None) if training else (mean, variance)

    def run() -> Any:
        # In place, as a network has it, so that it saves a pass over new memory.
        return F.relu_(F.batch_norm(x, *statistics, gamma, beta, training, eps=EPSILON))

    return Peer(run, lambda: _plain(_nhwc(run())))


def _bn_backward(inputs: dict[str, Any], shape: Any) -> dict[str, Peer]:
    def make(layout: Any) -> Peer:
        x, dy = _images(inputs["x"], layout), _images(inputs["dy"], layout)
        gamma, beta = (torch.from_numpy(inputs[name].copy()) for name in ("gamma", "beta"))
        _, mean, invstd = torch.native_batch_norm(x, gamma, beta, None, None, True, 0.1, EPSILON)
        # Our result: a ReLU that tips over at the last bit would be a difference of its own.
        y = _images(inputs["y"], layout)

        def run() -> Any:
            dz = torch.ops.aten.threshold_backward(dy, y, 0)
            return torch.ops.aten.native_batch_norm_backward(
                dz, x, gamma, None, None, mean, invstd, True, EPSILON, [True, True, True]
            )

        def result() -> list[Any]:
            dx, dgamma, dbeta = run()
            return [_nhwc(dx).numpy(), dgamma.numpy(), dbeta.numpy()]

        return Peer(run, result)

    return _layouts(make)


class _LeNet5:
    """LeNet-5 with the parameters of ours, as a user of PyTorch writes it."""

    def __init__(self, inputs: dict[str, Any], layout: Any) -> None:
        self.names = [name for name in inputs if name not in ("x", "labels")]
        self.x = _images(inputs["x"], layout)
        self.labels = torch.from_numpy(inputs["labels"])
        arrays = [inputs[name].copy() for name in self.names]
        # Ours flattens (H, W, C), PyTorch (C, H, W).
        arrays[4] = arrays[4].reshape(5, 5, 16, -1).transpose(2, 0, 1, 3).reshape(400, -1)
        self.network = torch.nn.Sequential(
            torch.nn.Conv2d(1, 6, 5, padding=2), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(6, 16, 5), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
            torch.nn.Flatten(), torch.nn.Linear(400, 120), torch.nn.ReLU(),
            torch.nn.Linear(120, 84), torch.nn.ReLU(), torch.nn.Linear(84, 10),
        )  # fmt: skip
        with torch.no_grad():
            for parameter, array in zip(self.network.parameters(), arrays, strict=True):
                turned = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(turned)))
        self.network = self.network.to(memory_format=layout)
        self.sgd = torch.optim.SGD(self.network.parameters(), lr=0.0, momentum=0.9)  # as ours

    def loss(self) -> Any:
        self.sgd.zero_grad()
        loss = F.cross_entropy(self.network(self.x), self.labels)
        loss.backward()
        return loss

    def step(self) -> None:
        self.loss()
        self.sgd.step()

    def gradients(self) -> list[Any]:
        """Returns the loss and the gradients in our layout."""
        results = [self.loss().detach().numpy()]
        for parameter in self.network.parameters():
            grad = parameter.grad.numpy()
            results.append(grad.transpose(2, 3, 1, 0) if grad.ndim == 4 else grad.T)
        first = results[5]
        results[5] = first.reshape(16, 5, 5, -1).transpose(1, 2, 0, 3).reshape(first.shape)
        return results

    def classify(self) -> Any:
        with torch.inference_mode():
            return torch.softmax(self.network(self.x), -1)


def _lenet_training(inputs: dict[str, Any], batch: int) -> dict[str, Peer]:
    def make(layout: Any) -> Peer:
        network = _LeNet5(inputs, layout)
        return Peer(network.step, network.gradients)

    return _layouts(make)


def _lenet_inference(inputs: dict[str, Any], batch: int) -> dict[str, Peer]:
    def make(layout: Any) -> Peer:
        network = _LeNet5(inputs, layout)
        return Peer(network.classify, lambda: [network.classify().numpy()])

    return _layouts(make)


_PEERS: dict[str, Callable[..., dict[str, Peer]]] = {
    "gemm": _gemm,
    "forward": _forward,
    "grad_input": _backward(0),
    "grad_weight": _backward(1),
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
