"""Which algorithm each layer gets, why, and what the machine allows it."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from sixloop import Tensor, get_num_threads, isa, nn, ops
from sixloop.bench import timing
from sixloop.bench.shapes import of_layer

__all__ = ["ExplainRow", "Explanation", "Machine", "explain"]


class Machine(NamedTuple):
    """What the machine does at most.

    Attributes:
        peak_gflops: of multiply-adds, all threads.
        memory_gbs: of a copy that no cache holds, all threads, bytes read and written.
    """

    peak_gflops: float
    memory_gbs: float

    @classmethod
    def measure(cls) -> Machine:
        """Returns this machine, in about a second."""
        return cls(ops.fma_peak() / 1e9, ops.copy_bandwidth() / 1e9)

    def roof(self, intensity: float) -> float:
        """Returns the GFLOP/s that the roofline allows at so many FLOP a byte."""
        return min(self.peak_gflops, intensity * self.memory_gbs)


@dataclass(frozen=True)
class ExplainRow:
    """One pass of one convolution or dense layer.

    Attributes:
        name: of the layer.
        which: "forward", "grad_input" or "grad_weight".
        shape: for people.
        plan: algorithm, reason, method and kernels, see `ops.Plan`.
        scratch_bytes: that the pass allocates for itself and gives back, see `Layer.scratch`.
        flop: of the sums as they are written, two for a multiply-add.
        bytes: of input, weights and output, each read or written once.
        gflops: measured, with `flop`; None where it was not.
    """

    name: str
    which: str
    shape: str
    plan: ops.Plan
    scratch_bytes: int
    flop: int
    bytes: int
    gflops: float | None = None

    @property
    def intensity(self) -> float:
        """FLOP a byte of compulsory traffic."""
        return self.flop / self.bytes

    @property
    def kernel(self) -> str:
        """The kernels without dtype and instruction set, "gemm_rows 10x32"."""
        return " + ".join(
            re.sub(r"_f\d\d(?:_(\d+x\d+))?__\w+$", r" \1", name).strip()
            for name in self.plan.kernels
        )


@dataclass(frozen=True)
class Explanation:
    """What `explain` returns; ``str`` of it is a table.

    Attributes:
        name: of the model.
        batch: number of samples.
        rows: of convolutions and dense layers, in order of execution.
        machine: what they are compared with.
        others: number of calls of other layers, whose speed is that of memory.
    """

    name: str
    batch: int
    rows: tuple[ExplainRow, ...]
    machine: Machine
    others: int

    def __str__(self) -> str:
        measured = any(row.gflops is not None for row in self.rows)
        head = ["layer", "pass", "shape", "algorithm", "why", "method", "kernel"]
        head += ["scratch KiB", "FLOP/B", "roof GFLOP/s", "bound"]
        head += ["GFLOP/s", "of roof"] if measured else []
        body = [self._cells(row, measured) for row in self.rows]
        right = {"scratch KiB", "FLOP/B", "roof GFLOP/s", "GFLOP/s", "of roof"}
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        lines = [
            f"{self.name}, batch {self.batch}: {isa()}, {get_num_threads()} threads; peak "
            f"{self.machine.peak_gflops:,.0f} GFLOP/s, memory {self.machine.memory_gbs:,.1f} GB/s"
        ]
        for cells in (head, *body):
            padded = [
                cell.rjust(width) if title in right else cell.ljust(width)
                for cell, title, width in zip(cells, head, widths, strict=True)
            ]
            lines.append("  ".join(padded).rstrip())
        if any(row.plan.algorithm.startswith("winograd") for row in self.rows):
            lines.append(
                "FLOP are those of the sums as they are written: Winograd's algorithm does fewer "
                "and may pass the roof."
            )
        if measured:
            lines.append(
                "Arrays that stay in a cache from one run to the next may pass memory's roof."
            )
        if self.others:
            calls = "call of another layer" if self.others == 1 else "calls of other layers"
            lines.append(f"Not listed: {self.others} {calls}, which memory bounds.")
        return "\n".join(lines)

    def _cells(self, row: ExplainRow, measured: bool) -> list[str]:
        roof = self.machine.roof(row.intensity)
        cells = [row.name, row.which, row.shape, row.plan.algorithm, row.plan.reason]
        cells += [row.plan.method, row.kernel, f"{row.scratch_bytes / 1024:,.0f}"]
        cells += [f"{row.intensity:,.1f}", f"{roof:,.0f}"]
        cells.append("arithmetic" if roof == self.machine.peak_gflops else "memory")
        if measured:
            share = "" if row.gflops is None else f"{row.gflops / roof:.0%}"
            cells += ["" if row.gflops is None else f"{row.gflops:,.1f}", share]
        return cells


def explain(
    model: nn.Model,
    batch: int = 1,
    *,
    training: bool = False,
    measure: bool = False,
    machine: Machine | None = None,
    seconds: float = 0.05,
) -> Explanation:
    """Returns how each convolution and dense layer of a model is done, and why.

    What decides is asked, not imitated: `ops.conv2d_plan` and `ops.gemm_plan`. Without ``measure``
    neither parameters nor activations are allocated.

    Args:
        model: its parameters need not be allocated.
        batch: number of samples; default 1.
        training: the gradients, too, as a training step computes them; default False.
        measure: run each pass on random numbers for ``seconds``; default False.
        machine: to compare with; default this one, measured now.
        seconds: for each pass; default 0.05.

    Raises:
        ValueError: a batch size below 1, or a model without convolutions and dense layers.
    """
    if batch < 1:
        raise ValueError(f"[{model.name}] batch must be positive; got {batch}")
    rows, others = [], 0
    for node, needed in _calls(model):
        passes = _passes(model, node, batch)
        others += not passes
        for made, run in passes:
            if made.which != "forward" and not (
                training and (made.which == "grad_weight" or needed)
            ):
                continue
            if measure:
                times, _ = timing.alternate(seconds, {"run": run()}, least=3)
                made = replace(made, gflops=1e-6 * made.flop / times["run"]["median_ms"])
            rows.append(made)
    if not rows:
        raise ValueError(f"[{model.name}] has neither convolutions nor dense layers to explain")
    machine = Machine.measure() if machine is None else machine
    return Explanation(model.name, batch, tuple(rows), machine, others)


_Pass = tuple[ExplainRow, Callable[[], Callable[[], Any]]]


def _calls(model: nn.Model) -> Iterator[tuple[Any, bool]]:
    """Yields each call of a layer, and whether a training step needs its input's gradient."""
    needs = [False] * (len(model.inputs) + len(model.steps))
    for node, step in zip(model.nodes, model.steps, strict=True):
        needed = any(needs[slot] for slot in step.inputs)
        trained = any(spec.trainable for spec in node.layer.specs.values())
        needs[step.output] = needed or trained
        yield node, needed


