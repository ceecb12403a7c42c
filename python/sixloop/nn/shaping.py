"""Layers that change the shape: Flatten, Reshape, ZeroPad2D, ZeroPadChannels."""

from __future__ import annotations

import math

import sixloop
from sixloop import _checks, ops
from sixloop._arrays import device_of
from sixloop._checks import PaddingLike, Shape, show
from sixloop.nn import _window
from sixloop.nn.layer import Context, Footprint, Layer, Scratch
from sixloop.ops import Array


class Flatten(Layer):
    """Joins all axes but the batch, in row-major order: [N, H, W, C] to [N, H*W*C].

    Args:
        name: name of the layer.
    """

    is_recordable = True
    is_view = True

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)

    def output_shape(self, *shapes: Shape) -> Shape:
        return (math.prod(shapes[0]),)

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        (x,) = inputs
        ctx.saved = shape = x.shape
        return x.reshape(shape[0], math.prod(shape[1:]))

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        return (dy.reshape(*ctx.saved),)


class Reshape(Layer):
    """Gives each sample another shape with the same number of elements, in row-major order.

    Args:
        target_shape: the new shape without the batch axis; one size may be -1, which is then
            computed.
        name: name of the layer.

    Raises:
        ValueError, TypeError: bad argument, or an input of another size (when called).
    """

    is_recordable = True
    is_view = True

    def __init__(
        self, target_shape: int | tuple[int, ...] | list[int], name: str | None = None
    ) -> None:
        super().__init__(name=name)
        tag = name or "Reshape"
        sizes = target_shape if isinstance(target_shape, (list, tuple)) else (target_shape,)
        free = [i for i, size in enumerate(sizes) if isinstance(size, int) and size == -1]
        if len(free) > 1:
            raise ValueError(f"[{tag}] only one size may be -1; got {target_shape!r}")
        known = _checks.shape(tag, [1 if i in free else size for i, size in enumerate(sizes)])
        self.target_shape = tuple(-1 if i in free else size for i, size in enumerate(known))

    def output_shape(self, *shapes: Shape) -> Shape:
        size = math.prod(shapes[0])
        known = math.prod(n for n in self.target_shape if n != -1)
        if size % known if -1 in self.target_shape else size != known:
            product = " * ".join(map(str, shapes[0]))
            raise ValueError(
                f"target_shape {self.target_shape} must hold as many elements as the input: "
                f"{product} = {size}; got {known}"
                + (f" times a whole number ({size}/{known})" if -1 in self.target_shape else "")
            )
        return tuple(size // known if n == -1 else n for n in self.target_shape)

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        (x,) = inputs
        ctx.saved = x.shape
        return x.reshape(x.shape[0], *self.output_shape(tuple(x.shape[1:])))

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        return (dy.reshape(*ctx.saved),)


class ZeroPad2D(Layer):
    """Puts zeros round an image: [N, H, W, C] to [N, top + H + bottom, left + W + right, C].

    Args:
        padding: int, (h, w) or ((top, bottom), (left, right)); default 1.
        name: name of the layer.

    Raises:
        ValueError, TypeError: bad argument, or an input that is not an image (when called).
    """

    is_recordable = True

    def __init__(self, padding: PaddingLike = 1, name: str | None = None) -> None:
        super().__init__(name=name)
        self.padding = _checks.explicit_padding(name or "ZeroPad2D", padding)

    def output_shape(self, *shapes: Shape) -> Shape:
        height, width, channels = _window.image("ZeroPad2D", shapes[0])
        (top, bottom), (left, right) = self.padding
        padded = top + height + bottom, left + width + right, channels
        if max(padded) > _checks.MAX_SIZE:
            raise ValueError(
                f"the padded size must be at most {_checks.MAX_SIZE}; got {show(padded)}"
            )
        return padded

    def footprint(self, *shapes: Shape, training: bool) -> Footprint:
        return Footprint()

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        (x,) = inputs
        return ops.zero_pad2d(x, self.padding)

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        return (ops.crop2d(dy, self.padding),)


class ZeroPadChannels(Layer):
    """Appends channels of zeros: [N, ..., C] to [N, ..., C + count].

    With a stride, the shortcut without parameters of He et al. 2015 (option A).

    Args:
        count: number of channels to append.
        name: name of the layer.

    Raises:
        ValueError, TypeError: ``count`` is not a positive integer.
    """

    is_recordable = True

    def __init__(self, count: int, name: str | None = None) -> None:
        super().__init__(name=name)
        self.count = _checks.integer(name or "ZeroPadChannels", "count", count)

    def output_shape(self, *shapes: Shape) -> Shape:
        return (*shapes[0][:-1], shapes[0][-1] + self.count)

    def footprint(self, *shapes: Shape, training: bool) -> Footprint:
        return Footprint()

    def scratch(self, batch: int, itemsize: int, *shapes: Shape) -> Scratch:
        # The zeros, and backward the part of the gradient that belongs to them.
        size = sixloop.allocated_bytes(batch * math.prod(shapes[0][:-1]) * self.count * itemsize)
        return Scratch(forward=size, grad_input=size)

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        (x,) = inputs
        zeros = sixloop.zeros((*x.shape[:-1], self.count), str(x.dtype), device_of(x))
        return ops.concat([x, zeros])

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        return (ops.split(dy, [dy.shape[-1] - self.count, self.count])[0],)
