"""Statistics of a convolution's channels, from its kernel on tensor cores, against float64."""

import numpy as np
import pytest

import sixloop
from comparators import assert_same_bits
from on_cuda import EMULATOR, assert_same_as_cpu, to_cuda
from on_tensor_cores import CONVOLUTION_KINDS, as_float32, factors, is_bfloat16, options, to_gpu
from shapes import CONVS, Conv
from sixloop import ops
from test_cuda_conv2d_tensor_cores import EMULATED_TERMS, TILES

every_kind = pytest.mark.parametrize("kind", CONVOLUTION_KINDS)

# Dense products have kernels of their own; pixels of two tiles, the second of one row.
DENSE = [
    Conv("1x1 in 128x256", (1, 3, 43, 72), (1, 1), 256),
    Conv("1x1 in 128x128", (1, 15, 9, 64), (1, 1), 120),
    Conv("1x1 in 64x64", (1, 5, 13, 16), (1, 1), 40),
    Conv("1x1 of elements", (2, 5, 13, 9), (1, 1), 33),
    Conv("one pixel", (1, 1, 1, 16), (1, 1), 24),
]


def bounds(y):
    """Allowed errors of mean and variance, for each channel of y in float64.

    With u = 2^-24 and d, of at most the channel's range r, what a value differs from another one
    of its block of 64 rows: d errs by u r, a float32 sum of 64 of them and its merging by at most
    70 u r for each of them, and the block's mean by the rounding of a sum of two more. Squares of
    d have twice that error, for the subtraction of the squared sum once more; what the blocks'
    means err, e, moves the squared distance from the mean of all by 2 r e + e^2. The results are
    rounded to float32.
    """
    u = 2.0**-24
    r = y.max(0) - y.min(0)
    largest = np.abs(y).max(0)
    e = 72 * u * r + 2 * u * largest
    return e + u * largest, 280 * u * r**2 + 2 * r * e + e**2 + u * y.var(0)


def assert_statistics(y, mean, variance, prefix=""):
    rows = y.reshape(-1, y.shape[-1]).astype(np.float64)
    for name, got, expected, bound in zip(
        ("mean", "variance"),
        (mean, variance),
        (rows.mean(0), rows.var(0)),
        bounds(rows),
        strict=True,
    ):
        error = np.abs(got.astype(np.float64) - expected)
        worst = int(np.argmax(error - bound))
        assert (error <= bound).all(), (
            f"{prefix}{name} of channel {worst}: {got[worst]}, not {expected[worst]}; "
            f"allowed {bound[worst]}"
        )


def run(kind, case, x, w, bias=None):
    """Results on the GPU, the same in a second run, y with the bits of conv2d."""
    arrays = [to_gpu(x, kind), to_gpu(w, kind), None if bias is None else to_cuda(bias)]
    params = {**case.params, **options(kind)}
    y, mean, variance = ops.conv2d_statistics(*arrays, **params)
    assert mean.dtype == variance.dtype == "float32"
    y = as_float32(y, kind)
    assert_same_bits(y, as_float32(ops.conv2d(*arrays, **params), kind))
    again = ops.conv2d_statistics(*arrays, **params)
    assert_same_bits((again[1].numpy(), again[2].numpy()), (mean.numpy(), variance.numpy()))
    return y, mean.numpy(), variance.numpy()


@every_kind
@pytest.mark.parametrize("case", [*TILES, *DENSE, *CONVS], ids=str)
def test_statistics_of_what_is_stored(rng, case, kind):
    terms = np.prod(case.y) * case.k_forward
    if sixloop.cuda.device_name() == EMULATOR and terms > EMULATED_TERMS:
        pytest.skip("too many products for the emulator")
    x, w = (factors(rng, shape, kind) for shape in (case.x, case.w))
    bias = rng.normal(scale=8, size=case.o).astype(np.float32)
    assert_statistics(*run(kind, case, x, w, bias))
    assert_statistics(*run(kind, case, x, w), "no bias: ")


@every_kind
@pytest.mark.parametrize("case", [TILES[0], TILES[2], TILES[9], DENSE[0]], ids=str)
def test_a_mean_far_from_zero(rng, case, kind):
    x, w = (factors(rng, shape, kind) for shape in (case.x, case.w))
    sums = np.sqrt(case.k_forward)  # what they spread over
    bias = (sums * rng.uniform(1000, 3000, size=case.o)).astype(np.float32)
    y, mean, variance = run(kind, case, x, w, bias)
    assert_statistics(y, mean, variance)
    # The usual formula in float32 is not near, and the comparison says so.
    rows = y.reshape(-1, case.o)
    naive = (rows * rows).mean(0, dtype=np.float32) - np.square(rows.mean(0, dtype=np.float32))
    if not is_bfloat16(kind):
        with pytest.raises(AssertionError, match="variance of channel"):
            assert_statistics(y, mean, naive)
        with pytest.raises(AssertionError, match="mean of channel"):
            assert_statistics(y, mean * np.float32(1 + 1e-5), variance)


