"""Optimizers: against NumPy float64 always, torch where it is there; state and bad arguments."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from sixloop import Tensor, optim
from sixloop.optim import SGD, Adam, AdamW, Optimizer, RMSprop

STEPS = 10

CASES = {
    "sgd": SGD(0.1),
    "sgd-decay": SGD(0.1, weight_decay=0.2),
    "sgd-momentum": SGD(0.1, momentum=0.9),
    "sgd-nesterov": SGD(0.1, momentum=0.8, nesterov=True, weight_decay=0.1),
    "rmsprop": RMSprop(0.02),
    "rmsprop-decay": RMSprop(0.02, rho=0.9, epsilon=1e-4, weight_decay=0.1),
    "adam": Adam(0.05),
    "adam-decay": Adam(0.05, beta1=0.8, beta2=0.99, epsilon=1e-6, weight_decay=0.1),
    "adamw": AdamW(0.05),
    "adamw-decay": AdamW(0.05, beta1=0.8, beta2=0.99, epsilon=1e-6, weight_decay=0.3),
}


def fresh(name: str) -> Optimizer:
    return optim.get(CASES[name].config())


def start(dtype: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    shapes = {"a.weight": (3, 5), "a.bias": (5,), "b.weight": (2, 2, 3, 4)}
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def gradients(dtype: str) -> list[dict[str, np.ndarray]]:
    """Ten gradients, given and not computed, so that rounding does not feed back."""
    rng = np.random.default_rng(2)
    return [
        {name: rng.normal(size=w.shape).astype(dtype) for name, w in start(dtype).items()}
        for _ in range(STEPS)
    ]


def numpy_steps(o: Any, w: np.ndarray, slopes: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The update rules once more, in float64 and in the words of the papers."""
    w = w.astype(np.float64)
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, slope in enumerate(slopes, start=1):
        g = slope.astype(np.float64)
        if isinstance(o, AdamW):
            w = w - o.lr * o.weight_decay * w
        else:
            g = g + o.weight_decay * w
        if isinstance(o, SGD):
            m = o.momentum * m + g
            w = w - o.lr * (g + o.momentum * m if o.nesterov else m)
        elif isinstance(o, RMSprop):
            v = o.rho * v + (1 - o.rho) * g**2
            w = w - o.lr * g / (np.sqrt(v) + o.epsilon)
        else:
            m = o.beta1 * m + (1 - o.beta1) * g
            v = o.beta2 * v + (1 - o.beta2) * g**2
            unbiased = np.sqrt(v / (1 - o.beta2**t))
            w = w - o.lr * m / (1 - o.beta1**t) / (unbiased + o.epsilon)
        yield w


def torch_optimizer(o: Any, parameters: list[Any]) -> Any:
    torch = pytest.importorskip("torch")
    if isinstance(o, SGD):
        return torch.optim.SGD(parameters, o.lr, o.momentum, 0, o.weight_decay, o.nesterov)
    if isinstance(o, RMSprop):
        return torch.optim.RMSprop(parameters, o.lr, o.rho, o.epsilon, o.weight_decay)
    kind = torch.optim.AdamW if isinstance(o, AdamW) else torch.optim.Adam
    return kind(parameters, o.lr, (o.beta1, o.beta2), o.epsilon, o.weight_decay)


