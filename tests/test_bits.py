"""No instruction set, thread count or split of the batch changes a bit of any result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import reference
import sixloop
from comparators import assert_same_bits
from shapes import CONVS, LARGE_CONVS, LARGE_POOLS, POOLS, WINOGRADS, WINOGRADS_OF_5X5, Conv, Pool
from sixloop import ops

DTYPES = ("float32", "float64")

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_conv = pytest.mark.parametrize("case", [*CONVS, *LARGE_CONVS], ids=str)
every_pool = pytest.mark.parametrize("case", [*POOLS, *LARGE_POOLS], ids=str)


def _normal(rng, shape, dtype):
    return rng.normal(size=shape).astype(dtype)


# --------------------------------------------------------------------- instruction sets and threads


CONV_ALGORITHMS = [
    *((case, algorithm) for case in [*CONVS, *LARGE_CONVS] for algorithm in ("direct", "im2col")),
    *((case, algorithm) for case in WINOGRADS for algorithm in ("winograd2x2", "winograd4x4")),
    *((case, "winograd2x2") for case in WINOGRADS_OF_5X5),
]


@every_dtype
@pytest.mark.parametrize("case, algorithm", CONV_ALGORITHMS, ids=str)
def test_conv2d(rng, same_everywhere, case: Conv, algorithm, dtype):
    params = {"algorithm": algorithm, **case.params}
    x, w, bias, dy = (_normal(rng, shape, dtype) for shape in (case.x, case.w, case.o, case.y))
    same_everywhere(
        lambda: [
            ops.conv2d(x, w, bias, **params, activation="tanh"),
            ops.conv2d_grad_input(dy, w, case.x, **params),
            ops.conv2d_grad_weight(x, dy, case.w, **params),
        ]
    )


@every_dtype
@pytest.mark.parametrize(
    "m, n, k",
    [
        (1, 1, 1),
        (1, 10, 784),
        (3, 5, 7),
        (7, 33, 260),
        (29, 17, 700),
        (64, 120, 400),
        (130, 70, 1100),
        (257, 129, 65),
    ],
)
def test_gemm(rng, same_everywhere, m, n, k, dtype):
    a, b, bias = _normal(rng, (m, k), dtype), _normal(rng, (k, n), dtype), _normal(rng, n, dtype)
    at, bt = np.ascontiguousarray(a.T), np.ascontiguousarray(b.T)
    results = same_everywhere(
        lambda: [
            ops.gemm(a, b, bias, activation="sigmoid"),
            ops.gemm(a, b),
            ops.gemm(at, b, transpose_a=True),
            ops.gemm(a, bt, transpose_b=True),
            ops.gemm(at, bt, transpose_a=True, transpose_b=True),
        ]
    )
    # How the operands lie in memory is no part of the arithmetic.
    for other in results[2:]:
        assert_same_bits(other, results[1])


@every_dtype
@pytest.mark.parametrize("case", [c for c in CONVS if c.groups == 1][:12], ids=str)
def test_im2col(rng, same_everywhere, case: Conv, dtype):
    params = {key: case.params[key] for key in ("strides", "padding", "dilation")}
    x = _normal(rng, case.x, dtype)
    dcol = _normal(rng, ops.im2col(x, case.kernel, **params).shape, dtype)
    same_everywhere(
        lambda: [
            ops.im2col(x, case.kernel, **params),
            ops.col2im(dcol, case.x, case.kernel, **params),
        ]
    )


@every_dtype
@every_pool
def test_pooling(rng, same_everywhere, case: Pool, dtype):
    x, dy = _normal(rng, case.x, dtype), _normal(rng, case.y, dtype)
    x.reshape(-1)[:: max(x.size // 7, 1)] = np.nan
    flat = _normal(rng, (case.x[0], case.x[3]), dtype)
    same_everywhere(
        lambda: [
            ops.max_pool2d(x, case.pool, **case.params),
            ops.max_pool2d_grad(dy, x, case.pool, **case.params),
            ops.avg_pool2d(x, case.pool, **case.params),
            ops.avg_pool2d_grad(dy, case.x, case.pool, **case.params),
            ops.global_avg_pool2d(x),
            ops.global_avg_pool2d_grad(flat, case.x),
        ]
    )


@every_dtype
@pytest.mark.parametrize(
    "shape", [(1, 1), (5, 2), (3, 10), (7, 33), (2, 3, 65), (2000, 10), (70, 1000)], ids=str
)
def test_softmax(rng, same_everywhere, shape, dtype):
    x, dy = 3 * _normal(rng, shape, dtype), _normal(rng, shape, dtype)

    def run() -> list[Any]:
        results = []
        for axis in (-1, 0):
            y, log_y = ops.softmax(x, axis), ops.log_softmax(x, axis)
            results += [y, log_y]
            results += [ops.softmax_grad(dy, y, axis), ops.log_softmax_grad(dy, log_y, axis)]
        if len(shape) == 2:
            loss, gradient = ops.cross_entropy(x, np.arange(shape[0]) % shape[1])
            results += [np.float64(loss), gradient]
        return results

    same_everywhere(run)


@every_dtype
@pytest.mark.parametrize(
    "shape",
    [(2, 1), (5, 3), (3, 4, 5, 7), (2, 9, 8, 33), (4, 40, 30, 6), (3000, 17), (8, 30, 28, 64)],
    ids=str,
)
def test_norms(rng, same_everywhere, shape, dtype):
    x, dy = _normal(rng, shape, dtype) + 1, _normal(rng, shape, dtype)
    gamma, beta = _normal(rng, shape[-1], dtype), _normal(rng, shape[-1], dtype)

    def run() -> list[Any]:
        y, mean, variance = ops.batch_norm(x, gamma, beta, activation="elu")
        return [
            y,
            mean,
            variance,
            *ops.batch_norm_grad(dy, x, gamma, mean, variance),
            *ops.batch_norm_grad(dy, x, gamma, mean, variance, training=False),
            ops.batch_norm(x, gamma, beta, mean, variance)[0],
            ops.batch_norm(x, gamma, beta, activation="tanh", residual=dy)[0],
            *ops.batch_norm_grad(dy, x, gamma, mean, variance, relu_output=y),
            ops.local_response_norm(x),
            ops.local_response_norm_grad(dy, x, 5, 1e-4, 0.75, 2.0),
            ops.local_response_norm(x, 4, 0.5, 0.6, 1.0),
        ]

    same_everywhere(run)


@every_dtype
@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_activations(rng, same_everywhere, name, dtype):
    exponents = rng.uniform(-30, 3, 5000)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, np.finfo(dtype).max, -np.finfo(dtype).max]
    special += [np.finfo(dtype).tiny, np.finfo(dtype).smallest_subnormal]
    x = np.concatenate(
        [rng.choice([-1, 1], 5000) * 10**exponents, np.linspace(-110, 110, 50_001), special]
    ).astype(dtype)
    dy = _normal(rng, x.shape, dtype)

    def run() -> list[Any]:
        y = getattr(ops, name)(x)
        results = [y, getattr(ops, f"{name}_grad")(dy, x), ops.add(x, dy, activation=name)]
        if name in reference.FROM_OUTPUT:
            results.append(ops.activation_grad_from_output(dy, y, name))
        return results

    same_everywhere(run)


@every_dtype
@pytest.mark.parametrize(
    "shape", [(1, 1), (7, 3), (4, 37, 41, 17), (70_000, 1), (60, 1000)], ids=str
)
def test_other_maps(rng, same_everywhere, shape, dtype):
    x, other = _normal(rng, shape, dtype), _normal(rng, shape, dtype)
    bias = _normal(rng, shape[-1], dtype)
    keyed = {"seed": 7, "purpose": 1, "step": 3}
    same_everywhere(
        lambda: [
            ops.add(x, other),
            ops.bias_add(x, bias, activation="gelu"),
            ops.bias_grad(x),
            *ops.activation_bias_grad(x, other, "tanh"),
            ops.scale(x, 0.3),
            ops.concat([x, other]),
            *ops.split(x, [shape[-1] // 2, shape[-1] - shape[-1] // 2]),
            ops.dropout(x, 0.3, **keyed),
            ops.dropout_grad(x, 0.3, **keyed),
        ]
    )
    if len(shape) == 4:
        same_everywhere(lambda: [ops.zero_pad2d(x, (2, 1)), ops.crop2d(x, ((1, 2), (3, 0)))])


def test_random_numbers(same_everywhere):
    keyed = {"seed": 7, "purpose": 1, "step": 3}
    for n in (1, 5, 100_003):
        same_everywhere(
            lambda n=n: [
                ops.random_bits(n, **keyed),
                *(
                    np.asarray(f((n,), -1.0, 2.0, **keyed, dtype=dtype))
                    for f in (ops.random_uniform, ops.random_normal)
                    for dtype in DTYPES
                ),
            ]
        )


@every_dtype
def test_optimizers(rng, same_everywhere, dtype):
    for size in (1, 17, 70_001):
        start, *grads = _normal(rng, (4, size), dtype)

        def run(start=start, grads=grads) -> list[Any]:
            results = []

            def ten(update: Callable[..., None], buffers: int, **options: Any) -> None:
                param = start.copy()
                state = [np.zeros_like(param) for _ in range(buffers)]
                for step, grad in enumerate(grads, 1):
                    more = {"step": step} if update is ops.adam_update else {}
                    update(param, grad, *state, **options, **more)
                results.extend([param, *state])

            ten(ops.sgd_update, 1, lr=0.1, momentum=0.9, weight_decay=0.01)
            ten(ops.sgd_update, 1, lr=0.1, momentum=0.9, nesterov=True)
            ten(ops.adam_update, 2, lr=0.01, weight_decay=0.1)
            ten(ops.adam_update, 2, lr=0.01, weight_decay=0.1, decoupled=True)
            ten(ops.rmsprop_update, 1, lr=0.01, weight_decay=0.1)
            return results

        same_everywhere(run)


# ------------------------------------------------------------------------------ splits of the batch

SPLITS = [(1,), (2,), (1, 2), (1, 2, 3, 4)]


def _assert_rows_do_not_meet(function: Callable[..., Any], *batches: Any) -> None:
    """function of the parts of a batch, put together, has the bits of function of the whole."""
    whole = function(*batches)
    for split in SPLITS:
        cuts = [[*np.split(batch, split)] for batch in batches]
        parts = [function(*part) for part in zip(*cuts, strict=True)]
        assert_same_bits(np.concatenate(parts), whole, f"split at {split}: ")


@every_dtype
@pytest.mark.parametrize("case, algorithm", CONV_ALGORITHMS, ids=str)
def test_conv2d_of_parts_of_a_batch(rng, case: Conv, algorithm, dtype):
    params = {"algorithm": algorithm, **case.params}
    x = _normal(rng, (5, *case.x[1:]), dtype)
    w, bias = _normal(rng, case.w, dtype), _normal(rng, case.o, dtype)
    _assert_rows_do_not_meet(lambda x: ops.conv2d(x, w, bias, **params), x)
    dy = _normal(rng, (5, *case.y[1:]), dtype)
    _assert_rows_do_not_meet(
        lambda dy: ops.conv2d_grad_input(dy, w, (len(dy), *case.x[1:]), **params), dy
    )


@every_dtype
@every_conv
def test_auto_under_batch_invariant(rng, case: Conv, dtype):
    x, w = _normal(rng, (5, *case.x[1:]), dtype), _normal(rng, case.w, dtype)
    dy = _normal(rng, (5, *case.y[1:]), dtype)
    with sixloop.batch_invariant():
        _assert_rows_do_not_meet(lambda x: ops.conv2d(x, w, **case.params), x)
        _assert_rows_do_not_meet(
            lambda dy: ops.conv2d_grad_input(dy, w, (len(dy), *case.x[1:]), **case.params), dy
        )


@every_dtype
def test_gemm_of_parts_of_the_rows(rng, dtype):
    for n, k in [(1, 3), (10, 84), (33, 700), (120, 400)]:
        a, b = _normal(rng, (37, k), dtype), _normal(rng, (k, n), dtype)
        bias = _normal(rng, n, dtype)
        _assert_rows_do_not_meet(lambda a, b=b, bias=bias: ops.gemm(a, b, bias), a)


@every_dtype
def test_other_ops_of_parts_of_a_batch(rng, dtype):
    x, dy = _normal(rng, (5, 8, 6, 19), dtype), _normal(rng, (5, 8, 6, 19), dtype)
    gamma, beta, mean = _normal(rng, (3, 19), dtype)
    variance = mean * mean + 1
    small = _normal(rng, (5, 4, 2, 19), dtype)
    for function, *batches in [
        (lambda x: ops.batch_norm(x, gamma, beta, mean, variance)[0], x),
        (lambda x: ops.batch_norm(x, gamma, beta, mean, variance, residual=x)[0], x),
        (ops.local_response_norm, x),
        (lambda dy, x: ops.local_response_norm_grad(dy, x, 5, 0.1, 0.75, 2.0), dy, x),
        (ops.softmax, x),
        (ops.log_softmax, x),
        (ops.softmax_grad, dy, x),
        (ops.gelu, x),
        (ops.tanh_grad, dy, x),
        (lambda x: ops.max_pool2d(x, (2, 3)), x),
        (lambda x: ops.avg_pool2d(x, (2, 3)), x),
        (lambda dy, x: ops.max_pool2d_grad(dy, x, (2, 3)), small, x),
        (lambda dy: ops.avg_pool2d_grad(dy, (len(dy), 8, 6, 19), (2, 3)), small),
        (ops.global_avg_pool2d, x),
        (lambda x: ops.im2col(x, (3, 2)), x),
    ]:
        _assert_rows_do_not_meet(function, *batches)


def test_the_machine_to_force_is_in_force(isa, threads):
    assert sixloop.isa() == isa
    assert sixloop.get_num_threads() == threads


def test_unknown_machines_are_refused():
    with pytest.raises(ValueError, match="scalar"):
        sixloop.set_isa("sse9")
    for bad in (0, -1, 1025, 2**70):
        with pytest.raises(ValueError, match=r"\[set_num_threads\]"):
            sixloop.set_num_threads(bad)
    before = (sixloop.isa(), sixloop.get_num_threads())
    with pytest.raises(RuntimeError), sixloop.force_isa("scalar"), sixloop.num_threads(5):
        raise RuntimeError
    assert (sixloop.isa(), sixloop.get_num_threads()) == before
