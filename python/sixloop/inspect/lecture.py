"""The table of a network as lecture slides print it: a few digits for each layer."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sixloop.nn import Model

__all__ = ["LectureRow", "format_lecture", "lecture_figure", "lecture_rows", "lecture_table"]

_MILLION = 1_000_000
# Krizhevsky et al. 2012, figure 2: what the five convolutions are divided into.
_ALEXNET_GROUPS = (1, 2, 1, 2, 2)
_UNGROUPED_ON_THE_SLIDE = 3


class LectureRow(NamedTuple):
    """A layer that has weights.

    Attributes:
        name: what it is called.
        parameters: weights and biases.
        weights: without the biases.
        multiply_adds: of one sample.
    """

    name: str
    parameters: int
    weights: int
    multiply_adds: int


def lecture_figure(number: int) -> tuple[int, str]:
    """Return a count as the slides write it, as a number and as text.

    From 100,000 on digits are cut off: 884,736 is 884K, 1,327,104 is 1.3M and 37,748,736 is 37M,
    with one decimal below ten million. Smaller counts are rounded to thousands: 34,848 is 35K.
    """
    if number < 1000:
        return number, str(number)
    if number < _MILLION:
        thousands = (number + 500) // 1000 if number < 100_000 else number // 1000
        return thousands * 1000, f"{thousands}K"
    if number < 10 * _MILLION:
        tenths = number // 100_000
        whole, rest = divmod(tenths, 10)
        return tenths * 100_000, f"{whole}.{rest}M" if rest else f"{whole}M"
    return number // _MILLION * _MILLION, f"{number // _MILLION}M"


def lecture_rows(model: Model, *, ungrouped: Collection[str] = ()) -> list[LectureRow]:
    """Return the layers with weights, in order of execution; each call of a shared layer is a row.

    Args:
        model: from shapes alone, nothing is allocated.
        ungrouped: names of convolutions to count as if they had one group: their weights and
            multiply-adds times their groups.
    """
    rows = []
    seen = set()
    for step, node in zip(model.steps, model.nodes, strict=True):
        sizes = [spec.shape for spec in step.layer.specs.values() if spec.trainable]
        weights = sum(math.prod(shape) for shape in sizes if len(shape) > 1)
        if not weights:
            continue
        biases = sum(math.prod(shape) for shape in sizes if len(shape) == 1)
        factor = getattr(step.layer, "groups", 1) if step.name in ungrouped else 1
        products = step.layer.multiply_adds(*[symbol.shape for symbol in node.inputs]) * factor
        weights = 0 if step.name in seen else weights * factor
        biases = 0 if step.name in seen else biases
        seen.add(step.name)
        rows.append(LectureRow(step.name, weights + biases, weights, products))
    return rows


def format_lecture(model: Model) -> str:
    """Return the table of a model in the lecture's figures: weights, multiply-adds, and totals.

    Figures are those of `lecture_figure`, of the weights without biases; a total is the sum of the
    figures above it, rounded to millions (to thousands below one million).

    For AlexNet of 2012 this is the slide of Ranzato's lectures (after Krizhevsky et al. 2012). It
    counts the second and the fifth convolution with their two groups and the fourth without; a
    line below the table says so.
    """
    remark = ""
    ungrouped: tuple[str, ...] = ()
    convolutions = [step for step in model.steps if hasattr(step.layer, "groups")]
    groups = tuple(getattr(step.layer, "groups", 1) for step in convolutions)
    if model.name.startswith("alexnet") and groups == _ALEXNET_GROUPS:
        names = [step.name for step in convolutions]
        ungrouped = (names[_UNGROUPED_ON_THE_SLIDE],)
        exact = lecture_rows(model)
        remark = (
            f"The slide mixes two counts: {names[1]} and {names[4]} have their two groups, "
            f"{ungrouped[0]} is counted without; with the paper's groups in all three it is "
            f"{sum(row.parameters for row in exact):,} parameters and "
            f"{sum(row.multiply_adds for row in exact):,} multiply-adds."
        )
    rows = lecture_rows(model, ungrouped=ungrouped)
    return f"{model.name}, in a lecture's figures\n{lecture_table(rows)}" + (
        f"\n{remark}" if remark else ""
    )


def lecture_table(rows: Sequence[LectureRow]) -> str:
    """Return the table of these rows, with a line of exact totals below it."""
    weights = [lecture_figure(row.weights) for row in rows]
    products = [lecture_figure(row.multiply_adds) for row in rows]
    lines = [("layer", "parameters", "multiply-adds")]
    lines += [
        (row.name, few, many)
        for row, (_, few), (_, many) in zip(rows, weights, products, strict=True)
    ]
    total = ("total", _total(weights), _total(products))
    widths = [max(len(line[i]) for line in (*lines, total)) for i in range(3)]

    def show(cells: tuple[str, str, str]) -> str:
        return "  ".join(
            (cells[0].ljust(widths[0]), cells[1].rjust(widths[1]), cells[2].rjust(widths[2]))
        )

    rule = "-" * (sum(widths) + 4)
    exact = (
        f"Without biases, digits cut off (rounded below 100K); exactly, these layers have "
        f"{sum(row.parameters for row in rows):,} parameters with biases and "
        f"{sum(row.multiply_adds for row in rows):,} multiply-adds."
    )
    return "\n".join([show(lines[0]), rule, *map(show, lines[1:]), rule, show(total), exact])


def _total(figures: Sequence[tuple[int, str]]) -> str:
    number = sum(value for value, _ in figures)
    if number < _MILLION:
        return lecture_figure(number)[1]
    return f"{(number + _MILLION // 2) // _MILLION}M"
