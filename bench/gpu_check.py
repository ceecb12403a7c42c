"""Builds, checks and times the CUDA kernels on a GPU, in one command of at most ten minutes.

    python bench/gpu_check.py --out DIR              # where nvcc, a GPU and PyTorch are
    python bench/gpu_check.py --out DIR --skip-build # with the sixloop that is installed
    python bench/gpu_check.py --out DIR --dry-run    # tiny shapes, nobody else timed: emulated, too

Each part is a process of its own with a deadline, so that a kernel that hangs or an address that is
wrong ends one of them, and the rows it had written remain. DIR/gpu_check.json is written anew after
every part. Times are medians of turns, ours and PyTorch's in alternation, over inputs that rotate
past the second-level cache; PyTorch runs eagerly in channels_last with cudnn.benchmark.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TOTAL_SECONDS = 590
# Less is not worth the start of a process that imports PyTorch.
LEAST_SECONDS = 10
BUILD_SECONDS = 150

Json = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One process, or for the tests one for each file.

    Attributes:
        name: of the function in _gpu_parts.PARTS, or of one here.
        seconds: its deadline, and less where less of the total is left.
    """

    name: str
    seconds: int


# What proves most comes first. The last one takes what is left.
PARTS = [
    Part("ceilings", 20),
    Part("golden", 10),
    Part("accuracy", 60),
    Part("tests", 90),
    Part("products", 40),
    Part("convolutions", 80),
    Part("memory", 30),
    Part("networks", 40),
    Part("sanitizer", 40),
    Part("compiled", 30),
]


class Report:
    """The results so far, on disk after every part."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "gpu_check.json"
        self.values: Json = {"date": date.today().isoformat(), "parts": {}}

    def add(self, part: str, value: Any) -> None:
        self.values["parts"][part] = value
        self.path.write_text(json.dumps(self.values, indent=1) + "\n", encoding="utf-8")
        text = json.dumps(value)
        print(f"--- {part}: {text if len(text) < 300 else text[:300] + ' ...'}", flush=True)


def run(command: list[str], seconds: float, **more: Any) -> tuple[str, str]:
    """Runs a command and ends it, with all that it started, at the deadline.

    Returns:
        How it ended, "" if well, and what it printed.
    """
    try:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            start_new_session=True,
            **more,
        )
    except OSError as error:
        return f"{type(error).__name__}: {error}", ""
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return f"killed after {seconds:.0f} s", output
    return "" if process.returncode == 0 else f"exit status {process.returncode}", output


def run_rows(command: list[str], rows: Path, seconds: float) -> Json:
    """Runs a command that appends rows of JSON to a file, and returns those it got to."""
    rows.unlink(missing_ok=True)
    start = time.perf_counter()
    ended, output = run([*command, "--rows", str(rows)], seconds)
    result: Json = {"seconds": round(time.perf_counter() - start, 1), "rows": read_rows(rows)}
    if ended:
        result |= {"ended": ended, "output": output.splitlines()[-20:]}
    return result


def read_rows(path: Path) -> list[Json]:
    """Returns the complete rows of a file that may end within one."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def line_of(command: list[str]) -> str:
    """Returns what a command prints, or why it could not."""
    ended, output = run(command, 30)
    return output.strip() or ended


def environment() -> Json:
    """Returns the machine, its driver, and the commit."""
    query = "name,driver_version,clocks.sm,clocks.mem,power.limit,memory.total,ecc.mode.current"
    found: Json = {
        "gpu": line_of(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]),
        "nvcc": line_of(["nvcc", "--version"]).splitlines()[-1:],
        "kernel": line_of(["uname", "-a"]),
        "cores": os.cpu_count(),
        "commit": line_of(["git", "rev-parse", "HEAD"]),
        "changed": line_of(["git", "status", "--short"]),
        "python": sys.version.split()[0],
    }
    code = "import torch; print(torch.__version__, torch.backends.cudnn.version())"
    found["torch, cudnn"] = line_of([sys.executable, "-c", code]).splitlines()[-1:]
    return found


def build(folder: Path) -> Json:
    """Builds the extension for Hopper and installs it, with the package, below `folder`."""
    tree, prefix = folder / "build", folder / "site"
    configure = [
        *("cmake", "-S", str(ROOT), "-B", str(tree), "-DCMAKE_BUILD_TYPE=Release"),
        *("-DSIXLOOP_CUDA=ON", "-DCMAKE_CUDA_ARCHITECTURES=90a-real", "-DSIXLOOP_CPP_TESTS=ON"),
        f"-DPython_EXECUTABLE={sys.executable}",
        *(["-G", "Ninja"] if shutil.which("ninja") else []),
    ]
    compile_ = ["cmake", "--build", str(tree), "-j", str(os.cpu_count() or 2), "--target"]
    start = time.perf_counter()
    for command in (
        configure,
        [*compile_, "_core", "golden"],
        ["cmake", "--install", str(tree), "--prefix", str(prefix)],
    ):
        left = BUILD_SECONDS - (time.perf_counter() - start)
        ended, output = run(command, max(left, 1))
        if ended:
            tail = "\n".join(output.splitlines()[-40:])
            raise SystemExit(f"{' '.join(command)}: {ended}\n{tail}")
    shutil.copytree(ROOT / "python" / "sixloop", prefix / "sixloop", dirs_exist_ok=True)
    return {"seconds": round(time.perf_counter() - start, 1), "site": str(prefix)}


