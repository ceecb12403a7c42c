"""bench/gpu_check.py without a GPU: deadlines, rows of parts that are killed, verdicts."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import sixloop

BENCH = Path(__file__).resolve().parent.parent / "bench"


def load(name):
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


gpu_check, parts = load("gpu_check"), load("_gpu_parts")


def python(code):
    """A command whose arguments after the code are in sys.argv."""
    return [sys.executable, "-c", code]


# ----------------------------------------------------------------------------------- processes


def test_all_parts_fit_the_time():
    seconds = 5 + gpu_check.BUILD_SECONDS + sum(part.seconds for part in gpu_check.PARTS)
    assert seconds <= gpu_check.TOTAL_SECONDS + 10 <= 600
    own = {"golden", "tests", "sanitizer"}
    assert {part.name for part in gpu_check.PARTS} == own | set(parts.PARTS)


def test_a_part_that_hangs_is_killed_with_its_children_and_keeps_its_rows(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "with open(sys.argv[2], 'w') as f:\n"
        '    f.write(\'{"name": "first"}\\n{"name": "sec\')\n'
        "print('so far')\n"
        "sys.stdout.flush()\n"
        "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    )
    start = time.perf_counter()
    result = gpu_check.run_rows(python(code), tmp_path / "rows.jsonl", 3)
    assert time.perf_counter() - start < 30
    assert result["rows"] == [{"name": "first"}]
    assert result["ended"] == "killed after 3 s"
    assert result["output"] == ["so far"]


def test_a_part_that_fails_tells_its_last_lines(tmp_path):
    result = gpu_check.run_rows(python("raise SystemExit('why')"), tmp_path / "rows.jsonl", 60)
    assert result["ended"] == "exit status 1"
    assert result["output"] == ["why"]
    assert result["rows"] == []


def test_a_program_that_is_not_there_is_told():
    ended, output = gpu_check.run(["/no/such/program"], 5)
    assert ended.startswith("FileNotFoundError")
    assert output == ""


def test_the_report_is_on_disk_after_each_part(tmp_path):
    report = gpu_check.Report(tmp_path / "out")
    report.add("one", {"rows": []})
    assert json.loads(report.path.read_text())["parts"] == {"one": {"rows": []}}
    report.add("two", {"not run": "no time left"})
    assert list(json.loads(report.path.read_text())["parts"]) == ["one", "two"]


def test_no_part_starts_when_the_time_is_over(tmp_path):
    report = gpu_check.Report(tmp_path)
    gpu_check.run_all(report, dry=True, start=time.perf_counter() - gpu_check.TOTAL_SECONDS)
    values = report.values["parts"].values()
    assert len(values) == len(gpu_check.PARTS)
    assert all(value == {"not run": "no time left"} for value in values)


def test_without_a_gpu_every_part_says_why_and_the_command_fails(tmp_path):
    if sixloop.cuda.is_available():
        pytest.skip("there is a GPU")
    command = [sys.executable, BENCH / "gpu_check.py", "--part", "accuracy", "--dry-run"]
    subprocess.run([*command, "--rows", tmp_path / "rows"], check=True, timeout=120)
    rows = gpu_check.read_rows(tmp_path / "rows")
    assert rows
    assert all("failed" in row or "not run" in row for row in rows)
    assert gpu_check.failures({"accuracy": {"rows": rows}})


# -------------------------------------------------------------------------------------- verdicts


def test_wrong_results_are_seen():
    right = np.arange(1.0, 13.0).reshape(3, 4)
    assert parts.error_of(right.astype(np.float32), right) == 0
    wrong = right.copy()
    wrong[2, 3] *= 1 + 1e-3
    assert parts.error_of(wrong, right) > parts.limit_of("fp32", 12)
    assert parts.error_of(right.T, right) == math.inf
    for value in (math.nan, math.inf):
        unwritten = right.copy()
        unwritten[0, 1] = value
        assert parts.error_of(unwritten, right) == math.inf


def test_limits_grow_with_the_terms_of_fp32_alone():
    assert parts.limit_of("fp32", 1) == 5e-6
    assert parts.limit_of("fp32", 10**6) == pytest.approx(1e-4)
    assert parts.limit_of("tf32", 10**6) == 1e-3
    assert parts.limit_of("bf16", 10**6) == 1e-2


def test_failures_are_named():
    good = {"name": "gemm", "error": 1e-7, "limit": 1e-6, "same_bits": True, "passed": True}
    bad = {**good, "name": "conv", "error": 1e-3, "same_bits": False, "passed": False}
    found = gpu_check.failures(
        {
            "device": "none",
            "golden": {"vectors": 8, "differ": ["mma_bf16"], "ended": ""},
            "accuracy": {"rows": [good, bad]},
            "products": {"rows": [{"name": "p", "failed": "RuntimeError: x", "passed": False}]},
            "memory": {"rows": [], "ended": "killed after 30 s"},
            "tests": {
                "a.py": {"passed": True, "last": "3 passed"},
                "b.py": {"passed": False, "last": "1 failed"},
            },
        }
    )
    assert found == [
        "golden: mma_bf16 is not what it was",
        "accuracy: conv: error 1.0e-03 of 1.0e-06, bits differ between runs",
        "products: p: RuntimeError: x",
        "memory: killed after 30 s",
        "b.py: 1 failed",
    ]
    assert gpu_check.failures({"accuracy": {"rows": [good]}}) == []


def test_an_op_that_fails_does_not_end_its_part():
    case = parts.Case("add", 1.0, ((2,),), None, None)

    def fail():
        raise RuntimeError("sticky")

    row = parts.attempt(case, fail)
    assert row["failed"] == "RuntimeError: sticky"
    assert not row["passed"]
    assert parts.attempt(case, lambda: {"passed": True})["passed"]


# --------------------------------------------------------------------------------------- tables


def test_the_table_has_the_slowest_first_and_counts_what_did_not_run():
    rows = [
        {
            "name": "gemm fp32",
            "work": 2e9,
            "target": 0.85,
            "sixloop_us": 1000,
            "torch_us": 900,
            "ratio": 0.9,
        },
        {
            "name": "relu fp32",
            "work": -1e6,
            "target": 0.95,
            "sixloop_us": 10,
            "torch_us": 8,
            "ratio": 0.8,
        },
        {"name": "gemm bf16", "work": 2e9, "not run": "this build has no bfloat16"},
    ]
    lines = gpu_check.table(rows, {"fp32": 4e12, "copy": 1e12}).splitlines()
    assert " ".join(lines[1].split()) == "relu fp32 10.0 8.0 0.80 0.00 10.0% 0.95 below"
    assert " ".join(lines[2].split()) == "gemm fp32 1,000.0 900.0 0.90 0.00 50.0% 0.85 ok"
    assert lines[3] == "1 not run: this build has no bfloat16"


def test_the_steps_table_has_ratios_to_ours():
    rows = [
        {"name": "lenet5 b128 bf16", "library": "sixloop", "ms": 2.0},
        {"name": "lenet5 b128 bf16", "library": "torch", "ms": 5.0},
        {"name": "vgg11 b256 bf16", "library": "sixloop", "failed": "out of memory"},
        {"name": "vgg11 b256 bf16", "library": "torch", "ms": 7.0},
        {"name": "mlp b8 bf16", "library": "sixloop", "ms": 2.0},
        {"name": "mlp b8 bf16", "library": "torch", "ms": 5.0, "target": 2.6},
        {"name": "mlp b8 bf16", "library": "torch.compile", "ms": 1.8, "target": 0.85},
    ]
    lines = gpu_check.steps_table(rows).splitlines()
    assert lines[1].split() == ["lenet5", "b128", "bf16", "2.000", "2.50", "-"]
    assert lines[2].split() == ["vgg11", "b256", "bf16", "-", "-", "-"]
    assert " ".join(lines[3].split()) == "mlp b8 bf16 2.000 2.50 below 0.90 ok"


def test_the_means_are_geometric():
    rows = [
        {"name": "conv2d 1x1 bf16", "ratio": 0.5},
        {"name": "conv2d 3x3 bf16", "ratio": 2.0},
        {"name": "conv2d 3x3 fp32", "ratio": 0.7},
        {"name": "conv2d 5x5 fp32", "failed": "out of memory"},
    ]
    lines = gpu_check.means_table(rows).splitlines()
    assert lines[1].split() == ["conv2d", "bf16", "2", "1.00", "0.50"]
    assert lines[2].split() == ["conv2d", "fp32", "1", "0.70", "0.70"]


def test_the_last_part_has_what_is_left_and_may_be_killed():
    assert gpu_check.PARTS[-1].name == "compiled"
    assert gpu_check.failures({"compiled": {"rows": [], "ended": "killed after 90 s"}}) == []


# ---------------------------------------------------------------------------------------- cases


def test_cases_have_the_shapes_of_both_libraries():
    for family in parts.FAMILIES.values():
        for case in [*family(False), *family(True)]:
            assert case.work
            assert case.terms >= 1
            assert all(len(case.shapes[i]) == 4 for i in (*case.images, *case.filters))
    names = [case.label for family in parts.FAMILIES.values() for case in family(False)]
    assert len(names) == len(set(names))


def test_inputs_rotate_past_the_cache():
    assert parts.set_count(1) == 16
    assert parts.set_count(parts.ROTATED_BYTES // 3) == 3
    assert parts.set_count(10 * parts.ROTATED_BYTES) == 1
    sets = parts.rotating([[1], [2]])
    assert [next(sets) for _ in range(3)] == [[1], [2], [1]]


def test_times_alternate_and_have_ratios():
    calls = []
    runners = {
        "sixloop": parts.Runner(lambda: calls.append("s"), lambda: None),
        "torch": parts.Runner(lambda: calls.append("t"), lambda: None, lambda: calls.append("p")),
    }
    row = parts.alternate(runners, turn=0.0, turns=2)
    assert "".join(calls[-6:]).endswith("pt")
    assert "".join(calls).count("p") == 3
    assert set(row) == {"sixloop_us", "torch_us", "spread", "ratio"}


@pytest.mark.parametrize("family", ["products", "convolutions", "memory"])
def test_torch_computes_the_same(family, rng):
    torch = pytest.importorskip("torch")
    for case in parts.FAMILIES[family](True):
        if case.precision != "fp32":
            continue
        arrays = case.arrays(rng)
        copies = [torch.from_numpy(array.copy()) for array in arrays]
        theirs = case.theirs(torch, *case.theirs_ready(torch, case.for_torch(torch, copies)))
        theirs = theirs.detach()
        ours = case.ours(*case.ready(arrays))
        ours = ours[0] if isinstance(ours, tuple) else ours
        if theirs.ndim == 4:
            is_filters = "grad_weight" in case.name
            theirs = theirs.permute((2, 3, 1, 0) if is_filters else (0, 2, 3, 1))
        assert parts.error_of(theirs.numpy(), ours) < parts.limit_of("fp32", case.terms), case.name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_torch_trains_the_same_network(precision, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(BENCH)
    assert parts.torch_step(torch, False, "lenet5", {}, 4, precision, device="cpu") > 0
