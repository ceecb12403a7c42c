"""Saved models: a directory with model.json (the architecture) and weights.safetensors.

Nothing is pickled and no file is trusted: whatever is wrong with one is a ``ValueError`` that names
the file and what is wrong in it.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from sixloop import Tensor, _checks
from sixloop._arrays import to_numpy
from sixloop.nn.activation import Activation
from sixloop.nn.conv import Conv2D
from sixloop.nn.dense import Dense
from sixloop.nn.dropout import Dropout
from sixloop.nn.layer import Input, Layer, snake_case
from sixloop.nn.lenet import RadialBasis, ScaledTanh, SparseConv2D, Subsample2D
from sixloop.nn.merge import Add, Concat
from sixloop.nn.model import Model
from sixloop.nn.normalization import BatchNorm, LocalResponseNorm
from sixloop.nn.pooling import AvgPool2D, GlobalAvgPool2D, MaxPool2D
from sixloop.nn.shaping import Flatten, Reshape, ZeroPad2D, ZeroPadChannels

FORMAT = "sixloop.model"
VERSION = 1
MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"

# The description of ResNet-152 takes 0.2 MB; far more than that is no model.
_MAX_JSON_BYTES = 2**24
_DTYPES = {"F32": "float32", "F64": "float64"}

LAYERS: dict[str, type[Layer]] = {
    layer.__name__: layer
    for layer in (
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
        LocalResponseNorm,
        MaxPool2D,
        RadialBasis,
        Reshape,
        ScaledTanh,
        SparseConv2D,
        Subsample2D,
        ZeroPad2D,
        ZeroPadChannels,
    )
}

Source = str | PathLike[str] | Mapping[str, Any]


def save(model: Model, path: str | PathLike[str]) -> None:
    """Writes a model to the directory ``path``, atomically.

    Both files are written to a new directory beside it, flushed to disk and then moved into place,
    so that ``path`` holds the old model or the new one, never a mixture. A saved model that is
    there is replaced; a directory with anything else in it is refused.

    Raises:
        ValueError: ``path`` exists and holds anything but a saved model.
        OSError: the directory can't be written; what was there before is still there.
    """
    from safetensors.numpy import save_file

    target = Path(path)
    _check_replaceable(target)
    parameters = model.parameters()
    document = {
        "format": FORMAT,
        "version": VERSION,
        "dtype": model.dtype,
        "seed": model.seed,
        **_use(model),
        "model": model.config(),
    }
    text = _layout(document, levels=3) + "\n"
    target.parent.mkdir(parents=True, exist_ok=True)
    writer = f"{os.getpid()}-{threading.get_ident()}"
    temporary = target.with_name(f".{target.name}.{writer}.tmp")
    _remove(temporary)
    temporary.mkdir()
    try:
        (temporary / MODEL_FILE).write_text(text, encoding="utf-8")
        weights = {name: tensor.numpy() for name, tensor in parameters.items()}
        save_file(weights, temporary / WEIGHTS_FILE)
        for place in (temporary / MODEL_FILE, temporary / WEIGHTS_FILE, temporary):
            _flush(place)
        _move_into_place(temporary, target)
        _flush(target.parent)
    finally:
        _remove(temporary)


def load(path: str | PathLike[str], custom_layers: Iterable[type[Layer]] = ()) -> Model:
    """Reads a model that ``save`` wrote.

    Args:
        path: the directory.
        custom_layers: layer classes of one's own that the model may contain.

    Raises:
        FileNotFoundError: there is nothing at ``path``.
        ValueError: it is no saved model, or a damaged one; the message names the file.
    """
    directory = Path(path)
    if not directory.exists():
        raise FileNotFoundError(f"[load] no such directory: {directory}")
    file = directory / MODEL_FILE
    if not directory.is_dir() or not file.exists():
        raise ValueError(
            f"[load] {directory} must be a directory with {MODEL_FILE} and {WEIGHTS_FILE}, "
            "as model.save(path) writes it"
        )
    document = _read_json(file)
    try:
        _expect(document, dict, "the document")
        if document.get("format") != FORMAT:
            raise ValueError(
                f'"format" must be {FORMAT!r}; got {_short(document.get("format"))}: '
                "this is no model of sixloop"
            )
        version = _entry(document, "version", int, "the document")
        if not 1 <= version <= VERSION:
            raise ValueError(
                f'"version" must be 1 to {VERSION}; got {version}: a newer sixloop wrote this'
            )
        dtype = _entry(document, "dtype", str, "the document")
        _checks.choice("dtype", "dtype", dtype, _DTYPES.values())
        seed = _entry(document, "seed", int, "the document")
        model = model_from_config(_entry(document, "model", dict, "the document"), custom_layers)
        _set_use(model, document)
    except ValueError as error:
        raise ValueError(f"[load] {file}: {error}") from None
    values = _read_weights(directory / WEIGHTS_FILE, _Expected(model, dtype, strict=True))
    _adopt(model, values)
    try:
        model.build(seed=seed, dtype=dtype)
    except ValueError as error:
        raise ValueError(f"[load] {file}: {error}") from None
    return model


def _use(model: Model) -> dict[str, Any]:
    """Returns the entries that say how a model is applied; none for what it does not have."""
    entries: dict[str, Any] = {}
    if model.preprocessing is not None:
        entries["preprocessing"] = model.preprocessing.config()
    if model.class_names is not None:
        entries["class_names"] = list(model.class_names)
    return entries


def _set_use(model: Model, document: Mapping[str, Any]) -> None:
    where = "the document"
    if "preprocessing" in document:
        from sixloop.data import preprocessing_from_config

        description = _entry(document, "preprocessing", dict, where)
        model.preprocessing = preprocessing_from_config(description)
    if "class_names" in document:
        names = _entry(document, "class_names", list, where)
        for name in names:
            _expect(name, str, '"class_names"')
        count = model.output_shapes[0][-1]
        if len(names) != count:
            raise ValueError(
                f'"class_names" must have a name for each of the {count} outputs; got {len(names)}'
            )
        model.class_names = tuple(names)


def load_weights(model: Model, source: Source, strict: bool = True) -> tuple[list[str], list[str]]:
    """Copies weights into a model; see ``Model.load_weights``."""
    expected = _Expected(model, model.dtype if model.is_built else None, strict=strict)
    if isinstance(source, Mapping):
        values = _copy_arrays(source, expected)
    else:
        path = Path(source)
        if path.is_dir():
            path = path / WEIGHTS_FILE
        if not path.exists():
            raise FileNotFoundError(f"[load_weights] no such file: {path}")
        values = _read_weights(path, expected)
    if model.is_built:
        existing = model.parameters()
        for name, tensor in values.items():
            existing[name].assign(tensor)
    else:
        _adopt(model, values)
        model.build(seed=model.seed)
    return expected.missing, expected.unexpected


def model_from_config(
    config: Mapping[str, Any], custom_layers: Iterable[type[Layer]] = ()
) -> Model:
    """Makes a model, without weights, from what ``Model.config`` returned.

    Args:
        config: the description.
        custom_layers: layer classes of one's own that it may contain.

    Raises:
        ValueError: the description is not one, or describes no valid model.
    """
    classes = {**LAYERS, **{kind.__name__: kind for kind in custom_layers}}
    _expect(config, dict, "the model")
    name = _entry(config, "name", str, "the model")
    inputs: list[Any] = []
    for i, entry in enumerate(_entry(config, "inputs", list, "the model")):
        where = f"inputs[{i}]"
        _expect(entry, dict, where)
        inputs.append(_make(Input, where, entry))
    layers: dict[str, Layer] = {}
    for i, entry in enumerate(_entry(config, "layers", list, "the model")):
        where = f"layers[{i}]"
        _expect(entry, dict, where)
        kind = _checks.choice(where, "class", _entry(entry, "class", str, where), classes)
        arguments = _entry(entry, "config", dict, where)
        own_name = _entry(arguments, "name", str, where)
        if own_name in layers:
            raise ValueError(f"{where}: two layers have the name {_short(own_name)}")
        layer: Layer = _make(classes[kind], f"{where} ({kind})", arguments)
        # A numbered name may change when the model becomes part of another one.
        layer.auto_named = re.fullmatch(snake_case(kind) + r"_\d+", own_name) is not None
        layers[own_name] = layer
    slots = list(inputs)
    for i, entry in enumerate(_entry(config, "calls", list, "the model")):
        where = f"calls[{i}]"
        _expect(entry, dict, where)
        called = _entry(entry, "layer", str, where)
        if called not in layers:
            raise ValueError(f"{where}: there is no layer {_short(called)}")
        read = [_slot(slots, index, where) for index in _entry(entry, "inputs", list, where)]
        slots.append(_apply(layers[called], read, where))
    outputs = [_slot(slots, i, "outputs") for i in _entry(config, "outputs", list, "the model")]
    called_layers = {entry["layer"] for entry in config["calls"]}
    unused = [key for key in layers if key not in called_layers]
    if unused:
        raise ValueError(f"no call uses the layers {_short(unused)}")
    try:
        return Model(inputs, outputs, name=name)
    except TypeError as error:
        raise ValueError(str(error)) from None


class _Expected:
    """The parameters a model has, and how what a file holds differs from them."""

    def __init__(self, model: Model, dtype: str | None, *, strict: bool) -> None:
        self.shapes = {name: spec.shape for name, spec in model.specs().items()}
        self.dtype = dtype
        self.strict = strict
        self.missing: list[str] = []
        self.unexpected: list[str] = []

    def select(self, where: str, found: Mapping[str, tuple[tuple[int, ...], str]]) -> list[str]:
        """Returns the names to load, or raises one error that lists everything that differs.

        Args:
            where: what the error begins with.
            found: shape and dtype by name.
        """
        self.missing = [name for name in self.shapes if name not in found]
        self.unexpected = sorted(name for name in found if name not in self.shapes)
        names = [name for name in self.shapes if name in found]
        problems = []
        if self.strict and self.missing:
            problems.append("missing: " + _list(f"{n} {self.shapes[n]}" for n in self.missing))
        if self.strict and self.unexpected:
            problems.append(
                "unexpected: " + _list(f"{_short(n)} {found[n][0]}" for n in self.unexpected)
            )
        wrong = [name for name in names if found[name][0] != self.shapes[name]]
        if wrong:
            problems.append(
                "wrong shape: "
                + _list(f"{n} must be {self.shapes[n]}, got {found[n][0]}" for n in wrong)
            )
        dtype = self.dtype
        if dtype is None:
            dtype = next((found[n][1] for n in names if found[n][1] in _DTYPES.values()), "float32")
        mixed = [name for name in names if found[name][1] != dtype]
        if mixed:
            problems.append(
                "wrong dtype: " + _list(f"{n} must be {dtype}, got {found[n][1]}" for n in mixed)
            )
        if problems:
            raise ValueError(f"{where}: the weights do not fit the model: {'; '.join(problems)}")
        return names


def _copy_arrays(source: Mapping[str, Any], expected: _Expected) -> dict[str, Tensor]:
    arrays = {}
    for name, value in source.items():
        if not isinstance(name, str) or not isinstance(value, (Tensor, np.ndarray)):
            raise TypeError(
                "[load_weights] a dict must map parameter names to arrays; "
                f"got {_short(name)}: {type(value).__name__}"
            )
        arrays[name] = value
    found = {name: (tuple(a.shape), str(np.dtype(a.dtype))) for name, a in arrays.items()}
    names = expected.select("[load_weights]", found)
    return {name: Tensor(to_numpy(arrays[name])) for name in names}


def _read_weights(path: Path, expected: _Expected) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ValueError(f"[load_weights] {path} must be a file of weights; there is none")
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {
                name: (tuple(s.get_shape()), _DTYPES.get(s.get_dtype(), s.get_dtype()))
                for name, s in slices.items()
            }
            names = expected.select(f"[load_weights] {path}", found)
            return {name: Tensor(file.get_tensor(name)) for name in names}
    except SafetensorError as error:
        raise ValueError(
            f"[load_weights] {path} is damaged or no safetensors file: {error}"
        ) from None


def _adopt(model: Model, values: Mapping[str, Tensor]) -> None:
    """Makes tensors the parameters of a model that has none yet."""
    for layer in model.layers:
        name = model.layer_name(layer)
        own = {key: f"{name}.{key}" for key in layer.specs}
        layer.set_parameters({k: values[full] for k, full in own.items() if full in values})


def _layout(value: Any, levels: int, indent: str = "\n") -> str:
    """Returns JSON whose first levels are broken into lines: one line for each layer."""
    import json

    deeper = indent + " "
    if levels and value and isinstance(value, dict):
        items = [f"{json.dumps(k)}: {_layout(v, levels - 1, deeper)}" for k, v in value.items()]
        return f"{{{deeper}{(',' + deeper).join(items)}{indent}}}"
    if levels and isinstance(value, list) and any(isinstance(v, dict) for v in value):
        items = [_layout(v, 0) for v in value]
        return f"[{deeper}{(',' + deeper).join(items)}{indent}]"
    return json.dumps(value, allow_nan=False)


def _read_json(path: Path) -> Any:
    import json

    if not path.is_file():
        raise ValueError(f"[load] {path} must be a regular file")
    size = path.stat().st_size
    if size > _MAX_JSON_BYTES:
        raise ValueError(f"[load] {path} must have at most {_MAX_JSON_BYTES} bytes; got {size}")
    try:
        return json.loads(
            path.read_bytes(), object_pairs_hook=_unique_keys, parse_constant=_no_constant
        )
    except RecursionError:
        raise ValueError(f"[load] {path} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"[load] {path} is damaged or no JSON: {error}") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError(f"an object has the same key twice; got {_short([k for k, _ in pairs])}")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"numbers must be finite; got {name}")


def _expect(value: object, kind: type, where: str) -> None:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        names = {dict: "an object", list: "a list", str: "a string", int: "an integer"}
        raise ValueError(f"{where} must be {names[kind]}; got {_short(value)}")


def _entry(mapping: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    if key not in mapping:
        raise ValueError(f'{where} has no "{key}"; got {_short(list(mapping))}')
    _expect(mapping[key], kind, f'"{key}" of {where}')
    return mapping[key]


def _make(kind: Any, where: str, arguments: Mapping[str, Any]) -> Any:
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None


def _slot(slots: list[Any], index: object, where: str) -> Any:
    _expect(index, int, f"an index of {where}")
    assert isinstance(index, int)
    if not 0 <= index < len(slots):
        raise ValueError(f"{where}: an index must be 0 to {len(slots) - 1}; got {_short(index)}")
    return slots[index]


def _apply(layer: Layer, symbols: list[Any], where: str) -> Any:
    try:
        return layer(*symbols)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None


def _short(value: object) -> str:
    """Returns a repr of at most 80 characters, since a hostile file may hold any length."""
    text = (
        repr(value)
        if not isinstance(value, (dict, list))
        else f"{type(value).__name__} {value!r:.200}"
    )
    return text if len(text) <= 80 else text[:77] + "..."


def _list(items: Iterable[str]) -> str:
    parts = list(items)
    more = f" and {len(parts) - 8} more" if len(parts) > 8 else ""
    return ", ".join(parts[:8]) + more


def _check_replaceable(target: Path) -> None:
    if not target.name:
        raise ValueError(f"[save] path must end in the name of a directory to make; got {target}")
    if target.is_symlink() or target.exists():
        if target.is_symlink() or not target.is_dir():
            kind = "a symbolic link" if target.is_symlink() else "no directory"
            raise ValueError(f"[save] {target} must be new or a saved model; it is {kind}")
        others = sorted({p.name for p in target.iterdir()} - {MODEL_FILE, WEIGHTS_FILE})
        if others:
            raise ValueError(
                f"[save] {target} must be new or a saved model; it holds {_list(others)} as well, "
                "which replacing it would delete"
            )


def _flush(path: Path) -> None:
    """Forces a file or directory to disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except PermissionError:  # Windows opens no directories
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move_into_place(temporary: Path, target: Path) -> None:
    if not target.exists():
        os.rename(temporary, target)
        return
    if _exchange(temporary, target):
        return
    # Without an exchange there is a moment in which only the two hidden directories exist.
    old = temporary.with_suffix(".old")
    _remove(old)
    os.rename(target, old)
    try:
        os.rename(temporary, target)
    except OSError:
        os.rename(old, target)
        raise
    _remove(old)


def _exchange(a: Path, b: Path) -> bool:
    """Swaps two directories in one step (Linux renameat2); False where that does not exist."""
    import ctypes

    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    at_cwd, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(function(at_cwd, os.fsencode(a), at_cwd, os.fsencode(b), exchange) == 0)


def _remove(directory: Path) -> None:
    import shutil

    shutil.rmtree(directory, ignore_errors=True)
