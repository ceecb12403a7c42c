"""The fused optimizer updates against the float64 reference, and torch, over ten steps."""

from __future__ import annotations

import numpy as np
import pytest

import reference
import sixloop
from comparators import assert_exact, assert_within
from sixloop import ops

DTYPES = ("float32", "float64")
SIZES = (0, 1, 3, 7, 8, 17, 64, 1001, 70_000)

CASES = {
    "sgd": ("sgd_update", {"lr": 0.1}, ()),
    "sgd weight decay": ("sgd_update", {"lr": 0.1, "weight_decay": 0.05}, ()),
    "sgd momentum": ("sgd_update", {"lr": 0.05, "momentum": 0.9}, ("momentum",)),
    "sgd momentum decay": (
        "sgd_update",
        {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.01},
        ("momentum",),
    ),
    "sgd nesterov": (
        "sgd_update",
        {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        ("momentum",),
    ),
    "adam": ("adam_update", {"lr": 0.01}, ("m", "v")),
    "adam decay": (
        "adam_update",
        {"lr": 0.02, "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6, "weight_decay": 0.1},
        ("m", "v"),
    ),
    "adamw": ("adam_update", {"lr": 0.02, "weight_decay": 0.1, "decoupled": True}, ("m", "v")),
    "rmsprop": ("rmsprop_update", {"lr": 0.01}, ("v",)),
    "rmsprop decay": (
        "rmsprop_update",
        {"lr": 0.01, "rho": 0.9, "epsilon": 1e-6, "weight_decay": 0.1},
        ("v",),
    ),
}

every_case = pytest.mark.parametrize("case", CASES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def _run(module, name, param, state, grads, options):
    """Ten steps in place."""
    update = getattr(module, name)
    for number, grad in enumerate(grads, 1):
        step = {"step": number} if name == "adam_update" else {}
        buffers = state if state or name != "sgd_update" else [None]
        assert update(param, grad, *buffers, **options, **step) is None


@every_dtype
@every_case
def test_ten_steps(rng, case, dtype):
    name, options, buffers = CASES[case]
    for size in SIZES:
        param = rng.normal(size=size).astype(dtype)
        grads = rng.normal(size=(10, size)).astype(dtype)
        state = [np.zeros(size, dtype) for _ in buffers]
        expected = param.astype(np.float64)
        expected_state = [s.astype(np.float64) for s in state]
        _run(ops, name, param, state, grads, options)
        _run(reference, name, expected, expected_state, grads, options)
        # About ten roundings a step of parameters and steps of order 1, ten steps.
        bound = 100 * np.finfo(dtype).eps * (1 + np.abs(expected))
        if name != "sgd_update":
            # The quotient of a tiny gradient by its own root magnifies roundings of the state.
            bound = bound * 4
        assert_within(param, expected, bound, dtype, f"size {size}: ")
        for actual, due in zip(state, expected_state, strict=True):
            bound = 100 * np.finfo(dtype).eps * (1 + np.abs(due))
            assert_within(actual, due, bound, dtype, f"state, size {size}: ")


@every_case
def test_torch_agrees(rng, case):
    torch = pytest.importorskip("torch")
    name, options, buffers = CASES[case]
    kind = {
        "sgd_update": torch.optim.SGD,
        "adam_update": torch.optim.AdamW if options.get("decoupled") else torch.optim.Adam,
        "rmsprop_update": torch.optim.RMSprop,
    }[name]
    arguments = {key: value for key, value in options.items() if key not in ("decoupled",)}
    for ours, theirs in {"epsilon": "eps", "rho": "alpha"}.items():
        if ours in arguments:
            arguments[theirs] = arguments.pop(ours)
    if "beta1" in arguments:
        arguments["betas"] = (arguments.pop("beta1"), arguments.pop("beta2"))
    if kind is torch.optim.AdamW:
        arguments.setdefault("weight_decay", 0.0)
    param = rng.normal(size=37)
    grads = rng.normal(size=(10, 37))
    tensor = torch.tensor(param, requires_grad=True)
    optimizer = kind([tensor], **arguments)
    for grad in grads:
        tensor.grad = torch.tensor(grad)
        optimizer.step()
    _run(ops, name, param, [np.zeros(37) for _ in buffers], grads, options)
    assert_within(param, tensor.detach().numpy(), 1e-13, "float64")


@every_case
def test_updates_tensors_in_place(rng, case):
    name, options, buffers = CASES[case]
    param = rng.normal(size=(3, 5)).astype(np.float32)
    grads = [rng.normal(size=(3, 5)).astype(np.float32) for _ in range(3)]
    tensor = sixloop.Tensor(param)
    state = [sixloop.zeros((3, 5)) for _ in buffers]
    view = tensor.numpy()
    _run(ops, name, tensor, state, [sixloop.Tensor(g) for g in grads], options)
    _run(ops, name, param, [np.zeros((3, 5), np.float32) for _ in buffers], grads, options)
    assert_exact(view, param, "float32")


@every_dtype
def test_zero_gradients_change_nothing_but_decay(dtype):
    param = np.array([1.0, -2.0, 0.0], dtype)
    zero = np.zeros(3, dtype)
    for name, options, buffers in CASES.values():
        if "weight_decay" in options:
            continue
        again = param.copy()
        _run(ops, name, again, [zero.copy() for _ in buffers], [zero] * 3, options)
        assert_exact(again, param, dtype, name)


def test_non_finite_gradients_show():
    for name, options, buffers in CASES.values():
        for special in (np.nan, np.inf):
            param = np.ones(9, np.float32)
            grad = np.zeros(9, np.float32)
            grad[4] = special
            _run(ops, name, param, [np.zeros(9, np.float32) for _ in buffers], [grad] * 2, options)
            assert not np.isfinite(param[4])
            assert np.isfinite(np.delete(param, 4)).all()


def test_what_is_written_must_be_writable_and_dense():
    good = np.ones(8, np.float32)
    frozen = good.copy()
    frozen.flags.writeable = False
    strided = np.ones(16, np.float32)[::2]
    for bad in (frozen, strided):
        with pytest.raises(ValueError, match=r"\[sgd_update\] param"):
            ops.sgd_update(bad, good, None, lr=0.1)
        with pytest.raises(ValueError, match=r"\[adam_update\]"):
            ops.adam_update(good.copy(), good, bad, good.copy(), step=1, lr=0.1)
    # The gradient is only read.
    for grad in (frozen, strided):
        param = np.zeros(8, np.float32)
        ops.sgd_update(param, grad, None, lr=0.5)
        assert_exact(param, np.full(8, -0.5), "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moving_average(dtype):
    rng = np.random.default_rng(5)
    before, value = (rng.normal(size=(3, 37)).astype(dtype) for _ in range(2))
    running = before.copy()
    ops.moving_average(running, value, momentum=0.9, factor=0.1)
    number = np.dtype(dtype).type
    np.testing.assert_array_equal(running, number(0.9) * before + number(0.1) * value)
    for bad in (value[:2], value.astype("int32"), value.ravel()):
        with pytest.raises((ValueError, TypeError), match="moving_average"):
            ops.moving_average(running, bad, momentum=0.9, factor=0.1)
    running.flags.writeable = False
    with pytest.raises((ValueError, TypeError), match="moving_average"):
        ops.moving_average(running, value, momentum=0.9, factor=0.1)
