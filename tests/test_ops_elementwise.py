"""Maps over elements, and what moves elements, against the float64 reference."""

from __future__ import annotations

import numpy as np
import pytest

import reference
from comparators import (
    assert_exact,
    assert_gradient,
    assert_same_bits,
    assert_within,
    relative_bound,
)
from sixloop import ops

DTYPES = ("float32", "float64")
# Every remainder of a vector loop, and what several threads share.
LENGTHS = [*range(70), 1000, 40_000]

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_activation = pytest.mark.parametrize("name", reference.ACTIVATIONS)

_with_alpha = {"leaky_relu": (0.01, 0.2, 0.0), "elu": (1.0, 0.5, 2.0)}


def _arguments(rng, dtype) -> np.ndarray:
    """Arguments of all sizes: near zero, moderate, far into both tails."""
    exponents = rng.uniform(-12, 2.5, 3000)
    signs = rng.choice([-1.0, 1.0], 3000)
    dense = np.linspace(-30, 30, 4001)
    return np.concatenate([signs * 10**exponents, dense, [0.0, 1.0, -1.0]]).astype(dtype)


def _conditioned_bound(dtype, x, y, slope, ulps):
    """Some ulps of the value and of what a rounding of the argument makes of it.

    The reference's x * Phi(x) multiplies a Phi that may have underflowed.
    """
    eps, tiny = np.finfo(dtype).eps, np.finfo(dtype).tiny
    subnormal = tiny * eps * np.clip(np.abs(x), 1, 40)
    return ulps * (eps * (np.abs(y) + np.abs(x * slope)) + subnormal)


@every_dtype
@every_activation
def test_activation_is_accurate_everywhere(rng, name, dtype):
    x = _arguments(rng, dtype)
    expected = getattr(reference, name)(x)
    slope = getattr(reference, f"{name}_grad")(np.ones_like(x), x)
    bound = _conditioned_bound(dtype, x.astype(np.float64), expected, slope, 4)
    assert_within(getattr(ops, name)(x), expected, bound, dtype)


@every_dtype
@every_activation
def test_activation_gradient_is_accurate_everywhere(rng, name, dtype):
    x = _arguments(rng, dtype)
    dy = rng.normal(size=x.shape).astype(dtype)
    expected = getattr(reference, f"{name}_grad")(dy, x)
    wide = x.astype(np.float64)
    # The slope's own sensitivity to x: exp(-x^2) and the bell of gelu fall ever faster.
    power = 2 if name in ("gelu", "gaussian") else 1
    bound = 4 * (np.finfo(dtype).eps * np.abs(expected) * (1 + np.abs(wide) ** power))
    if name == "gelu":  # Phi(x) and x phi(x) cancel around its zero near -0.75
        bound = bound + 8 * np.finfo(dtype).eps * np.abs(dy) * np.minimum(1, np.exp(-wide))
    # The reference multiplies by x what may have underflowed.
    bound = bound + 4 * np.finfo(dtype).smallest_subnormal * np.clip(np.abs(wide), 1, 40)
    assert_within(getattr(ops, f"{name}_grad")(dy, x), expected, bound, dtype)


@every_dtype
@every_activation
def test_every_length(rng, name, dtype):
    forward, gradient = getattr(ops, name), getattr(ops, f"{name}_grad")
    x = rng.normal(size=max(LENGTHS)).astype(dtype)
    dy = rng.normal(size=max(LENGTHS)).astype(dtype)
    y, dx = forward(x), gradient(dy, x)
    for n in LENGTHS:
        assert_same_bits(forward(x[:n]), y[:n], f"{n}: ")
        assert_same_bits(gradient(dy[:n], x[:n]), dx[:n], f"{n}: ")


@every_dtype
@every_activation
def test_activation_by_name_and_shape(rng, name, dtype):
    x = rng.normal(size=(2, 3, 5, 7)).astype(dtype)
    y = getattr(ops, name)(x)
    assert y.shape == x.shape
    assert_same_bits(ops.activation(x, name), y)
    assert_same_bits(y.ravel(), getattr(ops, name)(x.ravel()))


