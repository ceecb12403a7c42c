"""Gradients of whole models against central differences, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sixloop import ops
from sixloop.nn import (
    Activation,
    Add,
    AvgPool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Input,
    LocalResponseNorm,
    MaxPool2D,
    Model,
    RadialBasis,
    Reshape,
    ScaledTanh,
    Sequential,
    SparseConv2D,
    Subsample2D,
    ZeroPad2D,
    ZeroPadChannels,
)

ACTIVATIONS = [
    "relu",
    "sigmoid",
    "tanh",
    "leaky_relu",
    "elu",
    "gelu",
    "softplus",
    "step",
    "ramp",
    "gaussian",
    "softmax",
]
EPSILON = 1e-6
# Truncation EPSILON**2 * y''' and rounding 1e-16 * |loss| / EPSILON both stay near 1e-10 times the
# size of the derivatives; the rest is margin. A wrong formula is wrong by 1e-2 or more.
TOLERANCE = 1e-6


def differences(loss: Callable[[], float], array: np.ndarray) -> np.ndarray:
    """Central differences of ``loss`` in every element of ``array``, which is changed in place."""
    result = np.empty(array.shape)
    for index in np.ndindex(*array.shape):
        value = array[index]
        array[index] = value + EPSILON
        above = loss()
        array[index] = value - EPSILON
        below = loss()
        array[index] = value
        result[index] = (above - below) / (2 * EPSILON)
    return result


def close(analytic: np.ndarray, numeric: np.ndarray) -> bool:
    return bool(np.all(np.abs(analytic - numeric) <= TOLERANCE * (1 + np.abs(numeric).max())))


def check(model: Model, *, batch: int = 3, training: bool = True, scale: float = 1.0) -> None:
    """Compare every gradient of ``model`` for random inputs and random output weights."""
    model.build(seed=5, dtype="float64")
    rng = np.random.default_rng(17)
    for tensor in model.trainable_parameters().values():
        tensor.numpy()[...] += 0.1 * rng.standard_normal(tensor.shape)  # biases away from zero
    xs = [scale * rng.standard_normal((batch, *shape)) for shape in model.input_shapes]
    weights = [rng.standard_normal((batch, *shape)) for shape in model.output_shapes]

    def outputs() -> list[np.ndarray]:
        y = model(xs if len(xs) > 1 else xs[0], training=training, step=3)
        return y if isinstance(y, list) else [y]

    def loss() -> float:
        return float(sum((w * y).sum() for w, y in zip(weights, outputs(), strict=True)))

    outputs()
    dx = model.backward(weights if len(weights) > 1 else weights[0])
    dxs = dx if isinstance(dx, list) else [dx]
    gradients = {name: g.numpy().copy() for name, g in model.gradients().items()}
    assert list(gradients) == list(model.trainable_parameters())
    for x, analytic in zip(xs, dxs, strict=True):
        assert analytic.shape == x.shape and analytic.dtype == np.float64
        assert close(analytic, differences(loss, x)), "input"
    for name, tensor in model.trainable_parameters().items():
        assert close(gradients[name], differences(loss, tensor.numpy())), name

    outputs()
    assert model.backward(weights if len(weights) > 1 else weights[0], input_gradient=False) is None
    for name, gradient in model.gradients().items():
        np.testing.assert_array_equal(gradient.numpy(), gradients[name])


def chain(shape: tuple[int, ...], *layers: Any) -> Model:
    return Sequential([Input(shape), *layers])


LAYERS: dict[str, Callable[[], Model]] = {
    "conv": lambda: chain((5, 4, 2), Conv2D(3, (3, 2))),
    "conv without bias": lambda: chain((5, 4, 2), Conv2D(3, 2, use_bias=False)),
    "conv strided": lambda: chain((6, 7, 2), Conv2D(3, 3, strides=(2, 3), padding="same")),
    "conv asymmetric": lambda: chain((4, 5, 2), Conv2D(2, 3, padding=((1, 0), (2, 1)))),
    "conv dilated": lambda: chain((6, 7, 1), Conv2D(2, (2, 3), dilation=(3, 2))),
    "conv groups": lambda: chain((4, 5, 4), Conv2D(6, 3, groups=2, padding=1)),
    "conv depthwise": lambda: chain((4, 5, 3), Conv2D(3, 3, groups=3, padding="same")),
    "conv im2col": lambda: chain((5, 4, 2), Conv2D(3, 3, algorithm="im2col")),
    "conv direct": lambda: chain((5, 4, 2), Conv2D(3, 3, algorithm="direct")),
    "dense": lambda: chain((5,), Dense(4)),
    "dense without bias": lambda: chain((5,), Dense(4, use_bias=False)),
    "max pool": lambda: chain((5, 6, 2), MaxPool2D((2, 3), strides=(1, 2), padding="same")),
    "average pool": lambda: chain((5, 6, 2), AvgPool2D((3, 2), strides=2, padding=(1, 0))),
    "global average pool": lambda: chain((3, 4, 2), GlobalAvgPool2D()),
    "batch norm": lambda: chain((3, 2, 3), BatchNorm()),
    "batch norm dense": lambda: chain((4,), BatchNorm(activation="tanh")),
    "local response norm": lambda: chain((2, 3, 7), LocalResponseNorm(4, 0.3, 0.6, 1.5)),
    "dropout": lambda: chain((4, 3, 2), Dropout(0.4)),
    "flatten": lambda: chain((3, 2, 2), Flatten()),
    "reshape": lambda: chain((3, 4, 2), Reshape((-1, 3, 2, 2))),
    "zero pad": lambda: chain((3, 4, 2), ZeroPad2D(((1, 2), (0, 3)))),
    "zero pad channels": lambda: chain((2, 3, 2), ZeroPadChannels(3)),
    "scaled tanh": lambda: chain((2, 3, 2), ScaledTanh(1.5, 0.7)),
    "subsample": lambda: chain((5, 6, 3), Subsample2D((2, 3))),
    "sparse conv": lambda: chain((4, 5, 3), SparseConv2D([[0, 2], [1], [2, 1, 0]], (2, 3))),
    "radial basis": lambda: chain((5,), Dense(4), RadialBasis(3)),
    "radial basis softmax": lambda: chain((5,), Dense(4), RadialBasis(3, activation="softmax")),
    "identity": lambda: chain((3, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str) -> None:
    check(LAYERS[name]())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_of_every_layer_that_has_one(activation: str) -> None:
    check(chain((4, 3, 2), Conv2D(2, 2, activation=activation)), batch=2)
    check(chain((4,), Dense(3, activation=activation)), batch=2)
    check(chain((4,), BatchNorm(activation=activation)), batch=4)
    check(chain((2, 3), Activation(activation)), batch=2)
    a, b, c = Input((3,)), Input((3,)), Input((3,))
    check(Model([a, b, c], Add(activation=activation)([a, b, c])), batch=2)


@pytest.mark.parametrize("activation", [None, "relu", "elu", "gelu", "softmax"])
@pytest.mark.parametrize("training", [True, False])
def test_residual_blocks(activation: str | None, training: bool) -> None:
    """Normalisations that run as one with an addition: an identity and a projection."""
    image = Input((4, 3, 2))
    x = Add(activation=activation)([BatchNorm()(Conv2D(2, 3, padding=1)(image)), image])
    shortcut = BatchNorm()(Conv2D(3, 1, strides=2)(x))
    y = BatchNorm()(Conv2D(3, 3, strides=2, padding=1)(x))
    model = Model(image, Add(activation=activation)([shortcut, y]))
    assert sum(step.normalization is not None for step in model.steps) == 2
    check(model, batch=3, training=training)


def test_batch_norm_with_running_statistics() -> None:
    model = chain((3, 2, 2), BatchNorm(activation="relu"), Flatten(), Dense(2))
    model.build(dtype="float64")
    model.parameters()["batch_norm_1.running_mean"].numpy()[:] = 0.3, -0.2
    model.parameters()["batch_norm_1.running_variance"].numpy()[:] = 0.5, 2.0
    check(model, training=False)


def test_network_with_every_kind_of_layer() -> None:
    image = Input((8, 7, 3))
    x = Conv2D(4, 3, padding="same", activation="relu")(image)
    x = LocalResponseNorm(3, alpha=0.1)(x)
    y = BatchNorm(activation="gelu")(Conv2D(4, 3, padding=1, use_bias=False)(x))
    y = Conv2D(4, 1)(y)
    x = Add(activation="elu")([x, y])
    x = Concat()([MaxPool2D(2)(x), AvgPool2D(2)(x)])
    x = Dropout(0.3)(ZeroPad2D(1)(x))
    features = GlobalAvgPool2D()(x)
    flat = Activation("tanh")(Flatten()(Reshape((5, -1))(x)))
    output = Dense(3, activation="softmax")(Concat(axis=1)([features, flat]))
    check(Model(image, output), batch=2)


def test_shared_layers_add_up() -> None:
    a, b = Input((6, 5, 2)), Input((6, 5, 2))
    conv, head = Conv2D(3, 3, activation="softplus"), Dense(2)
    branches = [head(GlobalAvgPool2D()(conv(x))) for x in (a, b)]
    check(Model([a, b], Add()([*branches, branches[0]])))


def test_layer_called_on_its_own_output() -> None:
    x = Input((4,))
    layer = Dense(4, activation="tanh")
    check(Model(x, layer(layer(layer(x)))))


def test_several_outputs_and_a_symbol_read_twice() -> None:
    a, b = Input((4,)), Input((5,))
    h = Dense(3, activation="sigmoid")(a)
    joint = Concat()([h, Dense(2)(b), h])
    check(Model([a, b], [joint, h, Add()([h, h])]))


def test_models_inside_a_model_share_parameters() -> None:
    encoder = Sequential([Input((5,)), Dense(3, activation="tanh")], name="encoder")
    a, b = Input((5,)), Input((5,))
    siamese = Model([a, b], Concat()([encoder(a), encoder(b)]))
    assert siamese.count_parameters() == encoder.count_parameters() == 18
    check(siamese)
    for name, tensor in siamese.parameters().items():
        np.testing.assert_array_equal(tensor.numpy(), encoder.parameters()[name].numpy())


def test_a_missing_output_gradient_counts_as_zeros() -> None:
    x = Input((3,))
    h = Dense(4, activation="tanh", name="trunk")(x)
    model = Model(x, [Dense(2, name="left")(h), Dense(2, name="right")(h)])
    data = np.random.default_rng(0).random((2, 3), np.float32)
    dy = np.ones((2, 2), np.float32)
    model(data, training=True)
    dx = model.backward([dy, None])
    some = {name: g.numpy().copy() for name, g in model.gradients().items()}
    model(data, training=True)
    np.testing.assert_array_equal(dx, model.backward([dy, np.zeros((2, 2), np.float32)]))
    assert list(some) == list(model.gradients()) == list(model.trainable_parameters())
    for name, gradient in model.gradients().items():
        np.testing.assert_array_equal(some[name], gradient.numpy())
    assert not some["right.weight"].any() and some["left.weight"].any()


@pytest.mark.parametrize("final", ["softmax", "sigmoid", None])
@pytest.mark.parametrize("as_layer", [False, True])
def test_gradient_from_logits(final: str | None, as_layer: bool) -> None:
    layers: list[Any] = [Dense(4, activation="relu"), Dense(3, activation=final)]
    if as_layer:
        layers = [Dense(4, activation="relu"), Dense(3)]
        layers += [] if final is None else [Activation(final)]
    model = chain((5,), *layers)
    assert model.final_activation == final
    rng = np.random.default_rng(2)
    x, dz = rng.random((4, 5), np.float32), rng.random((4, 3), np.float32)
    logits = model(x, training=True, logits=True)
    expected = model.backward(dz)
    weights = {name: g.numpy().copy() for name, g in model.gradients().items()}
    probabilities = model(x, training=True)
    wanted = {
        "softmax": ops.softmax,
        "sigmoid": ops.sigmoid,
        None: lambda z: z,
    }[final](logits)
    np.testing.assert_array_equal(probabilities, wanted)
    np.testing.assert_array_equal(model.backward(dz, from_logits=True), expected)
    for name, gradient in model.gradients().items():
        np.testing.assert_array_equal(gradient.numpy(), weights[name])


def test_gradient_from_logits_of_several_outputs() -> None:
    def model(final: str | None) -> Model:
        image = Input((5,))
        x = Dense(4, activation="relu", name="trunk")(image)
        aside = Dense(3, name="aside")(x)
        aside = aside if final is None else Activation(final)(aside)
        return Model(image, [Dense(3, activation=final, name="end")(x), aside])

    plain, soft = model(None), model("softmax")
    assert soft.final_activation == "softmax" and plain.final_activation is None
    rng = np.random.default_rng(2)
    x, dzs = rng.random((4, 5), np.float32), list(rng.random((2, 4, 3), np.float32))
    expected = plain(x, training=True)
    for y, z in zip(soft(x), expected, strict=True):
        np.testing.assert_array_equal(y, ops.softmax(z))
    dx = plain.backward(dzs)
    for logits in (False, True):
        outputs = soft(x, training=True, logits=logits)
        if logits:
            np.testing.assert_array_equal(outputs, expected)
        np.testing.assert_array_equal(soft.backward(dzs, from_logits=True), dx)
        for name, gradient in soft.gradients().items():
            np.testing.assert_array_equal(gradient.numpy(), plain.gradients()[name].numpy())


def test_backward_after_inference_is_the_same_and_repeats() -> None:
    model = chain((6, 6, 2), Conv2D(3, 3, activation="gelu"), Flatten(), Dense(2))
    x = np.random.default_rng(1).random((2, 6, 6, 2), np.float32)
    dy = np.array([[1, 0], [0, 1]], np.float32)
    y = model(x)
    np.testing.assert_array_equal(y, model(x, training=True))
    expected = model.backward(dy)
    model(x)
    for _ in range(2):
        np.testing.assert_array_equal(model.backward(dy), expected)


def test_the_check_notices_a_wrong_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Dense.backward

    def wrong(self: Dense, ctx: Any, dy: Any) -> Any:
        return right(self, ctx, ops.scale(dy, 1.001))

    monkeypatch.setattr(Dense, "backward", wrong)
    with pytest.raises(AssertionError):
        check(chain((3,), Dense(2)))
