"""The memory that a summary computes is what the allocator measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import sixloop
from sixloop import Trainer, losses, models, ops, optim
from sixloop.models import densenet
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
    Sequential,
    ZeroPad2D,
    ZeroPadChannels,
)

MIB = 1 << 20


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """How many threads are at work at once, each with its buffers, is up to the host."""
    threads = sixloop.get_num_threads()
    sixloop.set_num_threads(1)
    yield
    sixloop.set_num_threads(threads)


def agree(computed: int, measured: int, tolerance: float = 0.05) -> bool:
    return abs(computed - measured) <= tolerance * measured


def test_comparator() -> None:
    assert agree(100, 104)
    assert agree(104, 100)
    assert not agree(100, 106)
    assert not agree(106, 100)


def chain() -> Model:
    return Sequential(
        [
            Input((32, 32, 3)),
            Conv2D(32, 3, padding="same", activation="relu"),
            Conv2D(32, 3, padding="same", activation="relu"),
            MaxPool2D(2),
            Conv2D(64, 3, activation="gelu"),
            AvgPool2D(2),
            Dropout(0.5),
            Flatten(),
            Dense(10, activation="softmax"),
        ]
    )


def residual() -> Model:
    def conv(x: object) -> object:
        return Conv2D(16, 3, padding="same", use_bias=False)(x)

    image = Input((32, 32, 3))
    x = BatchNorm(activation="relu")(conv(image))
    for _ in range(2):
        y = BatchNorm(activation="relu")(conv(x))
        x = Add(activation="relu")([BatchNorm()(conv(y)), x])
    return Model(image, Dense(10, activation="softmax")(GlobalAvgPool2D()(x)))


def projections() -> Model:
    """Residual blocks of two normalisations, with activations other than ReLU."""
    x = image = Input((32, 32, 8))
    for activation in ("tanh", "gelu", None):
        shortcut = BatchNorm()(Conv2D(24, 1, use_bias=False)(x))
        y = BatchNorm()(Conv2D(24, 3, padding="same", use_bias=False)(x))
        x = Add(activation=activation)([y, shortcut])
    return Model(image, Dense(10, activation="softmax")(GlobalAvgPool2D()(x)))


def inception() -> Model:
    image = Input((32, 32, 3))
    x = Conv2D(32, 3, strides=2, activation="relu")(image)
    narrow = Conv2D(16, 1, activation="relu")(x)
    wide = Conv2D(24, 3, padding="same", activation="relu")(Conv2D(16, 1, activation="relu")(x))
    pooled = Conv2D(8, 1)(MaxPool2D(3, strides=1, padding="same")(x))
    x = LocalResponseNorm()(Concat()([narrow, wide, pooled]))
    x = Activation("tanh")(ZeroPad2D(1)(x))
    return Model(image, Dense(10)(GlobalAvgPool2D()(x)))


def four_branches() -> Model:
    """Sums of several arrays, activations of their own, and an output as large as the rest."""
    image = Input((40, 24, 8))
    a = Conv2D(20, 3, padding="same")(image)
    b = Conv2D(20, 5, padding="same", activation="gaussian")(image)
    x = Add(activation="gelu")([a, b, Conv2D(20, 1)(image), a])
    return Model(image, Activation("gelu")(Activation("relu")(x)))


def shared() -> Model:
    """A layer called three times, and two outputs."""
    image = Input((32, 32, 24))
    conv = Conv2D(24, 3, padding="same", activation="relu")
    x = conv(conv(conv(image)))
    return Model(image, [x, Conv2D(24, 1)(x)])


def grouped() -> Model:
    return Sequential(
        [
            Input((32, 32, 32)),
            Conv2D(32, 3, padding="same", groups=32),
            BatchNorm(activation="relu"),
            Conv2D(64, 3, groups=4, strides=2),
            Conv2D(64, 3, algorithm="im2col"),
            GlobalAvgPool2D(),
            Dense(5),
        ]
    )


def lenet() -> Model:
    return Sequential(
        [
            Input((28, 28, 1)),
            Conv2D(6, 5, padding=2, activation="tanh"),
            MaxPool2D(2),
            Conv2D(16, 5, activation="tanh"),
            MaxPool2D(2),
            Flatten(),
            Dense(120, activation="tanh"),
            Dense(10, activation="softmax"),
        ]
    )


def auxiliary() -> Model:
    """Two outputs that end in the same activation, and channels of zeros."""
    image = Input((32, 32, 3))
    x = Conv2D(32, 3, padding="same", activation="relu")(image)
    early = Dense(10, activation="softmax")(GlobalAvgPool2D()(x))
    x = Add()([Conv2D(48, 3, padding="same")(x), ZeroPadChannels(16)(x)])
    x = Conv2D(100, 1, activation="relu")(x)
    return Model(image, [Dense(10, activation="softmax")(GlobalAvgPool2D()(x)), early])


def lenet_of_1998() -> Model:
    return models.define("lenet5", variant="1998")


def googlenet() -> Model:
    return models.define("googlenet", classes=10, input_shape=(80, 80, 3))


def resnet() -> Model:
    return models.define("resnet_cifar", depth=20)


def small_densenet() -> Model:
    return densenet._densenet("densenet", (2, 2, 2, 2), 16, 10, (64, 64, 3))


@pytest.mark.parametrize(
    ("make", "batch", "dtype"),
    [
        (chain, 128, "float32"),
        (chain, 64, "float64"),
        (residual, 96, "float32"),
        (projections, 64, "float32"),
        (projections, 40, "float64"),
        (inception, 128, "float32"),
        (four_branches, 48, "float32"),
        (shared, 48, "float32"),
        (grouped, 64, "float32"),
        (lenet, 1024, "float32"),
        (auxiliary, 64, "float32"),
        (lenet_of_1998, 512, "float32"),
        (googlenet, 40, "float32"),
        (resnet, 64, "float32"),
        (small_densenet, 32, "float32"),
    ],
)
def test_peaks(make: Callable[[], Model], batch: int, dtype: str) -> None:
    model = make()
    model.build(dtype=dtype)
    memory = model.summary(batch, measure=True).memory
    assert agree(memory.forward, memory.measured_forward), memory
    assert agree(memory.training, memory.measured_training), memory
    # Activations dominate, so that nothing else could hide a wrong count of them.
    assert memory.kept > 2 * (memory.parameters + memory.gradients)
    smaller = model.summary(batch // 2).memory
    assert not agree(smaller.forward, memory.measured_forward)
    assert not agree(smaller.training, memory.measured_training)


@pytest.mark.parametrize("name", ["perceptron", "mlp", "small_cnn", "lenet5"])
@pytest.mark.parametrize("batch", [1, 8])
def test_small_networks(name: str, batch: int) -> None:
    """Where the kernels' own buffers are most of the memory."""
    memory = models.define(name).summary(batch, measure=True).memory
    assert agree(memory.forward, memory.measured_forward, 0.01), memory
    assert agree(memory.training, memory.measured_training, 0.01), memory


