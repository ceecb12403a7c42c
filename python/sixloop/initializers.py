"""Fills of new parameters, from (seed, parameter name, element) alone.

The same seed and names give the same bits on every machine and with any number of threads; adding
a layer to a network leaves the numbers of the other layers as they are.

A layer takes a name, ``Conv2D(8, 3, kernel_initializer="he_normal")``, or an object,
``kernel_initializer=initializers.normal(std=0.01)``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import sixloop
from sixloop import Tensor, _checks, ops

__all__ = [
    "Initializer",
    "constant",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "signs",
    "stable_hash",
    "uniform",
    "zeros",
]


def stable_hash(name: str) -> int:
    """Returns a 32-bit number for a name, the same in every process (``hash`` is not)."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little")


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Returns (fan in, fan out) of a weight: Dense [in, out], convolution [KH, KW, C/groups, O].

    Fan in is the number of inputs of one output, KH*KW*C/groups; fan out is KH*KW*O, as in Keras
    and PyTorch. A vector of n counts as (n, n).
    """
    if len(shape) < 2:
        size = math.prod(shape)
        return size, size
    area = math.prod(shape[:-2])
    return area * shape[-2], area * shape[-1]


class Initializer:
    """Base of all initializers: called with a shape, it returns a filled Tensor."""

    def __call__(
        self, shape: tuple[int, ...], *, seed: int, purpose: int, dtype: str = "float32"
    ) -> Tensor:
        """Returns a Tensor of ``shape`` whose element i depends on (seed, purpose, i) alone."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__")

    def config(self) -> str | dict[str, Any]:
        """Returns what ``get`` takes to make this initializer again, as JSON-able value."""
        raise NotImplementedError(f"{type(self).__name__} has no config")


InitializerLike = str | Initializer | Mapping[str, Any]


