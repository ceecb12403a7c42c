"""Saved models: the same bits back, and a clear error for whatever else a file may hold."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sixloop
from sixloop import initializers, nn, ops
from sixloop.nn import (
    Activation,
    Add,
    AvgPool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Input,
    LocalResponseNorm,
    MaxPool2D,
    Model,
    RadialBasis,
    Reshape,
    ScaledTanh,
    Sequential,
    SparseConv2D,
    Subsample2D,
    ZeroPad2D,
    ZeroPadChannels,
    serialization,
)


def every_layer() -> Model:
    image, extra = Input((8, 7, 3), name="image"), Input((4,))
    conv = Conv2D(4, (3, 2), strides=(1, 1), padding=((1, 1), (1, 0)), activation="gelu", name="c")
    x = conv(Conv2D(4, 1, use_bias=False, kernel_initializer=initializers.normal(std=0.1))(image))
    x = Add(activation="relu")([x, conv(x)])
    x = LocalResponseNorm(3)(BatchNorm(momentum=0.5)(x))
    x = Concat()([MaxPool2D(2)(x), AvgPool2D(2)(x), ZeroPadChannels(1)(Subsample2D(2)(x))])
    x = ScaledTanh()(SparseConv2D([[0, 8], [3], [4, 1]], 1)(x))
    x = Dropout(0.5)(ZeroPad2D((1, 0))(x))
    flat = Concat(axis=1)([Flatten()(Reshape((-1, 2))(x)), extra, GlobalAvgPool2D()(x)])
    y = RadialBasis(3)(Dense(5, bias_initializer="ones")(flat))
    return Model([image, extra], [Activation("softmax")(y), y], name="every layer")


def inputs(model: Model, batch: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.random((batch, *shape), np.float32) for shape in model.input_shapes]


def small(seed: int = 0) -> Model:
    model = Sequential([Input((4,)), Dense(3, activation="relu"), Dense(2)])
    model.build(seed=seed)
    return model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    small().save(path)
    return path


# ---- the same back -----------------------------------------------------------------------------


def test_round_trip(tmp_path: Path) -> None:
    model = every_layer()
    model.build(seed=42)
    x = inputs(model)
    model(x, training=True)  # moves the running statistics
    model.save(tmp_path / "m")
    again = sixloop.load(tmp_path / "m")
    assert again.weights_sha256() == model.weights_sha256()
    assert again.config() == model.config()
    assert again.seed == 42 and again.name == "every layer" and again.is_built
    assert str(again.summary()) == str(model.summary())
    for y, z in zip(model(x), again(x), strict=True):
        np.testing.assert_array_equal(y, z)
    for y, z in zip(model(x, training=True, step=5), again(x, training=True, step=5), strict=True):
        np.testing.assert_array_equal(y, z)


def test_files_are_readable_by_anyone(saved: Path) -> None:
    assert sorted(os.listdir(saved)) == ["model.json", "weights.safetensors"]
    document = json.loads((saved / "model.json").read_text())
    assert document["format"] == "sixloop.model" and document["version"] == 1
    from safetensors.numpy import load_file

    weights = load_file(saved / "weights.safetensors")
    assert {name: value.shape for name, value in weights.items()} == {
        "dense_1.weight": (4, 3),
        "dense_1.bias": (3,),
        "dense_2.weight": (3, 2),
        "dense_2.bias": (2,),
    }


def test_saving_twice_gives_the_same_files(saved: Path, tmp_path: Path) -> None:
    before = {p.name: p.read_bytes() for p in saved.iterdir()}
    sixloop.load(saved).save(saved)
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == before
    assert os.listdir(tmp_path) == ["model"]


def test_float64_and_models_without_parameters(tmp_path: Path) -> None:
    model = Sequential([Input((4,)), Dense(3)])
    model.build(dtype="float64")
    model.save(tmp_path / "a")
    again = sixloop.load(tmp_path / "a")
    assert again.dtype == "float64" and again.weights_sha256() == model.weights_sha256()
    Sequential([Input((4,)), Activation("relu")]).save(str(tmp_path / "b"))
    assert sixloop.load(str(tmp_path / "b")).count_parameters() == 0


def test_config_alone() -> None:
    model = every_layer()
    config = json.loads(json.dumps(model.config()))
    again = nn.model_from_config(config)
    assert again.config() == model.config() and not again.is_built
    assert again.count_parameters() == model.count_parameters()
    again.build(seed=1)
    model.build(seed=1)
    assert again.weights_sha256() == model.weights_sha256()


def test_loaded_models_can_be_joined(saved: Path) -> None:
    first, second = sixloop.load(saved), sixloop.load(saved)
    x = Input((4,))
    joint = Model(x, Concat()([first(x), second(x)]))
    assert joint.count_parameters() == 2 * first.count_parameters()
    data = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(joint(data), np.hstack([first(data), second(data)]))


class Double(nn.Layer):
    """A layer of a user's own."""

    def __init__(self, factor: float = 2.0, name: str | None = None) -> None:
        super().__init__(name=name)
        self.factor = factor

    def output_shape(self, *shapes: tuple[int, ...]) -> tuple[int, ...]:
        return shapes[0]

    def forward(self, ctx: nn.Context, *inputs: Any, training: bool) -> Any:
        return ops.scale(inputs[0], self.factor)

    def backward(self, ctx: nn.Context, dy: Any) -> tuple[Any, ...]:
        return (ops.scale(dy, self.factor),)


