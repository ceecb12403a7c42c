"""Models, losses and the Trainer on the GPU: the bits, files and errors of the CPU."""

import hashlib

import numpy as np
import pytest

import sixloop
from comparators import assert_same_bits
from sixloop import Trainer, _device_training, losses, nn, optim
from sixloop.callbacks import Callback, EarlyStopping, ModelCheckpoint
from sixloop.nn import Input, Model


def small(dropout=0.3, classes=3, dtype="float32"):
    """A network of nothing but products, maps and dropout."""
    model = nn.Sequential(
        [nn.Dense(9, "gelu"), nn.Dropout(dropout), nn.Dense(7, "tanh"), nn.Dense(classes)],
        input_shape=5,
    )
    model.build(seed=3, dtype=dtype)
    return model


def data(rng, samples=22, classes=3):
    x = rng.normal(size=(samples, 5)).astype("float32")
    return x, np.eye(classes, dtype="float32")[rng.integers(0, classes, samples)]


def assert_same_parameters(model, other):
    for name, tensor in model.parameters().items():
        assert_same_bits(tensor.numpy(), other.parameters()[name].numpy())


def digests(directory):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in directory.iterdir()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forward_and_backward(rng, dtype):
    here, there = small(dtype=dtype), small(dtype=dtype).to("cuda")
    assert (here.device, there.device) == ("cpu", "cuda")
    assert there.weights_sha256() == here.weights_sha256()
    x, dy = rng.normal(size=(4, 5)).astype(dtype), rng.normal(size=(4, 3)).astype(dtype)
    for training in (True, False):
        expected = here(x, training=training, step=7)
        got = there(x, training=training, step=7)
        assert isinstance(got, np.ndarray), "NumPy in, NumPy out"
        assert_same_bits(got, expected)
        of_input, of_input_there = here.backward(dy), there.backward(dy)
        assert isinstance(of_input_there, np.ndarray)
        assert_same_bits(of_input_there, of_input)
        for name, gradient in there.gradients().items():
            assert gradient.device == "cuda"
            assert_same_bits(gradient.numpy(), here.gradients()[name].numpy())
    for device in ("cpu", "cuda"):
        got = there(sixloop.Tensor(x).to(device))
        assert got.device == "cuda", "a Tensor in, a Tensor on the model's device out"
        assert_same_bits(got.numpy(), expected)
        of_input_there = there.backward(sixloop.Tensor(dy).to(device))
        assert of_input_there.device == "cuda"
        assert_same_bits(of_input_there.numpy(), of_input)


def test_there_and_back(rng):
    model = small()
    before, held = model.weights_sha256(), model.parameters()
    assert model.to("cuda") is model
    assert {t.device for t in held.values()} == {"cuda"}, "what was held goes with the model"
    x = data(rng)[0]
    y = model(x)
    assert model.to("cpu").device == "cpu"
    assert model.weights_sha256() == before
    assert_same_bits(model(x), y)
    with pytest.raises(RuntimeError, match="gradients need a call of backward"):
        model.to("cuda").gradients()


def test_a_model_that_has_no_parameters_yet(rng):
    model = nn.Sequential([nn.Dense(4), nn.BatchNorm()], input_shape=3).to("cuda")
    assert (model.device, model.is_built) == ("cuda", False)
    model.build(seed=1)
    assert {p.device for p in model.parameters().values()} == {"cuda"}
    other = nn.Sequential([nn.Dense(4), nn.BatchNorm()], input_shape=3).to("cuda")
    other.load_weights(model.parameters())
    assert {p.device for p in other.parameters().values()} == {"cuda"}
    assert other.weights_sha256() == model.weights_sha256()
    other.load_weights({k: v.numpy() + 1 for k, v in model.parameters().items()})
    assert other.weights_sha256() != model.weights_sha256()
    assert other.device == "cuda"