def golden(folder: Path, seconds: float) -> Json:
    """Writes what the instructions of cuda/ptx.h do here, for tests/simt/golden.txt."""
    programs = sorted((folder / "build").glob("**/golden"))
    if not programs:
        return {"not run": "no program `golden` was built"}
    ended, output = run([str(programs[0])], seconds)
    (folder / "golden.txt").write_text(output, encoding="utf-8")
    known = ROOT / "tests" / "simt" / "golden.txt"
    differ = [
        line.split()[0]
        for line in output.splitlines()
        if line and known.exists() and line not in known.read_text(encoding="utf-8").splitlines()
    ]
    return {"vectors": len(output.splitlines()), "differ": differ, "ended": ended}


def check(files: list[Path], seconds: float) -> Json:
    """Runs the files of tests, four at a time: most of their time is the CPU's."""
    deadline = time.perf_counter() + seconds

    def check_file(file: Path) -> Json:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(file)]
        left = deadline - time.perf_counter()
        if left < 1:
            return {"passed": False, "last": "no time left"}
        ended, output = run(command, left, env={**os.environ, "SIXLOOP_TEST_CUDA": "1"})
        lines = output.splitlines()
        result: Json = {"passed": not ended, "last": lines[-1] if lines else ended}
        if ended:
            result |= {"ended": ended, "tail": lines[-40:]}
        return result

    with ThreadPoolExecutor(4) as pool:
        return dict(zip((file.name for file in files), pool.map(check_file, files)))


def sanitize(seconds: float) -> Json:
    """Runs the tiny cases under compute-sanitizer, where it works."""
    if shutil.which("compute-sanitizer") is None:
        return {"not run": "compute-sanitizer is not here"}
    results: Json = {}
    for tool in ("memcheck", "racecheck", "synccheck"):
        command = [
            *("compute-sanitizer", "--tool", tool, "--error-exitcode", "9"),
            *(sys.executable, str(Path(__file__)), "--part", "accuracy", "--dry-run"),
        ]
        ended, output = run([*command, "--rows", os.devnull], seconds / 3)
        results[tool] = [*output.splitlines()[-3:], *([ended] if ended else [])]
    return results


def failures(parts: Json) -> list[str]:
    """Returns what must not be: wrong results, tests that fail, parts that ended early."""
    found = []
    for name, part in parts.items():
        if name == "tests":
            found += [f"{file}: {r['last']}" for file, r in part.items() if not r["passed"]]
        elif name == "golden" and part.get("differ"):
            found += [f"golden: {vector} is not what it was" for vector in part["differ"]]
        elif isinstance(part, dict):
            for row in part.get("rows", ()):
                if row.get("passed", True) is not True:
                    why = row.get("failed") or f"error {row['error']:.1e} of {row['limit']:.1e}"
                    same = "" if row.get("same_bits", True) else ", bits differ between runs"
                    found.append(f"{name}: {row['name']}: {why}{same}")
        # How far compiling gets is PyTorch's affair.
        if isinstance(part, dict) and part.get("ended") and name != "compiled":
            found.append(f"{name}: {part['ended']}")
    return found


def table(rows: list[Json], limits: dict[str, float]) -> str:
    """Returns the rows as text, the slowest against PyTorch first.

    Args:
        limits: operations a second by precision, and "copy": bytes a second.
    """
    lines = [
        f"{'op':<58} {'ours us':>9} {'torch us':>9} {'ratio':>6} {'determ.':>7} {'limit':>6} target"
    ]
    timed = [row for row in rows if "sixloop_us" in row]
    for row in sorted(timed, key=lambda r: r.get("ratio", 0)):
        work, elapsed = row["work"], row["sixloop_us"] * 1e-6
        limit = limits.get(row["name"].split()[-1] if work > 0 else "copy")
        share = f"{abs(work) / elapsed / limit:6.1%}" if limit and work else f"{'':>6}"
        ratio, target = row.get("ratio", 0), row.get("target")
        verdict = "" if target is None or not ratio else f"{target:.2f} "
        verdict += "" if not verdict else "ok" if ratio >= target else "below"
        lines.append(
            f"{row['name']:<58} {row['sixloop_us']:>9,.1f} {row.get('torch_us', 0):>9,.1f} "
            f"{ratio:>6.2f} {row.get('deterministic_ratio', 0):>7.2f} {share} {verdict}".rstrip()
        )
    skipped: dict[str, int] = {}
    for row in rows:
        if "not run" in row:
            skipped[row["not run"]] = skipped.get(row["not run"], 0) + 1
    return "\n".join(lines + [f"{count} not run: {why}" for why, count in skipped.items()])