def test_layers_of_ones_own(tmp_path: Path) -> None:
    model = Sequential([Input((4,)), Double(3.0), Dense(2)])
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match=r"layers\[0\].* class must be one of Activation"):
        sixloop.load(tmp_path / "m")
    again = sixloop.load(tmp_path / "m", custom_layers=[Double])
    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(again(x), model(x))


# ---- weights -----------------------------------------------------------------------------------


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("source", ["directory", "file", "dict of arrays", "dict of tensors"])
def test_load_weights(saved: Path, built: bool, source: str) -> None:
    origin = sixloop.load(saved)
    model = Sequential([Input((4,)), Dense(3, activation="relu"), Dense(2)])
    if built:
        model.build(seed=9)
        assert model.weights_sha256() != origin.weights_sha256()
        held = model.parameters()["dense_1.weight"]
    parameters = origin.parameters()
    given_source: Any = {
        "directory": saved,
        "file": str(saved / "weights.safetensors"),
        "dict of arrays": {k: v.numpy() for k, v in parameters.items()},
        "dict of tensors": parameters,
    }[source]
    assert model.load_weights(given_source) == ([], [])
    assert model.weights_sha256() == origin.weights_sha256()
    if built:  # an optimizer's references stay valid
        np.testing.assert_array_equal(held.numpy(), parameters["dense_1.weight"].numpy())
    parameters["dense_1.weight"].numpy()[...] = 0  # copied, not shared
    assert model.parameters()["dense_1.weight"].numpy().any()


def test_strict_names_every_difference_and_changes_nothing() -> None:
    model = small()
    sha = model.weights_sha256()
    weights = {k: v.numpy().copy() for k, v in model.parameters().items()}
    weights["dense_3.weight"] = weights.pop("dense_2.bias")
    weights["dense_1.weight"] = np.zeros((4, 5), np.float32)
    weights["dense_1.bias"] = weights["dense_1.bias"].astype(np.float64)
    with pytest.raises(ValueError) as caught:
        model.load_weights(weights)
    assert str(caught.value) == (
        "[load_weights]: the weights do not fit the model: missing: dense_2.bias (2,); "
        "unexpected: 'dense_3.weight' (2,); wrong shape: dense_1.weight must be (4, 3), "
        "got (4, 5); wrong dtype: dense_1.bias must be float32, got float64"
    )
    assert model.weights_sha256() == sha


def test_not_strict_leaves_out_what_has_no_partner() -> None:
    model = small()
    bias = model.parameters()["dense_2.bias"].numpy().copy()
    weights = {k: v.numpy() + 1 for k, v in model.parameters().items()}
    weights["other"] = weights.pop("dense_2.bias")
    assert model.load_weights(weights, strict=False) == (["dense_2.bias"], ["other"])
    np.testing.assert_array_equal(model.parameters()["dense_2.bias"].numpy(), bias)
    np.testing.assert_array_equal(
        model.parameters()["dense_1.weight"].numpy(), weights["dense_1.weight"]
    )
    weights["dense_1.weight"] = np.zeros((1, 1), np.float32)
    with pytest.raises(ValueError, match=r"dense_1.weight must be \(4, 3\), got \(1, 1\)"):
        model.load_weights(weights, strict=False)