@every_dtype
@every_activation
def test_activation_of_special_values(name, dtype):
    limits = {  # at -infinity, -0.0, 0.0, infinity
        "relu": (0, 0, 0, np.inf),
        "sigmoid": (0, 0.5, 0.5, 1),
        "tanh": (-1, 0, 0, 1),
        "leaky_relu": (-np.inf, 0, 0, np.inf),
        "elu": (-1, 0, 0, np.inf),
        "gelu": (0, 0, 0, np.inf),
        "softplus": (0, np.log(2), np.log(2), np.inf),
        "step": (0, 0, 0, 1),
        "ramp": (0, 0, 0, 1),
        "gaussian": (0, 1, 1, 0),
    }[name]
    x = np.array([-np.inf, -0.0, 0.0, np.inf], dtype)
    for repeat in (1, 5, 16):
        actual = getattr(ops, name)(np.tile(x, repeat))
        expected = np.tile(np.array(limits, np.float64), repeat)
        assert_within(actual, expected, relative_bound(dtype, expected, 2), dtype)
    if name != "step":  # a NaN is not above zero; everywhere else it must stay visible
        assert np.isnan(getattr(ops, name)(np.full(19, np.nan, dtype))).all()
    largest = np.finfo(dtype).max
    extreme = np.array([-largest, largest, np.finfo(dtype).tiny, -np.finfo(dtype).tiny], dtype)
    assert np.isfinite(getattr(ops, name)(extreme)).all()
    ones = np.ones(4, dtype)
    assert np.isfinite(getattr(ops, f"{name}_grad")(ones, extreme)).all()


@every_dtype
def test_gradients_at_the_kinks(dtype):
    x = np.array([-0.0, 0.0, 1.0, -1.0, 2.0], dtype)
    dy = np.full(5, 2, dtype)
    for name in ("relu", "step", "ramp", "leaky_relu", "elu"):
        expected = getattr(reference, f"{name}_grad")(dy, x)
        bound = relative_bound(dtype, expected, 4)
        assert_within(getattr(ops, f"{name}_grad")(dy, x), expected, bound, dtype, name)
    assert_exact(ops.relu_grad(dy, x), [0, 0, 2, 0, 2], dtype)
    assert_exact(ops.step_grad(dy, x), [0, 0, 0, 0, 0], dtype)


@every_dtype
@pytest.mark.parametrize("name", list(_with_alpha))
def test_alpha(rng, name, dtype):
    x, dy = rng.normal(size=(2, 500)).astype(dtype)
    for alpha in _with_alpha[name]:
        expected = getattr(reference, name)(x, alpha)
        slope = getattr(reference, f"{name}_grad")(np.ones_like(x), x, alpha)
        bound = _conditioned_bound(dtype, x, expected, slope, 4)
        assert_within(getattr(ops, name)(x, alpha), expected, bound, dtype)
        assert_same_bits(getattr(ops, name)(x, alpha=alpha), getattr(ops, name)(x, alpha))
        expected = getattr(reference, f"{name}_grad")(dy, x, alpha)
        gradient = getattr(ops, f"{name}_grad")
        assert_within(gradient(dy, x, alpha), expected, relative_bound(dtype, expected, 8), dtype)
        assert_same_bits(gradient(dy, x, alpha=alpha), gradient(dy, x, alpha))


@every_dtype
@pytest.mark.parametrize("name", reference.FROM_OUTPUT)
def test_gradient_from_output(rng, name, dtype):
    x = rng.normal(size=2000).astype(dtype)
    dy = rng.normal(size=2000).astype(dtype)
    y = reference.activation(x, name).astype(dtype)
    expected = reference.activation_grad_from_output(dy, y, name)
    bound = 4 * np.finfo(dtype).eps * np.abs(dy)
    assert_within(ops.activation_grad_from_output(dy, y, name), expected, bound, dtype)


@every_dtype
@pytest.mark.parametrize("name", [None, *reference.FROM_OUTPUT])
def test_gradient_from_output_and_bias_in_one_pass(rng, name, dtype):
    for shape in [(1, 1), (5, 3), (2, 3, 4, 7), (40, 16), (3, 7, 6, 33), (3000, 10), (0, 4)]:
        y = reference.activation(rng.normal(size=shape), name).astype(dtype)
        dy = rng.normal(size=shape).astype(dtype)
        dz, db = ops.activation_bias_grad(dy, y, name)
        separate = ops.activation_grad_from_output(dy, y, name)
        assert_same_bits([dz, db], [separate, ops.bias_grad(separate)], f"{shape}: ")


