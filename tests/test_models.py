"""The networks: sizes from the papers, names, seeds."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from sixloop import models


def test_lenet5_has_the_parameters_of_the_paper_with_all_connections():
    model = models.lenet5()
    assert model.count_parameters() == 61_706
    shapes = [row.output_shape for row in model.summary().rows]
    assert shapes[1:6] == [(28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16), (400,)]


def test_sizes_of_the_dense_networks():
    assert models.perceptron().count_parameters() == 7_850
    assert models.mlp(hidden=(100,)).count_parameters() == 784 * 100 + 100 + 100 * 10 + 10
    assert models.small_cnn().count_parameters() == 26_202


@pytest.mark.parametrize("name", models.list())
def test_build(name):
    model = models.build(name, classes=7, input_shape=(32, 32, 3), seed=5)
    assert model.is_built
    assert model.name == name
    assert model.input_shapes == [(32, 32, 3)]
    assert model.final_activation == "softmax"
    x = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    y = np.asarray(model(x))
    assert y.shape == (2, 7)
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-5)
    digest = model.weights_sha256()
    same = models.build(name, classes=7, input_shape=(32, 32, 3), seed=5)
    assert same.weights_sha256() == digest
    other = models.build(name, classes=7, input_shape=(32, 32, 3), seed=6)
    assert other.weights_sha256() != digest


@pytest.mark.parametrize("name", models.list())
def test_every_network_says_where_it_comes_from(name):
    function = getattr(models, name)
    text = inspect.getdoc(function) + inspect.getmodule(function).__doc__
    assert "arXiv" in text or "19" in text
    assert "input_shape" in text


def test_unknown_name():
    with pytest.raises(ValueError, match=r"'lenet6'; valid names: perceptron, mlp, lenet5"):
        models.build("lenet6")


def test_input_that_does_not_fit():
    with pytest.raises(ValueError, match="conv2d_2"):
        models.build("lenet5", input_shape=(8, 8, 1))
