"""Resizing, crops and normalisation, and what `predict` makes of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import sixloop
from sixloop import cli, data, inspect
from sixloop.nn import Dense, Flatten, GlobalAvgPool2D, Input, Model, Sequential

NO_BITS = np.empty((0, 0), np.uint64)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def picture(rng: np.random.Generator, height: int, width: int, channels: int = 3) -> np.ndarray:
    """Noise over a slope, so that both rounding and position matter."""
    slope = np.linspace(0, 200, height)[:, None, None] + np.linspace(0, 50, width)[:, None]
    noise = rng.integers(-60, 60, (height, width, channels))
    return np.clip(slope + noise, 0, 255).astype(np.uint8)


# ----------------------------------------------------------------------------------------- resize


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((37, 53), (20, 31)),
        ((37, 53), (37, 20)),
        ((37, 53), (19, 53)),
        ((64, 64), (7, 9)),
        ((9, 7), (31, 40)),
        ((33, 20), (39, 55)),
        ((200, 300), (3, 1)),
        ((1, 1), (4, 5)),
        ((375, 500), (256, 341)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_bits_of_pillow(rng, before, after, channels) -> None:
    pillow = pytest.importorskip("PIL.Image")
    image = picture(rng, *before, channels)
    source = pillow.fromarray(image[..., 0] if channels == 1 else image)
    size = after[1], after[0]
    expected = np.asarray(source.resize(size, pillow.Resampling.BILINEAR)).reshape(*after, channels)
    found = data.resize(image, after)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    if before == (64, 64):
        other = np.asarray(source.resize(size, pillow.Resampling.BICUBIC))
        assert not np.array_equal(found, other.reshape(*after, channels))


def test_pillow_in_another_order(rng) -> None:
    """Pillow may begin with the columns where the height shrinks more: a matter of rounding."""
    pillow = pytest.importorskip("PIL.Image")
    image = picture(rng, 90, 20)
    expected = np.asarray(pillow.fromarray(image).resize((55, 12), pillow.Resampling.BILINEAR))
    assert np.abs(data.resize(image, (12, 55)).astype(int) - expected).max() <= 1
    assert np.abs(data.resize(image[::-1], (12, 55)).astype(int) - expected).max() > 1


def test_resize_by_its_definition(rng) -> None:
    """Float images, against the triangle filter written down once more."""

    def along(x: np.ndarray, size: int, support: float) -> np.ndarray:
        scale = len(x) / size
        rows = []
        for i in range(size):
            weights = 1 - np.abs(np.arange(len(x)) + 0.5 - (i + 0.5) * scale) / support
            weights = np.maximum(weights, 0)
            rows.append(np.tensordot(weights / weights.sum(), x, 1))
        return np.stack(rows)

    def expected(x: np.ndarray, height: int, width: int, antialias: bool = True) -> np.ndarray:
        wide, high = x.shape[1] / width, x.shape[0] / height
        y = along(x.swapaxes(0, 1), width, max(1, wide) if antialias else 1).swapaxes(0, 1)
        return along(y, height, max(1, high) if antialias else 1)

    x = rng.random((23, 40, 2))
    np.testing.assert_allclose(data.resize(x, (9, 61)), expected(x, 9, 61), rtol=1e-12)
    assert not np.allclose(data.resize(x, (9, 61)), expected(x, 9, 61, antialias=False), rtol=1e-3)
    both = np.stack([x, x[::-1]])
    np.testing.assert_array_equal(data.resize(both, (9, 61))[1], data.resize(x[::-1], (9, 61)))
    assert data.resize(x.astype(np.float32), (9, 61)).dtype == np.float32
    assert data.resize(x, (23, 40)) is x


def test_resize_refuses(rng) -> None:
    with pytest.raises(ValueError, match=r"\[resize\] .* got \(4, 5\) and \(2, 2\)"):
        data.resize(np.zeros((4, 5)), (2, 2))
    with pytest.raises(ValueError, match="size of at least 1"):
        data.resize(np.zeros((4, 5, 1)), (2, 0))
    with pytest.raises(ValueError, match="not empty"):
        data.resize(np.zeros((0, 5, 1)), (2, 2))
    with pytest.raises(TypeError, match="got int64"):
        data.resize(np.zeros((4, 5, 1), np.int64), (2, 2))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ((375, 500), (256, 341)),
        ((500, 375), (341, 256)),
        ((256, 300), (256, 300)),
        ((100, 100), (256, 256)),
        ((30, 47), (256, 401)),
    ],
)
def test_shorter_side(image, expected) -> None:
    """torchvision's Resize(256)."""
    transform = data.resize_shorter(256)
    assert transform.output_shape((*image, 3)) == (*expected, 3)
    x = np.zeros((2, *image, 1), np.uint8)
    assert transform(x, NO_BITS).shape == (2, *expected, 1)


