"""Seeds, machines to loop over, and the checks that no test passes by testing nothing."""

from __future__ import annotations

import os
import signal
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import numpy as np
import pytest

import sixloop
from comparators import assert_same_bits

SEED = int(os.environ.get("SIXLOOP_TEST_SEED", "20260612"))
THREADS = (1, 2, 3, 7)


# The same examples in every run; `--hypothesis-profile=explore` tries others, and more of them.
hypothesis.settings.register_profile("repeat", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("explore", deadline=None, print_blob=True)
hypothesis.settings.load_profile("repeat")


def pytest_report_header() -> str:
    return (
        f"sixloop {sixloop.__version__}: seed {SEED} (SIXLOOP_TEST_SEED), "
        f"ISAs {', '.join(sixloop.available_isas())}, {sixloop.get_num_threads()} threads"
    )


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_is_heard() -> None:
    """Jobs in the background of a shell ignore SIGINT, and so would every process of the tests."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator of the test's own: the printed seed and the test's name."""
    return np.random.default_rng([SEED, zlib.crc32(request.node.name.encode())])


@pytest.fixture(params=sixloop.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test once with every instruction set of this machine."""
    with sixloop.force_isa(request.param):
        yield request.param


@pytest.fixture(params=THREADS)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Runs the test once with 1, 2, 3 and 7 threads."""
    with sixloop.num_threads(request.param):
        yield request.param


@pytest.fixture
def same_everywhere() -> Callable[[Callable[[], Any]], Any]:
    """Runs a function with every ISA and thread count and demands the bits of scalar, 1 thread.

    The function returns an array or a list of arrays. Returns the result of scalar, 1 thread.
    """

    def run(function: Callable[[], Any]) -> Any:
        with sixloop.force_isa("scalar"), sixloop.num_threads(1):
            expected = function()
        for name in sixloop.available_isas():
            for count in THREADS:
                with sixloop.force_isa(name), sixloop.num_threads(count):
                    assert_same_bits(function(), expected, f"{name}, {count} threads: ")
        return expected

    return run


# ------------------------------------------------------------ a test that runs zero cases must fail


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("skip"):
            if "got empty parameter set" in mark.kwargs.get("reason", ""):
                raise pytest.UsageError(f"{item.nodeid}: parametrised over nothing")


_cases: defaultdict[str, list[str]] = defaultdict(list)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if hasattr(item, "callspec") and (report.skipped or report.when == "call"):
        reason = str(report.longrepr) if report.skipped else ""
        _cases[item.nodeid.partition("[")[0]].append(reason)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails the session where every case of a parametrised test was skipped.

    An optional module that is not installed and a GPU that is not there are good reasons to skip
    them all.
    """
    good = ("could not import", "no CUDA: ")
    empty = [
        name
        for name, reasons in _cases.items()
        if all(reason and not any(why in reason for why in good) for reason in reasons)
    ]
    if empty:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        for name in empty:
            reporter.write_line(f"ERROR {name}: all of its cases were skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
