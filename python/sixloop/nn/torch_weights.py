"""Weights from PyTorch: a layer takes those of the module that has its name.

The networks of ``sixloop.models`` that torchvision has too name their layers as torchvision names
its modules, so that "layer1.0.conv1.weight" is the same parameter in both. What differs is the
order of axes, and the names of batch normalisation's parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sixloop._checks import Shape
from sixloop.nn.activation import Activation
from sixloop.nn.conv import Conv2D
from sixloop.nn.dense import Dense
from sixloop.nn.dropout import Dropout
from sixloop.nn.layer import Layer, Symbol
from sixloop.nn.lenet import ScaledTanh
from sixloop.nn.model import Model
from sixloop.nn.normalization import BatchNorm
from sixloop.nn.serialization import _list, _short
from sixloop.nn.shaping import Flatten

_TAG = "[load_torch_state_dict]"
_BATCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "running_mean": "running_mean",
    "running_variance": "running_var",
}
_KEEP_ORDER = (Activation, BatchNorm, Dropout, ScaledTanh)  # of the features of a vector
_PICKLES = (".bin", ".ckpt", ".pkl", ".pickle", ".pt", ".pth")
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80")  # torch.save's archive; a bare pickle of protocol 2 on
_DTYPES = {"F16": "float16", "F32": "float32", "F64": "float64"}
# The files that torchvision offers for DenseNet are older than its names: "norm.1" is norm1.
_OLD_DENSENET = re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12])\.")

Values = NDArray[Any]


@dataclass(frozen=True)
class _Counterpart:
    """What a parameter is in PyTorch: its key, its shape, and the way from there to here."""

    key: str
    shape: Shape
    convert: Callable[[Values], Values]


def load_torch_state_dict(
    model: Model, source: str | PathLike[str] | Mapping[str, Any], strict: bool = True
) -> tuple[list[str], list[str]]:
    """Copies the weights of a PyTorch network into a model, all of them or, on an error, none.

    A layer takes the values of the module with its name. For AlexNet ("one-weird-trick"), VGG,
    GoogLeNet ("torchvision"), ResNet ("v1.5") and DenseNet of ``sixloop.models`` these are
    torchvision's names; for a network of your own, give the layers the names of your modules.

    Convolution weights [O, C/groups, KH, KW] become [KH, KW, C/groups, O] and those of fully
    connected layers [out, in] become [in, out]. One that reads a Flatten, directly or after
    dropout, an activation or batch normalisation, has its inputs brought from the order C, H, W to
    H, W, C. ``num_batches_tracked`` has no counterpart and is left out. Numbers of 16, 32 or 64
    bits become those of the model.

    Args:
        model: whose layers with parameters are Conv2D, Dense and BatchNorm.
        source: a safetensors file, or a dict from key to array or CPU tensor.
        strict: raise for missing and unexpected keys, instead of leaving them out; default True.

    Returns:
        The missing and the unexpected keys.

    Raises:
        ValueError: a pickle (.pt, .pth), which could run any code when it is read; a damaged file;
            missing or unexpected keys (strict), values of a wrong shape or dtype, all in one
            message; a layer that PyTorch has no counterpart of.
        TypeError: a dict with anything but arrays in it.
        FileNotFoundError: there is no such file.

    Example:
        In a process that has torch and torchvision:

        >>> network = torchvision.models.resnet50(weights="DEFAULT")
        >>> safetensors.torch.save_file(network.state_dict(), "resnet50.safetensors")

        >>> model = sixloop.models.resnet50(variant="v1.5")
        >>> sixloop.nn.load_torch_state_dict(model, "resnet50.safetensors")
    """
    wanted = torch_counterparts(model)
    if isinstance(source, Mapping):
        arrays = {_new_name(key): _array(key, value) for key, value in source.items()}
        found = {key: (tuple(a.shape), str(a.dtype)) for key, a in arrays.items()}
        missing, unexpected = _compare(_TAG, wanted, found, strict)
        values = {
            name: _converted(c, arrays[c.key], model.dtype)
            for name, c in wanted.items()
            if c.key in arrays
        }
    else:
        values, missing, unexpected = _read(Path(source), wanted, model.dtype, strict)
    model.load_weights(values, strict=False)
    return missing, unexpected


def torch_counterparts(model: Model) -> dict[str, _Counterpart]:
    """Returns the key, shape and conversion of each parameter, by its name in the model."""
    first_input: dict[str, Symbol] = {}
    for node in model.nodes:
        first_input.setdefault(model.layer_name(node.layer), node.inputs[0])
    result: dict[str, _Counterpart] = {}
    for layer in model.layers:
        name = model.layer_name(layer)
        image = _flattened(first_input[name])
        for key, spec in layer.specs.items():
            counterpart = _counterpart(layer, f"{name}.", key, spec.shape, image)
            if counterpart is None:
                raise ValueError(
                    f"{_TAG} layers with parameters must be Conv2D, Dense or BatchNorm; got "
                    f"{name!r}, a {type(layer).__name__}"
                )
            result[f"{name}.{key}"] = counterpart
    return result


def _counterpart(
    layer: Layer, prefix: str, key: str, shape: Shape, image: Shape | None
) -> _Counterpart | None:
    if isinstance(layer, BatchNorm):
        return _Counterpart(prefix + _BATCH_NORM[key], shape, lambda v: _to_hwc(v, image))
    if isinstance(layer, (Conv2D, Dense)) and key == "bias":
        return _Counterpart(prefix + key, shape, lambda v: v)
    if isinstance(layer, Conv2D):
        kh, kw, channels, filters = shape
        of_torch = filters, channels, kh, kw
        return _Counterpart(prefix + key, of_torch, lambda v: v.transpose(2, 3, 1, 0))
    if isinstance(layer, Dense):
        return _Counterpart(prefix + key, shape[::-1], lambda v: _to_hwc(v.T, image))
    return None


def _flattened(symbol: Symbol) -> Shape | None:
    """Returns the (H, W, C) of the image whose flattened values ``symbol`` has, or None."""
    while symbol.node is not None and isinstance(symbol.node.layer, (Flatten, *_KEEP_ORDER)):
        (source,) = symbol.node.inputs
        if isinstance(symbol.node.layer, Flatten) and len(source.shape) == 3:
            return source.shape
        symbol = source
    return None


def _to_hwc(values: Values, image: Shape | None) -> Values:
    """Brings the first axis from the order C, H, W to H, W, C."""
    if image is None:
        return values
    height, width, channels = image
    rest = values.shape[1:]
    return values.reshape(channels, height * width, *rest).swapaxes(0, 1).reshape(-1, *rest)


def _converted(counterpart: _Counterpart, values: Values, dtype: str) -> Values:
    return np.ascontiguousarray(counterpart.convert(values), dtype)


def _new_name(key: Any) -> Any:
    return _OLD_DENSENET.sub(r"\1\2.", key) if isinstance(key, str) else key


def _array(key: object, value: Any) -> Values:
    if isinstance(key, str) and (hasattr(value, "__array__") or hasattr(value, "__dlpack__")):
        try:
            return np.asarray(value)
        except (RuntimeError, TypeError):  # of a tensor on a GPU, or one that needs a gradient
            pass
    raise TypeError(
        f"{_TAG} a dict must map keys to arrays or CPU tensors without gradient; "
        f"got {_short(key)}: {type(value).__name__}"
    )


def _read(
    path: Path, wanted: Mapping[str, _Counterpart], dtype: str, strict: bool
) -> tuple[dict[str, Values], list[str], list[str]]:
    from safetensors import SafetensorError, safe_open

    if path.suffix.lower() in _PICKLES or _is_pickle(path):
        raise ValueError(
            f"{_TAG} {path} must be a safetensors file; it is a pickle, which can run any code "
            "when it is read. Where you trust it, convert it: "
            'safetensors.torch.save_file(torch.load(path, weights_only=True), "x.safetensors")'
        )
    if not path.exists():
        raise FileNotFoundError(f"{_TAG} no such file: {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            names = {_new_name(key): key for key in file.keys()}  # noqa: SIM118
            slices = {key: file.get_slice(old) for key, old in names.items()}
            found = {
                key: (tuple(s.get_shape()), _DTYPES.get(s.get_dtype(), s.get_dtype()))
                for key, s in slices.items()
            }
            missing, unexpected = _compare(f"{_TAG} {path}", wanted, found, strict)
            values = {
                name: _converted(c, file.get_tensor(names[c.key]), dtype)
                for name, c in wanted.items()
                if c.key in names
            }
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{_TAG} {path} is damaged or no safetensors file: {error}") from None
    return values, missing, unexpected


def _is_pickle(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(9)
    # A safetensors file may begin so, too, with the length of its header; then comes the header.
    return start.startswith(_PICKLE_STARTS) and start[8:] != b"{"


def _compare(
    where: str,
    wanted: Mapping[str, _Counterpart],
    found: Mapping[str, tuple[Shape, str]],
    strict: bool,
) -> tuple[list[str], list[str]]:
    """Returns the missing and unexpected keys, or raises one error that lists all that differs."""
    shapes = {c.key: c.shape for c in wanted.values()}
    missing = [key for key in shapes if key not in found]
    unexpected = sorted(
        key for key in found if key not in shapes and not key.endswith(".num_batches_tracked")
    )
    both = [key for key in shapes if key in found]
    problems = []
    if strict and missing:
        problems.append("missing: " + _list(f"{key} {shapes[key]}" for key in missing))
    if strict and unexpected:
        problems.append("unexpected: " + _list(f"{_short(k)} {found[k][0]}" for k in unexpected))
    wrong = [key for key in both if found[key][0] != shapes[key]]
    if wrong:
        problems.append(
            "wrong shape: " + _list(f"{k} must be {shapes[k]}, got {found[k][0]}" for k in wrong)
        )
    types = _DTYPES.values()
    strange = [key for key in both if found[key][1] not in types]
    if strange:
        problems.append(
            "wrong dtype: "
            + _list(f"{k} must be one of {', '.join(types)}, got {found[k][1]}" for k in strange)
        )
    if problems:
        raise ValueError(f"{where}: the weights do not fit the model: {'; '.join(problems)}")
    return missing, unexpected
