"""The parts of gpu_check.py that use the GPU. Each runs in a process of its own and yields rows.

A row is a dictionary with a name; what is not there yet says so under "not run". Sizes fit an H200;
`tiny` ones fit the emulator, where PyTorch is not asked.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

import sixloop
from sixloop import _on_device, ops

Json = dict[str, Any]

# Bytes of rotating inputs: twice the second-level cache of the largest GPU.
ROTATED_BYTES = 128 << 20
TURN_SECONDS = 0.015
TURNS = 7
PRECISIONS = ("fp32", "tf32", "bf16")


def limit_of(precision: str, terms: int) -> float:
    """Returns the relative error that a sum of so many terms may have, in the Euclidean norm."""
    return {"fp32": max(5e-6, 1e-7 * math.sqrt(terms)), "tf32": 1e-3, "bf16": 1e-2}[precision]


def error_of(result: Any, reference: Any) -> float:
    """Returns |result - reference| / |reference|; infinity where an element is not finite."""
    result, reference = np.asarray(result, np.float64), np.asarray(reference, np.float64)
    if result.shape != reference.shape or not np.isfinite(result).all():
        return math.inf
    size = float(np.linalg.norm(reference))
    return float(np.linalg.norm(result - reference)) / (size if size > 0 else 1.0)


# --------------------------------------------------------------------------------------- cases


@dataclass(frozen=True)
class Case:
    """One op of both libraries on random arrays of the same shapes.

    Attributes:
        name: for the table.
        work: operations, or bytes as a negative number where memory is the limit.
        shapes: of the arguments: images (N, H, W, C), filters (KH, KW, C, O).
        ours: function of the arguments.
        theirs: function of torch and the arguments in PyTorch's order of axes.
        images, filters: which arguments are that, for PyTorch in channels_last.
        precision: "bf16" arrays, or "fp32" and "tf32" with arrays of float32.
        terms: of each sum.
        target: least ratio of PyTorch's time to ours.
        has_precision: whether `ours` takes precision=.
        deterministic: time PyTorch with cudnn.deterministic, too.
        wide: which arguments are float32 with bf16, too.
        labels: which arguments are class indices for the last axis of the first one.
        ready, theirs_ready: make the arguments of `ours` from those of the shapes, and of torch
            those of `theirs`, before the clock starts.
        has_error: whether the results can be compared: not where `ours` writes to its arguments.
    """

    name: str
    work: float
    shapes: tuple[tuple[int, ...], ...]
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    images: tuple[int, ...] = ()
    filters: tuple[int, ...] = ()
    precision: str = "fp32"
    terms: int = 1
    target: float | None = None
    has_precision: bool = False
    deterministic: bool = False
    wide: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()
    ready: Callable[[list[Any]], list[Any]] = field(default=lambda arguments: arguments)
    theirs_ready: Callable[[Any, list[Any]], list[Any]] = field(default=lambda torch, a: a)
    has_error: bool = True

    @property
    def label(self) -> str:
        return f"{self.name} {self.precision}"

    def run(self, arguments: list[Any]) -> list[Any]:
        """Returns our results."""
        more = {"precision": "tf32"} if self.has_precision and self.precision == "tf32" else {}
        result = self.ours(*arguments, **more)
        return list(result) if isinstance(result, tuple) else [result]

    def arrays(self, rng: np.random.Generator) -> list[Any]:
        return [
            rng.integers(0, self.shapes[0][-1], shape)
            if i in self.labels
            else rng.standard_normal(shape, dtype=np.float32)
            for i, shape in enumerate(self.shapes)
        ]

    def is_narrow(self, place: int) -> bool:
        """Returns whether an argument is bfloat16."""
        return self.precision == "bf16" and place not in (*self.wide, *self.labels)

    def on_device(self, arrays: list[Any]) -> list[Any]:
        """Returns NumPy arrays as our arguments."""
        tensors = [sixloop.Tensor(array).to("cuda") for array in arrays]
        return [
            ops.cast(tensor, "bfloat16") if self.is_narrow(i) else tensor
            for i, tensor in enumerate(tensors)
        ]

    def torch_arguments(self, torch: Any) -> list[Any]:
        """Returns random arguments on the GPU, in our order of axes."""
        return [
            torch.randint(0, self.shapes[0][-1], shape, device="cuda")
            if i in self.labels
            else torch.randn(
                shape,
                device="cuda",
                dtype=torch.bfloat16 if self.is_narrow(i) else torch.float32,
            )
            for i, shape in enumerate(self.shapes)
        ]

    def for_torch(self, torch: Any, tensors: list[Any]) -> list[Any]:
        """Returns PyTorch's views or copies of arguments in our order of axes."""
        last = torch.channels_last
        return [
            t.permute(0, 3, 1, 2)
            if i in self.images
            else t.permute(3, 2, 0, 1).contiguous(memory_format=last)
            if i in self.filters
            else t
            for i, t in enumerate(tensors)
        ]


