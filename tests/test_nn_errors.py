"""Errors of layers and models: their type, and that their text teaches."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    Reshape,
    Sequential,
    ZeroPad2D,
)

IMAGE = Input((7, 7, 3))
VECTOR = Input((5,))

Case = tuple[Callable[[], Any], type[Exception], str]

BUILDING: dict[str, Case] = {
    "strict": (
        lambda: Conv2D(8, 3, strides=3, padding="valid", strict=True)(IMAGE),
        ValueError,
        "[conv2d_1] strict=True: the 3x3 filter with strides (3, 3) does not tile the 7x7 input: "
        "height (7 - 3)/3 + 1 = 2.33, width (7 - 3)/3 + 1 = 2.33; nearest fix: padding (1, 1) in "
        "height gives 3, stride 2 gives 3 (strict=False floors to 2x2)",
    ),
    "strict, one axis": (
        lambda: Conv2D(8, (1, 4), strides=(1, 4), padding=(0, 1), strict=True)(IMAGE),
        ValueError,
        "height (7 - 1)/1 + 1 = 7, width (7 + 2 - 4)/4 + 1 = 2.25; nearest fix: padding (2, 3) in "
        "width gives 3, stride 1 gives 6 (strict=False floors to 7x2)",
    ),
    "does not fit": (
        lambda: Conv2D(8, (3, 9), padding=((0, 0), (0, 1)), name="stem")(IMAGE),
        ValueError,
        "[stem] the 3x9 filter does not fit the 7x7 input with padding ((0, 0), (0, 1)): "
        'width (7 + 1 - 9)/1 + 1 = 0 < 1; nearest fix: pad width by 1 more or padding="same", '
        "or a window that spans at most 8",
    ),
    "dilated does not fit": (
        lambda: Conv2D(8, 3, dilation=(1, 4))(IMAGE),
        ValueError,
        "[conv2d_1] the 3x3 filter with dilation (1, 4) (spanning 3x9) does not fit the 7x7 input",
    ),
    "pool does not fit": (
        lambda: MaxPool2D(8)(IMAGE),
        ValueError,
        "[max_pool2d_1] the 8x8 pool does not fit the 7x7 input with padding 'valid': "
        "height (7 - 8)/8 + 1 = 0.88 < 1",
    ),
    "number of the layer": (
        lambda: Conv2D(4, 6)(Conv2D(4, 3)(Conv2D(4, 1)(IMAGE))),
        ValueError,
        "[conv2d_3] the 6x6 filter does not fit the 5x5 input",
    ),
    "dense on images": (
        lambda: Dense(10)(IMAGE),
        ValueError,
        "[dense_1] Dense needs a 2-D input (N, features); got (N, 7, 7, 3): put Flatten() before "
        "it, which makes (N, 147)",
    ),
    "conv on vectors": (
        lambda: Conv2D(1, 1)(VECTOR),
        ValueError,
        "[conv2d_1] Conv2D needs images (N, H, W, C); got input (N, 5)",
    ),
    "conv without channels": (
        lambda: Conv2D(1, 1)(Input((28, 28))),
        ValueError,
        "got input (N, 28, 28): Reshape((28, 28, 1)) adds a channel axis",
    ),
    "global pool on vectors": (
        lambda: GlobalAvgPool2D()(VECTOR),
        ValueError,
        "[global_avg_pool2d_1] GlobalAvgPool2D needs images",
    ),
    "groups of input": (
        lambda: Conv2D(8, 1, groups=2)(IMAGE),
        ValueError,
        "[conv2d_1] input channels must be a multiple of groups; got input (N, 7, 7, 3), groups=2",
    ),
    "groups of filters": (
        lambda: Conv2D(8, 1, groups=3),
        ValueError,
        "[Conv2D] filters must be a multiple of groups; got filters=8, groups=3",
    ),
    "add": (
        lambda: Add()([IMAGE, Conv2D(5, 1)(IMAGE)]),
        ValueError,
        "[add_1] Add needs inputs of one shape; got (N, 7, 7, 3), (N, 7, 7, 5): "
        "Conv2D(5, 1) brings the first to 5 channels",
    ),
    "add, image size": (
        lambda: Add()([IMAGE, Conv2D(3, 3)(IMAGE)]),
        ValueError,
        'a convolution between them changed the image size; padding="same" keeps it',
    ),
    "concat": (
        lambda: Concat()([IMAGE, Input((7, 8, 3))]),
        ValueError,
        "[concat_1] Concat needs inputs that differ in axis 3 only; got (N, 7, 7, 3), (N, 7, 8, 3)",
    ),
    "concat of ranks": (lambda: Concat()([VECTOR, IMAGE]), ValueError, "differ in axis 1 only"),
    "concat axis": (
        lambda: Concat(axis=4)([IMAGE, IMAGE]),
        ValueError,
        "axis must be 1 to 3 or -3 to -1 for inputs of 4 axes; got axis=4",
    ),
    "concat batch": (
        lambda: Concat(axis=0),
        ValueError,
        "[Concat] axis must not be the batch axis",
    ),
    "one input": (
        lambda: Add()([IMAGE]),
        ValueError,
        "[Add] Add takes two or more inputs; got 1",
    ),
    "two inputs": (
        lambda: Dense(1)(VECTOR, VECTOR),
        ValueError,
        "[Dense] Dense takes 1 input; got 2",
    ),
    "reshape": (
        lambda: Reshape((7, -1, 4))(IMAGE),
        ValueError,
        "[reshape_1] target_shape (7, -1, 4) must hold as many elements as the input: "
        "7 * 7 * 3 = 147; got 28 times a whole number (147/28)",
    ),
    "reshape exact": (lambda: Reshape((7, 7))(IMAGE), ValueError, "7 * 7 * 3 = 147; got 49"),
    "reshape twice": (lambda: Reshape((-1, -1)), ValueError, "only one size may be -1"),
    "array into a layer": (
        lambda: Flatten()(np.zeros((1, 2), np.float32)),  # type: ignore[arg-type]
        TypeError,
        "[Flatten] layers are called on symbolic tensors: begin with Input(shape=...), and give "
        "arrays to the Model; got ndarray",
    ),
    "shared layer": (
        lambda: [layer(x) for layer in [Dense(2, name="d")] for x in (VECTOR, Input((6,)))],
        ValueError,
        "[d] a layer called twice shares its parameters, so the inputs must need the same ones: "
        "first call {'weight': (5, 2), 'bias': (2,)}, this call {'weight': (6, 2), 'bias': (2,)}; "
        "got input (N, 6)",
    ),
    "shape with batch": (
        lambda: Input((None, 28, 28)),  # type: ignore[arg-type]
        ValueError,
        "[Input] shape leaves out the batch axis: write (28, 28); got (None, 28, 28)",
    ),
    "shape zero": (lambda: Input((0, 3)), ValueError, "[Input] shape[0] must be between 1 and"),
    "shape text": (lambda: Input("28"), TypeError, "[Input] shape must be a tuple of integers"),  # type: ignore[arg-type]
    "shape empty": (lambda: Input(()), ValueError, "at least one axis besides the batch"),
    "shape huge": (lambda: Input((2**31 - 1,) * 3), ValueError, "more than 2**60 elements"),
    "rank": (lambda: Input((1,) * 8), ValueError, "at most 7 axes"),
    "output huge": (
        lambda: Conv2D(2**31 - 1, 1)(Input((2**15, 2**15, 1))),
        ValueError,
        "[conv2d_1] the output has more than 2**60 elements",
    ),
    "activation": (
        lambda: Dense(2, activation="rleu"),
        ValueError,
        "[Dense] activation must be one of relu, sigmoid, tanh, leaky_relu, elu, softplus, step, "
        "ramp, gelu, gaussian, softmax or None; got 'rleu' (did you mean 'relu'?)",
    ),
    "activation type": (
        lambda: Dense(2, activation=np.tanh),  # type: ignore[arg-type]
        TypeError,
        "[Dense] activation must be one of relu,",
    ),
    "activation none": (lambda: Activation(None), TypeError, "got None"),  # type: ignore[arg-type]
    "padding": (
        lambda: Conv2D(2, 3, padding="smae"),
        ValueError,
        "[Conv2D] padding must be one of valid, same or an integer, (h, w) or pairs of pairs; "
        "got 'smae' (did you mean 'same'?)",
    ),
    "padding negative": (lambda: Conv2D(2, 3, padding=-1), ValueError, "got -1"),
    "padding pairs": (
        lambda: ZeroPad2D(((1, 2), (3,))),
        ValueError,
        "[ZeroPad2D] padding pairs must be ((top, bottom), (left, right)); got ((1, 2), (3,))",
    ),
    "algorithm": (
        lambda: Conv2D(2, 3, algorithm="im2cal"),
        ValueError,
        "algorithm must be one of auto, direct, im2col, winograd2x2, winograd4x4, implicit_gemm; "
        "got 'im2cal' (did you mean 'im2col'?)",
    ),
    "initializer": (
        lambda: Dense(2, kernel_initializer="he_norml"),
        ValueError,
        "constant; got 'he_norml' (did you mean 'he_normal'?)",
    ),
    "units": (
        lambda: Dense(0),
        ValueError,
        "[Dense] units must be between 1 and 2147483647; got 0",
    ),
    "units bool": (lambda: Dense(True), TypeError, "[Dense] units must be an integer; got True"),
    "units float": (
        lambda: Dense(2.0),  # type: ignore[arg-type]
        TypeError,
        "[Dense] units must be an integer; got 2.0",
    ),
    "kernel triple": (
        lambda: Conv2D(2, (3, 3, 3)),
        ValueError,
        "[Conv2D] kernel_size must be an integer or an (h, w) pair; got (3, 3, 3)",
    ),
    "stride": (lambda: Conv2D(2, 3, strides=0), ValueError, "strides must be between 1"),
    "use_bias": (
        lambda: Conv2D(2, 3, use_bias=1),  # type: ignore[arg-type]
        TypeError,
        "[Conv2D] use_bias must be True or False; got 1",
    ),
    "rate": (lambda: Dropout(1.0), ValueError, "[Dropout] rate must be in [0, 1); got 1.0"),
    "momentum": (
        lambda: BatchNorm(momentum=1.5),
        ValueError,
        "[BatchNorm] momentum must be in [0, 1]; got 1.5",
    ),
    "epsilon": (lambda: BatchNorm(epsilon=0), ValueError, "epsilon must be in (0, inf); got 0"),
    "k": (lambda: LocalResponseNorm(k=float("nan")), ValueError, "k must be in (0, inf); got nan"),
    "name": (lambda: Dense(2, name="a\n"), ValueError, "name must be printable and not empty"),
    "name type": (lambda: Dense(2, name=3), TypeError, "name must be a string; got 3"),  # type: ignore[arg-type]
    "missing input": (
        lambda: Model(IMAGE, Dense(3)(VECTOR)),
        ValueError,
        "[model] an output depends on Input(shape=(5,)), which is not among the inputs "
        "[Input(shape=(7, 7, 3))]: add it to inputs=",
    ),
    "unused input": (
        lambda: Model([IMAGE, VECTOR], Dense(3)(VECTOR)),
        ValueError,
        "no output depends on the input Input(shape=(7, 7, 3)): leave it out of inputs=",
    ),
    "twice the same input": (
        lambda: Model([VECTOR, VECTOR], Dense(3)(VECTOR)),
        ValueError,
        "[model] inputs must be different",
    ),
    "one name twice": (
        lambda: Model(VECTOR, Dense(3, name="d")(Dense(3, name="d")(VECTOR))),
        ValueError,
        "[model] two layers have the name 'd'",
    ),
    "no outputs": (lambda: Model(VECTOR, []), ValueError, "[model] outputs must not be empty"),
    "layer as output": (
        lambda: Model(VECTOR, Dense(3)),  # type: ignore[arg-type]
        TypeError,
        "outputs must be symbolic tensors, what Input(...) and layer calls return; got Dense",
    ),
    "sequential without input": (
        lambda: Sequential([Dense(3)]),
        ValueError,
        "[sequential] the first item must be Input(shape=...)",
    ),
    "sequential of two inputs": (
        lambda: Sequential([Input((3,)), Dense(2)], input_shape=(4,)),
        ValueError,
        "input_shape (4,) contradicts Input(shape=(3,))",
    ),
    "sequential item": (
        lambda: Sequential([Input((3,)), Dense]),  # type: ignore[list-item]
        TypeError,
        "[sequential] layers[1] must be a layer or a model; got type",
    ),
}


@pytest.mark.parametrize("name", BUILDING)
def test_building(name: str) -> None:
    make, kind, text = BUILDING[name]
    with pytest.raises(kind, match=re.escape(text)) as caught:
        make()
    assert type(caught.value) is kind


def model() -> Model:
    image = Input((4, 5, 1), name="image")
    x = Conv2D(3, 3, activation="relu")(image)
    return Model(image, Dense(2, activation="softmax")(Flatten()(x)))


def f32(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


RUNNING: dict[str, Case] = {
    "shape": (
        lambda: model()(f32(2, 5, 4, 1)),
        ValueError,
        "[model] input 'image' must have shape (N, 4, 5, 1); got (2, 5, 4, 1)",
    ),
    "no batch": (lambda: model()(f32(4, 5, 1)), ValueError, "add the batch axis with x[None]"),
    "no channels": (lambda: model()(f32(2, 4, 5)), ValueError, "with x[..., None]"),
    "channels first": (lambda: model()(f32(2, 1, 4, 5)), ValueError, "sixloop.from_nchw(x)"),
    "float64": (
        lambda: model()(np.zeros((2, 4, 5, 1))),
        TypeError,
        "[model] input 'image' must be float32; got float64: x.astype('float32') or "
        "model.build(dtype='float64')",
    ),
    "uint8": (
        lambda: model()(np.zeros((2, 4, 5, 1), np.uint8)),
        TypeError,
        "must be float32; got uint8: x.astype('float32') / 255",
    ),
    "big-endian": (lambda: model()(f32(2, 4, 5, 1).astype(">f4")), TypeError, "got >f4"),
    "complex": (lambda: model()(f32(2, 4, 5, 1) * 1j), TypeError, "got complex64"),
    "objects": (lambda: model()(f32(2, 4, 5, 1).astype(object)), TypeError, "got object"),
    "text": (lambda: model()(np.full((2, 4, 5, 1), "a")), TypeError, "got <U1"),
    "none": (lambda: model()(None), TypeError, "must be a NumPy array, a sixloop.Tensor or"),
    "list": (
        lambda: model()([f32(1), f32(1)]),
        ValueError,
        "must be given one array for each input (image); got 2",
    ),
    "list of numbers": (lambda: model()([1.0]), TypeError, "got float"),
    "batches": (
        lambda: Model([VECTOR, IMAGE], [Flatten()(VECTOR), Flatten()(IMAGE)])(
            [f32(2, 5), f32(3, 7, 7, 3)]
        ),
        ValueError,
        "all inputs must have the same batch size; got 'input_1' (2, 5), 'input_2' (3, 7, 7, 3)",
    ),
    "symbol of another shape": (
        lambda: model()(IMAGE),
        ValueError,
        "[model] model takes inputs (N, 4, 5, 1); got (N, 7, 7, 3)",
    ),
    "logits": (
        lambda: Model(VECTOR, Dense(2, activation="relu")(VECTOR))(f32(1, 5), logits=True),
        ValueError,
        "ends in softmax, sigmoid or no activation; got one that ends in 'relu'",
    ),
    "logits of outputs that differ": (
        lambda: Model(VECTOR, [Dense(2, activation="softmax")(VECTOR), Dense(2)(VECTOR)])(
            f32(1, 5), logits=True
        ),
        ValueError,
        "need outputs that no layer reads and that end in the same activation; got [<symbolic",
    ),
    "backward first": (
        lambda: model().backward(f32(2, 2)),
        RuntimeError,
        "[model] backward needs a forward pass before it",
    ),
    "gradients first": (lambda: model().gradients(), RuntimeError, "need a call of backward"),
    "seed": (lambda: model().build(seed=-1), ValueError, "[model] seed must be between 0 and"),
    "dtype": (
        lambda: model().build(dtype="float16"),
        ValueError,
        "[model] dtype must be one of float32, float64; got 'float16'",
    ),
    "layer name": (
        lambda: model().get_layer("conv2d_2"),
        ValueError,
        "layer name must be one of conv2d_1, flatten_1, dense_1; got 'conv2d_2' (did you mean "
        "'conv2d_1'?)",
    ),
}


@pytest.mark.parametrize("name", RUNNING)
def test_running(name: str) -> None:
    run, kind, text = RUNNING[name]
    with pytest.raises(kind, match=re.escape(text)) as caught:
        run()
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("dy", "kind", "text"),
    [
        (f32(2, 3), ValueError, "[model] dy must have the output's shape (2, 2); got (2, 3)"),
        (np.zeros((2, 2)), TypeError, "[model] dy must be float32; got float64"),
        (None, TypeError, "[model] dy must be a NumPy array"),
        ([f32(2, 2)] * 2, ValueError, "one gradient for each of the 1 outputs; got 2"),
    ],
)
def test_backward(dy: Any, kind: type[Exception], text: str) -> None:
    net = model()
    net(f32(2, 4, 5, 1), training=True)
    with pytest.raises(kind, match=re.escape(text)):
        net.backward(dy)
    net.backward(f32(2, 2))  # the failed call lost nothing
    with pytest.raises(RuntimeError, match="training=True"):
        net.backward(f32(2, 2))


def test_a_wrong_dtype_builds_nothing() -> None:
    net = model()
    with pytest.raises(TypeError):
        net(np.zeros((2, 4, 5, 1)))
    assert not net.is_built
    net.build(dtype="float64")
    assert net(np.zeros((2, 4, 5, 1))).dtype == np.float64
    with pytest.raises(ValueError, match="one dtype, and existing ones keep theirs"):
        net.build(dtype="float32")


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.sampled_from([2**31 - 1, 2**31, 2**63, 10**30, -(2**63)]),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["same", "valid", "relu", "softmax", "zeros", "auto"]),
    st.lists(st.integers(-2, 9), max_size=4),
    st.tuples(st.integers(-1, 9), st.integers(-1, 9)),
    st.tuples(st.tuples(st.integers(0, 4), st.integers(0, 4)), st.tuples(st.integers(0, 4))),
)
KINDS: list[Any] = [
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
    Reshape,
    ZeroPad2D,
]


@settings(max_examples=1000, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    arguments=st.lists(ANYTHING, max_size=7),
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4),
)
def test_any_arguments_give_a_layer_or_a_clear_error(
    kind: Any, arguments: list[Any], shape: list[int]
) -> None:
    inputs = [Input(tuple(shape))] * (2 if kind in (Add, Concat) else 1)
    try:
        output = kind(*arguments)(inputs)
    except (TypeError, ValueError) as error:
        assert str(error)
        return
    net = Model(inputs[0], output)
    assert net.count_parameters() >= 0 and str(net.summary())
    if np.prod(output.shape) < 10_000 and net.count_parameters() < 10_000:
        assert net(np.ones((2, *shape), np.float32)).shape == (2, *output.shape)
