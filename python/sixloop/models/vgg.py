"""VGG, the networks that made 3x3 filters the rule.

Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition",
arXiv:1409.1556, 2014, table 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from sixloop import _checks
from sixloop.nn import (
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    MaxPool2D,
    Model,
    Sequential,
)
from sixloop.nn.layer import Layer

__all__ = ["vgg11", "vgg13", "vgg16", "vgg19"]


def vgg11(
    classes: int = 1000, input_shape: Sequence[int] = (224, 224, 3), batch_norm: bool = False
) -> Model:
    """Return configuration A: 132,863,336 parameters for 224x224x3; see `vgg16`."""
    return _vgg("vgg11", (1, 1, 2, 2, 2), classes, input_shape, batch_norm)


def vgg13(
    classes: int = 1000, input_shape: Sequence[int] = (224, 224, 3), batch_norm: bool = False
) -> Model:
    """Return configuration B: 133,047,848 parameters for 224x224x3; see `vgg16`."""
    return _vgg("vgg13", (2, 2, 2, 2, 2), classes, input_shape, batch_norm)


def vgg16(
    classes: int = 1000, input_shape: Sequence[int] = (224, 224, 3), batch_norm: bool = False
) -> Model:
    """Return configuration D: 138,357,544 parameters for 224x224x3.

    Layers are named as in torchvision, where `load_torch_state_dict` finds their weights. For other
    sizes than 224, torchvision averages its maps to 7x7, which this does not; the first fully
    connected layer has other sizes instead. Convolutions start as He et al. (arXiv:1502.01852) have
    them, with which no layer needs the pre-training of the paper.

    Args:
        classes: number of outputs; default 1000.
        input_shape: of one sample, (H, W, C); default (224, 224, 3). H and W of at least 32.
        batch_norm: whether each convolution is followed by batch normalisation (arXiv:1502.03167);
            default False, as in the paper.

    Raises:
        ValueError, TypeError: an input that the network does not fit, or a wrong argument.
    """
    return _vgg("vgg16", (2, 2, 3, 3, 3), classes, input_shape, batch_norm)


def vgg19(
    classes: int = 1000, input_shape: Sequence[int] = (224, 224, 3), batch_norm: bool = False
) -> Model:
    """Return configuration E: 143,667,240 parameters for 224x224x3; see `vgg16`."""
    return _vgg("vgg19", (2, 2, 4, 4, 4), classes, input_shape, batch_norm)


def _vgg(
    name: str,
    convolutions: Sequence[int],
    classes: int,
    input_shape: Sequence[int],
    batch_norm: bool,
) -> Model:
    _checks.flag(name, "batch_norm", batch_norm)
    start = "he_normal"
    layers: list[Layer] = []
    index = 0  # of torchvision's list, in which a ReLU is a layer of its own
    for filters, count in zip((64, 128, 256, 512, 512), convolutions, strict=True):
        for _ in range(count):
            layers.append(
                Conv2D(
                    filters,
                    3,
                    padding=1,
                    activation=None if batch_norm else "relu",
                    kernel_initializer=start,
                    name=f"features.{index}",
                )
            )
            if batch_norm:
                layers.append(BatchNorm(activation="relu", name=f"features.{index + 1}"))
            index += 3 if batch_norm else 2
        layers.append(MaxPool2D(2))
        index += 1
    layers += [
        Flatten(),
        Dense(4096, activation="relu", kernel_initializer=start, name="classifier.0"),
        Dropout(0.5),
        Dense(4096, activation="relu", kernel_initializer=start, name="classifier.3"),
        Dropout(0.5),
        Dense(classes, activation="softmax", name="classifier.6"),
    ]
    return Sequential([Input(tuple(input_shape)), *layers], name=name)
