"""The networks: sizes from the papers, names, seeds."""

from __future__ import annotations

import inspect
import math
import re

import numpy as np
import pytest

import sixloop
from sixloop import initializers, models, nn
from sixloop.models import densenet, resnet


def test_lenet5_has_the_parameters_of_the_paper_with_all_connections():
    model = models.lenet5()
    assert model.count_parameters() == 61_706
    shapes = [row.output_shape for row in model.summary().rows]
    assert shapes[1:6] == [(28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16), (400,)]


def test_sizes_of_the_dense_networks():
    assert models.perceptron().count_parameters() == 7_850
    assert models.mlp(hidden=(100,)).count_parameters() == 784 * 100 + 100 + 100 * 10 + 10
    assert models.small_cnn().count_parameters() == 26_202


SMALL = ("perceptron", "mlp", "lenet5", "small_cnn", "cifar_cnn", "resnet_cifar")


@pytest.mark.parametrize("name", SMALL)
def test_build(name):
    model = models.build(name, classes=7, input_shape=(32, 32, 3), seed=5)
    assert model.is_built
    assert model.name == name
    assert model.input_shapes == [(32, 32, 3)]
    assert model.final_activation == "softmax"
    x = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    y = np.asarray(model(x))
    assert y.shape == (2, 7)
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-5)
    digest = model.weights_sha256()
    same = models.build(name, classes=7, input_shape=(32, 32, 3), seed=5)
    assert same.weights_sha256() == digest
    other = models.build(name, classes=7, input_shape=(32, 32, 3), seed=6)
    assert other.weights_sha256() != digest


@pytest.mark.parametrize("name", models.list())
def test_every_network_says_where_it_comes_from(name):
    function = getattr(models, name)
    text = inspect.getdoc(function) + inspect.getmodule(function).__doc__
    if other := re.search(r"see `(\w+)`", text):  # resnet34 takes what resnet50 does
        text += inspect.getdoc(getattr(models, other[1]))
    assert "arXiv" in text or "19" in text
    assert "input_shape" in text


def test_unknown_name():
    with pytest.raises(ValueError, match=r"'lenet6'; valid names: perceptron, mlp, lenet5"):
        models.build("lenet6")


def test_input_that_does_not_fit():
    with pytest.raises(ValueError, match="conv2d_2"):
        models.build("lenet5", input_shape=(8, 8, 1))


# -------------------------------------------------------------------- the figures of the papers

