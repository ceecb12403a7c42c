"""The UCI digits, which come with the package (see digits.txt for their origin and licence)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sixloop.data.dataset import ArrayDataset

__all__ = ["digits"]


def digits() -> tuple[ArrayDataset, ArrayDataset]:
    """Return the 1,797 handwritten digits of the UCI repository, 8x8 pixels.

    The test set of Alpaydin and Kaynak, "Optical recognition of handwritten digits" (1998): each
    pixel counts the ink dots, 0 to 16, in a 4x4 field of the scan. Every fifth sample of each class
    is held out.

    Returns:
        The training part, 1,442 samples, and the held-out part, 355 samples, of shape (8, 8, 1) in
        0..1, in 10 classes.
    """
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as file:
        images, labels, held_out = file["images"], file["labels"], file["held_out"]
    whole = ArrayDataset(images[..., None], labels, scale=16)
    return whole.subset(~held_out), whole.subset(held_out)
