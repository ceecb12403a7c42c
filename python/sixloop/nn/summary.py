"""A table of a model's layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sixloop._checks import Shape, show

if TYPE_CHECKING:
    from sixloop.nn.model import Model


class SummaryRow(NamedTuple):
    """One call of a layer; the second call of a shared layer counts no parameters again."""

    name: str
    kind: str
    output_shape: Shape
    parameters: int
    multiply_adds: int
    activation_bytes: int


@dataclass(frozen=True)
class Summary:
    """What ``model.summary()`` returns: rows and totals; ``str`` of it is a table.

    Attributes:
        name: name of the model.
        rows: inputs and layers in order of execution.
        parameters, trainable_parameters: totals; running statistics are not trainable.
        multiply_adds: of convolution and dense layers, for one sample.
        activation_bytes: memory of all layers' outputs for one sample, in the model's dtype;
            Flatten and Reshape share their input's memory and count 0.
    """

    name: str
    rows: tuple[SummaryRow, ...]
    parameters: int
    trainable_parameters: int
    multiply_adds: int
    activation_bytes: int

    def __str__(self) -> str:
        head = ("layer", "output shape", "parameters", "multiply-adds", "activation bytes")
        body = [
            (
                f"{row.name} ({row.kind})",
                show(row.output_shape),
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
                f"{row.activation_bytes:,}",
            )
            for row in self.rows
        ]
        total = (
            "total",
            "",
            f"{self.parameters:,}",
            f"{self.multiply_adds:,}",
            f"{self.activation_bytes:,}",
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
            lines.append(f"trainable {self.trainable_parameters:,}, running statistics {fixed:,}")
        return "\n".join(lines)

    __repr__ = __str__


def summarize(model: Model) -> Summary:
    """Returns the summary of a model, from shapes alone."""
    itemsize = np.dtype(model.dtype).itemsize
    rows = [
        SummaryRow(name, "Input", shape, 0, 0, math.prod(shape) * itemsize)
        for name, shape in zip(model.input_names, model.input_shapes, strict=True)
    ]
    seen: set[str] = set()
    for node in model.nodes:
        layer, output = node.layer, node.output_shape
        name = model.layer_name(layer)
        count = 0 if name in seen else sum(math.prod(s.shape) for s in layer.specs.values())
        seen.add(name)
        products = layer.multiply_adds(*[symbol.shape for symbol in node.inputs])
        size = 0 if layer.is_view else math.prod(output) * itemsize
        rows.append(SummaryRow(name, type(layer).__name__, output, count, products, size))
    return Summary(
        name=model.name,
        rows=tuple(rows),
        parameters=model.count_parameters(),
        trainable_parameters=model.count_parameters(trainable_only=True),
        multiply_adds=sum(row.multiply_adds for row in rows),
        activation_bytes=sum(row.activation_bytes for row in rows),
    )
