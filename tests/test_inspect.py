"""The lecture's table and the drawing of a graph."""

from __future__ import annotations

import re
import shutil
import sys
import types
from pathlib import Path

import pytest

from sixloop import cli, inspect, models
from sixloop.nn import (
    Add,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    Flatten,
    Input,
    LocalResponseNorm,
    MaxPool2D,
    Model,
    Sequential,
)


def alexnet(groups: int = 2, name: str = "alexnet") -> Model:
    """Krizhevsky et al. 2012, figure 2, with an input of 227x227 as 55 outputs need it."""
    return Sequential(
        [
            Input((227, 227, 3)),
            Conv2D(96, 11, strides=4, activation="relu", name="conv1"),
            LocalResponseNorm(),
            MaxPool2D(3, strides=2),
            Conv2D(256, 5, padding=2, groups=groups, activation="relu", name="conv2"),
            LocalResponseNorm(),
            MaxPool2D(3, strides=2),
            Conv2D(384, 3, padding=1, activation="relu", name="conv3"),
            Conv2D(384, 3, padding=1, groups=groups, activation="relu", name="conv4"),
            Conv2D(256, 3, padding=1, groups=groups, activation="relu", name="conv5"),
            MaxPool2D(3, strides=2),
            Flatten(),
            Dense(4096, activation="relu", name="fc6"),
            Dense(4096, activation="relu", name="fc7"),
            Dense(1000, activation="softmax", name="fc8"),
        ],
        name=name,
    )


# Ranzato's slide, from the first layer to the last.
SLIDE_PARAMETERS = "35K 307K 884K 1.3M 442K 37M 16M 4M"
SLIDE_PRODUCTS = "105M 223M 149M 224M 74M 37M 16M 4M"


def columns(table: str) -> tuple[str, str]:
    """Return the figures of the layers' rows, below each other in the table, as two lines."""
    body = table.split("-\n")[1]
    cells = [line.split() for line in body.splitlines()[:-1]]
    return " ".join(row[1] for row in cells), " ".join(row[2] for row in cells)


# ---------------------------------------------------------------------------------------- lecture


def test_the_slide() -> None:
    model = alexnet()
    text = inspect.format_lecture(model)
    assert columns(text) == (SLIDE_PARAMETERS, SLIDE_PRODUCTS)
    assert re.search(r"\ntotal +60M +832M\n", text)
    assert "exactly, these layers have 61,628,776 parameters with biases and 836,547,104" in text
    remark = text.splitlines()[-1]
    assert remark.startswith("The slide mixes two counts: conv2 and conv5 have their two groups")
    assert "conv4 is counted without" in remark
    assert "60,965,224 parameters and 724,406,816 multiply-adds" in remark
    assert not model.is_built


def test_the_figures_are_computed() -> None:
    """Neither without the slide's mixture nor in another rounding are they the slide's."""
    rows = inspect.lecture_rows(alexnet())
    assert columns(inspect.lecture_table(rows))[0] == SLIDE_PARAMETERS.replace("1.3M", "663K")
    ungrouped = inspect.format_lecture(alexnet(groups=1))
    assert columns(ungrouped)[0].split()[1] == "614K"
    assert "The slide mixes" not in ungrouped
    assert "The slide mixes" not in inspect.format_lecture(alexnet(name="other"))
    mixed = inspect.lecture_rows(alexnet(), ungrouped=("conv4",))
    assert inspect.lecture_table(mixed) in inspect.format_lecture(alexnet())
    biased = [row._replace(weights=row.parameters) for row in mixed]
    assert columns(inspect.lecture_table(biased))[0] == SLIDE_PARAMETERS.replace("884K", "885K")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1K"),
        (1499, "1K"),
        (34_848, "35K"),
        (99_999, "100K"),
        (100_999, "100K"),
        (884_736, "884K"),
        (999_999, "999K"),
        (1_000_000, "1M"),
        (1_327_104, "1.3M"),
        (4_096_000, "4M"),
        (9_999_999, "9.9M"),
        (37_748_736, "37M"),
        (15_470_264_320, "15470M"),
    ],
)
def test_figures(number: int, text: str) -> None:
    value, shown = inspect.lecture_figure(number)
    assert shown == text
    unit = {"K": 1000, "M": 1_000_000}.get(text[-1], 1)
    assert value == round(float(text.rstrip("KM")) * unit)


def test_shared_layers_and_norms() -> None:
    image = Input((6, 6, 2))
    conv = Conv2D(2, 3, padding="same", use_bias=False)
    rows = inspect.lecture_rows(Model(image, BatchNorm()(conv(conv(image)))))
    assert rows == [("conv2d_1", 36, 36, 1296), ("conv2d_1", 0, 0, 1296)]


def test_lecture_on_the_command_line(capsys, monkeypatch) -> None:
    assert cli.main(["summary", "lenet5", "--style", "lecture"]) == 0
    out = capsys.readouterr().out
    assert columns(out) == ("150 2K 48K 10K 840", "117K 240K 48K 10K 840")
    assert re.search(r"\ntotal +61K +415K\n", out)
    monkeypatch.setattr(models, "list", lambda: ("alexnet",))
    monkeypatch.setattr(models, "build", lambda name, **options: alexnet())
    assert cli.main(["summary", "alexnet", "--style", "lecture"]) == 0
    assert columns(capsys.readouterr().out) == (SLIDE_PARAMETERS, SLIDE_PRODUCTS)
    assert cli.main(["summary", "alexnet", "--style", "lecture", "--batch", "8"]) == 2
    assert "leave out --batch" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------ graph


