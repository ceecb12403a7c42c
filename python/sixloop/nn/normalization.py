"""Batch normalisation and local response normalisation."""

from __future__ import annotations

import math

from sixloop import _checks, initializers, ops
from sixloop._checks import Shape
from sixloop.nn import _epilogue, _window
from sixloop.nn.layer import Context, Footprint, Layer, ParameterSpec
from sixloop.ops import Array


class BatchNorm(Layer):
    """Normalises each channel to mean 0 and variance 1, then scales and shifts it.

    y = gamma * (x - mean) / sqrt(variance + epsilon) + beta, per channel (the last axis), over all
    other axes (Ioffe and Szegedy 2015, algorithm 1).

    In training, mean and (biased) variance are those of the batch, and the running statistics move:
    ``running = momentum * running + (1 - momentum) * batch``, where the variance that enters is
    the unbiased one, batch * n / (n - 1), as in PyTorch (whose momentum is ours subtracted from 1).
    A batch with one value per channel has no unbiased variance and moves nothing. Otherwise, the
    running statistics are used as constants.

    Parameters, each [C]: ``gamma``, ``beta`` and, not trained, ``running_mean`` and
    ``running_variance``.

    Args:
        momentum: share of the old running statistics in [0, 1]; default 0.9.
        epsilon: added to the variance; default 1e-5.
        activation: name of an activation, run inside the kernel; default None.
        name: name of the layer and of its parameters.

    Raises:
        ValueError, TypeError: bad argument.
    """

    is_recordable = True

    def __init__(
        self,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        activation: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        tag = name or "BatchNorm"
        self.momentum = _checks.number(tag, "momentum", momentum, low=0.0, high=1.0)
        self.epsilon = _checks.number(tag, "epsilon", epsilon, low=0.0, open_low=True)
        self.activation = _epilogue.check(tag, activation)

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def parameter_specs(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        channels = shapes[0][-1:]
        zeros, ones = initializers.zeros(), initializers.ones()
        return {
            "gamma": ParameterSpec(channels, ones),
            "beta": ParameterSpec(channels, zeros),
            "running_mean": ParameterSpec(channels, zeros, trainable=False),
            "running_variance": ParameterSpec(channels, ones, trainable=False),
        }

    def footprint(self, *shapes: Shape, training: bool) -> Footprint:
        channels = shapes[0][-1]
        kept: tuple[int, ...] = (channels, channels) if training else ()
        fuses = self.activation == "relu"
        if fuses and training:
            kept += (2 * channels,)
        return Footprint(keeps_inputs=True, kept_elements=kept, fuses_gradient=fuses)

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        (x,) = inputs
        activation = _epilogue.fused(self.activation, ctx)
        y = self.normalize(ctx, x, training=training, activation=activation)
        return y if activation == "relu" else _epilogue.finish(self.activation, ctx, y)

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        through_relu = ctx.saved[-1] is not None
        dz = dy if through_relu else _epilogue.gradient(self.activation, ctx, dy)
        dx, _ = self.gradients(ctx, dz)
        return (dx,)

    def normalize(
        self,
        ctx: Context,
        x: Array,
        *,
        training: bool,
        activation: str | None,
        residual: Array | None = None,
    ) -> Array:
        """Returns activation(normalised x + residual) and saves what ``gradients`` needs."""
        p = self._parameters
        # An empty batch has no statistics; with the running ones it gives an empty result.
        of_batch = training and x.shape[0] > 0
        given: tuple[Array | None, Array | None] = p["running_mean"], p["running_variance"]
        if of_batch:
            given, ctx.statistics = ctx.statistics or (None, None), None
        y, mean, variance, affine = ops.batch_norm(
            x,
            p["gamma"],
            p["beta"],
            *given,
            epsilon=self.epsilon,
            activation=activation,
            return_affine=True,
            residual=residual,
        )
        if of_batch:
            self._move_statistics(mean, variance, math.prod(x.shape[:-1]))
        if ctx.saving:
            through_relu = activation == "relu" and residual is None
            ctx.saved = x, mean, variance, of_batch, affine if through_relu else None
        return y

    def gradients(
        self, ctx: Context, dy: Array, relu_output: Array | None = None
    ) -> tuple[Array, Array]:
        """Returns the gradients of x and of a residual; those of the parameters go to ``ctx``.

        Args:
            ctx: that ``normalize`` was given.
            dy: gradient of its result, before the activation unless that was a ReLU.
            relu_output: that result, where a residual was added before a ReLU.
        """
        (x, mean, variance, of_batch, affine), ctx.saved = ctx.saved, None
        arguments = (dy, x, self._parameters["gamma"], mean, variance)
        if relu_output is None:
            dx, dgamma, dbeta = ops.batch_norm_grad(
                *arguments, epsilon=self.epsilon, training=of_batch, relu_affine=affine
            )
            dresidual = dy
        else:
            dx, dgamma, dbeta, dresidual = ops.batch_norm_grad(
                *arguments, epsilon=self.epsilon, training=of_batch, relu_output=relu_output
            )
        ctx.add_gradient("gamma", dgamma)
        ctx.add_gradient("beta", dbeta)
        return dx, dresidual

    def _move_statistics(self, mean: Array, variance: Array, count: int) -> None:
        if count < 2:
            return
        for name, batch, factor in (
            ("running_mean", mean, 1.0),
            ("running_variance", variance, count / (count - 1)),
        ):
            ops.moving_average(
                self._parameters[name],
                batch,
                momentum=self.momentum,
                factor=(1.0 - self.momentum) * factor,
            )


class LocalResponseNorm(Layer):
    """Divides each value by a power of the energy of the channels near it: [N, H, W, C] unchanged.

    y_c = x_c / (k + alpha * sum of x_j**2 over j = c - size//2 ... c + (size - 1)//2) ** beta
    (Krizhevsky et al. 2012, section 3.3). Alpha is not divided by the size, which PyTorch does.

    Args:
        size: number of neighbouring channels summed over; default 5.
        alpha, beta, k: as in the formula; defaults 1e-4, 0.75 and 2, those of the paper.
        name: name of the layer.

    Raises:
        ValueError, TypeError: bad argument.
    """

    is_recordable = True

    def __init__(
        self,
        size: int = 5,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 2.0,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        tag = name or "LocalResponseNorm"
        self.size = _checks.integer(tag, "size", size)
        self.alpha = _checks.number(tag, "alpha", alpha, low=0.0)
        self.beta = _checks.number(tag, "beta", beta, low=0.0)
        self.k = _checks.number(tag, "k", k, low=0.0, open_low=True)

    def output_shape(self, *shapes: Shape) -> Shape:
        return _window.image("LocalResponseNorm", shapes[0])

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        (x,) = inputs
        if ctx.saving:
            ctx.saved = x
        return ops.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        x, ctx.saved = ctx.saved, None
        return (ops.local_response_norm_grad(dy, x, self.size, self.alpha, self.beta, self.k),)
