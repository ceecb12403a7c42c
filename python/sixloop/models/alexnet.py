"""AlexNet, the winner of ILSVRC 2012.

Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks",
NIPS 2012; and Krizhevsky, "One weird trick for parallelizing convolutional neural networks",
arXiv:1404.5997, 2014.
"""

from __future__ import annotations

from collections.abc import Sequence

from sixloop import _checks, initializers
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
from sixloop.nn.layer import Layer

__all__ = ["alexnet"]


def alexnet(
    classes: int = 1000,
    input_shape: Sequence[int] | None = None,
    variant: str = "2012",
) -> Model:
    """Return AlexNet.

    "2012", 227x227x3: the paper's. Its second, fourth and fifth convolutions have two groups, one
    for each GPU: 60,965,224 parameters, 724,406,816 multiply-adds. (The paper writes 224x224, with
    which its 55x55 outputs of the first layer do not agree.)

    "ungrouped", 227x227x3: the same with all maps connected: 62,378,344 and 1,135,256,096.

    "one-weird-trick", 224x224x3: that of 2014 as torchvision has it, with 64, 192, 384, 256 and 256
    maps and without response normalisation: 61,100,840 and 714,188,480. Layers are named as in
    torchvision. For other sizes than 224, torchvision averages its maps to 6x6, which this does
    not; the first fully connected layer has other sizes instead.

    Parameters start as in section 5 of the paper, those of "one-weird-trick" as He et al.
    (arXiv:1502.01852) have them.

    Args:
        classes: number of outputs; default 1000.
        input_shape: of one sample, (H, W, C); default the variant's. H and W of at least 67
            (63 for "one-weird-trick").
        variant: "2012" (default), "ungrouped" or "one-weird-trick".

    Raises:
        ValueError: unknown variant, or an input that the network does not fit.
    """
    _checks.choice("alexnet", "variant", variant, ("2012", "ungrouped", "one-weird-trick"))
    if variant == "one-weird-trick":
        layers, own_shape = _one_weird_trick(classes), (224, 224, 3)
    else:
        layers, own_shape = _of_2012(classes, groups=2 if variant == "2012" else 1), (227, 227, 3)
    shape = own_shape if input_shape is None else tuple(input_shape)
    return Sequential([Input(shape), *layers], name="alexnet")


def _of_2012(classes: int, groups: int) -> list[Layer]:
    start = initializers.normal(std=0.01)

    def conv(name: str, filters: int, size: int, bias: str, groups: int = 1) -> Conv2D:
        return Conv2D(
            filters,
            size,
            padding=size // 2,
            groups=groups,
            activation="relu",
            kernel_initializer=start,
            bias_initializer=bias,
            name=name,
        )

    def dense(name: str) -> Dense:
        return Dense(
            4096, activation="relu", kernel_initializer=start, bias_initializer="ones", name=name
        )

    return [
        Conv2D(96, 11, strides=4, activation="relu", kernel_initializer=start, name="conv1"),
        LocalResponseNorm(),
        MaxPool2D(3, strides=2),
        conv("conv2", 256, 5, "ones", groups),
        LocalResponseNorm(),
        MaxPool2D(3, strides=2),
        conv("conv3", 384, 3, "zeros"),
        conv("conv4", 384, 3, "ones", groups),
        conv("conv5", 256, 3, "ones", groups),
        MaxPool2D(3, strides=2),
        Flatten(),
        dense("fc6"),
        Dropout(0.5),
        dense("fc7"),
        Dropout(0.5),
        Dense(classes, activation="softmax", kernel_initializer=start, name="fc8"),
    ]


def _one_weird_trick(classes: int) -> list[Layer]:
    def conv(
        index: int, filters: int, size: int, strides: int = 1, padding: int | None = None
    ) -> Conv2D:
        return Conv2D(
            filters,
            size,
            strides=strides,
            padding=size // 2 if padding is None else padding,
            activation="relu",
            kernel_initializer="he_normal",
            name=f"features.{index}",
        )

    def dense(index: int) -> Dense:
        return Dense(
            4096, activation="relu", kernel_initializer="he_normal", name=f"classifier.{index}"
        )

    return [
        conv(0, 64, 11, strides=4, padding=2),
        MaxPool2D(3, strides=2),
        conv(3, 192, 5),
        MaxPool2D(3, strides=2),
        conv(6, 384, 3),
        conv(8, 256, 3),
        conv(10, 256, 3),
        MaxPool2D(3, strides=2),
        Flatten(),
        Dropout(0.5),
        dense(1),
        Dropout(0.5),
        dense(4),
        Dense(classes, activation="softmax", name="classifier.6"),
    ]
