"""Random numbers and dropout on the GPU against the CPU, bit for bit."""

import numpy as np
import pytest

from comparators import assert_same_bits
from on_cuda import DTYPES, assert_same_as_cpu, values
from sixloop import ops

SIZES = (0, 1, 2, 3, 4, 5, 63, 64, 65, 1023, 1025, 4100)

every_dtype = pytest.mark.parametrize("dtype", DTYPES)


@every_dtype
@pytest.mark.parametrize("size", SIZES)
def test_numbers(size, dtype):
    key = {"seed": 2**62 + 12345, "purpose": 2**32 - 3, "step": 77, "dtype": dtype}
    for make, arguments in (
        (ops.random_uniform, (-0.3, 1.7)),
        (ops.random_uniform, (1.0, 1.0)),
        (ops.random_uniform, (16777216.0, 16777217.0)),  # where rounding meets the upper limit
        (ops.random_normal, (0.0, 1.0)),
        (ops.random_normal, (-2.0, 0.01)),
    ):
        there = make((size,), *arguments, **key, device="cuda")
        assert there.device == "cuda"
        assert_same_bits(there.numpy(), make((size,), *arguments, **key).numpy())


def test_tails_of_the_normal_distribution():
    """Enough numbers that some lie where the quantile is another rational function."""
    key = {"seed": 5, "purpose": 1, "dtype": "float64"}
    here = ops.random_normal((40000,), 0.0, 1.0, **key).numpy()
    there = ops.random_normal((40000,), 0.0, 1.0, **key, device="cuda").numpy()
    assert np.abs(here).max() > 3.5
    assert_same_bits(there, here)


@every_dtype
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 0.999])
def test_dropout(rng, rate, dtype):
    for size in SIZES:
        x = values(rng, size, dtype)
        for op in (ops.dropout, ops.dropout_grad):
            assert_same_as_cpu(lambda x, op=op: op(x, rate, seed=3, purpose=9, step=4), x)


def test_unknown_device():
    with pytest.raises(ValueError, match='unknown device "gpu"; valid: cpu, cuda'):
        ops.random_uniform((1,), 0.0, 1.0, seed=1, purpose=1, device="gpu")
