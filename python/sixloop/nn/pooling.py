"""Pooling."""

from __future__ import annotations

from typing import Literal

from sixloop import _checks, ops
from sixloop._checks import PaddingLike, PairLike, Shape
from sixloop.nn import _window
from sixloop.nn.layer import Context, Footprint, Layer, Window
from sixloop.ops import Array


class _Pool2D(Layer):
    def __init__(
        self,
        pool_size: PairLike = 2,
        strides: PairLike | None = None,
        padding: PaddingLike = "valid",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        tag = name or type(self).__name__
        self.pool_size = _checks.pair(tag, "pool_size", pool_size)
        self.strides = self.pool_size if strides is None else _checks.pair(tag, "strides", strides)
        self.padding = _checks.padding(tag, padding)

    def output_shape(self, *shapes: Shape) -> Shape:
        height, width, channels = _window.image(type(self).__name__, shapes[0])
        _window.check_fit(
            "pool", (height, width), self.pool_size, self.strides, self.padding, (1, 1), False
        )
        _, oh, ow, _ = ops.pool2d_output_shape(
            (1, height, width, channels),
            self.pool_size,
            strides=self.strides,
            padding=self.padding,
        )
        return oh, ow, channels

    def window(self, *shapes: Shape) -> Window:
        return Window(self.pool_size, self.strides)


# So many cells a byte numbers.
_MOST_INDEXED = 256


class MaxPool2D(_Pool2D):
    """Takes the maximum of each window: [N, H, W, C] to [N, OH, OW, C].

    Padding counts as absent; the gradient goes to the first of equal maxima. For the backward pass
    a byte for each output is kept, or the input where the window has more than 256 cells.

    Args:
        pool_size: window, int or (h, w); default 2.
        strides: int or (h, w); default the pool size.
        padding: as for ``Conv2D``; default "valid".
        name: name of the layer.

    Raises:
        ValueError, TypeError: bad argument, or a pool that does not fit (when called).
    """

    is_recordable = True

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        (x,) = inputs
        if ctx.saving and self._is_indexed:
            y, indices = ops.max_pool2d(
                x, self.pool_size, strides=self.strides, padding=self.padding, return_indices=True
            )
            ctx.saved = x.shape, indices
            return y
        if ctx.saving:
            ctx.saved = x, None
        return ops.max_pool2d(x, self.pool_size, strides=self.strides, padding=self.padding)

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        (x, indices), ctx.saved = ctx.saved, None
        return (
            ops.max_pool2d_grad(
                dy, x, self.pool_size, strides=self.strides, padding=self.padding, indices=indices
            ),
        )

    def footprint(self, *shapes: Shape, training: bool) -> Footprint:
        return Footprint(kept_bytes=1) if self._is_indexed else Footprint(keeps_inputs=True)

    @property
    def _is_indexed(self) -> bool:
        height, width = self.pool_size
        return height * width <= _MOST_INDEXED


class AvgPool2D(_Pool2D):
    """Takes the mean of each window: [N, H, W, C] to [N, OH, OW, C].

    Padding counts as absent: the divisor is the number of cells inside the image.

    Args:
        pool_size: window, int or (h, w); default 2.
        strides: int or (h, w); default the pool size.
        padding: as for ``Conv2D``; default "valid".
        name: name of the layer.

    Raises:
        ValueError, TypeError: bad argument, or a pool that does not fit (when called).
    """

    is_recordable = True

    def footprint(self, *shapes: Shape, training: bool) -> Footprint:
        return Footprint()

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        (x,) = inputs
        ctx.saved = x.shape
        return ops.avg_pool2d(x, self.pool_size, strides=self.strides, padding=self.padding)

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        return (
            ops.avg_pool2d_grad(
                dy, ctx.saved, self.pool_size, strides=self.strides, padding=self.padding
            ),
        )


class GlobalAvgPool2D(Layer):
    """Takes the mean of each channel over the whole image: [N, H, W, C] to [N, C].

    Args:
        name: name of the layer.
    """

    is_recordable = True

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)

    def output_shape(self, *shapes: Shape) -> Shape:
        return (_window.image("GlobalAvgPool2D", shapes[0])[2],)

    def window(self, *shapes: Shape) -> Literal["all"]:
        return "all"

    def footprint(self, *shapes: Shape, training: bool) -> Footprint:
        return Footprint()

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        (x,) = inputs
        ctx.saved = x.shape
        return ops.global_avg_pool2d(x)

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        return (ops.global_avg_pool2d_grad(dy, ctx.saved),)
