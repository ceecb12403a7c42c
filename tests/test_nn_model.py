"""The model graph: building, names, running, memory, modes."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest

import sixloop
from sixloop import nn
from sixloop.nn import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Input,
    MaxPool2D,
    Model,
    Reshape,
    Sequential,
)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).random(shape, np.float32)


def small(**arguments: Any) -> Model:
    layers = [Input((4,)), Dense(3, activation="relu"), Dense(2, activation="softmax")]
    return Sequential(layers, **arguments)


def test_the_keras_style_block_runs_as_written() -> None:
    block = textwrap.dedent("""
        from sixloop.nn import *
        input_image = Input(shape=(28, 28, 3))
        x = Conv2D(32, 5, activation="relu")(input_image)
        x = MaxPool2D(2, strides=2)(x)
        x = Conv2D(64, 3, activation="relu")(x)
        x = MaxPool2D(2, strides=2)(x)
        x = Flatten()(x)
        x = Dense(256, activation="relu")(x)
        x = Dense(10, activation="softmax")(x)
        convnet = Model(inputs=input_image, outputs=x)
    """)
    names: dict[str, Any] = {}
    exec(block, names)
    convnet = names["convnet"]
    y = convnet(random(2, 28, 28, 3))
    assert y.shape == (2, 10) and y.dtype == np.float32
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    assert convnet.count_parameters() == 433_354
    assert [layer.name for layer in convnet.layers] == [
        "conv2d_1",
        "max_pool2d_1",
        "conv2d_2",
        "max_pool2d_2",
        "flatten_1",
        "dense_1",
        "dense_2",
    ]


def test_star_import_brings_the_layers_and_nothing_else() -> None:
    for name in nn.__all__:
        assert getattr(nn, name).__name__ == name
    assert set(nn.__all__) >= {"Input", "Model", "Sequential", "Conv2D", "Concat", "ZeroPad2D"}


def test_huge_layers_are_counted_without_allocating() -> None:
    model = Sequential([Input((480, 640, 3)), Flatten(), Dense(1000)])
    before = sixloop.memory_stats()["requests"]
    assert model.count_parameters() == 921_601_000
    assert model.summary().parameters == 921_601_000
    assert "921,601,000" in str(model.summary()) and "921,601,000" in repr(model)
    assert sixloop.memory_stats()["requests"] == before and not model.is_built


def test_lecture_sizes() -> None:
    x = Conv2D(10, 5, strides=1, padding=2)(Input((32, 32, 3)))
    assert x.shape == (32, 32, 10)
    image = Input((32, 32, 3))
    assert Model(image, Conv2D(10, 5, padding=2)(image)).count_parameters() == 760
    assert Conv2D(1, 3, strides=3)(Input((7, 7, 1))).shape == (2, 2, 1)


def test_names_are_the_models_own_and_do_not_depend_on_earlier_models() -> None:
    first, second = small(), small()
    assert list(first.parameters()) == list(second.parameters())
    assert first.weights_sha256() == second.weights_sha256()
    assert list(first.parameters()) == [
        "dense_1.weight",
        "dense_1.bias",
        "dense_2.weight",
        "dense_2.bias",
    ]


def test_given_names_stay_and_numbers_avoid_them() -> None:
    x = Input((4,))
    h = Dense(3)(Dense(3, name="dense_1")(x))
    model = Model(x, Dense(3, name="out")(h))
    assert [layer.name for layer in model.layers] == ["dense_1", "dense_2", "out"]
    assert model.get_layer("out") is model.layers[2]


def test_joined_models_keep_their_names_where_they_can() -> None:
    generator = Sequential([Input((3,)), Dense(4)])
    critic = Sequential([Input((4,)), Dense(1)])
    z = Input((3,))
    joint = Model(z, critic(generator(z)))
    assert list(joint.parameters()) == [
        "dense_1.weight",
        "dense_1.bias",
        "dense_2.weight",
        "dense_2.bias",
    ]
    joint.build(seed=3)
    for name, tensor in generator.parameters().items():
        assert np.shares_memory(tensor.numpy(), joint.parameters()[name].numpy())


def test_only_layers_before_an_output_are_part() -> None:
    x = Input((4,))
    h = Dense(3, name="used")(x)
    Dense(1000, name="dead")(h)
    model = Model(x, Dense(2, name="end")(h))
    assert [layer.name for layer in model.layers] == ["used", "end"]


def test_part_of_a_model_from_the_middle_on() -> None:
    x = Input((4,))
    h = Dense(3)(x)
    y = Dense(2)(h)
    whole, tail, head = Model(x, y), Model(h, y), Model(x, h)
    data = random(5, 4)
    np.testing.assert_array_equal(tail(head(data)), whole(data))
    assert [layer.name for layer in tail.layers] == ["dense_2"]


def test_several_inputs_and_outputs() -> None:
    a, b = Input((2,), name="left"), Input((3,), name="right")
    joint = Concat()([a, b])
    model = Model([a, b], [Dense(4)(joint), joint])
    y, both = model([random(2, 2), random(2, 3)])
    assert y.shape == (2, 4)
    np.testing.assert_array_equal(both, np.hstack([random(2, 2), random(2, 3)]))
    da, db = model.backward([np.ones_like(y), np.zeros_like(both)])
    assert da.shape == (2, 2) and db.shape == (2, 3)


def test_arrays_in_give_the_same_kind_of_arrays_out() -> None:
    model = small()
    x = random(3, 4)
    y = model(x)
    assert type(y) is np.ndarray
    assert type(model.backward(np.ones_like(y))) is np.ndarray
    t = model(sixloop.Tensor(x))
    assert type(t) is sixloop.Tensor
    assert type(model.backward(t)) is sixloop.Tensor
    np.testing.assert_array_equal(t.numpy(), y)


@pytest.mark.parametrize("kind", ["fortran", "strided", "read-only", "unaligned", "dlpack"])
def test_arrays_of_any_memory_layout(kind: str) -> None:
    model = Sequential([Input((4, 5, 2)), Flatten(), Dense(3)])
    x = random(3, 4, 5, 2)
    other: Any = x.copy()
    if kind == "fortran":
        other = np.asfortranarray(x)
    elif kind == "strided":
        other = np.repeat(x, 2, axis=2)[:, :, ::2]
    elif kind == "read-only":
        other.setflags(write=False)
    elif kind == "unaligned":
        other = np.frombuffer(b"x" + x.tobytes(), np.float32, offset=1).reshape(x.shape)
    else:
        other = Provider(x)
    np.testing.assert_array_equal(model(other, training=True), model(x))


class Provider:
    """Has the DLPack protocol and nothing else."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **arguments: Any) -> Any:
        return self.array.__dlpack__(**arguments)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