# ------------------------------------------------------------------------------------------ crops


@pytest.mark.parametrize(
    ("size", "first"), [(224, 0), (226, 1), (225, 0), (227, 2), (257, 16), (259, 18), (341, 58)]
)
def test_middle(size, first) -> None:
    """torchvision's CenterCrop(224): int(round((n - 224) / 2)), halves to the even number."""
    x = np.arange(size)[:, None, None] + np.zeros((1, 230, 1), np.int64)
    found = data.center_crop(224)(x[None], NO_BITS)[0]
    assert found.shape == (224, 224, 1)
    assert found[0, 0, 0] == first
    assert found[-1, 0, 0] == first + 223


def test_crops_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\[center_crop\] .* got \(224, 224\) and \(223, 300\)"):
        data.center_crop(224).output_shape((223, 300, 3))
    with pytest.raises(ValueError, match=r"\[ten_crop\] the window must fit"):
        data.ten_crop(np.zeros((4, 5, 1)), (5, 5))
    with pytest.raises(ValueError, match=r"\[center_crop\] size"):
        data.center_crop((0, 3))
    with pytest.raises(ValueError, match=r"\[resize_shorter\] size"):
        data.resize_shorter(0)
    with pytest.raises(TypeError, match=r"\[resize_shorter\] size"):
        data.resize_shorter(2.5)


def test_ten_crops() -> None:
    """Each crop is told by its corner and by whether columns run backwards."""
    height, width = 7, 10
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns], axis=-1)
    crops = data.ten_crop(image, (4, 5))
    assert crops.shape == (10, 4, 5, 2)
    corners = [(0, 0), (0, 5), (3, 0), (3, 5), (2, 2)]
    assert [tuple(crop[0, 0]) for crop in crops[:5]] == corners
    # The same corners of the mirror image, whose column x is column 9 - x.
    assert [tuple(crop[0, 0]) for crop in crops[5:]] == [(y, 9 - x) for y, x in corners]
    for i, crop in enumerate(crops):
        step = 1 if i < 5 else -1
        np.testing.assert_array_equal(crop[..., 1] - crop[0, 0, 1], step * np.mgrid[:4, :5][1])
    batch = data.ten_crop(np.stack([image, image + 1]), (4, 5))
    np.testing.assert_array_equal(batch[1], crops + 1)
    assert not np.array_equal(batch[1, 5:], batch[1, :5])


# ---------------------------------------------------------------------------------- preprocessing


