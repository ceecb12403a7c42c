"""ResNet, the winner of ILSVRC 2015.

He, Zhang, Ren, Sun, "Deep residual learning for image recognition", arXiv:1512.03385, 2015,
table 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from sixloop import _checks
from sixloop.nn import Add, BatchNorm, Conv2D, Dense, GlobalAvgPool2D, Input, MaxPool2D, Model
from sixloop.nn.layer import Symbol

__all__ = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]

VARIANTS = ("v1", "v1.5")


def resnet18(
    classes: int = 1000, input_shape: Sequence[int] = (224, 224, 3), variant: str = "v1"
) -> Model:
    """Return ResNet-18: 11,689,512 trainable parameters for 224x224x3; see `resnet50`.

    Its blocks have no 1x1 convolutions, so the variants are the same network.
    """
    return _resnet("resnet18", (2, 2, 2, 2), False, classes, input_shape, variant)


def resnet34(
    classes: int = 1000, input_shape: Sequence[int] = (224, 224, 3), variant: str = "v1"
) -> Model:
    """Return ResNet-34: 21,797,672 trainable parameters for 224x224x3; see `resnet50`.

    Its blocks have no 1x1 convolutions, so the variants are the same network.
    """
    return _resnet("resnet34", (3, 4, 6, 3), False, classes, input_shape, variant)


def resnet50(
    classes: int = 1000, input_shape: Sequence[int] = (224, 224, 3), variant: str = "v1"
) -> Model:
    """Return ResNet-50: 25,557,032 trainable parameters for 224x224x3.

    A block that halves the image does so in its first 1x1 convolution ("v1", the paper's,
    3,857,973,248 multiply-adds) or in its 3x3 convolution ("v1.5", torchvision's, 4,089,184,256).
    Where a block changes the shape, its shortcut is a projection (option B).

    Layers are named as in torchvision, where `load_torch_state_dict` finds their weights; those
    weights want "v1.5". Convolutions start as He et al. (arXiv:1502.01852) have them.

    Args:
        classes: number of outputs; default 1000.
        input_shape: of one sample, (H, W, C); default (224, 224, 3). Any H and W.
        variant: "v1" (default) or "v1.5".

    Raises:
        ValueError: unknown variant, or an input that is no image.
    """
    return _resnet("resnet50", (3, 4, 6, 3), True, classes, input_shape, variant)


def resnet101(
    classes: int = 1000, input_shape: Sequence[int] = (224, 224, 3), variant: str = "v1"
) -> Model:
    """Return ResNet-101: 44,549,160 trainable parameters for 224x224x3; see `resnet50`."""
    return _resnet("resnet101", (3, 4, 23, 3), True, classes, input_shape, variant)


def resnet152(
    classes: int = 1000, input_shape: Sequence[int] = (224, 224, 3), variant: str = "v1"
) -> Model:
    """Return ResNet-152: 60,192,808 trainable parameters for 224x224x3; see `resnet50`."""
    return _resnet("resnet152", (3, 8, 36, 3), True, classes, input_shape, variant)


def conv_bn(
    x: Symbol, filters: int, size: int, strides: int, names: tuple[str, str], activate: bool = True
) -> Symbol:
    """Convolves and normalises, then ReLU: what every ResNet is made of.

    The convolution has no bias: the normalisation takes the mean away, and adds one of its own.
    """
    conv = Conv2D(
        filters,
        size,
        strides=strides,
        padding=size // 2,
        use_bias=False,
        kernel_initializer="he_normal",
        name=names[0],
    )
    return BatchNorm(activation="relu" if activate else None, name=names[1])(conv(x))


def _resnet(
    name: str,
    blocks: Sequence[int],
    bottleneck: bool,
    classes: int,
    input_shape: Sequence[int],
    variant: str,
    width: int = 64,
) -> Model:
    _checks.choice(name, "variant", variant, VARIANTS)
    image = Input(tuple(input_shape))
    x = conv_bn(image, width, 7, 2, ("conv1", "bn1"))
    x = MaxPool2D(3, strides=2, padding=1)(x)
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            strides = 2 if stage > 1 and block == 0 else 1
            place = f"layer{stage}.{block}"
            x = _block(x, width << (stage - 1), strides, place, bottleneck, variant)
    x = Dense(classes, activation="softmax", name="fc")(GlobalAvgPool2D()(x))
    return Model(image, x, name=name)


def _block(
    x: Symbol, width: int, strides: int, place: str, bottleneck: bool, variant: str
) -> Symbol:
    def names(number: int) -> tuple[str, str]:
        return f"{place}.conv{number}", f"{place}.bn{number}"

    filters = 4 * width if bottleneck else width
    shortcut = x
    if strides > 1 or x.shape[-1] != filters:
        projection = (f"{place}.downsample.0", f"{place}.downsample.1")
        shortcut = conv_bn(x, filters, 1, strides, projection, activate=False)
    if bottleneck:
        first, second = (strides, 1) if variant == "v1" else (1, strides)
        x = conv_bn(x, width, 1, first, names(1))
        x = conv_bn(x, width, 3, second, names(2))
        x = conv_bn(x, filters, 1, 1, names(3), activate=False)
    else:
        x = conv_bn(x, width, 3, strides, names(1))
        x = conv_bn(x, width, 3, 1, names(2), activate=False)
    return Add(activation="relu", name=f"{place}.add")([x, shortcut])
