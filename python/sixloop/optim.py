"""Optimizers: `optimizer.update(parameters, gradients)` takes one step, in place.

One call updates all parameters and their state, on the GPU in as few launches as there are tables
of 64 arrays. The conventions are torch's, so that figures carry over. State is made when a
parameter is first seen; `state()` and `load_state()` carry it over to another process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sixloop import _on_device, _registry, ops
from sixloop._arrays import device_of, to_device

if TYPE_CHECKING:
    from sixloop import Tensor
    from sixloop.ops import Array

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "get"]


class Optimizer:
    """The base of the optimizers.

    Attributes:
        lr: learning rate of the steps that are not given another.
        steps: steps taken.
    """

    name: ClassVar[str]

    slots: tuple[str, ...] = ()
    """The arrays that are kept for every parameter, each of its shape and dtype."""

    is_recordable: ClassVar[bool] = False
    """Whether `_update_all` takes `live` numbers; what a class inherits does not count."""

    def __init__(self, lr: float) -> None:
        self.lr = _number(self.name, "lr", lr, 0.0)
        self.steps = 0
        self._state: dict[str, tuple[Array, ...]] = {}

    def update(
        self,
        parameters: Mapping[str, Array],
        gradients: Mapping[str, Array],
        lr: float | None = None,
    ) -> None:
        """Take one step: change `parameters` in place.

        Args:
            parameters: arrays by name, float32 or float64; Tensors on the GPU are updated there.
            gradients: theirs, by the same names, of the same shapes and dtypes.
            lr: learning rate of this step (default: the optimizer's).

        Raises:
            KeyError: a parameter without a gradient. ValueError: a shape that does not fit.
        """
        rate = self.lr if lr is None else _number(self.name, "lr", lr, 0.0)
        try:
            their_gradients = [gradients[name] for name in parameters]
        except KeyError:
            missing = sorted(parameters.keys() - gradients.keys())
            raise KeyError(f"[{self.name}] parameters without a gradient: {missing}") from None
        self.steps += 1
        self._update_all(
            list(parameters.values()), their_gradients, self.slots_of(parameters), rate
        )

    def slots_of(self, parameters: Mapping[str, Array]) -> list[list[Array]]:
        """Return the arrays kept for `parameters`, a list for each slot; new ones are zeros."""
        if not self.slots:
            return []
        found = [self._slots_of(name, parameter) for name, parameter in parameters.items()]
        return [[slots[i] for slots in found] for i in range(len(self.slots))]

    def _slots_of(self, name: str, parameter: Array) -> tuple[Array, ...]:
        slots = self._state.get(name)
        if slots is None:
            slots = tuple(_zeros_like(parameter) for _ in self.slots)
            self._state[name] = slots
        elif slots and device_of(slots[0]) != device_of(parameter):
            # Since the model was moved, or since the state was loaded.
            slots = tuple(to_device(slot, device_of(parameter)) for slot in slots)
            self._state[name] = slots
        return slots

    def _update_all(
        self,
        parameters: list[Array],
        gradients: list[Array],
        slots: list[list[Array]],
        lr: float,
        live: Tensor | None = None,
    ) -> None:
        """Update arrays by gradients; `slots` has a list for each of `self.slots`.

        With `live`, what `live_numbers` returns for the step is read from there, and whether to
        update at all: see ops.
        """
        raise NotImplementedError

    def live_numbers(self, lr: float) -> tuple[float, float, float]:
        """Return what changes from step to step, for step number `self.steps`."""
        return _number(self.name, "lr", lr, 0.0), 0.0, 0.0

    def state(self) -> dict[str, Array]:
        """Return the state: "steps", int64 of one element, and "<slot>/<parameter>", not copied."""
        state: dict[str, Array] = {"steps": np.array([self.steps], np.int64)}
        for name, slots in self._state.items():
            state.update({f"{slot}/{name}": a for slot, a in zip(self.slots, slots, strict=True)})
        return state

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Take over a copy of what `state()` of an equal optimizer returned.

        Raises:
            ValueError: names that this optimizer does not have, or has and are missing.
        """
        from sixloop import Tensor

        if "steps" not in state:
            raise ValueError(f"[{self.name}] the state has no 'steps'; got {sorted(state)}")
        names = {key.partition("/")[2]: None for key in state if "/" in key}
        expected = {f"{slot}/{name}" for name in names for slot in self.slots} | {"steps"}
        if expected != state.keys():
            raise ValueError(
                f"[{self.name}] the state is not of this optimizer: "
                f"missing {sorted(expected - state.keys())}, "
                f"unexpected {sorted(state.keys() - expected)}"
            )
        self.steps = int(np.asarray(state["steps"]).reshape(-1)[0])
        self._state = {
            name: tuple(Tensor(state[f"{slot}/{name}"]) for slot in self.slots) for name in names
        }

    def config(self) -> dict[str, Any]:
        """Return the name and arguments from which `get` builds this optimizer again."""
        return {"name": self.name, "lr": self.lr}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.config().items() if k != "name")
        return f"{type(self).__name__}({arguments})"