def test_unbuilt_and_not_strict_fills_the_rest() -> None:
    model = Sequential([Input((4,)), Dense(3), Dense(2)])
    weights = {"dense_1.weight": np.full((4, 3), 7, np.float32)}
    model.load_weights(weights, strict=False)
    assert (model.parameters()["dense_1.weight"].numpy() == 7).all()
    assert model.parameters()["dense_2.weight"].numpy().any()


def test_load_weights_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        small().load_weights(tmp_path / "absent.safetensors")
    with pytest.raises(ValueError, match=r"model[/\\]weights.safetensors must be a file"):
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "weights.safetensors").mkdir()
        small().load_weights(tmp_path / "model")
    with pytest.raises(TypeError, match="must map parameter names to arrays"):
        small().load_weights({"dense_1.weight": [1.0]})


# ---- writing loses nothing ---------------------------------------------------------------------


def test_other_peoples_directories_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ValueError, match=r"must be new or a saved model"):
            small().save(path)
    with pytest.raises(ValueError, match=r"it holds notes.txt as well"):
        small().save(tmp_path)
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_an_empty_directory_and_missing_parents_are_fine(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    small().save(tmp_path / "empty")
    small().save(tmp_path / "a" / "b" / "c")
    for path in ("empty", "a/b/c"):
        assert sixloop.load(tmp_path / path).weights_sha256() == small().weights_sha256()


@pytest.mark.parametrize("exchange", [True, False])
def test_replacing_a_model(saved: Path, exchange: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchange:
        monkeypatch.setattr(serialization, "_exchange", lambda a, b: False)
    other = small(seed=8)
    other.save(saved)
    assert sixloop.load(saved).weights_sha256() == other.weights_sha256()
    assert os.listdir(saved.parent) == ["model"]


@pytest.mark.parametrize("step", ["save_file", "_flush", "_move_into_place"])
def test_a_failed_save_leaves_the_old_model(
    saved: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    if step == "save_file":
        monkeypatch.setattr("safetensors.numpy.save_file", full)
    else:
        monkeypatch.setattr(serialization, step, full)
    with pytest.raises(OSError, match="No space left"):
        small(seed=8).save(saved)
    assert sixloop.load(saved).weights_sha256() == small().weights_sha256()
    assert os.listdir(saved.parent) == ["model"]


# ---- hostile files -----------------------------------------------------------------------------


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such directory"):
        sixloop.load(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"must be a directory with model.json and weights"):
        sixloop.load(tmp_path)
    (tmp_path / "file").write_bytes(b"\x80\x04pickle")
    with pytest.raises(ValueError, match=r"must be a directory with model.json and weights"):
        sixloop.load(tmp_path / "file")


WEIGHTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda b: b"", "damaged or no safetensors file"),
    "truncated": (lambda b: b[:-5], "damaged or no safetensors file"),
    "header only": (lambda b: b[:8], "damaged or no safetensors file"),
    "huge header": (lambda b: struct.pack("<Q", 2**63) + b[8:], "damaged or no safetensors file"),
    "large header": (lambda b: struct.pack("<Q", 2**40) + b[8:], "damaged or no safetensors file"),
    "too long": (lambda b: b + b"x", "damaged or no safetensors file"),
    "foreign": (lambda b: b"PK\x03\x04" + b, "damaged or no safetensors file"),
    "pickle": (lambda b: b"\x80\x04\x95cos\nsystem\n." + b, "damaged or no safetensors file"),
    "no JSON": (lambda b: b.replace(b'{"', b"{!", 1), "damaged or no safetensors file"),
    "wrong dtype": (lambda b: b.replace(b"F32", b"I32"), "must be float32, got I32"),
    "unknown dtype": (lambda b: b.replace(b"F32", b"Q32"), "damaged or no safetensors file"),
    "wrong shape": (lambda b: b.replace(b"[4,3]", b"[3,4]"), "must be (4, 3), got (3, 4)"),
    "absurd shape": (
        lambda b: header(b, {"dense_1.weight": {"dtype": "F32", "shape": [2**62, 4]}}),
        "damaged or no safetensors file",
    ),
    "renamed": (
        lambda b: b.replace(b"dense_2.bias", b"../../x.bias"),
        "unexpected: '../../x.bias'",
    ),
}


def header(data: bytes, entries: dict[str, Any]) -> bytes:
    """Change entries of a safetensors header."""
    (length,) = struct.unpack("<Q", data[:8])
    old = json.loads(data[8 : 8 + length])
    for name, entry in entries.items():
        old[name] = {**old[name], **entry}
    text = json.dumps(old).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


@pytest.mark.parametrize("name", WEIGHTS)
def test_damaged_weights(saved: Path, name: str) -> None:
    change, text = WEIGHTS[name]
    path = saved / "weights.safetensors"
    path.write_bytes(change(path.read_bytes()))
    for read in (lambda: sixloop.load(saved), lambda: small().load_weights(path)):
        with pytest.raises(ValueError, match=re.escape(text)) as caught:
            read()
        assert str(path) in str(caught.value)
        assert len(str(caught.value)) < 1000


def test_missing_weights(saved: Path) -> None:
    (saved / "weights.safetensors").unlink()
    with pytest.raises(ValueError, match="must be a file of weights; there is none"):
        sixloop.load(saved)


def put(*path: Any, value: Any) -> Callable[[Any], Any]:
    """Return a change that sets one entry of a document."""

    def change(document: Any) -> Any:
        place = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        return document

    return change


def drop(*path: Any) -> Callable[[Any], Any]:
    """Return a change that deletes one entry of a document."""

    def change(document: Any) -> Any:
        place = document
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        return document

    return change


CONFIG = ("model", "layers", 0, "config")
DOCUMENTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a list": (lambda d: [d], "the document must be an object; got list"),
    "null": (lambda d: None, "the document must be an object; got None"),
    "other format": (put("format", value="keras"), "\"format\" must be 'sixloop.model'; got"),
    "no format": (drop("format"), "\"format\" must be 'sixloop.model'; got None"),
    "new version": (put("version", value=2), "got 2: a newer sixloop wrote this"),
    "version text": (put("version", value="1"), '"version" of the document must be an integer'),
    "version bool": (put("version", value=True), '"version" of the document must be an integer'),
    "no model": (drop("model"), 'the document has no "model"; got list'),
    "model text": (put("model", value="x"), '"model" of the document must be an object'),
    "dtype": (put("dtype", value="float16"), "dtype must be one of float32, float64"),
    "other dtype": (put("dtype", value="float64"), "must be float64, got float32"),
    "seed": (put("seed", value=-1), "seed must be between 0"),
    "huge seed": (put("seed", value=10**400), "seed must be between 0"),
    "layers": (put("model", "layers", value={}), '"layers" of the model must be a list; got dict'),
    "layer": (put("model", "layers", 0, value=3), "layers[0] must be an object; got 3"),
    "class": (
        put("model", "layers", 0, "class", value="Densee"),
        "[layers[0]] class must be one of Activation, Add,",
    ),
    "class tricks": (
        put("model", "layers", 0, "class", value="os.system"),
        "[layers[0]] class must be one of Activation, Add,",
    ),
    "class type": (
        put("model", "layers", 0, "class", value=["Dense"]),
        '"class" of layers[0] must be a string',
    ),
    "units": (put(*CONFIG, "units", value=-3), "layers[0] (Dense): [dense_1] units must be"),
    "units text": (put(*CONFIG, "units", value="3"), "units must be an integer; got '3'"),
    "units absurd": (put(*CONFIG, "units", value=2**31), "units must be between 1 and 2147483647"),
    "units large": (put(*CONFIG, "units", value=2**31 - 1), "got (4, 3)"),
    "unknown argument": (put(*CONFIG, "color", value=1), "unexpected keyword argument 'color'"),
    "missing argument": (drop(*CONFIG, "units"), "missing 1 required positional argument: 'units'"),
    "self": (put(*CONFIG, "self", value=1), "layers[0] (Dense):"),
    "activation": (put(*CONFIG, "activation", value="eval"), "activation must be one of relu"),
    "initializer": (
        put(*CONFIG, "kernel_initializer", value={"name": "normal", "std": "x"}),
        "std must be a number; got 'x'",
    ),
    "name": (put(*CONFIG, "name", value=5), '"name" of layers[0] must be a string; got 5'),
    "no name": (drop(*CONFIG, "name"), 'layers[0] has no "name"'),
    "same name": (put(*CONFIG, "name", value="dense_2"), "two layers have the name 'dense_2'"),
    "unused layer": (
        lambda d: (d["model"]["calls"].pop(), put("model", "outputs", value=[1])(d))[1],
        "no call uses the layers list ['dense_2']",
    ),
    "unknown call": (
        put("model", "calls", 0, "layer", value="x"),
        "calls[0]: there is no layer 'x'",
    ),
    "future slot": (
        put("model", "calls", 0, "inputs", value=[1]),
        "calls[0]: an index must be 0 to 0; got 1",
    ),
    "negative slot": (put("model", "calls", 0, "inputs", value=[-1]), "an index must be 0 to 0"),
    "slot text": (put("model", "calls", 0, "inputs", value=["0"]), "must be an integer; got '0'"),
    "slot bool": (put("model", "calls", 1, "inputs", value=[True]), "must be an integer; got True"),
    "no slots": (put("model", "calls", 0, "inputs", value=[]), "Dense takes 1 input; got 0"),
    "skipped call": (put("model", "calls", 1, "inputs", value=[0]), "do not fit the model"),
    "outputs": (put("model", "outputs", value=[]), "outputs must not be empty"),
    "far output": (put("model", "outputs", value=[10**30]), "an index must be 0 to 2"),
    "no inputs": (put("model", "inputs", value=[]), "calls[0]: an index must be 0 to -1; got 0"),
    "input shape": (put("model", "inputs", 0, "shape", value=[0]), "inputs[0]: [Input] shape[0]"),
    "input shapes": (
        put("model", "inputs", 0, "shape", value="4"),
        "[Input] shape must be a tuple",
    ),
    "input size": (put("model", "inputs", 0, "shape", value=[10**20]), "[Input] shape[0] must be"),
    "other size": (put("model", "inputs", 0, "shape", value=[5]), "must be (5, 3), got (4, 3)"),
    "model name": (put("model", "name", value="\n"), "name must be printable and not empty"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_wrong_documents(saved: Path, name: str) -> None:
    change, text = DOCUMENTS[name]
    path = saved / "model.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=re.escape(text)) as caught:
        sixloop.load(saved)
    assert type(caught.value) is ValueError
    assert str(saved) in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "is damaged or no JSON"),
        (b"{", "is damaged or no JSON"),
        (b"\xff\xfe\x00", "is damaged or no JSON"),
        (b"\x80\x04\x95pickle", "is damaged or no JSON"),
        (b"[" * 200_000, "is nested too deeply"),
        (b'{"format": NaN}', "numbers must be finite; got NaN"),
        (b'{"format": 1, "format": 2}', "the same key twice"),
        (b'{"version": ' + b"9" * 5000 + b"}", "is damaged or no JSON"),
    ],
)
def test_damaged_documents(saved: Path, data: bytes, text: str) -> None:
    (saved / "model.json").write_bytes(data)
    with pytest.raises(ValueError, match=re.escape(text)) as caught:
        sixloop.load(saved)
    assert str(saved / "model.json") in str(caught.value)


def test_a_document_that_is_no_file(saved: Path) -> None:
    (saved / "model.json").unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(saved / "model.json")  # reading one would wait for ever
    else:
        (saved / "model.json").mkdir()
    with pytest.raises(ValueError, match="must be a regular file"):
        sixloop.load(saved)


def test_a_document_too_long(saved: Path) -> None:
    with open(saved / "model.json", "r+b") as file:
        file.truncate(2**27)  # sparse
    with pytest.raises(ValueError, match="must have at most 16777216 bytes; got 134217728"):
        sixloop.load(saved)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    file=st.sampled_from(["model.json", "weights.safetensors"]),
    position=st.floats(0, 1, exclude_max=True),
    byte=st.integers(0, 255),
    cut=st.booleans(),
)
def test_any_changed_byte_loads_or_is_a_value_error(
    tmp_path: Path, file: str, position: float, byte: int, cut: bool
) -> None:
    path = tmp_path / "model"
    small().save(path)
    data = bytearray((path / file).read_bytes())
    index = int(position * len(data))
    if cut:
        del data[index:]
    else:
        data[index] = byte
    (path / file).write_bytes(bytes(data))
    try:
        model = sixloop.load(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert model.count_parameters() == 23
