"""How much memory a model takes: its plan walked without values, every array counted.

The walk makes, keeps and drops what ``Model`` does, in the same order, with the sizes that the
allocator rounds to; so a change of the one is a change of the other, and
``tests/test_nn_memory.py`` compares them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import sixloop
from sixloop import _checks
from sixloop._arrays import to_device, to_numpy
from sixloop.nn import _epilogue

if TYPE_CHECKING:
    from sixloop.nn.layer import Footprint, Scratch
    from sixloop.nn.model import Model
    from sixloop.optim import Optimizer

MIB = 1 << 20


@dataclass(frozen=True)
class Memory:
    """Bytes for one batch as the allocator takes them (rounded up by at most a quarter).

    The batch itself, the targets and whatever else is in the process are the caller's and do not
    count. Peaks are those of ``sixloop.memory_stats()`` less what was there before the model.

    Attributes:
        batch: number of samples.
        parameters: weights, and running statistics.
        gradients: of the trainable parameters.
        optimizer: the arrays that the optimizer keeps for every trainable parameter; 0 without one.
        kept: activations that stay for backward after the forward pass of a training step.
        workspace: the most that the kernels of one call need for themselves (copies, packed
            weights, partial sums), computed from shapes, the number of threads and the machine's
            second-level cache. Buffers of a task count for each thread, as if all were at work at
            once.
        filters: of convolutions, in the form that their kernels read: inference keeps them beside
            the weights until these change, see ``keep_filters`` of :func:`sixloop.ops.conv2d`.
        forward: peak of ``model(x)``, parameters and such filters included.
        training: peak of a training step after the first, as ``Trainer`` makes it, with
            parameters, gradients and optimizer state.
        measured_forward, measured_training: the same two, measured, or None.
    """

    batch: int
    parameters: int
    gradients: int
    optimizer: int
    kept: int
    workspace: int
    filters: int
    forward: int
    training: int
    measured_forward: int | None = None
    measured_training: int | None = None

    def lines(self) -> list[str]:
        """Returns the figures as lines of text."""
        rows: list[tuple[str, int | None]] = [
            ("parameters", self.parameters),
            ("gradients", self.gradients),
            ("optimizer state", self.optimizer),
            ("activations kept for backward", self.kept),
            ("workspace of the kernels, at most", self.workspace),
            ("filters kept by inference", self.filters),
            ("peak of forward", self.forward),
            ("peak of a training step", self.training),
            ("measured peak of forward", self.measured_forward),
            ("measured peak of a training step", self.measured_training),
        ]
        shown = [(label, size) for label, size in rows if size]
        width = max(len(label) for label, _ in shown)
        digits = max(len(f"{size:,}") for _, size in shown)
        return [
            f"memory for a batch of {self.batch:,}, in bytes as allocated",
            *(
                f"{label:<{width}}  {size:>{digits},}  {size / MIB:10,.1f} MiB"
                for label, size in shown
            ),
        ]


class _Block:
    """One array; several places may hold it."""

    __slots__ = ("holders", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.holders = 1


class _Meter:
    """The allocator's counters."""

    def __init__(self, held: int) -> None:
        self.now = held
        self.peak = held
        self.scratch = 0

    def make(self, elements: int, itemsize: int) -> _Block:
        block = _Block(sixloop.allocated_bytes(elements * itemsize))
        self.now += block.size
        self.peak = max(self.peak, self.now)
        return block

    def need(self, scratch: int) -> None:
        """Counts memory that is given back at once."""
        self.scratch = max(self.scratch, scratch)
        self.peak = max(self.peak, self.now + scratch)

    @staticmethod
    def hold(block: _Block) -> _Block:
        block.holders += 1
        return block

    def drop(self, *blocks: _Block | None) -> None:
        for block in blocks:
            if block is not None:
                block.holders -= 1
                if block.holders == 0:
                    self.now -= block.size


class _Saved:
    """What a call keeps for backward."""

    __slots__ = ("arrays", "epilogue")

    def __init__(self) -> None:
        self.arrays: list[_Block] = []
        self.epilogue: _Block | None = None


