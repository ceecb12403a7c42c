"""Learning curves as a picture. Needs matplotlib (``sixloop[plot]``)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sixloop.trainer import History

__all__ = ["plot_history"]


def plot_history(history: History, path: str | os.PathLike[str], *, title: str = "") -> None:
    """Draw the learning curves of a training run into an image file.

    One panel for each figure of the History; its validation figure ("val_" in front) goes into
    the same panel.

    Args:
        history: of `Trainer.fit`.
        path: file to write; its suffix (.png, .svg, .pdf) decides the format.
        title: above the panels.

    Raises:
        ValueError: a history without epochs.
        ModuleNotFoundError: matplotlib is not installed.
    """
    try:
        # Figure alone, without pyplot: needs no display and leaves no global state.
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise ModuleNotFoundError(
            "[plot_history] learning curves need matplotlib: pip install 'sixloop[plot]'"
        ) from error

    figures = history.history
    panels = list(dict.fromkeys(name.removeprefix("val_") for name in figures))
    if not history.epochs or not panels:
        raise ValueError("[plot_history] the history has no epoch")
    figure = Figure(figsize=(4.5 * len(panels), 3.5), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, name in zip(axes, panels, strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "held out")):
            if key in figures:
                axis.plot(history.epochs, figures[key], marker=".", label=label)
        axis.set_xlabel("epoch")
        axis.set_ylabel(name.replace("_", " "))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend()
    if title:
        figure.suptitle(title)
    figure.savefig(path, dpi=120)
