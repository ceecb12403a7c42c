"""sixloop.Tensor: memory, views, exchange with NumPy and DLPack."""

from __future__ import annotations

import gc
import math

import numpy as np
import pytest

import sixloop
from comparators import assert_same_bits
from sixloop import Tensor, ops

DTYPES = ("float32", "float64", "int32", "int64", "uint8")

every_dtype = pytest.mark.parametrize("dtype", DTYPES)


@every_dtype
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (2, 3), (2, 0, 4), (2, 3, 4, 5)], ids=str)
def test_from_numpy_and_back(rng, shape, dtype):
    a = rng.integers(0, 100, shape).astype(dtype)
    t = Tensor(a)
    assert t.shape == shape and t.dtype == np.dtype(dtype) and t.device == "cpu"
    assert t.size == a.size == math.prod(shape) and t.nbytes == a.nbytes
    assert isinstance(t.shape, tuple)
    for view in (t.numpy(), np.asarray(t), np.array(t), np.from_dlpack(t)):
        assert_same_bits(view, a)
    if shape:
        assert len(t) == shape[0]
    else:
        with pytest.raises(TypeError):
            len(t)


def test_the_constructor_copies():
    a = np.zeros(5, np.float32)
    t = Tensor(a)
    a[:] = 1
    assert not t.numpy().any()


def test_numpy_is_a_writable_view_that_keeps_the_memory():
    t = sixloop.zeros((3, 4))
    view = t.numpy()
    assert view.flags.writeable and view.flags.c_contiguous
    view[1, 2] = 5
    assert t.numpy()[1, 2] == 5 and np.asarray(t)[1, 2] == 5
    assert np.shares_memory(view, t.numpy())
    assert np.shares_memory(view, np.asarray(t))
    assert not np.shares_memory(view, np.array(t, copy=True))
    del t
    gc.collect()
    for _ in range(50):  # would reuse the block, were it free
        sixloop.zeros((3, 4)).fill(9)
    assert view[1, 2] == 5 and view.sum() == 5


def test_array_protocol():
    t = Tensor(np.arange(4, dtype=np.float32))
    assert np.asarray(t, dtype=np.float64).dtype == np.float64
    assert np.asarray(t, dtype=np.float32) is not None
    assert float(np.asarray(t).sum()) == 6
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        assert np.shares_memory(np.array(t, copy=False), t.numpy())
        with pytest.raises(ValueError, match="copy"):
            np.array(t, dtype=np.float64, copy=False)


def test_dtypes():
    assert Tensor([1.0, 2.0]).dtype == np.float32
    assert Tensor([[1.0], [2.0]]).shape == (2, 1)
    assert Tensor(np.array([1.0])).dtype == np.float64
    assert Tensor(np.array([1.0]), dtype="float32").dtype == np.float32
    assert Tensor(np.array([1.0]), dtype=np.int64).dtype == np.int64
    big_endian = np.arange(3, dtype=">f4")
    assert_same_bits(Tensor(big_endian, dtype="float32").numpy(), np.arange(3, dtype=np.float32))
    with pytest.raises(TypeError, match=r"\[Tensor\].*>f4"):
        Tensor(big_endian)
    for bad in (np.complex64, np.float16, "U3", object, np.uint32, bool, np.dtype([("a", "f4")])):
        with pytest.raises(TypeError, match=r"\[Tensor\]"):
            Tensor(np.zeros(3), dtype=bad)
        with pytest.raises(TypeError, match=r"\[Tensor\]"):
            Tensor(np.zeros(3, dtype=bad))
        with pytest.raises(TypeError):
            sixloop.zeros((3,), bad)
    for bad in (None, "abc", object(), {}, [None], [[1.0], [1.0, 2.0]]):
        with pytest.raises((TypeError, ValueError)):
            Tensor(bad)
    with pytest.raises(TypeError):
        Tensor()


