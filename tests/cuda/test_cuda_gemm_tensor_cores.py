"""Matrix products on the tensor cores against float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
import sixloop
from comparators import assert_same_bits, assert_within
from on_cuda import Unaligned, to_cuda
from on_tensor_cores import (
    KINDS,
    TF32_WGMMA,
    as_float32,
    assert_near,
    bound,
    check,
    cut,
    factors,
    is_bfloat16,
    options,
    to_gpu,
)
from sixloop import ops

every_kind = pytest.mark.parametrize("kind", KINDS)
every_transposition = pytest.mark.parametrize(
    "transpose_a, transpose_b", [(False, False), (False, True), (True, False), (True, True)]
)


def matrices(rng, m, n, k, kind, transpose_a, transpose_b):
    a = factors(rng, (k, m) if transpose_a else (m, k), kind)
    b = factors(rng, (n, k) if transpose_b else (k, n), kind)
    return a, b


def check_gemm(rng, m, n, k, kind, transpose_a=False, transpose_b=False, **params):
    a, b = matrices(rng, m, n, k, kind, transpose_a, transpose_b)
    params |= {"transpose_a": transpose_a, "transpose_b": transpose_b}
    check(kind, ops.gemm, (a, b), reference.gemm, k, **params)


@every_kind
@every_transposition
@pytest.mark.parametrize(
    "m, n, k",
    [
        (1, 1, 1),
        (1, 10, 84),
        (3, 5, 7),
        (5, 7, 0),
        (0, 3, 2),
        (3, 0, 2),
        (8, 16, 24),  # whole chunks of 16 bytes, in the least tile
        (63, 66, 34),  # pieces of 4 bytes
        (72, 80, 56),
        (136, 64, 40),  # the emulator takes tiles of 128x64 here,
        (136, 144, 72),  # and of 128x128
        (131, 133, 35),
    ],
)
def test_shapes(rng, m, n, k, transpose_a, transpose_b, kind):
    check_gemm(rng, m, n, k, kind, transpose_a, transpose_b)


@every_kind
@every_transposition
@pytest.mark.parametrize("m, n, k", [(16, 24, 392), (128, 96, 264), (17, 9, 389)])
def test_parts(rng, m, n, k, transpose_a, transpose_b, kind):
    """A long sum of a small result is cut, and its parts are added in order."""
    check_gemm(rng, m, n, k, kind, transpose_a, transpose_b)


@every_kind
@pytest.mark.parametrize("k", [40, 392])  # in one part, and in several
@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
@pytest.mark.parametrize("bias_kind", ["float32", "same"])
def test_bias_and_activation(rng, k, activation, bias_kind, kind):
    for m, n in ((33, 48), (20, 13)):
        a, b = matrices(rng, m, n, k, kind, False, False)
        bias = factors(rng, n, kind)
        if bias_kind == "same":
            arrays, more = (a, b, bias), {}
        else:
            arrays, more = (a, b), {"bias": bias + np.float32(2.0**-12)}
        if activation == "tanh" and is_bfloat16(kind):
            # A pass of its own over rounded sums: the same as calling it.
            got = ops.gemm(*(to_gpu(x, kind) for x in arrays), activation="tanh")
            sums = ops.gemm(*(to_gpu(x, kind) for x in arrays))
            assert_same_bits(as_float32(got, kind), as_float32(ops.tanh(sums), kind))
        else:
            check(kind, ops.gemm, arrays, reference.gemm, k, activation=activation, **more)


@every_kind
@every_transposition
def test_memory_that_begins_anywhere(rng, transpose_a, transpose_b, kind):
    """Another library's array may begin at any element.

    Such a product may be another instruction's, with another order of additions within it.
    """
    transposed = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    a, b = matrices(rng, 24, 32, 40, kind, transpose_a, transpose_b)
    aligned = [to_gpu(x, kind) for x in (a, b)]
    elsewhere = [Unaligned(x, bfloat16=is_bfloat16(kind)) for x in (a, b)]
    for left in (aligned[0], elsewhere[0]):
        for right in (aligned[1], elsewhere[1]):
            got = as_float32(ops.gemm(left, right, **transposed, **options(kind)), kind)
            assert_near(kind, got, reference.gemm, (a, b), 40, **transposed)


@every_kind
def test_rows_do_not_depend_on_the_others(rng, kind):
    """Every tile adds in the same order; only parts depend on the number of rows."""
    a, b = matrices(rng, 200, 136, 392, kind, False, False)
    with sixloop.batch_invariant():
        whole, few = (
            as_float32(ops.gemm(to_gpu(x, kind), to_gpu(b, kind), **options(kind)), kind)
            for x in (a, a[:7])
        )
    assert_same_bits(few, whole[:7])


@every_kind
def test_special_values(kind):
    """What is not there is not multiplied by infinity."""
    a = np.array([[1.0, np.inf, -np.inf], [0.0, 1.0, 0.0], [np.nan, 0.0, 1.0]], np.float32)
    b = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]], np.float32)
    got = as_float32(ops.gemm(to_gpu(a, kind), to_gpu(b, kind), **options(kind)), kind)
    with np.errstate(invalid="ignore"):
        assert_within(got, reference.gemm(a, b), 0.0, np.float32)


@pytest.mark.parametrize("kind", ["tf32", TF32_WGMMA])
@pytest.mark.parametrize("k", [50, 52])
@every_transposition
def test_tf32_rounds_to_nearest(rng, k, transpose_a, transpose_b, kind):
    """Ties go away from zero."""
    a, b = (rng.normal(size=size).astype(np.float32) for size in ((36, k), (k, 40)))
    a[:, 0] = b[0, :36] = 1 + 2.0**-11 * np.arange(36)

    def run(a, b):
        left = to_gpu(a.T.copy() if transpose_a else a, kind)
        right = to_gpu(b.T.copy() if transpose_b else b, kind)
        return as_float32(
            ops.gemm(
                left,
                right,
                None,
                transpose_a=transpose_a,
                transpose_b=transpose_b,
                precision="tf32",
            ),
            kind,
        )

    near = ((x.view(np.uint32) + np.uint32(0x1000)).view(np.float32) for x in (a, b))
    assert_same_bits(run(a, b), run(*(cut(x, kind) for x in near)))


@every_kind
def test_the_comparison_finds_an_error(rng, kind):
    a, b = matrices(rng, 5, 7, 60, kind, False, False)
    expected = reference.gemm(a, b)
    allowed = bound(kind, 60, reference.gemm(abs(a), abs(b)), expected)
    wrong = reference.gemm(a[:, 1:], b[1:])  # without the first term
    with pytest.raises(AssertionError):
        assert_within(wrong.astype(np.float32), expected, allowed, np.float32)
    assert_within(expected.astype(np.float32), expected, allowed, np.float32)


def test_errors():
    x = to_cuda(np.ones((3, 3), np.float32))
    with pytest.raises(ValueError, match=r"\[gemm\] unknown precision \"fp16\"; valid: fp32, tf32"):
        ops.gemm(x, x, precision="fp16")
    with pytest.raises(TypeError, match=r"\[gemm\] precision must be a name; got None"):
        ops.gemm(x, x, precision=None)
    with pytest.raises(ValueError, match="float32 arrays on cuda; got a of dtype float32 on cpu"):
        ops.gemm(np.ones((3, 3), np.float32), np.ones((3, 3), np.float32), precision="tf32")
    double = to_cuda(np.ones((3, 3)))
    with pytest.raises(ValueError, match="got a of dtype float64 on cuda"):
        ops.gemm(double, double, precision="tf32")
    narrow = ops.cast(x, "bfloat16")
    with pytest.raises(ValueError, match="got a of dtype bfloat16 on cuda"):
        ops.gemm(narrow, narrow, precision="tf32")
    with pytest.raises(TypeError, match="a and b must have one dtype"):
        ops.gemm(narrow, x)
    with pytest.raises(TypeError, match="a and bias must have one dtype"):
        ops.gemm(narrow, narrow, to_cuda(np.ones(3)))


@settings(max_examples=40, deadline=None)
@given(
    m=st.integers(1, 140),
    n=st.integers(1, 140),
    k=st.integers(0, 150),
    of_chunks=st.booleans(),
    transpose_a=st.booleans(),
    transpose_b=st.booleans(),
    kind=st.sampled_from(KINDS),
)
def test_any_shape(m, n, k, of_chunks, transpose_a, transpose_b, kind):
    rng = np.random.default_rng(m * 10007 + n * 101 + k)
    if of_chunks:
        m, n, k = (-(-size // 8) * 8 for size in (m, n, k))
    check_gemm(rng, m, n, k, kind, transpose_a, transpose_b)
