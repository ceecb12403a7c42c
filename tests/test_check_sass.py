"""tools/check_sass.py finds what it is there for, in text as cuobjdump writes it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parent.parent / "tools" / "check_sass.py"
SPEC = importlib.util.spec_from_file_location("check_sass", PATH)
check_sass = importlib.util.module_from_spec(SPEC)
sys.modules["check_sass"] = check_sass
SPEC.loader.exec_module(check_sass)

SASS = """
Fatbin elf code:
================
arch = sm_90a
code version = [1,7]

\tcode for sm_90a
\t\tFunction : _Z3addPf
\t.headerflags\t@"EF_CUDA_TEXMODE_UNIFIED EF_CUDA_64BIT_ADDRESS"
        /*0000*/                   LDC R1, c[0x0][0x28] ;            /* 0x00000a00ff017b82 */
                                                                     /* 0x000fe20000000800 */
        /*0010*/              @!P0 LDG.E.128.CONSTANT R4, desc[UR4][R2.64] ;  /* 0x000000 */
        /*0020*/             @!UPT UIADD3 UR4, UR4, 0x1, URZ ;       /* 0x00000a00ff017b82 */
        /*1230*/                   STG.E.128 desc[UR4][R2.64], R4 ;  /* 0x00000a00ff017b82 */
\t\t..........


\t\tFunction : _Z5matmulv
        /*0000*/                   HGMMA.64x256x16.F32.BF16 R24, gdesc[UR8], !UPT ;  /* 0x0 */
\t\t..........
"""

RESOURCES = """
Fatbin elf code:
================
arch = sm_90a
code version = [1,7]

Resource usage:
 Common:
  GLOBAL:0
 Function _Z3addPf:
  REG:32 STACK:0 SHARED:0 LOCAL:0 CONSTANT[0]:560 TEXTURE:0 SURFACE:0 SAMPLER:0
 Function _Z5matmulv:
  REG:168 STACK:0 SHARED:0 LOCAL:0 CONSTANT[0]:528 TEXTURE:0 SURFACE:0 SAMPLER:0
