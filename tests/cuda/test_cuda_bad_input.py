"""What goes wrong around the ops: a clear error of Python, and the library goes on."""

import os
import subprocess
import sys

import numpy as np
import pytest

import sixloop
from on_cuda import EMULATOR, Altered
from sixloop import ops

emulated = pytest.mark.skipif(
    not sixloop.cuda.is_available() or sixloop.cuda.device_name() != EMULATOR,
    reason="only the emulator can play it",
)


def run(program, **environment):
    """Runs a program in a process of its own; a failed assertion there fails here."""
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr


# ------------------------------------------------------------------------------------- devices


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1", "gpu", "CUDA", "", "mps"])
def test_devices_that_are_not_there(device):
    model = sixloop.nn.Sequential([sixloop.nn.Dense(2)], input_shape=3)
    key = {"seed": 1, "purpose": 2}
    for call in (
        lambda: sixloop.zeros((2,), device=device),
        lambda: sixloop.empty((2,), device=device),
        lambda: sixloop.zeros((2,)).to(device),
        lambda: sixloop.zeros((2,), device="cuda").to(device),
        lambda: ops.random_uniform((2,), 0, 1, **key, device=device),
        lambda: ops.random_normal((2,), 0, 1, **key, device=device),
        lambda: model.to(device),
        lambda: sixloop.Trainer(model, device=device),
    ):
        with pytest.raises(ValueError, match=r"unknown device .*; valid.*cpu, cuda"):
            call()


def test_arrays_of_a_second_gpu(rng):
    array = Altered(rng.normal(size=(2, 3)).astype(np.float32), device=1)
    for call in (lambda: ops.relu(array), lambda: sixloop.Tensor(array)):
        with pytest.raises(ValueError, match=r"must be on the first CUDA device; got .*\(2, 1\)"):
            call()


def test_arrays_that_are_not_dense(rng):
    array = Altered(rng.normal(size=(2, 3)).astype(np.float32), strides=(1, 2))
    message = (
        r"\[relu\] x must be dense.* got shape \(2, 3\) with stride 2 along axis 1.*contiguous"
    )
    with pytest.raises(ValueError, match=message):
        ops.relu(array)
    # Of a single element any stride is dense.
    array = Altered(np.float32([[2.5]]), strides=(7, 9))
    assert ops.relu(array).numpy() == 2.5


def test_dtypes_of_others(rng):
    array = Altered(rng.normal(size=(2, 3)).astype(np.float32), bits=16)
    with pytest.raises(
        TypeError, match=r"\[relu\] x must be float32.*; got .* code 2 with 16 bits"
    ):
        ops.relu(array)


def test_a_provider_that_fails():
    class Provider(Altered):
        def __dlpack__(self, stream=None):
            raise RuntimeError("needs detach()")

    array = Provider(np.ones((2, 3), np.float32))
    with pytest.raises(TypeError, match=r"\[relu\] x could not be read through DLPack: .*detach"):
        ops.relu(array)


# -------------------------------------------------------------------------------------- memory


FULL = """
import re
import sixloop
from sixloop import ops

total = sixloop.cuda.memory_stats()["total"]
x = sixloop.zeros((total // 12,), "float32", device="cuda")
before = sixloop.cuda.memory_stats()["allocated"]
sizes = (
    r"\\[cuda\\] out of memory: \\d+\\.\\d\\d MiB asked for; "
    r"tensors of this process take \\d+.\\d\\d MiB, \\d+.\\d\\d MiB of 6.00 MiB are free"
)
for call in (lambda: ops.concat([x, x, x]), lambda: ops.concat([x, x, x, x])):
    try:
        call()
    except MemoryError as error:
        assert re.fullmatch(sizes, str(error)), error
    else:
        raise AssertionError("no error")
assert sixloop.cuda.memory_stats()["allocated"] == before
assert x.numpy().max() == 0
del x
assert ops.relu(sixloop.Tensor([2.0, -1.0]).to("cuda")).numpy().tolist() == [2, 0]
"""


@emulated
def test_an_op_whose_result_has_no_place():
    """MemoryError with sizes; what is there stays, and what was taken on the way goes back."""
    run(FULL, SIXLOOP_SIMT_MEMORY=str(6 << 20))


@emulated
def test_a_batch_that_cannot_be_pinned():
    from sixloop._on_device import CudaStaging

    staging = CudaStaging()
    batch = np.empty((300 << 18,), np.float32)  # untouched: the 300 MiB are never there
    with pytest.raises(MemoryError, match=r"memory of the CPU that can be pinned: 300\.00 MiB"):
        staging.upload(batch)
    small = np.float32([1, 2, 3])
    np.testing.assert_array_equal(staging.upload(small)[0].numpy(), small)


