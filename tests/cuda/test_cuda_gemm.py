"""Matrix products on the GPU against the CPU, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sixloop
from on_cuda import DTYPES, EMULATOR, assert_same_as_cpu
from sixloop import ops

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_transposition = pytest.mark.parametrize(
    "transpose_a, transpose_b", [(False, False), (False, True), (True, False), (True, True)]
)


def check(rng, m, n, k, dtype, transpose_a=False, transpose_b=False, activation=None):
    a = rng.normal(size=(k, m) if transpose_a else (m, k)).astype(dtype)
    b = rng.normal(size=(n, k) if transpose_b else (k, n)).astype(dtype)
    bias = rng.normal(size=n).astype(dtype)
    flags = {"transpose_a": transpose_a, "transpose_b": transpose_b, "activation": activation}
    assert_same_as_cpu(lambda a, b: ops.gemm(a, b, **flags), a, b)
    assert_same_as_cpu(lambda a, b, bias: ops.gemm(a, b, bias, **flags), a, b, bias)


@every_dtype
@every_transposition
@pytest.mark.parametrize(
    "m, n, k",
    [
        (1, 1, 1),
        (1, 10, 84),
        (3, 5, 7),
        (31, 33, 8),
        (32, 32, 16),
        (33, 31, 40),
        (64, 120, 9),
        (5, 7, 0),
        (0, 3, 2),
        (3, 0, 2),
        (65, 63, 19),  # the emulator takes tiles of 64 from here,
        (128, 64, 16),
        (131, 127, 11),  # and of 128 from here
        (256, 128, 16),
    ],
)
def test_shapes(rng, m, n, k, transpose_a, transpose_b, dtype):
    check(rng, m, n, k, dtype, transpose_a, transpose_b)


@every_dtype
@every_transposition
@pytest.mark.parametrize("m, n, k", [(740, 500, 19), (1409, 1023, 77), (1536, 1024, 128)])
def test_tiles_of_a_gpu(rng, m, n, k, transpose_a, transpose_b, dtype):
    if sixloop.cuda.device_name() == EMULATOR:  # which takes large tiles for small sizes already
        m, n = m // 8, n // 8
    check(rng, m, n, k, dtype, transpose_a, transpose_b, "relu")


@every_dtype
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "leaky_relu", "gelu", "step"])
def test_activations(rng, activation, dtype):
    check(rng, 37, 41, 29, dtype, activation=activation)


@every_dtype
def test_special_values(dtype):
    """Infinities, NaN and zeros with signs take part in the same order as on the CPU."""
    a = np.array([[0.0, -0.0, 1.0], [np.inf, 0.0, 1.0], [1e-30, 1e30, -1e-45]], dtype)
    b = np.array([[-0.0, 1.0], [0.0, np.nan], [1e-45, -np.inf]], dtype)
    assert_same_as_cpu(ops.gemm, a, b)
    tiny = np.array([[1e-38]], dtype)
    assert_same_as_cpu(ops.gemm, tiny, -tiny)  # rounds to -0


@settings(max_examples=40, deadline=None)
@given(
    m=st.integers(1, 70),
    n=st.integers(1, 70),
    k=st.integers(0, 50),
    transpose_a=st.booleans(),
    transpose_b=st.booleans(),
    dtype=st.sampled_from(DTYPES),
)
def test_any_shape(m, n, k, transpose_a, transpose_b, dtype):
    rng = np.random.default_rng(m * 10007 + n * 101 + k)
    check(rng, m, n, k, dtype, transpose_a, transpose_b)