# Trainable parameters and multiply-adds of convolutions and fully connected layers, one sample.
FIGURES = [
    ("perceptron", {}, 7_850, 7_840),
    ("mlp", {"hidden": (500,)}, 397_510, 784 * 500 + 500 * 10),
    ("mlp", {"hidden": (300,)}, 238_510, 784 * 300 + 300 * 10),
    ("mlp", {"hidden": (300, 100)}, 266_610, 784 * 300 + 300 * 100 + 100 * 10),
    ("lenet5", {}, 61_706, 416_520),
    ("lenet5", {"variant": "1998"}, 60_000, 332_824),
    ("lenet5", {"variant": "caffe"}, 431_080, 2_293_000),
    ("alexnet", {}, 60_965_224, 724_406_816),
    ("alexnet", {"variant": "ungrouped"}, 62_378_344, 1_135_256_096),
    ("alexnet", {"variant": "one-weird-trick"}, 61_100_840, 714_188_480),
    ("zfnet", {}, 62_357_608, 1_168_032_896),
    ("vgg11", {}, 132_863_336, 7_609_090_048),
    ("vgg13", {}, 133_047_848, 11_308_466_176),
    ("vgg16", {}, 138_357_544, 15_470_264_320),
    ("vgg16", {"batch_norm": True}, 138_365_992, 15_470_264_320),
    ("vgg19", {}, 143_667_240, 19_632_062_464),
    ("vgg19", {"batch_norm": True}, 143_678_248, 19_632_062_464),
    ("googlenet", {"auxiliary": False}, 6_998_552, 1_582_671_872),
    ("googlenet", {}, 13_378_280, 1_582_671_872 + 4_169_728 + 4_202_496),
    ("googlenet", {"variant": "torchvision", "auxiliary": False}, 6_624_904, 1_498_376_192),
    ("googlenet", {"variant": "torchvision"}, 13_004_888, 1_498_376_192 + 4_169_728 + 4_202_496),
    ("resnet18", {}, 11_689_512, 1_814_073_344),
    ("resnet18", {"variant": "v1.5"}, 11_689_512, 1_814_073_344),
    ("resnet34", {}, 21_797_672, 3_663_761_408),
    ("resnet34", {"variant": "v1.5"}, 21_797_672, 3_663_761_408),
    ("resnet50", {}, 25_557_032, 3_857_973_248),
    ("resnet50", {"variant": "v1.5"}, 25_557_032, 4_089_184_256),
    ("resnet101", {}, 44_549_160, 7_570_194_432),
    ("resnet101", {"variant": "v1.5"}, 44_549_160, 7_801_405_440),
    ("resnet152", {}, 60_192_808, 11_282_415_616),
    ("resnet152", {"variant": "v1.5"}, 60_192_808, 11_513_626_624),
    ("resnet_cifar", {"depth": 20}, 269_722, 40_551_040),
    ("resnet_cifar", {"depth": 32}, 464_154, 68_862_592),
    ("resnet_cifar", {"depth": 44}, 658_586, 97_174_144),
    ("resnet_cifar", {"depth": 56}, 853_018, 125_485_696),
    ("resnet_cifar", {"depth": 110}, 1_727_962, 252_887_680),
    ("densenet121", {}, 7_978_856, 2_834_161_664),
    ("densenet169", {}, 14_149_480, 3_359_843_328),
    ("densenet201", {}, 20_013_928, 4_291_365_888),
    ("densenet161", {}, 28_681_000, 7_727_907_072),
    ("densenet264", {}, 33_337_704, 5_751_653_376),
]


def label(case) -> str:
    return "-".join([case[0], *map(str, case[1].values())]) if isinstance(case, tuple) else ""


@pytest.mark.parametrize("case", FIGURES, ids=label)
def test_figures_without_allocating_a_parameter(case):
    name, options, parameters, multiply_adds = case
    before = sixloop.memory_stats()
    model = models.define(name, **options)
    summary = model.summary()
    assert summary.trainable_parameters == parameters
    assert summary.multiply_adds == multiply_adds
    assert model.name == name and model.final_activation == "softmax"
    assert not model.is_built
    assert sixloop.memory_stats() == before


def test_figures_name_every_network_of_a_paper():
    assert set(models.list()) - {name for name, *_ in FIGURES} == {"small_cnn", "cifar_cnn"}


def rows(model: nn.Model) -> dict[str, tuple[int, int]]:
    return {row.name: (row.parameters, row.multiply_adds) for row in model.summary().rows}


def test_lenet5_of_1998_layer_by_layer():
    model = models.lenet5(variant="1998")
    own = rows(model)
    assert {name: own[name][0] for name in ("c1", "s2", "c3", "s4", "c5", "f6", "output")} == {
        "c1": 156,
        "s2": 12,
        "c3": 1_516,
        "s4": 32,
        "c5": 48_120,
        "f6": 10_164,
        "output": 840,
    }
    assert model.count_parameters() == 60_000 + 840
    # A connection is a product, or the bias of a unit; the radial basis functions have no bias.
    units = {row.name: math.prod(row.output_shape) for row in model.summary().rows}
    connections = {name: own[name][1] + units[name] for name in ("c1", "s2", "c3", "s4")}
    assert list(connections.values()) == [122_304, 5_880, 151_600, 2_000]
    dense = [own["c5"][1] + 120, own["f6"][1] + 84, own["output"][1]]
    assert dense == [48_120, 10_164, 840]
    assert sum(connections.values()) + sum(dense) == 340_908