def products(tiny: bool) -> Iterator[Case]:
    """Matrix products: cubes, and what networks have beside them."""

    def theirs(torch: Any, a: Any, b: Any) -> Any:
        return torch.mm(a, b)

    cubes = [(n, n, n) for n in ((64,) if tiny else (512, 1024, 2048, 4096, 8192))]
    odd = [(48, 10, 33)] if tiny else [(512, 10, 512), (256, 4096, 9216), (1000, 1000, 1000)]
    odd += [] if tiny else [(128, 4096, 4096), (100_352, 64, 256), (4097, 1023, 2049)]
    targets = {"fp32": 0.85, "tf32": 0.6, "bf16": 0.8}
    for precision in PRECISIONS:
        for m, n, k in cubes + odd:
            yield Case(
                f"gemm {m}x{n}x{k}",
                2.0 * m * n * k,
                ((m, k), (k, n)),
                ops.gemm,
                theirs,
                precision=precision,
                terms=k,
                target=0.95 if precision == "bf16" and min(m, n, k) >= 4096 else targets[precision],
                has_precision=True,
            )


def convolutions(tiny: bool) -> Iterator[Case]:
    """The three passes of layers of ResNet-50, VGG-16, the CIFAR networks and LeNet-5."""
    layers = [
        # N, H, W, C, filter, O, stride, padding
        (64, 56, 56, 64, 3, 64, 1, 1),
        (64, 28, 28, 128, 3, 128, 1, 1),
        (64, 14, 14, 256, 3, 256, 1, 1),
        (64, 7, 7, 512, 3, 512, 1, 1),
        (64, 56, 56, 64, 1, 256, 1, 0),
        (64, 56, 56, 128, 3, 128, 2, 1),
        (64, 224, 224, 3, 7, 64, 2, 3),
        (128, 14, 14, 6, 5, 16, 1, 0),
    ]
    # VGG-16's, of which float32 would take too long.
    vgg = [
        (64, 112, 112, 64, 3, 128, 1, 1),
        (64, 56, 56, 256, 3, 256, 1, 1),
        (64, 28, 28, 512, 3, 512, 1, 1),
    ]
    if tiny:
        layers, vgg = [(1, 9, 7, 8, 3, 8, 1, 1)], []
    least = {
        "forward": {"fp32": 0.7, "tf32": 0.5, "bf16": 0.9},
        "grad_input": {"fp32": 0.7, "tf32": 0.45, "bf16": 0.75},
        "grad_weight": {"fp32": 0.7, "tf32": 0.45, "bf16": 0.75},
    }
    stem = {"fp32": 0.7, "tf32": 1.0, "bf16": 1.2}  # of three input channels
    for precision in PRECISIONS:
        for n, h, w, c, k, o, stride, pad in layers + (vgg if precision == "bf16" else []):
            oh, ow = ((size + 2 * pad - k) // stride + 1 for size in (h, w))
            x, filters, y = (n, h, w, c), (k, k, c, o), (n, oh, ow, o)
            call = partial(
                Case,
                work=2.0 * math.prod(y) * math.prod(filters[:3]),
                precision=precision,
                has_precision=True,
            )
            label = f"{n}x{h}x{w}x{c} {k}x{k}/{stride} to {o}"
            options = {"strides": stride, "padding": pad}
            yield call(
                name=f"conv2d {label}",
                shapes=(x, filters),
                ours=partial(ops.conv2d, **options),
                theirs=partial(_torch_forward, stride, pad),
                images=(0,),
                filters=(1,),
                terms=k * k * c,
                target=stem[precision] if c == 3 else least["forward"][precision],
            )
            yield call(
                name=f"conv2d_grad_input {label}",
                shapes=(y, filters),
                ours=partial(ops.conv2d_grad_input, x_shape=x, **options),
                theirs=partial(_torch_grad_input, stride, pad, x),
                images=(0,),
                filters=(1,),
                terms=k * k * o,
                target=least["grad_input"][precision],
                deterministic=True,
            )
            yield call(
                name=f"conv2d_grad_weight {label}",
                shapes=(x, y),
                ours=partial(ops.conv2d_grad_weight, w_shape=filters, **options),
                theirs=partial(_torch_grad_weight, stride, pad, filters),
                images=(0, 1),
                terms=n * oh * ow,
                target=stem[precision] if c == 3 else least["grad_weight"][precision],
                deterministic=True,
            )


def _torch_forward(stride: int, pad: int, torch: Any, x: Any, w: Any) -> Any:
    return torch.conv2d(x, w, None, stride, pad)


def _torch_gradients(
    torch: Any, dy: Any, x: Any, w: Any, stride: int, pad: int, wanted: list[bool]
) -> Any:
    sizes = ([stride, stride], [pad, pad], [1, 1], False, [0, 0], 1)
    return torch.ops.aten.convolution_backward(dy, x, w, None, *sizes, wanted)


def _torch_grad_input(stride: int, pad: int, shape: Any, torch: Any, dy: Any, w: Any) -> Any:
    # Its values are not read; memory of the pool costs nothing.
    n, h, width, c = shape
    x = torch.empty(n, h, width, c, device=dy.device, dtype=dy.dtype).permute(0, 3, 1, 2)
    return _torch_gradients(torch, dy, x, w, stride, pad, [True, False, False])[0]


def _torch_grad_weight(stride: int, pad: int, shape: Any, torch: Any, x: Any, dy: Any) -> Any:
    kh, kw, c, o = shape
    w = torch.empty(o, kh, kw, c, device=dy.device, dtype=dy.dtype).permute(0, 3, 1, 2)
    return _torch_gradients(torch, dy, x, w, stride, pad, [False, True, False])[1]


def passes_over_memory(tiny: bool) -> Iterator[Case]:
    """What the memory's speed limits: `work` is the bytes that must move."""
    rows = [(64, 10)] if tiny else [(65536, 10), (65536, 128), (32768, 1000), (4096, 32768)]
    image = (1, 8, 6, 8) if tiny else (64, 112, 112, 64)
    pooled = (image[0], image[1] // 2, image[2] // 2, image[3])
    cells, channels = float(math.prod(image)), image[3:]
    for precision, size in (("fp32", 4.0), ("bf16", 2.0)):
        call = partial(Case, precision=precision)
        for m, classes in rows:
            yield call(
                name=f"softmax {m}x{classes}",
                work=-2 * size * m * classes,
                shapes=((m, classes),),
                ours=ops.softmax,
                theirs=lambda torch, x: torch.softmax(x, -1),
                terms=classes,
            )
            yield call(
                name=f"cross_entropy and its gradient {m}x{classes}",
                work=-2 * size * m * classes,
                shapes=((m, classes), (m,)),
                labels=(1,),
                ours=_cross_entropy,
                theirs=_torch_cross_entropy,
                terms=classes,
                target=2.0,
            )
        yield call(
            name="max_pool2d 2x2",
            work=-1.25 * size * cells,
            shapes=(image,),
            ours=_max_pool,
            theirs=lambda torch, x: torch.max_pool2d(x, 2),
            images=(0,),
            target=1.4,
        )
        yield call(
            name="max_pool2d_grad 2x2",
            work=-(1.25 * size + 0.25) * cells,
            shapes=(pooled, image),
            ours=partial(_max_pool_grad, image),
            theirs=_torch_max_pool_grad,
            ready=_max_pool_indices,
            theirs_ready=_torch_max_pool_indices,
            images=(0, 1),
            target=2.5,
        )
        yield call(
            name="batch_norm + relu, training",
            work=-3 * size * cells,
            shapes=(image, channels, channels),
            wide=(1, 2),
            ours=partial(ops.batch_norm, activation="relu"),
            theirs=_torch_batch_norm,
            images=(0,),
            terms=math.prod(image[:3]),
            target=1.5,
        )
        yield call(
            name="batch_norm_grad through relu",
            work=-5 * size * cells,
            shapes=(image, image, channels, channels),
            wide=(2, 3),
            ours=_batch_norm_grad,
            theirs=_torch_batch_norm_grad,
            ready=_batch_norm_statistics,
            theirs_ready=_torch_batch_norm_tape,
            images=(0, 1),
            terms=math.prod(image[:3]),
            target=1.3,
        )
        yield call(
            name="batch_norm + residual + relu, training",
            work=-4 * size * cells,
            shapes=(image, channels, channels, image),
            wide=(1, 2),
            ours=_residual,
            theirs=_torch_residual,
            images=(0, 3),
            terms=math.prod(image[:3]),
            target=1.5,
        )
        yield call(
            name="relu",
            work=-2 * size * cells,
            shapes=(image,),
            ours=ops.relu,
            theirs=lambda torch, x: torch.relu(x),
            images=(0,),
            target=0.95,
        )
    parameters = 1000 if tiny else 25_557_032  # ResNet-50's
    for name, arrays, passes in (("sgd", 1, 5), ("adam", 2, 7)):
        yield Case(
            name=f"{name}_update {parameters}",
            work=-4.0 * passes * parameters,
            shapes=((parameters,), (parameters,)),
            ours=_updates[name],
            theirs=_torch_step,
            ready=partial(_with_slots, arrays),
            theirs_ready=partial(_torch_optimizer, name),
            has_error=False,
            target=1.0,
        )


def _cross_entropy(x: Any, labels: Any) -> Any:
    # The loss stays on the GPU, as in a training step.
    if isinstance(x, np.ndarray):
        return ops.cross_entropy(x, labels)[1]
    return _on_device.loss_cross_entropy(x, labels)[2]


def _torch_cross_entropy(torch: Any, x: Any, labels: Any) -> Any:
    x = x.detach().requires_grad_()
    torch.nn.functional.cross_entropy(x, labels).backward()
    return x.grad


def _max_pool(x: Any) -> Any:
    return ops.max_pool2d(x, 2)


def _max_pool_indices(arguments: list[Any]) -> list[Any]:
    dy, x = arguments
    return [dy, ops.max_pool2d(x, 2, return_indices=True)[1]]


def _max_pool_grad(shape: tuple[int, ...], dy: Any, indices: Any) -> Any:
    return ops.max_pool2d_grad(dy, shape, 2, indices=indices)


def _torch_max_pool_indices(torch: Any, arguments: list[Any]) -> list[Any]:
    dy, x = arguments
    indices = torch.nn.functional.max_pool2d(x, 2, return_indices=True)[1]
    return [dy, x, indices]


def _torch_max_pool_grad(torch: Any, dy: Any, x: Any, indices: Any) -> Any:
    window = ([2, 2], [2, 2], [0, 0], [1, 1], False)
    return torch.ops.aten.max_pool2d_with_indices_backward(dy, x, *window, indices)


def _torch_batch_norm(torch: Any, x: Any, gamma: Any, beta: Any) -> Any:
    normalized = torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True)
    return torch.relu_(normalized)


def _residual(x: Any, gamma: Any, beta: Any, residual: Any) -> Any:
    return ops.batch_norm(x, gamma, beta, activation="relu", residual=residual)


def _torch_residual(torch: Any, x: Any, gamma: Any, beta: Any, residual: Any) -> Any:
    normalized = torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True)
    return torch.relu_(normalized + residual)


