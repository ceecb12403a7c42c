"""Writes docs/algorithms.md: which algorithm the convolutions of published networks get.

python tools/write_algorithms.py            # write it
python tools/write_algorithms.py --check    # exit 1 where it is not current
"""

from __future__ import annotations

import sys
from pathlib import Path

from sixloop import models, ops
from sixloop.bench.shapes import NETWORKS, Convolution, walk

PAGE = Path(__file__).resolve().parent.parent / "docs" / "algorithms.md"
PUBLISHED = ("alexnet", "vgg16", "googlenet", "resnet50", "densenet121")
BATCHES = (1, 8)
PASSES = ("forward", "grad_input", "grad_weight")

INTRODUCTION = """\
# Which algorithm a convolution gets

<!-- Written by tools/write_algorithms.py; do not edit. -->

`algorithm="auto"` is a function of the shape alone: no timing, the same on every machine, with any
number of threads. `sixloop.ops.conv2d_algorithm` returns its choice, `ops.conv2d_plan` the reason
and the kernels, too, and `sixloop explain NAME --batch 8 --training` shows both for a whole
network. The rule, in this order:

1. **direct** where Winograd's algorithm does not apply: the filter is neither 3x3 nor 5x5, or it
   has a stride, a dilation, groups or a padding of its own size.
2. **direct** with fewer than 16 input or output channels (for the weight gradient 32, or 24 of a
   5x5 filter), since the transforms of tiles would not pay, and with more than 512, for which no
   error bound is documented.
3. 3x3, with N ceil(OH / 4) ceil(OW / 4) tiles of 4x4 output pixels: **winograd4x4** from 24 on,
   **winograd2x2** from 16 on, else **direct**, since the transform of the filters costs the same
   for any number of tiles.
4. 5x5, with N ceil(OH / 2) ceil(OW / 2) tiles of 2x2: **winograd2x2** from 16 on, else **direct**.

Under `with sixloop.batch_invariant():` N counts as 1 in the last two rules, and every batch gets
the columns of batch 1. im2col is never chosen: direct convolution does the same arithmetic without
writing the matrix of windows.

On a GPU's tensor cores, that is for bfloat16 arrays and with `precision="tf32"`, it is always
**implicit_gemm**: the matrix of windows is multiplied without being written, its elements are
gathered on their way to the tensor cores. The other algorithms have no kernels there, and it has
none for ordinary cores.

The tables have each distinct convolution once, with the number of layers that have it. 4x4 and 2x2
are the tiles of Winograd's algorithm.
"""


def distinct(network: str) -> dict[Convolution, list[str]]:
    """Returns the shapes of a network with batch 1, each with the names of its layers."""
    chosen = NETWORKS[network]
    names: dict[Convolution, list[str]] = {}
    for name, shape in walk(models.define(chosen.model, **chosen.options), 1):
        names.setdefault(shape, []).append(name)
    return names


def algorithm(shape: Convolution, batch: int, which: str) -> str:
    """Returns the name of the algorithm, as the tables have it."""
    x_shape = batch, shape.h, shape.w, shape.c
    name = ops.conv2d_algorithm(which, x_shape, shape.w_shape, **shape.options)
    return name.removeprefix("winograd")


def table(network: str) -> list[str]:
    """Returns the lines of one network's table."""
    heads = [f"{which}, batch {batch}" for batch in BATCHES for which in PASSES]
    lines = [
        f"| {' | '.join(['first layer', 'layers', 'input and filter', *heads])} |",
        f"| --- | --: | --- |{' --- |' * len(heads)}",
    ]
    for shape, names in distinct(network).items():
        cells = [algorithm(shape, batch, which) for batch in BATCHES for which in PASSES]
        text = str(shape).removeprefix("1x")
        lines.append(f"| {' | '.join([f'`{names[0]}`', str(len(names)), text, *cells])} |")
    return lines


def page() -> str:
    """Returns the whole page."""
    lines = [INTRODUCTION]
    for network in PUBLISHED:
        lines += [f"## {NETWORKS[network].label}", "", *table(network), ""]
    return "\n".join(lines)


def main() -> int:
    """Writes or checks the page."""
    text = page()
    if "--check" in sys.argv[1:]:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
            print("docs/algorithms.md is not current: run python tools/write_algorithms.py")
            return 1
        return 0
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
