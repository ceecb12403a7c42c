"""Philox against its published vectors, and what is made of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

import reference
from comparators import assert_same_bits, assert_within, relative_bound
from sixloop import ops

# Counter, key, result: the kat_vectors file of Random123 (Salmon et al. 2011).
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize("counter, key, answer", KNOWN_ANSWERS)
def test_the_reference_is_philox(counter, key, answer):
    assert " ".join(f"{word:08x}" for word in reference.philox4x32(counter, key)) == answer


def test_known_answer_through_the_library():
    """Seed, purpose, step and element zero are the all-zero vector."""
    bits = ops.random_bits(2, seed=0, purpose=0, step=0)
    assert [f"{int(b):016x}" for b in bits] == ["e169c58d6627e8d5", "9b00dbd8bc57ac4c"]


def test_bits_are_the_references():
    for n in (0, 1, 2, 3, 4, 5, 8, 33, 1000, 100_003):
        for seed, purpose, step in [(0, 0, 0), (1, 2, 3), (2**63 - 1, 7, 2**31), (12345, 2**31, 1)]:
            keyed = {"seed": seed, "purpose": purpose, "step": step}
            actual = ops.random_bits(n, **keyed)
            assert actual.dtype == np.uint64
            assert np.array_equal(actual, reference.random_bits(n, **keyed)), (n, keyed)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_the_references(dtype):
    keyed = {"seed": 2**40 + 7, "purpose": 5, "step": 11, "dtype": dtype}
    for shape in [(1,), (7, 3), (63,), (64,), (65,), (5000,), (3, 7001)]:
        for low, high in [(0.0, 1.0), (-2.5, 0.5), (3.0, 3.0 + 1e-7)]:
            actual = np.asarray(ops.random_uniform(shape, low, high, **keyed))
            assert_same_bits(actual, reference.random_uniform(shape, low, high, **keyed))
        actual = np.asarray(ops.random_normal(shape, 0.5, 2.0, **keyed))
        expected = reference.random_normal(shape, 0.5, 2.0, **{**keyed, "dtype": "float64"})
        # AS 241 has a relative error of 1e-16 in z; log and the polynomials add a few ulps.
        bound = relative_bound(dtype, expected, 1) + 2 * 1e-15 * (np.abs(expected) + 0.5)
        assert_within(actual, expected, bound, dtype)


def test_a_longer_stream_begins_with_the_shorter():
    keyed = {"seed": 42, "purpose": 1, "step": 9}
    long = ops.random_bits(1000, **keyed)
    for n in (1, 2, 3, 17, 999):
        assert np.array_equal(ops.random_bits(n, **keyed), long[:n])
    whole = np.asarray(ops.random_uniform((1000,), 0, 1, **keyed))
    assert_same_bits(np.asarray(ops.random_uniform((33,), 0, 1, **keyed)), whole[:33])
    whole = np.asarray(ops.random_normal((10, 100), 0, 1, **keyed)).ravel()
    assert_same_bits(np.asarray(ops.random_normal((33,), 0, 1, **keyed)), whole[:33])


def test_every_key_counts():
    base = {"seed": 1, "purpose": 1, "step": 1}
    bits = ops.random_bits(64, **base)
    for key in base:
        for value in (0, 2, 1 + 2**31, 1 + 2**20):
            other = ops.random_bits(64, **{**base, key: value})
            assert not np.any(other == bits), (key, value)
    # The upper half of a seed counts too.
    other = ops.random_bits(64, **{**base, "seed": 1 + 2**40})
    assert not np.any(other == bits)


def test_bits_are_balanced():
    bits = ops.random_bits(20_000, seed=3, purpose=1, step=4)
    for place in range(64):
        share = float(((bits >> np.uint64(place)) & np.uint64(1)).mean())
        assert abs(share - 0.5) < 5 * 0.5 / math.sqrt(len(bits)), place


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform(dtype):
    n = 100_000
    for low, high in [(0.0, 1.0), (-0.25, 0.75), (5.0, 5.5)]:
        u = np.asarray(ops.random_uniform((n // 10, 10), low, high, seed=1, purpose=2, dtype=dtype))
        assert u.shape == (n // 10, 10) and u.dtype == dtype
        assert low <= u.min() and u.max() < high
        share = np.sort((u.astype(np.float64).ravel() - low) / (high - low))
        # Kolmogorov and Smirnov: 1.95 / sqrt(n) is exceeded once in a thousand seeds.
        assert np.abs(share - np.arange(n) / n).max() < 1.95 / math.sqrt(n) + 1e-5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal(dtype):
    n = 100_000
    for mean, std in [(0.0, 1.0), (3.0, 0.5)]:
        x = np.asarray(ops.random_normal((n,), mean, std, seed=1, purpose=2, dtype=dtype))
        assert x.shape == (n,) and x.dtype == dtype
        z = np.sort((x.astype(np.float64) - mean) / std)
        assert np.isfinite(z).all() and 3.5 < np.abs(z).max() < 6.5
        cdf = 0.5 * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))
        assert np.abs(cdf - np.arange(n) / n).max() < 1.95 / math.sqrt(n) + 1e-5
        assert abs(np.mean(z**4) - 3) < 5 * math.sqrt(96 / n)
    pairs = x.reshape(-1, 2).astype(np.float64)
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 5 / math.sqrt(len(pairs))


def test_step_and_dtype_defaults():
    for f in (ops.random_uniform, ops.random_normal):
        x = np.asarray(f((3, 4), 0, 1, seed=1, purpose=2))
        assert x.dtype == np.float32
        assert_same_bits(np.asarray(f((3, 4), 0, 1, seed=1, purpose=2, step=0)), x)
    bits = ops.random_bits(5, seed=1, purpose=2)
    assert np.array_equal(ops.random_bits(5, seed=1, purpose=2, step=0), bits)


def test_empty_shapes():
    for f in (ops.random_uniform, ops.random_normal):
        assert np.asarray(f((0, 4), 0, 1, seed=1, purpose=2)).shape == (0, 4)
