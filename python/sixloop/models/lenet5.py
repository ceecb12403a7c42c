"""LeNet-5, for the handwritten digits of MNIST.

LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86, 1998, section II.B.
"""

from __future__ import annotations

from collections.abc import Sequence

from sixloop import _checks, initializers
from sixloop.nn import (
    Conv2D,
    Dense,
    Flatten,
    Input,
    MaxPool2D,
    Model,
    RadialBasis,
    ScaledTanh,
    Sequential,
    SparseConv2D,
    Subsample2D,
)
from sixloop.nn.layer import Layer

__all__ = ["lenet5"]

# Table I of the paper: which of the six maps of S2 each of the sixteen maps of C3 reads.
C3_TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)


def lenet5(
    classes: int = 10,
    input_shape: Sequence[int] | None = None,
    variant: str = "modern",
) -> Model:
    """Return LeNet-5 as it is written today, as it was in 1998, or as Caffe has it.

    "modern", 28x28x1: 61,706 parameters. The paper's input is 32x32 with the digit in its middle;
    28x28 with padding 2 in the first layer is the same. Against the paper: ReLU for the scaled
    tanh, maxima for the trained subsampling, all 6 maps connected to all 16, and softmax for the
    radial basis functions.

    "1998", 32x32x1: the paper's, with its connection table and 60,000 trainable parameters in
    340,908 connections. The radial basis functions are a fixed layer, whose centres are random
    instead of drawn by hand; softmax of the negative distances makes their distances comparable.

    "caffe", 28x28x1: examples/mnist/lenet.prototxt of Caffe, with 20, 50 and 500 maps and a single
    ReLU: 431,080 parameters.

    Args:
        classes: number of outputs; default 10.
        input_shape: of one sample, (H, W, C); default the variant's. H and W of at least 12
            ("modern") or 16.
        variant: "modern" (default), "1998" or "caffe".

    Raises:
        ValueError: unknown variant, or an input that the network does not fit.
    """
    _checks.choice("lenet5", "variant", variant, _VARIANTS)
    layers, own_shape = _VARIANTS[variant]
    shape = own_shape if input_shape is None else tuple(input_shape)
    return Sequential([Input(shape), *layers(classes)], name="lenet5")


def _modern(classes: int) -> list[Layer]:
    start = "he_normal"
    return [
        Conv2D(6, 5, padding=2, activation="relu", kernel_initializer=start),
        MaxPool2D(2),
        Conv2D(16, 5, activation="relu", kernel_initializer=start),
        MaxPool2D(2),
        Flatten(),
        Dense(120, activation="relu", kernel_initializer=start),
        Dense(84, activation="relu", kernel_initializer=start),
        Dense(classes, activation="softmax"),
    ]


def _of_1998(classes: int) -> list[Layer]:
    # Section II.B and appendix A: uniform within 2.4 / fan in. In C3, whose maps have 3, 4 or 6
    # links, it is that of the 4 that most have. C5 covers its whole input, so it is a Dense layer.
    return [
        Conv2D(6, 5, kernel_initializer=initializers.uniform(2.4 / 25), name="c1"),
        ScaledTanh(),
        Subsample2D(2, coefficient_initializer=initializers.uniform(2.4 / 4), name="s2"),
        ScaledTanh(),
        SparseConv2D(C3_TABLE, 5, kernel_initializer=initializers.uniform(2.4 / 100), name="c3"),
        ScaledTanh(),
        Subsample2D(2, coefficient_initializer=initializers.uniform(2.4 / 4), name="s4"),
        ScaledTanh(),
        Flatten(),
        Dense(120, kernel_initializer=initializers.uniform(2.4 / 400), name="c5"),
        ScaledTanh(),
        Dense(84, kernel_initializer=initializers.uniform(2.4 / 120), name="f6"),
        ScaledTanh(),
        RadialBasis(classes, activation="softmax", name="output"),
    ]


def _of_caffe(classes: int) -> list[Layer]:
    start = "lecun_uniform"  # Caffe's "xavier": uniform of variance 1 / fan in
    return [
        Conv2D(20, 5, kernel_initializer=start, name="conv1"),
        MaxPool2D(2),
        Conv2D(50, 5, kernel_initializer=start, name="conv2"),
        MaxPool2D(2),
        Flatten(),
        Dense(500, activation="relu", kernel_initializer=start, name="ip1"),
        Dense(classes, activation="softmax", kernel_initializer=start, name="ip2"),
    ]


_VARIANTS = {
    "modern": (_modern, (28, 28, 1)),
    "1998": (_of_1998, (32, 32, 1)),
    "caffe": (_of_caffe, (28, 28, 1)),
}
