"""Ops from many Python threads, across fork, and without the GIL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import sixloop
from comparators import assert_same_bits
from sixloop import ops


def _work(rng):
    """A function that uses several ops, each large enough for several threads."""
    x = rng.normal(size=(4, 20, 18, 16)).astype(np.float32)
    w = rng.normal(size=(3, 3, 16, 24)).astype(np.float32)
    a, b = rng.normal(size=(2, 150, 150)).astype(np.float32)
    ones, zeros = np.ones(24, np.float32), np.zeros(24, np.float32)

    def work() -> list[np.ndarray]:
        y = ops.conv2d(x, w, padding=1)
        z, mean, variance = ops.batch_norm(y, ones, zeros, activation="relu")
        return [
            y,
            z,
            ops.max_pool2d(z, 2),
            ops.conv2d_grad_weight(x, z, w.shape, padding=1),
            ops.conv2d_grad_input(z, w, x.shape, padding=1),
            *ops.batch_norm_grad(z, y, ones, mean, variance),
            ops.gemm(a, b),
            ops.bias_grad(y),
        ]

    return work


@pytest.mark.parametrize("pool_threads", [1, 2, 5])
def test_many_python_threads_get_the_same_bits(rng, pool_threads):
    work = _work(rng)
    expected = work()
    with sixloop.num_threads(pool_threads), ThreadPoolExecutor(8) as executor:
        for future in [executor.submit(work) for _ in range(40)]:
            assert_same_bits(future.result(), expected)


def test_settings_may_change_under_way(rng):
    work = _work(rng)
    expected = work()
    stop = threading.Event()
    threads, machine = sixloop.get_num_threads(), sixloop.isa()

    def change() -> None:
        count = 0
        while not stop.is_set():
            count += 1
            sixloop.set_num_threads(1 + count % 5)
            sixloop.set_isa(sixloop.available_isas()[count % len(sixloop.available_isas())])
            time.sleep(0.0005)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(30):
            assert_same_bits(work(), expected)
    finally:
        stop.set()
        changer.join()
        sixloop.set_num_threads(threads)
        sixloop.set_isa(machine)


def _wait(child: int) -> int:
    """The exit status of a child; one that hangs is killed after 30 s."""
    for _ in range(3000):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child of fork hangs")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("busy", [False, True])
def test_fork(rng, busy):
    """A child computes with threads of its own, whatever threads were at work in the parent."""
    work = _work(rng)
    with sixloop.num_threads(3):
        expected = work()
        stop = threading.Event()

        def keep_busy() -> None:
            while not stop.is_set():
                work()

        workers = [threading.Thread(target=keep_busy) for _ in range(2 if busy else 0)]
        for worker in workers:
            worker.start()
        try:
            for _ in range(5):
                child = os.fork()
                if child == 0:
                    code = 1
                    try:
                        for _ in range(3):
                            assert_same_bits(work(), expected)
                        code = 0
                    finally:
                        os._exit(code)
                assert _wait(child) == 0
                assert_same_bits(work(), expected)
        finally:
            stop.set()
            for worker in workers:
                worker.join()


def test_the_gil_is_released():
    """While one thread is inside a long op, another one runs Python."""
    a = np.ones((400, 400))
    ticks = []
    running = threading.Event()
    done = threading.Event()

    def tick() -> None:
        running.set()
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    ticker = threading.Thread(target=tick)
    ticker.start()
    running.wait()
    try:
        with sixloop.num_threads(1), sixloop.force_isa("scalar"):
            begin = time.perf_counter()
            ops.gemm(a, a)
            end = time.perf_counter()
    finally:
        done.set()
        ticker.join()
    inside = sum(begin + 0.01 < t < end - 0.01 for t in ticks)
    assert inside >= 3, f"{inside} ticks within {end - begin:.3f} s"


def test_exceptions_leave_the_pool_usable(rng):
    work = _work(rng)
    expected = work()
    for _ in range(20):
        with pytest.raises(ValueError):
            ops.gemm(np.ones((2, 3), np.float32), np.ones((2, 3), np.float32))
        with pytest.raises(MemoryError):
            ops.gemm(np.ones((2**21, 1), np.float32), np.ones((1, 2**21), np.float32))
    assert_same_bits(work(), expected)


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_environment_variables():
    show = "import sixloop; print(sixloop.isa(), sixloop.get_num_threads())"
    result = _python(show, SIXLOOP_ISA="scalar", SIXLOOP_NUM_THREADS="3")
    assert result.stdout.split() == ["scalar", "3"], result.stderr
    for variable, bad in [
        ("SIXLOOP_ISA", "sse9"),
        ("SIXLOOP_NUM_THREADS", "0"),
        ("SIXLOOP_NUM_THREADS", "many"),
        ("SIXLOOP_NUM_THREADS", "2x"),
        ("SIXLOOP_NUM_THREADS", "99999999999999999999"),
    ]:
        result = _python(show, **{variable: bad})
        assert result.returncode == 1, (variable, bad)
        assert bad in result.stderr and ("scalar" in result.stderr or variable in result.stderr)


def test_exit_while_threads_compute():
    """The interpreter may end while daemon threads are inside ops."""
    code = """
import threading, numpy as np
from sixloop import ops
a = np.ones((300, 300), np.float32)
def forever():
    while True:
        ops.gemm(a, a)
for _ in range(4):
    threading.Thread(target=forever, daemon=True).start()
ops.gemm(a, a)
print("end")
"""
    for _ in range(3):
        result = _python(code, SIXLOOP_NUM_THREADS="3")
        assert (result.returncode, result.stdout) == (0, "end\n"), result
