"""Batch and local response normalisation on the GPU against the CPU, bit for bit."""

import numpy as np
import pytest

import sixloop
from comparators import assert_same_bits
from on_cuda import DTYPES, Unaligned, assert_same_as_cpu, to_cuda, values
from sixloop import ops

every_dtype = pytest.mark.parametrize("dtype", DTYPES)

SHAPES = [
    (1, 1),
    (5, 3),  # rows left over, no folded one
    (64, 1),
    (70, 6),
    (3, 5, 7, 10),
    (9, 64),
    (257, 64),  # a second block of rows
    (4, 130, 8),
    (300, 67),
    (600, 33),
    (5, 300),
    (17500, 1),
]
ACTIVATIONS = [None, "relu", "sigmoid", "tanh", "leaky_relu", "elu", "gelu", "softplus", "step"]
ACTIVATIONS += ["ramp", "gaussian"]


def batch(rng, shape, dtype, special=False):
    """x with a mean that is large beside its deviation, gamma, beta."""
    x = (rng.normal(size=shape) + 50).astype(dtype)
    if special:
        x = values(rng, shape, dtype)
    return x, rng.normal(size=shape[-1]).astype(dtype), rng.normal(size=shape[-1]).astype(dtype)


def check_gradients(rng, x, gamma, mean, variance, affine, dtype):
    dy = values(rng, x.shape, dtype)
    dy[~np.isfinite(dy)] = 2
    for training in (True, False):
        assert_same_as_cpu(
            lambda *a, t=training: ops.batch_norm_grad(*a, training=t), dy, x, gamma, mean, variance
        )
        assert_same_as_cpu(
            lambda *a, t=training: ops.batch_norm_grad(*a[:5], training=t, relu_affine=a[5]),
            *(dy, x, gamma, mean, variance, affine),
        )


@every_dtype
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm(rng, shape, dtype):
    x, gamma, beta = batch(rng, shape, dtype)
    assert_same_as_cpu(ops.batch_norm, x, gamma, beta)
    assert_same_as_cpu(
        lambda *a: ops.batch_norm(*a, activation="relu", return_affine=True), x, gamma, beta
    )
    _, mean, variance, affine = ops.batch_norm(
        x, gamma, beta, activation="relu", return_affine=True
    )
    assert_same_as_cpu(
        lambda *a: ops.batch_norm(*a, return_affine=True), x, gamma, beta, mean, variance
    )
    check_gradients(rng, x, gamma, mean, variance, affine, dtype)


@every_dtype
@pytest.mark.parametrize("shape", SHAPES)
def test_residual(rng, shape, dtype):
    x, gamma, beta = batch(rng, shape, dtype)
    residual, dy = (values(rng, shape, dtype) for _ in range(2))
    dy[~np.isfinite(dy)] = 2
    for activation in (None, "relu", "gelu"):
        assert_same_as_cpu(
            lambda *a, name=activation: ops.batch_norm(*a[:3], residual=a[3], activation=name),
            *(x, gamma, beta, residual),
        )
    y, mean, variance = ops.batch_norm(x, gamma, beta, residual=residual, activation="relu")
    assert_same_as_cpu(
        lambda *a: ops.batch_norm(*a[:5], residual=a[5], activation="relu"),
        *(x, gamma, beta, mean, variance, residual),
    )
    for training in (True, False):
        assert_same_as_cpu(
            lambda *a, t=training: ops.batch_norm_grad(*a[:5], training=t, relu_output=a[5]),
            *(dy, x, gamma, mean, variance, y),
        )


def test_unaligned_residual(rng):
    x, gamma, beta = batch(rng, (7, 8), "float32")
    residual = rng.normal(size=x.shape).astype("float32")
    on_cuda = [to_cuda(a) for a in (x, gamma, beta)]
    got = ops.batch_norm(*on_cuda, residual=sixloop.Tensor(Unaligned(residual)))[0]
    assert_same_bits(got.numpy(), ops.batch_norm(x, gamma, beta, residual=residual)[0])


@every_dtype
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(rng, activation, dtype):
    for shape in ((11, 8), (7, 5)):
        x, gamma, beta = batch(rng, shape, dtype, special=True)
        x[~np.isfinite(x)] = 3
        assert_same_as_cpu(lambda *a: ops.batch_norm(*a, activation=activation), x, gamma, beta)
        assert_same_as_cpu(
            lambda *a: ops.batch_norm(*a, activation=activation),
            *(x, gamma, beta, gamma, np.abs(beta)),
        )


