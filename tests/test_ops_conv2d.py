"""conv2d, its gradients, im2col and col2im against the float64 reference."""

from __future__ import annotations

import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings

import reference
import sixloop
from comparators import assert_exact, assert_gradient, assert_same_bits, assert_within, dot_bound
from shapes import CONVS, LARGE_CONVS, WINOGRADS, WINOGRADS_OF_5X5, Conv
from sixloop import ops

ALGORITHMS = ("direct", "im2col")
WINOGRAD = ("winograd2x2", "winograd4x4")
WINOGRAD_CASES = [
    *((case, algorithm) for case in WINOGRADS for algorithm in WINOGRAD),
    *((case, "winograd2x2") for case in WINOGRADS_OF_5X5),
]
DTYPES = ("float32", "float64")

every_case = pytest.mark.parametrize("case", [*CONVS, *LARGE_CONVS], ids=str)
every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def _integers(rng, shape, dtype):
    return rng.integers(-4, 5, shape).astype(dtype)


def _normal(rng, shape, dtype):
    return rng.normal(size=shape).astype(dtype)


@every_dtype
@every_algorithm
@every_case
def test_forward(rng, case: Conv, algorithm, dtype):
    x, w = _integers(rng, case.x, dtype), _integers(rng, case.w, dtype)
    bias = _integers(rng, case.o, dtype)
    expected = reference.conv2d(x, w, **case.params)
    actual = ops.conv2d(x, w, algorithm=algorithm, **case.params)
    assert_exact(actual, expected, dtype, "integers: ")
    actual = ops.conv2d(x, w, bias, algorithm=algorithm, activation="relu", **case.params)
    assert_exact(actual, np.maximum(expected + bias, 0), dtype, "integers, bias, relu: ")

    x, w, bias = (_normal(rng, shape, dtype) for shape in (case.x, case.w, case.o))
    bound = dot_bound(dtype, case.k_forward, x, w, bias)
    actual = ops.conv2d(x, w, bias, algorithm=algorithm, **case.params)
    assert_within(actual, reference.conv2d(x, w, bias, **case.params), bound, dtype)


@every_dtype
@every_algorithm
@every_case
def test_grad_input(rng, case: Conv, algorithm, dtype):
    params = {"algorithm": algorithm, **case.params}
    dy, w = _integers(rng, case.y, dtype), _integers(rng, case.w, dtype)
    expected = reference.conv2d_grad_input(dy, w, case.x, **case.params)
    assert_exact(ops.conv2d_grad_input(dy, w, case.x, **params), expected, dtype, "integers: ")

    dy, w = _normal(rng, case.y, dtype), _normal(rng, case.w, dtype)
    bound = dot_bound(dtype, case.k_grad_input, dy, w)
    expected = reference.conv2d_grad_input(dy, w, case.x, **case.params)
    assert_within(ops.conv2d_grad_input(dy, w, case.x, **params), expected, bound, dtype)


@every_dtype
@every_algorithm
@every_case
def test_grad_weight(rng, case: Conv, algorithm, dtype):
    params = {"algorithm": algorithm, **case.params}
    x, dy = _integers(rng, case.x, dtype), _integers(rng, case.y, dtype)
    expected = reference.conv2d_grad_weight(x, dy, case.w, **case.params)
    assert_exact(ops.conv2d_grad_weight(x, dy, case.w, **params), expected, dtype, "integers: ")

    x, dy = _normal(rng, case.x, dtype), _normal(rng, case.y, dtype)
    bound = dot_bound(dtype, case.k_grad_weight, x, dy)
    expected = reference.conv2d_grad_weight(x, dy, case.w, **case.params)
    assert_within(ops.conv2d_grad_weight(x, dy, case.w, **params), expected, bound, dtype)


def _winograd_bound(dtype, expected, channels=1):
    """What ops.conv2d documents: 4e-6 of the largest output in float32, as many ulps in float64.

    That is for up to 512 channels; beyond, it grows with them.
    """
    bound = 4e-6 * max(1, channels / 512) * np.finfo(dtype).eps / np.finfo(np.float32).eps
    return bound * np.abs(expected).max()