def test_lenet5_of_1998_has_the_maps_of_table_1():
    table = models.lenet5(variant="1998").get_layer("c3").table
    assert [len(maps) for maps in table] == [3] * 6 + [4] * 9 + [6]
    # Each map of S2 is read by ten of C3.
    assert [sum(source in maps for maps in table) for source in range(6)] == [10] * 6


def test_alexnet_layer_by_layer():
    expected = {
        "conv1": ((34_944, 105_415_200), (34_944, 105_415_200)),
        "conv2": ((307_456, 223_948_800), (614_656, 447_897_600)),
        "conv3": ((885_120, 149_520_384), (885_120, 149_520_384)),
        "conv4": ((663_936, 112_140_288), (1_327_488, 224_280_576)),
        "conv5": ((442_624, 74_760_192), (884_992, 149_520_384)),
        "fc6": ((37_752_832, 37_748_736), (37_752_832, 37_748_736)),
        "fc7": ((16_781_312, 16_777_216), (16_781_312, 16_777_216)),
        "fc8": ((4_097_000, 4_096_000), (4_097_000, 4_096_000)),
    }
    for column, variant in enumerate(("2012", "ungrouped")):
        own = rows(models.alexnet(variant=variant))
        assert {name: own[name] for name in expected} == {
            name: figures[column] for name, figures in expected.items()
        }


def test_zfnet_layer_by_layer():
    model = models.zfnet()
    own = rows(model)
    products = [170_755_200, 415_334_400, 149_520_384, 224_280_576, 149_520_384]
    assert [own[f"conv{i}"][1] for i in range(1, 6)] == products
    shapes = [row.output_shape[:2] for row in model.summary().rows if len(row.output_shape) == 3]
    sizes = [224, 110, 55, 55, 26, 13, 13, 13, 13, 13, 6]
    assert shapes == [(n, n) for n in sizes]


def test_googlenet_block_by_block():
    own = rows(models.googlenet())
    expected = {
        "conv1": (9_472, 118_013_952),
        "conv2": (4_160, 12_845_056),
        "conv3": (110_784, 346_816_512),
        "inception3a": (163_696, 128_049_152),
        "inception3b": (388_736, 304_267_264),
        "inception4a": (376_176, 73_608_192),
        "inception4b": (449_160, 87_908_352),
        "inception4c": (510_104, 99_850_240),
        "inception4d": (605_376, 118_515_712),
        "inception4e": (868_352, 169_996_288),
        "inception5a": (1_043_456, 51_079_168),
        "inception5b": (1_444_080, 70_697_984),
        "fc": (1_025_000, 1_024_000),
        "aux1": (3_188_840, 4_169_728),
        "aux2": (3_190_888, 4_202_496),
    }
    for block, figures in expected.items():
        inside = [own[name] for name in own if re.match(rf"{block}(\.|$)", name)]
        assert tuple(map(sum, zip(*inside, strict=True))) == figures, block


# The smallest square images of each network, and 1 for those that take any.
SMALLEST = {
    ("lenet5", "modern"): 12,
    ("lenet5", "1998"): 16,
    ("lenet5", "caffe"): 16,
    ("alexnet", "2012"): 67,
    ("alexnet", "ungrouped"): 67,
    ("alexnet", "one-weird-trick"): 63,
    ("zfnet",): 53,
    ("vgg11",): 32,
    ("vgg19",): 32,
    ("googlenet", "paper", True): 79,
    ("googlenet", "torchvision", True): 79,
    ("googlenet", "paper", False): 1,
    ("googlenet", "torchvision", False): 1,
    ("resnet18",): 1,
    ("resnet152",): 1,
    ("resnet_cifar",): 1,
    ("densenet121",): 29,
}


@pytest.mark.parametrize("case", SMALLEST)
def test_smallest_image(case):
    name, *values = case
    options = dict(zip(("variant", "auxiliary"), values, strict=False))
    size = SMALLEST[case]
    models.define(name, input_shape=(size, size, 2), **options)
    text = inspect.getdoc(getattr(models, name))
    assert re.search(rf"\b{size}\b|Any H and W|otherwise any|see `", " ".join(text.split()))
    if size > 1:
        message = rf"\[models\] {name} must fit its input, by default .*; got .*{size - 1}, 2\): \["
        with pytest.raises(ValueError, match=message):
            models.define(name, input_shape=(size - 1, size - 1, 2), **options)


