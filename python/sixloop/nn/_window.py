"""Output sizes of sliding windows, with errors that show the arithmetic and the nearest fix."""

from __future__ import annotations

from sixloop import ops
from sixloop._checks import Padding, Pair, Shape, show

AXES = ("height", "width")


def image(layer: str, sample: Shape) -> tuple[int, int, int]:
    """Returns (H, W, C) of a sample, or raise ``ValueError`` when it is no image."""
    if len(sample) != 3:
        hint = f": Reshape({(*sample, 1)}) adds a channel axis" if len(sample) == 2 else ""
        raise ValueError(f"{layer} needs images (N, H, W, C); got input {show(sample)}{hint}")
    height, width, channels = sample
    return height, width, channels


def spans(kernel: Pair, dilation: Pair) -> Pair:
    """Returns height and width of the pixels that a window covers, those between its cells too."""
    (kh, kw), (dh, dw) = kernel, dilation
    return dh * (kh - 1) + 1, dw * (kw - 1) + 1


def check_fit(
    what: str,
    size: Pair,
    kernel: Pair,
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    strict: bool,
) -> None:
    """Raises ``ValueError`` when a window does not fit the input, or does not tile it (strict).

    Args:
        what: the window in words, "filter" or "pool".
        size: of the input, like all pairs in (h, w) order.
        kernel: size of the window.
        strides: steps between windows.
        padding: "valid", "same" or ((top, bottom), (left, right)).
        dilation: spacing of the window's cells.
        strict: also raise when the division by the stride leaves a remainder. "same" is defined
            with a ceiling and has none.
    """
    pads = ops.resolve_padding(size, kernel, strides, dilation, padding)
    span = spans(kernel, dilation)
    free = [n + sum(pad) - reach for n, pad, reach in zip(size, pads, span, strict=True)]
    window = f"the {kernel[0]}x{kernel[1]} {what}"
    if max(dilation) > 1:
        window += f" with dilation {dilation} (spanning {span[0]}x{span[1]})"
    sums = [
        _arithmetic(n, sum(pad), reach, stride)
        for n, pad, reach, stride in zip(size, pads, span, strides, strict=True)
    ]
    for axis in range(2):
        if free[axis] < 0:
            missing = -free[axis]
            raise ValueError(
                f"{window} does not fit the {size[0]}x{size[1]} input with padding {padding!r}: "
                f"{AXES[axis]} {sums[axis]} < 1; nearest fix: pad {AXES[axis]} by {missing} more"
                + (' or padding="same"' if padding != "same" else "")
                + f", or a window that spans at most {span[axis] - missing}"
            )
    if strict and padding != "same" and any(f % s for f, s in zip(free, strides, strict=True)):
        floors = "x".join(str(f // s + 1) for f, s in zip(free, strides, strict=True))
        axis = next(i for i in range(2) if free[i] % strides[i])
        raise ValueError(
            f"strict=True: {window} with strides {strides} does not tile the {size[0]}x{size[1]} "
            f"input: {AXES[0]} {sums[0]}, {AXES[1]} {sums[1]}; nearest fix: "
            + _tiling_fix(axis, free[axis], strides[axis], pads[axis])
            + f" (strict=False floors to {floors})"
        )


def _arithmetic(size: int, pad: int, span: int, stride: int) -> str:
    padded = f"{size} + {pad} - {span}" if pad else f"{size} - {span}"
    return f"({padded})/{stride} + 1 = {round((size + pad - span) / stride + 1, 2):g}"


def _tiling_fix(axis: int, free: int, stride: int, pad: Pair) -> str:
    more = -free % stride
    if more % 2 == 0:
        pads = (pad[0] + more // 2, pad[1] + more // 2)
    else:
        pads = (pad[0] + more // 2, pad[1] + more // 2 + 1)
    padding = f"padding {pads} in {AXES[axis]} gives {(free + more) // stride + 1}"
    # A stride of 1 always divides, so the search ends; it is bounded for absurd strides.
    smaller = next((s for s in range(stride - 1, max(0, stride - 64), -1) if free % s == 0), 1)
    return f"{padding}, stride {smaller} gives {free // smaller + 1}"