def test_models_that_share_layers_move_together(rng):
    image = Input(shape=5)
    features = nn.Dense(4, "relu")(image)
    whole, part = Model(image, nn.Dense(2)(features)), Model(image, features)
    x = data(rng)[0]
    expected = part(x)
    whole.to("cuda")
    assert part.device == "cuda"
    assert_same_bits(part(x), expected)


def test_views_are_told_from_copies(rng):
    """Flatten hands on its input's memory, there as here: outputs belong to the caller."""
    model = nn.Sequential([nn.Flatten()], input_shape=(2, 3)).to("cuda")
    x = sixloop.Tensor(rng.normal(size=(2, 2, 3)).astype("float32")).to("cuda")
    y = model(x)
    before = x.numpy()
    y.fill(0.0)
    np.testing.assert_array_equal(x.numpy(), before)


def test_shapes_that_change(rng):
    image = Input(shape=(4, 5, 3))
    y = nn.Concat()([nn.ZeroPad2D(1)(image), nn.ZeroPad2D(((1, 1), (2, 0)))(image)])
    y = nn.Dense(3)(
        nn.Flatten()(nn.Add(activation="relu")([y, nn.ZeroPadChannels(3)(nn.ZeroPad2D(1)(image))]))
    )
    model = Model(image, y)
    x, dy = rng.normal(size=(2, 4, 5, 3)).astype("float32"), np.ones((2, 3), "float32")
    expected = model(x, training=True)
    of_input = model.backward(dy)
    assert_same_bits(model.to("cuda")(x, training=True), expected)
    assert_same_bits(model.backward(dy), of_input)


def test_errors(rng):
    model = small()
    x = sixloop.Tensor(data(rng)[0])
    with pytest.raises(ValueError, match=r"input 'input_1' is on cuda, the model on cpu: model.to"):
        model(x.to("cuda"))
    with pytest.raises(ValueError, match="unknown device 'gpu'; valid devices: cpu, cuda"):
        model.to("gpu")
    with pytest.raises(ValueError, match="unknown device 'gpu'; valid devices: auto, cpu, cuda"):
        Trainer(model, device="gpu")
    assert model.device == "cpu"


LOSSES = [losses.MeanSquaredError(), losses.BinaryCrossEntropy(), losses.WestonWatkinsHinge()]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_losses(rng, loss):
    output, (_, target) = rng.normal(size=(22, 3)).astype("float32"), data(rng)
    if loss.name == "weston_watkins_hinge":
        target = target.argmax(axis=1)
    value, gradient = loss(output, target)
    value_there, gradient_there = loss(sixloop.Tensor(output).to("cuda"), target)
    assert value_there == value
    assert gradient_there.device == "cuda"
    assert_same_bits(gradient_there.numpy(), gradient)


def train(rng, device, optimizer, path=None, l2=0.0, epochs=2, **options):
    model = small()
    trainer = Trainer(
        model,
        optimizer,
        "mean_squared_error",
        callbacks=[] if path is None else [ModelCheckpoint(path)],
        l2=l2,
        device=device,
        seed=5,
        **options,
    )
    x, y = data(rng)
    history = trainer.fit((x, y), epochs=epochs, batch_size=8, validation=(x, y), verbose=0)
    assert model.device == trainer.device == device
    return trainer, history


@pytest.mark.parametrize(
    ("optimizer", "l2"),
    [
        (lambda: optim.SGD(0.1), 0.0),
        (lambda: optim.SGD(0.1, momentum=0.9, nesterov=True), 0.01),
        (lambda: optim.RMSprop(0.01, weight_decay=0.01), 0.0),
        (lambda: optim.Adam(0.01), 0.02),
        (lambda: optim.AdamW(0.01), 0.0),
    ],
    ids=["sgd", "momentum, l2", "rmsprop", "adam, l2", "adamw"],
)
def test_a_training_run_has_the_bits_of_the_cpu(optimizer, l2):
    here, history = train(np.random.default_rng(1), "cpu", optimizer(), l2=l2)
    there, history_there = train(np.random.default_rng(1), "cuda", optimizer(), l2=l2)
    assert there.model.weights_sha256() == here.model.weights_sha256()
    assert history_there == history
    assert {p.device for p in there.model.parameters().values()} == {"cuda"}
    x, _ = data(np.random.default_rng(1))
    prediction = there.predict(x)
    assert isinstance(prediction, np.ndarray)
    assert_same_bits(prediction, here.predict(x))


