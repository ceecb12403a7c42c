"""The table of a model's layers."""

from __future__ import annotations

from sixloop.nn import (
    Add,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
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
            "layer                     output shape  parameters  multiply-adds  activation bytes",
            "-" * 83,
            "image (Input)             (N, 6, 6, 2)           0              0               288",
            "shared (Conv2D)           (N, 6, 6, 2)          20            648               288",
            "shared (Conv2D)           (N, 6, 6, 2)           0            648               288",
            "batch_norm_1 (BatchNorm)  (N, 6, 6, 2)           8              0               288",
            "add_1 (Add)               (N, 6, 6, 2)           0              0               288",
            "-" * 83,
            "total                                           28          1,296             1,440",
            "trainable 24, running statistics 4",
        ]
    )
    assert repr(model.summary()) == str(model.summary())
