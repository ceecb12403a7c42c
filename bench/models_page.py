"""Writes docs/models.md: counts from the code, memory and times from bench/results/networks.json.

python bench/models_page.py            # write it
python bench/models_page.py --check    # exit 1 where it is not current
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from _networks import NETWORKS

from sixloop import models

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "models.md"
RESULTS = ROOT / "bench" / "results" / "networks.json"
MIB = 1 << 20

TEXT = """\
# Networks

Made by `python bench/models_page.py` from the definitions in `sixloop.models` and from
`bench/results/networks.json`; CI fails where it is not current. `models.build("resnet50")` builds
one of them, `python -m sixloop summary resnet50` lists its layers, and `python -m sixloop train
--model resnet50` trains it.

## Sizes

Trainable parameters; multiply-adds of convolutions and fully connected layers (and of trained
subsampling) for one image of that height, width and channels; the source of the number of
parameters. "torchvision" is the count of its own model of this name, "arithmetic" follows from the
layers' sizes. `tests/test_models.py` holds every count to the digit.

{sizes}

## Memory

The most that sixloop's allocator held during inference and during a training step (SGD with
momentum, from the second step on), in MiB, parameters included: measured for batches of 1 and 8,
with {threads} threads and the {isa} kernels. `summary NAME --batch N` computes it for any batch
without running the network; for these the two differ by at most {memory_error}. Inference of
AlexNet, VGG-16, GoogLeNet, ResNet-18 and ResNet-50 was measured with the filters that it keeps
between calls ([memory.md](memory.md)), the others before there were any.

{memory}

## Times

Milliseconds on {processor}, {threads} threads, {isa}, {date}; beside them PyTorch {torch} on the
same machine, in its faster layout (`channels_last` or contiguous), and its time divided by ours:
above 1 we are faster. "Folded" is our time after `nn.fold_batch_norm`. A step is forward, softmax
cross-entropy, backward and SGD with momentum. Medians in turns, from `python
bench/compare_networks.py`, which first checks that both libraries compute the same. {limited}

{times}

Other steps that are often quoted:

{steps}
"""


def table(head: list[str], rows: list[list[str]], left: int = 1) -> str:
    """Returns a Markdown table; the first `left` columns are words, the others figures."""
    rule = [":--" if i < left else "--:" for i in range(len(head))]
    if head[-1] == "source":
        rule[-1] = ":--"
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def sizes() -> str:
    rows = []
    for network in NETWORKS:
        model = models.define(network.name, **network.options)
        rows.append(
            [
                network.label,
                "x".join(map(str, model.input_shapes[0])),
                f"{model.count_parameters(trainable_only=True):,}",
                f"{model.summary().multiply_adds:,}",
                network.source,
            ]
        )
    return table(["network", "input", "parameters", "multiply-adds", "source"], rows, left=2)


def memory(result: dict[str, Any]) -> str:
    found = {(row["network"], row["batch"]): row for row in result["memory"]}
    rows = []
    for network in NETWORKS:
        cells = [network.label]
        for key in ("forward_bytes", "step_bytes"):
            cells += [f"{found[network.label, batch][key] / MIB:,.1f}" for batch in (1, 8)]
        rows.append(cells)
    head = ["network", "inference, 1", "inference, 8", "training, 1", "training, 8"]
    return table(head, rows)


def memory_error(result: dict[str, Any]) -> str:
    """Returns the largest difference of what was computed from what was measured."""
    ratios = [
        row[f"{which}_computed"] / row[f"{which}_bytes"]
        for row in result["memory"]
        for which in ("forward", "step")
    ]
    return f"{max(abs(ratio - 1) for ratio in ratios):.1%}"


def cells(row: dict[str, Any]) -> list[str]:
    """Our time, that of the faster of PyTorch's layouts, and the ratio."""
    times = {name: summary["median_ms"] for name, summary in row["times"].items()}
    ours = times["sixloop"]
    theirs = min(times["torch_nhwc"], times["torch_nchw"])
    return [milliseconds(ours), milliseconds(theirs), f"{theirs / ours:.2f}"]


def milliseconds(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def times(result: dict[str, Any]) -> str:
    found = {
        (row["network"], row["pass"], row["batch"]): row
        for row in result["rows"]
        if "image" not in row
    }
    columns = [("forward", 1), ("forward", 8), ("step", 8)]
    rows = []
    for network in NETWORKS:
        line = [network.label]
        for what, batch in columns:
            row = found[network.label, what, batch]
            line += cells(row)
            if what == "forward":
                folded = row["times"].get("sixloop_folded")
                line.append(milliseconds(folded["median_ms"]) if folded else "")
        rows.append(line)
    head = ["network"]
    for what, batch in columns:
        head += [f"{what}, batch {batch}", "PyTorch", "ratio"]
        if what == "forward":
            head.append("folded")
    return table(head, rows)


def other_steps(result: dict[str, Any]) -> str:
    rows = []
    listed = {network.label for network in NETWORKS}
    for row in result["rows"]:
        if row["pass"] == "step" and ("image" in row or row["batch"] != 8):
            assert row["network"] in listed
            image = row.get("image") or models.define(row["network"]).input_shapes[0]
            rows.append([row["network"], "x".join(map(str, image)), str(row["batch"]), *cells(row)])
    return table(["network", "input", "batch", "step", "PyTorch", "ratio"], rows, left=2)


def page() -> str:
    result = json.loads(RESULTS.read_text(encoding="utf-8"))
    machine = result["machine"]
    held = any(result["limits"].values())
    return TEXT.format(
        sizes=sizes(),
        memory=memory(result),
        memory_error=memory_error(result),
        times=times(result),
        steps=other_steps(result),
        threads=machine["threads"],
        isa=machine["isa"],
        processor=machine["processor"],
        torch=result["torch"],
        date=result["date"],
        limited="Both libraries were held to AVX2." if held else "Neither library was held back.",
    )


def main() -> None:
    current = page()
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != current:
            raise SystemExit("docs/models.md is not current: run python bench/models_page.py")
        return
    PAGE.write_text(current, encoding="utf-8")


if __name__ == "__main__":
    main()
