"""Which convolutions the published networks have: derived from their graphs, not copied."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from sixloop import models, nn, ops
from sixloop._checks import Pair

__all__ = ["GEMM", "NETWORKS", "Convolution", "Network", "convolutions", "walk"]


class Network(NamedTuple):
    """A network whose layers are timed.

    Args:
        label: its name as people write it.
        batch: samples of a batch.
        model: name in `sixloop.models`.
        options: of `sixloop.models.define`.
    """

    label: str
    batch: int
    model: str
    options: dict[str, Any]


NETWORKS = {
    "alexnet": Network("AlexNet (one weird trick)", 8, "alexnet", {"variant": "one-weird-trick"}),
    "vgg16": Network("VGG-16", 2, "vgg16", {}),
    "googlenet": Network("GoogLeNet", 8, "googlenet", {}),
    "resnet50": Network("ResNet-50 (v1.5)", 8, "resnet50", {"variant": "v1.5"}),
    "densenet121": Network("DenseNet-121", 8, "densenet121", {}),
    "lenet5": Network("LeNet-5", 64, "lenet5", {}),
}

# M, N, K: cubes; a fully connected layer of AlexNet with batch 64; ResNet's 3x3 of 64 channels and
# a 1x1 of 128, one image; a product of a matrix with a vector.
GEMM = (
    *((n, n, n) for n in (64, 128, 256, 512, 1024, 2048)),
    (64, 4096, 9216),
    (3136, 64, 576),
    (784, 512, 128),
    (1, 4096, 4096),
)


@dataclass(frozen=True)
class Convolution:
    """One convolution: sizes in elements, pairs as (h, w), padding as ((top, bottom), (l, r))."""

    n: int
    h: int
    w: int
    c: int
    o: int
    kernel: Pair
    strides: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    groups: int

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """(N, H, W, C)."""
        return self.n, self.h, self.w, self.c

    @property
    def w_shape(self) -> tuple[int, int, int, int]:
        """(KH, KW, C / groups, O)."""
        return *self.kernel, self.c // self.groups, self.o

    @property
    def options(self) -> dict[str, Any]:
        """What `ops.conv2d` and its gradients take besides arrays."""
        return {
            "strides": self.strides,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        """(N, OH, OW, O)."""
        return ops.conv2d_output_shape(self.x_shape, self.w_shape, **self.options)

    @property
    def flop(self) -> int:
        """Operations of the sums as they are written, two for a multiply-add."""
        n, oh, ow, o = self.y_shape
        kh, kw, i, _ = self.w_shape
        return 2 * n * oh * ow * o * kh * kw * i

    @property
    def elements(self) -> int:
        """Elements of input, filters and output: what each of the passes reads or writes once."""
        n, oh, ow, o = self.y_shape
        kh, kw, i, _ = self.w_shape
        return self.n * self.h * self.w * self.c + kh * kw * i * o + n * oh * ow * o

    def __str__(self) -> str:
        """Returns "8x56x56x64, 3x3 to 256, stride 2, padding 1, groups 2"."""
        kh, kw = self.kernel
        text = f"{self.n}x{self.h}x{self.w}x{self.c}, {kh}x{kw} to {self.o}"
        if self.strides != (1, 1):
            text += f", stride {_short(self.strides)}"
        if any(map(any, self.padding)):
            pads = tuple(map(_short, self.padding))
            text += f", padding {pads[0] if pads[0] == pads[1] else '/'.join(pads)}"
        if self.dilation != (1, 1):
            text += f", dilation {_short(self.dilation)}"
        return text + (f", groups {self.groups}" if self.groups > 1 else "")


def _short(pair: Pair) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]},{pair[1]}"


def walk(model: nn.Model, batch: int) -> Iterator[tuple[str, Convolution]]:
    """Yields name and shape of every call of a convolution, in order of execution.

    Args:
        model: its parameters need not be allocated.
        batch: number of samples.
    """
    for node in model.nodes:
        layer = node.layer
        if isinstance(layer, nn.Conv2D):
            yield model.layer_name(layer), of_layer(layer, node.inputs[0].shape, batch)


def of_layer(layer: nn.Conv2D, shape: tuple[int, ...], batch: int) -> Convolution:
    """Returns the convolution that a layer does with a batch of samples of shape (H, W, C)."""
    height, width, channels = shape
    return Convolution(
        n=batch,
        h=height,
        w=width,
        c=channels,
        o=layer.filters,
        kernel=layer.kernel_size,
        strides=layer.strides,
        padding=ops.resolve_padding(
            (height, width), layer.kernel_size, layer.strides, layer.dilation, layer.padding
        ),
        dilation=layer.dilation,
        groups=layer.groups,
    )


@functools.cache
def convolutions(network: str, batch: int | None = None) -> tuple[tuple[str, Convolution], ...]:
    """Returns the distinct convolutions of a network, each with the name of its first layer.

    Args:
        network: a key of `NETWORKS`.
        batch: number of samples; default that of the network.
    """
    chosen = NETWORKS[network]
    first: dict[Convolution, str] = {}
    model = models.define(chosen.model, **chosen.options)
    for name, shape in walk(model, batch or chosen.batch):
        first.setdefault(shape, name)
    return tuple((name, shape) for shape, name in first.items())
