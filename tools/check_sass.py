"""Checks the machine code for GPUs in a wheel: what the compiler made of the kernels.

python tools/check_sass.py dist/*.whl             # or extension modules, or object files
python tools/check_sass.py dist/*.whl --update    # write tools/registers.json

Checked are the architectures, that no kernel has local memory or atomics, that kernels have the
instructions RULES names, and that none is given more registers than registers.json has for it:
registers of a kernel that is not there yet are not compared. Needs cuobjdump and nvdisasm, from
PyPI's nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm, and binutils' c++filt; where one is missing,
or the module has no such code, it says SKIPPED.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

TABLE = Path(__file__).resolve().parent / "registers.json"
# Cubins, and PTX for what comes later, as cuobjdump lists them.
ARCHITECTURES = {"elf sm_80", "elf sm_90a", "ptx sm_80"}
TOOLS = ("cuobjdump", "nvdisasm", "c++filt")
LOCAL_MEMORY = {"LDL", "STL"}
# On memory that other blocks see: results would depend on their order.
ATOMICS = {"ATOM", "ATOMG", "RED"}

Key = tuple[str, str]  # architecture, mangled name


@dataclass(frozen=True)
class Rule:
    """Instructions that every kernel whose name matches must have.

    Attributes:
        kernels: regular expression, searched in names like those in registers.json.
        needs: opcodes with some of their modifiers, as in LDG.E.128; `A|B` is either of them.
        arch: the architecture it is for, empty for all.
    """

    kernels: str
    needs: tuple[str, ...]
    arch: str = ""


# A part of a row is 16 bytes: 2 elements of float64, 4 of float32, 8 of bfloat16.
PART = r"(double, 2|float, 4|BFloat16, 8)"
WHOLE = ("LDG.E.128", "STG.E.128")
RULES = [
    # Elementwise. A step's gradient reads nothing.
    Rule(r"^map_kernel<(?!Gradient(Of)?<\w+, Step<)", WHOLE),
    Rule(r"^(bias|dropout|update)_kernel<", WHOLE),
    Rule(r"^numbers_kernel<", ("STG.E.128",)),
    Rule(rf"^chunk_sum_kernel<{PART}, Terms<", ("LDG.E.128",)),
    # Copies.
    Rule(r"^(copy_rows|pad)_kernel<Pack<float>", WHOLE),
    Rule(r"^transpose_kernel<Pack<float>", WHOLE),
    Rule(r"^windows_kernel<", WHOLE),
    # Windows and rows.
    Rule(r"^fold_kernel<\w+Fold, " + PART, WHOLE),
    Rule(rf"^(maxima|max_gather|avg_gather|max_grad_tiles)_kernel<{PART}", WHOLE),
    Rule(rf"^(normalize|grad_input)_kernel<{PART}", WHOLE),
    Rule(rf"^moments_kernel<{PART}", ("LDG.E.128",)),
    Rule(r"^depthwise_kernel<[24],", WHOLE),
    Rule(r"^long_rows(_grad)?_kernel<\w+, true,", WHOLE),
    Rule(rf"^columns(_grad)?_kernel<{PART}", ("LDG.E.128",)),
    # Products on ordinary cores.
    Rule(r"^product_kernel<Tile<float,", (*WHOLE, "LDS.128", "FFMA")),
    Rule(r"^product_kernel<Tile<double,", (*WHOLE, "LDS.128", "DFMA")),
    # Tensor cores by mma.sync: copies that nobody waits for, matrices from shared memory.
    Rule(
        r"^mma_kernel<MmaShape<BFloat16,",
        ("HMMA.16816.F32.BF16", "LDSM.16", "LDGSTS.E.128", "STG.E.128"),
    ),
    Rule(r"^mma_kernel<MmaShape<float,", ("HMMA.1688.F32.TF32", "LDGSTS.E.128", "STG.E.128")),
    # Hopper's: of four warps at a time, out of shared memory.
    Rule(
        r"^wgmma_kernel<WgmmaShape<BFloat16,",
        ("HGMMA.F32.BF16", "LDGSTS.E.128", "WARPGROUP"),
        arch="sm_90a",
    ),
    Rule(
        r"^wgmma_kernel<WgmmaShape<float,",
        ("HGMMA.F32.TF32", "LDGSTS.E.128", "WARPGROUP"),
        arch="sm_90a",
    ),
    # What lies across k is read word by word.
    Rule(
        r"^wgmma_kernel<WgmmaShape<float,[^>]*>, Mma(WindowRows<|Matrix<float, true)",
        ("LDSM.16",),
        arch="sm_90a",
    ),
    Rule(r"^round_taps_kernel", WHOLE),
    Rule(r"^tma_kernel<", ("HGMMA.F32.BF16", "UTMALDG", "USETMAXREG"), arch="sm_90a"),
    Rule(
        r"^tma_kernel<.*TmaWindow(s<|Columns)", ("UTMALDG.4D.IM2COL", "UTMALDG.3D"), arch="sm_90a"
    ),
]
# A warpgroup multiplies as many columns at a time as the tile has.
for columns in (64, 128, 256):
    RULES += [
        Rule(
            rf"^wgmma_kernel<WgmmaShape<BFloat16, \d+, {columns},",
            (f"HGMMA.64x{columns}x16",),
            "sm_90a",
        ),
        Rule(
            rf"^wgmma_kernel<WgmmaShape<float, \d+, {columns},",
            (f"HGMMA.64x{columns}x8",),
            "sm_90a",
        ),
        Rule(rf"^tma_kernel<TmaShape<{columns},", (f"HGMMA.64x{columns}x16",), "sm_90a"),
    ]
# A thread gets registers in units of so many.
REGISTER_UNIT = 8


@dataclass
class Kernel:
    """What was found of one kernel for one architecture."""

    registers: int = 0
    opcodes: set[str] = field(default_factory=set)


def parse_sass(lines: Iterable[str]) -> Iterator[tuple[Key, str]]:
    """Yields a kernel's key and an opcode for each instruction of `cuobjdump -sass`."""
    arch = name = ""
    for line in lines:
        # Instructions are nearly all of some million lines.
        if (match := INSTRUCTION.match(line)) is not None:
            yield (arch, name), match[1]
        elif (match := re.match(r"\s*code for (\w+)", line)) is not None:
            arch = match[1]
        elif (match := re.match(r"\s*Function : (\S+)", line)) is not None:
            name = match[1]


