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


UPDATES = {
    "sgd": (1, lambda step, p, g, v: ops.sgd_update(p, g, None, lr=0.3, weight_decay=0.01)),
    "momentum": (
        1,
        lambda step, p, g, v: ops.sgd_update(p, g, v, lr=0.3, momentum=0.9, nesterov=True),
    ),
    "adam": (2, lambda step, p, g, m, v: ops.adam_update(p, g, m, v, step=step, lr=0.003)),
    "rmsprop": (1, lambda step, p, g, s: ops.rmsprop_update(p, g, s, lr=0.003)),
}


def lists(rng, dtype, slots, count=70):
    """Arrays of many sizes: more than one launch takes, empty ones and many chunks among them."""
    sizes = [(*SIZES, 4096, 4097, 9000)[i % 12] for i in range(count)]
    made = [numbers(rng, size, dtype, 2 + slots) for size in sizes]
    return [list(arrays) for arrays in zip(*made, strict=True)]


@every_dtype
@pytest.mark.parametrize("name", UPDATES)
def test_many_arrays_in_one_call(rng, name, dtype):
    slots, update = UPDATES[name]
    arrays = lists(rng, dtype, slots)
    one_by_one = [[a.copy() for a in group] for group in arrays]
    here = [[a.copy() for a in group] for group in arrays]
    there = [[sixloop.Tensor(a).to("cuda") for a in group] for group in arrays]
    for step in (1, 2):
        for single in zip(*one_by_one, strict=True):
            update(step, *single)
        update(step, *here)
        update(step, *there)
    for expected, got, got_there in zip(one_by_one, here, there, strict=True):
        assert_same_bits(tuple(got), tuple(expected))
        assert_same_bits(tuple(t.numpy() for t in got_there), tuple(expected))


def test_arrays_of_two_dtypes_and_odd_addresses(rng):
    """A list may have both; arrays that do not begin at 16 bytes are taken one by one."""
    made = [numbers(rng, 1300, dtype, 3) for dtype in ("float32", "float64", "float32")]
    here = [list(arrays) for arrays in zip(*made, strict=True)]
    there = [[sixloop.Tensor(a).to("cuda")._part(1, a.size) for a in group] for group in here]
    here = [[a[1:].copy() for a in group] for group in here]
    for arrays in (here, there):
        ops.sgd_update(*arrays, lr=0.3, momentum=0.9)
    for expected, got in zip(here, there, strict=True):
        assert_same_bits(tuple(t.numpy() for t in got), tuple(expected))


@pytest.mark.parametrize("name", UPDATES)
def test_live_numbers(rng, name):
    """Numbers in the GPU's memory count in place of the arguments; 0 as the last stops all."""
    slots, _ = UPDATES[name]
    optimizer = {
        "sgd": optim.SGD(0.5),
        "momentum": optim.SGD(0.5, momentum=0.9),
        "adam": optim.AdamW(0.5),
        "rmsprop": optim.RMSprop(0.5),
    }[name]
    optimizer.steps = 7
    here = lists(rng, "float32", slots, 5)
    there = [[sixloop.Tensor(a).to("cuda") for a in group] for group in here]
    before = [[t.numpy() for t in group] for group in there]
    live = sixloop.Tensor(np.array([*optimizer.live_numbers(0.01), 0.0])).to("cuda")
    optimizer._update_all(there[0], there[1], there[2:], 0.5, live)
    for expected, got in zip(before, there, strict=True):
        assert_same_bits(tuple(t.numpy() for t in got), tuple(expected))
    live.assign(np.array([*optimizer.live_numbers(0.01), 1.0]))
    optimizer.steps = 1  # not looked at
    optimizer._update_all(there[0], there[1], there[2:], 0.5, live)
    optimizer.steps = 7
    optimizer._update_all(here[0], here[1], here[2:], 0.01)
    for expected, got in zip(here, there, strict=True):
        assert_same_bits(tuple(t.numpy() for t in got), tuple(expected))


def test_bad_lists(rng):
    a, t = np.ones(3, "float32"), sixloop.Tensor(np.ones(3, "float32")).to("cuda")
    with pytest.raises(ValueError, match=r"\[sgd_update\] expected one grad for each param; got 2"):
        ops.sgd_update([a, a.copy()], [a], None, lr=0.1)
    with pytest.raises(ValueError, match=r"\[adam_update\] expected one m for each param"):
        ops.adam_update([a], [a], [], [a], step=1, lr=0.1)
    with pytest.raises(ValueError, match="cuda"):
        ops.sgd_update([a, t], [a, t], None, lr=0.1)
    for live in (t, sixloop.Tensor(np.zeros(4))):
        with pytest.raises(ValueError, match=r"4 float64 on cuda|on one device"):
            ops.sgd_update([t], [t.copy()], None, lr=0.1, live=live)


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
