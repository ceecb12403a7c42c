"""Checkpoints: directories that hold a whole training run.

    model.json                  the architecture
    weights.safetensors         parameters and running statistics
    optimizer.safetensors       the optimizer's state
    callbacks.safetensors       arrays that callbacks keep (the best weights so far)
    trainer.json                everything else, with the size and SHA-256 of the files above

The first two are what `model.save` writes, so that `sixloop.load` reads a checkpoint too. Nothing
is pickled: reading a checkpoint runs no code from it.

A checkpoint replaces an older one in three steps: the new one is written beside it and flushed to
the disk, the old one is renamed to `<name>.old`, the new one is renamed to `<name>`. A process or
machine that dies in between leaves a complete one at `<name>` or at `<name>.old`; `read` finds it.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sixloop._arrays import to_numpy

if TYPE_CHECKING:
    from sixloop.nn import Model

__all__ = ["Checkpoint", "CheckpointError", "read", "write"]

FORMAT = "sixloop-checkpoint"
VERSION = 1

_MODEL_FILES = ("model.json", "weights.safetensors")
_ARRAY_FILES = ("optimizer.safetensors", "callbacks.safetensors")
_STATE_FILE = "trainer.json"
_FILES = (*_MODEL_FILES, *_ARRAY_FILES, _STATE_FILE)


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or foreign. The message says which file and why."""


@dataclass(frozen=True)
class Checkpoint:
    """What `read` found.

    Attributes:
        path: the directory it was read from: the one asked for, or `<name>.old`.
        state: the mapping given to `write`.
        optimizer: the optimizer's arrays by name.
        callbacks: the callbacks' arrays by name.
    """

    path: Path
    state: dict[str, Any]
    optimizer: dict[str, NDArray[Any]]
    callbacks: dict[str, NDArray[Any]]


