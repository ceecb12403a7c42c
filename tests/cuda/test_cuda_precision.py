"""Models and training in bfloat16 and TF32: parameters stay float32, checkpoints go anywhere."""

import numpy as np
import pytest

import sixloop
from comparators import assert_same_bits
from sixloop import Trainer, cli, nn, ops, optim
from sixloop.callbacks import Callback
from sixloop.nn import Input, Model


def network():
    """Layers of every kind, with a shortcut; h != w."""
    image = Input(shape=(9, 7, 3))
    x = nn.BatchNorm(activation="relu")(nn.Conv2D(8, 3, padding="same", use_bias=False)(image))
    y = nn.Conv2D(8, 3, padding="same", activation="gelu")(x)
    x = nn.Add(activation="relu")([x, y])
    x = nn.MaxPool2D(2)(x)
    x = nn.Concat()([x, nn.Conv2D(8, 1, strides=1, activation="relu")(x)])
    x = nn.Dropout(0.2)(nn.Flatten()(nn.AvgPool2D(2)(x)))
    model = Model(image, nn.Dense(5, "softmax")(nn.Dense(16, "tanh")(x)))
    model.build(seed=4)
    return model


def samples(count=21):
    rng = np.random.default_rng(12)
    return rng.normal(size=(count, 9, 7, 3)).astype("float32"), rng.integers(0, 5, count)


def fit(precision, *, epochs=4, callbacks=(), graphs=True, optimizer=None):
    trainer = Trainer(
        network(),
        optimizer or optim.SGD(0.05, momentum=0.9),
        callbacks=callbacks,
        device="cuda",
        precision=precision,
        graphs=graphs,
        seed=6,
    )
    data = samples()
    history = trainer.fit(data, epochs=epochs, batch_size=8, validation=data, verbose=0)
    return trainer, history


def smooth():
    """Without maxima and edges, across which a rounding would send a gradient elsewhere."""
    image = Input(shape=(9, 7, 3))
    x = nn.BatchNorm(activation="tanh")(nn.Conv2D(8, 3, padding="same", use_bias=False)(image))
    y = nn.Conv2D(8, 3, padding="same", activation="gelu")(x)
    x = nn.AvgPool2D(2)(nn.Concat()([nn.Add()([x, y]), x]))
    model = Model(image, nn.Dense(5)(nn.Dense(16, "sigmoid")(nn.Flatten()(x))))
    model.build(seed=4)
    return model


# Roundings on the way from the images to a gradient, each of half a unit in the last place: both
# factors of 4 products in 2 directions; with bf16 their results and those of 6 other layers, too.
BOUNDS = {"tf32": (2 * 4 * 2) * 2.0**-11, "bf16": (3 * 4 + 6) * 2 * 2.0**-9}


@pytest.mark.parametrize("precision", BOUNDS)
def test_forward_and_backward(rng, precision):
    here, there = smooth(), smooth().to("cuda", precision=precision)
    assert there.precision == precision
    bound = BOUNDS[precision]
    x, _ = samples(6)
    dy = rng.normal(size=(6, 5)).astype("float32")
    expected, got = here(x, training=True, step=3), there(x, training=True, step=3)
    assert got.dtype == np.float32
    assert 0 < np.linalg.norm(got - expected) <= bound * np.linalg.norm(expected)
    expected, got = here.backward(dy), there.backward(dy)
    assert got.dtype == np.float32
    assert 0 < np.linalg.norm(got - expected) <= bound * np.linalg.norm(expected)
    for name, gradient in there.gradients().items():
        assert str(gradient.dtype) == "float32"
        wanted = here.gradients()[name].numpy()
        assert np.linalg.norm(gradient.numpy() - wanted) <= bound * np.linalg.norm(wanted), name
    # A gradient of zeros would not pass.
    assert np.linalg.norm(wanted) > 0
    there.to("cuda", precision="fp32")
    here.load_weights(there.parameters())
    assert_same_bits(there(x), here(x))


@pytest.mark.parametrize("precision", BOUNDS)
def test_recorded_steps_have_the_bits_of_the_others(precision):
    plain, history = fit(precision, graphs=False)
    recorded, history_recorded = fit(precision)
    assert recorded._batches.recorded == 2
    assert recorded.model.weights_sha256() == plain.model.weights_sha256()
    assert history_recorded == history
    assert {str(p.dtype) for p in recorded.model.parameters().values()} == {"float32"}
    assert {str(a.dtype) for k, a in recorded.optimizer.state().items() if k != "steps"} == {
        "float32"
    }