@pytest.mark.parametrize(
    "model",
    [
        models.lenet5(variant="1998"),
        models.resnet_cifar(8),
        resnet._resnet("resnet50", (1, 1, 1, 1), True, 3, (33, 33, 3), "v1.5", width=4),
        densenet._densenet("densenet", (1, 1, 1, 1), 4, 3, (32, 32, 3)),
    ],
    ids=lambda model: model.name,
)
def test_saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "m")
    again = sixloop.load(tmp_path / "m")
    assert again.config() == model.config()
    assert again.weights_sha256() == model.weights_sha256()
    x = np.random.default_rng(0).random((2, *model.input_shapes[0]), np.float32)
    np.testing.assert_array_equal(again(x), model(x))


def test_googlenet_without_auxiliary_classifiers_is_part_of_the_other():
    model = models.googlenet()
    alone = nn.Model(model.inputs, model.outputs[0])
    assert alone.specs() == models.googlenet(auxiliary=False).specs()
    assert set(model.specs()) - set(alone.specs()) == {
        f"{name}.{layer}.{key}"
        for name in ("aux1", "aux2")
        for layer in ("conv", "fc1", "fc2")
        for key in ("weight", "bias")
    }


def test_wrong_options():
    with pytest.raises(ValueError, match=r"resnet50 has no option 'depth'; valid options: variant"):
        models.build("resnet50", depth=20)
    with pytest.raises(ValueError, match=r"densenet121 has no option 'variant'; it has none"):
        models.build("densenet121", variant="v1")
    with pytest.raises(ValueError, match=r"variant must be one of v1, v1\.5; got 'v2'"):
        models.build("resnet50", variant="v2", input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match=r"^\[fc\] units must be between 1"):
        models.define("resnet50", classes=0, input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match=r"one of modern, 1998, caffe; got '1989'"):
        models.lenet5(variant="1989")
    with pytest.raises(ValueError, match=r"one of 2012, ungrouped, one-weird-trick; got '2014'"):
        models.alexnet(variant="2014")
    with pytest.raises(ValueError, match=r"one of paper, torchvision; got 'v1'"):
        models.googlenet(variant="v1")
    with pytest.raises(TypeError, match=r"\[googlenet\] auxiliary must be True or False; got 1"):
        models.googlenet(auxiliary=1)
    with pytest.raises(TypeError, match=r"\[vgg16\] batch_norm must be True or False; got 'yes'"):
        models.vgg16(batch_norm="yes")
    with pytest.raises(ValueError, match=r"6n \+ 2, .*; got 51: take 50 or 56"):
        models.resnet_cifar(51)
    with pytest.raises(ValueError, match=r"got 2: take 8 or 14"):
        models.resnet_cifar(2)


def test_initial_values_are_those_of_the_papers():
    alexnet = models.alexnet().specs()
    ones = {name for name, s in alexnet.items() if s.initializer == initializers.ones()}
    assert ones == {f"{name}.bias" for name in ("conv2", "conv4", "conv5", "fc6", "fc7")}
    assert alexnet["fc8.weight"].initializer == initializers.normal(std=0.01)
    lenet = models.build("lenet5", variant="1998").parameters()
    for name, fan_in in (("c1.weight", 25), ("c3.weight", 100), ("f6.weight", 120)):
        assert 0.9 * 2.4 / fan_in < np.abs(lenet[name].numpy()).max() <= 2.4 / fan_in
    he = models.resnet50().specs()
    assert all(
        spec.initializer == initializers.he_normal()
        for name, spec in he.items()
        if len(spec.shape) == 4
    )


def test_bits_of_the_first_networks_stay():
    """Weights of 0.1, which scripts and READMEs quote by their digests."""
    assert models.build("lenet5").weights_sha256().startswith("6acb059e3c68b794")
