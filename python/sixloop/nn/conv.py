"""Convolution."""

from __future__ import annotations

from sixloop import _checks, initializers, ops
from sixloop._checks import PaddingLike, PairLike, Shape, show
from sixloop.initializers import InitializerLike
from sixloop.nn import _epilogue, _scratch, _window
from sixloop.nn.layer import Context, Footprint, Layer, ParameterSpec, Scratch, Window
from sixloop.ops import Array

# Of a group: with fewer the tensor cores are not used, see ops.conv2d_statistics.
_FEWEST_FILTERS = 16
ALGORITHMS = ("auto", "direct", "im2col", "winograd2x2", "winograd4x4", "implicit_gemm")


class Conv2D(Layer):
    """Slides filters over an image: [N, H, W, C] to [N, OH, OW, filters].

    OH = floor((H + top + bottom - dilation*(KH - 1) - 1) / stride) + 1, OW likewise.

    Parameters: ``weight`` [KH, KW, C/groups, filters] and ``bias`` [filters].

    Args:
        filters: number of output channels.
        kernel_size: int or (h, w).
        strides: int or (h, w); default 1.
        padding: "valid" (none, the default), "same" (OH = ceil(H / stride), TensorFlow's rule),
            an int, (h, w) or ((top, bottom), (left, right)).
        dilation: spacing of the filter's cells, int or (h, w); default 1.
        groups: number of channel groups convolved on their own; ``groups == C`` is depthwise.
        activation: name of an activation, run inside the kernel; default None.
        use_bias: whether to add a bias; default True.
        kernel_initializer, bias_initializer: name or object of ``sixloop.initializers``.
        strict: raise when (H + pad - KH) is not a multiple of the stride, instead of leaving
            out the last rows or columns; default False.
        algorithm: "auto" (a function of the shape alone), "direct", "im2col", "winograd2x2" or
            "winograd4x4", or on tensor cores "implicit_gemm", see :func:`sixloop.ops.conv2d`.
        precision: "fp32" (the default) or "tf32", see :func:`sixloop.ops.conv2d`.
        name: name of the layer and of its parameters.

    Raises:
        ValueError, TypeError: bad argument, or an input that does not fit (when called).
    """

    is_recordable = True
    makes_new_output = True

    def __init__(
        self,
        filters: int,
        kernel_size: PairLike,
        strides: PairLike = 1,
        padding: PaddingLike = "valid",
        dilation: PairLike = 1,
        groups: int = 1,
        activation: str | None = None,
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        strict: bool = False,
        algorithm: str = "auto",
        precision: ops.Precision = "fp32",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        tag = name or "Conv2D"
        self.filters = _checks.integer(tag, "filters", filters)
        self.kernel_size = _checks.pair(tag, "kernel_size", kernel_size)
        self.strides = _checks.pair(tag, "strides", strides)
        self.padding = _checks.padding(tag, padding)
        self.dilation = _checks.pair(tag, "dilation", dilation)
        self.groups = _checks.integer(tag, "groups", groups)
        self.activation = _epilogue.check(tag, activation)
        self.use_bias = _checks.flag(tag, "use_bias", use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.strict = _checks.flag(tag, "strict", strict)
        self.algorithm = _checks.choice(tag, "algorithm", algorithm, ALGORITHMS)
        _checks.choice(tag, "precision", precision, ops.PRECISIONS)
        self.precision: ops.Precision = precision
        if self.filters % self.groups:
            raise ValueError(
                f"[{tag}] filters must be a multiple of groups; got filters={filters}, "
                f"groups={groups}"
            )

    def output_shape(self, *shapes: Shape) -> Shape:
        height, width, channels = _window.image("Conv2D", shapes[0])
        if channels % self.groups:
            raise ValueError(
                f"input channels must be a multiple of groups; got input {show(shapes[0])}, "
                f"groups={self.groups}"
            )
        _window.check_fit(
            "filter",
            (height, width),
            self.kernel_size,
            self.strides,
            self.padding,
            self.dilation,
            self.strict,
        )
        _, oh, ow, filters = ops.conv2d_output_shape(
            (1, height, width, channels),
            self._weight_shape(channels),
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return oh, ow, filters

    def parameter_specs(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        weight = self._weight_shape(shapes[0][2])
        specs = {"weight": ParameterSpec(weight, self.kernel_initializer)}
        if self.use_bias:
            specs["bias"] = ParameterSpec((self.filters,), self.bias_initializer)
        return specs

    def multiply_adds(self, *shapes: Shape) -> int:
        oh, ow, filters = self.output_shape(*shapes)
        kh, kw, channels, _ = self._weight_shape(shapes[0][2])
        return oh * ow * filters * kh * kw * channels

    def window(self, *shapes: Shape) -> Window:
        height, width = _window.spans(self.kernel_size, self.dilation)
        return Window((height, width), self.strides)

    def footprint(self, *shapes: Shape, training: bool) -> Footprint:
        return Footprint(keeps_inputs=True, skips_unneeded=True)

    def scratch(self, batch: int, itemsize: int, *shapes: Shape) -> Scratch:
        return _scratch.of_convolution(
            (batch, *shapes[0]),
            self._weight_shape(shapes[0][2]),
            itemsize,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            algorithm=self.algorithm,
        )

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        (x,) = inputs
        z = self.convolve(
            ctx,
            x,
            activation=_epilogue.fused(self.activation, ctx),
            keep_filters=not (training or ctx.saving),
        )
        if ctx.saving:
            ctx.saved = x
        return _epilogue.finish(self.activation, ctx, z)

    @property
    def has_epilogue(self) -> bool:
        """Whether its kernel for tensor cores does more than an activation after the bias."""
        return self.groups == 1 or self.filters // self.groups >= _FEWEST_FILTERS

    def convolve(
        self,
        ctx: Context,
        x: Array,
        *,
        activation: str | None,
        residual: Array | None = None,
        keep_filters: bool = False,
    ) -> Array:
        """Returns activation(x * weight + bias + residual)."""
        return ops.conv2d(
            x,
            ctx.weight(self._parameters["weight"]),
            self._parameters.get("bias"),
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            activation=activation,
            algorithm=self.algorithm,
            precision=ctx.products(self.precision),
            residual=residual,
            keep_filters=keep_filters,
        )

    def forward_with_statistics(self, ctx: Context, x: Array) -> tuple[Array, tuple[Array, Array]]:
        """Returns the output without activation, and the mean and variance of its channels."""
        if ctx.saving:
            ctx.saved = x
        z, mean, variance = ops.conv2d_statistics(
            x,
            ctx.weight(self._parameters["weight"]),
            self._parameters.get("bias"),
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            algorithm=self.algorithm,
            precision=ctx.products(self.precision),
        )
        return z, (mean, variance)

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        x, ctx.saved = ctx.saved, None
        weight = self._parameters["weight"]
        if self.use_bias:
            dz, bias = _epilogue.gradient_with_bias(self.activation, ctx, dy)
            ctx.add_gradient("bias", bias)
        else:
            dz = _epilogue.gradient(self.activation, ctx, dy)
        ctx.add_gradient(
            "weight",
            ops.conv2d_grad_weight(
                x,
                dz,
                weight.shape,
                strides=self.strides,
                padding=self.padding,
                dilation=self.dilation,
                groups=self.groups,
                algorithm=self.algorithm,
                precision=ctx.products(self.precision),
            ),
        )
        if not ctx.needs[0]:
            return (None,)
        dx = ops.conv2d_grad_input(
            dz,
            ctx.weight(weight),
            x.shape,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            algorithm=self.algorithm,
            precision=ctx.products(self.precision),
        )
        return (dx,)

    def _weight_shape(self, channels: int) -> tuple[int, int, int, int]:
        return (*self.kernel_size, channels // self.groups, self.filters)
