"""Filters kept between calls: same bits, and never those of weights from before."""

from __future__ import annotations

import copy
import ctypes
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import sixloop
from comparators import assert_same_bits
from sixloop import Tensor, Trainer, _core, ops, optim
from sixloop.nn import (
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    Input,
    Model,
    Sequential,
    fold_batch_norm,
)

# Shapes of x and w, padding, algorithm; the forward pass cuts its tiles in three ways.
CASES = {
    "passes": ((2, 29, 31, 24), (3, 3, 24, 40), 1, "winograd4x4"),
    "tasks": ((3, 32, 28, 16), (3, 3, 16, 16), 1, "winograd2x2"),
    "few tiles": ((1, 14, 13, 40), (3, 3, 40, 520), 1, "winograd2x2"),
    "few tiles, cut short": ((1, 22, 19, 37), (3, 3, 37, 264), (0, 1), "winograd4x4"),
    "5x5": ((1, 10, 9, 24), (5, 5, 24, 48), 2, "winograd2x2"),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    sixloop.empty_cache()
    assert kept() == 0
    yield


def kept() -> int:
    return sixloop.memory_stats()["kept_filters"]


def arrays(rng: np.random.Generator, case: Any, dtype: str = "float32") -> tuple[Tensor, Tensor]:
    x_shape, w_shape, _, _ = case
    x, w = (Tensor(rng.normal(size=shape).astype(dtype)) for shape in (x_shape, w_shape))
    return x, w


def conv(x: Tensor, w: Any, case: Any, *, keep: bool = True, **params: Any) -> Any:
    _, _, padding, algorithm = case
    return ops.conv2d(x, w, padding=padding, algorithm=algorithm, keep_filters=keep, **params)


def write_unseen(w: Tensor, values: np.ndarray) -> None:
    """Writes as nothing in the library does, so that what is kept stays."""
    values = np.ascontiguousarray(values)
    ctypes.memmove(w._address, values.ctypes.data, values.nbytes)


@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits(rng, isa, case, dtype):
    x, w = arrays(rng, case, dtype)
    bias = Tensor(rng.normal(size=w.shape[3]).astype(dtype))
    for options in ({}, {"bias": bias, "activation": "relu"}, {"bias": bias, "activation": "tanh"}):
        expected = conv(x, w, case, keep=False, **options)
        for _ in range(2):
            assert_same_bits(conv(x, w, case, **options), expected)
        assert w._kept_bytes == kept() > 0


@every_case
def test_same_bits_with_threads(rng, threads, case):
    x, w = arrays(rng, case)
    expected = conv(x, w, case, keep=False)
    for _ in range(2):
        assert_same_bits(conv(x, w, case), expected)


@every_case
def test_the_second_call_reads_what_the_first_one_kept(rng, case):
    x, w = arrays(rng, case)
    before = conv(x, w, case)
    write_unseen(w, np.zeros(w.shape, np.float32))
    assert_same_bits(conv(x, w, case), before)
    assert conv(x, w, case, keep=False).numpy().max() == 0
    w.assign(np.zeros(w.shape, np.float32))
    assert conv(x, w, case).numpy().max() == 0


def test_what_has_no_form_keeps_nothing(rng):
    x, w = Tensor(rng.normal(size=(1, 12, 11, 8))), Tensor(rng.normal(size=(3, 3, 1, 8)))
    expected = ops.conv2d(x, w, groups=8)
    assert_same_bits(ops.conv2d(x, w, groups=8, keep_filters=True), expected)
    assert kept() == 0


def test_residual(rng):
    case = CASES["passes"]
    x, w = arrays(rng, case)
    residual = Tensor(rng.normal(size=(2, 29, 31, 40)).astype(np.float32))
    expected = conv(x, w, case, keep=False, residual=residual, activation="relu")
    for _ in range(2):
        assert_same_bits(conv(x, w, case, residual=residual, activation="relu"), expected)
    assert w._kept_bytes > 0


@pytest.mark.parametrize("wrap", [np.asarray, lambda w: w.numpy().tolist()])
def test_weights_of_somebody_else_are_refused(rng, wrap):
    case = CASES["5x5"]
    x, w = arrays(rng, case)
    with pytest.raises(TypeError, match=r"weight"):
        conv(x, wrap(w), case)


def test_keep_filters_is_a_flag(rng):
    case = CASES["5x5"]
    x, w = arrays(rng, case)
    with pytest.raises(TypeError, match="keep_filters must be True or False; got 'yes'"):
        ops.conv2d(x, w, keep_filters="yes")


# ---- who may write ------------------------------------------------------------------------------

SHAPE = (3, 3, 24, 40)


def _like(w: Tensor) -> Tensor:
    return Tensor(np.full(w.shape, 0.5, np.float32))


def _write_view(w: Tensor) -> None:
    w.numpy()[0, 1, 2, 3] += 1


WRITES: dict[str, Callable[[Tensor], object]] = {
    "assign": lambda w: w.assign(_like(w)),
    "assign to a view": lambda w: w.reshape(-1).assign(_like(w).reshape(-1)),
    "fill": lambda w: w.fill(2.0),
    "fill a part": lambda w: w._part(8, 16).fill(2.0),
    "numpy": _write_view,
    "asarray": lambda w: np.asarray(w).fill(3.0),
    "memoryview": lambda w: memoryview(w.numpy()).cast("B").cast("f").__setitem__(7, 3.0),
    "from_dlpack": lambda w: np.multiply(np.from_dlpack(w), 1, out=w.numpy()),
    "sgd": lambda w: ops.sgd_update(w, _like(w), None, lr=0.1),
    "sgd with momentum": lambda w: ops.sgd_update(w, _like(w), _like(w), lr=0.1, momentum=0.9),
    "several at once": lambda w: ops.sgd_update([_like(w), w], [_like(w)] * 2, None, lr=0.1),
    "velocity": lambda w: ops.sgd_update(_like(w), _like(w), w, lr=0.1, momentum=0.9),
    "adam": lambda w: ops.adam_update(w, _like(w), _like(w), _like(w), step=1, lr=0.1),
    "adam's mean": lambda w: ops.adam_update(_like(w), _like(w), w, _like(w), step=1, lr=0.1),
    "adam's square": lambda w: ops.adam_update(_like(w), _like(w), _like(w), w, step=1, lr=0.1),
    "rmsprop": lambda w: ops.rmsprop_update(w, _like(w), _like(w), lr=0.1),
    "rmsprop's square": lambda w: ops.rmsprop_update(_like(w), _like(w), w, lr=0.1),
    "moving_average": lambda w: _core.moving_average(w.reshape(-1), _like(w).reshape(-1), 0.9, 1.0),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_writes_ends_it(rng, write):
    case = ((1, 24, 25, 24), SHAPE, 1, "winograd4x4")
    x, w = arrays(rng, case)
    conv(x, w, case)
    assert w._kept_bytes > 0
    version = w._version
    write(w)
    assert w._version > version and w._kept_bytes == kept() == 0
    expected = conv(x, w, case, keep=False)
    for _ in range(2):
        assert_same_bits(conv(x, w, case), expected)
    assert w._kept_bytes > 0


READS: dict[str, Callable[[Tensor], object]] = {
    "shape": lambda w: w.shape,
    "dtype": lambda w: w.dtype,
    "device": lambda w: w.device,
    "ndim": lambda w: w.ndim,
    "size": lambda w: w.size,
    "nbytes": lambda w: w.nbytes,
    "to": lambda w: w.to("cpu"),
    "reshape": lambda w: w.reshape(-1),
    "copy": lambda w: w.copy(),
    "item": lambda w: w._part(0, 1).item(),
    "_part": lambda w: w._part(0, 3),
    "_move": lambda w: w._move("cpu"),
    "_address": lambda w: w._address,
    "_version": lambda w: w._version,
    "_kept_bytes": lambda w: w._kept_bytes,
    "__dlpack_device__": lambda w: w.__dlpack_device__(),
    "__cuda_array_interface__": lambda w: hasattr(w, "__cuda_array_interface__"),
    "__len__": len,
    "__repr__": repr,
    "__array__ of another dtype": lambda w: np.asarray(w, "float64"),
    "__array__ copied": lambda w: np.array(w),
    "ops": lambda w: (ops.relu(w), ops.add(w, w), ops.cast(w, "float32")),
    "gradient": lambda w: ops.conv2d_grad_input(sixloop.zeros((1, 5, 6, 40)), w, (1, 7, 8, 24)),
}
# Through these anyone may write, see WRITES and EXPORTS.
WRITING = {"assign", "fill", "numpy", "__array__", "__dlpack__"}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_what_reads_leaves_it(rng, read):
    case = ((1, 24, 25, 24), SHAPE, 1, "winograd4x4")
    x, w = arrays(rng, case)
    conv(x, w, case)
    version = w._version
    read(w)
    assert w._version == version and w._kept_bytes > 0


def test_every_method_of_a_tensor_is_known_to_read_or_to_write():
    of_pybind = {"_pybind11_conduit_v1_"}
    own = {n for n in vars(Tensor) if n not in vars(object) or n in ("__repr__",)} - of_pybind
    own -= {"__init__", "__new__", "__doc__", "__module__", "__dict__", "__weakref__"}
    assert own == {name.split()[0] for name in READS if name not in ("ops", "gradient")} | WRITING


def _capsule(w: Tensor) -> object:
    return w.__dlpack__()


def _torch(w: Tensor) -> object:
    return pytest.importorskip("torch").from_dlpack(w)


EXPORTS: dict[str, Callable[[Tensor], Any]] = {
    "numpy": lambda w: w.numpy(),
    "a view of a view": lambda w: w.numpy()[1:, :, 3],
    "asarray": np.asarray,
    "memoryview": lambda w: memoryview(w.numpy()),
    "of a part": lambda w: w._part(3, 9).numpy(),
    "of another shape": lambda w: w.reshape(9, -1).numpy(),
    "capsule": _capsule,
    "numpy by dlpack": np.from_dlpack,
    "torch": _torch,
}


@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
def test_nothing_is_kept_while_somebody_else_may_write(rng, export):
    case = ((1, 24, 25, 24), SHAPE, 1, "winograd4x4")
    x, w = arrays(rng, case)
    conv(x, w, case)
    view = export(w)
    assert kept() == 0
    for _ in range(2):
        write_unseen(w, rng.normal(size=SHAPE).astype(np.float32))
        assert_same_bits(conv(x, w, case), conv(x, w, case, keep=False))
    assert kept() == 0
    del view
    conv(x, w, case)
    assert w._kept_bytes > 0


def test_views_share_what_is_kept(rng):
    case = ((1, 24, 25, 24), SHAPE, 1, "winograd4x4")
    x, w = arrays(rng, case)
    view = w.reshape(9, 24, 40).reshape(SHAPE)
    conv(x, view, case)
    assert w._kept_bytes == view._kept_bytes == kept() > 0
    conv(x, w, case)
    assert w._kept_bytes == kept()
    # Parts of one memory, which have a form each.
    both = Tensor(rng.normal(size=(2, *SHAPE)).astype(np.float32))
    halves = [both._part(i * w.size, (i + 1) * w.size).reshape(SHAPE) for i in range(2)]
    for half in (*halves, *halves):
        assert_same_bits(conv(x, half, case), conv(x, half, case, keep=False))


def test_a_form_gives_way_when_another_is_asked_for_twice(rng):
    w = Tensor(rng.normal(size=(3, 3, 64, 64)).astype(np.float32))
    one, eight = (Tensor(rng.normal(size=(n, 16, 16, 64)).astype(np.float32)) for n in (1, 8))
    assert ops.conv2d_algorithm("forward", one.shape, w.shape, padding=1) == "winograd2x2"
    assert ops.conv2d_algorithm("forward", eight.shape, w.shape, padding=1) == "winograd4x4"
    expected = [ops.conv2d(x, w, padding=1) for x in (one, eight)]
    sizes = []
    for i in (0, 1, 0, 1, 1, 0, 0):
        y = ops.conv2d((one, eight)[i], w, padding=1, keep_filters=True)
        assert_same_bits(y, expected[i])
        sizes.append(kept())
    small, large = sizes[0], sizes[4]
    assert small < large and sizes == [small] * 4 + [large] * 2 + [small]


# ---- memory -------------------------------------------------------------------------------------


def test_memory_is_counted_bounded_and_freed(rng):
    case = CASES["few tiles"]
    x, w = arrays(rng, case)
    plan = ops.conv2d_plan(
        *("forward", x.shape, w.shape), padding=1, algorithm=case[3], keep_filters=True
    )
    assert plan.kept_bytes >= 16 / 9 * w.nbytes
    idle = sixloop.memory_stats()["allocated"]
    conv(x, w, case)
    assert kept() == plan.kept_bytes == sixloop.memory_stats()["allocated"] - idle
    sixloop.empty_cache()
    assert kept() == 0 and sixloop.memory_stats()["allocated"] == idle
    limit = sixloop.memory_stats()["cache_limit"]
    try:
        conv(x, w, case)
        sixloop.set_cache_limit(plan.kept_bytes - 1)
        assert kept() == 0
        conv(x, w, case)
        assert kept() == 0
        sixloop.set_cache_limit(plan.kept_bytes)
        conv(x, w, case)
        assert kept() == plan.kept_bytes
    finally:
        sixloop.set_cache_limit(limit)
    del w
    assert kept() == 0


@every_case
def test_scratch_with_kept_filters(rng, case):
    x, w = arrays(rng, case)
    with sixloop.num_threads(1):
        plan = ops.conv2d_plan(
            *("forward", x.shape, w.shape), padding=case[2], algorithm=case[3], keep_filters=True
        )
        y = conv(x, w, case)
        before = sixloop.memory_stats()["allocated"]
        sixloop.reset_peak_memory()
        y2 = conv(x, w, case)
        result = sixloop.allocated_bytes(y.nbytes)
        used = sixloop.memory_stats()["peak"] - before - result
    assert y2.shape == y.shape
    assert 0.95 * plan.scratch_bytes <= used <= plan.scratch_bytes


@pytest.mark.parametrize("which", ["grad_input", "grad_weight"])
def test_gradients_keep_nothing(which):
    plan = ops.conv2d_plan(which, (2, 28, 28, 64), (3, 3, 64, 64), padding=1, keep_filters=True)
    assert plan.kept_bytes == 0
    assert plan == ops.conv2d_plan(which, (2, 28, 28, 64), (3, 3, 64, 64), padding=1)


# ---- models -------------------------------------------------------------------------------------


def network() -> Model:
    image = Input((20, 24, 3))
    x = Conv2D(16, 3, padding="same", activation="relu")(image)
    x = BatchNorm(activation="relu")(Conv2D(24, 3, padding="same", use_bias=False)(x))
    x = Conv2D(16, 5, padding="same", activation="relu")(x)
    return Model(image, Dense(5, activation="softmax")(Flatten()(x)))


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.normal(size=(4, 20, 24, 3)).astype(np.float32)


def check(model: Model, images: np.ndarray) -> None:
    """A fresh model of the same weights has the same outputs, in the first and later calls."""
    fresh = network()
    fresh.load_weights({name: np.array(value) for name, value in model.parameters().items()})
    with_nothing_kept = fresh(images)
    for _ in range(3):
        assert_same_bits(model(images), with_nothing_kept)


def test_inference_keeps_filters_and_training_does_not(images):
    model = network()
    y = model(images, training=True)
    model.backward(np.ones_like(y))
    assert kept() == 0
    model(images)
    weights = {n: p._kept_bytes for n, p in model.parameters().items() if p._kept_bytes > 0}
    assert set(weights) == {"conv2d_2.weight", "conv2d_3.weight"}
    assert sum(weights.values()) == kept()
    model.backward(np.ones_like(y))  # after inference: it runs the forward pass again
    assert sum(weights.values()) == kept()
    check(model, images)


def test_training_and_inference_by_turns(images):
    model = network()
    labels = np.arange(4)
    trainer = Trainer(model, optimizer=optim.Adam(lr=0.05))
    outputs = []
    for _ in range(3):
        check(model, images)
        assert kept() > 0
        trainer.fit((images, labels), epochs=1, batch_size=2, validation=(images, labels))
        check(model, images)
        assert_same_bits(trainer.predict(images), model(images))
        outputs.append(model(images))
    assert not np.array_equal(outputs[0], outputs[1])
    other = Trainer(network(), optimizer=optim.Adam(lr=0.05))
    for _ in range(3):  # as above, without any inference
        other.fit((images, labels), epochs=1, batch_size=2)
    assert other.model.weights_sha256() == model.weights_sha256()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_every_optimizer(optimizer, images):
    model = network()
    model.build(seed=3)
    trainer = Trainer(model, optimizer=optimizer)
    for _ in range(2):
        check(model, images)
        trainer.fit((images, np.arange(4)), epochs=1, batch_size=4)
    check(model, images)


def test_weights_that_are_written_between_calls(images, rng, tmp_path):
    model = network()
    model.build(seed=1)
    weight = model.parameters()["conv2d_2.weight"]
    view = weight.numpy()
    check(model, images)
    view *= 2  # through a view from before
    check(model, images)
    view[1, 2] = 0.25
    check(model, images)
    assert weight._kept_bytes == 0
    del view
    check(model, images)
    assert weight._kept_bytes > 0
    weight.numpy()[:] = rng.normal(size=weight.shape)  # through one from after
    check(model, images)
    weight.assign(rng.normal(size=weight.shape).astype(np.float32))
    check(model, images)
    other = network()
    other.build(seed=2)
    other.save(tmp_path / "other")
    model.load_weights(tmp_path / "other")
    check(model, images)
    assert_same_bits(model(images), other(images))
    assert_same_bits(sixloop.load(tmp_path / "other")(images), other(images))


def test_copies_have_their_own(images):
    model = network()
    before = model(images)
    folded = fold_batch_norm(model)
    first = folded(images)
    with pytest.raises(TypeError, match="pickle"):
        copy.deepcopy(model.parameters()["conv2d_2.weight"])
    twin = model.parameters()["conv2d_2.weight"].copy()
    assert twin._kept_bytes == 0
    model.parameters()["conv2d_2.weight"].fill(0.0)
    check(model, images)
    for _ in range(2):
        assert_same_bits(folded(images), first)
    model.parameters()["conv2d_2.weight"].assign(twin)
    assert_same_bits(model(images), before)


def test_a_layer_of_two_models(images):
    conv = Conv2D(16, 3, padding="same", name="shared")
    models = [Sequential([Input((20, 24, 3)), Conv2D(16, 3), conv, Conv2D(16, 3)]) for _ in "ab"]
    expected = [m(images) for m in models]
    for model, y in zip(models, expected, strict=True):
        assert_same_bits(model(images), y)
    conv.parameters()["weight"].fill(0.5)
    for model, y in zip(models, expected, strict=True):
        sixloop.empty_cache()
        fresh = model(images)
        assert_same_bits(model(images), fresh)
        assert not np.array_equal(fresh, y)


def test_batch_sizes_by_turns(images):
    model = network()
    model(images)
    many = np.concatenate([images] * 3)
    for x in (images[:1], many, images, images[:1], images[:1], many):
        fresh = network()
        fresh.load_weights({name: np.array(value) for name, value in model.parameters().items()})
        assert_same_bits(model(x), fresh(x))


def test_several_threads(images):
    model = network()
    expected = [model(images[:n]) for n in (1, 2, 4)]
    wrong: list[str] = []

    def run(index: int) -> None:
        for i in range(40):
            n = (1, 2, 4)[(i + index) % 3]
            y = model(images[:n])
            if not np.array_equal(y, expected[(i + index) % 3]):
                wrong.append(f"thread {index}, call {i}")
            if i % 10 == index:
                sixloop.empty_cache()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    check(model, images)


def test_a_thread_that_trains_beside_one_that_predicts(images):
    """Outputs in between may be of weights that are being written; afterwards they are not."""
    model, reader = network(), network()
    model.build(seed=5)
    reader.build(seed=5)
    weights = model.parameters()
    done = threading.Event()

    def predict() -> None:
        while not done.is_set():
            for name in ("conv2d_2.weight", "conv2d_3.weight"):
                w = weights[name]
                x = np.ones((1, 20, 24, w.shape[2]), np.float32)
                ops.conv2d(Tensor(x), w, padding=1, keep_filters=True)

    thread = threading.Thread(target=predict)
    thread.start()
    for i in range(30):
        for name in ("conv2d_2.weight", "conv2d_3.weight"):
            w = weights[name]
            ops.sgd_update(w, Tensor(np.full(w.shape, 0.01 * i, np.float32)), None, lr=0.1)
    done.set()
    thread.join()
    check(model, images)
