"""The ResNets for CIFAR-10.

He, Zhang, Ren, Sun, "Deep residual learning for image recognition", arXiv:1512.03385, 2015,
section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from sixloop import _checks
from sixloop.models.resnet import conv_bn
from sixloop.nn import Add, AvgPool2D, Dense, GlobalAvgPool2D, Input, Model, ZeroPadChannels
from sixloop.nn.layer import Symbol

__all__ = ["resnet_cifar"]


def resnet_cifar(
    depth: int = 20, classes: int = 10, input_shape: Sequence[int] = (32, 32, 3)
) -> Model:
    """Return a ResNet of three stages with 16, 32 and 64 maps, for 32x32x3.

    With depth 20 it has 269,722 trainable parameters and 40,551,040 multiply-adds. A shortcut has
    no parameters: where the shape changes, it takes every other pixel and appends maps of zeros
    (option A). Convolutions start as He et al. (arXiv:1502.01852) have them.

    Args:
        depth: number of layers with weights, 6n + 2: 20 (default), 32, 44, 56 and 110 in the paper.
        classes: number of outputs; default 10.
        input_shape: of one sample, (H, W, C); default (32, 32, 3). Any H and W.

    Raises:
        ValueError, TypeError: another depth, or an input that is no image.
    """
    depth = _checks.integer("resnet_cifar", "depth", depth)
    if depth < 8 or depth % 6 != 2:
        near = max(8, depth - (depth - 2) % 6)
        raise ValueError(
            f"[resnet_cifar] depth must be 6n + 2, as 20, 32, 44, 56 or 110 are; got {depth}: "
            f"take {near} or {near + 6}"
        )
    return _resnet_cifar(depth // 6, 16, classes, input_shape)


def _resnet_cifar(blocks: int, width: int, classes: int, input_shape: Sequence[int]) -> Model:
    image = Input(tuple(input_shape))
    x = conv_bn(image, width, 3, 1, ("conv1", "bn1"))
    for stage in (1, 2, 3):
        for block in range(blocks):
            strides = 2 if stage > 1 and block == 0 else 1
            x = _block(x, width << (stage - 1), strides, f"layer{stage}.{block}")
    x = Dense(classes, activation="softmax", name="fc")(GlobalAvgPool2D()(x))
    return Model(image, x, name="resnet_cifar")


def _block(x: Symbol, filters: int, strides: int, place: str) -> Symbol:
    shortcut = x
    if strides > 1:
        # A window of one pixel: its average is the pixel.
        shortcut = ZeroPadChannels(filters - x.shape[-1])(AvgPool2D(1, strides=strides)(x))
    x = conv_bn(x, filters, 3, strides, (f"{place}.conv1", f"{place}.bn1"))
    x = conv_bn(x, filters, 3, 1, (f"{place}.conv2", f"{place}.bn2"), activate=False)
    return Add(activation="relu", name=f"{place}.add")([x, shortcut])
