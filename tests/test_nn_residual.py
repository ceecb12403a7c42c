"""Normalisations that run as one with the addition after them: the bits of two layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sixloop
from comparators import assert_same_bits
from sixloop import Trainer, models
from sixloop.callbacks import Callback
from sixloop.nn import (
    Add,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    GlobalAvgPool2D,
    Input,
    Model,
)
from sixloop.optim import SGD


class Apart(BatchNorm):
    """Runs on its own, as subclasses do."""

    is_recordable = True


def network(
    norm: type[BatchNorm] = BatchNorm, activation: str | None = "relu", extra: bool = False
) -> Model:
    """An identity as shortcut, a projection, and an addition whose first input is the shortcut."""

    def conv(x: Any, filters: int, size: int, name: str, strides: int = 1) -> Any:
        return Conv2D(filters, size, strides=strides, padding=size // 2, name=name)(x)

    image = Input((7, 5, 3))
    x = norm(activation="relu", name="n0")(conv(image, 6, 3, "c0"))
    y = first = norm(name="n1")(conv(x, 6, 3, "c1"))
    x = Add(activation=activation, name="a1")([y, x])
    shortcut = norm(name="ns")(conv(x, 10, 1, "cs", strides=2))
    y = norm(name="n2")(conv(x, 10, 3, "c2", strides=2))
    x = Add(activation=activation, name="a2")([shortcut, y])
    y = norm(name="n3")(conv(x, 10, 3, "c3"))
    x = second = Add(name="a3")([x, y])
    x = Dense(4, activation="softmax", name="fc")(GlobalAvgPool2D()(x))
    return Model(image, [x, first, second] if extra else x)


def pairs(model: Model) -> dict[str, str]:
    """The names of additions, each with that of the normalisation that it runs."""
    found = {}
    for step in model.steps:
        if step.normalization is not None:
            found[step.name] = step.normalization.name
            assert step.normalization.is_joined
    assert len(found) == sum(step.is_joined for step in model.steps)
    return found


def test_which_run_as_one() -> None:
    assert pairs(network()) == {"a1": "n1", "a2": "n2", "a3": "n3"}
    assert pairs(network(Apart)) == {}
    assert pairs(network(extra=True)) == {"a2": "n2", "a3": "n3"}, "n1 is an output"
    of_resnet = pairs(models.define("resnet50"))
    assert len(of_resnet) == 16
    for add, norm in of_resnet.items():
        assert norm == add.replace("add", "bn3"), "ready after the projection"
    assert len(pairs(models.define("resnet18"))) == 8
    assert len(pairs(models.define("resnet_cifar", depth=20))) == 9


def read_twice() -> Model:
    image = Input((4, 3, 2))
    y = BatchNorm()(image)
    return Model(image, Flatten()(Add()([Add()([y, image]), y])))


def added_to_itself() -> Model:
    image = Input((4, 3, 2))
    y = BatchNorm()(image)
    return Model(image, Add()([y, y]))


def of_three() -> Model:
    image = Input((4, 3, 2))
    return Model(image, Add()([image, BatchNorm()(image), image]))


def activated() -> Model:
    image = Input((4, 3, 2))
    return Model(image, Add()([image, BatchNorm(activation="relu")(image)]))


def input_read_in_between() -> Model:
    """Three gradients of the same array, whose order of addition shows in the last bit."""
    image = Input((4, 3, 2))
    x = Conv2D(2, 1)(image)
    y = BatchNorm()(x)
    return Model(image, Add()([Conv2D(2, 3, padding=1)(x), y]))


def called_in_between() -> Model:
    """Running statistics that follow two calls, whose order shows."""
    image, other = Input((4, 3, 2)), Input((4, 3, 2))
    norm = BatchNorm()
    y = norm(image)
    return Model([image, other], Add()([y, BatchNorm(activation="relu")(norm(other))]))


def a_subclass_of_add() -> Model:
    class Sum(Add):
        pass

    image = Input((4, 3, 2))
    return Model(image, Sum()([image, BatchNorm()(image)]))


@pytest.mark.parametrize(
    "make",
    [
        read_twice,
        added_to_itself,
        of_three,
        activated,
        input_read_in_between,
        called_in_between,
        a_subclass_of_add,
    ],
)
def test_which_do_not(make: Callable[[], Model]) -> None:
    assert pairs(make()) == {}


def test_a_normalisation_that_waits() -> None:
    """Calls in between that have nothing to do with it."""

    def make(norm: type[BatchNorm]) -> Model:
        image = Input((4, 3, 2))
        y = norm(name="norm")(Conv2D(6, 3, padding=1, name="a")(image))
        shortcut = Conv2D(6, 1, activation="relu", name="b")(image)
        return Model(image, Add(activation="relu", name="add")([y, shortcut]))

    assert pairs(make(BatchNorm)) == {"add": "norm"}
    assert_same_models(make(BatchNorm), make(Apart))


def assert_same_models(model: Model, twin: Model, dtype: str = "float32", batch: int = 5) -> None:
    """Demands the bits of outputs, gradients and running statistics."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(batch, *model.input_shapes[0])).astype(dtype)
    dys = [rng.normal(size=(batch, *shape)).astype(dtype) for shape in model.output_shapes]
    logits_of = [False, True] if model.takes_logits else [False]
    for one in (model, twin):
        one.build(seed=3, dtype=dtype)
    for training in (True, False):
        for logits in logits_of:
            for input_gradient in (True, False):
                results = []
                for one in (model, twin):
                    y = one(x, training=training, logits=logits)
                    outputs = y if isinstance(y, list) else [y]
                    dx = one.backward(
                        dys if len(dys) > 1 else dys[0], input_gradient=input_gradient
                    )
                    gradients = [g.numpy() for g in one.gradients().values()]
                    results.append((*outputs, *([dx] if input_gradient else []), *gradients))
                assert_same_bits(results[0], results[1])
    for name, tensor in model.parameters().items():
        assert_same_bits(tensor.numpy(), twin.parameters()[name].numpy(), f"{name}: ")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "activation", [None, "relu", "tanh", "elu", "leaky_relu", "gelu", "gaussian", "softmax"]
)
def test_the_bits_of_two_layers(activation: str | None, dtype: str) -> None:
    assert_same_models(network(activation=activation), network(Apart, activation), dtype)
    assert_same_models(
        network(activation=activation, extra=True), network(Apart, activation, extra=True), dtype
    )


