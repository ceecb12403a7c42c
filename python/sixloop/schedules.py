"""Learning-rate schedules: pure functions of the step.

    schedule = LinearWarmup(Cosine(0.1, steps=9_000), steps=1_000)
    schedule(0)                             # the learning rate of the first step

Steps are optimizer steps and count from 0: `steps_per_epoch = ceil(samples / batch_size)`. Nothing
is remembered between calls, so that a resumed run needs only its step. Values come from correctly
rounded arithmetic alone, not from the machine's libm, so that they are the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from sixloop import _registry

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "LinearWarmup",
    "OneCycle",
    "Schedule",
    "Step",
    "get",
]


class Schedule:
    """The base of the schedules: frozen data classes that are called with a step."""

    name: ClassVar[str]

    def __call__(self, step: int) -> float:
        """Return the learning rate of step `step`, counted from 0."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """Return the name and arguments from which `get` builds this schedule again."""
        arguments: dict[str, Any] = {"name": self.name}
        for field in fields(self):  # type: ignore[arg-type]  # every subclass is a data class
            value = getattr(self, field.name)
            arguments[field.name] = value.config() if isinstance(value, Schedule) else value
        return arguments


@dataclass(frozen=True)
class Constant(Schedule):
    """lr(s) = lr.

    Args:
        lr: learning rate, >= 0.
    """

    lr: float
    name: ClassVar[str] = "constant"

    def __post_init__(self) -> None:
        _check_rate(self.name, "lr", self.lr)

    def __call__(self, step: int) -> float:
        return self.lr


@dataclass(frozen=True)
class Step(Schedule):
    """lr(s) = lr * factor^floor(s / every).

    Args:
        lr: learning rate at first, >= 0.
        every: steps between two drops, >= 1.
        factor: of each drop, > 0 (default 0.1).
    """

    lr: float
    every: int
    factor: float = 0.1
    name: ClassVar[str] = "step"

    def __post_init__(self) -> None:
        _check_rate(self.name, "lr", self.lr)
        _check_steps(self.name, "every", self.every)
        _check_factor(self.name, self.factor)

    def __call__(self, step: int) -> float:
        return self.lr * _power(self.factor, step // self.every, 1)


@dataclass(frozen=True)
class Exponential(Schedule):
    """lr(s) = lr * factor^(s / every).

    Args:
        lr: learning rate at first, >= 0.
        every: steps in which the rate changes by `factor`, >= 1.
        factor: > 0 (default 0.1).
    """

    lr: float
    every: int
    factor: float = 0.1
    name: ClassVar[str] = "exponential"

    def __post_init__(self) -> None:
        _check_rate(self.name, "lr", self.lr)
        _check_steps(self.name, "every", self.every)
        _check_factor(self.name, self.factor)

    def __call__(self, step: int) -> float:
        return self.lr * _power(self.factor, step, self.every)


@dataclass(frozen=True)
class Cosine(Schedule):
    """lr(s) = final_lr + (lr - final_lr) * (1 + cos(pi * min(s, steps) / steps)) / 2.

    Args:
        lr: learning rate at first, >= 0.
        steps: length of the half wave, >= 1; after it the rate stays at `final_lr`.
        final_lr: >= 0 (default 0).

    Source: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts (2017),
    equation 5, without restarts.
    """

    lr: float
    steps: int
    final_lr: float = 0.0
    name: ClassVar[str] = "cosine"

    def __post_init__(self) -> None:
        _check_rate(self.name, "lr", self.lr)
        _check_rate(self.name, "final_lr", self.final_lr)
        _check_steps(self.name, "steps", self.steps)

    def __call__(self, step: int) -> float:
        return _half_wave(self.lr, self.final_lr, min(step, self.steps) / self.steps)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """A half wave up from lr / start_divisor to lr, and one down to lr / final_divisor.

    With wave(a, b, t) = b + (a - b) * (1 + cos(pi * t)) / 2 and peak = rise * steps - 1:

        lr(s) = wave(lr / start_divisor, lr, s / peak)                          for s <= peak
        lr(s) = wave(lr, lr / final_divisor, (s - peak) / (steps - 1 - peak))   for peak < s < steps

    and lr / final_divisor from then on.

    Args:
        lr: the largest learning rate, >= 0.
        steps: of the whole cycle, with 1 < rise * steps < steps.
        rise: the share of the steps that goes up, 0 < rise < 1 (default 0.3).
        start_divisor: >= 1 (default 25).
        final_divisor: >= 1 (default 250,000).

    Source: Smith and Topin, Super-convergence (2018), with the half waves and defaults of torch's
    OneCycleLR; the momentum is left alone.
    """

    lr: float
    steps: int
    rise: float = 0.3
    start_divisor: float = 25.0
    final_divisor: float = 250_000.0
    name: ClassVar[str] = "one_cycle"

    def __post_init__(self) -> None:
        _check_rate(self.name, "lr", self.lr)
        _check_steps(self.name, "steps", self.steps)
        if not 1 < self.rise * self.steps < self.steps:
            raise ValueError(
                f"[{self.name}] expected 1 < rise * steps < steps; "
                f"got rise={self.rise!r}, steps={self.steps}"
            )
        for argument in ("start_divisor", "final_divisor"):
            if not 1 <= getattr(self, argument) < math.inf:
                raise ValueError(
                    f"[{self.name}] expected finite {argument} >= 1; "
                    f"got {getattr(self, argument)!r}"
                )

    def __call__(self, step: int) -> float:
        peak, last = self.rise * self.steps - 1, self.steps - 1
        if step <= peak:
            return _half_wave(self.lr / self.start_divisor, self.lr, step / peak)
        fall = (min(step, last) - peak) / (last - peak)
        return _half_wave(self.lr, self.lr / self.final_divisor, fall)


@dataclass(frozen=True)
class LinearWarmup(Schedule):
    """A straight line up to where another schedule begins, then that schedule.

        lr(s) = start_lr + (schedule(0) - start_lr) * (s + 1) / steps               for s < steps
        lr(s) = schedule(s - steps)                                                 afterwards

    Args:
        schedule: the other schedule, or a number: constant after the warm-up.
        steps: of the warm-up, >= 1.
        start_lr: where the line comes from, >= 0 (default 0). The first step is one above it: no
            step is spent on a rate of 0.

    Source: Goyal et al., Accurate, large minibatch SGD (2017), section 2.2.
    """

    schedule: Schedule
    steps: int
    start_lr: float = 0.0
    name: ClassVar[str] = "linear_warmup"

    def __post_init__(self) -> None:
        # A number or a configuration becomes a schedule; the class is frozen.
        object.__setattr__(self, "schedule", get(self.schedule))
        _check_steps(self.name, "steps", self.steps)
        _check_rate(self.name, "start_lr", self.start_lr)

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.schedule(step - self.steps)
        return self.start_lr + (self.schedule(0) - self.start_lr) * ((step + 1) / self.steps)


def _half_wave(start: float, end: float, t: float) -> float:
    return end + (start - end) * ((1 + _cos_pi(t)) / 2)


def _cos_pi(t: float) -> float:
    """Return cos(pi * t) for 0 <= t <= 1, to 2^-51 absolute, by series of +, - and * only."""
    if t > 0.5:
        return -_cos_pi(1 - t)
    if t > 0.25:
        return _series(math.pi * (0.5 - t), 3)
    return _series(math.pi * t, 2)


def _series(x: float, first: int) -> float:
    """Sum the Taylor series of cos (first = 2) or sin (first = 3) for 0 <= x <= pi/4.

    The first term left out is below (pi/4)^18 / 18! = 2e-18.
    """
    total = 1.0
    for n in range(first + 14, first - 1, -2):
        total = 1.0 - total * (x * x) / (n * (n - 1))
    return total if first == 2 else x * total


def _power(base: float, numerator: int, denominator: int) -> float:
    """Return base^(numerator / denominator) of 28 digits, rounded to a float."""
    from decimal import Context, Decimal

    context = Context(prec=28)
    exponent = context.divide(Decimal(numerator), Decimal(denominator))
    return float(context.power(Decimal(base), exponent))


def _check_rate(op: str, argument: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValueError(f"[{op}] expected finite {argument} >= 0; got {value!r}")


def _check_steps(op: str, argument: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"[{op}] {argument} must be an integer >= 1; got {value!r}")


def _check_factor(op: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"[{op}] expected finite factor > 0; got {value!r}")


_SCHEDULES: dict[str, Callable[..., Schedule]] = {
    schedule.name: schedule
    for schedule in (Constant, Step, Exponential, Cosine, OneCycle, LinearWarmup)
}


def get(spec: Any) -> Schedule:
    """Return the schedule that `spec` describes.

    Args:
        spec: a Schedule or another callable `step -> learning rate`, returned as it is; a number: a
            constant rate; or what a schedule's `config()` returned, a mapping with the "name"
            constant, step, exponential, cosine, one_cycle or linear_warmup and its arguments.

    Raises:
        ValueError: unknown name. TypeError: none of these.
    """
    if callable(spec) and not isinstance(spec, type):
        return spec  # type: ignore[no-any-return]  # the user's own function has no other type
    if isinstance(spec, (int, float)) and not isinstance(spec, bool):
        return Constant(float(spec))
    return _registry.build("schedule", _SCHEDULES, spec)