def test_threads_have_buffers_of_their_own() -> None:
    model = shared()
    one = model.summary(48).memory
    sixloop.set_num_threads(3)
    three = model.summary(48, measure=True).memory
    assert three.workspace > 1.5 * one.workspace
    assert three.forward - one.forward == three.workspace - one.workspace
    # At most: a thread that gets no processor has none.
    assert three.forward > 0.95 * three.measured_forward
    assert three.training > 0.95 * three.measured_training


@pytest.mark.parametrize("make", [chain, residual, auxiliary])
def test_a_step_of_the_trainer(make: Callable[[], Model]) -> None:
    before = sixloop.memory_stats()["allocated"]
    model = make()
    rng = np.random.default_rng(0)
    x, y = rng.random((192, 32, 32, 3), np.float32), np.zeros(192, np.int64)
    trainer = Trainer(model, optim.SGD(0.01, momentum=0.9), metrics=[])
    trainer.fit((x, y), batch_size=96, verbose=0)
    sixloop.reset_peak_memory()
    trainer.fit((x, y), batch_size=96, verbose=0)
    measured = sixloop.memory_stats()["peak"] - before
    memory = model.summary(96, optimizer=trainer.optimizer).memory
    assert agree(memory.training, measured), (memory, measured)


def test_gradients_of_the_step_before_are_freed() -> None:
    """Where parameters dominate: they, their gradients and the optimizer's state, each once."""
    sixloop.reset_peak_memory()
    before = sixloop.memory_stats()["allocated"]
    model = Sequential([Input(2048), Dense(2048, activation="relu"), Dense(2048)])
    trainer = Trainer(model, optim.SGD(0.01, momentum=0.9), metrics=[])
    data = np.zeros((64, 2048), np.float32), np.zeros(64, np.int64)
    trainer.fit(data, batch_size=16, verbose=0)
    measured = sixloop.memory_stats()["peak"] - before
    memory = model.summary(16, optimizer=trainer.optimizer).memory
    assert memory.parameters == memory.gradients == memory.optimizer
    assert agree(memory.training, measured, 0.1), (memory, measured)
    assert not agree(memory.training + memory.gradients, measured, 0.1)