"""


def kernels(arch="sm_90a", **opcodes):
    """Kernels of those names, with 32 registers each."""
    return {(arch, n): check_sass.Kernel(32, set(o.split())) for n, o in opcodes.items()}


def test_instructions_belong_to_their_kernel():
    found = list(check_sass.parse_sass(SASS.splitlines()))
    add, matmul = ("sm_90a", "_Z3addPf"), ("sm_90a", "_Z5matmulv")
    assert found == [
        (add, "LDC"),
        (add, "LDG.E.128.CONSTANT"),
        (add, "UIADD3"),
        (add, "STG.E.128"),
        (matmul, "HGMMA.64x256x16.F32.BF16"),
    ]


def test_registers_belong_to_their_kernel():
    found = dict(check_sass.parse_registers(RESOURCES.splitlines()))
    assert found == {("sm_90a", "_Z3addPf"): 32, ("sm_90a", "_Z5matmulv"): 168}


def test_architectures_are_those_listed():
    text = [
        "ELF file    1: simt.1.sm_80.cubin",
        "ELF file    2: simt.2.sm_90a.cubin",
        "PTX file    1: simt.1.sm_80.ptx",
    ]
    assert check_sass.parse_architectures(text) == check_sass.ARCHITECTURES
    assert check_sass.parse_architectures(text[:2]) != check_sass.ARCHITECTURES


@pytest.mark.parametrize(
    ("demangled", "short"),
    [
        (
            "void sixloop::cuda::map_kernel<sixloop::cuda::(anonymous namespace)::Sum<float, "
            "sixloop::Identity<sixloop::scalar::Vec<float, unsigned int, 23, 127> > >, float>"
            "(sixloop::cuda::(anonymous namespace)::Sum<float>, float*, long, bool)",
            "map_kernel<Sum<float, Identity<Lane<float> > >, float>",
        ),
        (
            "void sixloop::cuda::(anonymous namespace)::gather<double, 4, "
            "&(sixloop::cuda::(anonymous namespace)::F::line(double const*, int))>(double*)",
            "gather<double, 4, &(F::line(double const*, int))>",
        ),
        ("sixloop::cuda::plain(int)", "plain"),
    ],
)
def test_names_are_short(demangled, short):
    assert check_sass.short_name(demangled) == short


def test_an_opcode_has_the_modifiers_it_needs():
    opcodes = {"LDG.E.128.CONSTANT", "HMMA.1688.F32.TF32"}
    assert check_sass.has(opcodes, "LDG.E.128")
    assert check_sass.has(opcodes, "STG|HMMA.TF32")
    assert not check_sass.has(opcodes, "LDG.E.64")
    assert not check_sass.has(opcodes, "HMMA.BF16")
    assert not check_sass.has(opcodes, "LD.E.128")
    assert not check_sass.has({"HGMMA.64x256x16.F32.BF16"}, "HMMA")


@pytest.mark.parametrize("opcode", ["LDL", "LDL.LU.64", "STL.128"])
def test_local_memory_is_found(opcode):
    assert not list(check_sass.check_kernels(kernels(add="LDG.E LDS STS"), []))
    (wrong,) = check_sass.check_kernels(kernels(add=f"LDG.E {opcode}"), [])
    assert "add: local memory" in wrong


@pytest.mark.parametrize("opcode", ["ATOM.ADD", "ATOMG.E.ADD.F32", "RED.E.ADD.F32.FTZ.RN"])
def test_atomics_are_found(opcode):
    assert not list(check_sass.check_kernels(kernels(add="LDG.E ATOMS.ADD REDUX.SUM"), []))
    (wrong,) = check_sass.check_kernels(kernels(add=f"LDG.E {opcode}"), [])
    assert "add: atomics" in wrong


def test_a_missing_instruction_is_found():
    rule = check_sass.Rule(r"^add", ("LDG.E.128", "STG.E.128"))
    assert not list(check_sass.check_kernels(kernels(add="LDG.E.128 STG.E.128"), [rule]))
    (wrong,) = check_sass.check_kernels(kernels(add="LDG.E.128 STG.E"), [rule])
    assert wrong == "sm_90a add: no STG.E.128"


def test_a_rule_is_for_its_architecture():
    rule = check_sass.Rule(r"^matmul", ("HGMMA",), arch="sm_90a")
    found = {**kernels("sm_80", matmul="HMMA"), **kernels("sm_90a", matmul="HGMMA.64x8x16.F32")}
    assert not list(check_sass.check_kernels(found, [rule]))
    (wrong,) = check_sass.check_kernels(kernels("sm_90a", matmul="HMMA"), [rule])
    assert wrong == "sm_90a matmul: no HGMMA"


def test_a_rule_without_kernels_is_found():
    rule = check_sass.Rule(r"^gone", ("LDG",))
    assert list(check_sass.check_kernels(kernels(add="LDG"), [rule])) == ["no kernel matches ^gone"]


def test_more_registers_are_found():
    found = kernels(add="LDG")
    assert not list(check_sass.check_registers(found, {"add": {"sm_90a": 32}}))
    assert not list(check_sass.check_registers(found, {"add": {"sm_90a": 40}}))
    assert not list(check_sass.check_registers(found, {"add": {"sm_90a": 25}}))  # of the same unit
    (wrong,) = check_sass.check_registers(found, {"add": {"sm_90a": 24}})
    assert wrong == "sm_90a add: 32 registers, 24 before"


def test_a_table_that_is_not_current_is_told():
    known = {"add": {"sm_90a": 32}}
    assert check_sass.table_differs(kernels(add="LDG"), known) == ""
    told = check_sass.table_differs(kernels(add="LDG", new="LDG"), {**known, "gone": {}})
    assert told.startswith("1 kernels are not in registers.json, 1 are there alone")


def test_the_table_is_read_as_it_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(check_sass, "TABLE", tmp_path / "registers.json")
    found = {**kernels("sm_80", add="LDG"), **kernels("sm_90a", add="LDG", b="STG")}
    check_sass.write_table(found)
    table = json.loads(check_sass.TABLE.read_text())["registers"]
    assert table == {"add": {"sm_80": 32, "sm_90a": 32}, "b": {"sm_90a": 32}}
    assert check_sass.table_differs(found, table) == ""


def test_a_module_without_code_for_gpus_is_skipped(tmp_path, capsys):
    module = tmp_path / "_core.so"
    module.write_bytes(b"\x7fELF")
    assert check_sass.check([module], update=False) == []
    assert capsys.readouterr().out.startswith("SKIPPED")


def test_missing_tools_are_told(tmp_path, monkeypatch, capsys):
    module = tmp_path / "_core.so"
    module.write_bytes(b"\x7fELF .nv_fatbin")
    monkeypatch.setattr(check_sass, "find_tools", dict)
    assert check_sass.check([module], update=False) == []
    assert "SKIPPED: cuobjdump, nvdisasm, c++filt not found" in capsys.readouterr().out
