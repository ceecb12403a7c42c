"""How far the figures of bench/results are from what this library sets itself.

    python bench/targets.py [FILE ...]      # default: bench_avx512.json and bench_avx2.json

One line for each family of shapes: the ratio that every shape shall reach and their geometric mean,
then what was measured, as ratios of the better peer's time to ours. With --rows N, also the N
slowest shapes of those that fall short.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"

# Family: least ratio of every shape, least geometric mean.
TARGETS = {
    "matrix products, cubes from 256 on": (0.96, 1.00),
    "matrix products up to 128, and skinny": (0.95, 1.05),
    "direct convolution beside channels_last, 16 channels and more": (0.97, 1.03),
    "first layers, 3 channels": (1.05, 1.20),
    "LeNet-5's convolutions": (1.2, 1.8),
    "3x3, map >= 28, 96 channels and more": (2.5, 3.0),
    "3x3, map >= 28, 64 channels": (2.2, 2.5),
    "3x3, maps of 7 to 14, 32 tiles and more": (1.9, 2.3),
    "weight gradient, 3x3, map >= 28": (2.5, 3.2),
    "weight gradient, 3x3, small maps": (1.8, 2.3),
    "weight gradient, all others": (0.95, 1.10),
    "pooling, forward": (1.6, 2.0),
    "pooling, backward": (1.3, 1.6),
    "softmax and cross-entropy": (1.5, 1.8),
    "batch norm + ReLU, training": (1.2, 1.7),
    "batch norm + ReLU, inference": (1.1, 1.4),
    "LeNet-5, a step of 64 images": (2.5, 2.5),
    "LeNet-5, a step of one image": (5.0, 5.0),
}


def family(row: dict[str, Any]) -> str | None:
    """Returns the row's key in TARGETS; None for one that has no target of its own."""
    kind, name, shape = row["family"], row["name"], row["shape"]
    if kind == "gemm":
        sizes = {int(size) for size in shape.split("x")}
        if len(sizes) == 1 and max(sizes) >= 256:
            return "matrix products, cubes from 256 on"
        return "matrix products up to 128, and skinny"
    if kind == "pool2d":
        return "pooling, backward" if "backward" in name else "pooling, forward"
    if kind == "softmax":
        return "softmax and cross-entropy"
    if kind == "batch_norm":
        return f"batch norm + ReLU, {'inference' if 'inference' in name else 'training'}"
    if kind == "lenet":
        if "step" not in name:
            return None
        return f"LeNet-5, a step of {'64 images' if name.endswith('b64') else 'one image'}"
    return _convolution(row)


def _convolution(row: dict[str, Any]) -> str | None:
    kind, shape = row["family"], row["shape"]
    match = re.match(r"(\d+)x(\d+)x(\d+)x(\d+), (\d+)x", shape)
    assert match is not None, shape
    n, h, w, c, kernel = map(int, match.groups())
    if row.get("network", "").startswith("lenet"):
        return "LeNet-5's convolutions"
    if kind == "direct":
        return "direct convolution beside channels_last, 16 channels and more" if c >= 16 else None
    if c <= 4:
        return "first layers, 3 channels"
    winograd = kernel == 3 and "stride" not in shape
    tiles = n * math.ceil(h / 4) * math.ceil(w / 4)
    if kind == "grad_weight":
        if not winograd:
            return "weight gradient, all others"
        return f"weight gradient, 3x3, {'map >= 28' if h >= 28 else 'small maps'}"
    if not winograd:
        return None
    if h >= 28:
        return f"3x3, map >= 28, {'64 channels' if c == 64 else '96 channels and more'}"
    return "3x3, maps of 7 to 14, 32 tiles and more" if tiles >= 32 else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--rows", type=int, default=0, metavar="N")
    options = parser.parse_args()
    files = options.files or [RESULTS / "bench_avx512.json", RESULTS / "bench_avx2.json"]
    print(
        "| family | shall reach: every shape, mean |",
        " | ".join(f"{f.stem}: slowest, mean" for f in files),
        "|",
    )
    print("| --- | --: |", " | ".join("--:" for _ in files), "|")
    groups: list[dict[str, list[tuple[float, dict[str, Any]]]]] = []
    for file in files:
        found: dict[str, list[tuple[float, dict[str, Any]]]] = defaultdict(list)
        for row in json.loads(file.read_text(encoding="utf-8"))["rows"]:
            key = family(row)
            if key is not None:
                ratio = row["ratios"]["torch_nhwc"] if row["family"] == "direct" else row["ratio"]
                found[key].append((ratio, row))
        groups.append(found)
    for key, (every, mean) in TARGETS.items():
        cells = []
        for found in groups:
            ratios = [ratio for ratio, _ in found[key]]
            cells.append(
                f"{min(ratios):.2f}, {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}"
                if ratios
                else "not measured"
            )
        print(f"| {key} | {every:.2f}, {mean:.2f} |", " | ".join(cells), "|")
    for file, found in zip(files, groups, strict=True):
        for key, (every, _) in TARGETS.items():
            short = sorted(
                (pair for pair in found[key] if pair[0] < every), key=lambda pair: pair[0]
            )
            for ratio, row in short[: options.rows]:
                print(f"{file.stem}  {ratio:.2f}  {key}: {row['family']} {row['name']}")


if __name__ == "__main__":
    main()
