"""Residual blocks on the GPU: normalisations that run as one with an addition, bit for bit."""

import numpy as np
import pytest

from comparators import assert_same_bits
from sixloop import Trainer
from sixloop.nn import Add, BatchNorm, Conv2D, Dense, GlobalAvgPool2D, Input, Model
from sixloop.optim import SGD


class Apart(BatchNorm):
    """Runs on its own, as subclasses do."""

    is_recordable = True


def network(norm=BatchNorm, activation="relu"):
    """A shortcut that is the input, and one that is projected."""
    image = Input((5, 4, 3))
    x = norm(activation="relu", name="n0")(Conv2D(8, 3, padding=1, name="c0")(image))
    y = norm(name="n1")(Conv2D(8, 3, padding=1, name="c1")(x))
    x = Add(activation=activation, name="a1")([y, x])
    shortcut = norm(name="ns")(Conv2D(10, 1, strides=2, name="cs")(x))
    y = norm(name="n2")(Conv2D(10, 3, strides=2, padding=1, name="c2")(x))
    x = Add(activation=activation, name="a2")([shortcut, y])
    return Model(image, Dense(4, activation="softmax", name="fc")(GlobalAvgPool2D()(x)))


def results(model, rng, dtype="float32"):
    """Outputs, gradients and running statistics."""
    x = rng.normal(size=(3, 5, 4, 3)).astype(dtype)
    dy = rng.normal(size=(3, 4)).astype(dtype)
    found = [model(x), model(x, training=True), model.backward(dy)]
    found += [g.numpy() for g in model.gradients().values()]
    return (*found, *(p.numpy() for p in model.parameters().values()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", [None, "relu", "elu", "gelu"])
def test_the_bits_of_the_cpu(activation, dtype):
    model = network(activation=activation)
    assert sum(step.is_joined for step in model.steps) == 2
    found = []
    for device in ("cpu", "cuda"):
        model = network(activation=activation)
        model.build(seed=4, dtype=dtype)
        found.append(results(model.to(device), np.random.default_rng(1), dtype))
    assert_same_bits(found[1], found[0])


@pytest.mark.parametrize("activation", [None, "relu", "gelu"])
@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_the_bits_of_two_layers(precision, activation):
    found = []
    for norm in (BatchNorm, Apart):
        model = network(norm, activation)
        model.build(seed=4)
        found.append(results(model.to("cuda", precision=precision), np.random.default_rng(1)))
    assert_same_bits(found[1], found[0])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training(precision):
    """Steps that are recorded, too."""
    rng = np.random.default_rng(2)
    data = rng.normal(size=(24, 5, 4, 3)).astype("float32"), rng.integers(0, 4, 24)
    digests = []
    for norm, device in ((BatchNorm, "cuda"), (Apart, "cuda"), (BatchNorm, "cpu")):
        if device == "cpu" and precision != "fp32":
            continue
        how = {"precision": precision} if device == "cuda" else {}
        trainer = Trainer(network(norm), SGD(0.05, momentum=0.9), metrics=[], device=device, **how)
        trainer.fit(data, epochs=3, batch_size=8, verbose=0)
        digests.append(trainer.model.weights_sha256())
    assert len(set(digests)) == 1
