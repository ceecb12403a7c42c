"""The roofline as a picture (Williams, Waterman and Patterson 2009). Needs matplotlib."""

from __future__ import annotations

import math
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
    multiply-adds upwards, below the roof that memory and arithmetic make; a panel for each family.
    Winograd's algorithm needs fewer operations than it is credited with: its points are rings, and
    may lie above the roof. So may those of arrays that stay in a cache from one run to the next.

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

    points = [row for row in rows if row.get("gflop") and row.get("bytes")]
    if not points:
        raise ValueError("[bench] the roofline needs rows of gemm, conv2d or direct")
    peak = statistics.median(row["peak_gflops"] for row in points)
    families = list(dict.fromkeys(row["family"] for row in points))
    columns = min(2, len(families))
    lines = -(-len(families) // columns)
    figure = Figure(figsize=(1 + 5.5 * columns, 1 + 4 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for panel, family in zip(panels, families, strict=False):
        own = [row for row in points if row["family"] == family]
        _draw(panel, family, own, peak / memory_gbs)
    for panel in panels[len(families) :]:
        panel.set_visible(False)
    lowest = min(
        row["gflops"][name] / row["peak_gflops"] for row in points for name in row["times"]
    )
    panels[0].set_ylim(min(0.1, lowest / 2), 5)
    figure.suptitle(
        f"100% is {peak:,.0f} GFLOP/s, the slope memory's {memory_gbs:,.1f} GB/s.\n"
        "Rings: Winograd's algorithm, which saves multiplications.",
        size=10,
    )
    figure.supxlabel("FLOP per byte of compulsory traffic", size=10)
    figure.supylabel("share of the FMA peak, by useful FLOP", size=10)
    figure.savefig(path, dpi=120)


def _draw(panel: Any, family: str, rows: Sequence[dict[str, Any]], ridge: float) -> None:
    """Draws one family; the legend has each library's geometric mean."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    intensities = [_intensity(row) for row in rows]
    left, right = min(*intensities, ridge) / 1.5, max(*intensities, ridge) * 1.5
    panel.plot([left, ridge, right], [left / ridge, 1, 1], color="black", linewidth=1.5)
    # Ours come last, on top.
    libraries = dict.fromkeys(name for row in rows for name in row["times"])
    for name in sorted(libraries, key=lambda name: name == "sixloop"):
        timed = [row for row in rows if name in row["times"]]
        shares = [row["gflops"][name] / row["peak_gflops"] for row in timed]
        mean = math.exp(statistics.fmean(map(math.log, shares)))
        color = _COLORS.get(name, "C5")
        for ring in (False, True):
            drawn = [
                (_intensity(row), share)
                for row, share in zip(timed, shares, strict=True)
                if ring == (name == "sixloop" and row.get("algorithm", "").startswith("winograd"))
            ]
            if drawn:
                style = {"facecolors": "none", "edgecolors": color} if ring else {"color": color}
                linewidth = 1 if ring else 0
                panel.scatter(*zip(*drawn, strict=True), s=18, linewidths=linewidth, **style)
        label = f"{_LABELS.get(name, name)}, mean {mean:.0%}"
        panel.scatter([], [], s=22, color=color, label=label)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlim(left, right)
    panel.set_yticks([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 4])
    panel.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda flop, _: f"{flop:g}"))
    panel.grid(alpha=0.25)
    panel.set_title(f"{family}, {len(rows)} {'shape' if len(rows) == 1 else 'shapes'}", size=10)
    panel.legend(loc="lower right", fontsize=8)


def _intensity(row: dict[str, Any]) -> float:
    return float(1e9 * row["gflop"] / row["bytes"])
