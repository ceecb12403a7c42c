"""Batch norm and local response norm against the float64 reference."""

from __future__ import annotations

import math

import numpy as np
import pytest

import reference
from comparators import assert_exact, assert_gradient, assert_same_bits, assert_within
from sixloop import ops

DTYPES = ("float32", "float64")
BATCH_SHAPES = [
    (2, 1),
    (5, 3),
    (64, 7),
    (3, 4, 9),
    (2, 3, 5, 16),
    (3, 7, 6, 17),
    (2, 9, 8, 33),
    (1, 2, 3, 130),
    (700, 5),
    (4, 40, 30, 6),
]

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_batch_shape = pytest.mark.parametrize("shape", BATCH_SHAPES, ids=str)


def _batch(rng, shape, dtype):
    channels = shape[-1]
    x = (1.5 * rng.normal(size=shape) + rng.normal(size=channels)).astype(dtype)
    gamma = rng.uniform(0.5, 2, channels).astype(dtype)
    beta = rng.normal(size=channels).astype(dtype)
    return x, gamma, beta


def _sum_bound(dtype, terms):
    """Rounding of a sum of so many terms relative to the sum of their magnitudes, times 2."""
    return 2 * np.finfo(dtype).eps * (terms + 4)


@every_dtype
@every_batch_shape
def test_batch_statistics(rng, shape, dtype):
    x, gamma, beta = _batch(rng, shape, dtype)
    y, mean, variance = ops.batch_norm(x, gamma, beta)
    expected, expected_mean, expected_variance = reference.batch_norm(x, gamma, beta)
    count = math.prod(shape[:-1])
    bound = _sum_bound(dtype, min(count, 64)) * np.abs(x).max()
    assert_within(mean, expected_mean, bound, dtype, "mean: ")
    bound *= 4 * np.abs(x).max()
    assert_within(variance, expected_variance, bound, dtype, "variance: ")
    # Relative errors of mean and variance as above; 1 / sqrt(variance + epsilon) magnifies them.
    scale = (1 / np.sqrt(expected_variance + 1e-5)).max()
    bound = bound * scale * (1 + np.abs(expected).max()) * 2 * (1 + scale)
    assert_within(y, expected, bound, dtype, "y: ")


@every_dtype
@every_batch_shape
def test_running_statistics(rng, shape, dtype):
    x, gamma, beta = _batch(rng, shape, dtype)
    mean = rng.normal(size=shape[-1]).astype(dtype)
    variance = rng.uniform(0.25, 4, shape[-1]).astype(dtype)
    for epsilon in (1e-5, 1e-3):
        y, same_mean, same_variance = ops.batch_norm(
            x, gamma, beta, mean, variance, epsilon=epsilon
        )
        assert_same_bits(same_mean, mean)
        assert_same_bits(same_variance, variance)
        expected, _, _ = reference.batch_norm(x, gamma, beta, mean, variance, epsilon=epsilon)
        # Terms gamma * x / std, gamma * mean / std and beta, about four roundings each.
        terms = 4 * (np.abs(x).max() + np.abs(mean).max()) + np.abs(beta).max()
        assert_within(y, expected, 8 * np.finfo(dtype).eps * terms, dtype)


@every_dtype
@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_fused_activation_is_the_separate_one(rng, name, dtype):
    for shape in [(3, 4, 5, 7), (2, 3, 2, 32), (40, 1)]:
        x, gamma, beta = _batch(rng, shape, dtype)
        plain, mean, variance = ops.batch_norm(x, gamma, beta)
        fused, _, _ = ops.batch_norm(x, gamma, beta, activation=name)
        assert_same_bits(fused, ops.activation(plain, name))
        fused, _, _ = ops.batch_norm(x, gamma, beta, mean, variance, activation=name)
        plain, _, _ = ops.batch_norm(x, gamma, beta, mean, variance)
        assert_same_bits(fused, ops.activation(plain, name))


