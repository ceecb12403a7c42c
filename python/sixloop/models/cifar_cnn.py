"""A network for 32x32 colour pictures that trains in minutes on two CPU cores."""

from __future__ import annotations

from collections.abc import Sequence

from sixloop.nn import BatchNorm, Conv2D, Dense, Flatten, Input, MaxPool2D, Model, Sequential
from sixloop.nn.layer import Layer

__all__ = ["cifar_cnn"]


def cifar_cnn(classes: int = 10, input_shape: Sequence[int] = (32, 32, 3)) -> Model:
    """Return three 3x3 convolutions of 32, 64 and 96 maps, each pooled, and a softmax layer.

    Of no paper: the conv-conv-conv shape of the network for CIFAR-10 in Krizhevsky's cuda-convnet,
    with 3x3 filters (arXiv:1409.1556) and batch normalisation (arXiv:1502.03167).

    Args:
        classes: number of outputs.
        input_shape: of one sample, (H, W, C) with H and W of at least 8.
    """
    return Sequential(
        [
            Input(shape=tuple(input_shape)),
            *_block(32),
            *_block(64),
            *_block(96),
            Flatten(),
            Dense(classes, activation="softmax"),
        ],
        name="cifar_cnn",
    )


def _block(filters: int) -> list[Layer]:
    # No bias: the normalisation that follows takes the mean away, and adds one of its own.
    return [
        Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal"),
        BatchNorm(activation="relu"),
        MaxPool2D(2),
    ]