@every_kind
@pytest.mark.parametrize("case", [TILES[0], TILES[2], DENSE[0]], ids=str)
def test_a_first_value_far_from_the_others(rng, case, kind):
    x, w = (factors(rng, shape, kind) for shape in (case.x, case.w))
    x[0, : case.kernel[0], : case.kernel[1]] = 4096
    assert_statistics(*run(kind, case, x, w))


@every_kind
def test_equal_values_have_no_variance(kind):
    case = TILES[2]
    x, w = (np.zeros(shape, np.float32) for shape in (case.x, case.w))
    bias = np.linspace(-7, 900, case.o).astype(np.float32)
    y, mean, variance = run(kind, case, x, w, bias)
    assert_same_bits(mean, y[0, 0, 0])
    assert_same_bits(variance, np.zeros(case.o, np.float32))


@every_kind
def test_not_a_number_stays_in_its_channel(rng, kind):
    case = DENSE[0]
    x, w = (factors(rng, shape, kind) for shape in (case.x, case.w))
    w[..., 5] = np.nan
    y, mean, variance = run(kind, case, x, w)
    bad = np.isnan(y).all((0, 1, 2))
    assert bad[5]
    assert bad.sum() == 1
    assert_same_bits(np.isnan(mean), bad)
    assert_same_bits(np.isnan(variance), bad)


@every_kind
@pytest.mark.parametrize("case", [TILES[11], TILES[13]], ids=str)
def test_groups_of_few_channels_are_as_in_batch_norm(rng, case, kind):
    x, w = (factors(rng, shape, kind) for shape in (case.x, case.w))
    y, mean, variance = run(kind, case, x, w)
    ones = to_cuda(np.ones(case.o, np.float32))
    _, *expected = ops.batch_norm(to_gpu(y, kind), ones, ones)
    assert_same_bits((mean, variance), tuple(t.numpy() for t in expected))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", [TILES[0], TILES[9], TILES[11], DENSE[2]], ids=str)
def test_without_tensor_cores_it_is_the_cpus(rng, case, dtype):
    x, w, bias = (rng.normal(size=shape).astype(dtype) for shape in (case.x, case.w, case.o))

    def run(x, w, bias):
        return ops.conv2d_statistics(x, w, bias, **case.params)

    assert_same_as_cpu(run, x, w, bias)
    y, *statistics = run(x, w, bias)
    ones = np.ones(case.o, dtype)
    assert_same_bits((y, *statistics), (y, *ops.batch_norm(y, ones, ones)[1:]))


@every_kind
def test_nothing_to_compute(kind):
    w = to_gpu(np.ones((3, 2, 4, 8), np.float32), kind)
    x = to_gpu(np.ones((0, 5, 6, 4), np.float32), kind)
    y, mean, variance = ops.conv2d_statistics(x, w, **options(kind))
    assert y.shape == (0, 3, 5, 8)
    zeros = np.zeros(8, np.float32)
    assert_same_bits((mean.numpy(), variance.numpy()), (zeros, zeros))
    x = to_gpu(np.ones((1, 5, 6, 4), np.float32), kind)
    none = ops.conv2d_statistics(
        x, to_gpu(np.ones((3, 2, 4, 0), np.float32), kind), **options(kind)
    )
    assert [t.shape for t in none] == [(1, 3, 5, 0), (0,), (0,)]


@every_kind
def test_refusals(kind):
    x, w = (to_gpu(np.ones(shape, np.float32), kind) for shape in ((1, 5, 6, 4), (3, 2, 4, 8)))
    with pytest.raises(ValueError, match=r"\[conv2d_statistics\] algorithm \"direct\" has no"):
        ops.conv2d_statistics(x, w, algorithm="direct", **options(kind))
    with pytest.raises(ValueError, match=r"\[conv2d_statistics\] weight has 4 input channels"):
        ops.conv2d_statistics(x, w, groups=2, **options(kind))
    with pytest.raises(ValueError, match=r"\[conv2d_statistics\] bias"):
        ops.conv2d_statistics(x, w, to_cuda(np.ones(7, np.float32)), **options(kind))
