"""Convolutions on the GPU against the CPU, bit for bit, for every algorithm and pass."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import sixloop
from comparators import assert_same_bits
from on_cuda import DTYPES, EMULATOR, assert_same_as_cpu, to_cuda
from shapes import CONVS, LARGE_CONVS, WINOGRADS, WINOGRADS_OF_5X5, Conv
from sixloop import ops

# More terms than this in a pass take the emulator seconds; a GPU has them all.
EMULATED_TERMS = 250_000


def terms(case: Conv) -> int:
    """Products of the direct algorithm's forward pass."""
    n, oh, ow, o = case.y
    return n * oh * ow * o * case.k_forward


def dtypes_for(case: Conv, algorithm: str) -> tuple[str, ...]:
    """Both on a GPU; on the emulator one, which alternates from case to case."""
    if sixloop.cuda.device_name() != EMULATOR:
        return DTYPES
    if terms(case) > EMULATED_TERMS:
        pytest.skip(f"{terms(case)} products are too many for the emulator")
    return (DTYPES[(len(case.name) + len(algorithm)) % 2],)


def check(rng, case: Conv, algorithm, dtype, activation=None):
    """All passes; forward with a bias where there is an activation."""
    params = {"algorithm": algorithm, **case.params}
    x, w, bias, dy = (
        rng.normal(size=shape).astype(dtype) for shape in (case.x, case.w, case.o, case.y)
    )
    if activation is None:
        assert_same_as_cpu(lambda x, w: ops.conv2d(x, w, **params), x, w)
    else:
        params_y = {"activation": activation, **params}
        assert_same_as_cpu(lambda x, w, b: ops.conv2d(x, w, b, **params_y), x, w, bias)
    assert_same_as_cpu(lambda dy, w: ops.conv2d_grad_input(dy, w, case.x, **params), dy, w)
    assert_same_as_cpu(lambda x, dy: ops.conv2d_grad_weight(x, dy, case.w, **params), x, dy)


every_dtype = pytest.mark.parametrize("dtype", DTYPES)


@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
@pytest.mark.parametrize("case", [*CONVS, *LARGE_CONVS], ids=str)
def test_all_passes(rng, case, algorithm):
    for dtype in dtypes_for(case, algorithm):
        check(rng, case, algorithm, dtype, "relu")


@pytest.mark.parametrize(
    ("case", "algorithm"),
    [
        *((case, algorithm) for case in WINOGRADS for algorithm in ("winograd2x2", "winograd4x4")),
        *((case, "winograd2x2") for case in WINOGRADS_OF_5X5),
    ],
    ids=str,
)
def test_winograd(rng, case, algorithm):
    for dtype in dtypes_for(case, algorithm):
        check(rng, case, algorithm, dtype, "relu")


# Sums over so many pixels are cut into parts on the CPU, and each kernel has to do it likewise.
WITH_PARTS = [
    Conv("few channels", (1, 70, 61, 3), (2, 1), 5),
    Conv("product", (1, 70, 61, 4), (1, 1), 4),
    Conv("groups", (1, 35, 130, 4), (1, 2), 4, groups=2),
    Conv("depthwise", (1, 70, 65, 4), (2, 1), 4, strides=(1, 1), groups=4),
    Conv("large groups", (1, 70, 61, 2), (1, 1), 32, groups=2),
]


@pytest.mark.parametrize(
    ("case", "algorithm"),
    [*((case, "direct") for case in WITH_PARTS), *((case, "im2col") for case in WITH_PARTS[1:3])],
    ids=str,
)
def test_parts(rng, case, algorithm):
    for dtype in dtypes_for(case, algorithm):
        check(rng, case, algorithm, dtype)


