"""DenseNet, in which each layer reads all layers before it.

Huang, Liu, van der Maaten, Weinberger, "Densely connected convolutional networks",
arXiv:1608.06993, 2016, table 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from sixloop.nn import (
    AvgPool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    GlobalAvgPool2D,
    Input,
    MaxPool2D,
    Model,
)
from sixloop.nn.layer import Symbol

__all__ = ["densenet121", "densenet161", "densenet169", "densenet201", "densenet264"]


def densenet121(classes: int = 1000, input_shape: Sequence[int] = (224, 224, 3)) -> Model:
    """Return DenseNet-121: 7,978,856 trainable parameters for 224x224x3.

    The paper's DenseNet-BC: 1x1 convolutions before the 3x3 ones, and transitions that halve the
    maps. Each layer adds 32 maps.

    Layers are named as in torchvision, where `load_torch_state_dict` finds their weights.
    Convolutions start as He et al. (arXiv:1502.01852) have them.

    Args:
        classes: number of outputs; default 1000.
        input_shape: of one sample, (H, W, C); default (224, 224, 3). H and W of at least 29.

    Raises:
        ValueError: an input that the network does not fit.
    """
    return _densenet("densenet121", (6, 12, 24, 16), 32, classes, input_shape)


def densenet169(classes: int = 1000, input_shape: Sequence[int] = (224, 224, 3)) -> Model:
    """Return DenseNet-169: 14,149,480 trainable parameters for 224x224x3; see `densenet121`."""
    return _densenet("densenet169", (6, 12, 32, 32), 32, classes, input_shape)


def densenet201(classes: int = 1000, input_shape: Sequence[int] = (224, 224, 3)) -> Model:
    """Return DenseNet-201: 20,013,928 trainable parameters for 224x224x3; see `densenet121`."""
    return _densenet("densenet201", (6, 12, 48, 32), 32, classes, input_shape)


def densenet161(classes: int = 1000, input_shape: Sequence[int] = (224, 224, 3)) -> Model:
    """Return DenseNet-161: 28,681,000 trainable parameters for 224x224x3; see `densenet121`.

    Each layer adds 48 maps. It is not in the paper's table, but in the authors' code.
    """
    return _densenet("densenet161", (6, 12, 36, 24), 48, classes, input_shape)


def densenet264(classes: int = 1000, input_shape: Sequence[int] = (224, 224, 3)) -> Model:
    """Return DenseNet-264: 33,337,704 trainable parameters for 224x224x3; see `densenet121`."""
    return _densenet("densenet264", (6, 12, 64, 48), 32, classes, input_shape)


def _densenet(
    name: str, blocks: Sequence[int], growth: int, classes: int, input_shape: Sequence[int]
) -> Model:
    def conv(label: str, x: Symbol, filters: int, size: int, strides: int = 1) -> Symbol:
        layer = Conv2D(
            filters,
            size,
            strides=strides,
            padding=size // 2,
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"features.{label}",
        )
        return layer(x)

    def norm(label: str, x: Symbol) -> Symbol:
        return BatchNorm(activation="relu", name=f"features.{label}")(x)

    image = Input(tuple(input_shape))
    x = norm("norm0", conv("conv0", image, 2 * growth, 7, strides=2))
    x = MaxPool2D(3, strides=2, padding=1)(x)
    for number, layers in enumerate(blocks, 1):
        for layer in range(1, layers + 1):
            place = f"denseblock{number}.denselayer{layer}"
            new = conv(f"{place}.conv1", norm(f"{place}.norm1", x), 4 * growth, 1)
            new = conv(f"{place}.conv2", norm(f"{place}.norm2", new), growth, 3)
            x = Concat()([x, new])
        if number < len(blocks):
            place = f"transition{number}"
            x = conv(f"{place}.conv", norm(f"{place}.norm", x), x.shape[-1] // 2, 1)
            x = AvgPool2D(2)(x)
    x = GlobalAvgPool2D()(norm("norm5", x))
    x = Dense(classes, activation="softmax", name="classifier")(x)
    return Model(image, x, name=name)
