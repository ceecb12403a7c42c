"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["confusion_matrix", "format_confusion"]


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Count how often a sample of one class was taken for another.

    Args:
        labels: true classes, integers [N].
        predictions: predicted classes, integers [N].
        classes: how many there are.

    Returns:
        [classes, classes]; row: true class, column: predicted class.

    Raises:
        ValueError: lengths that differ, or a class outside 0 to classes - 1.
    """
    true, predicted = np.asarray(labels), np.asarray(predictions)
    if true.shape != predicted.shape or true.ndim != 1:
        raise ValueError(
            f"[confusion_matrix] expected two vectors of one length; "
            f"got {true.shape} and {predicted.shape}"
        )
    for name, values in (("labels", true), ("predictions", predicted)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise ValueError(
                f"[confusion_matrix] {name} must be 0 to {classes - 1}; "
                f"got {values.min()} to {values.max()}"
            )
    pairs = true.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def format_confusion(matrix: NDArray[np.int64], names: Sequence[str]) -> str:
    """Return a confusion matrix as a table of text, with a dot for zero.

    Args:
        matrix: as `confusion_matrix` makes it.
        names: of the classes; columns have them cut to the width of the numbers, at least 4.
    """
    width = max(4, len(str(matrix.max(initial=0))))
    left = max(len("true"), *(len(name) for name in names))
    lines = [f"{'true':<{left}}  " + " ".join(f"{name[:width]:>{width}}" for name in names)]
    for name, row in zip(names, matrix, strict=True):
        cells = (f"{count or '.':>{width}}" for count in row)
        lines.append(f"{name:<{left}}  " + " ".join(cells))
    return "\n".join(lines)
