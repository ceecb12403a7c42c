"""These tests run where there is a GPU, or a build whose GPU is the emulator of tests/simt."""

import pytest

import sixloop


@pytest.fixture(autouse=True)
def _gpu():
    if sixloop.cuda.why():
        pytest.skip(f"no CUDA: {sixloop.cuda.why()}")
