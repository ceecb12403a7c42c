"""Shapes that the convolution and pooling tests share. Height and width differ everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import reference


@dataclass(frozen=True)
class Conv:
    name: str
    x: tuple[int, int, int, int]  # N, H, W, C
    kernel: tuple[int, int]
    o: int
    strides: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1

    @property
    def w(self) -> tuple[int, int, int, int]:
        return (*self.kernel, self.x[3] // self.groups, self.o)

    @property
    def y(self) -> tuple[int, int, int, int]:
        return reference.conv2d_output_shape(self.x, self.w, **self.params)

    @property
    def params(self) -> dict[str, Any]:
        return {
            "strides": self.strides,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    @property
    def k_forward(self) -> int:
        """Products summed for one element of the output."""
        return self.kernel[0] * self.kernel[1] * self.w[2]

    @property
    def k_grad_input(self) -> int:
        return self.kernel[0] * self.kernel[1] * self.o // self.groups

    @property
    def k_grad_weight(self) -> int:
        n, oh, ow, _ = self.y
        return n * oh * ow

    def __str__(self) -> str:
        return self.name


CONVS = [
    Conv("1x1", (2, 5, 7, 16), (1, 1), 24),
    Conv("1x1 widening", (1, 7, 9, 67), (1, 1), 131),
    Conv("1x1 narrowing", (2, 7, 9, 131), (1, 1), 70),
    Conv("1x1 with parts", (3, 43, 45, 65), (1, 1), 64),
    Conv("1x1 stride 2", (2, 6, 9, 8), (1, 1), 17, strides=2),
    Conv("one pixel", (3, 1, 2, 5), (1, 1), 7),
    Conv("one output pixel", (2, 4, 3, 6), (4, 3), 9),
    Conv("2x2", (2, 6, 5, 4), (2, 2), 8),
    Conv("4x2 same", (2, 7, 10, 3), (4, 2), 5, padding="same"),
    Conv("row filter 1x7", (1, 4, 15, 6), (1, 7), 10, padding=(0, 3)),
    Conv("column filter 5x1", (1, 12, 5, 6), (5, 1), 8, padding=(2, 0)),
    Conv("stride 2 1", (2, 9, 8, 5), (3, 3), 12, strides=(2, 1), padding=1),
    Conv("stride 3 2", (2, 11, 9, 4), (3, 2), 8, strides=(3, 2)),
    Conv(
        "stride beyond filter", (1, 13, 14, 3), (2, 1), 6, strides=(4, 3), padding=((1, 0), (0, 0))
    ),
    Conv("dilation 2 1", (2, 9, 7, 6), (3, 3), 8, dilation=(2, 1), padding=(2, 1)),
    Conv("dilation 2 3 stride 2 1", (1, 12, 13, 5), (2, 3), 7, dilation=(2, 3), strides=(2, 1)),
    Conv("asymmetric padding", (2, 6, 7, 4), (3, 2), 9, padding=((2, 0), (1, 3))),
    Conv("padding beyond filter", (1, 3, 5, 3), (2, 3), 5, padding=((4, 3), (5, 2))),
    Conv("same stride 3 2", (2, 8, 11, 5), (3, 4), 6, strides=(3, 2), padding="same"),
    Conv(
        "same stride dilation",
        (1, 10, 13, 4),
        (3, 2),
        8,
        strides=2,
        dilation=(2, 3),
        padding="same",
    ),
    Conv("groups 2", (2, 6, 5, 8), (3, 3), 12, padding=1, groups=2),
    Conv("groups 3 dilation", (2, 9, 6, 9), (2, 3), 6, dilation=2, padding="same", groups=3),
    Conv("depthwise", (2, 8, 6, 10), (3, 3), 10, padding=1, groups=10),
    Conv("depthwise multiplier 2", (2, 7, 8, 6), (3, 2), 12, strides=(1, 2), padding=1, groups=6),
    Conv("one input channel, 6 outputs", (3, 12, 10, 1), (5, 5), 6),
    Conv("one output channel", (2, 7, 6, 9), (3, 3), 1, padding=1),
    Conv("ten outputs", (4, 5, 3, 12), (2, 3), 10),
    Conv("LeNet first", (2, 14, 12, 1), (5, 5), 6, padding=2),
    Conv("LeNet second", (2, 10, 8, 6), (5, 5), 16),
    Conv("VGG first", (1, 14, 12, 3), (3, 3), 64, padding=1),
    Conv("VGG deep", (1, 6, 7, 32), (3, 3), 32, padding=1),
    Conv("AlexNet first", (1, 27, 23, 3), (11, 11), 16, strides=4, padding=2),
    Conv("ResNet stem", (1, 16, 18, 3), (7, 7), 16, strides=2, padding=3),
    Conv("ResNet downsampling", (1, 9, 7, 16), (3, 3), 32, strides=2, padding=1),
    Conv("MobileNet depthwise", (1, 9, 8, 32), (3, 3), 32, strides=2, padding=1, groups=32),
    Conv("long row", (1, 2, 70, 4), (2, 3), 33, padding=1),
    Conv("K beyond one block", (1, 4, 5, 300), (2, 2), 5),
]

# Where Winograd's algorithm applies: whole tiles and parts of them, whole vectors and parts of
# them, every padding.
WINOGRADS = [
    Conv("one pixel", (1, 1, 2, 3), (3, 3), 5, padding=1),
    Conv("one tile", (2, 4, 6, 16), (3, 3), 16),
    Conv("parts of tiles", (2, 7, 9, 17), (3, 3), 19, padding=1),
    Conv("asymmetric padding", (1, 6, 11, 5), (3, 3), 33, padding=((2, 0), (1, 2))),
    Conv("most padding", (1, 3, 5, 8), (3, 3), 12, padding=2),
    Conv("same", (3, 14, 13, 32), (3, 3), 48, padding="same"),
    Conv("more products than a core's cache holds", (2, 8, 9, 300), (3, 3), 310, padding=1),
    Conv("K beyond one block", (1, 4, 5, 1030), (3, 3), 7, padding=1),
    Conv("few tiles, many filters", (2, 7, 5, 130), (3, 3), 262, padding=1),
    Conv("tiles in parts", (2, 31, 38, 17), (3, 3), 22, padding=1),
    Conv("parts of tiles alone, many filters", (2, 3, 2, 130), (3, 3), 262, padding=1),
    Conv("few tiles, many filters of many channels", (1, 5, 7, 500), (3, 3), 259, padding=(1, 0)),
]

WINOGRADS_OF_5X5 = [
    Conv("one pixel", (1, 1, 2, 3), (5, 5), 5, padding=2),
    Conv("one tile", (2, 6, 8, 16), (5, 5), 16),
    Conv("parts of tiles", (2, 7, 9, 17), (5, 5), 19, padding=2),
    Conv("asymmetric padding", (1, 6, 11, 5), (5, 5), 33, padding=((4, 0), (1, 3))),
    Conv("most padding", (1, 3, 5, 8), (5, 5), 12, padding=4),
    Conv("same", (3, 14, 13, 32), (5, 5), 48, padding="same"),
    Conv("more products than a core's cache holds", (2, 8, 9, 300), (5, 5), 310, padding=2),
    Conv("few tiles, many filters", (1, 7, 9, 130), (5, 5), 262, padding=(2, 1)),
]

# Two threads and more have work to share in these.
LARGE_CONVS = [
    Conv("VGG row", (3, 18, 22, 24), (3, 3), 40, padding=1),
    Conv("strided first layer", (4, 33, 29, 3), (7, 5), 32, strides=2, padding="same"),
    Conv("grouped", (5, 16, 17, 24), (3, 3), 24, padding=1, dilation=(1, 2), groups=4),
    Conv("depthwise", (4, 24, 20, 32), (3, 3), 32, padding=1, groups=32),
    Conv("1x1", (4, 12, 14, 96), (1, 1), 80),
    Conv("LeNet second", (16, 14, 12, 6), (5, 5), 16),
]


@dataclass(frozen=True)
class Pool:
    name: str
    x: tuple[int, int, int, int]
    pool: Any
    strides: Any = None
    padding: Any = 0

    @property
    def y(self) -> tuple[int, int, int, int]:
        return reference.pool2d_output_shape(
            self.x, self.pool, strides=self.strides, padding=self.padding
        )

    @property
    def params(self) -> dict[str, Any]:
        return {"strides": self.strides, "padding": self.padding}

    def __str__(self) -> str:
        return self.name


POOLS = [
    Pool("2x2", (2, 6, 8, 5), 2),
    Pool("2x2 with a rest", (2, 7, 5, 16), 2),
    Pool("2x3", (1, 6, 7, 3), (2, 3)),
    Pool("1x1", (2, 3, 4, 6), 1),
    Pool("1x1 stride 2 3", (2, 5, 10, 4), 1, (2, 3)),
    Pool("3x3 stride 2", (2, 9, 7, 8), 3, 2),
    Pool("3x3 stride 2 padding 1", (2, 8, 10, 17), 3, 2, 1),
    Pool("3x2 stride 1 2", (2, 7, 9, 4), (3, 2), (1, 2)),
    Pool("overlapping stride 1", (1, 6, 5, 7), (3, 4), 1),
    Pool("stride beyond window", (1, 11, 10, 3), (2, 1), (4, 3)),
    Pool("asymmetric padding", (2, 5, 6, 9), (3, 2), (2, 1), ((2, 1), (0, 1))),
    Pool("same stride 2", (2, 7, 9, 5), 3, 2, "same"),
    Pool("same stride 3 2", (2, 8, 7, 6), (2, 4), (3, 2), "same"),
    Pool("whole image", (3, 4, 5, 10), (4, 5)),
    Pool("one channel", (4, 10, 12, 1), 2),
    Pool("many channels", (1, 4, 6, 67), (2, 3), 2),
]

LARGE_POOLS = [
    Pool("AlexNet", (4, 27, 25, 33), 3, 2),
    Pool("VGG", (4, 32, 28, 24), 2),
    Pool("padded", (3, 29, 31, 16), (3, 5), (1, 2), "same"),
]
