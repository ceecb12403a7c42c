"""Tensors on the GPU: there and back, into other libraries and out of them, and what is wrong."""

import numpy as np
import pytest

import sixloop
from sixloop import ops

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8"])


@every_dtype
def test_there_and_back(rng, dtype):
    x = rng.integers(0, 100, size=(3, 5, 2)).astype(dtype)
    t = sixloop.Tensor(x).to("cuda")
    assert (t.device, t.shape, t.dtype, t.nbytes) == ("cuda", (3, 5, 2), np.dtype(dtype), x.nbytes)
    assert t.to("cuda") is t or t.to("cuda").__cuda_array_interface__ == t.__cuda_array_interface__
    for back in (t.numpy(), t.to("cpu").numpy(), t.copy().numpy(), t.reshape(6, 5).numpy()):
        np.testing.assert_array_equal(back.reshape(x.shape), x)
    assert t.to("cpu").device == "cpu"
    assert "device=cuda" in repr(t)


def test_making():
    assert sixloop.zeros((2, 3), device="cuda").numpy().tolist() == [[0, 0, 0], [0, 0, 0]]
    t = sixloop.empty((2, 2), "int32", device="cuda")
    t.fill(7)
    assert t.numpy().tolist() == [[7, 7], [7, 7]]
    assert sixloop.Tensor([2.5]).to("cuda").item() == 2.5
    assert sixloop.zeros((0, 3), device="cuda").numpy().shape == (0, 3)
    copy = sixloop.Tensor(t)
    t.fill(1)
    assert (copy.device, copy.numpy().tolist()) == ("cuda", [[7, 7], [7, 7]])


def test_no_copy_in_silence():
    t = sixloop.zeros((2,), device="cuda")
    with pytest.raises(TypeError, match=r"use numpy\(\)"):
        np.asarray(t)
    with pytest.raises(NotImplementedError, match="no conversion"):
        sixloop.Tensor(t, dtype="float64")
    with pytest.raises(BufferError, match="dl_device"):
        t.__dlpack__(dl_device=(1, 0))
    assert not hasattr(t.to("cpu"), "__cuda_array_interface__")


class Foreign:
    """An array of another library: all that the ops see of it is DLPack."""

    def __init__(self, tensor, versioned=False):
        self.tensor, self.versioned, self.streams = tensor, versioned, []

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, stream=None):
        self.streams.append(stream)
        return self.tensor.__dlpack__(stream=stream, max_version=(1, 0) if self.versioned else None)


@pytest.mark.parametrize("versioned", [False, True])
def test_dlpack(versioned):
    t = sixloop.Tensor([[1.0, -2.0, 3.0]]).to("cuda")
    assert t.__dlpack_device__() == (2, 0)
    foreign = Foreign(t, versioned)
    before = sixloop.cuda.memory_stats()["requests"]
    y = ops.relu(foreign)
    assert sixloop.cuda.memory_stats()["requests"] == before + 1, "only the result is new memory"
    assert (y.device, y.numpy().tolist()) == ("cuda", [[1.0, 0.0, 3.0]])
    assert foreign.streams == [sixloop.cuda.current_stream()]
    capsule = t.__dlpack__(stream=-1)
    del capsule  # nobody took it


def test_dlpack_streams():
    t = sixloop.zeros((2,), device="cuda")
    for stream in (None, -1, 1, 2):
        t.__dlpack__(stream=stream)
    for stream in (0, -2):
        with pytest.raises(ValueError, match=r"__dlpack__\(stream=\)"):
            t.__dlpack__(stream=stream)


def test_memory_goes_with_the_last_user():
    before = sixloop.cuda.memory_stats()["allocated"]
    t = sixloop.zeros((1000,), device="cuda")
    capsule = t.__dlpack__()
    del t
    assert sixloop.cuda.memory_stats()["allocated"] == before + 4000
    del capsule
    assert sixloop.cuda.memory_stats()["allocated"] == before


def test_cuda_array_interface():
    t = sixloop.zeros((2, 3), "float64", device="cuda")
    interface = t.__cuda_array_interface__
    assert interface["shape"] == (2, 3)
    assert interface["typestr"] == "<f8"
    assert interface["version"] == 3
    assert interface["strides"] is None
    assert interface["data"][0] > 0
    assert interface["stream"] == sixloop.cuda.current_stream()


def test_streams():
    own = sixloop.cuda.current_stream()
    with sixloop.cuda.stream(1):
        assert sixloop.cuda.current_stream() == 1
        y = ops.relu(sixloop.Tensor([1.0, -1.0]).to("cuda"))
    assert sixloop.cuda.current_stream() == own
    assert y.numpy().tolist() == [1.0, 0.0]
    with pytest.raises(TypeError, match="whole number"):
        sixloop.cuda.set_stream("x")
    with pytest.raises(ValueError, match="negative"):
        sixloop.cuda.set_stream(-3)


def test_one_device():
    on_gpu, on_cpu = sixloop.zeros((2, 2), device="cuda"), sixloop.zeros((2, 2))
    for other in (on_cpu, on_cpu.numpy()):
        with pytest.raises(ValueError, match=r"\[gemm\] all arrays.*: a is on cuda, b on cpu"):
            ops.gemm(on_gpu, other)
        with pytest.raises(ValueError, match=r"\[gemm\] all arrays.*: a is on cpu, b on cuda"):
            ops.gemm(other, on_gpu)
    with pytest.raises(ValueError, match="bias on cpu"):
        ops.gemm(on_gpu, on_gpu, np.zeros(2, "float32"))


def test_unknown_device():
    with pytest.raises(ValueError, match='unknown device "gpu"; valid: cpu, cuda'):
        sixloop.zeros((1,)).to("gpu")
    with pytest.raises(ValueError, match="unknown device"):
        sixloop.zeros((1,), device="cuda:7")


def test_out_of_memory():
    stats = sixloop.cuda.memory_stats()
    with pytest.raises(MemoryError, match=r"\[cuda\] out of memory: .* asked for; .* are free"):
        sixloop.zeros((2 * stats["total"],), "uint8", device="cuda")
    x = sixloop.zeros((4,), device="cuda")  # goes on
    assert ops.relu(x).numpy().tolist() == [0.0] * 4
    assert sixloop.cuda.memory_stats()["total"] == stats["total"]


def test_what_there_is():
    assert sixloop.cuda.is_available()
    assert sixloop.cuda.why() == ""
    assert sixloop.cuda.device_name()
    assert sixloop.cuda.compute_capability() >= (8, 0)
    stats = sixloop.cuda.memory_stats()
    assert 0 <= stats["allocated"] <= stats["peak"]
    sixloop.cuda.reset_peak_memory()
    sixloop.cuda.empty_cache()
    sixloop.cuda.synchronize()
    stats = sixloop.cuda.memory_stats()
    assert stats["peak"] == stats["allocated"]
