"""Layers with several inputs: Add and Concat."""

from __future__ import annotations

from sixloop import _checks, ops
from sixloop._checks import Shape, show
from sixloop.nn import _epilogue
from sixloop.nn.layer import Context, Footprint, Layer
from sixloop.ops import Array


class Add(Layer):
    """Adds two or more inputs of one shape, from left to right: the end of a residual block.

    Of two inputs, one that a ``BatchNorm`` without activation makes for it alone is normalised and
    added in one pass, forward and backward, with the bits of two: of two such, the later one.

    Args:
        activation: name of an activation, run inside the kernel; default None.
        name: name of the layer.

    Raises:
        ValueError, TypeError: bad argument, or inputs of different shapes (when called).
    """

    is_recordable = True
    arity = None

    def __init__(self, activation: str | None = None, name: str | None = None) -> None:
        super().__init__(name=name)
        self.activation = _epilogue.check(name or "Add", activation)

    def output_shape(self, *shapes: Shape) -> Shape:
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError(
                f"Add needs inputs of one shape; got {', '.join(map(show, shapes))}"
                + _projection_hint(shapes)
            )
        return shapes[0]

    def footprint(self, *shapes: Shape, training: bool) -> Footprint:
        return Footprint(extra_outputs=int(len(shapes) > 2), shares_gradient=True)

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        total, *others = inputs
        last = others.pop()
        for other in others:
            total = ops.add(total, other)
        total = ops.add(total, last, activation=_epilogue.fused(self.activation, ctx))
        ctx.saved = len(inputs)
        return _epilogue.finish(self.activation, ctx, total)

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        count: int = ctx.saved
        return (_epilogue.gradient(self.activation, ctx, dy),) * count


class Concat(Layer):
    """Joins inputs along one axis, by default the channels.

    Args:
        axis: the axis to join, counted with the batch as axis 0; default -1, the last. The batch
            itself can't be joined.
        name: name of the layer.

    Raises:
        ValueError, TypeError: bad argument, or inputs that differ in another axis (when called).
    """

    is_recordable = True
    arity = None

    def __init__(self, axis: int = -1, name: str | None = None) -> None:
        super().__init__(name=name)
        tag = name or "Concat"
        self.axis = _checks.integer(tag, "axis", axis, minimum=-_checks.MAX_SIZE)
        if self.axis == 0:
            raise ValueError(f"[{tag}] axis must not be the batch axis; got 0")

    def output_shape(self, *shapes: Shape) -> Shape:
        rank = len(shapes[0])
        axis = self._sample_axis(rank)
        if not 0 <= axis < rank:
            raise ValueError(
                f"axis must be 1 to {rank} or -{rank} to -1 for inputs of {rank + 1} axes; got "
                f"axis={self.axis}, inputs {', '.join(map(show, shapes))}"
            )
        rest = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
        if any(len(shape) != rank for shape in shapes) or len(rest) != 1:
            raise ValueError(
                f"Concat needs inputs that differ in axis {axis + 1} only; got "
                f"{', '.join(map(show, shapes))}"
            )
        total = sum(shape[axis] for shape in shapes)
        return (*shapes[0][:axis], total, *shapes[0][axis + 1 :])

    def footprint(self, *shapes: Shape, training: bool) -> Footprint:
        return Footprint()

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        axis = 1 + self._sample_axis(len(inputs[0].shape) - 1)
        ctx.saved = axis, [x.shape[axis] for x in inputs]
        return ops.concat(list(inputs), axis=axis)

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        axis, sizes = ctx.saved
        return tuple(ops.split(dy, sizes, axis=axis))

    def _sample_axis(self, rank: int) -> int:
        return self.axis - 1 if self.axis > 0 else rank + self.axis


def _projection_hint(shapes: tuple[Shape, ...]) -> str:
    first, last = shapes[0], shapes[-1]
    if len(first) == 3 == len(last) and first[2] != last[2] and first[:2] == last[:2]:
        return f": Conv2D({last[2]}, 1) brings the first to {last[2]} channels"
    if len(first) == 3 == len(last) and first[:2] != last[:2]:
        return ': a convolution between them changed the image size; padding="same" keeps it'
    return ""