# Blocks enough for every tile, of 128x64, 64x64 and 64x16, and parts of them.
TILES = [
    Conv("128x64", (1, 15, 19, 8), (2, 1), 68),
    Conv("product, 128x64", (1, 15, 19, 8), (1, 1), 68),
    Conv("product, 128x128", (1, 15, 13, 5), (1, 1), 131),
    Conv("product, 64x16", (1, 13, 15, 16), (1, 1), 12),
    Conv("64x64", (1, 11, 9, 8), (2, 1), 66),
    Conv("64x16", (1, 13, 11, 8), (1, 3), 16, padding=(0, 1)),
    Conv("64x64 input gradient", (1, 11, 13, 66), (2, 1), 8, padding=(1, 0)),
    Conv("two groups of tiles", (1, 9, 8, 32), (1, 2), 64, groups=2),
    Conv("unpacked", (1, 11, 9, 7), (2, 3), 67, padding=1, strides=(2, 1)),
    # Indices beyond 32 bits are a kernel's of its own.
    Conv("far rows", (2, 2, 3, 5), (2, 1), 7, dilation=(2**30, 1), padding=((2**30, 0), (0, 0))),
    Conv("far pixels", (2, 3, 4, 5), (1, 1), 7, strides=(2**30, 1)),
]


@every_dtype
@pytest.mark.parametrize("case", TILES, ids=str)
def test_tiles(rng, case, dtype):
    check(rng, case, "direct", dtype)


@every_dtype
@pytest.mark.parametrize("activation", ["sigmoid", "leaky_relu", "gelu"])
@pytest.mark.parametrize("algorithm", ["direct", "im2col", "winograd2x2", "winograd4x4"])
def test_activations(rng, algorithm, activation, dtype):
    x, w, bias = (rng.normal(size=s).astype(dtype) for s in ((1, 5, 6, 3), (3, 3, 3, 5), 5))
    assert_same_as_cpu(
        lambda x, w, b: ops.conv2d(x, w, b, activation=activation, algorithm=algorithm), x, w, bias
    )


def test_auto_is_the_cpu_s_choice(rng):
    case = Conv("24 tiles of 4x4", (2, 12, 16, 16), (3, 3), 16, padding=1)
    assert ops.conv2d_algorithm("forward", case.x, case.w, padding=1) == "winograd4x4"
    assert ops.conv2d_algorithm("grad_weight", case.x, case.w, padding=1) == "direct"
    check(rng, case, "auto", "float32")


@every_dtype
def test_special_values(rng, dtype):
    """What is not a number comes through padding as on the CPU: there is a product with zero."""
    x, w, dy = (
        rng.normal(size=s).astype(dtype) for s in ((1, 4, 9, 3), (3, 2, 3, 4), (1, 4, 8, 4))
    )
    for array in (x, w, dy):
        array.reshape(-1)[::11] = rng.choice([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-40], 1)
    for algorithm in ("direct", "im2col"):
        p = {"padding": (1, 0), "algorithm": algorithm}
        assert_same_as_cpu(lambda x, w, p=p: ops.conv2d(x, w, **p), x, w)
        assert_same_as_cpu(lambda d, w, p=p: ops.conv2d_grad_input(d, w, x.shape, **p), dy, w)
        assert_same_as_cpu(lambda x, d, p=p: ops.conv2d_grad_weight(x, d, w.shape, **p), x, dy)


@pytest.mark.parametrize("case", CONVS, ids=str)
def test_im2col_and_col2im(rng, case):
    for dtype in dtypes_for(case, ""):
        check_columns(rng, case, dtype)


def check_columns(rng, case, dtype):
    params = {k: v for k, v in case.params.items() if k != "groups"}
    x = rng.normal(size=case.x).astype(dtype)
    assert_same_as_cpu(lambda x: ops.im2col(x, case.kernel, **params), x)
    col = rng.normal(size=ops.im2col(x, case.kernel, **params).shape).astype(dtype)
    assert_same_as_cpu(lambda col: ops.col2im(col, case.x, case.kernel, **params), col)