@every_dtype
@pytest.mark.parametrize(("case", "algorithm"), WINOGRAD_CASES, ids=str)
def test_winograd(rng, case: Conv, algorithm, dtype):
    params = {"algorithm": algorithm, **case.params}
    x, w, bias, dy = (_normal(rng, shape, dtype) for shape in (case.x, case.w, case.o, case.y))
    expected = reference.conv2d(x, w, bias, **case.params)
    bound = _winograd_bound(dtype, expected, case.x[3])
    assert_within(ops.conv2d(x, w, bias, **params), expected, bound, dtype)
    actual = ops.conv2d(x, w, bias, activation="relu", **params)
    assert_within(actual, np.maximum(expected, 0), bound, dtype, "relu: ")
    with pytest.raises(AssertionError):
        assert_within(
            ops.conv2d(x, w, bias + 8 * bound.astype(dtype), **params), expected, bound, dtype
        )

    expected = reference.conv2d_grad_input(dy, w, case.x, **case.params)
    actual = ops.conv2d_grad_input(dy, w, case.x, **params)
    bound = _winograd_bound(dtype, expected, case.o)
    assert_within(actual, expected, bound, dtype, "grad_input: ")
    expected = reference.conv2d_grad_weight(x, dy, case.w, **case.params)
    actual = ops.conv2d_grad_weight(x, dy, case.w, **params)
    assert_within(actual, expected, _winograd_bound(dtype, expected), dtype, "grad_weight: ")


def test_winograd_is_refused_with_the_reason():
    x, w = np.ones((1, 8, 9, 4), np.float32), np.ones((3, 3, 4, 4), np.float32)
    for reason, filters, options in [
        ("the filter is neither 3x3 nor 5x5", w[:2], {}),
        ("the stride is not 1", w, {"strides": (1, 2)}),
        ("the filter is dilated", w, {"dilation": 2}),
        ("the channels are in groups", w[:, :, :2], {"groups": 2}),
        ("the padding exceeds 2", w, {"padding": ((0, 0), (3, 0))}),
    ]:
        for algorithm in WINOGRAD:
            with pytest.raises(
                ValueError, match=rf"\[conv2d\] algorithm \"{algorithm}\".*{reason}"
            ):
                ops.conv2d(x, filters, algorithm=algorithm, **options)
    large = np.ones((5, 5, 4, 4), np.float32)
    with pytest.raises(ValueError, match=r"is for 3x3 filters .*here the filter is not 3x3"):
        ops.conv2d(x, large, algorithm="winograd4x4")
    with pytest.raises(ValueError, match=r"3x3 and 5x5 filters .*here the padding exceeds 4"):
        ops.conv2d(x, large, algorithm="winograd2x2", padding=((0, 0), (5, 0)))


# N, size, C, O and what "auto" chooses: the layers where one rule or the other ends.
CHOICES = [
    ((2, 224, 3, 64), "direct", "direct"),
    ((2, 224, 64, 64), "winograd4x4", "winograd4x4"),
    ((2, 14, 512, 512), "winograd4x4", "winograd4x4"),
    ((1, 14, 512, 512), "winograd2x2", "winograd2x2"),
    ((1, 7, 512, 512), "direct", "direct"),
    ((6, 7, 512, 512), "winograd4x4", "winograd4x4"),
    ((8, 32, 16, 16), "winograd4x4", "direct"),
    ((8, 32, 15, 64), "direct", "direct"),
    ((8, 32, 64, 513), "direct", "direct"),
]


@pytest.mark.parametrize("shape, forward, grad_weight", CHOICES)
def test_auto_is_the_documented_choice(shape, forward, grad_weight):
    n, size, c, o = shape
    x, w = (n, size, size, c), (3, 3, c, o)
    assert ops.conv2d_algorithm("forward", x, w, padding=1) == forward
    assert ops.conv2d_algorithm("grad_input", x, w, padding=1) == forward
    assert ops.conv2d_algorithm("grad_weight", x, w, padding=1) == grad_weight
    assert ops.conv2d_algorithm("forward", x, w, padding=1, strides=2) == "direct"
    with sixloop.batch_invariant():
        alone = ops.conv2d_algorithm("forward", (1, *x[1:]), w, padding=1)
        assert ops.conv2d_algorithm("forward", x, w, padding=1) == alone


