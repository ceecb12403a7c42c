"""Convolution with a residual: part of the kernel on tensor cores, a pass elsewhere."""

import numpy as np
import pytest

import reference
import sixloop
from comparators import assert_same_bits
from on_cuda import Unaligned, assert_same_as_cpu, to_cuda
from on_tensor_cores import (
    CONVOLUTION_KINDS,
    as_float32,
    bound,
    check,
    factors,
    is_bfloat16,
    options,
    to_gpu,
)
from shapes import CONVS, Conv
from sixloop import ops
from test_cuda_conv2d_tensor_cores import TILES

every_kind = pytest.mark.parametrize("kind", CONVOLUTION_KINDS)
GROUPS_WITHOUT_TENSOR_CORES = "groups of few channels"
DEPTHWISE = "depthwise of chunks"


def with_residual(x, w, residual, bias, **params):
    return ops.conv2d(x, w, bias, residual=residual, **params)


def reference_with_residual(x, w, residual, bias, *, activation=None, **params):
    y = reference.conv2d(x, w, bias, **params) + residual
    return np.maximum(y, 0) if activation == "relu" else y


# Rounded before the residual is added, since these groups have no such kernel: compared below.
IN_THE_KERNEL = [
    case
    for case in TILES
    if case.name not in (GROUPS_WITHOUT_TENSOR_CORES, DEPTHWISE, "far pixels")
]


@every_kind
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("case", IN_THE_KERNEL, ids=str)
def test_every_tile_rounds_once(rng, case, activation, kind):
    x, w, residual = (factors(rng, shape, kind) for shape in (case.x, case.w, case.y))
    residual *= 16  # of the size of the sums
    bias = rng.normal(size=case.o).astype(np.float32)
    check(
        kind,
        with_residual,
        (x, w, residual),
        reference_with_residual,
        case.k_forward + 1,
        bias,
        activation=activation,
        **case.params,
    )


@every_kind
@pytest.mark.parametrize("case", [TILES[0], TILES[5], TILES[9], TILES[14]], ids=str)
def test_a_residual_that_cancels_leaves_nothing(rng, case, kind):
    """Small integers are exact, and a residual that were left out, or moved, is not."""
    x, w = (rng.integers(-1, 2, size=shape).astype(np.float32) for shape in (case.x, case.w))
    expected = rng.integers(-3, 4, size=case.y).astype(np.float32)
    residual = np.float32(expected - reference.conv2d(x, w, None, **case.params))
    on_gpu = [to_gpu(v, kind) for v in (x, w, residual)]
    got = ops.conv2d(*on_gpu[:2], residual=on_gpu[2], **case.params, **options(kind))
    assert_same_bits(as_float32(got, kind), expected + np.float32(0))


@every_kind
@pytest.mark.parametrize("case", [TILES[11], TILES[13]], ids=str)
def test_groups_of_few_channels_add_after_rounding(rng, case, kind):
    x, w, residual = (to_gpu(factors(rng, shape, kind), kind) for shape in (case.x, case.w, case.y))
    params = {**case.params, **options(kind)}
    got = ops.conv2d(x, w, residual=residual, activation="relu", **params)
    expected = ops.add(ops.conv2d(x, w, **params), residual, activation="relu")
    assert_same_bits(as_float32(got, kind), as_float32(expected, kind))


@every_kind
def test_another_activation_is_a_pass_over_rounded_sums(rng, kind):
    case = TILES[2]
    x, w, residual = (to_gpu(factors(rng, shape, kind), kind) for shape in (case.x, case.w, case.y))
    params = {**case.params, **options(kind)}
    got = ops.conv2d(x, w, residual=residual, activation="leaky_relu", **params)
    expected = ops.leaky_relu(ops.conv2d(x, w, residual=residual, **params))
    assert_same_bits(as_float32(got, kind), as_float32(expected, kind))


@every_kind
def test_memory_that_begins_anywhere(rng, kind):
    case = TILES[9]
    x, w, residual = (factors(rng, shape, kind) for shape in (case.x, case.w, case.y))
    params = {**case.params, **options(kind)}
    on_gpu = [to_gpu(v, kind) for v in (x, w, residual)]
    expected = ops.conv2d(*on_gpu[:2], residual=on_gpu[2], **params)
    elsewhere = Unaligned(residual, bfloat16=is_bfloat16(kind))
    got = ops.conv2d(*on_gpu[:2], residual=elsewhere, **params)
    assert_same_bits(as_float32(got, kind), as_float32(expected, kind))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("algorithm", ["auto", "direct", "im2col", "winograd2x2", "winograd4x4"])
@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
def test_without_tensor_cores_it_is_add(rng, dtype, algorithm, activation):
    case = Conv("", (2, 7, 9, 5), (3, 3), 6, padding=1)
    x, w, residual, bias = (
        rng.normal(size=shape).astype(dtype) for shape in (case.x, case.w, case.y, case.o)
    )
    params = {**case.params, "algorithm": algorithm}

    def run(x, w, residual, bias):
        return ops.conv2d(x, w, bias, residual=residual, activation=activation, **params)

    expected = ops.add(ops.conv2d(x, w, bias, **params), residual, activation=activation)
    assert_same_bits(run(x, w, residual, bias), expected)
    assert_same_as_cpu(run, x, w, residual, bias)


@pytest.mark.parametrize("case", CONVS, ids=str)
def test_every_shape_without_tensor_cores(rng, case):
    x, w, residual = (
        rng.normal(size=shape).astype(np.float32) for shape in (case.x, case.w, case.y)
    )

    def run(x, w, residual):
        return ops.conv2d(x, w, residual=residual, activation="relu", **case.params)

    assert_same_as_cpu(run, x, w, residual)
    expected = reference.conv2d(x, w, None, **case.params) + residual
    magnitude = reference.conv2d(np.abs(x), np.abs(w), None, **case.params) + np.abs(residual)
    error = np.abs(run(x, w, residual) - np.maximum(expected, 0))
    assert (error <= bound("tf32", case.k_forward + 1, magnitude, expected)).all()


def test_refusals():
    x, w = np.ones((1, 4, 5, 3), np.float32), np.ones((3, 2, 3, 6), np.float32)
    y = np.ones((1, 2, 4, 6), np.float32)
    for on in (lambda t: t, to_cuda):
        for residual, error, words in (
            (y[..., :5].copy(), ValueError, r"residual must have shape \(1, 2, 4, 6\)"),
            (y[0], ValueError, r"residual must have shape"),
            (y.astype(np.float64), TypeError, "residual"),
        ):
            with pytest.raises(error, match=r"\[conv2d\] .*" + words):
                ops.conv2d(on(x), on(w), residual=on(residual))
    with pytest.raises(ValueError, match="residual"):
        ops.conv2d(to_cuda(x), to_cuda(w), residual=sixloop.Tensor(y))
    narrow = [ops.cast(to_cuda(t), "bfloat16") for t in (x, w)]
    with pytest.raises(TypeError, match="residual"):
        ops.conv2d(*narrow, residual=to_cuda(y))
    empty = ops.conv2d(x[:0], w, residual=y[:0], activation="relu")
    assert empty.shape == (0, 2, 4, 6)