def test_empty_batch() -> None:
    model = Sequential(
        [
            Input((6, 6, 2)),
            Conv2D(3, 3, activation="relu"),
            BatchNorm(),
            MaxPool2D(),
            Dropout(0.5),
            Flatten(),
            Dense(2, activation="softmax"),
        ]
    )
    for training in (False, True):
        y = model(np.empty((0, 6, 6, 2), np.float32), training=training)
        assert y.shape == (0, 2)
        assert model.backward(y).shape == (0, 6, 6, 2)
        assert all(not g.numpy().any() for g in model.gradients().values())
    assert not model.parameters()["batch_norm_1.running_mean"].numpy().any()


def test_inference_keeps_no_activations() -> None:
    image = Input((16, 16, 8))
    x = image
    for _ in range(6):
        x = Conv2D(8, 3, padding="same", activation="relu")(x)
    model = Model(image, GlobalAvgPool2D()(x))
    data = random(4, 16, 16, 8)
    model(data)
    gc.collect()
    sixloop.empty_cache()
    idle = sixloop.memory_stats()["allocated"]
    activation = 4 * 16 * 16 * 8 * 4
    model(data)
    assert sixloop.memory_stats()["allocated"] - idle < activation
    model(data, training=True)
    assert sixloop.memory_stats()["allocated"] - idle >= 5 * activation
    model.backward(np.ones((4, 8), np.float32), input_gradient=False)
    gradients = sum(g.nbytes for g in model.gradients().values())
    assert sixloop.memory_stats()["allocated"] - idle < activation + 2 * gradients


