"""Writes python/sixloop/_core.pyi from the signatures that pybind11 keeps in docstrings.

Run it where ``sixloop`` is installed from this tree::

    python tools/generate_stubs.py            # write the file
    python tools/generate_stubs.py --check    # exit 1 where it is not current
"""

from __future__ import annotations

import argparse
import ast
import difflib
import inspect
import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

STUB = Path(__file__).resolve().parent.parent / "python" / "sixloop" / "_core.pyi"

HEADER = '''"""Written by tools/generate_stubs.py from the extension module; do not edit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str
'''

# pybind11's names for what its casters take and give. Its versions name numbers differently; the
# stub is the same for all of them.
TYPES = [
    (r"typing\.SupportsInt(?: \| typing\.SupportsIndex)?", "int"),
    (r"typing\.SupportsFloat(?: \| typing\.SupportsIndex)?", "float"),
    (r"(?:collections\.abc|typing)\.Sequence\[", "list["),
    (r"\bobject\b", "Any"),
    (r"\bdict\b(?!\[)", "dict[str, Any]"),
    (r"\btuple\b(?!\[)", "tuple[Any, ...]"),
    (r"\blist\b(?!\[)", "list[Any]"),
    (r"numpy\.ndarray\b(?!\[)", "NDArray[Any]"),
    (r"numpy\.dtype\b(?!\[)", "np.dtype[Any]"),
    (r"typing\.Any", "Any"),
    (r"sixloop\._core\.", ""),
]


def translate(text: str) -> str:
    """Returns a type of pybind11 as a type of the stub."""
    for pattern, replacement in TYPES:
        text = re.sub(pattern, replacement, text)
    return text


def split_arguments(text: str) -> list[str]:
    """Splits at the commas that stand outside of brackets."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    last = text[start:].strip()
    return [*parts, last] if last else parts


def argument(text: str) -> str:
    """Returns one argument of a pybind11 signature as one of the stub."""
    if text in ("*", "/"):
        return text
    if text.startswith("*"):
        return f"{text}: Any"
    name, _, rest = text.partition(":")
    if name == "self":
        return "self"
    type_, equals, default = rest.strip().partition(" = ")
    if not equals:
        return f"{name}: {translate(type_)}"
    try:
        ast.literal_eval(default)
    except (SyntaxError, ValueError):
        default = "..."
    return f"{name}: {translate(type_)} = {default}"


def split_doc(name: str, doc: str | None) -> tuple[list[str], str, str]:
    """Returns the arguments, the result and the description in a pybind11 docstring."""
    first, _, description = (doc or "").partition("\n")
    match = re.fullmatch(r"\w*\((.*)\) -> (.+)", first)
    if match is None:
        raise SystemExit(f"{name}: no pybind11 signature in {first!r}")
    arguments = [argument(a) for a in split_arguments(match[1])]
    nameless = [i for i, a in enumerate(arguments) if re.match(r"arg\d+:", a)]
    if nameless:
        arguments.insert(nameless[-1] + 1, "/")
    return arguments, translate(match[2]), description.strip()


def function(name: str, doc: str | None, indent: str = "") -> str:
    """Returns the stub of a function or method."""
    arguments, result, description = split_doc(name, doc)
    head = f"{indent}def {name}({', '.join(arguments)}) -> {result}:"
    if len(head) > 95:
        lines = [f"{indent}    {a},\n" for a in arguments]
        head = f"{indent}def {name}(\n{''.join(lines)}{indent}) -> {result}:"
    if not description:
        return head + " ..."
    body = textwrap.fill(f'"""{description}"""', 100 - len(indent) - 4)
    return head + "\n" + textwrap.indent(body, indent + "    ")


def class_(cls: type) -> str:
    """Returns the stub of a class."""
    lines = [f"class {cls.__name__}:", f'    """{inspect.getdoc(cls)}"""', ""]
    for name, member in vars(cls).items():
        if isinstance(member, property):
            _, result, _ = split_doc(name, member.fget.__doc__)
            lines += ["    @property", f"    def {name}(self) -> {result}:"]
            lines.append(f'        """{member.__doc__}"""')
        elif callable(member) and name != "_pybind11_conduit_v1_" and member.__doc__:
            lines.append(function(name, member.__doc__, "    "))
    return "\n".join(lines)


def stub(module: ModuleType) -> str:
    """Returns the whole file."""
    members: dict[str, Any] = vars(module)
    classes = [class_(m) for m in members.values() if isinstance(m, type)]
    functions = [
        function(name, m.__doc__)
        for name, m in sorted(members.items())
        if inspect.isbuiltin(m) and not name.startswith("__")
    ]
    return "\n".join([HEADER, *(c + "\n" for c in classes), *functions]) + "\n"


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare only")
    check: bool = parser.parse_args().check

    from sixloop import _core

    text = stub(_core)
    if not check:
        STUB.write_text(text)
        return 0
    current = STUB.read_text() if STUB.exists() else ""
    if current == text:
        return 0
    sys.stdout.writelines(
        difflib.unified_diff(
            current.splitlines(keepends=True),
            text.splitlines(keepends=True),
            "committed",
            "current",
        )
    )
    print("python/sixloop/_core.pyi is not current: run python tools/generate_stubs.py")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