@pytest.mark.parametrize("name", ["gelu", "gaussian"])
def test_gradient_from_output_where_it_is_ambiguous(name):
    dy = np.ones(3, np.float32)
    with pytest.raises(ValueError, match=name):
        ops.activation_grad_from_output(dy, dy, name)
    with pytest.raises(ValueError, match=name):
        ops.activation_bias_grad(dy, dy, name)


@every_activation
def test_activation_gradient_by_differences(name):
    x = np.array([[-2.3, -0.7, -0.2], [0.15, 0.6, 3.1]])  # away from the kinks
    dy = np.array([[1.0, -2.0, 0.5], [3.0, -1.0, 2.0]])
    gradient = getattr(ops, f"{name}_grad")(dy, x)
    assert_gradient(getattr(ops, name), x, dy, gradient)


# ------------------------------------------------------------------------------------ sums and bias


@every_dtype
def test_add(rng, dtype):
    for n in LENGTHS:
        a, b = rng.normal(size=(2, n)).astype(dtype)
        assert_same_bits(ops.add(a, b), a + b)  # IEEE addition has one right answer
    a, b = rng.normal(size=(2, 2, 3, 4, 5)).astype(dtype)
    assert_same_bits(ops.add(a, b), a + b)


@every_dtype
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (2, 3, 4, 7), (5, 16), (3, 2, 33), (200, 70)])
def test_bias(rng, shape, dtype):
    x, b = rng.normal(size=shape).astype(dtype), rng.normal(size=shape[-1]).astype(dtype)
    assert_same_bits(ops.bias_add(x, b), x + b)
    expected = reference.bias_grad(x)
    axes = tuple(range(len(shape) - 1))
    rows = x.size // shape[-1]
    bound = 2 * np.finfo(dtype).eps * min(rows, 64) * np.abs(x).sum(axis=axes)
    assert_within(ops.bias_grad(x), expected, bound, dtype)


@every_dtype
def test_bias_grad_of_many_rows_is_exact_on_integers(rng, dtype):
    for shape in [(5000, 3), (4, 37, 41, 17), (70_000, 1)]:
        dy = rng.integers(-3, 4, shape).astype(dtype)
        assert_exact(ops.bias_grad(dy), reference.bias_grad(dy), dtype)


@every_dtype
@every_activation
def test_fused_activations(rng, name, dtype):
    for shape in [(3, 1), (2, 3, 4, 7), (5, 64)]:
        a, b = rng.normal(size=(2, *shape)).astype(dtype)
        bias = rng.normal(size=shape[-1]).astype(dtype)
        assert_same_bits(ops.add(a, b, activation=name), ops.activation(a + b, name))
        assert_same_bits(ops.bias_add(a, bias, activation=name), ops.activation(a + bias, name))


@every_dtype
def test_scale(rng, dtype):
    for n in (0, 1, 7, 64, 1001):
        x = rng.normal(size=n).astype(dtype)
        for s in (2.0, -0.3, 0.0):
            assert_same_bits(ops.scale(x, s), x * np.dtype(dtype).type(s))


# ---------------------------------------------------------------------------------- moving elements


@every_dtype
def test_concat_and_split(rng, dtype):
    for axis in (-1, 0, 1, 2, 3, -2):
        shapes = [[2, 3, 4, 5] for _ in range(3)]
        for shape, size in zip(shapes, (3, 1, 6), strict=True):
            shape[axis] = size
        parts = [rng.normal(size=shape).astype(dtype) for shape in shapes]
        whole = ops.concat(parts, axis)
        assert_same_bits(whole, np.concatenate(parts, axis))
        again = ops.split(whole, (3, 1, 6), axis)
        assert_same_bits(list(again), parts)
        assert_same_bits(ops.concat(parts[:1], axis), parts[0])
        assert_same_bits(list(ops.split(parts[0], [3], axis)), parts[:1])


@every_dtype
def test_split_into_empty_parts(rng, dtype):
    x = rng.normal(size=(2, 3)).astype(dtype)
    assert_same_bits(list(ops.split(x, [0, 3, 0])), [x[:, :0], x, x[:, :0]])
    assert_same_bits(ops.concat([x[:, :0], x, x[:, :0]]), x)


