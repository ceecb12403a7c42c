"""The fully connected layer."""

from __future__ import annotations

import math
from typing import Literal

from sixloop import _checks, initializers, ops
from sixloop._checks import Shape, show
from sixloop.initializers import InitializerLike
from sixloop.nn import _epilogue, _scratch
from sixloop.nn.layer import Context, Footprint, Layer, ParameterSpec, Scratch
from sixloop.ops import Array


class Dense(Layer):
    """Multiplies by a matrix and adds a bias: [N, features] to [N, units].

    Parameters: ``weight`` [features, units] and ``bias`` [units].

    Args:
        units: number of outputs.
        activation: name of an activation, run inside the kernel; default None.
        use_bias: whether to add a bias; default True.
        kernel_initializer, bias_initializer: name or object of ``sixloop.initializers``.
        precision: "fp32" (the default) or "tf32", see :func:`sixloop.ops.gemm`.
        name: name of the layer and of its parameters.

    Raises:
        ValueError, TypeError: bad argument, or an input that is not [N, features] (when called).
    """

    is_recordable = True
    makes_new_output = True

    def __init__(
        self,
        units: int,
        activation: str | None = None,
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        precision: ops.Precision = "fp32",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        tag = name or "Dense"
        self.units = _checks.integer(tag, "units", units)
        self.activation = _epilogue.check(tag, activation)
        self.use_bias = _checks.flag(tag, "use_bias", use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        _checks.choice(tag, "precision", precision, ops.PRECISIONS)
        self.precision: ops.Precision = precision

    def output_shape(self, *shapes: Shape) -> Shape:
        if len(shapes[0]) != 1:
            raise ValueError(
                f"Dense needs a 2-D input (N, features); got {show(shapes[0])}: put Flatten() "
                f"before it, which makes (N, {math.prod(shapes[0])})"
            )
        return (self.units,)

    def parameter_specs(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        weight = (shapes[0][0], self.units)
        specs = {"weight": ParameterSpec(weight, self.kernel_initializer)}
        if self.use_bias:
            specs["bias"] = ParameterSpec((self.units,), self.bias_initializer)
        return specs

    def multiply_adds(self, *shapes: Shape) -> int:
        return shapes[0][0] * self.units

    def window(self, *shapes: Shape) -> Literal["all"]:
        return "all"

    def footprint(self, *shapes: Shape, training: bool) -> Footprint:
        return Footprint(keeps_inputs=True, skips_unneeded=True)

    def scratch(self, batch: int, itemsize: int, *shapes: Shape) -> Scratch:
        return _scratch.of_product(batch, shapes[0][0], self.units, itemsize)

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        (x,) = inputs
        z = ops.gemm(
            x,
            ctx.weight(self._parameters["weight"]),
            self._parameters.get("bias"),
            activation=_epilogue.fused(self.activation, ctx),
            precision=ctx.products(self.precision),
        )
        if ctx.saving:
            ctx.saved = x
        return _epilogue.finish(self.activation, ctx, z)

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        x, ctx.saved = ctx.saved, None
        if self.use_bias:
            dz, bias = _epilogue.gradient_with_bias(self.activation, ctx, dy)
            ctx.add_gradient("bias", bias)
        else:
            dz = _epilogue.gradient(self.activation, ctx, dy)
        ctx.add_gradient(
            "weight", ops.gemm(x, dz, transpose_a=True, precision=ctx.products(self.precision))
        )
        if not ctx.needs[0]:
            return (None,)
        weight = ctx.weight(self._parameters["weight"])
        return (ops.gemm(dz, weight, transpose_b=True, precision=ctx.products(self.precision)),)
