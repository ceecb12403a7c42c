"""Augmentation of image batches, on NumPy arrays and a table of random bits.

A transform gets a batch and, for each sample, as many 64-bit random numbers as it asks for. The
numbers are Philox's for (seed, purpose, epoch, sample index), and so a sample's pixels do not
depend on the batch it comes in, on the order of the samples, or on where training was resumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Transform", "horizontal_flip", "normalize", "random_crop"]

Bits = NDArray[np.uint64]


@dataclass
class Places:
    """Where the pixels of a batch come from: row `top + r` and column `left + step * c` of x.

    Attributes:
        size: height and width of the images so far.
        top, left, step: int64 [n]; step is 1 or -1.
    """

    size: tuple[int, int]
    top: NDArray[np.int64]
    left: NDArray[np.int64]
    step: NDArray[np.int64]


class Transform:
    """The base of the transforms; one of your own sets `draws` and implements ``__call__``."""

    draws: int = 0
    """Random numbers for each sample; 0 for a transform that is the same for all."""

    on_floats: ClassVar[bool] = False
    """Whether the batch must have been scaled to floating point before; else it may be uint8."""

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape that a sample of `shape` gets; ValueError when it does not fit."""
        return shape

    def __call__(self, x: NDArray[Any], bits: Bits) -> NDArray[Any]:
        """Return the transformed batch.

        Args:
            x: [n, H, W, C]; it may be changed in place.
            bits: random numbers, [n, draws].
        """
        raise NotImplementedError(f"{type(self).__name__} has no __call__")


def random_crop(size: int | tuple[int, int], padding: int = 0) -> Transform:
    """Return a transform that cuts a window at a random place, after padding with zeros.

    Args:
        size: height and width of the window.
        padding: zeros added on each of the four sides first, in pixels.

    Raises:
        ValueError: a size below 1 or a negative padding; with a data set, a window larger than the
            padded image.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1 or padding < 0:
        raise ValueError(
            f"[random_crop] expected a size of at least 1 and padding of at least 0; "
            f"got size=({height}, {width}), padding={padding}"
        )
    return _RandomCrop(height, width, padding)


def horizontal_flip(probability: float = 0.5) -> Transform:
    """Return a transform that mirrors a sample left to right with the given probability.

    Raises:
        ValueError: the probability is not within 0 and 1.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"[horizontal_flip] probability must be in [0, 1]; got {probability}")
    return _HorizontalFlip(float(probability))


def normalize(mean: float | Sequence[float], std: float | Sequence[float]) -> Transform:
    """Return a transform to ``(x - mean) / std``, on pixels scaled to 0..1.

    Args:
        mean: one number, or one for each channel.
        std: likewise.

    Raises:
        ValueError: numbers that are not finite, a std that is not positive; with a data set, as
            many numbers as neither 1 nor its channels.
    """
    means, stds = np.atleast_1d(np.asarray(mean)), np.atleast_1d(np.asarray(std))
    if means.ndim != 1 or stds.ndim != 1 or not (np.isfinite(means).all() and np.all(stds > 0)):
        raise ValueError(
            f"[normalize] expected finite means and positive stds, one or one for each channel; "
            f"got mean={mean}, std={std}"
        )
    return _Normalize(tuple(means.tolist()), tuple(stds.tolist()))


@dataclass(frozen=True)
class _RandomCrop(Transform):
    height: int
    width: int
    padding: int
    draws = 2

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        h, w, c = image_shape("random_crop", shape)
        if self.height > h + 2 * self.padding or self.width > w + 2 * self.padding:
            raise ValueError(
                f"[random_crop] the window must fit into the padded image; got window "
                f"({self.height}, {self.width}), image ({h}, {w}), padding {self.padding}"
            )
        return self.height, self.width, c

    def __call__(self, x: NDArray[Any], bits: Bits) -> NDArray[Any]:
        n, h, w, c = x.shape
        p = self.padding
        padded = np.zeros((n, h + 2 * p, w + 2 * p, c), x.dtype)
        padded[:, p : p + h, p : p + w] = x
        # A row of the window is width * C consecutive elements: seen so, all windows of the batch
        # are one gather of rows (0.2 ms for 128 images of 32x32x3).
        rows = padded.reshape(n, h + 2 * p, (w + 2 * p) * c)
        windows = np.lib.stride_tricks.sliding_window_view(
            rows, (self.height, self.width * c), axis=(1, 2)
        )
        top = bits[:, 0] % np.uint64(h + 2 * p - self.height + 1)
        left = bits[:, 1] % np.uint64(w + 2 * p - self.width + 1)
        picked: NDArray[Any] = windows[np.arange(n), top.astype(np.intp), left.astype(np.intp) * c]
        return picked.reshape(n, self.height, self.width, c)

    def place(self, places: Places, bits: Bits) -> None:
        """Move the window of `places` as a call moves pixels."""
        h, w = (size + 2 * self.padding for size in places.size)
        top = (bits[:, 0] % np.uint64(h - self.height + 1)).astype(np.int64)
        left = (bits[:, 1] % np.uint64(w - self.width + 1)).astype(np.int64)
        places.top += top - self.padding
        places.left += places.step * (left - self.padding)
        places.size = self.height, self.width


@dataclass(frozen=True)
class _HorizontalFlip(Transform):
    probability: float
    draws = 1

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return image_shape("horizontal_flip", shape)

    def __call__(self, x: NDArray[Any], bits: Bits) -> NDArray[Any]:
        chosen = self._chosen(bits)
        x[chosen] = x[chosen, :, ::-1]
        return x

    def _chosen(self, bits: Bits) -> NDArray[np.bool_]:
        # 53 bits, the precision of the probability, make a uniform number in [0, 1).
        chosen: NDArray[np.bool_] = (bits[:, 0] >> np.uint64(11)) * 2.0**-53 < self.probability
        return chosen

    def place(self, places: Places, bits: Bits) -> None:
        """Mirror `places` as a call mirrors pixels."""
        chosen = self._chosen(bits)
        places.left[chosen] += places.step[chosen] * (places.size[1] - 1)
        places.step[chosen] *= -1


@dataclass(frozen=True)
class _Normalize(Transform):
    mean: tuple[float, ...]
    std: tuple[float, ...]
    on_floats = True

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        channels = shape[-1] if shape else 1
        if len(self.mean) not in (1, channels) or len(self.std) not in (1, channels):
            raise ValueError(
                f"[normalize] expected one number or one for each of {channels} channels; "
                f"got mean={self.mean}, std={self.std}"
            )
        return shape

    def __call__(self, x: NDArray[Any], bits: Bits) -> NDArray[Any]:
        # Repeated to a whole sample: NumPy's inner loop is then that long, not 3 channels long.
        size = x[0].size if len(x) else 0
        flat = x.reshape(len(x), size)
        flat -= np.resize(np.asarray(self.mean, x.dtype), size)
        flat /= np.resize(np.asarray(self.std, x.dtype), size)
        return flat.reshape(x.shape)


def image_shape(name: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (H, W, C) of a sample, or raise ValueError in the name of a transform."""
    if len(shape) != 3:
        raise ValueError(f"[{name}] expected images of shape (H, W, C); got samples of {shape}")
    return shape[0], shape[1], shape[2]
