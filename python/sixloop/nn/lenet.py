"""What LeNet-5 of 1998 has and later networks do not.

LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86, 1998, section II.B.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from sixloop import Tensor, _checks, allocated_bytes, initializers, ops
from sixloop._arrays import device_of, to_device, to_numpy
from sixloop._checks import PairLike, Shape, show
from sixloop.initializers import InitializerLike
from sixloop.nn import _epilogue, _scratch, _window
from sixloop.nn.layer import Context, Footprint, Layer, ParameterSpec, Scratch, Window
from sixloop.ops import Array


class ScaledTanh(Layer):
    """Applies amplitude * tanh(slope * x) to each element; the shape stays (appendix A).

    Args:
        amplitude: default 1.7159, with which f(1) = 1 and f(-1) = -1.
        slope: default 2/3.
        name: name of the layer.

    Raises:
        ValueError, TypeError: an argument that is no finite number.
    """

    is_recordable = True

    def __init__(
        self, amplitude: float = 1.7159, slope: float = 2 / 3, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        tag = name or "ScaledTanh"
        self.amplitude = _checks.number(tag, "amplitude", amplitude)
        self.slope = _checks.number(tag, "slope", slope)

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def footprint(self, *shapes: Shape, training: bool) -> Footprint:
        return Footprint(kept_outputs=1)

    def scratch(self, batch: int, itemsize: int, *shapes: Shape) -> Scratch:
        size = allocated_bytes(batch * math.prod(shapes[0]) * itemsize)
        return Scratch(forward=2 * size, grad_input=size)

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        scaled = ops.scale(inputs[0], self.slope)
        if ctx.saving:
            ctx.saved = scaled
        return ops.scale(ops.tanh(scaled), self.amplitude)

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        scaled, ctx.saved = ctx.saved, None
        return (ops.scale(ops.tanh_grad(dy, scaled), self.amplitude * self.slope),)


class Subsample2D(Layer):
    """Multiplies the sum of each window by a trained number: [N, H, W, C] to [N, OH, OW, C].

    The windows tile the image and every map has one coefficient and one bias (layers S2 and S4).
    A last row or column that fills no window is left out.

    Parameters, each [C]: ``coefficient`` and ``bias``.

    Args:
        pool_size: window, int or (h, w); default 2.
        coefficient_initializer: name or object of ``sixloop.initializers``; the default 0.25 makes
            the layer an average over 2x2.
        bias_initializer: likewise; default zeros.
        name: name of the layer and of its parameters.

    Raises:
        ValueError, TypeError: bad argument, or a window that does not fit (when called).
    """

    def __init__(
        self,
        pool_size: PairLike = 2,
        coefficient_initializer: InitializerLike | None = None,
        bias_initializer: InitializerLike = "zeros",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.pool_size = _checks.pair(name or "Subsample2D", "pool_size", pool_size)
        self.coefficient_initializer = initializers.get(
            initializers.constant(0.25)
            if coefficient_initializer is None
            else coefficient_initializer
        )
        self.bias_initializer = initializers.get(bias_initializer)

    def output_shape(self, *shapes: Shape) -> Shape:
        height, width, channels = _window.image("Subsample2D", shapes[0])
        h, w = self.pool_size
        _window.check_fit("pool", (height, width), (h, w), (h, w), "valid", (1, 1), False)
        return height // h, width // w, channels

    def parameter_specs(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        channels = shapes[0][-1:]
        return {
            "coefficient": ParameterSpec(channels, self.coefficient_initializer),
            "bias": ParameterSpec(channels, self.bias_initializer),
        }

    def multiply_adds(self, *shapes: Shape) -> int:
        oh, ow, channels = self.output_shape(*shapes)
        return oh * ow * channels * self.pool_size[0] * self.pool_size[1]

    def window(self, *shapes: Shape) -> Window:
        return Window(self.pool_size, self.pool_size)

    def footprint(self, *shapes: Shape, training: bool) -> Footprint:
        return Footprint(keeps_inputs=True, skips_unneeded=True)

    def scratch(self, batch: int, itemsize: int, *shapes: Shape) -> Scratch:
        channels = shapes[0][2]
        return _scratch.of_convolution_with_own_filters(
            (batch, *shapes[0]),
            (*self.pool_size, 1, channels),
            itemsize,
            strides=self.pool_size,
            groups=channels,
        )

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        (x,) = inputs
        if ctx.saving:
            ctx.saved = x
        bias = self._parameters["bias"]
        return ops.conv2d(x, self._filters(), bias, strides=self.pool_size, groups=x.shape[-1])

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        x, ctx.saved = ctx.saved, None
        filters, groups = self._filters(), x.shape[-1]
        of_cells = ops.conv2d_grad_weight(
            x, dy, filters.shape, strides=self.pool_size, groups=groups
        )
        of_maps = to_numpy(of_cells).sum(axis=(0, 1))[0]
        ctx.add_gradient("coefficient", to_device(of_maps, device_of(dy)))
        ctx.add_gradient("bias", ops.bias_grad(dy))
        if not ctx.needs[0]:
            return (None,)
        return (ops.conv2d_grad_input(dy, filters, x.shape, strides=self.pool_size, groups=groups),)

    def _filters(self) -> Tensor:
        # A depthwise convolution whose filters hold one number each.
        coefficient = self._parameters["coefficient"]
        shape = (*self.pool_size, 1, coefficient.size)
        filters = np.ascontiguousarray(np.broadcast_to(coefficient.numpy(), shape))
        return to_device(filters, coefficient.device)


class SparseConv2D(Layer):
    """Convolves some input maps for each output map: [N, H, W, C] to [N, OH, OW, len(table)].

    Stride 1, no padding: OH = H - KH + 1 (layer C3 with the table of the paper).

    Parameters: ``weight`` [KH, KW, links], where the links are those of the table in its order, and
    ``bias`` [len(table)].

    Args:
        table: for each output map the input maps that it reads, counted from 0.
        kernel_size: int or (h, w).
        kernel_initializer, bias_initializer: name or object of ``sixloop.initializers``.
        name: name of the layer and of its parameters.

    Raises:
        ValueError, TypeError: bad argument, or an input that does not fit (when called).
    """

    def __init__(
        self,
        table: Sequence[Sequence[int]],
        kernel_size: PairLike,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        tag = name or "SparseConv2D"
        if not isinstance(table, (list, tuple)) or not table:
            raise TypeError(f"[{tag}] table must be a list with a list for each map; got {table!r}")
        for i, maps in enumerate(table):
            if not isinstance(maps, (list, tuple)) or not maps:
                raise TypeError(f"[{tag}] table[{i}] must be a list of input maps; got {maps!r}")
            for j, source in enumerate(maps):
                _checks.integer(tag, f"table[{i}][{j}]", source, minimum=0)
            if len(set(maps)) != len(maps):
                raise ValueError(f"[{tag}] table[{i}] must name a map once; got {maps!r}")
        self.table = tuple(tuple(int(source) for source in maps) for maps in table)
        self.kernel_size = _checks.pair(tag, "kernel_size", kernel_size)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self._sources = [source for maps in self.table for source in maps]
        self._targets = [target for target, maps in enumerate(self.table) for _ in maps]

    def output_shape(self, *shapes: Shape) -> Shape:
        height, width, channels = _window.image("SparseConv2D", shapes[0])
        if max(self._sources) >= channels:
            raise ValueError(
                f"table names the input map {max(self._sources)}, counted from 0; "
                f"got input {show(shapes[0])}"
            )
        kh, kw = self.kernel_size
        _window.check_fit("filter", (height, width), (kh, kw), (1, 1), "valid", (1, 1), False)
        return height - kh + 1, width - kw + 1, len(self.table)

    def parameter_specs(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        weight = (*self.kernel_size, len(self._sources))
        return {
            "weight": ParameterSpec(weight, self.kernel_initializer),
            "bias": ParameterSpec((len(self.table),), self.bias_initializer),
        }

    def multiply_adds(self, *shapes: Shape) -> int:
        # Those of the links; the kernel, which multiplies by the zeros as well, does more.
        oh, ow, _ = self.output_shape(*shapes)
        return oh * ow * self.kernel_size[0] * self.kernel_size[1] * len(self._sources)

    def window(self, *shapes: Shape) -> Window:
        return Window(self.kernel_size)

    def footprint(self, *shapes: Shape, training: bool) -> Footprint:
        return Footprint(keeps_inputs=True, skips_unneeded=True)

    def scratch(self, batch: int, itemsize: int, *shapes: Shape) -> Scratch:
        channels, maps = shapes[0][2], self.output_shape(*shapes)[2]
        return _scratch.of_convolution_with_own_filters(
            (batch, *shapes[0]), (*self.kernel_size, channels, maps), itemsize
        )

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        (x,) = inputs
        if ctx.saving:
            ctx.saved = x
        return ops.conv2d(x, self._filters(x.shape[-1]), self._parameters["bias"])

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        x, ctx.saved = ctx.saved, None
        filters = self._filters(x.shape[-1])
        dense = to_numpy(ops.conv2d_grad_weight(x, dy, filters.shape))
        own = np.ascontiguousarray(dense[:, :, self._sources, self._targets])
        ctx.add_gradient("weight", to_device(own, device_of(dy)))
        ctx.add_gradient("bias", ops.bias_grad(dy))
        return (ops.conv2d_grad_input(dy, filters, x.shape) if ctx.needs[0] else None,)

    def _filters(self, channels: int) -> Tensor:
        """Returns the filters of a convolution with all links, zero where the table has none."""
        weight = self._parameters["weight"]
        dense = np.zeros((*self.kernel_size, channels, len(self.table)), weight.dtype)
        dense[:, :, self._sources, self._targets] = weight.numpy()
        return to_device(dense, weight.device)


class RadialBasis(Layer):
    """Returns the negative squared distance to each class's centre: [N, features] to [N, classes].

    z_c = -sum((x - centre_c)**2), which the paper's output layer has with the other sign. Softmax
    of it makes cross-entropy the paper's criterion (eq. 9) without its rubbish class.

    Parameters: ``centres`` [features, classes], not trained.

    Args:
        units: number of classes.
        activation: None or "softmax"; default None.
        centre_initializer: name or object of ``sixloop.initializers``; default "signs", random -1
            and 1. The paper drew its centres by hand, as 7x12 pictures of the characters.
        name: name of the layer and of its parameters.

    Raises:
        ValueError, TypeError: bad argument, or an input that is not [N, features] (when called).
    """

    def __init__(
        self,
        units: int,
        activation: str | None = None,
        centre_initializer: InitializerLike = "signs",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        tag = name or "RadialBasis"
        self.units = _checks.integer(tag, "units", units)
        self.activation = (
            None
            if activation is None
            else _checks.choice(tag, "activation", activation, ["softmax"], also="None")
        )
        self.centre_initializer = initializers.get(centre_initializer)

    def output_shape(self, *shapes: Shape) -> Shape:
        if len(shapes[0]) != 1:
            raise ValueError(
                f"RadialBasis needs a 2-D input (N, features); got {show(shapes[0])}: put "
                "Flatten() before it"
            )
        return (self.units,)

    def parameter_specs(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        shape = (shapes[0][0], self.units)
        return {"centres": ParameterSpec(shape, self.centre_initializer, trainable=False)}

    def multiply_adds(self, *shapes: Shape) -> int:
        return shapes[0][0] * self.units

    def window(self, *shapes: Shape) -> Literal["all"]:
        return "all"

    def scratch(self, batch: int, itemsize: int, *shapes: Shape) -> Scratch:
        # The sums that forward and backward add up.
        return Scratch(
            forward=2 * allocated_bytes(batch * self.units * itemsize),
            grad_input=2 * allocated_bytes(batch * shapes[0][0] * itemsize),
        )

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        # On the CPU wherever x is: as small as the paper's last layer is.
        x, centres = to_numpy(inputs[0]), self._parameters["centres"].numpy()
        if ctx.saving:
            ctx.saved = x
        # -x*x + 2*x*c - c*c, summed by matrix products, whose order of addition is fixed.
        minus = np.full_like(centres, -1)
        squares = ops.gemm(minus[:, :1], np.square(centres), transpose_a=True)[0]
        z = ops.add(ops.gemm(np.square(x), minus), ops.gemm(x, 2 * centres, squares))
        return _epilogue.finish(self.activation, ctx, to_device(z, device_of(inputs[0])))

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        x, ctx.saved = ctx.saved, None
        dz = to_numpy(_epilogue.gradient(self.activation, ctx, dy))
        centres = self._parameters["centres"].numpy()
        sums = ops.gemm(dz, np.ones_like(centres), transpose_b=True)
        towards = ops.gemm(dz, centres, transpose_b=True)
        return (to_device(2 * (towards - x * sums), device_of(dy)),)