def test_sizes_are_the_allocators() -> None:
    sizes = [0, 1, 64, 65, 128, 129, 1000, 4097, 70_000, MIB + 1, 2 * MIB - 1, 2 * MIB, 5 * MIB + 3]
    for size in (*sizes, 23 * MIB, 129 * MIB + 5):
        before = sixloop.memory_stats()["allocated"]
        tensor = sixloop.empty((size,), "uint8")
        assert sixloop.memory_stats()["allocated"] - before == sixloop.allocated_bytes(size), size
        del tensor
    assert sixloop.allocated_bytes(129) != 129
    for bad in (-1, 2**60 + 1):
        with pytest.raises(ValueError, match=r"\[allocated_bytes\] size must be from 0 to 2\*\*60"):
            sixloop.allocated_bytes(bad)
    with pytest.raises(TypeError, match="size"):
        sixloop.allocated_bytes(1.5)


SCRATCH = {
    "padded": (Conv2D(16, 3, padding=1), (64, 64, 8)),
    "strided": (Conv2D(32, 5, strides=2, padding=2), (64, 48, 3)),
    "planar": (Conv2D(6, 5, padding=2), (64, 64, 4)),
    "planar, a row for each vector": (Conv2D(6, 5, padding=2), (14, 8, 4)),
    "turned": (Conv2D(8, (3, 5), padding=(1, 2)), (48, 64, 32)),
    "plain": (Conv2D(64, 3, padding="same"), (32, 32, 32)),
    "weights": (Conv2D(512, 3, padding="same"), (16, 16, 256)),
    "grouped": (Conv2D(64, 3, padding="same", groups=4), (32, 32, 32)),
    "depthwise": (Conv2D(32, 3, padding="same", groups=32), (32, 32, 32)),
    "direct": (Conv2D(64, 3, padding="same", algorithm="direct"), (32, 32, 32)),
    "few tiles": (Conv2D(256, 3), (6, 6, 256)),
    "one tile": (Conv2D(384, 3, algorithm="winograd2x2"), (3, 4, 384)),
    "blocks": (Conv2D(320, 3, padding=2), (20, 20, 384)),
    "product": (Conv2D(128, 1), (48, 48, 64)),
    "im2col": (Conv2D(32, 3, padding="same", algorithm="im2col"), (32, 32, 24)),
}


