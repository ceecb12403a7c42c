"""GoogLeNet, the winner of ILSVRC 2014.

Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich, "Going deeper with
convolutions", arXiv:1409.4842, 2014.
"""

from __future__ import annotations

from collections.abc import Sequence

from sixloop import _checks
from sixloop.nn import (
    AvgPool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Input,
    LocalResponseNorm,
    MaxPool2D,
    Model,
)
from sixloop.nn.layer import Symbol

__all__ = ["googlenet"]

# Table 1 of the paper. For each module: 1x1; reduction and 3x3; reduction and 5x5; after the pool.
_MODULES = {
    "inception3a": (64, (96, 128), (16, 32), 32),
    "inception3b": (128, (128, 192), (32, 96), 64),
    "inception4a": (192, (96, 208), (16, 48), 64),
    "inception4b": (160, (112, 224), (24, 64), 64),
    "inception4c": (128, (128, 256), (24, 64), 64),
    "inception4d": (112, (144, 288), (32, 64), 64),
    "inception4e": (256, (160, 320), (32, 128), 128),
    "inception5a": (256, (160, 320), (32, 128), 128),
    "inception5b": (384, (192, 384), (48, 128), 128),
}


def googlenet(
    classes: int = 1000,
    input_shape: Sequence[int] = (224, 224, 3),
    variant: str = "paper",
    auxiliary: bool = True,
) -> Model:
    """Return GoogLeNet, for 224x224x3.

    "paper": table 1 and figure 3. 6,998,552 parameters and 1,582,671,872 multiply-adds; with both
    auxiliary classifiers 13,378,280 parameters.

    "torchvision": batch normalisation in place of biases and response normalisation, 3x3 filters in
    place of 5x5 ones, a fourth pool of 2x2 and dropout of 0.2 in place of 0.4: 6,624,904 trainable
    parameters (13,004,888) and 1,498,376,192 multiply-adds. torchvision's own weights expect images
    normalised with mean 0.5 and deviation 0.5. The auxiliary classifiers average over windows of
    5x5 as in the paper, torchvision's over windows of 4x4, to maps of 4x4 as well.

    With `auxiliary`, the outputs are three: that of the whole network, and those after modules 4a
    and 4d, whose losses help to train the lower layers. The Trainer adds them with a factor of 0.3,
    that of section 5. `Model(model.inputs, model.outputs[0])` is the network without them; it
    shares the parameters.

    All convolutions start as He et al. (arXiv:1502.01852) have them.

    Args:
        classes: number of outputs; default 1000.
        input_shape: of one sample, (H, W, C); default (224, 224, 3). H and W of at least 79 with
            auxiliary classifiers, otherwise any.
        variant: "paper" (default) or "torchvision".
        auxiliary: whether to have the auxiliary classifiers; default True.

    Raises:
        ValueError, TypeError: an input that the network does not fit, or a wrong argument.
    """
    _checks.choice("googlenet", "variant", variant, ("paper", "torchvision"))
    _checks.flag("googlenet", "auxiliary", auxiliary)
    new = variant == "torchvision"

    def conv(name: str, x: Symbol, filters: int, size: int, strides: int = 1) -> Symbol:
        layer = Conv2D(
            filters,
            size,
            strides=strides,
            padding=size // 2,
            activation=None if new else "relu",
            use_bias=not new,
            kernel_initializer="he_normal",
            name=f"{name}.conv" if new else name,
        )
        x = layer(x)
        return BatchNorm(epsilon=0.001, activation="relu", name=f"{name}.bn")(x) if new else x

    def inception(name: str, x: Symbol) -> Symbol:
        ones, (reduced3, threes), (reduced5, fives), pooled = _MODULES[name]
        pool = MaxPool2D(3, strides=1, padding=1)(x)
        return Concat()(
            [
                conv(f"{name}.branch1", x, ones, 1),
                conv(f"{name}.branch2.1", conv(f"{name}.branch2.0", x, reduced3, 1), threes, 3),
                conv(
                    f"{name}.branch3.1",
                    conv(f"{name}.branch3.0", x, reduced5, 1),
                    fives,
                    3 if new else 5,
                ),
                conv(f"{name}.branch4.1", pool, pooled, 1),
            ]
        )

    def classifier(name: str, x: Symbol) -> Symbol:
        x = Flatten()(conv(f"{name}.conv", AvgPool2D(5, strides=3)(x), 128, 1))
        x = Dense(1024, activation="relu", kernel_initializer="he_normal", name=f"{name}.fc1")(x)
        return Dense(classes, activation="softmax", name=f"{name}.fc2")(Dropout(0.7)(x))

    def normalised(x: Symbol) -> Symbol:
        return x if new else LocalResponseNorm()(x)

    image = Input(tuple(input_shape))
    x = normalised(_pool(conv("conv1", image, 64, 7, strides=2), 3))
    x = normalised(conv("conv3", conv("conv2", x, 64, 1), 192, 3))
    x = inception("inception3b", inception("inception3a", _pool(x, 3)))
    x = after_4a = inception("inception4a", _pool(x, 3))
    for name in ("inception4b", "inception4c", "inception4d"):
        x = inception(name, x)
    after_4d = x
    x = _pool(inception("inception4e", x), 2 if new else 3)
    x = GlobalAvgPool2D()(inception("inception5b", inception("inception5a", x)))
    outputs = [Dense(classes, activation="softmax", name="fc")(Dropout(0.2 if new else 0.4)(x))]
    if auxiliary:
        outputs += [classifier("aux1", after_4a), classifier("aux2", after_4d)]
    return Model(image, outputs, name="googlenet")


def _pool(x: Symbol, size: int) -> Symbol:
    """Takes maxima with stride 2; a last window that is cut off by the border counts as well."""
    bottom, right = (max(size - n, (n - size) % 2) for n in x.shape[:2])
    return MaxPool2D(size, strides=2, padding=((0, bottom), (0, right)))(x)