@pytest.mark.parametrize("batch", [0, 1])
def test_small_batches(batch: int) -> None:
    assert_same_models(network(), network(Apart), batch=batch)


@pytest.mark.parametrize("activation", [None, "softmax", "sigmoid", "relu", "gelu"])
def test_an_addition_at_the_end(activation: str | None) -> None:
    def make(norm: type[BatchNorm]) -> Model:
        x = Input(6)
        y = norm(name="norm")(Dense(6, name="dense")(x))
        return Model(x, Add(activation=activation, name="add")([y, x]))

    assert pairs(make(BatchNorm)) == {"add": "norm"}
    assert_same_models(make(BatchNorm), make(Apart))
    if activation not in ("softmax", "sigmoid"):
        return
    x, dy = (np.random.default_rng(i).normal(size=(5, 6)).astype("float32") for i in range(2))
    results = []
    for norm in (BatchNorm, Apart):
        model = make(norm)
        model(x, training=True)
        results.append(model.backward(dy, from_logits=True))
    assert_same_bits(results[0], results[1])


def test_outputs_are_the_callers() -> None:
    """The result of an addition at the end is kept for backward, but not what the caller got."""
    x = Input(6)
    model = Model(x, Add(activation="relu")([BatchNorm()(x), x]))
    values, dy = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
    model(values, training=True)
    expected = model.backward(dy)
    y = model(values, training=True)
    y[:] = 1
    assert_same_bits(model.backward(dy), expected)


def test_running_statistics_of_a_shared_layer() -> None:
    """Two residual blocks with one set of parameters."""

    def make(norm: type[BatchNorm]) -> Model:
        x = image = Input((4, 3, 2))
        conv, layer = Conv2D(2, 3, padding=1, name="conv"), norm(name="norm")
        for _ in range(3):
            x = Add(activation="relu", name=None)([layer(conv(x)), x])
        return Model(image, x)

    assert len(pairs(make(BatchNorm))) == 3
    assert_same_models(make(BatchNorm), make(Apart))


def test_first_non_finite_names_the_normalisation() -> None:
    model = network()
    model.parameters()["n2.gamma"].numpy()[3] = np.inf
    assert model.first_non_finite(np.ones((2, 7, 5, 3), "float32")) == "n2"


def test_files_and_figures(tmp_path: Path) -> None:
    model = network()
    model.build(seed=1)
    model.save(tmp_path / "model")
    loaded = sixloop.load(tmp_path / "model")
    assert pairs(loaded) == pairs(model)
    x = np.random.default_rng(0).normal(size=(3, 7, 5, 3)).astype("float32")
    assert_same_bits(loaded(x), model(x))
    rows = {row.name: row for row in model.summary().rows}
    assert rows["n1"].activation_bytes == 0, "nothing is written"
    assert rows["ns"].activation_bytes == 4 * 4 * 3 * 10
    assert rows["n1"].output_shape == (7, 5, 6)


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.normal(size=(50, 7, 5, 3)).astype("float32"), rng.integers(0, 4, 50)


class StopAt(Callback):
    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        if trainer.step == self.step:
            trainer.request_save(self.path)
            trainer.stop("enough")


def begin(model: Model, *callbacks: Callback) -> Trainer:
    optimizer = SGD(0.05, momentum=0.9)
    return Trainer(model, optimizer, metrics=[], callbacks=list(callbacks), seed=1)


def finish(trainer: Trainer) -> str:
    trainer.fit(data(), epochs=3, batch_size=16, verbose=0)
    return trainer.model.weights_sha256()


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_training_and_resume(tmp_path: Path, activation: str) -> None:
    expected = finish(begin(network(Apart, activation)))
    assert finish(begin(network(activation=activation))) == expected
    stopped = begin(network(activation=activation), StopAt(6, tmp_path / "at6"))
    assert finish(stopped) != expected
    assert finish(Trainer.resume(tmp_path / "at6")) == expected


def test_a_training_step_makes_fewer_arrays() -> None:
    def peak(norm: type[BatchNorm]) -> int:
        image = x = Input((32, 32, 16))
        for i in range(4):
            x = Add(name=f"a{i}")([norm(name=f"n{i}")(x), x])
        model = Model(image, x)
        model.build()
        array = sixloop.zeros((16, 32, 32, 16))
        model(array)
        sixloop.reset_peak_memory()
        before = sixloop.memory_stats()["allocated"]
        model(array)
        return int(sixloop.memory_stats()["peak"] - before)

    size = sixloop.allocated_bytes(4 * 16 * 32 * 32 * 16)
    # The array before and the one after, no third one of the normalisation.
    assert peak(BatchNorm) < 2.2 * size < 2.9 * size < peak(Apart)
