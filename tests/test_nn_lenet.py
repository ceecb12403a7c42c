"""The layers of LeNet-5 (1998) against their formulas; their gradients are in test_nn_gradients."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import reference
from sixloop import initializers, models
from sixloop.nn import (
    Input,
    Layer,
    RadialBasis,
    ScaledTanh,
    Sequential,
    SparseConv2D,
    Subsample2D,
    ZeroPadChannels,
)


def run(shape: tuple[int, ...], layer: Layer) -> tuple[np.ndarray, dict[str, Any], np.ndarray]:
    """Returns a random batch, the layer's parameters (random too) and its output."""
    model = Sequential([Input(shape), layer])
    model.build(seed=1, dtype="float64")
    rng = np.random.default_rng(0)
    for tensor in model.trainable_parameters().values():
        tensor.numpy()[...] = rng.standard_normal(tensor.shape)
    x = rng.standard_normal((2, *shape))
    parameters = {key: tensor.numpy() for key, tensor in layer.parameters().items()}
    return x, parameters, model(x)


def test_scaled_tanh_leaves_one_and_minus_one() -> None:
    x, _, y = run((3, 4), ScaledTanh())
    np.testing.assert_allclose(y, 1.7159 * np.tanh(x * 2 / 3), rtol=1e-14)
    model = Sequential([Input((2,)), ScaledTanh()])
    np.testing.assert_allclose(model(np.array([[1.0, -1.0]])), [[1, -1]], atol=1e-4)


def test_subsample_multiplies_sums() -> None:
    x, p, y = run((5, 7, 3), Subsample2D((2, 3)))
    sums = x[:, :4, :6].reshape(2, 2, 2, 2, 3, 3).sum(axis=(2, 4))
    np.testing.assert_allclose(y, p["coefficient"] * sums + p["bias"], rtol=1e-12)


def test_subsample_begins_as_an_average() -> None:
    model = Sequential([Input((4, 4, 1)), Subsample2D()])
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(model(x)[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])


def test_sparse_convolution_is_a_convolution_without_some_links() -> None:
    table = [[0, 2], [1], [2, 1, 0], [2]]
    x, p, y = run((5, 6, 3), SparseConv2D(table, (2, 3)))
    assert p["weight"].shape == (2, 3, 7)
    dense = np.zeros((2, 3, 3, 4))
    link = 0
    for target, sources in enumerate(table):
        for source in sources:
            dense[:, :, source, target] = p["weight"][:, :, link]
            link += 1
    np.testing.assert_allclose(y, reference.conv2d(x, dense, p["bias"]), rtol=1e-12)


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_radial_basis_is_the_negative_squared_distance(activation: str | None) -> None:
    x, p, y = run((5,), RadialBasis(3, activation=activation))
    assert set(p["centres"].ravel()) == {-1.0, 1.0}
    z = -((x[:, :, None] - p["centres"]) ** 2).sum(axis=1)
    expected = z if activation is None else reference.softmax(z)
    np.testing.assert_allclose(y, expected, rtol=1e-12)


def test_zero_pad_channels_appends() -> None:
    x, _, y = run((2, 3, 2), ZeroPadChannels(3))
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), (0, 0), (0, 0), (0, 3))))


def test_no_bit_depends_on_threads_or_instruction_set(same_everywhere) -> None:
    x = np.random.default_rng(0).standard_normal((3, 32, 32, 1)).astype(np.float32)
    dy = np.random.default_rng(1).standard_normal((3, 10)).astype(np.float32)

    def step() -> list[np.ndarray]:
        model = models.build("lenet5", variant="1998")
        y = model(x, training=True, logits=True)
        dx = model.backward(dy)
        return [y, dx, *(g.numpy().copy() for g in model.gradients().values())]

    same_everywhere(step)


IMAGE = Input((4, 5, 3))
ERRORS: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "amplitude": (
        lambda: ScaledTanh(amplitude=float("nan")),
        ValueError,
        "[ScaledTanh] amplitude must be finite; got nan",
    ),
    "window": (
        lambda: Subsample2D(5)(IMAGE),
        ValueError,
        "[subsample2d_1] the 5x5 pool does not fit the 4x5 input",
    ),
    "empty table": (
        lambda: SparseConv2D([], 3),
        TypeError,
        "[SparseConv2D] table must be a list with a list for each map; got []",
    ),
    "map without links": (
        lambda: SparseConv2D([[0], []], 3),
        TypeError,
        "[SparseConv2D] table[1] must be a list of input maps; got []",
    ),
    "negative map": (
        lambda: SparseConv2D([[0, -1]], 3),
        ValueError,
        "[SparseConv2D] table[0][1] must be between 0 and",
    ),
    "same map twice": (
        lambda: SparseConv2D([[0], [1, 1]], 3),
        ValueError,
        "[SparseConv2D] table[1] must name a map once; got [1, 1]",
    ),
    "map that the input has not": (
        lambda: SparseConv2D([[0, 3]], 3)(IMAGE),
        ValueError,
        "[sparse_conv2d_1] table names the input map 3, counted from 0; got input (N, 4, 5, 3)",
    ),
    "sparse filter": (
        lambda: SparseConv2D([[0]], 5)(IMAGE),
        ValueError,
        "[sparse_conv2d_1] the 5x5 filter does not fit the 4x5 input",
    ),
    "radial basis of images": (
        lambda: RadialBasis(3)(IMAGE),
        ValueError,
        "[radial_basis_1] RadialBasis needs a 2-D input (N, features); got (N, 4, 5, 3): put",
    ),
    "activation of radial basis": (
        lambda: RadialBasis(3, activation="relu"),
        ValueError,
        "[RadialBasis] activation must be one of softmax or None; got 'relu'",
    ),
    "channels": (
        lambda: ZeroPadChannels(0),
        ValueError,
        "[ZeroPadChannels] count must be between 1 and",
    ),
    "limit": (
        lambda: initializers.uniform(0),
        ValueError,
        "[uniform] limit must be in (0, inf); got 0",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(name: str) -> None:
    action, kind, message = ERRORS[name]
    with pytest.raises(kind, match=re.escape(message)):
        action()