def write(
    path: str | os.PathLike[str],
    model: Model,
    state: Mapping[str, Any],
    optimizer: Mapping[str, Any],
    callbacks: Mapping[str, Any],
) -> None:
    """Write a checkpoint, flushed to the disk, in place of an older one.

    Args:
        path: the directory to be. Directories above it are made.
        model: its architecture and weights are saved.
        state: values that JSON can hold.
        optimizer: arrays by name.
        callbacks: arrays by name.

    Raises:
        FileExistsError: something other than a checkpoint or a saved model is at `path`.
        OSError: the disk is full, or the like; an older checkpoint is still there.
    """
    import json
    import shutil

    path = Path(path).resolve()
    if not path.name:
        raise ValueError(f"[checkpoint] expected the path of a directory to be; got {str(path)!r}")
    _refuse_foreign(path)
    # Through text and back, so that the checksum is of what will be read: keys are strings then.
    state = json.loads(json.dumps(_encode(state), allow_nan=False))
    new, old = path.with_name(f".{path.name}.new"), path.with_name(path.name + ".old")
    path.parent.mkdir(parents=True, exist_ok=True)
    if new.exists():  # of a process that was killed
        shutil.rmtree(new)
    try:
        model.save(new)
        _write_arrays(new / _ARRAY_FILES[0], optimizer)
        _write_arrays(new / _ARRAY_FILES[1], callbacks)
        document = {
            "format": FORMAT,
            "version": VERSION,
            "files": {name: _fingerprint(new / name) for name in (*_MODEL_FILES, *_ARRAY_FILES)},
            "state": state,
        }
        document["sha256"] = _digest(document)
        (new / _STATE_FILE).write_text(json.dumps(document, indent=1), encoding="utf-8")
        for name in _FILES:
            _flush(new / name)
        _flush(new)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    if path.exists():
        if old.exists():
            _refuse_foreign(old)
            shutil.rmtree(old)
        path.rename(old)
    new.rename(path)
    _flush(path.parent)
    if old.exists():
        _refuse_foreign(old)
        shutil.rmtree(old)


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Read and verify a checkpoint.

    Args:
        path: what `write` was given. If a process died while it replaced the checkpoint there, the
            one before is read, from `<name>.old`.

    Raises:
        CheckpointError: there is none, or a file of it is missing, damaged or of another kind.
    """
    path = Path(path).resolve()
    if not path.exists():
        old = path.with_name(path.name + ".old")
        if not old.exists():
            raise CheckpointError(f"[checkpoint] there is nothing at {path}")
        path = old
    if not path.is_dir():
        raise CheckpointError(f"[checkpoint] {path} is a file; a checkpoint is a directory")
    if not (path / _STATE_FILE).is_file():
        if all((path / name).exists() for name in _MODEL_FILES):
            raise CheckpointError(
                f"[checkpoint] {path} is a saved model without training state ({_STATE_FILE}): "
                "read it with sixloop.load"
            )
        raise CheckpointError(f"[checkpoint] {path} has no {_STATE_FILE}: it is no checkpoint")
    document = _read_document(path / _STATE_FILE)
    for name, expected in document["files"].items():
        _verify(path, name, expected)
    return Checkpoint(
        path,
        _decode(document["state"]),
        _read_arrays(path / _ARRAY_FILES[0]),
        _read_arrays(path / _ARRAY_FILES[1]),
    )


def _read_document(path: Path) -> dict[str, Any]:
    import json

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"[checkpoint] {path} is damaged: not JSON ({error})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise CheckpointError(
            f"[checkpoint] {path} is foreign: it does not say 'format': {FORMAT!r}"
        )
    if document.get("version") != VERSION:
        raise CheckpointError(
            f"[checkpoint] {path} has format version {document.get('version')!r}; "
            f"this sixloop reads version {VERSION}"
        )
    digest = document.pop("sha256", None)
    if digest != _digest(document):
        raise CheckpointError(
            f"[checkpoint] {path} is damaged or was edited: its SHA-256 does not match its contents"
        )
    files, state = document.get("files"), document.get("state")
    if (
        not isinstance(files, dict)
        or files.keys() != {*_MODEL_FILES, *_ARRAY_FILES}
        or not all(isinstance(f, dict) and f.keys() == {"bytes", "sha256"} for f in files.values())
        or not isinstance(state, dict)
    ):
        raise CheckpointError(f"[checkpoint] {path} is foreign: no list of files or no state in it")
    return document


def _verify(directory: Path, name: str, expected: Mapping[str, Any]) -> None:
    path = directory / name
    if not path.is_file():
        raise CheckpointError(f"[checkpoint] {directory} is incomplete: {name} is missing")
    size = path.stat().st_size
    if size != expected["bytes"]:
        raise CheckpointError(
            f"[checkpoint] {path} is damaged: expected {expected['bytes']} bytes; got {size}"
        )
    if _fingerprint(path) != expected:
        raise CheckpointError(
            f"[checkpoint] {path} is damaged: its SHA-256 is not the one in {_STATE_FILE}"
        )


def _encode(value: Any) -> Any:
    """Replace the floats that JSON does not have by {"float": "nan"}."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, Mapping):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"float"} and value["float"] in ("nan", "inf", "-inf"):
            return float(value["float"])
        return {key: _decode(item) for key, item in value.items()}
    return [_decode(item) for item in value] if isinstance(value, list) else value


def _write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    from safetensors.numpy import save_file

    # From the GPU, too: the file is the same.
    save_file({name: np.ascontiguousarray(to_numpy(a)) for name, a in arrays.items()}, path)


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"[checkpoint] {path} is damaged: not safetensors ({error})"
        ) from error


def _refuse_foreign(path: Path) -> None:
    """Raise rather than replace anything that is not ours."""
    if not path.exists():
        return
    if not path.is_dir():
        raise FileExistsError(f"[checkpoint] {path} is a file: it is not replaced by a checkpoint")
    others = sorted(entry.name for entry in path.iterdir() if entry.name not in _FILES)
    if others:
        raise FileExistsError(
            f"[checkpoint] {path} holds more than a checkpoint, so it is not replaced: "
            f"{', '.join(others[:5])}{', ...' if len(others) > 5 else ''}"
        )


def _fingerprint(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
        return {"bytes": file.tell(), "sha256": digest.hexdigest()}


def _digest(document: Mapping[str, Any]) -> str:
    import json

    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _flush(path: Path) -> None:
    """Wait until a file or the entries of a directory are on the disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no directories
        return
    # Windows flushes only what is open for writing.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
