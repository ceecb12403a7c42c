"""Weights with PyTorch's names and layouts: what is converted, refused, and said."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import reference
from sixloop import Tensor, nn
from sixloop.nn import (
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    Sequential,
    load_torch_state_dict,
)


def network() -> Sequential:
    return Sequential(
        [
            Input((4, 5, 4)),
            Conv2D(6, (2, 3), groups=2, use_bias=False, name="conv"),
            BatchNorm(name="bn"),
            Flatten(),
            BatchNorm(activation="relu", name="flat"),
            Dropout(0.5),
            Activation("tanh"),
            Dense(3, name="fc1"),
            Dense(2, name="fc2"),
        ]
    )


def state_dict(dtype: str = "float32") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    state = {"conv.weight": rng.standard_normal((6, 2, 2, 3))}
    for name, size in (("bn", 6), ("flat", 54)):
        for key in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.{key}"] = rng.uniform(0.5, 1.5, size)
    state["fc1.weight"] = rng.standard_normal((3, 54))
    state["fc1.bias"] = rng.standard_normal(3)
    state["fc2.weight"] = rng.standard_normal((2, 3))
    state["fc2.bias"] = rng.standard_normal(2)
    arrays = {key: value.astype(dtype) for key, value in state.items()}
    return {**arrays, "bn.num_batches_tracked": np.array(7)}


def expected(x: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    """The network in PyTorch's order: maps are flattened as C, H, W."""

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        p = {key: state[f"{name}.{key}"].astype(np.float64) for key in _NORM}
        return (x - p["running_mean"]) / np.sqrt(p["running_var"] + 1e-5) * p["weight"] + p["bias"]

    x = reference.conv2d(x, state["conv.weight"].transpose(2, 3, 1, 0), groups=2)
    x = norm(x, "bn").transpose(0, 3, 1, 2).reshape(len(x), -1)
    x = np.tanh(np.maximum(norm(x, "flat"), 0))
    x = x @ state["fc1.weight"].T + state["fc1.bias"]
    return x @ state["fc2.weight"].T + state["fc2.bias"]


_NORM = ("weight", "bias", "running_mean", "running_var")


def check(model: nn.Model, state: dict[str, np.ndarray]) -> None:
    x = np.random.default_rng(1).standard_normal((3, 4, 5, 4)).astype(model.dtype)
    np.testing.assert_allclose(model(x), expected(x, state), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("built", [False, True])
def test_layouts(built: bool) -> None:
    model, state = network(), state_dict()
    if built:
        model.build(seed=3)
    assert load_torch_state_dict(model, state) == ([], [])
    check(model, state)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_file(tmp_path: Path, dtype: str) -> None:
    model, state = network(), state_dict(dtype)
    save_file(state, tmp_path / "weights.safetensors")
    load_torch_state_dict(model, tmp_path / "weights.safetensors")
    assert model.dtype == "float32"
    check(model, state)


def test_float64_model_and_tensors() -> None:
    model, state = network(), state_dict("float64")
    model.build(dtype="float64")
    load_torch_state_dict(model, {key: Tensor(value) for key, value in state.items() if value.ndim})
    x = np.random.default_rng(1).standard_normal((3, 4, 5, 4))
    np.testing.assert_allclose(model(x), expected(x, state), rtol=1e-12)


def test_keys_of_the_older_files_for_densenet(tmp_path: Path) -> None:
    prefix = "features.denseblock1.denselayer2"
    model = Sequential(
        [
            Input((4, 4, 2)),
            BatchNorm(name=f"{prefix}.norm1"),
            Conv2D(3, 1, use_bias=False, name=f"{prefix}.conv2"),
        ]
    )
    state = {f"{prefix}.norm.1.{key}": np.full(2, i, np.float32) for i, key in enumerate(_NORM)}
    state[f"{prefix}.conv.2.weight"] = np.ones((3, 2, 1, 1), np.float32)
    save_file(state, tmp_path / "old.safetensors")
    for source in (state, tmp_path / "old.safetensors"):
        load_torch_state_dict(model, source)
        parameters = model.parameters()
        assert parameters[f"{prefix}.norm1.running_variance"].numpy().tolist() == [3, 3]


# ------------------------------------------------------------------------------------------ errors


def wrong() -> dict[str, np.ndarray]:
    state = state_dict()
    del state["conv.weight"], state["fc2.bias"]
    state["extra.weight"] = np.zeros((2, 2), np.float32)
    state["fc1.weight"] = state["fc1.weight"].T
    state["bn.bias"] = np.arange(6)
    return state


MESSAGE = (
    "the weights do not fit the model: missing: conv.weight (6, 2, 2, 3), fc2.bias (2,); "
    "unexpected: 'extra.weight' (2, 2); wrong shape: fc1.weight must be (3, 54), got (54, 3); "
    "wrong dtype: bn.bias must be one of float16, float32, float64, got "
)


def test_one_error_names_everything_and_loads_nothing(tmp_path: Path) -> None:
    model = network()
    model.build(seed=5)
    before = model.weights_sha256()
    with pytest.raises(ValueError, match=re.escape(f"[load_torch_state_dict]: {MESSAGE}int64")):
        load_torch_state_dict(model, wrong())
    path = tmp_path / "w.safetensors"
    contiguous = {key: np.ascontiguousarray(value) for key, value in wrong().items()}
    save_file(contiguous, path)
    message = f"[load_torch_state_dict] {path}: {MESSAGE}I64"
    with pytest.raises(ValueError, match=re.escape(message)):
        load_torch_state_dict(model, path)
    assert model.weights_sha256() == before


def test_strict_is_about_names_alone() -> None:
    model, state = network(), state_dict()
    del state["fc2.bias"]
    state["extra"] = np.zeros(1, np.float32)
    assert load_torch_state_dict(model, state, strict=False) == (["fc2.bias"], ["extra"])
    np.testing.assert_array_equal(model.parameters()["fc1.bias"].numpy(), state["fc1.bias"])
    with pytest.raises(ValueError, match=r"wrong shape: fc1\.weight"):
        load_torch_state_dict(model, wrong(), strict=False)


def test_bfloat16(tmp_path: Path) -> None:
    model = Sequential([Input((2,)), Dense(1, use_bias=False, name="fc")])
    header = json.dumps({"fc.weight": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [0, 4]}})
    path = tmp_path / "b.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(4))
    with pytest.raises(ValueError, match=r"wrong dtype: fc\.weight must be one of .*, got BF16"):
        load_torch_state_dict(model, path)