@every_dtype
@every_batch_shape
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_grad(rng, shape, dtype, training):
    x, gamma, _ = _batch(rng, shape, dtype)
    dy = rng.normal(size=shape).astype(dtype)
    axes = tuple(range(len(shape) - 1))
    mean = x.mean(axis=axes, dtype=np.float64).astype(dtype)
    variance = x.var(axis=axes, dtype=np.float64).astype(dtype)
    arguments = (dy, x, gamma, mean, variance)
    dx, dgamma, dbeta = ops.batch_norm_grad(*arguments, training=training)
    expected = reference.batch_norm_grad(*arguments, training=training)
    inverse = 1 / np.sqrt(variance.astype(np.float64) + 1e-5)
    x_hat = np.abs(x - mean) * inverse
    count = math.prod(shape[:-1])
    unit = _sum_bound(dtype, min(count, 64))
    # x - mean cancels, which costs eps * |x| * inverse on top of x_hat's own rounding.
    x_hat_error = x_hat + np.abs(x).max() * inverse
    sums = (np.abs(dy) * x_hat_error).sum(axis=axes)
    assert_within(dgamma, expected[1], unit * sums, dtype, "dgamma: ")
    assert_within(dbeta, expected[2], unit * np.abs(dy).sum(axis=axes), dtype, "dbeta: ")
    parts = np.abs(dy) + np.abs(dy).mean(axis=axes) + x_hat_error * sums / count
    assert_within(dx, expected[0], unit * gamma * inverse * parts, dtype, "dx: ")


@every_dtype
@every_batch_shape
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_grad_through_a_relu(rng, shape, dtype, training):
    """The bits of the ReLU's gradient first and that of the normalisation after it."""
    x, gamma, beta = _batch(rng, shape, dtype)
    dy = rng.normal(size=shape).astype(dtype)
    given = () if training else (x.mean(axis=tuple(range(len(shape) - 1))), np.abs(gamma))
    y, mean, variance, affine = ops.batch_norm(
        x, gamma, beta, *given, activation="relu", return_affine=True
    )
    fused = ops.batch_norm_grad(dy, x, gamma, mean, variance, training=training, relu_affine=affine)
    dz = ops.activation_grad_from_output(dy, y, "relu")
    apart = ops.batch_norm_grad(dz, x, gamma, mean, variance, training=training)
    for one, other in zip(fused, apart, strict=True):
        assert_same_bits(one, other)
    with pytest.raises(ValueError, match=r"\[batch_norm_grad\] relu_affine must have shape"):
        ops.batch_norm_grad(dy, x, gamma, mean, variance, relu_affine=affine[:1])


@every_dtype
@every_batch_shape
@pytest.mark.parametrize("training", [True, False])
def test_residual(rng, shape, dtype, training):
    """The bits of a normalisation and an addition after it, and those of their gradients."""
    x, gamma, beta = _batch(rng, shape, dtype)
    residual, dy = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    given = () if training else (x.mean(axis=tuple(range(len(shape) - 1))), np.abs(gamma))
    plain, mean, variance, affine = ops.batch_norm(x, gamma, beta, *given, return_affine=True)
    for name in (None, *reference.ACTIVATIONS):
        y, *others = ops.batch_norm(
            x, gamma, beta, *given, activation=name, residual=residual, return_affine=True
        )
        assert_same_bits(y, ops.add(plain, residual, activation=name), f"{name}: ")
        assert_same_bits(tuple(others), (mean, variance, affine), f"{name}: ")

    y = ops.batch_norm(x, gamma, beta, *given, activation="relu", residual=residual)[0]
    statistics = (gamma, mean, variance)
    *fused, dresidual = ops.batch_norm_grad(dy, x, *statistics, training=training, relu_output=y)
    dz = ops.activation_grad_from_output(dy, y, "relu")
    assert_same_bits(dresidual, dz, "dresidual: ")
    apart = ops.batch_norm_grad(dz, x, *statistics, training=training)
    assert_same_bits(tuple(fused), apart)


