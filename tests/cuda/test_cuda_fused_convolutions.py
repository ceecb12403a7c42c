"""Models on tensor cores: convolutions do part of the layer behind them, with the bits of ops."""

import numpy as np
import pytest

import sixloop
from comparators import assert_same_bits
from sixloop import nn, ops
from sixloop.nn import Add, BatchNorm, Conv2D, Input, Model

PRECISIONS = ("bf16", "tf32")
every_precision = pytest.mark.parametrize("precision", PRECISIONS)


def on_gpu(x, precision):
    x = sixloop.Tensor(x).to("cuda")
    return ops.cast(x, "bfloat16") if precision == "bf16" else x


def options(precision):
    return {"precision": "tf32"} if precision == "tf32" else {}


def as_numpy(y):
    return ops.cast(y, "float32").numpy() if str(y.dtype) == "bfloat16" else y.numpy()


def weights(model, name, precision):
    found = model.parameters()
    return on_gpu(found[f"{name}.weight"].numpy(), precision), found[f"{name}.bias"]


def built(inputs, outputs, precision):
    model = Model(inputs, outputs)
    model.build(seed=3)
    rng = np.random.default_rng(5)
    model.load_weights(
        {
            name: rng.uniform(0.5, 1.5, size=p.shape).astype("float32")
            if "bias" in name or "gamma" in name or "variance" in name
            else p.numpy()
            for name, p in model.parameters().items()
        }
    )
    return model.to("cuda", precision=precision)


def recorded(name, op, made):
    def run(*args, **kwargs):
        with_residual = kwargs.get("residual") is not None
        made.append(name + " with residual" * with_residual)
        return op(*args, **kwargs)

    return run


@pytest.fixture
def calls(monkeypatch):
    """The ops that models call, in order, and whether convolutions got a residual."""
    made = []
    for name in ("conv2d", "conv2d_statistics", "batch_norm", "add"):
        monkeypatch.setattr(ops, name, recorded(name, getattr(ops, name), made))
    return made


@every_precision
@pytest.mark.parametrize("groups", [1, 2])
def test_a_normalisation_takes_its_statistics(rng, calls, precision, groups):
    image = Input((7, 6, 4))
    z = Conv2D(32, 3, strides=(2, 1), padding=1, groups=groups, name="c")(image)
    model = built(image, BatchNorm(activation="relu", name="n")(z), precision)
    before = {k: p.numpy() for k, p in model.parameters().items()}
    x = rng.normal(size=(3, 7, 6, 4)).astype("float32")
    y = model(x, training=True)
    assert calls == ["conv2d_statistics", "batch_norm"]

    params = {"strides": (2, 1), "padding": 1, "groups": groups, **options(precision)}
    w, bias = weights(model, "c", precision)
    z, mean, variance = ops.conv2d_statistics(on_gpu(x, precision), w, bias, **params)
    p = model.parameters()
    expected, *_, affine = ops.batch_norm(
        *(z, p["n.gamma"], p["n.beta"], mean, variance), activation="relu", return_affine=True
    )
    assert_same_bits(y, as_numpy(expected))
    count = z.size // z.shape[-1]
    for name, value, factor in (("mean", mean, 1.0), ("variance", variance, count / (count - 1))):
        running = sixloop.Tensor(before[f"n.running_{name}"]).to("cuda")
        ops.moving_average(running, value, momentum=0.9, factor=(1.0 - 0.9) * factor)
        assert_same_bits(p[f"n.running_{name}"].numpy(), running.numpy())

    dy = rng.normal(size=y.shape).astype("float32")
    model.backward(dy)
    dz, dgamma, dbeta = ops.batch_norm_grad(
        *(on_gpu(dy, precision), z, p["n.gamma"], mean, variance), relu_affine=affine
    )
    found = model.gradients()
    assert_same_bits(found["n.gamma"].numpy(), dgamma.numpy())
    assert_same_bits(found["n.beta"].numpy(), dbeta.numpy())
    dw = ops.conv2d_grad_weight(on_gpu(x, precision), dz, w.shape, **params)
    assert_same_bits(found["c.weight"].numpy(), as_numpy(dw))

    # In inference the statistics are the running ones, and without tensor cores nothing changes.
    calls.clear()
    model(x)
    model.to("cuda", precision="fp32")(x, training=True)
    assert calls == ["conv2d", "batch_norm"] * 2


def block(norm=True, activation="relu", swap=False):
    """A residual block with a projection."""
    image = Input((7, 6, 5))
    x = Conv2D(16, 3, padding=1, activation="relu", name="c0")(image)
    y = Conv2D(24, 3, strides=2, padding=1, name="c1")(x)
    shortcut = Conv2D(24, 1, strides=2, name="cs")(x)
    if norm:
        y, shortcut = BatchNorm(name="n1")(y), BatchNorm(name="ns")(shortcut)
    both = [shortcut, y] if swap else [y, shortcut]
    return image, Add(activation=activation, name="a")(both)


