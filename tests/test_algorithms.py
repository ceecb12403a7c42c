"""What algorithm="auto" stands for: the page of the published networks, and the rule behind it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sixloop
from sixloop import ops
from sixloop.bench.shapes import convolutions

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/algorithms.md"


def test_the_page_is_current():
    check = [sys.executable, ROOT / "tools/write_algorithms.py", "--check"]
    subprocess.run(check, check=True, cwd=ROOT)


# Network, layer, batch: forward, grad_input, grad_weight. Written by hand: a new rule changes them.
EXPECTED = [
    ("alexnet", "features.0", 8, "direct", "direct", "direct"),
    ("alexnet", "features.3", 8, "winograd2x2", "winograd2x2", "winograd2x2"),
    ("alexnet", "features.6", 1, "winograd2x2", "winograd2x2", "winograd2x2"),
    ("alexnet", "features.6", 8, "winograd4x4", "winograd4x4", "winograd4x4"),
    ("vgg16", "features.0", 8, "direct", "direct", "direct"),
    ("vgg16", "features.2", 1, "winograd4x4", "winograd4x4", "winograd4x4"),
    ("vgg16", "features.24", 1, "winograd2x2", "winograd2x2", "winograd2x2"),
    ("googlenet", "inception3a.branch3.1", 8, "winograd2x2", "winograd2x2", "direct"),
    ("googlenet", "inception5b.branch3.1", 1, "winograd2x2", "winograd2x2", "winograd2x2"),
    ("googlenet", "inception5a.branch2.1", 8, "winograd4x4", "winograd4x4", "winograd4x4"),
    ("resnet50", "layer4.1.conv2", 1, "direct", "direct", "direct"),
    ("resnet50", "layer4.1.conv2", 8, "winograd4x4", "winograd4x4", "winograd4x4"),
    ("resnet50", "layer2.0.conv2", 8, "direct", "direct", "direct"),
    (
        *("densenet121", "features.denseblock1.denselayer1.conv2", 1),
        *("winograd4x4", "winograd4x4", "winograd4x4"),
    ),
]


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda e: f"{e[0]} {e[1]} b{e[2]}")
def test_layers_of_published_networks(expected):
    network, layer, batch, *algorithms = expected
    shape = dict(convolutions(network, batch))[layer]
    assert shape.n == batch
    for which, algorithm in zip(("forward", "grad_input", "grad_weight"), algorithms, strict=True):
        arguments = which, shape.x_shape, shape.w_shape
        assert ops.conv2d_algorithm(*arguments, **shape.options) == algorithm
        assert ops.conv2d_plan(*arguments, **shape.options).algorithm == algorithm


# What differs from a 3x3 convolution of (1, 40, 40, 32) to 32 with padding 1, which has 100 tiles.
RULES = [
    ({}, "winograd4x4", "tiles of 4x4: at least 24"),
    ({"h": 12, "w": 31}, "winograd4x4", "tiles of 4x4: at least 24"),
    ({"h": 4, "w": 92}, "winograd2x2", "tiles of 4x4: 23, from 16 to 23"),
    ({"h": 16, "w": 16}, "winograd2x2", "tiles of 4x4: 16, from 16 to 23"),
    ({"h": 12, "w": 20}, "direct", "tiles of 4x4: 15, fewer than 16"),
    ({"c": 15}, "direct", "15 channels, fewer than 16"),
    ({"o": 31, "which": "grad_weight"}, "direct", "31 channels, fewer than 32"),
    ({"o": 31}, "winograd4x4", "tiles of 4x4: at least 24"),
    ({"c": 513}, "direct", "513 channels, more than 512"),
    ({"kernel": (3, 5)}, "direct", "the filter is neither 3x3 nor 5x5"),
    ({"kernel": (5, 5), "h": 9, "w": 10}, "winograd2x2", "tiles of 2x2: at least 16"),
    ({"kernel": (5, 5), "h": 8, "w": 12}, "direct", "tiles of 2x2: 15, fewer than 16"),
    (
        {"kernel": (5, 5), "o": 23, "which": "grad_weight"},
        *("direct", "23 channels, fewer than 24"),
    ),
    ({"kernel": (5, 5), "padding": ((5, 0), (0, 0))}, "direct", "the padding exceeds 4"),
    ({"strides": (1, 2)}, "direct", "the stride is not 1"),
    ({"dilation": (2, 1)}, "direct", "the filter is dilated"),
    ({"groups": 2}, "direct", "the channels are in groups"),
    ({"padding": ((0, 3), (0, 0))}, "direct", "the padding exceeds 2"),
    ({"algorithm": "im2col"}, "im2col", "asked for"),
    ({"algorithm": "winograd2x2"}, "winograd2x2", "asked for"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule[0]))
def test_the_reason_is_that_of_the_decision(rule):
    changes, algorithm, reason = rule
    given = {"h": 40, "w": 40, "c": 32, "o": 32, "kernel": (3, 3), "groups": 1, **changes}
    plan = ops.conv2d_plan(
        changes.get("which", "forward"),
        (1, given["h"], given["w"], given["c"]),
        (*given["kernel"], given["c"] // given["groups"], given["o"]),
        groups=given["groups"],
        **{
            "padding": 1,
            **{k: given[k] for k in ("strides", "padding", "dilation", "algorithm") if k in given},
        },
    )
    assert (plan.algorithm, plan.reason) == (algorithm, reason)


def test_a_batch_counts_unless_it_must_not():
    arguments = "forward", (4, 8, 8, 64), (3, 3, 64, 64)
    assert ops.conv2d_plan(*arguments, padding=1).reason == "tiles of 4x4: 16, from 16 to 23"
    with sixloop.batch_invariant():
        assert ops.conv2d_plan(*arguments, padding=1).reason == "tiles of 4x4: 4, fewer than 16"


def test_the_page_states_the_rule():
    text = " ".join(PAGE.read_text().split())
    assert "fewer than 16 input or output channels (for the weight gradient 32, or 24" in text
    assert "with more than 512" in text
    assert "**winograd4x4** from 24 on, **winograd2x2** from 16 on, else **direct**" in text
    assert "tiles of 2x2: **winograd2x2** from 16 on, else **direct**" in text


# Which, x, w and options; then, by hand, the method and the kinds of kernels.
METHODS = [
    (("forward", (1, 28, 28, 1), (5, 5, 1, 6), {}), "channel planes", "planar"),
    (("forward", (1, 224, 224, 3), (3, 3, 3, 64), {}), "filter rows", "gemm_strip"),
    (("forward", (1, 28, 28, 64), (1, 1, 64, 64), {}), "product by strips", "gemm_strip"),
    (("forward", (1, 28, 28, 64), (7, 7, 64, 64), {}), "pointers to pixels", "gemm_rows"),
    (
        ("forward", (1, 28, 28, 8), (3, 3, 1, 8), {"groups": 8}),
        *("channel by channel", "depthwise"),
    ),
    (("grad_input", (1, 14, 14, 6), (5, 5, 6, 16), {}), "turned filters", "planar"),
    (("grad_input", (1, 28, 28, 64), (7, 7, 64, 64), {}), "pointers to pixels", "gemm_rows"),
    (
        ("grad_input", (1, 28, 28, 64), (5, 5, 64, 64), {}),
        *("transformed tiles", "winograd5x5", "gemm_strip"),
    ),
    (("grad_weight", (1, 28, 28, 3), (3, 3, 3, 64), {}), "filter rows", "gemm_columns"),
    (("grad_weight", (1, 28, 28, 64), (1, 1, 64, 64), {}), "packed windows", "gemm_panel"),
    (
        ("grad_weight", (1, 14, 14, 64), (1, 1, 64, 1024), {}),
        *("product of transposed channels", "gemm_rows"),
    ),
    (
        ("grad_weight", (1, 28, 28, 8), (3, 3, 1, 8), {"groups": 8}),
        *("channel by channel", "depthwise_grad_weight"),
    ),
    (
        ("grad_weight", (1, 40, 40, 64), (3, 3, 64, 64), {}),
        *("transformed tiles", "winograd", "gemm_columns"),
    ),
    (
        ("grad_input", (1, 40, 40, 64), (3, 3, 64, 64), {"algorithm": "im2col"}),
        *("matrix of windows", "gemm_rows"),
    ),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", METHODS, ids=lambda case: f"{case[0][0]} {case[1]}")
def test_methods_and_kernels(case, dtype, isa):
    (which, x, w, options), method, *kernels = case
    plan = ops.conv2d_plan(which, x, w, **options, dtype=dtype)
    assert plan.method == method
    assert len(plan.kernels) == len(kernels)
    for name, kernel in zip(plan.kernels, kernels, strict=True):
        assert name.startswith(f"{kernel}_f{dtype[-2:]}")
        assert name.endswith(f"__{isa}")


def test_parts_lie_side_by_side_where_a_vector_holds_them(isa):
    plan = ops.conv2d_plan("grad_weight", (64, 28, 28, 1), (5, 5, 1, 6), padding=2)
    if isa == "avx512":
        assert plan.method == "parts side by side"
        assert plan.kernels == ("lane_sums_f32_5x3__avx512",)
    else:
        assert plan.method == "filter rows"


def test_channels_are_exchanged_where_tiles_fit_better(isa):
    plan = ops.conv2d_plan("grad_weight", (8, 14, 14, 512), (1, 1, 512, 24))
    exchanged = isa in ("avx2", "avx512")
    assert plan.method == ("product with the channels exchanged" if exchanged else "packed windows")
    square = ops.conv2d_plan("grad_weight", (8, 14, 14, 256), (1, 1, 256, 256))
    assert square.method == "packed windows"


def test_plans_of_products():
    with sixloop.force_isa("scalar"):
        assert ops.gemm_plan(8, 64, 512).method == "pointers to rows"
        assert ops.gemm_plan(4096, 64, 64).method == "product by strips"
        assert ops.gemm_plan(60, 64, 64).method == "product by strips"  # one task's
        assert ops.gemm_plan(60, 66, 64).method == "pointers to rows"  # with a panel in part
        plan = ops.gemm_plan(60, 64, 200, transpose_a=True, dtype="float64")
        assert plan[:4] == ("gemm", "", "packed panels", ("gemm_panel_f64_4x4__scalar",))
        plan = ops.gemm_plan(4096, 1000, 8, transpose_a=True)
        assert plan.method == "product by strips, left matrix turned"
        assert plan.kernels == ("gemm_strip_f32_4x4__scalar",)
        plan = ops.gemm_plan(1, 1000, 4096)
        assert plan[2:4] == ("rows of the right matrix", ("gemm_vector_f32__scalar",))
        plan = ops.gemm_plan(8, 4096, 1000, transpose_b=True)
        assert plan[2:4] == ("transposed product", ("gemm_rows_f32_4x4__scalar",))


def test_errors_of_plans():
    with pytest.raises(ValueError, match=r"\[conv2d_plan\] dtype must be float32 or float64"):
        ops.conv2d_plan("forward", (1, 8, 8, 3), (3, 3, 3, 8), dtype="int32")
    with pytest.raises(ValueError, match=r'\[conv2d_plan\] unknown pass "back"'):
        ops.conv2d_plan("back", (1, 8, 8, 3), (3, 3, 3, 8))
    with pytest.raises(ValueError, match=r"\[conv2d_plan\] algorithm \"winograd2x2\" is for 3x3"):
        ops.conv2d_plan("forward", (1, 8, 8, 3), (7, 7, 3, 8), algorithm="winograd2x2")
    with pytest.raises(ValueError, match=r"\"winograd4x4\" is for 3x3 filters .* not 3x3"):
        ops.conv2d_plan("forward", (1, 8, 8, 3), (5, 5, 3, 8), algorithm="winograd4x4")
    with pytest.raises(
        ValueError, match=r"\[gemm_plan\] sizes must be from 0 to 2147483647; got m = -1"
    ):
        ops.gemm_plan(-1, 2, 3)
    with pytest.raises(TypeError, match=r"\[gemm_plan\] m"):
        ops.gemm_plan(1.5, 2, 3)