@every_dtype
@pytest.mark.parametrize("case", [*CONVS, *LARGE_CONVS, *WINOGRADS], ids=str)
def test_auto_has_the_bits_of_its_choice(rng, case: Conv, dtype):
    x, w, dy = (_normal(rng, shape, dtype) for shape in (case.x, case.w, case.y))
    choices = [
        ops.conv2d_algorithm(which, case.x, case.w, **case.params)
        for which in ("forward", "grad_input", "grad_weight")
    ]

    def passes(forward, grad_input, grad_weight):
        return [
            ops.conv2d(x, w, algorithm=forward, **case.params),
            ops.conv2d_grad_input(dy, w, case.x, algorithm=grad_input, **case.params),
            ops.conv2d_grad_weight(x, dy, case.w, algorithm=grad_weight, **case.params),
        ]

    for auto, named in zip(passes("auto", "auto", "auto"), passes(*choices), strict=True):
        assert_same_bits(auto, named)


@every_case
def test_output_shape(case: Conv):
    assert ops.conv2d_output_shape(case.x, case.w, **case.params) == case.y
    padding = ops.resolve_padding(
        case.x[1:3], case.kernel, case.strides, case.dilation, case.padding
    )
    assert padding == reference.resolve_padding(
        case.x[1:3], case.kernel, case.strides, case.dilation, case.padding
    )
    explicit = {**case.params, "padding": padding}
    assert ops.conv2d_output_shape(case.x, case.w, **explicit) == case.y


@every_dtype
@pytest.mark.parametrize("case", CONVS, ids=str)
def test_im2col_and_col2im(rng, case: Conv, dtype):
    params = {key: case.params[key] for key in ("strides", "padding", "dilation")}
    x = _normal(rng, case.x, dtype)
    col = reference.im2col(x, case.kernel, **params)
    assert_exact(ops.im2col(x, case.kernel, **params), col, dtype)
    dcol = _integers(rng, col.shape, dtype)
    dx = reference.col2im(dcol, case.x, case.kernel, **params)
    assert_exact(ops.col2im(dcol, case.x, case.kernel, **params), dx, dtype)


@pytest.mark.parametrize("name", reference.ACTIVATIONS)
@every_algorithm
def test_fused_activation_is_the_separate_one(rng, name, algorithm):
    for case in (CONVS[0], CONVS[8], CONVS[17], CONVS[19], CONVS[25]):
        for dtype in DTYPES:
            x, w = _normal(rng, case.x, dtype), _normal(rng, case.w, dtype) / 4
            bias = _normal(rng, case.o, dtype)
            fused = ops.conv2d(x, w, bias, activation=name, algorithm=algorithm, **case.params)
            plain = ops.conv2d(x, w, bias, algorithm=algorithm, **case.params)
            assert_same_bits(fused, ops.activation(plain, name), f"{case}: ")


@every_dtype
@every_algorithm
@every_case
def test_residual(rng, case: Conv, algorithm, dtype):
    params = {"algorithm": algorithm, **case.params}
    x, w = _integers(rng, case.x, dtype), _integers(rng, case.w, dtype)
    residual = _integers(rng, case.y, dtype)
    expected = reference.conv2d(x, w, **case.params) + residual
    assert_exact(ops.conv2d(x, w, residual=residual, **params), expected, dtype, "integers: ")
    x, w, bias = (_normal(rng, shape, dtype) for shape in (case.x, case.w, case.o))
    residual = _normal(rng, case.y, dtype)
    for name in (None, "relu", "tanh"):
        actual = ops.conv2d(x, w, bias, residual=residual, activation=name, **params)
        plain = ops.conv2d(x, w, bias, **params)
        assert_same_bits(actual, ops.add(plain, residual, activation=name), f"{name}: ")


@pytest.mark.parametrize("algorithm", WINOGRAD)
def test_winograd_gradients_by_differences(rng, algorithm):
    case = Conv("parts of tiles", (1, 5, 6, 2), (3, 3), 3, padding=((1, 0), (2, 1)))
    params = {"algorithm": algorithm, **case.params}
    x, w, dy = rng.normal(size=case.x), rng.normal(size=case.w), rng.normal(size=case.y)
    dx = ops.conv2d_grad_input(dy, w, case.x, **params)
    assert_gradient(lambda x: ops.conv2d(x, w, **params), x, dy, dx)
    dw = ops.conv2d_grad_weight(x, dy, case.w, **params)
    assert_gradient(lambda w: ops.conv2d(x, w, **params), w, dy, dw)