@every_dtype
@pytest.mark.parametrize("shape", [(300, 67), (5000, 3)])
def test_mean_beyond_the_digits(rng, shape, dtype):
    """The mean of a block is rounded so far that the correction counts, in all of its digits."""
    x, gamma, beta = batch(rng, shape, dtype)
    x += 1e9 if dtype == "float32" else 1e17
    x += (rng.normal(size=shape) * 20).astype(dtype)
    assert_same_as_cpu(ops.batch_norm, x, gamma, beta)


@every_dtype
def test_special_values(rng, dtype):
    for shape in ((300, 8), (40, 5)):
        x, gamma, beta = batch(rng, shape, dtype, special=True)
        assert_same_as_cpu(ops.batch_norm, x, gamma, beta)
        variance = np.abs(gamma)
        assert_same_as_cpu(ops.batch_norm, x, gamma, beta, beta, variance)
        dy = values(rng, shape, dtype)
        affine = np.stack([gamma, beta])
        assert_same_as_cpu(ops.batch_norm_grad, dy, x, gamma, beta, variance)
        assert_same_as_cpu(
            lambda *a: ops.batch_norm_grad(*a[:5], relu_affine=a[5]),
            *(dy, x, gamma, beta, variance, affine),
        )
    constant = np.full((70, 3), 0.1, dtype)
    assert_same_as_cpu(
        lambda *a: ops.batch_norm(*a, epsilon=0), constant, gamma[:3], beta[:3]
    )  # 0 / 0


@every_dtype
def test_empty(dtype):
    for shape in ((0, 3), (4, 0)):
        x, vector = np.zeros(shape, dtype), np.ones(shape[-1], dtype)
        assert_same_as_cpu(lambda *a: ops.batch_norm(*a, return_affine=True), x, vector, vector)
        assert_same_as_cpu(ops.batch_norm_grad, x, x, vector, vector, vector)
        assert_same_as_cpu(
            lambda *a: ops.batch_norm_grad(*a, relu_output=a[0]), x, x, vector, vector, vector
        )
        assert_same_as_cpu(ops.local_response_norm, x)
        assert_same_as_cpu(ops.local_response_norm_grad, x, x)


def test_given_statistics_come_back():
    x, vector = to_cuda(np.ones((3, 4), "float32")), to_cuda(np.ones(4, "float32"))
    _, mean, variance = ops.batch_norm(x, vector, vector, vector, vector)
    assert mean is vector
    assert variance is vector


@every_dtype
@pytest.mark.parametrize("size", [1, 2, 5, 40])
@pytest.mark.parametrize("beta", [0.75, 0.5, -1.25, 0.0])
def test_local_response_norm(rng, size, beta, dtype):
    options = {"size": size, "alpha": 0.02, "beta": beta, "k": 1.5}
    for shape in ((1, 1), (3, 2, 7), (5, 16), (40, 33)):
        for special in (False, True):
            x = rng.normal(size=shape).astype(dtype)
            dy = values(rng, shape, dtype)
            if special:
                x = values(rng, shape, dtype)
            assert_same_as_cpu(lambda x: ops.local_response_norm(x, **options), x)
            assert_same_as_cpu(lambda dy, x: ops.local_response_norm_grad(dy, x, **options), dy, x)


def test_bad_input():
    x, vector = np.zeros((3, 4), "float32"), np.zeros(4, "float32")
    with pytest.raises(ValueError, match=r"\[batch_norm\] all arrays.*gamma on cpu"):
        ops.batch_norm(to_cuda(x), vector, vector)
    with pytest.raises(ValueError, match=r"\[batch_norm\] all arrays.*mean on cpu"):
        ops.batch_norm(*map(to_cuda, (x, vector, vector)), vector, vector)
    with pytest.raises(ValueError, match=r"\[batch_norm_grad\] all arrays.*relu_affine on cpu"):
        ops.batch_norm_grad(
            *map(to_cuda, (x, x, vector, vector, vector)), relu_affine=np.zeros((2, 4), "float32")
        )
    with pytest.raises(ValueError, match=r"\[local_response_norm_grad\] all arrays.*x on cpu"):
        ops.local_response_norm_grad(to_cuda(x), x)
    with pytest.raises(ValueError, match=r"\[batch_norm\] all arrays.*residual on cpu"):
        ops.batch_norm(*map(to_cuda, (x, vector, vector)), residual=x)
    with pytest.raises(ValueError, match=r"\[batch_norm_grad\] all arrays.*relu_output on cpu"):
        ops.batch_norm_grad(*map(to_cuda, (x, x, vector, vector, vector)), relu_output=x)
    with pytest.raises(ValueError, match="mean and variance must be given both"):
        ops.batch_norm(*map(to_cuda, (x, vector, vector, vector)))
    with pytest.raises(ValueError, match="epsilon must be finite"):
        ops.batch_norm(*map(to_cuda, (x, vector, vector)), epsilon=-1)
