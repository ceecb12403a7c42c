"""The multilayer perceptron.

Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", Nature 323,
1986.
"""

from __future__ import annotations

from collections.abc import Sequence

from sixloop.nn import Dense, Flatten, Input, Model, Sequential

__all__ = ["mlp"]


def mlp(
    classes: int = 10,
    input_shape: Sequence[int] = (28, 28, 1),
    hidden: Sequence[int] = (128, 64),
    activation: str = "relu",
) -> Model:
    """Return fully connected layers, the hidden ones with a nonlinearity and the last with softmax.

    Args:
        classes: number of outputs.
        input_shape: of one sample, any.
        hidden: sizes of the hidden layers.
        activation: of the hidden layers; the paper's was the sigmoid.
    """
    start = "he_normal" if activation == "relu" else "glorot_uniform"
    inner = [Dense(size, activation=activation, kernel_initializer=start) for size in hidden]
    return Sequential(
        [
            Input(shape=tuple(input_shape)),
            Flatten(),
            *inner,
            Dense(classes, activation="softmax"),
        ],
        name="mlp",
    )
