"""The cases that bench/gpu_check.py checks and times run, and those with results pass."""

import importlib.util
import sys
from pathlib import Path

import pytest

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
