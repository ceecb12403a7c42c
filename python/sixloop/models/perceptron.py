"""The perceptron with one layer: Rosenblatt, "The perceptron", Psychological Review 65, 1958."""

from __future__ import annotations

from collections.abc import Sequence

from sixloop.nn import Dense, Flatten, Input, Model, Sequential

__all__ = ["perceptron"]


def perceptron(classes: int = 10, input_shape: Sequence[int] = (28, 28, 1)) -> Model:
    """Return one fully connected layer with softmax: softmax (multinomial logistic) regression.

    Rosenblatt's perceptron had a step in the place of the softmax, which has no gradient to learn
    from. Its decision borders are hyperplanes: it cannot learn XOR.

    Args:
        classes: number of outputs.
        input_shape: of one sample, any.
    """
    return Sequential(
        [Input(shape=tuple(input_shape)), Flatten(), Dense(classes, activation="softmax")],
        name="perceptron",
    )