class _Walk:
    """One model at one batch size; follows Model._forward() and Model.backward()."""

    def __init__(self, model: Model, batch: int, meter: _Meter) -> None:
        self.model = model
        self.batch = batch
        self.meter = meter
        self.itemsize = np.dtype(model.dtype).itemsize
        self.shapes = [*model.input_shapes, *(node.output_shape for node in model.nodes)]

    def make(self, shape: _checks.Shape) -> _Block:
        return self.meter.make(self.batch * math.prod(shape), self.itemsize)

    def make_like_parameter(self, shape: _checks.Shape) -> _Block:
        return self.meter.make(math.prod(shape), self.itemsize)

    def facts(self, index: int, training: bool) -> tuple[Footprint, Scratch, str | None]:
        """Returns what is to know of a call: its footprint, scratch and live activation."""
        step = self.model.steps[index]
        shapes = [self.shapes[i] for i in step.inputs]
        activation = getattr(step.layer, "activation", None)
        if training and self.model.takes_logits and step.output in self.model.output_slots:
            activation = None
        footprint = step.layer.footprint(*shapes, training=training)
        if footprint.fuses_gradient:
            activation = None
        return (
            footprint,
            step.layer.scratch(self.batch, self.itemsize, *shapes),
            activation,
        )

    def kept_filters(self) -> int:
        """Returns what inference keeps beside the weights: of a shared layer, that of one call."""
        kept: dict[str, int] = {}
        for index, step in enumerate(self.model.steps):
            _, scratch, _ = self.facts(index, training=False)
            kept[step.name] = max(kept.get(step.name, 0), scratch.kept)
        return sum(kept.values())

    def forward(self, training: bool) -> tuple[list[_Block], list[_Saved]]:
        """Returns the outputs, and what is kept for backward."""
        meter, model = self.meter, self.model
        slots: list[_Block | None] = [_Block(0) for _ in model.inputs]
        slots += [None] * len(model.steps)
        tape: list[_Saved] = []
        read: list[_Block] = []
        for index, step in enumerate(model.steps):
            saved = _Saved()
            if not step.is_joined:
                inputs = [meter.hold(block) for i in step.reads if (block := slots[i]) is not None]
                meter.drop(*read)
                read = inputs
                slots[step.output] = self._call(index, inputs, saved, training)
            for slot in step.release:
                meter.drop(slots[slot])
                slots[slot] = None
            if training:
                tape.append(saved)
        outputs = [block for i in model.output_slots if (block := slots[i]) is not None]
        others = read if training else [block for block in slots[: len(model.inputs)] if block]
        results: list[_Block] = []
        for block, shape in zip(outputs, model.output_shapes, strict=True):
            copied = block.size == 0 or block in others or block in results
            if training and (len(outputs) > 1 or tape[-1].epilogue is not None):
                copied = True
            results.append(self.make(shape) if copied else meter.hold(block))
        meter.drop(*slots, *read)
        return results, tape

    def _call(self, index: int, inputs: list[_Block], saved: _Saved, training: bool) -> _Block:
        meter, shape = self.meter, self.model.nodes[index].output_shape
        facts, scratch, activation = self.facts(index, training)
        late = activation == "softmax" or (training and activation in _epilogue.FROM_INPUT)
        # An activation on its own is the kernel, unless it runs late and is all there is.
        if facts.is_view or (facts.is_activation and (activation is None or late)):
            result = meter.hold(inputs[0])
        else:
            result = self.make(shape)
            once = scratch.forward if training or scratch.inference is None else scratch.inference
            meter.need(once + facts.extra_outputs * result.size)
        if facts.keeps_inputs and training:
            saved.arrays += [meter.hold(block) for block in inputs]
        norm = self.model.steps[index].normalization
        if norm is not None and training:
            shapes = [self.shapes[i] for i in norm.inputs]
            kept = norm.layer.footprint(*shapes, training=True).kept_elements
            saved.arrays.append(meter.hold(inputs[1]))
            saved.arrays += [self.make_like_parameter((n,)) for n in kept]
        if training:
            saved.arrays += [self.make_like_parameter((n,)) for n in facts.kept_elements]
            saved.arrays += [self.make(shape) for _ in range(facts.kept_outputs)]
            if facts.kept_bytes:
                values = self.batch * math.prod(shape)
                saved.arrays.append(meter.make(values, facts.kept_bytes))
        if not late:
            if training and activation is not None and not facts.is_view:
                saved.epilogue = meter.hold(result)
            return result
        finished = self.make(shape)
        if training:
            saved.epilogue = meter.hold(finished if activation == "softmax" else result)
        meter.drop(result)
        return finished

    def backward(self, outputs: list[_Block], tape: list[_Saved]) -> list[_Block]:
        """Returns the gradients of the parameters; those of the outputs stay the caller's."""
        meter, model = self.meter, self.model
        slots: list[_Block | None] = [None] * (len(model.inputs) + len(model.steps))
        collected: dict[str, _Block] = {}
        for slot, block in zip(model.output_slots, outputs, strict=True):
            self._accumulate(slots, slot, block)
        dy: _Block | None = None
        dx: _Block | None = None
        before: _Saved | None = None
        for index in range(len(model.steps) - 1, -1, -1):
            step, saved = model.steps[index], tape[index]
            if before is not None:
                self._forget(before)
            before = saved
            meter.drop(dy)
            dy, slots[step.output] = slots[step.output], None
            if dy is None or not step.useful:
                continue
            gradients = self._call_backward(index, dy, saved, collected)
            for slot, need, gradient in zip(step.reads, step.before, gradients, strict=True):
                meter.drop(dx)
                dx = None if gradient is None else meter.hold(gradient)
                if need and gradient is not None:
                    self._accumulate(slots, slot, gradient)
            meter.drop(*gradients)
        if before is not None:
            self._forget(before)
        meter.drop(dy, dx, *slots)
        return list(collected.values())

    def _call_backward(
        self, index: int, dy: _Block, saved: _Saved, collected: dict[str, _Block]
    ) -> list[_Block | None]:
        meter, step = self.meter, self.model.steps[index]
        facts, scratch, activation = self.facts(index, True)
        norm = step.normalization
        if activation is not None and saved.epilogue is not None:
            dz = self.make(self.model.nodes[index].output_shape)
            # The normalisation's gradient reads the result of a ReLU itself.
            if norm is None or activation != "relu":
                meter.drop(saved.epilogue)
                saved.epilogue = None
        else:
            dz = meter.hold(dy)
        owner = step if norm is None else norm
        trainable = [(key, spec) for key, spec in owner.layer.specs.items() if spec.trainable]
        # Weights come after biases, which are made together with dz.
        trainable.sort(key=lambda item: len(item[1].shape))
        for key, spec in trainable:
            name = f"{owner.name}.{key}"
            gradient = self.make_like_parameter(spec.shape)
            if key == trainable[-1][0]:
                meter.need(scratch.grad_weight)
            earlier = collected.get(name)
            if earlier is not None:
                total = self.make_like_parameter(spec.shape)
                meter.drop(earlier, gradient)
                gradient = total
            collected[name] = gradient
        gradients: list[_Block | None] = []
        for place, (slot, need) in enumerate(zip(step.reads, step.before, strict=True)):
            if norm is not None and place == 1:
                gradients.append(self.make(self.shapes[slot]))
            elif facts.is_view or facts.shares_gradient or facts.is_activation:
                gradients.append(meter.hold(dz))
            elif facts.skips_unneeded and not need:
                gradients.append(None)
            else:
                gradients.append(self.make(self.shapes[slot]))
                meter.need(scratch.grad_input)
        self._forget(saved)
        meter.drop(dz)
        return gradients

    def _accumulate(self, slots: list[_Block | None], slot: int, gradient: _Block) -> None:
        earlier = slots[slot]
        if earlier is None:
            slots[slot] = self.meter.hold(gradient)
        else:
            slots[slot] = self.make(self.shapes[slot])
            self.meter.drop(earlier)

    def _forget(self, saved: _Saved) -> None:
        self.meter.drop(*saved.arrays, saved.epilogue)
        saved.arrays, saved.epilogue = [], None


