"""What every course on neural networks tells: the numbers on the slides, and what can be learnt."""

from __future__ import annotations

import numpy as np
import pytest

from sixloop import Trainer, data, nn, ops, optim


def test_ten_5x5_filters_with_padding_2_keep_32x32_and_have_760_parameters():
    image = nn.Input(shape=(32, 32, 3))
    model = nn.Model(image, nn.Conv2D(10, 5, strides=1, padding=2)(image))
    assert model.output_shapes == [(32, 32, 10)]
    assert model.count_parameters() == 760  # 10 * (5*5*3 + 1)


def test_3x3_filter_with_stride_3_does_not_tile_7x7():
    image = nn.Input(shape=(7, 7, 1))
    for stride, size in ((1, 5), (2, 3), (3, 2)):
        assert nn.Conv2D(1, 3, strides=stride)(image).shape == (size, size, 1)
    with pytest.raises(ValueError, match=r"\(7 - 3\)/3 \+ 1 = 2\.33"):
        nn.Conv2D(1, 3, strides=3, padding="valid", strict=True)(image)


def test_max_pooling_example():
    x = np.float32([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]])
    y = ops.max_pool2d(x[None, :, :, None], 2, strides=2)
    assert y[0, :, :, 0].tolist() == [[6, 8], [3, 4]]


def test_dense_layer_on_an_image_counts_a_billion_parameters_without_allocating_them():
    image = nn.Input(shape=(480, 640, 3))
    model = nn.Model(image, nn.Dense(1000)(nn.Flatten()(image)))
    assert model.count_parameters() == 921_601_000
    assert not model.is_built


# --------------------------------------------------------------------------------------------- XOR

XOR = (np.float32([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0]))


def train_on_xor(layers: list[nn.Layer], seed: int) -> float:
    model = nn.Sequential([nn.Input(shape=(2,)), *layers])
    trainer = Trainer(model, optim.Adam(0.03), seed=seed)
    trainer.fit(XOR, epochs=400, batch_size=4, verbose=0)
    return trainer.evaluate(XOR)["accuracy"]


@pytest.mark.parametrize("seed", range(3))
def test_two_layers_learn_xor(seed):
    layers = [nn.Dense(8, activation="tanh"), nn.Dense(2, activation="softmax")]
    assert train_on_xor(layers, seed) == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_perceptron_cannot_learn_xor(seed):
    # No line has (0, 0) and (1, 1) on one side and (0, 1) and (1, 0) on the other.
    assert train_on_xor([nn.Dense(2, activation="softmax")], seed) <= 0.75


# -------------------------------------------------------------------------------------- regression


def quadrants(digits: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ink in the four quadrants of the UCI digits, standardised, and their labels."""
    train, _ = data.digits()
    chosen = np.isin(train.y, digits)
    pixels = train.x[chosen, :, :, 0].astype(np.float64)
    ink = pixels.reshape(-1, 2, 4, 2, 4).sum((2, 4)).reshape(-1, 4)
    return (ink - ink.mean(0)) / ink.std(0), train.y[chosen]


def fit_all_at_once(
    model: nn.Model, x: np.ndarray, y: np.ndarray, *, loss: str, l2: float, lr: float, steps: int
) -> dict[str, np.ndarray]:
    """Return the parameters after gradient descent with momentum, with all samples in each step."""
    model.build(dtype="float64")
    trainer = Trainer(model, optim.SGD(lr, momentum=0.9), loss, metrics=[], l2=l2)
    trainer.fit((x, y), epochs=steps, batch_size=len(x), verbose=0)
    return {name.split(".")[-1]: np.array(p) for name, p in model.parameters().items()}


def test_linear_regression_reaches_the_closed_form():
    x, labels = quadrants(tuple(range(10)))
    y = labels[:, None].astype(np.float64)
    model = nn.Sequential([nn.Input(shape=(4,)), nn.Dense(1)])
    found = fit_all_at_once(model, x, y, loss="mean_squared_error", l2=0, lr=0.1, steps=400)
    closed, *_ = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)
    np.testing.assert_allclose(np.vstack([found["weight"], found["bias"]]), closed, atol=1e-9)


def softmax_regression_optimum(x: np.ndarray, y: np.ndarray, l2: float) -> np.ndarray:
    """Minimise mean cross entropy + l2/2 * |w|^2 (not the biases) by Newton's method.

    Returns:
        [features + 1, classes], the biases in the last row, with mean 0: the loss does not change
        when all grow by the same.
    """
    n, classes = len(x), int(y.max()) + 1
    features = np.column_stack([x, np.ones(n)])
    d = features.shape[1]
    penalty = np.diag([l2] * (d - 1) + [0.0])
    w, target = np.zeros((d, classes)), np.eye(classes)[y]
    for _ in range(30):
        z = features @ w
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        gradient = features.T @ (p - target) / n + penalty @ w
        blocks = np.einsum("ni,nj,nk,kl->ikjl", features, features, p, np.eye(classes)) / n
        blocks -= np.einsum("ni,nj,nk,nl->ikjl", features, features, p, p) / n
        blocks += np.einsum("ij,kl->ikjl", penalty, np.eye(classes))
        hessian = blocks.reshape(d * classes, d * classes)
        # The Hessian has a null direction, equal biases: the shortest solution leaves it alone.
        w -= np.linalg.lstsq(hessian, gradient.ravel(), rcond=1e-12)[0].reshape(d, classes)
    assert np.abs(gradient).max() < 1e-12
    w[-1] -= w[-1].mean()
    return w


def test_softmax_regression_reaches_the_optimum():
    x, y = quadrants((0, 1, 2))
    model = nn.Sequential([nn.Input(shape=(4,)), nn.Dense(3, activation="softmax")])
    found = fit_all_at_once(model, x, y, loss="cross_entropy", l2=0.01, lr=0.5, steps=1500)
    optimum = softmax_regression_optimum(x, y, l2=0.01)
    np.testing.assert_allclose(found["weight"], optimum[:-1], atol=1e-7)
    np.testing.assert_allclose(found["bias"] - found["bias"].mean(), optimum[-1], atol=1e-7)


def test_our_optimum_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = quadrants((0, 1, 2))
    # Its objective is C * sum(loss) + |w|^2 / 2.
    theirs = linear_model.LogisticRegression(C=1 / (0.01 * len(x)), tol=1e-10, max_iter=10_000)
    theirs.fit(x, y)
    optimum = softmax_regression_optimum(x, y, l2=0.01)
    np.testing.assert_allclose(theirs.coef_.T, optimum[:-1], atol=1e-5)
