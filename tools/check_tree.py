"""Checks the rules of this tree that neither a compiler nor a linter knows.

Prints each violation as ``path:line: rule`` and exits 1 where there is one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ISAS = ("scalar", "neon", "avx2", "avx512")
DTYPES = {"float": "f32", "double": "f64", "int64_t": "i64"}
OPEN_END = re.compile(r"\b(FIXME|XXX|HACK)\b|\bTODO\b(?!\([^)]+\): \S)")
# Functions of the compiler, of which no file makes a copy that another one could be linked to.
LEAKING_STD = re.compile(r"\bstd::(?!mem(cpy|set)\b|size_t\b|u?int\d+_t\b)")

Finding = tuple[str, int, str]


def tracked_texts() -> dict[str, str]:
    """Returns path -> text of every text file under version control, new files included."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    texts = {}
    for name in filter(None, listing.split("\0")):
        data = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b"\0"
        if b"\0" not in data:
            texts[name] = data.decode()
    return texts


def check_text(path: str, text: str) -> Iterator[Finding]:
    """Whitespace, open ends without a reason, paths of somebody's machine."""
    if text and not text.endswith("\n"):
        yield path, text.count("\n") + 1, "no newline at the end of the file"
    for number, line in enumerate(text.splitlines(), 1):
        if line != line.rstrip() and not path.endswith((".md", ".patch")):
            yield path, number, "trailing whitespace"
        if OPEN_END.search(line) and path != "tools/check_tree.py":
            yield path, number, "an open end needs its reason: TODO(why it waits): what"
        if re.search(r"(?<![\w.])/(home|root|work|Users)/\w", line):
            yield path, number, "a path of one machine"


def check_includes(path: str, text: str) -> Iterator[Finding]:
    """Who may know whom: bindings -> op folders -> base."""
    parts = path.split("/")
    if parts[0] != "csrc" or not path.endswith((".h", ".cc", ".inc")):
        return
    folder = parts[1]
    isa_file = path.endswith(".cc") and Path(path).stem in ISAS
    isa_code = isa_file or path.endswith("-inl.h")
    for number, line in enumerate(text.splitlines(), 1):
        include = re.match(r'#include ["<]([^">]+)[">]', line)
        if include is None:
            if isa_code and LEAKING_STD.search(line.partition("//")[0]):
                yield path, number, "std:: in a file with ISA flags may leak its instructions"
            continue
        target = include[1].split("/")[0]
        if folder == "base" and line.startswith('#include "') and target != "base":
            yield path, number, "base knows no op"
        if folder != "bindings" and include[1].startswith(("bindings/", "pybind11/", "Python.h")):
            yield path, number, "only csrc/bindings knows Python"
        if isa_file and line.startswith('#include "') and target not in ("base", folder):
            yield path, number, "an ISA file includes its own op and base alone"
        is_intrinsics = include[1] in ("immintrin.h", "arm_neon.h")
        if is_intrinsics and not (isa_file or path.startswith("csrc/base/simd/")):
            yield path, number, "intrinsics belong into base/simd and <isa>.cc"


def check_device_code(path: str, text: str) -> Iterator[Finding]:
    """What keeps a kernel from the emulator, or makes a result depend on the order of threads."""
    if not path.startswith("csrc/") or path == "csrc/cuda/launch.h":
        return
    for number, line in enumerate(text.splitlines(), 1):
        code = line.partition("//")[0]
        if "<<<" in code:
            yield path, number, "kernels are launched by SIXLOOP_LAUNCH alone"
        if "__shared__" in code:
            yield path, number, "shared memory comes from cuda::shared_memory"
        if re.search(r"\batomic[A-Z]", code):
            yield path, number, "no result may depend on the order of threads"
        if path.endswith((".cu", ".cuh")) and re.search(r'#include [<"](pybind11|Python\.h)', line):
            yield path, number, "only csrc/bindings knows Python"


def op_graph_findings(texts: dict[str, str]) -> Iterator[Finding]:
    """No circle between op folders."""
    graph: dict[str, set[str]] = {}
    for path, text in texts.items():
        parts = path.split("/")
        if parts[0] == "csrc" and len(parts) > 2 and parts[1] not in ("base", "bindings"):
            used = set(re.findall(r'#include "(\w+)/', text)) - {"base", parts[1]}
            graph.setdefault(parts[1], set()).update(used)
    for op in graph:
        reached, todo = set[str](), list(graph[op])
        while todo:
            other = todo.pop()
            if other not in reached:
                reached.add(other)
                todo.extend(graph.get(other, ()))
        if op in reached:
            yield f"csrc/{op}", 1, f"includes itself through {', '.join(sorted(reached - {op}))}"


