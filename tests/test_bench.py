"""`sixloop bench`: what it times, that it refuses wrong results, what it writes."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sixloop import cli, ops
from sixloop.bench import report, roofline, runner, shapes, timing, verify
from sixloop.bench.cases import DEFAULT, FAMILIES, PASSES, cases, prepare
from sixloop.bench.shapes import NETWORKS, Convolution, convolutions
from test_cli import fail, run

ROOT = Path(__file__).resolve().parent.parent
# Small enough to run in every test: LeNet-5's layers, and the smallest of each other family.
FAST = ("--only", "conv2d,lenet", "--net", "lenet5", "--seconds", "0.001")
NEEDS_TORCH = "could not import 'torch': its part of the comparison does not run"


@pytest.fixture(autouse=True)
def _own_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# ---------------------------------------------------------------------------------------- what


def test_every_family_has_cases_with_names_of_their_own():
    for family in FAMILIES:
        found = list(cases([family]))
        assert found, family
        assert {case.family for case in found} <= set(FAMILIES[family])
        names = [(case.family, case.name) for case in found]
        assert len(set(names)) == len(names)
    assert set(DEFAULT) == {*FAMILIES} - {"direct"}


def test_shapes_are_those_of_the_published_networks():
    vgg = dict(convolutions("vgg16"))
    assert len(vgg) == 9  # of 13: table 1 of Simonyan and Zisserman repeats some
    assert vgg["features.12"] == Convolution(
        2, 56, 56, 256, 256, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1
    )
    stem = dict(convolutions("resnet50"))["conv1"]
    assert str(stem) == "8x224x224x3, 7x7 to 64, stride 2, padding 3"
    assert stem.y_shape == (8, 112, 112, 64)
    # He et al., table 1: 3.8e9 multiply-adds an image, 118 million of them in the first layer.
    assert stem.flop == 2 * 8 * 112 * 112 * 64 * 147
    for network, chosen in NETWORKS.items():
        assert {shape.n for _, shape in convolutions(network)} == {chosen.batch}
    assert {shape.n for _, shape in convolutions("lenet5", 3)} == {3}


def test_flop_of_a_network_are_its_multiply_adds():
    from sixloop import models

    model = models.define("vgg16")
    flop = sum(shape.flop for _, shape in shapes.walk(model, 1))
    dense = 25_088 * 4096 + 4096 * 4096 + 4096 * 1000
    assert flop == 2 * (model.summary().multiply_adds - dense)


def test_first_layers_have_no_input_gradient():
    found = list(cases(["conv2d"], ["vgg16"]))
    assert not [c for c in found if c.family == "grad_input" and "features.0" in c.name]
    assert len(found) == 3 * 9 - 1
    assert {c.family for c in cases(["conv2d"], ["vgg16"], ["forward"])} == {"forward"}


def test_shape_files_are_current():
    check = [sys.executable, ROOT / "bench/write_shapes.py", "--check"]
    subprocess.run(check, check=True, cwd=ROOT)
    for line in (ROOT / "bench/shapes/resnet50.txt").read_text().splitlines():
        assert line.startswith("# ") or re.fullmatch(r"\S+( \d+){14}", line)


# ------------------------------------------------------------------------------------ verification

SMALL = [
    *cases(["conv2d", "direct"], ["lenet5"]),
    *cases(["lenet"]),
    next(cases(["gemm"])),
    *[c for c in cases(["pool2d"]) if "16x28x28" in c.name or "8x55x55" in c.name],
    *[c for c in cases(["softmax"]) if "50000" not in c.name],
    *[c for c in cases(["batch_norm"]) if "8x14x14" in c.name],
]


@pytest.mark.parametrize("case", SMALL, ids=lambda case: f"{case.family} {case.name}")
def test_verifier_takes_the_right_answer_and_no_other(case):
    work = prepare(case)
    results = [np.array(r, np.float64) for r in work.result()]
    verify.check_samples(case.name, results, work.samples())
    for output in {sample.output for sample in work.samples()}:
        wrong = [r.copy() for r in results]
        wrong[output] *= 1.001
        with pytest.raises(ValueError, match=f"result {output} differs from the definition by"):
            verify.check_samples(case.name, wrong, work.samples())
        wrong[output][...] = np.nan
        with pytest.raises(ValueError, match="so it is not timed"):
            verify.check_samples(case.name, wrong, work.samples())


@pytest.mark.parametrize("which", PASSES)
def test_verifier_knows_strides_padding_dilation_and_groups(which, rng):
    shape = Convolution(2, 9, 11, 6, 4, (3, 2), (2, 3), ((1, 2), (0, 1)), (2, 1), 2)
    x, w, dy = (
        rng.standard_normal(size).astype(np.float32)
        for size in (shape.x_shape, shape.w_shape, shape.y_shape)
    )
    results, samples = {
        "forward": (ops.conv2d(x, w, **shape.options), verify.conv2d(x, w, shape, rng)),
        "grad_input": (
            ops.conv2d_grad_input(dy, w, shape.x_shape, **shape.options),
            verify.conv2d_grad_input(dy, w, shape, rng),
        ),
        "grad_weight": (
            ops.conv2d_grad_weight(x, dy, shape.w_shape, **shape.options),
            verify.conv2d_grad_weight(x, dy, shape, rng),
        ),
    }[which]
    verify.check_samples(which, [results], samples)


def test_verifier_refuses_to_compare_nothing():
    with pytest.raises(ValueError, match="nothing to compare"):
        verify.check_samples("x", [np.zeros(3)], [])


def test_comparison_of_two_libraries_refuses():
    a = np.arange(6.0)
    verify.check_all("x", [a], "other", [a * (1 + 1e-6)])
    with pytest.raises(ValueError, match=r"other's differ by 1\.0e-03"):
        verify.check_all("x", [a], "other", [a * (1 + 1e-3)])
    with pytest.raises(ValueError, match=re.escape("has shape (6,), other's (2, 3)")):
        verify.check_all("x", [a], "other", [a.reshape(2, 3)])


def test_a_wrong_result_is_not_timed(monkeypatch, capsys):
    right = ops.conv2d

    def wrong(*arguments, **options):
        y = right(*arguments, **options)
        y.numpy()[...] += 1
        return y

    monkeypatch.setattr(ops, "conv2d", wrong)
    monkeypatch.setattr(timing, "alternate", lambda *_, **__: pytest.fail("it was timed"))
    code = cli.main(["bench", *FAST, "--pass", "forward"])
    assert code == cli.USAGE_ERROR
    error = capsys.readouterr().err
    assert error.startswith("sixloop: error: [bench] forward lenet5 conv2d_1: result 0 differs")


# ------------------------------------------------------------------------------------- the command


def test_bench_alone(capsys):
    out = run(capsys, "bench", *FAST, "--json", "deep/result.json")
    assert "torch" not in out
    assert re.search(r"forward lenet5 conv2d_2: 64x14x14x6, 5x5 to 16 +direct +[\d.]+ +", out)
    assert "Each of the 9 results was verified before it was timed." in out
    assert re.search(r"^forward +2 shapes; share of the FMA peak: geometric mean \d+%", out, re.M)
    result = json.loads(Path("deep/result.json").read_text())
    assert result["format"] == "sixloop bench"
    assert result["torch"] is None
    assert result["threads"] >= 1
    assert result["memory_gbs"] > 0
    families = [entry["family"] for entry in result["summary"]]
    assert sorted(families) == ["forward", "grad_input", "grad_weight", "lenet"]
    for row in result["rows"]:
        assert set(row["times"]) == {"sixloop"}
        assert row["times"]["sixloop"]["runs"] >= 3
        assert row["ratios"] == {}
        assert row["peak_gflops"] > 0
        if row["family"] == "lenet":
            continue
        assert row["algorithm"] == "direct"
        assert row["network"] == "lenet5"
        # Both sides from numbers of six digits.
        milliseconds = row["times"]["sixloop"]["median_ms"]
        gflops = row["gflops"]["sixloop"]
        assert gflops == pytest.approx(1e3 * row["gflop"] / milliseconds, rel=2e-5)
        assert row["share_of_peak"] == pytest.approx(gflops / row["peak_gflops"], rel=2e-5)


def test_where_memory_decides_the_share_is_that_of_a_copy():
    found = [c for c in cases(["softmax", "gemm"]) if c.name in ("softmax 256x1000", "64x64x64")]
    gemm, softmax = runner.run(found, seconds=0.001)
    assert "share_of_copy" not in gemm
    assert softmax["share_of_copy"] == pytest.approx(
        softmax["gbs"]["sixloop"] / softmax["copy_gbs"]
    )
    assert softmax["bytes"] == 2 * 4 * 256 * 1000
    assert "share_of_peak" not in softmax


def test_summary_names_the_slowest():
    times = {"sixloop": 2.0, "torch_nhwc": 4.0, "torch_nchw": 3.0}
    case = next(cases(["conv2d"], ["lenet5"]))
    made = [
        report.row(
            dataclasses.replace(case, name=name),
            {
                library: timing.Times(median_ms=factor * ms, p20_ms=factor * ms, runs=3)
                for (library, ms), factor in zip(times.items(), (ours, 1, 1), strict=True)
            },
            peak_gflops=100,
        )
        for name, ours in (("fast", 0.5), ("slow", 2))
    ]
    assert [row["ratio"] for row in made] == [3, 0.75]  # to the better layout
    (entry,) = report.summary(made)
    assert entry["shapes"] == 2
    assert entry["ratio"]["slowest"] == 0.75
    assert entry["ratio"]["slowest_name"] == "slow"
    assert entry["ratio"]["geometric_mean"] == pytest.approx(math.sqrt(3 * 0.75))
    (line,) = report.summary_lines(made)
    assert "2 shapes; better peer's time / ours: geometric mean 1.50, slowest 0.75 (slow)" in line


def test_roofline(capsys):
    pytest.importorskip("matplotlib")
    out = run(capsys, "bench", *FAST, "--plot", "roofline.png")
    assert "roofline drawn in roofline.png" in out
    data = Path("roofline.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(data[16:20], "big") > 500  # pixels
    with pytest.raises(ValueError, match="gemm, conv2d or direct"):
        roofline.plot([], "empty.png", memory_gbs=10)


def test_roofline_without_matplotlib(capsys, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "pip install 'sixloop[plot]'" in fail(capsys, "bench", *FAST, "--plot", "roofline.png")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--only", "gem"],
            "--only takes gemm, conv2d, direct, pool2d, softmax, batch_norm, lenet",
        ),
        (
            ["--net", "vgg17"],
            "--net takes alexnet, vgg16, googlenet, resnet50, densenet121, lenet5",
        ),
        (["--pass", "backward"], "--pass takes forward, grad_input, grad_weight; got 'backward'"),
        (["--seconds", "0"], "invalid positive number value: '0'"),
        (["--vs", "caffe"], "invalid choice: 'caffe'"),
        (["--json", "."], "."),
        (["--only", "lenet", "--plot", "x.png"], "--plot draws gemm, conv2d and direct"),
    ],
)
def test_errors_are_one_line(capsys, arguments, message):
    assert message in fail(capsys, "bench", *arguments)


def test_torch_is_imported_only_where_it_is_asked_for():
    code = (
        "import sys; from sixloop import cli;"
        f"code = cli.main(['bench', *{FAST!r}]);"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_missing_torch_is_one_line(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    message = fail(capsys, "bench", *FAST, "--vs", "torch")
    assert message == (
        "sixloop: error: --vs torch needs PyTorch, which is not installed: pip install torch\n"
    )


def test_restart_only_where_the_environment_is_another(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "execv", lambda *arguments: calls.append(arguments))
    for key, value in timing.ENVIRONMENT.items():
        monkeypatch.setenv(key, value)
    timing.restart_with_environment()
    assert not calls
    monkeypatch.delenv("OPENBLAS_THREAD_TIMEOUT")
    timing.restart_with_environment()
    assert calls == [(sys.executable, [sys.executable, *sys.orig_argv[1:]])]
    assert timing.is_environment_set()


# -------------------------------------------------------------------------------------- with torch


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


@pytest.mark.skipif(not has_torch(), reason=NEEDS_TORCH)
def test_every_kind_of_case_has_peers_that_agree():
    from sixloop.bench import torch_peer

    kinds = {case.op: case for case in SMALL}
    assert len(kinds) == 13
    for case in kinds.values():
        work = prepare(case)
        results = list(work.result())
        found = torch_peer.peers(case, work)
        assert {"torch_nhwc", "torch_nchw"} <= set(found) or "torch" in found
        for name, other in found.items():
            theirs = [np.array(r) for r in other.result()]
            verify.check_all(case.name, results[: len(theirs)], name, theirs)
            wrong = [r * 1.01 for r in theirs]
            with pytest.raises(ValueError, match="differ by"):
                verify.check_all(case.name, results[: len(theirs)], name, wrong)
            other.run()


@pytest.mark.skipif(not has_torch(), reason=NEEDS_TORCH)
def test_bench_beside_torch():
    """In a process of its own: the command starts itself anew with the peers' environment."""
    command = [sys.executable, "-m", "sixloop", "bench", *FAST, "--vs", "torch"]
    environment = {k: v for k, v in os.environ.items() if k not in timing.ENVIRONMENT}
    done = subprocess.run(
        [*command, "--json", "result.json"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"forward +2 shapes; better peer's time / ours: geometric mean", done.stdout)
    result = json.loads(Path("result.json").read_text())
    assert result["environment_set"]
    assert result["torch"]
    for row in result["rows"]:
        assert set(row["times"]) == {"sixloop", "torch_nhwc", "torch_nchw"}
        assert row["ratio"] == min(row["ratios"].values())
