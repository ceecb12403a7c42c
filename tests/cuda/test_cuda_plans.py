"""What plans for the GPU tell is what runs: memory to the byte, and the kernels of the GPU here."""

import os
import re

import numpy as np
import pytest

import sixloop
from on_tensor_cores import CONVOLUTION_KINDS, KINDS, TMA, is_bfloat16, options, to_gpu
from sixloop import models, ops
from sixloop.inspect.explain import Machine, explain

X, W = (2, 9, 14, 64), (3, 3, 64, 48)


def planned(kind):
    dtype = "bfloat16" if is_bfloat16(kind) else "float32"
    return {"device": "cuda", "dtype": dtype, **options(kind)}


def scratch_of(run):
    """Bytes that an op takes besides its results."""
    before = sixloop.cuda.memory_stats()["allocated"]
    sixloop.cuda.reset_peak_memory()
    result = run()
    stats = sixloop.cuda.memory_stats()
    assert result.device == "cuda"
    return stats["peak"] - stats["allocated"], stats["allocated"] - before


def convolve(which, x, w, dy, x_shape, w_shape, **options):
    if which == "forward":
        return ops.conv2d(x, w, **options)
    if which == "grad_input":
        return ops.conv2d_grad_input(dy, w, x_shape, **options)
    return ops.conv2d_grad_weight(x, dy, w_shape, **options)


PASSES = ("forward", "grad_input", "grad_weight")
CONVOLUTIONS = [
    (X, W, {"padding": 1}),
    ((1, 11, 7, 3), (5, 3, 3, 24), {"strides": (2, 1)}),
    ((2, 8, 9, 32), (1, 1, 32, 40), {}),
    ((2, 10, 13, 32), (3, 3, 16, 64), {"groups": 2, "strides": 2, "padding": 1}),
    ((2, 10, 7, 8), (3, 3, 1, 8), {"groups": 8, "padding": 1}),
    ((1, 6, 9, 20), (3, 3, 20, 5), {"dilation": (1, 2), "padding": 2}),
]


@pytest.mark.parametrize("which", PASSES)
@pytest.mark.parametrize("kind", CONVOLUTION_KINDS)
def test_scratch_of_convolutions_on_tensor_cores(rng, which, kind):
    for x_shape, w_shape, params in CONVOLUTIONS:
        y_shape = ops.conv2d_output_shape(x_shape, w_shape, **params)
        x, w, dy = (
            to_gpu(rng.normal(size=s).astype("f"), kind) for s in (x_shape, w_shape, y_shape)
        )
        plan = ops.conv2d_plan(which, x_shape, w_shape, **params, **planned(kind))
        assert plan.algorithm == "implicit_gemm"
        scratch, _ = scratch_of(
            lambda: convolve(which, x, w, dy, x_shape, w_shape, **params, **options(kind))
        )
        assert plan.scratch_bytes == scratch
        # Floats of all parts, and little else.
        parts = max(launch.parts for launch in plan.launches)
        if parts > 1:
            assert scratch >= parts * 4 * np.prod(w_shape)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("which", PASSES)
@pytest.mark.parametrize("algorithm", ["auto", "im2col", "winograd2x2", "winograd4x4"])
def test_scratch_of_convolutions_on_ordinary_cores(rng, which, algorithm, dtype):
    for x_shape, w_shape, params in (
        CONVOLUTIONS if algorithm in ("auto", "im2col") else [CONVOLUTIONS[0]]
    ):
        y_shape = ops.conv2d_output_shape(x_shape, w_shape, **params)
        x, w, dy = (
            sixloop.Tensor(rng.normal(size=s).astype(dtype)).to("cuda")
            for s in (x_shape, w_shape, y_shape)
        )
        made = {**params, "algorithm": algorithm}
        plan = ops.conv2d_plan(which, x_shape, w_shape, **made, dtype=dtype, device="cuda")
        host = ops.conv2d_plan(which, x_shape, w_shape, **made, dtype=dtype)
        assert plan[:2] == host[:2]
        assert plan.method == "ordinary cores"
        assert plan.launches
        scratch, _ = scratch_of(lambda: convolve(which, x, w, dy, x_shape, w_shape, **made))
        assert plan.scratch_bytes == scratch


