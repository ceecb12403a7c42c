"""What CMake decides about CUDA before anything is compiled."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("c++") is None,
    reason="no CMake or no C++ compiler",
)


def configure(tmp_path, *options):
    """Configures the library alone on a machine without nvcc."""
    return subprocess.run(
        ["cmake", "-S", str(ROOT), "-B", str(tmp_path), "-DSIXLOOP_PYTHON=OFF", *options],
        env={**os.environ, "CUDACXX": str(tmp_path / "no-nvcc")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_cuda_that_is_asked_for_needs_nvcc(tmp_path):
    result = configure(tmp_path, "-DSIXLOOP_CUDA=ON")
    assert result.returncode != 0
    assert "SIXLOOP_CUDA=ON, but no nvcc was found: set CUDACXX" in " ".join(result.stderr.split())


@pytest.mark.parametrize("options", [[], ["-DSIXLOOP_CUDA=AUTO"], ["-DSIXLOOP_CUDA=OFF"]])
def test_without_nvcc_there_is_the_cpu(tmp_path, options):
    result = configure(tmp_path, *options)
    assert result.returncode == 0, result.stderr
    assert "sixloop: CUDA kernels OFF" in result.stdout
    assert "CMake Warning" not in result.stderr


def test_unknown_values(tmp_path):
    result = configure(tmp_path, "-DSIXLOOP_CUDA=MAYBE")
    assert result.returncode != 0
    assert "SIXLOOP_CUDA must be AUTO, ON, OFF or EMULATE; got MAYBE" in result.stderr