@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
@pytest.mark.parametrize(
    "case",
    [
        Conv("plain", (2, 4, 5, 2), (2, 3), 3),
        Conv("everything", (1, 6, 5, 4), (3, 2), 6, (2, 1), ((1, 0), (2, 1)), (1, 2), 2),
        Conv("depthwise same", (1, 5, 4, 3), (3, 3), 6, 2, "same", 1, 3),
    ],
    ids=str,
)
def test_gradients_by_differences(rng, case: Conv, algorithm):
    params = {"algorithm": algorithm, **case.params}
    x, w, bias = rng.normal(size=case.x), rng.normal(size=case.w), rng.normal(size=case.o)
    dy = rng.normal(size=case.y)
    dx = ops.conv2d_grad_input(dy, w, case.x, **params)
    assert_gradient(lambda x: ops.conv2d(x, w, bias, **params), x, dy, dx)
    dw = ops.conv2d_grad_weight(x, dy, case.w, **params)
    assert_gradient(lambda w: ops.conv2d(x, w, bias, **params), w, dy, dw)
    db = ops.bias_grad(dy)
    assert_gradient(lambda bias: ops.conv2d(x, w, bias, **params), bias, dy, db)


@every_algorithm
def test_empty_batch_and_empty_channels(algorithm):
    for dtype in DTYPES:
        x, w = np.zeros((0, 5, 4, 3), dtype), np.ones((3, 2, 3, 6), dtype)
        y = ops.conv2d(x, w, np.ones(6, dtype), algorithm=algorithm)
        assert_exact(y, np.zeros((0, 3, 3, 6)), dtype)
        dx = ops.conv2d_grad_input(y, w, x.shape, algorithm=algorithm)
        assert_exact(dx, np.zeros(x.shape), dtype)
        dw = ops.conv2d_grad_weight(x, y, w.shape, algorithm=algorithm)
        assert_exact(dw, np.zeros(w.shape), dtype)


@every_algorithm
def test_infinity_and_nan_stay_where_they_belong(algorithm):
    x = np.ones((1, 5, 7, 4), np.float32)
    w = np.ones((3, 3, 4, 9), np.float32)
    x[0, 0, 0, 0] = np.inf
    y = ops.conv2d(x, w, padding=1, algorithm=algorithm)
    touched = np.zeros(y.shape, bool)
    touched[:, :2, :2] = True
    assert np.all(np.isinf(y) == touched)
    w[1, 1, 2, 3] = np.nan
    x[0, 0, 0, 0] = 1
    y = ops.conv2d(x, w, padding=1, algorithm=algorithm)
    assert np.all(np.isnan(y) == (np.arange(9) == 3))


@every_algorithm
def test_infinite_weights_meet_the_padding(algorithm):
    x, w = np.ones((1, 8, 9, 1), np.float32), np.zeros((3, 3, 1, 1), np.float32)
    w[0, 1] = np.inf  # times the zeros above the image
    y = ops.conv2d(x, w, padding=1, algorithm=algorithm)
    assert np.all(np.isnan(y[:, 0])) and np.all(np.isinf(y[:, 1:]))


def test_the_choice_for_a_shape_without_end():
    x, w = (2**40, 2**20, 2**20, 64), (3, 3, 64, 64)
    assert ops.conv2d_algorithm("forward", x, w, padding=1) == "winograd4x4"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "options"),
    [
        ((16, 47, 45, 2), (3, 2, 2, 5), {"padding": ((1, 2), (0, 1)), "dilation": (2, 1)}),
        ((16, 95, 93, 1), (3, 7, 1, 3), {"padding": (1, 2), "strides": 2}),
    ],
)
def test_parts_side_by_side_are_what_each_is_alone(
    isa: str,
    dtype: str,
    x_shape: Any,
    w_shape: Any,
    options: dict[str, Any],
    rng: np.random.Generator,
) -> None:
    """Sixteen parts of an image each, on AVX-512 in the lanes of vectors, are added in order."""
    plan = ops.conv2d_plan("grad_weight", x_shape, w_shape, **options)
    assert plan.method == ("parts side by side" if isa == "avx512" else "filter rows")
    x = rng.standard_normal(x_shape).astype(dtype)
    dy_shape = ops.conv2d_output_shape(x_shape, w_shape, **options)
    dy = rng.standard_normal(dy_shape).astype(dtype)
    alone = [
        ops.conv2d_grad_weight(x[i : i + 1], dy[i : i + 1], w_shape, **options) for i in range(16)
    ]
    expected = alone[0]
    for part in alone[1:]:
        expected = expected + part
    assert_same_bits(ops.conv2d_grad_weight(x, dy, w_shape, **options), expected)


