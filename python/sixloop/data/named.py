"""MNIST, Fashion-MNIST and CIFAR-10, from files that are there already or from the network."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sixloop.data.dataset import ArrayDataset, split
from sixloop.data.digits import digits
from sixloop.data.download import Remote, locate
from sixloop.data.folder import image_folder
from sixloop.data.readers import CIFAR10_CLASSES, read_cifar10_binary, read_idx

__all__ = ["NAMES", "cifar10", "fashion_mnist", "load", "mnist"]

PathLike = str | os.PathLike[str]
Parts = tuple[ArrayDataset, ArrayDataset]

_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_FASHION_MIRRORS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)
# Of the compressed files, as the authors publish them.
_FASHION_MD5 = {
    "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
}
_FASHION_CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
_CIFAR10_FILES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
_CIFAR10_FOLDER = "cifar-10-batches-bin"
_CIFAR10_REMOTE = Remote(
    "cifar-10-binary.tar.gz",
    ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/"),
    "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)


def mnist(root: PathLike | None = None, *, download: bool = True) -> Parts:
    """Return MNIST, 28x28 handwritten digits.

    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.

    Args:
        root: folder of the four IDX files (``train-images-idx3-ubyte.gz`` ..., with or without
            compression) or of a folder ``mnist`` with them; default SIXLOOP_DATA, else the cache.
        download: whether to fetch missing files (needs the extra ``sixloop[download]``).

    Returns:
        Training part, 60,000 samples, and test part, 10,000, of shape (28, 28, 1) in 0..1.

    Raises:
        FileNotFoundError: a file is missing; the message says what to put where.
        ValueError: a file is damaged or something else.
    """
    remotes = {
        name: Remote(f"{name}.gz", _MNIST_MIRRORS, f"sha256:{digest}", of_content=True)
        for name, digest in _MNIST_SHA256.items()
    }
    return _idx_parts("mnist", remotes, tuple("0123456789"), root, download)


def fashion_mnist(root: PathLike | None = None, *, download: bool = True) -> Parts:
    """Return Fashion-MNIST: Xiao, Rasul, Vollgraf, arXiv:1708.07747. Same layout as `mnist`.

    Args:
        root: as for `mnist`; the folder is called ``fashion-mnist``. The files have the names of
            MNIST's: keep them apart.
        download: as for `mnist`.

    Returns, raises: as `mnist`.
    """
    remotes = {
        name: Remote(f"{name}.gz", _FASHION_MIRRORS, f"md5:{digest}")
        for name, digest in _FASHION_MD5.items()
    }
    return _idx_parts("fashion-mnist", remotes, _FASHION_CLASSES, root, download)


def cifar10(root: PathLike | None = None, *, download: bool = True) -> Parts:
    """Return CIFAR-10: Krizhevsky, "Learning multiple layers of features from tiny images", 2009.

    Args:
        root: folder of the six files of the binary version (``data_batch_1.bin`` ...), or of a
            folder ``cifar-10-batches-bin`` or ``cifar10`` with them; default SIXLOOP_DATA, else the
            cache.
        download: whether to fetch the archive, 170 MB, if a file is missing.

    Returns:
        Training part, 50,000 samples, and test part, 10,000, of shape (32, 32, 3) in 0..1.

    Raises:
        FileNotFoundError, ValueError: as `mnist`.
    """

    def unpack(archive: Path) -> None:
        # By name and as plain files: nothing in the archive decides where anything is written.
        target = archive.parent / _CIFAR10_FOLDER
        target.mkdir(exist_ok=True)
        try:
            with tarfile.open(archive) as tar:
                for name in _CIFAR10_FILES:
                    member = tar.extractfile(f"{_CIFAR10_FOLDER}/{name}")
                    if member is None:
                        raise ValueError(f"[cifar10] {archive}: {name} is no file")
                    (target / name).write_bytes(member.read())
        except (tarfile.TarError, KeyError, EOFError) as error:
            raise ValueError(f"[cifar10] {archive}: {error}") from error

    batches = [
        read_cifar10_binary(
            locate(
                "cifar10",
                (f"{_CIFAR10_FOLDER}/{name}", name),
                root=root,
                remote=_CIFAR10_REMOTE,
                download=download,
                unpack=unpack,
            )
        )
        for name in _CIFAR10_FILES
    ]
    images = np.concatenate([images for images, _ in batches[:-1]])
    labels = np.concatenate([labels for _, labels in batches[:-1]])
    return (
        ArrayDataset(images, labels, classes=CIFAR10_CLASSES),
        ArrayDataset(*batches[-1], classes=CIFAR10_CLASSES),
    )


_LOADERS: dict[str, Callable[[PathLike | None], Parts]] = {
    "digits": lambda root: digits(),
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "cifar10": cifar10,
}

NAMES = tuple(_LOADERS)
"""The data sets that `load` knows by name."""

_HELD_OUT_FOLDERS = ("test", "val", "validation")


def load(name: PathLike, *, root: PathLike | None = None) -> Parts:
    """Return the training and the held-out part of a data set given by name or as a folder.

    Args:
        name: one of `NAMES`, or a folder of images: with subfolders ``train`` and ``test`` (or
            ``val``, ``validation``), each of which holds one folder a class, or with one folder a
            class, of which a fifth of the images is held out.
        root: where the files of a named data set are; see `mnist`.

    Raises:
        ValueError: neither a name nor a folder, or a folder that does not fit; the two parts have
            different classes or image sizes.
        FileNotFoundError: as `mnist`.
    """
    if isinstance(name, str) and name in _LOADERS:
        return _LOADERS[name](root)
    path = Path(name).expanduser()
    if not path.is_dir():
        raise ValueError(
            f"[data] {os.fspath(name)!r} is neither a data set ({', '.join(NAMES)}) nor a folder"
        )
    held_out = next((path / n for n in _HELD_OUT_FOLDERS if (path / n).is_dir()), None)
    if held_out is None or not (path / "train").is_dir():
        return split(image_folder(path))
    train = image_folder(path / "train")
    test = image_folder(held_out, classes=train.classes)
    if train.shape != test.shape:
        raise ValueError(
            f"[data] {path}: images of {train.shape} in train and of {test.shape} in "
            f"{held_out.name}"
        )
    return train, test


def _idx_parts(
    dataset: str,
    remotes: dict[str, Remote],
    classes: tuple[str, ...],
    root: PathLike | None,
    download: bool,
) -> Parts:
    def part(prefix: str) -> ArrayDataset:
        paths, arrays = [], []
        for kind, ndim in (("images-idx3", 3), ("labels-idx1", 1)):
            name = f"{prefix}-{kind}-ubyte"
            # Some distributions write a dot before "idx".
            names = (name, name.replace("-idx", ".idx"))
            path = locate(
                dataset,
                [n + suffix for n in names for suffix in (".gz", "")],
                root=root,
                remote=remotes[name],
                download=download,
            )
            array = read_idx(path)
            if array.ndim != ndim or array.dtype != np.uint8:
                raise ValueError(
                    f"[{dataset}] {path}: expected bytes in {ndim} dimensions; "
                    f"got {array.dtype} {array.shape}"
                )
            paths.append(path)
            arrays.append(array)
        images, labels = arrays
        if images.shape[1:] != (28, 28) or len(images) != len(labels):
            raise ValueError(
                f"[{dataset}] {paths[0]}, {paths[1]}: expected images of 28x28 and a label for "
                f"each; got {images.shape} and {labels.shape}"
            )
        if labels.max(initial=0) >= len(classes):
            raise ValueError(
                f"[{dataset}] {paths[1]}: expected labels of 0 to {len(classes) - 1}; "
                f"got {labels.max()}"
            )
        return ArrayDataset(images[..., None], labels, classes=classes)

    return part("train"), part("t10k")