@pytest.mark.parametrize("read_bytes", [1, 200, 1 << 20])
def test_predictions_are_read_together(rng, monkeypatch, read_bytes):
    """Batches share two places in memory and outputs are read late: none takes another's."""
    monkeypatch.setattr(_device_training, "READ_BYTES", read_bytes)
    here, there = (
        Trainer(small(), loss="mean_squared_error", device=device, seed=4)
        for device in ("cpu", "cuda")
    )
    x, _ = data(rng)
    for batch_size in (1, 5, 22, 99):
        got = there.predict(x, batch_size=batch_size)
        assert isinstance(got, np.ndarray)
        assert_same_bits(got, here.predict(x, batch_size=batch_size))
    assert there.predict(x[:0]).shape == here.predict(x[:0]).shape
    got[...] = 0  # the caller's own


def test_auto_is_the_gpu():
    assert Trainer(small(), loss="mean_squared_error").device == "cuda"


def test_losses_and_metrics_of_ones_own_get_numpy_arrays():
    def loss(output, target):
        assert isinstance(output, np.ndarray)
        gradient = output - target
        return float(np.abs(gradient).mean()), np.sign(gradient) / np.float32(gradient.size)

    def metric(output, target):
        assert isinstance(output, np.ndarray)
        return float(np.abs(output - target).max())

    runs = []
    for device in ("cpu", "cuda"):
        trainer = Trainer(small(), "sgd", loss, [metric], device=device)
        history = trainer.fit(data(np.random.default_rng(2)), epochs=1, batch_size=8, verbose=0)
        runs.append((trainer.model.weights_sha256(), history))
    assert runs[0] == runs[1]


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_batch_end(self, trainer, loss):
        if trainer.step == self.step:
            trainer.request_save(self.path)
            trainer.stop("enough")


@pytest.mark.parametrize("second", ["cpu", "cuda"])
@pytest.mark.parametrize("first", ["cpu", "cuda"])
def test_checkpoints_are_the_same_and_go_on_on_either_device(tmp_path, first, second):
    whole, history = train(np.random.default_rng(4), "cpu", optim.Adam(0.01), tmp_path / "whole")

    stop = StopAt(4)
    stop.path = tmp_path / "stopped"
    trainer = Trainer(
        small(), optim.Adam(0.01), "mean_squared_error", callbacks=[stop], device=first, seed=5
    )
    x, y = data(np.random.default_rng(4))
    trainer.fit((x, y), epochs=2, batch_size=8, validation=(x, y), verbose=0)
    assert trainer.step == 4
    assert sixloop.load(stop.path).weights_sha256() == trainer.model.weights_sha256()
    resumed = Trainer.resume(
        stop.path, callbacks=[ModelCheckpoint(tmp_path / "resumed")], device=second
    )
    assert resumed.device == second
    assert resumed.fit((x, y), epochs=2, batch_size=8, validation=(x, y), verbose=0) == history
    assert resumed.model.weights_sha256() == whole.model.weights_sha256()
    assert digests(tmp_path / "resumed/last") == digests(tmp_path / "whole/last")


def test_the_best_weights_come_back():
    shas = []
    for device in ("cpu", "cuda"):
        stopping = EarlyStopping(patience=0, restore_best=True)
        model = small()
        trainer = Trainer(
            model, optim.SGD(5.0), "mean_squared_error", callbacks=[stopping], device=device
        )
        trainer.fit(data(np.random.default_rng(6)), epochs=4, batch_size=8, verbose=0)
        assert stopping.best_epoch < trainer.epoch
        shas.append(model.weights_sha256())
    assert shas[0] == shas[1]


