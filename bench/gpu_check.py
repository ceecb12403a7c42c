"""Builds, checks and times the CUDA kernels on a GPU, in one command of at most ten minutes.

    python bench/gpu_check.py --out DIR              # where nvcc, a GPU and PyTorch are
    python bench/gpu_check.py --out DIR --skip-build # with the sixloop that is installed
    python bench/gpu_check.py --out DIR --dry-run    # tiny shapes, nobody else timed: emulated, too

Every part writes DIR/gpu_check.json anew, so that a run that is stopped has told what it knows.
Checks run in processes of their own with a deadline: a kernel that hangs or an address that is
wrong ends one of them. Times are medians of turns, ours and PyTorch's in alternation, over inputs
that rotate past the second-level cache.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
# Bytes of rotating inputs: twice the second-level cache of the largest GPU.
ROTATED_BYTES = 128 << 20
TURN_SECONDS = 0.02
TURNS = 7

Json = dict[str, Any]


class Report:
    """The results so far, on disk after every part."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "gpu_check.json"
        self.values: Json = {"date": date.today().isoformat(), "parts": {}}

    def add(self, part: str, value: Any) -> None:
        self.values["parts"][part] = value
        self.save()
        print(f"--- {part}: {summary_of(value)}", flush=True)

    def save(self) -> None:
        self.path.write_text(json.dumps(self.values, indent=1) + "\n", encoding="utf-8")


def summary_of(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 400 else text[:400] + " ..."


def output_of(command: list[str], timeout: float = 60) -> str:
    """Returns what a command prints, or why it could not."""
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, cwd=ROOT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}"
    return (result.stdout or result.stderr).strip()


def environment() -> Json:
    """Returns the machine, its driver, and the commit."""
    query = "name,driver_version,clocks.sm,clocks.mem,power.limit,memory.total,ecc.mode.current"
    found: Json = {
        "gpu": output_of(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]),
        "nvcc": output_of(["nvcc", "--version"]).splitlines()[-1:],
        "kernel": output_of(["uname", "-a"]),
        "commit": output_of(["git", "rev-parse", "HEAD"]),
        "changed": output_of(["git", "status", "--short"]),
        "python": sys.version.split()[0],
    }
    try:
        import torch
    except ImportError:
        found["torch"] = None
    else:
        found["torch"] = torch.__version__
        found["cudnn"] = torch.backends.cudnn.version()
    return found


def build(folder: Path) -> Json:
    """Builds the extension for Hopper and installs it, with the package, below `folder`."""
    tree, prefix = folder / "build", folder / "site"
    configure = [
        *("cmake", "-S", str(ROOT), "-B", str(tree), "-DCMAKE_BUILD_TYPE=Release"),
        *("-DSIXLOOP_CUDA=ON", "-DCMAKE_CUDA_ARCHITECTURES=90a-real"),
        f"-DPython_EXECUTABLE={sys.executable}",
        *(["-G", "Ninja"] if shutil.which("ninja") else []),
    ]
    start = time.perf_counter()
    for command in (
        configure,
        ["cmake", "--build", str(tree), "-j", str(os.cpu_count() or 2)],
        ["cmake", "--install", str(tree), "--prefix", str(prefix)],
    ):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            tail = "\n".join((result.stdout + result.stderr).splitlines()[-40:])
            raise SystemExit(f"{' '.join(command)} failed:\n{tail}")
    shutil.copytree(ROOT / "python" / "sixloop", prefix / "sixloop", dirs_exist_ok=True)
    return {"seconds": round(time.perf_counter() - start, 1), "site": str(prefix)}


def check(files: list[Path], seconds: float) -> Json:
    """Runs each file of tests in a process of its own."""
    results: Json = {}
    environment = {**os.environ, "SIXLOOP_TEST_CUDA": "1"}
    for file in files:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(file)]
        try:
            result = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=seconds,
                cwd=ROOT,
                env=environment,
                check=False,
            )
            lines = result.stdout.splitlines()
            results[file.name] = {
                "passed": result.returncode == 0,
                "last": lines[-1] if lines else result.stderr[-500:],
            }
            if result.returncode != 0:
                results[file.name]["tail"] = lines[-40:]
        except subprocess.TimeoutExpired:
            results[file.name] = {"passed": False, "last": f"no end within {seconds} s"}
    return results


