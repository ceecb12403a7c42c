"""These tests run where there is a GPU, or a build whose GPU is the emulator of tests/simt."""

import os
import zlib
from collections import defaultdict

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


# A test of fewer cases than this belongs to every share.
DEALT_CASES = 9


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves one share of each test's cases, of shares like SIXLOOP_TEST_SHARE=0/3.

    With another SIXLOOP_SIMT_SEED for every share, as .ci/run has it, each test has its cases
    under several orders of threads. Which, its name decides, so that no parameter has one alone.
    """
    share, _, shares = os.environ.get("SIXLOOP_TEST_SHARE", "0/1").partition("/")
    tests = defaultdict(list)
    for item in items:
        if item.path.parent == config.rootpath / "tests" / "cuda":
            tests[item.nodeid.partition("[")[0]].append(item)
    left_out = set()
    for cases in tests.values():
        if len(cases) < DEALT_CASES:
            continue
        cases.sort(key=lambda item: zlib.crc32(item.nodeid.encode()))
        left_out |= {item for i, item in enumerate(cases) if i % int(shares) != int(share)}
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]
