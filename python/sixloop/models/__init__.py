"""Networks by name, one file each.

    model = models.build("lenet5", classes=10, input_shape=(28, 28, 1), seed=0)
    model = models.build("resnet50", classes=10, variant="v1.5")
    print(models.define("vgg16").summary())  # allocates nothing

A new one is a file with a function ``name(classes, input_shape) -> Model``, which may have options
of its own, and a row in the table below.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sixloop import _checks
from sixloop.models.alexnet import alexnet
from sixloop.models.cifar_cnn import cifar_cnn
from sixloop.models.densenet import (
    densenet121,
    densenet161,
    densenet169,
    densenet201,
    densenet264,
)
from sixloop.models.googlenet import googlenet
from sixloop.models.lenet5 import lenet5
from sixloop.models.mlp import mlp
from sixloop.models.perceptron import perceptron
from sixloop.models.resnet import resnet18, resnet34, resnet50, resnet101, resnet152
from sixloop.models.resnet_cifar import resnet_cifar
from sixloop.models.small_cnn import small_cnn
from sixloop.models.vgg import vgg11, vgg13, vgg16, vgg19
from sixloop.models.zfnet import zfnet

if TYPE_CHECKING:
    from sixloop.nn import Model

__all__ = [
    "alexnet",
    "build",
    "cifar_cnn",
    "define",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "densenet264",
    "googlenet",
    "lenet5",
    "list",
    "mlp",
    "perceptron",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet_cifar",
    "small_cnn",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "zfnet",
]

_MODELS: dict[str, Callable[..., Model]] = {
    function.__name__: function
    for function in (
        perceptron,
        mlp,
        lenet5,
        small_cnn,
        cifar_cnn,
        alexnet,
        zfnet,
        vgg11,
        vgg13,
        vgg16,
        vgg19,
        googlenet,
        resnet18,
        resnet34,
        resnet50,
        resnet101,
        resnet152,
        resnet_cifar,
        densenet121,
        densenet169,
        densenet201,
        densenet161,
        densenet264,
    )
}


def list() -> tuple[str, ...]:
    """Return the names that `build` takes: small networks first, then the rest by year."""
    return tuple(_MODELS)


def build(
    name: str,
    *,
    classes: int | None = None,
    input_shape: Sequence[int] | None = None,
    seed: int = 0,
    **options: Any,
) -> Model:
    """Return a network with initialised parameters.

    Args:
        name: one of `list()`.
        classes: number of outputs; default the network's own, 10 or ImageNet's 1000.
        input_shape: of one sample, (H, W, C); default the network's own.
        seed: of the parameters; the same seed gives the same bits on every machine.
        options: what else the function of this name takes, such as ``variant``.

    Raises:
        ValueError: unknown name or option, or an input that the network does not fit.
    """
    model = define(name, classes=classes, input_shape=input_shape, **options)
    model.build(seed=seed)
    return model


def define(
    name: str,
    *,
    classes: int | None = None,
    input_shape: Sequence[int] | None = None,
    **options: Any,
) -> Model:
    """Return a network whose parameters are not allocated yet: enough to count and describe it.

    Args:
        name: one of `list()`.
        classes, input_shape, options: as for `build`.

    Raises:
        ValueError: as for `build`.
    """
    if name not in _MODELS:
        raise ValueError(f"[models] unknown model {name!r}; valid names: {', '.join(_MODELS)}")
    function = _MODELS[name]
    valid = [p for p in inspect.signature(function).parameters if p not in _COMMON]
    for option in options:
        if option not in valid:
            listed = f"valid options: {', '.join(valid)}" if valid else "it has none"
            raise ValueError(f"[models] {name} has no option {option!r}; {listed}")
    if classes is not None:
        options["classes"] = classes
    if input_shape is None:
        return function(**options)
    try:
        return function(input_shape=input_shape, **options)
    except ValueError as error:
        reason = str(error)
    own = function(**options).input_shapes[0]  # raises where it is not the input that is wrong
    raise ValueError(
        f"[models] {name} must fit its input, by default {_checks.show(own)}; "
        f"got {_checks.show(tuple(input_shape))}: {reason}"
    )


_COMMON = ("classes", "input_shape")
