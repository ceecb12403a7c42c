"""The networks that are timed and listed: names, options, and where their figures come from."""

from __future__ import annotations

from typing import Any, NamedTuple


class Network(NamedTuple):
    """A network as `sixloop.models.build` takes it, and the source of its number of parameters."""

    name: str
    options: dict[str, Any]
    source: str

    @property
    def label(self) -> str:
        """Its name, with the options that are not the default's."""
        return ", ".join([self.name, *map(_option, self.options.items())])


def _option(item: tuple[str, Any]) -> str:
    name, value = item
    if isinstance(value, bool):
        return name.replace("_", " ") if value else f"no {name}"
    return f"depth {value}" if name == "depth" else str(value)


_LENET = "LeCun et al. 1998, section II.B"
_ALEXNET = "Krizhevsky et al. 2012, section 3.5"
_VGG = "torchvision; Simonyan and Zisserman, arXiv:1409.1556, table 2"
_RESNET = "torchvision; He et al., arXiv:1512.03385, table 1"
_CIFAR = "He et al., arXiv:1512.03385, table 6"
_DENSENET = "torchvision; Huang et al., arXiv:1608.06993, table 1"
_COUNTED = "arithmetic"

NETWORKS = (
    Network("perceptron", {}, "LeCun et al. 1998, section III.C.1 (7,850)"),
    Network("mlp", {}, _COUNTED),
    Network("lenet5", {"variant": "1998"}, f"{_LENET} (60,000)"),
    Network("lenet5", {"variant": "modern"}, f"{_COUNTED} from {_LENET}"),
    Network("lenet5", {"variant": "caffe"}, "Caffe, examples/mnist"),
    Network("small_cnn", {}, _COUNTED),
    Network("cifar_cnn", {}, _COUNTED),
    Network("alexnet", {"variant": "2012"}, f"{_ALEXNET} (60 million)"),
    Network("alexnet", {"variant": "ungrouped"}, f"{_COUNTED} from {_ALEXNET}"),
    Network("alexnet", {"variant": "one-weird-trick"}, "torchvision; arXiv:1404.5997"),
    Network("zfnet", {}, f"{_COUNTED} from Zeiler and Fergus, arXiv:1311.2901, figure 3"),
    *(Network(f"vgg{depth}", {}, _VGG) for depth in (11, 13, 16, 19)),
    Network("vgg16", {"batch_norm": True}, "torchvision"),
    Network("googlenet", {"variant": "paper"}, "Szegedy et al., arXiv:1409.4842, table 1"),
    Network(
        "googlenet",
        {"variant": "paper", "auxiliary": False},
        "Szegedy et al., arXiv:1409.4842, table 1",
    ),
    Network("googlenet", {"variant": "torchvision", "auxiliary": False}, "torchvision"),
    *(Network(f"resnet{depth}", {}, _RESNET) for depth in (18, 34, 50, 101, 152)),
    Network("resnet50", {"variant": "v1.5"}, "torchvision"),
    *(Network("resnet_cifar", {"depth": depth}, _CIFAR) for depth in (20, 56, 110)),
    *(Network(f"densenet{depth}", {}, _DENSENET) for depth in (121, 169, 201, 161)),
    Network("densenet264", {}, f"{_COUNTED} from arXiv:1608.06993, table 1"),
)
