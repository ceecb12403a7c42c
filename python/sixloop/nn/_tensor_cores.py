"""What a convolution on tensor cores does for the layer behind it, where it alone feeds that one.

In training, its kernel computes the statistics of a ``BatchNorm``; in inference, it adds the other
input of an ``Add`` and applies that one's activation. Both save passes over memory; in bfloat16 the
sum is rounded once instead of twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from sixloop.nn import _epilogue
from sixloop.nn.conv import Conv2D
from sixloop.nn.layer import Context
from sixloop.nn.merge import Add
from sixloop.nn.normalization import BatchNorm
from sixloop.ops import Array

if TYPE_CHECKING:
    from sixloop.nn.model import Step


def plan(steps: Sequence[Step], outputs: Collection[int]) -> None:
    """Sets what each convolution may do for the step that reads its result.

    An addition is run by the later one of its inputs, since the other one must be there. Subclasses
    of ``Conv2D`` and ``Add``, which may do anything, run on their own.

    Args:
        steps: of a model, in order of execution.
        outputs: the slots of its outputs.
    """
    readers = Counter(slot for step in steps for slot in step.inputs)
    feeding = {
        step.output: step
        for step in steps
        if type(step.layer) is Conv2D
        and step.layer.activation is None
        and step.layer.has_epilogue
        and readers[step.output] == 1
        and step.output not in outputs
    }
    for step in steps:
        last = feeding.get(max(step.inputs))
        if last is None:
            continue
        last.finds_statistics = isinstance(step.layer, BatchNorm)
        if type(step.layer) is Add and len(step.inputs) == 2:
            last.addition = step


class Epilogues:
    """Runs the calls of one forward pass on tensor cores that are more than their layer's.

    Args:
        slots: the arrays of the pass.
        linear: the slots of outputs whose activation is left out.
        training: as for the pass.
    """

    def __init__(self, slots: list[Any], linear: Collection[int], *, training: bool) -> None:
        self.slots = slots
        self.linear = linear
        self.training = training
        self._statistics: dict[int, tuple[Array, Array]] = {}  # by the slot that they are of

    def run(self, step: Step, ctx: Context) -> bool:
        """Runs a call, unless it was run or its layer does on its own; whether nothing is left."""
        slots = self.slots
        ctx.statistics = self._statistics.pop(step.inputs[0], None)
        if slots[step.output] is not None:  # by the convolution before
            return True
        layer, addition = step.layer, step.addition
        if not isinstance(layer, Conv2D):
            return False
        x = slots[step.inputs[0]]
        if self.training and step.finds_statistics:
            slots[step.output], found = layer.forward_with_statistics(ctx, x)
            self._statistics[step.output] = found
            return True
        if addition is None or ctx.saving or addition.output in self.linear:
            return False
        other = addition.inputs[1 - addition.inputs.index(step.output)]
        assert isinstance(addition.layer, Add)
        activation = addition.layer.activation
        fused = _epilogue.fused(activation, ctx)
        z = layer.convolve(ctx, x, activation=fused, residual=slots[other])
        slots[addition.output] = _epilogue.finish(activation, ctx, z)
        return True
