"""A small network for small pictures: the default for the UCI digits."""

from __future__ import annotations

from collections.abc import Sequence

from sixloop.nn import BatchNorm, Conv2D, Dense, Flatten, Input, MaxPool2D, Model, Sequential
from sixloop.nn.layer import Layer

__all__ = ["small_cnn"]


def small_cnn(classes: int = 10, input_shape: Sequence[int] = (8, 8, 1)) -> Model:
    """Return three 3x3 convolutions of 16, 32 and 64 maps and a softmax layer.

    Of no paper: the plain stack of Simonyan and Zisserman (arXiv:1409.1556) with batch
    normalisation (arXiv:1502.03167), made small. 26,202 parameters for 8x8x1 and 10 classes.

    Args:
        classes: number of outputs.
        input_shape: of one sample, (H, W, C) with H and W of at least 4.
    """
    return Sequential(
        [
            Input(shape=tuple(input_shape)),
            *_block(16),
            *_block(32),
            MaxPool2D(2),
            *_block(64),
            MaxPool2D(2),
            Flatten(),
            Dense(classes, activation="softmax"),
        ],
        name="small_cnn",
    )


def _block(filters: int) -> list[Layer]:
    # No bias: the normalisation that follows takes the mean away, and adds one of its own.
    return [
        Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal"),
        BatchNorm(activation="relu"),
    ]