def means_table(rows: list[Json]) -> str:
    """Returns the geometric means of the ratios to PyTorch, of each op in each precision."""
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.get("ratio"):
            words = row["name"].split()
            groups.setdefault((words[0], words[-1]), []).append(row["ratio"])
    lines = [f"{'geometric means':<28} {'cases':>5} {'mean':>6} {'least':>6}"]
    for (op, precision), ratios in sorted(groups.items()):
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        lines.append(
            f"{op + ' ' + precision:<28} {len(ratios):>5} {mean:>6.2f} {min(ratios):>6.2f}"
        )
    return "\n".join(lines)


def steps_table(rows: list[Json]) -> str:
    """Returns milliseconds of the networks' training steps, a line for each network."""
    networks: dict[str, dict[str, Json]] = {}
    for row in rows:
        networks.setdefault(row["name"], {})[row["library"]] = row
    lines = [f"{'training step':<28} {'ours ms':>9} {'torch':>10} {'torch.compile':>13}"]
    for name, of in networks.items():
        ours = of.get("sixloop", {}).get("ms")
        ratios = []
        for peer in ("torch", "torch.compile"):
            row = of.get(peer, {})
            ratio = row["ms"] / ours if ours and row.get("ms") else None
            text = "-" if ratio is None else f"{ratio:.2f}"
            if ratio is not None and row.get("target"):
                text += " ok" if ratio >= row["target"] else " below"
            ratios.append(text)
        mine = f"{ours:9.3f}" if ours else f"{'-':>9}"
        lines.append(f"{name:<28} {mine} {ratios[0]:>10} {ratios[1]:>13}")
    return "\n".join(lines)


def run_part(name: str, rows: Path, dry: bool) -> int:
    """Runs one part in this process, row by row."""
    sys.path.insert(0, str(Path(__file__).parent))
    from _gpu_parts import PARTS as FUNCTIONS

    with rows.open("a", encoding="utf-8") as file:
        for row in FUNCTIONS[name](dry):
            file.write(json.dumps(row) + "\n")
            file.flush()
    return 0


def run_all(report: Report, dry: bool, start: float) -> None:
    """Runs the parts, each within its time and what is left of all."""
    folder = report.path.parent.resolve()
    script = [sys.executable, str(Path(__file__)), *(["--dry-run"] if dry else [])]
    tests = sorted((ROOT / "tests" / "cuda").glob("test_*.py"))
    special: dict[str, Callable[[float], Json]] = {
        "golden": partial(golden, folder),
        "tests": partial(check, tests[:1] if dry else tests),
        "sanitizer": sanitize,
    }
    for part in PARTS:
        seconds = TOTAL_SECONDS - (time.perf_counter() - start)
        if part is not PARTS[-1]:
            seconds = min(part.seconds, seconds)
        if seconds < LEAST_SECONDS:
            report.add(part.name, {"not run": "no time left"})
        elif part.name in special:
            report.add(part.name, special[part.name](seconds))
        else:
            command = [*script, "--part", part.name]
            report.add(part.name, run_rows(command, folder / f"{part.name}.jsonl", seconds))


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for gpu_check.json")
    parser.add_argument("--skip-build", action="store_true", help="use the installed sixloop")
    parser.add_argument("--dry-run", action="store_true", help="tiny shapes, PyTorch is not timed")
    parser.add_argument("--part", help="run this part alone, in this process")
    parser.add_argument("--rows", type=Path, help="file for the rows of --part")
    args = parser.parse_args()
    if args.part:
        return run_part(args.part, args.rows, args.dry_run)
    if args.out is None:
        parser.error("--out is needed")

    start = time.perf_counter()
    report = Report(args.out)
    report.add("environment", environment())
    if not (args.skip_build or args.dry_run):
        report.add("build", build(args.out.resolve()))
        os.environ["PYTHONPATH"] = report.values["parts"]["build"]["site"]
    code = "import sixloop; print(sixloop.cuda.why() or sixloop.cuda.device_name())"
    report.add("device", line_of([sys.executable, "-c", code]))
    run_all(report, args.dry_run, start)

    parts = report.values["parts"]
    limits = {row["name"]: row["per_second"] for row in parts["ceilings"].get("rows", ())}
    families = ("products", "convolutions", "memory")
    rows = [row for family in families for row in parts[family].get("rows", ())]
    print(table(rows, limits))
    print(means_table(rows))
    print(
        steps_table(
            [row for name in ("networks", "compiled") for row in parts[name].get("rows", ())]
        )
    )
    wrong = failures(parts)
    print("\n".join(wrong) if wrong else "nothing failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