def estimate(
    model: Model,
    batch: int,
    *,
    optimizer: str | Optimizer | None = None,
    measure: bool = False,
) -> Memory:
    """Returns the memory that a batch takes; see ``Model.summary``."""
    batch = _checks.integer(model.name, "batch", batch)
    itemsize = np.dtype(model.dtype).itemsize
    size_of = sixloop.allocated_bytes
    parameters = sum(size_of(math.prod(spec.shape) * itemsize) for spec in model.specs().values())
    trainable = [spec.shape for spec in model.specs().values() if spec.trainable]
    gradients = sum(size_of(math.prod(shape) * itemsize) for shape in trainable)
    slots = 0
    if optimizer is not None:
        from sixloop import optim

        slots = len(optim.get(optimizer).slots)
    state = slots * gradients

    inference = _Meter(parameters)
    walk = _Walk(model, batch, inference)
    filters = walk.kept_filters() if model.device == "cpu" else 0
    inference.now += filters
    walk.forward(training=False)

    # What the step before has left: the gradients, the output and the loss's gradient.
    meter = _Meter(parameters + state)
    walk = _Walk(model, batch, meter)
    earlier = [walk.make_like_parameter(shape) for shape in trainable]
    earlier_outputs = [walk.make(shape) for shape in model.output_shapes]
    earlier_dy = [walk.make(shape) for shape in model.output_shapes]
    _, tape = walk.forward(training=True)
    kept = sum(
        block.size
        for block in {
            id(block): block
            for saved in tape
            for block in (*saved.arrays, saved.epilogue)
            if block is not None
        }.values()
    )
    meter.drop(*earlier_outputs)
    for shape in model.output_shapes:
        walk.make(shape)
    meter.drop(*earlier_dy)
    # The loss's gradient is a NumPy array where the batch is one, and backward copies it.
    copies = [walk.make(shape) for shape in model.output_shapes]
    meter.drop(*earlier)
    walk.backward(copies, tape)

    measured: tuple[int | None, int | None] = (None, None)
    if measure:
        forward, step = _measure(model, batch, parameters)
        measured = forward, step + state
    return Memory(
        batch=batch,
        parameters=parameters,
        gradients=gradients,
        optimizer=state,
        kept=kept,
        workspace=max(meter.scratch, inference.scratch),
        filters=filters,
        forward=inference.peak,
        training=meter.peak,
        measured_forward=measured[0],
        measured_training=measured[1],
    )


