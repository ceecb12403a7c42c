"""Writes the table of README.md from the files in bench/results.

python bench/readme_table.py            # write it
python bench/readme_table.py --check    # exit 1 where it is not current

The files are those of

    sixloop bench --vs torch --threads 2 --seconds 1 --only gemm,conv2d,direct,lenet --json FILE

once as it is (compare_torch_avx512.json) and once with the limits that `sixloop bench --help` names
(compare_torch_avx2.json).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
VGG_56, RESNET_7 = "vgg16 features.12", "resnet50 layer4.1.conv2"
RESNET_1X1, ALEXNET_5X5 = "resnet50 layer1.0.downsample.0", "alexnet features.3"
BEGIN, END = "<!-- figures: bench/readme_table.py -->\n", "<!-- end of figures -->\n"

# Label, and family and name of a row of `sixloop bench --vs torch --json`.
ROWS = [
    ("matrix product, 256 cubed", "gemm", "256x256x256"),
    ("matrix product, 2048 cubed", "gemm", "2048x2048x2048"),
    ("VGG-16, 3 to 64 channels at 224x224, batch 2, forward", "direct", "vgg16 features.0"),
    ("VGG-16, 3x3, 256 channels at 56x56, batch 2, direct, forward", "direct", VGG_56),
    ("the same, Winograd, forward", "forward", VGG_56),
    ("the same, Winograd, input gradient", "grad_input", VGG_56),
    ("the same, Winograd, weight gradient", "grad_weight", VGG_56),
    ("ResNet-50, 3x3, 512 channels at 7x7, batch 8, forward", "forward", RESNET_7),
    ("ResNet-50, 1x1, 64 to 256 channels, 56x56, batch 8, forward", "direct", RESNET_1X1),
    ("ResNet-50, 1x1, the same, weight gradient", "grad_weight", RESNET_1X1),
    ("AlexNet, 5x5, 64 to 192 channels at 27x27, batch 8, forward", "direct", ALEXNET_5X5),
    ("the same, weight gradient", "grad_weight", ALEXNET_5X5),
    ("LeNet-5 training step, batch 64", "lenet", "LeNet-5 training step b64"),
    ("LeNet-5 training step, batch 1", "lenet", "LeNet-5 training step b1"),
]
# What bench/compare_torch.py, which made the results of 0.1.0, called these rows.
EARLIER = {
    "vgg16 features.0": "VGG1_1",
    VGG_56: "VGG3_2",
    RESNET_7: "ResNet 3x3 512",
    RESNET_1X1: "ResNet 1x1 64-256",
    ALEXNET_5X5: "AlexNet 2",
    "LeNet-5 training step b64": "LeNet-5 b64",
    "LeNet-5 training step b1": "LeNet-5 b1",
}


def cells(rows: list[dict[str, Any]], family: str, name: str) -> str:
    """Our median, the best peer's, and the ratio."""
    names = {(family, name), (family, EARLIER.get(name)), ("train step", EARLIER.get(name))}
    row = next(r for r in rows if (r["family"], r["name"]) in names)
    times = {k: v["median_ms"] for k, v in row["times"].items()}
    ours = times.pop("sixloop")
    peer = min(times.values())
    return f"{ours:.2f} ms | {peer:.2f} ms | {peer / ours:.2f}"


def table() -> str:
    avx2, avx512 = (
        json.loads((RESULTS / f"compare_torch_{isa}.json").read_text())["rows"]
        for isa in ("avx2", "avx512")
    )
    lines = [
        "",
        "| two threads, medians | AVX2: ours | best peer | ratio "
        "| AVX-512: ours | best peer | ratio |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]  # fmt: skip
    for label, family, name in ROWS:
        lines.append(f"| {label} | {cells(avx2, family, name)} | {cells(avx512, family, name)} |")
    return "\n".join([*lines, "", ""])


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    current = before + BEGIN + table() + END + after
    if "--check" in sys.argv[1:]:
        if current != text:
            raise SystemExit("README.md has other figures: run python bench/readme_table.py")
        return
    readme.write_text(current, encoding="utf-8")


if __name__ == "__main__":
    main()
