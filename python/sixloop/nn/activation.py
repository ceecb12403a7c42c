"""An activation as a layer of its own."""

from __future__ import annotations

from sixloop import ops
from sixloop._checks import Shape
from sixloop.nn import _epilogue
from sixloop.nn.layer import Context, Footprint, Layer
from sixloop.ops import Array


class Activation(Layer):
    """Applies an activation to each element, or softmax to the last axis; the shape stays.

    Where it directly follows a Conv2D, Dense, BatchNorm or Add, their ``activation=`` is the same
    function without a second pass over memory.

    Args:
        activation: relu, sigmoid, tanh, leaky_relu (slope 0.01), elu (alpha 1), gelu (exact),
            softplus, step (1 where x > 0, gradient 0), ramp (x clipped to 0..1), gaussian
            (exp(-x*x)) or softmax.
        name: name of the layer.

    Raises:
        ValueError, TypeError: unknown name; the message lists the valid ones.
    """

    is_recordable = True

    def __init__(self, activation: str, name: str | None = None) -> None:
        super().__init__(name=name)
        tag = name or "Activation"
        checked = _epilogue.check(tag, activation)
        if checked is None:
            raise TypeError(
                f"[{tag}] activation must be one of {', '.join(_epilogue.ACTIVATIONS)}; got None"
            )
        self.activation = checked

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def footprint(self, *shapes: Shape, training: bool) -> Footprint:
        return Footprint(is_activation=True)

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        (x,) = inputs
        name = _epilogue.fused(self.activation, ctx)
        return _epilogue.finish(
            self.activation, ctx, x if name is None else ops.activation(x, name)
        )

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        return (_epilogue.gradient(self.activation, ctx, dy),)
