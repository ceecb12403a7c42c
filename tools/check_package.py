"""Checks what users get: contents and size of the distributions, and the time of the import.

python tools/check_package.py dist/*.tar.gz dist/*.whl
python tools/check_package.py --import-time      # of the installed package
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SDIST_EXCLUDED = (".ci/", "bench/results/")  # as in pyproject.toml
WHEEL_LIMIT = 5_000_000  # bytes
CUDA_WHEEL_LIMIT = 30_000_000  # of a wheel with machine code for GPUs
SDIST_LIMIT = 2_000_000
IMPORT_LIMIT = 0.050  # seconds on top of NumPy
NEEDED = [
    r"sixloop/_core\.[\w.-]+\.so",
    r"sixloop/_core\.pyi",
    r"sixloop/py\.typed",
    r"sixloop/ops\.py",
    r"sixloop/data/digits\.npz",
    r"sixloop-[\w.]+\.dist-info/licenses/LICENSE",
]
ALLOWED = r"sixloop/.+\.(py|pyi|typed|npz|txt|so)|sixloop-[\w.]+\.dist-info/.+"


def check_wheel(path: Path) -> list[str]:
    """Returns what is wrong with a wheel."""
    names = zipfile.ZipFile(path).namelist()
    wrong = [f"{name} does not belong into it" for name in names if not re.fullmatch(ALLOWED, name)]
    for pattern in NEEDED:
        if not any(re.fullmatch(pattern, name) for name in names):
            wrong.append(f"nothing in it matches {pattern}")
    return wrong


def wheel_limit(path: Path) -> int:
    """Returns the most bytes that a wheel may have."""
    with zipfile.ZipFile(path) as archive:
        modules = [archive.read(name) for name in archive.namelist() if name.endswith(".so")]
    # The section that nvcc's machine code lies in.
    return CUDA_WHEEL_LIMIT if any(b".nv_fatbin" in code for code in modules) else WHEEL_LIMIT


def check_sdist(path: Path) -> list[str]:
    """Returns what is wrong with a source distribution: it is the tree, byte for byte."""
    with tarfile.open(path) as archive:
        found = {}
        for member in archive.getmembers():
            if member.isfile() and (file := archive.extractfile(member)) is not None:
                found[member.name.partition("/")[2]] = file.read()
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    tree = {name for name in listing.split("\0") if name and (ROOT / name).is_file()}
    tree = {name for name in tree if not name.startswith(SDIST_EXCLUDED)}
    wrong = [f"{name} is missing" for name in sorted(tree - found.keys())]
    wrong += [
        f"{name} does not belong into it" for name in sorted(found.keys() - tree - {"PKG-INFO"})
    ]
    differ = (
        name for name in sorted(tree & found.keys()) if found[name] != (ROOT / name).read_bytes()
    )
    return wrong + [f"{name} is not the tree's" for name in differ]


def check_distribution(path: Path) -> list[str]:
    """Prints the size of a distribution and returns what is wrong with it."""
    is_wheel = path.suffix == ".whl"
    size, limit = path.stat().st_size, wheel_limit(path) if is_wheel else SDIST_LIMIT
    print(f"{path.name}: {size / 1e6:.2f} MB of at most {limit / 1e6:.0f} MB")
    wrong = check_wheel(path) if is_wheel else check_sdist(path)
    if size > limit:
        wrong.append(f"{size} bytes are more than {limit}")
    return [f"{path.name}: {what}" for what in wrong]


def import_time() -> float:
    """Returns the seconds of `import sixloop` after NumPy, the median of nine processes."""
    code = (
        "import time, numpy; start = time.perf_counter(); import sixloop; "
        "print(time.perf_counter() - start)"
    )
    with tempfile.TemporaryDirectory() as elsewhere:  # never the sources in the current folder
        command = [sys.executable, "-c", code]
        runs = [
            subprocess.run(command, check=True, capture_output=True, text=True, cwd=elsewhere)
            for _ in range(9)
        ]
    return statistics.median(float(run.stdout) for run in runs)


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("distributions", nargs="*", type=Path)
    parser.add_argument("--import-time", action="store_true")
    arguments = parser.parse_args()
    wrong = [what for path in arguments.distributions for what in check_distribution(path)]
    if arguments.import_time:
        seconds = import_time()
        print(f"import: {seconds * 1e3:.1f} ms on top of NumPy, at most {IMPORT_LIMIT * 1e3:.0f}")
        if seconds > IMPORT_LIMIT:
            wrong.append("the import takes too long")
    for what in wrong:
        print(what)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