@pytest.mark.parametrize("kind", [*KINDS, "float32", "float64"])
def test_scratch_of_products(rng, kind):
    for m, n, k in [(130, 72, 40), (24, 32, 2000), (7, 5, 600), (1, 64, 128)]:
        for turned in ({}, {"transpose_a": True}, {"transpose_b": True}):
            a = (k, m) if turned.get("transpose_a") else (m, k)
            b = (n, k) if turned.get("transpose_b") else (k, n)
            on_cores = kind in KINDS
            if on_cores:
                a, b = (to_gpu(rng.normal(size=s).astype("f"), kind) for s in (a, b))
            else:
                a, b = (sixloop.Tensor(rng.normal(size=s).astype(kind)).to("cuda") for s in (a, b))
            wanted = planned(kind) if on_cores else {"device": "cuda", "dtype": kind}
            plan = ops.gemm_plan(m, n, k, **turned, **wanted)
            made = options(kind) if on_cores else {}
            scratch, result = scratch_of(lambda a=a, b=b, o={**turned, **made}: ops.gemm(a, b, **o))
            assert plan.scratch_bytes == scratch
            assert result == m * n * (2 if kind.startswith("bf") else 8 if kind == "float64" else 4)


def test_the_capability_of_the_gpu_is_the_default():
    wanted = {"dtype": "bfloat16", "device": "cuda"}
    here = ops.gemm_plan(256, 256, 512, **wanted)
    capability = sixloop.cuda.compute_capability()
    assert here == ops.gemm_plan(256, 256, 512, **wanted, capability=capability)
    older, hopper = (ops.gemm_plan(256, 256, 512, **wanted, capability=c) for c in ((8, 6), (9, 0)))
    assert older != hopper


def test_a_plan_launches_and_allocates_nothing(rng):
    x = sixloop.Tensor(rng.normal(size=(3, 5)).astype("f")).to("cuda")
    before = sixloop.cuda.memory_stats()
    ops.gemm_plan(2**20, 2**20, 2**10, dtype="bfloat16", device="cuda")
    ops.conv2d_plan("grad_weight", (512, 224, 224, 64), (3, 3, 64, 64), padding=1, device="cuda")
    assert sixloop.cuda.memory_stats() == before
    assert ops.add(x, x).device == "cuda"
    with pytest.raises(MemoryError):
        ops.gemm_plan(2**31 - 1, 2**31 - 1, 1, device="cuda")
    assert ops.add(x, x).device == "cuda"  # the plan that failed is over, too


def test_windows_are_brought_as_the_switch_says(rng):
    to_gpu(np.zeros(1, "f"), TMA)
    wanted = {"padding": 1, "dtype": "bfloat16", "device": "cuda", "capability": (9, 0)}
    for which in ("forward", "grad_input"):
        plan = ops.conv2d_plan(which, X, W, **wanted)
        assert plan.method == "tensor cores by wgmma, operands by TMA"
        os.environ["SIXLOOP_WINDOW_LOADS"] = "cp_async"
        plan = ops.conv2d_plan(which, X, W, **wanted)
        assert plan.method == "tensor cores by wgmma, operands by cp.async"
        os.environ["SIXLOOP_WINDOW_LOADS"] = "tma"
    os.environ["SIXLOOP_WINDOW_LOADS"] = ""


def test_under_batch_invariant_no_product_is_made_in_parts():
    wanted = {"dtype": "bfloat16", "device": "cuda"}
    assert ops.gemm_plan(16, 64, 8192, **wanted).launches[0].parts > 1
    with sixloop.batch_invariant():
        assert ops.gemm_plan(16, 64, 8192, **wanted).launches[0].parts == 1


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_explained_and_measured(precision):
    made = explain(
        models.build("lenet5"),
        2,
        training=True,
        measure=True,
        seconds=0,
        device="cuda",
        precision=precision,
        machine=Machine(1000, 100),
    )
    assert len(made.rows) == 14
    assert all(row.gflops > 0 for row in made.rows)
    assert {row.plan.algorithm for row in made.rows} == {
        "fp32": {"direct", "gemm"},
    }.get(precision, {"implicit_gemm", "gemm"})
    text = str(made)
    assert re.match(r"lenet5, batch 2: cuda, .*compute capability \d\.\d, " + precision, text)
    assert re.search(r"\d+%$", text, re.MULTILINE)
