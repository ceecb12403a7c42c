"""Checks of layer arguments: each failure names the layer, the rule and the value.

A wrong type raises ``TypeError`` and a wrong value ``ValueError``: ``[tag] rule; got value``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

Shape = tuple[int, ...]
Pair = tuple[int, int]
PairLike = int | Sequence[int]
Padding = str | tuple[Pair, Pair]
PaddingLike = str | int | Sequence[int] | Sequence[Sequence[int]]

# One axis stays below 2**31 and a tensor below 2**60 elements: the byte count of a float64 tensor
# then fits int64, and so does every sum of a size, its padding and a dilated filter.
MAX_SIZE = 2**31 - 1
MAX_ELEMENTS = 2**60 - 1
MAX_AXES = 7  # a Tensor has at most 8, the batch among them

PADDINGS = ("valid", "same")


def integer(
    tag: str, argument: str, value: object, *, minimum: int = 1, maximum: int = MAX_SIZE
) -> int:
    """Returns ``value`` as an int between ``minimum`` and ``maximum``; a bool is not an integer."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"[{tag}] {argument} must be an integer; got {value!r}")
    if not minimum <= value <= maximum:
        raise ValueError(
            f"[{tag}] {argument} must be between {minimum} and {maximum}; got {int(value)}"
        )
    return int(value)


def pair(tag: str, argument: str, value: object, *, minimum: int = 1) -> Pair:
    """Returns an int or an (h, w) pair as an (h, w) tuple."""
    if isinstance(value, (list, tuple)):
        if len(value) != 2:
            raise ValueError(
                f"[{tag}] {argument} must be an integer or an (h, w) pair; got {value!r}"
            )
        height, width = value
        return (
            integer(tag, f"{argument}[0]", height, minimum=minimum),
            integer(tag, f"{argument}[1]", width, minimum=minimum),
        )
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"[{tag}] {argument} must be an integer or an (h, w) pair; got {value!r}")
    size = integer(tag, argument, value, minimum=minimum)
    return size, size


def explicit_padding(tag: str, value: object) -> tuple[Pair, Pair]:
    """Returns int, (h, w) or ((top, bottom), (left, right)) as ((top, bottom), (left, right))."""
    if isinstance(value, (list, tuple)) and any(isinstance(v, (list, tuple)) for v in value):
        if len(value) != 2 or not all(isinstance(v, (list, tuple)) and len(v) == 2 for v in value):
            raise ValueError(
                f"[{tag}] padding pairs must be ((top, bottom), (left, right)); got {value!r}"
            )
        rows, columns = value
        return (
            pair(tag, "padding[0]", rows, minimum=0),
            pair(tag, "padding[1]", columns, minimum=0),
        )
    height, width = pair(tag, "padding", value, minimum=0)
    return (height, height), (width, width)


def padding(tag: str, value: object) -> Padding:
    """Returns a padding as "valid", "same" or ((top, bottom), (left, right))."""
    if isinstance(value, str):
        return choice(tag, "padding", value, PADDINGS, also="an integer, (h, w) or pairs of pairs")
    return explicit_padding(tag, value)


def shape(tag: str, value: object) -> Shape:
    """Returns the shape of one sample (without the batch axis) as a tuple of positive integers."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        value = (value,)
    if not isinstance(value, (list, tuple)):
        raise TypeError(
            f"[{tag}] shape must be a tuple of integers without the batch axis; got {value!r}"
        )
    if not value:
        raise ValueError(f"[{tag}] shape needs at least one axis besides the batch; got ()")
    if value[0] is None:
        raise ValueError(
            f"[{tag}] shape leaves out the batch axis: write {tuple(value[1:])}; got {value!r}"
        )
    if len(value) > MAX_AXES:
        raise ValueError(
            f"[{tag}] shape has at most {MAX_AXES} axes besides the batch; got {len(value)}"
        )
    sizes = tuple(integer(tag, f"shape[{i}]", v) for i, v in enumerate(value))
    elements(tag, "shape", sizes)
    return sizes


def elements(tag: str, what: str, sizes: Iterable[int]) -> int:
    """Returns the product of ``sizes``; an error when it can't be addressed."""
    sizes = tuple(sizes)
    count = math.prod(sizes)
    if count > MAX_ELEMENTS:
        raise ValueError(f"[{tag}] {what} has more than 2**60 elements; got {sizes}")
    return count


def number(
    tag: str,
    argument: str,
    value: object,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Returns a finite real number between ``low`` and ``high`` (open where said so)."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise TypeError(f"[{tag}] {argument} must be a number; got {value!r}")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    inside = (low < result if open_low else low <= result) and (
        result < high if open_high else result <= high
    )
    if not math.isfinite(result) or not inside:
        left = "(" if open_low or low == -math.inf else "["
        right = ")" if open_high or high == math.inf else "]"
        rule = "finite" if low == -high == -math.inf else f"in {left}{low:g}, {high:g}{right}"
        raise ValueError(f"[{tag}] {argument} must be {rule}; got {value!r}")
    return result


def flag(tag: str, argument: str, value: object) -> bool:
    """Returns a bool; anything else is an error."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"[{tag}] {argument} must be True or False; got {value!r}")
    return bool(value)


def text(tag: str, argument: str, value: object) -> str:
    """Returns a non-empty string of printable characters."""
    if not isinstance(value, str):
        raise TypeError(f"[{tag}] {argument} must be a string; got {value!r}")
    if not value or not value.isprintable():
        raise ValueError(f"[{tag}] {argument} must be printable and not empty; got {value!r}")
    return value


def choice(tag: str, argument: str, value: object, valid: Iterable[str], also: str = "") -> str:
    """Returns ``value`` when it is one of ``valid``; the error lists them and the nearest one."""
    names = tuple(valid)
    if isinstance(value, str) and value in names:
        return value
    message = f"[{tag}] {argument} must be one of {', '.join(names)}"
    message += f" or {also}" if also else ""
    message += f"; got {value!r}"
    if not isinstance(value, str):
        raise TypeError(message)
    raise ValueError(message + nearest(value, names))


def nearest(value: str, valid: Iterable[str]) -> str:
    """Returns `` (did you mean 'x'?)`` for the most similar valid name, or an empty string."""
    import difflib

    folded = {name.lower(): name for name in valid}
    close = difflib.get_close_matches(value.lower()[:100], folded, n=1, cutoff=0.5)
    return f" (did you mean {folded[close[0]]!r}?)" if close else ""


def show(sample: Shape) -> str:
    """Returns a sample's shape as the array's: (N, 28, 28, 3)."""
    return f"({', '.join(['N', *map(str, sample)])})"
