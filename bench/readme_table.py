"""Writes the table of README.md from the files in bench/results.

python bench/readme_table.py            # write it
python bench/readme_table.py --check    # exit 1 where it is not current
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
BEGIN, END = "<!-- figures: bench/readme_table.py -->\n", "<!-- end of figures -->\n"

# Label, family and name of a row in compare_torch_*.json.
ROWS = [
    ("matrix product, 256 cubed", "gemm", "256x256x256"),
    ("matrix product, 2048 cubed", "gemm", "2048x2048x2048"),
    ("VGG-16, 3 to 64 channels at 224x224, batch 2, forward", "direct", "VGG1_1"),
    ("VGG-16, 3x3, 256 channels at 56x56, batch 2, direct, forward", "direct", "VGG3_2"),
    ("the same, Winograd, forward", "forward", "VGG3_2"),
    ("the same, Winograd, input gradient", "grad_input", "VGG3_2"),
    ("the same, Winograd, weight gradient", "grad_weight", "VGG3_2"),
    ("ResNet-50, 3x3, 512 channels at 7x7, batch 8, forward", "forward", "ResNet 3x3 512"),
    ("ResNet-50, 1x1, 64 to 256 channels, 56x56, batch 8, forward", "direct", "ResNet 1x1 64-256"),
    ("ResNet-50, 1x1, the same, weight gradient", "grad_weight", "ResNet 1x1 64-256"),
    ("AlexNet, 5x5, 64 to 192 channels at 27x27, batch 8, forward", "direct", "AlexNet 2"),
    ("the same, weight gradient", "grad_weight", "AlexNet 2"),
    ("LeNet-5 training step, batch 64", "train step", "LeNet-5 b64"),
    ("LeNet-5 training step, batch 1", "train step", "LeNet-5 b1"),
]  # fmt: skip


def cells(rows: list[dict[str, Any]], family: str, name: str) -> str:
    """Our median, the best peer's, and the ratio."""
    row = next(r for r in rows if r["family"] == family and r["name"] == name)
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
