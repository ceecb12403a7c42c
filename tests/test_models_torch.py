"""The published networks against independent definitions in PyTorch: same weights, same logits.

The modules have torchvision's attribute names, so that their state dicts have the keys of the
weights that torchvision offers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sixloop import models, nn
from sixloop.models import densenet, resnet
from sixloop.nn.torch_weights import torch_counterparts

torch = pytest.importorskip("torch")
F = torch.nn.functional
T = torch.nn


def pool(x: Any, size: int = 3, padding: int = 0, ceil: bool = False) -> Any:
    return F.max_pool2d(x, size, 2, padding, ceil_mode=ceil)


def lrn(x: Any) -> Any:
    return F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2)  # divides alpha by the size


class LeNet5Modern(T.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv2d_1 = T.Conv2d(1, 6, 5, padding=2)
        self.conv2d_2 = T.Conv2d(6, 16, 5)
        self.dense_1 = T.Linear(400, 120)
        self.dense_2 = T.Linear(120, 84)
        self.dense_3 = T.Linear(84, 10)

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(F.relu(self.conv2d_1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2d_2(x)), 2).flatten(1)
        return self.dense_3(F.relu(self.dense_2(F.relu(self.dense_1(x)))))


class LeNet5Caffe(T.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = T.Conv2d(1, 20, 5)
        self.conv2 = T.Conv2d(20, 50, 5)
        self.ip1 = T.Linear(800, 500)
        self.ip2 = T.Linear(500, 10)

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(self.conv2(F.max_pool2d(self.conv1(x), 2)), 2)
        return self.ip2(F.relu(self.ip1(x.flatten(1))))


class AlexNet2012(T.Module):
    def __init__(self, groups: int, classes: int, features: int) -> None:
        super().__init__()
        self.conv1 = T.Conv2d(3, 96, 11, 4)
        self.conv2 = T.Conv2d(96, 256, 5, padding=2, groups=groups)
        self.conv3 = T.Conv2d(256, 384, 3, padding=1)
        self.conv4 = T.Conv2d(384, 384, 3, padding=1, groups=groups)
        self.conv5 = T.Conv2d(384, 256, 3, padding=1, groups=groups)
        self.fc6 = T.Linear(features, 4096)
        self.fc7 = T.Linear(4096, 4096)
        self.fc8 = T.Linear(4096, classes)

    def forward(self, x: Any) -> Any:
        x = pool(lrn(F.relu(self.conv1(x))))
        x = pool(lrn(F.relu(self.conv2(x))))
        x = F.relu(self.conv4(F.relu(self.conv3(x))))
        x = pool(F.relu(self.conv5(x))).flatten(1)
        return self.fc8(F.relu(self.fc7(F.relu(self.fc6(x)))))


class AlexNet2014(T.Module):
    def __init__(self, classes: int, features: int) -> None:
        super().__init__()
        self.features = T.Sequential(
            T.Conv2d(3, 64, 11, 4, 2),
            T.ReLU(),
            T.MaxPool2d(3, 2),
            T.Conv2d(64, 192, 5, padding=2),
            T.ReLU(),
            T.MaxPool2d(3, 2),
            T.Conv2d(192, 384, 3, padding=1),
            T.ReLU(),
            T.Conv2d(384, 256, 3, padding=1),
            T.ReLU(),
            T.Conv2d(256, 256, 3, padding=1),
            T.ReLU(),
            T.MaxPool2d(3, 2),
        )
        self.classifier = T.Sequential(
            T.Dropout(),
            T.Linear(features, 4096),
            T.ReLU(),
            T.Dropout(),
            T.Linear(4096, 4096),
            T.ReLU(),
            T.Linear(4096, classes),
        )

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x).flatten(1))


class ZFNet(T.Module):
    def __init__(self, classes: int, features: int) -> None:
        super().__init__()
        self.conv1 = T.Conv2d(3, 96, 7, 2, 1)
        self.conv2 = T.Conv2d(96, 256, 5, 2)
        self.conv3 = T.Conv2d(256, 384, 3, padding=1)
        self.conv4 = T.Conv2d(384, 384, 3, padding=1)
        self.conv5 = T.Conv2d(384, 256, 3, padding=1)
        self.fc6 = T.Linear(features, 4096)
        self.fc7 = T.Linear(4096, 4096)
        self.fc8 = T.Linear(4096, classes)

    def forward(self, x: Any) -> Any:
        x = lrn(pool(F.relu(self.conv1(x)), ceil=True))
        x = lrn(pool(F.relu(self.conv2(x)), ceil=True))
        x = F.relu(self.conv4(F.relu(self.conv3(x))))
        x = pool(F.relu(self.conv5(x))).flatten(1)
        return self.fc8(F.relu(self.fc7(F.relu(self.fc6(x)))))


class VGG(T.Module):
    def __init__(self, plan: str, norm: bool, classes: int, features: int) -> None:
        super().__init__()
        layers: list[Any] = []
        channels = 3
        for item in plan.split():
            if item == "M":
                layers.append(T.MaxPool2d(2, 2))
                continue
            layers.append(T.Conv2d(channels, int(item), 3, padding=1))
            layers += [T.BatchNorm2d(int(item))] if norm else []
            layers.append(T.ReLU())
            channels = int(item)
        self.features = T.Sequential(*layers)
        self.classifier = T.Sequential(
            T.Linear(features, 4096),
            T.ReLU(),
            T.Dropout(),
            T.Linear(4096, 4096),
            T.ReLU(),
            T.Dropout(),
            T.Linear(4096, classes),
        )

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x).flatten(1))


VGG11 = "64 M 128 M 256 256 M 512 512 M 512 512 M"
VGG16 = "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M"


class BasicConv2d(T.Module):
    def __init__(self, channels: int, filters: int, **options: Any) -> None:
        super().__init__()
        self.conv = T.Conv2d(channels, filters, bias=False, **options)
        self.bn = T.BatchNorm2d(filters, eps=0.001)

    def forward(self, x: Any) -> Any:
        return F.relu(self.bn(self.conv(x)))


class ConvReLU(T.Conv2d):
    def __init__(self, channels: int, filters: int, **options: Any) -> None:
        super().__init__(channels, filters, **options)

    def forward(self, x: Any) -> Any:
        return F.relu(super().forward(x))


class Inception(T.Module):
    def __init__(
        self, conv: Any, channels: int, a: int, b: int, c: int, d: int, e: int, f: int, size: int
    ) -> None:
        super().__init__()
        self.branch1 = conv(channels, a, kernel_size=1)
        self.branch2 = T.Sequential(
            conv(channels, b, kernel_size=1), conv(b, c, kernel_size=3, padding=1)
        )
        self.branch3 = T.Sequential(
            conv(channels, d, kernel_size=1), conv(d, e, kernel_size=size, padding=size // 2)
        )
        self.branch4 = T.Sequential(T.MaxPool2d(3, 1, 1), conv(channels, f, kernel_size=1))

    def forward(self, x: Any) -> Any:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(T.Module):
    def __init__(self, conv: Any, channels: int, classes: int, features: int) -> None:
        super().__init__()
        self.conv = conv(channels, 128, kernel_size=1)
        self.fc1 = T.Linear(features, 1024)
        self.fc2 = T.Linear(1024, classes)

    def forward(self, x: Any) -> Any:
        x = self.conv(F.avg_pool2d(x, 5, 3)).flatten(1)
        return self.fc2(F.relu(self.fc1(x)))


class GoogLeNet(T.Module):
    def __init__(self, paper: bool, classes: int, aux_features: int) -> None:
        super().__init__()
        conv: Any = ConvReLU if paper else BasicConv2d
        size = 5 if paper else 3
        self.paper = paper
        self.conv1 = conv(3, 64, kernel_size=7, stride=2, padding=3)
        self.conv2 = conv(64, 64, kernel_size=1)
        self.conv3 = conv(64, 192, kernel_size=3, padding=1)
        self.inception3a = Inception(conv, 192, 64, 96, 128, 16, 32, 32, size)
        self.inception3b = Inception(conv, 256, 128, 128, 192, 32, 96, 64, size)
        self.inception4a = Inception(conv, 480, 192, 96, 208, 16, 48, 64, size)
        self.inception4b = Inception(conv, 512, 160, 112, 224, 24, 64, 64, size)
        self.inception4c = Inception(conv, 512, 128, 128, 256, 24, 64, 64, size)
        self.inception4d = Inception(conv, 512, 112, 144, 288, 32, 64, 64, size)
        self.inception4e = Inception(conv, 528, 256, 160, 320, 32, 128, 128, size)
        self.inception5a = Inception(conv, 832, 256, 160, 320, 32, 128, 128, size)
        self.inception5b = Inception(conv, 832, 384, 192, 384, 48, 128, 128, size)
        self.aux1 = InceptionAux(conv, 512, classes, aux_features)
        self.aux2 = InceptionAux(conv, 528, classes, aux_features)
        self.fc = T.Linear(1024, classes)

    def forward(self, x: Any) -> Any:
        norm = lrn if self.paper else lambda x: x
        x = norm(pool(self.conv1(x), ceil=True))
        x = pool(norm(self.conv3(self.conv2(x))), ceil=True)
        x = pool(self.inception3b(self.inception3a(x)), ceil=True)
        x = a = self.inception4a(x)
        x = d = self.inception4d(self.inception4c(self.inception4b(x)))
        x = pool(self.inception4e(x), 3 if self.paper else 2, ceil=True)
        x = self.inception5b(self.inception5a(x)).mean((2, 3))
        return [self.fc(x), self.aux1(a), self.aux2(d)]


class BasicBlock(T.Module):
    expansion = 1

    def __init__(self, channels: int, width: int, stride: int, first: bool) -> None:
        super().__init__()
        self.conv1 = T.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = T.BatchNorm2d(width)
        self.conv2 = T.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = T.BatchNorm2d(width)
        self.downsample = projection(channels, width, stride)

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(T.Module):
    expansion = 4

    def __init__(self, channels: int, width: int, stride: int, first: bool) -> None:
        super().__init__()
        self.conv1 = T.Conv2d(channels, width, 1, stride if first else 1, bias=False)
        self.bn1 = T.BatchNorm2d(width)
        self.conv2 = T.Conv2d(width, width, 3, 1 if first else stride, 1, bias=False)
        self.bn2 = T.BatchNorm2d(width)
        self.conv3 = T.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = T.BatchNorm2d(4 * width)
        self.downsample = projection(channels, 4 * width, stride)

    def forward(self, x: Any) -> Any:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def projection(channels: int, filters: int, stride: int) -> Any:
    if stride == 1 and channels == filters:
        return None
    return T.Sequential(T.Conv2d(channels, filters, 1, stride, bias=False), T.BatchNorm2d(filters))


class ResNet(T.Module):
    def __init__(
        self, block: Any, blocks: list[int], width: int, classes: int, first: bool
    ) -> None:
        super().__init__()
        self.conv1 = T.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = T.BatchNorm2d(width)
        channels = width
        for stage, count in enumerate(blocks):
            layers = []
            for i in range(count):
                stride = 2 if stage and not i else 1
                layers.append(block(channels, width << stage, stride, first))
                channels = block.expansion * (width << stage)
            setattr(self, f"layer{stage + 1}", T.Sequential(*layers))
        self.fc = T.Linear(channels, classes)

    def forward(self, x: Any) -> Any:
        x = pool(F.relu(self.bn1(self.conv1(x))), padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class CifarBlock(T.Module):
    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.grows = filters - channels
        self.conv1 = T.Conv2d(channels, filters, 3, 2 if self.grows else 1, 1, bias=False)
        self.bn1 = T.BatchNorm2d(filters)
        self.conv2 = T.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = T.BatchNorm2d(filters)

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.grows:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.grows))
        return F.relu(x + y)


class CifarResNet(T.Module):
    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv1 = T.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = T.BatchNorm2d(16)
        self.layer1 = T.Sequential(*[CifarBlock(16, 16) for _ in range(blocks)])
        self.layer2 = T.Sequential(*[CifarBlock(32 if i else 16, 32) for i in range(blocks)])
        self.layer3 = T.Sequential(*[CifarBlock(64 if i else 32, 64) for i in range(blocks)])
        self.fc = T.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class DenseLayer(T.Module):
    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm1 = T.BatchNorm2d(channels)
        self.conv1 = T.Conv2d(channels, 4 * growth, 1, bias=False)
        self.norm2 = T.BatchNorm2d(4 * growth)
        self.conv2 = T.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Any) -> Any:
        y = self.conv1(F.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(F.relu(self.norm2(y)))], 1)


class Transition(T.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = T.BatchNorm2d(channels)
        self.conv = T.Conv2d(channels, channels // 2, 1, bias=False)

    def forward(self, x: Any) -> Any:
        return F.avg_pool2d(self.conv(F.relu(self.norm(x))), 2, 2)


class DenseNet(T.Module):
    def __init__(self, blocks: list[int], growth: int, classes: int) -> None:
        super().__init__()
        channels = 2 * growth
        self.features = T.Sequential()
        self.features.add_module("conv0", T.Conv2d(3, channels, 7, 2, 3, bias=False))
        self.features.add_module("norm0", T.BatchNorm2d(channels))
        self.features.add_module("relu0", T.ReLU())
        self.features.add_module("pool0", T.MaxPool2d(3, 2, 1))
        for number, layers in enumerate(blocks, 1):
            block = T.Sequential()
            for layer in range(1, layers + 1):
                block.add_module(f"denselayer{layer}", DenseLayer(channels, growth))
                channels += growth
            self.features.add_module(f"denseblock{number}", block)
            if number < len(blocks):
                self.features.add_module(f"transition{number}", Transition(channels))
                channels //= 2
        self.features.add_module("norm5", T.BatchNorm2d(channels))
        self.classifier = T.Linear(channels, classes)

    def forward(self, x: Any) -> Any:
        return self.classifier(F.relu(self.features(x)).mean((2, 3)))


# Small images, of another height than width, and in the end more than one pixel where that matters
# for the order in which maps are flattened.
CASES: dict[str, tuple[Callable[[], nn.Model], Callable[[], Any]]] = {
    "lenet5": (models.lenet5, LeNet5Modern),
    "lenet5 caffe": (lambda: models.lenet5(variant="caffe"), LeNet5Caffe),
    "alexnet 2012": (lambda: models.alexnet(3, (99, 131, 3)), lambda: AlexNet2012(2, 3, 1536)),
    "alexnet ungrouped": (
        lambda: models.alexnet(3, (67, 99, 3), "ungrouped"),
        lambda: AlexNet2012(1, 3, 512),
    ),
    "alexnet one-weird-trick": (
        lambda: models.alexnet(3, (95, 127, 3), "one-weird-trick"),
        lambda: AlexNet2014(3, 1536),
    ),
    "zfnet": (lambda: models.zfnet(3, (96, 128, 3)), lambda: ZFNet(3, 1536)),
    "vgg11": (lambda: models.vgg11(3, (64, 96, 3)), lambda: VGG(VGG11, False, 3, 3072)),
    "vgg11 with batch norm": (
        lambda: models.vgg11(3, (32, 64, 3), batch_norm=True),
        lambda: VGG(VGG11, True, 3, 1024),
    ),
    "googlenet": (lambda: models.googlenet(3, (96, 170, 3)), lambda: GoogLeNet(True, 3, 256)),
    "googlenet torchvision": (
        lambda: models.googlenet(3, (96, 170, 3), "torchvision"),
        lambda: GoogLeNet(False, 3, 256),
    ),
    "resnet of basic blocks": (
        lambda: resnet._resnet("resnet18", (2, 1, 2, 1), False, 3, (37, 50, 3), "v1", width=8),
        lambda: ResNet(BasicBlock, [2, 1, 2, 1], 8, 3, True),
    ),
    "resnet v1": (
        lambda: resnet._resnet("resnet50", (2, 1, 2, 1), True, 3, (37, 50, 3), "v1", width=8),
        lambda: ResNet(Bottleneck, [2, 1, 2, 1], 8, 3, True),
    ),
    "resnet v1.5": (
        lambda: resnet._resnet("resnet50", (2, 1, 2, 1), True, 3, (37, 50, 3), "v1.5", width=8),
        lambda: ResNet(Bottleneck, [2, 1, 2, 1], 8, 3, False),
    ),
    "resnet_cifar": (lambda: models.resnet_cifar(14), lambda: CifarResNet(2)),
    "densenet": (
        lambda: densenet._densenet("densenet", (2, 1, 3, 2), 8, 3, (50, 70, 3)),
        lambda: DenseNet([2, 1, 3, 2], 8, 3),
    ),
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def randomize_norms(module: Any) -> None:
    """Gives batch normalisation other parameters and statistics than those it begins with."""
    for part in module.modules():
        if isinstance(part, T.BatchNorm2d):
            T.init.uniform_(part.weight, 0.5, 1.5)
            T.init.uniform_(part.bias, -0.5, 0.5)
            T.init.uniform_(part.running_mean, -0.5, 0.5)
            T.init.uniform_(part.running_var, 0.5, 1.5)


def assert_same_logits(model: nn.Model, module: Any) -> None:
    x = np.random.default_rng(0).standard_normal((2, *model.input_shapes[0]), np.float32)
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    actual = model(x, logits=True)
    if not isinstance(expected, list):
        actual, expected = [actual], [expected]
    for ours, theirs in zip(actual, expected, strict=True):
        theirs = theirs.numpy()
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("name", CASES)
def test_same_weights_give_the_same_logits(name: str) -> None:
    make, make_torch = CASES[name]
    model, module = make(), make_torch()
    randomize_norms(module)
    missing, unexpected = nn.load_torch_state_dict(model, module.state_dict())
    assert not missing and not unexpected
    assert_same_logits(model, module)


class LeNet5Of1998(T.Module):
    """With a loop over the maps and sums over windows, in place of filters with zeros."""

    def __init__(self, model: nn.Model) -> None:
        super().__init__()
        arrays = {name: torch.from_numpy(p.numpy()) for name, p in model.parameters().items()}
        self.p = arrays
        self.table = model.get_layer("c3").table

    @staticmethod
    def squash(x: Any) -> Any:
        return 1.7159 * torch.tanh(2 / 3 * x)

    def subsample(self, x: Any, name: str) -> Any:
        sums = 4 * F.avg_pool2d(x, 2)
        coefficient, bias = self.p[f"{name}.coefficient"], self.p[f"{name}.bias"]
        return self.squash(sums * coefficient[:, None, None] + bias[:, None, None])

    def forward(self, x: Any) -> Any:
        p = self.p
        x = self.squash(F.conv2d(x, p["c1.weight"].permute(3, 2, 0, 1), p["c1.bias"]))
        x = self.subsample(x, "s2")
        maps, link = [], 0
        for sources in self.table:
            filters = p["c3.weight"][:, :, link : link + len(sources)].permute(2, 0, 1)[None]
            maps.append(F.conv2d(x[:, list(sources)], filters))
            link += len(sources)
        x = self.squash(torch.cat(maps, 1) + p["c3.bias"][:, None, None])
        x = self.subsample(x, "s4").permute(0, 2, 3, 1).flatten(1)
        x = self.squash(x @ p["c5.weight"] + p["c5.bias"])
        x = self.squash(x @ p["f6.weight"] + p["f6.bias"])
        return -((x[:, :, None] - p["output.centres"]) ** 2).sum(1)


def test_lenet5_of_1998() -> None:
    model = models.build("lenet5", variant="1998")
    rng = np.random.default_rng(1)
    for name, tensor in model.trainable_parameters().items():
        if name.endswith("bias"):
            tensor.numpy()[...] = rng.standard_normal(tensor.shape)
    assert_same_logits(model, LeNet5Of1998(model))


# Whole networks without memory: the keys and shapes of torchvision's weights.
FULL: dict[str, tuple[Callable[[], nn.Model], Callable[[], Any], int]] = {
    "alexnet": (
        lambda: models.alexnet(variant="one-weird-trick"),
        lambda: AlexNet2014(1000, 256 * 36),
        16,
    ),
    "vgg16": (models.vgg16, lambda: VGG(VGG16, False, 1000, 512 * 49), 32),
    "vgg16_bn": (
        lambda: models.vgg16(batch_norm=True),
        lambda: VGG(VGG16, True, 1000, 512 * 49),
        97 - 13,
    ),
    "googlenet": (
        lambda: models.googlenet(variant="torchvision"),
        lambda: GoogLeNet(False, 1000, 128 * 16),
        59 * 5 + 5 * 2,
    ),
    "resnet18": (
        models.resnet18,
        lambda: ResNet(BasicBlock, [2, 2, 2, 2], 64, 1000, False),
        122 - 20,
    ),
    "resnet50": (
        lambda: models.resnet50(variant="v1.5"),
        lambda: ResNet(Bottleneck, [3, 4, 6, 3], 64, 1000, False),
        320 - 53,
    ),
    "densenet121": (
        models.densenet121,
        lambda: DenseNet([6, 12, 24, 16], 32, 1000),
        727 - 121,
    ),
}


@pytest.mark.parametrize("name", FULL)
def test_keys_and_shapes_of_whole_networks(name: str) -> None:
    make, make_torch, count = FULL[name]
    with torch.device("meta"):
        module = make_torch()
    expected = {
        key: tuple(value.shape)
        for key, value in module.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    found = {c.key: c.shape for c in torch_counterparts(make()).values()}
    assert found == expected
    assert len(found) == count


def test_keys_as_torchvision_writes_them() -> None:
    """Some of each network, from its own files: the modules above might share a mistake."""
    for model, keys in (
        (models.alexnet(variant="one-weird-trick"), ("features.10.bias", "classifier.6.weight")),
        (models.vgg19(batch_norm=True), ("features.50.running_var", "classifier.3.bias")),
        (
            models.googlenet(variant="torchvision"),
            (
                "conv1.conv.weight",
                "inception3a.branch2.0.conv.weight",
                "inception5b.branch4.1.bn.running_mean",
                "aux1.conv.bn.bias",
                "aux2.fc1.weight",
            ),
        ),
        (models.resnet34(), ("layer1.0.conv1.weight", "layer4.0.downsample.1.running_var")),
        (models.resnet152(), ("layer1.0.downsample.0.weight", "layer3.35.bn3.weight", "fc.bias")),
        (
            models.densenet201(),
            (
                "features.conv0.weight",
                "features.denseblock1.denselayer1.norm1.weight",
                "features.denseblock3.denselayer48.conv2.weight",
                "features.transition3.norm.running_mean",
                "features.norm5.bias",
                "classifier.weight",
            ),
        ),
    ):
        found = {c.key for c in torch_counterparts(model).values()}
        assert found.issuperset(keys)
