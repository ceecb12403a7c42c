"""The table of a model's layers."""

from __future__ import annotations

import numpy as np

from sixloop import models
from sixloop.nn import (
    Activation,
    Add,
    AvgPool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    Flatten,
    GlobalAvgPool2D,
    Input,
    MaxPool2D,
    Model,
    Sequential,
)


def test_lenet5() -> None:
    lenet = Sequential(
        [
            Input((28, 28, 1)),
            Conv2D(6, 5, padding=2, activation="tanh"),
            MaxPool2D(2),
            Conv2D(16, 5, activation="tanh"),
            MaxPool2D(2),
            Flatten(),
            Dense(120, activation="tanh"),
            Dense(84, activation="tanh"),
            Dense(10, activation="softmax"),
        ],
        name="lenet5",
    )
    summary = lenet.summary()
    assert summary.parameters == summary.trainable_parameters == 61_706
    products = [row.multiply_adds for row in summary.rows]
    assert products == [
        0,
        28 * 28 * 6 * 25,
        0,
        10 * 10 * 16 * 25 * 6,
        0,
        0,
        400 * 120,
        120 * 84,
        84 * 10,
    ]
    assert summary.multiply_adds == sum(products) == 416_520
    values = [28 * 28, 28 * 28 * 6, 14 * 14 * 6, 10 * 10 * 16, 5 * 5 * 16, 0, 120, 84, 10]
    assert [row.activation_bytes for row in summary.rows] == [4 * n for n in values]
    assert summary.activation_bytes == 4 * sum(values)
    assert not lenet.is_built
    lenet.build(dtype="float64")
    assert lenet.summary().activation_bytes == 8 * sum(values)


def test_text() -> None:
    image = Input((6, 6, 2), name="image")
    conv = Conv2D(2, 3, padding="same", groups=2, name="shared")
    x = BatchNorm()(conv(conv(image)))
    model = Model(image, Add(activation="relu")([x, image]), name="twice")
    assert str(model.summary()) == "\n".join(
        [
            "twice",
            "layer                     output shape  parameters  multiply-adds  activation bytes"
            "  receptive field",
            "-" * 100,
            "image (Input)             (N, 6, 6, 2)           0              0               288"
            "                1",
            "shared (Conv2D)           (N, 6, 6, 2)          20            648               288"
            "                3",
            "shared (Conv2D)           (N, 6, 6, 2)           0            648               288"
            "                5",
            "batch_norm_1 (BatchNorm)  (N, 6, 6, 2)           8              0                 0"
            "                5",
            "add_1 (Add)               (N, 6, 6, 2)           0              0               288"
            "                5",
            "-" * 100,
            "total                                           28          1,296             1,152",
            "trainable 24, not trained 4",
        ]
    )
    assert repr(model.summary()) == str(model.summary())


def fields(model: Model) -> list[object]:
    return [row.receptive_field for row in model.summary().rows]


def reach_by_gradient(model: Model, output: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of the input pixels that one value of the output depends on."""
    x = np.random.default_rng(0).standard_normal((1, *model.input_shapes[0]), np.float32)
    dy = np.zeros_like(model(x))
    dy[(0, *output)] = 1
    touched = np.abs(model.backward(dy)[0]).sum(axis=-1) > 0
    rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def test_receptive_field_of_a_chain() -> None:
    layers = [
        Conv2D(2, (3, 5), strides=(2, 1)),
        AvgPool2D((2, 3), strides=(1, 2)),
        Conv2D(2, 3, dilation=(1, 2)),
        Activation("tanh"),
    ]
    model = Sequential([Input((40, 48, 2)), *layers])
    # Pixels apart after each layer: (2, 1), (2, 2), (2, 2).
    assert fields(model) == [(1, 1), (3, 5), (5, 7), (9, 15), (9, 15)]
    found = reach_by_gradient(model, (3, 4, 0))
    assert found == (9, 15)
    wrong = Sequential([Input((40, 48, 2)), *layers[:2], Conv2D(2, 3), layers[3]])
    assert reach_by_gradient(wrong, (3, 4, 0)) != found
    text = str(model.summary())
    assert "9x15" in text


def test_receptive_field_of_branches_and_ends() -> None:
    image = Input((16, 16, 2))
    x = Conv2D(2, 3, padding="same")(image)
    wide = Conv2D(2, 5, padding="same")(Conv2D(2, (1, 7), padding="same")(x))
    x = Concat()([x, wide])
    model = Model(image, [Dense(3)(Flatten()(x)), GlobalAvgPool2D()(x)])
    assert {row.kind: row.receptive_field for row in model.summary().rows} == {
        "Input": (1, 1),
        "Conv2D": (7, 13),
        "Concat": (7, 13),
        "Flatten": (7, 13),
        "Dense": "all",
        "GlobalAvgPool2D": "all",
    }
    vector = Sequential([Input(8), Dense(3)])
    assert fields(vector) == [None, None]
    assert str(vector.summary()).splitlines()[3].endswith(" -")


def test_lenet5_of_1998() -> None:
    """The layers that no other network has; the paper's figure 2 has maps of 28, 14, 10 and 5."""
    model = models.define("lenet5", variant="1998")
    found = {row.name: row.receptive_field for row in model.summary().rows}
    assert [found[name] for name in ("c1", "s2", "c3", "s4")] == [(n, n) for n in (5, 6, 14, 16)]
    assert found["c5"] == found["output"] == "all"
    middle = next(node.inputs[0] for node in model.nodes if node.layer.name == "s4")
    convolved = Model(model.inputs, middle)
    convolved.build(seed=0)
    assert reach_by_gradient(convolved, (4, 5, 15)) == (14, 14)
    assert "trainable 60,000, not trained 840" in str(model.summary())


def test_receptive_fields_of_vgg16() -> None:
    """The figures that the literature has: 212 pixels for the last pooling."""
    layers = []
    for count in (2, 2, 3, 3, 3):
        layers += [Conv2D(1, 3, padding="same") for _ in range(count)] + [MaxPool2D(2)]
    found = fields(Sequential([Input((224, 224, 1)), *layers]))
    assert [found[i] for i in (3, 6, 10, 14, 18)] == [(n, n) for n in (6, 16, 44, 100, 212)]
