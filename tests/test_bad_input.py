"""Bad input: a clear error with the op's tag, the rule and the values, and nothing lost."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import sys
from contextlib import suppress
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import reference
import sixloop
from comparators import assert_exact, assert_same_bits, assert_within
from sixloop import ops

F32 = np.float32


def ones(*shape: int, dtype: Any = F32) -> np.ndarray:
    return np.ones(shape, dtype)


X = ones(2, 6, 7, 4)
W = ones(3, 2, 4, 8)
DY = ones(2, 4, 6, 8)
POOLED = ones(2, 3, 3, 4)
KEY = {"seed": 1, "purpose": 2, "step": 3}


def _check_tag(text: str, name: str) -> None:
    tag = name.removesuffix("_output_shape")  # speaks for its op
    assert text.startswith(f"[{tag}]"), text


def _refuses(
    error: type[BaseException] | tuple[type[BaseException], ...],
    tag: str,
    fragments: tuple[str, ...],
    call: Any,
) -> None:
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    _check_tag(text, tag)
    for fragment in fragments:
        assert fragment in text, f"no {fragment!r} in: {text}"


# ---------------------------------------------------------------------------------- array arguments

# One valid call of every op, with the positions of its floating-point arrays.
CALLS: dict[str, tuple[list[Any], dict[str, Any], tuple[int, ...]]] = {
    "gemm": ([ones(3, 4), ones(4, 5), ones(5)], {}, (0, 1, 2)),
    "conv2d": ([X, W, ones(8)], {}, (0, 1, 2)),
    "conv2d_statistics": ([X, W, ones(8)], {}, (0, 1, 2)),
    "conv2d_grad_input": ([DY, W, X.shape], {}, (0, 1)),
    "conv2d_grad_weight": ([X, DY, W.shape], {}, (0, 1)),
    "im2col": ([X, (3, 2)], {}, (0,)),
    "col2im": ([ones(2, 4, 6, 24), X.shape, (3, 2)], {}, (0,)),
    "max_pool2d": ([X, 2], {}, (0,)),
    "max_pool2d_grad": ([POOLED, X, 2], {}, (0, 1)),
    "avg_pool2d": ([X, 2], {}, (0,)),
    "avg_pool2d_grad": ([POOLED, X.shape, 2], {}, (0,)),
    "global_avg_pool2d": ([X], {}, (0,)),
    "global_avg_pool2d_grad": ([ones(2, 4), X.shape], {}, (0,)),
    "softmax": ([ones(3, 4)], {}, (0,)),
    "softmax_grad": ([ones(3, 4), ones(3, 4)], {}, (0, 1)),
    "log_softmax": ([ones(3, 4)], {}, (0,)),
    "log_softmax_grad": ([ones(3, 4), ones(3, 4)], {}, (0, 1)),
    "cross_entropy": ([ones(3, 4), np.array([0, 1, 3])], {}, (0,)),
    "batch_norm": ([X, ones(4), ones(4), ones(4), ones(4)], {}, (0, 1, 2, 3, 4)),
    "batch_norm_grad": ([X, X, ones(4), ones(4), ones(4)], {}, (0, 1, 2, 3, 4)),
    "local_response_norm": ([X], {}, (0,)),
    "local_response_norm_grad": ([X, X, 5, 1e-4, 0.75, 2.0], {}, (0, 1)),
    "add": ([X, X], {}, (0, 1)),
    "bias_add": ([X, ones(4)], {}, (0, 1)),
    "bias_grad": ([X], {}, (0,)),
    "scale": ([X, 2.0], {}, (0,)),
    "cast": ([X, "float64"], {}, (0,)),
    "zero_pad2d": ([X, 1], {}, (0,)),
    "crop2d": ([X, 1], {}, (0,)),
    "split": ([X, [1, 3]], {}, (0,)),
    "dropout": ([X, 0.5], KEY, (0,)),
    "dropout_grad": ([X, 0.5], KEY, (0,)),
    "activation": ([X, "relu"], {}, (0,)),
    "activation_grad_from_output": ([X, X, "relu"], {}, (0, 1)),
    "activation_bias_grad": ([X, X, "relu"], {}, (0, 1)),
}
for _name in reference.ACTIVATIONS:
    CALLS[_name] = ([X], {}, (0,))
    CALLS[f"{_name}_grad"] = ([X, X], {}, (0, 1))

ARRAY_ARGUMENTS = [(name, i) for name, (_, _, places) in CALLS.items() for i in places]

NOT_FLOATING = {
    "int32": lambda a: a.astype(np.int32),
    "int64": lambda a: a.astype(np.int64),
    "uint8": lambda a: a.astype(np.uint8),
    "bool": lambda a: a.astype(bool),
    "float16": lambda a: a.astype(np.float16),
    "big-endian": lambda a: a.astype(">f4"),
    "complex64": lambda a: a.astype(np.complex64),
    "object": lambda a: a.astype(object),
    "str": lambda a: a.astype("U4"),
    "datetime64": lambda a: a.astype("M8[s]"),
    "structured": lambda a: np.zeros(a.shape, [("a", "f4")]),
}
NOT_ARRAYS = {
    "None": None,
    "a number": 1.0,
    "a string": "abc",
    "a list": [[1.0, 2.0]],
    "a dict": {},
    "a type": np.ndarray,
    "a function": len,
}


def _call(name: str, place: int | None = None, value: Any = None) -> Any:
    arguments, options, _ = CALLS[name]
    arguments = list(arguments)
    if place is not None:
        arguments[place] = value
    return getattr(ops, name)(*arguments, **options)


@pytest.mark.parametrize("name", CALLS)
def test_the_valid_call_is_valid(name):
    _call(name)


def test_every_op_is_listed():
    of_shapes = {
        "conv2d_algorithm",
        "conv2d_output_shape",
        "conv2d_plan",
        "gemm_plan",
        "pool2d_output_shape",
        "resolve_padding",
    }
    listed = {*CALLS, *of_shapes, "concat"}
    listed |= {"fma_peak", "copy_bandwidth"}
    listed |= {"random_uniform", "random_normal", "random_bits"}
    listed |= {"sgd_update", "adam_update", "rmsprop_update", "moving_average"}
    listed |= {"cast_into"}
    public = {
        name
        for name, value in vars(ops).items()
        if inspect.isfunction(value) and value.__module__ == ops.__name__ and name[0] != "_"
    }
    assert public == listed


@pytest.mark.parametrize("kind", NOT_FLOATING)
@pytest.mark.parametrize("name, place", ARRAY_ARGUMENTS)
def test_dtypes_that_are_not_floating(name, place, kind):
    bad = NOT_FLOATING[kind](CALLS[name][0][place])
    shown = "complex64" if kind == "complex64" else ""
    _refuses(TypeError, name, ("float32", shown), lambda: _call(name, place, bad))


@pytest.mark.parametrize("kind", NOT_ARRAYS)
@pytest.mark.parametrize("name, place", ARRAY_ARGUMENTS)
def test_what_is_no_array(name, place, kind):
    optional = {("gemm", 2), ("conv2d", 2), ("conv2d_statistics", 2)}
    optional |= {("batch_norm", 3), ("batch_norm", 4)}
    if kind == "None" and (name, place) in optional:
        if name == "batch_norm":  # one statistic without the other
            with pytest.raises(ValueError, match=r"\[batch_norm\].*(mean|variance)"):
                _call(name, place, None)
        return
    _refuses(TypeError, name, (), lambda: _call(name, place, NOT_ARRAYS[kind]))


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if len(call[2]) > 1])
def test_mixed_dtypes(name):
    arguments, _, places = CALLS[name]
    for place in places:
        wide = arguments[place].astype(np.float64)
        _refuses(TypeError, name, ("float32", "float64"), lambda p=place, w=wide: _call(name, p, w))


@pytest.mark.parametrize("name, place", ARRAY_ARGUMENTS)
def test_wrong_shapes(name, place):
    """Every op with each array replaced by one of every rank and one of other sizes."""
    good = CALLS[name][0][place]
    any_shape = set(reference.ACTIVATIONS) | {
        "activation",
        "scale",
        "cast",
        "dropout",
        "dropout_grad",
    }
    for rank in range(7):
        bad = ones(*[2, 3, 4, 5, 2, 3][:rank])
        if rank == good.ndim:
            bad = ones(*(n + 1 for n in good.shape))
        if name in any_shape:
            _call(name, place, bad)
            continue
        try:
            _call(name, place, bad)
        except ValueError as error:
            assert str(error).startswith(f"[{name}]"), error
            # All offending values: the shape that was given, or the rank and the axis.
            assert "got" in str(error), error
        else:
            assert (name, place) in _ANY_SHAPE_THAT_FITS, f"{name} took shape {bad.shape}"


# Where a valid rank with other sizes is another valid call.
_ANY_SHAPE_THAT_FITS = {
    *((name, 0) for name in ("im2col", "max_pool2d", "avg_pool2d", "global_avg_pool2d")),
    *((name, 0) for name in ("zero_pad2d", "crop2d", "split", "bias_grad", "bias_add")),
    *((name, 0) for name in ("softmax", "log_softmax", "local_response_norm")),
    ("batch_norm", 0),
}


# ----------------------------------------------------------------------------- shapes that must fit


@pytest.mark.parametrize(
    "tag, fragments, call",
    [
        ("gemm", ("K = 4", "K = 5", "(3, 4)", "(5, 6)"), lambda: ops.gemm(ones(3, 4), ones(5, 6))),
        (
            "gemm",
            ("(4, 3)", "(4, 6)"),
            lambda: ops.gemm(ones(4, 3), ones(4, 6), transpose_b=True),
        ),
        ("gemm", ("bias", "(6,)", "(5,)"), lambda: ops.gemm(ones(3, 4), ones(4, 6), ones(5))),
        (
            "gemm",
            ("bias", "(6,)", "(1, 6)"),
            lambda: ops.gemm(ones(3, 4), ones(4, 6), ones(1, 6)),
        ),
        (
            "conv2d",
            ("groups=1", "(2, 6, 7, 4)", "(3, 2, 3, 8)"),
            lambda: ops.conv2d(X, ones(3, 2, 3, 8)),
        ),
        (
            "conv2d",
            ("groups=2", "(2, 6, 7, 4)", "(3, 2, 4, 8)"),
            lambda: ops.conv2d(X, W, groups=2),
        ),
        (
            "conv2d",
            ("groups", "4", "(3, 2, 1, 6)"),
            lambda: ops.conv2d(X, ones(3, 2, 1, 6), groups=4),
        ),
        ("conv2d", ("bias", "(8,)", "(7,)"), lambda: ops.conv2d(X, W, ones(7))),
        (
            "conv2d",
            ("residual", "(2, 4, 6, 8)", "(2, 4, 5, 8)"),
            lambda: ops.conv2d(X, W, residual=ones(2, 4, 5, 8)),
        ),
        (
            "conv2d_grad_input",
            ("dy", "(2, 4, 6, 8)", "(2, 4, 5, 8)"),
            lambda: ops.conv2d_grad_input(ones(2, 4, 5, 8), W, X.shape),
        ),
        (
            "conv2d_grad_weight",
            ("dy", "(2, 4, 6, 8)", "(1, 4, 6, 8)"),
            lambda: ops.conv2d_grad_weight(X, ones(1, 4, 6, 8), W.shape),
        ),
        (
            "col2im",
            ("(2, 4, 6, 24)", "(2, 4, 6, 23)"),
            lambda: ops.col2im(ones(2, 4, 6, 23), X.shape, (3, 2)),
        ),
        (
            "max_pool2d_grad",
            ("(2, 3, 3, 4)", "(2, 3, 4, 4)"),
            lambda: ops.max_pool2d_grad(ones(2, 3, 4, 4), X, 2),
        ),
        (
            "avg_pool2d_grad",
            ("(2, 3, 3, 4)", "(2, 3, 3, 5)"),
            lambda: ops.avg_pool2d_grad(ones(2, 3, 3, 5), X.shape, 2),
        ),
        ("add", ("(2, 3)", "(3, 2)"), lambda: ops.add(ones(2, 3), ones(3, 2))),
        ("bias_add", ("(3,)", "(4,)"), lambda: ops.bias_add(ones(2, 3), ones(4))),
        ("relu_grad", ("(2, 3)", "(2, 4)"), lambda: ops.relu_grad(ones(2, 3), ones(2, 4))),
        ("softmax", ("axis", "2"), lambda: ops.softmax(ones(2, 3), axis=2)),
        ("softmax", ("axis", "-3"), lambda: ops.softmax(ones(2, 3), axis=-3)),
        ("concat", ("(2, 3)", "(3, 4)"), lambda: ops.concat([ones(2, 3), ones(3, 4)])),
        ("concat", (), lambda: ops.concat([])),
        ("split", ("add up to 3", "[2, 2]", "(2, 3)"), lambda: ops.split(ones(2, 3), [2, 2])),
        ("split", ("-1",), lambda: ops.split(ones(2, 3), [4, -1])),
        (
            "batch_norm",
            ("gamma", "(4,)", "(5,)"),
            lambda: ops.batch_norm(X, ones(5), ones(4)),
        ),
        (
            "cross_entropy",
            ("(4,)", "(3, 5)"),
            lambda: ops.cross_entropy(ones(3, 5), np.zeros(4, int)),
        ),
        ("cross_entropy", ("5",), lambda: ops.cross_entropy(ones(3, 5), np.array([0, 5, 1]))),
        ("cross_entropy", ("-1",), lambda: ops.cross_entropy(ones(3, 5), np.array([0, -1, 1]))),
        ("crop2d", ("(2, 6, 7, 4)",), lambda: ops.crop2d(X, (3, 4))),
        ("local_response_norm", ("size", "0"), lambda: ops.local_response_norm(X, size=0)),
        ("dropout", ("rate", "1"), lambda: ops.dropout(X, 1.0, **KEY)),
        ("dropout", ("rate", "-0.1"), lambda: ops.dropout(X, -0.1, **KEY)),
        ("dropout", ("rate", "nan"), lambda: ops.dropout(X, math.nan, **KEY)),
        (
            "sgd_update",
            ("(3,)", "(4,)"),
            lambda: ops.sgd_update(ones(3), ones(4), None, lr=0.1),
        ),
        (
            "sgd_update",
            ("velocity",),
            lambda: ops.sgd_update(ones(3), ones(3), None, lr=0.1, momentum=0.9),
        ),
        (
            "adam_update",
            ("step", "0"),
            lambda: ops.adam_update(ones(3), ones(3), ones(3), ones(3), step=0, lr=0.1),
        ),
        ("random_bits", ("-1",), lambda: ops.random_bits(-1, seed=0, purpose=0)),
        (
            "random_uniform",
            ("-2",),
            lambda: ops.random_uniform((3, -2), 0, 1, seed=0, purpose=0),
        ),
    ],
)
def test_values_that_do_not_fit(tag, fragments, call):
    _refuses(ValueError, tag, fragments, call)


def test_an_array_of_several_is_named():
    _refuses(TypeError, "concat", ("arrays[1]",), lambda: ops.concat([ones(2, 3), "x", ones(2, 3)]))


def test_labels_must_be_whole_numbers():
    for labels in (np.zeros(3, F32), np.zeros(3), ["a", "b", "c"], None, np.zeros(3, complex)):
        _refuses(
            TypeError,
            "cross_entropy",
            ("label",),
            lambda y=labels: ops.cross_entropy(X[0, 0, :3], y),
        )


def test_a_filter_that_does_not_fit_shows_the_arithmetic():
    arithmetic = "floor((6 + 1 + 0 - 2*(5 - 1) - 1)/3) + 1"
    options = {"strides": 3, "padding": ((1, 0), (2, 2)), "dilation": (2, 1)}
    for tag, call in {
        "conv2d": lambda: ops.conv2d(X, ones(5, 2, 4, 8), **options),
        "conv2d_output_shape": lambda: ops.conv2d_output_shape(X.shape, (5, 2, 4, 8), **options),
        "im2col": lambda: ops.im2col(X, (5, 2), **options),
    }.items():
        _refuses(ValueError, tag, (arithmetic, "height"), call)
    for name in ("max_pool2d", "avg_pool2d"):
        call = getattr(ops, name)
        fragments = ("floor((7 + 0 + 0 - 1*(9 - 1) - 1)/9) + 1", "width")
        _refuses(ValueError, name, fragments, lambda f=call: f(X, (2, 9)))


# ---------------------------------------------------- strides, paddings, dilations, groups, windows

ABSURD = [2**31, 2**31 - 1, 2**32 + 1, 2**62, 2**63 - 1, 2**63, 2**64, 2**64 + 1, 10**30]
NOT_WHOLE = [1.0, 1.5, math.nan, "1", b"1", True, 1j, {}, {1, 2}, object(), np.float32(1), len]

WINDOWED = {
    "conv2d": lambda **o: ops.conv2d(X, W, **o),
    "conv2d_grad_input": lambda **o: ops.conv2d_grad_input(DY, W, X.shape, **o),
    "conv2d_grad_weight": lambda **o: ops.conv2d_grad_weight(X, DY, W.shape, **o),
    "im2col": lambda **o: ops.im2col(X, (3, 2), **o),
    "max_pool2d": lambda **o: ops.max_pool2d(X, **{"pool": 2, **o}),
    "max_pool2d_grad": lambda **o: ops.max_pool2d_grad(POOLED, X, **{"pool": 2, **o}),
    "avg_pool2d": lambda **o: ops.avg_pool2d(X, **{"pool": 2, **o}),
    "avg_pool2d_grad": lambda **o: ops.avg_pool2d_grad(POOLED, X.shape, **{"pool": 2, **o}),
    "conv2d_algorithm": lambda **o: ops.conv2d_algorithm("forward", X.shape, W.shape, **o),
    "conv2d_plan": lambda **o: ops.conv2d_plan("forward", X.shape, W.shape, **o).algorithm,
    "conv2d_output_shape": lambda **o: ops.conv2d_output_shape(X.shape, W.shape, **o),
}


def _options(name: str) -> list[str]:
    if "pool" in name:
        return ["pool", "strides", "padding"]
    if name == "im2col":
        return ["strides", "padding", "dilation"]
    return ["strides", "padding", "dilation", "groups"]


WINDOW_OPTIONS = [(name, option) for name in WINDOWED for option in _options(name)]


@pytest.mark.parametrize("name, option", WINDOW_OPTIONS)
def test_numbers_that_are_too_small(name, option):
    for bad in (0, -1, -(2**31), -(2**63), -(2**63) - 1, -(10**30)):
        if option == "padding" and bad == 0:
            continue
        values = [bad] if option == "groups" else [bad, (bad, 1), (1, bad)]
        if option == "padding":
            values += [((0, bad), (0, 0)), ((0, 0), (bad, 0))]
        for value in values:
            _refuses(ValueError, name, (str(bad),), lambda v=value: WINDOWED[name](**{option: v}))


@pytest.mark.parametrize("name, option", WINDOW_OPTIONS)
def test_numbers_that_are_absurdly_large(name, option):
    """Too large is refused, or, for strides, means one output. Never a wrapped-around number."""
    for bad in ABSURD:
        for value in [bad] if option == "groups" else [bad, (bad, 1), (1, bad)]:
            try:
                result = WINDOWED[name](**{option: value})
            except ValueError as error:
                _check_tag(str(error), name)
            except MemoryError:
                assert option == "padding"
            else:
                if name.endswith("_output_shape"):
                    assert result == reference.conv2d_output_shape(
                        X.shape, W.shape, **{option: value}
                    )
                    continue
                if name in ("conv2d_algorithm", "conv2d_plan"):
                    assert result == "direct"
                    continue
                assert option == "strides" and "grad" not in name, (name, option, value)
                assert 1 in result.shape[1:3]


@pytest.mark.parametrize("name, option", WINDOW_OPTIONS)
def test_what_is_no_whole_number(name, option):
    for bad in NOT_WHOLE:
        if option == "padding" and bad == "1":
            continue
        for value in [bad] if option == "groups" else [bad, (bad, 1), (1, bad)]:
            with pytest.raises((TypeError, ValueError)) as caught:
                WINDOWED[name](**{option: value})
            _check_tag(str(caught.value), name)
    if option != "groups":
        for value in [(), (1,), (1, 2, 3), ((1, 2), (3,)), ((1, 2, 3), 1), [[1], [2]]]:
            with pytest.raises((TypeError, ValueError)) as caught:
                WINDOWED[name](**{option: value})
            _check_tag(str(caught.value), name)
    if (name, option) != ("max_pool2d", "strides") and option != "strides":
        with pytest.raises((TypeError, ValueError)):
            WINDOWED[name](**{option: None})


def test_whole_numbers_of_other_kinds():
    expected = ops.conv2d(X, W, strides=(2, 1), padding=((1, 0), (2, 1)))
    numpy_ints = {
        "strides": (np.int64(2), np.int8(1)),
        "padding": ((np.uint8(1), np.int32(0)), (np.int16(2), np.uint64(1))),
        "groups": np.int32(1),
    }
    assert_same_bits(ops.conv2d(X, W, **numpy_ints), expected)
    lists = {"strides": [2, 1], "padding": [[1, 0], [2, 1]]}
    assert_same_bits(ops.conv2d(X, W, **lists), expected)


def test_unknown_names_list_the_valid_ones():
    for name in ("conv2d", "conv2d_grad_input", "conv2d_grad_weight"):
        for bad in ("fft", "", "DIRECT", "direct "):
            _refuses(
                ValueError,
                name,
                ("direct", "im2col", "auto", bad),
                lambda n=name, b=bad: WINDOWED[n](algorithm=b),
            )
        for bad in (None, 3, b"direct", ["direct"]):
            _refuses(
                TypeError,
                name,
                ("algorithm", repr(bad)),
                lambda n=name, b=bad: WINDOWED[n](algorithm=b),
            )
    for tag, call in {
        "gemm": lambda a: ops.gemm(ones(2, 3), ones(3, 2), activation=a),
        "conv2d": lambda a: ops.conv2d(X, W, activation=a),
        "add": lambda a: ops.add(X, X, activation=a),
        "bias_add": lambda a: ops.bias_add(X, ones(4), activation=a),
        "batch_norm": lambda a: ops.batch_norm(X, ones(4), ones(4), activation=a),
        "activation": lambda a: ops.activation(X, a),
    }.items():
        for bad in ("swish", "", "ReLU", "relu "):
            _refuses(ValueError, tag, reference.ACTIVATIONS, lambda c=call, b=bad: c(b))
        for bad in (3, b"relu", len):
            _refuses(TypeError, tag, (repr(bad),), lambda c=call, b=bad: c(b))
    for bad in ("sames", "", "SAME", "full"):
        _refuses(ValueError, "conv2d", ("same", "valid"), lambda b=bad: ops.conv2d(X, W, padding=b))


@pytest.mark.parametrize(
    "shape", [(2, 6, 7), (2, 6, 7, 4, 1), (2, -6, 7, 4), (2, 6, 2**63, 4), (), "2674", None, 2]
)
def test_shape_arguments(shape):
    for tag, call in {
        "conv2d_grad_input": lambda: ops.conv2d_grad_input(DY, W, shape),
        "conv2d_grad_weight": lambda: ops.conv2d_grad_weight(X, DY, shape),
        "avg_pool2d_grad": lambda: ops.avg_pool2d_grad(POOLED, shape, 2),
        "global_avg_pool2d_grad": lambda: ops.global_avg_pool2d_grad(ones(2, 4), shape),
        "col2im": lambda: ops.col2im(ones(2, 4, 6, 24), shape, (3, 2)),
        "conv2d_output_shape": lambda: ops.conv2d_output_shape(shape, W.shape),
    }.items():
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        _check_tag(str(caught.value), tag)


# ---------------------------------------------------------------------------- memory and its limits


def test_out_of_memory_is_a_memory_error():
    huge = 2**31 - 1
    for call in (
        lambda: ops.zero_pad2d(X, huge),
        lambda: ops.conv2d(X, W, padding=huge),
        lambda: ops.im2col(X, (1, 1), padding=huge),
        lambda: ops.gemm(ones(2**21, 1), ones(1, 2**21)),
        lambda: ops.random_uniform((2**40,), 0, 1, seed=0, purpose=0),
        lambda: ops.random_bits(2**50, seed=0, purpose=0),
        lambda: ops.conv2d_grad_weight(X, DY, (3, 2, 4, 2**40)),
        lambda: sixloop.zeros((2**61,), "float64"),
        lambda: sixloop.empty((2**31, 2**31)),
        lambda: sixloop.empty((2**62, 4)),
    ):
        with pytest.raises((MemoryError, ValueError)):
            call()
    with pytest.raises(MemoryError):
        ops.gemm(ones(2**21, 1), ones(1, 2**21))
    assert_exact(ops.relu(ones(3)), ones(3), F32)  # and life goes on


def test_memory_comes_back():
    ops.conv2d(X, W)
    sixloop.empty_cache()
    before = sixloop.memory_stats()["allocated"]
    for _ in range(20):
        with pytest.raises(ValueError):
            ops.conv2d(X, ones(3, 2, 3, 8))
        y = ops.conv2d(X, W, algorithm="im2col")
        del y
    assert sixloop.memory_stats()["allocated"] == before


# ----------------------------------------------------------------- arrays that are fine as they are


def _unaligned(a: np.ndarray) -> np.ndarray:
    raw = np.empty(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    assert not view.flags.aligned or a.nbytes == 0
    return view


def _frozen(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


def _strided(a: np.ndarray) -> np.ndarray:
    wide = np.empty((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


LAYOUTS = {
    "read-only": _frozen,
    "unaligned": _unaligned,
    "strided": _strided,
    "reversed": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "Fortran order": np.asfortranarray,
    "broadcast": lambda a: np.broadcast_to(a, (1, *a.shape))[0],
    "native by name": lambda a: a.astype("<f4" if sys.byteorder == "little" else ">f4"),
    "subclass": lambda a: a.view(_Subclass),
}


class _Subclass(np.ndarray):
    pass


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name, place", ARRAY_ARGUMENTS)
def test_any_layout_is_fine(rng, name, place, layout):
    good = CALLS[name][0][place]
    values = rng.uniform(0.5, 2, good.shape).astype(F32)
    expected = _call(name, place, values)
    argument = LAYOUTS[layout](values)
    before = np.array(argument)
    actual = _call(name, place, argument)
    assert_same_bits(np.array(argument), before)  # inputs are only read
    if name == "cross_entropy":
        assert actual[0] == expected[0]
        actual, expected = actual[1], expected[1]
    assert_same_bits(actual, expected)


@pytest.mark.parametrize("name", CALLS)
def test_tensors_in_tensors_out(name):
    arguments, options, places = CALLS[name]
    expected = _call(name)
    tensors = [sixloop.Tensor(a) if i in places else a for i, a in enumerate(arguments)]
    all_tensors = getattr(ops, name)(*tensors, **options)
    mixed = _call(name, places[0], tensors[places[0]])
    if name == "batch_norm":  # given statistics come back as they are
        assert mixed[1] is arguments[3] and mixed[2] is arguments[4]
        mixed, all_tensors, expected = mixed[0], all_tensors[0], expected[0]
    for actual in (all_tensors, mixed):
        pairs = [(actual, expected)]
        if isinstance(expected, (tuple, list)):
            pairs = list(zip(actual, expected, strict=True))
        for one, other in pairs:
            if isinstance(other, np.ndarray):
                assert isinstance(one, sixloop.Tensor)
                assert_same_bits(np.asarray(one), other)


# ------------------------------------------------------------ thousands of combinations at every op

_numbers = st.one_of(
    st.integers(-2, 6),
    st.sampled_from(
        [2**31, 2**31 - 1, 2**63, -(2**63) - 1, 10**25, 1.5, math.nan, True, "x", None]
    ),
)
_pairs = st.one_of(_numbers, st.tuples(_numbers, _numbers), st.lists(_numbers, max_size=3))
_small = st.integers(0, 5)
_good_pairs = st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3)))
_paddings = st.one_of(
    _pairs,
    st.sampled_from(["same", "valid", "full", b"same"]),
    st.tuples(_pairs, _pairs),
)
_shapes = st.lists(_small, max_size=5).map(tuple)
_dtypes = st.sampled_from(["f4"] * 12 + ["f8"] * 3 + ["i4", "u1", ">f4", "c8", "O", "f2"])
_activations = st.sampled_from([None, "relu", "tanh", "ramp", "swish", 3])
_algorithms = st.sampled_from(
    ["direct", "im2col", "winograd4x4", "implicit_gemm", "auto", "magic", None]
)
_real = st.one_of(st.floats(0.01, 2), st.sampled_from([0, -1.0, math.nan, math.inf, "x", None]))


def _array(shape: tuple[int, ...], dtype: str, seed: int, strided: bool) -> Any:
    values = np.random.default_rng(seed).integers(-3, 4, shape).astype(dtype)
    return _strided(values) if strided and shape else values


_arrays = st.one_of(
    st.builds(_array, _shapes, _dtypes, st.integers(0, 99), st.booleans()),
    st.sampled_from([None, 3, "x", [[1.0]]]),
)


def _fitting(data: st.DataObject, *shapes: tuple[int, ...]) -> list[Any]:
    """Arrays of the shapes that belong together, one of them sometimes replaced by anything."""
    dtype = data.draw(_dtypes)
    arrays = [
        _array(s, dtype, data.draw(st.integers(0, 99)), data.draw(st.booleans())) for s in shapes
    ]
    if data.draw(st.integers(0, 4)) == 0:
        arrays[data.draw(st.integers(0, len(arrays) - 1))] = data.draw(_arrays)
    return arrays


def _sometimes(data: st.DataObject, good: Any, bad: Any) -> Any:
    return data.draw(bad if data.draw(st.integers(0, 5)) == 0 else good)


def _conv_arguments(data: st.DataObject) -> tuple[list[Any], dict[str, Any], tuple[int, ...]]:
    n, h, w, kh, kw = (data.draw(_small) for _ in range(5))
    groups, i, o = (data.draw(st.integers(1, 3)) for _ in range(3))
    options = {
        "strides": _sometimes(data, _good_pairs, _pairs),
        "padding": _sometimes(data, st.sampled_from([0, 1, (1, 2), "same"]), _paddings),
        "dilation": _sometimes(data, _good_pairs, _pairs),
        "groups": _sometimes(data, st.just(groups), _numbers),
    }
    x, w_shape = (n, h, w, groups * i), (kh, kw, i, groups * o)
    try:
        y = reference.conv2d_output_shape(x, w_shape, **options)
        y = y if min(y) >= 0 and max(y) < 100 else (n, 1, 1, o)
    except Exception:
        y = (n, 1, 1, groups * o)
    return [x, w_shape, y], options, (groups * o,)


def _draw_call(data: st.DataObject, name: str) -> tuple[list[Any], dict[str, Any]]:
    if name in ("conv2d", "conv2d_grad_input", "conv2d_grad_weight"):
        (x, w, y), options, bias = _conv_arguments(data)
        options["algorithm"] = data.draw(_algorithms)
        if name == "conv2d":
            arrays = _fitting(data, x, w, bias)
            arrays[2] = arrays[2] if data.draw(st.booleans()) else None
            return arrays, {**options, "activation": data.draw(_activations)}
        first = (y, w) if name == "conv2d_grad_input" else (x, y)
        shape = _sometimes(data, st.just(x if name == "conv2d_grad_input" else w), _shapes)
        return [*_fitting(data, *first), shape], options
    if name == "gemm":
        m, n, k = (data.draw(_small) for _ in range(3))
        flags = {key: data.draw(st.booleans()) for key in ("transpose_a", "transpose_b")}
        a = (k, m) if flags["transpose_a"] else (m, k)
        b = (n, k) if flags["transpose_b"] else (k, n)
        arrays = _fitting(data, a, b, (n,))
        arrays[2] = arrays[2] if data.draw(st.booleans()) else None
        return arrays, {**flags, "activation": data.draw(_activations)}
    shape = data.draw(_shapes if data.draw(st.booleans()) else st.tuples(*[_small] * 4))
    channels = shape[-1:] if shape else (1,)
    if "pool2d" in name and "global" not in name:
        options = {"strides": _sometimes(data, _good_pairs, _pairs), "padding": 0}
        options["padding"] = _sometimes(data, st.sampled_from([0, 1, "same"]), _paddings)
        pool = _sometimes(data, _good_pairs, _pairs)
        try:
            y = reference.pool2d_output_shape(shape, pool, **options)
            y = y if min(y) >= 0 and max(y) < 100 else shape
        except Exception:
            y = shape
        arrays = _fitting(data, y, shape)
        if name.endswith("_grad"):
            x = arrays[1] if "max" in name else _sometimes(data, st.just(shape), _shapes)
            return [arrays[0], x, pool], options
        return [arrays[1], pool], options
    if name in ("im2col", "zero_pad2d", "crop2d"):
        x = _fitting(data, shape)
        if name == "im2col":
            options = {
                key: _sometimes(data, _good_pairs, _pairs) for key in ("strides", "dilation")
            }
            return [*x, _sometimes(data, _good_pairs, _pairs)], options
        return [*x, _sometimes(data, _good_pairs, _paddings)], {}
    if name == "col2im":
        (x, w, _), options, _ = _conv_arguments(data)
        del options["groups"]
        try:
            y = reference.conv2d_output_shape(x, (*w[:2], x[3], 1), **options)
            y = y if min(y) >= 0 and max(y) < 100 else x
        except Exception:
            y = x
        col = (*y[:3], w[0] * w[1] * x[3])
        kernel = _sometimes(data, st.just(w[:2]), _pairs)
        return [*_fitting(data, col), _sometimes(data, st.just(x), _shapes), kernel], options
    if name.startswith("dropout"):
        rate = _sometimes(data, st.floats(0, 0.99), _real)
        return [*_fitting(data, shape), rate], KEY
    if name == "cross_entropy":
        rows, classes = data.draw(_small), data.draw(st.integers(1, 5))
        highest = data.draw(st.sampled_from([classes - 1] * 5 + [classes + 1]))
        kind = data.draw(st.sampled_from(["i8", "i4", "u1", "f4", ">i8", "O"]))
        labels = np.random.default_rng(0).integers(0, highest + 1, rows).astype(kind)
        return [*_fitting(data, (rows, classes)), _sometimes(data, st.just(labels), _arrays)], {}
    if name == "global_avg_pool2d_grad":
        return [*_fitting(data, (*shape[:1], *channels)), shape], {}
    if name == "batch_norm":
        arrays = _fitting(data, shape, channels, channels, channels, channels)
        if isinstance(arrays[4], np.ndarray) and arrays[4].dtype.kind == "f":
            arrays[4] = np.abs(arrays[4])
        if data.draw(st.booleans()):
            arrays[3:] = [None, None]
        return arrays, {"activation": data.draw(_activations)}
    if name == "batch_norm_grad":
        arrays = _fitting(data, shape, shape, channels, channels, channels)
        if isinstance(arrays[4], np.ndarray) and arrays[4].dtype.kind == "f":
            arrays[4] = np.abs(arrays[4])
        return arrays, {"training": data.draw(st.booleans())}
    if name == "local_response_norm":
        return _fitting(data, shape), {"size": _sometimes(data, st.integers(1, 7), _numbers)}
    if name == "local_response_norm_grad":
        size = _sometimes(data, st.integers(1, 7), _numbers)
        return [*_fitting(data, shape, shape), size, 0.1, 0.75, 2.0], {}
    if name == "bias_add":
        return _fitting(data, shape, channels), {"activation": data.draw(_activations)}
    if name == "add":
        return _fitting(data, shape, shape), {"activation": data.draw(_activations)}
    if name == "scale":
        return [*_fitting(data, shape), data.draw(_real)], {}
    if name == "split":
        return [*_fitting(data, shape), data.draw(st.lists(_numbers, max_size=3))], {}
    if name == "activation":
        return [*_fitting(data, shape), data.draw(_activations)], {}
    if name in ("activation_grad_from_output", "activation_bias_grad"):
        return [*_fitting(data, shape, shape), data.draw(_activations)], {}
    if "softmax" in name:
        arrays = _fitting(data, *[shape] * (2 if name.endswith("_grad") else 1))
        return arrays, {"axis": _sometimes(data, st.integers(-4, 3), _numbers)}
    return _fitting(data, *[shape] * (2 if name.endswith("_grad") else 1)), {}


@pytest.mark.parametrize("name", CALLS)
@settings(
    max_examples=120,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_any_arguments(name, data):
    """A correct result, ValueError, TypeError or MemoryError: nothing else ever."""
    arguments, options = _draw_call(data, name)
    try:
        actual = getattr(ops, name)(*arguments, **options)
    except (ValueError, TypeError, MemoryError):
        return
    arrays = arguments[:1] if name == "cross_entropy" else arguments  # its labels are integers
    dtypes = {a.dtype for a in arrays if isinstance(a, np.ndarray)}
    assert len(dtypes) == 1 and next(iter(dtypes)) in (np.float32, np.float64), dtypes
    try:
        with np.errstate(all="ignore"):
            expected = getattr(reference, name)(*arguments, **options)
    except MemoryError:
        return  # a huge padding and a huge stride: few cells for the op, many for the reference
    actual = actual if isinstance(actual, (tuple, list)) else [actual]
    expected = expected if isinstance(expected, (tuple, list)) else [expected]
    (dtype,) = dtypes
    for one, other in itertools.zip_longest(actual, expected):
        if name == "cross_entropy":  # the loss is a float
            one, other = np.asarray(one, dtype), np.asarray(other)
        largest = float(np.abs(other[np.isfinite(other)]).max(initial=1))
        bound = 3000 * np.finfo(dtype).eps * largest
        assert_within(one, other, bound, dtype)


@settings(max_examples=300)
@given(
    n=_numbers,
    seed=st.one_of(st.integers(-5, 2**65), _numbers),
    purpose=st.one_of(st.integers(-5, 2**33), _numbers),
    step=st.one_of(st.integers(-5, 2**33), _numbers),
)
def test_any_random_key(n, seed, purpose, step):
    for call in (
        lambda: ops.random_bits(n, seed=seed, purpose=purpose, step=step),
        lambda: ops.random_uniform((n,), 0, 1, seed=seed, purpose=purpose, step=step),
        lambda: ops.random_normal((n,), 0, 1, seed=seed, purpose=purpose, step=step),
        lambda: ops.dropout(X, 0.5, seed=seed, purpose=purpose, step=step),
    ):
        if isinstance(n, int) and 10**6 < n < 10**10:
            continue  # valid, and too long for a test
        with suppress(ValueError, TypeError, MemoryError):
            call()


@pytest.mark.parametrize("which", ["backward", "", None, 3])
def test_passes_have_names(which):
    with pytest.raises((TypeError, ValueError), match=r"grad_input, grad_weight|must be a name"):
        ops.conv2d_algorithm(which, X.shape, W.shape)


@pytest.mark.parametrize("bad", [0, -1, 2**63, 1.5, "1", None])
def test_bytes_of_a_copy(bad):
    _refuses((TypeError, ValueError), "copy_bandwidth", (), lambda: ops.copy_bandwidth(bad))


@pytest.mark.parametrize("bad", [-1, 2**31, 2**62, 2**63, 1.5, "1", None])
def test_sizes_of_a_plan(bad):
    for sizes in ((bad, 1, 1), (1, bad, 1), (1, 1, bad)):
        _refuses((TypeError, ValueError), "gemm_plan", (), lambda s=sizes: ops.gemm_plan(*s))


PLANS = {"gemm_plan": (8, 8, 8), "conv2d_plan": ("forward", X.shape, W.shape)}


@pytest.mark.parametrize("device", ["gpu", "cuda:0", "CPU", "", 0, None])
def test_devices_of_plans(device):
    for name, arguments in PLANS.items():
        with pytest.raises(ValueError, match=rf"\[{name}\] unknown device"):
            getattr(ops, name)(*arguments, device=device)


def test_what_is_for_the_gpu_in_plans():
    for name, arguments in PLANS.items():
        plan = functools.partial(getattr(ops, name), *arguments)
        with pytest.raises(
            ValueError, match=rf"\[{name}\] precision 'tf32' is for device=\"cuda\""
        ):
            plan(precision="tf32")
        with pytest.raises(ValueError, match=rf"\[{name}\] capability is for device=\"cuda\""):
            plan(capability=(9, 0))
        with pytest.raises(
            ValueError, match=rf"\[{name}\] dtype must be float32 or float64; got 'bf"
        ):
            plan(dtype="bfloat16")
        with pytest.raises(ValueError, match=r"must be float32, float64 or bfloat16; got 'int8'"):
            plan(dtype="int8", device="cuda")
        if "build has no CUDA" in sixloop.cuda.why():
            with pytest.raises(RuntimeError, match=rf"\[{name}\] there are no plans for cuda"):
                plan(device="cuda")
            continue
        for bad in (9, 9.0, "90", (9,), (9, 0, 0), ("9", "0"), (9.0, 0)):
            with pytest.raises(TypeError, match=rf"\[{name}\] capability"):
                plan(device="cuda", capability=bad)
        for bad in ((7, 5), (0, 0), (-9, 0), (9, -1)):
            with pytest.raises(
                ValueError, match=rf"\[{name}\] capability must be at least \(8, 0\)"
            ):
                plan(device="cuda", capability=bad)
        with pytest.raises(ValueError, match=rf'\[{name}\] precision "tf32" is for float32 arrays'):
            plan(device="cuda", precision="tf32", dtype="bfloat16")
        with pytest.raises(ValueError, match=rf'\[{name}\] unknown precision "half"'):
            plan(device="cuda", precision="half")


def test_plans_of_arrays_that_cannot_be():
    for which in ("forward", "grad_input", "grad_weight"):
        for x in ((2**40, 2**20, 2**20, 64), (2**62, 3, 3, 64)):
            with pytest.raises(MemoryError):
                ops.conv2d_plan(which, x, (3, 3, 64, 64), padding=1)
