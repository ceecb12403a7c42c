"""Layers whose products take tf32."""

import pytest

from comparators import assert_same_bits
from on_cuda import to_cuda
from sixloop import nn, ops

TF32 = {"precision": "tf32"}


def test_conv2d(rng):
    params = {"strides": (2, 1), "padding": 1, "algorithm": "implicit_gemm", **TF32}
    model = nn.Sequential([nn.Conv2D(12, (3, 2), use_bias=False, **params)], input_shape=(8, 7, 5))
    x = rng.normal(size=(2, 8, 7, 5)).astype("float32")
    with pytest.raises(ValueError, match="is for float32 arrays on cuda"):
        model(x)
    model = model.to("cuda")
    y = model(x, training=True)
    dy = rng.normal(size=y.shape).astype("float32")
    dx = model.backward(dy)
    (w,) = model.parameters().values()
    assert_same_bits(y, ops.conv2d(to_cuda(x), w, **params).numpy())
    expected = ops.conv2d_grad_input(to_cuda(dy), w, x.shape, **params)
    assert_same_bits(dx, expected.numpy())
    (dw,) = model.gradients().values()
    expected = ops.conv2d_grad_weight(to_cuda(x), to_cuda(dy), w.shape, **params)
    assert_same_bits(dw.numpy(), expected.numpy())


def test_dense(rng):
    model = nn.Sequential([nn.Dense(9, use_bias=False, **TF32)], input_shape=6).to("cuda")
    x, dy = (rng.normal(size=(5, size)).astype("float32") for size in (6, 9))
    y = model(x, training=True)
    dx = model.backward(dy)
    (w,) = model.parameters().values()
    x, dy = to_cuda(x), to_cuda(dy)
    assert_same_bits(y, ops.gemm(x, w, **TF32).numpy())
    assert_same_bits(dx, ops.gemm(dy, w, transpose_b=True, **TF32).numpy())
    (dw,) = model.gradients().values()
    assert_same_bits(dw.numpy(), ops.gemm(x, dy, transpose_a=True, **TF32).numpy())


@pytest.mark.parametrize(
    "layer", [lambda p: nn.Conv2D(2, 3, precision=p), lambda p: nn.Dense(2, precision=p)]
)
def test_unknown_precision(layer):
    with pytest.raises(ValueError, match="precision must be one of fp32, tf32; got 'tf23'"):
        layer("tf23")
