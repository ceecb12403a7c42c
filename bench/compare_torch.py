"""sixloop beside PyTorch and NumPy: one process, in turns of 50 ms, medians and ratios.

    python bench/compare_torch.py [--threads 2] [--seconds 1.0] [--only gemm,lenet] [--json FILE]

Families: gemm; direct (forward convolution by algorithm="direct"); forward, grad_input and
grad_weight (by algorithm="auto", which each row names); lenet.

PyTorch must be installed. Each result is checked against PyTorch's before it is timed. PyTorch
runs with malloc's mmap and trim thresholds raised, so it does not pay for page faults. The ratio
is the peer's median time divided by ours: above 1 we are faster. SIXLOOP_ISA restricts sixloop; to
hold PyTorch and NumPy to AVX2 too, set ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
ATEN_CPU_CAPABILITY=avx2 OPENBLAS_CORETYPE=Haswell.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _timing import alternate, limits  # first: it may start the process anew

# isort: split
import numpy as np
import torch
import torch.nn.functional as F

import sixloop
from sixloop import ops

GEMM = [(64, 64, 64), (128, 128, 128), (256, 256, 256), (512, 512, 512), (1024, 1024, 1024),
        (2048, 2048, 2048), (64, 4096, 9216), (3136, 64, 576), (784, 512, 128)]  # fmt: skip
# name, N, H, W, C, O, filter, stride, padding
CONV = [
    ("VGG1_1", 2, 224, 224, 3, 64, 3, 1, 1),
    ("VGG1_2", 2, 224, 224, 64, 64, 3, 1, 1),
    ("VGG2_2", 2, 112, 112, 128, 128, 3, 1, 1),
    ("VGG3_2", 2, 56, 56, 256, 256, 3, 1, 1),
    ("VGG4_2", 2, 28, 28, 512, 512, 3, 1, 1),
    ("VGG5_2", 2, 14, 14, 512, 512, 3, 1, 1),
    ("ResNet stem", 8, 224, 224, 3, 64, 7, 2, 3),
    ("ResNet 1x1 64-256", 8, 56, 56, 64, 256, 1, 1, 0),
    ("ResNet 3x3/2 128", 8, 56, 56, 128, 128, 3, 2, 1),
    ("ResNet 1x1 1024-256", 8, 14, 14, 1024, 256, 1, 1, 0),
    ("ResNet 3x3 512", 8, 7, 7, 512, 512, 3, 1, 1),
    ("AlexNet 1", 8, 224, 224, 3, 64, 11, 4, 2),
    ("AlexNet 2", 8, 27, 27, 64, 192, 5, 1, 2),
    ("AlexNet 3", 8, 13, 13, 192, 384, 3, 1, 1),
    ("LeNet 1", 64, 28, 28, 1, 6, 5, 1, 2),
    ("LeNet 2", 64, 14, 14, 6, 16, 5, 1, 0),
]


def check(what: str, ours: Any, theirs: torch.Tensor) -> None:
    a = np.asarray(ours, dtype=np.float64)
    b = theirs.detach().numpy().astype(np.float64)
    error = float(np.abs(a - b).max() / np.abs(b).max())
    if not error < 1e-4:
        raise SystemExit(f"{what}: results differ by {error:.1e} of the largest element")


def report(rows: list[dict[str, Any]], row: dict[str, Any]) -> None:
    ours = row["times"]["sixloop"]
    rivals = {k: v for k, v in row["times"].items() if k != "sixloop"}
    row["ratios"] = {k: v["median_ms"] / ours["median_ms"] for k, v in rivals.items()}
    if "gflop" in row:
        row["gflops"] = {k: 1e3 * row["gflop"] / v["median_ms"] for k, v in row["times"].items()}
        row["gflops_p20"] = {k: 1e3 * row["gflop"] / v["p20_ms"] for k, v in row["times"].items()}
        row["share_of_peak"] = row["gflops"]["sixloop"] / row["peak_gflops"]
    rows.append(row)
    text = f"{row['family']:12} {row['name']:22} {row.get('algorithm', ''):12}"
    text += f" {ours['median_ms']:9.3f} ms"
    if "gflop" in row:
        text += f" {row['gflops']['sixloop']:7.1f} GF/s {100 * row['share_of_peak']:5.1f}%"
        text += f" (p20 {row['gflops_p20']['sixloop']:7.1f})"
    for name, ratio in row["ratios"].items():
        text += f"  {name} {ratio:5.2f}"
    print(text, flush=True)


def bench_gemm(rows: list[dict[str, Any]], seconds: float) -> None:
    rng = np.random.default_rng(0)
    for m, n, k in GEMM:
        a = rng.standard_normal((m, k), dtype=np.float32)
        b = rng.standard_normal((k, n), dtype=np.float32)
        sa, sb = sixloop.Tensor(a), sixloop.Tensor(b)
        ta, tb = torch.from_numpy(a.copy()), torch.from_numpy(b.copy())
        check("gemm", ops.gemm(sa, sb), ta @ tb)
        times, top = alternate(
            seconds,
            {"sixloop": lambda: ops.gemm(sa, sb), "torch": lambda: ta @ tb, "numpy": lambda: a @ b},
        )
        report(rows, {"family": "gemm", "name": f"{m}x{n}x{k}", "gflop": 2e-9 * m * n * k,
                      "peak_gflops": top, "times": times})  # fmt: skip


def bench_conv(rows: list[dict[str, Any]], seconds: float, passes: list[str]) -> None:
    rng = np.random.default_rng(0)
    for name, n, h, w, c, o, f, s, p in CONV:
        x = rng.standard_normal((n, h, w, c), dtype=np.float32)
        wt = rng.standard_normal((f, f, c, o), dtype=np.float32) / np.float32(f * (c**0.5))
        sx, sw = sixloop.Tensor(x), sixloop.Tensor(wt)
        layouts = {"torch_nhwc": torch.channels_last, "torch_nchw": torch.contiguous_format}
        tx = {k: torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=v)
              for k, v in layouts.items()}  # fmt: skip
        tw = {k: torch.from_numpy(wt).permute(3, 2, 0, 1).contiguous(memory_format=v)
              for k, v in layouts.items()}  # fmt: skip
        y = F.conv2d(tx["torch_nhwc"], tw["torch_nhwc"], stride=s, padding=p)
        gflop = 2e-9 * y.numel() * f * f * c
        dy = rng.standard_normal((n, *y.shape[2:], o), dtype=np.float32)
        sdy = sixloop.Tensor(dy)
        tdy = {k: torch.from_numpy(dy).permute(0, 3, 1, 2).contiguous(memory_format=v)
               for k, v in layouts.items()}  # fmt: skip

        def backward(k: str, mask: list[bool]) -> Any:
            return torch.ops.aten.convolution_backward(
                tdy[k], tx[k], tw[k], None, [s, s], [p, p], [1, 1], False, [0, 0], 1, mask
            )

        geometry = {"strides": s, "padding": p}
        calls: dict[str, dict[str, Callable[[], Any]]] = {
            "direct": {
                "sixloop": lambda: ops.conv2d(sx, sw, algorithm="direct", **geometry),
                **{k: (lambda k=k: F.conv2d(tx[k], tw[k], stride=s, padding=p)) for k in layouts},
            },
            "forward": {
                "sixloop": lambda: ops.conv2d(sx, sw, **geometry),
                **{k: (lambda k=k: F.conv2d(tx[k], tw[k], stride=s, padding=p)) for k in layouts},
            },
            "grad_input": {
                "sixloop": lambda: ops.conv2d_grad_input(sdy, sw, x.shape, **geometry),
                **{k: (lambda k=k: backward(k, [True, False, False])[0]) for k in layouts},
            },
            "grad_weight": {
                "sixloop": lambda: ops.conv2d_grad_weight(sx, sdy, wt.shape, **geometry),
                **{k: (lambda k=k: backward(k, [False, True, False])[1]) for k in layouts},
            },
        }
        back = {
            "direct": (0, 2, 3, 1),
            "forward": (0, 2, 3, 1),
            "grad_input": (0, 2, 3, 1),
            "grad_weight": (2, 3, 1, 0),
        }
        for which in passes:
            if which == "grad_input" and c <= 3:
                continue  # a first layer's input gradient is not computed in training
            algorithm = "direct"
            if which != "direct":
                algorithm = ops.conv2d_algorithm(which, x.shape, wt.shape, **geometry)
                if which == "forward" and algorithm == "direct" and "direct" in passes:
                    continue  # measured already
            ours = calls[which]["sixloop"]()
            check(f"{name} {which}", ours, calls[which]["torch_nhwc"]().permute(*back[which]))
            times, top = alternate(seconds, calls[which])
            report(rows, {"family": which, "name": name, "algorithm": algorithm, "gflop": gflop,
                          "peak_gflops": top, "times": times})  # fmt: skip


def bench_lenet(rows: list[dict[str, Any]], seconds: float) -> None:
    """A training step of LeNet-5 (28x28, padding 2), SGD with momentum."""
    from sixloop import losses, models, optim

    rng = np.random.default_rng(0)
    for batch in (64, 1):
        x = rng.standard_normal((batch, 28, 28, 1), dtype=np.float32)
        labels = rng.integers(0, 10, batch)
        model = models.build("lenet5")
        model.build(seed=0)
        loss = losses.get("cross_entropy")
        optimizer = optim.SGD(lr=0.01, momentum=0.9)
        parameters = model.trainable_parameters()
        step = 0

        def ours() -> None:
            nonlocal step
            logits = model(x, training=True, step=step, logits=True)
            _, gradient = loss(logits, labels)
            model.backward(gradient, input_gradient=False, from_logits=True)
            optimizer.update(parameters, model.gradients())
            step += 1

        def make(layout: torch.memory_format) -> Callable[[], None]:
            net = torch.nn.Sequential(
                torch.nn.Conv2d(1, 6, 5, padding=2), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
                torch.nn.Conv2d(6, 16, 5), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
                torch.nn.Flatten(), torch.nn.Linear(400, 120), torch.nn.ReLU(),
                torch.nn.Linear(120, 84), torch.nn.ReLU(), torch.nn.Linear(84, 10),
            ).to(memory_format=layout)  # fmt: skip
            tx = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=layout)
            ty = torch.from_numpy(labels)
            sgd = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

            def run() -> None:
                sgd.zero_grad()
                F.cross_entropy(net(tx), ty).backward()
                sgd.step()

            return run

        calls = {"sixloop": ours, "torch_nhwc": make(torch.channels_last),
                 "torch_nchw": make(torch.contiguous_format)}  # fmt: skip
        times, _ = alternate(3 * seconds, calls)
        report(rows, {"family": "train step", "name": f"LeNet-5 b{batch}", "times": times})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each row")
    parser.add_argument("--only", default="gemm,direct,forward,grad_input,grad_weight,lenet")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sixloop.set_num_threads(args.threads)
    only = args.only.split(",")
    rows: list[dict[str, Any]] = []
    if "gemm" in only:
        bench_gemm(rows, args.seconds)
    passes = [p for p in ("direct", "forward", "grad_input", "grad_weight") if p in only]
    if passes:
        bench_conv(rows, args.seconds, passes)
    if "lenet" in only:
        bench_lenet(rows, args.seconds)
    if args.json:
        models = [
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ]
        result = {
            "sixloop": sixloop.__version__,
            "isa": sixloop.isa(),
            "torch": torch.__version__,
            "limits": limits(),
            "numpy": np.__version__,
            "threads": args.threads,
            "cpu": models[0] if models else platform.processor(),
            "date": time.strftime("%Y-%m-%d"),
            "rows": rows,
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