class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

        g = gradient + weight_decay * w
        v = momentum * v + g
        w = w - lr * v                      (nesterov: w - lr * (g + momentum * v))

    Args:
        lr: learning rate, >= 0 (default 0.01).
        momentum: 0 <= momentum < 1 (default 0: no velocity is kept).
        nesterov: look ahead by one step; needs momentum > 0 (default False).
        weight_decay: >= 0 (default 0), on all parameters. `losses.L2Penalty` is for weights only.

    Source: Sutskever et al., On the importance of initialization and momentum in deep learning
    (2013), with the learning rate outside the velocity.
    """

    name = "sgd"
    is_recordable = True

    def __init__(
        self,
        lr: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr)
        self.momentum = _number(self.name, "momentum", momentum, 0.0, 1.0)
        self.nesterov = bool(nesterov)
        self.weight_decay = _number(self.name, "weight_decay", weight_decay, 0.0)
        if self.nesterov and self.momentum == 0:
            raise ValueError(f"[{self.name}] nesterov needs momentum > 0; got momentum=0")
        self.slots = ("velocity",) if self.momentum else ()

    def _update_all(
        self,
        parameters: list[Array],
        gradients: list[Array],
        slots: list[list[Array]],
        lr: float,
        live: Tensor | None = None,
    ) -> None:
        ops.sgd_update(
            parameters,
            gradients,
            slots[0] if slots else None,
            lr=lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            live=live,
        )

    def config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "lr": self.lr,
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "weight_decay": self.weight_decay,
        }


class RMSprop(Optimizer):
    """Gradient descent divided by a running root mean square of the gradient.

        g = gradient + weight_decay * w
        s = rho * s + (1 - rho) * g^2
        w = w - lr * g / (sqrt(s) + epsilon)

    Args:
        lr: learning rate, >= 0 (default 0.01).
        rho: decay of the mean square, 0 <= rho < 1 (default 0.99).
        epsilon: > 0 (default 1e-8).
        weight_decay: >= 0 (default 0), on all parameters.

    Source: Tieleman and Hinton, Lecture 6.5, Neural Networks for Machine Learning (2012).
    """

    name = "rmsprop"
    is_recordable = True
    slots = ("square_avg",)

    def __init__(
        self,
        lr: float = 0.01,
        rho: float = 0.99,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr)
        self.rho = _number(self.name, "rho", rho, 0.0, 1.0)
        self.epsilon = _positive(self.name, "epsilon", epsilon)
        self.weight_decay = _number(self.name, "weight_decay", weight_decay, 0.0)

    def _update_all(
        self,
        parameters: list[Array],
        gradients: list[Array],
        slots: list[list[Array]],
        lr: float,
        live: Tensor | None = None,
    ) -> None:
        ops.rmsprop_update(
            parameters,
            gradients,
            slots[0],
            lr=lr,
            rho=self.rho,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay,
            live=live,
        )

    def config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "lr": self.lr,
            "rho": self.rho,
            "epsilon": self.epsilon,
            "weight_decay": self.weight_decay,
        }


class Adam(Optimizer):
    """Adaptive moment estimation.

        g = gradient + weight_decay * w
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        w = w - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)    t = 1, 2, ...

    Args:
        lr: learning rate, >= 0 (default 0.001).
        beta1: 0 <= beta1 < 1 (default 0.9).
        beta2: 0 <= beta2 < 1 (default 0.999).
        epsilon: > 0 (default 1e-8).
        weight_decay: >= 0 (default 0), on all parameters and as part of the gradient; `AdamW`
            keeps it apart.

    Source: Kingma and Ba, Adam: a method for stochastic optimization (2015), algorithm 1.
    """

    name = "adam"
    is_recordable = True
    slots = ("m", "v")
    decoupled: ClassVar[bool] = False

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr)
        self.beta1 = _number(self.name, "beta1", beta1, 0.0, 1.0)
        self.beta2 = _number(self.name, "beta2", beta2, 0.0, 1.0)
        self.epsilon = _positive(self.name, "epsilon", epsilon)
        self.weight_decay = _number(self.name, "weight_decay", weight_decay, 0.0)

    def _update_all(
        self,
        parameters: list[Array],
        gradients: list[Array],
        slots: list[list[Array]],
        lr: float,
        live: Tensor | None = None,
    ) -> None:
        ops.adam_update(
            parameters,
            gradients,
            slots[0],
            slots[1],
            step=self.steps,
            lr=lr,
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay,
            decoupled=self.decoupled,
            live=live,
        )

    def live_numbers(self, lr: float) -> tuple[float, float, float]:
        rate, root, shrink = _on_device.adam_numbers(
            self.steps,
            _number(self.name, "lr", lr, 0.0),
            self.beta1,
            self.beta2,
            self.weight_decay,
            self.decoupled,
        )
        return rate, root, shrink

    def config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "lr": self.lr,
            "beta1": self.beta1,
            "beta2": self.beta2,
            "epsilon": self.epsilon,
            "weight_decay": self.weight_decay,
        }


class AdamW(Adam):
    """Adam with decoupled weight decay: w = w - lr * weight_decay * w, apart from Adam's step.

    Args:
        lr, beta1, beta2, epsilon: as for `Adam`.
        weight_decay: >= 0 (default 0.01), on all parameters.

    Source: Loshchilov and Hutter, Decoupled weight decay regularization (2019), algorithm 2, with
    the decay scaled by the learning rate.
    """

    name = "adamw"
    is_recordable = True
    decoupled = True

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(lr, beta1, beta2, epsilon, weight_decay)


def _number(op: str, argument: str, value: float, low: float, below: float = math.inf) -> float:
    if not low <= value < below:
        limit = "" if below == math.inf else f" < {below:g}"
        raise ValueError(f"[{op}] expected finite {low:g} <= {argument}{limit}; got {value!r}")
    return float(value)


def _positive(op: str, argument: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise ValueError(f"[{op}] expected finite {argument} > 0; got {value!r}")
    return float(value)


def _zeros_like(parameter: Array) -> Array:
    if isinstance(parameter, np.ndarray):
        return np.zeros_like(parameter)
    from sixloop import zeros

    return zeros(parameter.shape, str(parameter.dtype), device_of(parameter))


_OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    optimizer.name: optimizer for optimizer in (SGD, RMSprop, Adam, AdamW)
}


def get(spec: str | Mapping[str, Any] | Optimizer) -> Optimizer:
    """Return the optimizer that `spec` names, with its defaults, or `spec` itself.

    Args:
        spec: "sgd", "rmsprop", "adam" or "adamw"; what an optimizer's `config()` returned; or an
            Optimizer.

    Raises:
        ValueError: unknown name. TypeError: none of these.
    """
    if isinstance(spec, Optimizer):
        return spec
    return _registry.build("optimizer", _OPTIMIZERS, spec)