@every_dtype
@pytest.mark.parametrize("algorithm", ["direct", "im2col", "winograd2x2", "winograd4x4", "auto"])
@pytest.mark.parametrize(("n", "c", "o"), [(0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_nothing(n, c, o, algorithm, dtype):
    x, w = np.ones((n, 5, 6, c), dtype), np.ones((3, 3, c, o), dtype)
    bias, dy = np.arange(o).astype(dtype), np.ones((n, 3, 4, o), dtype)
    p = {"algorithm": algorithm}
    assert_same_as_cpu(lambda x, w, b: ops.conv2d(x, w, b, activation="relu", **p), x, w, bias)
    assert_same_as_cpu(lambda dy, w: ops.conv2d_grad_input(dy, w, x.shape, **p), dy, w)
    assert_same_as_cpu(lambda x, dy: ops.conv2d_grad_weight(x, dy, w.shape, **p), x, dy)


def test_a_sample_s_bits_do_not_depend_on_the_batch(rng):
    case = Conv("", (5, 6, 7, 4), (3, 2), 5, padding=1)
    x, w = (to_cuda(rng.normal(size=s).astype("float32")) for s in (case.x, case.w))
    whole = ops.conv2d(x, w, algorithm="direct", **case.params).numpy()
    one = ops.conv2d(to_cuda(x.numpy()[3:4]), w, algorithm="direct", **case.params).numpy()
    assert_same_bits(one, whole[3:4])


def test_bad_input():
    x, w = sixloop.zeros((1, 4, 5, 2), device="cuda"), sixloop.zeros((3, 3, 2, 3), device="cuda")
    with pytest.raises(ValueError, match=r"\[conv2d\] all arrays.*: x is on cuda, weight on cpu"):
        ops.conv2d(x, w.numpy())
    with pytest.raises(ValueError, match="bias on cpu"):
        ops.conv2d(x, w, np.zeros(3, "float32"))
    with pytest.raises(ValueError, match=r"\[conv2d_grad_input\] all arrays"):
        ops.conv2d_grad_input(np.zeros((1, 2, 3, 3), "float32"), w, x.shape)
    with pytest.raises(ValueError, match=r"\[conv2d_grad_weight\] all arrays"):
        ops.conv2d_grad_weight(x, np.zeros((1, 2, 3, 3), "float32"), w.shape)
    with pytest.raises(ValueError, match="2 input channels per group, input has 2 with groups=2"):
        ops.conv2d(x, w, groups=2)
    with pytest.raises(ValueError, match=r'algorithm "winograd4x4".*the stride is not 1'):
        ops.conv2d(x, w, strides=2, algorithm="winograd4x4")
    with pytest.raises(ValueError, match=r"\[im2col\] x must have"):
        ops.im2col(sixloop.zeros((4, 5), device="cuda"), 2)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_any_convolution(data):
    axis = st.tuples(*(st.integers(1, most) for most in (9, 4, 4, 3)))
    (h, kh, sh, dh), (w, kw, sw, dw) = data.draw(axis), data.draw(axis)
    padding = data.draw(st.tuples(*[st.tuples(st.integers(0, 4), st.integers(0, 4))] * 2))
    groups = data.draw(st.integers(1, 3))
    c, o = groups * data.draw(st.integers(1, 5)), groups * data.draw(st.integers(1, 18))
    assume(h + sum(padding[0]) > dh * (kh - 1) and w + sum(padding[1]) > dw * (kw - 1))
    n = data.draw(st.integers(1, 3))
    case = Conv("", (n, h, w, c), (kh, kw), o, (sh, sw), padding, (dh, dw), groups)
    dtype = data.draw(st.sampled_from(DTYPES))
    check(np.random.default_rng(h * 10007 + w * 101 + c), case, "direct", dtype)
    check(np.random.default_rng(h * 10007 + w * 101 + o), case, "im2col", dtype)


def test_the_gpu_keeps_no_filters(rng):
    x, w = (to_cuda(rng.normal(size=s).astype(np.float32)) for s in ((1, 9, 8, 4), (3, 3, 4, 5)))
    expected = ops.conv2d(x, w, algorithm="winograd2x2")
    actual = ops.conv2d(x, w, algorithm="winograd2x2", keep_filters=True)
    assert_same_bits(actual.numpy(), expected.numpy())
    assert w._kept_bytes == w._version == 0
