"""Which algorithm each layer gets, why, and what the machine allows it."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from sixloop import Tensor, cuda, get_num_threads, isa, nn, ops
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
        """The kernels without dtype and instruction set, "gemm_rows 10x32".

        On the GPU as they are, and the parts of a sum, "product_bf16_128x64__wgmma in 4 parts".
        """
        if self.plan.launches:
            return " + ".join(
                dict.fromkeys(
                    launch.kernel + (f" in {launch.parts} parts" if launch.parts > 1 else "")
                    for launch in self.plan.launches
                )
            )
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
        machine: what they are compared with; None: nothing.
        others: number of calls of other layers, whose speed is that of memory.
        where: what computes, for people.
    """

    name: str
    batch: int
    rows: tuple[ExplainRow, ...]
    machine: Machine | None
    others: int
    where: str

    def __str__(self) -> str:
        measured = any(row.gflops is not None for row in self.rows)
        head = ["layer", "pass", "shape", "algorithm", "why", "method", "kernel"]
        head += ["scratch KiB", "FLOP/B"]
        head += ["roof GFLOP/s", "bound"] if self.machine else []
        head += ["GFLOP/s"] if measured else []
        head += ["of roof"] if measured and self.machine else []
        body = [self._cells(row, measured) for row in self.rows]
        right = {"scratch KiB", "FLOP/B", "roof GFLOP/s", "GFLOP/s", "of roof"}
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        title = f"{self.name}, batch {self.batch}: {self.where}"
        if self.machine:
            title += f"; peak {self.machine.peak_gflops:,.0f} GFLOP/s, memory "
            title += f"{self.machine.memory_gbs:,.1f} GB/s"
        lines = [title]
        for cells in (head, *body):
            padded = [
                cell.rjust(width) if title in right else cell.ljust(width)
                for cell, title, width in zip(cells, head, widths, strict=True)
            ]
            lines.append("  ".join(padded).rstrip())
        if self.machine and any(row.plan.algorithm.startswith("winograd") for row in self.rows):
            lines.append(
                "FLOP are those of the sums as they are written: Winograd's algorithm does fewer "
                "and may pass the roof."
            )
        if measured and self.machine:
            lines.append(
                "Arrays that stay in a cache from one run to the next may pass memory's roof."
            )
        if self.others:
            calls = "call of another layer" if self.others == 1 else "calls of other layers"
            lines.append(f"Not listed: {self.others} {calls}, which memory bounds.")
        return "\n".join(lines)

    def _cells(self, row: ExplainRow, measured: bool) -> list[str]:
        cells = [row.name, row.which, row.shape, row.plan.algorithm, row.plan.reason]
        cells += [row.plan.method, row.kernel, f"{row.scratch_bytes / 1024:,.0f}"]
        cells.append(f"{row.intensity:,.1f}")
        roof = self.machine.roof(row.intensity) if self.machine else None
        if self.machine and roof:
            bound = "arithmetic" if roof == self.machine.peak_gflops else "memory"
            cells += [f"{roof:,.0f}", bound]
        if measured:
            cells.append("" if row.gflops is None else f"{row.gflops:,.1f}")
            if roof:
                cells.append("" if row.gflops is None else f"{row.gflops / roof:.0%}")
        return cells


class _Target(NamedTuple):
    """What the layers are explained for; precision is that of a Trainer."""

    device: str
    precision: str
    capability: tuple[int, int] | None
    dtype: str

    @property
    def itemsize(self) -> int:
        return 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize

    @property
    def products(self) -> dict[str, Any]:
        """The option of the ops that multiply."""
        return {"precision": "tf32"} if self.precision == "tf32" else {}

    @property
    def plans(self) -> dict[str, Any]:
        """The options of `ops.conv2d_plan` and `ops.gemm_plan`."""
        options = {"dtype": self.dtype, "device": self.device, **self.products}
        return options if self.capability is None else {**options, "capability": self.capability}

    def __str__(self) -> str:
        if self.device == "cpu":
            return f"{isa()}, {get_num_threads()} threads"
        here = self.capability is None and cuda.is_available()
        major, minor = cuda.compute_capability() if here else self.capability or (9, 0)
        name = f"{cuda.device_name()}, " if here else ""
        return f"cuda, {name}compute capability {major}.{minor}, {self.precision}"


