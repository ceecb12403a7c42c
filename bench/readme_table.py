"""Writes the figures of README.md from the files in bench/results.

python bench/readme_table.py            # write them
python bench/readme_table.py --check    # exit 1 where they are not current

bench_avx512.json and its picture docs/roofline.png are those of

    sixloop bench --vs torch --threads 2 --seconds 0.12 --json FILE --plot docs/roofline.png \\
        --only gemm,conv2d,direct,pool2d,softmax,batch_norm,lenet

bench_avx2.json the same with the limits that `sixloop bench --help` names, and networks.json is
that of compare_networks.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
BEGIN, END = "<!-- figures: bench/readme_table.py -->\n", "<!-- end of figures -->\n"

# Family of `sixloop bench`, and what it is.
FAMILIES = {
    "gemm": "matrix products, 64 to 2048 cubed, few rows, one row",
    "forward": "convolutions of six networks, forward",
    "grad_input": "the same, gradient of the input",
    "grad_weight": "the same, gradient of the weights",
    "direct": "the same, forward without Winograd",
    "pool2d": "max and average pooling, forward and backward",
    "softmax": "softmax; cross-entropy with its gradient",
    "batch_norm": "batch norm + ReLU, training, backward, inference",
    "lenet": "LeNet-5, training step and inference",
}
# Network of compare_networks.py, and what it is called here.
NETWORKS = {
    "lenet5, modern": "LeNet-5",
    "alexnet, 2012": "AlexNet",
    "vgg16": "VGG-16",
    "googlenet, paper": "GoogLeNet",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "densenet121": "DenseNet-121",
}


def load(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return result


def ratio(row: dict[str, Any]) -> float:
    """The better layout's time divided by ours."""
    times = {name: times["median_ms"] for name, times in row["times"].items()}
    return float(min(times["torch_nhwc"], times["torch_nchw"]) / times["sixloop"])


def networks() -> list[str]:
    found = {
        (row["network"], row["pass"], row["batch"]): row
        for row in load("networks.json")["rows"]
        if "image" not in row
    }
    lines = [
        "| PyTorch's time / ours, AVX-512 | inference, batch 1 | inference, batch 8 "
        "| training step, batch 8 |",
        "| --- | --: | --: | --: |",
    ]
    for network, label in NETWORKS.items():
        rows = [
            found[network, what, n] for what, n in (("forward", 1), ("forward", 8), ("step", 8))
        ]
        lines.append(f"| {label} | " + " | ".join(f"{ratio(row):.2f}" for row in rows) + " |")
    return lines


def families() -> list[str]:
    results = [
        {entry["family"]: entry for entry in load(f"bench_{isa}.json")["summary"]}
        for isa in ("avx2", "avx512")
    ]
    lines = [
        "| the better peer's time / ours | shapes | AVX2: mean | slowest "
        "| AVX-512: mean | slowest |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for family, label in FAMILIES.items():
        cells = []
        for result in results:
            figures = result[family]["ratio"]
            cells += [f"{figures['geometric_mean']:.2f}", f"{figures['slowest']:.2f}"]
        lines.append(f"| {label} | {results[0][family]['shapes']} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    figures = "\n".join(["", *networks(), "", *families(), "", ""])
    current = before + BEGIN + figures + END + after
    if "--check" in sys.argv[1:]:
        if current != text:
            raise SystemExit("README.md has other figures: run python bench/readme_table.py")
        return
    readme.write_text(current, encoding="utf-8")


if __name__ == "__main__":
    main()