@every_precision
def test_the_end_of_a_block_takes_statistics_too(rng, calls, precision):
    model = built(*block(), precision)
    x = rng.normal(size=(2, 7, 6, 5)).astype("float32")
    y = model(x, training=True)
    assert calls == [
        *("conv2d", "conv2d_statistics", "conv2d_statistics", "batch_norm"),
        "batch_norm with residual",
    ]
    assert np.isfinite(model.backward(np.ones_like(y))).all()


@every_precision
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("activation", [None, "relu", "gelu", "softmax"])
def test_an_addition_is_part_of_the_convolution(rng, calls, precision, activation, swap):
    model = built(*block(False, activation, swap), precision)
    x = rng.normal(size=(2, 7, 6, 5)).astype("float32")
    y = model(x)
    assert calls == ["conv2d", "conv2d", "conv2d with residual"]
    p = {name: weights(model, name, precision) for name in ("c0", "c1", "cs")}
    of = options(precision)
    hidden = ops.conv2d(on_gpu(x, precision), *p["c0"], padding=1, activation="relu", **of)
    main = ops.conv2d(hidden, *p["c1"], strides=2, padding=1, **of)
    fused = None if activation == "softmax" else activation
    sums = ops.conv2d(hidden, *p["cs"], strides=2, residual=main, activation=fused, **of)
    assert_same_bits(y, as_numpy(ops.softmax(sums) if activation == "softmax" else sums))
    # What backward may follow keeps what it needs.
    calls.clear()
    model(x, training=True)
    model.to("cuda", precision="fp32")(x)
    model.to("cpu")(x)
    assert calls == ["conv2d", "conv2d", "conv2d", "add"] * 3


@every_precision
def test_logits_leave_the_activation_out(rng, calls, precision):
    model = built(*block(False, "softmax"), precision)
    x = rng.normal(size=(2, 7, 6, 5)).astype("float32")
    logits = model(x, logits=True)
    assert calls == ["conv2d", "conv2d", "conv2d", "add"]
    p = {name: weights(model, name, precision) for name in ("c0", "c1", "cs")}
    of = options(precision)
    hidden = ops.conv2d(on_gpu(x, precision), *p["c0"], padding=1, activation="relu", **of)
    main = ops.conv2d(hidden, *p["c1"], strides=2, padding=1, **of)
    shortcut = ops.conv2d(hidden, *p["cs"], strides=2, **of)
    assert_same_bits(logits, as_numpy(ops.add(main, shortcut)))


class Apart(Conv2D):
    """Runs on its own, as subclasses do."""

    is_recordable = True


def read_twice(image):
    y = Conv2D(16, 3, padding=1)(image)
    return [Add()([y, image]), y]


def read_by_two(image):
    y = Conv2D(16, 3, padding=1)(image)
    return [Add()([Add()([y, image]), y])]


def with_itself(image):
    y = Conv2D(16, 3, padding=1)(image)
    return [Add()([y, y])]


CASES = {
    "an output": read_twice,
    "two readers": read_by_two,
    "twice the same": with_itself,
    "three inputs": lambda i: [Add()([Conv2D(16, 3, padding=1)(i), i, i])],
    "an activation": lambda i: [Add()([Conv2D(16, 3, padding=1, activation="tanh")(i), i])],
    "a subclass": lambda i: [Add()([Apart(16, 3, padding=1)(i), i])],
    "depthwise": lambda i: [Add()([Conv2D(16, 3, padding=1, groups=16)(i), i])],
    "a later sum": lambda i: [Add()([Conv2D(16, 1)(i), Add()([i, i])])],
    "a normalisation of another": lambda i: [BatchNorm()(Conv2D(16, 1, groups=16)(i))],
}


@every_precision
@pytest.mark.parametrize("case", CASES)
def test_others_run_on_their_own(rng, calls, precision, case):
    image = Input((4, 5, 16))
    model = built(image, CASES[case](image), precision)
    x = rng.normal(size=(2, 4, 5, 16)).astype("float32")
    for training in (False, True):
        model(x, training=training)
    assert not {"conv2d_statistics", "conv2d with residual"}.intersection(calls)


@every_precision
def test_a_folded_residual_network(rng, calls, precision):
    folded = nn.fold_batch_norm(built(*block(), "fp32"))
    x = rng.normal(size=(2, 7, 6, 5)).astype("float32")
    expected = folded.to("cpu")(x)
    calls.clear()
    got = folded.to("cuda", precision=precision)(x)
    assert calls == ["conv2d", "conv2d", "conv2d with residual"]
    # Both factors of two products on the way, and with bf16 their results, rounded.
    bound = {"tf32": 4 * 2.0**-11, "bf16": 6 * 2.0**-9}[precision]
    error = np.linalg.norm(got - expected)
    assert 0 < error <= bound * np.linalg.norm(expected)
