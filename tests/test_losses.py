"""Losses: against NumPy float64 always and torch where it is there, and what they refuse."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sixloop import Tensor, losses

STEPS = 10
RATE = 0.5


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def cross_entropy(z: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    top = z.max(-1, keepdims=True)
    log_sum = top[:, 0] + np.log(np.exp(z - top).sum(-1))
    one_hot = np.eye(z.shape[1])[y]
    return float((log_sum - (z * one_hot).sum(-1)).mean()), (softmax(z) - one_hot) / len(z)


def binary_cross_entropy(z: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    loss = np.logaddexp(0, z) - z * y
    return float(loss.mean()), (1 / (1 + np.exp(-z)) - y) / z.size


def mean_squared_error(z: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    return float(((z - y) ** 2).mean()), 2 * (z - y) / z.size


def weston_watkins_hinge(z: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    loss, gradient = 0.0, np.zeros_like(z)
    for i, label in enumerate(y):
        for j in range(z.shape[1]):
            excess = z[i, j] - z[i, label] + 1
            if j != label and excess > 0:
                loss += excess
                gradient[i, j] += 1
                gradient[i, label] -= 1
    return loss / len(y), gradient / len(y)


def torch_loss(name: str) -> Callable[[Any, Any], Any]:
    functional = pytest.importorskip("torch").nn.functional
    return {
        "cross_entropy": functional.cross_entropy,
        "binary_cross_entropy": functional.binary_cross_entropy_with_logits,
        "mean_squared_error": functional.mse_loss,
        # torch divides by the number of classes.
        "weston_watkins_hinge": lambda z, y: functional.multi_margin_loss(z, y) * z.shape[1],
    }[name]


REFERENCES = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "mean_squared_error": mean_squared_error,
    "weston_watkins_hinge": weston_watkins_hinge,
}
CLASSIFIES = ("cross_entropy", "weston_watkins_hinge")


def case(name: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    output = rng.normal(scale=2, size=(13, 7)).astype(dtype)
    if name in CLASSIFIES:
        return output, rng.integers(0, 7, 13)
    if name == "binary_cross_entropy":
        return output, rng.integers(0, 2, (13, 7)).astype(dtype)
    return output, rng.normal(size=(13, 7)).astype(dtype)


def tolerance(dtype: str) -> float:
    """A bound in place of a guess: ten steps, each of some ten roundings of numbers below 10."""
    return STEPS * 10 * 10 * float(np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", REFERENCES)
def test_ten_steps_of_descent_as_in_numpy(name: str, dtype: str) -> None:
    output, target = case(name, dtype)
    loss, expected = losses.get(name), output.astype(np.float64)
    for _ in range(STEPS):
        value, gradient = loss(output, target)
        wanted, slope = REFERENCES[name](expected, target)
        assert isinstance(value, float)
        assert gradient.dtype == output.dtype
        assert value == pytest.approx(wanted, abs=tolerance(dtype))
        np.testing.assert_allclose(gradient, slope, rtol=0, atol=tolerance(dtype))
        output = output - output.dtype.type(RATE) * gradient
        expected = expected - RATE * slope


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", REFERENCES)
def test_ten_steps_of_descent_as_in_torch(name: str, dtype: str) -> None:
    torch, peer = pytest.importorskip("torch"), torch_loss(name)
    output, target = case(name, dtype)
    loss, expected = losses.get(name), torch.tensor(output, requires_grad=True)
    for _ in range(STEPS):
        value, gradient = loss(output, target)
        wanted = peer(expected, torch.tensor(target))
        (slope,) = torch.autograd.grad(wanted, expected)
        assert value == pytest.approx(wanted.item(), abs=tolerance(dtype))
        np.testing.assert_allclose(gradient, slope.numpy(), rtol=0, atol=tolerance(dtype))
        output = output - output.dtype.type(RATE) * gradient
        expected = (expected - RATE * slope).detach().requires_grad_()


@pytest.mark.parametrize("name", REFERENCES)
def test_gradient_is_the_slope_of_the_loss(name: str) -> None:
    output, target = case(name, "float64")
    loss, h = losses.get(name), 1e-5
    gradient = loss(output, target)[1]
    for index in [(0, 0), (4, 6), (12, 3)]:
        up, down = output.copy(), output.copy()
        up[index] += h
        down[index] -= h
        slope = (loss(up, target)[0] - loss(down, target)[0]) / (2 * h)
        # Central differences: h^2/6 of the third derivative, and 2^-52 * loss / h of rounding.
        assert gradient[index] == pytest.approx(slope, abs=1e-9)


@pytest.mark.parametrize("name", REFERENCES)
def test_tensors_give_what_arrays_give(name: str) -> None:
    output, target = case(name, "float32")
    value, gradient = losses.get(name)(output, target)
    value_of_tensor, gradient_of_tensor = losses.get(name)(Tensor(output), target)
    assert value == value_of_tensor
    np.testing.assert_array_equal(gradient, np.asarray(gradient_of_tensor))


@pytest.mark.parametrize("name", REFERENCES)
def test_a_batch_without_samples_has_no_loss(name: str) -> None:
    output, target = case(name, "float32")
    value, gradient = losses.get(name)(output[:0], target[:0])
    assert value == 0
    assert gradient.shape == (0, 7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_logits_stay_exact(dtype: str) -> None:
    z = np.array([[1e4, -1e4], [1e4, -1e4]], dtype)
    value, gradient = losses.CrossEntropy()(z, np.array([0, 1]))
    assert value == 1e4  # (0 + 20,000) / 2
    np.testing.assert_array_equal(gradient, np.array([[0, 0], [0.5, -0.5]], dtype))

    value, gradient = losses.BinaryCrossEntropy()(z, np.array([[1, 0], [0, 1]]))
    assert value == 5e3  # (0 + 0 + 10,000 + 10,000) / 4
    np.testing.assert_array_equal(gradient, np.array([[0, 0], [0.25, -0.25]], dtype))


def test_small_losses_keep_their_digits() -> None:
    # Through probabilities this would be -log(1) = 0.
    z = np.array([[40.0, 0.0]])
    assert losses.CrossEntropy()(z, np.array([0]))[0] == pytest.approx(math.exp(-40), rel=1e-12)
    assert losses.BinaryCrossEntropy()(z[:, :1], np.array([[1]]))[0] == pytest.approx(
        math.exp(-40), rel=1e-12
    )


@pytest.mark.parametrize("name", CLASSIFIES)
def test_every_position_of_a_map_is_a_sample(name: str) -> None:
    rng = np.random.default_rng(5)
    output, target = rng.normal(size=(2, 3, 5, 4)), rng.integers(0, 4, (2, 3, 5))
    value, gradient = losses.get(name)(output, target)
    flat, flat_gradient = losses.get(name)(output.reshape(-1, 4), target.reshape(-1))
    assert value == flat
    np.testing.assert_array_equal(gradient, flat_gradient.reshape(output.shape))


@pytest.mark.parametrize("name", ["binary_cross_entropy", "mean_squared_error"])
def test_targets_may_lack_a_last_axis_of_one(name: str) -> None:
    output, target = np.array([[0.5], [2.0], [-1.0]]), np.array([0, 1, 1])
    value, gradient = losses.get(name)(output, target)
    assert value == losses.get(name)(output, target[:, None])[0]
    assert gradient.shape == (3, 1)


def test_hinge_is_zero_where_the_margin_is_just_kept() -> None:
    value, gradient = losses.WestonWatkinsHinge()(np.array([[3.0, 2.0, 1.0]]), np.array([0]))
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros((1, 3)))
    value, _ = losses.WestonWatkinsHinge(margin=1.5)(np.array([[3.0, 2.0, 1.0]]), np.array([0]))
    assert value == 0.5


@pytest.mark.parametrize("name", REFERENCES)
def test_nan_shows_in_the_loss(name: str) -> None:
    output, target = case(name, "float32")
    output[2, 3] = np.nan
    assert math.isnan(losses.get(name)(output, target)[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_labels_of_any_integer_type(dtype: type) -> None:
    output, target = case("cross_entropy", "float32")
    for name in CLASSIFIES:
        assert (
            losses.get(name)(output, target.astype(dtype))[0] == losses.get(name)(output, target)[0]
        )


@pytest.mark.parametrize("name", CLASSIFIES)
@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (np.array([0.0, 1.0]), TypeError, "expected integers; got dtype float64"),
        (np.array([True, False]), TypeError, "expected integers; got dtype bool"),
        (np.array(["a", "b"]), TypeError, "expected integers"),
        (None, TypeError, "expected integers; got dtype object"),
        (np.array([0, 3]), ValueError, "got 0 to 3 with 3 classes"),
        (np.array([-1, 2]), ValueError, "got -1 to 2 with 3 classes"),
        (np.array([0, 1, 2]), ValueError, r"got output \(2, 3\), target \(3,\)"),
        (
            np.array([[0, 1, 0], [1, 0, 0]]),
            ValueError,
            r"for one-hot rows pass target.argmax\(-1\)",
        ),
    ],
)
def test_labels_that_do_not_fit(
    name: str, target: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        losses.get(name)(np.zeros((2, 3), np.float32), target)
    assert f"[{name}]" in str(caught.value)


@pytest.mark.parametrize("name", ["binary_cross_entropy", "mean_squared_error"])
def test_targets_never_broadcast(name: str) -> None:
    with pytest.raises(ValueError, match=r"got output \(4, 2\), target \(4,\)"):
        losses.get(name)(np.zeros((4, 2)), np.zeros(4))
    with pytest.raises(TypeError, match="expected real numbers as targets; got dtype complex128"):
        losses.get(name)(np.zeros(2), np.zeros(2, complex))


@pytest.mark.parametrize("wrong", [-0.5, 2, math.nan])
def test_binary_targets_are_probabilities(wrong: float) -> None:
    with pytest.raises(ValueError, match="expected 0 <= target <= 1"):
        losses.BinaryCrossEntropy()(np.zeros(2), np.array([1, wrong]))


def test_l2_penalty_is_of_weights_and_not_of_biases() -> None:
    parameters = {"weight": Tensor(np.array([[3.0, -4.0]])), "bias": Tensor(np.array([7.0]))}
    gradients = {"weight": Tensor(np.array([[1.0, 1.0]])), "bias": Tensor(np.array([1.0]))}
    assert losses.L2Penalty(0.5)(parameters, gradients) == 0.5 / 2 * 25
    np.testing.assert_array_equal(gradients["weight"].numpy(), [[2.5, -1.0]])
    np.testing.assert_array_equal(gradients["bias"].numpy(), [1.0])


@pytest.mark.parametrize("wrong", [-1.0, math.inf, math.nan])
def test_penalties_and_margins_out_of_range(wrong: float) -> None:
    with pytest.raises(ValueError, match="finite and >= 0"):
        losses.L2Penalty(wrong)
    with pytest.raises(ValueError, match="finite and > 0"):
        losses.WestonWatkinsHinge(wrong)


def test_unknown_names_list_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown loss 'mse'; valid names: cross_entropy, binary"):
        losses.get("mse")
    with pytest.raises(TypeError, match="got 3"):
        losses.get(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", [losses.CrossEntropy(), losses.WestonWatkinsHinge(margin=2.5)])
def test_configuration_builds_the_loss_again(loss: losses.Loss) -> None:
    again = losses.get(json.loads(json.dumps(loss.config())))
    assert repr(again) == repr(loss)