INSTRUCTION = re.compile(r"\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?\w+\s+)?([A-Z][A-Z0-9_]*(?:\.\w+)*)")


def parse_registers(lines: Iterable[str]) -> Iterator[tuple[Key, int]]:
    """Yields a kernel's key and its registers from `cuobjdump -res-usage`."""
    arch = name = ""
    for line in lines:
        if (match := re.match(r"\s*arch = (\w+)", line)) is not None:
            arch = match[1]
        elif (match := re.match(r"\s*Function (\S+):", line)) is not None:
            name = match[1]
        elif (match := re.match(r"\s*REG:(\d+) ", line)) is not None:
            yield (arch, name), int(match[1])


def parse_architectures(lines: Iterable[str]) -> set[str]:
    """Returns kinds and architectures from `cuobjdump -lelf -lptx`."""
    found = set()
    for line in lines:
        match = re.match(r"(ELF|PTX) file.*\.(sm_\w+)\.(?:cubin|ptx)\s*$", line)
        if match is not None:
            found.add(f"{match[1].lower()} {match[2]}")
    return found


def short_name(demangled: str) -> str:
    """Returns a kernel's name with its template's arguments, without namespaces and parameters."""
    name = demangled.replace("(anonymous namespace)::", "").replace("sixloop::", "")
    name = name.replace("cuda::", "").removeprefix("void ")
    name = re.sub(r"scalar::Vec<(\w+)[^<>]*>", r"Lane<\1>", name)
    depth = 0
    for i, c in enumerate(name):
        depth += (c == "<") - (c == ">")
        if c == "(" and depth == 0:
            return name[:i]
    return name


