"""Image files in class folders, decoded once into memory. Needs Pillow (``sixloop[images]``)."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sixloop.data.dataset import ArrayDataset
from sixloop.data.transforms import Transform

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["image_folder", "read_image"]

PathLike = str | os.PathLike[str]

_EXTENSIONS = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
# A picture of a few kilobytes may claim any size; this is four times the largest camera sensor's.
_MAX_PIXELS = 1 << 29


def image_folder(
    path: PathLike,
    *,
    size: int | tuple[int, int] | None = None,
    channels: int = 3,
    classes: Sequence[str] | None = None,
    transforms: Sequence[Transform] = (),
) -> ArrayDataset:
    """Read a folder that has one subfolder of images for each class.

    The classes and the images in each are taken in natural order (2.png before 10.png); names that
    begin with a dot and files without an image's extension are skipped. Every image is decoded
    here, once, and kept as bytes: N * H * W * channels of memory.

    Args:
        path: the folder.
        size: height and width to resize all images to (bilinear); default: all must have one size.
        channels: 3 for RGB, 1 for grey, 4 for RGBA; images are converted.
        classes: names of the subfolders and their order; default: all there are.
        transforms: of the data set.

    Returns:
        A data set of samples (H, W, channels) in 0..1, with the folders' names as classes.

    Raises:
        ValueError: no folder or no images in it, classes that differ from `classes`, an image that
            cannot be read or has another size than the first; the message names the file.
        ModuleNotFoundError: Pillow is not installed.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise ValueError(f"[image_folder] {root} is not a folder")
    found = sorted(
        (p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")),
        key=_natural,
    )
    names = list(found if classes is None else classes)
    if not names or set(names) != set(found):
        raise ValueError(
            f"[image_folder] {root}: expected one folder for each class"
            + (f" of {', '.join(names)}" if names else "")
            + f"; found {', '.join(found) or 'no folder'}"
        )
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        images = _images_below(root / name)
        if not images:
            raise ValueError(f"[image_folder] {root / name}: no image in the folder of a class")
        files += images
        labels += [label] * len(images)

    target = (size, size) if isinstance(size, int) else size
    first = read_image(files[0], size=target, channels=channels)
    pixels = np.empty((len(files), *first.shape), np.uint8)
    from tqdm import tqdm

    # 60,000 small JPEG files take some 10 s: worth a bar on a terminal, and nothing elsewhere.
    quiet = len(files) < 5000 or not sys.stderr.isatty()
    for i, file in enumerate(tqdm(files, desc=root.name, unit="image", disable=quiet)):
        image = read_image(file, size=target, channels=channels)
        if image.shape != first.shape:
            raise ValueError(
                f"[image_folder] {file}: {image.shape[0]}x{image.shape[1]} pixels, but {files[0]} "
                f"has {first.shape[0]}x{first.shape[1]}; resize all with size=(h, w)"
            )
        pixels[i] = image
    return ArrayDataset(pixels, np.array(labels), transforms, classes=names)


def read_image(
    path: PathLike, *, size: tuple[int, int] | None = None, channels: int = 3
) -> NDArray[np.uint8]:
    """Decode one image file.

    Args:
        path: the file, in any format that Pillow reads; of several frames the first.
        size: height and width to resize it to (bilinear); default: as it is.
        channels: 1, 3 or 4.

    Returns:
        uint8 [H, W, channels].

    Raises:
        ValueError: unreadable, truncated, not 8 bits deep, or absurdly large; names the file.
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: Pillow is not installed.
    """
    if channels not in _MODES:
        raise ValueError(f"[read_image] channels must be 1, 3 or 4; got {channels}")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ValueError(f"[read_image] size must be a positive (height, width); got {size}")
    pillow = _pillow()
    path = Path(path)
    try:
        with pillow.open(path) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels are too many")
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"pixels of mode {image.mode}; expected 8 bits a channel")
            decoded = image.convert(_MODES[channels])
            if size is not None and (image.height, image.width) != size:
                decoded = decoded.resize((size[1], size[0]), pillow.Resampling.BILINEAR)
            pixels = np.asarray(decoded, np.uint8)
    except (FileNotFoundError, MemoryError):
        raise
    # Pillow's decoders raise OSError, SyntaxError, struct.error and others on damaged files.
    except Exception as error:
        raise ValueError(f"[read_image] {path}: cannot be read as an image ({error})") from error
    return pixels.reshape(*pixels.shape[:2], channels)


def _images_below(folder: Path) -> list[Path]:
    found = [
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in _EXTENSIONS and not file.name.startswith(".") and file.is_file()
    ]
    return sorted(found, key=lambda file: _natural(str(file.relative_to(folder))))


def _natural(name: str) -> tuple[tuple[str | int, ...], str]:
    # Splitting at a group puts text at even places and digits at odd ones, so that places compare;
    # the name itself decides between "1.png" and "01.png".
    parts = re.split("([0-9]+)", name)
    return tuple(int(p) if i % 2 else p.casefold() for i, p in enumerate(parts)), name


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError as error:
        raise ModuleNotFoundError(
            "[data] reading image files needs Pillow: pip install 'sixloop[images]'"
        ) from error
    return Image
