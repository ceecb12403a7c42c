"""A model that is a chain of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sixloop import _checks
from sixloop.nn.layer import Input, Layer
from sixloop.nn.model import Model


class Sequential(Model):
    """A model whose layers follow each other.

    Args:
        layers: an ``Input`` and then the layers in order; the ``Input`` may be left out if
            ``input_shape`` is given.
        input_shape: shape of one sample.
        name: as for ``Model``.

    Raises:
        ValueError, TypeError: no input shape, an empty list, or anything that ``Model`` raises.
    """

    def __init__(
        self,
        layers: Sequence[Input | Layer | Model],
        input_shape: int | tuple[int, ...] | list[int] | None = None,
        name: str = "sequential",
    ) -> None:
        tag = _checks.text("Sequential", "name", name)
        if not isinstance(layers, (list, tuple)):
            raise TypeError(f"[{tag}] layers must be a list; got {type(layers).__name__}")
        rest: list[Any] = list(layers)
        if rest and isinstance(rest[0], Input):
            first = rest.pop(0)
            if input_shape is not None and _checks.shape(tag, input_shape) != first.shape:
                raise ValueError(
                    f"[{tag}] input_shape {input_shape!r} contradicts {first!r}: give one of them"
                )
        elif input_shape is not None:
            first = Input(input_shape)
        else:
            raise ValueError(
                f"[{tag}] the first item must be Input(shape=...), from which all other shapes "
                "follow; or give input_shape="
            )
        x: Any = first
        for index, layer in enumerate(rest, len(layers) - len(rest)):
            if not isinstance(layer, (Layer, Model)):
                raise TypeError(
                    f"[{tag}] layers[{index}] must be a layer or a model; "
                    f"got {type(layer).__name__}"
                )
            x = layer(x)
        super().__init__(first, x, name=tag)
