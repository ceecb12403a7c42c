"""The activation at the end of a layer: fused into its kernel where the gradient allows it.

For most activations the gradient follows from the output, so the kernel applies the activation
before it stores a value and only the output is kept. The gradient of ``gelu`` and ``gaussian``
needs the input (two inputs share an output), so when a backward pass may follow they run after
the kernel and its raw output is kept. Softmax needs a whole row and always runs after the kernel.
"""

from __future__ import annotations

from sixloop import _checks, ops
from sixloop.nn.layer import Context
from sixloop.ops import Array

FROM_OUTPUT = ("relu", "sigmoid", "tanh", "leaky_relu", "elu", "softplus", "step", "ramp")
FROM_INPUT = {"gelu": ops.gelu_grad, "gaussian": ops.gaussian_grad}
ACTIVATIONS = (*FROM_OUTPUT, *FROM_INPUT, "softmax")


def check(tag: str, activation: object) -> str | None:
    """Returns a valid activation name or None, or raise an error that lists them."""
    if activation is None:
        return None
    return _checks.choice(tag, "activation", activation, ACTIVATIONS, also="None")


def fused(activation: str | None, ctx: Context) -> str | None:
    """Returns the activation to hand to the kernel."""
    if ctx.linear or activation == "softmax" or (ctx.saving and activation in FROM_INPUT):
        return None
    return activation


def finish(activation: str | None, ctx: Context, z: Array) -> Array:
    """Returns the layer's output from the kernel's, and save what ``gradient`` needs."""
    if activation is None or ctx.linear:
        return z
    if activation == "softmax":
        z = ops.softmax(z)
    if ctx.saving:
        ctx.epilogue = z
        if activation in FROM_INPUT:
            return ops.activation(z, activation)
    return z


def gradient_with_bias(activation: str | None, ctx: Context, dy: Array) -> tuple[Array, Array]:
    """Returns the gradient before the activation and that of the bias, in one pass if possible."""
    if activation in FROM_OUTPUT and not ctx.linear:
        y, ctx.epilogue = ctx.epilogue, None
        return ops.activation_bias_grad(dy, y, activation)
    dz = gradient(activation, ctx, dy)
    return dz, ops.bias_grad(dz)


def gradient(activation: str | None, ctx: Context, dy: Array) -> Array:
    """Returns the gradient of the kernel's output before the activation from ``dy``."""
    if activation is None or ctx.linear:
        return dy
    saved, ctx.epilogue = ctx.epilogue, None
    if activation == "softmax":
        return ops.softmax_grad(dy, saved)
    if activation in FROM_INPUT:
        return FROM_INPUT[activation](dy, saved)
    return ops.activation_grad_from_output(dy, saved, activation)
