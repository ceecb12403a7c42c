"""Batches that stay on the GPU: losses and counts left there, recorded steps."""

import math

import numpy as np
import pytest

import sixloop
from comparators import assert_same_bits
from on_cuda import DTYPES, assert_rounded, rounded, to_bfloat16
from sixloop import Trainer, _device_training, _on_device, data, losses, metrics, nn, optim
from sixloop.callbacks import Callback
from sixloop.nn import Input, Model
from sixloop.trainer import NonFiniteLossError

every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def there(array):
    return sixloop.Tensor(array).to("cuda")


def labels_of(rng, shape):
    return rng.integers(0, shape[-1], shape[:-1])


LOSSES = {
    "cross_entropy": (losses.CrossEntropy(), labels_of),
    "squares": (losses.MeanSquaredError(), lambda rng, shape: rng.normal(size=shape)),
    "binary": (losses.BinaryCrossEntropy(), lambda rng, shape: rng.uniform(size=shape)),
    "hinge": (losses.WestonWatkinsHinge(0.7), labels_of),
}
# The last ones have several chunks of the sum.
SHAPES = [(1, 1), (5, 3), (7, 33), (3, 5, 11), (13, 701), (4099, 2)]


@every_dtype
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_that_stay_there(rng, name, shape, dtype):
    loss, targets = LOSSES[name]
    output, target = (3 * rng.normal(size=shape)).astype(dtype), targets(rng, shape)
    output.reshape(-1)[::3] = 0
    expected, gradient = loss(output, target)
    target = loss.target_on_gpu(shape, target, dtype)
    total, divisor, gradient_there = loss.sum_on_gpu(there(output), there(target))
    assert float(total.numpy()[0]) / divisor == expected
    assert_same_bits(gradient_there.numpy(), gradient)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_bfloat16(rng, name, shape):
    """The terms are those of float32, the gradient is rounded once."""
    loss, targets = LOSSES[name]
    output, target = rounded(3 * rng.normal(size=shape).astype("float32")), targets(rng, shape)
    expected, gradient = loss(output, target)
    got, gradient_there = loss(to_bfloat16(output), target)
    assert got == expected
    assert_rounded(gradient_there, gradient)


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_is_that_of_the_definition(rng, name):
    """Sums in another order than NumPy's, within the rounding of float64."""
    loss, targets = LOSSES[name]
    output = rng.normal(size=(1500, 7))
    target = targets(rng, output.shape)
    z = output.astype(np.longdouble)
    rows = np.arange(len(z))
    expected = {
        "cross_entropy": lambda: (np.log(np.exp(z).sum(1)) - z[rows, target]).mean(),
        "squares": lambda: ((z - target) ** 2).mean(),
        "binary": lambda: (np.log1p(np.exp(z)) - z * target).mean(),
        "hinge": lambda: (np.maximum(z - z[rows, target][:, None] + 0.7, 0).sum(1) - 0.7).mean(),
    }[name]()
    got, _ = loss(output, target)
    assert abs(got - float(expected)) <= 1e-13 * abs(float(expected))


@every_dtype
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_that_are_not_finite(rng, name, value, dtype):
    loss, targets = LOSSES[name]
    output = rng.normal(size=(6, 5)).astype(dtype)
    target = targets(rng, output.shape)
    output[3, target[3] if target.ndim == 1 else 2] = value
    with np.errstate(invalid="ignore"):
        expected, _ = loss(output, target)
    target = loss.target_on_gpu(output.shape, target, dtype)
    total, divisor, _ = loss.sum_on_gpu(there(output), there(target))
    got = float(total.numpy()[0]) / divisor
    assert math.isfinite(got) == math.isfinite(expected)


@pytest.mark.parametrize("name", ["cross_entropy", "hinge"])
def test_a_label_out_of_range_is_no_number(rng, name):
    output = there(rng.normal(size=(4, 3)).astype("float32"))
    for label in (-1, 3):
        total, _, _ = LOSSES[name][0].sum_on_gpu(output, there(np.array([0, label, 1, 2])))
        assert not math.isfinite(total.numpy()[0])