def test_input_gradient_is_not_computed_where_nobody_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    right = Conv2D.backward

    def spy(self: Conv2D, ctx: Any, dy: Any) -> Any:
        result = right(self, ctx, dy)
        calls.append(f"{self.name}: {result[0] is not None}")
        return result

    monkeypatch.setattr(Conv2D, "backward", spy)
    model = Sequential(
        [Input((8, 8, 2)), MaxPool2D(), Conv2D(3, 3), Conv2D(2, 1), GlobalAvgPool2D()]
    )
    monkeypatch.setattr(
        MaxPool2D, "backward", lambda *_: pytest.fail("no parameter lies before the pooling")
    )
    model(random(2, 8, 8, 2), training=True)
    assert model.backward(np.ones((2, 2), np.float32), input_gradient=False) is None
    assert calls == ["conv2d_2: True", "conv2d_1: False"]


def test_input_gradients_are_arrays_of_their_own() -> None:
    a, b = Input((3,)), Input((3,))
    model = Model([a, b], Add()([a, b]))
    for convert in (np.asarray, sixloop.Tensor):
        dy = convert(np.ones((2, 3), np.float32))
        model([convert(random(2, 3)), convert(random(2, 3))])
        da, db = model.backward(dy)
        np.asarray(da)[:] = 7
        assert (np.asarray(db) == 1).all() and (np.asarray(dy) == 1).all()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("logits", [False, True])
def test_outputs_may_be_overwritten(training: bool, logits: bool) -> None:
    def make(*layers: Any) -> Model:
        return Sequential([Input((2, 3, 1)), Flatten(), Dense(3, activation="relu"), *layers])

    x, dy = random(4, 2, 3, 1), random(4, 3)
    for layers in [
        [],
        [Dense(3)],
        [Dense(3, activation="softmax")],
        [Activation("softmax")],
        [Dropout(0.0)],
        [Reshape((3,))],
    ]:
        model = make(*layers)
        if logits and model.final_activation == "relu":
            continue
        model(x, training=training, logits=logits)
        expected = model.backward(dy)
        y = model(x, training=training, logits=logits)
        y -= 100
        np.testing.assert_array_equal(model.backward(dy), expected)
    flat = Sequential([Input((2, 3, 1)), Flatten()])(x, training=training)
    assert not np.shares_memory(flat, x)


def test_gradients_are_overwritten_not_added() -> None:
    model = small()
    x, dy = random(3, 4), random(3, 2)
    model(x, training=True)
    model.backward(dy)
    once = {name: g.numpy().copy() for name, g in model.gradients().items()}
    model(x, training=True)
    model.backward(dy)
    for name, gradient in model.gradients().items():
        np.testing.assert_array_equal(gradient.numpy(), once[name])


def test_dropout_follows_seed_step_and_layer() -> None:
    model = Sequential([Input((1000,)), Dropout(0.25), Dropout(0.25)])
    one, other = [Sequential([Input((1000,)), Dropout(0.25, name=n)]) for n in ("a", "b")]
    x = np.ones((2, 1000), np.float32)
    np.testing.assert_array_equal(model(x), x)
    y = one(x, training=True, step=1)
    np.testing.assert_array_equal(y, one(x, training=True, step=1))
    assert (y != one(x, training=True, step=2)).any()
    assert (y != other(x, training=True, step=1)).any()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.05
    one.build(seed=9)
    assert (y != one(x, training=True, step=1)).any()
    np.testing.assert_array_equal(one.backward(x), one(x, training=True, step=1))
    both = model(x, training=True)
    assert abs((both == 0).mean() - (1 - 0.75**2)) < 0.05  # the two masks differ


