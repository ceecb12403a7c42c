"""What users read who have no GPU. Runs everywhere: a child process is told that there is none."""

import os
import subprocess
import sys

PROGRAM = """
import numpy as np
import sixloop
assert not sixloop.cuda.is_available()
why = sixloop.cuda.why()
assert why
model = sixloop.nn.Sequential([sixloop.nn.Dense(2)], input_shape=3)
for call in (
    lambda: sixloop.zeros((2,)).to("cuda"),
    lambda: sixloop.zeros((2,), device="cuda"),
    lambda: sixloop.empty((2,), device="cuda"),
    sixloop.cuda.device_name,
    sixloop.cuda.compute_capability,
    sixloop.cuda.memory_stats,
    sixloop.cuda.synchronize,
    sixloop.cuda.current_stream,
    sixloop.cuda.empty_cache,
    sixloop.cuda.check_guards,
    lambda: sixloop.cuda.set_guards(True),
    lambda: sixloop.cuda.set_stream(1),
    lambda: model.to("cuda"),
    lambda: sixloop.Trainer(model, device="cuda"),
    lambda: sixloop.ops.random_normal((2,), 0, 1, seed=1, purpose=1, device="cuda"),
):
    try:
        call()
    except RuntimeError as error:
        assert "not available: " + why in str(error), error
    else:
        raise AssertionError("no error")
assert model.device == sixloop.Trainer(model).device == "cpu"
t = sixloop.zeros((2,))
assert t.device == "cpu" and t.to("cpu").device == "cpu"
assert sixloop.ops.relu(np.float32([1, -1])).tolist() == [1, 0]
print(why)
"""


def test_without_a_gpu():
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "SIXLOOP_SIMT_NO_DRIVER": "1"}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    reasons = ("no CUDA", "no NVIDIA driver", "NVIDIA driver is for CUDA", "no device", "cuda")
    assert any(reason in result.stdout for reason in reasons), result.stdout
