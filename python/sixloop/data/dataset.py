"""Data sets in memory: pixels as they were stored, converted to floating point batch by batch."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from sixloop.data.transforms import Places, Transform, _HorizontalFlip, _Normalize, _RandomCrop

__all__ = ["ArrayDataset", "split"]

# What the random numbers are for, the second part of their key. A transform's is _TRANSFORM plus
# its position.
_SHUFFLE, _SPLIT, _TRANSFORM = 0x64617400, 0x64617401, 0x64617410


class ArrayDataset:
    """Samples and targets in memory, delivered in batches, augmented and shuffled reproducibly.

    The pixels of a batch are a function of the arrays, the transforms and (seed, epoch, sample
    index) alone: two runs, any batch size and any place of resuming see the same ones.

    Args:
        x: samples, [N, ...]; images are [N, H, W, C]. Kept as they are, without a copy if that is
            possible.
        y: targets, [N, ...]. Integers with one dimension are class labels and are delivered as
            int64; everything else as floating point.
        transforms: applied to each batch in this order, with new random numbers every epoch.
        classes: names of the classes; default "0", "1", ... up to the largest label.
        scale: the samples are divided by it; default 255 for uint8 and 1 for all others.
        dtype: of the batches, float32 or float64.

    Raises:
        ValueError: lengths that differ, a scalar, labels that are negative or without a class name,
            a transform that does not fit the samples.
        TypeError: elements that are no real numbers.
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        transforms: Sequence[Transform] = (),
        *,
        classes: Sequence[str] | None = None,
        scale: float | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.x = _real_array("x", x)
        targets = _real_array("y", y)
        if self.x.ndim == 0 or targets.ndim == 0 or len(self.x) != len(targets):
            raise ValueError(
                f"[data] x and y must have one entry for each sample along their first axis; "
                f"got x {self.x.shape}, y {targets.shape}"
            )
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise TypeError(f"[data] batches are float32 or float64; got dtype={self.dtype}")
        self.scale = float(scale if scale is not None else 255 if self.x.dtype == np.uint8 else 1)
        if not self.scale > 0:
            raise ValueError(f"[data] scale must be positive; got {scale}")

        labelled = targets.ndim == 1 and targets.dtype.kind in "iu"
        self.y = targets.astype(np.int64 if labelled else self.dtype, copy=False)
        self.classes = _class_names(self.y, classes) if labelled else tuple(classes or ())

        self.transforms = tuple(transforms)
        shape = self.x.shape[1:]
        for transform in self.transforms:
            shape = transform.output_shape(shape)
        self.shape = shape

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], Any]:
        """Return sample and target `index` as a batch of epoch 0 with seed 0 delivers them."""
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"[data] index {index} of a data set of {len(self)} samples")
        indices = np.array([index % len(self)])
        x, y = self._deliver(indices, self._first_draws)
        return x[0], y[0]

    def __repr__(self) -> str:
        kind = f"{len(self.classes)} classes" if self.classes else f"targets {self.y.shape[1:]}"
        names = "".join(f", {transform}" for transform in self.transforms)
        return f"ArrayDataset({len(self)} samples of {self.shape}, {kind}{names})"

    def with_transforms(self, *transforms: Transform) -> ArrayDataset:
        """Return a data set of the same samples (not copied) with these transforms instead."""
        return ArrayDataset(
            self.x,
            self.y,
            transforms,
            classes=self.classes or None,
            scale=self.scale,
            dtype=self.dtype,
        )

    def subset(self, indices: ArrayLike) -> ArrayDataset:
        """Return a data set of the samples at `indices`, copied in their stored type."""
        indices = np.asarray(indices)
        return ArrayDataset(
            self.x[indices],
            self.y[indices],
            self.transforms,
            classes=self.classes or None,
            scale=self.scale,
            dtype=self.dtype,
        )

    def batch_count(self, batch_size: int, *, drop_last: bool = False) -> int:
        """Return the number of batches of an epoch."""
        return len(self) // batch_size if drop_last else -(-len(self) // batch_size)

    def normalization_of_places(self) -> tuple[bool, _Normalize | None]:
        """Return whether pixels only change places, and what normalises them after that.

        A GPU can then augment: at most one crop, whose zeros no other one moves, flips, and perhaps
        `normalize` as the last. The pixels must be uint8 or of the batches' dtype.
        """
        moves = list(self.transforms)
        normalize = moves.pop() if moves and type(moves[-1]) is _Normalize else None
        crops = sum(type(move) is _RandomCrop for move in moves)
        moved = all(type(move) in (_RandomCrop, _HorizontalFlip) for move in moves)
        fits = self.x.ndim == 4 and self.x.dtype in (np.dtype(np.uint8), self.dtype)
        of_places = moved and crops <= 1 and fits
        return of_places, normalize if of_places and isinstance(normalize, _Normalize) else None

    def placed_batches(
        self, batch_size: int, *, shuffle: bool, seed: int, epoch: int, start: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]]:
        """Return what `batches` is made of: indices [n], places (top, left, step) [n, 3], targets.

        For data sets whose transforms `normalization_of_places` says to change places.
        """
        order = permutation(len(self), seed=seed, epoch=epoch) if shuffle else np.arange(len(self))
        draws = self._draw(seed=seed, epoch=epoch)
        for i in range(start, self.batch_count(batch_size)):
            indices = order[i * batch_size : (i + 1) * batch_size]
            n = len(indices)
            size = self.x.shape[1], self.x.shape[2]
            top, left, step = np.zeros(n, np.int64), np.zeros(n, np.int64), np.ones(n, np.int64)
            places = Places(size, top, left, step)
            for transform, bits in zip(self.transforms, draws, strict=True):
                if isinstance(transform, (_RandomCrop, _HorizontalFlip)):
                    transform.place(places, bits[indices])
            placed = np.stack([places.top, places.left, places.step], axis=1)
            yield indices.astype(np.int64), placed, self.y[indices]

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        epoch: int = 0,
        start: int = 0,
        drop_last: bool = False,
    ) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Return an iterator over the batches of one epoch.

        Args:
            batch_size: samples in each batch but the last.
            shuffle: whether to permute the samples; the permutation follows (seed, epoch).
            seed: first part of the key of the permutation and of the transforms' random numbers.
            epoch: its second part.
            start: the first batch to deliver, as many are skipped at no cost.
            drop_last: whether to leave out a last batch that is not full.

        Returns:
            Pairs of x, [n, *shape] of the data set's dtype, and y, int64 [n] or floats [n, ...].
            Both are new arrays.

        Raises:
            ValueError: a batch size below 1, a negative epoch or start.
        """
        batch_size, epoch, start = (operator.index(v) for v in (batch_size, epoch, start))
        if batch_size < 1 or epoch < 0 or start < 0:
            raise ValueError(
                f"[data] expected batch_size >= 1, epoch >= 0 and start >= 0; "
                f"got batch_size={batch_size}, epoch={epoch}, start={start}"
            )
        count = self.batch_count(batch_size, drop_last=drop_last)
        order = permutation(len(self), seed=seed, epoch=epoch) if shuffle else np.arange(len(self))
        draws = self._draw(seed=seed, epoch=epoch)
        return (
            self._deliver(order[i * batch_size : (i + 1) * batch_size], draws)
            for i in range(start, count)
        )

    @cached_property
    def _first_draws(self) -> list[NDArray[np.uint64]]:
        return self._draw(seed=0, epoch=0)

    def _draw(self, *, seed: int, epoch: int) -> list[NDArray[np.uint64]]:
        """Return the random numbers of an epoch for each transform, [N, draws]."""
        return [
            _random_bits(len(self) * t.draws, seed, _TRANSFORM + i, epoch).reshape(-1, t.draws)
            if t.draws
            else np.empty((len(self), 0), np.uint64)
            for i, t in enumerate(self.transforms)
        ]

    def _deliver(
        self, indices: NDArray[np.intp], draws: Iterable[NDArray[np.uint64]]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        x = self.x[indices]
        converted = False
        for transform, bits in zip(self.transforms, draws, strict=True):
            # Moving pixels is cheaper before the conversion than after it: a quarter of the bytes.
            if transform.on_floats and not converted:
                x, converted = self._convert(x), True
            x = transform(x, bits[indices])
        return x if converted else self._convert(x), self.y[indices]

    def _convert(self, x: NDArray[Any]) -> NDArray[Any]:
        floats = x.astype(self.dtype, copy=False)
        if self.scale != 1:
            floats /= self.scale
        return floats


def split(
    dataset: ArrayDataset, fraction: float = 0.2, *, seed: int = 0
) -> tuple[ArrayDataset, ArrayDataset]:
    """Divide a data set at random into a training and a held-out part.

    Of each class the same fraction is held out (rounded), so that both parts have the classes in
    the same proportions; without class labels the fraction is of all samples. Both parts keep the
    transforms: augment the training part afterwards, with `with_transforms`.

    Args:
        dataset: the data set; its samples are copied.
        fraction: share of the samples to hold out.
        seed: the same seed divides the same way on every machine.

    Returns:
        The training part and the held-out part, each in the original order.

    Raises:
        ValueError: a fraction outside 0..1, or one that leaves a part empty.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"[split] fraction must be between 0 and 1; got {fraction}")
    order = permutation(len(dataset), seed=seed, purpose=_SPLIT)
    labels = dataset.y[order] if dataset.classes else np.zeros(len(dataset), np.int64)
    held_out = np.zeros(len(dataset), bool)
    for label in np.unique(labels):
        members = order[labels == label]
        held_out[members[: round(fraction * len(members))]] = True
    if held_out.all() or not held_out.any():
        raise ValueError(
            f"[split] fraction {fraction} of {len(dataset)} samples in {len(np.unique(labels))} "
            f"classes leaves one part empty"
        )
    return dataset.subset(np.flatnonzero(~held_out)), dataset.subset(np.flatnonzero(held_out))


