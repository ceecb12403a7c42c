"""Networks by name, one file each.

    model = models.build("lenet5", classes=10, input_shape=(28, 28, 1), seed=0)

A new one is a file with a function ``name(classes, input_shape) -> Model`` and a row in the table
below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sixloop.models.cifar_cnn import cifar_cnn
from sixloop.models.lenet5 import lenet5
from sixloop.models.mlp import mlp
from sixloop.models.perceptron import perceptron
from sixloop.models.small_cnn import small_cnn

if TYPE_CHECKING:
    from sixloop.nn import Model

__all__ = ["build", "cifar_cnn", "lenet5", "list", "mlp", "perceptron", "small_cnn"]

_MODELS: dict[str, Callable[..., Model]] = {
    "perceptron": perceptron,
    "mlp": mlp,
    "lenet5": lenet5,
    "small_cnn": small_cnn,
    "cifar_cnn": cifar_cnn,
}


def list() -> tuple[str, ...]:
    """Return the names that `build` takes, smallest network first."""
    return tuple(_MODELS)


def build(
    name: str,
    *,
    classes: int | None = None,
    input_shape: Sequence[int] | None = None,
    seed: int = 0,
) -> Model:
    """Return a network with initialised parameters.

    Args:
        name: one of `list()`.
        classes: number of outputs; default the network's own, 10.
        input_shape: of one sample, (H, W, C); default the network's own.
        seed: of the parameters; the same seed gives the same bits on every machine.

    Raises:
        ValueError: unknown name, or an input that the network does not fit.
    """
    if name not in _MODELS:
        raise ValueError(f"[models] unknown model {name!r}; valid names: {', '.join(_MODELS)}")
    options = {"classes": classes, "input_shape": input_shape}
    model = _MODELS[name](**{k: v for k, v in options.items() if v is not None})
    model.build(seed=seed)
    return model