def _conv_cases() -> st.SearchStrategy[Conv]:
    size, filters = st.integers(1, 12), st.integers(1, 4)
    small = st.integers(0, 3)
    padding = st.one_of(
        st.sampled_from(["same", "valid"]),
        small,
        st.tuples(small, small),
        st.tuples(st.tuples(small, small), st.tuples(small, small)),
    )
    pair = st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return st.builds(
        lambda n, h, w, kernel, groups, i, o, strides, padding, dilation: Conv(
            "any", (n, h, w, groups * i), kernel, groups * o, strides, padding, dilation, groups
        ),
        st.integers(0, 3),
        size,
        size,
        st.tuples(filters, filters),
        st.integers(1, 4),
        st.integers(1, 5),
        st.integers(1, 9),
        pair,
        padding,
        pair,
    )


@settings(max_examples=250)
@given(
    case=_conv_cases(),
    algorithm=st.sampled_from(ALGORITHMS),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape(case: Conv, algorithm, dtype, seed):
    try:
        shape = case.y
    except ValueError:
        assume(False)
    rng = np.random.default_rng(seed)
    x, w = _integers(rng, case.x, dtype), _integers(rng, case.w, dtype)
    dy = _integers(rng, shape, dtype)
    params = {"algorithm": algorithm, **case.params}
    assert_exact(ops.conv2d(x, w, **params), reference.conv2d(x, w, **case.params), dtype)
    assert_exact(
        ops.conv2d_grad_input(dy, w, case.x, **params),
        reference.conv2d_grad_input(dy, w, case.x, **case.params),
        dtype,
    )
    assert_exact(
        ops.conv2d_grad_weight(x, dy, case.w, **params),
        reference.conv2d_grad_weight(x, dy, case.w, **case.params),
        dtype,
    )


@settings(max_examples=200)
@given(
    n=st.integers(1, 40),
    k=st.integers(1, 9),
    stride=st.integers(1, 7),
    dilation=st.integers(1, 4),
)
def test_same_padding_is_tensorflows(n, k, stride, dilation):
    (before, after), _ = ops.resolve_padding((n, 1), (k, 1), stride, (dilation, 1), "same")
    assert 0 <= before <= after <= before + 1
    shape = ops.conv2d_output_shape(
        (1, n, 1, 1), (k, 1, 1, 1), strides=stride, padding="same", dilation=(dilation, 1)
    )
    assert shape[1] == math.ceil(n / stride)
    # No more padding than that size needs.
    needed = (shape[1] - 1) * stride + dilation * (k - 1) + 1 - n
    assert before + after == max(needed, 0)


def _torch_can_pad(case: Conv) -> bool:
    """Torch has neither "same" with strides nor different padding before and after."""
    return isinstance(case.padding, int) or isinstance(case.padding[0], int)


@every_algorithm
@pytest.mark.parametrize("case", [c for c in CONVS if _torch_can_pad(c)], ids=str)
def test_torch_agrees(rng, case: Conv, algorithm):
    torch = pytest.importorskip("torch")
    x, w, bias = rng.normal(size=case.x), rng.normal(size=case.w), rng.normal(size=case.o)
    tx = torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    tw = torch.tensor(w.transpose(3, 2, 0, 1).copy(), requires_grad=True)
    ty = torch.nn.functional.conv2d(
        tx,
        tw,
        torch.tensor(bias),
        stride=case.strides,
        padding=case.padding,
        dilation=case.dilation,
        groups=case.groups,
    )
    dy = rng.normal(size=case.y)
    ty.backward(torch.tensor(dy.transpose(0, 3, 1, 2).copy()))
    params = {"algorithm": algorithm, **case.params}
    for actual, expected, k, factors in [
        (ops.conv2d(x, w, bias, **params), ty.detach().permute(0, 2, 3, 1), case.k_forward, (x, w)),
        (
            ops.conv2d_grad_input(dy, w, case.x, **params),
            tx.grad.permute(0, 2, 3, 1),
            case.k_grad_input,
            (dy, w),
        ),
        (
            ops.conv2d_grad_weight(x, dy, case.w, **params),
            tw.grad.permute(2, 3, 1, 0),
            case.k_grad_weight,
            (x, dy),
        ),
    ]:
        # Twice: torch rounds too.
        bound = 2 * dot_bound("float64", k, *factors, bias)
        assert_within(actual, expected.numpy(), bound, "float64")
