"""A model's graph as text, as a DOT file, or as an SVG picture (``sixloop[graph]``)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sixloop._checks import show

if TYPE_CHECKING:
    from sixloop.nn import Layer, Model

__all__ = ["draw_graph", "format_graph"]

_SUFFIXES = (".txt", ".dot", ".svg")


def draw_graph(model: Model, path: str | os.PathLike[str]) -> None:
    """Draw the graph of a model into a file.

    Args:
        model: it need not be built.
        path: file to write. Its suffix decides the format: .txt (see `format_graph`), .dot (the
            language of Graphviz) or .svg.

    Raises:
        ValueError: another suffix.
        ModuleNotFoundError: .svg without the package graphviz.
        FileNotFoundError: .svg without Graphviz' program `dot`, or no such directory.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ValueError(
            f"[draw_graph] the file's name must end in {', '.join(_SUFFIXES)}; got {file.name!r}"
        )
    if suffix == ".svg":
        file.write_bytes(_svg(_dot(model)))
    else:
        file.write_text(format_graph(model) if suffix == ".txt" else _dot(model), encoding="utf-8")


def format_graph(model: Model) -> str:
    """Return the graph as text: a line for each call of a layer, and lines for the arrays.

    Calls stand in the order of execution. A line of arrays goes down from the call that makes one
    to the last that reads it; where a line across leaves it whole, it is not read there.
    """
    vertices = _vertices(model)
    last_reader = {source: i for i, vertex in enumerate(vertices) for source in vertex.sources}
    columns: list[int | None] = []  # the vertex whose array a column carries
    drawn: list[tuple[str, str]] = []
    for i, vertex in enumerate(vertices):
        ending = [c for c, v in enumerate(columns) if v is not None and last_reader.get(v) == i]
        read = [c for c, v in enumerate(columns) if v in vertex.sources]
        place = min(ending, default=_free(columns))
        if len(columns) == place:
            columns.append(None)
        if read not in ([], [place]):
            drawn.append((_join(columns, read, ending, place), ""))
        for c in ending:
            columns[c] = None
        columns[place] = i
        marks = ("o" if c == place else " " if v is None else "│" for c, v in enumerate(columns))
        drawn.append((" ".join(marks), vertex.label))
        if i not in last_reader:
            columns[place] = None
        while columns and columns[-1] is None:
            columns.pop()
    width = max(len(lines) for lines, _ in drawn)
    text = (f"{lines:<{width}}  {label}".rstrip() for lines, label in drawn)
    return "\n".join([model.name, *text]) + "\n"


class _Vertex(NamedTuple):
    name: str
    kind: str
    shape: str
    sources: tuple[int, ...]
    is_output: bool

    @property
    def label(self) -> str:
        return f"{self.name}: {self.kind} {self.shape}" + (" -> output" if self.is_output else "")


def _vertices(model: Model) -> list[_Vertex]:
    """Returns inputs and calls, numbered as the model's slots."""
    outputs = set(model.output_slots)
    vertices = [
        _Vertex(name, "Input", show(shape), (), i in outputs)
        for i, (name, shape) in enumerate(zip(model.input_names, model.input_shapes, strict=True))
    ]
    for step, node in zip(model.steps, model.nodes, strict=True):
        kind, shape = _describe(step.layer), show(node.output_shape)
        vertices.append(_Vertex(step.name, kind, shape, step.inputs, step.output in outputs))
    return vertices


def _describe(layer: Layer) -> str:
    """Returns the class and what one wants to see of the arguments."""
    words = [type(layer).__name__]
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if window is not None:
        words.append("x".join(map(str, window)))
    strides = getattr(layer, "strides", (1, 1))
    if strides != (1, 1):
        same = strides[0] == strides[1]
        words.append(f"stride {strides[0] if same else 'x'.join(map(str, strides))}")
    if getattr(layer, "groups", 1) > 1:
        words.append(f"{getattr(layer, 'groups', 1)} groups")
    activation = getattr(layer, "activation", None)
    if isinstance(activation, str):
        words.append(activation)
    return " ".join(words)


def _free(columns: list[int | None]) -> int:
    return columns.index(None) if None in columns else len(columns)


def _join(columns: list[int | None], read: list[int], ending: list[int], place: int) -> str:
    """Returns the line above a call that leads the arrays it reads to its column."""
    left, right = min(*read, place), max(*read, place)
    text = ""
    for c, vertex in enumerate(columns):
        if c == place:
            # An array that ends here comes down its own column.
            own = c in ending
            up = ("├" if own else "╭") if right > c else ("┤" if own else "╮")
            mark = ("┼" if own else "┬") if left < c < right else up
        elif c in ending:
            mark = ("╯" if c == right else "┴") if c > place else ("╰" if c == left else "┴")
        elif c in read:
            mark = "┼" if left < c < right else "┤" if c == right else "├"
        elif left < c < right:
            # Another array's line passes over.
            mark = "─" if vertex is None else "│"
        else:
            mark = " " if vertex is None else "│"
        text += mark + ("─" if left <= c < right else " ")
    return text.rstrip()


def _dot(model: Model) -> str:
    vertices = _vertices(model)
    lines = [
        f"digraph {_quote(model.name)} {{",
        '  node [shape=box, fontname="Helvetica", fontsize=10];',
        '  edge [fontname="Helvetica", fontsize=9];',
    ]
    for i, vertex in enumerate(vertices):
        style = ", style=rounded" if not vertex.sources else ""
        lines.append(f"  n{i} [label={_quote(vertex.name, vertex.kind)}{style}];")
    for i, vertex in enumerate(vertices):
        for source in vertex.sources:
            lines.append(f"  n{source} -> n{i} [label={_quote(vertices[source].shape)}];")
    for i, slot in enumerate(model.output_slots):
        lines.append(f"  out{i} [label={_quote('output')}, style=rounded];")
        lines.append(f"  n{slot} -> out{i} [label={_quote(vertices[slot].shape)}];")
    return "\n".join([*lines, "}"]) + "\n"


def _quote(*texts: str) -> str:
    """Returns a quoted string of DOT, a line for each text."""
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return '"' + "\\n".join(escaped) + '"'


def _svg(source: str) -> bytes:
    try:
        import graphviz
    except ImportError as error:
        raise ModuleNotFoundError(
            "[draw_graph] SVG needs graphviz: pip install 'sixloop[graph]', and its program dot; "
            ".txt and .dot need neither"
        ) from error
    try:
        picture: bytes = graphviz.Source(source).pipe(format="svg")
    except graphviz.ExecutableNotFound as error:
        raise FileNotFoundError(
            "[draw_graph] SVG needs Graphviz' program dot, which is not on the PATH (Debian: "
            "apt install graphviz); .txt and .dot do without"
        ) from error
    return picture
