"""Updates on the GPU against the CPU, bit for bit."""

import numpy as np
import pytest

import sixloop
from comparators import assert_same_bits
from on_cuda import DTYPES, values
from sixloop import ops, optim

SIZES = (0, 1, 3, 4, 5, 1023, 1024, 1025, 2500)

every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def assert_same_updates(update, arrays):
    """Calls update(step, *arrays) for two steps on both devices; the gradient is the second."""
    there = [sixloop.Tensor(a).to("cuda") for a in arrays]
    here = [a.copy() for a in arrays]
    for step in (1, 2):
        update(step, *here)
        update(step, *there)
    assert_same_bits(tuple(t.numpy() for t in there), tuple(here))
    np.testing.assert_array_equal(here[1], arrays[1])


def numbers(rng, size, dtype, count):
    arrays = [values(rng, size, dtype) for _ in range(count)]
    arrays[2:] = [np.abs(a) for a in arrays[2:]]  # squares, where the slot is one
    return arrays


@every_dtype
@pytest.mark.parametrize("size", SIZES)
def test_sgd(rng, size, dtype):
    arrays = numbers(rng, size, dtype, 3)
    for decay in (0.0, 0.01):
        assert_same_updates(
            lambda _, p, g, v, d=decay: ops.sgd_update(p, g, None, lr=0.3, weight_decay=d), arrays
        )
        for nesterov in (False, True):
            assert_same_updates(
                lambda _, p, g, v, d=decay, n=nesterov: ops.sgd_update(
                    p, g, v, lr=0.3, momentum=0.9, nesterov=n, weight_decay=d
                ),
                arrays,
            )


@every_dtype
@pytest.mark.parametrize("size", SIZES)
def test_adam(rng, size, dtype):
    arrays = numbers(rng, size, dtype, 4)
    for decoupled in (False, True):
        assert_same_updates(
            lambda step, p, g, m, v, d=decoupled: ops.adam_update(
                p, g, m, v, step=step, lr=0.003, weight_decay=0.01, decoupled=d
            ),
            arrays,
        )


@every_dtype
@pytest.mark.parametrize("size", SIZES)
def test_rmsprop(rng, size, dtype):
    assert_same_updates(
        lambda _, p, g, s: ops.rmsprop_update(p, g, s, lr=0.003, weight_decay=0.01),
        numbers(rng, size, dtype, 3),
    )


@every_dtype
def test_moving_average(rng, dtype):
    for size in SIZES:
        assert_same_updates(
            lambda _, running, value: ops.moving_average(running, value, momentum=0.9, factor=0.13),
            [values(rng, size, dtype) for _ in range(2)],
        )


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam", "adamw"])
def test_optimizers_follow_their_parameters(rng, name):
    """State that was made or loaded on one device goes where the parameters are."""
    w, g = (rng.normal(size=(5, 7)).astype("float32") for _ in range(2))
    optimizer, other = optim.get(name), optim.get(name)
    if name == "sgd":
        optimizer, other = optim.SGD(0.1, momentum=0.9), optim.SGD(0.1, momentum=0.9)
    for device in ("cpu", "cuda", "cuda", "cpu"):
        there = sixloop.Tensor(w).to(device)
        optimizer.update({"w": there}, {"w": sixloop.Tensor(g).to(device)})
        other.update({"w": w}, {"w": g})
        assert_same_bits(there.numpy(), w)
        slots = [a for key, a in optimizer.state().items() if key != "steps"]
        assert {slot.device for slot in slots} == {device}
    state = {key: sixloop.Tensor(a).to("cuda") for key, a in optimizer.state().items()}
    optimizer.load_state({k: a.numpy() for k, a in state.items()})
    there = sixloop.Tensor(w).to("cuda")
    optimizer.update({"w": there}, {"w": sixloop.Tensor(g).to("cuda")})
    other.update({"w": w}, {"w": g})
    assert_same_bits(there.numpy(), w)