def test_imagenets_recipe(rng) -> None:
    """Against the steps of torchvision's presets, written with Pillow."""
    pillow = pytest.importorskip("PIL.Image")
    image = picture(rng, 300, 451)
    resized = pillow.fromarray(image).resize(
        (int(256 * 451 / 300), 256), pillow.Resampling.BILINEAR
    )
    left, top = round((384 - 224) / 2), 16
    pixels = np.asarray(resized.crop((left, top, left + 224, top + 224)), np.float32) / 255
    expected = (pixels - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    prepare = data.Preprocessing()
    found = prepare(image)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    shifted = data.Preprocessing(mean=(0.456, 0.485, 0.406))(image)
    assert not np.allclose(shifted, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(prepare.ten_crop(image)[4], found)
    np.testing.assert_array_equal(prepare.ten_crop(image)[9], found[:, ::-1])
    assert prepare(image, "float64").dtype == np.float64
    # Floating point images are resized without rounding to 8 bits in between.
    np.testing.assert_allclose(prepare(image.astype(np.float32) / 255), found, atol=0.02)


def test_preprocessing_of_a_batch_is_the_transforms_of_a_data_set(rng) -> None:
    prepare = data.Preprocessing(resize=16, crop=(10, 12), mean=0.5, std=(0.25,))
    images = np.stack([picture(rng, 20, 33) for _ in range(3)])
    dataset = data.ArrayDataset(images, np.zeros(3, np.int64), prepare.transforms())
    assert dataset.shape == (10, 12, 3)
    ((x, _),) = dataset.batches(3)
    np.testing.assert_array_equal(x, prepare(images))
    np.testing.assert_array_equal(x[1], prepare(images[1]))
    assert prepare.ten_crop(images).shape == (3, 10, 10, 12, 3)
    more = dataset.with_transforms(data.horizontal_flip(1.0), *prepare.transforms())
    np.testing.assert_array_equal(next(more.batches(3))[0], prepare(images[:, :, ::-1]))


def test_preprocessing_is_what_it_says() -> None:
    prepare = data.Preprocessing(resize=232, crop=224)
    described = json.loads(json.dumps(prepare.config()))
    assert data.preprocessing_from_config(described) == prepare
    assert data.preprocessing_from_config({**described, "resize": 256}) != prepare
    assert prepare.size == (224, 224)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"resize": 0}, ValueError, "resize must be between"),
        ({"resize": 100}, ValueError, "crop must be at most resize=100"),
        ({"resize": "256"}, TypeError, "resize must be an integer"),
        ({"crop": 0}, ValueError, "size"),
        ({"crop": (1, 2, 3)}, ValueError, "pair"),
        ({"std": 0.0}, ValueError, "positive stds"),
        ({"mean": float("nan")}, ValueError, "mean"),
        ({"mean": ("a", "b", "c")}, TypeError, "mean"),
    ],
)
def test_preprocessing_refuses(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        data.Preprocessing(**arguments)


def test_images_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\[normalize\] .* each of 1 channels"):
        data.Preprocessing()(np.zeros((300, 300, 1), np.uint8))
    with pytest.raises(ValueError, match=r"\[Preprocessing\] .* got shape \(300, 300\)"):
        data.Preprocessing()(np.zeros((300, 300), np.uint8))


# ---------------------------------------------------------------------------------------- predict


PREPARE = data.Preprocessing(resize=12, crop=8, mean=(0.1, 0.2, 0.3), std=0.5)


def small(seed: int = 3) -> Model:
    model = Sequential([Input((8, 8, 3)), Flatten(), Dense(3, activation="softmax")])
    model.build(seed=seed)
    return model


@pytest.fixture
def image_files(tmp_path, rng, monkeypatch) -> list[Path]:
    pillow = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    files = [Path("wide.png"), Path("high.png")]
    for file, size in zip(files, ((20, 31), (40, 17)), strict=True):
        pillow.fromarray(picture(rng, *size)).save(file)
    return files


def test_classify(image_files) -> None:
    model = small()
    pixels = [data.read_image(file) for file in image_files]
    plain = [data.read_image(file, size=(8, 8)).astype(np.float32) / 255 for file in image_files]
    by_itself = inspect.classify(model, image_files)
    np.testing.assert_array_equal(by_itself, [model(x[None])[0] for x in plain])

    model.preprocessing = PREPARE
    prepared = inspect.classify(model, image_files)
    np.testing.assert_array_equal(prepared, [model(PREPARE(x)[None])[0] for x in pixels])
    assert not np.allclose(prepared, by_itself)

    crops = inspect.classify(model, image_files, ten_crop=True)
    expected = [model(PREPARE.ten_crop(x)).mean(axis=0) for x in pixels]
    np.testing.assert_array_equal(crops, expected)
    assert not np.allclose(crops, prepared)
    np.testing.assert_allclose(crops.sum(axis=1), 1, rtol=1e-6)

    model.preprocessing = None
    bare = data.Preprocessing(resize=10, crop=8, mean=0.0, std=1.0)  # 8 * 256 / 224 = 9.1
    np.testing.assert_array_equal(
        inspect.classify(model, image_files, ten_crop=True),
        [model(bare.ten_crop(x)).mean(axis=0) for x in pixels],
    )
    assert inspect.classify(model, []).shape == (0, 3)


def test_classify_refuses(image_files) -> None:
    model = small()
    model.preprocessing = data.Preprocessing()
    with pytest.raises(ValueError, match=r"takes images of \(8, 8\), but .* \(224, 224\)"):
        inspect.classify(model, image_files)
    with pytest.raises(ValueError, match="takes no images"):
        inspect.classify(Sequential([Input(8), Dense(3)]), image_files)
    image = Input((8, 8, 3))
    x = GlobalAvgPool2D()(image)
    with pytest.raises(ValueError, match="has 2 outputs"):
        inspect.classify(Model(image, [x, Dense(2)(x)]), image_files)


def test_saved_with_the_model(image_files, capsys) -> None:
    model = small()
    model.save("plain")
    assert "preprocessing" not in Path("plain/model.json").read_text()
    assert sixloop.load("plain").preprocessing is None
    model.preprocessing = PREPARE
    model.class_names = ("ant", "bee", "cat")
    model.save("saved")
    loaded = sixloop.load("saved")
    assert loaded.preprocessing == PREPARE
    assert loaded.class_names == ("ant", "bee", "cat")

    def predict(*options: str) -> list[str]:
        assert cli.main(["predict", *options]) == 0
        return capsys.readouterr().out.splitlines()

    def shown(scores: np.ndarray, names: tuple[str, ...]) -> list[str]:
        order = np.argsort(-scores, kind="stable")
        return [f"{names[i]} {scores[i]:.2%}" for i in order]

    files = [str(file) for file in image_files]
    for options, ten in (((), False), (("--ten-crop",), True)):
        expected = inspect.classify(loaded, files, ten_crop=ten)
        lines = predict("saved", *files, *options)
        for line, scores, file in zip(lines, expected, files, strict=True):
            assert line.startswith(file)
            assert re.search(r"\((.*)\)", line)[1].split("  ") == shown(scores, model.class_names)
    assert predict("saved", files[0]) != predict("saved", files[0], "--ten-crop")
    (line,) = predict("plain", files[0])
    numbers = re.search(r"\((.*)\)", line)[1].split("  ")
    model.preprocessing = None
    assert numbers == shown(inspect.classify(model, files[:1])[0], ("0", "1", "2"))


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("preprocessing", [], "must be an object"),
        ("preprocessing", {}, "got nothing"),
        ("preprocessing", {**PREPARE.config(), "more": 1}, "got crop, mean, more, resize, std"),
        ("preprocessing", {**PREPARE.config(), "resize": "12"}, "resize must be an integer"),
        ("preprocessing", {**PREPARE.config(), "resize": 10**9}, "resize must be between"),
        ("preprocessing", {**PREPARE.config(), "mean": [[1]]}, "mean"),
        ("class_names", ["a", "b"], "each of the 3 outputs; got 2"),
        ("class_names", ["a", "b", 3], "must be a string"),
        ("class_names", "abc", "must be a list"),
    ],
)
def test_damaged_descriptions(tmp_path, entry, value, message) -> None:
    small().save(tmp_path / "saved")
    file = tmp_path / "saved" / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), entry: value}))
    with pytest.raises(ValueError, match=message) as caught:
        sixloop.load(tmp_path / "saved")
    assert str(file) in str(caught.value)