class Trap:
    def __reduce__(self) -> Any:
        return exec, ("raise AssertionError('a pickle was read')",)


@pytest.mark.parametrize("name", ["w.pt", "w.PTH", "w.bin", "w.ckpt", "w.pkl", "w.safetensors"])
@pytest.mark.parametrize("archive", [False, True])
def test_pickles_are_never_read(tmp_path: Path, name: str, archive: bool) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Trap()))
    if archive:
        path.unlink()
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="it is a pickle, which can run any code when it is read"):
        load_torch_state_dict(network(), path)


def test_a_missing_pickle_is_refused_as_well() -> None:
    with pytest.raises(ValueError, match=r"safetensors\.torch\.save_file"):
        load_torch_state_dict(network(), "nowhere.pth")


def test_no_header_is_taken_for_a_pickle(tmp_path: Path) -> None:
    """A header of 128 bytes, of which the first byte of the file is that of a pickle."""
    model = Sequential([Input((2,)), Dense(1, use_bias=False, name="fc")])
    header = json.dumps({"fc.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}})
    path = tmp_path / "w.safetensors"
    path.write_bytes((128).to_bytes(8, "little") + header.ljust(128).encode() + bytes(8))
    load_torch_state_dict(model, path)
    assert not model.parameters()["fc.weight"].numpy().any()


@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"\xff" * 64, b"{}"])
def test_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged or no safetensors file"):
        load_torch_state_dict(network(), path)


def test_other_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file: nowhere\.safetensors"):
        load_torch_state_dict(network(), "nowhere.safetensors")
    with pytest.raises(ValueError, match="is damaged or no safetensors file"):
        load_torch_state_dict(network(), tmp_path)
    for key, value in (("a", [1.0]), (3, np.zeros(1)), ("a", None)):
        with pytest.raises(TypeError, match="a dict must map keys to arrays or CPU tensors"):
            load_torch_state_dict(network(), {key: value})
    sparse = Sequential([Input((4, 4, 2)), nn.SparseConv2D([[0], [1]], 3, name="c3")])
    with pytest.raises(ValueError, match="Conv2D, Dense or BatchNorm; got 'c3', a SparseConv2D"):
        load_torch_state_dict(sparse, {})


def test_tensors_that_need_a_gradient() -> None:
    torch = pytest.importorskip("torch")
    parameter = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(TypeError, match=r"got 'fc2\.bias': Parameter"):
        load_torch_state_dict(network(), {"fc2.bias": parameter})