def test_any_layout_is_copied_right(rng):
    a = rng.normal(size=(4, 6, 5))
    unaligned = np.empty(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    unaligned[...] = a
    for view in (
        a.T,
        a[::-1, ::2],
        np.asfortranarray(a),
        unaligned,
        np.broadcast_to(a[0], a.shape),
    ):
        assert_same_bits(Tensor(view).numpy(), np.ascontiguousarray(view))


def test_reshape_is_a_view():
    t = Tensor(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    for shape in ((24,), (4, 6), (2, 1, 12), (2, 2, 2, 3)):
        for view in (t.reshape(*shape), t.reshape(shape), t.reshape(list(shape))):
            assert view.shape == shape and np.shares_memory(view.numpy(), t.numpy())
    assert t.reshape(-1, 6).shape == (4, 6)
    t.reshape(24).numpy()[5] = 99
    assert t.numpy()[0, 1, 1] == 99
    for bad in (
        (5,),
        (25,),
        (-1, 5),
        (-1, -1),
        (-2, -12),
        (2**62, 4),
        (0, -1),
        (2, 2**63),
        (-1, 2**62, 6),
    ):
        with pytest.raises((ValueError, MemoryError)):
            t.reshape(*bad)
    with pytest.raises(TypeError):
        t.reshape(2.0, 12)
    view = t.reshape(24)
    del t
    gc.collect()
    assert view.numpy()[23] == 23


def test_copy_and_fill():
    t = Tensor(np.arange(6, dtype=np.float32))
    other = t.copy()
    other.fill(7)
    assert other.numpy().tolist() == [7] * 6 and t.numpy().tolist() == list(range(6))


def test_device():
    t = sixloop.zeros((2,))
    assert t.to("cpu").device == "cpu"
    for bad in ("gpu", "", "cuda:99"):
        with pytest.raises(ValueError, match="cpu"):
            t.to(bad)


def test_repr_shows_shape_dtype_and_values():
    text = repr(Tensor(np.array([[1.5, -2.0]], np.float32)))
    assert "(1, 2)" in text and "float32" in text and "1.5" in text


def test_zeros_and_empty():
    for dtype in DTYPES:
        t = sixloop.zeros((3, 5), dtype)
        assert t.dtype == np.dtype(dtype) and not t.numpy().any()
        assert sixloop.empty((3, 5), dtype).shape == (3, 5)
    assert sixloop.zeros((2,)).dtype == np.float32
    for bad in ((-1,), (2**63,), (1.5,), ("a",), (None,), (1,) * 40):
        with pytest.raises((TypeError, ValueError)):
            sixloop.zeros(bad)
        with pytest.raises((TypeError, ValueError)):
            sixloop.empty(bad)


def test_dlpack_both_ways():
    torch = pytest.importorskip("torch")
    x = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    assert_same_bits(Tensor(x).numpy(), x.numpy())
    y = ops.relu(x)
    assert isinstance(y, Tensor)
    assert_same_bits(y.numpy(), x.numpy())
    back = torch.from_dlpack(Tensor(np.arange(4, dtype=np.float64)))
    assert back.tolist() == [0, 1, 2, 3]
    for bad in (x.to(torch.bfloat16), x.to(torch.complex64), x.clone().requires_grad_()):
        with pytest.raises((TypeError, ValueError)):
            ops.relu(bad)


def test_results_are_aligned_and_owned():
    for n in (1, 3, 1000, 300_000):
        y = ops.relu(np.ones(n, np.float32))
        assert y.ctypes.data % 64 == 0
        assert y.flags.writeable and y.flags.c_contiguous
        y[:] = 3  # the library never hands out memory that it still uses
        assert ops.relu(np.ones(n, np.float32)).max() == 1


def test_a_second_step_allocates_nothing():
    x, w = np.ones((2, 8, 9, 4), np.float32), np.ones((3, 3, 4, 8), np.float32)

    def step() -> None:
        y = ops.conv2d(x, w, padding=1, activation="relu")
        p = ops.max_pool2d(y, 2)
        dy = ops.max_pool2d_grad(p, y, 2)
        ops.conv2d_grad_weight(x, dy, w.shape, padding=1)
        ops.conv2d_grad_input(dy, w, x.shape, padding=1)

    step()
    step()
    before = sixloop.memory_stats()
    for _ in range(5):
        step()
    after = sixloop.memory_stats()
    assert after["requests"] > before["requests"]
    assert after["system_requests"] == before["system_requests"]
    assert after["allocated"] == before["allocated"]


def test_the_cache_is_bounded_and_can_be_emptied():
    ops.relu(np.ones(100_000, np.float32))
    assert 0 < sixloop.memory_stats()["cached"] <= sixloop.memory_stats()["cache_limit"]
    sixloop.empty_cache()
    assert sixloop.memory_stats()["cached"] == 0


def test_layout_conversion(rng):
    nchw = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    nhwc = sixloop.from_nchw(nchw)
    assert nhwc.shape == (2, 4, 5, 3) and nhwc.flags.c_contiguous
    assert nhwc[1, 2, 3, 0] == nchw[1, 0, 2, 3]
    assert_same_bits(sixloop.to_nchw(nhwc), nchw)
    for f in (sixloop.from_nchw, sixloop.to_nchw):
        with pytest.raises(ValueError, match=r"\(2, 3\)"):
            f(np.zeros((2, 3)))
