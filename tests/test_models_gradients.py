"""Each family of networks, forward and backward, its input gradient against central differences.

In float64, with everything that training has: dropout, statistics of the batch, all outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sixloop import models, nn
from sixloop.models import densenet, resnet

# Small images, and few or narrow blocks where a family is made of blocks.
FAMILIES: dict[str, Callable[[], nn.Model]] = {
    "lenet5": models.lenet5,
    "lenet5 of 1998": lambda: models.lenet5(variant="1998"),
    "lenet5 of Caffe": lambda: models.lenet5(variant="caffe"),
    "alexnet": lambda: models.alexnet(3, (67, 67, 3)),
    "alexnet one-weird-trick": lambda: models.alexnet(3, (63, 63, 3), "one-weird-trick"),
    "zfnet": lambda: models.zfnet(3, (53, 53, 3)),
    "vgg11": lambda: models.vgg11(3, (32, 32, 3)),
    "vgg11 with batch norm": lambda: models.vgg11(3, (32, 32, 3), batch_norm=True),
    "googlenet": lambda: models.googlenet(3, (79, 79, 3)),
    "googlenet of torchvision": lambda: models.googlenet(
        3, (66, 66, 3), "torchvision", auxiliary=False
    ),
    "resnet of basic blocks": lambda: resnet._resnet(
        "resnet18", (1, 1, 1, 1), False, 3, (33, 33, 3), "v1", width=4
    ),
    "resnet v1": lambda: resnet._resnet(
        "resnet50", (1, 2, 1, 1), True, 3, (33, 33, 3), "v1", width=4
    ),
    "resnet v1.5": lambda: resnet._resnet(
        "resnet50", (1, 2, 1, 1), True, 3, (33, 33, 3), "v1.5", width=4
    ),
    "resnet_cifar": lambda: models.resnet_cifar(8, 3, (16, 16, 3)),
    "densenet": lambda: densenet._densenet("densenet", (2, 2, 2, 2), 4, 3, (32, 32, 3)),
}

# The first weights of these, 0.01 times a normal number, were meant for pixels of 0 to 255.
SCALES = {"alexnet": 64.0, "zfnet": 64.0}

# For steps of EPSILON, truncation is EPSILON**2 times a third derivative, rounding 1e-16 * |loss| /
# EPSILON; where one of many rectifiers or maxima changes sides in between, its share is wrong too.
EPSILON = 1e-6
TOLERANCE = 1e-5


@pytest.mark.parametrize("name", FAMILIES)
def test_input_gradient(name: str) -> None:
    model = FAMILIES[name]()
    model.build(seed=1, dtype="float64")
    rng = np.random.default_rng(5)
    scale = SCALES.get(name, 1.0)
    x = scale * rng.standard_normal((2, *model.input_shapes[0]))
    weights = [rng.standard_normal((2, *shape)) for shape in model.output_shapes]

    def loss(x: np.ndarray) -> float:
        outputs = model(x, training=True, step=1, logits=True)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        return float(sum((w * y).sum() for w, y in zip(weights, outputs, strict=True)))

    assert np.isfinite(loss(x))
    dx = model.backward(weights if len(weights) > 1 else weights[0])
    assert dx.shape == x.shape and dx.dtype == np.float64
    for key, gradient in model.gradients().items():
        assert np.isfinite(gradient.numpy()).all(), key
        assert gradient.numpy().any(), key
    size = np.linalg.norm(dx)
    for direction in (dx / size, _unit(rng.standard_normal(x.shape)), _pixel(dx)):
        step = scale * EPSILON
        above, below = loss(x + step * direction), loss(x - step * direction)
        numeric = (above - below) / (2 * step)
        assert abs(numeric - (dx * direction).sum()) <= TOLERANCE * size


def _unit(direction: np.ndarray) -> np.ndarray:
    return direction / np.linalg.norm(direction)


def _pixel(dx: np.ndarray) -> np.ndarray:
    """Returns the direction of the one value that the loss depends on most."""
    direction = np.zeros_like(dx)
    direction.flat[np.abs(dx).argmax()] = 1
    return direction
