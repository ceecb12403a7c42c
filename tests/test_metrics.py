"""Metrics: counts by hand, ties, NaN, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sixloop import Tensor, metrics
from sixloop.metrics import Accuracy, BinaryAccuracy, TopKAccuracy

SCORES = np.array([[1, 5, 3], [9, 2, 4], [0, 1, 2], [7, 6, 8]], np.float32)


def test_accuracy_counts_the_largest_score() -> None:
    assert Accuracy().count(SCORES, np.array([1, 0, 0, 2])) == (3, 4)
    assert Accuracy()(Tensor(SCORES), np.array([1, 0, 0, 2])) == 0.75


def test_accuracy_of_one_hot_rows() -> None:
    assert Accuracy().count(SCORES, np.eye(3)[[1, 0, 0, 2]]) == (3, 4)


def test_accuracy_of_a_map_counts_every_position() -> None:
    scores = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    assert Accuracy().count(scores, scores.argmax(-1)) == (24, 24)


@pytest.mark.parametrize(("k", "right"), [(1, 2), (2, 3), (3, 4), (9, 4)])
def test_top_k(k: int, right: int) -> None:
    assert TopKAccuracy(k).count(SCORES, np.array([1, 1, 2, 0])) == (right, 4)


def test_top_1_is_accuracy_with_ties_too() -> None:
    rng = np.random.default_rng(1)
    scores, labels = rng.integers(0, 3, (500, 4)).astype(np.float32), rng.integers(0, 4, 500)
    assert TopKAccuracy(1).count(scores, labels) == Accuracy().count(scores, labels)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :2]
    assert TopKAccuracy(2).count(scores, labels)[0] == (order == labels[:, None]).any(1).sum()


def test_nan_is_never_among_the_best() -> None:
    scores = np.array([[np.nan, 1, 2], [np.nan] * 3], np.float32)
    assert TopKAccuracy(2).count(scores, np.array([0, 1])) == (0, 2)
    assert TopKAccuracy(2).count(scores[:1], np.array([2])) == (1, 1)
    assert BinaryAccuracy().count(np.array([np.nan]), np.array([0])) == (0, 1)


def test_binary_accuracy_of_probabilities_and_logits() -> None:
    p = np.array([[0.6], [0.4], [0.9], [0.2]])
    target = np.array([1, 1, 0, 0])
    assert BinaryAccuracy().count(p, target) == (2, 4)
    logits = np.log(p / (1 - p))
    assert BinaryAccuracy().count(logits, target, logits=True) == (2, 4)
    assert BinaryAccuracy(0.7).count(p, target) == (1, 4)
    assert BinaryAccuracy(0.7).count(logits, target, logits=True) == (1, 4)
    assert BinaryAccuracy().count(np.array([[0.6, 0.1]]), np.array([[1, 1]])) == (1, 2)


def test_of_no_samples() -> None:
    assert math.isnan(Accuracy()(SCORES[:0], np.zeros(0, int)))


def test_names() -> None:
    assert metrics.get("top_3_accuracy").name == "top_3_accuracy"
    assert metrics.get("top_k_accuracy").name == "top_5_accuracy"
    assert repr(metrics.get(TopKAccuracy(7).config())) == "TopKAccuracy(k=7)"
    assert repr(metrics.get(BinaryAccuracy(0.25).config())) == "BinaryAccuracy(threshold=0.25)"
    with pytest.raises(ValueError, match="unknown metric 'precision'; valid names: accuracy, "):
        metrics.get("precision")
    with pytest.raises(ValueError, match="k must be an integer >= 1; got 0"):
        metrics.get("top_0_accuracy")
    with pytest.raises(ValueError, match="0 < threshold < 1; got 1"):
        BinaryAccuracy(1)


def test_functions_of_the_users_own() -> None:
    def share_of_ones(output: np.ndarray, target: np.ndarray) -> float:
        return float((target == 1).mean())

    metric = metrics.get(share_of_ones)
    assert metric.name == "share_of_ones"
    assert metric.count(SCORES, np.array([1, 0, 0, 1])) == (2.0, 4)


def test_shapes_and_types_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"got output \(4, 3\), target \(3,\)"):
        Accuracy()(SCORES, np.array([1, 0, 0]))
    with pytest.raises(TypeError, match="expected integers; got dtype float64"):
        TopKAccuracy()(SCORES, np.zeros(4))
    with pytest.raises(ValueError, match="got 0 to 3 with 3 classes"):
        Accuracy()(SCORES, np.array([0, 1, 2, 3]))
    with pytest.raises(ValueError, match=r"got output \(4, 3\), target \(4,\)"):
        BinaryAccuracy()(SCORES, np.zeros(4))
