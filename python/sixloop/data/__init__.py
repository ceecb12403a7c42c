"""Data sets, readers, augmentation and preprocessing.

    train, test = data.digits()
    train = train.with_transforms(data.random_crop(8, padding=1))
    for x, y in train.batches(64, shuffle=True, seed=0, epoch=0):
        ...  # x float32 [64, 8, 8, 1] in 0..1, y int64 [64]

Samples stay in memory as they were stored and become floating point batch by batch. Shuffling and
augmentation follow (seed, epoch, sample index), never the order of work.
"""

from sixloop.data.dataset import ArrayDataset, split
from sixloop.data.digits import digits
from sixloop.data.folder import image_folder, read_image
from sixloop.data.named import NAMES, cifar10, fashion_mnist, load, mnist
from sixloop.data.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
    center_crop,
    preprocessing_from_config,
    resize_shorter,
    ten_crop,
)
from sixloop.data.readers import read_cifar10_binary, read_idx
from sixloop.data.resampling import resize
from sixloop.data.transforms import Transform, horizontal_flip, normalize, random_crop

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "NAMES",
    "ArrayDataset",
    "Preprocessing",
    "Transform",
    "center_crop",
    "cifar10",
    "digits",
    "fashion_mnist",
    "horizontal_flip",
    "image_folder",
    "load",
    "mnist",
    "normalize",
    "preprocessing_from_config",
    "random_crop",
    "read_cifar10_binary",
    "read_idx",
    "read_image",
    "resize",
    "resize_shorter",
    "split",
    "ten_crop",
]