def test_the_layer_that_overflows_is_named():
    model = small()
    model.to("cuda").get_layer("dense_2").parameters()["bias"].fill(np.nan)
    trainer = Trainer(model, loss="mean_squared_error", device="cuda")
    with pytest.raises(FloatingPointError, match="not finite is 'dense_2'"):
        trainer.fit(data(np.random.default_rng(6)), verbose=0)


def plain():
    """What a network needs besides convolutions: this one runs."""
    return nn.Sequential(
        [nn.ZeroPad2D(1), nn.Flatten(), nn.Dense(6, "relu"), nn.Dropout(0.2), nn.Dense(4)],
        input_shape=(4, 3, 2),
    )


def convolutional():
    """LeNet-5's layers at a tenth of the size."""
    return nn.Sequential(
        [
            nn.Conv2D(3, 3, padding="same", activation="relu"),
            nn.MaxPool2D(2),
            nn.Conv2D(4, 3, activation="tanh"),
            nn.AvgPool2D(2),
            nn.Flatten(),
            nn.Dense(6, "relu"),
            nn.Dropout(0.2),
            nn.Dense(4, "softmax"),
        ],
        input_shape=(9, 8, 1),
    )


def residual():
    """The layers of residual networks: shortcuts, batch normalisation, a global average."""
    image = Input(shape=(6, 6, 2))
    x = nn.BatchNorm(activation="relu")(nn.Conv2D(4, 3, padding="same", use_bias=False)(image))
    y = nn.BatchNorm()(nn.Conv2D(4, 3, padding="same", use_bias=False)(x))
    x = nn.Add(activation="relu")([x, y])
    return Model(image, nn.Dense(4, "softmax")(nn.GlobalAvgPool2D()(x)))


def historic():
    """The layers of LeNet-5 as of 1998."""
    return nn.Sequential(
        [
            nn.Conv2D(3, 3),
            nn.ScaledTanh(),
            nn.Subsample2D(2),
            nn.SparseConv2D([[0], [1, 2]], 2),
            nn.ScaledTanh(),
            nn.Flatten(),
            nn.RadialBasis(4, "softmax"),
        ],
        input_shape=(8, 8, 1),
    )


def normalised():
    return nn.Sequential(
        [
            nn.Conv2D(6, 3, strides=2, activation="relu"),
            nn.LocalResponseNorm(3),
            nn.MaxPool2D(3, 1),
            nn.Flatten(),
            nn.Dense(4, "softmax"),
        ],
        input_shape=(9, 9, 2),
    )


@pytest.mark.parametrize(
    ("network", "loss"),
    [
        (plain, "mean_squared_error"),
        (convolutional, "cross_entropy"),
        (residual, "cross_entropy"),
        (historic, "cross_entropy"),
        (normalised, "cross_entropy"),
    ],
)
def test_networks(network, loss):
    """Skipped as long as, and only as long as, an op raises NotImplementedError on the GPU."""

    def run(device):
        model = network()
        rng = np.random.default_rng(8)
        x = rng.normal(size=(10, *model.input_shapes[0])).astype("float32")
        y = rng.integers(0, 4, 10)
        if loss == "mean_squared_error":
            y = np.eye(4, dtype="float32")[y]
        trainer = Trainer(model, optim.SGD(0.05, momentum=0.9), loss, device=device, seed=2)
        history = trainer.fit((x, y), epochs=1, batch_size=4, validation=(x, y), verbose=0)
        return model, history

    model, history = run("cpu")
    there, history_there = run("cuda")
    assert_same_parameters(there, model)
    assert there.weights_sha256() == model.weights_sha256()
    assert history_there == history
