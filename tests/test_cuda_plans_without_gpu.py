"""What the GPU would do is told where there is none: a child process is told that there is none."""

import os
import subprocess
import sys

PROGRAM = """
import sixloop
from sixloop import ops
from sixloop.inspect import explain

assert not sixloop.cuda.is_available()
model = sixloop.models.define("lenet5")
calls = (
    lambda: ops.gemm_plan(8, 8, 8, device="cuda"),
    lambda: ops.conv2d_plan("forward", (1, 8, 8, 8), (3, 3, 8, 8), device="cuda"),
    lambda: explain(model, device="cuda"),
)
if "build has no CUDA" in sixloop.cuda.why():
    for call in calls:
        try:
            call()
        except RuntimeError as error:
            assert "there are no plans for cuda: this build has no CUDA" in str(error), error
        else:
            raise AssertionError("no error")
    raise SystemExit

for call in calls:
    call()


def plan(*sizes, **options):
    return ops.gemm_plan(*sizes, device="cuda", **options)


def convolution(which, x, w, **options):
    return ops.conv2d_plan(which, x, w, device="cuda", **options)


BF16 = {"dtype": "bfloat16"}
BY_TMA = "tensor cores by wgmma, operands by TMA"
BY_CP_ASYNC = "tensor cores by wgmma, operands by cp.async"
BY_MMA = "tensor cores by mma.sync"
ORDINARY = "ordinary cores"

# Hopper is the default; nothing but 9.0 has wgmma.
large = plan(4096, 4096, 4096, **BF16)
assert large == plan(4096, 4096, 4096, **BF16, capability=(9, 0))
assert large.algorithm == "gemm" and large.reason == "Hopper, rows of whole 16 bytes"
assert large.method == BY_TMA and large.kernels == ("product_bf16_128x256__wgmma_tma",)
(launch,) = large.launches
assert launch.tile == (128, 256, 64) and launch.parts == launch.times == 1
assert launch.shared_bytes > 3 * 64 * (128 + 256) * 2  # stages
assert large.scratch_bytes == 0
for capability in ((8, 0), (8, 6), (8, 9), (10, 0), (12, 0)):
    older = plan(4096, 4096, 4096, **BF16, capability=capability)
    assert older.method == BY_MMA and older.reason == "no wgmma on this GPU"
    assert older.kernels == ("product_bf16_128x128__mma",)
    assert older.launches[0].blocks == 32 * 32

# float32 goes to tensor cores only where it is asked to.
assert plan(4096, 4096, 4096).method == ORDINARY
assert plan(4096, 4096, 4096).kernels == ("product_f32_128x128__simt",)
assert plan(4096, 4096, 4096, dtype="float64").kernels == ("product_f64_64x64__simt",)
tf32 = plan(4096, 2048, 1024, precision="tf32")
assert tf32.method == BY_CP_ASYNC
assert tf32.kernels == ("round_transposed", "product_tf32_128x256__wgmma")
assert tf32.scratch_bytes == 4 * 2048 * 1024  # a copy of b
assert plan(4096, 2048, 1024, precision="tf32", transpose_b=True).kernels[0] == "round_taps"
few = plan(16, 2048, 1024, precision="tf32")
assert few.method == BY_MMA and few.reason == "rounded copies for wgmma would not pay"

# Rows that are not whole 16 bytes, and long sums in parts, whose memory is told.
odd = plan(4096, 4095, 4096, **BF16)
assert odd.reason == "rows are not whole 16 bytes" and odd.method == BY_MMA
assert odd.kernels == ("product_bf16_64x64__mma",)
deep = plan(64, 64, 65536, **BF16)
parts = deep.launches[0].parts
assert parts > 1 and deep.kernels[1:] == ("add_parts",)
assert deep.scratch_bytes == 4 * 64 * 64 * parts
with sixloop.batch_invariant():
    assert plan(64, 64, 65536, **BF16).launches[0].parts == 1

# Convolutions: algorithm and reason of the CPU's where the cores are ordinary.
X, W = (32, 56, 56, 64), (3, 3, 64, 64)
for which in ("forward", "grad_input", "grad_weight"):
    made = convolution(which, X, W, padding=1, **BF16)
    assert made.algorithm == "implicit_gemm"
    assert "wgmma" in made.method
    made = convolution(which, X, W, padding=1, precision="tf32", capability=(8, 0))
    assert made.method == BY_MMA and "_tf32_" in made.kernels[0]
    made = convolution(which, X, W, padding=1)
    assert made[:2] == ops.conv2d_plan(which, X, W, padding=1)[:2]
    assert made.algorithm == "winograd4x4" and made.method == ORDINARY
    assert convolution(which, X, W, padding=1, algorithm="im2col").reason == "asked for"
# Blocks of tiles, one after the other.
made = convolution("forward", (256, *X[1:]), W, padding=1)
assert sum(launch.times for launch in made.launches) > len(made.launches)
# Every phase of the stride is a launch; phases that are alike are one note.
strided = convolution("grad_input", (2, 57, 57, 64), (3, 3, 64, 64), strides=2, padding=1, **BF16)
assert sum(launch.times for launch in strided.launches) == 4
depthwise = convolution("forward", (8, 28, 28, 64), (3, 3, 1, 64), groups=64, **BF16)
assert depthwise.method == ORDINARY
assert depthwise.reason == "groups of fewer than 16 channels"
# Three channels are filled up.
stem = convolution("forward", (8, 64, 64, 3), (7, 7, 3, 64), strides=2, padding=3, **BF16)
assert stem.kernels[0] == "pad_rows"
assert stem.scratch_bytes == 2 * 8 * (8 * 64 * 64 + 7 * 7 * 64)
assert convolution("forward", (0, 8, 8, 8), (3, 3, 8, 8)).launches == ()

# A model, at the precision of a Trainer.
made = explain(model, 64, training=True, device="cuda", precision="bf16")
assert made.machine is None
assert len(made.rows) == 14
assert all(row.plan.launches and "bf16" in row.kernel for row in made.rows)
text = str(made)
assert text.startswith("lenet5, batch 64: cuda, compute capability 9.0, bf16" + chr(10)), text
assert "roof" not in text
assert " parts" in text
row = next(row for row in made.rows if row.name == "conv2d_2" and row.which == "grad_weight")
assert row.scratch_bytes == row.plan.scratch_bytes
text = str(explain(model, device="cuda", precision="tf32", capability=(8, 6)))
assert "compute capability 8.6, tf32" in text and "mma" in text
try:
    explain(model, device="cuda", measure=True)
except RuntimeError as error:
    assert "not available" in str(error)
else:
    raise AssertionError("no error")
"""


def test_plans_without_a_gpu():
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "SIXLOOP_SIMT_NO_DRIVER": "1"}
    environment.pop("SIXLOOP_WINDOW_LOADS", None)
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