@every_dtype
@every_batch_shape
def test_residual_against_the_definition(rng, shape, dtype):
    x, gamma, beta = _batch(rng, shape, dtype)
    residual, dy = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    mean = rng.normal(size=shape[-1]).astype(dtype)
    variance = rng.uniform(0.25, 4, shape[-1]).astype(dtype)
    arguments = (x, gamma, beta, mean, variance)
    y, _, _ = ops.batch_norm(*arguments, activation="relu", residual=residual)
    expected, _, _ = reference.batch_norm(*arguments, activation="relu", residual=residual)
    eps = np.finfo(dtype).eps
    # Terms gamma * x / std, gamma * mean / std, beta and the residual, about four roundings each.
    terms = 4 * (np.abs(x).max() + np.abs(mean).max()) + np.abs(beta).max() + np.abs(residual).max()
    assert_within(y, expected, 8 * eps * terms, dtype)

    _, dgamma, dbeta, dresidual = ops.batch_norm_grad(
        dy, x, gamma, mean, variance, relu_output=y, training=False
    )
    dz = np.where(y > 0, dy, 0)
    assert_exact(dresidual, dz, dtype)
    _, expected_dgamma, expected_dbeta = reference.batch_norm_grad(
        dz, x, gamma, mean, variance, training=False
    )
    axes = tuple(range(len(shape) - 1))
    unit = _sum_bound(dtype, min(math.prod(shape[:-1]), 64))
    assert_within(dbeta, expected_dbeta, unit * np.abs(dz).sum(axis=axes), dtype, "dbeta: ")
    inverse = 1 / np.sqrt(variance.astype(np.float64) + 1e-5)
    sums = (np.abs(dz) * (np.abs(x - mean) + np.abs(x).max())).sum(axis=axes) * inverse
    assert_within(dgamma, expected_dgamma, unit * sums, dtype, "dgamma: ")


@pytest.mark.parametrize("shape", [(3, 2, 2, 3), (6, 2)], ids=str)
def test_residual_gradients_by_differences(rng, shape):
    x, gamma, beta = _batch(rng, shape, "float64")
    residual, dy = (rng.normal(size=shape) for _ in range(2))

    def run(x, gamma, beta, residual):
        return ops.batch_norm(x, gamma, beta, activation="relu", residual=residual)

    y, mean, variance = run(x, gamma, beta, residual)
    # Differences of 1e-6 stay on one side of the ReLU's corner.
    assert np.abs(ops.batch_norm(x, gamma, beta, residual=residual)[0]).min() > 1e-3
    gradients = ops.batch_norm_grad(dy, x, gamma, mean, variance, relu_output=y)
    arrays = (x, gamma, beta, residual)
    for i, gradient in enumerate(gradients):
        assert_gradient(
            lambda a, i=i: run(*arrays[:i], a, *arrays[i + 1 :])[0], arrays[i], dy, gradient
        )


def test_residual_that_does_not_fit():
    x, ones = np.zeros((3, 5, 4), np.float32), np.ones(4, np.float32)
    for bad in (x[:2], x[..., :3], x.reshape(15, 4)):
        with pytest.raises(ValueError, match=r"\[batch_norm\] residual .*shape.*\(3, 5, 4\)"):
            ops.batch_norm(x, ones, ones, residual=bad)
        with pytest.raises(ValueError, match=r"\[batch_norm_grad\] relu_output .*\(3, 5, 4\)"):
            ops.batch_norm_grad(x, x, ones, ones, ones, relu_output=bad)
    with pytest.raises(TypeError, match=r"\[batch_norm\] residual .*float64.*float32"):
        ops.batch_norm(x, ones, ones, residual=x.astype("float64"))
    with pytest.raises(TypeError, match=r"\[batch_norm_grad\] relu_output .*float64.*float32"):
        ops.batch_norm_grad(x, x, ones, ones, ones, relu_output=x.astype("float64"))
    for bad in (1.0, "x", x.astype(np.int32)):
        with pytest.raises(TypeError, match=r"\[batch_norm\] residual"):
            ops.batch_norm(x, ones, ones, residual=bad)
    affine = np.ones((2, 4), np.float32)
    with pytest.raises(
        ValueError, match="relu_affine is of a ReLU without a residual, relu_output"
    ):
        ops.batch_norm_grad(x, x, ones, ones, ones, relu_affine=affine, relu_output=x)


@every_dtype
def test_a_large_mean_does_not_eat_the_variance(rng, dtype):
    """E[x^2] - E[x]^2 in one pass would lose every digit of these."""
    offset = 1000.0 if dtype == "float32" else 1e7
    x = (rng.normal(size=(5, 6, 7, 9)) + offset).astype(dtype)
    _, mean, variance = ops.batch_norm(x, np.ones(9, dtype), np.zeros(9, dtype))
    _, expected_mean, expected = reference.batch_norm(x, np.ones(9), np.zeros(9))
    eps = np.finfo(dtype).eps
    assert_within(mean, expected_mean, 8 * eps * offset, dtype)
    # An error d of the mean adds d^2 to the variance and about 2 d / sqrt(count) of its spread.
    assert_within(variance, expected, 64 * eps * (1 + offset) + (8 * eps * offset) ** 2, dtype)
    assert np.all(variance > 0)


