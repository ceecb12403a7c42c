"""What the kernels allocate for themselves, as far as it grows with the batch or the weights.

The rules are those of ``csrc/conv2d`` and ``csrc/gemm``; ``tests/test_nn_memory.py`` holds them
against the allocator. Left out are the buffers of one task, at most 1 MB for each thread, but for
those of Winograd's products: they count for each thread, as if all were at work at once, and their
size follows the second-level cache. So these figures are those of the machine that computes them.
"""

from __future__ import annotations

import functools
import math
import os
import platform
from dataclasses import dataclass, replace

import sixloop
from sixloop import ops
from sixloop._checks import Pair
from sixloop.nn.layer import Scratch

_MIB = 1 << 20
# csrc/conv2d/geometry.cc, kFewChannels: up to so many channels a padded copy of the image is read.
_FEW_CHANNELS = 16
# csrc/conv2d/planar.cc
_PLANAR_FILTERS, _PLANAR_WIDTH, _PLANAR_OVERRUN = 6, 8, 64
# csrc/conv2d/direct.cc, pixel_parts()
_PIXELS_PER_PART, _MOST_PARTS, _PART_BYTES = 2048, 16, 32 * _MIB
# Packed weights come in panels of so many columns, more or fewer by the instruction set.
_PANEL = 16
# csrc/gemm/loops.h: products of fewer rows, about kFewTiles tiles, pack B in their tasks.
_FEW_ROWS = 24 * 8
# csrc/conv2d/winograd.cc: output pixels a side of a tile, bytes of products that all threads make
# between two passes, the least tiles of a block; and csrc/gemm/loops.h, kTasks.
_WINOGRAD_SIDES = {"winograd2x2": 2, "winograd4x4": 4}
_BLOCK_BYTES, _LEAST_TILES, _TASKS = 8 * _MIB, 16, 32
# Rows of the usual kernel, csrc/gemm/kernels.inc; blocks are multiples of them.
_KERNEL_ROWS = {"avx512": 10, "avx2": 6, "neon": 6, "scalar": 4}
_KERNEL_COLUMNS = {"avx512": 32, "avx2": 16, "neon": 16, "scalar": 4}