@every_dtype
@pytest.mark.parametrize("padding", [0, 2, (1, 3), ((1, 0), (2, 3)), ((0, 0), (0, 5))], ids=str)
def test_zero_pad_and_crop(rng, padding, dtype):
    for shape in [(2, 3, 4, 5), (1, 1, 2, 1), (3, 4, 1, 33), (0, 2, 3, 4)]:
        x = rng.normal(size=shape).astype(dtype)
        padded = ops.zero_pad2d(x, padding)
        assert_exact(padded, reference.zero_pad2d(x, padding), dtype)
        assert_same_bits(ops.crop2d(padded, padding), x)


# ------------------------------------------------------------------------------------------ dropout


@every_dtype
def test_dropout(rng, dtype):
    x = rng.uniform(1, 2, (50, 7, 30)).astype(dtype)
    for rate in (0.0, 0.1, 0.5, 0.9):
        keyed = {"seed": 5, "purpose": 3, "step": 2}
        y = ops.dropout(x, rate, **keyed)
        kept = y != 0
        expected = x.astype(np.float64) / (1 - rate)
        bound = relative_bound(dtype, expected, 2)
        assert_within(y, np.where(kept, expected, 0), np.where(kept, bound, 0), dtype)
        # Five standard deviations of a binomial share.
        assert abs(kept.mean() - (1 - rate)) <= 5 * np.sqrt(rate * (1 - rate) / x.size)
        assert_same_bits(ops.dropout(x, rate, **keyed), y)
        gradient = ops.dropout_grad(x, rate, **keyed)
        assert_same_bits(gradient, y)  # the same mask and the same factor
        if rate > 0:
            for key in keyed:
                other = ops.dropout(x, rate, **{**keyed, key: 9}) != 0
                assert 0.05 < (other != kept).mean() < 0.95, key


@every_dtype
def test_dropout_is_the_references(rng, dtype):
    for shape in [(1,), (3, 5), (4, 16), (65,), (2, 3, 4, 7), (40_001,)]:
        x = rng.normal(size=shape).astype(dtype)
        for rate in (0.0, 0.25, 0.7, 1 - 2**-20):
            keyed = {"seed": 2**40 + 3, "purpose": 2**31, "step": 9}
            expected = reference.dropout(x, rate, **keyed)
            bound = relative_bound(dtype, expected, 2) * (expected != 0)
            assert_within(ops.dropout(x, rate, **keyed), expected, bound, dtype)


def test_dropout_masks_do_not_depend_on_the_dtype_or_shape(rng):
    x = np.ones((20, 30), np.float32)
    keyed = {"seed": 1, "purpose": 2, "step": 3}
    y = ops.dropout(x, 0.4, **keyed)
    other = ops.dropout(x.astype(np.float64).reshape(600), 0.4, **keyed)
    assert np.array_equal(y.ravel() != 0, other != 0)
    assert np.array_equal(ops.dropout(np.ones(77, np.float32), 0.4, **keyed), y.ravel()[:77])


def test_neighbouring_steps_are_independent():
    x = np.ones(40_000, np.float32)
    masks = [
        ops.dropout(x, 0.5, seed=seed, purpose=purpose, step=step) != 0
        for seed, purpose, step in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, 2)]
    ]
    for i, one in enumerate(masks):
        for other in masks[:i]:
            assert abs((one == other).mean() - 0.5) < 5 * 0.5 / np.sqrt(x.size)
        assert abs((one[1:] == one[:-1]).mean() - 0.5) < 5 * 0.5 / np.sqrt(x.size)


def test_empty_arrays():
    for dtype in DTYPES:
        x = np.zeros((0, 3), dtype)
        for name in reference.ACTIVATIONS:
            assert_exact(getattr(ops, name)(x), x, dtype)
            assert_exact(getattr(ops, f"{name}_grad")(x, x), x, dtype)
        assert_exact(ops.add(x, x), x, dtype)
        assert_exact(ops.bias_add(x, np.ones(3, dtype)), x, dtype)
        assert_exact(ops.bias_grad(x), np.zeros(3), dtype)
        assert_exact(ops.dropout(x, 0.5, seed=0, purpose=0, step=0), x, dtype)