def test_batch_norm_statistics() -> None:
    model = Sequential([Input((3, 2, 4)), BatchNorm(momentum=0.8)])
    x = 3 * random(5, 3, 2, 4) - 1
    y = model(x, training=True)
    flat = x.reshape(-1, 4).astype(np.float64)
    np.testing.assert_allclose(y.reshape(-1, 4).mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(y.reshape(-1, 4).var(0), 1, atol=1e-4)
    p = {name.split(".")[1]: t.numpy() for name, t in model.parameters().items()}
    np.testing.assert_allclose(p["running_mean"], 0.2 * flat.mean(0), rtol=1e-5)
    variance = 0.8 + 0.2 * flat.var(0, ddof=1)
    np.testing.assert_allclose(p["running_variance"], variance, rtol=1e-5)
    expected = (x - p["running_mean"]) / np.sqrt(p["running_variance"] + 1e-5)
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)
    assert list(model.trainable_parameters()) == ["batch_norm_1.gamma", "batch_norm_1.beta"]
    assert model.count_parameters() == 16 and model.count_parameters(trainable_only=True) == 8


def test_batch_norm_of_one_value_moves_nothing() -> None:
    model = Sequential([Input((4,)), BatchNorm()])
    y = model(random(1, 4), training=True)
    assert np.isfinite(y).all()
    assert (model.parameters()["batch_norm_1.running_variance"].numpy() == 1).all()


def test_first_non_finite() -> None:
    model = small()
    x = random(2, 4)
    assert model.first_non_finite(x) is None
    model.parameters()["dense_2.bias"].numpy()[1] = np.nan
    assert model.first_non_finite(x) == "dense_2"
    model.parameters()["dense_1.weight"].numpy()[0, 0] = np.inf
    assert model.first_non_finite(x) == "dense_1"
    assert model.first_non_finite(x * np.nan) == "input_1"


def test_final_activation() -> None:
    x = Input((3,))
    y = Dense(2, activation="softmax")(x)
    assert Model(x, y).final_activation == "softmax"
    assert Model(x, Activation("sigmoid")(Dense(2)(x))).final_activation == "sigmoid"
    assert Model(x, Dense(2)(x)).final_activation is None
    assert Model(x, [y, y]).final_activation is None
    assert Model(x, [y, Dense(3, activation="softmax")(x)]).final_activation == "softmax"
    assert Model(x, [y, Dense(3, activation="sigmoid")(x)]).final_activation is None
    assert Model(x, [y, Dense(3, activation="softmax")(y)]).final_activation is None
    assert Model(x, [x, y]).final_activation is None
    assert Model(x, x).final_activation is None


def test_build_in_float64_and_a_later_build_keeps_the_values() -> None:
    model = small()
    model.build(seed=1, dtype="float64")
    assert model.dtype == "float64"
    sha = model.weights_sha256()
    model.build(seed=2)
    assert model.weights_sha256() == sha and model.seed == 2
    assert model(random(2, 4).astype(np.float64)).dtype == np.float64
    other = small()
    other.build(seed=2, dtype="float64")
    assert other.weights_sha256() != sha


def test_a_deep_chain_needs_no_recursion() -> None:
    image = Input((2,))
    x = image
    layer = Dense(2, kernel_initializer="zeros")
    for _ in range(3000):
        x = layer(x)
    model = Model(image, x)
    assert model(np.ones((1, 2), np.float32)).shape == (1, 2)
    assert len(model.nodes) == 3000 and len(model.layers) == 1


def test_repr_is_the_layers_configuration() -> None:
    layer = Conv2D(8, 3, strides=(1, 2), padding=1, activation="relu", name="c")
    again = eval(repr(layer), {"Conv2D": Conv2D})
    assert repr(again) == repr(layer) and again.config() == layer.config()
    assert layer.padding == ((1, 1), (1, 1)) and layer.kernel_size == (3, 3)
    assert repr(Input((2, 3), name="x")) == "Input(shape=(2, 3), name='x')"


def test_import_stays_light() -> None:
    code = (
        "import sys, numpy; before = set(sys.modules); import sixloop.nn; "
        "new = set(sys.modules) - before; print(sorted({'safetensors', 'tqdm'} & new))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
