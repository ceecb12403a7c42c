"""What is made of the times: rows, a table, a summary by family, JSON."""

from __future__ import annotations

import json
import math
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import sixloop
from sixloop.bench import timing
from sixloop.bench.cases import PASSES, Case

__all__ = ["Table", "result", "row", "summary", "summary_lines", "write"]

OURS = "sixloop"
Row = dict[str, Any]


def row(
    case: Case,
    times: dict[str, timing.Times],
    *,
    peak_gflops: float,
    copy_gbs: float | None = None,
    algorithm: str = "",
) -> Row:
    """Returns a row of the result.

    Args:
        case: what was timed.
        times: by library, "sixloop" among them.
        peak_gflops: of multiply-adds, measured between.
        copy_gbs: of a copy that moves as many bytes, GB/s; None where arithmetic decides.
        algorithm: of a convolution.
    """
    ours = times[OURS]["median_ms"]
    made: Row = {"family": case.family, "name": case.name, "shape": case.shape}
    if case.network:
        made["network"] = case.network
    if algorithm:
        made["algorithm"] = algorithm
    made["peak_gflops"] = peak_gflops
    made["times"] = times
    made["ratios"] = {k: v["median_ms"] / ours for k, v in times.items() if k != OURS}
    if made["ratios"]:
        made["ratio"] = min(made["ratios"].values())
    if case.bytes:
        made["bytes"] = case.bytes
        made["gbs"] = {k: 1e-6 * case.bytes / v["median_ms"] for k, v in times.items()}
    if copy_gbs is not None:
        made["copy_gbs"] = copy_gbs
        made["share_of_copy"] = made["gbs"][OURS] / copy_gbs
    if case.flop:
        made["gflop"] = 1e-9 * case.flop
        made["gflops"] = {k: 1e-6 * case.flop / v["median_ms"] for k, v in times.items()}
        made["gflops_p20"] = {k: 1e-6 * case.flop / v["p20_ms"] for k, v in times.items()}
        if copy_gbs is None:
            made["share_of_peak"] = made["gflops"][OURS] / peak_gflops
    return made


class Table:
    """Makes the lines of a table.

    Args:
        cases: all of its rows, in order.
        peers: whether other libraries are timed.
    """

    def __init__(self, cases: Sequence[Case], peers: bool) -> None:
        families = {case.family for case in cases}
        algorithms = -11 if families & {*PASSES, "direct"} else 0
        self._peers = peers
        self._widths = (-max(len(_title(case)) for case in cases), algorithms, 9, 13, 5)

    def head(self) -> str:
        """Returns the headline."""
        ratio = "the better peer's time / ours (each)" if self._peers else ""
        return self._join("case", "algorithm", "ms", "speed", "share", ratio)

    def line(self, case: Case, row: Row) -> str:
        """Returns the row of a case."""
        speed = share = ratio = ""
        if "share_of_peak" in row:
            speed, share = f"{row['gflops'][OURS]:.1f} GFLOP/s", f"{row['share_of_peak']:.0%}"
        elif "share_of_copy" in row:
            speed, share = f"{row['gbs'][OURS]:.1f} GB/s", f"{row['share_of_copy']:.0%}"
        if "ratio" in row:
            each = "  ".join(f"{name} {value:.2f}" for name, value in row["ratios"].items())
            ratio = f"{row['ratio']:.2f}  ({each})"
        time = f"{row['times'][OURS]['median_ms']:.3f}"
        return self._join(_title(case), row.get("algorithm", ""), time, speed, share, ratio)

    def _join(self, *cells: str) -> str:
        padded = [
            cell.ljust(-width) if width < 0 else cell.rjust(width)
            for cell, width in zip(cells[:-1], self._widths, strict=True)
            if width
        ]
        return "  ".join([*padded, cells[-1]]).rstrip()


def _title(case: Case) -> str:
    name = case.name if case.shape in case.name else f"{case.name}: {case.shape}"
    return f"{case.family} {name}" if case.network else name


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Returns what there is to say of each family: shapes, slowest, mean.

    "ratio" is the time of the better peer divided by ours, above 1 where we are faster; "share" is
    that of the peak of multiply-adds, or of a copy's speed, in the families that have one.
    """
    made = []
    for family in dict.fromkeys(row["family"] for row in rows):
        own = [row for row in rows if row["family"] == family]
        entry: dict[str, Any] = {"family": family, "shapes": len(own)}
        for key, of in (
            ("ratio", "ratio"),
            ("share_of_peak", "share_of_peak"),
            ("share_of_copy", "share_of_copy"),
        ):
            having = [row for row in own if of in row]
            if not having:
                continue
            slowest = min(having, key=lambda row: row[of])
            entry[key] = {
                "slowest": slowest[of],
                "slowest_name": slowest["name"],
                "median": statistics.median(row[of] for row in having),
                "geometric_mean": math.exp(statistics.fmean(math.log(row[of]) for row in having)),
            }
        made.append(entry)
    return made


def summary_lines(rows: Sequence[Row]) -> list[str]:
    """Returns the summary by family as lines of text."""
    lines = []
    for entry in summary(rows):
        count = entry["shapes"]
        text = f"{entry['family']:<12} {count:>4} {'shape' if count == 1 else 'shapes'}"
        for key, title, format_ in (
            ("ratio", "better peer's time / ours", "{:.2f}"),
            ("share_of_peak", "share of the FMA peak", "{:.0%}"),
            ("share_of_copy", "share of a copy's speed", "{:.0%}"),
        ):
            if key in entry:
                mean, slowest = (
                    format_.format(entry[key][which]) for which in ("geometric_mean", "slowest")
                )
                name = entry[key]["slowest_name"]
                text += f"; {title}: geometric mean {mean}, slowest {slowest} ({name})"
        lines.append(text)
    return lines


def result(rows: Sequence[Row], *, torch: str | None, memory_gbs: float) -> dict[str, Any]:
    """Returns all that a file of results says.

    Args:
        rows: of `row`.
        torch: PyTorch's version, or None where it was not asked for.
        memory_gbs: of a copy that no cache holds, GB/s.
    """
    return {
        "format": "sixloop bench",
        "sixloop": sixloop.__version__,
        "isa": sixloop.isa(),
        "torch": torch,
        "limits": timing.limits(),
        "environment_set": timing.is_environment_set(),
        "numpy": np.__version__,
        "threads": sixloop.get_num_threads(),
        "cpu": _processor(),
        "date": time.strftime("%Y-%m-%d"),
        "memory_gbs": memory_gbs,
        "summary": summary(rows),
        "rows": list(rows),
    }


def write(path: Path, result: dict[str, Any]) -> None:
    """Writes a result as JSON, six digits of each number and a line for each row.

    Makes the folder where it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    head = json.dumps({**_six_digits(result), "rows": []}, indent=1)
    rows = ",\n".join(f"  {json.dumps(_six_digits(row))}" for row in result["rows"])
    path.write_text(head.replace('"rows": []', f'"rows": [\n{rows}\n ]') + "\n", encoding="utf-8")


def _six_digits(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _six_digits(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_six_digits(item) for item in value]
    return value


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = [x.partition(":")[2].strip() for x in text.splitlines() if x.startswith("model name")]
    return names[0] if names else platform.processor()
