"""Resizing images, with the bits of Pillow's bilinear filter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["resize"]

# Pillow's fixed point: 8 bits of pixel, 2 of headroom and 22 of fraction in 32.
_FRACTION = 22


def resize(images: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize images bilinearly; where they shrink, over all the pixels that an output covers.

    This antialiasing is what Pillow, and through it torchvision, mean by bilinear: the triangle
    filter is as wide as two output pixels. uint8 images get the bits of Pillow's
    ``resize(..., BILINEAR)``: first along the rows and then along the columns, in fixed point and
    rounded to 8 bits in between. Where the height shrinks by more than twice as many pixels as the
    width, Pillow 13 begins with the columns, and some of its values differ by 1. It also multiplies
    RGBA by its alpha first; here a fourth channel is one as the others.

    Args:
        images: [..., H, W, C], uint8 or floating point.
        size: the new (height, width).

    Returns:
        [..., height, width, C] of the same dtype; the array itself where the size is the same.

    Raises:
        ValueError: fewer than three axes, an empty image, a size below 1.
        TypeError: another dtype.
    """
    height, width = size
    if images.ndim < 3 or 0 in images.shape[-3:] or height < 1 or width < 1:
        raise ValueError(
            f"[resize] expected images [..., H, W, C] that are not empty and a size of at least 1; "
            f"got {images.shape} and {size}"
        )
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise TypeError(f"[resize] expected uint8 or floating point; got {images.dtype}")
    return _along(_along(images, -2, width), -3, height)


def _along(x: NDArray[Any], axis: int, size: int) -> NDArray[Any]:
    before = x.shape[axis]
    if size == before:
        return x
    places, weights = _filter(before, size)
    integer = x.dtype == np.uint8
    if integer:
        # Half away from zero, as Pillow rounds its coefficients; none is negative.
        weights = np.floor(weights * (1 << _FRACTION) + 0.5)
    total_type = np.int32 if integer else x.dtype
    shape = [1] * x.ndim
    shape[axis] = size
    start = 1 << (_FRACTION - 1) if integer else 0
    new_shape = list(x.shape)
    new_shape[axis] = size
    total: NDArray[Any] = np.full(new_shape, start, total_type)
    for place, weight in zip(places.T, weights.T, strict=True):
        total += np.take(x, place, axis) * weight.astype(total_type).reshape(shape)
    if integer:
        # The weights are not negative and add up to 1 within their rounding.
        total = np.minimum(total >> _FRACTION, 255).astype(np.uint8)
    return total


def _filter(before: int, after: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Returns, for each output, the places it reads and their weights: [after, most] both."""
    scale = before / after
    width = max(scale, 1.0)
    most = math.ceil(width) * 2 + 1
    centers = (np.arange(after) + 0.5) * scale
    first = np.maximum(np.floor(centers - width + 0.5), 0).astype(np.intp)
    end = np.minimum(np.floor(centers + width + 0.5), before).astype(np.intp)
    places = first[:, None] + np.arange(most)
    distance = np.abs((places - centers[:, None] + 0.5) / width)
    weights = np.where(places < end[:, None], np.maximum(1 - distance, 0), 0)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.minimum(places, before - 1), weights
