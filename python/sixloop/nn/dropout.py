"""Dropout."""

from __future__ import annotations

from sixloop import _checks, ops
from sixloop._checks import Shape
from sixloop.nn.layer import Context, Footprint, Layer
from sixloop.ops import Array


class Dropout(Layer):
    """Zeroes a random share of the values while training; does nothing otherwise.

    What is kept is multiplied by 1 / (1 - rate), so that the mean stays (Srivastava et al. 2014,
    in the "inverted" form). The mask depends on (seed of the model, layer name, ``step`` of the
    call, element): pass another ``step`` for each training step, as the Trainer does.

    Args:
        rate: share of values to zero, in [0, 1).
        name: name of the layer.

    Raises:
        ValueError, TypeError: bad argument.
    """

    is_recordable = True

    def __init__(self, rate: float, name: str | None = None) -> None:
        super().__init__(name=name)
        self.rate = _checks.number(
            name or "Dropout", "rate", rate, low=0.0, high=1.0, open_high=True
        )

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def footprint(self, *shapes: Shape, training: bool) -> Footprint:
        return Footprint(is_view=not (training and self.rate > 0.0))

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        (x,) = inputs
        ctx.saved = training and self.rate > 0.0
        if not ctx.saved:
            return x
        return ops.dropout(x, self.rate, seed=ctx.seed, purpose=ctx.purpose, step=ctx.step)

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        if not ctx.saved:
            return (dy,)
        return (ops.dropout_grad(dy, self.rate, seed=ctx.seed, purpose=ctx.purpose, step=ctx.step),)
