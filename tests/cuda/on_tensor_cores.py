"""Products on tensor cores against float64, within bounds that follow from their arithmetic."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

import sixloop
from comparators import assert_same_bits, assert_within
from sixloop import ops

# On the emulator bfloat16 is what GPUs before Hopper run, and wgmma what Hopper does: convolutions
# with windows that all threads gather, or that the copy engine brings wherever it can.
WGMMA = "bfloat16 by wgmma"
TMA = "bfloat16 by wgmma and TMA"
TF32_WGMMA = "tf32 by wgmma"
KINDS = ("bfloat16", WGMMA, "tf32", TF32_WGMMA)
CONVOLUTION_KINDS = ("bfloat16", WGMMA, TMA, "tf32", TF32_WGMMA)

_CAPABILITY = {"bfloat16": "80", WGMMA: "90", TMA: "90", "tf32": "80", TF32_WGMMA: "90"}
_WINDOW_LOADS = {WGMMA: "cp_async", TMA: "tma"}


def factors(rng: np.random.Generator, shape: Any, kind: str) -> Any:
    """Normal numbers that the kind has exactly, as float32: their products are exact there."""
    return cut(rng.normal(size=shape).astype(np.float32), kind)


def cut(x: Any, kind: str) -> Any:
    kept = 7 if is_bfloat16(kind) else 10  # explicit bits of mantissa, of 23
    mask = np.uint32(0xFFFFFFFF << (23 - kept) & 0xFFFFFFFF)
    return (x.view(np.uint32) & mask).view(np.float32)


def is_bfloat16(kind: str) -> bool:
    return kind.startswith("bfloat16")


def to_gpu(x: Any, kind: str) -> Any:
    """Tensors for products of this kind, which are the emulator's kind from here on."""
    os.environ["SIXLOOP_SIMT_CAPABILITY"] = _CAPABILITY[kind]
    os.environ["SIXLOOP_WINDOW_LOADS"] = _WINDOW_LOADS.get(kind, "")
    x = sixloop.Tensor(x).to("cuda")
    return ops.cast(x, "bfloat16") if is_bfloat16(kind) else x


def options(kind: str) -> dict[str, Any]:
    return {"precision": "tf32"} if not is_bfloat16(kind) else {}


def as_float32(y: Any, kind: str) -> Any:
    assert isinstance(y, sixloop.Tensor)
    assert y.device == "cuda"
    if is_bfloat16(kind):
        y = ops.cast(y, "float32")
    return y.numpy()


def bound(kind: str, terms: int, magnitude: Any, expected: Any) -> Any:
    """Allowed error of sums of so many exact products, whose absolute values sum to magnitude.

    The tensor core cuts where other units round: an addition errs by 2^-23 of a partial sum, which
    magnitude bounds. The sum of a bias is one term more. The result is then rounded once.
    """
    error = (terms + 1) * 2.0**-23 * magnitude
    if is_bfloat16(kind):
        error = error + 2.0**-8 * (np.abs(expected) + error)
    return error


def check(
    kind: str, run: Any, arrays: Any, reference: Any, terms: int, bias: Any = None, **params: Any
) -> None:
    """Calls run and reference with the arrays, and reference with their absolute values.

    Two runs must have the same bits.
    """
    on_gpu = [to_gpu(x, kind) for x in arrays]
    if bias is not None:
        on_gpu.append(sixloop.Tensor(bias).to("cuda"))
        arrays = [*arrays, bias]
    got = as_float32(run(*on_gpu, **params, **options(kind)), kind)
    assert_same_bits(as_float32(run(*on_gpu, **params, **options(kind)), kind), got, "again: ")
    assert_near(kind, got, reference, arrays, terms, **params)


def assert_near(
    kind: str, got: Any, reference: Any, arrays: Any, terms: int, **params: Any
) -> None:
    """Demands results within the bound of what the reference makes of the arrays."""
    expected = reference(*arrays, **params)
    params.pop("activation", None)  # whose slope is at most 1
    magnitude = reference(*map(np.abs, arrays), **params)
    assert_within(got, expected, bound(kind, terms, magnitude, expected), np.float32)