_RUNS = 3


def _measure(model: Model, batch: int, parameters: int) -> tuple[int, int]:
    """Returns the peaks of a forward pass and of a training step on zeros, with parameters."""
    values = model.parameters()
    # Training moves the running statistics.
    fixed = {key: values[key].numpy().copy() for key, s in model.specs().items() if not s.trainable}
    arrays: list[Any] = [np.zeros((batch, *shape), model.dtype) for shape in model.input_shapes]
    counters: Any = sixloop
    if model.device == "cuda":
        from sixloop import cuda as counters

        arrays = [to_device(array, model.device) for array in arrays]
    x: Any = arrays if len(arrays) > 1 else arrays[0]
    model.release()
    outside = counters.memory_stats()["allocated"] - parameters
    counters.reset_peak_memory()
    # A thread that came too late for any task took no memory for it: several runs.
    for _ in range(_RUNS):
        model(x)
    forward = counters.memory_stats()["peak"] - outside
    model.release()
    sixloop.empty_cache()  # filters that inference has kept: an update of the weights drops them
    logits = model.takes_logits
    for run in range(1 + _RUNS):
        if run == 1:  # the first step allocates what stays
            counters.reset_peak_memory()
        y = model(x, training=True, logits=logits)
        outputs = y if isinstance(y, list) else [y]
        dy: list[Any] = [sixloop.zeros(o.shape, model.dtype, model.device) for o in outputs]
        if model.device == "cpu":  # as the Trainer's are, which backward copies
            dy = [to_numpy(d) for d in dy]
        model.backward(dy if len(dy) > 1 else dy[0], input_gradient=False, from_logits=logits)
    step = counters.memory_stats()["peak"] - outside
    model.release()
    for key, value in fixed.items():
        values[key].assign(value)
    return forward, step
