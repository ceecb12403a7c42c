"""ZFNet, the network on which ILSVRC 2013 was won.

Zeiler, Fergus, "Visualizing and understanding convolutional networks", arXiv:1311.2901, 2013.
"""

from __future__ import annotations

from collections.abc import Sequence

from sixloop import initializers
from sixloop.nn import (
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    LocalResponseNorm,
    MaxPool2D,
    Model,
    Sequential,
)

__all__ = ["zfnet"]


def zfnet(classes: int = 1000, input_shape: Sequence[int] = (224, 224, 3)) -> Model:
    """Return the network of figure 3 of the paper, for 224x224x3.

    AlexNet with a first layer of 7x7 and stride 2, and a stride of 2 in the second: 62,357,608
    parameters, 1,168,032,896 multiply-adds. The figure's sizes, 110, 55, 26 and 13, leave one
    choice of padding: 1 in the first layer, none in the second, "same" in the first two pools. Maps
    are pooled, then normalised. Weights start as 0.01 times a normal number and biases at 0; the
    paper has 0.01 for all weights, which leaves all maps of a layer the same.

    Args:
        classes: number of outputs; default 1000.
        input_shape: of one sample, (H, W, C); default (224, 224, 3). H and W of at least 53.

    Raises:
        ValueError: an input that the network does not fit.
    """
    start = initializers.normal(std=0.01)

    def conv(name: str, filters: int, size: int, strides: int = 1, padding: int = 1) -> Conv2D:
        return Conv2D(
            filters,
            size,
            strides=strides,
            padding=padding,
            activation="relu",
            kernel_initializer=start,
            name=name,
        )

    return Sequential(
        [
            Input(tuple(input_shape)),
            conv("conv1", 96, 7, strides=2),
            MaxPool2D(3, strides=2, padding="same"),
            LocalResponseNorm(),
            conv("conv2", 256, 5, strides=2, padding=0),
            MaxPool2D(3, strides=2, padding="same"),
            LocalResponseNorm(),
            conv("conv3", 384, 3),
            conv("conv4", 384, 3),
            conv("conv5", 256, 3),
            MaxPool2D(3, strides=2),
            Flatten(),
            Dense(4096, activation="relu", kernel_initializer=start, name="fc6"),
            Dropout(0.5),
            Dense(4096, activation="relu", kernel_initializer=start, name="fc7"),
            Dropout(0.5),
            Dense(classes, activation="softmax", kernel_initializer=start, name="fc8"),
        ],
        name="zfnet",
    )
