"""What a network makes of image files."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sixloop.nn import Model

__all__ = ["classify"]


def classify(
    model: Model, files: Sequence[str | os.PathLike[str]], *, ten_crop: bool = False
) -> NDArray[Any]:
    """Return a model's output for image files.

    An image goes through ``model.preprocessing``. A model without one gets the whole image resized
    to its input, without regard to proportions, and scaled to 0..1; for ten crops the shorter side
    becomes 256/224 of the input's longer one.

    Args:
        model: with one input of images, (H, W, C) with 1, 3 or 4 channels, and one output.
        files: in any format that Pillow reads.
        ten_crop: average the outputs for corners, middle and their mirror images (Krizhevsky et
            al. 2012, section 4.1); default False.

    Returns:
        [files, ...] of the model's dtype, the last activation applied.

    Raises:
        ValueError: a model that takes no images, preprocessing that makes another size than the
            model takes, a file that is no image.
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: Pillow is not installed.
    """
    from sixloop.data import Preprocessing, read_image

    shape = model.input_shapes[0]
    if len(model.inputs) != 1 or len(shape) != 3 or shape[2] not in (1, 3, 4):
        raise ValueError(
            f"[classify] {model.name} takes no images: its inputs are {model.input_shapes}"
        )
    if len(model.outputs) != 1:
        raise ValueError(f"[classify] {model.name} has {len(model.outputs)} outputs; expected 1")
    size, channels = (shape[0], shape[1]), shape[2]
    prepare = model.preprocessing
    if prepare is not None and prepare.size != size:
        raise ValueError(
            f"[classify] {model.name} takes images of {size}, but its preprocessing makes "
            f"{prepare.size}"
        )
    if prepare is None and ten_crop:
        prepare = Preprocessing(math.ceil(max(size) * 256 / 224), size, mean=0.0, std=1.0)
    results = []
    for file in files:
        if prepare is None:
            pixels = read_image(file, size=size, channels=channels)
            x = pixels[None].astype(model.dtype) / 255
        else:
            pixels = read_image(file, channels=channels)
            x = (
                prepare.ten_crop(pixels, model.dtype)
                if ten_crop
                else prepare(pixels, model.dtype)[None]
            )
        scores = np.asarray(model(x))
        results.append(scores.mean(axis=0) if ten_crop else scores[0])
    if not results:
        return np.empty((0, *model.output_shapes[0]), model.dtype)
    return np.stack(results)
