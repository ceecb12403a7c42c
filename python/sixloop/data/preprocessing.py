"""From an image of any size to the input of a network, as the papers and torchvision define it.

    prepare = data.Preprocessing()  # 256, 224, ImageNet's mean and deviation
    x = prepare(data.read_image("cat.jpeg"))  # float32 [224, 224, 3]
    crops = prepare.ten_crop(data.read_image("cat.jpeg"))  # float32 [10, 224, 224, 3]

The steps are transforms of a data set, too: ``dataset.with_transforms(*prepare.transforms())``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sixloop import _checks
from sixloop.data.resampling import resize
from sixloop.data.transforms import Bits, Transform, image_shape, normalize

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Preprocessing",
    "center_crop",
    "resize_shorter",
    "ten_crop",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Of the red, green and blue of ImageNet's training images, scaled to 0..1."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Their standard deviations; with the means, those of torchvision's models."""

# A file names sizes, and an image of twice this is 1 GB.
_MAX_SIZE = 2**14


def resize_shorter(size: int) -> Transform:
    """Return a transform that resizes the shorter side to `size` and keeps the proportions.

    The longer side becomes ``int(size * longer / shorter)``, as in torchvision; bilinear with
    antialiasing, see `resampling.resize`.

    Raises:
        ValueError, TypeError: no integer from 1 to 16384.
    """
    return _ResizeShorter(_checks.integer("resize_shorter", "size", size, maximum=_MAX_SIZE))


def center_crop(size: int | tuple[int, int]) -> Transform:
    """Return a transform that cuts out the middle.

    Where the margins cannot be equal the window begins at ``round((H - height) / 2)``, halves to
    the even number, as in torchvision.

    Args:
        size: of the window, int or (height, width).

    Raises:
        ValueError, TypeError: no size from 1 to 16384; with images, a window larger than they are.
    """
    return _CenterCrop(*_window("center_crop", size))


