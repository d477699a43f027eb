"""Image data sets: named ones in their standard files, and the user's own.

`digits` ships with scikit-learn. The others are read from `--data-dir`, from a folder
with the data set's name or from the directory itself. Nothing is downloaded.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from examples.common.errors import UsageError
from examples.training import formats

NAMES = ("digits", "mnist", "fashion-mnist", "cifar10")
ARRAYS = ("x_train", "y_train", "x_test", "y_test")

_PUBLISHED = {
    "mnist": "https://yann.lecun.com/exdb/mnist/"
    " (copy: https://storage.googleapis.com/cvdf-datasets/mnist/)",
    "fashion-mnist": "https://github.com/zalandoresearch/fashion-mnist",
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar.html (python version)",
}


class Dataset(NamedTuple):
    """Inputs `(examples, height, width, channels)` or `(examples, features)`.

    Inputs keep the type they were stored in (bytes stay bytes, a quarter of the
    memory of float32). Labels are int32 from 0 to `num_classes - 1`.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    num_classes: int

    def fingerprint(self) -> str:
        """A digest of all arrays."""
        digest = hashlib.sha256()
        for array in self[:4]:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of the training inputs by channel (or by feature)."""
        axes = tuple(range(self.x_train.ndim - 1))
        mean = self.x_train.mean(axes, dtype=np.float64)
        deviation = self.x_train.std(axes, dtype=np.float64)
        # A constant channel carries nothing; dividing by 1 leaves it at zero.
        deviation = np.where(deviation > 0, deviation, 1.0)
        return mean.astype(np.float32), deviation.astype(np.float32)


def load(name: str, data_dir: Path) -> Dataset:
    """Reads a data set by its name, or an `.npz` file by its path.

    Raises:
        UsageError: unknown name, missing file or contents that make no data set.
    """
    if name == "digits":
        return _digits()
    if name in ("mnist", "fashion-mnist"):
        return _checked(name, _idx_files(name, data_dir))
    if name == "cifar10":
        return _checked(name, _cifar10_files(data_dir))
    if name.endswith(".npz"):
        return _checked(name, _npz_file(Path(name)))
    raise UsageError(
        f"unknown data {name!r}; choose from {', '.join(NAMES)} or give a FILE.npz"
    )


def _digits() -> Dataset:
    """scikit-learn's 1,797 digits of 8x8 pixels, a fifth of them (stratified) to test.

    The split is the same for every seed, so that accuracies can be compared.
    """
    images, labels = load_digits(return_X_y=True)
    images = images.astype(np.uint8).reshape(-1, 8, 8)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.2, random_state=0, stratify=labels
    )
    parts = (images[train], labels[train], images[test], labels[test])
    return _checked("digits", parts)


def _idx_files(name: str, data_dir: Path) -> tuple[np.ndarray, ...]:
    """The four IDX files of MNIST and its likes, each plain or gzipped."""
    wanted = [
        f"{part}-{kind}-ubyte"
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ]
    folders = (data_dir / name, data_dir)
    paths = [
        _first_existing(
            folder / file for folder in folders for file in (stem, stem + ".gz")
        )
        for stem in wanted
    ]
    missing = [stem for stem, path in zip(wanted, paths, strict=True) if path is None]
    if missing:
        raise _missing(name, [f"{stem}[.gz]" for stem in missing], folders)
    return tuple(formats.read_idx(path) for path in paths if path is not None)


def _cifar10_files(data_dir: Path) -> tuple[np.ndarray, ...]:
    """CIFAR-10's python batches, unpacked or in the archive they come in."""
    files = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    folders = (data_dir / "cifar10", data_dir)
    for folder in folders:
        unpacked = folder / "cifar-10-batches-py"
        archive = folder / "cifar-10-python.tar.gz"
        if unpacked.is_dir():
            missing = [file for file in files if not (unpacked / file).is_file()]
            if missing:
                raise _missing("cifar10", missing, (unpacked,))
            return formats.read_cifar_folder(unpacked, files)
        if archive.is_file():
            return formats.read_cifar_archive(archive, files)
    wanted = ["cifar-10-batches-py/ or cifar-10-python.tar.gz"]
    raise _missing("cifar10", wanted, folders)


def _npz_file(path: Path) -> tuple[np.ndarray, ...]:
    """A file written by `numpy.savez` with the four arrays named in `ARRAYS`."""
    if not path.is_file():
        raise UsageError(f"no such file: {path}")
    try:
        # Opened here, since numpy leaves a file it cannot read open.
        with path.open("rb") as stream, np.load(stream) as archive:
            missing = [array for array in ARRAYS if array not in archive.files]
            if missing:
                raise UsageError(f"{path} lacks the arrays {', '.join(missing)}")
            return tuple(archive[array] for array in ARRAYS)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error):
        raise UsageError(f"{path} is damaged or not a readable .npz file") from None


def _first_existing(paths: Iterable[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _missing(name: str, files: list[str], folders: tuple[Path, ...]) -> UsageError:
    return UsageError(
        f"missing files for {name}: {', '.join(files)}; looked in"
        f" {' and '.join(str(folder) for folder in folders)};"
        f" published at {_PUBLISHED[name]}"
    )


def _checked(name: str, arrays: tuple[np.ndarray, ...]) -> Dataset:
    """Makes a data set of four arrays, or says what is wrong with them."""
    x_train, y_train, x_test, y_test = arrays
    for part, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        problem = _problem(x, y, x_train.shape[1:])
        if problem:
            raise UsageError(f"{name}: x_{part} and y_{part}: {problem}")
    if x_train.ndim == 3:
        x_train, x_test = x_train[..., None], x_test[..., None]
    num_classes = int(max(y_train.max(), y_test.max())) + 1
    labels = y_train.astype(np.int32), y_test.astype(np.int32)
    return Dataset(x_train, labels[0], x_test, labels[1], num_classes)


def _problem(x: np.ndarray, y: np.ndarray, shape: tuple[int, ...]) -> str | None:
    """What keeps `x` and `y` from being one part of a data set, if anything."""
    if x.ndim not in (2, 3, 4):
        return f"inputs must have 2, 3 or 4 dimensions, not {x.ndim}"
    if len(x) == 0 or x.size == 0:
        return "there are no examples"
    if y.shape != (len(x),):
        return f"{len(x)} inputs need labels of shape ({len(x)},), not {y.shape}"
    if x.shape[1:] != shape:
        return f"test inputs are {x.shape[1:]}, training inputs {shape}"
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
        return "labels must be integers from 0 on"
    if not (np.issubdtype(x.dtype, np.integer) or np.issubdtype(x.dtype, np.floating)):
        return f"inputs must be numbers, not {x.dtype}"
    if not np.isfinite(x).all():
        return "inputs must be finite"
    return None