def allocated(size: int) -> int:
    """Returns what the allocator takes for so many bytes.

    Multiples of 64, of a quarter of the power of two below, and from 2 MiB on of 2 MiB
    (csrc/base/allocator.cc, size_class()).
    """
    if size <= 64:
        return 64
    step = max(64, (1 << (size.bit_length() - 1)) // 4)
    rounded = -(-size // step) * step
    return rounded if rounded < 2 * _MIB else -(-rounded // (2 * _MIB)) * 2 * _MIB


@dataclass(frozen=True)
class Convolution:
    """One convolution, in the names of csrc/conv2d/conv2d.h; pads as ((top, bottom), ...)."""

    n: int
    h: int
    w: int
    c: int
    oh: int
    ow: int
    o: int
    kernel: Pair
    itemsize: int
    groups: int = 1
    strides: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pads: tuple[Pair, Pair] = ((0, 0), (0, 0))

    @property
    def pixels(self) -> int:
        """Output pixels."""
        return self.n * self.oh * self.ow

    @property
    def steps(self) -> int:
        """Elements under a window of one group."""
        return math.prod(self.kernel) * self.c // self.groups

    @property
    def is_depthwise(self) -> bool:
        """Whether each group has one channel in and out."""
        return self.groups > 1 and self.groups == self.c == self.o

    @property
    def reads_rows(self) -> bool:
        """Whether a tap is a row of the filter, which needs a copy where there is padding."""
        return (
            self.groups == 1
            and self.dilation[1] == 1
            and self.kernel[1] > 1
            and self.c <= _FEW_CHANNELS
        )

    @property
    def padded_copy(self) -> int:
        """Elements of the copy of the input."""
        if not (self.reads_rows and any(map(any, self.pads))):
            return 0
        rows, columns = self.pads
        return self.n * (self.h + sum(rows)) * (self.w + sum(columns)) * self.c

    def bytes(self, *elements: int) -> int:
        """Returns what the allocator takes for buffers of so many elements."""
        return sum(allocated(count * self.itemsize) for count in elements if count)


def of_convolution(call: Convolution, algorithm: str) -> Scratch:
    """Returns the scratch memory of a convolution and of its two gradients."""
    return Scratch(
        forward=call.bytes(*_forward(call, _chosen("forward", call, algorithm))),
        grad_weight=call.bytes(*_grad_weight(call, _chosen("grad_weight", call, algorithm))),
        grad_input=call.bytes(*_grad_input(call, _chosen("grad_input", call, algorithm))),
    )


def of_product(batch: int, inputs: int, units: int, itemsize: int) -> Scratch:
    """Returns the scratch memory of a Dense layer and of its two gradients."""
    if batch <= _FEW_ROWS:
        return Scratch()
    return Scratch(
        forward=allocated(_packed(inputs, units) * itemsize),
        grad_input=allocated(_packed(units, inputs) * itemsize),
    )


def _chosen(which: str, call: Convolution, algorithm: str) -> str:
    if algorithm != "auto":
        return algorithm
    return ops.conv2d_algorithm(
        which,
        (call.n, call.h, call.w, call.c),
        (*call.kernel, call.c // call.groups, call.o),
        strides=call.strides,
        padding=call.pads,
        dilation=call.dilation,
        groups=call.groups,
    )


def _forward(call: Convolution, algorithm: str) -> tuple[int, ...]:
    if algorithm in _WINOGRAD_SIDES:
        return _winograd(call, _WINOGRAD_SIDES[algorithm])
    weights = _packed(call.steps, call.o // call.groups)
    if algorithm == "im2col":
        return call.pixels * call.steps, max(call.padded_copy, weights)
    if call.is_depthwise:
        return ()
    planar = (
        call.groups == 1
        and call.strides == (1, 1)
        and call.o <= _PLANAR_FILTERS
        and call.c <= _FEW_CHANNELS
        and call.ow >= _PLANAR_WIDTH
        and math.prod(call.kernel) > 1
    )
    if planar:
        row = call.w + sum(call.pads[1])
        return call.n * call.c * call.h * row + _PLANAR_OVERRUN, weights
    return call.padded_copy, weights


def _grad_weight(call: Convolution, algorithm: str) -> tuple[int, ...]:
    if algorithm in _WINOGRAD_SIDES:
        products, tiles, tile_bytes = _tiling(call, _WINOGRAD_SIDES[algorithm])
        columns = _kernel_columns()
        if _few_tiles(tiles, columns * 3 // 2, call.o):
            sums = products * _padded(call.c * columns, call.itemsize)
            return *_products(call, products, tiles), *(sums,) * _threads(-(-call.o // columns))
        blocks = -(-tiles // max(_LEAST_TILES, _BLOCK_BYTES // tile_bytes))
        sums = products * _padded(call.c * call.o, call.itemsize)
        return sums, *_products(call, products, -(-tiles // blocks))
    if algorithm == "im2col":
        return call.pixels * call.steps, max(call.padded_copy, _partial_sums(call))
    return call.padded_copy, _partial_sums(call)


def _grad_input(call: Convolution, algorithm: str) -> tuple[int, ...]:
    if algorithm in _WINOGRAD_SIDES:
        turned = replace(call, oh=call.h, ow=call.w, c=call.o, o=call.c)
        side = _WINOGRAD_SIDES[algorithm]
        products, tiles, _ = _tiling(turned, side)
        if _few_tiles(tiles, 3 * _kernel_columns(), turned.o):
            return _by_panels(turned, products, tiles, 9 * turned.c * _kernel_columns())
        return 9 * call.c * call.o, *_winograd(turned, _WINOGRAD_SIDES[algorithm])
    if algorithm == "im2col":
        return call.pixels * call.steps, _packed(call.o // call.groups, call.steps)
    if call.is_depthwise:
        return ()
    (kh, kw), (dh, dw) = call.kernel, call.dilation
    reach = dh * (kh - 1), kw - 1
    if (
        call.strides == (1, 1)
        and dw == 1
        and call.groups == 1
        and kw > 1
        and call.o <= _FEW_CHANNELS
        and all(max(pad) <= most for pad, most in zip(call.pads, reach, strict=True))
    ):
        # The filters turned by 180 degrees are convolved with dy.
        (top, bottom), (left, right) = call.pads
        turned = replace(
            call,
            h=call.oh,
            w=call.ow,
            c=call.o,
            oh=call.h,
            ow=call.w,
            o=call.c,
            pads=((reach[0] - top, reach[0] - bottom), (reach[1] - left, reach[1] - right)),
        )
        return math.prod(call.kernel) * call.o * call.c, *_forward(turned, "direct")
    # With strides only some filter offsets meet a pixel: the largest share is packed.
    taps = math.prod(-(-k // s) for k, s in zip(call.kernel, call.strides, strict=True))
    return (_packed(taps * call.o // call.groups, call.c // call.groups),)


def _winograd(call: Convolution, side: int) -> tuple[int, ...]:
    """Returns the elements of the transformed filters and of the products of blocks of tiles."""
    products, tiles, tile_bytes = _tiling(call, side)
    columns = _kernel_columns()
    panel = products * call.c * columns * call.itemsize
    if _few_tiles(tiles, 3 * columns, call.o) and panel <= _l2_bytes():
        return _by_panels(call, products, tiles, 0)
    filters = products * _padded(_packed(call.c, call.o), call.itemsize)
    rows = _KERNEL_ROWS.get(sixloop.isa(), 8)
    cached = _l2_bytes() // 2 // tile_bytes // rows * rows
    if cached >= 2 * rows:
        block = min(cached, -(-tiles // _TASKS // rows) * rows)
        return filters, *_products(call, products, block) * _threads(-(-tiles // block))
    most = max(1, _BLOCK_BYTES // tile_bytes // rows) * rows
    blocks = -(-tiles // most)
    block = min(tiles, -(-tiles // blocks // rows) * rows)
    return filters, *_products(call, products, block)


def _by_panels(call: Convolution, products: int, tiles: int, copy: int) -> tuple[int, ...]:
    """Returns the elements of the tiles' products and, for each thread, of a panel of filters."""
    columns = _kernel_columns()
    panel = products * _padded(call.c * columns, call.itemsize)
    sums = products * tiles * _padded(columns, call.itemsize)
    threads = _threads(-(-call.o // columns))
    return _products(call, products, tiles)[0], *(panel, sums, copy) * threads


def _few_tiles(tiles: int, most: int, outputs: int) -> bool:
    return tiles < most and outputs >= 8 * _kernel_columns()


def _kernel_columns() -> int:
    return _KERNEL_COLUMNS.get(sixloop.isa(), 8)


def _threads(tasks: int) -> int:
    return min(sixloop.get_num_threads(), tasks)


def _tiling(call: Convolution, side: int) -> tuple[int, int, int]:
    """Returns the number of products, the number of tiles and the bytes of a tile's products."""
    products = (side + 2) ** 2
    tiles = call.n * -(-call.oh // side) * -(-call.ow // side)
    return products, tiles, products * (call.c + call.o) * call.itemsize


def _products(call: Convolution, products: int, tiles: int) -> tuple[int, int]:
    return (
        products * tiles * _padded(call.c, call.itemsize),
        products * tiles * _padded(call.o, call.itemsize),
    )


def _padded(elements: int, itemsize: int) -> int:
    line = 64 // itemsize
    return -(-elements // line) * line + line


@functools.cache
def _l2_bytes() -> int:
    """Returns what csrc/base/arch.cc, l2_bytes(), does."""
    told = 0
    if platform.libc_ver()[0] == "glibc":
        told = os.sysconf(191)  # _SC_LEVEL2_CACHE_SIZE, for which Python has no name
    return 512 << 10 if told <= 0 else min(max(told, 256 << 10), 2048 << 10)


def _partial_sums(call: Convolution) -> int:
    """Returns the elements of the parts that a weight gradient is summed in."""
    size = call.steps * call.o // (1 if call.is_depthwise else call.groups)
    affordable = _PART_BYTES // max(1, size * call.itemsize)
    parts = max(1, min(_MOST_PARTS, call.pixels // _PIXELS_PER_PART, affordable))
    return parts * size if parts > 1 else 0


def _packed(steps: int, columns: int) -> int:
    return steps * (-(-columns // _PANEL) * _PANEL)