def ten_crop(images: NDArray[Any], size: int | tuple[int, int]) -> NDArray[Any]:
    """Return the four corners and the middle of images, and the same of their mirror images.

    The order is torchvision's: top left, top right, bottom left, bottom right, middle; then these
    five of the image mirrored left to right. Krizhevsky et al. (2012, section 4.1) average a
    network's softmax over them.

    Args:
        images: [..., H, W, C].
        size: of the windows, int or (height, width).

    Returns:
        [..., 10, height, width, C].

    Raises:
        ValueError, TypeError: a window that is no size, or larger than the images.
    """
    window = _window("ten_crop", size)
    height, width = window
    if images.ndim < 3:
        raise ValueError(f"[ten_crop] expected images [..., H, W, C]; got {images.shape}")
    top, left = _middle("ten_crop", (images.shape[-3], images.shape[-2]), window)
    bottom, right = images.shape[-3] - height, images.shape[-2] - width
    corners = ((0, 0), (0, right), (bottom, 0), (bottom, right), (top, left))
    return np.stack(
        [
            view[..., y : y + height, x : x + width, :]
            for view in (images, images[..., ::-1, :])
            for y, x in corners
        ],
        axis=-4,
    )


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the input of a network: resize, crop the middle, scale, normalise.

    Args:
        resize: the shorter side becomes this long; default 256.
        crop: size of the window in the middle, int or (height, width); default 224.
        mean, std: of pixels scaled to 0..1, one number or one for each channel; default
            ImageNet's.

    Raises:
        ValueError, TypeError: sizes that are none or a crop that is larger than `resize`, numbers
            that are not finite, a std that is not positive.
    """

    resize: int = 256
    crop: int | tuple[int, int] = 224
    mean: Sequence[float] | float = IMAGENET_MEAN
    std: Sequence[float] | float = IMAGENET_STD

    def __post_init__(self) -> None:
        tag = "Preprocessing"
        crop = _window(tag, self.crop)
        _checks.integer(tag, "resize", self.resize, maximum=_MAX_SIZE)
        if max(crop) > self.resize:
            raise ValueError(
                f"[{tag}] crop must be at most resize={self.resize}, or it may not fit; "
                f"got {self.crop!r}"
            )
        for name in ("mean", "std"):
            value = getattr(self, name)
            values = value if isinstance(value, (list, tuple)) else (value,)
            numbers = tuple(_checks.number(tag, name, v) for v in values)
            object.__setattr__(self, name, numbers)
        object.__setattr__(self, "crop", crop)
        normalize(self.mean, self.std)  # checks them

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what comes out."""
        return _window("Preprocessing", self.crop)

    def transforms(self) -> tuple[Transform, Transform, Transform]:
        """Return the steps for a data set, which does the scaling to 0..1 between them."""
        return (
            resize_shorter(self.resize),
            center_crop(self.crop),
            normalize(self.mean, self.std),
        )

    def __call__(self, image: NDArray[Any], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Return the input of a network.

        Args:
            image: [H, W, C] or a batch [n, H, W, C], uint8, or floating point in 0..1.
            dtype: of the result, float32 (default) or float64.

        Returns:
            [height, width, C] or [n, height, width, C].
        """
        return self._finish(_CenterCrop(*self.size)(self._resized(image), _NO_BITS), dtype)

    def ten_crop(self, image: NDArray[Any], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Return the input for each of the ten crops of an image, see `ten_crop`.

        Args:
            image: as for a call.
            dtype: of the result, float32 (default) or float64.

        Returns:
            [10, height, width, C] or [n, 10, height, width, C].
        """
        return self._finish(ten_crop(self._resized(image), self.size), dtype)

    def config(self) -> dict[str, Any]:
        """Return the arguments as JSON-able values, for ``Preprocessing(**config)``."""
        return {
            "resize": self.resize,
            "crop": list(self.size),
            "mean": np.atleast_1d(self.mean).tolist(),
            "std": np.atleast_1d(self.std).tolist(),
        }

    def _resized(self, image: NDArray[Any]) -> NDArray[Any]:
        if image.ndim not in (3, 4):
            raise ValueError(
                f"[Preprocessing] expected an image [H, W, C] or a batch of them; "
                f"got shape {image.shape}"
            )
        return _ResizeShorter(self.resize)(image, _NO_BITS)

    def _finish(self, x: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
        step = normalize(self.mean, self.std)
        step.output_shape(x.shape[-3:])
        values = x.astype(dtype)
        if x.dtype == np.uint8:
            values /= 255
        flat = values.reshape(-1, *values.shape[-3:])
        return step(flat, _NO_BITS).reshape(values.shape)


def preprocessing_from_config(config: Mapping[str, Any]) -> Preprocessing:
    """Return what `Preprocessing.config` described; ValueError where it is no description."""
    known = {"resize", "crop", "mean", "std"}
    if set(config) != known:
        raise ValueError(
            f"[Preprocessing] a description has {', '.join(sorted(known))}; "
            f"got {', '.join(sorted(map(str, config)))[:200] or 'nothing'}"
        )
    try:
        return Preprocessing(**config)
    except TypeError as error:
        raise ValueError(str(error)) from None


_NO_BITS: Bits = np.empty((0, 0), np.uint64)


@dataclass(frozen=True)
class _ResizeShorter(Transform):
    size: int

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        height, width, channels = image_shape("resize_shorter", shape)
        shorter, longer = sorted((height, width))
        if shorter < 1:
            raise ValueError(f"[resize_shorter] the images must not be empty; got {shape}")
        long = int(self.size * longer / shorter)
        return *((self.size, long) if height <= width else (long, self.size)), channels

    def __call__(self, x: NDArray[Any], bits: Bits) -> NDArray[Any]:
        height, width, _ = self.output_shape(x.shape[-3:])
        return resize(x, (height, width))


@dataclass(frozen=True)
class _CenterCrop(Transform):
    height: int
    width: int

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        h, w, channels = image_shape("center_crop", shape)
        _middle("center_crop", (h, w), (self.height, self.width))
        return self.height, self.width, channels

    def __call__(self, x: NDArray[Any], bits: Bits) -> NDArray[Any]:
        size = self.height, self.width
        top, left = _middle("center_crop", (x.shape[-3], x.shape[-2]), size)
        return x[..., top : top + self.height, left : left + self.width, :]


def _window(tag: str, size: object) -> tuple[int, int]:
    height, width = _checks.pair(tag, "size", size)
    if max(height, width) > _MAX_SIZE:
        raise ValueError(f"[{tag}] size must be at most {_MAX_SIZE}; got {size!r}")
    return height, width


def _middle(tag: str, image: tuple[int, int], window: tuple[int, int]) -> tuple[int, int]:
    """Returns the top left corner of the window in the middle."""
    if window[0] > image[0] or window[1] > image[1]:
        raise ValueError(f"[{tag}] the window must fit into the image; got {window} and {image}")
    top, left = (round((n - m) / 2) for n, m in zip(image, window, strict=True))
    return top, left
