"""LeNet-5, for the handwritten digits of MNIST.

LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86, 1998.
"""

from __future__ import annotations

from collections.abc import Sequence

from sixloop.nn import Conv2D, Dense, Flatten, Input, MaxPool2D, Model, Sequential

__all__ = ["lenet5"]


def lenet5(classes: int = 10, input_shape: Sequence[int] = (28, 28, 1)) -> Model:
    """Return LeNet-5 as it is written today: 61,706 parameters for 28x28x1 and 10 classes.

    The paper's input is 32x32 with the digit in its middle; 28x28 with padding 2 in the first layer
    is the same. Against the paper: ReLU for the scaled tanh, maxima for the trained subsampling,
    all 6 maps connected to all 16 (the paper's table leaves connections out, for 60,000
    parameters), and softmax for the radial basis functions.

    Args:
        classes: number of outputs.
        input_shape: of one sample, (H, W, C) with H and W of at least 12.
    """
    start = "he_normal"
    return Sequential(
        [
            Input(shape=tuple(input_shape)),
            Conv2D(6, 5, padding=2, activation="relu", kernel_initializer=start),
            MaxPool2D(2),
            Conv2D(16, 5, activation="relu", kernel_initializer=start),
            MaxPool2D(2),
            Flatten(),
            Dense(120, activation="relu", kernel_initializer=start),
            Dense(84, activation="relu", kernel_initializer=start),
            Dense(classes, activation="softmax"),
        ],
        name="lenet5",
    )