@dataclass(frozen=True)
class _Scaled(Initializer):
    """Zero-mean numbers of variance ``scale / fan``, where fan is fan_in or the two fans' mean."""

    name: str
    scale: float
    averaged: bool
    uniform: bool

    def __call__(
        self, shape: tuple[int, ...], *, seed: int, purpose: int, dtype: str = "float32"
    ) -> Tensor:
        fan_in, fan_out = fans(shape)
        fan = (fan_in + fan_out) / 2 if self.averaged else fan_in
        deviation = math.sqrt(self.scale / max(1.0, fan))
        if not self.uniform:
            return _Normal(0.0, deviation)(shape, seed=seed, purpose=purpose, dtype=dtype)
        # A uniform number in (-a, a) has variance a*a/3.
        limit = math.sqrt(3.0) * deviation
        tensor: Tensor = ops.random_uniform(
            shape, -limit, limit, seed=seed, purpose=purpose, dtype=dtype
        )
        return tensor

    def config(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return repr(self.name)


@dataclass(frozen=True)
class _Normal(Initializer):
    mean: float
    std: float

    def __call__(
        self, shape: tuple[int, ...], *, seed: int, purpose: int, dtype: str = "float32"
    ) -> Tensor:
        tensor: Tensor = ops.random_normal(
            shape, self.mean, self.std, seed=seed, purpose=purpose, dtype=dtype
        )
        return tensor

    def config(self) -> dict[str, Any]:
        return {"name": "normal", "mean": self.mean, "std": self.std}

    def __repr__(self) -> str:
        return f"normal(mean={self.mean!r}, std={self.std!r})"


@dataclass(frozen=True)
class _Uniform(Initializer):
    limit: float

    def __call__(
        self, shape: tuple[int, ...], *, seed: int, purpose: int, dtype: str = "float32"
    ) -> Tensor:
        tensor: Tensor = ops.random_uniform(
            shape, -self.limit, self.limit, seed=seed, purpose=purpose, dtype=dtype
        )
        return tensor

    def config(self) -> dict[str, Any]:
        return {"name": "uniform", "limit": self.limit}

    def __repr__(self) -> str:
        return f"uniform(limit={self.limit!r})"


@dataclass(frozen=True)
class _Signs(Initializer):
    def __call__(
        self, shape: tuple[int, ...], *, seed: int, purpose: int, dtype: str = "float32"
    ) -> Tensor:
        tensor = _Uniform(1.0)(shape, seed=seed, purpose=purpose, dtype=dtype)
        values = tensor.numpy()
        np.copysign(1.0, values, out=values)
        return tensor

    def config(self) -> str:
        return "signs"

    def __repr__(self) -> str:
        return "'signs'"


@dataclass(frozen=True)
class _Constant(Initializer):
    value: float

    def __call__(
        self, shape: tuple[int, ...], *, seed: int, purpose: int, dtype: str = "float32"
    ) -> Tensor:
        if self.value == 0.0:
            return sixloop.zeros(shape, dtype)
        tensor = sixloop.empty(shape, dtype)
        tensor.fill(self.value)
        return tensor

    def config(self) -> str | dict[str, Any]:
        if self.value in (0.0, 1.0):
            return "zeros" if self.value == 0.0 else "ones"
        return {"name": "constant", "value": self.value}

    def __repr__(self) -> str:
        config = self.config()
        return repr(config) if isinstance(config, str) else f"constant({self.value!r})"


def he_normal() -> Initializer:
    """Normal numbers of variance 2 / fan_in (He et al. 2015, eq. 10), for ReLU networks."""
    return _Scaled("he_normal", 2.0, averaged=False, uniform=False)


def he_uniform() -> Initializer:
    """Uniform numbers within sqrt(6 / fan_in): the variance of ``he_normal``."""
    return _Scaled("he_uniform", 2.0, averaged=False, uniform=True)


def glorot_normal() -> Initializer:
    """Normal numbers of variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010, eq. 12)."""
    return _Scaled("glorot_normal", 1.0, averaged=True, uniform=False)


def glorot_uniform() -> Initializer:
    """Uniform numbers within sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16)."""
    return _Scaled("glorot_uniform", 1.0, averaged=True, uniform=True)


def lecun_normal() -> Initializer:
    """Normal numbers of variance 1 / fan_in (LeCun et al. 1998, Efficient BackProp, eq. 16)."""
    return _Scaled("lecun_normal", 1.0, averaged=False, uniform=False)


def lecun_uniform() -> Initializer:
    """Uniform numbers within sqrt(3 / fan_in): the variance of ``lecun_normal``."""
    return _Scaled("lecun_uniform", 1.0, averaged=False, uniform=True)


def normal(mean: float = 0.0, std: float = 0.05) -> Initializer:
    """Normal numbers of the given mean and standard deviation (not truncated)."""
    mean, std = _checks.number("normal", "mean", mean), _checks.number("normal", "std", std)
    if std < 0:
        raise ValueError(f"[normal] std must not be negative; got {std!r}")
    return _Normal(mean, std)


def uniform(limit: float = 0.05) -> Initializer:
    """Uniform numbers within (-limit, limit)."""
    limit = _checks.number("uniform", "limit", limit, low=0.0, open_low=True)
    return _Uniform(limit)


def signs() -> Initializer:
    """-1 and 1, each with probability 1/2."""
    return _Signs()


def constant(value: float) -> Initializer:
    """The same number everywhere."""
    return _Constant(_checks.number("constant", "value", value))


def zeros() -> Initializer:
    """Zeros."""
    return _Constant(0.0)


def ones() -> Initializer:
    """Ones."""
    return _Constant(1.0)


_FACTORIES: dict[str, Callable[..., Initializer]] = {
    factory.__name__: factory
    for factory in (
        he_normal,
        he_uniform,
        glorot_normal,
        glorot_uniform,
        lecun_normal,
        lecun_uniform,
        normal,
        uniform,
        signs,
        zeros,
        ones,
        constant,
    )
}


def get(initializer: InitializerLike) -> Initializer:
    """Returns an initializer from a name, an initializer or what its ``config`` returned.

    Raises:
        ValueError: unknown name (the message lists the valid ones) or missing argument.
        TypeError: anything else.
    """
    if isinstance(initializer, Initializer):
        return initializer
    arguments: dict[str, Any] = {}
    name: object = initializer
    if isinstance(initializer, Mapping):
        arguments = dict(initializer)
        name = arguments.pop("name", None)
    if not isinstance(name, str):
        raise TypeError(
            f"[initializer] must be one of {', '.join(_FACTORIES)} or an Initializer; "
            f"got {initializer!r}"
        )
    factory = _FACTORIES.get(name)
    if factory is None:
        raise ValueError(
            f"[initializer] must be one of {', '.join(_FACTORIES)}; got {name!r}"
            + _checks.nearest(name, _FACTORIES)
        )
    try:
        return factory(**arguments)
    except TypeError as error:
        raise ValueError(f"[initializer] {error}; got {initializer!r}") from None
