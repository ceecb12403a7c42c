"""The end of a residual block in one pass: a BatchNorm and the Add that reads it.

Bit for bit what the two layers compute one after the other, but the normalised array is neither
written to memory nor read from there, and the gradient before the activation is made once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from sixloop.nn import _epilogue
from sixloop.nn.layer import Context
from sixloop.nn.merge import Add
from sixloop.nn.normalization import BatchNorm
from sixloop.ops import Array

if TYPE_CHECKING:
    from sixloop.nn.model import Step


def join(steps: Sequence[Step], outputs: Collection[int]) -> None:
    """Lets each addition of two arrays run the normalisation that is ready last, where it may.

    The normalisation then runs later, which must show nowhere: no one else reads its result, and
    between the two calls nothing reads its input or calls its layer, so that gradients and running
    statistics are added up in the same order. Subclasses, which may do anything, run on their own.

    Args:
        steps: of a model, in order of execution.
        outputs: the slots of its outputs.
    """
    readers = Counter(slot for step in steps for slot in step.inputs)
    makers = {step.output: at for at, step in enumerate(steps)}
    for at, add in enumerate(steps):
        if type(add.layer) is not Add or len(add.inputs) != 2:
            continue
        for slot in sorted(add.inputs, reverse=True):
            if slot not in makers or slot in outputs or readers[slot] != 1:
                continue
            norm = steps[makers[slot]]
            between = steps[makers[slot] + 1 : at]
            if (
                type(norm.layer) is BatchNorm
                and norm.layer.activation is None
                and not any(
                    norm.inputs[0] in step.inputs or step.layer is norm.layer for step in between
                )
            ):
                other = add.inputs[1 - add.inputs.index(slot)]
                add.normalization, norm.is_joined = norm, True
                add.reads, norm.reads = (other, *norm.inputs), ()
                break


def forward(
    add: Step, ctx: Context, norm_ctx: Context, residual: Array, x: Array, *, training: bool
) -> Array:
    """Returns the output of ``add``, which runs ``add.normalization`` on x."""
    activation, norm = _parts(add)
    fused = _epilogue.fused(activation, ctx)
    y = norm.normalize(norm_ctx, x, training=training, activation=fused, residual=residual)
    return _epilogue.finish(activation, ctx, y)


def backward(add: Step, ctx: Context, norm_ctx: Context, dy: Array) -> tuple[Array, Array]:
    """Returns the gradients of what ``forward`` was given: of the residual and of x."""
    activation, norm = _parts(add)
    if activation == "relu" and not ctx.linear:
        y, ctx.epilogue = ctx.epilogue, None
        dx, dresidual = norm.gradients(norm_ctx, dy, relu_output=y)
    else:
        dx, dresidual = norm.gradients(norm_ctx, _epilogue.gradient(activation, ctx, dy))
    return dresidual, dx


def _parts(add: Step) -> tuple[str | None, BatchNorm]:
    assert isinstance(add.layer, Add)
    assert add.normalization is not None
    assert isinstance(add.normalization.layer, BatchNorm)
    return add.layer.activation, add.normalization.layer