def explain(
    model: nn.Model,
    batch: int = 1,
    *,
    training: bool = False,
    measure: bool = False,
    machine: Machine | None = None,
    seconds: float = 0.05,
    device: str = "cpu",
    precision: str = "fp32",
    capability: tuple[int, int] | None = None,
) -> Explanation:
    """Returns how each convolution and dense layer of a model is done, and why.

    What decides is asked, not imitated: `ops.conv2d_plan` and `ops.gemm_plan`. Without ``measure``
    neither parameters nor activations are allocated.

    Args:
        model: its parameters need not be allocated.
        batch: number of samples; default 1.
        training: the gradients, too, as a training step computes them; default False.
        measure: run each pass on random numbers for ``seconds``; default False.
        machine: to compare with; default this one, measured now, for the GPU none.
        seconds: for each pass; default 0.05.
        device: "cpu" (default) or "cuda", which need not be there unless ``measure`` runs on it;
            a measurement there has the wait for its end in it.
        precision: "fp32" (default), or on the GPU "tf32" or "bf16", as a Trainer takes it.
        capability: the GPU's compute capability; default as in `ops.conv2d_plan`.

    Raises:
        ValueError: a batch size below 1, a model without convolutions and dense layers, an unknown
            device or precision, or one that the device or the model does not have.
        RuntimeError: device "cuda" in a build without CUDA, or measured without a GPU.
    """
    if batch < 1:
        raise ValueError(f"[{model.name}] batch must be positive; got {batch}")
    if precision not in ("fp32", "tf32", "bf16"):
        raise ValueError(f"[{model.name}] unknown precision {precision!r}; valid: fp32, tf32, bf16")
    dtype = str(np.dtype(model.dtype))
    if precision == "bf16":
        if dtype != "float32" or device == "cpu":
            raise ValueError(
                f'[{model.name}] precision "bf16" is for float32 models on cuda; got {dtype} on '
                f"{device}"
            )
        dtype = "bfloat16"
    target = _Target(device, precision, capability, dtype)
    rows, others = [], 0
    for node, needed in _calls(model):
        passes = _passes(model, node, batch, target)
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
    if machine is None and device == "cpu":
        machine = Machine.measure()
    return Explanation(model.name, batch, tuple(rows), machine, others, str(target))


_Pass = tuple[ExplainRow, Callable[[], Callable[[], Any]]]


def _calls(model: nn.Model) -> Iterator[tuple[Any, bool]]:
    """Yields each call of a layer, and whether a training step needs its input's gradient."""
    needs = [False] * (len(model.inputs) + len(model.steps))
    for node, step in zip(model.nodes, model.steps, strict=True):
        needed = any(needs[slot] for slot in step.inputs)
        trained = any(spec.trainable for spec in node.layer.specs.values())
        needs[step.output] = needed or trained
        yield node, needed


def _passes(model: nn.Model, node: Any, batch: int, target: _Target) -> list[_Pass]:
    """Returns the three passes of a call, each with what makes its measurement; none for others."""
    layer, shapes = node.layer, [symbol.shape for symbol in node.inputs]
    itemsize = target.itemsize
    scratch = layer.scratch(batch, itemsize, *shapes) if target.device == "cpu" else None
    values = functools.partial(_values, target=target)

    def row(which: str, shape: str, plan: ops.Plan, flop: int, elements: int) -> ExplainRow:
        name = model.layer_name(layer)
        size = plan.scratch_bytes if scratch is None else getattr(scratch, which)
        return ExplainRow(name, which, shape, plan, size, flop, elements * itemsize)

    if isinstance(layer, nn.Conv2D):
        call = of_layer(layer, shapes[0], batch)
        options = {**call.options, "algorithm": layer.algorithm}

        def convolve(which: str) -> Callable[[], Any]:
            x, w, y = map(values, (call.x_shape, call.w_shape, call.y_shape))
            made = {**options, **target.products}
            if which == "forward":
                return lambda: ops.conv2d(x, w, **made)
            if which == "grad_input":
                return lambda: ops.conv2d_grad_input(y, w, call.x_shape, **made)
            return lambda: ops.conv2d_grad_weight(x, y, call.w_shape, **made)

        return [
            (
                row(
                    which,
                    str(call),
                    ops.conv2d_plan(which, call.x_shape, call.w_shape, **options, **target.plans),
                    call.flop,
                    call.elements,
                ),
                functools.partial(_awaited, functools.partial(convolve, which), target),
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
            x, w, y = map(values, ((batch, inputs), (inputs, units), (batch, units)))
            if which == "forward":
                return lambda: ops.gemm(x, w, **target.products)
            if which == "grad_input":
                return lambda: ops.gemm(y, w, transpose_b=True, **target.products)
            return lambda: ops.gemm(x, y, transpose_a=True, **target.products)

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
                        **target.plans,
                    ),
                    2 * m * n * k,
                    m * n + n * k + m * k,
                ),
                functools.partial(_awaited, functools.partial(multiply, which), target),
            )
            for which, (m, n, k) in sizes.items()
        ]
    return []


def _awaited(prepare: Callable[[], Callable[[], Any]], target: _Target) -> Callable[[], Any]:
    """Returns the call that prepare makes, on the GPU with the wait for its end."""
    run = prepare()
    if target.device == "cpu":
        return run

    def wait() -> None:
        run()
        cuda.synchronize()

    return wait


def _values(shape: tuple[int, ...], target: _Target) -> Tensor:
    """Returns numbers that are neither zero nor denormal, which some processors treat apart."""
    rng = np.random.default_rng(0)
    values = rng.random(min(math.prod(shape), 1_000_003), dtype=np.float32) + np.float32(0.5)
    resized = np.resize(values, shape)
    if target.device == "cpu":
        return Tensor(resized.astype(target.dtype, copy=False))
    made: Tensor = ops.cast(Tensor(resized).to("cuda"), target.dtype)
    return made
