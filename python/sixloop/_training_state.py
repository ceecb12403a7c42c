"""What a Trainer remembers: the figures of its epochs, the run it is in, and its saved form."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class History:
    """The figures of every complete epoch.

    Attributes:
        history: lists by name ("loss", the metrics, the same with "val_" in front), one entry an
            epoch, NaN where an epoch has no such figure. The training figures are means over the
            epoch while the weights changed, and "loss" has the L2 penalty and the losses of
            auxiliary outputs in it; the validation figures are of the weights at the end of the
            epoch, and have not.
        epochs: their numbers, counted from 1.
    """

    history: dict[str, list[float]] = field(default_factory=dict)
    epochs: list[int] = field(default_factory=list)

    def append(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Add the figures of one epoch."""
        for name in logs:
            self.history.setdefault(name, [math.nan] * len(self.epochs))
        for name, values in self.history.items():
            values.append(logs.get(name, math.nan))
        self.epochs.append(epoch)


@dataclass
class Run:
    """What one `fit` was asked for: a resumed one must be asked for the same."""

    first_epoch: int
    samples: int
    batch_size: int
    shuffle: bool


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def are_numbers(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(v, (int, float)) for v in value)


def is_run(value: object) -> bool:
    return value is None or (
        isinstance(value, dict)
        and value.keys() == Run.__dataclass_fields__.keys()
        and all(is_count(value[name]) for name in ("first_epoch", "samples", "batch_size"))
    )


# What a checkpoint must say of a trainer.
STATE: dict[str, Callable[[Any], bool]] = {
    "optimizer": lambda value: isinstance(value, dict),
    "loss": lambda value: isinstance(value, dict),
    "metrics": lambda value: isinstance(value, list),
    "schedule": lambda value: value is None or isinstance(value, dict),
    "l2": lambda value: isinstance(value, float),
    # 0.1 wrote none: its trainer took models with one output alone.
    "auxiliary_weight": lambda value: value is None or isinstance(value, float),
    "device": lambda value: isinstance(value, str),
    "precision": lambda value: value is None or isinstance(value, str),
    "seed": is_count,
    "step": is_count,
    "epoch": is_count,
    "batch": is_count,
    "sums": lambda value: (
        isinstance(value, dict)
        and all(are_numbers(pair) and len(pair) == 2 for pair in value.values())
    ),
    "history": lambda value: isinstance(value, dict) and all(map(are_numbers, value.values())),
    "epochs": lambda value: isinstance(value, list) and all(map(is_count, value)),
    "run": is_run,
    "callbacks": lambda value: (
        isinstance(value, list)
        and all(isinstance(entry, dict) and entry.keys() == {"type", "state"} for entry in value)
    ),
}