# ------------------------------------------------------------------------------------ processes

FORK = """
import os
import numpy as np
import sixloop
from sixloop import ops

x = sixloop.Tensor([1.0, -2.0]).to("cuda")
model = sixloop.nn.Sequential([sixloop.nn.Dense(2)], input_shape=3).to("cuda")
model(np.ones((1, 3), np.float32))

def child():
    assert not sixloop.cuda.is_available()
    why = sixloop.cuda.why()
    assert "before this process was forked" in why and "spawn" in why, why
    for call in (
        lambda: ops.relu(x),
        lambda: x.numpy(),
        lambda: x.to("cpu"),
        lambda: x.__dlpack__(),
        lambda: sixloop.zeros((2,), device="cuda"),
        lambda: sixloop.Tensor([1.0]).to("cuda"),
        lambda: model(np.ones((1, 3), np.float32)),
        lambda: sixloop.Trainer(model),
        lambda: sixloop.Trainer(model, device="cuda"),
        sixloop.cuda.synchronize,
        sixloop.cuda.memory_stats,
        lambda: sixloop.cuda.set_stream(1),
    ):
        try:
            call()
        except RuntimeError as error:
            assert "forked" in str(error), error
        else:
            raise AssertionError("no error")
    assert ops.relu(np.float32([1, -2])).tolist() == [1, 0]  # the CPU is still there
    y = x.reshape(2, 1)
    del y

pid = os.fork()
if pid == 0:
    status = 1
    try:
        child()
        status = 0
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        os._exit(status)
assert os.waitpid(pid, 0)[1] == 0
assert ops.relu(x).numpy().tolist() == [1, 0]
"""


def test_a_fork_after_cuda_was_initialised():
    run(FORK)


def test_a_fork_before():
    """A child may be the first to use CUDA."""
    run(
        "import os, sixloop\n"
        "pid = os.fork()\n"
        "y = sixloop.ops.relu(sixloop.Tensor([1.0, -2.0]).to('cuda')).numpy().tolist()\n"
        "assert y == [1, 0]\n"
        "if pid == 0:\n"
        "    os._exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
    )


OLD = """
import sixloop
from sixloop import ops
assert not sixloop.cuda.is_available()
why = sixloop.cuda.why()
assert "has compute capability 7.5, 8.0 is the least" in why, why
model = sixloop.nn.Sequential([sixloop.nn.Dense(2)], input_shape=3)
for call in (
    lambda: ops.cast(sixloop.zeros((2,), device="cuda"), "bfloat16"),
    lambda: sixloop.empty((2,), "bfloat16", device="cuda"),
    lambda: model.to("cuda", precision="bf16"),
    lambda: sixloop.Trainer(model, device="cuda", precision="bf16"),
):
    try:
        call()
    except RuntimeError as error:
        assert why in str(error), error
    else:
        raise AssertionError("no error")
try:
    sixloop.Trainer(model, precision="bf16")
except ValueError as error:
    assert "bf16" in str(error), error
else:
    raise AssertionError("bfloat16 on the CPU")
assert sixloop.Trainer(model).device == "cpu"
"""


@emulated
def test_bfloat16_on_an_old_gpu():
    run(OLD, SIXLOOP_SIMT_CAPABILITY="75")


@emulated
def test_streams_that_are_none():
    own = sixloop.cuda.current_stream()
    with pytest.raises(RuntimeError, match=r"\[cuda.set_stream\] 4096 is not a stream of this"):
        sixloop.cuda.set_stream(4096)
    with pytest.raises(RuntimeError, match="invalid resource handle"):
        sixloop.zeros((2,), device="cuda").__dlpack__(stream=4096)
    with pytest.raises(RuntimeError, match="is not a stream"), sixloop.cuda.stream(4096):
        raise AssertionError("never comes here")
    assert sixloop.cuda.current_stream() == own
    assert ops.relu(sixloop.Tensor([2.0]).to("cuda")).item() == 2


def test_every_launch_waited_for():
    """The switch for finding the op that made an error changes no result."""
    run(
        "import numpy as np, sixloop\n"
        "x = np.arange(-5, 5, dtype=np.float32)\n"
        "y = sixloop.ops.relu(sixloop.Tensor(x).to('cuda'))\n"
        "assert (y.numpy() == np.maximum(x, 0)).all()\n",
        SIXLOOP_CUDA_SYNC="1",
    )
