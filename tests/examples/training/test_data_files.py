"""The readers, on files written here in the published formats."""

import gzip
import pickle
import struct
import tarfile
from typing import Any

import numpy as np
import pytest

from examples.common.errors import UsageError
from examples.training import data

STEMS = (
    "train-images-idx3",
    "train-labels-idx1",
    "t10k-images-idx3",
    "t10k-labels-idx1",
)


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def mnist_like(rng: np.random.Generator) -> dict[str, np.ndarray]:
    shapes = ((7, 4, 5), (7,), (3, 4, 5), (3,))
    return {
        stem: rng.integers(0, 10, shape, dtype=np.uint8)
        for stem, shape in zip(STEMS, shapes, strict=True)
    }


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("in_own_folder", [False, True])
def test_idx_files_come_back_as_written(tmp_path, name, zipped, in_own_folder):
    arrays = mnist_like(np.random.default_rng(0))
    folder = tmp_path / name if in_own_folder else tmp_path
    folder.mkdir(exist_ok=True)
    for stem, array in arrays.items():
        content = idx_bytes(array)
        if zipped:
            (folder / f"{stem}-ubyte.gz").write_bytes(gzip.compress(content))
        else:
            (folder / f"{stem}-ubyte").write_bytes(content)
    dataset = data.load(name, tmp_path)
    np.testing.assert_array_equal(dataset.x_train[..., 0], arrays[STEMS[0]])
    np.testing.assert_array_equal(dataset.y_train, arrays[STEMS[1]])
    np.testing.assert_array_equal(dataset.x_test[..., 0], arrays[STEMS[2]])
    np.testing.assert_array_equal(dataset.y_test, arrays[STEMS[3]])
    assert dataset.x_train.shape == (7, 4, 5, 1)


def test_missing_idx_files_are_named_with_place_and_source(tmp_path):
    arrays = mnist_like(np.random.default_rng(0))
    for stem in STEMS[:2]:
        (tmp_path / f"{stem}-ubyte").write_bytes(idx_bytes(arrays[stem]))
    with pytest.raises(UsageError) as caught:
        data.load("fashion-mnist", tmp_path)
    message = str(caught.value)
    assert "t10k-images-idx3-ubyte" in message and "t10k-labels-idx1" in message
    assert "train-images" not in message
    assert str(tmp_path) in message
    assert "https://github.com/zalandoresearch/fashion-mnist" in message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x08",
        b"<html>not found</html>",
        idx_bytes(np.zeros((7, 4, 5), np.uint8))[:-1],
        idx_bytes(np.zeros((7, 4, 5), np.uint8)) + b"\x00",
        struct.pack(">HBB1I", 0, 13, 1, 7) + bytes(28),
    ],
)
def test_damaged_idx_file_is_named(tmp_path, content):
    for stem, array in mnist_like(np.random.default_rng(0)).items():
        (tmp_path / f"{stem}-ubyte").write_bytes(idx_bytes(array))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(UsageError, match="train-images-idx3-ubyte.*damaged"):
        data.load("mnist", tmp_path)


def test_cut_gzip_file_is_named(tmp_path):
    for stem, array in mnist_like(np.random.default_rng(0)).items():
        content = gzip.compress(idx_bytes(array))
        (tmp_path / f"{stem}-ubyte.gz").write_bytes(content[:-12])
    with pytest.raises(UsageError, match=r"train-images-idx3-ubyte\.gz.*damaged"):
        data.load("mnist", tmp_path)


def write_cifar(folder, rng) -> list[np.ndarray]:
    """Six batches of two images as published; returns the images."""
    folder.mkdir(parents=True)
    images = []
    for number, file in enumerate(
        [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]
    ):
        image = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
        rows = image.transpose(0, 3, 1, 2).reshape(2, -1)
        batch = {b"data": rows, b"labels": [number, number + 1]}
        (folder / file).write_bytes(pickle.dumps(batch, protocol=2))
        images.append(image)
    return images