def sanitize(seconds: float) -> Json:
    """Runs a few tests under compute-sanitizer, where it works."""
    if shutil.which("compute-sanitizer") is None:
        return {"not run": "compute-sanitizer is not here"}
    results: Json = {}
    for tool in ("memcheck", "racecheck", "synccheck"):
        command = [
            *("compute-sanitizer", "--tool", tool, "--error-exitcode", "9"),
            *(sys.executable, str(Path(__file__)), "--tiny", "--out", os.devnull),
        ]
        text = output_of(command, seconds)
        results[tool] = text.splitlines()[-3:]
    return results


def rotating(make: Callable[[], list[Any]], nbytes: int) -> Iterator[list[Any]]:
    """Yields sets of arguments for ever, together larger than any cache."""
    count = max(1, min(16, ROTATED_BYTES // max(nbytes, 1)))
    sets = [make() for _ in range(count)]
    while True:
        yield from sets


def seconds_of(run: Callable[[], Any], wait: Callable[[], None], calls: int) -> float:
    wait()
    start = time.perf_counter()
    for _ in range(calls):
        run()
    wait()
    return (time.perf_counter() - start) / calls


def alternate(ours: Callable[[], Any], theirs: Callable[[], Any] | None) -> Json:
    """Returns microseconds of both, medians of alternating turns, and their ratio."""
    import sixloop

    libraries = {"sixloop": (ours, sixloop.cuda.synchronize)}
    if theirs is not None:
        import torch

        libraries["torch"] = (theirs, torch.cuda.synchronize)
    calls = {}
    for name, (run, wait) in libraries.items():
        for _ in range(3):
            run()
        calls[name] = max(1, min(2000, int(TURN_SECONDS / max(seconds_of(run, wait, 3), 1e-6))))
    times: dict[str, list[float]] = {name: [] for name in libraries}
    for _ in range(TURNS):
        for name, (run, wait) in libraries.items():
            times[name].append(seconds_of(run, wait, calls[name]) * 1e6)
    row: Json = {f"{name}_us": round(float(np.median(t)), 3) for name, t in times.items()}
    row["spread"] = {name: [round(min(t), 3), round(max(t), 3)] for name, t in times.items()}
    if theirs is not None:
        row["ratio"] = round(row["torch_us"] / row["sixloop_us"], 3)
    return row


@dataclass(frozen=True)
class Case:
    """One op of both libraries on random arrays of the same shapes.

    Attributes:
        name: for the table.
        work: operations, or bytes as a negative number where memory is the limit.
        shapes: of the arguments.
        ours, theirs: functions of the arguments; in theirs, images are NCHW.
        images: which arguments are images.
    """

    name: str
    work: float
    shapes: tuple[tuple[int, ...], ...]
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    images: tuple[int, ...] = ()

    def arrays(self, rng: np.random.Generator) -> list[np.ndarray[Any, Any]]:
        return [rng.standard_normal(shape, dtype=np.float32) for shape in self.shapes]

    def time(self, torch: Any) -> Json:
        """Returns microseconds of both libraries; of ours alone where torch is None."""
        import sixloop

        rng = np.random.default_rng(0)
        nbytes = sum(4 * math.prod(shape) for shape in self.shapes)
        mine = rotating(lambda: [sixloop.Tensor(a).to("cuda") for a in self.arrays(rng)], nbytes)
        if torch is None:
            return alternate(lambda: self.ours(*next(mine)), None)

        def their_arguments() -> list[Any]:
            tensors = [torch.from_numpy(a).cuda() for a in self.arrays(rng)]
            return [t.permute(0, 3, 1, 2) if i in self.images else t for i, t in enumerate(tensors)]

        yours = rotating(their_arguments, nbytes)
        return alternate(lambda: self.ours(*next(mine)), lambda: self.theirs(*next(yours)))


def products(tiny: bool) -> Iterator[Case]:
    import torch

    from sixloop import ops

    for n in (64,) if tiny else (512, 1024, 2048, 4096, 8192):
        yield Case(f"gemm {n}", 2.0 * n**3, ((n, n), (n, n)), ops.gemm, torch.mm)


def convolutions(tiny: bool) -> Iterator[Case]:
    from torch import conv2d
    from torch.nn import grad

    from sixloop import ops

    layers = [
        # N, H, W, C, filter, O, stride, padding
        (8, 56, 56, 64, 1, 64, 1, 0),
        (8, 56, 56, 64, 3, 64, 1, 1),
        (8, 28, 28, 128, 3, 128, 1, 1),
        (8, 14, 14, 256, 3, 256, 1, 1),
        (8, 56, 56, 128, 3, 128, 2, 1),
        (8, 224, 224, 3, 7, 64, 2, 3),
        (128, 14, 14, 6, 5, 16, 1, 0),
    ]
    for n, h, w, c, k, o, stride, padding in [(1, 9, 7, 4, 3, 8, 1, 1)] if tiny else layers:
        oh, ow = ((size + 2 * padding - k) // stride + 1 for size in (h, w))
        x, filters, y = (n, h, w, c), (k, k, c, o), (n, oh, ow, o)
        call = partial(Case, work=2.0 * math.prod(y) * math.prod(filters[:3]))
        label = f"{n}x{h}x{w}x{c} {k}x{k}/{stride} to {o}"
        options = {"strides": stride, "padding": padding}
        turn = (3, 2, 0, 1)
        yield call(
            name=f"conv2d {label}",
            shapes=(x, filters),
            ours=partial(ops.conv2d, **options),
            theirs=lambda a, b, s=stride, p=padding: conv2d(a, b.permute(turn), None, s, p),
            images=(0,),
        )
        yield call(
            name=f"conv2d_grad_input {label}",
            shapes=(y, filters),
            ours=partial(ops.conv2d_grad_input, x_shape=x, **options),
            theirs=lambda dy, b, size=(n, c, h, w), s=stride, p=padding: grad.conv2d_input(
                size, b.permute(turn), dy, s, p
            ),
            images=(0,),
        )
        yield call(
            name=f"conv2d_grad_weight {label}",
            shapes=(x, y),
            ours=partial(ops.conv2d_grad_weight, w_shape=filters, **options),
            theirs=lambda a, dy, size=(o, c, k, k), s=stride, p=padding: grad.conv2d_weight(
                a, size, dy, s, p
            ),
            images=(0, 1),
        )


def passes_over_memory(tiny: bool) -> Iterator[Case]:
    import torch
    from torch.nn import functional

    from sixloop import ops

    rows = [(64, 10)] if tiny else [(65536, 10), (65536, 128), (32768, 1000), (4096, 32768)]
    for m, classes in rows:
        yield Case(
            f"softmax {m}x{classes}",
            -8.0 * m * classes,
            ((m, classes),),
            ops.softmax,
            lambda x: torch.softmax(x, -1),
        )
    image = (1, 8, 6, 4) if tiny else (64, 112, 112, 64)
    nbytes, channels = 4.0 * math.prod(image), image[3:]
    yield Case(
        "max_pool2d 2x2",
        -1.25 * nbytes,
        (image,),
        lambda x: ops.max_pool2d(x, 2),
        lambda x: torch.max_pool2d(x, 2),
        images=(0,),
    )
    yield Case(
        "batch_norm + relu, training",
        -3 * nbytes,
        (image, channels, channels),
        partial(ops.batch_norm, activation="relu"),
        lambda x, g, b: torch.relu_(functional.batch_norm(x, None, None, g, b, training=True)),
        images=(0,),
    )
    yield Case("relu", -2 * nbytes, (image,), ops.relu, torch.relu, images=(0,))


def cases(tiny: bool) -> list[Case]:
    return [*products(tiny), *convolutions(tiny), *passes_over_memory(tiny)]


def ceilings() -> Json:
    """Returns the rates of a copy and of matrix products through PyTorch, after a warm-up."""
    import torch

    a = torch.randn(8192, 8192, device="cuda")
    b = torch.randn(8192, 8192, device="cuda")
    stop = time.perf_counter() + 3
    while time.perf_counter() < stop:
        torch.mm(a, b)
        torch.cuda.synchronize()
    found: Json = {}
    source = torch.empty(1 << 30, device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    elapsed = seconds_of(lambda: target.copy_(source), torch.cuda.synchronize, 20)
    found["copy_gbs"] = round(2 * source.numel() / elapsed / 1e9, 1)
    for name, tf32, dtype in (
        ("fp32", False, torch.float32),
        ("tf32", True, torch.float32),
        ("bf16", False, torch.bfloat16),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        x, y = a.to(dtype), b.to(dtype)
        elapsed = seconds_of(lambda x=x, y=y: torch.mm(x, y), torch.cuda.synchronize, 10)
        found[f"{name}_tflops"] = round(2 * 8192**3 / elapsed / 1e12, 1)
    torch.backends.cuda.matmul.allow_tf32 = False
    return found


def repeated(tiny: bool) -> Json:
    """Returns the ops whose results differ between two runs: none may."""
    import sixloop

    rng = np.random.default_rng(1)
    differ = []
    for case in cases(tiny):
        arguments = [sixloop.Tensor(a).to("cuda") for a in case.arrays(rng)]

        def run(case: Case = case, arguments: list[Any] = arguments) -> list[Any]:
            result = case.ours(*arguments)
            parts = result if isinstance(result, tuple) else (result,)
            return [part.numpy() for part in parts]

        pairs = list(zip(run(), run(), strict=True))
        if not all(np.array_equal(first, second) for first, second in pairs):
            differ.append(case.name)
    return {"differ": differ}


def table(rows: list[Json], limits: Json) -> str:
    """Returns the rows as text, the slowest against PyTorch first."""
    lines = [f"{'op':<48} {'ours us':>10} {'torch us':>10} {'ratio':>7} {'of limit':>9}"]
    for row in sorted(rows, key=lambda r: r.get("ratio", 0)):
        work, elapsed = row["work"], row["sixloop_us"] * 1e-6
        limit = limits.get("fp32_tflops", 0) * 1e12 if work > 0 else limits.get("copy_gbs", 0) * 1e9
        share = f"{abs(work) / elapsed / limit:9.1%}" if limit else f"{'':>9}"
        lines.append(
            f"{row['name']:<48} {row['sixloop_us']:>10,.1f} {row.get('torch_us', 0):>10,.1f} "
            f"{row.get('ratio', 0):>7.2f} {share}"
        )
    return "\n".join(lines)


def main() -> int:
    """Runs all parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu_check.json")
    parser.add_argument("--skip-build", action="store_true", help="use the installed sixloop")
    parser.add_argument("--dry-run", action="store_true", help="tiny shapes, PyTorch is not timed")
    parser.add_argument(
        "--tiny", action="store_true", help="run each op of the table twice, and stop"
    )
    args = parser.parse_args()
    if args.tiny:
        repeated(tiny=True)
        return 0

    report = Report(args.out)
    report.add("environment", environment())
    if not (args.skip_build or args.dry_run):
        report.add("build", build(args.out.resolve()))
        os.environ["PYTHONPATH"] = report.values["parts"]["build"]["site"]
        # This process, too, must take the new sixloop.
        command = [sys.executable, str(Path(__file__)), "--out", str(args.out), "--skip-build"]
        return subprocess.run(command, check=False).returncode
    import sixloop

    if not sixloop.cuda.is_available():
        raise SystemExit(f"no GPU: {sixloop.cuda.why()}")
    report.add("device", sixloop.cuda.device_name())
    limits = {} if args.dry_run else ceilings()
    report.add("ceilings", limits)
    files = sorted((ROOT / "tests" / "cuda").glob("test_*.py"))
    report.add("tests", check(files[:1] if args.dry_run else files, seconds=120))
    report.add("repeated", repeated(args.dry_run))
    peer = None
    if not args.dry_run:
        report.add("compute-sanitizer", sanitize(seconds=40))
        import torch

        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = False
        peer = torch
    rows: list[Json] = []
    for case in cases(args.dry_run):
        rows.append({"name": case.name, "work": case.work, **case.time(peer)})
        report.values["parts"]["times"] = rows
        report.save()
    report.add("times", rows)
    print(table(rows, limits))
    failed = [name for name, r in report.values["parts"]["tests"].items() if not r["passed"]]
    if failed or report.values["parts"]["repeated"]["differ"]:
        print(f"failed: {failed}, {report.values['parts']['repeated']['differ']}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
