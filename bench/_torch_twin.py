"""The same network in PyTorch, made from a sixloop model: same graph, same weights.

As a user of PyTorch writes it: one functional call a layer, ReLU in place, the batch's layout as
given, fully connected layers after a flattening in PyTorch's order (C, H, W).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from sixloop import nn, ops

Shape = tuple[int, ...]


class Twin(torch.nn.Module):
    """Runs what `model` runs; returns logits, or a list of them for several outputs.

    Args:
        model: with parameters; they are copied.
        layout: torch.channels_last or torch.contiguous_format, of the filters.
        device: where its parameters are.
    """

    def __init__(self, model: nn.Model, layout: torch.memory_format, device: str = "cpu") -> None:
        super().__init__()
        self.layout = layout
        self.device = device
        self.outputs = model.output_slots
        self.slots = len(model.inputs) + len(model.steps)
        self.calls: list[tuple[Callable[..., Any], tuple[int, ...], int, list[int]]] = []
        self.names: list[str] = []  # of sixloop's parameters, in the order of ours
        shapes: dict[int, Shape] = dict(enumerate(model.input_shapes))
        flattened: dict[int, Shape] = {}  # slot -> (H, W, C) of what was flattened into it
        for node, step in zip(model.nodes, model.steps, strict=True):
            inputs = [shapes[slot] for slot in step.inputs]
            shapes[step.output] = node.output_shape
            kind = type(step.layer).__name__
            if kind == "Flatten":
                flattened[step.output] = inputs[0]
            elif step.inputs[0] in flattened and kind not in ("Dense", "RadialBasis"):
                flattened[step.output] = flattened[step.inputs[0]]
            order = flattened.get(step.inputs[0]) if kind == "Dense" else None
            self._prefix = step.name
            make = getattr(self, f"_{kind}")
            call = make(step.layer, inputs, node.output_shape, order)
            self.calls.append((call, step.inputs, step.output, step.release))

    def forward(self, x: torch.Tensor) -> Any:
        values: list[Any] = [None] * self.slots
        values[0] = x
        for call, inputs, output, release in self.calls:
            values[output] = call(*[values[slot] for slot in inputs])
            for slot in release:
                if slot not in self.outputs:
                    values[slot] = None
        outputs = [values[slot] for slot in self.outputs]
        return outputs[0] if len(outputs) == 1 else outputs

    # ---- parameters ----------------------------------------------------------------------------

    def _parameter(self, name: str, array: np.ndarray, trainable: bool = True) -> torch.Tensor:
        tensor = torch.from_numpy(np.array(array, order="C")).to(self.device)
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=self.layout)
        attribute = f"{self._prefix}_{name}".replace(".", "_")
        if not trainable:
            self.register_buffer(attribute, tensor)
            return tensor
        parameter = torch.nn.Parameter(tensor)
        self.register_parameter(attribute, parameter)
        self.names.append(f"{self._prefix}.{name}")
        return parameter

    def _own(self, layer: nn.Layer, name: str) -> np.ndarray:
        return np.asarray(layer.parameters()[name])

    # ---- layers --------------------------------------------------------------------------------

    def _Conv2D(self, layer: Any, inputs: list[Shape], output: Shape, order: Any) -> Any:
        weight = self._parameter("weight", self._own(layer, "weight").transpose(3, 2, 0, 1))
        bias = self._parameter("bias", self._own(layer, "bias")) if layer.use_bias else None
        pads = ops.resolve_padding(
            inputs[0][:2], layer.kernel_size, layer.strides, layer.dilation, layer.padding
        )
        (top, bottom), (left, right) = pads
        before = None if top == bottom and left == right else (left, right, top, bottom)
        padding = (0, 0) if before else (top, left)

        def call(x: torch.Tensor) -> torch.Tensor:
            x = x if before is None else F.pad(x, before)
            y = F.conv2d(x, weight, bias, layer.strides, padding, layer.dilation, layer.groups)
            return activate(layer.activation, y)

        return call

    def _Dense(self, layer: Any, inputs: list[Shape], output: Shape, order: Any) -> Any:
        own = self._own(layer, "weight")
        if order is not None:
            own = own.reshape(*order, -1).transpose(2, 0, 1, 3).reshape(own.shape)
        weight = self._parameter("weight", own.T)
        bias = self._parameter("bias", self._own(layer, "bias")) if layer.use_bias else None
        return lambda x: activate(layer.activation, F.linear(x, weight, bias))

    def _BatchNorm(self, layer: Any, inputs: list[Shape], output: Shape, order: Any) -> Any:
        gamma = self._parameter("gamma", self._own(layer, "gamma"))
        beta = self._parameter("beta", self._own(layer, "beta"))
        mean = self._parameter("mean", self._own(layer, "running_mean"), trainable=False)
        variance = self._parameter(
            "variance", self._own(layer, "running_variance"), trainable=False
        )
        momentum = 1 - layer.momentum
        return lambda x: activate(
            layer.activation,
            F.batch_norm(x, mean, variance, gamma, beta, self.training, momentum, layer.epsilon),
        )

    def _MaxPool2D(self, layer: Any, inputs: list[Shape], output: Shape, order: Any) -> Any:
        return self._pool(F.max_pool2d, layer, inputs[0])

    def _AvgPool2D(self, layer: Any, inputs: list[Shape], output: Shape, order: Any) -> Any:
        if layer.pool_size == (1, 1):
            down, right = layer.strides
            return lambda x: x[:, :, ::down, ::right]
        return self._pool(F.avg_pool2d, layer, inputs[0], count_include_pad=False)

    def _pool(self, function: Any, layer: Any, shape: Shape, **options: Any) -> Any:
        pads = ops.resolve_padding(shape[:2], layer.pool_size, layer.strides, (1, 1), layer.padding)
        # More padding behind than before is what PyTorch's ceil_mode adds.
        options["ceil_mode"] = any(after > before for before, after in pads)
        padding = (pads[0][0], pads[1][0])
        return lambda x: function(x, layer.pool_size, layer.strides, padding, **options)

    def _GlobalAvgPool2D(self, layer: Any, inputs: list[Shape], output: Shape, order: Any) -> Any:
        return lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1)

    def _LocalResponseNorm(self, layer: Any, inputs: list[Shape], output: Shape, order: Any) -> Any:
        alpha = layer.alpha * layer.size  # which PyTorch divides by the size
        return lambda x: F.local_response_norm(x, layer.size, alpha, layer.beta, layer.k)

    def _Dropout(self, layer: Any, inputs: list[Shape], output: Shape, order: Any) -> Any:
        return lambda x: F.dropout(x, layer.rate, self.training)

    def _Flatten(self, layer: Any, inputs: list[Shape], output: Shape, order: Any) -> Any:
        return lambda x: x.flatten(1)

    def _Activation(self, layer: Any, inputs: list[Shape], output: Shape, order: Any) -> Any:
        return lambda x: activate(layer.activation, x)

    def _Add(self, layer: Any, inputs: list[Shape], output: Shape, order: Any) -> Any:
        return lambda x, y: activate(layer.activation, x + y)

    def _Concat(self, layer: Any, inputs: list[Shape], output: Shape, order: Any) -> Any:
        return lambda *xs: torch.cat(xs, 1)

    def _ZeroPadChannels(self, layer: Any, inputs: list[Shape], output: Shape, order: Any) -> Any:
        return lambda x: F.pad(x, (0, 0, 0, 0, 0, layer.count))

    def _ScaledTanh(self, layer: Any, inputs: list[Shape], output: Shape, order: Any) -> Any:
        return lambda x: layer.amplitude * torch.tanh(layer.slope * x)

    def _Subsample2D(self, layer: Any, inputs: list[Shape], output: Shape, order: Any) -> Any:
        coefficient = self._parameter("coefficient", self._own(layer, "coefficient")[:, None, None])
        bias = self._parameter("bias", self._own(layer, "bias")[:, None, None])
        size = layer.pool_size
        cells = math.prod(size)
        return lambda x: F.avg_pool2d(x, size) * (cells * coefficient) + bias

    def _SparseConv2D(self, layer: Any, inputs: list[Shape], output: Shape, order: Any) -> Any:
        # One weight a link, spread into filters with all of them.
        weight = self._parameter("weight", self._own(layer, "weight").transpose(2, 0, 1))
        bias = self._parameter("bias", self._own(layer, "bias"))
        links = [(o, c) for o, sources in enumerate(layer.table) for c in sources]
        targets, sources = (torch.tensor(side) for side in zip(*links, strict=True))
        shape = (len(layer.table), inputs[0][2], *layer.kernel_size)

        def call(x: torch.Tensor) -> torch.Tensor:
            dense = weight.new_zeros(shape).index_put((targets, sources), weight)
            return F.conv2d(x, dense, bias)

        return call

    def _RadialBasis(self, layer: Any, inputs: list[Shape], output: Shape, order: Any) -> Any:
        centres = self._parameter("centres", self._own(layer, "centres").T, trainable=False)
        return lambda x: -((x[:, None] - centres) ** 2).sum(-1)


def activate(name: str | None, x: torch.Tensor) -> torch.Tensor:
    """Applies an activation; the softmax of the end is left to the caller."""
    if name is None or name == "softmax":
        return x
    if name != "relu":
        raise ValueError(f"the networks have no activation {name!r}")
    return F.relu_(x)