def _passes(model: nn.Model, node: Any, batch: int) -> list[_Pass]:
    """Returns the three passes of a call, each with what makes its measurement; none for others."""
    layer, shapes = node.layer, [symbol.shape for symbol in node.inputs]
    itemsize = np.dtype(model.dtype).itemsize
    scratch = layer.scratch(batch, itemsize, *shapes)
    dtype = str(np.dtype(model.dtype))

    def row(which: str, shape: str, plan: ops.Plan, flop: int, elements: int) -> ExplainRow:
        name = model.layer_name(layer)
        size = getattr(scratch, which)
        return ExplainRow(name, which, shape, plan, size, flop, elements * itemsize)

    if isinstance(layer, nn.Conv2D):
        call = of_layer(layer, shapes[0], batch)
        options = {**call.options, "algorithm": layer.algorithm}

        def convolve(which: str) -> Callable[[], Any]:
            x, w, y = (_values(s, dtype) for s in (call.x_shape, call.w_shape, call.y_shape))
            if which == "forward":
                return lambda: ops.conv2d(x, w, **options)
            if which == "grad_input":
                return lambda: ops.conv2d_grad_input(y, w, call.x_shape, **options)
            return lambda: ops.conv2d_grad_weight(x, y, call.w_shape, **options)

        return [
            (
                row(
                    which,
                    str(call),
                    ops.conv2d_plan(which, call.x_shape, call.w_shape, **options, dtype=dtype),
                    call.flop,
                    call.elements,
                ),
                functools.partial(convolve, which),
            )
            for which in ("forward", "grad_input", "grad_weight")
        ]
    if isinstance(layer, nn.Dense):
        inputs, units = math.prod(shapes[0]), layer.units
        sizes = {
            "forward": (batch, units, inputs),
            "grad_input": (batch, inputs, units),
            "grad_weight": (inputs, units, batch),
        }

        def multiply(which: str) -> Callable[[], Any]:
            x, w, y = (
                _values(s, dtype) for s in ((batch, inputs), (inputs, units), (batch, units))
            )
            if which == "forward":
                return lambda: ops.gemm(x, w)
            if which == "grad_input":
                return lambda: ops.gemm(y, w, transpose_b=True)
            return lambda: ops.gemm(x, y, transpose_a=True)

        return [
            (
                row(
                    which,
                    f"{batch}x{inputs} to {units}",
                    ops.gemm_plan(
                        m,
                        n,
                        k,
                        transpose_a=which == "grad_weight",
                        transpose_b=which == "grad_input",
                        dtype=dtype,
                    ),
                    2 * m * n * k,
                    m * n + n * k + m * k,
                ),
                functools.partial(multiply, which),
            )
            for which, (m, n, k) in sizes.items()
        ]
    return []


def _values(shape: tuple[int, ...], dtype: str) -> Tensor:
    """Returns numbers that are neither zero nor denormal, which some processors treat apart."""
    rng = np.random.default_rng(0)
    values = rng.random(min(math.prod(shape), 1_000_003), dtype=np.float32) + np.float32(0.5)
    return Tensor(np.resize(values, shape).astype(dtype, copy=False))
