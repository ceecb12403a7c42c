"""Each comparator must reject what a broken kernel could answer."""

from __future__ import annotations

import numpy as np
import pytest

from comparators import (
    assert_exact,
    assert_gradient,
    assert_same_bits,
    assert_within,
    dot_bound,
    relative_bound,
)

GOOD = np.array([[-3.0, 2.0, -0.5], [4.0, -1.0, 8.0]])


def _with(value: float, where: tuple[int, int] = (1, 2)) -> np.ndarray:
    bad = GOOD.copy()
    bad[where] = value
    return bad


CORRUPTED = {
    "nan for a number": _with(np.nan),
    "infinity for a number": _with(np.inf),
    "one sign flipped, positive": _with(-8.0),
    "one sign flipped, negative": _with(3.0, (0, 0)),
    "all signs flipped": -GOOD,
    "one wrong element": _with(8.001),
    "wrong, both negative": _with(-3.001, (0, 0)),
    "far too negative": _with(-300.0, (0, 0)),
    "zeros": np.zeros_like(GOOD),
    "all nan": np.full_like(GOOD, np.nan),
    "transposed": GOOD.T.copy(),
    "one row missing": GOOD[:1],
    "extra axis": GOOD[None],
    "broadcast scalar": np.float64(2.0),
    "float32": GOOD.astype(np.float32),
    "integers": GOOD.astype(np.int64),
}


@pytest.mark.parametrize("name", CORRUPTED)
def test_every_comparator_rejects(name: str) -> None:
    bad = CORRUPTED[name]
    with pytest.raises(AssertionError):
        assert_same_bits(bad, GOOD)
    with pytest.raises(AssertionError):
        assert_exact(bad, GOOD, np.float64)
    with pytest.raises(AssertionError):
        assert_within(bad, GOOD, 1e-6, np.float64)
    with pytest.raises(AssertionError):
        # The gradient of x^2 / 2 is x.
        assert_gradient(lambda x: x * x / 2, GOOD, np.ones_like(GOOD), bad)


def test_every_comparator_accepts_the_right_answer() -> None:
    assert_same_bits(GOOD.copy(), GOOD)
    assert_exact(GOOD.astype(np.float32), GOOD, np.float32)
    assert_within(GOOD + 9e-7, GOOD, 1e-6, np.float64)
    assert_gradient(lambda x: x * x / 2, GOOD, np.ones_like(GOOD), GOOD)
    special = np.array([np.nan, np.inf, -np.inf, 1.0])
    assert_same_bits(special.copy(), special)
    assert_exact(special.copy(), special, np.float64)
    assert_within(special.copy(), special, 0.0, np.float64)


def test_special_values_must_match() -> None:
    for got, due in [(1.0, np.nan), (np.inf, -np.inf), (np.nan, np.inf), (1e308, np.inf)]:
        for compare in (
            lambda a, b: assert_within(a, b, 1e300, np.float64),
            lambda a, b: assert_exact(a, b, np.float64),
            assert_same_bits,
        ):
            with pytest.raises(AssertionError):
                compare(np.array([got]), np.array([due]))


def test_same_bits_sees_the_last_bit_and_the_sign_of_zero() -> None:
    for dtype in (np.float32, np.float64):
        one = np.ones(3, dtype)
        next_one = one.copy()
        next_one[2] = np.nextafter(next_one[2], dtype(2))
        with pytest.raises(AssertionError, match=r"first at \(2,\)"):
            assert_same_bits(next_one, one)
        with pytest.raises(AssertionError):
            assert_same_bits(np.array([-0.0], dtype), np.array([0.0], dtype))
    assert_same_bits([GOOD, GOOD], (GOOD, GOOD))
    with pytest.raises(AssertionError):
        assert_same_bits([GOOD], (GOOD, GOOD))
    with pytest.raises(AssertionError, match="result 1"):
        assert_same_bits([GOOD, -GOOD], (GOOD, GOOD))


def test_exact_refuses_expectations_it_cannot_hold() -> None:
    with pytest.raises(AssertionError, match="too large"):
        assert_exact(np.ones(1, np.float32), [2.0**24 + 1], np.float32)


def test_bounds_follow_magnitudes_and_ignore_signs() -> None:
    a, b = np.array([-5.0, 1.0]), np.array([-2.0, -0.5])
    assert dot_bound(np.float32, 9, a, b) == dot_bound(np.float32, 9, -a, b)
    assert dot_bound(np.float32, 9, a, b) == 2 * 10 * 10.0 * np.finfo(np.float32).eps
    assert dot_bound(np.float32, 9, 100 * a, b) == 100 * dot_bound(np.float32, 9, a, b)
    assert dot_bound(np.float64, 0, a, np.zeros((0, 3))) == 0
    assert dot_bound(np.float64, 0, a, np.zeros(1), bias=[-3.0]) > 0
    assert np.all(relative_bound(np.float32, [-8.0, 8.0]) == relative_bound(np.float32, 8.0))
    with pytest.raises(AssertionError, match="not >= 0"):
        assert_within(GOOD, GOOD, -1.0, np.float64)
    with pytest.raises(AssertionError, match="not >= 0"):
        assert_within(GOOD, GOOD, np.nan, np.float64)


def test_differences_see_a_missing_term() -> None:
    x = np.array([[0.3, -0.7], [1.1, 0.2]])
    dy = np.array([[1.0, -2.0], [0.5, 3.0]])
    assert_gradient(np.sin, x, dy, dy * np.cos(x))
    for wrong in (np.cos(x), dy * np.cos(x) * (1 + 1e-6), -dy * np.cos(x), dy * np.sin(x)):
        with pytest.raises(AssertionError):
            assert_gradient(np.sin, x, dy, wrong)
    with pytest.raises(AssertionError, match="float64"):
        assert_gradient(np.sin, x.astype(np.float32), dy, dy)
    with pytest.raises(AssertionError, match="the function gives"):
        assert_gradient(np.sum, x, dy, dy)


def test_the_failure_message_names_place_and_values() -> None:
    with pytest.raises(AssertionError, match=r"^conv: 1 of 6 .* first at \(1, 2\): got .*9\.0"):
        assert_within(_with(9.0), GOOD, 0.25, np.float64, "conv: ")
