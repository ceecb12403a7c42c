"""A table of a model's layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from sixloop._checks import Pair, Shape, show
from sixloop.nn.layer import Window
from sixloop.nn.memory import Memory, estimate

if TYPE_CHECKING:
    from sixloop.nn.model import Model
    from sixloop.optim import Optimizer

Field = Pair | Literal["all"] | None


class SummaryRow(NamedTuple):
    """One call of a layer; the second call of a shared layer counts no parameters again."""

    name: str
    kind: str
    output_shape: Shape
    parameters: int
    multiply_adds: int
    activation_bytes: int
    receptive_field: Field


@dataclass(frozen=True)
class Summary:
    """What ``model.summary()`` returns: rows and totals; ``str`` of it is a table.

    Attributes:
        name: name of the model.
        rows: inputs and layers in order of execution.
        parameters, trainable_parameters: totals; what no optimizer updates, such as running
            statistics, is not trainable.
        multiply_adds: of convolution and dense layers, for one sample.
        activation_bytes: memory of all layers' outputs for one sample, in the model's dtype;
            Flatten and Reshape share their input's memory and count 0, and so does a BatchNorm
            that runs as one with the Add after it.
        memory: what a batch takes, where a batch was given.

    The receptive field of a row is the height and width, in pixels of the input, of what one value
    of its output depends on, through branches the largest: span' = span + (window - 1) * step and
    step' = step * stride, with a dilated window's whole extent. It may reach beyond the image, into
    the padding. Flatten lines up values and leaves their field; "all" is the whole image, after a
    Dense layer or global pooling. An input that is no image has none.
    """

    name: str
    rows: tuple[SummaryRow, ...]
    parameters: int
    trainable_parameters: int
    multiply_adds: int
    activation_bytes: int
    memory: Memory | None = None

    def __str__(self) -> str:
        head = (
            "layer",
            "output shape",
            "parameters",
            "multiply-adds",
            "activation bytes",
            "receptive field",
        )
        body = [
            (
                f"{row.name} ({row.kind})",
                show(row.output_shape),
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
                f"{row.activation_bytes:,}",
                _show_field(row.receptive_field),
            )
            for row in self.rows
        ]
        total = (
            "total",
            "",
            f"{self.parameters:,}",
            f"{self.multiply_adds:,}",
            f"{self.activation_bytes:,}",
            "",
        )
        widths = [max(len(line[i]) for line in (head, *body, total)) for i in range(len(head))]

        def line(cells: tuple[str, ...]) -> str:
            padded = [
                cell.ljust(width) if i < 2 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ]
            return "  ".join(padded).rstrip()

        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        lines = [self.name, line(head), rule, *map(line, body), rule, line(total)]
        fixed = self.parameters - self.trainable_parameters
        if fixed:
            lines.append(f"trainable {self.trainable_parameters:,}, not trained {fixed:,}")
        if self.memory is not None:
            lines += ["", *self.memory.lines()]
        return "\n".join(lines)

    __repr__ = __str__


def summarize(
    model: Model,
    batch: int | None = None,
    *,
    optimizer: str | Optimizer | None = None,
    measure: bool = False,
) -> Summary:
    """Returns the summary of a model, from shapes alone unless measured; see ``Model.summary``."""
    if measure and batch is None:
        raise ValueError(f"[{model.name}] measure needs a batch size: summary(batch=8, ...)")
    itemsize = np.dtype(model.dtype).itemsize
    reaches = [_Reach.of_input(shape) for shape in model.input_shapes]
    rows = [
        SummaryRow(name, "Input", shape, 0, 0, math.prod(shape) * itemsize, reach.field)
        for name, shape, reach in zip(model.input_names, model.input_shapes, reaches, strict=True)
    ]
    seen: set[str] = set()
    for node, step in zip(model.nodes, model.steps, strict=True):
        layer, output = node.layer, node.output_shape
        shapes = [symbol.shape for symbol in node.inputs]
        name = model.layer_name(layer)
        count = 0 if name in seen else sum(math.prod(s.shape) for s in layer.specs.values())
        seen.add(name)
        products = layer.multiply_adds(*shapes)
        has_memory = not (layer.is_view or step.is_joined)
        size = math.prod(output) * itemsize if has_memory else 0
        window = layer.window(*shapes)
        reach = _Reach.largest([reaches[i].through(window) for i in step.inputs])
        reaches.append(reach)
        kind = type(layer).__name__
        rows.append(SummaryRow(name, kind, output, count, products, size, reach.field))
    return Summary(
        name=model.name,
        rows=tuple(rows),
        parameters=model.count_parameters(),
        trainable_parameters=model.count_parameters(trainable_only=True),
        multiply_adds=sum(row.multiply_adds for row in rows),
        activation_bytes=sum(row.activation_bytes for row in rows),
        memory=None
        if batch is None
        else estimate(model, batch, optimizer=optimizer, measure=measure),
    )


class _Reach(NamedTuple):
    """A receptive field and the distance, in input pixels, of those of neighbouring values."""

    field: Field
    step: Pair = (1, 1)

    @classmethod
    def of_input(cls, shape: Shape) -> _Reach:
        return cls((1, 1) if len(shape) == 3 else None)

    @classmethod
    def largest(cls, reaches: list[_Reach]) -> _Reach:
        """Returns the field that holds those of all branches."""
        fields = [reach.field for reach in reaches if reach.field is not None]
        if not fields:
            return cls(None)
        pairs = [field for field in fields if field != "all"]
        step = (max(r.step[0] for r in reaches), max(r.step[1] for r in reaches))
        if len(pairs) < len(fields):
            return cls("all", step)
        return cls((max(h for h, _ in pairs), max(w for _, w in pairs)), step)

    def through(self, window: Window | Literal["all"]) -> _Reach:
        """Returns what one value sees after a layer with this window."""
        if self.field is None or self.field == "all":
            return self
        if window == "all":
            return _Reach("all")
        (height, width), (down, right) = self.field, self.step
        return _Reach(
            (height + (window.span[0] - 1) * down, width + (window.span[1] - 1) * right),
            (down * window.strides[0], right * window.strides[1]),
        )


def _show_field(field: Field) -> str:
    if field is None:
        return "-"
    if field == "all":
        return "all"
    return str(field[0]) if field[0] == field[1] else f"{field[0]}x{field[1]}"