def _batch_norm_statistics(arguments: list[Any]) -> list[Any]:
    dy, x, gamma, beta = arguments
    _, *statistics = ops.batch_norm(x, gamma, beta, activation="relu", return_affine=True)
    return [dy, x, gamma, *statistics]


def _batch_norm_grad(dy: Any, x: Any, gamma: Any, mean: Any, variance: Any, affine: Any) -> Any:
    return ops.batch_norm_grad(dy, x, gamma, mean, variance, relu_affine=affine)


def _torch_batch_norm_tape(torch: Any, arguments: list[Any]) -> list[Any]:
    dy, *inputs = arguments
    inputs = [t.detach().requires_grad_() for t in inputs]
    return [dy, _torch_batch_norm(torch, *inputs), *inputs]


def _torch_batch_norm_grad(torch: Any, dy: Any, y: Any, *inputs: Any) -> Any:
    return torch.autograd.grad(y, inputs, dy, retain_graph=True)[0]


def _sgd(parameter: Any, gradient: Any, velocity: Any) -> Any:
    ops.sgd_update(parameter, gradient, velocity, lr=1e-3, momentum=0.9)
    return parameter


def _adam(parameter: Any, gradient: Any, *moments: Any) -> Any:
    ops.adam_update(parameter, gradient, *moments, step=1, lr=1e-3)
    return parameter


