"""Make python/sixloop/data/digits.npz from scikit-learn's copy of the UCI digits.

    python tools/prepare_digits.py

Run again, it makes the same arrays; python/sixloop/data/digits.txt names origin and licence.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TARGET = Path(__file__).parents[1] / "python" / "sixloop" / "data" / "digits.npz"


def main() -> None:
    """Write the file."""
    digits = load_digits()
    images = digits.images.astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    assert images.shape == (1797, 8, 8) and np.array_equal(images, digits.images)
    # Every fifth sample of each class: the samples stand in the order of collection, and so both
    # parts have the same writers in the same proportions.
    held_out = np.zeros(len(labels), bool)
    for label in range(10):
        held_out[np.flatnonzero(labels == label)[4::5]] = True
    np.savez_compressed(TARGET, images=images, labels=labels, held_out=held_out)
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes, {held_out.sum()} samples held out")


if __name__ == "__main__":
    main()
