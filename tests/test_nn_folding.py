"""Batch normalisation folded into the layers before it."""

from __future__ import annotations

import numpy as np
import pytest

from sixloop import models, nn
from sixloop.nn import Add, BatchNorm, Conv2D, Dense, Flatten, Input, MaxPool2D, Model


def _with_statistics(model: Model, dtype: str = "float64") -> Model:
    """Builds a model whose running statistics and affine maps are those of no new one."""
    model.build(seed=3, dtype=dtype)
    rng = np.random.default_rng(5)
    for name, value in model.parameters().items():
        if name.endswith(("gamma", "beta", "running_mean", "running_variance", "bias")):
            value.numpy()[...] = rng.uniform(0.5, 1.5, value.shape)
    return model


def _kinds(model: Model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


@pytest.mark.parametrize("name", ["resnet_cifar", "resnet18", "resnet50", "densenet121"])
def test_networks_compute_the_same(name):
    shape = (40, 32, 3) if name == "resnet_cifar" else (64, 96, 3)
    model = _with_statistics(models.define(name, classes=7, input_shape=shape))
    folded = nn.fold_batch_norm(model)
    x = np.random.default_rng(0).normal(size=(2, *shape))
    expected = model(x, logits=True)
    np.testing.assert_allclose(
        folded(x, logits=True), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max()
    )
    assert ("BatchNorm" in _kinds(folded)) == (name == "densenet121")
    assert len(folded.layers) < len(model.layers)
    assert folded.dtype == model.dtype


def test_the_model_stays_as_it_is():
    model = _with_statistics(models.define("resnet_cifar", depth=8), "float32")
    digest = model.weights_sha256()
    folded = nn.fold_batch_norm(model)
    for value in folded.parameters().values():
        value.numpy()[...] = 0
    assert model.weights_sha256() == digest
    assert "BatchNorm" in _kinds(model)


def test_activations_and_biases():
    image = Input((9, 11, 4))
    x = BatchNorm(activation="tanh", name="norm1")(Conv2D(6, 3, strides=2, name="conv")(image))
    x = MaxPool2D(2)(x)
    x = BatchNorm(epsilon=0.1, name="norm2")(Dense(5, use_bias=False, name="fc")(Flatten()(x)))
    model = _with_statistics(Model(image, x))
    folded = nn.fold_batch_norm(model)
    assert _kinds(folded) == ["Conv2D", "MaxPool2D", "Flatten", "Dense"]
    assert [layer.activation for layer in (folded.layers[0], folded.layers[3])] == ["tanh", None]
    assert set(folded.parameters()) == {"conv.weight", "conv.bias", "fc.weight", "fc.bias"}
    data = np.random.default_rng(1).normal(size=(3, 9, 11, 4))
    np.testing.assert_allclose(folded(data), model(data), rtol=1e-12)


def _shared(image):
    conv = Conv2D(4, 1)
    return Add()([BatchNorm()(conv(image)), BatchNorm()(conv(image))])


def _read_twice(image):
    x = Conv2D(4, 1)(image)
    return Add()([BatchNorm()(x), x])


def _activated(image):
    return BatchNorm()(Conv2D(4, 1, activation="relu")(image))


@pytest.mark.parametrize("build", [_shared, _read_twice, _activated, BatchNorm()])
def test_what_cannot_be_folded_stays(build):
    image = Input((5, 7, 4))
    model = _with_statistics(Model(image, build(image)))
    folded = nn.fold_batch_norm(model)
    assert _kinds(folded) == _kinds(model)
    x = np.random.default_rng(2).normal(size=(2, 5, 7, 4))
    np.testing.assert_array_equal(folded(x), model(x))


def test_an_output_is_not_folded_away():
    image = Input((5, 7, 4))
    x = Conv2D(3, 3)(image)
    model = _with_statistics(Model(image, [x, BatchNorm()(x)]))
    assert _kinds(nn.fold_batch_norm(model)) == ["Conv2D", "BatchNorm"]