METRICS = [
    metrics.Accuracy(),
    metrics.TopKAccuracy(1),
    metrics.TopKAccuracy(3),
    metrics.TopKAccuracy(99),
    metrics.BinaryAccuracy(),
    metrics.BinaryAccuracy(0.3),
]


@every_dtype
@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("metric", METRICS, ids=repr)
def test_counts(rng, metric, logits, dtype):
    for shape in [(1, 1), (9, 4), (300, 5), (2, 3, 67)]:
        for special in (None, np.nan, np.inf, -np.inf):
            output = np.round(rng.normal(size=shape), 1).astype(dtype)
            output[output == 0.3] = 0.5
            if special is not None:
                output.reshape(-1)[rng.integers(0, output.size, 1 + output.size // 5)] = special
            binary = isinstance(metric, metrics.BinaryAccuracy)
            target = np.round(rng.uniform(size=shape), 1) if binary else labels_of(rng, shape)
            right, number = metric.count(output, target, logits=logits)
            truth = target
            target = metric.target_on_gpu(shape, target, dtype)
            counts = metric.count_on_gpu(there(output), there(target), logits=logits)
            assert counts.numpy().sum() == right
            if dtype == "float32":
                right, _ = metric.count(rounded(output), truth, logits=logits)
                counts = metric.count_on_gpu(to_bfloat16(output), there(target), logits=logits)
                assert counts.numpy().sum() == right
            assert metric.total(shape) == number


def test_accuracy_of_one_hot_rows(rng):
    output, labels = rng.normal(size=(9, 4)), rng.integers(0, 4, 9)
    metric = metrics.Accuracy()
    rows = metric.target_on_gpu((9, 4), np.eye(4)[labels], "float64")
    np.testing.assert_array_equal(rows, labels)
    assert (
        metric.count_on_gpu(there(output), there(rows), logits=True).numpy().sum()
        == (metric.count(output, np.eye(4)[labels])[0])
    )


def network(dropout=0.3, batch_norm=True):
    return nn.Sequential(
        [
            nn.Conv2D(3, 3, padding="same", activation="relu"),
            *([nn.BatchNorm()] if batch_norm else []),
            nn.MaxPool2D(2),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Dense(5, "gelu"),
            nn.Dense(4, "softmax"),
        ],
        input_shape=(6, 5, 2),
    )


def samples(count=29):
    rng = np.random.default_rng(11)
    return rng.normal(size=(count, 6, 5, 2)).astype("float32"), rng.integers(0, 4, count)


def fit(device, *, make=network, epochs=4, callbacks=(), optimizer=None, resume=None, **options):
    trainer = Trainer(
        make(),
        optimizer or optim.Adam(0.02),
        metrics=["accuracy", "top_2_accuracy"],
        device=device,
        seed=3,
        l2=0.01,
        schedule=lambda step: 0.02 / (1 + step),
        callbacks=callbacks,
        **options,
    )
    given = samples()
    history = trainer.fit(given, epochs=epochs, batch_size=8, validation=given, verbose=0)
    return trainer, history


OPTIMIZERS = [
    lambda: optim.SGD(0.1),
    lambda: optim.SGD(0.1, momentum=0.9, nesterov=True),
    lambda: optim.RMSprop(0.01, weight_decay=0.01),
    lambda: optim.AdamW(0.01),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "nesterov", "rmsprop", "adamw"])
def test_recorded_steps_have_the_bits_of_the_others(optimizer):
    here, history = fit("cpu", optimizer=optimizer())
    plain, history_plain = fit("cuda", optimizer=optimizer(), graphs=False)
    recorded, history_recorded = fit("cuda", optimizer=optimizer())
    assert here.execution == "on the CPU"
    assert plain.execution == "kernel by kernel: graphs=False"
    assert recorded.execution == "one graph for each shape of batch"
    assert plain._batches.recorded == 0
    # Batches of 8 and of 5, for training and for validation.
    assert recorded._batches.recorded == 2
    assert recorded._held_out_batches.recorded == 2
    for trainer in (plain, recorded):
        assert trainer.model.weights_sha256() == here.model.weights_sha256()
        assert trainer.optimizer.steps == here.optimizer.steps == 16
    assert history_plain == history
    assert history_recorded == history
    given = samples()
    assert recorded.evaluate(given, batch_size=7) == here.evaluate(given, batch_size=7)


def test_the_gradients_of_the_last_batch_are_there():
    shas = []
    for device in ("cpu", "cuda"):
        trainer, _ = fit(device)
        gradients = trainer.model.gradients()
        shas.append([np.asarray(g.numpy()) for g in gradients.values()])
    for expected, got in zip(*shas, strict=True):
        if device == "cpu":
            assert_same_bits(got, expected)
        assert got.shape == expected.shape


class Losses(Callback):
    """What a callback of the user's own sees after each batch."""

    def __init__(self):
        self.seen = []

    def on_batch_end(self, trainer, loss):
        self.seen.append((trainer.step, trainer.batch, loss, dict(trainer.running())))


def test_callbacks_see_the_loss_of_every_batch():
    here, on_gpu = Losses(), Losses()
    fit("cpu", callbacks=[here])
    fit("cuda", callbacks=[on_gpu])
    assert on_gpu.seen == here.seen
    assert all(math.isfinite(loss) for _, _, loss, _ in on_gpu.seen)


class Blind(Losses):
    reads_batch_loss = False

    def on_batch_end(self, trainer, loss):
        self.seen.append(loss)


def test_callbacks_that_do_not_look_get_no_number():
    blind = Blind()
    _, history = fit("cuda", callbacks=[blind])
    assert all(math.isnan(loss) for loss in blind.seen)
    assert history == fit("cpu")[1]


class Own(nn.Dense):
    """Inherits `is_recordable`, and does not say so itself."""


class Moves(Callback):
    """Replaces the parameters behind the Trainer's back."""

    def on_batch_end(self, trainer, loss):
        if trainer.step in (7, 11):
            trainer.model.to("cpu")
            trainer.model.to("cuda")


def test_parameters_that_move_are_recorded_anew():
    expected, history = fit("cpu", epochs=6)
    trainer, history_there = fit("cuda", epochs=6, callbacks=[Moves()])
    assert trainer._batches.recorded > 0
    assert trainer.model.weights_sha256() == expected.model.weights_sha256()
    assert history_there == history


def of_own():
    return nn.Sequential([nn.Flatten(), Own(4), nn.Dropout(0.2)], input_shape=(6, 5, 2))


def of_1998():
    return nn.Sequential(
        [nn.Subsample2D(2), nn.Flatten(), nn.RadialBasis(4, "softmax")], input_shape=(6, 4, 2)
    )


def test_what_cannot_be_recorded_is_said_and_runs():
    trainer, history = fit("cuda", make=of_own)
    assert trainer.execution == "kernel by kernel: the layer 'own_1' (Own) waits for the GPU"
    assert history == fit("cpu", make=of_own)[1]
    trainer = Trainer(of_1998(), device="cuda")
    assert "(Subsample2D) waits for the GPU" in trainer.execution
    trainer = Trainer(network(), metrics=[lambda output, target: 0.0], device="cuda")
    assert "waiting for each batch: the metric '<lambda>' is of your own" in trainer.execution
    trainer = Trainer(network(), loss=lambda output, target: (0.0, output), device="cuda")
    assert "waiting for each batch: the loss is a function of your own" in trainer.execution


class Waits(nn.Layer):
    """Says that it can be recorded, and cannot."""

    is_recordable = True

    def output_shape(self, *shapes):
        return shapes[0]

    def forward(self, ctx, *inputs, training):
        float(inputs[0].numpy().sum())
        return inputs[0].copy()

    def backward(self, ctx, dy):
        return (dy,)


def waiting():
    return nn.Sequential([nn.Flatten(), nn.Dense(4), Waits()], input_shape=(6, 5, 2))


def test_a_recording_that_fails_is_given_up():
    trainer, history = fit("cuda", make=waiting)
    assert trainer.execution.startswith("kernel by kernel: a step could not be recorded: [cuda]")
    assert history == fit("cpu", make=waiting)[1]


class Spoils(Callback):
    reads_batch_loss = False

    def __init__(self, step):
        self.step = step

    def on_batch_end(self, trainer, loss):
        if trainer.step == self.step:
            bias = trainer.model.get_layer("dense_1").parameters()["bias"]
            bias.fill(np.nan)


@pytest.mark.parametrize("step", [0, 5, 13])
def test_a_loss_that_is_not_finite(step):
    """The failed batch is named as on the CPU, although others have been asked for since."""
    seen = []
    for device in ("cpu", "cuda"):
        trainer = Trainer(
            network(batch_norm=False), "adam", device=device, seed=3, callbacks=[Spoils(step)]
        )
        x, y = samples()
        if step == 0:
            trainer.model.get_layer("dense_1").parameters()["bias"].fill(np.nan)
        with pytest.raises(NonFiniteLossError) as caught:
            trainer.fit((x, y), epochs=6, batch_size=8, verbose=0)
        error = caught.value
        seen.append(
            (
                str(error),
                (error.epoch, error.step, error.layer),
                (trainer.step, trainer.epoch, trainer.batch, trainer.optimizer.steps),
                trainer.running(),
                trainer.model.weights_sha256(),
            )
        )
        assert error.step == step + 1
    here, on_gpu = seen
    if step > 0:
        # The CPU's optimizer does not count the step that it did not take.
        assert on_gpu[4] == here[4]
    assert on_gpu[:4] == here[:4]


def test_graphs_are_few(monkeypatch):
    monkeypatch.setattr(_device_training, "MOST_GRAPHS", 2)
    x, y = samples(40)
    shas = []
    for device in ("cpu", "cuda"):
        trainer = Trainer(network(), "sgd", device=device, seed=3)
        for size in (8, 7, 9, 8):
            trainer.fit((x, y), epochs=1, batch_size=size, verbose=0)
            if device == "cuda":
                assert len(trainer._batches._graphs) <= 2
        shas.append(trainer.model.weights_sha256())
    assert shas[0] == shas[1]


def test_auxiliary_outputs():
    def two():
        image = Input(shape=(6, 5, 2))
        features = nn.Dense(6, "relu")(nn.Flatten()(image))
        return Model(image, [nn.Dense(4, "softmax")(features), nn.Dense(4, "softmax")(features)])

    (here, history), (on_gpu, history_there) = fit("cpu", make=two), fit("cuda", make=two)
    assert on_gpu._batches.recorded == 2
    assert on_gpu.model.weights_sha256() == here.model.weights_sha256()
    assert history_there == history


def test_a_graph_by_itself(rng):
    graph = _on_device.CudaGraph()
    with pytest.raises(RuntimeError, match="no step has been captured"):
        graph.launch()
    x = there(rng.normal(size=(5, 7)).astype("float32"))
    kept = []

    def step(sizes=(100, 3000)):
        kept.clear()
        pieces = [sixloop.zeros((size,), "float32", "cuda") for size in sizes]
        del pieces
        kept.append(sixloop.ops.scale(sixloop.ops.add(x, x), 3.0))

    graph.trace_begin()
    step()
    kept.clear()
    graph.trace_end()
    assert graph.nbytes >= 3000 * 4
    requests = sixloop.cuda.memory_stats()["requests"]
    graph.capture_begin()
    step()
    graph.capture_end()
    assert graph.is_captured
    assert sixloop.cuda.memory_stats()["requests"] == requests + 1, "one block for all"
    for factor in (1.0, 2.0):
        values = (factor * rng.normal(size=(5, 7))).astype("float32")
        x.assign(values)
        graph.launch()
        assert_same_bits(kept[0].numpy(), (values + values) * np.float32(3))

    for wrong, message in (
        (lambda: step((100,)), "must (allocate|free) what"),
        (lambda: step((100, 4000)), "must (allocate|free) what"),
        (lambda: step((100, 3000, 5)), "must (allocate|free) what"),
        (lambda: x.numpy(), "StreamSynchronize"),
    ):
        other = _on_device.CudaGraph()
        other.trace_begin()
        step()
        kept.clear()
        other.trace_end()
        other.capture_begin()
        with pytest.raises(RuntimeError, match=message):
            wrong()
            other.capture_end()
        other.abandon()
        x.fill(1.0)  # the GPU is as it was
        assert x.numpy().sum() == 35


PIPELINES = {
    "nothing": [],
    "crop": [data.random_crop((5, 4), padding=2)],
    "flip": [data.horizontal_flip()],
    "crop, flip, normalize": [
        data.random_crop((6, 5), padding=1),
        data.horizontal_flip(0.3),
        data.normalize([0.4, 0.5], [0.2, 0.3]),
    ],
    "flip, crop, flip": [
        data.horizontal_flip(0.7),
        data.random_crop((8, 3), padding=3),
        data.horizontal_flip(),
    ],
    "normalize": [data.normalize(0.5, 0.25)],
}


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("name", PIPELINES)
def test_images_are_augmented_there(name, kind):
    """By the random numbers of the CPU, with its bits, and zeros around an image."""
    rng = np.random.default_rng(5)
    x = rng.integers(0, 256, (23, 6, 5, 2)).astype(kind)
    dtype = "float64" if kind == "float64" else "float32"
    images = data.ArrayDataset(x, np.arange(23), PIPELINES[name], dtype=dtype)
    of_places, normalize = images.normalization_of_places()
    assert of_places
    numbers = [None, None]
    if normalize is not None:
        numbers = [there(np.array(v, dtype)) for v in (normalize.mean, normalize.std)]
    options = {"shuffle": True, "seed": 7, "epoch": 3, "start": 1}
    seen = 0
    for (expected, y), (index, places, labels) in zip(
        images.batches(8, **options), images.placed_batches(8, **options), strict=True
    ):
        np.testing.assert_array_equal(labels, y)
        got = _on_device.take_images(
            *(there(x), there(index), there(places), *images.shape[:2], images.scale, *numbers),
            dtype,
        )
        assert_same_bits(got.numpy(), expected)
        seen += len(y)
    assert seen == 15


class Brighter(data.Transform):
    def __call__(self, x, bits):
        return x + x.dtype.type(1)


def test_what_only_the_cpu_can_augment():
    x, y = np.zeros((4, 6, 5, 2), "uint8"), np.arange(4)
    crop, flip, normalize = data.random_crop(4), data.horizontal_flip(), data.normalize(0.5, 0.5)
    for transforms in ([Brighter()], [crop, data.random_crop(3, padding=1)], [normalize, flip]):
        assert not data.ArrayDataset(x, y, transforms).normalization_of_places()[0]
    assert not data.ArrayDataset(x.astype("int32"), y).normalization_of_places()[0]
    assert not data.ArrayDataset(x.reshape(4, -1), y).normalization_of_places()[0]
    assert data.ArrayDataset(x, y, [crop, flip, normalize]).normalization_of_places()[0]


@pytest.mark.parametrize("name", ["crop, flip, normalize", "brighter"])
def test_training_on_augmented_images(name):
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 256, (21, 6, 5, 2)).astype("uint8"), rng.integers(0, 4, 21)
    images = data.ArrayDataset(x, y, PIPELINES.get(name, [Brighter()]))
    runs = []
    for device in ("cpu", "cuda"):
        trainer = Trainer(network(), "sgd", device=device, seed=3)
        for epochs in (3, 1):
            history = trainer.fit(images, epochs=epochs, batch_size=8, verbose=0)
        if device == "cuda":
            assert trainer._adopted == (name != "brighter")
        runs.append((trainer.model.weights_sha256(), history))
    assert runs[1] == runs[0]