def permutation(n: int, *, seed: int, epoch: int = 0, purpose: int = _SHUFFLE) -> NDArray[np.intp]:
    """Return a permutation of 0..n-1: the order of n 64-bit random numbers, ties as they stand."""
    return np.argsort(_random_bits(n, seed, purpose, epoch), kind="stable")


def _random_bits(n: int, seed: int, purpose: int, epoch: int) -> NDArray[np.uint64]:
    from sixloop import ops

    bits: NDArray[np.uint64] = ops.random_bits(n, seed=seed, purpose=purpose, step=epoch)
    return bits


def _real_array(name: str, values: ArrayLike) -> NDArray[Any]:
    if isinstance(values, ArrayDataset):
        raise TypeError(f"[data] {name} is a data set already; pass it as it is, not in a pair")
    array = np.asarray(values)
    if array.dtype.kind == "b":
        return array.view(np.int8)  # not uint8, whose default scale is 255
    if array.dtype.kind not in "iuf":
        raise TypeError(f"[data] {name} must hold real numbers; got dtype {array.dtype}")
    return array


def _class_names(labels: NDArray[Any], classes: Sequence[str] | None) -> tuple[str, ...]:
    largest = int(labels.max(initial=-1))
    smallest = int(labels.min(initial=0))
    count = largest + 1 if classes is None else len(classes)
    if smallest < 0 or largest >= count:
        raise ValueError(
            f"[data] integer targets are class labels, 0 to classes - 1; got {smallest} to "
            f"{largest} with {count} classes (targets of a regression are floating point)"
        )
    # A wrong file may hold any number as label: a list of names for it must not fill the memory.
    if classes is None and count > 1_000_000:
        raise ValueError(f"[data] label {largest} without class names; pass classes=")
    return tuple(classes) if classes is not None else tuple(str(i) for i in range(count))
