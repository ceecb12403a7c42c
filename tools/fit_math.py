"""Fits the polynomials of csrc/base/simd/math-inl.h and prints their coefficients (needs mpmath).

Remez's exchange algorithm in 60 digits: the polynomial p of the given degree for which the largest
|p(x) - f(x)| * weight(x) on the interval is smallest. Coefficients are then rounded to the working
precision; the error printed is that of the rounded polynomial in exact arithmetic, in bits.

    python tools/fit_math.py
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from mpmath import mp, mpf

mp.dps = 60

Function = Callable[[mpf], mpf]


def remez(f: Function, weight: Function, low: mpf, high: mpf, degree: int) -> list[mpf]:
    """Returns the coefficients, constant term first."""
    count = degree + 2
    middle, half = (low + high) / 2, (high - low) / 2
    # The 0.01 keeps the start off the middle, where a weight may be zero.
    nodes = [
        middle - half * mp.cos(mp.pi * (i + mpf("0.01")) / (count - 1 + mpf("0.02")))
        for i in range(count)
    ]
    grid = [middle - half * mp.cos(mp.pi * i / 800) for i in range(801)]
    values = [(f(x), weight(x)) for x in grid]
    for _ in range(12):
        rows = mp.matrix(count, count)
        right = mp.matrix(count, 1)
        for i, x in enumerate(nodes):
            for j in range(degree + 1):
                rows[i, j] = x**j * weight(x)
            rows[i, degree + 1] = (-1) ** i
            right[i] = f(x) * weight(x)
        solution = mp.lu_solve(rows, right)
        c = list(solution)[: degree + 1]
        errors = [(mp.polyval(c[::-1], x) - v) * w for x, (v, w) in zip(grid, values, strict=True)]
        peaks = _alternation(grid, errors, count)
        if max(abs(e) for e in errors) < abs(solution[degree + 1]) * mpf("1.001"):
            break
        nodes = peaks
    return c


def _alternation(grid: list[mpf], errors: list[mpf], count: int) -> list[mpf]:
    """Returns `count` points where the error is extreme with alternating signs."""
    runs: list[int] = []
    for i, e in enumerate(errors):
        if runs and (e > 0) == (errors[runs[-1]] > 0):
            if abs(e) > abs(errors[runs[-1]]):
                runs[-1] = i
        else:
            runs.append(i)
    while len(runs) > count:
        runs.pop(0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1)
    if len(runs) < count:
        raise ArithmeticError(
            f"{len(runs)} extrema, {count} needed: the degree is too high for the grid"
        )
    return [grid[i] for i in runs]


def rounded(c: mpf, bits: int) -> float:
    """Returns the nearest float32 (bits 24) or float64 (bits 53)."""
    return struct.unpack("f", struct.pack("f", float(c)))[0] if bits == 24 else float(c)


def show(
    name: str, c: list[mpf], bits: int, f: Function, weight: Function, low: mpf, high: mpf
) -> None:
    values = [rounded(x, bits) for x in c]
    worst = mpf(0)
    for i in range(2001):
        x = low + (high - low) * i / 2000
        worst = max(worst, abs((mp.polyval([mpf(v) for v in values[::-1]], x) - f(x)) * weight(x)))
    suffix, digits = ("f", 9) if bits == 24 else ("", 17)
    kind = f"float{32 if bits == 24 else 64}, degree {len(c) - 1}"
    interval = f"[{mp.nstr(low, 6)}, {mp.nstr(high, 6)}]"
    print(f"\n{name}, {kind}, on {interval}: 2^{mp.nstr(mp.log(worst, 2), 5)}")
    print(", ".join(f"{v:.{digits}g}{suffix}" for v in values))


def fit(
    name: str, f: Function, weight: Function, low: mpf, high: mpf, degrees: tuple[int, int]
) -> None:
    for bits, degree in zip((24, 53), degrees, strict=True):
        show(name, remez(f, weight, low, high, degree), bits, f, weight, low, high)


def series(f: Function, at_zero: mpf) -> Function:
    """Returns f with its limit at 0, where the formula is 0/0."""
    return lambda x: at_zero if abs(x) < mpf(10) ** -12 else f(x)


def split(name: str, value: mpf, bits: int, kept: int) -> None:
    """Prints value as high + low, the high part with `kept` bits."""
    scale = mpf(2) ** (kept - 1 - mp.floor(mp.log(value, 2)))
    high = mp.nint(value * scale) / scale
    digits = 9 if bits == 24 else 17
    print(
        f"\n{name}, float{32 if bits == 24 else 64}: {float(high):.{digits}g} + "
        f"{rounded(value - high, bits):.{digits}g}"
    )


def main() -> None:
    ln2 = mp.log(2)
    # A multiple k of the high part is exact for |k| <= 2^8 (float32) and 2^11 (float64).
    split("ln 2", ln2, 24, 15)
    split("ln 2", ln2, 53, 41)

    # e^r = 1 + r + r^2 q(r); the error is relative to e^r - 1, so that the same q serves expm1.
    half = ln2 / 2 * mpf("1.0001")
    fit(
        "exp",
        series(lambda r: (mp.expm1(r) - r) / r**2, mpf(1) / 2),
        lambda r: r**2 / abs(mp.expm1(r)) if abs(r) > mpf(10) ** -12 else abs(r),
        -half,
        half,
        (5, 10),
    )

    # log(1 + f) = f - f^2/2 + f^3 q(f) for 1 + f in [sqrt(1/2), sqrt(2)]; relative to log(1 + f).
    fit(
        "log",
        series(lambda f: (mp.log1p(f) - f + f**2 / 2) / f**3, mpf(1) / 3),
        lambda f: abs(f**3 / mp.log1p(f)) if abs(f) > mpf(10) ** -12 else f**2,
        mp.sqrt(mpf(1) / 2) - 1,
        mp.sqrt(2) - 1,
        (9, 20),
    )

    # tanh(x) = x + x^3 q(x^2) for |x| <= 0.625; relative to tanh(x).
    fit(
        "tanh",
        series(lambda z: (mp.tanh(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, mpf(-1) / 3),
        lambda z: z * mp.sqrt(z) / mp.tanh(mp.sqrt(z)) if z > mpf(10) ** -12 else z,
        mpf(0),
        mpf("0.390625"),
        (5, 11),
    )

    # Phi(-a) = exp(-a^2/2) w q(t), w = 1/(a + 4), t = 1 - 8w; relative to Phi(-a).
    def tail(t: mpf) -> mpf:
        w = (1 - t) / 8
        a = 1 / w - 4
        return mp.exp(a * a / 2) * mp.erfc(a / mp.sqrt(2)) / 2 / w

    for bits, degree, farthest in ((24, 10, 15), (53, 22, 40)):
        low, high = mpf(-1), 1 - mpf(8) / (farthest + 4)
        c = remez(tail, lambda t: 1 / tail(t), low, high, degree)
        show("normal tail", c, bits, tail, lambda t: 1 / tail(t), low, high)


if __name__ == "__main__":
    main()