def tolerance(dtype: str) -> float:
    """Ten steps, each of some ten roundings of numbers below 4."""
    return STEPS * 10 * 4 * float(np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_ten_steps_as_in_numpy(name: str, dtype: str) -> None:
    optimizer, parameters, slopes = fresh(name), start(dtype), gradients(dtype)
    expected = {
        key: list(numpy_steps(optimizer, w, [g[key] for g in slopes]))
        for key, w in start(dtype).items()
    }
    for step, slope in enumerate(slopes):
        optimizer.update(parameters, slope)
        for key, w in parameters.items():
            assert w.dtype == dtype
            np.testing.assert_allclose(w, expected[key][step], rtol=0, atol=tolerance(dtype))
    assert optimizer.steps == STEPS


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_ten_steps_as_in_torch(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    optimizer, parameters = fresh(name), start(dtype)
    peers = {key: torch.nn.Parameter(torch.tensor(w)) for key, w in parameters.items()}
    peer = torch_optimizer(optimizer, list(peers.values()))
    for slope in gradients(dtype):
        optimizer.update(parameters, slope)
        for key, p in peers.items():
            p.grad = torch.tensor(slope[key])
        peer.step()
        for key, w in parameters.items():
            wanted = peers[key].detach().numpy()
            np.testing.assert_allclose(w, wanted, rtol=0, atol=tolerance(dtype))


@pytest.mark.parametrize("name", CASES)
def test_tensors_are_updated_in_place_with_the_same_bits(name: str) -> None:
    arrays, by_array, by_tensor = start("float32"), fresh(name), fresh(name)
    tensors = {key: Tensor(w) for key, w in arrays.items()}
    views = {key: t.numpy() for key, t in tensors.items()}
    for slope in gradients("float32"):
        by_array.update(arrays, slope)
        by_tensor.update(tensors, {key: Tensor(g) for key, g in slope.items()})
    for key, w in arrays.items():
        np.testing.assert_array_equal(views[key], w)


@pytest.mark.parametrize("name", CASES)
def test_state_moves_to_another_optimizer(name: str) -> None:
    slopes = gradients("float32")
    whole, parameters = fresh(name), start("float32")
    for slope in slopes:
        whole.update(parameters, slope)

    first, halves = fresh(name), start("float32")
    for slope in slopes[:4]:
        first.update(halves, slope)
    second = fresh(name)
    second.load_state({key: np.array(a) for key, a in first.state().items()})
    assert second.steps == 4
    for slope in slopes[4:]:
        second.update(halves, slope)
    for key, w in parameters.items():
        np.testing.assert_array_equal(halves[key], w)


def test_names_of_the_state() -> None:
    optimizer, parameters = Adam(), {"w": np.zeros(2)}
    assert sorted(optimizer.state()) == ["steps"]
    optimizer.update(parameters, {"w": np.ones(2)})
    assert sorted(optimizer.state()) == ["m/w", "steps", "v/w"]
    sgd = SGD()
    sgd.update(parameters, {"w": np.ones(2)})
    assert sorted(sgd.state()) == ["steps"]


def test_state_of_another_optimizer_is_refused() -> None:
    optimizer = SGD(momentum=0.5)
    optimizer.update({"w": np.zeros(2)}, {"w": np.ones(2)})
    with pytest.raises(ValueError, match=r"missing \['m/w', 'v/w'\], unexpected \['velocity/w'\]"):
        Adam().load_state(optimizer.state())
    with pytest.raises(ValueError, match="has no 'steps'"):
        Adam().load_state({})


def test_a_rate_for_one_step() -> None:
    optimizer, w = SGD(0.1), np.zeros(1)
    optimizer.update({"w": w}, {"w": np.ones(1)}, lr=0.5)
    assert w == -0.5
    optimizer.update({"w": w}, {"w": np.ones(1)}, lr=0.0)
    assert w == -0.5
    optimizer.update({"w": w}, {"w": np.ones(1)})
    assert w == -0.6
    with pytest.raises(ValueError, match=r"\[sgd\] expected finite 0 <= lr; got nan"):
        optimizer.update({"w": w}, {"w": np.ones(1)}, lr=math.nan)
    assert optimizer.steps == 3


def test_a_missing_gradient_changes_nothing() -> None:
    optimizer, w = Adam(), {"a": np.zeros(1), "b": np.zeros(1)}
    with pytest.raises(KeyError, match=r"parameters without a gradient: \['b'\]"):
        optimizer.update(w, {"a": np.ones(1)})
    assert w["a"] == 0
    assert optimizer.steps == 0


@pytest.mark.parametrize("optimizer", CASES.values(), ids=CASES)
def test_configuration_builds_the_optimizer_again(optimizer: Optimizer) -> None:
    again = optim.get(json.loads(json.dumps(optimizer.config())))
    assert type(again) is type(optimizer)
    assert repr(again) == repr(optimizer)


def test_names() -> None:
    for name, kind in {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam, "adamw": AdamW}.items():
        assert type(optim.get(name)) is kind
    with pytest.raises(
        ValueError, match="unknown optimizer 'adagrad'; valid names: sgd, rmsprop, adam, adamw"
    ):
        optim.get("adagrad")
    with pytest.raises(
        TypeError, match="expected a name, a configuration or an object of this kind"
    ):
        optim.get(0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(-0.1), r"\[sgd\] expected finite 0 <= lr; got -0.1"),
        (lambda: SGD(math.inf), "got inf"),
        (lambda: SGD(momentum=1.0), "expected finite 0 <= momentum < 1; got 1.0"),
        (lambda: SGD(weight_decay=-1), "0 <= weight_decay; got -1"),
        (lambda: SGD(nesterov=True), "nesterov needs momentum > 0; got momentum=0"),
        (lambda: RMSprop(rho=1.5), "0 <= rho < 1; got 1.5"),
        (lambda: RMSprop(epsilon=0), "epsilon > 0; got 0"),
        (lambda: Adam(beta1=-0.1), "0 <= beta1 < 1; got -0.1"),
        (lambda: AdamW(beta2=math.nan), r"\[adamw\] expected finite 0 <= beta2 < 1; got nan"),
    ],
)
def test_arguments_out_of_range(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