def has(opcodes: set[str], needed: str) -> bool:
    """Returns whether one of the opcodes has the needed one's modifiers, in any order."""
    for one in needed.split("|"):
        opcode, *modifiers = one.split(".")
        for found in opcodes:
            first, *rest = found.split(".")
            if first == opcode and set(modifiers) <= set(rest):
                return True
    return False


def check_kernels(kernels: dict[Key, Kernel], rules: list[Rule]) -> Iterator[str]:
    """Yields kernels with what none may have or without what a rule wants; rules for no kernel."""
    for (arch, name), kernel in kernels.items():
        operations = {opcode.split(".")[0] for opcode in kernel.opcodes}
        if operations & LOCAL_MEMORY:
            yield f"{arch} {name}: local memory"
        if operations & ATOMICS:
            yield f"{arch} {name}: atomics"
    for rule in rules:
        matching = [
            (arch, name, kernel)
            for (arch, name), kernel in kernels.items()
            if rule.arch in ("", arch) and re.search(rule.kernels, name)
        ]
        if not matching:
            yield f"no kernel matches {rule.kernels} {rule.arch}".rstrip()
        for arch, name, kernel in matching:
            for needed in rule.needs:
                if not has(kernel.opcodes, needed):
                    yield f"{arch} {name}: no {needed}"


