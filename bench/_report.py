"""What every result file says of the machine, and where result files go."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import sixloop

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Return the processor, versions and settings that a timing depends on."""
    processor = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    return {
        "processor": processor,
        "system": platform.platform(),
        "python": platform.python_version(),
        "sixloop": sixloop.__version__,
        "isa": sixloop.isa(),
        "threads": sixloop.get_num_threads(),
    }


def write(name: str, result: dict[str, Any]) -> Path:
    """Write bench/results/<name>.json and return its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **result}, indent=1) + "\n")
    return path