def check_rows(path: str, text: str) -> Iterator[Finding]:
    """Symbol, row and test id are one word: <op>_<dtype>[_<MRxNR>]__<isa>; best ISA first."""
    if not path.endswith("kernels.inc"):
        return
    row = re.compile(r"SIXLOOP_KERNEL\((\w+), (\w+), (\w+), (\w+)[,)]")
    seen: set[str] = set()
    last: dict[tuple[str, str], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = row.match(line)
        if match is None:
            continue
        isa, kind, dtype, name = match.groups()
        if not re.fullmatch(rf"[a-z0-9_]+_{DTYPES.get(dtype, dtype)}(_\d+x\d+)?__{isa}", name):
            yield path, number, f"{name} does not say {dtype} and {isa}"
        if name in seen:
            yield path, number, f"{name} stands twice"
        seen.add(name)
        rank = ISAS.index(isa)
        if rank > last.get((kind, dtype), len(ISAS)):
            yield path, number, f"{name} comes after a row of a lesser ISA"
        last[kind, dtype] = rank
    for (kind, dtype), rank in last.items():
        if rank != 0:
            yield path, 1, f"{kind} has no scalar kernel for {dtype}"


def check_rows_are_tested(texts: dict[str, str]) -> Iterator[Finding]:
    """Each kind of kernel is called directly by a C++ test, which walks all of its rows."""
    tests = "".join(text for path, text in texts.items() if path.startswith("tests/cpp/test_"))
    for path, text in texts.items():
        if path.endswith("kernels.inc"):
            for kind in sorted(set(re.findall(r"SIXLOOP_KERNEL\(\w+, (\w+),", text))):
                if not re.search(rf"<{kind}[,>]", tests):
                    yield path, 1, f"no test in tests/cpp walks the rows of {kind}"


def check_python(path: str, text: str) -> Iterator[Finding]:
    """ops.py and _on_device.py alone call the kernels; __init__ and cuda.py have the settings."""
    if not path.startswith("python/sixloop/") or path.endswith(
        ("/ops.py", "/_on_device.py", "sixloop/cuda.py", "sixloop/__init__.py")
    ):
        return
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s*(from|import) .*\b_core\b(?! import Tensor$)", line):
            yield path, number, "only ops.py and _on_device.py import _core's functions"


def check_versions(texts: dict[str, str]) -> Iterator[Finding]:
    """One version of each tool, one version of the library."""
    pyproject = texts["pyproject.toml"]
    pins = dict(re.findall(r'"([a-z-]+)==([\d.]+)"', pyproject))
    for name, version in re.findall(r'"([a-z-]+)==([\d.]+)"', texts[".pre-commit-config.yaml"]):
        if pins.get(name) != version:
            yield ".pre-commit-config.yaml", 1, f"{name} is {pins.get(name)} in pyproject.toml"
    match = re.search(r'^version = "(.+)"', pyproject, re.MULTILINE)
    if match and f"## [{match[1]}]" not in texts.get("CHANGELOG.md", ""):
        yield "CHANGELOG.md", 1, f"no section for version {match[1]}"


def check_quotations(path: str, text: str, texts: dict[str, str]) -> Iterator[Finding]:
    """Code that a document quotes from a file stands there, in its order; "..." leaves some out."""
    if not path.endswith(".md"):
        return
    for block in re.finditer(r"^ *```\w+ (\S+)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        source = [line.strip() for line in texts.get(block[1], "").splitlines()]
        position = 0
        for line in map(str.strip, block[2].splitlines()):
            if line == "...":
                continue
            if line not in source[position:]:
                number = text.count("\n", 0, block.start()) + 1
                yield path, number, f"quotes what {block[1]} does not say: {line}"
                break
            position = source.index(line, position) + 1


def main() -> int:
    """Runs all checks."""
    texts = tracked_texts()
    findings = [*op_graph_findings(texts), *check_versions(texts), *check_rows_are_tested(texts)]
    for path, text in texts.items():
        for check in (check_text, check_includes, check_device_code, check_rows, check_python):
            findings.extend(check(path, text))
        findings.extend(check_quotations(path, text, texts))
    for path, number, rule in findings:
        print(f"{path}:{number}: {rule}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
