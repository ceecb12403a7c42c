"""Initialisers: variances, and bits that follow from seed, name and element alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sixloop import initializers
from sixloop.nn import Conv2D, Dense, Input, Model, Sequential

SHAPE = (3, 5, 16, 24)  # KH, KW, C, O: fan in 240, fan out 360
FANS = 240, 360


def fill(name: str, shape: tuple[int, ...] = SHAPE, seed: int = 0, purpose: int = 1) -> np.ndarray:
    return initializers.get(name)(shape, seed=seed, purpose=purpose, dtype="float64").numpy()


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("he_normal", 2 / 240),
        ("he_uniform", 2 / 240),
        ("glorot_normal", 2 / 600),
        ("glorot_uniform", 2 / 600),
        ("lecun_normal", 1 / 240),
        ("lecun_uniform", 1 / 240),
        ("normal", 0.05**2),
        ("uniform", 0.05**2 / 3),
        ("signs", 1.0),
    ],
)
def test_variance(name: str, variance: float) -> None:
    values = fill(name)
    n = values.size  # 5,760: the standard error of a normal sample's variance is sqrt(2/n), 1.9%
    assert abs(values.var() / variance - 1) < 5 * math.sqrt(2 / n)
    assert abs(values.mean()) < 5 * math.sqrt(variance / n)
    if name.endswith("uniform"):
        limit = math.sqrt(3 * variance)
        assert 0.99 * limit < np.abs(values).max() <= limit


def test_fans() -> None:
    assert initializers.fans(SHAPE) == FANS
    assert initializers.fans((7, 9)) == (7, 9)
    assert initializers.fans((7,)) == (7, 7)


def test_constants() -> None:
    assert (fill("zeros") == 0).all() and (fill("ones") == 1).all()
    value = initializers.constant(0.5)((2, 3), seed=0, purpose=0)
    assert value.dtype == np.float32 and (value.numpy() == 0.5).all()


def test_key() -> None:
    a = fill("he_normal")
    np.testing.assert_array_equal(a, fill("he_normal"))
    assert (a != fill("he_normal", seed=1)).any()
    assert (a != fill("he_normal", purpose=2)).any()
    assert initializers.stable_hash("dense_1.weight") == 344_885_227  # the same in every process


def test_other_layers_do_not_change_a_layers_numbers() -> None:
    short = Sequential([Input((4,)), Dense(5, name="a"), Dense(6, name="b")])
    long = Sequential([Input((4,)), Dense(5, name="a"), Dense(5, name="new"), Dense(6, name="b")])
    for model in (short, long):
        model.build(seed=11)
    for name, tensor in short.parameters().items():
        np.testing.assert_array_equal(tensor.numpy(), long.parameters()[name].numpy())
    assert short.parameters()["a.weight"].numpy().std() > 0


def test_layers_take_names_and_objects() -> None:
    x = Input((6, 6, 2))
    y = Conv2D(
        3,
        3,
        kernel_initializer=initializers.normal(std=0.01),
        bias_initializer=initializers.constant(0.25),
    )(x)
    model = Model(x, y)
    assert (model.parameters()["conv2d_1.bias"].numpy() == 0.25).all()
    assert 0.005 < model.parameters()["conv2d_1.weight"].numpy().std() < 0.02
    assert "normal(mean=0.0, std=0.01)" in repr(model.layers[0])


@pytest.mark.parametrize("name", ["he_normal", "normal", "zeros", "ones", "lecun_uniform"])
def test_config_makes_the_same_again(name: str) -> None:
    initializer = initializers.get(name)
    assert initializers.get(initializer.config()) == initializer


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"must be one of he_normal, .*constant; got 'he_norml'"):
        initializers.get("he_norml")
    with pytest.raises(ValueError, match="did you mean 'he_normal'"):
        initializers.get("he_norml")
    with pytest.raises(TypeError, match="or an Initializer; got 3"):
        initializers.get(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="missing 1 required positional argument: 'value'"):
        initializers.get("constant")
    with pytest.raises(ValueError, match="unexpected keyword argument 'sdt'"):
        initializers.get({"name": "normal", "sdt": 1})
    with pytest.raises(ValueError, match=r"std must not be negative; got -1.0"):
        initializers.normal(std=-1)
    with pytest.raises(ValueError, match="must be finite; got nan"):
        initializers.constant(math.nan)