def branches() -> Model:
    image = Input((9, 9, 4), name="image")
    x = Conv2D(8, 3, padding="same", activation="relu", name="stem")(image)
    a = Conv2D(8, 1, name="a")(x)
    b = Conv2D(8, (3, 5), padding="same", groups=2, name="b")(Conv2D(8, 1, name="b0")(x))
    joined = Concat(name="joined")([a, b, x])
    total = Add(name="total")([a, b])
    return Model(image, [joined, MaxPool2D(3, strides=(2, 1), name='"pool"')(total)], name="net")


def test_text() -> None:
    assert inspect.format_graph(branches()).splitlines() == [
        "net",
        "o      image: Input (N, 9, 9, 4)",
        "o      stem: Conv2D 3x3 relu (N, 9, 9, 8)",
        "├─╮",
        "│ o    a: Conv2D 1x1 (N, 9, 9, 8)",
        "├─│─╮",
        "│ │ o  b0: Conv2D 1x1 (N, 9, 9, 8)",
        "│ │ o  b: Conv2D 3x5 2 groups (N, 9, 9, 8)",
        "├─┼─┤",
        "o │ │  joined: Concat (N, 9, 9, 24) -> output",
        "  ├─╯",
        "  o    total: Add (N, 9, 9, 8)",
        '  o    "pool": MaxPool2D 3x3 stride 2x1 (N, 4, 7, 8) -> output',
    ]


def test_every_array_is_one_line_in_the_text() -> None:
    """A residual network: each block opens a column and closes it."""
    x = image = Input((4, 4, 2))
    for _ in range(3):
        x = Add()([Conv2D(2, 3, padding="same")(x), x])
    text = inspect.format_graph(Model(image, x))
    assert text.count("├─╮") == text.count("├─╯") == 3
    assert text.endswith("o    add_3: Add (N, 4, 4, 2) -> output\n")


def edges(source: str) -> set[tuple[str, str]]:
    names = dict(re.findall(r'^  (\w+) \[label="((?:[^"\\]|\\[^n])*)', source, re.MULTILINE))
    return {(names[a], names[b]) for a, b in re.findall(r"^  (\w+) -> (\w+)", source, re.MULTILINE)}


def test_dot(tmp_path) -> None:
    inspect.draw_graph(branches(), tmp_path / "net.dot")
    source = (tmp_path / "net.dot").read_text(encoding="utf-8")
    expected = {
        ("image", "stem"),
        ("stem", "a"),
        ("stem", "b0"),
        ("b0", "b"),
        ("a", "joined"),
        ("b", "joined"),
        ("stem", "joined"),
        ("a", "total"),
        ("b", "total"),
        ("total", r"\"pool\""),
        ("joined", "output"),
        (r"\"pool\"", "output"),
    }
    assert edges(source) == expected
    assert edges(source.replace("n1 -> n2", "n0 -> n2")) != expected
    assert source.count("{") == source.count("}") == 1


def test_txt(tmp_path) -> None:
    inspect.draw_graph(branches(), tmp_path / "net.TXT")
    text = (tmp_path / "net.TXT").read_text(encoding="utf-8")
    assert text == inspect.format_graph(branches())


def test_svg_goes_through_graphviz(tmp_path, monkeypatch) -> None:
    """What is asked of the package; the next test draws where the program is installed."""

    class Source:
        def __init__(self, source: str) -> None:
            self.source = source

        def pipe(self, format: str) -> bytes:
            return f"{format}: {self.source}".encode()

    fake = types.SimpleNamespace(Source=Source, ExecutableNotFound=RuntimeError)
    monkeypatch.setitem(sys.modules, "graphviz", fake)
    inspect.draw_graph(branches(), tmp_path / "net.svg")
    inspect.draw_graph(branches(), tmp_path / "net.dot")
    source = (tmp_path / "net.dot").read_bytes()
    assert (tmp_path / "net.svg").read_bytes() == b"svg: " + source

    def missing(self: Source, format: str) -> bytes:
        raise fake.ExecutableNotFound("dot")

    monkeypatch.setattr(Source, "pipe", missing)
    with pytest.raises(FileNotFoundError, match="program dot, which is not on the PATH"):
        inspect.draw_graph(branches(), tmp_path / "other.svg")
    assert not (tmp_path / "other.svg").exists()


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz' program dot")
def test_svg(tmp_path) -> None:
    pytest.importorskip("graphviz")
    inspect.draw_graph(branches(), tmp_path / "net.svg")
    picture = (tmp_path / "net.svg").read_text(encoding="utf-8")
    assert picture.count('class="node"') == 10
    assert "stem" in picture


def test_drawing_on_the_command_line(capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["summary", "lenet5", "--draw", "net.txt"]) == 0
    assert capsys.readouterr().out.endswith("graph drawn in net.txt\n")
    assert "max_pool2d_2: MaxPool2D 2x2 stride 2" in Path("net.txt").read_text(encoding="utf-8")
    monkeypatch.setitem(sys.modules, "graphviz", None)
    for file, message in (
        ("net.svg", "pip install 'sixloop[graph]'"),
        ("net.png", "must end in .txt, .dot, .svg; got 'net.png'"),
        ("nowhere/net.txt", "nowhere"),
    ):
        assert cli.main(["summary", "lenet5", "--draw", file]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
