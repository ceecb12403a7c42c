"""The roofline as a picture (Williams, Waterman and Patterson 2009). Needs matplotlib."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from typing import Any

__all__ = ["check_matplotlib", "plot"]

_COLORS = {"sixloop": "C0", "torch_nhwc": "C1", "torch_nchw": "C3", "torch": "C4", "numpy": "C2"}
_LABELS = {
    "torch_nhwc": "PyTorch, channels last",
    "torch_nchw": "PyTorch, contiguous",
    "torch": "PyTorch",
    "numpy": "NumPy",
}
_MARKERS = {"gemm": "s", "direct": "D", "forward": "o", "grad_input": "v", "grad_weight": "^"}


def check_matplotlib() -> None:
    """Raises where matplotlib is missing, before an hour of measuring is in vain.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ModuleNotFoundError(
            "[bench] the roofline needs matplotlib: pip install 'sixloop[plot]'"
        ) from error


def plot(
    rows: Sequence[dict[str, Any]], path: str | os.PathLike[str], *, memory_gbs: float
) -> None:
    """Draws a point for each product or convolution and library into an image file.

    Useful operations for each byte of compulsory traffic to the right, the share of the machine's
    multiply-adds upwards, below the roof that memory and arithmetic make. Winograd's algorithm
    needs fewer operations than it is credited with, so its points may lie above.

    Args:
        rows: of `report.row`; those without operations (pooling and the like) have no place here.
        path: file to write; its suffix (.png, .svg, .pdf) decides the format.
        memory_gbs: of a copy that no cache holds, GB/s.

    Raises:
        ValueError: no row has operations.
        ModuleNotFoundError: matplotlib is not installed.
    """
    check_matplotlib()
    # Figure alone, without pyplot: needs no display and leaves no global state.
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, NullFormatter

    points = [row for row in rows if row.get("gflop") and row.get("bytes")]
    if not points:
        raise ValueError("[bench] the roofline needs rows of gemm, conv2d or direct")
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    axis = figure.subplots()
    libraries = dict.fromkeys(name for row in points for name in row["times"])
    # The peers first, so that ours lie on top.
    for name in sorted(libraries, key=lambda name: name == "sixloop"):
        for family in dict.fromkeys(row["family"] for row in points):
            own = [row for row in points if row["family"] == family and name in row["times"]]
            axis.scatter(
                [1e9 * row["gflop"] / row["bytes"] for row in own],
                [row["gflops"][name] / row["peak_gflops"] for row in own],
                s=26,
                c=_COLORS.get(name, "C5"),
                marker=_MARKERS.get(family, "x"),
                alpha=0.75,
                linewidths=0,
            )
    peak = statistics.median(row["peak_gflops"] for row in points)
    ridge = peak / memory_gbs
    intensities = [1e9 * row["gflop"] / row["bytes"] for row in points]
    shares = [row["gflops"][name] / row["peak_gflops"] for row in points for name in row["times"]]
    left, right = min([*intensities, ridge]) / 2, max([*intensities, ridge]) * 2
    axis.plot([left, ridge, right], [left / ridge, 1, 1], color="black", linewidth=1.5)
    axis.annotate(
        f"peak {peak:,.0f} GFLOP/s", (right, 1), (-4, 4), textcoords="offset points", ha="right"
    )
    axis.annotate(
        f"memory {memory_gbs:,.0f} GB/s",
        (ridge, 1),
        (-8, 4),
        textcoords="offset points",
        ha="right",
    )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(left, right)
    axis.set_ylim(min(0.1, *shares) / 1.3, max(1, *shares) * 1.5)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    axis.set_yticks([t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 4) if t > min(shares) / 3])
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("FLOP per byte of compulsory traffic")
    axis.set_ylabel("share of the FMA peak, by useful FLOP")
    axis.grid(alpha=0.25)
    handles = [
        Line2D(
            [], [], linestyle="", marker="o", color=_COLORS.get(n, "C5"), label=_LABELS.get(n, n)
        )
        for n in libraries
    ]
    handles += [
        Line2D([], [], linestyle="", marker=_MARKERS.get(f, "x"), color="gray", label=f)
        for f in dict.fromkeys(row["family"] for row in points)
    ]
    axis.legend(handles=handles, loc="lower right")
    if any(row.get("algorithm", "").startswith("winograd") for row in points):
        axis.set_title("above the roof: Winograd's algorithm, which saves multiplications", size=9)
    figure.savefig(path, dpi=120)
