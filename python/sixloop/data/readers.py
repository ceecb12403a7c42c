"""Readers of data files, for which no byte is trusted.

A header is believed only after its sizes have been added up in Python's unbounded integers and
compared with what the file holds, so that a file of a hundred bytes cannot ask for a terabyte. All
errors are ValueError and name the file.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["CIFAR10_CLASSES", "read_cifar10_binary", "read_idx"]

PathLike = str | os.PathLike[str]

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

# The third byte of an IDX file and the big-endian numbers that follow it.
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_IDX_MAX_BYTES = 1 << 34  # 16 GiB; the largest IDX set in use (EMNIST, QMNIST) has under 1 GiB
_GZIP_MAGIC = b"\x1f\x8b"
_CIFAR_RECORD = 1 + 3 * 32 * 32


def read_idx(path: PathLike) -> NDArray[Any]:
    """Read an array in the IDX format of MNIST, gzip-compressed or not.

    The format (LeCun, Cortes, Burges: "The MNIST database", section "File formats"): two zero
    bytes, a type, the number of dimensions, then each size and all elements, big-endian.

    Args:
        path: the file; compression is recognised by content, not by name.

    Returns:
        A new array in native byte order, with the shape of the header.

    Raises:
        ValueError: not an IDX file, damaged compression, or sizes that do not fit the content.
        OSError: the file cannot be opened.
    """
    path = Path(path)
    with _open_maybe_gzip(path) as file:
        head = file.read(4)
        if len(head) < 4:
            raise _bad(path, f"the file ends after {len(head)} of the 4 bytes of the IDX magic")
        if head[:2] != b"\0\0" or head[2] not in _IDX_TYPES or head[3] == 0:
            raise _bad(
                path,
                f"not an IDX file: expected the magic 00 00, a type of "
                f"{', '.join(f'{t:02x}' for t in _IDX_TYPES)} and at least one dimension; "
                f"got {head.hex(' ')}",
            )
        dtype, ndim = np.dtype(_IDX_TYPES[head[2]]), head[3]
        sizes = file.read(4 * ndim)
        if len(sizes) < 4 * ndim:
            raise _bad(path, f"the header of {ndim} dimensions is cut off")
        shape = struct.unpack(f">{ndim}I", sizes)
        if ndim > 32:  # the limit of NumPy 1
            raise _bad(path, f"{ndim} dimensions; at most 32 are supported")
        size = math.prod(shape) * dtype.itemsize
        if size > _IDX_MAX_BYTES:
            raise _bad(path, f"shape {shape} needs {size:,} bytes, more than {_IDX_MAX_BYTES:,}")
        content = _read_exactly(file, size)
        if len(content) < size:
            raise _bad(
                path, f"truncated: shape {shape} needs {size:,} bytes, {len(content):,} are there"
            )
        if file.read(1):
            raise _bad(path, f"more content than the {size:,} bytes of shape {shape}")
    array: NDArray[Any] = np.frombuffer(content, dtype=dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=dtype.itemsize > 1)


def read_cifar10_binary(path: PathLike) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read one batch of the binary version of CIFAR-10 (Krizhevsky 2009).

    The format: records of 3,073 bytes, a label and three planes of 32x32 (red, green, blue).

    Args:
        path: ``data_batch_1.bin`` ... ``test_batch.bin``.

    Returns:
        Images, uint8 [N, 32, 32, 3], and labels, int64 [N] in 0..9.

    Raises:
        ValueError: the file is empty, no whole number of records, or has a label above 9.
        OSError: the file cannot be opened.
    """
    path = Path(path)
    content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    if content.size == 0 or content.size % _CIFAR_RECORD:
        raise _bad(
            path,
            f"expected a whole number of records of {_CIFAR_RECORD:,} bytes; "
            f"got {content.size:,} bytes, {content.size / _CIFAR_RECORD:.3f} records",
        )
    records = content.reshape(-1, _CIFAR_RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() > 9:
        first = int(np.argmax(labels > 9))
        raise _bad(path, f"expected labels of 0 to 9; record {first} has {labels[first]}")
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels


@contextmanager
def _open_maybe_gzip(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading its decompressed bytes; damage becomes ValueError."""
    import gzip
    import zlib

    with path.open("rb") as raw:
        compressed = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        if not compressed:
            yield raw
            return
        try:
            with gzip.GzipFile(fileobj=raw) as file:
                yield cast(IO[bytes], file)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _bad(path, f"damaged or truncated gzip data ({error})") from error


def _read_exactly(file: IO[bytes], size: int) -> bytearray:
    """Read up to `size` bytes piece by piece: memory grows with the content, not with the claim."""
    pieces = []
    while size > 0 and (piece := file.read(min(size, 1 << 24))):
        pieces.append(piece)
        size -= len(piece)
    return bytearray().join(pieces)  # writable, unlike bytes


def _bad(path: Path, reason: str) -> ValueError:
    return ValueError(f"[data] {path}: {reason}")
