"""Checks of what a Trainer is given, before anything happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sixloop import _checks, losses, metrics
from sixloop._arrays import check_device
from sixloop.callbacks import Callback

if TYPE_CHECKING:
    from sixloop.nn import Model

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> str:
    """Returns where to train."""
    if name == "auto":
        from sixloop import cuda

        return "cuda" if cuda.is_available() else "cpu"
    if name not in DEVICES:
        raise ValueError(f"[Trainer] unknown device {name!r}; valid devices: {', '.join(DEVICES)}")
    check_device("Trainer", name)
    return name


def check_callbacks(given: Sequence[Callback]) -> list[Callback]:
    for callback in given:
        if not isinstance(callback, Callback):
            raise TypeError(
                f"[Trainer] expected sixloop.callbacks.Callback objects; got {callback!r}"
            )
    return list(given)


def find_metrics(given: Sequence[Any], loss: losses.Loss) -> list[metrics.Metric]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
        raise TypeError(f"[Trainer] metrics must be a list; got {given!r}")
    found: list[metrics.Metric] = []
    binary = getattr(loss, "final_activation", None) == "sigmoid"
    for spec in given:
        if binary and spec in ("accuracy", {"name": "accuracy"}):
            found.append(metrics.AccuracyOfBinary())
        else:
            found.append(metrics.get(spec))
    names = ["loss", *(metric.name for metric in found)]
    if len(set(names)) != len(names):
        raise ValueError(f"[Trainer] metrics need different names; got {names[1:]}")
    return found


def output_form(model: Model, loss: losses.Loss) -> tuple[bool, bool]:
    """Return whether the loss sees logits, and whether an activation is left out for that."""
    if len(model.inputs) != 1:
        raise ValueError(
            f"[Trainer] expected a model with one input; {model.name!r} has {len(model.inputs)}"
        )
    if len(set(model.output_shapes)) != 1:
        raise ValueError(
            f"[Trainer] expected outputs of one shape, the first and its auxiliary ones; "
            f"{model.name!r} has {', '.join(map(_checks.show, model.output_shapes))}"
        )
    wanted = getattr(loss, "final_activation", None)
    last = model.final_activation
    if len(model.outputs) > 1 and not model.ends_alike:
        raise ValueError(
            f"[Trainer] expected outputs that no layer reads and that end in the same activation; "
            f"those of {model.name!r} differ"
        )
    if last in getattr(loss, "refused_activations", ()):
        fitting = f"{wanted!r} or none" if wanted else "none"
        raise ValueError(
            f"[Trainer] the loss {loss.name!r} does not go with the last activation {last!r} of "
            f"model {model.name!r}: expected {fitting}"
        )
    return wanted is not None, wanted is not None and last == wanted


def again(kind: str, saved: Any, given: Any) -> Any:
    """Return what was given again, otherwise the saved configuration."""
    if given is not None:
        return given
    if isinstance(saved, Mapping) and "custom" in saved:
        raise ValueError(
            f"[Trainer.resume] {kind}: {saved['custom']!r} is a function of your own; "
            f"give it again as {kind}="
        )
    return saved


def check_count(argument: str, value: int, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
        raise ValueError(f"[Trainer] {argument} must be an integer >= {low}; got {value!r}")
    return int(value)