@every_dtype
def test_constant_channels_stay_finite(dtype):
    x = np.full((4, 3, 5, 6), 3.0, dtype)
    y, mean, variance = ops.batch_norm(x, np.full(6, 2, dtype), np.full(6, 0.5, dtype))
    assert_exact(mean, np.full(6, 3.0), dtype)
    assert_exact(variance, np.zeros(6), dtype)
    assert_exact(y, np.full(x.shape, 0.5), dtype)


def test_nan_stays_in_its_channel():
    x = np.ones((3, 4, 5, 9), np.float32)
    x[1, 2, 3, 4] = np.nan
    y, mean, variance = ops.batch_norm(x, np.ones(9, np.float32), np.zeros(9, np.float32))
    channel = np.arange(9) == 4
    for result in (mean, variance, y[0, 0, 0]):
        assert np.array_equal(np.isnan(result), channel)


@pytest.mark.parametrize("shape", [(3, 2, 2, 3), (6, 2)], ids=str)
def test_batch_norm_gradients_by_differences(rng, shape):
    x, gamma, beta = _batch(rng, shape, "float64")
    dy = rng.normal(size=shape)
    _, mean, variance = ops.batch_norm(x, gamma, beta)
    dx, dgamma, dbeta = ops.batch_norm_grad(dy, x, gamma, mean, variance)
    assert_gradient(lambda x: ops.batch_norm(x, gamma, beta)[0], x, dy, dx)
    assert_gradient(lambda g: ops.batch_norm(x, g, beta)[0], gamma, dy, dgamma)
    assert_gradient(lambda b: ops.batch_norm(x, gamma, b)[0], beta, dy, dbeta)

    fixed = (mean + 0.25, variance * 2)
    dx, dgamma, dbeta = ops.batch_norm_grad(dy, x, gamma, *fixed, training=False)
    assert_gradient(lambda x: ops.batch_norm(x, gamma, beta, *fixed)[0], x, dy, dx)
    assert_gradient(lambda g: ops.batch_norm(x, g, beta, *fixed)[0], gamma, dy, dgamma)
    assert_gradient(lambda b: ops.batch_norm(x, gamma, b, *fixed)[0], beta, dy, dbeta)


def test_torch_agrees_on_batch_norm(rng):
    torch = pytest.importorskip("torch")
    for shape in [(5, 3), (3, 4, 5, 7)]:
        x, gamma, beta = _batch(rng, shape, "float64")
        dy = rng.normal(size=shape)
        tx, tg, tb = (torch.tensor(v, requires_grad=True) for v in (x, gamma, beta))
        moved = torch.movedim(tx, -1, 1)
        for training in (True, False):
            running = (rng.normal(size=shape[-1]), rng.uniform(0.5, 2, shape[-1]))
            # In training torch overwrites the running statistics that it is given.
            statistics = (None, None) if training else map(torch.tensor, running)
            ty = torch.nn.functional.batch_norm(moved, *statistics, tg, tb, training)
            given = () if training else running
            y, mean, variance = ops.batch_norm(x, gamma, beta, *given)
            torch_y = torch.movedim(ty, 1, -1)
            assert_within(y, torch_y.detach().numpy(), 1e-12, "float64")
            for t in (tx, tg, tb):
                t.grad = None
            torch_y.backward(torch.tensor(dy), retain_graph=True)
            grads = ops.batch_norm_grad(dy, x, gamma, mean, variance, training=training)
            for actual, t in zip(grads, (tx, tg, tb), strict=True):
                assert_within(actual, t.grad.numpy(), 1e-11, "float64")


def test_batch_norm_of_nothing():
    for dtype in DTYPES:
        x, ones = np.zeros((0, 4, 5, 3), dtype), np.ones(3, dtype)
        y, _, _ = ops.batch_norm(x, ones, ones, ones, ones)
        assert_exact(y, x, dtype)
        y, mean, variance = ops.batch_norm(x, ones, ones)
        assert_exact(y, x, dtype)
        assert_exact(mean, np.zeros(3), dtype)
        assert_exact(variance, np.zeros(3), dtype)
        assert_exact(ops.batch_norm(x, ones, ones, residual=x)[0], x, dtype)
        *_, dresidual = ops.batch_norm_grad(x, x, ones, ones, ones, relu_output=x)
        assert_exact(dresidual, x, dtype)
        dx, dgamma, dbeta = ops.batch_norm_grad(x, x, ones, ones, ones, training=False)
        assert_exact(dx, x, dtype)
        assert_exact(dgamma, np.zeros(3), dtype)
        assert_exact(dbeta, np.zeros(3), dtype)


