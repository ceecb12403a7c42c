"""Data sets, readers of files that may lie, folders of images, augmentation."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sixloop import data
from sixloop.data import download, named


def idx_bytes(array: np.ndarray) -> bytes:
    codes = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
    head = bytes([0, 0, codes[array.dtype.str[1:]], array.ndim])
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return head + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def collect(batches):
    xs, ys = zip(*batches, strict=True)
    return np.concatenate(xs), np.concatenate(ys)


@pytest.fixture
def images() -> data.ArrayDataset:
    x = np.arange(23 * 6 * 5 * 3).reshape(23, 6, 5, 3) % 251
    return data.ArrayDataset(x.astype(np.uint8), np.arange(23) % 4)


AUGMENTATION = (
    data.random_crop((6, 5), padding=2),
    data.horizontal_flip(),
    data.normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)),
)

# ------------------------------------------------------------------------------------ ArrayDataset


def test_batches_cover_all_samples_in_order(images):
    x, y = collect(images.batches(5))
    assert x.dtype == np.float32 and y.dtype == np.int64
    np.testing.assert_array_equal(x, images.x.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(y, images.y)


def test_drop_last_and_batch_count(images):
    sizes = [len(y) for _, y in images.batches(5)]
    assert sizes == [5, 5, 5, 5, 3] and images.batch_count(5) == 5
    sizes = [len(y) for _, y in images.batches(5, drop_last=True)]
    assert sizes == [5, 5, 5, 5] and images.batch_count(5, drop_last=True) == 4


def test_shuffling_is_a_permutation_that_follows_seed_and_epoch(images):
    whole = data.ArrayDataset(np.arange(100.0), np.arange(100.0))
    orders = {}
    for seed in (0, 1, 2**63 - 1):
        for epoch in (0, 1):
            _, y = collect(whole.batches(7, shuffle=True, seed=seed, epoch=epoch))
            assert sorted(y) == list(range(100))
            orders[seed, epoch] = tuple(y)
    assert len(set(orders.values())) == 6
    _, again = collect(whole.batches(32, shuffle=True, seed=1, epoch=1))
    assert tuple(again) == orders[1, 1]


def test_known_permutation():
    """The order is the same on every machine and in every version: it is a part of the bits."""
    whole = data.ArrayDataset(np.arange(10.0), np.arange(10.0))
    ((_, y),) = whole.batches(10, shuffle=True, seed=0, epoch=0)
    assert y.tolist() == [4, 0, 3, 9, 7, 5, 6, 8, 1, 2]


def test_resumed_epoch_delivers_the_rest(images):
    images = images.with_transforms(*AUGMENTATION)
    key = {"shuffle": True, "seed": 3, "epoch": 2}
    all_batches = list(images.batches(4, **key))
    for start in range(7):
        rest = list(images.batches(4, start=start, **key))
        assert len(rest) == max(0, len(all_batches) - start)
        for (x, y), (x_all, y_all) in zip(rest, all_batches[start:], strict=True):
            np.testing.assert_array_equal(x, x_all)
            np.testing.assert_array_equal(y, y_all)


def test_pixels_do_not_depend_on_batch_size_or_order(images):
    images = data.ArrayDataset(images.x, np.arange(23), AUGMENTATION)
    plain, _ = collect(images.batches(23, seed=5, epoch=1))
    for batch_size in (1, 2, 7, 23, 64):
        x, y = collect(images.batches(batch_size, shuffle=True, seed=5, epoch=1))
        np.testing.assert_array_equal(x, plain[y])
    other, _ = collect(images.batches(23, seed=5, epoch=2))
    assert not np.array_equal(other, plain)


def test_sample_is_that_of_epoch_zero(images):
    images = images.with_transforms(*AUGMENTATION)
    x, y = collect(images.batches(23))
    np.testing.assert_array_equal(images[-2][0], x[21])
    assert images[-2][1] == y[21] and images[0][0].shape == images.shape == (6, 5, 3)
    with pytest.raises(IndexError, match="23"):
        images[23]
    assert len(list(images)) == 23  # the protocol of sequences ends at IndexError


def test_batches_are_copies():
    x = np.zeros((4, 2), np.float32)
    x.flags.writeable = False
    for batch, _ in data.ArrayDataset(x, np.zeros(4)).batches(2):
        batch += 1
    assert not x.any()


def test_targets_and_types():
    x = np.ones((3, 2))
    assert data.ArrayDataset(x, [0, 2, 1]).y.dtype == np.int64
    assert data.ArrayDataset(x, [0, 2, 1]).classes == ("0", "1", "2")
    assert data.ArrayDataset(x, [True, False, True]).y.tolist() == [1, 0, 1]
    regression = data.ArrayDataset(x, [0.5, 2, -1])
    assert regression.y.dtype == np.float32 and regression.classes == ()
    assert data.ArrayDataset(x, [[0], [1], [1]]).y.dtype == np.float32
    double = data.ArrayDataset(x, [[0], [1], [1]], dtype="float64")
    ((batch, y),) = double.batches(3)
    assert batch.dtype == y.dtype == np.float64
    big_endian = data.ArrayDataset(x.astype(">f4"), [0, 1, 1])
    ((batch, _),) = big_endian.batches(3)
    assert batch.dtype == np.float32 and batch.dtype.isnative
    ((mask, _),) = data.ArrayDataset(np.array([[True], [False]]), [0, 1]).batches(2)
    assert mask.tolist() == [[1], [0]]


def test_empty_data_set():
    empty = data.ArrayDataset(np.empty((0, 4, 4, 1), np.uint8), np.empty(0, int), AUGMENTATION[:0])
    assert len(empty) == 0 and list(empty.batches(3, shuffle=True)) == []


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        (np.ones((3, 2)), np.ones(4), {}, ValueError, r"one entry.*\(3, 2\).*\(4,\)"),
        (np.float32(1), np.ones(1), {}, ValueError, "one entry"),
        (np.ones(3), [0, -1, 1], {}, ValueError, r"class labels.*-1 to 1"),
        (np.ones(3), [0, 2, 1], {"classes": ["a", "b"]}, ValueError, "0 to 2 with 2 classes"),
        (np.ones(2), [0, 2**40], {}, ValueError, "pass classes="),
        (np.array(["a"]), [0], {}, TypeError, "x must hold real numbers"),
        (np.array([1j]), [0], {}, TypeError, "complex128"),
        (np.array([None]), [0], {}, TypeError, "object"),
        (np.ones(1), [0], {"dtype": "float16"}, TypeError, "float16"),
        (np.ones(1), [0], {"scale": 0}, ValueError, "scale"),
        (np.ones((1, 4)), [0], {"transforms": [data.horizontal_flip()]}, ValueError, r"\(4,\)"),
        (
            np.ones((1, 4, 4, 3)),
            [0],
            {"transforms": [data.random_crop(7, padding=1)]},
            ValueError,
            r"window \(7, 7\), image \(4, 4\), padding 1",
        ),
        (
            np.ones((1, 4, 4, 3)),
            [0],
            {"transforms": [data.normalize([0, 0], 1)]},
            ValueError,
            "each of 3 channels",
        ),
    ],
)
def test_wrong_arguments(x, y, options, error, message):
    with pytest.raises(error, match=message):
        data.ArrayDataset(x, y, **options)


@pytest.mark.parametrize("bad", [{"batch_size": 0}, {"epoch": -1}, {"start": -1}])
def test_wrong_batches(images, bad):
    with pytest.raises(ValueError, match=r"\[data\]"):
        images.batches(**{"batch_size": 4, **bad})
    with pytest.raises(TypeError):
        images.batches(2.5)


def test_data_set_in_a_pair_is_refused(images):
    with pytest.raises(TypeError, match="is a data set already"):
        data.ArrayDataset(images, images)


# ----------------------------------------------------------------------------------------- split


def test_split_keeps_the_proportions():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    whole = data.ArrayDataset(np.arange(100.0), labels, classes="abc")
    train, held_out = data.split(whole, 0.2, seed=7)
    assert np.bincount(held_out.y).tolist() == [10, 6, 4]
    assert sorted([*train.x, *held_out.x]) == list(range(100))
    assert train.classes == held_out.classes == ("a", "b", "c")
    again = data.split(whole, 0.2, seed=7)[1]
    np.testing.assert_array_equal(again.x, held_out.x)
    assert not np.array_equal(data.split(whole, 0.2, seed=8)[1].x, held_out.x)


def test_split_without_labels():
    whole = data.ArrayDataset(np.arange(10.0), np.arange(10.0))
    train, held_out = data.split(whole, 0.3)
    assert (len(train), len(held_out)) == (7, 3)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan"), 0.001])
def test_split_needs_two_parts(fraction):
    with pytest.raises(ValueError, match=r"\[split\]"):
        data.split(data.ArrayDataset(np.arange(10.0), np.zeros(10)), fraction)


# ------------------------------------------------------------------------------------- transforms


def test_random_crop_is_a_window_of_the_padded_image():
    x = np.arange(1, 41 * 4 * 6 * 2 + 1).reshape(41, 4, 6, 2).astype(np.float32)
    crop = data.random_crop((3, 5), padding=1)
    bits = np.random.default_rng(0).integers(0, 2**64, (41, 2), np.uint64)
    result = crop(x.copy(), bits)
    assert result.shape == (41, *crop.output_shape((4, 6, 2))) == (41, 3, 5, 2)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    corners = set()
    for i, window in enumerate(result):
        top, left = int(bits[i, 0] % np.uint64(4)), int(bits[i, 1] % np.uint64(4))
        np.testing.assert_array_equal(window, padded[i, top : top + 3, left : left + 5])
        corners.add((top, left))
    assert len(corners) > 8


def test_horizontal_flip_mirrors_about_half():
    x = np.arange(2000 * 2 * 3).reshape(2000, 2, 3, 1).astype(np.float32)
    whole = data.ArrayDataset(x, np.zeros(2000, int), [data.horizontal_flip()])
    ((result, _),) = whole.batches(2000)
    flipped = (result == x[:, :, ::-1]).all((1, 2, 3))
    assert 850 < flipped.sum() < 1150
    np.testing.assert_array_equal(result[~flipped], x[~flipped])
    for probability, expected in ((0, x), (1, x[:, :, ::-1])):
        ((result, _),) = whole.with_transforms(data.horizontal_flip(probability)).batches(2000)
        np.testing.assert_array_equal(result, expected)


def test_normalize_is_by_channel(images):
    mean, std = np.float32([0.5, 0.4, 0.3]), np.float32([0.2, 0.3, 0.4])
    ((result, _),) = images.with_transforms(data.normalize(mean, std)).batches(23)
    np.testing.assert_array_equal(result, (images.x / np.float32(255) - mean) / std)
    ((result, _),) = images.with_transforms(data.normalize(0.5, 0.25)).batches(23)
    np.testing.assert_array_equal(result, (images.x / np.float32(255) - 0.5) / 0.25)


def test_own_transform(images):
    class Invert(data.Transform):
        def __call__(self, x, bits):
            assert bits.shape == (len(x), 0)
            return 255 - x

    ((result, _),) = images.with_transforms(Invert()).batches(23)
    np.testing.assert_array_equal(result, (255 - images.x) / np.float32(255))


@pytest.mark.parametrize(
    "make",
    [
        lambda: data.random_crop(0),
        lambda: data.random_crop(4, padding=-1),
        lambda: data.horizontal_flip(1.5),
        lambda: data.normalize(0, 0),
        lambda: data.normalize(float("nan"), 1),
        lambda: data.normalize([[1]], 1),
    ],
)
def test_wrong_transforms(make):
    with pytest.raises(ValueError, match=r"^\[(random_crop|horizontal_flip|normalize)\]"):
        make()


# ------------------------------------------------------------------------------------------ digits


def test_digits():
    train, test = data.digits()
    assert (len(train), len(test)) == (1442, 355)
    assert train.shape == (8, 8, 1) and train.classes == tuple("0123456789")
    x, y = collect(train.batches(64))
    assert x.min() == 0 and x.max() == 1 and np.bincount(y, minlength=10).min() > 130
    assert np.bincount(test.y, minlength=10).min() >= 34


def test_digits_file_is_the_prepared_one():
    folder = Path(data.__file__).parent
    digest = hashlib.sha256((folder / "digits.npz").read_bytes()).hexdigest()
    assert digest == "2a86678f805169398fedf9fa70a890444f021932b8aa60ecb84a73039c043428"
    assert "CC BY 4.0" in (folder / "digits.txt").read_text()


def test_digits_are_those_of_scikit_learn():
    reference = pytest.importorskip("sklearn.datasets").load_digits()
    train, test = data.digits()
    pixels = np.concatenate([train.x, test.x])[..., 0]
    labels = np.concatenate([train.y, test.y])
    ours = sorted((y, x.tobytes()) for x, y in zip(pixels, labels, strict=True))
    theirs = zip(reference.images.astype(np.uint8), reference.target, strict=True)
    assert ours == sorted((y, x.tobytes()) for x, y in theirs)


# --------------------------------------------------------------------------------------------- IDX


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (0, 28, 28)])
@pytest.mark.parametrize("compress", [False, True])
def test_idx_round_trip(tmp_path, dtype, shape, compress):
    array = (np.arange(np.prod(shape)) - 3).astype(dtype).reshape(shape)
    content = idx_bytes(array)
    file = tmp_path / "some.idx"
    file.write_bytes(gzip.compress(content) if compress else content)
    result = data.read_idx(file)
    assert result.dtype == array.dtype and result.dtype.isnative and result.flags.writeable
    np.testing.assert_array_equal(result, array)


GOOD = idx_bytes(np.arange(60, dtype=np.uint8).reshape(3, 4, 5))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ends after 0 of the 4 bytes"),
        (GOOD[:3], "ends after 3"),
        (b"\x89PNG" + GOOD, "not an IDX file.*89 50 4e 47"),
        (b"\0\0\x07\x01" + GOOD[4:], "not an IDX file"),
        (b"\0\0\x08\0", "not an IDX file"),
        (GOOD[:10], "header of 3 dimensions is cut off"),
        (GOOD[:-1], r"truncated: shape \(3, 4, 5\) needs 60 bytes, 59 are there"),
        (GOOD + b"x", "more content than the 60 bytes"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "more than 17,179,869,184"),
        (b"\0\0\x0e\x02" + struct.pack(">2I", 1, 1 << 30), "truncated.*0 are there"),
        (b"\0\0\x08\x28" + struct.pack(">40I", *[1] * 40) + b"x", "40 dimensions"),
        (gzip.compress(GOOD)[:-9], "damaged or truncated gzip"),
        (gzip.compress(GOOD)[:-3], "damaged or truncated gzip"),
        (gzip.compress(GOOD)[:12], "damaged or truncated gzip"),
        (gzip.compress(GOOD)[:-8] + b"\0" * 8, "damaged or truncated gzip"),
        (gzip.compress(GOOD) + b"garbage", "damaged or truncated gzip"),
        (gzip.compress(GOOD + bytes(10_000_000)), "more content than the 60 bytes"),
        (b"\x1f\x8b", "damaged or truncated gzip"),
    ],
)
def test_hostile_idx(tmp_path, content, message):
    file = tmp_path / "hostile.idx"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        data.read_idx(file)
    assert str(file) in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 80), st.booleans())
def test_any_bytes_are_an_array_or_a_value_error(tmp_path_factory, noise, place, compress):
    content = GOOD[:place] + noise + GOOD[place + len(noise) :]
    file = tmp_path_factory.getbasetemp() / "noise.idx"
    file.write_bytes(gzip.compress(content) if compress else content)
    try:
        array = data.read_idx(file)
    except ValueError as error:
        assert str(file) in str(error)
    else:
        assert array.nbytes <= len(content)


# ------------------------------------------------------------------- MNIST, CIFAR-10: small copies


def write_mnist(folder: Path, *, compress: bool = True, count: int = 20) -> np.ndarray:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 28, 28), np.uint8)
    for prefix, part in (("train", slice(0, None)), ("t10k", slice(0, 5))):
        for name, array in (
            (f"{prefix}-images-idx3-ubyte", images[part]),
            (f"{prefix}-labels-idx1-ubyte", (np.arange(count, dtype=np.uint8) % 10)[part]),
        ):
            content = idx_bytes(array)
            path = folder / (f"{name}.gz" if compress else name)
            path.write_bytes(gzip.compress(content) if compress else content)
    return images


@pytest.mark.parametrize("place", [".", "mnist"])
@pytest.mark.parametrize("compress", [False, True])
def test_mnist_from_a_folder(tmp_path, monkeypatch, place, compress):
    images = write_mnist(tmp_path / place, compress=compress)
    train, test = data.mnist(tmp_path)
    assert len(train) == 20 and len(test) == 5 and train.shape == (28, 28, 1)
    np.testing.assert_array_equal(train.x[..., 0], images)
    monkeypatch.setenv("SIXLOOP_DATA", str(tmp_path))
    np.testing.assert_array_equal(data.load("mnist")[1].x, test.x)


def test_fashion_mnist_has_its_own_folder(tmp_path):
    write_mnist(tmp_path / "fashion-mnist")
    train, _ = data.fashion_mnist(tmp_path)
    assert train.classes[9] == "ankle boot"
    with pytest.raises(FileNotFoundError):
        data.mnist(tmp_path, download=False)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-images-idx3-ubyte", np.zeros((20, 28), np.uint8), "3 dimensions"),
        ("train-images-idx3-ubyte", np.zeros((20, 28, 28), np.float32), "float32"),
        ("train-images-idx3-ubyte", np.zeros((20, 32, 32), np.uint8), "28x28"),
        ("train-labels-idx1-ubyte", np.zeros(19, np.uint8), "a label for each"),
        ("t10k-labels-idx1-ubyte", np.full(5, 10, np.uint8), "got 10"),
    ],
)
def test_mnist_of_wrong_content(tmp_path, name, array, message):
    write_mnist(tmp_path, compress=False)
    (tmp_path / name).write_bytes(idx_bytes(array))
    with pytest.raises(ValueError, match=message) as caught:
        data.mnist(tmp_path)
    assert str(tmp_path / name) in str(caught.value)


def cifar_records(count: int) -> bytes:
    rng = np.random.default_rng(count)
    records = rng.integers(0, 256, (count, 3073), np.uint8)
    records[:, 0] = np.arange(count) % 10
    return records.tobytes()


CIFAR_FILES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


@pytest.mark.parametrize("place", [".", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"])
def test_cifar10_from_a_folder(tmp_path, place):
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(CIFAR_FILES):
        (folder / name).write_bytes(cifar_records(10 + i))
    train, test = data.cifar10(tmp_path)
    assert len(train) == 60 and len(test) == 15 and train.shape == (32, 32, 3)
    record = np.frombuffer(cifar_records(10), np.uint8).reshape(10, 3073)[3]
    assert train.y[3] == record[0] == 3 and train.classes[3] == "cat"
    np.testing.assert_array_equal(train.x[3, :, :, 1], record[1025:2049].reshape(32, 32))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes"),
        (cifar_records(3)[:-1], "9,218 bytes, 3.000 records"),
        (b"\x0a" + cifar_records(3)[1:], "record 0 has 10"),
    ],
)
def test_hostile_cifar10(tmp_path, content, message):
    file = tmp_path / "data_batch_1.bin"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        data.read_cifar10_binary(file)
    assert str(file) in str(caught.value)


# ---------------------------------------------------------------------------------------- download


class Mirror:
    """In the place of pooch.HTTPDownloader: serves bytes by address, fails for all others."""

    def __init__(self, content: dict[str, bytes]) -> None:
        self.content = content
        self.asked: list[str] = []

    def __call__(self, **options):
        def fetch(url: str, output_file: str, pooch: object) -> None:
            self.asked.append(url)
            if url not in self.content:
                raise OSError("no route to host")
            Path(output_file).write_bytes(self.content[url])

        return fetch


@pytest.fixture
def mirror(monkeypatch):
    pooch = pytest.importorskip("pooch")
    mirror = Mirror({})
    monkeypatch.setattr(pooch, "HTTPDownloader", mirror)
    return mirror


def remote(content: bytes, **options) -> download.Remote:
    digest = hashlib.sha256(content).hexdigest()
    return download.Remote("f.gz", ("http://a/", "http://b/"), f"sha256:{digest}", **options)


def test_second_mirror_and_checksum_of_the_content(tmp_path, mirror):
    mirror.content = {
        "http://a/f.gz": gzip.compress(b"wrong"),
        "http://b/f.gz": gzip.compress(b"x"),
    }
    path = download.locate(
        "set", ["f.gz"], root=tmp_path, remote=remote(b"x", of_content=True), download=True
    )
    assert path == tmp_path / "set" / "f.gz" and gzip.decompress(path.read_bytes()) == b"x"
    assert mirror.asked == ["http://a/f.gz", "http://b/f.gz"]
    assert [p.name for p in path.parent.iterdir()] == ["f.gz"]


@pytest.mark.parametrize("served", [b"", b"no gzip", gzip.compress(b"x")[:-4]])
def test_nothing_is_kept_of_a_bad_download(tmp_path, mirror, served):
    mirror.content = {"http://a/f.gz": served}
    with pytest.raises(FileNotFoundError, match=r"checksum.*no route to host.*put f\.gz into") as e:
        download.locate(
            "set", ["f.gz"], root=tmp_path, remote=remote(b"x", of_content=True), download=True
        )
    assert str(tmp_path / "set") in str(e.value)
    assert list((tmp_path / "set").iterdir()) == []


def test_missing_files_say_what_to_put_where(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte\.gz") as caught:
        data.mnist(tmp_path, download=False)
    assert f"into {tmp_path / 'mnist'}" in str(caught.value) and "root=" in str(caught.value)
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(FileNotFoundError, match=r"pip install 'sixloop\[download\]'"):
        data.cifar10(tmp_path)


def cifar_archive(names=CIFAR_FILES) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for i, name in enumerate(names):
            content = cifar_records(10 + i)
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def serve_cifar(monkeypatch, mirror, archive: bytes) -> None:
    known = remote(archive)
    monkeypatch.setattr(
        named,
        "_CIFAR10_REMOTE",
        download.Remote("cifar-10-binary.tar.gz", ("http://a/",), known.checksum),
    )
    mirror.content = {"http://a/cifar-10-binary.tar.gz": archive}


def test_cifar10_is_downloaded_once_and_unpacked(tmp_path, monkeypatch, mirror):
    serve_cifar(monkeypatch, mirror, cifar_archive())
    train, test = data.cifar10(tmp_path)
    assert len(train) == 60 and len(test) == 15 and len(mirror.asked) == 1
    assert len(data.cifar10(tmp_path, download=False)[0]) == 60
    assert not (tmp_path / "cifar10" / "cifar-10-binary.tar.gz").exists()


def test_cifar10_archive_without_a_file(tmp_path, monkeypatch, mirror):
    serve_cifar(monkeypatch, mirror, cifar_archive(CIFAR_FILES[:3]))
    with pytest.raises(ValueError, match=r"data_batch_4\.bin"):
        data.cifar10(tmp_path)


# --------------------------------------------------------------------------------------- folders


def write_images(folder: Path, names: list[str], *, size=(6, 4), mode="RGB") -> None:
    pillow = pytest.importorskip("PIL.Image")
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        shape = (size[0], size[1], 3)
        pixels = np.full(shape, 10 * i + 1, np.uint8)
        pillow.fromarray(pixels).convert(mode).save(folder / name)


@pytest.fixture
def class_folders(tmp_path) -> Path:
    write_images(tmp_path / "class10", ["10.png", "9.png", "2.png"])
    write_images(tmp_path / "class9", ["a.png", "B.bmp"])
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "class9" / ".a.png").write_bytes(b"")
    (tmp_path / "class9" / "Thumbs.db").write_bytes(b"no image")
    return tmp_path


def test_image_folder_in_natural_order(class_folders):
    found = data.image_folder(class_folders)
    assert found.classes == ("class9", "class10") and found.shape == (6, 4, 3)
    assert found.y.tolist() == [0, 0, 1, 1, 1]
    # a, B; then 2, 9, 10, which were written third, second and first.
    assert found.x[:, 0, 0, 0].tolist() == [1, 11, 21, 11, 1]
    assert found.x.dtype == np.uint8


def test_image_folder_with_given_classes_size_and_channels(class_folders):
    found = data.image_folder(class_folders, classes=["class10", "class9"], size=8, channels=1)
    assert found.classes == ("class10", "class9") and found.shape == (8, 8, 1)
    assert found.x[0].max() == 21
    with pytest.raises(ValueError, match=r"each class of dog; found class9, class10"):
        data.image_folder(class_folders, classes=["dog"])


def test_image_folder_errors_name_the_file(class_folders):
    write_images(class_folders / "class10", ["11.png"], size=(6, 5))
    with pytest.raises(ValueError, match=r"11\.png: 6x5 pixels, but .* has 6x4; .*size="):
        data.image_folder(class_folders)
    assert data.image_folder(class_folders, size=(6, 4)).shape == (6, 4, 3)
    for content in (
        b"",
        b"no image at all",
        (class_folders / "class10" / "2.png").read_bytes()[:45],
    ):
        (class_folders / "class10" / "11.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"11\.png: cannot be read as an image"):
            data.image_folder(class_folders)
    (class_folders / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no image in the folder"):
        data.image_folder(class_folders)
    with pytest.raises(ValueError, match="not a folder"):
        data.image_folder(class_folders / "nowhere")
    with pytest.raises(ValueError, match="found no folder"):
        data.image_folder(class_folders / "class9")


def test_read_image(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    write_images(tmp_path, ["grey.png"], mode="L")
    assert data.read_image(tmp_path / "grey.png").shape == (6, 4, 3)
    assert data.read_image(tmp_path / "grey.png", channels=4, size=(3, 2)).shape == (3, 2, 4)
    deep = pillow.fromarray(np.full((4, 4), 40000, np.uint16))
    deep.save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png.*8 bits"):
        data.read_image(tmp_path / "deep.png")
    with pytest.raises(FileNotFoundError):
        data.read_image(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match="channels"):
        data.read_image(tmp_path / "grey.png", channels=2)
    with pytest.raises(ValueError, match="size"):
        data.read_image(tmp_path / "grey.png", size=(0, 4))


def test_absurdly_large_image(tmp_path):
    pytest.importorskip("PIL.Image")
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(ValueError, match=r"bomb\.png"):
        data.read_image(tmp_path / "bomb.png")


def test_load_of_folders(class_folders, tmp_path_factory):
    for name in ("class9", "class10"):
        write_images(class_folders / name, [f"{i}.png" for i in range(20, 30)])
    train, held_out = data.load(class_folders)
    assert len(train) + len(held_out) == 25 and len(held_out) == 5
    parts = tmp_path_factory.mktemp("parts")
    for part, count in (("train", 4), ("val", 2)):
        for name in ("cat", "dog"):
            write_images(parts / part / name, [f"{i}.png" for i in range(count)])
    train, held_out = data.load(str(parts))
    assert (len(train), len(held_out)) == (8, 4) and train.classes == ("cat", "dog")
    write_images(parts / "val" / "horse", ["1.png"])
    with pytest.raises(ValueError, match="horse"):
        data.load(parts)


def test_load_of_unknown_names():
    with pytest.raises(ValueError, match=r"'cifar11'.*digits, mnist, fashion-mnist, cifar10"):
        data.load("cifar11")


def test_pillow_is_optional(class_folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'sixloop\[images\]'"):
        data.image_folder(class_folders)
