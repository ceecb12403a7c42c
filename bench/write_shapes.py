"""Writes the shapes that are timed as text, for the C++ micro-benchmarks.

python bench/write_shapes.py            # bench/shapes/*.txt
python bench/write_shapes.py --check    # exit 1 where one is not current

They come from the graphs of `sixloop.models`: see `sixloop.bench.shapes`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sixloop.bench.shapes import GEMM, NETWORKS, Convolution, convolutions

SHAPES = Path(__file__).resolve().parent / "shapes"
WRITTEN = "# Written by bench/write_shapes.py; do not edit.\n"


def line(name: str, shape: Convolution) -> str:
    """One convolution: name N H W C O KH KW stride_h stride_w pad_top ... pad_right groups."""
    if shape.dilation != (1, 1):
        raise SystemExit(f"{name} is dilated, which the format does not say")
    (top, bottom), (left, right) = shape.padding
    sizes = shape.n, shape.h, shape.w, shape.c, shape.o, *shape.kernel, *shape.strides
    return " ".join(map(str, (name, *sizes, top, bottom, left, right, shape.groups)))


def files() -> dict[str, str]:
    """File name -> text."""
    texts = {}
    for network, (label, batch, _, _) in NETWORKS.items():
        texts[f"{network}.txt"] = (
            f"{WRITTEN}# The distinct convolutions of {label}, batch {batch}; the name is that of "
            "the first layer.\n"
            "# name N H W C O KH KW stride_h stride_w pad_top pad_bottom pad_left pad_right "
            "groups\n"
        ) + "".join(f"{line(name, shape)}\n" for name, shape in convolutions(network))
    texts["gemm.txt"] = f"{WRITTEN}# M N K\n" + "".join(f"{m} {n} {k}\n" for m, n, k in GEMM)
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    SHAPES.mkdir(exist_ok=True)
    stale = []
    for name, text in files().items():
        path = SHAPES / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    if check and stale:
        raise SystemExit(f"not current: {', '.join(stale)}: run python bench/write_shapes.py")


if __name__ == "__main__":
    main()