@pytest.mark.parametrize("precision", BOUNDS)
def test_training_goes_where_float32_goes(precision):
    _, history = fit("fp32", epochs=8)
    _, rounded = fit(precision, epochs=8)
    assert rounded.history["loss"] != history.history["loss"]
    np.testing.assert_allclose(rounded.history["loss"], history.history["loss"], rtol=0.1)


class StopAt(Callback):
    reads_batch_loss = False

    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_batch_end(self, trainer, loss):
        if trainer.step == self.step:
            trainer.request_save(self.path)
            trainer.stop("enough")


@pytest.mark.parametrize("precision", ["fp32", *BOUNDS])
def test_resume(tmp_path, precision):
    data = samples()
    whole, history = fit(precision, optimizer=optim.AdamW(0.01))
    fit(precision, optimizer=optim.AdamW(0.01), callbacks=[StopAt(7, tmp_path / "at7")])
    resumed = Trainer.resume(tmp_path / "at7", device="cuda")
    assert resumed.model.precision == precision
    assert resumed.fit(data, epochs=4, batch_size=8, validation=data, verbose=0) == history
    assert resumed.model.weights_sha256() == whole.model.weights_sha256()
    for device, other in (("cpu", "fp32"), ("cuda", "fp32"), ("cuda", "bf16"), ("cuda", "tf32")):
        elsewhere = Trainer.resume(
            tmp_path / "at7", device=device, precision=other if device == "cuda" else None
        )
        assert elsewhere.model.precision == other
        figures = elsewhere.fit(data, epochs=4, batch_size=8, validation=data, verbose=0)
        np.testing.assert_allclose(figures.history["loss"], history.history["loss"], rtol=0.1)


def test_bad_precisions(tmp_path, capsys):
    model = nn.Sequential([nn.Dense(2)], input_shape=3)
    with pytest.raises(ValueError, match=r"must be one of fp32, tf32, bf16; got 'fp16'"):
        Trainer(model, device="cuda", precision="fp16")
    for precision in ("bf16", "tf32"):
        with pytest.raises(ValueError, match="is for the GPU; got device='cpu'"):
            Trainer(model, device="cpu", precision=precision)
        with pytest.raises(ValueError, match="is for the GPU; got device='cpu'"):
            model.to("cpu", precision=precision)
        wide = nn.Sequential([nn.Dense(2)], input_shape=3)
        wide.build(dtype="float64")
        with pytest.raises(ValueError, match="parameters of float32; got a model of float64"):
            Trainer(wide, device="cuda", precision=precision)
        assert (wide.device, wide.precision) == ("cpu", "fp32"), "nothing has happened"
    old = nn.Sequential([nn.Subsample2D(2)], input_shape=(4, 4, 1))
    with pytest.raises(ValueError, match=r"take bfloat16 .* got 'subsample2d_1' \(Subsample2D\)"):
        old.to("cuda", precision="bf16")
    with pytest.raises(SystemExit):
        cli.main(["train", "--precision", "fp16"])
    capsys.readouterr()
    assert cli.main(["train", "--device", "cpu", "--precision", "bf16", "--out", str(tmp_path)]) > 0
    assert "is for the GPU" in capsys.readouterr().err


def test_a_model_that_comes_back_is_as_before():
    model = network()
    before, x = model.weights_sha256(), samples()[0]
    expected = model(x)
    model.to("cuda", precision="bf16")(x)
    assert model.to("cpu").precision == "fp32"
    assert model.weights_sha256() == before
    assert_same_bits(model(x), expected)
    assert model.to("cuda").precision == "bf16", "what it was told on the GPU stays"


def test_layers_see_bfloat16():
    seen = []

    class Looks(nn.Layer):
        is_recordable = True

        def output_shape(self, *shapes):
            return shapes[0]

        def forward(self, ctx, *inputs, training):
            seen.append((str(inputs[0].dtype), ctx.precision))
            return ops.scale(inputs[0], 2.0)

        def backward(self, ctx, dy):
            seen.append((str(dy.dtype), ctx.precision))
            return (ops.scale(dy, 2.0),)

    model = nn.Sequential([Looks()], input_shape=3).to("cuda", precision="bf16")
    x = sixloop.Tensor(np.ones((2, 3), "float32"))
    assert model(x, training=True).dtype == np.float32
    assert model.backward(x).dtype == np.float32
    assert seen == [("bfloat16", "bf16")] * 2