@pytest.mark.parametrize("archived", [False, True])
def test_cifar_images_have_their_pixels_in_place(tmp_path, archived):
    folder = tmp_path / "cifar-10-batches-py"
    images = write_cifar(folder, np.random.default_rng(0))
    if archived:
        with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as tar:
            tar.add(folder, "cifar-10-batches-py")
        folder.rename(tmp_path / "elsewhere")
    dataset = data.load("cifar10", tmp_path)
    np.testing.assert_array_equal(dataset.x_train, np.concatenate(images[:5]))
    np.testing.assert_array_equal(dataset.x_test, images[5])
    np.testing.assert_array_equal(dataset.y_train, [0, 1, 1, 2, 2, 3, 3, 4, 4, 5])
    np.testing.assert_array_equal(dataset.y_test, [5, 6])


def test_missing_cifar_batch_is_named(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar(folder, np.random.default_rng(0))
    (folder / "data_batch_3").unlink()
    with pytest.raises(UsageError, match=r"data_batch_3;.*cs\.toronto\.edu"):
        data.load("cifar10", tmp_path)


class Evil:
    """Unpickled, it creates the file `path`."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_code_in_a_cifar_batch_is_not_run(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar(folder, np.random.default_rng(0))
    victim = tmp_path / "victim"
    (folder / "data_batch_1").write_bytes(pickle.dumps(Evil(victim), protocol=2))
    with pytest.raises(UsageError, match="data_batch_1.*damaged"):
        data.load("cifar10", tmp_path)
    assert not victim.exists()


def test_cut_cifar_archive_is_named(tmp_path):
    write_cifar(tmp_path / "elsewhere", np.random.default_rng(0))
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "elsewhere", "cifar-10-batches-py")
    archive.write_bytes(archive.read_bytes()[:500])
    with pytest.raises(UsageError, match="tar.gz.*damaged"):
        data.load("cifar10", tmp_path)


def arrays(**changes: np.ndarray) -> dict[str, Any]:
    good = {
        "x_train": np.zeros((6, 5, 5), np.float32),
        "y_train": np.arange(6) % 3,
        "x_test": np.ones((2, 5, 5), np.float32),
        "y_test": np.array([0, 3]),
    }
    return good | changes


def test_npz_file_is_a_data_set(tmp_path):
    np.savez(tmp_path / "own.npz", **arrays())
    dataset = data.load(str(tmp_path / "own.npz"), tmp_path)
    assert dataset.x_train.shape == (6, 5, 5, 1)
    assert dataset.num_classes == 4
    assert dataset.y_test.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": np.arange(5)}, "6 inputs need labels"),
        ({"y_train": np.linspace(0, 1, 6)}, "integers"),
        ({"y_test": np.array([-1, 0])}, "integers from 0"),
        ({"x_test": np.zeros((2, 5, 4))}, "test inputs"),
        ({"x_train": np.full((6, 5, 5), np.nan)}, "finite"),
        ({"x_train": np.zeros(6)}, "dimensions"),
        ({"x_train": np.full((6, 5, 5), "a")}, "numbers"),
        ({"x_test": np.zeros((0, 5, 5)), "y_test": np.zeros(0, int)}, "no examples"),
    ],
)
def test_npz_that_makes_no_sense_is_refused(tmp_path, changes, message):
    np.savez(tmp_path / "own.npz", **arrays(**changes))
    with pytest.raises(UsageError, match=message):
        data.load(str(tmp_path / "own.npz"), tmp_path)


def test_npz_without_an_array_is_refused(tmp_path):
    parts = arrays()
    del parts["x_test"]
    np.savez(tmp_path / "own.npz", **parts)
    with pytest.raises(UsageError, match="lacks the arrays x_test"):
        data.load(str(tmp_path / "own.npz"), tmp_path)


def test_cut_npz_is_refused(tmp_path):
    np.savez(tmp_path / "own.npz", **arrays())
    content = (tmp_path / "own.npz").read_bytes()
    (tmp_path / "own.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError, match="damaged"):
        data.load(str(tmp_path / "own.npz"), tmp_path)


def test_digits_are_split_once_and_for_all(tmp_path):
    dataset = data.load("digits", tmp_path)
    assert dataset.x_train.shape == (1437, 8, 8, 1)
    assert dataset.x_test.shape == (360, 8, 8, 1)
    assert np.bincount(dataset.y_test).min() >= 34
    again = data.load("digits", tmp_path)
    assert dataset.fingerprint() == again.fingerprint()


def test_fingerprint_notices_one_pixel(tmp_path):
    dataset = data.load("digits", tmp_path)
    before = dataset.fingerprint()
    dataset.x_test[7, 3, 3, 0] += 1
    assert dataset.fingerprint() != before
