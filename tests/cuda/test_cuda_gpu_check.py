"""The cases that bench/gpu_check.py checks and times run, and those with results pass."""

import importlib.util
import sys
from pathlib import Path

import pytest

import sixloop
from on_cuda import Displaced
from sixloop import ops

FILE = Path(__file__).resolve().parents[2] / "bench" / "_gpu_parts.py"


@pytest.fixture(scope="module")
def gpu_parts():
    spec = importlib.util.spec_from_file_location(FILE.stem, FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[FILE.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("part", ["accuracy", "products", "convolutions", "memory"])
def test_tiny_shapes(gpu_parts, part):
    rows = list(gpu_parts.PARTS[part](True))
    assert rows
    for row in rows:
        assert "failed" not in row, row
        assert row["passed"] if part == "accuracy" else row["sixloop_us"] > 0, row


def test_a_wrong_result_does_not_pass(gpu_parts):
    right = next(iter(gpu_parts.accuracy_cases(True)))
    calls = []

    def wrong(*arguments, **options):
        calls.append(None)
        return right.ours(*arguments, **options) if len(calls) == 1 else arguments[0]

    case = gpu_parts.Case(right.name, right.work, right.shapes, wrong, None)
    rng = gpu_parts.np.random.default_rng(0)
    assert not gpu_parts.attempt(case, lambda: gpu_parts.accuracy_of(case, rng))["passed"]


def write(x, first, count):
    """A kernel writes zeros from the first element on, counted from where x begins."""
    view = ops.cast(Displaced(x, first, count), "float32")  # shares its memory
    ops.cast_into(sixloop.zeros((count,), device="cuda"), view)


def beyond_the_result(y, x):
    write(y, y.size, 1)


def far_before_the_result(y, x):
    write(y, -1000, 2)


def beyond_an_operand(y, x):
    write(x, x.size + 3, 1)


def beyond_what_is_gone(y, x):
    write(sixloop.zeros((3, 5), device="cuda"), 13, 17)


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (beyond_the_result, "4 bytes behind an array of 2016 bytes, the nearest 0 after its end"),
        (far_before_the_result, "8 bytes before an array of 2016 bytes, the nearest 3993 before"),
        (beyond_an_operand, "4 bytes behind an array of 2016 bytes, the nearest 12 after its end"),
        (beyond_what_is_gone, "60 bytes behind an array of 60 bytes, the nearest 0 after its end"),
    ],
)
def test_a_write_beyond_an_array_does_not_pass(gpu_parts, plant, message):
    def wrong(x, w, **options):
        y = right.ours(x, w, **options)
        if isinstance(y, sixloop.Tensor):
            plant(y, x)
        return y

    names = {case.label: case for case in gpu_parts.accuracy_cases(True)}
    right = names["conv2d 1x9x7x8 3x3/1 to 8 fp32"]
    case = gpu_parts.Case(right.name, right.work, right.shapes, wrong, None)
    rng = gpu_parts.np.random.default_rng(0)
    row = gpu_parts.attempt(case, lambda: gpu_parts.accuracy_of(case, rng))
    assert not row["passed"]
    assert message in row["failed"]
    # The bands are right again.
    sixloop.cuda.check_guards()
    assert gpu_parts.attempt(right, lambda: gpu_parts.accuracy_of(right, rng))["passed"]


def test_arrays_between_guard_bands_begin_as_nan():
    sixloop.cuda.set_guards(True)
    try:
        for dtype in ("float32", "float64"):
            x = sixloop.empty((3, 5), dtype=dtype, device="cuda")
            assert is_nan(x)
        assert not is_nan(sixloop.zeros((3, 5), device="cuda"))
        before = sixloop.cuda.memory_stats()["allocated"]
        y = sixloop.empty((7,), device="cuda")
        assert y.__cuda_array_interface__["data"][0] % 256 == 0
        assert sixloop.cuda.memory_stats()["allocated"] == before + 28
    finally:
        sixloop.cuda.set_guards(False)
    sixloop.cuda.check_guards()
    del x, y
    with pytest.raises(TypeError, match="on"):
        sixloop.cuda.set_guards(1)


def is_nan(x):
    return bool((x.numpy() != x.numpy()).all())