def units(registers: int) -> int:
    """Returns what a thread is given for so many registers."""
    return -(-registers // REGISTER_UNIT)


def check_registers(kernels: dict[Key, Kernel], known: dict[str, dict[str, int]]) -> Iterator[str]:
    """Yields kernels that take a unit of registers more than the table has."""
    for (arch, name), kernel in kernels.items():
        entry = known.get(name, {}).get(arch)
        if entry is not None and units(kernel.registers) > units(entry):
            yield f"{arch} {name}: {kernel.registers} registers, {entry} before"


def table_differs(kernels: dict[Key, Kernel], known: dict[str, dict[str, int]]) -> str:
    """Returns how many kernels the table does not have, and the other way round; or nothing."""
    names = {name for _, name in kernels}
    new, gone = len(names - known.keys()), len(known.keys() - names)
    if not new and not gone:
        return ""
    return f"{new} kernels are not in {TABLE.name}, {gone} are there alone: --update writes it"


def find_tools() -> dict[str, Path]:
    """Returns the tools that are there: on the path, or in PyPI's packages."""
    found = {}
    for tool in TOOLS:
        if (path := shutil.which(tool)) is not None:
            found[tool] = Path(path)
            continue
        try:
            files = metadata.files(f"nvidia-cuda-{tool}") or []
        except metadata.PackageNotFoundError:
            continue
        found.update((tool, Path(str(file.locate()))) for file in files if file.name == tool)
    return found


def run(tool: Path, *arguments: str) -> Iterator[str]:
    """Yields a tool's output line by line: the disassembly has hundreds of megabytes."""
    process = subprocess.Popen([tool, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield from process.stdout
    if process.wait() != 0:
        raise SystemExit(f"{tool} {' '.join(arguments)}: exit status {process.returncode}")


def demangled(names: list[str], tool: Path) -> list[str]:
    """Returns the names as C++ has them."""
    text = "".join(f"{name}\n" for name in names)
    result = subprocess.run([tool], input=text, capture_output=True, text=True, check=True)
    return result.stdout.splitlines()


def read_kernels(modules: list[Path], tools: dict[str, Path]) -> dict[Key, Kernel]:
    """Returns all kernels of modules by architecture and short name.

    Kernels of one name in several files, or with other parameters alone, count as one with the
    most registers.
    """
    cuobjdump = tools["cuobjdump"]
    mangled: dict[Key, Kernel] = {}
    for module in modules:
        for key, opcode in parse_sass(run(cuobjdump, "-sass", str(module))):
            mangled.setdefault(key, Kernel()).opcodes.add(opcode)
        for key, registers in parse_registers(run(cuobjdump, "-res-usage", str(module))):
            if key in mangled:
                mangled[key].registers = max(mangled[key].registers, registers)
    names = sorted({name for _, name in mangled})
    plain = demangled(names, tools["c++filt"])
    short = dict(zip(names, map(short_name, plain), strict=True))
    kernels: dict[Key, Kernel] = {}
    for (arch, name), kernel in mangled.items():
        merged = kernels.setdefault((arch, short[name]), Kernel())
        merged.registers = max(merged.registers, kernel.registers)
        merged.opcodes |= kernel.opcodes
    return kernels


def compiler() -> str:
    """Returns nvcc's version: another one allocates registers otherwise."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return "none"
    text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"release [\d.]+, (V[\d.]+)", text)
    return match[1] if match else "unknown"


def check(modules: list[Path], update: bool) -> list[str]:
    """Checks extension modules, or object files, and returns what is wrong with them."""
    modules = [module for module in modules if b".nv_fatbin" in module.read_bytes()]
    if not modules:
        print("SKIPPED: built without nvcc, there is no machine code for GPUs")
        return []
    tools = find_tools()
    if missing := [tool for tool in TOOLS if tool not in tools]:
        print(f"SKIPPED: {', '.join(missing)} not found, machine code for GPUs is not checked")
        return []
    # cuobjdump looks for nvdisasm there.
    os.environ["PATH"] += f"{os.pathsep}{tools['nvdisasm'].parent}"
    kernels = read_kernels(modules, tools)
    wrong = [*check_kernels(kernels, RULES)]
    for module in modules:
        listed = parse_architectures(run(tools["cuobjdump"], "-lelf", "-lptx", str(module)))
        if listed != ARCHITECTURES:
            wrong.append(f"{module.name}: for {sorted(listed)}, not for {sorted(ARCHITECTURES)}")
    if update:
        write_table(kernels)
    known = json.loads(TABLE.read_text(encoding="utf-8"))
    if known["nvcc"] == compiler():
        wrong += check_registers(kernels, known["registers"])
        if differs := table_differs(kernels, known["registers"]):
            print(differs)
    else:
        print(f"registers are of nvcc {known['nvcc']}, this is {compiler()}: not compared")
    print(f"{len(kernels)} kernels for {', '.join(sorted({arch for arch, _ in kernels}))}")
    return wrong


def write_table(kernels: dict[Key, Kernel]) -> None:
    """Writes registers.json, a line for each kernel."""
    registers: dict[str, dict[str, int]] = {}
    for (arch, name), kernel in sorted(kernels.items()):
        registers.setdefault(name, {})[arch] = kernel.registers
    rows = (f"  {json.dumps(name)}: {json.dumps(of)}" for name, of in sorted(registers.items()))
    head = f'{{\n "nvcc": {json.dumps(compiler())},\n "registers": {{\n'
    TABLE.write_text(head + ",\n".join(rows) + "\n }\n}\n", encoding="utf-8")


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("modules", nargs="+", type=Path, help="wheels, modules or object files")
    parser.add_argument("--update", action="store_true", help=f"write {TABLE.name}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        modules = [unpacked(path, folder) for path in arguments.modules]
        wrong = check(modules, arguments.update)
    for what in wrong:
        print(what)
    return 1 if wrong else 0


def unpacked(path: Path, folder: str) -> Path:
    """Returns the extension module of a wheel, or the file itself."""
    if path.suffix != ".whl":
        return path
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if re.search(r"/_core\..*\.so$", n))
        return Path(archive.extract(name, folder))


if __name__ == "__main__":
    sys.exit(main())
