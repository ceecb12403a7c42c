"""Counts the instructions of each op with valgrind, which sees a slower kernel without a clock.

python tools/count_instructions.py BUILD            # write tests/cpp/instructions.json
python tools/count_instructions.py BUILD --check    # exit 1 where a count grew by more than 2%

BUILD is a Release build with the C++ tests. The counts are those of the AVX2 kernels on one thread
and of one compiler: with another one, the check only says so. Valgrind's processor has caches of
its own, so the cuts that follow from them are the same on every machine.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

COUNTS = Path(__file__).resolve().parent.parent / "tests" / "cpp" / "instructions.json"
TOLERANCE = 0.02


def count(build: Path) -> tuple[str, dict[str, int]]:
    """Returns the compiler, and the instructions of each call."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [
            "valgrind",
            "--tool=callgrind",
            "--toggle-collect=measured_call",
            "--dump-after=measured_call",
            f"--callgrind-out-file={out}",
            str(build / "tests" / "cpp" / "count_instructions"),
        ]
        environment = {**os.environ, "SIXLOOP_ISA": "avx2"}
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        if result.returncode != 0:
            raise SystemExit(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
        compiler, *names = result.stdout.splitlines()
        counts = {}
        for i, name in enumerate(names, 1):
            text = Path(f"{out}.{i}").read_text(encoding="utf-8")
            found = re.search(r"^(?:summary|totals): (\d+)$", text, re.MULTILINE)
            if found is None:
                raise SystemExit(f"callgrind's part {i}, for {name}, has no total")
            counts[name] = int(found[1])
    return compiler, counts


def main() -> int:
    """Writes or checks the counts."""
    compiler, counts = count(Path(sys.argv[1]))
    if "--check" not in sys.argv[2:]:
        COUNTS.write_text(json.dumps({"compiler": compiler, "counts": counts}, indent=1) + "\n")
        return 0
    known = json.loads(COUNTS.read_text(encoding="utf-8"))
    if known["compiler"] != compiler:
        print(f"counts are of GCC {known['compiler']}, this is {compiler}: not compared")
        return 0
    wrong = [
        f"{name}: {counts.get(name)} instructions, {known['counts'].get(name)} before"
        for name in {**known["counts"], **counts}
        if name not in counts
        or name not in known["counts"]
        or counts[name] > known["counts"][name] * (1 + TOLERANCE)
    ]
    print(
        "\n".join(wrong) if wrong else f"{len(counts)} calls need no more instructions than before"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
