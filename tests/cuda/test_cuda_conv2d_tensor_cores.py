"""Implicit-GEMM convolution on the tensor cores against float64, forward and both gradients."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import reference
import sixloop
from comparators import assert_same_bits
from on_cuda import EMULATOR, Unaligned, to_cuda
from on_tensor_cores import (
    CONVOLUTION_KINDS,
    TF32_WGMMA,
    TMA,
    WGMMA,
    as_float32,
    assert_near,
    check,
    cut,
    factors,
    is_bfloat16,
    options,
    to_gpu,
)
from shapes import CONVS, LARGE_CONVS, Conv
from sixloop import ops

# More terms than this in a pass take the emulator seconds; a GPU has them all.
EMULATED_TERMS = 4_000_000

every_kind = pytest.mark.parametrize("kind", CONVOLUTION_KINDS)


def check_forward(rng, case: Conv, kind, **params):
    x, w, bias = (factors(rng, shape, kind) for shape in (case.x, case.w, case.o))
    check(kind, ops.conv2d, (x, w), reference.conv2d, case.k_forward, bias, **case.params, **params)


def check_grad_input(rng, case: Conv, kind):
    dy, w = (factors(rng, shape, kind) for shape in (case.y, case.w))
    params = {"x_shape": case.x, **case.params}
    check(
        kind,
        ops.conv2d_grad_input,
        (dy, w),
        reference.conv2d_grad_input,
        case.k_grad_input,
        **params,
    )


def check_grad_weight(rng, case: Conv, kind):
    x, dy = (factors(rng, shape, kind) for shape in (case.x, case.y))
    params = {"w_shape": case.w, **case.params}
    check(
        kind,
        ops.conv2d_grad_weight,
        (x, dy),
        reference.conv2d_grad_weight,
        case.k_grad_weight,
        **params,
    )


def check_all(rng, case: Conv, kind):
    n, oh, ow, o = case.y
    if sixloop.cuda.device_name() == EMULATOR and n * oh * ow * o * case.k_forward > EMULATED_TERMS:
        pytest.skip("too many products for the emulator")
    check_forward(rng, case, kind, activation="relu")
    check_grad_input(rng, case, kind)
    check_grad_weight(rng, case, kind)


@every_kind
@pytest.mark.parametrize("case", [*CONVS, *LARGE_CONVS], ids=str)
def test_all_passes(rng, case, kind):
    check_all(rng, case, kind)


# Channels of whole chunks of 16 bytes and of 4-byte pieces, in every tile; with parts of the pixels
# and without.
TILES = [
    Conv("128x128", (2, 9, 17, 72), (1, 3), 136, padding=(0, 1)),
    Conv("128x64", (1, 13, 11, 64), (3, 2), 64, padding=1, strides=(1, 2)),
    Conv("64x64", (1, 6, 7, 24), (2, 3), 40, dilation=(2, 1)),
    Conv("128x256 by wgmma", (1, 12, 11, 16), (2, 3), 264, padding=(1, 0)),
    Conv("128x256 by wgmma back", (1, 9, 8, 144), (1, 2), 24, strides=(2, 1)),
    Conv("pieces", (1, 12, 11, 70), (2, 1), 130),
    Conv("elements", (1, 12, 11, 67), (1, 2), 129),
    Conv("chunks and elements", (1, 9, 13, 16), (3, 3), 33, padding=((2, 1), (0, 1))),
    Conv("elements and chunks", (1, 9, 13, 15), (3, 3), 32, padding=((2, 1), (0, 1))),
    Conv("groups of chunks", (1, 9, 11, 48), (3, 2), 96, padding=1, groups=2),
    Conv("groups of elements", (1, 9, 11, 34), (3, 2), 38, padding=1, groups=2),
    Conv("groups of few channels", (2, 9, 11, 12), (3, 2), 16, padding=1, strides=(2, 1), groups=4),
    Conv(
        "groups stride dilation",
        (1, 12, 11, 32),
        (3, 2),
        64,
        strides=(2, 3),
        dilation=(3, 2),
        groups=2,
    ),
    Conv("depthwise of chunks", (1, 12, 11, 24), (3, 2), 24, strides=(2, 1), padding=1, groups=24),
    Conv("1x1 groups", (1, 9, 11, 48), (1, 1), 32, groups=2),
    Conv("1x1 strides", (1, 10, 13, 24), (1, 1), 32, strides=(3, 2)),
    Conv("1x1 padding", (1, 5, 6, 16), (1, 1), 24, padding=((1, 0), (2, 1))),
    Conv("stride beyond the filter", (1, 9, 13, 16), (2, 1), 24, strides=(4, 3)),
    Conv(
        "stride and dilation with a common factor",
        (1, 14, 15, 16),
        (3, 2),
        24,
        strides=(4, 2),
        dilation=(2, 4),
    ),
    Conv("many pixels", (3, 25, 27, 16), (2, 1), 8),
    # Indices beyond 32 bits are a kernel's of its own.
    Conv("far pixels", (2, 3, 4, 5), (1, 1), 7, strides=(2**30, 1)),
]


@every_kind
@pytest.mark.parametrize("case", TILES, ids=str)
def test_tiles(rng, case, kind):
    check_all(rng, case, kind)


# Corners, displacements and steps of the copy engine's maps, and what exceeds them.
WINDOWS = [
    Conv("rows and images within a tile", (5, 7, 6, 16), (3, 2), 24, padding=((1, 1), (0, 1))),
    Conv("boxes of channels", (2, 6, 9, 136), (2, 3), 72, padding=((0, 2), (1, 0))),
    Conv("strides", (3, 13, 11, 72), (3, 2), 40, strides=(2, 3), padding=((1, 0), (1, 2))),
    Conv("dilation", (2, 11, 12, 24), (2, 3), 136, dilation=(3, 2), padding=((0, 2), (1, 1))),
    Conv("strides and dilation", (2, 14, 13, 16), (3, 2), 264, (2, 1), ((2, 1), (0, 1)), (2, 3)),
    Conv("far corners", (1, 3, 131, 8), (2, 2), 8, padding=((0, 0), (127, 0))),
    Conv("beyond the corners", (1, 3, 5, 8), (2, 2), 8, padding=((0, 0), (130, 0))),
    Conv("steps beyond the map's", (2, 19, 5, 8), (2, 2), 16, strides=(9, 1)),
    Conv("displaced beyond 8 bits", (1, 259, 3, 8), (2, 1), 8, dilation=(256, 1)),
]


@pytest.mark.parametrize("kind", [WGMMA, TMA])
@pytest.mark.parametrize("case", WINDOWS, ids=str)
def test_windows(rng, case, kind):
    check_all(rng, case, kind)


@pytest.mark.parametrize("kind", ["tf32", TF32_WGMMA])
@pytest.mark.parametrize("strides", [1, (2, 1)], ids=str)
def test_tf32_rounds_to_nearest(rng, strides, kind):
    case = Conv("", (2, 6, 7, 20), (3, 2), 24, strides, padding=1)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in (case.x, case.w, case.y)]
    near = [(x.view(np.uint32) + np.uint32(0x1000)).view(np.float32) for x in arrays]

    def passes(*arrays):
        x, w, dy = (to_gpu(x, kind) for x in arrays)
        yield ops.conv2d(x, w, **case.params, precision="tf32")
        yield ops.conv2d_grad_input(dy, w, case.x, **case.params, precision="tf32")
        yield ops.conv2d_grad_weight(x, dy, case.w, **case.params, precision="tf32")

    rounded = passes(*(cut(x, kind) for x in near))
    for got, expected in zip(passes(*arrays), rounded, strict=True):
        assert_same_bits(as_float32(got, kind), as_float32(expected, kind))


@pytest.mark.parametrize("strides", [1, (2, 1)], ids=str)
def test_bits_do_not_depend_on_how_windows_are_loaded(rng, strides, monkeypatch):
    """With channels in multiples of 16 the choice may depend on the batch."""
    case = Conv("", (2, 12, 11, 80), (3, 2), 144, strides, padding=1)
    arrays = [factors(rng, shape, TMA) for shape in (case.x, case.w, case.y)]
    x, w, dy = (to_gpu(x, TMA) for x in arrays)

    def passes():
        yield ops.conv2d(x, w, **case.params)
        yield ops.conv2d_grad_input(dy, w, case.x, **case.params)

    results = []
    for loads in ("tma", "cp_async", ""):
        monkeypatch.setenv("SIXLOOP_WINDOW_LOADS", loads)
        results.append([as_float32(y, TMA) for y in passes()])
    for other in results[1:]:
        for got, expected in zip(other, results[0], strict=True):
            assert_same_bits(got, expected)


# Rows of C end within a box and a tile; pixels within a part's box, in its middle images begin.
WEIGHTS = [
    *WINDOWS[:6],
    Conv("56 channels", (3, 9, 7, 56), (2, 3), 72, strides=(2, 1), padding=((1, 0), (0, 2))),
    Conv("an odd number of boxes", (2, 7, 10, 64), (3, 3), 24, dilation=(1, 2), padding=(2, 1)),
    Conv("128x256", (2, 7, 9, 48), (2, 1), 264, padding=((0, 1), (1, 0))),
    Conv("groups", (2, 9, 11, 48), (3, 2), 96, padding=1, groups=2),
    Conv("groups strides dilation", (3, 12, 11, 120), (2, 3), 48, (2, 1), (1, 2), (1, 2), groups=3),
]


@pytest.mark.parametrize("case", WEIGHTS, ids=str)
def test_weight_gradients_of_windows_across_k(rng, case):
    check_grad_weight(rng, case, TF32_WGMMA)


@pytest.mark.parametrize("case", WEIGHTS, ids=str)
def test_bits_of_weight_gradients_do_not_depend_on_how_windows_are_loaded(rng, case, monkeypatch):
    """With any channels the choice may depend on the batch: sums are those of pixels."""
    x, dy = (to_gpu(factors(rng, shape, TMA), TMA) for shape in (case.x, case.y))
    results = []
    for loads in ("tma", "cp_async", ""):
        monkeypatch.setenv("SIXLOOP_WINDOW_LOADS", loads)
        dw = ops.conv2d_grad_weight(x, dy, case.w, **case.params)
        results.append(as_float32(dw, TMA))
    for other in results[1:]:
        assert_same_bits(other, results[0])


@every_kind
@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu"])
@pytest.mark.parametrize("case", [TILES[2], TILES[11], TILES[14]], ids=str)
def test_bias_of_float32(rng, case, activation, kind):
    x, w = (factors(rng, shape, kind) for shape in (case.x, case.w))
    bias = rng.normal(size=case.o).astype(np.float32)
    narrow = [to_gpu(x, kind), to_gpu(w, kind)]
    params = {**case.params, **options(kind)}
    if activation == "leaky_relu":  # a pass of its own
        got = ops.conv2d(*narrow, to_cuda(bias), activation=activation, **params)
        sums = ops.conv2d(*narrow, to_cuda(bias), **params)
        assert_same_bits(as_float32(got, kind), as_float32(ops.leaky_relu(sums), kind))
    else:
        check(
            kind,
            ops.conv2d,
            (x, w),
            reference.conv2d,
            case.k_forward,
            bias,
            activation=activation,
            **case.params,
        )


@every_kind
def test_bias_of_the_same_dtype(rng, kind):
    for case in (TILES[2], TILES[9]):
        x, w, bias = (factors(rng, shape, kind) for shape in (case.x, case.w, case.o))
        check(kind, ops.conv2d, (x, w, bias), reference.conv2d, case.k_forward, **case.params)


@every_kind
def test_a_sample_does_not_depend_on_its_batch(rng, kind):
    case = Conv("", (5, 8, 9, 64), (3, 3), 72, padding=1, strides=(1, 2))
    x, w, dy = (to_gpu(factors(rng, shape, kind), kind) for shape in (case.x, case.w, case.y))
    params = {**case.params, **options(kind)}
    first = [to_gpu(as_float32(t, kind)[:1], kind) for t in (x, dy)]
    whole = as_float32(ops.conv2d(x, w, **params), kind)
    assert_same_bits(as_float32(ops.conv2d(first[0], w, **params), kind), whole[:1])
    whole = as_float32(ops.conv2d_grad_input(dy, w, case.x, **params), kind)
    one = ops.conv2d_grad_input(first[1], w, (1, *case.x[1:]), **params)
    assert_same_bits(as_float32(one, kind), whole[:1])


@every_kind
@pytest.mark.parametrize("groups", [1, 2, 16])
def test_memory_that_begins_anywhere(rng, groups, kind):
    """Another library's array may begin at any element.

    Such a product may be another instruction's, with another order of additions within it.
    """
    case = Conv("", (2, 6, 7, 32), (3, 2), 32, padding=1, strides=(2, 1), groups=groups)
    params = {**case.params, **options(kind)}
    arrays = [factors(rng, shape, kind) for shape in (case.x, case.w, case.y)]
    to_gpu(arrays[0], kind)  # chooses the emulator's kind
    x, w, dy = (Unaligned(a, bfloat16=is_bfloat16(kind)) for a in arrays)
    got = {
        "conv2d": ops.conv2d(x, w, **params),
        "conv2d_grad_input": ops.conv2d_grad_input(dy, w, case.x, **params),
        "conv2d_grad_weight": ops.conv2d_grad_weight(x, dy, case.w, **params),
    }
    x, w, dy = arrays
    for name, of, terms, more in (
        ("conv2d", (x, w), case.k_forward, {}),
        ("conv2d_grad_input", (dy, w), case.k_grad_input, {"x_shape": case.x}),
        ("conv2d_grad_weight", (x, dy), case.k_grad_weight, {"w_shape": case.w}),
    ):
        result = as_float32(got[name], kind)
        assert_near(kind, result, getattr(reference, name), of, terms, **more, **case.params)


@every_kind
def test_algorithms(rng, kind):
    case = Conv("", (1, 6, 7, 16), (3, 3), 24, padding=1)
    x, w, dy = (to_gpu(factors(rng, shape, kind), kind) for shape in (case.x, case.w, case.y))
    params = {**case.params, **options(kind)}
    passes = {
        "conv2d": lambda **more: ops.conv2d(x, w, **params, **more),
        "conv2d_grad_input": lambda **more: ops.conv2d_grad_input(dy, w, case.x, **params, **more),
        "conv2d_grad_weight": lambda **more: ops.conv2d_grad_weight(
            x, dy, case.w, **params, **more
        ),
    }
    for op, run in passes.items():
        named = as_float32(run(algorithm="implicit_gemm"), kind)
        assert_same_bits(as_float32(run(), kind), named)
        for other in ("direct", "im2col", "winograd2x2", "winograd4x4"):
            with pytest.raises(
                ValueError,
                match=rf"\[{op}\] algorithm \"{other}\" has no kernel for .*{kind.split()[0]}",
            ):
                run(algorithm=other)


def test_refusals():
    x, w = np.ones((1, 4, 5, 3), np.float32), np.ones((3, 2, 3, 4), np.float32)
    y = np.ones((1, 2, 4, 4), np.float32)
    for on in (lambda t: t, to_cuda):
        passes = {
            "conv2d": lambda on=on, **more: ops.conv2d(on(x), on(w), **more),
            "conv2d_grad_input": lambda on=on, **more: ops.conv2d_grad_input(
                on(y), on(w), x.shape, **more
            ),
            "conv2d_grad_weight": lambda on=on, **more: ops.conv2d_grad_weight(
                on(x), on(y), w.shape, **more
            ),
        }
        for op, run in passes.items():
            with pytest.raises(
                ValueError, match=rf"\[{op}\] algorithm \"implicit_gemm\" is for tensor cores"
            ):
                run(algorithm="implicit_gemm")
            with pytest.raises(ValueError, match=rf"\[{op}\] unknown precision \"bf16\""):
                run(precision="bf16")
            if on is not to_cuda:
                with pytest.raises(
                    ValueError, match=rf"\[{op}\] precision \"tf32\" is for float32 arrays on cuda"
                ):
                    run(precision="tf32")


@every_kind
def test_nothing_to_compute(rng, kind):
    params = options(kind)
    w = to_gpu(factors(rng, (3, 2, 4, 8), kind), kind)
    empty = to_gpu(np.zeros((0, 5, 6, 4), np.float32), kind)
    assert ops.conv2d(empty, w, **params).shape == (0, 3, 5, 8)
    dy = to_gpu(np.zeros((0, 3, 5, 8), np.float32), kind)
    assert ops.conv2d_grad_input(dy, w, (0, 5, 6, 4), **params).shape == (0, 5, 6, 4)
    dw = as_float32(ops.conv2d_grad_weight(empty, dy, (3, 2, 4, 8), **params), kind)
    assert_same_bits(dw, np.zeros((3, 2, 4, 8), np.float32))
    # Sums of no terms.
    x, dy = (to_gpu(np.ones(shape, np.float32), kind) for shape in ((1, 4, 5, 0), (1, 2, 4, 0)))
    wide, narrow = (
        to_gpu(np.ones(shape, np.float32), kind) for shape in ((3, 2, 0, 8), (3, 2, 6, 0))
    )
    bias = factors(rng, 8, kind)
    y = as_float32(ops.conv2d(x, wide, to_gpu(bias, kind), **params), kind)
    assert_same_bits(y, np.broadcast_to(bias, (1, 2, 4, 8)))
    dx = as_float32(ops.conv2d_grad_input(dy, narrow, (1, 4, 5, 6), **params), kind)
    assert_same_bits(dx, np.zeros((1, 4, 5, 6), np.float32))
    some = to_gpu(np.ones((1, 4, 5, 6), np.float32), kind)
    assert ops.conv2d_grad_weight(some, dy, (3, 2, 6, 0), **params).shape == (3, 2, 6, 0)


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=40, deadline=None)
@given(
    extent=st.tuples(st.integers(1, 3), st.integers(1, 11), st.integers(1, 11)),
    channels=st.tuples(st.integers(1, 19), st.integers(1, 19)),
    of_chunks=st.booleans(),
    kernel=pairs,
    strides=pairs,
    dilation=pairs,
    padding=st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2),
    groups=st.integers(1, 3),
    kind=st.sampled_from(CONVOLUTION_KINDS),
)
def test_any_convolution(
    extent, channels, of_chunks, kernel, strides, dilation, padding, groups, kind
):
    c, o = (size * groups * (8 if of_chunks else 1) for size in channels)
    assume(c <= 160)
    for size, k, d, (before, after) in zip(extent[1:], kernel, dilation, padding, strict=True):
        assume(size + before + after >= d * (k - 1) + 1)
    case = Conv("", (*extent, c), kernel, o, strides, padding, dilation, groups)
    check_all(np.random.default_rng(c * 101 + o), case, kind)
