"""These tests run where there is a GPU, or a build whose GPU is the emulator of tests/simt."""

import os

import pytest

import sixloop


@pytest.fixture(autouse=True)
def _gpu():
    why = sixloop.cuda.why()
    if why:
        # .ci/run asks for them: there, a build without its emulator must not pass by skipping.
        assert os.environ.get("SIXLOOP_TEST_CUDA") != "1", why
        pytest.skip(f"no CUDA: {why}")


@pytest.fixture(autouse=True)
def _capability():
    """A test may choose what GPU the emulator is."""
    name = "SIXLOOP_SIMT_CAPABILITY"
    before = os.environ.get(name)
    yield
    if before is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = before