# ------------------------------------------------------------------------------ local response norm

LRN_SHAPES = [(1, 1), (2, 3), (2, 5, 4), (2, 3, 4, 7), (1, 3, 2, 16), (2, 2, 3, 33), (1, 4, 3, 96)]
LRN_PARAMETERS = [
    (5, 1e-4, 0.75, 2.0),
    (1, 0.5, 0.75, 1.0),
    (2, 0.3, 0.5, 1.5),
    (3, 0.2, 1.0, 2.0),
    (4, 1.0, 0.75, 1.0),
    (64, 0.01, 0.6, 2.0),
]


@every_dtype
@pytest.mark.parametrize("size, alpha, beta, k", LRN_PARAMETERS)
def test_local_response_norm(rng, size, alpha, beta, k, dtype):
    for shape in LRN_SHAPES:
        x = (3 * rng.normal(size=shape)).astype(dtype)
        dy = rng.normal(size=shape).astype(dtype)
        parameters = (size, alpha, beta, k)
        terms = min(size, shape[-1])
        # A relative error of the sum passes into the power times beta; log and exp add a few ulps
        # of beta * log(s).
        largest = k + alpha * terms * float(np.max(np.asarray(x, np.float64) ** 2))
        unit = np.finfo(dtype).eps * (beta * (terms + 4) + 4 * beta * abs(math.log(largest)) + 8)
        expected = reference.local_response_norm(x, *parameters)
        actual = ops.local_response_norm(x, *parameters)
        assert_within(actual, expected, unit * np.abs(expected), dtype)
        expected = reference.local_response_norm_grad(dy, x, *parameters)
        parts = np.abs(dy).max() * (1 + 2 * alpha * beta * terms * float(np.abs(x).max()) ** 2)
        bound = unit * (terms + 2) * parts / k**beta
        assert_within(
            ops.local_response_norm_grad(dy, x, *parameters), expected, bound, dtype, f"{shape}: "
        )


def test_local_response_norm_defaults_are_the_papers(rng):
    x, dy = rng.normal(size=(2, 3, 2, 9)), rng.normal(size=(2, 3, 2, 9))
    paper = (5, 1e-4, 0.75, 2.0)
    assert_same_bits(ops.local_response_norm(x), ops.local_response_norm(x, *paper))
    named = dict(zip(("size", "alpha", "beta", "k"), paper, strict=True))
    assert_same_bits(ops.local_response_norm(x, **named), ops.local_response_norm(x))
    assert_same_bits(
        ops.local_response_norm_grad(dy, x, **named), ops.local_response_norm_grad(dy, x, *paper)
    )


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
def test_local_response_norm_gradient_by_differences(rng, size):
    x, dy = rng.normal(size=(2, 1, 3, 7)), rng.normal(size=(2, 1, 3, 7))
    parameters = (size, 0.3, 0.75, 1.0)
    dx = ops.local_response_norm_grad(dy, x, *parameters)
    assert_gradient(lambda x: ops.local_response_norm(x, *parameters), x, dy, dx)


@pytest.mark.parametrize("size", [3, 5])
def test_torch_agrees_on_local_response_norm(rng, size):
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(2, 3, 4, 8))
    # Torch divides alpha by the size.
    norm = torch.nn.functional.local_response_norm
    expected = norm(torch.tensor(x).permute(0, 3, 1, 2), size, alpha=0.3 * size, beta=0.75, k=1.5)
    actual = ops.local_response_norm(x, size, 0.3, 0.75, 1.5)
    assert_within(actual, expected.permute(0, 2, 3, 1).numpy(), 1e-14, "float64")


def test_local_response_norm_of_nothing():
    for dtype in DTYPES:
        x = np.zeros((0, 3, 2, 5), dtype)
        assert_exact(ops.local_response_norm(x), x, dtype)
        assert_exact(ops.local_response_norm_grad(x, x, 5, 1e-4, 0.75, 2.0), x, dtype)