_updates: dict[str, Callable[..., Any]] = {"sgd": _sgd, "adam": _adam}


def _with_slots(count: int, arguments: list[Any]) -> list[Any]:
    shape = arguments[0].shape
    if isinstance(arguments[0], np.ndarray):
        return [*arguments, *(np.zeros_like(arguments[0]) for _ in range(count))]
    return [*arguments, *(sixloop.zeros(shape, device="cuda") for _ in range(count))]


def _torch_optimizer(name: str, torch: Any, arguments: list[Any]) -> list[Any]:
    parameter = torch.nn.Parameter(arguments[0])
    parameter.grad = arguments[1]
    if name == "sgd":
        return [torch.optim.SGD([parameter], lr=1e-3, momentum=0.9, fused=True), parameter]
    return [torch.optim.Adam([parameter], lr=1e-3, fused=True), parameter]


def _torch_step(torch: Any, optimizer: Any, parameter: Any) -> Any:
    optimizer.step()
    return parameter.detach()


FAMILIES = {
    "products": products,
    "convolutions": convolutions,
    "memory": passes_over_memory,
}


# ------------------------------------------------------------------------------------ accuracy


def accuracy_cases(tiny: bool) -> Iterator[Case]:
    """Shapes that the CPU does in float64 within a second, odd ones among them."""
    for family in FAMILIES.values():
        yield from family(True)
    if tiny:
        return
    for precision in PRECISIONS:
        for m, n, k in ((1, 1, 1), (129, 65, 17), (257, 1000, 513), (1024, 1024, 1024)):
            yield Case(
                f"gemm {m}x{n}x{k}",
                0,
                ((m, k), (k, n)),
                ops.gemm,
                _nobody,
                precision=precision,
                terms=k,
                has_precision=True,
            )
        for n, h, w, c, k, o, stride, pad in (
            (2, 13, 9, 5, 3, 7, 2, 1),
            (4, 28, 20, 64, 3, 64, 1, 1),
            (8, 14, 10, 128, 1, 256, 1, 0),
            (2, 33, 29, 3, 7, 64, 2, 3),
            (64, 16, 12, 16, 5, 32, 1, 2),
        ):
            oh, ow = ((size + 2 * pad - k) // stride + 1 for size in (h, w))
            x, filters, y = (n, h, w, c), (k, k, c, o), (n, oh, ow, o)
            options = {"strides": stride, "padding": pad}
            for name, shapes, ours, terms in (
                ("conv2d", (x, filters), partial(ops.conv2d, **options), k * k * c),
                ("conv2d with residual", (x, filters, y), _with_residual(options), k * k * c),
                (
                    "conv2d_statistics",
                    (x, filters),
                    partial(ops.conv2d_statistics, **options),
                    k * k * c,
                ),
                (
                    "conv2d_grad_input",
                    (y, filters),
                    partial(ops.conv2d_grad_input, x_shape=x, **options),
                    k * k * o,
                ),
                (
                    "conv2d_grad_weight",
                    (x, y),
                    partial(ops.conv2d_grad_weight, w_shape=filters, **options),
                    n * oh * ow,
                ),
            ):
                yield Case(
                    f"{name} {n}x{h}x{w}x{c} {k}x{k}/{stride} to {o}",
                    0,
                    shapes,
                    ours,
                    _nobody,
                    precision=precision,
                    terms=terms,
                    has_precision=True,
                )


def _with_residual(options: Json) -> Callable[..., Any]:
    def run(x: Any, w: Any, residual: Any, **precision: Any) -> Any:
        return ops.conv2d(x, w, residual=residual, activation="relu", **options, **precision)

    return run


def _nobody(*_: Any) -> None:
    raise AssertionError("not timed")


def accuracy(tiny: bool) -> Iterator[Json]:
    """Every op on fresh inputs against the CPU in float64; three runs have the same bits.

    All arrays begin as NaN and lie between guard bands, which nobody may write to.
    """
    rng = np.random.default_rng()
    for case in accuracy_cases(tiny):
        yield attempt(case, lambda case=case: accuracy_of(case, rng))


def accuracy_of(case: Case, rng: np.random.Generator) -> Json:
    sixloop.cuda.set_guards(True)
    try:
        row = compare(case, rng) if case.has_error else write(case, rng)
        sixloop.cuda.check_guards()
    finally:
        sixloop.cuda.set_guards(False)
    return row


def write(case: Case, rng: np.random.Generator) -> Json:
    """Runs what writes to its arguments, whose guard bands are then looked at."""
    case.run(case.ready(case.on_device(case.arrays(rng))))
    return {"passed": True}


def compare(case: Case, rng: np.random.Generator) -> Json:
    arguments = case.on_device(case.arrays(rng))
    # What the kernel sees: bfloat16 inputs are rounded before.
    seen = [
        to_float32(a) if i in case.labels else to_float32(a).astype(np.float64)
        for i, a in enumerate(arguments)
    ]
    arguments = case.ready(arguments)
    expected = case.ours(*case.ready(seen))
    expected = list(expected) if isinstance(expected, tuple) else [expected]
    runs = [[to_float32(part) for part in case.run(arguments)] for _ in range(3)]
    error = max(map(error_of, runs[0], expected))
    same = all(np.array_equal(a, b) for other in runs[1:] for a, b in zip(runs[0], other))
    limit = limit_of(case.precision, case.terms)
    passed = same and error <= limit
    return {"error": error, "limit": limit, "same_bits": same, "passed": passed}


def to_float32(x: Any) -> Any:
    """Returns one of our results as an array of NumPy, which has no bfloat16."""
    if isinstance(x, sixloop.Tensor) and str(x.dtype) == "bfloat16":
        x = ops.cast(x, "float32")
    return x.numpy() if isinstance(x, sixloop.Tensor) else np.asarray(x)


def attempt(case: Case, run: Callable[[], Json]) -> Json:
    """Returns the case's row, with what `run` gives or why it gave nothing."""
    row: Json = {"name": case.label, "work": case.work, "target": case.target}
    try:
        return {**row, **run()}
    except Exception as error:  # another op may work
        return {**row, "failed": f"{type(error).__name__}: {error}"[:300], "passed": False}


# --------------------------------------------------------------------------------------- times


def seconds_of(run: Callable[[], Any], wait: Callable[[], None], calls: int) -> float:
    wait()
    start = time.perf_counter()
    for _ in range(calls):
        run()
    wait()
    return (time.perf_counter() - start) / calls


@dataclass
class Runner:
    """One side of a comparison.

    Attributes:
        run, wait: a call, and the wait for all that were made.
        prepare: called before each turn.
    """

    run: Callable[[], Any]
    wait: Callable[[], None]
    prepare: Callable[[], None] = field(default=lambda: None)


def alternate(runners: dict[str, Runner], turn: float = TURN_SECONDS, turns: int = TURNS) -> Json:
    """Returns microseconds of each, medians of alternating turns, and ratios to sixloop."""
    calls = {}
    for name, side in runners.items():
        side.prepare()
        for _ in range(3):
            side.run()
        calls[name] = max(1, min(2000, int(turn / max(seconds_of(side.run, side.wait, 3), 1e-6))))
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(turns):
        for name, side in runners.items():
            side.prepare()
            times[name].append(seconds_of(side.run, side.wait, calls[name]) * 1e6)
    row: Json = {f"{name}_us": round(float(np.median(t)), 3) for name, t in times.items()}
    row["spread"] = {name: [round(min(t), 3), round(max(t), 3)] for name, t in times.items()}
    for name in runners:
        if name != "sixloop":
            ratio = round(row[f"{name}_us"] / row["sixloop_us"], 3)
            row["ratio" if name == "torch" else f"{name}_ratio"] = ratio
    return row


def rotating(sets: list[list[Any]]) -> Iterator[list[Any]]:
    """Yields sets of arguments for ever."""
    while True:
        yield from sets


def set_count(nbytes: int) -> int:
    """Returns how many sets of arguments are larger than any cache together."""
    return max(1, min(16, ROTATED_BYTES // max(nbytes, 1)))


def time_case(case: Case, torch: Any) -> Json:
    """Returns microseconds of both libraries; of ours alone where torch is None."""
    if torch is None:
        rng = np.random.default_rng(0)
        mine = rotating([case.ready(case.on_device(case.arrays(rng)))])
        return alternate({"sixloop": Runner(lambda: case.run(next(mine)), wait)}, 0.0, 1)
    size = 2 if case.precision == "bf16" else 4
    count = set_count(sum(size * math.prod(shape) for shape in case.shapes))
    sets = [case.torch_arguments(torch) for _ in range(count)]
    mine = rotating([case.ready([sixloop.Tensor(t) for t in tensors]) for tensors in sets])
    yours = rotating([case.theirs_ready(torch, case.for_torch(torch, tensors)) for tensors in sets])

    def settings(deterministic: bool) -> None:
        torch.backends.cudnn.deterministic = deterministic
        torch.backends.cudnn.allow_tf32 = case.precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = case.precision == "tf32"

    def theirs() -> None:
        case.theirs(torch, *next(yours))

    synchronize = torch.cuda.synchronize
    runners = {
        "sixloop": Runner(lambda: case.run(next(mine)), wait),
        "torch": Runner(theirs, synchronize, partial(settings, False)),
    }
    if case.deterministic:
        runners["deterministic"] = Runner(theirs, synchronize, partial(settings, True))
    return alternate(runners)


def wait() -> None:
    sixloop.cuda.synchronize()


def times(family: str, tiny: bool) -> Iterator[Json]:
    """Every op of a family beside PyTorch: eager, channels_last, cudnn.benchmark."""
    torch = None if tiny else import_torch()
    for case in FAMILIES[family](tiny):
        yield attempt(case, lambda case=case: time_case(case, torch))


def import_torch() -> Any:
    import torch

    torch.backends.cudnn.benchmark = True
    return torch


def ceilings(tiny: bool) -> Iterator[Json]:
    """The rates of a copy and of matrix products through PyTorch, after a warm-up."""
    if tiny:
        return
    torch = import_torch()
    a = torch.randn(8192, 8192, device="cuda")
    b = torch.randn(8192, 8192, device="cuda")
    stop = time.perf_counter() + 3
    while time.perf_counter() < stop:
        torch.mm(a, b)
        torch.cuda.synchronize()
    source = torch.empty(1 << 30, device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    elapsed = seconds_of(lambda: target.copy_(source), torch.cuda.synchronize, 20)
    yield {"name": "copy", "per_second": 2 * source.numel() / elapsed}
    for precision in PRECISIONS:
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        x, y = a.to(dtype), b.to(dtype)
        elapsed = seconds_of(lambda x=x, y=y: torch.mm(x, y), torch.cuda.synchronize, 10)
        yield {"name": precision, "per_second": 2 * 8192**3 / elapsed}


# ------------------------------------------------------------------------------------ networks

NETWORKS: list[tuple[str, dict[str, Any], int, float]] = [
    # Name, options, batch, least ratio of PyTorch's time to ours, both in bfloat16
    ("lenet5", {}, 128, 4.0),
    ("resnet18", {"input_shape": (32, 32, 3), "classes": 10}, 512, 1.2),
    ("vgg11", {"input_shape": (224, 224, 3)}, 256, 1.1),
]
TINY_NETWORKS: list[tuple[str, dict[str, Any], int, float]] = [("lenet5", {}, 4, 4.0)]
COMPILED_TARGET = 0.85
COMPILED = "torch.compile"


def networks(tiny: bool) -> Iterator[Json]:
    """Training steps: our Trainer, and PyTorch eager with autocast.

    Ours is what a user gets: `Trainer.fit` on arrays in memory. PyTorch's batch is on the GPU
    before. One row for each.
    """
    torch = None if tiny else import_torch()
    for precision in ("fp32", "bf16"):
        for name, options, batch, target in TINY_NETWORKS if tiny else NETWORKS:
            row = {"name": f"{name} b{batch} {precision}"}
            yield {**row, "library": "sixloop"} | step_row(
                our_step, name, options, batch, precision
            )
            if torch is not None:
                measure = partial(torch_step, torch, False)
                more = {"library": "torch", "target": target if precision == "bf16" else None}
                yield {**row, **more} | step_row(measure, name, options, batch, precision)


def compiled(tiny: bool) -> Iterator[Json]:
    """The same steps by torch.compile in its mode max-autotune, which takes minutes to compile."""
    if tiny:
        return
    measure = partial(torch_step, import_torch(), True)
    for name, options, batch, _ in NETWORKS:
        row = {"name": f"{name} b{batch} bf16", "library": COMPILED, "target": COMPILED_TARGET}
        yield row | step_row(measure, name, options, batch, "bf16")


def step_row(
    measure: Callable[..., float], name: str, options: Any, batch: int, precision: str
) -> Json:
    try:
        return {"ms": round(measure(name, options, batch, precision) * 1e3, 4)}
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"[:300]}


def step_count(batch: int, model: Any) -> int:
    """Returns the steps to be timed: at most as many as a GiB of random pixels is enough for."""
    return max(4, min(30, (1 << 28) // (batch * math.prod(model.input_shapes[0]))))


def our_step(name: str, options: Any, batch: int, precision: str) -> float:
    """Returns the seconds of a step of Trainer.fit, the second epoch's."""
    model = sixloop.models.build(name, **options)
    steps = step_count(batch, model)
    rng = np.random.default_rng(0)
    x = rng.random((batch * steps, *model.input_shapes[0]), dtype=np.float32)
    y = rng.integers(0, model.output_shapes[0][-1], batch * steps)
    optimizer = sixloop.optim.SGD(lr=1e-3, momentum=0.9)
    trainer = sixloop.Trainer(model, optimizer, metrics=(), device="cuda", precision=precision)
    trainer.fit((x, y), epochs=1, batch_size=batch, verbose=0)
    start = time.perf_counter()
    trainer.fit((x, y), epochs=1, batch_size=batch, verbose=0)
    wait()
    return (time.perf_counter() - start) / steps


def torch_step(
    torch: Any,
    compiled: bool,
    name: str,
    options: Any,
    batch: int,
    precision: str,
    device: str = "cuda",
) -> float:
    """Returns the seconds of a step of the same network in PyTorch."""
    from _torch_twin import Twin

    model = sixloop.models.build(name, **options)
    network = Twin(model, torch.channels_last, device)
    call = torch.compile(network, mode="max-autotune") if compiled else network
    torch.backends.cudnn.deterministic = False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    x = torch.randn(batch, *model.input_shapes[0], device=device).permute(0, 3, 1, 2)
    y = torch.randint(0, model.output_shapes[0][-1], (batch,), device=device)
    sgd = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)

    def run() -> None:
        sgd.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            loss = torch.nn.functional.cross_entropy(call(x), y)
        loss.backward()
        sgd.step()

    for _ in range(5):
        run()
    return seconds_of(run, getattr(torch, device).synchronize, step_count(batch, model))


PARTS: dict[str, Callable[[bool], Iterator[Json]]] = {
    "ceilings": ceilings,
    "accuracy": accuracy,
    **{family: partial(times, family) for family in FAMILIES},
    "networks": networks,
    "compiled": compiled,
}