@pytest.mark.parametrize("name", SCRATCH)
def test_scratch_of_convolutions(name: str) -> None:
    layer, shape = SCRATCH[name]
    batch = 16
    Sequential([Input(shape), layer]).build()
    weight = layer.parameters()["weight"]
    x = sixloop.zeros((batch, *shape))
    dy = sixloop.zeros((batch, *layer.output_shape(shape)))
    how = {
        key: getattr(layer, key)
        for key in ("strides", "padding", "dilation", "groups", "algorithm")
    }

    def peak(run: Callable[[], object]) -> int:
        before = sixloop.memory_stats()["allocated"]
        sixloop.reset_peak_memory()
        result = run()
        measured = sixloop.memory_stats()["peak"] - before
        return measured - sixloop.allocated_bytes(4 * int(np.prod(result.shape)))

    measured = (
        peak(lambda: ops.conv2d(x, weight, **how)),
        peak(lambda: ops.conv2d_grad_weight(x, dy, weight.shape, **how)),
        peak(lambda: ops.conv2d_grad_input(dy, weight, x.shape, **how)),
    )
    sixloop.empty_cache()
    ops.conv2d(x, weight, keep_filters=True, **how)
    kept = sixloop.memory_stats()["kept_filters"]
    measured += (peak(lambda: ops.conv2d(x, weight, keep_filters=True, **how)),)
    scratch = layer.scratch(batch, 4, shape)
    algorithm = ops.conv2d_plan("forward", x.shape, weight.shape, **how).algorithm
    assert scratch.kept == kept and (kept > 0) == algorithm.startswith("winograd")
    assert scratch.inference is not None
    computed_all = scratch.forward, scratch.grad_weight, scratch.grad_input, scratch.inference
    # The copy of a bias is counted in all passes, and there in some ways only.
    kh, kw = weight.shape[:2]
    bias = sixloop.allocated_bytes(4 * (kh * kw * max(x.shape[-1], dy.shape[-1]) + 63))
    for computed, found in zip(computed_all, measured, strict=True):
        assert found <= computed <= found + bias
    # Twice as many samples must not fit the same figures.
    if name in ("padded", "planar", "im2col"):  # those that copy the image
        assert layer.scratch(2 * batch, 4, shape).forward != measured[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_scratch_of_products(turned: tuple[bool, bool], dtype: str) -> None:
    itemsize = np.dtype(dtype).itemsize
    found = set()
    for m, n, k in [
        (1, 10, 784),
        (8, 10, 784),
        (8, 4096, 300),
        (100, 30, 2000),
        (96, 1000, 70),
        (300, 256, 2304),
        (900, 100, 60),
        (1300, 33, 500),
    ]:
        a = sixloop.zeros((k, m) if turned[0] else (m, k), dtype)
        b = sixloop.zeros((n, k) if turned[1] else (k, n), dtype)
        bias = sixloop.zeros((n,), dtype)
        before = sixloop.memory_stats()["allocated"]
        sixloop.reset_peak_memory()
        c = ops.gemm(a, b, bias, transpose_a=turned[0], transpose_b=turned[1])
        peak = sixloop.memory_stats()["peak"] - before - sixloop.allocated_bytes(m * n * itemsize)
        del c
        options = {"transpose_a": turned[0], "transpose_b": turned[1], "dtype": dtype}
        plan = ops.gemm_plan(m, n, k, **options)
        # The copy of the bias is there in some ways only.
        bias_bytes = sixloop.allocated_bytes((n + 63) * itemsize)
        assert peak <= plan.scratch_bytes <= peak + bias_bytes, (m, n, k)
        found.add(peak)
    assert len(found) > 4


def test_nothing_is_allocated() -> None:
    model = residual()
    before = sixloop.memory_stats()["requests"]
    memory = model.summary(batch=32, optimizer="adam").memory
    assert sixloop.memory_stats()["requests"] == before
    assert not model.is_built
    assert memory.measured_forward is None
    assert memory.optimizer == 2 * memory.gradients
    assert model.summary().memory is None
    assert model.summary(batch=32).memory.training == memory.training - memory.optimizer
    assert model.summary(batch=64).memory.kept > 1.9 * memory.kept


def test_measuring_leaves_the_model_as_it_was() -> None:
    model = residual()
    model.build(seed=1)
    digest = model.weights_sha256()
    model(np.ones((2, 32, 32, 3), np.float32), training=True)
    assert model.weights_sha256() != digest  # the running statistics
    digest = model.weights_sha256()
    held = sixloop.memory_stats()["allocated"]
    model.summary(batch=4, measure=True)
    assert model.weights_sha256() == digest
    assert sixloop.memory_stats()["allocated"] < held  # the activations of the call before


def test_text() -> None:
    lines = str(lenet().summary(batch=8, optimizer="adam")).splitlines()
    i = lines.index("memory for a batch of 8, in bytes as allocated")
    labels = [line.split("  ")[0] for line in lines[i + 1 :]]
    assert labels == [
        "parameters",
        "gradients",
        "optimizer state",
        "activations kept for backward",
        "workspace of the kernels, at most",
        "peak of forward",
        "peak of a training step",
    ]
    assert lines[i + 1].split()[1:] == [f"{lenet().summary(8).memory.parameters:,}", "0.2", "MiB"]


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"\[sequential\] batch must be between 1 and .*; got 0"):
        lenet().summary(batch=0)
    with pytest.raises(TypeError, match="batch must be an integer"):
        lenet().summary(batch=1.5)
    with pytest.raises(ValueError, match="measure needs a batch size"):
        lenet().summary(measure=True)
    with pytest.raises(ValueError, match="adamw"):
        lenet().summary(batch=1, optimizer="adamm")


@pytest.mark.parametrize("name", ["lenet5", "resnet_cifar", "googlenet"])
def test_training_takes_no_memory_from_the_system_after_the_second_step(name):
    """Not even where the threads share the tasks differently from step to step."""
    options = {"input_shape": (80, 96, 3)} if name == "googlenet" else {}
    model = models.build(name, classes=10, **options)
    optimizer = optim.SGD(0.01, momentum=0.9)
    loss = losses.get("cross_entropy")
    rng = np.random.default_rng(3)
    x = rng.normal(size=(16, *model.input_shapes[0])).astype(np.float32)
    labels = rng.integers(0, 10, 16)
    threads = sixloop.get_num_threads()
    sixloop.set_num_threads(3)
    try:
        requests = []
        for step in range(12):
            logits = model(x, training=True, step=step, logits=True)
            outputs = logits if isinstance(logits, list) else [logits]
            gradients = [loss(y, labels)[1] for y in outputs]
            model.backward(
                gradients if isinstance(logits, list) else gradients[0],
                input_gradient=False,
                from_logits=True,
            )
            optimizer.update(model.trainable_parameters(), model.gradients())
            requests.append(sixloop.memory_stats()["system_requests"])
    finally:
        sixloop.set_num_threads(threads)
    assert requests[2:] == [requests[1]] * 10
