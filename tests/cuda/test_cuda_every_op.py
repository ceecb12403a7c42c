"""Every op of sixloop.ops on the GPU, found by name, and what must not get there."""

import inspect

import numpy as np
import pytest

import sixloop
from comparators import assert_same_bits
from on_cuda import DTYPES, to_bfloat16, to_cuda
from sixloop import ops
from test_bad_input import CALLS

# Numbers for the host, or of it.
OF_THE_HOST = {
    *("conv2d_algorithm", "conv2d_output_shape", "conv2d_plan", "gemm_plan"),
    *("pool2d_output_shape", "resolve_padding"),
    *("random_bits", "fma_peak", "copy_bandwidth"),
}


def calls(rng, name, dtype):
    """The arguments of a valid call with random numbers, above 0 since some are variances."""
    arguments, options, places = CALLS[name]
    arguments = [
        rng.uniform(0.5, 1.5, a.shape).astype(dtype) if i in places else a
        for i, a in enumerate(arguments)
    ]
    return arguments, options


def in_place(name):
    """An op that writes to its first array, as one that returns it."""
    op, steps = getattr(ops, name), {"lr": 0.1}
    if name == "adam_update":
        steps["step"] = 3
    if name == "sgd_update":
        steps["momentum"] = 0.9
    if name == "moving_average":
        steps = {"momentum": 0.9, "factor": 1.5}

    def run(*arrays):
        op(*arrays, **steps)
        return arrays

    return run


ARRAYS_IN_PLACE = {"sgd_update": 3, "adam_update": 4, "rmsprop_update": 3, "moving_average": 2}


def parts(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


def check_same(expected, got):
    expected, got = parts(expected), parts(got)
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        if isinstance(other, float):  # the loss of cross_entropy
            assert one == other
            continue
        assert isinstance(one, sixloop.Tensor)
        assert one.device == "cuda"
        assert_same_bits(one.numpy(), np.asarray(other))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_the_same_as_on_the_cpu(rng, name, dtype):
    arguments, options = calls(rng, name, dtype)
    op = getattr(ops, name)
    check_same(op(*arguments, **options), op(*map(to_cuda, arguments), **options))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ARRAYS_IN_PLACE)
def test_updates(rng, name, dtype):
    arrays = [rng.uniform(0.5, 1.5, 37).astype(dtype) for _ in range(ARRAYS_IN_PLACE[name])]
    on_gpu = [to_cuda(a) for a in arrays]
    check_same(in_place(name)(*arrays), in_place(name)(*on_gpu))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_others(rng, dtype):
    x, y = (rng.normal(size=(3, n)).astype(dtype) for n in (5, 2))
    check_same(ops.concat([x, y]), ops.concat([to_cuda(x), to_cuda(y)]))
    for op in (ops.random_uniform, ops.random_normal):
        made = [op((7, 3), 0, 1, seed=1, purpose=2, dtype=dtype, device=d) for d in ("cpu", "cuda")]
        check_same(*made)
    into = sixloop.zeros((3, 5), "float32" if dtype == "float64" else "float64", device="cuda")
    ops.cast_into(to_cuda(x), into)
    assert_same_bits(into.numpy(), x.astype(into.dtype))


def test_every_op_is_here():
    public = {
        name
        for name, value in vars(ops).items()
        if inspect.isfunction(value) and value.__module__ == ops.__name__ and name[0] != "_"
    }
    others = {"concat", "random_uniform", "random_normal", "cast_into"}
    assert public == {*CALLS, *ARRAYS_IN_PLACE, *others, *OF_THE_HOST}


OF_SEVERAL = [name for name, call in CALLS.items() if len(call[2]) > 1]


@pytest.mark.parametrize("name", OF_SEVERAL)
def test_two_devices(rng, name):
    """Nothing is copied in silence, whichever array lies elsewhere."""
    arguments, options = calls(rng, name, "float32")
    for place in CALLS[name][2]:
        for elsewhere in (
            [to_cuda(a) if i == place else a for i, a in enumerate(arguments)],
            [a if i == place else to_cuda(a) for i, a in enumerate(arguments)],
        ):
            with pytest.raises(ValueError, match=rf"^\[{name}\] all arrays must be on one device"):
                getattr(ops, name)(*elsewhere, **options)


@pytest.mark.parametrize("name", OF_SEVERAL)
def test_two_dtypes(rng, name):
    arguments, options = calls(rng, name, "float32")
    for place in CALLS[name][2]:
        mixed = [
            to_cuda(a.astype("float64") if i == place else a) if isinstance(a, np.ndarray) else a
            for i, a in enumerate(arguments)
        ]
        with pytest.raises(TypeError, match=rf"^\[{name}\] .*float32.*float64|float64.*float32"):
            getattr(ops, name)(*mixed, **options)


# Whose vectors for each channel may be float32 beside arrays of bfloat16.
OF_CHANNELS = ("batch_norm", "bias_add")


@pytest.mark.parametrize("name", OF_SEVERAL)
def test_bfloat16_beside_float32(rng, name):
    arguments, options = calls(rng, name, "float32")
    mixed = [to_bfloat16(arguments[0]), *map(to_cuda, arguments[1:])]
    if name in OF_CHANNELS:
        assert getattr(ops, name)(*mixed, **options) is not None
        return
    with pytest.raises(TypeError, match=rf"^\[{name}\] .*(bfloat16.*float32|float32.*bfloat16)"):
        getattr(ops, name)(*mixed, **options)


@pytest.mark.parametrize("kind", ["int32", "int64", "uint8"])
@pytest.mark.parametrize("name", CALLS)
def test_dtypes_that_are_not_floating(rng, name, kind):
    arguments, options = calls(rng, name, "float32")
    mixed = [to_cuda(arguments[0].astype(kind)), *map(to_cuda, arguments[1:])]
    with pytest.raises(TypeError, match=rf"^\[{name}\] "):
        getattr(ops, name)(*mixed, **options)
